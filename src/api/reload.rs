//! The config that runs: asked to be read anew, and what answers by it.
//!
//! Not responsible for reading it. Invariant: a request is answered by one config, the one that ran when it came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::handler::Handler as _;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any_service};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::problem::Problem;
use super::syncs::{WHO, read};
use super::{App, router};
use crate::control::reload::{Refused, Reloaded};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reload {
    /// The revision that must run; any, where it is left out.
    revision: Option<String>,
}

/// Reads the config file anew and puts it in place: 200, also where nothing changed.
pub async fn reload(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Response> {
    let said = body.map_err(Problem::from).and_then(|body| read(&headers, &body));
    let Reload { revision } = said.map_err(IntoResponse::into_response)?;
    match app.handle.reload(WHO, revision).await {
        Ok(Reloaded { revision, is_changed, changes, words }) => Ok(Json(json!({
            "revision": revision, "is_changed": is_changed, "changes": changes, "summary": words,
        }))),
        Err(refused) => Err(problem(refused)),
    }
}

fn problem(refused: Refused) -> Response {
    match refused {
        Refused::Stale { .. } => {
            Problem::new(StatusCode::CONFLICT, refused.to_string()).into_response()
        }
        Refused::Service(refused) => Problem::from(refused).into_response(),
        Refused::Bad { text, problems } => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let body = json!({
                "type": "about:blank",
                "title": "the config file has problems, and nothing was changed",
                "status": status.as_u16(),
                "detail": text,
                "problems": problems,
            });
            let headers = [(header::CONTENT_TYPE, "application/problem+json")];
            (status, headers, body.to_string()).into_response()
        }
    }
}

/// What is to be known of the config that runs, beside `document`.
pub fn told(app: &App, mut document: Value) -> Value {
    if let Some(known) = app.handle.config() {
        document["revision"] = known.revision.into();
        document["since"] = known.since.to_string().into();
        document["warning"] = known.warning.into();
    }
    document
}

/// All paths, answered by the latest of `apps`.
pub fn latest(mut apps: watch::Receiver<App>, address: SocketAddr) -> Router {
    let made = move |app: App| -> MethodRouter { any_service(router(app, address)) };
    let app = apps.borrow_and_update().clone();
    let latest = Arc::new(Mutex::new((made(app), apps)));
    Router::new().fallback(move |request: Request| {
        let mut latest = latest.lock().expect("nobody panics while making paths");
        let (paths, apps) = &mut *latest;
        if apps.has_changed().unwrap_or_default() {
            let app = apps.borrow_and_update().clone();
            *paths = made(app);
        }
        paths.clone().call(request, ())
    })
}
