//! The end of a line: what is gone is deleted or held, the counts are drawn up, and the journal is folded.

use super::{End, Line};
use crate::delta::table::Table;
use crate::domain::cursor::Stays;
use crate::domain::kind::Choice;
use crate::domain::tally::Tally;
use crate::engine::prepare::{self, Error};
use crate::engine::progress::Progress;
use crate::engine::removals::Facts;
use crate::points::is_planted;
use crate::shutdown::{Stage, blocking};

impl Line<'_> {
    /// Sorts what the read did not meet of a part of the snapshot; false where a stop came before the last.
    pub(super) fn collect_removals(&mut self, table: &Table) -> Result<bool, Error> {
        if self.prepared.extent.restriction.is_some()
            || self.order.chosen.is_some() && !is_planted("sample_deletes")
        {
            return Ok(true);
        }
        let (header, mode) = (self.prepared.snapshot.header(), self.order.sync.mode);
        let is_stopped = || self.shutdown.stage() > Stage::Running;
        let (course, started) = (&mut self.course, self.started);
        Ok(blocking(|| course.collect_removals(table, mode, header, started, is_stopped))?)
    }

    /// Holds what the proven read did not meet against the guard, and notes what of it is held or forgotten; false where a stop
    /// came before the last.
    ///
    /// # Errors
    /// What did not fit into memory cannot be read.
    pub fn sort_removals(&mut self) -> Result<bool, Error> {
        let header = self.prepared.snapshot.header();
        let first = || self.prepared.credentials.clone();
        let last = match is_planted("renewal_unseen") {
            true => first(),
            false => self.prepared.current_credentials(),
        };
        let facts = Facts {
            definition: &self.prepared.definition,
            vanished: std::mem::take(&mut self.vanished),
            rows_read: self.course.intake.counts.tally().rows_read,
            invalid_keys: self.course.invalid_keys(),
            // They may have been read anew while the upserts were sent.
            credentials: [first(), last],
            declares_account: self.order.connection.knows_account(),
        };
        self.course.sort_removals(&self.order.sync, header, &facts);
        let (journal, run) = (self.prepared.snapshot.journal(), self.run);
        let is_stopped = || self.shutdown.stage() > Stage::Running;
        let course = &mut self.course;
        Ok(blocking(|| course.record_removals(run, journal, is_stopped))?)
    }

    /// Sends the deletes, after everything else.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn delete(&mut self, progress: &Progress) -> Result<(), Error> {
        let is_stopped = || self.shutdown.stage() > Stage::Running;
        blocking(|| self.course.queue_deletes(is_stopped))?;
        while self.course.has_deletes() && self.make_room(progress).await? {
            self.course.push_delete(&mut self.delivery.dispatch)?;
        }
        self.settle(progress).await
    }

    /// The counts as they stand; they add up once nothing is waiting or in flight.
    pub fn tally(&self) -> Tally {
        self.course.tally(self.delivery.dispatch.counts())
    }

    /// As it was chosen at its start.
    pub fn choice(&self) -> Choice {
        self.prepared.choice
    }

    /// Folds the journal into the next generation; closes the epoch where it was confirmed and the run was not stopped. Says
    /// why the bound of the model's cursor did not move.
    ///
    /// # Errors
    /// The commit failed; the next run recovers.
    pub async fn commit(
        &mut self,
        end: &End,
        tally: &Tally,
        was_stopped: bool,
    ) -> Result<Option<Stays>, Error> {
        let invalid_keys = Some(self.course.invalid_keys());
        let baseline = prepare::baseline(&self.prepared, self.run, invalid_keys);
        let next_batch = self.delivery.dispatch.next_batch();
        let is_proven = end.is_proven();
        let mut closing = self.course.close(is_proven, tally, was_stopped, baseline, next_batch);
        closing = match self.order.chosen {
            Some(_) => closing.of_sample(),
            None => closing.since(self.prepared.begun.clone(), self.prepared.noted.clone()),
        };
        self.course.intake.forget_keys();
        let (snapshot, run) = (&mut self.prepared.snapshot, self.run);
        let mut stays = None;
        blocking(|| {
            snapshot.journal().write()?;
            snapshot.commit(|header| stays = closing.change(header, run))
        })?;
        if let Some(why) = stays {
            tracing::info!(sync = self.order.sync.name, %why, "the cursor's bound stays");
        }
        prepare::remember(self.store, &self.prepared.snapshot).await?;
        Ok(stays)
    }

    /// Whether segments of the snapshot are to be merged, once the run has ended.
    pub fn is_compaction_due(&self) -> bool {
        self.prepared.snapshot.view().is_compaction_due()
    }
}
