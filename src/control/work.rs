//! What the service stands on: the clock, and the carrying out of a run. Tests put others in their place.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::turns::Turns;
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Outcome;
use crate::domain::tally::Tally;
use crate::engine;
use crate::engine::order::Order;
use crate::engine::progress::Progress;
use crate::engine::report::Report;
use crate::shutdown::{Shutdown, Tasks};
use crate::store::Store;
use crate::telemetry::traces::Traces;

/// The wall clock is asked again at least this often, so that a jump of it is noticed.
const RECHECK: Duration = Duration::from_secs(5);

/// Tells the time, and waits for it.
pub trait Clock: Send + Sync {
    fn now(&self) -> Instant;

    /// Resolves when `until` has come or the time is to be looked at again.
    fn wait(&self, until: Option<Instant>) -> BoxFuture<'static, ()>;
}

/// Carries runs out.
pub trait Work: Send + Sync {
    /// Runs `order` to its end and records that under `run`, whatever happens; says in `progress` how far it is.
    fn run(
        &self,
        order: Order,
        run: RunId,
        progress: Arc<Progress>,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Report>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Instant {
        engine::run::now()
    }

    fn wait(&self, until: Option<Instant>) -> BoxFuture<'static, ()> {
        let left = until.map_or(i64::MAX, |until| until.0.saturating_sub(self.now().0));
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        tokio::time::sleep(left.min(RECHECK)).boxed()
    }
}

/// The engine. A run has a thread of its own, so that its reading and writing of files holds up nobody; one that panics
/// has failed, and takes nobody with it.
#[derive(Debug, Clone)]
pub struct Engine {
    pub store: Store,
    /// Runs of one sync follow each other, whoever asked for them.
    pub turns: Turns,
    pub traces: Traces,
}

impl Work for Engine {
    fn run(
        &self,
        order: Order,
        run: RunId,
        progress: Arc<Progress>,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Report> {
        let Engine { store, turns, traces } = self.clone();
        async move {
            let _turn = turns.take(&order.sync.name).await;
            let runtime = Handle::current();
            let (trigger, revision) = (order.trigger, order.revision.clone());
            let began = engine::run::now();
            let mut tasks = Tasks::default();
            tasks.spawn_blocking(move || {
                let sync = order.sync.name.clone();
                let ended = engine::run::run(&store, order, run, shutdown, progress);
                let ended = AssertUnwindSafe(Box::pin(ended)).catch_unwind();
                match runtime.block_on(ended) {
                    Ok(report) => report,
                    Err(_panic) => runtime.block_on(panicked(&store, run, sync)),
                }
            });
            let report = tasks.next().await;
            let report = report.expect("the one task was just spawned and is not aborted");
            traces.ended(&report.trace(trigger, &revision, began));
            report
        }
        .boxed()
    }
}

async fn panicked(store: &Store, run: RunId, sync: String) -> Report {
    let why = "the run broke off by a defect, please report it with the log; the next run goes on from there";
    let tally = Tally::default();
    let finished = store.finish(run, Outcome::Failed, &tally, Some(why), engine::run::now()).await;
    if let Err(error) = finished {
        tracing::error!(%run, %error, "the end of a run that broke off could not be stored");
    }
    Report { error: Some(why.to_owned()), ..Report::new(run, sync) }
}
