//! Connections: addresses, credentials and limits.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

use super::document::child;
use super::raw::{RawConfig, RawConnection, RawHttp, RawRetry};
use super::raw_forms::Named;
use super::request::{POINTER_REMEDY, is_json_pointer};
use super::validate::Check;
use super::{Connection, content, reference, units};
use crate::delivery::limits::{Limits, Retry};
use crate::destination::definition::{self, Auth, Identify, Renewal, is_credential_name};

const CONCURRENCY: u32 = 4;
const CONNECT_TIMEOUT: &str = "10s";
const REQUEST_TIMEOUT: &str = "30s";

pub fn connections(check: &mut Check, raw: &RawConfig) -> BTreeMap<String, Connection> {
    let Some(connections) = &raw.connections else { return BTreeMap::new() };
    check.names("/connections", connections);
    let mut checked = BTreeMap::new();
    for (name, connection) in &connections.0 {
        let pointer = child("/connections", name);
        let limits = limits(check, &pointer, connection);
        if let Some(http) = &connection.http {
            let definition = http_connection(check, &child(&pointer, "http"), name, http);
            checked.insert(name.clone(), Connection { definition, limits });
        }
    }
    checked
}

fn limits(check: &mut Check, pointer: &str, raw: &RawConnection) -> Limits {
    Limits {
        concurrency: raw.concurrency.map_or(CONCURRENCY, |number| number.small()),
        rate: check.unit(&child(pointer, "rate_limit"), raw.rate_limit.as_deref(), units::rate),
        retry: retry(check, &child(pointer, "retry"), raw.retry.as_ref()),
    }
}

fn retry(check: &mut Check, pointer: &str, raw: Option<&RawRetry>) -> Retry {
    let usual = Retry::default();
    let Some(raw) = raw else { return usual };
    let mut read = |key: &str, text: &Option<String>| {
        check.unit(&child(pointer, key), text.as_deref(), units::duration)
    };
    let first = read("first_delay", &raw.first_delay);
    let longest = read("longest_delay", &raw.longest_delay);
    let longest_time = read("longest_time", &raw.longest_time);
    let first_delay = first.unwrap_or(usual.first_delay);
    let longest_delay = longest.unwrap_or(usual.longest_delay.max(first_delay));
    if first_delay > longest_delay {
        let what = "`first_delay` is longer than `longest_delay`";
        check.report(&child(pointer, "first_delay"), what, "shorten it, or lengthen the other");
    }
    Retry {
        attempts: raw.attempts.map_or(usual.attempts, |number| number.small()),
        first_delay,
        longest_delay,
        longest_time: longest_time.unwrap_or(usual.longest_time),
    }
}

fn http_connection(
    check: &mut Check,
    pointer: &str,
    name: &str,
    raw: &RawHttp,
) -> definition::Connection {
    let url = address(check, &child(pointer, "base_url"), raw.base_url.as_deref());
    let is_loopback = url.as_ref().is_some_and(is_loopback);
    let mut timeout = |key: &str, text: &Option<String>, usual: &str| {
        let read = check.unit(&child(pointer, key), text.as_deref(), units::duration);
        read.unwrap_or_else(|| units::duration(usual).expect("the usual timeout is a duration"))
    };
    let connect_timeout = timeout("connect_timeout", &raw.connect_timeout, CONNECT_TIMEOUT);
    let request_timeout = timeout("request_timeout", &raw.request_timeout, REQUEST_TIMEOUT);
    if raw.account.as_deref().is_some_and(str::is_empty) {
        check.report(
            &child(pointer, "account"),
            "an empty account",
            "name the account, or remove the key",
        );
    }
    let identify = identify(check, pointer, raw);
    let names_account = child(pointer, if raw.account.is_some() { "account" } else { "base_url" });
    let written = check.document.written_reference(&names_account);
    let base_url = url.map(|url| url.as_str().trim_end_matches('/').to_owned());
    let auth = auth(check, &child(pointer, "auth"), raw, is_loopback);
    definition::Connection {
        name: name.to_owned(),
        base_url: base_url.unwrap_or_default(),
        renewal: renewal(check.folder, raw, &auth),
        auth,
        headers: headers(check, &child(pointer, "headers"), raw.headers.as_ref()),
        connect_timeout,
        request_timeout,
        account: raw.account.clone(),
        identify,
        written: written.map(|text| text.trim_end_matches('/').to_owned()),
        hidden: check.document.hidden_within(pointer),
    }
}

fn identify(check: &mut Check, pointer: &str, raw: &RawHttp) -> Option<Identify> {
    let declared = raw.identify.as_ref()?;
    let pointer = child(pointer, "identify");
    if raw.account.is_some() {
        check.report_key(&pointer, "both `account` and `identify`", "keep one of the two");
    }
    let (path, account) = (declared.get.clone()?, declared.account.clone()?);
    if !path.starts_with('/') || path.contains(['#', ' ']) || path.chars().any(char::is_control) {
        let at = child(&pointer, "get");
        let what = format!("`{}` is not a path", check.document.written(&at));
        check.report(&at, what, "begin with `/`, such as `/me`");
    }
    if !is_json_pointer(&account) {
        let at = child(&pointer, "account");
        let what = format!("`{}` is not a JSON pointer", check.document.written(&at));
        check.report(&at, what, POINTER_REMEDY);
    }
    Some(Identify { path, pointer: account })
}

/// Reads an address on the web, without credentials.
pub fn address(check: &mut Check, pointer: &str, text: Option<&str>) -> Option<Url> {
    let text = text?;
    let written = check.document.written(pointer).to_owned();
    let mut wrong = |what: String, remedy: &str| {
        check.report(pointer, what, remedy);
        None
    };
    let usual = "write `https://` and a host, such as `https://api.example.com/v1`";
    let Ok(url) = Url::parse(text) else {
        return wrong(format!("`{written}` is not a URL"), usual);
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong(format!("`{written}` is not an address on the web"), usual);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(
            "credentials stand in the URL".to_owned(),
            "move them to `auth: {basic: ..}`",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong(
            "the address has more than a path".to_owned(),
            "remove what follows `?` or `#`; a credential goes into `auth`",
        );
    }
    Some(url)
}

/// Whether it is this machine's own.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

fn auth(check: &mut Check, pointer: &str, raw: &RawHttp, is_loopback: bool) -> Auth {
    let Some(raw) = &raw.auth else { return Auth::None };
    match (&raw.bearer, &raw.basic) {
        (Some(_), Some(_)) => {
            check.report_key(pointer, "both `bearer` and `basic`", "keep one of the two");
            Auth::None
        }
        (Some(text), None) => {
            let pointer = child(pointer, "bearer");
            let token = secret(check, &pointer, text, is_loopback);
            token.map_or(Auth::None, Auth::Bearer)
        }
        (None, Some(basic)) => {
            let pointer = child(pointer, "basic");
            let user_pointer = child(&pointer, "user");
            let user = basic.user.as_deref().unwrap_or_default();
            let user = reference::expand(user, check.environment).unwrap_or_else(|faults| {
                for fault in faults {
                    check.document.report_fault(&user_pointer, fault);
                }
                String::from("user")
            });
            if user.contains(':') || user.chars().any(char::is_control) {
                let what = "a user has no `:` and no control characters";
                check.report(&user_pointer, what, "correct it");
            }
            let password = basic.password.as_deref();
            let password = password
                .and_then(|text| secret(check, &child(&pointer, "password"), text, is_loopback));
            password.map_or(Auth::None, |password| Auth::Basic { user, password })
        }
        (None, None) => {
            // What stands there in their place was reported already.
            let is_empty = check.document.is_empty_map(pointer);
            if is_empty {
                check.report_key(
                    pointer,
                    "no credentials",
                    "add `bearer:` or `basic:`, or remove `auth`",
                );
            }
            Auth::None
        }
    }
}

/// What reads a secret's file anew. A variable of the environment stays what it is as long as the process goes on.
fn renewal(folder: &Path, raw: &RawHttp, auth: &Auth) -> Option<Renewal> {
    let raw = raw.auth.as_ref()?;
    let text = match auth {
        Auth::None => None,
        Auth::Bearer(_) => raw.bearer.clone(),
        Auth::Basic { .. } => raw.basic.as_ref()?.password.clone(),
    };
    let text = text.filter(|text| text.starts_with("file:"))?;
    let (folder, auth) = (folder.to_owned(), auth.clone());
    Some(Renewal::new(move || {
        let secret = reference::secret(&text, &folder, false, &|_| None).ok()?;
        Some(match &auth {
            Auth::Basic { user, .. } => Auth::Basic { user: user.clone(), password: secret },
            Auth::Bearer(_) | Auth::None => Auth::Bearer(secret),
        })
    }))
}

/// Reads a secret, which is one reference.
pub fn secret(
    check: &mut Check,
    pointer: &str,
    text: &str,
    is_loopback: bool,
) -> Option<secrecy::SecretString> {
    if let Some(file) = text.strip_prefix("file:") {
        check.document.files.push(check.folder.join(file));
    }
    match reference::secret(text, check.folder, is_loopback, check.environment) {
        Ok(secret) => {
            let print = content::print(secret.expose_secret());
            check.document.credentials.insert(pointer.to_owned(), print);
            Some(secret)
        }
        Err(fault) => {
            check.document.report_fault(pointer, fault);
            None
        }
    }
}

/// Checks the headers of a connection or a request.
pub fn headers(
    check: &mut Check,
    pointer: &str,
    raw: Option<&Named<String>>,
) -> Vec<(String, String)> {
    let Some(raw) = raw else { return Vec::new() };
    let mut seen = HashSet::new();
    for (name, value) in &raw.0 {
        let pointer = child(pointer, name);
        let lower = name.to_ascii_lowercase();
        if let Some((what, remedy)) = wrong_header(&lower) {
            check.report_key(&pointer, format!("`{name}` {what}"), remedy);
        }
        if !seen.insert(lower) {
            check.report_key(
                &pointer,
                format!("`{name}` stands here twice"),
                "keep one of the two",
            );
        }
        if HeaderValue::from_str(value).is_err() || !value.is_ascii() {
            check.report(
                &pointer,
                "not the value of a header",
                "use ASCII characters, on one line",
            );
        }
    }
    raw.0.clone()
}

/// What speaks against a header of this lower-case name.
pub fn wrong_header(name: &str) -> Option<(&'static str, &'static str)> {
    if let Some(wrong) = wrong_name(name) {
        Some(wrong)
    } else if name == "authorization" {
        Some(("holds a credential", "use `auth: {bearer: \"${NAME}\"}` or `auth: {basic: ..}`"))
    } else if is_credential_name(name) || name == "proxy-authorization" {
        Some((
            "holds a credential, and credentials in headers of one's own are not built yet",
            "use `auth: {bearer: \"${NAME}\"}` or `auth: {basic: ..}` where the API allows it",
        ))
    } else {
        None
    }
}

/// What speaks against a header of this lower-case name, whatever it holds.
pub fn wrong_name(name: &str) -> Option<(&'static str, &'static str)> {
    const OURS: [&str; 6] =
        ["host", "content-length", "transfer-encoding", "connection", "content-encoding", "te"];
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        Some(("is not the name of a header", "use letters, digits and `-`"))
    } else if OURS.contains(&name) {
        Some(("is set by us", "remove it"))
    } else {
        None
    }
}
