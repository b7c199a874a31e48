//! Groups: their status over their syncs, and the commands that start and stop all of them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use super::status::Status;
use super::syncs::{WHO, read, standing};
use crate::config::{Config, SyncConfig};
use crate::control::grouping::{self, Member};
use crate::control::handle::{Readiness, Refused};
use crate::control::queue::Wish;
use crate::domain::run::Trigger;
use crate::domain::status::status;
use crate::engine::run::now;

/// Every group and its status.
pub async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut documents = Vec::new();
    for group in app.config.groups.keys() {
        documents.push(group_document(&app, group).await?);
    }
    Ok(Json(Value::Array(documents)))
}

/// One group and its status.
pub async fn one(
    State(app): State<App>,
    group: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(group) = group?;
    members(&app.config, &group)?;
    Ok(Json(group_document(&app, &group).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Why {
    /// Why; may be left out.
    message: Option<String>,
}

/// Starts every sync of the group: one that is paused is resumed, and each that does nothing is run. 202 once its runs are
/// durable.
pub async fn start(
    State(app): State<App>,
    group: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(group) = group?;
    let Why { message } = read(&headers, &body?)?;
    let syncs = members(&app.config, &group)?;
    // Before anything is changed.
    match app.handle.readiness() {
        Readiness::Starting => return Err(Refused::Starting.into()),
        Readiness::Draining => return Err(Refused::Draining.into()),
        Readiness::Ready | Readiness::Reloading => {}
    }
    let mut members = say(&app, &group, true, message.as_deref(), &syncs).await?;
    let mut documents = Vec::new();
    for member in &mut members {
        let mut refused = None;
        if member.run.is_none() {
            match app.handle.run(&member.sync, Wish { is_full: false, trigger: Trigger::Api }).await
            {
                Ok(accepted) => member.run = Some(accepted.run),
                Err(why @ Refused::Closed(_)) => refused = Some(why.to_string()),
                Err(why) => return Err(why.into()),
            }
        }
        documents.push(member_document(member, refused.as_deref()));
    }
    let document = json!({ "group": group, "state": "started", "syncs": documents });
    Ok((StatusCode::ACCEPTED, Json(document)).into_response())
}

/// Stops every sync of the group: it is paused, and what goes drains. 202 while something does, else 200.
pub async fn stop(
    State(app): State<App>,
    group: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(group) = group?;
    let Why { message } = read(&headers, &body?)?;
    let syncs = members(&app.config, &group)?;
    let members = say(&app, &group, false, message.as_deref(), &syncs).await?;
    let is_draining = members.iter().any(|member| member.run.is_some());
    let documents: Vec<Value> =
        members.iter().map(|member| member_document(member, None)).collect();
    let document = json!({ "group": group, "state": "stopped", "syncs": documents });
    let status = if is_draining { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(document)).into_response())
}

async fn say(
    app: &App,
    group: &str,
    is_start: bool,
    message: Option<&str>,
    syncs: &[&SyncConfig],
) -> Result<Vec<Member>, Problem> {
    let usual = if is_start { "started" } else { "stopped" };
    let message = message.map(str::trim).filter(|message| !message.is_empty()).unwrap_or(usual);
    let command = grouping::Command { group, is_start, who: WHO, message };
    let named: Vec<(&str, bool)> =
        syncs.iter().map(|sync| (sync.sync.name.as_str(), sync.paused)).collect();
    Ok(grouping::change(&app.store, command, &named, now()).await?)
}

/// What a command came to for one sync.
pub fn member_document(member: &Member, refused: Option<&str>) -> Value {
    let Member { sync, is_changed, run } = member;
    json!({ "sync": sync, "is_changed": is_changed, "run": run, "refused": refused })
}

async fn group_document(app: &App, group: &str) -> Result<Value, Problem> {
    let mut statuses = Vec::new();
    for sync in app.config.syncs_of(group) {
        statuses.push(standing(app, &sync.sync.name).await?);
    }
    Ok(document(&app.config, group, &statuses))
}

/// A group as the API and the command line show it; `statuses`: of its syncs.
pub fn document(config: &Config, group: &str, statuses: &[Status<'_>]) -> Value {
    let facts: Vec<_> = statuses.iter().map(|status| status.facts.clone()).collect();
    let status = status(&facts);
    let syncs: Vec<Value> = statuses
        .iter()
        .map(|one| {
            json!({
                "sync": one.sync.sync.name,
                "status": one.status.word.to_string(),
                "status_reason": one.status.reason,
            })
        })
        .collect();
    json!({
        "group": group,
        "status": status.word.to_string(),
        "status_reason": status.reason,
        "max_running": config.groups.get(group).copied().flatten(),
        "syncs": syncs,
    })
}

fn members<'a>(config: &'a Config, group: &'a str) -> Result<Vec<&'a SyncConfig>, Problem> {
    if !config.groups.contains_key(group) {
        let detail =
            format!("there is no group `{group}`; `GET /api/v1/groups` lists those there are");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(config.syncs_of(group).collect())
}
