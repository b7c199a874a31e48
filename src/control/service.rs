//! The loop that owns queue and timetable: triggers in, runs begun, their ends heard, all drained at the end.
//!
//! Pure rules are in `queue` and `timetable`, the run is the engine's. Invariants: a trigger is durable before it is
//! answered; a trigger that was accepted survives the process, as its run stays In Queue in the store; a run that fails
//! or panics ends nothing but itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, sleep_until};

use super::handle::{Accepted, Command, Given, Inbox, Readiness, Refused};
use super::pausing::paused;
use super::queue::{Needed, Queue, Waiting, Wish};
use super::schedule::Schedule;
use super::stopping;
use super::timetable::Timetable;
use super::work::{Clock, Work};
use crate::domain::id::{Instant, RunId};
use crate::domain::run::{Outcome, Trigger};
use crate::domain::tally::Tally;
use crate::engine::order::Order;
use crate::engine::recovery;
use crate::engine::report::Report;
use crate::shutdown::{self, Shutdown, Stage, Stopper, Tasks};
use crate::store::{self, Audited, Store};

/// Runs of one process that go at once; each may take the config's memory limit.
pub const RUNS_AT_ONCE: usize = 4;
/// How often waiting runs are looked up for a stop command.
const STOPS: Duration = Duration::from_millis(500);
/// For the commit after a drain.
const GRACE: Duration = Duration::from_secs(15);
/// In milliseconds: when a firing that could not be stored is tried again.
const RETRY: i64 = 10_000;

/// A sync as the service knows it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// For an incremental run; each run's wish is put in its place.
    pub order: Order,
    pub schedule: Option<Schedule>,
    /// What the config says; a recorded pause or resume wins until that changes.
    pub is_paused: bool,
}

/// Takes a trigger into the queue: what it needs is durable first, so that a kill between the two loses nothing.
///
/// # Errors
/// The store cannot be written; then the trigger is not accepted.
pub async fn take_in(
    store: &Store,
    queue: &mut Queue,
    sync: &str,
    wish: Wish,
    now: Instant,
) -> Result<Accepted, store::Error> {
    let needed = queue.needed(sync, wish);
    let run = match needed {
        Needed::NewRun => store.create_run(sync, wish.choice(), wish.trigger, now).await?,
        Needed::Stronger(run) => {
            let choice = wish.choice().expect("only a full run is stronger");
            store.set_choice(run, choice).await?;
            run
        }
        Needed::Nothing(run) => run,
    };
    queue.accept(sync, wish, run);
    Ok(Accepted { run, is_joined: needed != Needed::NewRun })
}

/// As [`take_in`], for a command: its audit is written with what the trigger needs, or neither is.
async fn take_in_for(
    given: &Given,
    queue: &mut Queue,
    sync: &str,
    wish: Wish,
    now: Instant,
) -> Result<Accepted, store::Error> {
    let Given { who, message, store } = given;
    let audited = Audited {
        at: now,
        who: who.clone(),
        command: if wish.is_full { "sync --full" } else { "sync" }.to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: message.clone(),
    };
    let needed = queue.needed(sync, wish);
    let run = match needed {
        Needed::NewRun => store.ask_run(sync, wish.choice(), wish.trigger, now, &audited).await?,
        Needed::Stronger(run) => {
            store.ask_waiting(run, wish.choice(), &audited).await?;
            run
        }
        Needed::Nothing(run) => {
            store.ask_waiting(run, None, &audited).await?;
            run
        }
    };
    queue.accept(sync, wish, run);
    Ok(Accepted { run, is_joined: needed != Needed::NewRun })
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
    tasks: Tasks<Report>,
    going: BTreeMap<RunId, Stopper>,
}

enum Event {
    Drain,
    Command(Command),
    Ended(Box<Report>),
    Time,
    Stops,
}

impl Service {
    pub fn new(
        store: Store,
        syncs: Vec<Standing>,
        clock: Arc<dyn Clock>,
        work: Arc<dyn Work>,
        inbox: Inbox,
    ) -> Service {
        let by_name = |standing: Standing| (standing.order.sync.name.clone(), standing);
        Service {
            store,
            syncs: syncs.into_iter().map(by_name).collect(),
            clock,
            work,
            inbox,
            queue: Queue::new(RUNS_AT_ONCE),
            timetable: Timetable::default(),
            tasks: Tasks::default(),
            going: BTreeMap::new(),
        }
    }

    /// Takes up what an earlier process left, and arms the schedules.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn arm(&mut self) -> Result<(), store::Error> {
        let now = self.clock.now();
        let left = recovery::survey(&self.store, now).await?;
        let names: Vec<String> = self.syncs.keys().cloned().collect();
        // Before anything new is put into the store.
        for name in &names {
            self.store.forget_outdated_pause(name, self.syncs[name].is_paused).await?;
            if let Some(schedule) = self.syncs[name].schedule.clone() {
                let last = self.store.runs(Some(name), 1, None).await?;
                let resumed = self.store.pause(name).await?.filter(|pause| !pause.is_paused);
                // What was missed while it was paused is not caught up on.
                let resumed = resumed.map(|pause| pause.at).unwrap_or_default();
                let last = last.first().map(|run| run.started_at.max(resumed));
                self.timetable.add(name, schedule, last, now);
            }
        }
        for row in left.queued {
            let wish = Wish::of(&row);
            if let Some(refused) = self.refusal(&row.sync).await? {
                self.cancel(row.id, &not_begun(&refused)).await?;
            } else if self.queue.needed(&row.sync, wish) == Needed::NewRun {
                self.queue.accept(&row.sync, wish, row.id);
            } else {
                self.take_in(&row.sync, wish).await?;
                self.cancel(row.id, "another run of the sync waits already").await?;
            }
        }
        for row in left.begun {
            // The run that goes on is durable first: a kill between the two loses nothing.
            if row.stop.is_none() && self.refusal(&row.sync).await?.is_none() {
                let wish = Wish { trigger: Trigger::Recovery, ..Wish::of(&row) };
                let next = self.take_in(&row.sync, wish).await?.run;
                tracing::info!(sync = row.sync, interrupted = %row.id, %next, "recovered");
            }
            recovery::interrupt(&self.store, &row, now).await?;
        }
        Ok(())
    }

    /// When each sync with a schedule fires next, unless it is paused.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next_firings(&self) -> Result<Vec<(String, Instant)>, store::Error> {
        let mut firings = Vec::new();
        for name in self.syncs.keys() {
            if let Some(next) = self.timetable.next_of(name)
                && self.refusal(name).await?.is_none()
            {
                firings.push((name.clone(), next));
            }
        }
        Ok(firings)
    }

    /// Serves until `shutdown` drains, and then until every run has ended; false if some were given up on.
    pub async fn serve(mut self, mut shutdown: Shutdown) -> bool {
        self.inbox.readiness.send_replace(Readiness::Ready);
        let mut stops = tokio::time::interval(STOPS);
        stops.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin().await;
            let event = tokio::select! {
                biased;
                () = shutdown.reached(Stage::Draining) => Event::Drain,
                Some(report) = self.tasks.next() => Event::Ended(Box::new(report)),
                () = self.clock.wait(self.timetable.next()) => Event::Time,
                _ = stops.tick(), if !self.queue.is_empty() => Event::Stops,
                // Last, so that no flood of them holds up the rest.
                Some(command) = self.inbox.commands.recv() => Event::Command(command),
            };
            match event {
                Event::Drain => break,
                Event::Ended(report) => self.ended(*report),
                Event::Command(Command::Run { sync, wish, given, reply }) => {
                    let answer = self.trigger(&sync, wish, given.as_ref()).await;
                    // Whoever asked may be gone; the trigger stands all the same.
                    let _ = reply.send(answer);
                }
                Event::Time => self.fire().await,
                Event::Stops => self.drop_stopped().await,
            }
        }
        self.inbox.readiness.send_replace(Readiness::Draining);
        self.inbox.commands.close();
        while let Ok(Command::Run { reply, .. }) = self.inbox.commands.try_recv() {
            let _ = reply.send(Err(Refused::Draining));
        }
        self.drain(shutdown).await
    }

    /// Begins what may run.
    async fn begin(&mut self) {
        while let Some((sync, Waiting { run, wish })) = self.queue.begin() {
            if let Some(why) = self.why_not(&sync, run).await {
                self.queue.ended(&sync);
                if let Err(error) = self.cancel(run, &why).await {
                    tracing::error!(sync, %run, %error, "a stopped run could not be ended");
                }
                continue;
            }
            let standing = self.syncs.get(&sync).expect("only syncs that are known are queued");
            let Wish { is_full, trigger } = wish;
            let order = Order { is_full, trigger, ..standing.order.clone() };
            let (stopper, shutdown) = shutdown::channel();
            self.going.insert(run, stopper.clone());
            tracing::info!(sync, %run, %trigger, is_full, "run begins");
            let (store, work) = (self.store.clone(), Arc::clone(&self.work));
            self.tasks.spawn(async move {
                let mut stops = Tasks::default();
                let told = move || tracing::info!(%run, "stopped by a command");
                stops.spawn(stopping::heed(store, run, stopper, told));
                work.run(order, run, shutdown).await
            });
        }
    }

    /// Why a run that waits is not to begin, if there is a reason. A pause from here on finds the run, and asks it to stop.
    async fn why_not(&self, sync: &str, run: RunId) -> Option<String> {
        let asked = async {
            let row = self.store.run(run).await?;
            Ok(match row.and_then(|row| row.stop) {
                Some(stop) => Some(recovery::never_began(&stop)),
                None => self.refusal(sync).await?.map(|refused| not_begun(&refused)),
            })
        };
        asked.await.unwrap_or_else(|error: store::Error| {
            tracing::warn!(%run, %error, "a stop command could not be looked for");
            None
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

    fn ended(&mut self, report: Report) {
        let Report { run, ref sync, outcome, ref tally, .. } = report;
        let (delivered, rows_read) = (tally.delivered, tally.rows_read);
        match &report.error {
            Some(error) => tracing::warn!(sync, %run, %outcome, delivered, error, "run ended"),
            None => tracing::info!(sync, %run, %outcome, rows_read, delivered, "run ended"),
        }
        self.queue.ended(sync);
        self.going.remove(&run);
        self.inbox.metrics.ended(sync, outcome, tally);
        self.inbox.reports.keep(report);
    }

    async fn trigger(
        &mut self,
        sync: &str,
        wish: Wish,
        given: Option<&Given>,
    ) -> Result<Accepted, Refused> {
        match self.refusal(sync).await? {
            Some(refused) => Err(refused),
            None => Ok(self.take_in_for(sync, wish, given).await?),
        }
    }

    /// Why no run of the sync may be asked for, if there is a reason.
    async fn refusal(&self, sync: &str) -> Result<Option<Refused>, store::Error> {
        let Some(standing) = self.syncs.get(sync) else {
            return Ok(Some(Refused::UnknownSync(sync.to_owned())));
        };
        let recorded = self.store.pause(sync).await?;
        Ok(paused(sync, recorded, standing.is_paused).map(Refused::Paused))
    }

    /// Makes the trigger durable, then queues it.
    async fn take_in(&mut self, sync: &str, wish: Wish) -> Result<Accepted, store::Error> {
        self.take_in_for(sync, wish, None).await
    }

    /// As `take_in`, with the audit of the command that asked, where one did.
    async fn take_in_for(
        &mut self,
        sync: &str,
        wish: Wish,
        given: Option<&Given>,
    ) -> Result<Accepted, store::Error> {
        // A run that was stopped while it waited answers no later trigger.
        if let Some(Waiting { run, .. }) = self.queue.waiting(sync)
            && let Some(stop) = self.store.run(run).await?.and_then(|row| row.stop)
        {
            self.cancel(run, &recovery::never_began(&stop)).await?;
            self.queue.withdraw(sync, run);
        }
        let now = self.clock.now();
        match given {
            None => take_in(&self.store, &mut self.queue, sync, wish, now).await,
            Some(given) => take_in_for(given, &mut self.queue, sync, wish, now).await,
        }
    }

    async fn fire(&mut self) {
        let now = self.clock.now();
        let overdue = self.timetable.overdue(now);
        for sync in self.timetable.due(now) {
            let wish = Wish { is_full: false, trigger: Trigger::Schedule };
            match self.trigger(&sync, wish, None).await {
                Ok(Accepted { run, .. }) => {
                    tracing::debug!(sync, %run, "schedule fires");
                    let due = overdue.get(&sync).map_or(now, |due| *due);
                    let late_by = self.clock.now().0.saturating_sub(due.0);
                    self.inbox.metrics.fired(u64::try_from(late_by).unwrap_or_default());
                }
                Err(Refused::Store(error)) => {
                    tracing::error!(sync, %error, "a schedule fired and could not be stored; it is tried again");
                    self.timetable.put_off(&sync, now.plus(RETRY));
                }
                Err(refused) => tracing::debug!(sync, %refused, "schedule does not fire"),
            }
        }
    }

    /// Ends waiting runs that were asked to stop.
    async fn drop_stopped(&mut self) {
        let unfinished = match self.store.unfinished().await {
            Ok(unfinished) => unfinished,
            Err(error) => return tracing::warn!(%error, "stop commands could not be looked for"),
        };
        for row in unfinished {
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

    /// Ends a run that never began.
    async fn cancel(&self, run: RunId, why: &str) -> Result<(), store::Error> {
        let now = self.clock.now();
        tracing::info!(%run, why, "run dropped");
        self.store.finish(run, Outcome::Cancelled, &Tally::default(), Some(why), now).await
    }

    /// Waits for the end of every run within one deadline: the longest drain, and some time to commit. What waits stays
    /// In Queue for the next start.
    async fn drain(mut self, mut shutdown: Shutdown) -> bool {
        let timeouts = self.syncs.values().map(|standing| standing.order.sync.limits.drain_timeout);
        let longest = timeouts.max().unwrap_or_default().saturating_add(GRACE);
        let mut deadline = tokio::time::Instant::now() + longest;
        let mut stage = Stage::Draining;
        loop {
            self.going.values().for_each(|stopper| stopper.raise(stage));
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
            self.ended(report);
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

/// Why a run that waited is dropped.
fn not_begun(refused: &Refused) -> String {
    match refused {
        Refused::Paused(paused) => paused.to_string(),
        _ => "the sync is no longer in the config".to_owned(),
    }
}

#[cfg(test)]
mod tests;
