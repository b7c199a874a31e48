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
use crate::source::remembered;

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
            if let Some(last) = &header.baseline {
                // A release is a person's yes to what the read lacks.
                let is_vouched = !header.releases.is_empty();
                baseline.files = remembered(&last.files, baseline.files, is_vouched);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::file::FileFact;
    use crate::domain::sync::Definition;
    use crate::engine::proving::lacking;
    use crate::snapshot::Snapshot;
    use crate::snapshot::memory_disk::MemoryDisk;

    fn baseline(run: u64, files: Vec<FileFact>) -> Baseline {
        let definition = Definition::example();
        Baseline { run: RunId(run), definition, files, invalid_keys: Some(0), credentials: None }
    }

    /// That of a complete run that held nothing.
    fn closing(baseline: Baseline) -> Closing {
        Closing {
            baseline,
            next_batch: BatchNumber(1),
            is_complete: true,
            is_confirmed: true,
            are_released_done: true,
            is_sample: false,
            held: Some((0, Vec::new())),
            held_since: None,
            left: Left::NOTHING,
            begun: None,
            noted: None,
            without_entry: WithoutEntry { unsent: 0, invalid: 0 },
            was_stopped: false,
        }
    }

    #[test]
    fn how_a_text_ends_is_not_forgotten_by_a_run_that_did_not_read_it_to_its_end() {
        let days = |ends: [Option<bool>; 2]| {
            let days = ["s3://lake/day=1/a.csv", "s3://lake/day=2/a.csv"].into_iter().zip(ends);
            let fact = |(path, ends_within_line): (&str, Option<bool>)| FileFact {
                table: "t".into(),
                path: path.into(),
                size: 1,
                inode: 0,
                changed: 1,
                ends_within_line,
                etag: Some("\"1\"".into()),
            };
            days.map(fact).collect::<Vec<_>>()
        };
        for (first, second, third, is_cut) in [
            // The first day's never ended its lines, and the second's did.
            ([Some(true), None], [None, Some(false)], [Some(true), None], false),
            // Both did, and then none was read to its end.
            ([Some(false), Some(false)], [None, None], [Some(true), None], true),
            ([Some(false), None], [None, None], [None, Some(true)], true),
        ] {
            let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
            for (run, ends) in [(1, first), (2, second)] {
                let closing = closing(baseline(run, days(ends)));
                let stays = |header: &mut Header| closing.change(header, RunId(run));
                snapshot.commit(|header| assert_eq!(stays(header), None)).unwrap();
            }
            let baseline = snapshot.header().baseline.as_ref().unwrap();
            let reasons = lacking(baseline, &days(third), &[]);
            assert_eq!(!reasons.is_empty(), is_cut, "{first:?}, {second:?}: {reasons:?}");
        }
    }
}
