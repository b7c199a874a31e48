//! The command to remove what is left of a sync that is no longer in the config.

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
use crate::engine::forgetting;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// Why.
    message: Option<String>,
}

/// Forgets the sync: 404 where nothing is known of it, 409 while it is in the config or a run of it goes.
pub async fn forget(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(sync) = sync?;
    let Asked { message } = read(&headers, &body?)?;
    let refuse = |status, detail: String| Err(Problem::new(status, detail));
    if app.config.sync(&sync).is_some() {
        let detail = format!("`{sync}` is in the config; take it out of there first");
        return refuse(StatusCode::CONFLICT, detail);
    }
    let engine = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, document::chain(&error));
    let state = &app.config.state;
    let left = forgetting::left(&app.store, state, &sync).await.map_err(engine)?;
    if left.is_nothing() {
        return refuse(StatusCode::NOT_FOUND, format!("nothing is known of a sync `{sync}`"));
    }
    if left.rows.unfinished > 0 {
        let detail = format!("a run of `{sync}` has not ended; stop it, and ask again");
        return refuse(StatusCode::CONFLICT, detail);
    }
    let gone = forgetting::forget(&app.store, state, &sync, message.as_deref(), WHO).await;
    let gone = gone.map_err(engine)?;
    Ok(Json(json!({ "sync": sync, "removed": gone })))
}
