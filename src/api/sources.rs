//! Sources: whether each is disabled and by whom, and the commands that change it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::syncs::{WHO, read, said};
use super::{App, document};
use crate::control::disabling::one_line;
use crate::engine::run::now;
use crate::store::DisabledSource;

/// Every source, and whether it is disabled.
pub async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut documents = Vec::new();
    for source in app.config.sources.keys() {
        documents.push(source_document(&app, source).await?);
    }
    Ok(Json(Value::Array(documents)))
}

/// One source.
pub async fn one(
    State(app): State<App>,
    source: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(source) = source?;
    find(&app, &source)?;
    Ok(Json(source_document(&app, &source).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Why {
    message: String,
}

/// Disables the source: what its syncs have in flight is finished, and none of them runs. 202 while something drains, else
/// 200. One that is disabled stays as it is.
pub async fn disable(
    State(app): State<App>,
    source: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(source) = source?;
    let Why { message } = read(&headers, &body?)?;
    find(&app, &source)?;
    let message = one_line(said(&message)?);
    let next = DisabledSource { source: source.clone(), message, who: WHO.to_owned(), at: now() };
    let syncs: Vec<&str> =
        app.config.readers_of(&source).map(|sync| sync.sync.name.as_str()).collect();
    let runs = app.store.disable_source(&next, &syncs).await?;
    let is_changed = runs.is_some();
    let runs = runs.unwrap_or_default();
    let status = if runs.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut document = source_document(&app, &source).await?;
    document["is_changed"] = json!(is_changed);
    document["runs"] = json!(runs);
    Ok((status, Json(document)).into_response())
}

/// Enables the source: the schedules of its syncs go on. One that is not disabled stays as it is.
pub async fn enable(
    State(app): State<App>,
    source: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(source) = source?;
    let Why { message } = read(&headers, &body?)?;
    find(&app, &source)?;
    let message = one_line(said(&message)?);
    let is_changed = app.store.enable_source(&source, &message, WHO, now()).await?;
    let mut document = source_document(&app, &source).await?;
    document["is_changed"] = json!(is_changed);
    Ok(Json(document))
}

fn find(app: &App, source: &str) -> Result<(), Problem> {
    if app.config.sources.contains_key(source) {
        return Ok(());
    }
    let detail =
        format!("there is no source `{source}`; `GET /api/v1/sources` lists those there are");
    Err(Problem::new(StatusCode::NOT_FOUND, detail))
}

async fn source_document(app: &App, source: &str) -> Result<Value, Problem> {
    let disabled = app.store.disabled_sources().await?.remove(source);
    let syncs: Vec<&str> =
        app.config.readers_of(source).map(|sync| sync.sync.name.as_str()).collect();
    Ok(json!({
        "source": source,
        "is_disabled": disabled.is_some(),
        "disabled": disabled.as_ref().map(document::source),
        "syncs": syncs,
    }))
}
