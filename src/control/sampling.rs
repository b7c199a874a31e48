//! Samples that a server carries out: beside the queue, as they are for syncs that are paused too, one sync at a time.
//!
//! Not responsible for what a sample is (`engine`). Invariants: a sample is durable as a run before it is answered; it never
//! goes beside a run of its sync, nor beside another sample ([`Turns`]), and no more than some wait; all have ended when
//! [`Carrier::serve`] returns, unless they were given up on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::deciding::Threads;
use super::handle::{Given, Handle, Readiness, Refused};
use super::stopping;
use super::turns::Turns;
use super::work::{Engine, Work as _};
use crate::domain::chosen::Chosen;
use crate::domain::id::RunId;
use crate::domain::kind::Choice;
use crate::domain::run::Trigger;
use crate::engine::abandoned::Abandoned;
use crate::engine::order::Order;
use crate::engine::report::Report;
use crate::engine::run::now;
use crate::shutdown::{self, Shutdown, Stage, Stopper, Tasks};
use crate::source::check_condition;
use crate::store::{self, Audited, NewRun};

/// Samples that were asked for and have not ended, at most.
const MOST: usize = 16;
/// How long their ends may hold up that of the server, once they were told to abort.
const GRACE: Duration = Duration::from_secs(15);

/// Asks for samples. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Samples {
    handle: Handle,
    turns: Turns,
    threads: Threads,
    abandoned: Abandoned,
    orders: Orders,
    /// For those that have not ended.
    places: Arc<Semaphore>,
    asked: mpsc::Sender<Asked>,
}

/// The orders of all syncs, an incremental run each, by name.
type Orders = Arc<Mutex<BTreeMap<String, Order>>>;

/// A sample that was asked for.
#[derive(Debug)]
struct Asked {
    order: Order,
    run: RunId,
    place: OwnedSemaphorePermit,
}

/// Carries them out.
pub struct Carrier {
    engine: Engine,
    handle: Handle,
    asked: mpsc::Receiver<Asked>,
    tasks: Tasks<Report>,
    going: BTreeMap<RunId, Stopper>,
}

/// What asks for samples, and what carries them out.
pub fn channel(engine: Engine, handle: Handle, orders: Vec<Order>) -> (Samples, Carrier) {
    let (sender, asked) = mpsc::channel(MOST);
    let samples = Samples {
        handle: handle.clone(),
        turns: engine.turns.clone(),
        threads: engine.threads.clone(),
        abandoned: engine.abandoned.clone(),
        orders: Orders::default(),
        places: Arc::new(Semaphore::new(MOST)),
        asked: sender,
    };
    samples.replace(orders);
    let (tasks, going) = (Tasks::default(), BTreeMap::new());
    (samples, Carrier { engine, handle, asked, tasks, going })
}

impl Samples {
    /// Puts the orders of a config that was loaded anew in the place of the old ones.
    pub fn replace(&self, orders: Vec<Order>) {
        let by_name = orders.into_iter().map(|order| (order.sync.name.clone(), order)).collect();
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = by_name;
    }

    /// The sync's order.
    ///
    /// # Errors
    /// There is no such sync.
    pub fn order(&self, sync: &str) -> Result<Order, Refused> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.get(sync).cloned().ok_or_else(|| Refused::UnknownSync(sync.to_owned()))
    }

    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The syncs whose next run waits for the end of a query, each with the run that left it behind.
    pub fn left_behind(&self) -> BTreeMap<String, RunId> {
        self.abandoned.held()
    }

    /// Those that commands work on.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Whether the process takes commands in.
    ///
    /// # Errors
    /// It is starting, or ending.
    pub fn check_ready(&self) -> Result<(), Refused> {
        match self.handle.readiness() {
            Readiness::Starting => Err(Refused::Starting),
            Readiness::Draining => Err(Refused::Draining),
            Readiness::Ready | Readiness::Reloading => Ok(()),
        }
    }

    /// As [`Handle::draining`].
    pub async fn draining(&self) {
        self.handle.draining().await;
    }

    /// Resolves once the process takes no commands in any more, and what those before began on threads is at its end.
    pub async fn ended(&self) {
        self.draining().await;
        self.turns.close();
        self.threads.ended().await;
    }

    /// Asks for a sample of the sync; its run, which is durable. Begun, that goes on to its end though nobody waits for it,
    /// and `held` is kept until then.
    ///
    /// # Errors
    /// It was not taken in, and nothing has changed.
    pub async fn begin(
        &self,
        sync: &str,
        chosen: Chosen,
        given: Given,
        held: impl Send + 'static,
    ) -> Result<RunId, Refused> {
        self.check_ready()?;
        let trigger = Trigger::Api;
        let order = Order { chosen: Some(chosen), trigger, ..self.order(sync)? };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_none| Refused::Samples(MOST))?;
        // All that have a place have room in it.
        let line = self.asked.clone().try_reserve_owned().map_err(|_closed| Refused::Draining)?;
        let asked = async move || {
            let _held = held;
            let run = ask(&given, &order.sync.name, trigger).await?;
            line.send(Asked { order, run, place });
            Ok(run)
        };
        self.threads.run(asked).await?
    }
}

/// Whether rows are chosen in a way that can mean any, as far as that can be told without the model.
///
/// # Errors
/// What is wrong with the choice.
pub fn check(chosen: &Chosen) -> Result<(), String> {
    if let Some(fault) = chosen.fault() {
        return Err(fault.to_owned());
    }
    let condition = chosen.condition.as_deref();
    condition.map_or(Ok(()), |sql| check_condition(sql).map_err(|error| error.to_string()))
}

/// The run of a sample, in the queue, with the audit of the command that asks for it: both are written, or neither is.
///
/// # Errors
/// The store cannot be written.
pub async fn ask(given: &Given, sync: &str, trigger: Trigger) -> Result<RunId, store::Error> {
    let audited = Audited {
        at: now(),
        who: given.who.clone(),
        command: "sample".to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: given.message.clone(),
    };
    let new = NewRun { sync: sync.to_owned(), choice: Some(Choice::SAMPLE), trigger };
    given.store.ask_run(&new, &audited, None).await
}

impl Carrier {
    /// Carries samples out until `shutdown` drains, and then until all have ended.
    pub async fn serve(mut self, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.reached(Stage::Draining) => break,
                Some(report) = self.tasks.next() => self.ended(report),
                Some(asked) = self.asked.recv() => self.begin(asked),
            }
        }
        self.asked.close();
        // What was accepted ends too, if only as cancelled; also what is being written now.
        while let Some(asked) = self.asked.recv().await {
            self.begin(asked);
        }
        for stage in [Stage::Draining, Stage::Aborting] {
            self.going.values().for_each(|stopper| stopper.raise(stage));
            let all = async {
                while let Some(report) = self.tasks.next().await {
                    self.handle.keep(report);
                }
            };
            tokio::select! {
                biased;
                () = all => return,
                () = shutdown.reached(Stage::Aborting), if stage == Stage::Draining => {}
                () = tokio::time::sleep(GRACE), if stage == Stage::Aborting => {}
            }
        }
        tracing::error!("samples were given up on; they are recovered at the next start");
    }

    fn begin(&mut self, Asked { order, run, place }: Asked) {
        let (stopper, shutdown) = shutdown::channel();
        self.going.insert(run, stopper.clone());
        tracing::info!(sync = order.sync.name, %run, "sample begins");
        let engine = self.engine.clone();
        let (progress, going) = self.handle.live().begin(run, order.sync.limits.drain_timeout);
        self.tasks.spawn(async move {
            let (_going, _place) = (going, place);
            let mut stops = Tasks::default();
            let told = move || tracing::info!(%run, "stopped by a command");
            stops.spawn(stopping::heed(engine.store.clone(), run, stopper, told));
            engine.run(order, run, progress, shutdown).await
        });
    }

    fn ended(&mut self, report: Report) {
        let Report { run, ref sync, outcome, ref tally, .. } = report;
        tracing::info!(sync, %run, %outcome, delivered = tally.delivered, "sample ended");
        self.going.remove(&run);
        self.handle.keep(report);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::control::handle;
    use crate::control::service::tests::order;
    use crate::store::Store;
    use crate::telemetry::traces::Traces;

    struct Bench {
        _folder: tempfile::TempDir,
        store: Store,
        samples: Samples,
        carrier: Carrier,
    }

    async fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let (turns, traces) = (Turns::default(), Traces::default());
        let engine = Engine {
            store: store.clone(),
            turns,
            traces,
            threads: Threads::default(),
            abandoned: Abandoned::default(),
        };
        let (handle, inbox) = handle::channel();
        inbox.readiness.send_replace(Readiness::Ready);
        let order = Order { state: folder.path().into(), ..order("crm") };
        let (samples, carrier) = channel(engine, handle, vec![order]);
        Bench { _folder: folder, store, samples, carrier }
    }

    fn given(store: &Store) -> Given {
        Given { who: "ada".to_owned(), message: None, store: store.clone(), decision: None }
    }

    #[tokio::test]
    async fn a_sample_is_asked_for_whole_though_whoever_asked_is_gone() {
        let Bench { _folder, store, samples, mut carrier } = bench().await;
        let asked = samples.begin("crm", Chosen::default(), given(&store), ());
        assert!(asked.now_or_never().is_none(), "it is being written, and nobody waits for it");
        let long = Duration::from_secs(30);
        let asked = tokio::time::timeout(long, carrier.asked.recv()).await.unwrap().unwrap();
        assert_eq!(store.run(asked.run).await.unwrap().unwrap().sync, "crm");
    }

    #[tokio::test]
    async fn samples_beyond_those_that_may_wait_are_refused_until_one_has_ended() {
        let Bench { _folder, store, samples, carrier } = bench().await;
        let begin = || samples.begin("crm", Chosen::default(), given(&store), ());
        let (stopper, shutdown) = shutdown::channel();
        let story = async {
            // A run of the sync goes for long.
            let turn = samples.turns().take("crm").await;
            for _ in 0..MOST {
                begin().await.unwrap();
            }
            let more = begin().await;
            assert!(matches!(more, Err(Refused::Samples(MOST))), "{more:?}");
            assert_eq!(store.runs(None, 100, None).await.unwrap().len(), MOST, "nothing is queued");
            drop(turn);
            while begin().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            stopper.raise(Stage::Draining);
        };
        let both = async { tokio::join!(carrier.serve(shutdown), story) };
        tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        assert!(store.unfinished().await.unwrap().is_empty());
    }
}
