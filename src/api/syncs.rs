//! Syncs and their connections: how they stand, and the commands to run and to stop syncs.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::problem::Problem;
use super::status::Status;
use super::{App, document};
use crate::control::commands;
use crate::control::handle::Readiness;
use crate::control::pausing::{self, Came};
use crate::control::queue::Wish;
use crate::control::until::ending;
use crate::domain::id::Instant;
use crate::domain::run::Trigger;
use crate::domain::status::status;
use crate::engine::run::now;

/// Who gave a command that came over HTTP, until there are tokens that say it.
pub(super) const WHO: &str = "api";

/// Where every sync stands.
pub async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut documents = Vec::new();
    for sync in &app.config.syncs {
        documents.push(standing(&app, &sync.sync.name).await?.to_json());
    }
    Ok(Json(Value::Array(documents)))
}

/// Where one sync stands.
pub async fn one(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(standing(&app, &sync?.0).await?.to_json()))
}

/// Every connection and its status over its syncs.
pub async fn connections(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut documents = Vec::new();
    for name in app.config.connections.keys() {
        let (mut facts, mut syncs) = (Vec::new(), Vec::new());
        for sync in app.config.syncs.iter().filter(|sync| sync.sync.connection == *name) {
            facts.push(standing(&app, &sync.sync.name).await?.facts);
            syncs.push(&sync.sync.name);
        }
        let status = status(&facts);
        documents.push(json!({
            "connection": name,
            "status": status.word.to_string(),
            "status_reason": status.reason,
            "syncs": syncs,
        }));
    }
    Ok(Json(Value::Array(documents)))
}

pub(super) async fn standing<'a>(app: &'a App, name: &str) -> Result<Status<'a>, Problem> {
    let sync = app.config.sync(name).ok_or_else(|| Problem::no_sync(name))?;
    let is_starting = matches!(app.handle.readiness(), Readiness::Starting | Readiness::Reloading);
    Ok(Status::read(&app.config, Ok(Some(&app.store)), sync, is_starting, now()).await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    /// Force Full Resync.
    full: bool,
}

/// Sync Now, or Force Full Resync: 202 once the run is durable.
pub async fn run(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(sync) = sync?;
    let Run { full } = read(&headers, &body?)?;
    let accepted = app.handle.run(&sync, Wish { is_full: full, trigger: Trigger::Api }).await?;
    let run = accepted.run;
    let document =
        json!({ "run": run, "sync": sync, "state": "queued", "is_joined": accepted.is_joined });
    let location = [(header::LOCATION, format!("/api/v1/runs/{run}"))];
    Ok((StatusCode::ACCEPTED, location, Json(document)).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Stop {
    /// Drop what is in flight too.
    now: bool,
    /// Why.
    message: Option<String>,
}

/// Stops what goes and what waits: 202, or 200 where nothing does.
pub async fn stop(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(sync) = sync?;
    let Stop { now: is_now, message } = read(&headers, &body?)?;
    if app.config.sync(&sync).is_none() {
        return Err(Problem::no_sync(&sync));
    }
    let message = message.as_deref();
    let stop = commands::Stop { sync: &sync, is_now, who: WHO, message };
    let run = commands::stop(&app.store, stop, now()).await?;
    let (status, state) = match run {
        Some(_) => (StatusCode::ACCEPTED, "stopping"),
        None => (StatusCode::OK, "idle"),
    };
    let document = json!({ "run": run, "sync": sync, "state": state });
    Ok((status, Json(document)).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Why {
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pause {
    message: String,
    /// A duration such as `2h` after which the pause ends by itself.
    #[serde(rename = "for")]
    lasting: Option<String>,
    /// Or an instant such as `2026-05-04T12:00:00Z`.
    until: Option<String>,
}

/// Pauses the sync: 202 while a run of it drains, else 200. One that is paused stays as it is.
pub async fn pause(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Pause { message, lasting, until } = read(&headers, &body?)?;
    let until = ending(lasting.as_deref(), until.as_deref(), now())
        .map_err(|detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))?;
    set_paused(&app, sync?.0, &message, true, until).await
}

/// Resumes the sync: its schedule goes on. One that is not paused stays as it is.
pub async fn resume(
    State(app): State<App>,
    sync: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Why { message } = read(&headers, &body?)?;
    set_paused(&app, sync?.0, &message, false, None).await
}

async fn set_paused(
    app: &App,
    sync: String,
    message: &str,
    is_paused: bool,
    until: Option<Instant>,
) -> Result<Response, Problem> {
    let configured = app.config.sync(&sync).ok_or_else(|| Problem::no_sync(&sync))?.paused;
    let message = said(message)?;
    let (who, is_start) = (WHO, false);
    let asked =
        pausing::Asked { sync: &sync, is_paused, configured, who, message, until, is_start };
    let (run, is_changed) = match pausing::change(&app.store, asked, now()).await? {
        Came::Changed(run) => (run, true),
        Came::Already(_) => (None, false),
    };
    let pause = pausing::standing(app.store.pause(&sync).await?, configured);
    let document = json!({
        "sync": sync,
        "is_paused": is_paused,
        "is_changed": is_changed,
        "run": run,
        "pause": pause.as_ref().map(document::pause),
    });
    let status = if run.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(document)).into_response())
}

/// The message of a command that wants one.
pub(super) fn said(message: &str) -> Result<&str, Problem> {
    match message.trim() {
        "" => {
            let detail =
                "`message` says nothing; say why, as in `{\"message\": \"the CRM moves\"}`";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
        }
        message => Ok(message),
    }
}

/// A JSON body, or the default where there is none.
pub(super) fn read<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "the body is not declared as JSON; send `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let refuse = |status, what: &str| {
        Problem::new(status, format!("the body cannot be read: {what}; send a JSON object"))
    };
    let read = serde_json::from_slice(body).map_err(|error| {
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        refuse(status, &error.to_string())
    })?;
    // Fields are read from a list too, by their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "it is no object"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;
    use std::sync::Arc;

    use super::*;
    use crate::config;
    use crate::control::handle;
    use crate::store::Store;

    #[tokio::test]
    async fn everything_is_server_reinitializing_while_the_service_starts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let example = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
        let mut config = config::load_for(&example, None).unwrap();
        config.state = folder.path().to_owned();
        let (handle, _inbox) = handle::channel();
        let app = App { config: Arc::new(config), store, handle };
        let Json(syncs) = list(State(app.clone())).await.unwrap();
        let Json(connections) = connections(State(app)).await.unwrap();
        for documents in [syncs, connections] {
            let documents = documents.as_array().unwrap();
            assert!(!documents.is_empty());
            for document in documents {
                assert_eq!(document["status"], "Server Reinitializing", "{document:#}");
            }
        }
    }
}
