//! How triggers become runs in the queue: one by one as they are asked for, and all that are due together in one write.
//!
//! Invariants: what a trigger needs is durable before the queue knows of it, so that a kill between the two loses nothing;
//! nothing is taken in for a sync that is paused or whose source is disabled.

use std::collections::BTreeMap;

use super::Service;
use crate::control::disabling::{Closed, Recorded, closed, disabled_of};
use crate::control::grouping::{self, Part};
use crate::control::handle::{Accepted, Given, Refused, Started};
use crate::control::queue::{Needed, Queue, Waiting, Wish};
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Trigger;
use crate::engine::recovery;
use crate::store::{self, Audited, Decision, NewRun, Store};

/// In milliseconds: when a firing that could not be stored is tried again.
const RETRY: i64 = 10_000;

/// Takes one trigger into the queue.
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

/// As [`take_in`], for a command: its audit and its decision are written with what the trigger needs, or nothing is.
///
/// # Errors
/// As there.
pub async fn take_in_for(
    given: &Given,
    queue: &mut Queue,
    sync: &str,
    wish: Wish,
    now: Instant,
) -> Result<Accepted, store::Error> {
    let Given { who, message, store, decision } = given;
    let command = match decision {
        Some(Decision::Release { run, .. }) => format!("release {run}"),
        Some(Decision::Keep { .. }) if wish.is_full => "sync --full --keep-snapshot".to_owned(),
        Some(Decision::Keep { .. }) => "sync --keep-snapshot".to_owned(),
        _ if wish.is_full => "sync --full".to_owned(),
        _ => "sync".to_owned(),
    };
    let decision = decision.as_ref();
    let audited = Audited {
        at: now,
        who: who.clone(),
        command,
        sync: Some(sync.to_owned()),
        run: None,
        message: message.clone(),
    };
    let needed = queue.needed(sync, wish);
    let run = match needed {
        Needed::NewRun => {
            let (sync, choice) = (sync.to_owned(), wish.choice());
            let new = NewRun { sync, choice, trigger: wish.trigger };
            store.ask_run(&new, &audited, decision).await?
        }
        Needed::Stronger(run) => {
            store.ask_waiting(run, wish.choice(), &audited, decision).await?;
            run
        }
        Needed::Nothing(run) => {
            store.ask_waiting(run, None, &audited, decision).await?;
            run
        }
    };
    queue.accept(sync, wish, run);
    Ok(Accepted { run, is_joined: needed != Needed::NewRun })
}

impl Service {
    pub(super) async fn trigger(
        &mut self,
        sync: &str,
        wish: Wish,
        given: Option<&Given>,
    ) -> Result<Accepted, Refused> {
        if let Some(refused) = self.refusal(sync).await? {
            return Err(refused);
        }
        let accepted = self.take_in_for(sync, wish, given).await?;
        self.owed.remove(sync);
        Ok(accepted)
    }

    /// Resumes the syncs of a group that are paused and takes in a run of each that does nothing, all in one write.
    pub(super) async fn start_group(
        &mut self,
        group: &str,
        syncs: &[String],
        given: &Given,
    ) -> Result<Vec<Started>, Refused> {
        // A run that was stopped while it waited answers no later trigger.
        self.drop_stopped().await;
        let sources = self.store.disabled_sources().await?;
        let (mut parts, mut closed) = (Vec::new(), Vec::new());
        for (sync, standing) in syncs.iter().filter_map(|sync| Some((sync, self.syncs.get(sync)?)))
        {
            let disabled = disabled_of(&standing.order.sync.model, &sources).cloned();
            let is_run = disabled.is_none() && self.queue.waiting(sync).is_none();
            let sync = sync.as_str();
            parts.push(Part { sync, configured: standing.is_paused, is_run });
            closed
                .push(disabled.map(|disabled| Closed::Source { sync: sync.to_owned(), disabled }));
        }
        let Given { who, message, store, .. } = given;
        let message = message.as_deref().unwrap_or_default();
        let command = grouping::Command { group, is_start: true, who, message };
        let members = grouping::change(store, command, &parts, self.clock.now()).await?;
        let mut started = Vec::new();
        for (member, refused) in members.into_iter().zip(closed) {
            let sync = &member.sync;
            if let Some(run) = member.run.filter(|_| member.is_begun) {
                self.queue.accept(sync, Wish { is_full: false, trigger: Trigger::Api }, run);
                self.owed.remove(sync);
            }
            let refused = refused.filter(|_| member.run.is_none());
            started.push(Started { member, refused });
        }
        Ok(started)
    }

    /// Why no run of the sync may be asked for, if there is a reason.
    pub(super) async fn refusal(&self, sync: &str) -> Result<Option<Refused>, store::Error> {
        let Some(standing) = self.syncs.get(sync) else {
            return Ok(Some(Refused::UnknownSync(sync.to_owned())));
        };
        let pause = self.store.pause(sync).await?;
        let sources = self.store.disabled_sources().await?;
        let source = disabled_of(&standing.order.sync.model, &sources);
        let closed = closed(sync, pause, standing.is_paused, source, self.clock.now());
        Ok(closed.map(Refused::Closed))
    }

    /// As [`Service::refusal`], by what has been read.
    pub(super) fn refused_by(&self, recorded: &Recorded, sync: &str) -> Option<Refused> {
        if !self.syncs.contains_key(sync) {
            return Some(Refused::UnknownSync(sync.to_owned()));
        }
        self.closed_by(recorded, sync).map(Refused::Closed)
    }

    /// As [`Service::refused_by`], of a sync that is known.
    pub(super) fn closed_by(&self, recorded: &Recorded, sync: &str) -> Option<Closed> {
        let standing = self.syncs.get(sync)?;
        let model = &standing.order.sync.model;
        recorded.closed(sync, model, standing.is_paused, self.clock.now())
    }

    /// Makes the trigger durable, then queues it.
    pub(super) async fn take_in(
        &mut self,
        sync: &str,
        wish: Wish,
    ) -> Result<Accepted, store::Error> {
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

    /// Takes in all that is due.
    pub(super) async fn fire(&mut self) {
        let now = self.clock.now();
        let overdue = self.timetable.overdue(now);
        let due = self.timetable.due(now);
        let wishes = due.iter().map(|sync| (sync.clone(), Trigger::Schedule)).collect();
        match self.take_in_all(wishes).await {
            Ok(closed) => {
                let stored = self.clock.now();
                for sync in due.iter().filter(|sync| !closed.contains(sync)) {
                    let was_due = overdue.get(sync).map_or(now, |due| *due);
                    let late_by = stored.0.saturating_sub(was_due.0);
                    self.inbox.metrics.fired(u64::try_from(late_by).unwrap_or_default());
                }
            }
            Err(error) => {
                tracing::error!(%error, "schedules fired and could not be stored; they are tried again");
                for sync in due {
                    self.timetable.put_off(&sync, now.plus(RETRY));
                }
            }
        }
    }

    /// Takes in what is owed; what could not be stored stays owed, and so does the first run of a sync that is paused.
    pub(super) async fn pay_owed(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let mut owed = std::mem::take(&mut self.owed);
        match self.take_in_all(owed.clone()).await {
            Ok(closed) => {
                let is_kept = |sync: &String, trigger: &mut Trigger| {
                    *trigger == Trigger::Schedule && closed.contains(sync)
                };
                owed.retain(is_kept);
            }
            Err(error) => tracing::error!(%error, "runs that are due could not be stored"),
        }
        owed.append(&mut self.owed);
        self.owed = owed;
    }

    /// Takes in triggers of several syncs, whose new runs are one write; the syncs that are closed, of which none was taken in.
    async fn take_in_all(
        &mut self,
        triggers: BTreeMap<String, Trigger>,
    ) -> Result<Vec<String>, store::Error> {
        if triggers.is_empty() {
            return Ok(Vec::new());
        }
        let recorded = Recorded::read(&self.store).await?;
        // A run that was stopped while it waited answers no later trigger.
        self.drop_stopped().await;
        let (mut closed, mut new) = (Vec::new(), Vec::new());
        for (sync, trigger) in triggers {
            if let Some(why) = self.closed_by(&recorded, &sync) {
                tracing::debug!(sync, %why, "a trigger is not taken in");
                closed.push(sync);
            } else if let Some(waiting) = self.queue.waiting(&sync) {
                taken_in(&sync, waiting.run, trigger);
            } else {
                new.push(NewRun { sync, choice: None, trigger });
            }
        }
        let runs = self.store.create_runs(&new, self.clock.now()).await?;
        for (NewRun { sync, trigger, .. }, run) in new.into_iter().zip(runs) {
            taken_in(&sync, run, trigger);
            self.queue.accept(&sync, Wish { is_full: false, trigger }, run);
        }
        Ok(closed)
    }
}

/// Says which run answers a trigger that nobody waits for.
fn taken_in(sync: &str, run: RunId, trigger: Trigger) {
    match trigger {
        Trigger::Schedule => tracing::debug!(sync, %run, "schedule fires"),
        _ => tracing::debug!(sync, %run, %trigger, "a trigger is taken in"),
    }
}

/// Why a run that waited is dropped.
pub(super) fn not_begun(refused: &Refused) -> String {
    match refused {
        Refused::Closed(closed) => closed.to_string(),
        _ => "the sync is no longer in the config".to_owned(),
    }
}
