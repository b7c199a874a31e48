//! The start of the service: what an earlier process left is taken up, and the schedules are armed.
//!
//! Not responsible for ending what was interrupted (`engine::recovery`). Invariant: what should have fired while no process
//! ran is one run, whether by time or by the success of another sync.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::disabling::Recorded;
use crate::control::queue::{Needed, Wish};
use crate::domain::id::{Instant, RunId};
use crate::domain::run::{Outcome, Trigger};
use crate::domain::tally::Tally;
use crate::engine::recovery;
use crate::points::is_planted;
use crate::store::{self, End, NewRun, Pause, RunRow};

use super::Service;
use super::triggers::not_begun;

/// When the syncs last ran, by sync.
struct Past {
    asked: BTreeMap<String, Instant>,
    /// Of those whose success starts another.
    successes: BTreeMap<String, Instant>,
    armed: BTreeMap<String, Instant>,
}

impl Service {
    /// Takes up what an earlier process left, and arms the schedules. The store is asked for all syncs at once, and what
    /// follows for many is written at once.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn arm(&mut self) -> Result<(), store::Error> {
        let now = self.clock.now();
        let left = recovery::survey(&self.store, now).await?;
        // Before anything new is put into the store.
        for sync in self.store.ended_pauses(now).await? {
            crate::control::pausing::end_what_is_over(&self.store, &sync, now).await?;
        }
        let recorded = Recorded::read(&self.store).await?;
        let past = self.past(&recorded, now).await?;
        let names: Vec<String> = self.syncs.keys().cloned().collect();
        for name in &names {
            let pause = recorded.pauses.get(name);
            let configured = self.syncs[name].is_paused;
            if pause.is_some_and(|pause| pause.configured != configured) {
                self.store.forget_outdated_pause(name, configured).await?;
            }
            self.arm_one(name, pause, &past);
        }
        self.take_up(left, now).await?;
        self.pay_owed().await;
        Ok(())
    }

    async fn past(&self, recorded: &Recorded, now: Instant) -> Result<Past, store::Error> {
        let names: Vec<&str> = self.syncs.keys().map(String::as_str).collect();
        let is_open = |name: &&&str| self.closed_by(recorded, name).is_none();
        let open: Vec<String> = names.iter().filter(is_open).map(|name| (*name).into()).collect();
        let firsts: Vec<&str> = self.followers.keys().map(String::as_str).collect();
        Ok(Past {
            asked: self.store.last_asked(&names).await?,
            successes: self.store.newest_successes(&firsts).await?,
            armed: self.store.arm(&open, now).await?,
        })
    }

    /// Puts the schedule of one sync on the timetable.
    fn arm_one(&mut self, name: &str, pause: Option<&Pause>, past: &Past) {
        let now = self.clock.now();
        let last = past.asked.get(name).copied();
        let last = if is_planted("tick_fired_again") { last.map(|_| Instant(0)) } else { last };
        // What was missed while it was paused is not caught up on.
        let resumed = pause.filter(|pause| !pause.is_paused).map(|pause| pause.at);
        let from = last.or(past.armed.get(name).copied()).max(resumed).unwrap_or(now);
        let standing = &self.syncs[name];
        if last.is_none() && standing.starts_now {
            self.owed.insert(name.to_owned(), Trigger::Schedule);
        }
        let first = standing.after.as_ref().and_then(|first| past.successes.get(first));
        if first.is_some_and(|ended| *ended > from) {
            self.owed.insert(name.to_owned(), Trigger::Sequence);
        }
        if let Some(schedule) = standing.schedule.clone() {
            self.timetable.add(name, schedule, Some(from), now);
        }
    }

    async fn take_up(&mut self, left: recovery::Left, now: Instant) -> Result<(), store::Error> {
        let recorded = Recorded::read(&self.store).await?;
        let mut dropped = Vec::new();
        for row in left.queued {
            if is_planted("queued_forgotten") {
                continue;
            }
            let wish = Wish::of(&row);
            let why = if let Some(refused) = self.refused_by(&recorded, &row.sync) {
                not_begun(&refused)
            } else if self.queue.needed(&row.sync, wish) == Needed::NewRun {
                self.queue.accept(&row.sync, wish, row.id);
                continue;
            } else {
                self.take_in(&row.sync, wish).await?;
                "another run of the sync waits already".to_owned()
            };
            tracing::info!(run = %row.id, why, "run dropped");
            let (outcome, tally) = (Outcome::Cancelled, Tally::default());
            dropped.push(End { run: row.id, outcome, tally, error: Some(why) });
        }
        self.store.finish_all(&dropped, now).await?;
        // The runs that go on are durable first: a kill between the two loses nothing.
        self.go_on(&left.begun, &recorded).await?;
        recovery::interrupt(&self.store, &left.begun, now).await
    }

    /// Makes the runs that go on for those that were interrupted, new ones in one write.
    async fn go_on(
        &mut self,
        interrupted: &[RunRow],
        recorded: &Recorded,
    ) -> Result<(), store::Error> {
        let (mut new, mut joining, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for row in interrupted {
            if row.stop.is_some() || self.refused_by(recorded, &row.sync).is_some() {
                continue;
            }
            let wish = Wish { trigger: Trigger::Recovery, ..Wish::of(row) };
            let is_new = self.queue.needed(&row.sync, wish) == Needed::NewRun;
            let is_first = seen.insert(&row.sync);
            (if is_new && is_first { &mut new } else { &mut joining }).push((row, wish));
        }
        let wanted = |(row, wish): &(&RunRow, Wish)| NewRun {
            sync: row.sync.clone(),
            choice: wish.choice(),
            trigger: wish.trigger,
        };
        let wanted: Vec<NewRun> = new.iter().map(wanted).collect();
        let runs = self.store.create_runs(&wanted, self.clock.now()).await?;
        for ((row, wish), next) in new.into_iter().zip(runs) {
            self.queue.accept(&row.sync, wish, next);
            tracing::info!(sync = row.sync, interrupted = %row.id, %next, "recovered");
        }
        for (row, wish) in joining {
            let next = self.take_in(&row.sync, wish).await?.run;
            tracing::info!(sync = row.sync, interrupted = %row.id, %next, "recovered");
        }
        Ok(())
    }

    /// When each sync with a schedule fires next, unless it is paused.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next_firings(&self) -> Result<Vec<(String, Instant)>, store::Error> {
        let recorded = Recorded::read(&self.store).await?;
        let open = self.syncs.keys().filter(|name| self.closed_by(&recorded, name).is_none());
        let firing = |name: &String| Some((name.clone(), self.timetable.next_of(name)?));
        Ok(open.filter_map(firing).collect())
    }

    /// Ends a run that never began.
    pub(super) async fn cancel(&self, run: RunId, why: &str) -> Result<(), store::Error> {
        let now = self.clock.now();
        tracing::info!(%run, why, "run dropped");
        self.store.finish(run, Outcome::Cancelled, &Tally::default(), Some(why), now).await
    }
}
