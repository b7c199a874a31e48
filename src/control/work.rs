//! What the service stands on: the clock, and the carrying out of a run. Tests put others in their place.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::deciding::Threads;
use super::turns::{Turn, Turns};
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Outcome;
use crate::domain::tally::Tally;
use crate::engine;
use crate::engine::abandoned::Abandoned;
use crate::engine::compacting;
use crate::engine::order::Order;
use crate::engine::progress::Progress;
use crate::engine::report::Report;
use crate::shutdown::{Shutdown, Stage, Tasks};
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

    /// The syncs whose runs are not to begin yet, each with the run that has left a query behind.
    fn left_behind(&self) -> BTreeMap<String, RunId>;
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
    /// On which its snapshot is made smaller behind a run.
    pub threads: Threads,
    /// Runs of one sync do not read beside a query of an earlier one, as long as that is waited for.
    pub abandoned: Abandoned,
}

impl Work for Engine {
    fn run(
        &self,
        order: Order,
        run: RunId,
        progress: Arc<Progress>,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Report> {
        let Engine { store, turns, traces, threads, abandoned } = self.clone();
        async move {
            let runtime = Handle::current();
            let (trigger, revision) = (order.trigger, order.revision.clone());
            let began = engine::run::now();
            let mut stop = shutdown.clone();
            let turn = async {
                match order.chosen.is_some() {
                    // The queue does not know of samples.
                    true => turns.take_beside_queue(&order.sync.name).await,
                    false => turns.take(&order.sync.name).await,
                }
            };
            let turn = tokio::select! {
                biased;
                turn = turn => turn,
                () = stop.reached(Stage::Draining) => {
                    let report = without_turn(&store, &order, run).await;
                    traces.ended(&report.trace(trigger, &revision, began));
                    return report;
                }
            };
            let behind = (store.clone(), order.clone());
            let mut tasks = Tasks::default();
            tasks.spawn_blocking(move || {
                let sync = order.sync.name.clone();
                let ended = engine::run::run(&store, order, run, shutdown, progress, &abandoned);
                let ended = AssertUnwindSafe(Box::pin(ended)).catch_unwind();
                match runtime.block_on(ended) {
                    Ok(report) => report,
                    Err(_panic) => runtime.block_on(panicked(&store, run, sync)),
                }
            });
            let report = tasks.next().await;
            let report = report.expect("the one task was just spawned and is not aborted");
            traces.ended(&report.trace(trigger, &revision, began));
            if report.is_compaction_due {
                compact_behind(&threads, behind, turn);
            }
            report
        }
        .boxed()
    }

    fn left_behind(&self) -> BTreeMap<String, RunId> {
        self.abandoned.held()
    }
}

/// Makes the snapshot of a sync smaller until somebody else wants the turn, or the process ends.
fn compact_behind(threads: &Threads, (store, order): (Store, Order), mut turn: Turn) {
    let mut told = turn.give_way();
    let compact = async move || {
        if let Some(_place) = turn.aside(&mut told).await {
            compacting::behind(&store, &order, &told).await;
        }
    };
    if threads.begin(compact).is_err() {
        tracing::debug!("the process ends, and a snapshot is made smaller behind a later run");
    }
}

/// The end of a run that was stopped while somebody else worked on its snapshot.
async fn without_turn(store: &Store, order: &Order, run: RunId) -> Report {
    let ended = async {
        // A full resync that it was to be is owed from here on.
        store.begin(run, order.is_full, &order.revision).await?;
        let now = engine::run::now();
        store.finish(run, Outcome::Cancelled, &Tally::default(), None, now).await
    };
    let (outcome, error) = match ended.await {
        Ok(()) => (Outcome::Cancelled, None),
        Err(error) => (Outcome::Failed, Some(error.to_string())),
    };
    Report { outcome, error, ..Report::new(run, order.sync.name.clone()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::tests::order;
    use crate::domain::run::{Phase, Trigger};
    use crate::shutdown;

    #[tokio::test]
    async fn a_run_that_is_stopped_while_it_waits_for_its_turn_is_cancelled_and_a_full_one_owed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let turns = Turns::default();
        let (traces, abandoned) = (Traces::default(), Abandoned::default());
        let engine = Engine {
            store: store.clone(),
            turns: turns.clone(),
            traces,
            threads: Threads::default(),
            abandoned,
        };
        let _somebody = turns.take("crm").await;
        let (stopper, shutdown) = shutdown::channel();
        let run = store.create_run("crm", None, Trigger::Api, Instant(1)).await.unwrap();
        let order = Order { is_full: true, ..order("crm") };
        let going = engine.run(order, run, Arc::default(), shutdown);
        let stop = async { stopper.raise(Stage::Draining) };
        let ended = async { tokio::join!(going, stop).0 };
        let report = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
        assert_eq!((report.run, report.outcome, report.error), (run, Outcome::Cancelled, None));
        let row = store.run(run).await.unwrap().unwrap();
        assert_eq!(row.phase, Phase::Ended(Outcome::Cancelled));
        assert!(store.is_full_owed("crm").await.unwrap());
    }
}
