//! The start of the service: what an earlier process left is taken up, and the schedules are armed.
//!
//! Not responsible for ending what was interrupted (`engine::recovery`). Invariant: what should have fired while no process
//! ran is one run, whether by time or by the success of another sync.

use crate::control::disabling::Recorded;
use crate::control::queue::{Needed, Wish};
use crate::domain::id::{Instant, RunId};
use crate::domain::run::{Outcome, Trigger};
use crate::domain::tally::Tally;
use crate::engine::recovery;
use crate::points::is_planted;
use crate::store::{self, Pause};

use super::Service;
use super::triggers::not_begun;

impl Service {
    /// Takes up what an earlier process left, and arms the schedules.
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
        let pauses = self.store.pauses().await?;
        let names: Vec<String> = self.syncs.keys().cloned().collect();
        let recorded = Recorded { pauses, sources: self.store.disabled_sources().await? };
        let is_open = |name: &&String| self.closed_by(&recorded, name).is_none();
        let open: Vec<String> = names.iter().filter(is_open).cloned().collect();
        let armed = self.store.arm(&open, now).await?;
        for name in &names {
            let pause = recorded.pauses.get(name);
            let configured = self.syncs[name].is_paused;
            if pause.is_some_and(|pause| pause.configured != configured) {
                self.store.forget_outdated_pause(name, configured).await?;
            }
            self.arm_one(name, pause, armed.get(name).copied()).await?;
        }
        self.take_up(left, now).await?;
        self.pay_owed().await;
        Ok(())
    }

    /// Puts the schedule of one sync on the timetable; `since`: when it was first armed, if it
    /// was.
    async fn arm_one(
        &mut self,
        name: &str,
        pause: Option<&Pause>,
        since: Option<Instant>,
    ) -> Result<(), store::Error> {
        let now = self.clock.now();
        let last = self.store.newest_run(name).await?.map(|run| run.started_at);
        let last = if is_planted("tick_fired_again") { last.map(|_| Instant(0)) } else { last };
        // What was missed while it was paused is not caught up on.
        let resumed = pause.filter(|pause| !pause.is_paused).map(|pause| pause.at);
        let from = last.or(since).max(resumed).unwrap_or(now);
        let standing = &self.syncs[name];
        if last.is_none() && standing.starts_now {
            self.owed.insert(name.to_owned(), Trigger::Schedule);
        }
        if let Some(first) = &standing.after
            && self.store.last_success(first).await?.is_some_and(|ended| ended > from)
        {
            self.owed.insert(name.to_owned(), Trigger::Sequence);
        }
        if let Some(schedule) = standing.schedule.clone() {
            self.timetable.add(name, schedule, Some(from), now);
        }
        Ok(())
    }

    async fn take_up(&mut self, left: recovery::Left, now: Instant) -> Result<(), store::Error> {
        for row in left.queued {
            if is_planted("queued_forgotten") {
                continue;
            }
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

    /// Ends a run that never began.
    pub(super) async fn cancel(&self, run: RunId, why: &str) -> Result<(), store::Error> {
        let now = self.clock.now();
        tracing::info!(%run, why, "run dropped");
        self.store.finish(run, Outcome::Cancelled, &Tally::default(), Some(why), now).await
    }
}
