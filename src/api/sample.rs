//! The command to send chosen rows of a sync.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::problem::Problem;
use super::syncs::read;
use crate::domain::chosen::Chosen;

/// Sends the rows that the body chooses, whatever the delta says, also while the sync is paused: 202 once the run is
/// durable. The body has `limit`, `where` or both, or `keys`.
pub async fn begin(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(sync) = sync?;
    let chosen: Chosen = read(&headers, &body?)?;
    if app.config.sync(&sync).is_none() {
        return Err(Problem::no_sync(&sync));
    }
    if let Some(fault) = chosen.fault() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, fault));
    }
    let run = app.samples.begin(&sync, chosen).await?;
    let location = [(header::LOCATION, format!("/api/v1/runs/{run}"))];
    let document = json!({ "run": run, "sync": sync, "state": "queued" });
    Ok((StatusCode::ACCEPTED, location, Json(document)).into_response())
}
