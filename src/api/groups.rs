//! Groups: their status over their syncs, and the commands that start and stop all of them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::command::By;
use super::document::RunningConfig;
use super::extract::{FromBody, FromPath, FromQuery};
use super::paging::Asked;
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::runs::Page;
use super::shape::StatusWord;
use super::status::Status;
use super::syncs::{standings, standings_of};
use crate::config::{Config, SyncConfig};
use crate::control::grouping::{self, Member, Part};
use crate::control::handle::Started;
use crate::domain::id::RunId;
use crate::domain::message::one_line;
use crate::domain::status::status;
use crate::engine::run::now;
use crate::store::Scope;

/// The paths of groups.
pub fn routes(routes: Routes) -> Routes {
    let list_all = Route::get("/api/v1/groups", "groups", "Every group over its syncs");
    let one = Route::get("/api/v1/groups/{group}", "group", "One group");
    let start = Route::post(
        Scope::Write,
        "/api/v1/groups/{group}/start",
        "start_group",
        "Resume every sync of it, and run each that does nothing",
    );
    let stop = Route::post(
        Scope::Write,
        "/api/v1/groups/{group}/stop",
        "stop_group",
        "Pause every sync of it",
    );
    routes
        .add(
            list_all.query::<Asked>().json::<Vec<Group>>(200, "A page of groups, by name"),
            get(list),
        )
        .add(one.json::<Group>(200, "The group"), get(self::one))
        .add(
            start.body::<Why>().json::<Changed>(202, "The runs of its syncs are durable"),
            post(self::start),
        )
        .add(
            stop.body::<Why>()
                .json::<Changed>(200, "Its syncs are paused")
                .json::<Changed>(202, "Its syncs are paused, and runs drain"),
            post(self::stop),
        )
}

/// A group and how it stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Group {
    group: String,
    status: StatusWord,
    status_reason: String,
    /// Runs of its syncs that go at once, where that has a limit of its own.
    max_running: Option<usize>,
    syncs: Vec<SyncOfGroup>,
    config: RunningConfig,
}

/// How one sync of a group stands.
#[derive(Debug, Serialize, JsonSchema)]
struct SyncOfGroup {
    sync: String,
    status: StatusWord,
    status_reason: String,
}

/// What a command came to for each sync of a group.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "GroupChanged")]
struct Changed {
    group: String,
    /// `started` or `stopped`.
    state: &'static str,
    syncs: Vec<MemberChanged>,
}

/// What a command came to for one sync.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MemberChanged {
    sync: String,
    is_changed: bool,
    /// Of a stop: the oldest of the runs that it ends. Of a start: the run that goes or waits.
    run: Option<RunId>,
    /// Why no run of it was begun, where there is a reason.
    refused: Option<String>,
}

impl From<Member> for MemberChanged {
    fn from(member: Member) -> MemberChanged {
        let Member { sync, is_changed, run, .. } = member;
        MemberChanged { sync, is_changed, run, refused: None }
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "GroupRequest")]
struct Why {
    /// Why; may be left out.
    message: Option<String>,
}

/// Every group and its status, a page at a time.
async fn list(
    State(app): State<App>,
    FromQuery(asked): FromQuery<Asked>,
) -> Result<Page<Group>, Problem> {
    let groups = app.config.groups.keys().map(String::as_str);
    let page = asked.of("/api/v1/groups", groups, |name| name, no_group)?;
    let parts: Vec<Vec<&SyncConfig>> =
        page.items.iter().map(|group| app.config.syncs_of(group).collect()).collect();
    let statuses = standings_of(&app, &parts).await;
    let running = app.running_config();
    let all = page.items.iter().zip(&statuses);
    let documents = all.map(|(group, statuses)| document(&app.config, group, statuses, &running));
    let documents = documents.collect();
    Ok(page.answer(documents))
}

/// One group and its status.
async fn one(
    State(app): State<App>,
    FromPath(group): FromPath<String>,
) -> Result<Json<Group>, Problem> {
    members(&app.config, &group)?;
    Ok(Json(found(&app, &group).await))
}

/// Starts every sync of the group: one that is paused is resumed, and each that does nothing is run. 202 once its runs are
/// durable.
async fn start(
    State(app): State<App>,
    FromPath(group): FromPath<String>,
    Extension(by): Extension<By>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Response, Problem> {
    let syncs = members(&app.config, &group)?;
    let syncs = syncs.iter().map(|sync| sync.sync.name.clone()).collect();
    let message = message.as_deref().and_then(one_line).unwrap_or_else(|| "started".to_owned());
    let started = app.handle.start_group(&group, syncs, by.given(Some(message))).await?;
    let changed = started.into_iter().map(|Started { member, refused }| {
        let refused = refused.map(|closed| closed.to_string());
        MemberChanged { refused, ..MemberChanged::from(member) }
    });
    let document = Changed { group, state: "started", syncs: changed.collect() };
    Ok((StatusCode::ACCEPTED, Json(document)).into_response())
}

/// Stops every sync of the group: it is paused, and what goes drains. 202 while something does, else 200.
async fn stop(
    State(app): State<App>,
    FromPath(group): FromPath<String>,
    Extension(by): Extension<By>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Response, Problem> {
    let syncs = members(&app.config, &group)?;
    let message = message.as_deref().and_then(one_line).unwrap_or_else(|| "stopped".to_owned());
    let By { who, store } = &by;
    let command = grouping::Command { group: &group, is_start: false, who, message: &message };
    let parts: Vec<Part<'_>> = syncs.into_iter().map(part).collect();
    let members = grouping::change(store, command, &parts, now()).await?;
    let is_draining = members.iter().any(|member| member.run.is_some());
    let syncs = members.into_iter().map(MemberChanged::from).collect();
    let status = if is_draining { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(Changed { group, state: "stopped", syncs })).into_response())
}

/// A sync as a command to its group needs it, which runs nothing.
pub fn part(sync: &SyncConfig) -> Part<'_> {
    Part { sync: &sync.sync.name, configured: sync.paused, is_run: false }
}

async fn found(app: &App, group: &str) -> Group {
    let syncs: Vec<&SyncConfig> = app.config.syncs_of(group).collect();
    document(&app.config, group, &standings(app, &syncs).await, &app.running_config())
}

/// A group as the API and the command line show it; `statuses`: of its syncs, `running`: by which they run.
pub fn document(
    config: &Config,
    group: &str,
    statuses: &[Status<'_>],
    running: &RunningConfig,
) -> Group {
    let facts: Vec<_> = statuses.iter().map(|status| status.facts.clone()).collect();
    let status = status(&facts);
    let of_sync = |one: &Status<'_>| SyncOfGroup {
        sync: one.sync.sync.name.clone(),
        status: StatusWord(one.status.word),
        status_reason: one.status.reason.clone(),
    };
    Group {
        group: group.to_owned(),
        status: StatusWord(status.word),
        status_reason: status.reason,
        max_running: config.groups.get(group).copied().flatten(),
        syncs: statuses.iter().map(of_sync).collect(),
        config: running.clone(),
    }
}

fn members<'a>(config: &'a Config, group: &'a str) -> Result<Vec<&'a SyncConfig>, Problem> {
    if !config.groups.contains_key(group) {
        return Err(no_group(group));
    }
    Ok(config.syncs_of(group).collect())
}

fn no_group(name: &str) -> Problem {
    let detail = format!("there is no group `{name}`; `GET /api/v1/groups` lists those there are");
    Problem::new(StatusCode::NOT_FOUND, detail)
}
