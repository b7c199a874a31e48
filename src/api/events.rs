//! A run while it goes, as server-sent events: `progress` whenever something changed, `end` at its end.
//!
//! Bounded: so many watchers, each for so long. A watcher is never what keeps a server from ending.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures::Stream;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior};

use super::App;
use super::document::Run;
use super::extract::FromPath;
use super::problem::Problem;
use super::routes::{Route, Routes};
use crate::domain::id::RunId;
use crate::shutdown::Stage;
use crate::store;

/// Watchers at once.
pub const WATCHERS: usize = 16;
/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often a watcher is told that we are there.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long one may watch before asking again.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The path of the events.
pub fn routes(routes: Routes) -> Routes {
    let route = Route::get("/api/v1/runs/{run}/events", "run_events", "A run while it goes");
    let says = "A run and its counts, whenever something changed and at its end";
    routes.add(route.events(says, &["progress", "end"]), get(watch))
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Progress {
    #[serde(flatten)]
    run: RunDocument,
    /// Of the run as it goes; at its end the tally has them.
    live: Option<Counts>,
}

/// A run, compared by what is written of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(transparent)]
struct RunDocument(Run);

impl PartialEq for RunDocument {
    fn eq(&self, other: &RunDocument) -> bool {
        self.0.phase == other.0.phase && self.0.stopped_by == other.0.stopped_by
    }
}

/// Counts of a run as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    rows_read: u64,
    delivered: u64,
    rejected: u64,
    /// Requests that have no answer yet.
    in_flight: u64,
}

impl Counts {
    /// Those of a run that goes in this process.
    pub fn of(app: &App, run: RunId) -> Option<Counts> {
        app.handle.live().of(run).map(|live| Counts {
            rows_read: live.rows_read(),
            delivered: live.delivered(),
            rejected: live.rejected(),
            in_flight: live.in_flight(),
        })
    }
}

/// Watches a run until its end, the server's, or the longest time.
async fn watch(
    State(app): State<App>,
    FromPath(run): FromPath<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let run = RunId(run);
    app.store.run(run).await?.ok_or(store::Error::NoRun(run))?;
    let place = Arc::clone(&app.watchers).try_acquire_owned().map_err(|_| {
        let detail = "too many watch runs; ask for `/api/v1/runs/{run}` now and then instead";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(30)
    })?;
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + LONGEST;
    let watch = Watch { app, run, ticks, until, told: None, is_over: false, _place: place };
    let events = futures::stream::unfold(watch, |mut watch| async {
        let event = watch.next().await?;
        Some((Ok(event), watch))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")))
}

struct Watch {
    app: App,
    run: RunId,
    ticks: tokio::time::Interval,
    until: Instant,
    told: Option<Progress>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// The next thing to tell; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let mut closing = self.app.closing.clone();
        while !self.is_over && Instant::now() < self.until {
            tokio::select! {
                biased;
                () = closing.reached(Stage::Draining) => return None,
                _ = self.ticks.tick() => {}
            }
            let row = match self.app.store.run(self.run).await {
                Ok(row) => row?,
                Err(error) => {
                    tracing::warn!(run = %self.run, %error, "a run that is watched could not be read");
                    continue;
                }
            };
            self.is_over = row.phase.is_ended();
            let live = Counts::of(&self.app, self.run).filter(|_| !self.is_over);
            let progress = Progress { run: RunDocument(Run::from(&row)), live };
            if self.told.as_ref() != Some(&progress) {
                let name = if self.is_over { "end" } else { "progress" };
                let data = serde_json::to_string(&progress).expect("documents are always JSON");
                self.told = Some(progress);
                return Some(Event::default().event(name).data(data));
            }
        }
        None
    }
}
