//! The config that runs: asked to be read anew, and what answers by it.
//!
//! Not responsible for reading it. Invariant: a request is answered by one config, the one that ran when it came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::handler::Handler as _;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any_service, post};
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::command::By;
use super::extract::FromBody;
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::{App, router};
use crate::control::reload::{self, Refused, Reloaded};
use crate::domain::message::one_line;
use crate::store::Scope;

/// The path of reloading.
pub fn routes(routes: Routes) -> Routes {
    let reload = Route::post(
        Scope::Admin,
        "/api/v1/reload",
        "reload",
        "Read the config file anew and put it in place",
    );
    routes.add(reload.body::<Reload>().json::<Done>(200, "It is in place"), post(self::reload))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ReloadRequest")]
struct Reload {
    /// The revision that must run; any, where it is left out.
    revision: Option<String>,
    /// Why, for the audit log.
    message: Option<String>,
}

/// What a reload came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reloaded")]
struct Done {
    /// The one that runs now.
    revision: String,
    is_changed: bool,
    /// What changed.
    changes: Value,
    /// The same in words.
    summary: String,
}

/// Reads the config file anew and puts it in place: 200, also where nothing changed.
async fn reload(
    State(app): State<App>,
    Extension(By { who, store }): Extension<By>,
    FromBody(Reload { revision, message }): FromBody<Reload>,
) -> Result<Json<Done>, Response> {
    let request = reload::Request {
        who,
        why: message.as_deref().and_then(one_line),
        store: Some(store),
        expected: revision,
    };
    match app.handle.reload(request).await {
        Ok(Reloaded { revision, is_changed, changes, words }) => {
            Ok(Json(Done { revision, is_changed, changes, summary: words }))
        }
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
                "title": "Unprocessable Entity",
                "status": status.as_u16(),
                "detail": text,
                "problems": problems,
            });
            let headers = [(header::CONTENT_TYPE, "application/problem+json")];
            (status, headers, body.to_string()).into_response()
        }
    }
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
