//! A run's rows and operations, from the first chunk to what its commit changes: without loop, clock, store or network.
//!
//! Whoever drives it (`line`) says when the read ended and when delivery has room. Not here: what a chunk means
//! (`intake`), which removals are held (`removals`), what becomes of an operation (`delivery`).
//!
//! Guards: nothing is deleted before the removals of a proven read were sorted; every row and operation is in the tally.

mod closing;
mod deletes;

use std::collections::VecDeque;
use std::sync::Arc;

pub use self::closing::Closing;
use self::deletes::Queue;
use super::fates::Fates;
use super::intake::{Intake, Outlet, Waiting};
use super::late::Group;
use super::prepare::Columns;
use super::reading::Chunk;
use super::removals::{self, Facts, Removals};
use crate::delivery::{Counts, Dispatch, Item};
use crate::delta::table::Table;
use crate::destination::Destination;
use crate::domain::entry::Operation;
use crate::domain::id::{Epoch, Instant, IntentNumber, RunId};
use crate::domain::key::KeyHash;
use crate::domain::sync::{Mode, Sync};
use crate::domain::tally::Tally;
use crate::snapshot::header::Header;
use crate::snapshot::journal::Journal;
use crate::snapshot::record::Record;
use crate::spill::{self, Spill};

/// See the file's comment.
pub struct Course {
    destination: Arc<Destination>,
    columns: Columns,
    epoch: Epoch,
    reuse_floor: IntentNumber,
    pub intake: Intake,
    /// What waited for the end of the read, and was not handed over yet.
    late: VecDeque<Group>,
    /// The read has ended with these words: whether it was proven.
    has_ended: Option<bool>,
    removals: Removals,
    /// Deletes of `removals` that are to be handed over.
    queue: Queue,
    /// Deletes of `removals` that delivery had or that count as unsent.
    handled_deletes: u64,
    /// Operations that were left unsent before delivery ever had them.
    unsent: u64,
    /// Deletes among them that no request can say.
    unnameable: u64,
}

/// The delivery and the journal of a run that is really made.
struct Live<'a> {
    dispatch: &'a mut Dispatch,
    journal: &'a mut Journal,
}

impl Outlet for Live<'_> {
    fn push(&mut self, item: &Item<'_>) {
        self.dispatch.push(Operation::Upsert, item);
    }

    fn withdraw(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.dispatch.withdraw(hash, key)
    }

    fn recall(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.dispatch.withdraw(hash, key)
    }

    fn note(&mut self, record: &Record<'_>) {
        self.journal.append(record);
    }
}

impl Course {
    /// `header` is that of the snapshot after the run's epoch was opened; what does not fit into memory goes to `spill`.
    pub fn new(
        header: &Header,
        destination: Arc<Destination>,
        columns: Columns,
        waiting: Waiting,
        fates: Fates,
        spill: &Arc<Spill>,
    ) -> Course {
        Course {
            destination,
            columns,
            epoch: header.epoch,
            reuse_floor: header.reuse_floor,
            intake: Intake::new(header.reuse_floor, waiting, fates),
            late: VecDeque::new(),
            has_ended: None,
            removals: Removals::new(spill),
            queue: Queue::default(),
            handled_deletes: 0,
            unsent: 0,
            unnameable: 0,
        }
    }

    /// Takes one chunk in; what can be sent now is handed over.
    ///
    /// # Errors
    /// As [`Intake::take`].
    pub fn take(
        &mut self,
        chunk: &Chunk,
        dispatch: &mut Dispatch,
        journal: &mut Journal,
    ) -> Result<(), spill::Error> {
        self.intake.take(chunk, &mut Live { dispatch, journal })
    }

    /// After the read has ended: decides on the next of what had to be put aside. Blocks.
    ///
    /// # Errors
    /// As [`Intake::decide`].
    pub fn decide(
        &mut self,
        dispatch: &mut Dispatch,
        journal: &mut Journal,
    ) -> Result<(), spill::Error> {
        self.intake.decide(&mut Live { dispatch, journal })
    }

    /// Null and repeated keys of the read.
    pub fn invalid_keys(&self) -> u64 {
        u64::try_from(self.intake.counts.invalid_keys).unwrap_or(0)
    }

    pub fn has_unsure(&self) -> bool {
        self.intake.has_unsure()
    }

    /// The read ended, and what was put aside is decided on: what waited for that may go, what needs the proof of the read
    /// too only with it. Where it could not be decided on, nothing goes: its key may be one of those.
    pub fn end_read(&mut self, is_proven: bool) {
        if self.intake.is_broken() || self.intake.has_unsure() {
            return;
        }
        let (groups, left_out) = self.intake.lane.groups(is_proven);
        self.late = groups;
        self.unsent += left_out;
        self.has_ended = Some(is_proven);
        self.intake.forget_keys();
    }

    pub fn has_late(&self) -> bool {
        !self.late.is_empty() || self.has_ended.is_some() && self.intake.has_put_off()
    }

    /// Hands over the next of what waited for the end of the read; what was put off for want of room comes last. Blocks.
    ///
    /// # Errors
    /// As [`Intake::hand_over`].
    pub fn push_late(&mut self, dispatch: &mut Dispatch) -> Result<(), spill::Error> {
        if let Some(group) = self.late.pop_front() {
            group.push(Operation::Upsert, dispatch);
        } else if let Some(is_proven) = self.has_ended {
            let push = |item: &Item<'_>| dispatch.push(Operation::Upsert, item);
            self.unsent += self.intake.hand_over(is_proven, push)?;
        }
        Ok(())
    }

    /// Sorts what the read did not meet of a part of the snapshot; to be called once all rows of it were taken. False where it
    /// was stopped before the last. Blocks.
    ///
    /// # Errors
    /// What does not fit into memory cannot be written.
    pub fn collect_removals(
        &mut self,
        table: &Table,
        mode: Mode,
        header: &Header,
        now: Instant,
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, spill::Error> {
        let (releases, standing) = (&header.releases[..], header.standing());
        let terms = removals::Terms { mode, releases, standing, epoch: self.epoch, now };
        self.removals.collect(table, &terms, is_stopped)
    }

    /// Holds what the proven read did not meet against the guard.
    pub fn sort_removals(&mut self, sync: &Sync, header: &Header, facts: &Facts<'_>) {
        self.removals.judge(sync, header, facts);
    }

    /// Notes in the journal what is held and what is forgotten; false where it was stopped before the last. Blocks.
    ///
    /// # Errors
    /// As [`Removals::record`].
    pub fn record_removals(
        &mut self,
        run: RunId,
        journal: &mut Journal,
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, spill::Error> {
        self.removals.record(run, |record| journal.append(record), is_stopped)
    }

    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// The counts as they stand; they add up once nothing is waiting or in flight.
    pub fn tally(&self, counts: Counts) -> Tally {
        let read = self.intake.counts.tally();
        let late: usize = self.late.iter().map(Group::len).sum();
        let waiting = self.intake.waiting() + late as u64;
        let deletes = self.removals.deletes().saturating_sub(self.handled_deletes);
        let mut tally = Tally {
            delivered: counts.delivered,
            rejected: counts.rejected,
            unknown: counts.unknown,
            unsent: read.unsent + counts.unsent + self.unsent + waiting + deletes,
            deleted: counts.deleted,
            requests: counts.requests,
            retries: counts.retries,
            ..read
        };
        self.removals.count(&mut tally);
        tally
    }
}
