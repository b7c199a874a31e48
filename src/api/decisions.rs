//! What a person decides of a snapshot: that held deletes are made after all or never, that it is set aside.

use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::command::{By, Held};
use super::extract::{FromBody, FromPath};
use super::problem::Problem;
use super::reason::{Why, said};
use super::routes::{Route, Routes};
use super::syncs::Queued;
use crate::control::deciding::alone;
use crate::control::handle::Given;
use crate::control::queue::Wish;
use crate::domain::id::RunId;
use crate::domain::run::Trigger;
use crate::engine::decisions;
use crate::engine::order::Order;
use crate::store::{self, Scope, Store};

/// The paths of decisions.
pub fn routes(routes: Routes) -> Routes {
    let release = Route::post(
        Scope::Write,
        "/api/v1/runs/{run}/release",
        "release_run",
        "Let the deletes held in the run go: reads again, and deletes those still gone",
    );
    let discard = Route::post(
        Scope::Write,
        "/api/v1/runs/{run}/discard",
        "discard_run",
        "Never make the deletes held in the run: their records are no longer ours",
    );
    let rebaseline = Route::post(
        Scope::Write,
        "/api/v1/syncs/{sync}/rebaseline",
        "rebaseline_sync",
        "Set the snapshot aside: the next run is full, and rows already gone are never deleted",
    );
    routes
        .add(
            release
                .needed_body::<Why>()
                .json::<Queued>(202, "The run that deletes them is durable"),
            post(self::release),
        )
        .add(
            discard.needed_body::<Why>().json::<Discarded>(200, "They are discarded"),
            post(self::discard),
        )
        .add(
            rebaseline.needed_body::<Why>().json::<SetAside>(200, "It is set aside"),
            post(self::rebaseline),
        )
}

/// What came of the deletes that were held in a run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Discarded {
    pub sync: String,
    pub run: RunId,
    pub discarded: u64,
    /// That other runs held.
    pub still_held: u64,
}

/// A snapshot that was set aside.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SetAside {
    pub sync: String,
    /// The folder of its archives.
    pub archived_in: String,
}

/// Releases the deletes that were held in a run: 202 once the run that reads again is durable. It waits for a run of the
/// sync that goes; new removals meet the guard again.
async fn release(
    State(app): State<App>,
    FromPath(run): FromPath<u64>,
    Extension(by): Extension<By>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Queued, Problem> {
    let message = said(message)?;
    let sync = sync_of(&app, RunId(run)).await?;
    let order = app.samples.order(&sync)?;
    let decision = Box::pin(decisions::release(&app.store, &order, RunId(run), &message)).await?;
    let given = Given { decision: Some(decision), ..by.given(Some(message)) };
    let wish = Wish { is_full: false, trigger: Trigger::Api };
    let accepted = app.handle.run_for(&sync, wish, given).await?;
    Ok(Queued::new(sync, accepted))
}

/// Drops the ownership of the records whose deletes were held in a run; 409 while a run of the sync goes.
async fn discard(
    State(app): State<App>,
    FromPath(run): FromPath<u64>,
    Extension(By { who, store }): Extension<By>,
    Extension(held): Extension<Held>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Json<Discarded>, Problem> {
    let message = said(message)?;
    let run = RunId(run);
    let sync = sync_of(&app, run).await?;
    let work = async move |store: Store, order: Order| {
        let _held = held;
        decisions::discard(&store, &order, run, &message, &who).await
    };
    let (discarded, still_held) = alone(&app.samples, &store, &sync, work).await??;
    Ok(Json(Discarded { sync, run, discarded, still_held }))
}

/// Archives the snapshot, whatever its state; 409 while a run of the sync goes.
async fn rebaseline(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    Extension(held): Extension<Held>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Json<SetAside>, Problem> {
    let message = said(message)?;
    app.config.sync(&sync).ok_or_else(|| Problem::no_sync(&sync))?;
    let work = async move |store: Store, order: Order| {
        let _held = held;
        let name = &order.sync.name;
        decisions::rebaseline(&store, &order.state, name, &message, &who).await
    };
    let folder = alone(&app.samples, &store, &sync, work).await??;
    Ok(Json(SetAside { sync, archived_in: folder.display().to_string() }))
}

/// The sync of a run that is still in the config.
async fn sync_of(app: &App, run: RunId) -> Result<String, Problem> {
    let sync = app.store.run(run).await?.ok_or(store::Error::NoRun(run))?.sync;
    app.config.sync(&sync).ok_or_else(|| Problem::no_sync(&sync))?;
    Ok(sync)
}
