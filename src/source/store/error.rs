//! What an error of a store means, in words of our own: thing, place and remedy.
//!
//! Invariant: neither an address with a signature nor an answer of a store is shown; of an answer its status and, where that
//! is one, the word for its error.

use std::error::Error as StdError;

use super::client::Lost;
use super::definition::{Location, Scheme};
use crate::source::{Error, tls};

/// What was asked of a store.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) enum Asked<'a> {
    /// What is below this beginning of keys.
    List(&'a str),
    /// Whether the object is there.
    Look(&'a str),
    /// Bytes of an object that was listed.
    Read(&'a str),
}

/// The bucket, container or host, for people.
pub(super) fn place(location: &Location) -> String {
    let holder = &location.holder;
    match location.scheme {
        Scheme::S3 | Scheme::Gs => format!("bucket `{holder}`"),
        Scheme::Az => format!("container `{holder}`"),
        Scheme::Http => format!("`{holder}`"),
    }
}

pub(super) fn told(
    table: &str,
    location: &Location,
    endpoint: Option<&str>,
    asked: Asked<'_>,
    error: &object_store::Error,
) -> Error {
    let key = match asked {
        Asked::List(key) | Asked::Look(key) | Asked::Read(key) => key,
    };
    let (object, place) = (location.place(key), place(location));
    let text = error.to_string();
    let code = code(&text).map_or(String::new(), |code| format!(" ({code})"));
    let store = location.scheme.key();
    let at = endpoint.map_or(String::new(), |endpoint| format!(" at `{endpoint}`"));
    let missing = |what: String| Error::Missing(format!("table `{table}`: {what}"));
    if let object_store::Error::Precondition { .. } = error {
        return changed(table, &object);
    }
    if let object_store::Error::InvalidPath { .. } = error {
        return missing(format!(
            "below `{object}` there is an object whose key has an empty part, `.` or `..`, which cannot be read; rename it \
             or name a narrower prefix"
        ));
    }
    if matches!(error, object_store::Error::NotSupported { .. }) || text.contains("non-partial") {
        return Error::Parts(format!(
            "table `{table}`: the server of `{object}` gives no parts of an object, which Parquet and Arrow need; let one serve it that \
             does, or download the file and name that"
        ));
    }
    match (status(error, &text), asked) {
        (Some(404), Asked::List(_)) => missing(format!(
            "there is no {place}{at}{code}; correct the location, or `endpoint` and `region` in `store: {{ {store}: .. }}`"
        )),
        (Some(404), Asked::Look(_)) => {
            missing(format!("no object `{object}`; correct the location or put the object there"))
        }
        (Some(404), Asked::Read(_)) => missing(format!(
            "object `{object}` is gone{code}, and it was there when the read began; run again when the objects are at rest"
        )),
        (Some(status @ (401 | 403)), _) if location.scheme == Scheme::Http => missing(format!(
            "`{object}` is refused with {status}; correct `headers` in `store: {{ http: .. }}`, or let them read it"
        )),
        (Some(status @ (401 | 403)), _) => missing(format!(
            "`{object}` is refused with {status}{code}; correct the credentials in `store: {{ {store}: .. }}` or in the \
             environment, or let them list and read {place}"
        )),
        (Some(status @ (300..=399)), _) if location.scheme == Scheme::Http => {
            missing(format!("`{object}` answers with {status}, another address; name that one"))
        }
        (Some(status @ (300..=399)), _) => missing(format!(
            "{place} is elsewhere ({status}); correct `region` or `endpoint` in `store: {{ {store}: .. }}`"
        )),
        (Some(416), Asked::Read(_)) => changed(table, &object),
        (Some(status), _) => missing(format!(
            "`{object}` cannot be read: the store answers with {status}{code}, also when it is asked again; see what the \
             store says, then run again"
        )),
        (None, _) => match lost(error) {
            Some(why) => match distrusted(&why) {
                Some(said) => missing(format!(
                    "`{object}` cannot be read: the store{at} is not believed: {said}"
                )),
                None => missing(format!(
                    "`{object}` cannot be read: the store{at} cannot be reached or broke off: {why}; check the network and \
                     {}, then run again",
                    address(location.scheme)
                )),
            },
            None => missing(format!(
                "`{object}` cannot be read: the answer of the store{at} makes no sense here; check {}",
                address(location.scheme)
            )),
        },
    }
}

/// What says where the store is.
fn address(scheme: Scheme) -> String {
    match scheme {
        Scheme::Http => "the location".to_owned(),
        Scheme::S3 | Scheme::Gs | Scheme::Az => {
            format!("`endpoint` in `store: {{ {}: .. }}`", scheme.key())
        }
    }
}

/// What the certificate of a store lacks, if that is `why` there is no connection to it, and what to do.
pub(super) fn distrusted(why: &str) -> Option<String> {
    tls::distrusted(why, "in the variable `SSL_CERT_FILE`")
}

pub(super) fn changed(table: &str, object: &str) -> Error {
    Error::Damaged(format!(
        "table `{table}`: object `{object}` changed during the read; run again when the objects are at rest"
    ))
}

/// Our own error behind one of a library, if there is one.
pub(in crate::source) fn own<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(own) = inner.downcast_ref::<Error>() {
            return Some(own);
        }
        cause = inner.source();
    }
    None
}

fn lost(error: &object_store::Error) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(Lost(why)) = inner.downcast_ref::<Lost>() {
            return Some(why.clone());
        }
        cause = inner.source();
    }
    None
}

/// The status of the answer. It has a variant where it means something to the library, else it stands in the text.
fn status(error: &object_store::Error, text: &str) -> Option<u16> {
    match error {
        object_store::Error::NotFound { .. } => Some(404),
        object_store::Error::PermissionDenied { .. } => Some(403),
        object_store::Error::Unauthenticated { .. } => Some(401),
        _ if text.contains("Received redirect without LOCATION") => Some(301),
        _ => {
            let (_, rest) = text.split_once("returned non-2xx status code: ")?;
            rest.get(..3)?.parse().ok()
        }
    }
}

/// The word for the error in an answer of a store, such as `NoSuchBucket`.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = code.len() <= 60 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn said(asked: Asked<'_>, error: &object_store::Error) -> String {
        let location =
            Location { scheme: Scheme::S3, holder: "lake".into(), pattern: "a/*.csv".into() };
        told("t", &location, Some("http://h:1"), asked, error).to_string()
    }

    #[test]
    fn an_answer_is_told_by_its_status_and_its_word_and_by_nothing_else_of_it() {
        let answer = |status: &str, code: &str| {
            generic(&format!(
                "Error performing GET http://h/?X-Amz-Signature=canary in 1ms - Server returned non-2xx status code: \
                 {status}: <Error><Code>{code}</Code><Message>canary</Message></Error>"
            ))
        };
        for (error, words) in [
            (
                answer("404 Not Found", "NoSuchBucket"),
                ["no bucket `lake` at `http://h:1` (NoSuchBucket)", "endpoint"],
            ),
            (answer("403 Forbidden", "AccessDenied"), ["403 (AccessDenied)", "credentials"]),
            (answer("301 Moved", "PermanentRedirect"), ["is elsewhere (301)", "`region`"]),
            (answer("500 Oh", "<b>canary</b>"), ["answers with 500,", "then run again"]),
            (generic("canary"), ["makes no sense", "`endpoint`"]),
        ] {
            let said = said(Asked::List("a/"), &error);
            for word in words {
                assert!(said.contains(word), "no `{word}` in {said}");
            }
            assert!(said.contains("table `t`") && !said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn a_file_on_the_web_has_no_endpoint_and_no_credentials_but_headers() {
        let location =
            Location { scheme: Scheme::Http, holder: "https://h".into(), pattern: "a.csv".into() };
        let said = |error| told("t", &location, None, Asked::Look("a.csv"), &error).to_string();
        let lost = |why: &str| object_store::Error::Generic {
            store: "HTTP",
            source: Box::new(Lost(why.to_owned())),
        };
        let untrusted = said(lost("invalid peer certificate: UnknownIssuer"));
        assert!(
            untrusted.contains("the store is not believed") && untrusted.contains("SSL_CERT_FILE")
        );
        let refused = said(lost("connection refused"));
        assert!(refused.contains("check the network and the location, then"), "{refused}");
        let forbidden = said(generic("Server returned non-2xx status code: 403 Forbidden: "));
        assert!(forbidden.contains("`headers` in `store: { http: .. }`"), "{forbidden}");
        for said in [untrusted, refused, forbidden] {
            assert!(!said.contains("endpoint") && !said.contains("credentials"), "{said}");
        }
    }

    #[test]
    fn another_state_of_an_object_is_told_as_a_change() {
        let error = object_store::Error::Precondition { path: "a".into(), source: "x".into() };
        let said = said(Asked::Read("a/b.csv"), &error);
        assert!(said.contains("object `s3://lake/a/b.csv` changed during the read"), "{said}");
    }
}
