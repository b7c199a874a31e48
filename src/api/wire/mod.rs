//! The RudderStack wire: what the clients of `/v2/retl-connections` ask, answered over the same store and service.
//!
//! A connection id of theirs is the name of a sync, a sync of theirs is a run. Not responsible for what a command does
//! (`control`). Invariants: a start is answered once the run is durable, and never with success but by its number; a run
//! whose process died is never `running`; every refusal is in the clients' words (`refusal`).

mod asked;
mod refusal;
mod sync;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::command::By;
use super::routes::{Route, Routes};
use crate::control::commands;
use crate::control::handle::Readiness;
use crate::control::queue::Wish;
use crate::domain::id::RunId;
use crate::domain::kind::Choice;
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::engine::run::now;
use crate::store::{RunRow, Scope, Span};
use asked::Page;
pub use refusal::{ROOT, in_its_words};
use refusal::{Refusal, Said};
use sync::Sync;

/// Runs that are read at once where they are sifted by their status.
const SIFTED: u32 = 500;

/// The paths of the wire.
pub fn routes(routes: Routes) -> Routes {
    let start = Route::post(
        Scope::Run,
        "/v2/retl-connections/{connection}/start",
        "wire_start",
        "Sync Now, for clients of RudderStack; a connection is a sync",
    );
    let stop = Route::post(
        Scope::Run,
        "/v2/retl-connections/{connection}/stop",
        "wire_stop",
        "Stop Now, for clients of RudderStack",
    );
    let list_all = Route::get(
        "/v2/retl-connections/{connection}/syncs",
        "wire_syncs",
        "Runs of a sync, for clients of RudderStack",
    );
    let one = Route::get(
        "/v2/retl-connections/{connection}/syncs/{sync}",
        "wire_sync",
        "One run, for clients of RudderStack",
    );
    let start = start.body::<asked::Start>().json::<Started>(200, "The run is durable");
    let stop = stop.body::<asked::Stop>().nothing(204, "The stop is recorded");
    let list_all = list_all.query::<asked::Query>().json::<Syncs>(200, "A page of runs");
    routes
        .add(start.refused_as::<Said>(), post(self::start))
        .add(stop.refused_as::<Said>(), post(self::stop))
        .add(list_all.refused_as::<Said>(), get(list))
        .add(one.json::<Sync>(200, "The run").refused_as::<Said>(), get(self::one))
}

/// A run that was begun.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireStarted")]
pub struct Started {
    #[serde(rename = "syncId")]
    sync_id: String,
}

impl Started {
    pub fn of(run: RunId) -> Started {
        Started { sync_id: run.to_string() }
    }
}

/// A page of runs, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireSyncs")]
struct Syncs {
    syncs: Vec<Sync>,
    paging: Paging,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WirePaging")]
struct Paging {
    total: u64,
    /// The path of the next page.
    next: Option<String>,
}

/// Asks for a run, behind one that drains: its number, once it is durable. One that reads or delivers is in the way.
async fn start(
    State(app): State<App>,
    connection: Result<Path<String>, PathRejection>,
    Extension(by): Extension<By>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Started>, Refusal> {
    let Path(connection) = connection?;
    if app.config.sync(&connection).is_none() {
        return Err(Refusal::no_connection(&connection));
    }
    let is_full = asked::is_full(&body?)?;
    // While the service starts, what the store has of going runs is of a process that died.
    if app.handle.readiness() == Readiness::Ready
        && let Some(run) = in_the_way(&app, &connection).await?
    {
        return Err(Refusal::going(&connection, run));
    }
    let wish = Wish { is_full, trigger: Trigger::Api };
    let accepted = app.handle.run_for(&connection, wish, by.given(None)).await;
    let accepted = accepted.map_err(Refusal::of)?;
    Ok(Json(Started::of(accepted.run)))
}

/// The run that reads or delivers, or is about to; none that drains or commits, as another one is queued behind that.
async fn in_the_way(app: &App, sync: &str) -> Result<Option<RunId>, Refusal> {
    let unfinished = app.store.unfinished_of(sync).await?;
    let is_in_the_way = |row: &&RunRow| {
        row.stop.is_none()
            && !row.choice.is_some_and(Choice::is_sample)
            && matches!(row.phase, Phase::Starting | Phase::Reading)
    };
    Ok(unfinished.iter().find(is_in_the_way).map(|row| row.id))
}

/// Stops what goes and what waits; an idle one stays as it is.
async fn stop(
    State(app): State<App>,
    connection: Result<Path<String>, PathRejection>,
    Extension(By { who, store }): Extension<By>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let Path(connection) = connection?;
    if app.config.sync(&connection).is_none() {
        return Err(Refusal::no_connection(&connection));
    }
    asked::object(&body?)?;
    let stop = commands::Stop { sync: &connection, is_now: false, who: &who, message: None };
    commands::stop(&store, stop, now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The runs, the newest first.
async fn list(
    State(app): State<App>,
    connection: Result<Path<String>, PathRejection>,
    query: Result<Query<asked::Query>, QueryRejection>,
) -> Result<Json<Syncs>, Refusal> {
    let (Path(connection), Query(query)) = (connection?, query?);
    let page = query.page()?;
    let span = Span { sync: &connection, after: page.after, before: page.before };
    let (rows, total) = match page.status {
        Some(_) => sifted(&app, span, &page).await?,
        None => {
            let rows = app.store.runs_within(span, page.per_page, page.offset()).await?;
            let rows = rows.into_iter().map(|row| as_it_is(&app, row)).collect();
            (rows, app.store.count_within(span).await?)
        }
    };
    if total == 0 && !is_known(&app, &connection).await? {
        return Err(Refusal::no_connection(&connection));
    }
    let limit = limit(&app, &connection);
    let syncs = rows.iter().map(|row| Sync::of(row, limit)).collect();
    let paging = Paging { total, next: page.next(&connection, total) };
    Ok(Json(Syncs { syncs, paging }))
}

/// The page of those runs that have the status, and how many have it: one rule says which, so each is looked at.
async fn sifted(app: &App, span: Span<'_>, page: &Page) -> Result<(Vec<RunRow>, u64), Refusal> {
    let limit = limit(app, span.sync);
    let (mut rows, mut total, mut offset) = (Vec::new(), 0_u64, 0_u64);
    loop {
        let some = app.store.runs_within(span, SIFTED, offset).await?;
        if some.is_empty() {
            return Ok((rows, total));
        }
        offset += u64::from(SIFTED);
        for row in some.into_iter().map(|row| as_it_is(app, row)) {
            if page.status != Some(sync::word(row.phase, &row.tally, limit)) {
                continue;
            }
            let is_on_page = total >= page.offset() && rows.len() < page.per_page as usize;
            total += 1;
            if is_on_page {
                rows.push(row);
            }
        }
    }
}

/// One run of the sync.
async fn one(
    State(app): State<App>,
    ids: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Sync>, Refusal> {
    let Path((connection, id)) = ids?;
    let row = match id.parse() {
        Ok(run) => app.store.run(RunId(run)).await?,
        Err(_) => None,
    };
    match row.filter(|row| row.sync == connection) {
        Some(row) => Ok(Json(Sync::of(&as_it_is(&app, row), limit(&app, &connection)))),
        None if is_known(&app, &connection).await? => Err(Refusal::no_sync(&connection, &id)),
        None => Err(Refusal::no_connection(&connection)),
    }
}

/// The run, of which nothing goes while the service starts: its process died, which is written down soon.
fn as_it_is(app: &App, row: RunRow) -> RunRow {
    let is_dead = app.handle.readiness() == Readiness::Starting
        && !row.phase.is_ended()
        && row.phase != Phase::InQueue;
    if is_dead { RunRow { phase: Phase::Ended(Outcome::Interrupted), ..row } } else { row }
}

/// Whether the name is a sync of the config, or was one.
async fn is_known(app: &App, sync: &str) -> Result<bool, Refusal> {
    Ok(app.config.sync(sync).is_some() || !app.store.runs(Some(sync), 1, None).await?.is_empty())
}

fn limit(app: &App, sync: &str) -> Option<u64> {
    app.config.sync(sync).and_then(|sync| sync.fail_above_rejected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn while_the_service_starts_what_had_begun_has_failed_and_what_waits_is_running() {
        let folder = tempfile::tempdir().unwrap();
        let app = crate::api::tests::app(folder.path()).await;
        let store = app.store.clone();
        let name = app.config.syncs[0].sync.name.clone();
        let begun = store.create_run(&name, None, Trigger::Api, now()).await.unwrap();
        store.begin(begun, false, "r1").await.unwrap();
        let queued = store.create_run(&name, None, Trigger::Api, now()).await.unwrap();
        for (run, word) in [(begun, "failed"), (queued, "running")] {
            let ids = Ok(Path((name.clone(), run.to_string())));
            let Json(sync) = one(State(app.clone()), ids).await.unwrap();
            assert_eq!(json!(sync)["status"], word, "{sync:#?}");
        }
        let query = serde_json::from_value(json!({ "status": "failed" })).unwrap();
        let listed = list(State(app), Ok(Path(name)), Ok(Query(query))).await;
        let Json(listed) = listed.unwrap();
        assert_eq!(listed.paging.total, 1, "{listed:#?}");
    }
}
