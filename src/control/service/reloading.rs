//! Another config in place of the one that runs.
//!
//! Not responsible for what changed (`config::compare`). Invariants: what cannot be audited changes nothing; a run that goes
//! keeps the definition it began with; what was due by the old schedules is taken in before they are replaced, and the new
//! ones count from now on, so that no firing is lost or doubled; runs of syncs that may run no more drain as by a stop, and
//! those that wait are dropped with the reason.

use super::{Service, Standing, by_name, followers, places};
use crate::control::disabling::Recorded;
use crate::control::handle::{Readiness, Refused};
use crate::control::pausing::{self, Asked};
use crate::control::reload::Change;
use crate::domain::run::Trigger;
use crate::points::{self, Point};
use crate::shutdown::Stage;
use crate::store::{self, Audited};

/// Why a sync counts as restarting.
const WHY: &str = "the config was reloaded";

impl Service {
    /// # Errors
    /// The store cannot be written, and nothing has changed.
    pub(super) async fn reload(&mut self, change: Change) -> Result<(), Refused> {
        self.inbox.readiness.send_replace(Readiness::Reloading);
        points::reached(Point::BeforeReload);
        let done = self.put_in_place(change).await;
        self.inbox.readiness.send_replace(Readiness::Ready);
        Ok(done?)
    }

    async fn put_in_place(&mut self, change: Change) -> Result<(), store::Error> {
        let audited = Audited {
            at: self.clock.now(),
            who: change.who.clone(),
            command: "reload".to_owned(),
            sync: None,
            run: None,
            message: Some(change.message.clone()),
        };
        change.store.as_ref().unwrap_or(&self.store).audit(&audited).await?;
        self.fire().await;
        let Change { syncs, limits, budgets, changed, rescheduled, who, .. } = change;
        for (budget, limits) in budgets {
            budget.change(&limits);
        }
        self.queue.change(limits, places(&syncs));
        self.followers = followers(&syncs);
        let before = std::mem::replace(&mut self.syncs, by_name(syncs));
        for name in before.keys() {
            if self.syncs.contains_key(name) {
                continue;
            }
            self.timetable.remove(name);
            self.owed.remove(name);
            self.end_all(name, &who, "the sync is no longer in the config").await;
        }
        let now = self.clock.now();
        let names: Vec<String> = self.syncs.keys().cloned().collect();
        let mut counting = Vec::new();
        for name in names {
            let standing = self.syncs[&name].clone();
            let was = before.get(&name);
            if was.is_none() || rescheduled.contains(&name) {
                self.timetable.remove(&name);
                if let Some(schedule) = standing.schedule.clone() {
                    self.timetable.add(&name, schedule, Some(now), now);
                }
            }
            let settled = async {
                match was {
                    None => self.settle_new(&name, &standing).await,
                    Some(was) => {
                        let has_changed = changed.contains(&name);
                        self.settle_changed(&name, was, &standing, has_changed, &who).await
                    }
                }
            };
            match settled.await {
                Ok(true) => counting.push(name),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(sync = name, %error, "what follows from the reload could not be stored");
                }
            }
        }
        if let Err(error) = self.note_armed(counting).await {
            tracing::error!(%error, "since when new schedules count could not be stored");
        }
        self.pay_owed().await;
        Ok(())
    }

    /// A sync that there was none of; true, as its schedule counts from now on.
    async fn settle_new(&mut self, name: &str, standing: &Standing) -> Result<bool, store::Error> {
        self.store.forget_outdated_pause(name, standing.is_paused).await?;
        if standing.starts_now && self.store.runs(Some(name), 1, None).await?.is_empty() {
            self.owed.insert(name.to_owned(), Trigger::Schedule);
        }
        Ok(true)
    }

    /// A sync that there was: the file's pause counts if that is another one, and what changed restarts; whether its schedule
    /// counts from now on.
    async fn settle_changed(
        &mut self,
        name: &str,
        was: &Standing,
        standing: &Standing,
        has_changed: bool,
        who: &str,
    ) -> Result<bool, store::Error> {
        let is_paused_anew = was.is_paused != standing.is_paused;
        if !is_paused_anew && !has_changed {
            return Ok(false);
        }
        if is_paused_anew {
            self.store.forget_outdated_pause(name, standing.is_paused).await?;
        }
        let recorded = Recorded::read(&self.store).await?;
        if let Some(why) = self.closed_by(&recorded, name) {
            let model = &standing.order.sync.model;
            if is_paused_anew || was.order.sync.model.reads != model.reads {
                self.end_all(name, who, &why.to_string()).await;
            }
            return Ok(is_paused_anew);
        }
        let (old, new) = (&was.order.sync.connection, &standing.order.sync.connection);
        if old != new {
            let why = format!("the sync's connection is `{new}` now, and no longer `{old}`");
            self.end_all(name, who, &why).await;
        }
        if has_changed {
            // Written down, so that its next result is told apart from its last, and its schedule counts from here on also
            // after a restart.
            let asked = Asked {
                sync: name,
                is_paused: false,
                configured: standing.is_paused,
                who,
                message: WHY,
                until: None,
                is_start: true,
            };
            pausing::change(&self.store, asked, self.clock.now()).await?;
        }
        Ok(is_paused_anew)
    }

    /// The schedules of those that are open count from now on, unless they did before. One write for all.
    async fn note_armed(&self, mut names: Vec<String>) -> Result<(), store::Error> {
        let recorded = Recorded::read(&self.store).await?;
        names.retain(|name| self.closed_by(&recorded, name).is_none());
        if !names.is_empty() {
            self.store.arm(&names, self.clock.now()).await?;
        }
        Ok(())
    }

    /// Drains what goes of the sync, a run or a sample, and drops the run that waits.
    async fn end_all(&mut self, name: &str, who: &str, why: &str) {
        let waiting = self.queue.waiting(name);
        let going = self.queue.going_of(name);
        if let Some(waiting) = waiting {
            match self.cancel(waiting.run, why).await {
                Ok(()) => drop(self.queue.withdraw(name, waiting.run)),
                Err(error) => {
                    tracing::error!(sync = name, run = %waiting.run, %error, "a run could not be dropped");
                }
            }
        }
        // A sample goes beside the queue.
        if let Err(error) =
            self.store.request_stop(name, false, who, Some(why), self.clock.now()).await
        {
            tracing::error!(sync = name, %error, "a stop could not be stored, and is made of a run all the same");
        }
        if let Some(going) = going.and_then(|run| self.going.get(&run)) {
            going.stopper.raise(Stage::Draining);
        }
    }
}
