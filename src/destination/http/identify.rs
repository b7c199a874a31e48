//! Asks an API whose account the credentials are for, and whether it can be reached at all.
//!
//! Sends nothing of any row. Guards: an account that holds a credential is none, as it is stored and shown; the words of a
//! fault hold no address and nothing of an answer.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Url};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::client::{build, read};
use super::credentials::{Credentials, Current};
use super::loss::lost;
use super::outcome::retry_after;
use super::{Error, headers_of};
use crate::destination::answer::{Judgement, Refusal};
use crate::destination::definition::{Connection, Identify};
use crate::points::wall_clock;
use crate::shutdown::blocking;

const UNAUTHORIZED: &str = "401";
/// Characters of the longest account.
const LONGEST: usize = 200;

/// Why nothing was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A status, or a word such as `connect`.
    pub code: String,
    pub message: String,
    /// Another attempt may succeed.
    pub is_passing: bool,
    pub retry_after: Option<Duration>,
}

/// Asks for the account; and the credentials it was asked with, which are for it whatever their file holds by now.
///
/// # Errors
/// It was not learned; one attempt, no retry.
pub async fn account(
    connection: &Connection,
    identify: &Identify,
) -> Result<(String, Credentials), Fault> {
    let client = client(connection)?;
    let credentials = Credentials::new(connection);
    let asked = whose(&client, connection, identify, &credentials.current()).await;
    let account = match asked {
        // A secret may have changed a moment ago.
        Err(fault) if fault.code == UNAUTHORIZED => {
            let others = blocking(|| credentials.others()).ok_or(fault)?;
            let account = whose(&client, connection, identify, &others).await?;
            credentials.take(others);
            account
        }
        asked => asked?,
    };
    Ok((account, credentials))
}

/// The account that these credentials are for.
///
/// # Errors
/// As [`account`].
pub(super) async fn whose(
    client: &Client,
    connection: &Connection,
    identify: &Identify,
    current: &Current,
) -> Result<String, Fault> {
    let (status, wait, body) = ask(client, connection, identify, current).await?;
    if !(200..300).contains(&status) {
        return Err(refused(status, wait));
    }
    let found = named(&body, &identify.pointer).map_err(|message| fault("no_account", message))?;
    let holds = |secret: &secrecy::SecretString| {
        !secret.expose_secret().is_empty() && found.contains(secret.expose_secret())
    };
    if current.all_secrets().chain(&connection.hidden).any(holds) {
        let message = "the account that the answer names holds a credential; name another field";
        return Err(fault("no_account", message));
    }
    Ok(found)
}

async fn ask(
    client: &Client,
    connection: &Connection,
    identify: &Identify,
    current: &Current,
) -> Result<(u16, Option<Duration>, Bytes), Fault> {
    let mut request = request(connection, &identify.path)?;
    request.headers_mut().extend(headers_of(&connection.headers));
    if let Some(value) = &current.authorization {
        request.headers_mut().insert(AUTHORIZATION, value.clone());
    }
    answer(client, request).await
}

/// Asks for the base address without credentials, only to see that somebody answers there; the status of the answer.
///
/// # Errors
/// Nobody did.
pub async fn reach(connection: &Connection) -> Result<u16, Fault> {
    let client = client(connection)?;
    let response = client.execute(request(connection, "")?).await;
    Ok(response.map_err(|error| of_attempt(lost(&error, None).judgement))?.status().as_u16())
}

fn client(connection: &Connection) -> Result<Client, Fault> {
    build(connection).map_err(|error: Error| fault("client", error.to_string()))
}

fn request(connection: &Connection, path: &str) -> Result<Request, Fault> {
    let url = Url::parse(&format!("{}{path}", connection.base_url));
    let url = url.map_err(|_| fault("request", "the address cannot be asked"))?;
    let mut request = Request::new(Method::GET, url);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// The answer, read in full.
async fn answer(
    client: &Client,
    request: Request,
) -> Result<(u16, Option<Duration>, Bytes), Fault> {
    let response = client.execute(request).await;
    let response = response.map_err(|error| of_attempt(lost(&error, None).judgement))?;
    let status = response.status().as_u16();
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = wait.and_then(|text| retry_after(text, wall_clock()));
    let body = read(response).await.map_err(|attempt| of_attempt(attempt.judgement))?;
    Ok((status, wait, body))
}

/// The account in an answer.
fn named(body: &[u8], pointer: &str) -> Result<String, String> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| "the answer is no JSON".to_owned())?;
    let account = match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(format!("`{pointer}` of the answer is neither text nor a number")),
        None => return Err(format!("the answer has no `{pointer}`")),
    };
    let is_plain = !account.trim().is_empty()
        && account.chars().count() <= LONGEST
        && !account.chars().any(char::is_control);
    match is_plain {
        true => Ok(account),
        false => Err(format!("`{pointer}` of the answer is not the name of an account")),
    }
}

fn refused(status: u16, wait: Option<Duration>) -> Fault {
    let message = match status {
        401 | 403 => "the credentials are refused",
        300..=399 => "it redirects, and redirects are never followed",
        404 | 410 => "there is nothing at the path of `identify`",
        408 | 425 | 429 | 500..=599 => "it cannot answer now",
        _ => "it refuses the question",
    };
    let is_passing = matches!(status, 408 | 425 | 429 | 500..=599);
    Fault { is_passing, retry_after: wait, ..fault(&status.to_string(), message) }
}

/// What an attempt without an answer in full came to; asking again does no harm.
fn of_attempt(judgement: Judgement) -> Fault {
    let (Refusal { code, message }, is_passing) = match judgement {
        Judgement::NotApplied(refusal) | Judgement::Unknown(refusal) => (refusal, true),
        Judgement::Split(refusal) | Judgement::Halt(refusal, _) => (refusal, false),
        Judgement::Records(_) => return fault("lost", "the answer could not be read"),
    };
    Fault { is_passing, ..fault(&code, message) }
}

pub(super) fn fault(code: &str, message: impl Into<String>) -> Fault {
    Fault { code: code.to_owned(), message: message.into(), is_passing: false, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_text_or_a_number_at_its_place() {
        let named = |body: &str, pointer| named(body.as_bytes(), pointer);
        assert_eq!(named(r#"{"a":{"id":"acme"}}"#, "/a/id").unwrap(), "acme");
        assert_eq!(named(r#"{"id":17}"#, "/id").unwrap(), "17");
        assert_eq!(named(r#""acme""#, "").unwrap(), "acme");
        for (body, word) in [
            ("<html>", "no JSON"),
            ("{}", "has no `/id`"),
            (r#"{"id":null}"#, "neither text"),
            (r#"{"id":{"a":1}}"#, "neither text"),
            (r#"{"id":" "}"#, "not the name"),
            (r#"{"id":"a\nb"}"#, "not the name"),
        ] {
            let why = named(body, "/id").unwrap_err();
            assert!(why.contains(word), "{body}: {why}");
        }
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(LONGEST + 1));
        assert!(named(&long, "/id").is_err());
    }

    #[test]
    fn only_what_passes_by_itself_is_asked_again() {
        for (status, is_passing) in
            [(401, false), (403, false), (404, false), (302, false), (429, true), (503, true)]
        {
            assert_eq!(refused(status, None).is_passing, is_passing, "{status}");
        }
    }
}
