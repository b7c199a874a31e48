use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use super::reload::told;
use crate::control::handle::{Readiness, Refused};

/// The process is alive.
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// Triggers are taken in: the state is ours and can be written, and what an earlier process left is recovered.
pub async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    match app.handle.readiness() {
        Readiness::Starting => Err(Refused::Starting.into()),
        Readiness::Reloading => {
            let detail = "another config is being put in place; ask again in a moment";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
        Readiness::Draining => Err(Refused::Draining.into()),
        Readiness::Ready => match app.store.probe().await {
            Ok(()) => Ok(Json(told(&app, json!({ "status": "ready" })))),
            Err(error) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        },
    }
}

pub async fn version(State(app): State<App>) -> Json<Value> {
    Json(told(&app, json!({ "version": env!("CARGO_PKG_VERSION") })))
}
