//! The decision that what waits while a sync is paused shall not be sent.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::syncs::{WHO, read};
use super::{App, document};
use crate::control::discarding::{self, Decision};
use crate::control::pausing::paused;
use crate::engine::backlog::Backlog;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// What was shown: no more than that is discarded. Without it, the backlog is only counted.
    shown: Option<Backlog>,
    message: String,
}

/// Counts the backlog of a paused sync; with `shown` and a `message`, discards it.
pub async fn discard(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(sync) = sync?;
    let Asked { shown, message } = read(&headers, &body?)?;
    let configured = app.config.sync(&sync).ok_or_else(|| Problem::no_sync(&sync))?.paused;
    if shown.is_some() && message.trim().is_empty() {
        let detail = "`message` says nothing; say why, as in `{\"message\": \"bad data\"}`";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    if paused(&sync, app.store.pause(&sync).await?, configured).is_none() {
        let detail = format!("`{sync}` is not paused; pause it before its backlog is discarded");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let message = message.trim().to_owned();
    let decision = shown.map(|shown| Decision { shown, message, who: WHO.to_owned() });
    let is_discarded = decision.is_some();
    let came = discarding::backlog(&app.samples, &app.store, &sync, decision).await?;
    let Backlog { changes, removals, in_doubt } =
        came.map_err(|error| Problem::new(StatusCode::CONFLICT, document::chain(&error)))?;
    Ok(Json(json!({
        "sync": sync,
        "is_discarded": is_discarded,
        "changes": changes,
        "removals": removals,
        "in_doubt": in_doubt,
    })))
}
