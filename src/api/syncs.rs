//! Syncs: how they stand, and the commands to run, stop, pause and resume them.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::By;
use super::extract::{FromBody, FromPath, FromQuery};
use super::paging::Asked;
use super::problem::Problem;
use super::reason::{Why, said};
use super::routes::{Route, Routes};
use super::runs::Next;
use super::shape::Standing;
use super::status::{Served, Status};
use super::{App, document};
use crate::config::SyncConfig;
use crate::control::commands;
use crate::control::handle::{Accepted, Given, Readiness};
use crate::control::pausing::{self, Came};
use crate::control::queue::Wish;
use crate::control::until::{Wrong, ending};
use crate::domain::id::{Instant, RunId};
use crate::domain::message::one_line;
use crate::domain::run::Trigger;
use crate::engine::run::now;
use crate::store::{Decision, Scope};

/// The paths of syncs.
pub fn routes(routes: Routes) -> Routes {
    let one = Route::get("/api/v1/syncs/{sync}", "sync", "Where one sync stands");
    let run = Route::post(Scope::Run, "/api/v1/syncs/{sync}/run", "run_sync", "Sync Now");
    let stop = Route::post(Scope::Run, "/api/v1/syncs/{sync}/stop", "stop_sync", "Stop Now");
    let pause = Route::post(Scope::Write, "/api/v1/syncs/{sync}/pause", "pause_sync", "Pause");
    let resume = Route::post(Scope::Write, "/api/v1/syncs/{sync}/resume", "resume_sync", "Resume");
    routes
        .add(
            Route::get("/api/v1/syncs", "syncs", "Where every sync stands")
                .query::<Asked>()
                .json::<Vec<Standing>>(200, "A page of syncs, in the order of the config"),
            get(list),
        )
        .add(one.json::<Standing>(200, "The sync"), get(self::one))
        .add(
            run.body::<Run>().json::<Queued>(202, "The run that will answer it is durable"),
            post(self::run),
        )
        .add(
            stop.body::<Stop>()
                .json::<Stopping>(200, "Nothing goes")
                .json::<Stopping>(202, "What goes drains, what waits is dropped"),
            post(self::stop),
        )
        .add(
            pause
                .needed_body::<Pause>()
                .json::<Changed>(200, "It is paused")
                .json::<Changed>(202, "It is paused, and a run drains"),
            post(self::pause),
        )
        .add(
            resume.needed_body::<Why>().json::<Changed>(200, "It is not paused"),
            post(self::resume),
        )
}

/// Where every sync stands, a page at a time.
async fn list(
    State(app): State<App>,
    FromQuery(asked): FromQuery<Asked>,
) -> Result<(AppendHeaders<Next>, Json<Value>), Problem> {
    let syncs = &app.config.syncs;
    let page = asked.of("/api/v1/syncs", syncs, |sync| &sync.sync.name, Problem::no_sync)?;
    let (standings, running) = (standings(&app, &page.items).await, app.running_config());
    let documents = standings.iter().map(|status| status.to_json(&running)).collect();
    Ok(page.answer(Value::Array(documents)))
}

/// Where one sync stands.
async fn one(
    State(app): State<App>,
    FromPath(name): FromPath<String>,
) -> Result<Json<Value>, Problem> {
    let sync = app.config.sync(&name).ok_or_else(|| Problem::no_sync(&name))?;
    let standing = standings(&app, &[sync]).await.remove(0);
    Ok(Json(standing.to_json(&app.running_config())))
}

/// Where each of these syncs stands now, in their order.
pub async fn standings<'a>(app: &App, syncs: &[&'a SyncConfig]) -> Vec<Status<'a>> {
    let served = Served {
        is_reinitializing: matches!(
            app.handle.readiness(),
            Readiness::Starting | Readiness::Reloading
        ),
        left_behind: app.samples.left_behind(),
    };
    Status::read(&app.config, Ok(Some(&app.store)), &app.glances, syncs, served, now()).await
}

/// Where the syncs of each of these parts stand now; what is known is asked for once for all of them.
pub async fn standings_of<'a>(app: &App, parts: &[Vec<&'a SyncConfig>]) -> Vec<Vec<Status<'a>>> {
    let mut all = standings(app, &parts.concat()).await.into_iter();
    parts.iter().map(|part| all.by_ref().take(part.len()).collect()).collect()
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RunRequest")]
struct Run {
    /// Force Full Resync.
    full: bool,
    /// The key or the destination changed, and the destination holds what the snapshot says all the same.
    keep_snapshot: bool,
    /// Why, for the audit log.
    message: Option<String>,
}

/// A trigger that was taken in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Queued {
    /// The run that will answer it.
    run: RunId,
    sync: String,
    /// `queued`.
    state: &'static str,
    /// The run waited already, for an earlier trigger.
    is_joined: bool,
}

impl Queued {
    pub fn new(sync: String, Accepted { run, is_joined }: Accepted) -> Queued {
        Queued { run, sync, state: "queued", is_joined }
    }
}

impl IntoResponse for Queued {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, format!("/api/v1/runs/{}", self.run))];
        (StatusCode::ACCEPTED, location, Json(self)).into_response()
    }
}

/// Sync Now, or Force Full Resync: 202 once the run is durable.
async fn run(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(by): Extension<By>,
    FromBody(Run { full, keep_snapshot, message }): FromBody<Run>,
) -> Result<Queued, Problem> {
    let wish = Wish { is_full: full, trigger: Trigger::Api };
    let decision = keep_snapshot.then(|| Decision::Keep { at: now() });
    let given = Given { decision, ..by.given(message.as_deref().and_then(one_line)) };
    let accepted = app.handle.run_for(&sync, wish, given).await?;
    Ok(Queued::new(sync, accepted))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "StopRequest")]
struct Stop {
    /// Drop what is in flight too.
    now: bool,
    /// Why.
    message: Option<String>,
}

/// What a stop came to.
#[derive(Debug, Serialize, JsonSchema)]
struct Stopping {
    /// The oldest run that it ends.
    run: Option<RunId>,
    sync: String,
    /// `stopping` or `idle`.
    state: &'static str,
}

/// Stops what goes and what waits: 202, or 200 where nothing does.
async fn stop(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    FromBody(Stop { now: is_now, message }): FromBody<Stop>,
) -> Result<Response, Problem> {
    // One that has left the config may still drain.
    if app.config.sync(&sync).is_none() && store.unfinished_of(&sync).await?.is_empty() {
        return Err(Problem::no_sync(&sync));
    }
    let message = message.as_deref().and_then(one_line);
    let stop = commands::Stop { sync: &sync, is_now, who: &who, message: message.as_deref() };
    let run = commands::stop(&store, stop, now()).await?;
    let (status, state) = match run {
        Some(_) => (StatusCode::ACCEPTED, "stopping"),
        None => (StatusCode::OK, "idle"),
    };
    Ok((status, Json(Stopping { run, sync, state })).into_response())
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "PauseRequest",
    extend("required" = ["message"], "not" = {
        "properties": { "for": { "type": "string" }, "until": { "type": "string" } },
        "required": ["for", "until"],
    })
)]
struct Pause {
    /// Why.
    #[serde(default)]
    #[schemars(extend("pattern" = r"[^\s\x00-\x1f\x7f-\x9f]"))]
    message: String,
    /// A duration such as `2h` after which the pause ends by itself.
    #[serde(rename = "for")]
    #[schemars(extend("pattern" = "^[1-9][0-9]{0,8}[smhd]$"))]
    lasting: Option<String>,
    /// Or an instant such as `2026-05-04T12:00:00Z`.
    #[schemars(extend("format" = "date-time"))]
    until: Option<String>,
}

/// What a pause or a resume came to.
#[derive(Debug, Serialize, JsonSchema)]
struct Changed {
    sync: String,
    is_paused: bool,
    /// It was not so before.
    is_changed: bool,
    /// The run that drains.
    run: Option<RunId>,
    pause: Option<document::Pause>,
}

/// Pauses the sync: 202 while a run of it drains, else 200. One that is paused stays as it is.
async fn pause(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(by): Extension<By>,
    FromBody(Pause { message, lasting, until }): FromBody<Pause>,
) -> Result<Response, Problem> {
    let until = ending(lasting.as_deref(), until.as_deref(), now()).map_err(|wrong| {
        let status = match wrong {
            Wrong::Unreadable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Wrong::Time(_) => StatusCode::CONFLICT,
        };
        Problem::new(status, wrong.to_string())
    })?;
    set_paused(&app, by, sync, message, true, until).await
}

/// Resumes the sync: its schedule goes on. One that is not paused stays as it is.
async fn resume(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(by): Extension<By>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Response, Problem> {
    set_paused(&app, by, sync, message, false, None).await
}

async fn set_paused(
    app: &App,
    By { who, store }: By,
    sync: String,
    message: String,
    is_paused: bool,
    until: Option<Instant>,
) -> Result<Response, Problem> {
    let configured = app.config.sync(&sync).ok_or_else(|| Problem::no_sync(&sync))?.paused;
    let message = said(message)?;
    let asked = pausing::Asked {
        sync: &sync,
        is_paused,
        configured,
        who: &who,
        message: &message,
        until,
        is_start: false,
    };
    let (run, is_changed) = match pausing::change(&store, asked, now()).await? {
        Came::Changed(run) => (run, true),
        Came::Already(_) => (None, false),
    };
    let pause = pausing::standing(app.store.pause(&sync).await?, configured);
    let pause = pause.as_ref().map(document::Pause::from);
    let status = if run.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(Changed { sync, is_paused, is_changed, run, pause })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_server_reinitializing_while_the_service_starts() {
        let folder = tempfile::tempdir().unwrap();
        let app = crate::api::tests::app(folder.path()).await;
        let asked = FromQuery(Asked::default());
        let (_, Json(syncs)) = list(State(app.clone()), asked).await.unwrap();
        let names: Vec<&str> = app.config.connections.keys().map(String::as_str).collect();
        let connections = crate::api::connections::documents(&app, &names).await;
        let connections = serde_json::to_value(connections).unwrap();
        for documents in [syncs, connections] {
            let documents = documents.as_array().unwrap();
            assert!(!documents.is_empty());
            for document in documents {
                assert_eq!(document["status"], "Server Reinitializing", "{document:#}");
            }
        }
    }
}
