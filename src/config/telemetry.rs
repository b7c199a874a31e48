//! Where traces of runs go.

use std::collections::HashSet;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::connection::{address, is_loopback, secret, wrong_name};
use super::document::child;
use super::raw::RawConfig;
use super::raw_forms::Named;
use super::reference;
use super::validate::Check;
use crate::destination::definition::is_credential_name;
use crate::telemetry::traces::{self, Collector};

/// Checks `telemetry:`.
pub fn collector(check: &mut Check, raw: &RawConfig) -> Option<Collector> {
    let raw = raw.telemetry.as_ref()?;
    let pointer = "/telemetry/otlp";
    let Some(raw) = &raw.otlp else {
        if !check.document.has(pointer) {
            check.report_key("/telemetry", "it says nothing", "add `otlp:`, or remove it");
        }
        return None;
    };
    if !traces::IS_BUILT {
        let what = "this build sends no traces".to_owned();
        let remedy = format!("{}, or remove the section", traces::REMEDY);
        check.document.report_absent(pointer, what, remedy);
    }
    let url = address(check, &child(pointer, "endpoint"), raw.endpoint.as_deref());
    let is_loopback = url.as_ref().is_some_and(is_loopback);
    let at = child(pointer, "headers");
    let headers = raw.headers.as_ref().map(|raw| headers(check, &at, raw, is_loopback));
    let endpoint = url?.as_str().trim_end_matches('/').to_owned();
    Some(Collector { endpoint, headers: headers.unwrap_or_default() })
}

/// Headers of which some are credentials.
pub fn headers(
    check: &mut Check,
    pointer: &str,
    raw: &Named<String>,
    is_loopback: bool,
) -> Vec<(String, SecretString)> {
    let mut headers = Vec::new();
    let mut seen = HashSet::new();
    for (name, text) in &raw.0 {
        let at = child(pointer, name);
        let lower = name.to_ascii_lowercase();
        if let Some((what, remedy)) = wrong_name(&lower) {
            check.report_key(&at, format!("`{name}` {what}"), remedy);
        }
        if !seen.insert(lower) {
            let what = format!("`{name}` stands here twice");
            check.report_key(&at, what, "keep one of the two");
        }
        headers.extend(header(check, &at, name, text, is_loopback));
    }
    headers
}

/// A header: a reference, behind a word such as `Bearer` if need be; plain text where its name is that of no credential.
fn header(
    check: &mut Check,
    pointer: &str,
    name: &str,
    text: &str,
    is_loopback: bool,
) -> Option<(String, SecretString)> {
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
    let scheme = text.split_once(' ').map(|(word, _)| word).filter(is_word).unwrap_or_default();
    let rest = text[scheme.len()..].trim_start();
    let is_reference = rest.starts_with("file:") || reference::has_references(rest);
    let value = if is_reference || is_credential_name(name) {
        let value = secret(check, pointer, rest, is_loopback)?;
        let gap = if scheme.is_empty() { "" } else { " " };
        SecretString::from(format!("{scheme}{gap}{}", value.expose_secret()))
    } else {
        SecretString::from(text)
    };
    let is_sound = HeaderValue::from_str(value.expose_secret()).is_ok();
    if !is_sound || !value.expose_secret().is_ascii() {
        check.report(pointer, "not the value of a header", "use ASCII characters, on one line");
    }
    Some((name.to_owned(), value))
}
