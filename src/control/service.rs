//! The loop that owns queue and timetable: triggers in, runs begun, their ends heard, all drained at the end.
//!
//! Pure rules are in `queue` and `timetable`, the run is the engine's; what is done at the start is in `arming`, how triggers
//! become runs in `triggers`. Invariants: a trigger is durable before it is
//! answered; a trigger that was accepted survives the process, as its run stays In Queue in the store; no run begins of
//! which it is not known that nobody stopped it and its sync is not paused; a run that fails or panics ends nothing but itself.

mod arming;
mod reloading;
mod triggers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, sleep_until};

use super::handle::{Command, Inbox, Readiness};
use super::pausing::{self, SELF, end_what_is_over};
use super::queue::{Limits, Place, Queue, Waiting, Wish};
use super::schedule::Schedule;
use super::stopping;
use super::timetable::Timetable;
use super::work::{Clock, Work};
use crate::domain::id::RunId;
use crate::domain::run::{Outcome, Trigger};
use crate::engine::order::Order;
use crate::engine::recovery;
use crate::engine::report::Report;
use crate::shutdown::{self, Shutdown, Stage, Stopper, Tasks};
use crate::store::{self, Store};
use triggers::not_begun;

pub use triggers::{take_in, take_in_for};

/// How often waiting runs are looked up for a stop command, and pauses for their end.
const WATCH: Duration = Duration::from_millis(500);
/// How long a start-up keeps others from starting up; one that takes longer goes on beside them.
const START_UP: Duration = Duration::from_secs(30);
/// For the commit after a drain.
const GRACE: Duration = Duration::from_secs(15);

/// A sync as the service knows it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// For an incremental run; each run's wish is put in its place.
    pub order: Order,
    pub schedule: Option<Schedule>,
    /// What the config says; a recorded pause or resume wins until that changes.
    pub is_paused: bool,
    /// The sync whose success starts this one.
    pub after: Option<String>,
    /// It runs at once when it is new.
    pub starts_now: bool,
    pub group: Option<String>,
    /// After so many halts in a row it is paused; never, if 0.
    pub disable_after_halts: u32,
}

/// The service, before its loop.
pub struct Service {
    store: Store,
    syncs: BTreeMap<String, Standing>,
    clock: Arc<dyn Clock>,
    work: Arc<dyn Work>,
    inbox: Inbox,
    queue: Queue,
    timetable: Timetable,
    /// Whose success starts which syncs.
    followers: BTreeMap<String, Vec<String>>,
    /// Syncs that are to run as soon as that can be stored and they are not paused.
    owed: BTreeMap<String, Trigger>,
    tasks: Tasks<Report>,
    /// Waits for the end of start-ups.
    starts: Tasks<RunId>,
    going: BTreeMap<RunId, Going>,
}

/// Whose success starts which syncs.
fn followers(syncs: &[Standing]) -> BTreeMap<String, Vec<String>> {
    let mut followers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for standing in syncs {
        if let Some(first) = &standing.after {
            let name = standing.order.sync.name.clone();
            followers.entry(first.clone()).or_default().push(name);
        }
    }
    followers
}

fn places(syncs: &[Standing]) -> BTreeMap<String, Place> {
    syncs.iter().map(|standing| (standing.order.sync.name.clone(), standing.place())).collect()
}

fn by_name(syncs: Vec<Standing>) -> BTreeMap<String, Standing> {
    syncs.into_iter().map(|standing| (standing.order.sync.name.clone(), standing)).collect()
}

/// A run that goes.
struct Going {
    stopper: Stopper,
    /// Waits for the end of its start-up.
    start: AbortHandle,
    /// Of the definition it began with.
    drain_timeout: Duration,
}

enum Event {
    Drain,
    Command(Box<Command>),
    Ended(Box<Report>),
    Started(RunId),
    Time,
    Watch,
}

impl Standing {
    fn place(&self) -> Place {
        Place {
            connection: self.order.sync.connection.clone(),
            group: self.group.clone(),
            priority: self.order.priority,
        }
    }
}

impl Service {
    pub fn new(
        store: Store,
        syncs: Vec<Standing>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        work: Arc<dyn Work>,
        inbox: Inbox,
    ) -> Service {
        let followers = followers(&syncs);
        let places = places(&syncs);
        Service {
            store,
            syncs: by_name(syncs),
            clock,
            work,
            inbox,
            queue: Queue::new(limits, places),
            timetable: Timetable::default(),
            followers,
            owed: BTreeMap::new(),
            tasks: Tasks::default(),
            starts: Tasks::default(),
            going: BTreeMap::new(),
        }
    }

    /// Serves until `shutdown` drains, and then until every run has ended; false if some were given up on.
    pub async fn serve(mut self, mut shutdown: Shutdown) -> bool {
        self.inbox.readiness.send_replace(Readiness::Ready);
        let mut watch = tokio::time::interval(WATCH);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin().await;
            let event = tokio::select! {
                biased;
                () = shutdown.reached(Stage::Draining) => Event::Drain,
                Some(report) = self.tasks.next() => Event::Ended(Box::new(report)),
                Some(run) = self.starts.next() => Event::Started(run),
                () = self.clock.wait(self.timetable.next()) => Event::Time,
                _ = watch.tick() => Event::Watch,
                // Last, so that no flood of them holds up the rest.
                Some(command) = self.inbox.commands.recv() => Event::Command(Box::new(command)),
            };
            match event {
                Event::Drain => break,
                Event::Ended(report) => self.ended(*report).await,
                Event::Started(run) => self.queue.started(run),
                Event::Command(command) => self.heed(*command).await,
                Event::Time => self.fire().await,
                Event::Watch => {
                    // A step of the clock is seen here: the wait for a time begins anew with each event.
                    self.fire().await;
                    self.end_pauses().await;
                    self.pay_owed().await;
                    self.drop_stopped().await;
                }
            }
        }
        self.inbox.readiness.send_replace(Readiness::Draining);
        self.inbox.commands.close();
        // Whoever waits for an answer is told so by the end of its channel.
        while self.inbox.commands.try_recv().is_ok() {}
        self.drain(shutdown).await
    }

    /// Whoever asked may be gone; what was done stands all the same.
    async fn heed(&mut self, command: Command) {
        match command {
            Command::Run { sync, wish, given, reply } => {
                let _ = reply.send(self.trigger(&sync, wish, given.as_ref()).await);
            }
            Command::StartGroup { group, syncs, given, reply } => {
                let _ = reply.send(self.start_group(&group, &syncs, &given).await);
            }
            Command::Reload { change, reply } => {
                let _ = reply.send(self.reload(*change).await);
            }
        }
    }

    /// Begins what may run.
    async fn begin(&mut self) {
        self.queue.hold(self.work.left_behind().into_keys().collect());
        while let Some((sync, Waiting { run, wish })) = self.queue.begin() {
            match self.why_not(&sync, run).await {
                Ok(None) => {}
                Ok(Some(why)) => {
                    self.queue.ended(&sync);
                    if let Err(error) = self.cancel(run, &why).await {
                        tracing::error!(sync, %run, %error, "a stopped run could not be ended");
                        self.queue.accept(&sync, wish, run);
                        return;
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(sync, %run, %error, "a run waits, as it is not known whether it may begin");
                    self.queue.ended(&sync);
                    self.queue.accept(&sync, wish, run);
                    // With the next event, or soon.
                    return;
                }
            }
            let Some(standing) = self.syncs.get(&sync) else {
                // It could not be dropped when it left the config; the next start does.
                self.queue.ended(&sync);
                continue;
            };
            let Wish { is_full, trigger } = wish;
            let order = Order { is_full, trigger, ..standing.order.clone() };
            let (stopper, shutdown) = shutdown::channel();
            tracing::info!(sync, %run, %trigger, is_full, "run begins");
            let (store, work) = (self.store.clone(), Arc::clone(&self.work));
            let drain_timeout = order.sync.limits.drain_timeout;
            let (progress, going) = self.inbox.live.begin(run, drain_timeout);
            let starting = Arc::clone(&progress);
            let name = sync.clone();
            let start = self.starts.spawn(async move {
                let started = tokio::time::timeout(START_UP, starting.wait_for_start()).await;
                if started.is_err() {
                    tracing::debug!(sync = name, %run, "a start-up takes long, others begin beside it");
                }
                run
            });
            self.going.insert(run, Going { stopper: stopper.clone(), start, drain_timeout });
            self.tasks.spawn(async move {
                let _going = going;
                let mut stops = Tasks::default();
                let told = move || tracing::info!(%run, "stopped by a command");
                stops.spawn(stopping::heed(store, run, stopper, told));
                work.run(order, run, progress, shutdown).await
            });
        }
    }

    /// Why a run that waits is not to begin, if there is a reason. A pause from here on finds the run, and asks it to stop.
    async fn why_not(&self, sync: &str, run: RunId) -> Result<Option<String>, store::Error> {
        let row = self.store.run(run).await?;
        Ok(match row.and_then(|row| row.stop) {
            Some(stop) => Some(recovery::never_began(&stop)),
            None => self.refusal(sync).await?.map(|refused| not_begun(&refused)),
        })
    }

    async fn is_stopped(&self, run: RunId) -> bool {
        match self.store.stop_requested(run).await {
            Ok(stop) => stop.is_some(),
            Err(error) => {
                tracing::warn!(%run, %error, "a stop command could not be looked for");
                false
            }
        }
    }

    async fn ended(&mut self, report: Report) {
        let Report { run, ref sync, outcome, ref tally, .. } = report;
        let (delivered, rows_read) = (tally.delivered, tally.rows_read);
        match &report.error {
            Some(error) => tracing::warn!(sync, %run, %outcome, delivered, error, "run ended"),
            None => tracing::info!(sync, %run, %outcome, rows_read, delivered, "run ended"),
        }
        self.queue.ended(sync);
        if let Some(Going { start, .. }) = self.going.remove(&run) {
            start.abort();
        }
        if report.is_halt {
            self.disable_halted(sync, &report).await;
        }
        if matches!(outcome, Outcome::Succeeded | Outcome::Skipped) {
            for follower in self.followers.get(sync).into_iter().flatten() {
                self.owed.insert(follower.clone(), Trigger::Sequence);
            }
            self.pay_owed().await;
        }
        self.inbox.metrics.ended(sync, outcome, tally, report.abandoned_queries);
        self.inbox.reports.keep(report);
    }

    /// Pauses a sync of which so many runs in a row halted that the next would too.
    async fn disable_halted(&self, sync: &str, report: &Report) {
        let Some(standing) = self.syncs.get(sync) else { return };
        let count = standing.disable_after_halts;
        let disabled = async {
            let since = self.store.pause(sync).await?.map(|pause| pause.at).unwrap_or_default();
            if count == 0 || !self.store.has_halted(sync, since, count).await? {
                return Ok(());
            }
            let why = report.error.as_deref().unwrap_or("without an error");
            let message =
                format!("{count} runs in a row halted, the last was {}: {why}", report.run);
            tracing::warn!(sync, message, "disabled; `counterflow resume` enables it again");
            let asked = pausing::Asked {
                sync,
                is_paused: true,
                configured: standing.is_paused,
                who: SELF,
                message: &message,
                until: None,
                is_start: false,
            };
            pausing::change(&self.store, asked, self.clock.now()).await.map(drop)
        };
        if let Err::<(), store::Error>(error) = disabled.await {
            tracing::error!(sync, %error, "a sync whose runs halt could not be disabled");
        }
    }

    /// Resumes syncs whose pause was to end by now.
    async fn end_pauses(&self) {
        let now = self.clock.now();
        let ended = async {
            for sync in self.store.ended_pauses(now).await? {
                if end_what_is_over(&self.store, &sync, now).await? {
                    tracing::info!(sync, "the pause is over, and the sync resumed");
                }
            }
            Ok(())
        };
        if let Err::<(), store::Error>(error) = ended.await {
            tracing::warn!(%error, "pauses that are over could not be ended");
        }
    }

    /// Ends waiting runs that were asked to stop.
    async fn drop_stopped(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let stopped = match self.store.stopped().await {
            Ok(stopped) => stopped,
            Err(error) => return tracing::warn!(%error, "stop commands could not be looked for"),
        };
        for row in stopped {
            let Some(stop) = &row.stop else { continue };
            if self.queue.waiting(&row.sync).is_some_and(|waiting| waiting.run == row.id) {
                match self.cancel(row.id, &recovery::never_began(stop)).await {
                    Ok(()) => drop(self.queue.withdraw(&row.sync, row.id)),
                    Err(error) => {
                        tracing::warn!(run = %row.id, %error, "a stopped run could not be ended")
                    }
                }
            }
        }
    }

    /// Waits for the end of every run within one deadline: the longest drain, and some time to commit. What waits stays
    /// In Queue for the next start.
    async fn drain(mut self, mut shutdown: Shutdown) -> bool {
        let timeouts = self.going.values().map(|going| going.drain_timeout);
        let longest = timeouts.max().unwrap_or_default().saturating_add(GRACE);
        let mut deadline = tokio::time::Instant::now() + longest;
        let mut stage = Stage::Draining;
        loop {
            self.going.values().for_each(|going| going.stopper.raise(stage));
            let report = tokio::select! {
                biased;
                ended = self.tasks.next() => match ended {
                    Some(report) => report,
                    None => return true,
                },
                () = shutdown.reached(Stage::Aborting), if stage < Stage::Aborting => {
                    (stage, deadline) = (Stage::Aborting, tokio::time::Instant::now() + GRACE);
                    continue;
                }
                () = sleep_until(deadline) => {
                    if stage == Stage::Aborting {
                        let runs: Vec<RunId> = self.going.keys().copied().collect();
                        tracing::error!(?runs, "given up on; they are recovered at the next start");
                        return false;
                    }
                    (stage, deadline) = (Stage::Aborting, tokio::time::Instant::now() + GRACE);
                    continue;
                }
            };
            let (sync, run, outcome) = (report.sync.clone(), report.run, report.outcome);
            self.ended(report).await;
            if outcome == Outcome::Cancelled && !self.is_stopped(run).await {
                self.go_on_later(&sync, run).await;
            }
        }
    }

    /// A run that the shutdown cut short, and nobody stopped, is gone on with at the next start.
    async fn go_on_later(&mut self, sync: &str, run: RunId) {
        let wish = Wish { is_full: false, trigger: Trigger::Recovery };
        match self.take_in(sync, wish).await {
            Ok(accepted) => {
                tracing::info!(sync, %run, next = %accepted.run, "goes on at the next start")
            }
            Err(error) => {
                tracing::error!(sync, %run, %error, "the run that goes on could not be stored")
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
