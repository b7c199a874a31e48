//! Object stores: how they are reached, and by whose right.
//!
//! What the file does not say is looked up in the environment, by the names that the stores' own tools know, and nowhere
//! else: no machine is asked for credentials unless the file says so. Not responsible for whether a store can be reached.
//! Invariants: a secret is only ever read into a secret; what nobody would guess is refused, not chosen.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;
use url::Url;

use super::connection::{is_loopback, secret};
use super::document::child;
use super::raw_store::{RawAz, RawGs, RawS3, RawStore};
use super::validate::Check;
use super::{resolved, telemetry, units};
use crate::source::Secret;
use crate::source::definition::{Format, Table};
use crate::source::store::definition::{Az, AzAccess, Gs, GsAccess, S3, S3Access, Scheme, Store};

/// Headers by which a read asks for all of a file as it was listed.
const OURS: [&str; 10] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
    "transfer-encoding",
];

/// Whether what stands there is a secret, whose references are read as such.
pub fn is_secret(path: &[&str]) -> bool {
    let ["sources", _, "store", rest @ ..] = path else { return false };
    matches!(
        rest,
        ["s3", "secret_access_key" | "session_token"]
            | ["gs", "credentials"]
            | ["az", "access_key" | "sas_token" | "client_secret"]
            | ["http", "headers", ..]
    )
}

/// How the stores of these tables are reached. `pointer` is the source's.
pub fn store(check: &mut Check, pointer: &str, raw: Option<&RawStore>, tables: &[Table]) -> Store {
    let source = pointer;
    let pointer = &child(pointer, "store");
    let usual = RawStore::default();
    let said = raw.unwrap_or(&usual);
    let of = |scheme: Scheme| {
        let mut locations = tables.iter().filter_map(|table| table.objects.as_ref());
        locations.any(|location| location.scheme == scheme)
    };
    let parts = [
        (Scheme::S3, said.s3.is_some()),
        (Scheme::Gs, said.gs.is_some()),
        (Scheme::Az, said.az.is_some()),
        (Scheme::Http, said.http.is_some()),
    ];
    let is_sound = !check.document.has_problem_within(&child(source, "files"));
    for (scheme, _) in parts.iter().filter(|(scheme, is_said)| *is_said && is_sound && !of(*scheme))
    {
        let key = scheme.key();
        let what = format!("no table of this source is read by `{key}`");
        check.report_key(&child(pointer, key), what, "remove it, or name objects under `files`");
    }
    // The log of a local table is listed too.
    let is_local_log = |table: &Table| matches!(table.format, Format::Delta(_));
    let is_bound = said.max_listed.is_some() && tables.iter().any(is_local_log);
    if raw.is_some() && is_sound && tables.iter().all(|table| table.objects.is_none()) && !is_bound
    {
        if parts.iter().all(|(_, is_said)| !is_said) {
            let remedy = "remove it, or name objects under `files`";
            check.report_key(pointer, "no table of this source is in a store", remedy);
        }
        return Store::default();
    }
    let allows_http = said.allow_http.unwrap_or(false);
    let mut store = Store::default();
    let reach = Reach { pointer, source, allows_http };
    if of(Scheme::S3) {
        store.s3 = s3(check, &reach, said.s3.as_ref().unwrap_or(&RawS3::default()));
    }
    if of(Scheme::Gs) {
        store.gs = gs(check, &reach, said.gs.as_ref().unwrap_or(&RawGs::default()));
    }
    if of(Scheme::Az) {
        store.az = az(check, &reach, said.az.as_ref().unwrap_or(&RawAz::default()));
    }
    let web = tables.iter().filter_map(|table| Some((table, table.objects.as_ref()?)));
    for (table, location) in web.filter(|(_, location)| location.scheme == Scheme::Http) {
        let at = child(&child(source, "files"), &table.name);
        reach.check(check, &at, &location.holder);
    }
    if let Some(headers) = said.http.as_ref().and_then(|http| http.headers.as_ref()) {
        let at = child(&child(pointer, "http"), "headers");
        let headers = telemetry::headers(check, &at, headers, false);
        let is_ours = |name: &str| OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        for (name, _) in headers.iter().filter(|(name, _)| is_ours(name)) {
            let what = format!("`{name}` is what a read says itself");
            check.report_key(&child(&at, name), what, "remove it");
        }
        let web = tables.iter().filter_map(|table| table.objects.as_ref());
        let web = web.filter(|location| location.scheme == Scheme::Http);
        let origins: BTreeSet<&str> = web.map(|location| &*location.holder).collect();
        if origins.len() > 1 {
            let what = "headers that would go to several hosts";
            check.report_key(&at, what, "make a source of each host's files");
        }
        store.headers = headers.into_iter().map(|(name, it)| (name, Secret::new(it))).collect();
    }
    let mut time = |key: &str, text: &Option<String>| {
        check.unit(&child(pointer, key), text.as_deref(), units::duration)
    };
    if let Some(timeout) = time("connect_timeout", &said.connect_timeout) {
        store.connect_timeout = timeout;
    }
    if let Some(timeout) = time("idle_timeout", &said.idle_timeout) {
        store.idle_timeout = timeout;
    }
    if let Some(most) = said.max_listed {
        store.max_listed = usize::try_from(most.small()).unwrap_or(usize::MAX);
    }
    store
}

/// What all stores of a source have in common.
struct Reach<'p> {
    /// Of `store`.
    pointer: &'p str,
    source: &'p str,
    allows_http: bool,
}

impl Reach<'_> {
    fn at(&self, part: &str, key: &str) -> String {
        child(&child(self.pointer, part), key)
    }

    /// Where a problem of something that is not said is shown.
    fn nearest(&self, check: &Check) -> String {
        match check.document.has(self.pointer) {
            true => self.pointer.to_owned(),
            false => self.source.to_owned(),
        }
    }

    /// Refuses an address of another machine that is not encrypted.
    fn check(&self, check: &mut Check, at: &str, address: &str) {
        let is_far =
            Url::parse(address).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url));
        if is_far && !self.allows_http {
            let what = "objects of another machine would be read without encryption";
            check.report(at, what, "write `https://`, or `allow_http: true` under `store`");
        }
    }

    /// Reads an endpoint, which the file says or one of these variables.
    fn endpoint(
        &self,
        check: &mut Check,
        part: &str,
        said: Option<&String>,
        variables: &[&str],
    ) -> Option<String> {
        let at = self.at(part, "endpoint");
        let at = if said.is_some() { at } else { self.nearest(check) };
        let text = said.cloned().or_else(|| variable(check, variables))?;
        let is_plain = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        if !Url::parse(&text).is_ok_and(|url| is_plain(&url)) {
            let what = match said {
                None => format!(
                    "the endpoint in `{}` is not an address on the web",
                    variables.join("` or `")
                ),
                Some(_) => "not an address on the web".to_owned(),
            };
            check.report(&at, what, "write `https://` and a host, without user, `?` and `#`");
            return None;
        }
        self.check(check, &at, &text);
        Some(text.trim_end_matches('/').to_owned())
    }

    fn lacks(&self, check: &mut Check, what: &str, remedy: &str) {
        let at = self.nearest(check);
        check.document.report_absent(&at, what.to_owned(), remedy.to_owned());
    }
}

fn s3(check: &mut Check, reach: &Reach, raw: &RawS3) -> S3 {
    let variables = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
    let endpoint = reach.endpoint(check, "s3", raw.endpoint.as_ref(), &variables);
    let region = raw.region.clone();
    let region = region.or_else(|| variable(check, &["AWS_REGION", "AWS_DEFAULT_REGION"]));
    let region = region.filter(|region| !region.is_empty());
    let is_amazon = raw.endpoint.is_none() && variable(check, &variables).is_none();
    if region.is_none() && is_amazon {
        let remedy = "write `store: {s3: {region: ..}}`, or set `AWS_REGION`";
        reach.lacks(check, "no region for `s3://`", remedy);
    }
    let at = |key: &str| reach.at("s3", key);
    let mut hidden = |key: &str, text: &Option<String>| secret_of(check, &at(key), text.as_ref());
    let token = hidden("session_token", &raw.session_token);
    let key = hidden("secret_access_key", &raw.secret_access_key);
    let is_key_said = raw.access_key_id.is_some() || raw.secret_access_key.is_some();
    let said = [
        ("access_key_id", is_key_said),
        ("anonymous", raw.anonymous == Some(true)),
        ("role", raw.role.is_some()),
    ];
    one_of(check, reach, "s3", &said);
    let mut of_environment = None;
    let access = match (&raw.access_key_id, key) {
        _ if raw.anonymous == Some(true) => Some(S3Access::Anonymous),
        _ if raw.role.is_some() => Some(S3Access::Instance),
        (Some(id), Some(secret)) => {
            Some(S3Access::Keys { id: Secret::new(id.as_str().into()), secret, token })
        }
        (Some(_), None) if raw.secret_access_key.is_none() => {
            let remedy = "add `secret_access_key: ${NAME}`";
            check.report_key(&at("access_key_id"), "a key without its secret", remedy);
            Some(S3Access::Anonymous)
        }
        (None, _) if raw.secret_access_key.is_some() => {
            check.report_key(
                &at("secret_access_key"),
                "a secret without its key",
                "add `access_key_id`",
            );
            Some(S3Access::Anonymous)
        }
        (Some(_), None) => Some(S3Access::Anonymous),
        (None, _) => s3_of_environment(check).map(|(access, variable)| {
            of_environment = Some(variable);
            access
        }),
    };
    let access = access.unwrap_or_else(|| {
        let remedy = "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or write `access_key_id` and \
                      `secret_access_key: ${NAME}`, `anonymous: true` or `role: instance` under `store: {s3: ..}`";
        reach.lacks(check, "no credentials for `s3://`", remedy);
        S3Access::Anonymous
    });
    let is_path_style = raw.path_style.unwrap_or(endpoint.is_some());
    S3 { endpoint, region, is_path_style, access, of_environment }
}

/// With the variable that says whose right it is.
fn s3_of_environment(check: &Check) -> Option<(S3Access, &'static str)> {
    let of = |name: &'static str| variable(check, &[name]);
    let hidden = |name: &'static str| of(name).map(|value| Secret::new(value.into()));
    if let (Some(id), Some(secret)) = (hidden("AWS_ACCESS_KEY_ID"), hidden("AWS_SECRET_ACCESS_KEY"))
    {
        let access = S3Access::Keys { id, secret, token: hidden("AWS_SESSION_TOKEN") };
        return Some((access, "AWS_ACCESS_KEY_ID"));
    }
    if let (Some(token_file), Some(role)) = (of("AWS_WEB_IDENTITY_TOKEN_FILE"), of("AWS_ROLE_ARN"))
    {
        return Some((S3Access::WebIdentity { token_file, role }, "AWS_ROLE_ARN"));
    }
    let name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    if let Some(path) = of(name) {
        return Some((S3Access::Container { path }, name));
    }
    let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let address = of(name)?;
    let token_file = of("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?;
    Some((S3Access::Pod { address, token_file }, name))
}

fn gs(check: &mut Check, reach: &Reach, raw: &RawGs) -> Gs {
    let endpoint = reach.endpoint(check, "gs", raw.endpoint.as_ref(), &[]);
    let said = [
        ("credentials", raw.credentials.is_some()),
        ("anonymous", raw.anonymous == Some(true)),
        ("role", raw.role.is_some()),
    ];
    one_of(check, reach, "gs", &said);
    let mut of_environment = None;
    let access = match &raw.credentials {
        _ if raw.anonymous == Some(true) => GsAccess::Anonymous,
        _ if raw.role.is_some() => GsAccess::Instance,
        Some(text) => match text.strip_prefix("file:") {
            Some(path) => GsAccess::File(resolved(check.folder, path)),
            None => secret_of(check, &reach.at("gs", "credentials"), Some(text))
                .map_or(GsAccess::Anonymous, GsAccess::Key),
        },
        None => match first_of(check, &["GOOGLE_APPLICATION_CREDENTIALS"]) {
            Some((variable, path)) => {
                of_environment = Some(variable);
                GsAccess::File(path.into())
            }
            None => {
                let remedy = "set `GOOGLE_APPLICATION_CREDENTIALS`, or write `credentials: file:PATH`, `anonymous: true` or \
                              `role: instance` under `store: {gs: ..}`";
                reach.lacks(check, "no credentials for `gs://`", remedy);
                GsAccess::Anonymous
            }
        },
    };
    Gs { endpoint, access, of_environment }
}

fn az(check: &mut Check, reach: &Reach, raw: &RawAz) -> Az {
    let endpoint = reach.endpoint(check, "az", raw.endpoint.as_ref(), &[]);
    let variables = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
    let account = raw.account.clone().or_else(|| variable(check, &variables));
    let account = account.unwrap_or_default();
    if account.is_empty() {
        let remedy = "write `store: {az: {account: ..}}`, or set `AZURE_STORAGE_ACCOUNT_NAME`";
        reach.lacks(check, "no account for `az://`", remedy);
    }
    let client = [&raw.tenant_id, &raw.client_id, &raw.client_secret];
    let is_client = client.iter().any(|part| part.is_some());
    let said = [
        ("access_key", raw.access_key.is_some()),
        ("sas_token", raw.sas_token.is_some()),
        ("client_id", is_client),
        ("anonymous", raw.anonymous == Some(true)),
        ("role", raw.role.is_some()),
    ];
    one_of(check, reach, "az", &said);
    let mut of_environment = None;
    let is_cut = check.document.has_problem_within(&child(reach.pointer, "az"));
    if is_client && !is_cut && client.iter().any(|part| part.is_none()) {
        let remedy = "name `tenant_id`, `client_id` and `client_secret`";
        check.report_key(&child(reach.pointer, "az"), "a client is said in part", remedy);
    }
    let mut hidden =
        |key: &str, text: &Option<String>| secret_of(check, &reach.at("az", key), text.as_ref());
    let key = hidden("access_key", &raw.access_key);
    let sas = hidden("sas_token", &raw.sas_token);
    let client_secret = hidden("client_secret", &raw.client_secret);
    let of_file = match (key, sas, client_secret) {
        _ if raw.anonymous == Some(true) => Some(AzAccess::Anonymous),
        _ if raw.role.is_some() => Some(AzAccess::Instance),
        (Some(key), ..) => Some(AzAccess::Key(key)),
        (_, Some(sas), _) => Some(AzAccess::Sas(sas)),
        (.., Some(secret)) => Some(AzAccess::Client {
            tenant: raw.tenant_id.clone().unwrap_or_default(),
            id: raw.client_id.clone().unwrap_or_default(),
            secret,
        }),
        _ if said.iter().any(|(_, is_said)| *is_said) => Some(AzAccess::Anonymous),
        _ => None,
    };
    let of_variable = || {
        let (access, variable) = az_of_environment(check)?;
        of_environment = Some(variable);
        Some(access)
    };
    let access = of_file.or_else(of_variable).unwrap_or_else(|| {
        let remedy = "set `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_SAS_TOKEN`, or write `access_key: ${NAME}`, \
                      `sas_token: ${NAME}`, `anonymous: true` or `role: instance` under `store: {az: ..}`";
        reach.lacks(check, "no credentials for `az://`", remedy);
        AzAccess::Anonymous
    });
    Az { account, endpoint, access, of_environment }
}

/// As [`s3_of_environment`].
fn az_of_environment(check: &Check) -> Option<(AzAccess, &'static str)> {
    let of = |names: &[&'static str]| first_of(check, names);
    let keys = ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY"];
    if let Some((variable, key)) = of(&keys) {
        return Some((AzAccess::Key(Secret::new(key.into())), variable));
    }
    if let Some((variable, token)) = of(&["AZURE_STORAGE_SAS_TOKEN"]) {
        return Some((AzAccess::Sas(Secret::new(token.into())), variable));
    }
    let (_, tenant) = of(&["AZURE_TENANT_ID"])?;
    let (variable, id) = of(&["AZURE_CLIENT_ID"])?;
    if let Some((_, secret)) = of(&["AZURE_CLIENT_SECRET"]) {
        let secret = Secret::new(secret.into());
        return Some((AzAccess::Client { tenant, id, secret }, variable));
    }
    let (_, token_file) = of(&["AZURE_FEDERATED_TOKEN_FILE"])?;
    Some((AzAccess::Workload { tenant, id, token_file }, variable))
}

/// Refuses several ways to be let in.
fn one_of(check: &mut Check, reach: &Reach, part: &str, ways: &[(&str, bool)]) {
    let said: Vec<&str> = ways.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
    if let [first, second, ..] = said.as_slice() {
        let at = reach.at(part, second);
        let what = format!("both `{first}` and `{second}`");
        check.report_key(&at, what, "keep one of the two");
    }
}

fn secret_of(check: &mut Check, pointer: &str, text: Option<&String>) -> Option<Secret> {
    let value = secret(check, pointer, text?, false)?;
    Some(Secret::new(value.expose_secret().into()))
}

/// The first of these variables that is set to something, and what to.
fn first_of<'n>(check: &Check, names: &[&'n str]) -> Option<(&'n str, String)> {
    let values = names.iter().filter_map(|name| Some((*name, (check.environment)(name)?)));
    values.map(|(name, value)| (name, value.trim().to_owned())).find(|(_, it)| !it.is_empty())
}

fn variable(check: &Check, names: &[&str]) -> Option<String> {
    first_of(check, names).map(|(_, value)| value)
}
