//! Databases of every kind: where they are, whom they believe, and what holds in a session with them.
//!
//! Not responsible for what one kind alone has (`postgres`, `mysql`), nor for whether they can be reached. Invariants: a password
//! is only ever read into a secret; what is said twice is refused, not chosen from.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::connection::secret;
use super::document::child;
use super::queried::queried;
use super::raw_database::{RawChannelBinding, RawQueried, RawTls, RawVerify};
use super::raw_forms::{Named, StructureOrText, Whole};
use super::reference::{Environment, Fault};
use super::validate::Check;
use super::{reference, resolved, units};
use crate::source::remote::{Remote, Tls, Trust, Verify, is_near};
use crate::source::{Dialect, Secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The keys that databases of every kind have, as the file has them.
pub struct Parts<'r> {
    pub url: Option<&'r str>,
    pub host: Option<&'r String>,
    pub port: Option<Whole>,
    pub database: Option<&'r String>,
    pub user: Option<&'r String>,
    pub password: Option<&'r str>,
    pub tls: Option<&'r StructureOrText<RawTls>>,
    pub connect_timeout: Option<&'r str>,
    pub statement_timeout: Option<&'r str>,
    pub idle_timeout: Option<&'r str>,
    pub settings: Option<&'r Named<String>>,
    pub tables: Option<&'r Named<StructureOrText<RawQueried>>>,
}

/// What the kinds differ in.
pub struct Kind {
    /// What its addresses begin with.
    pub schemes: &'static [&'static str],
    /// Its name, and what an address of it looks like.
    pub name: &'static str,
    pub form: &'static str,
    pub port: u16,
    pub dialect: Dialect,
    pub options: Options,
    /// Settings that are ours, as reading goes by them; and those that a key of the source says.
    pub ours: &'static [&'static str],
    pub said_by_key: &'static [&'static str],
}

/// The names of an address's options, and the words that say what is verified.
pub struct Options {
    pub mode: &'static str,
    pub authorities: &'static str,
    pub certificate: &'static str,
    pub key: &'static str,
    pub full: &'static str,
    pub authority: &'static str,
    pub required: &'static str,
    pub off: &'static str,
    /// Words that leave it to the server.
    pub undecided: &'static [&'static str],
    /// Where authorities are named, what is required is believed only from those.
    pub verifies_what_it_can: bool,
    pub has_channel_binding: bool,
}

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

pub fn remote(check: &mut Check, pointer: &str, kind: &Kind, raw: &Parts<'_>) -> Remote {
    let at = |key: &str| child(pointer, key);
    let (address, is_absent) = address(check, &at("url"), kind, raw.url);
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
    let host = needed("host", raw.host, address.host);
    let user = needed("user", raw.user, address.user);
    let is_near = is_near(&host);
    let tls = match raw.tls {
        None => address.tls,
        Some(raw) => Some(tls(check, &at("tls"), &kind.options, raw)),
    };
    if host.starts_with('/') && matches!(tls, Some(Tls::On(_))) {
        check.report_key(&at("tls"), "a Unix socket has no TLS", "remove it, or write `tls: off`");
    }
    let mut password = address.password;
    if let Some(text) = raw.password {
        password = secret(check, &at("password"), text, is_near);
    }
    let mut time = |key: &str, text: Option<&str>| check.unit(&at(key), text, units::duration);
    let connect_timeout = time("connect_timeout", raw.connect_timeout).or(address.connect_timeout);
    let statement_timeout = time("statement_timeout", raw.statement_timeout);
    let idle_timeout = time("idle_timeout", raw.idle_timeout);
    let port = raw.port.as_ref().and_then(|port| u16::try_from(port.0).ok()).or(address.port);
    Remote {
        host,
        port: port.unwrap_or(kind.port),
        database: raw.database.cloned().or(address.database).unwrap_or_default(),
        user,
        password: password.map(Secret::new),
        tls: tls.unwrap_or_else(|| match is_near {
            true => Tls::Off,
            false => Tls::On(Trust::default()),
        }),
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        statement_timeout,
        idle_timeout: idle_timeout.unwrap_or(IDLE_TIMEOUT),
        settings: settings(check, &at("settings"), kind, raw.settings),
        tables: queried(check, &at("tables"), kind.dialect, raw.tables),
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

/// What the address says; and whether what it stands for is not there.
fn address(check: &mut Check, pointer: &str, kind: &Kind, text: Option<&str>) -> (Address, bool) {
    let Some(text) = text else { return (Address::default(), false) };
    if has_open_password(text) {
        let remedy =
            "write it as `password: ${NAME}`, or the whole address as `${NAME}` or `file:PATH`";
        check.report(pointer, "a password stands in the file", remedy);
        return (Address::default(), false);
    }
    let expanded = match text.starts_with("file:") {
        true => secret(check, pointer, text, false),
        false => match expanded(text, check.environment) {
            Ok(expanded) => Some(expanded.into()),
            Err(faults) => {
                faults.into_iter().for_each(|fault| check.document.report_fault(pointer, fault));
                None
            }
        },
    };
    let Some(expanded) = expanded else { return (Address::default(), true) };
    match parsed(check, kind, expanded.expose_secret()) {
        Ok(address) => (address, false),
        Err((what, remedy)) => {
            check.report(pointer, what, remedy);
            (Address::default(), false)
        }
    }
}

/// The address with what its references stand for; where that is a user or a password, it is that, whatever letters it has.
fn expanded(text: &str, environment: Environment<'_>) -> Result<String, Vec<Fault>> {
    let encoded = |name: &str| {
        let value = environment(name)?;
        Some(utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string())
    };
    let (user, rest) = text.split_at(end_of_user(text));
    if let Some((_, part)) = user.split_once("://")
        && part.starts_with("${")
        && part.find('}') == Some(part.len() - 1)
        && reference::expand(part, environment)?.contains(':')
    {
        return Err(vec![Fault {
            what: "the reference before the `@` stands for more than a user".to_owned(),
            remedy: "write `${USER}:${PASSWORD}@`, or the whole address as one reference"
                .to_owned(),
            is_absent: false,
        }]);
    }
    Ok(reference::expand(user, &encoded)? + &reference::expand(rest, environment)?)
}

/// Where the part of an address ends that has its user and password; 0 where it has none, or is a reference as a whole.
fn end_of_user(text: &str) -> usize {
    let Some(begin) = text.find("://").filter(|begin| !text[..*begin].contains("${")) else {
        return 0;
    };
    let (mut at, mut end) = (begin + 3, 0);
    while let Some(letter) = text[at..].chars().next() {
        match letter {
            '/' | '?' | '#' => break,
            '@' => end = at,
            _ => {}
        }
        let reference = text[at..].starts_with("${").then(|| text[at..].find('}')).flatten();
        at += reference.map_or(letter.len_utf8(), |end| end + 1);
    }
    end
}

type Wrong = (String, String);

fn wrong<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err((what.into(), remedy.into()))
}

/// Never shows a part of the address but the names of its options.
fn parsed(check: &Check, kind: &Kind, text: &str) -> Result<Address, Wrong> {
    let form = format!("write `{}`", kind.form);
    let Ok(url) = Url::parse(text) else { return wrong("not an address", form) };
    if !kind.schemes.contains(&url.scheme()) {
        return wrong(format!("not the address of a {} database", kind.name), form);
    }
    if url.fragment().is_some() {
        return wrong("the address has a `#`", "write `%23` where it belongs to a name");
    }
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok((!text.is_empty()).then(|| text.into_owned())),
        Err(_) => wrong("the address has what is not UTF-8", "encode it as `%..` in UTF-8"),
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
    options(check, kind, &url, &mut address)?;
    Ok(address)
}

fn options(check: &Check, kind: &Kind, url: &Url, address: &mut Address) -> Result<(), Wrong> {
    let known = &kind.options;
    let (mut mode, mut trust, mut files) = (None, Trust::default(), [None, None]);
    let path = |text: &str| resolved(check.folder, text);
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => wrong("the address has what is not UTF-8", "encode it as `%..` in UTF-8"),
    };
    let mut said = BTreeSet::new();
    // A `+` is none of a form's blanks: it may be of a password.
    for option in url.query().unwrap_or_default().split('&').filter(|it| !it.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if !said.insert(name.clone()) || name == "password" && address.password.is_some() {
            return wrong("the address says one thing twice", "keep one of the two");
        }
        match &*name {
            name if name == known.mode => mode = Some(value),
            name if name == known.authorities => trust.authorities = Some(path(&value)),
            name if name == known.certificate => files[0] = Some(path(&value)),
            name if name == known.key => files[1] = Some(path(&value)),
            "channel_binding" if known.has_channel_binding && value == "require" => {
                trust.needs_channel_binding = true;
            }
            "channel_binding" if known.has_channel_binding && value == "prefer" => {}
            "password" => address.password = Some(value.into()),
            "connect_timeout" => match value.parse().ok().filter(|seconds| *seconds > 0) {
                Some(seconds) => address.connect_timeout = Some(Duration::from_secs(seconds)),
                None => {
                    let what = "`connect_timeout` in the address is not a number";
                    return wrong(what, "write whole seconds");
                }
            },
            _ => {
                // What is no name may be a part of a password with a `?`.
                let is_of_name = |b: u8| b.is_ascii_lowercase() || b == b'_' || b == b'-';
                let named = match name.len() <= 32 && name.bytes().all(is_of_name) {
                    true => format!("the option `{name}`"),
                    false => "an option".to_owned(),
                };
                let what = format!("the address has {named} that is not known here");
                return wrong(what, "remove it; session settings go under `settings:`");
            }
        }
    }
    let [certificate, key] = files;
    trust.certificate = pair(certificate, key)?;
    if mode.is_none() && trust == Trust::default() {
        return Ok(());
    }
    address.tls = Some(verified(known, mode.as_deref().unwrap_or(known.full), trust)?);
    Ok(())
}

/// What the word for it in an address says.
fn verified(known: &Options, mode: &str, mut trust: Trust) -> Result<Tls, Wrong> {
    let Options { mode: option, full, authority, required, off, .. } = known;
    let is = |word: &str| mode.eq_ignore_ascii_case(word);
    trust.verify = if is(full) {
        Verify::Full
    } else if is(off) {
        return Ok(Tls::Off);
    } else if is(authority) && trust.authorities.is_none() {
        // Whoever has a certificate of any name would be believed.
        let remedy = format!("add `{}`, or write `{option}={full}`", known.authorities);
        return wrong(format!("`{option}={authority}` names no authority"), remedy);
    } else if is(authority)
        || is(required) && known.verifies_what_it_can && trust.authorities.is_some()
    {
        Verify::Authority
    } else if is(required) && trust.authorities.is_some() {
        let remedy = format!("write `{option}={authority}` or `{full}`, or remove the authority");
        let what =
            format!("`{option}={required}` verifies nothing, and `{}` is named", known.authorities);
        return wrong(what, remedy);
    } else if is(required) {
        Verify::Nothing
    } else if known.undecided.iter().any(|word| is(word)) {
        let remedy = format!("write `{option}={full}`, or `{off}`");
        return wrong(format!("`{option}` of the address decides nothing"), remedy);
    } else {
        let remedy = format!("write `{full}`, `{authority}`, `{required}` or `{off}`");
        return wrong(format!("`{option}` of the address is not known"), remedy);
    };
    Ok(Tls::On(trust))
}

fn pair(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<(PathBuf, PathBuf)>, Wrong> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        _ => wrong("a client's certificate and its key go together", "name both"),
    }
}

fn tls(check: &mut Check, pointer: &str, known: &Options, raw: &StructureOrText<RawTls>) -> Tls {
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
    if matches!(raw.verify, Some(RawVerify::None)) && authorities.is_some() {
        let remedy = "write `verify: full` or `verify: ca`, or remove `ca`";
        check.report_key(pointer, "`verify: none` verifies nothing, and `ca` is named", remedy);
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
    if raw.channel_binding.is_some() && !known.has_channel_binding {
        let at = child(pointer, "channel_binding");
        check.report_key(&at, "`channel_binding` is for PostgreSQL", "remove it");
    }
    let needs_channel_binding = matches!(raw.channel_binding, Some(RawChannelBinding::Require));
    Tls::On(Trust { verify, authorities, certificate, needs_channel_binding })
}

fn settings(
    check: &mut Check,
    pointer: &str,
    kind: &Kind,
    raw: Option<&Named<String>>,
) -> Vec<(String, String)> {
    let settings = raw.map(|named| named.0.clone()).unwrap_or_default();
    for (name, _) in &settings {
        let at = child(pointer, name);
        let lower = name.to_ascii_lowercase();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b));
        if !is_name {
            let what = format!("`{name}` is not the name of a setting");
            check.report_key(&at, what, "use letters, digits, `_` and `.`");
        } else if kind.ours.contains(&&*lower) {
            check.report_key(&at, format!("`{name}` is set by us"), "remove it");
        } else if kind.said_by_key.contains(&&*lower) {
            let remedy = "say `statement_timeout` at the source";
            check.report_key(&at, format!("`{name}` is set by us"), remedy);
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
