//! The command that lets syncs write over another connection.
//!
//! In this order, one replacement at a time: the new one is tested, what is decided of the snapshots is stored, the config
//! file is rewritten, it is put in place, which drains and drops runs, and then the snapshots say so. The file is what
//! counts: a decision that it does not bear out is withdrawn at the next start, one that it does is carried out before the
//! next run. Not responsible for which syncs are meant (`config::replacing`), nor for the reload.

use std::io;
use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::command::{By, Held};
use super::extract::{FromBody, FromPath};
use super::problem::Problem;
use super::routes::{Route, Routes};
use crate::config::replacing::{self, Refused};
use crate::config::rewrite::Next;
use crate::config::{self, Config};
use crate::control::commands;
use crate::control::deciding::alone;
use crate::control::handle;
use crate::control::reload;
use crate::domain::id::RunId;
use crate::domain::message::one_line;
use crate::engine::decisions;
use crate::engine::order::Order;
use crate::engine::run::now;
use crate::points::{self, Point};
use crate::store::{Scope, Store};

/// Asks the new connection before it is answered.
pub const REPLACE: &str = "/api/v1/connections/{connection}/replace";

/// The path of replacing.
pub fn routes(routes: Routes) -> Routes {
    let replace = Route::post(
        Scope::Write,
        REPLACE,
        "replace_connection",
        "Let syncs write over another connection from now on: rewrites the config file, and begins their snapshots afresh",
    );
    routes.add(
        replace
            .needed_body::<Asked>()
            .json::<Replaced>(200, "It is replaced")
            .json::<Replaced>(202, "It is replaced, and runs drain"),
        post(self::replace),
    )
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "ReplaceRequest",
    extend("required" = ["new"], "not" = {
        "properties": { "syncs": { "type": "array", "minItems": 1 }, "group": { "type": "string" } },
        "required": ["syncs", "group"],
    })
)]
struct Asked {
    /// The connection that takes its place.
    #[serde(default)]
    new: String,
    /// Only these syncs.
    #[serde(default)]
    syncs: Vec<String>,
    /// Only the syncs of this group.
    group: Option<String>,
    /// The other account holds what the snapshots say all the same.
    #[serde(default)]
    keep_snapshot: bool,
    /// Why.
    message: Option<String>,
}

/// A connection that was replaced.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Replaced {
    pub old: String,
    pub new: String,
    pub syncs: Vec<SyncReplaced>,
    pub keeps_snapshot: bool,
}

/// A sync that writes over another connection now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SyncReplaced {
    pub sync: String,
    /// The oldest of the runs that it ends.
    pub run: Option<RunId>,
}

/// Replaces the connection of syncs: 202 while a run of them drains, else 200. Nothing changes unless the new one passes its
/// test.
async fn replace(
    State(app): State<App>,
    FromPath(old): FromPath<String>,
    Extension(by): Extension<By>,
    Extension(held): Extension<Held>,
    FromBody(Asked { new, syncs, group, keep_snapshot, message }): FromBody<Asked>,
) -> Result<Response, Problem> {
    app.samples.check_ready()?;
    if group.is_some() && !syncs.is_empty() {
        let detail = "both `syncs` and `group` are said; leave one out";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let asked = replacing::Asked { old, new, syncs, group, keeps_snapshot: keep_snapshot };
    let message = message.as_deref().and_then(one_line);
    let threads = app.samples.threads().clone();
    let replaced = threads.run(async move || {
        // Its key is in use until it is done, whoever waits for it.
        let _held = held;
        Box::pin(carry_out(&app, by, asked, message.as_deref())).await
    });
    let replaced = replaced.await??;
    let is_draining = replaced.syncs.iter().any(|one| one.run.is_some());
    let status = if is_draining { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(replaced)).into_response())
}

async fn carry_out(
    app: &App,
    By { who, store }: By,
    asked: replacing::Asked,
    message: Option<&str>,
) -> Result<Replaced, Problem> {
    let _turn = app.replacing.lock().await;
    let file = &app.config.path;
    let text = std::fs::read_to_string(file).map_err(|error| unwritten(file, &error))?;
    let plan = replacing::plan(&load(file, file)?, &text, &asked)?;
    let next = Next::write(file, &plan.text).map_err(|error| unwritten(file, &error))?;
    let config = load(next.path(), file)?;
    let orders = orders(app, &config, &plan.syncs)?;
    let decided = tokio::select! {
        biased;
        () = app.samples.draining() => return Err(handle::Refused::Draining.into()),
        decided = decisions::replace(&orders, asked.keeps_snapshot) => decided?,
    };
    let why = replacing::why(&asked, message);
    let audited = |sync| decisions::audited(replacing::command(&asked), sync, &why, &who);
    let decided: Vec<_> = plan.syncs.iter().map(|sync| audited(sync)).zip(decided).collect();
    let pending = store.decide(&decided).await?;
    points::reached(Point::Decided);
    if let Err(error) = next.put_in_place(&text) {
        decisions::withdraw(&app.store, &who, pending).await?;
        return Err(unwritten(file, &error));
    }
    points::reached(Point::Rewritten);
    let mut syncs = stop_all(app, &plan.syncs, &who, &why).await;
    if let Err(refused) = app.handle.reload(reload::Request::of(&who)).await {
        return Err(not_in_place(refused));
    }
    for one in &mut syncs {
        one.run = one.run.or(begun_meanwhile(app, &one.sync).await);
        settle(app, &one.sync).await;
    }
    let replacing::Asked { old, new, keeps_snapshot, .. } = asked;
    Ok(Replaced { old, new, syncs, keeps_snapshot })
}

/// Has what goes drained and what waits dropped with the person's reason; the reload ends the runs that this does not.
async fn stop_all(app: &App, syncs: &[String], who: &str, why: &str) -> Vec<SyncReplaced> {
    let mut replaced = Vec::with_capacity(syncs.len());
    for sync in syncs {
        let stop = commands::Stop { sync, is_now: false, who, message: Some(why) };
        let run = commands::stop(&app.store, stop, now()).await.unwrap_or_else(|error| {
            tracing::warn!(sync, %error, "the reason for its end could not be stored with a run");
            None
        });
        replaced.push(SyncReplaced { sync: sync.clone(), run });
    }
    replaced
}

/// The oldest run of the sync that the reload has ended and that drains.
async fn begun_meanwhile(app: &App, sync: &str) -> Option<RunId> {
    let unfinished = app.store.unfinished_of(sync).await;
    let unfinished = unfinished.unwrap_or_else(|error| {
        tracing::warn!(sync, %error, "the runs that drain could not be read");
        Vec::new()
    });
    unfinished.into_iter().find(|row| row.stop.is_some()).map(|row| row.id)
}

/// The config of a file that is `file`, or takes its place.
fn load(path: &Path, file: &Path) -> Result<Config, Problem> {
    config::load(path).map_err(|problems| {
        let (path, file) = (path.display().to_string(), file.display().to_string());
        let problems = problems.to_string().replace(&path, &file);
        let detail =
            format!("nothing was replaced, the config file would not be sound: {problems}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}

/// The orders of these syncs over the connection that they have in this config.
fn orders(app: &App, config: &Config, syncs: &[String]) -> Result<Vec<Order>, Problem> {
    let order = |name: &String| {
        let sync = config.sync(name).ok_or_else(|| Problem::no_sync(name))?;
        let connection = config.connection_of(sync).definition.clone();
        let (requests, sync) = (sync.requests.clone(), sync.sync.clone());
        Ok(Order { sync, connection, requests, ..app.samples.order(name)? })
    };
    syncs.iter().map(order).collect()
}

/// Lets the snapshot say what was decided, unless a run drains: then the next run does it first.
async fn settle(app: &App, sync: &str) {
    let work = async |store: Store, order: Order| decisions::settle(&store, &order).await;
    if let Ok(Err(error)) = alone(&app.samples, &app.store, sync, work).await {
        tracing::warn!(sync, %error, "what was decided of the snapshot is carried out by the next run");
    }
}

fn unwritten(file: &Path, error: &io::Error) -> Problem {
    Problem::new(StatusCode::CONFLICT, replacing::unwritten(file, error))
}

fn not_in_place(refused: reload::Refused) -> Problem {
    let detail = format!(
        "the config file names the new connection, and is not in place yet: {refused}; it is with the next reload"
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Unknown(detail) => Problem::new(StatusCode::NOT_FOUND, detail),
            Refused::Unfit(detail) => Problem::new(StatusCode::CONFLICT, detail),
        }
    }
}
