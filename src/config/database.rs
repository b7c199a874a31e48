//! Databases: where they are, whom they believe, and what holds in a session with them.
//!
//! Not responsible for whether they can be reached. Invariants: a password is only ever read into a secret; what is said twice is
//! refused, not chosen from.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::connection::secret;
use super::document::child;
use super::raw_database::{
    RawChannelBinding, RawInfinity, RawPostgres, RawRowSecurity, RawTls, RawVerify,
};
use super::raw_forms::StructureOrText;
use super::validate::Check;
use super::{reference, resolved, units};
use crate::source::Secret;
use crate::source::postgres::definition::{Definition, Tls, Trust, Verify};

const PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Settings that are ours, as reading goes by them.
const OURS: [&str; 14] = [
    "bytea_output",
    "client_connection_check_interval",
    "client_encoding",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "role",
    "row_security",
    "timezone",
    "transaction_isolation",
    "transaction_read_only",
];

/// What an address says.
#[derive(Default)]
struct Address {
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    connect_timeout: Option<Duration>,
    tls: Option<Tls>,
}

pub fn postgres(check: &mut Check, pointer: &str, raw: &RawPostgres) -> Definition {
    let at = |key: &str| child(pointer, key);
    let (address, is_absent) = address(check, &at("url"), raw.url.as_deref());
    let twice = [
        ("host", address.host.is_some() && raw.host.is_some()),
        ("port", address.port.is_some() && raw.port.is_some()),
        ("database", address.database.is_some() && raw.database.is_some()),
        ("user", address.user.is_some() && raw.user.is_some()),
        ("password", address.password.is_some() && raw.password.is_some()),
        ("tls", address.tls.is_some() && raw.tls.is_some()),
        ("connect_timeout", address.connect_timeout.is_some() && raw.connect_timeout.is_some()),
    ];
    for (key, _) in twice.iter().filter(|(_, is_twice)| *is_twice) {
        let what = format!("both `url` and `{key}` say it");
        check.report_key(&at(key), what, format!("remove `{key}`, or take it out of `url`"));
    }
    let mut needed = |key: &str, said: Option<&String>, of_url: Option<String>| {
        let said = said.cloned().or(of_url).filter(|text| !text.is_empty());
        if said.is_none() && !is_absent && !check.document.has_problem_within(pointer) {
            let what = format!("no `{key}`");
            check.report_key(pointer, what, format!("add `{key}:`, or name it in `url`"));
        }
        said.unwrap_or_default()
    };
    let host = needed("host", raw.host.as_ref(), address.host);
    let user = needed("user", raw.user.as_ref(), address.user);
    let is_near = is_near(&host);
    let tls = match &raw.tls {
        None => address.tls,
        Some(raw) => Some(tls(check, &at("tls"), raw)),
    };
    if host.starts_with('/') && matches!(tls, Some(Tls::On(_))) {
        check.report_key(&at("tls"), "a Unix socket has no TLS", "remove it, or write `tls: off`");
    }
    let mut password = address.password;
    if let Some(text) = &raw.password {
        password = secret(check, &at("password"), text, is_near);
    }
    let mut time =
        |key: &str, text: &Option<String>| check.unit(&at(key), text.as_deref(), units::duration);
    let connect_timeout = time("connect_timeout", &raw.connect_timeout).or(address.connect_timeout);
    let statement_timeout = time("statement_timeout", &raw.statement_timeout);
    let idle_timeout = time("idle_timeout", &raw.idle_timeout);
    let port = raw.port.and_then(|port| u16::try_from(port.0).ok()).or(address.port);
    let database = raw.database.clone().or(address.database).unwrap_or_else(|| user.clone());
    if raw.role.as_deref().is_some_and(str::is_empty) {
        check.report(&at("role"), "an empty name", "name a role, or remove the key");
    }
    Definition {
        host,
        port: port.unwrap_or(PORT),
        database,
        user,
        password: password.map(Secret::new),
        tls: tls.unwrap_or_else(|| match is_near {
            true => Tls::Off,
            false => Tls::On(Trust::default()),
        }),
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        statement_timeout,
        idle_timeout: idle_timeout.unwrap_or(IDLE_TIMEOUT),
        applies_row_security: matches!(raw.row_security, Some(RawRowSecurity::Apply)),
        role: raw.role.clone(),
        settings: settings(check, &at("settings"), raw),
        is_infinity_null: matches!(raw.infinity, Some(RawInfinity::AsNull)),
        written: written(check, pointer),
    }
}

/// The parts that name the database, as they are written, where references stand in any of them.
fn written(check: &Check, pointer: &str) -> Option<String> {
    let parts = ["url", "host", "database", "user"];
    let parts = parts.iter().filter_map(|key| {
        check.document.written_reference(&child(pointer, key)).or_else(|| {
            let text = check.document.written(&child(pointer, key));
            text.starts_with("file:").then(|| text.to_owned())
        })
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Whether the host is this machine.
fn is_near(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.starts_with('/')
        || host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
}

/// What the address says; and whether what it stands for is not there.
fn address(check: &mut Check, pointer: &str, text: Option<&str>) -> (Address, bool) {
    let Some(text) = text else { return (Address::default(), false) };
    if has_open_password(text) {
        let remedy =
            "write it as `password: ${NAME}`, or the whole address as `${NAME}` or `file:PATH`";
        check.report(pointer, "a password stands in the file", remedy);
        return (Address::default(), false);
    }
    let expanded = match text.starts_with("file:") {
        true => secret(check, pointer, text, false),
        false => match reference::expand(text, check.environment) {
            Ok(expanded) => Some(expanded.into()),
            Err(faults) => {
                faults.into_iter().for_each(|fault| check.document.report_fault(pointer, fault));
                None
            }
        },
    };
    let Some(expanded) = expanded else { return (Address::default(), true) };
    match parsed(check, expanded.expose_secret()) {
        Ok(address) => (address, false),
        Err((what, remedy)) => {
            check.report(pointer, what, remedy);
            (Address::default(), false)
        }
    }
}

type Wrong = (String, &'static str);

/// Never shows a part of the address but the names of its options.
fn parsed(check: &Check, text: &str) -> Result<Address, Wrong> {
    const FORM: &str = "write `postgres://USER@HOST:5432/DATABASE`";
    let wrong = |what: &str, remedy: &'static str| Err((what.to_owned(), remedy));
    let Ok(url) = Url::parse(text) else { return wrong("not an address", FORM) };
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return wrong("not the address of a PostgreSQL database", FORM);
    }
    if url.fragment().is_some() {
        return wrong("the address has a `#`", "write `%23` where it belongs to a name");
    }
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| {
            ("the address has what is not UTF-8".to_owned(), "encode it as `%..` in UTF-8")
        })?;
        Ok::<_, Wrong>((!text.is_empty()).then(|| text.into_owned()))
    };
    let host = decoded(url.host_str().unwrap_or_default())?;
    if host.as_ref().is_some_and(|host| host.contains(',')) {
        return wrong("the address names several hosts", "name one");
    }
    let database = decoded(url.path().trim_start_matches('/'))?;
    let mut address = Address {
        host,
        port: url.port(),
        database,
        user: decoded(url.username())?,
        password: decoded(url.password().unwrap_or_default())?.map(SecretString::from),
        ..Address::default()
    };
    options(check, &url, &mut address)?;
    Ok(address)
}

fn options(check: &Check, url: &Url, address: &mut Address) -> Result<(), Wrong> {
    let (mut mode, mut trust, mut files) = (None, Trust::default(), [None, None]);
    let path = |text: &str| resolved(check.folder, text);
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" => mode = Some(value.into_owned()),
            "sslrootcert" => trust.authorities = Some(path(&value)),
            "sslcert" => files[0] = Some(path(&value)),
            "sslkey" => files[1] = Some(path(&value)),
            "channel_binding" if value == "require" => trust.needs_channel_binding = true,
            "channel_binding" if value == "prefer" => {}
            "password" => address.password = Some(value.into_owned().into()),
            "connect_timeout" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.ok_or_else(|| {
                    let what = "`connect_timeout` in the address is not a number".to_owned();
                    (what, "write whole seconds")
                })?;
                address.connect_timeout = Some(Duration::from_secs(seconds));
            }
            _ => {
                // What is no name may be a part of a password with a `?`.
                let is_name = |name: &str| {
                    name.len() <= 32 && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
                };
                let named = if is_name(&name) {
                    format!("the option `{name}`")
                } else {
                    "an option".to_owned()
                };
                let what = format!("the address has {named} that is not known here");
                return Err((what, "remove it; session settings go under `settings:`"));
            }
        }
    }
    let [certificate, key] = files;
    trust.certificate = pair(certificate, key)?;
    trust.verify = match mode.as_deref() {
        None if trust == Trust::default() => return Ok(()),
        None | Some("verify-full") => Verify::Full,
        Some("disable") => {
            address.tls = Some(Tls::Off);
            return Ok(());
        }
        // Whoever has a certificate of any name would be believed.
        Some("verify-ca") if trust.authorities.is_none() => {
            let what = "`sslmode=verify-ca` names no authority".to_owned();
            return Err((what, "add `sslrootcert`, or write `sslmode=verify-full`"));
        }
        Some("verify-ca") => Verify::Authority,
        // As libpq has it.
        Some("require") if trust.authorities.is_some() => Verify::Authority,
        Some("require") => Verify::Nothing,
        Some("allow" | "prefer") => {
            let what = "`sslmode` of the address decides nothing".to_owned();
            return Err((what, "write `sslmode=verify-full`, or `disable`"));
        }
        Some(_) => {
            let what = "`sslmode` of the address is not known".to_owned();
            return Err((what, "write `verify-full`, `verify-ca`, `require` or `disable`"));
        }
    };
    address.tls = Some(Tls::On(trust));
    Ok(())
}

fn pair(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<(PathBuf, PathBuf)>, Wrong> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        _ => Err(("a client's certificate and its key go together".to_owned(), "name both")),
    }
}

fn tls(check: &mut Check, pointer: &str, raw: &StructureOrText<RawTls>) -> Tls {
    let raw = match raw {
        StructureOrText::Text(text) => {
            if text != "off" {
                let what = format!("unknown word `{}`", check.document.written(pointer));
                check.report(pointer, what, "write `off`, or what is verified: `{verify: full}`");
            }
            return Tls::Off;
        }
        StructureOrText::Structure(raw) => raw,
    };
    let path = |text: &Option<String>| text.as_deref().map(|text| resolved(check.folder, text));
    let (authorities, certificate, key) = (path(&raw.ca), path(&raw.certificate), path(&raw.key));
    if matches!(raw.verify, Some(RawVerify::Ca)) && authorities.is_none() {
        let what = "`verify: ca` names no authority".to_owned();
        check.report_key(pointer, what, "add `ca` with its certificate, or write `verify: full`");
    }
    let verify = match raw.verify {
        None | Some(RawVerify::Full) => Verify::Full,
        Some(RawVerify::Ca) => Verify::Authority,
        Some(RawVerify::None) => Verify::Nothing,
    };
    let certificate = pair(certificate, key).unwrap_or_else(|(what, remedy)| {
        check.report_key(pointer, what, remedy);
        None
    });
    let needs_channel_binding = matches!(raw.channel_binding, Some(RawChannelBinding::Require));
    Tls::On(Trust { verify, authorities, certificate, needs_channel_binding })
}

fn settings(check: &mut Check, pointer: &str, raw: &RawPostgres) -> Vec<(String, String)> {
    let settings = raw.settings.as_ref().map(|named| named.0.clone()).unwrap_or_default();
    for (name, _) in &settings {
        let at = child(pointer, name);
        let lower = name.to_ascii_lowercase();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b));
        if !is_name {
            let what = format!("`{name}` is not the name of a setting");
            check.report_key(&at, what, "use letters, digits, `_` and `.`");
        } else if OURS.contains(&&*lower) {
            check.report_key(&at, format!("`{name}` is set by us"), "remove it");
        } else if matches!(&*lower, "statement_timeout" | "lock_timeout") {
            check.report_key(
                &at,
                format!("`{name}` is set by us"),
                "say `statement_timeout` at the source",
            );
        }
    }
    settings
}

/// Whether the address of a database has a password that is not a reference.
pub fn has_open_password(text: &str) -> bool {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let said = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    let is_open = |password: &str| !password.is_empty() && !reference::is_reference(password);
    let is_whole_reference = reference::has_references(text) && !text.contains("://");
    !is_whole_reference
        && (said.is_some_and(|(_, password)| is_open(password)) || query.contains("password="))
}
