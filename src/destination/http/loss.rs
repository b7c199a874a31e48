//! What an attempt came to when no full answer was read: never connected is not applied, sent is unknown.

use std::error::Error as _;
use std::io;

use crate::destination::answer::{Attempt, Effect, Judgement, Refusal};

/// What an attempt without a full answer came to.
pub(super) fn lost(error: &reqwest::Error, status: Option<u16>) -> Attempt {
    let refusal = |code: &str, message: String| Refusal { code: code.to_owned(), message };
    let judgement = if error.is_builder() {
        let message = format!("the request cannot be made: {}", root(error));
        Judgement::Halt(refusal("request", message), Effect::None)
    } else if error.is_dns() {
        Judgement::NotApplied(refusal(
            "dns",
            format!("the host's name is not found: {}", root(error)),
        ))
    } else if error.is_connect() && is_tls(error) {
        let message = format!("the host cannot be trusted: {}", root(error));
        Judgement::Halt(refusal("tls", message), Effect::None)
    } else if error.is_connect() && error.is_timeout() {
        Judgement::NotApplied(refusal("connect", "no connection within the timeout".to_owned()))
    } else if error.is_connect() {
        Judgement::NotApplied(refusal("connect", format!("no connection: {}", root(error))))
    } else if error.is_timeout() {
        Judgement::Unknown(refusal("timeout", "no full answer within the timeout".to_owned()))
    } else {
        Judgement::Unknown(refusal(
            "lost",
            "the connection ended before the full answer".to_owned(),
        ))
    };
    Attempt { judgement, status, retry_after: None }
}

/// Whether a handshake failed for what the other side is, not for a connection that ended.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let mut layer = cause.downcast_ref::<io::Error>();
        while let Some(io) = layer {
            // Only the TLS layer finds invalid data before a request was sent.
            if io.kind() == io::ErrorKind::InvalidData {
                return true;
            }
            layer = io.get_ref().and_then(|inner| inner.downcast_ref());
        }
        next = cause.source();
    }
    false
}

/// The words of the innermost cause: no address in them.
pub(super) fn root(error: &reqwest::Error) -> String {
    let mut words = String::from("unknown cause");
    let mut next = error.source();
    while let Some(cause) = next {
        words = cause.to_string();
        next = cause.source();
    }
    words
}
