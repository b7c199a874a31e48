//! What all commands have in common: who gives them, that they are audited, and that a repetition is known as one.
//!
//! Every POST passes here. A command with an `Idempotency-Key` that was carried out within the last day is answered as it
//! was then, without a second effect; another request under the same key is refused. Where no token was ever made, the user
//! that a command names as its giver is believed and audited. Not responsible for effects.
//!
//! Invariants: the key is claimed in the transaction of the first effect (`store::command`); a command without an effect
//! is audited all the same, and one that cannot be audited is no success; a refused command has no effect, so that its
//! key stays free. But for a 503 that comes behind the effect, of a `connection replace` whose config is not in place yet
//! and of a decision (`discard`) that is carried out later: then the key is in use, and a repetition is told what was audited.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::RequestExt as _;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::gate::{Caller, LOCAL};
use super::problem::Problem;
use super::{App, BODY, backlog, document, token, wire};
use crate::control::handle::Given;
use crate::domain::hexadecimal;
use crate::domain::id::{Instant, RunId};
use crate::domain::message::one_line;
use crate::engine::run::now;
use crate::store::{Audited, Claim, Mark, Store, Used};

/// The header that a repetition is known by.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header with the user that gives a command, for the audit where there are no tokens.
pub const USER: HeaderName = HeaderName::from_static("counterflow-user");
/// Says of an answer that it was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key.
pub const LONGEST_KEY: usize = 255;

/// Who gives a command, and the store as this command writes it.
#[derive(Debug, Clone)]
pub struct By {
    pub who: String,
    pub store: Store,
}

impl By {
    /// As the service needs it.
    pub fn given(&self, message: Option<String>) -> Given {
        let (who, store) = (self.who.clone(), self.store.clone());
        Given { who, message, store, decision: None }
    }
}

/// Keeps the key of a command in use. For what goes on though whoever gave the command has left.
#[derive(Debug, Clone)]
pub struct Held {
    _turn: Option<Arc<Turn>>,
}

/// The keys whose commands are being carried out.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<Mutex<HashSet<(String, String)>>>);

/// A key in use, until it is dropped.
#[derive(Debug)]
struct Turn(Keys, (String, String));

const WHOLE: &str = "nobody panics while holding the keys";

impl Keys {
    /// # Errors
    /// The same command is being carried out.
    fn take(&self, claim: &Claim) -> Result<Turn, Problem> {
        let key = (claim.who.clone(), claim.key.clone());
        if !self.0.lock().expect(WHOLE).insert(key.clone()) {
            let detail = "the command with this `Idempotency-Key` is being carried out; ask again in a moment";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        Ok(Turn(self.clone(), key))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.lock().expect(WHOLE).remove(&self.1);
    }
}

/// Carries a command out once, and sees to its audit.
pub async fn carried_out(State(app): State<App>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    match caller.filter(|_| request.method() == Method::POST) {
        Some(caller) => {
            once(&app, caller, request, next).await.unwrap_or_else(Problem::into_response)
        }
        None => next.run(request).await,
    }
}

async fn once(
    app: &App,
    caller: Caller,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key(request.headers())?;
    let who = who(caller, request.headers())?;
    let subject = subject(&mut request).await;
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY).await else {
        let detail =
            format!("the body has more than {BODY} bytes, or did not come whole; send less");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    };
    let at = now();
    let claim = key.map(|key| {
        let pattern = parts.extensions.get::<MatchedPath>();
        let is_discard = pattern.is_some_and(|path| path.as_str() == backlog::DISCARD);
        let asked = if is_discard { backlog::asked_for(&body) } else { body.clone() };
        let request = fingerprint(&parts.method, parts.uri.path(), &asked);
        Claim { who: who.clone(), key, request, at }
    });
    let turn = claim.as_ref().map(|claim| app.keys.take(claim)).transpose()?;
    let held = Held { _turn: turn.map(Arc::new) };
    if let Some(claim) = &claim
        && let Some(used) = app.store.used_key(&claim.who, &claim.key, at).await?
    {
        return again(claim, used, parts.uri.path());
    }
    let mark = Mark::new(claim);
    let store = app.store.marked(Arc::clone(&mark));
    parts.extensions.insert(By { who: who.clone(), store: store.clone() });
    parts.extensions.insert(held.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body.clone()))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    if !mark.is_audited() {
        store.audit(&without_effect(who, subject, &body, at)).await?;
    }
    match &mark.claim {
        Some(claim) => kept(&store, claim, response).await,
        None => Ok(response),
    }
}

/// What a command is about, as far as its path says.
struct Subject {
    command: String,
    sync: Option<String>,
}

async fn subject(request: &mut Request) -> Subject {
    let names = request.extract_parts::<Path<Vec<(String, String)>>>().await;
    let mut names = names.map(|Path(names)| names).unwrap_or_default().into_iter();
    let pattern = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let pattern = pattern.unwrap_or_default();
    let command = pattern.rsplit('/').find(|part| !part.starts_with('{')).unwrap_or_default();
    match names.next() {
        // A connection of the RudderStack wire is a sync.
        Some((name, value)) if name == "sync" || pattern.starts_with(wire::ROOT) => {
            Subject { command: command.to_owned(), sync: Some(value) }
        }
        // As `source disable lake`.
        Some((name, value)) => Subject { command: format!("{name} {command} {value}"), sync: None },
        None => Subject { command: command.to_owned(), sync: None },
    }
}

/// The audit of a command that found everything as it was to be.
fn without_effect(who: String, subject: Subject, body: &[u8], at: Instant) -> Audited {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["message"].as_str().and_then(one_line);
    let Subject { command, sync } = subject;
    Audited { at, who, command, sync, run: None, message }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let key = only(headers, &KEY, is_key).map_err(|()| {
        let detail = format!(
            "`Idempotency-Key` is no key; send one of 1 to {LONGEST_KEY} visible ASCII characters, such as a UUID"
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(key.map(str::to_owned))
}

/// Whether a command can be known again by this.
pub fn is_key(text: &str) -> bool {
    (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Who gives the command: the name of the token, or where there are none `local` and the user that it names.
fn who(caller: Caller, headers: &HeaderMap) -> Result<String, Problem> {
    let user = only(headers, &USER, token::is_name).map_err(|()| {
        let detail = "`Counterflow-User` is no name; send one of 1 to 64 letters, digits, `_`, `-`, `.` and `@`, \
                      or leave it out";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    match user {
        Some(user) if caller.who == LOCAL => Ok(format!("{LOCAL} ({user})")),
        _ => Ok(caller.who),
    }
}

/// The value of a header, where it is there.
///
/// # Errors
/// It is there twice, or does not fit.
fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    fits: fn(&str) -> bool,
) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    match first.to_str() {
        Ok(text) if values.next().is_none() && fits(text) => Ok(Some(text)),
        _ => Err(()),
    }
}

fn fingerprint(method: &Method, path: &str, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    hash.update(method.as_str());
    hash.update([0]);
    hash.update(path);
    hash.update([0]);
    hash.update(body);
    hexadecimal::of(&hash.finalize())
}

/// An answer as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    location: Option<String>,
    kind: Option<String>,
    body: String,
}

/// Keeps a success under its key, and gives it.
async fn kept(store: &Store, claim: &Claim, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        let detail = "the answer broke off; ask again with the same key";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
    };
    let text = |name| {
        let value: Option<&HeaderValue> = parts.headers.get(name);
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let kept = Kept {
        location: text(header::LOCATION),
        kind: text(header::CONTENT_TYPE),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let kept = serde_json::to_string(&kept).expect("an answer is plain text");
    // The effect stands either way; without its answer a repetition says what was audited.
    if let Err(error) = store.keep_answer(claim, parts.status.as_u16(), &kept).await {
        tracing::warn!(%error, "the answer to a command could not be kept under its key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// The answer to a key that was used before.
fn again(claim: &Claim, used: Used, path: &str) -> Result<Response, Problem> {
    if used.request != claim.request {
        let detail = "this `Idempotency-Key` was used for another request within the last day; use a new one";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let (status, kept) = match used.answer {
        Some((status, text)) => {
            let kept = serde_json::from_str(&text);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            (status, kept.unwrap_or(done(None)))
        }
        // On the wire as ever: a start names its run, a stop says nothing.
        None if path.starts_with(wire::ROOT) => match used.audited.and_then(|told| told.run) {
            Some(run) if path.ends_with("/start") => {
                (StatusCode::OK, json_of(wire::Started::of(run)))
            }
            _ => (StatusCode::NO_CONTENT, Kept::default()),
        },
        None => (StatusCode::OK, done(used.audited)),
    };
    let mut response = (status, kept.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in [(header::CONTENT_TYPE, kept.kind), (header::LOCATION, kept.location)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// What is said of a command whose answer was lost with the process that carried it out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DoneBefore")]
pub struct Done {
    /// `done`.
    state: &'static str,
    /// As the audit log has it.
    command: Option<String>,
    sync: Option<String>,
    run: Option<RunId>,
    #[schemars(extend("format" = "date-time"))]
    at: Option<String>,
}

fn done(audited: Option<Audited>) -> Kept {
    let document = Done {
        state: "done",
        at: audited.as_ref().map(|audited| audited.at.to_string()),
        run: audited.as_ref().and_then(|audited| audited.run),
        sync: audited.as_ref().and_then(|audited| audited.sync.clone()),
        command: audited.map(|audited| audited.command),
    };
    json_of(document)
}

fn json_of(document: impl Serialize) -> Kept {
    let body = document::json(document).to_string();
    Kept { location: None, kind: Some("application/json".to_owned()), body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{all, openapi};

    #[test]
    fn what_is_said_where_the_answer_was_lost_is_what_the_document_says_of_every_command() {
        let routes = all().all;
        let document = openapi::document(&routes);
        let audited = Audited {
            at: Instant(1),
            who: "ada".to_owned(),
            command: "reload".to_owned(),
            sync: None,
            run: Some(RunId(4)),
            message: None,
        };
        let answers = [done(Some(audited)), done(None)];
        let commands = routes.iter().filter(|route| route.method == Method::POST);
        for route in commands.filter(|route| route.refusal.is_none()) {
            let responses = &document["paths"][route.path]["post"]["responses"];
            let described = &responses["200"]["content"]["application/json"]["schema"];
            let schema = serde_json::json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "allOf": [described], "components": document["components"],
            });
            let validator = jsonschema::validator_for(&schema).unwrap();
            for Kept { body, .. } in &answers {
                let body = serde_json::from_str(body).unwrap();
                assert!(described.is_object() && validator.is_valid(&body), "{}: {body}", route.id);
            }
        }
    }
}
