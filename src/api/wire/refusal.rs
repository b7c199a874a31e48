//! Refusals in the words of the wire: a JSON object with `error`, `message` and `code`, all of them text.
//!
//! Whatever refuses a request on its way here does so by a problem body; the outermost layer puts it into these words, so
//! that a client reads one form whoever refused it.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::api::problem::Problem;
use crate::control::disabling::Closed;
use crate::control::handle::Refused;
use crate::domain::id::RunId;

/// Where the wire begins.
pub const ROOT: &str = "/v2";
/// Bytes of a problem body that are read.
const LONGEST: usize = 64 << 10;

/// Why a call was not granted.
#[derive(Debug)]
pub enum Refusal {
    Said {
        status: StatusCode,
        code: &'static str,
        message: String,
        /// The run that is in the way.
        going: Option<RunId>,
    },
    /// The outermost layer puts it into the words of the wire.
    Problem(Problem),
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::Said { status, code, message: message.into(), going: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn no_connection(name: &str) -> Refusal {
        let message = format!(
            "there is no sync `{name}`; a connection id is the name of a sync in the config"
        );
        Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn no_sync(connection: &str, sync: &str) -> Refusal {
        let message = format!(
            "`{connection}` has no run `{sync}`; `GET {ROOT}/retl-connections/{connection}/syncs` lists those there are"
        );
        Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The run that goes is named, so that a start whose answer was lost can be recovered.
    pub fn going(connection: &str, run: RunId) -> Refusal {
        Refusal::Said {
            status: StatusCode::CONFLICT,
            code: "sync_already_running",
            message: format!(
                "run {run} of `{connection}` is going on; wait for its end, or stop it"
            ),
            going: Some(run),
        }
    }

    pub fn of(refused: Refused) -> Refusal {
        match &refused {
            Refused::UnknownSync(name) => Refusal::no_connection(name),
            // A 409 would have to name a run.
            Refused::Closed(closed) => {
                let code = match closed {
                    Closed::Paused(_) => "sync_paused",
                    Closed::Source { .. } => "source_disabled",
                };
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, closed.to_string())
            }
            _ => Refusal::Problem(refused.into()),
        }
    }
}

/// How a refusal is written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireRefusal")]
pub struct Said {
    error: String,
    /// What is wrong, and what to do about it.
    message: String,
    code: String,
    /// The run that is in the way of a start.
    #[serde(rename = "syncId", skip_serializing_if = "Option::is_none")]
    sync_id: Option<String>,
}

fn body(status: StatusCode, code: &str, message: &str) -> Said {
    Said {
        error: status.canonical_reason().unwrap_or("Refused").to_owned(),
        message: message.to_owned(),
        code: code.to_owned(),
        sync_id: None,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Said { status, code, message, going } => {
                let sync_id = going.map(|run| run.to_string());
                (status, Json(Said { sync_id, ..body(status, code, &message) })).into_response()
            }
            Refusal::Problem(problem) => problem.into_response(),
        }
    }
}

impl<P: Into<Problem>> From<P> for Refusal {
    fn from(problem: P) -> Refusal {
        Refusal::Problem(problem.into())
    }
}

/// A word for refusals that the wire has none of its own for.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        422 => "unprocessable",
        429 => "too_many_requests",
        503 => "unavailable",
        402..500 => "refused",
        _ => "internal",
    }
}

/// Puts the problems of whoever else answers a call of the wire into its words.
pub async fn in_its_words(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_ours =
        path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let response = next.run(request).await;
    let status = response.status();
    let is_refused = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !is_ours || !is_refused || kind == Some(b"application/json") {
        return response;
    }
    let (mut parts, refused) = response.into_parts();
    let refused = to_bytes(refused, LONGEST).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&refused).unwrap_or_default();
    let detail = problem["detail"].as_str().or(status.canonical_reason());
    let body = body(status, code(status), detail.unwrap_or("refused"));
    parts.headers.remove(header::CONTENT_LENGTH);
    let json = header::HeaderValue::from_static("application/json");
    parts.headers.insert(header::CONTENT_TYPE, json);
    let body = serde_json::to_vec(&body).expect("a refusal is plain text");
    Response::from_parts(parts, Body::from(body))
}
