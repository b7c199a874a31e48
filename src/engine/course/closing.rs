//! The end of a run as its commit says it: the header that the next run finds, and whether that one may be skipped.
//!
//! Not responsible for the commit (`snapshot::commit`). Guards: an epoch closes, a baseline moves and a mark is left only
//! behind a proven read whose tally adds up.

use super::Course;
use crate::domain::cursor::Stays;
use crate::domain::guard::HoldCause;
use crate::domain::id::{BatchNumber, RunId};
use crate::domain::skip::Left;
use crate::domain::tally::Tally;
use crate::engine::extent::{Noted, WithoutEntry};
use crate::engine::skipping::Begun;
use crate::points;
use crate::snapshot::header::{Baseline, Header, Hold};
use crate::source::without_cuts;

/// What the commit of a run changes in the header.
#[derive(Debug)]
pub struct Closing {
    /// What later reads are judged against, if this run held nothing.
    pub baseline: Baseline,
    /// The number of the first batch of the next run.
    pub next_batch: BatchNumber,
    /// The read was proven, and the tally adds up.
    is_complete: bool,
    /// Nothing is left of the epoch.
    is_confirmed: bool,
    /// Nothing is left of what was released.
    are_released_done: bool,
    /// Only chosen rows were read: nothing is said of the sync.
    is_sample: bool,
    /// Whether the removals were sorted: then what they held, and why.
    held: Option<(u64, Vec<HoldCause>)>,
    /// See [`Removals::held_since`].
    ///
    /// [`Removals::held_since`]: crate::engine::removals::Removals::held_since
    held_since: Option<RunId>,
    /// What the run left, as far as the header does not say it, and what it noted at its start.
    left: Left,
    begun: Option<Begun>,
    /// What it has noted of the model's cursor, and what of its rows no entry tells of.
    noted: Option<Noted>,
    without_entry: WithoutEntry,
    was_stopped: bool,
}

impl Course {
    /// Draws up the end of the run; nothing of it is waiting or in flight any more.
    pub fn close(
        &self,
        is_proven: bool,
        tally: &Tally,
        was_stopped: bool,
        baseline: Baseline,
        next_batch: BatchNumber,
    ) -> Closing {
        let is_complete = is_proven && tally.check().is_ok();
        let is_ignored = points::is_planted("epoch_closed_over_unknown");
        // Such a key is in doubt, whatever was answered.
        let has_left_invalid = self.intake.counts.left > 0;
        let has_rest =
            (tally.unsent + tally.unknown > self.unnameable || has_left_invalid) && !is_ignored;
        let removals = &self.removals;
        let deletes = removals.deletes();
        Closing {
            baseline,
            next_batch,
            is_sample: false,
            is_complete,
            is_confirmed: is_complete && !has_rest && !was_stopped
                || was_stopped && points::is_planted("kind_not_stored"),
            are_released_done: is_complete
                && removals.is_judged()
                && removals.deferred == 0
                && tally.deleted == deletes,
            held: removals.is_judged().then(|| (tally.held, removals.causes.clone())),
            held_since: removals.held_since(),
            left: Left {
                is_sample: false,
                is_proven: is_complete && removals.is_judged(),
                was_stopped,
                is_clean: tally.is_clean() && !has_left_invalid,
                is_unsettled: removals.is_unsettled,
                is_epoch_open: true,
                is_held: true,
                is_volatile: true,
                can_prove_unchanged: false,
                are_files_at_rest: false,
            },
            begun: None,
            noted: None,
            without_entry: WithoutEntry { unsent: tally.unsent, invalid: tally.invalid },
            was_stopped,
        }
    }
}

impl Closing {
    /// That of a sample: its receipts count, and nothing is said of its sync.
    pub fn of_sample(self) -> Closing {
        Closing { is_sample: true, ..self }
    }

    /// With what the run noted at its start, by which the next one may be skipped or restricted.
    pub fn since(self, begun: Begun, noted: Option<Noted>) -> Closing {
        Closing { begun: Some(begun), noted, ..self }
    }

    /// Closes the epoch where it was confirmed and the run was not stopped; says why the bound of a cursor did not move.
    pub fn change(self, header: &mut Header, run: RunId) -> Option<Stays> {
        header.next_batch = self.next_batch;
        if self.is_sample {
            return None;
        }
        let is_restricted = self.noted.as_ref().is_some_and(|noted| noted.met.is_restricted);
        let noted = self.noted.zip(self.begun.as_ref());
        let before = header.cursor.take();
        let (reached, stays) = noted.map_or((None, None), |(noted, begun)| {
            let ended = (self.is_complete, self.was_stopped);
            noted.moved(before, begun, self.without_entry, ended, run)
        });
        header.cursor = reached;
        if is_restricted {
            return stays;
        }
        header.definition = Some(self.baseline.definition.clone());
        header.is_epoch_open &= !self.is_confirmed;
        let keys = self.held.as_ref().map_or(0, |(keys, _)| *keys);
        if let Some((keys, causes)) = self.held {
            let since = self.held_since;
            let counted = self.baseline.files.iter().filter(|file| file.version().is_some());
            let versions = counted.cloned().collect();
            header.hold = (keys > 0).then_some(Hold { run, causes, keys, since, versions });
        }
        if self.is_complete && (keys == 0 || points::is_planted("second_bad_read_released")) {
            let mut baseline = self.baseline;
            // A release is a person's yes to what the read lacks.
            if header.releases.is_empty()
                && let Some(last) = &header.baseline
            {
                baseline.files = without_cuts(&last.files, baseline.files);
            }
            header.baseline = Some(baseline);
        }
        if self.are_released_done {
            header.releases.clear();
        }
        header.at_rest = self.begun.and_then(|begun| {
            let left = Left {
                is_epoch_open: header.is_epoch_open,
                is_held: header.hold.is_some() || !header.releases.is_empty(),
                ..self.left
            };
            begun.at_rest(left, run)
        });
        stays
    }
}
