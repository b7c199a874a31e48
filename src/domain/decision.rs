//! The decision table of design.md §3: what a run does with one key. First match wins.

use super::entry::{Entry, Fingerprint, Operation};
use super::id::{Epoch, Instant};
use super::sync::Mode;
use crate::points;

/// What to do with a row that was read and is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// The destination is known to hold it. `has_rejection`: a rejection of other content is to be cleared.
    Unchanged {
        has_rejection: bool,
    },
    Waived,
    /// Rejected at this content and not yet due.
    Deferred,
    Upsert(Reason),
}

/// Why a row is sent; it decides where in the run the row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// New, changed, or not yet confirmed in this epoch: sent while reading.
    Fresh,
    /// Asked for last with this very content, unanswered: sent as the same batch again.
    Repetition,
    /// Came twice in the read that sent it: waits for the proven end of the read.
    WasRepeated,
    /// Rejected at this content and due again: sent after the fresh ones, never halts a run.
    RetryOfRejection,
}

/// What to do with an entry that a proven, complete read did not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    Keep,
    /// Subject to the guard.
    Delete,
    /// The destination refused this delete and it is not yet due again.
    Deferred,
    Forget,
}

/// Decides for a row with this fingerprint.
#[inline]
pub fn present(
    entry: Option<&Entry>,
    fingerprint: Fingerprint,
    epoch: Epoch,
    now: Instant,
) -> Present {
    let Some(entry) = entry else {
        return Present::Upsert(Reason::Fresh);
    };
    let rejection = entry.rejection.as_ref().filter(|rejection| {
        rejection.operation == Operation::Upsert && rejection.fingerprint == fingerprint
    });
    let is_due = rejection.is_none_or(|rejection| rejection.is_due(now) || rejection.epoch < epoch);
    if let Some(doubt) = &entry.doubt {
        return match rejection {
            Some(_) if is_due => Present::Upsert(Reason::RetryOfRejection),
            Some(_) => Present::Deferred,
            None if doubt.is_repeated => Present::Upsert(Reason::WasRepeated),
            None if doubt.has_number_for(Operation::Upsert, fingerprint) => {
                Present::Upsert(Reason::Repetition)
            }
            None => Present::Upsert(Reason::Fresh),
        };
    }
    let is_waived = entry
        .waiver
        .is_some_and(|waiver| waiver.fingerprint == fingerprint && waiver.epoch == epoch);
    if is_waived {
        return Present::Waived;
    }
    if rejection.is_some() {
        return if is_due { Present::Upsert(Reason::RetryOfRejection) } else { Present::Deferred };
    }
    let is_confirmed = entry
        .confirmed
        .is_some_and(|confirmed| confirmed.fingerprint == fingerprint && confirmed.epoch == epoch);
    if is_confirmed {
        Present::Unchanged { has_rejection: entry.rejection.is_some() || entry.held.is_some() }
    } else {
        Present::Upsert(Reason::Fresh)
    }
}

/// Decides for an entry without a row, after positive proof that the read was complete. Invalid rows count as met.
pub fn absent(entry: &Entry, mode: Mode, epoch: Epoch, now: Instant) -> Absent {
    if !entry.is_possibly_at_destination() && !points::is_planted("refused_record_deleted") {
        return Absent::Forget;
    }
    match mode {
        Mode::Upsert => Absent::Keep,
        Mode::Mirror => {
            let is_deferred = entry.rejection.as_ref().is_some_and(|rejection| {
                rejection.operation == Operation::Delete
                    && !rejection.is_due(now)
                    && rejection.epoch == epoch
            });
            if is_deferred { Absent::Deferred } else { Absent::Delete }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Confirmed, Doubt, Rejection, Waiver};
    use super::super::id::{BatchNumber, IntentNumber};
    use super::*;

    const NOW: Instant = Instant(1_000);
    const EPOCH: Epoch = Epoch(3);

    fn confirmed(fingerprint: Fingerprint, epoch: Epoch) -> Entry {
        Entry { confirmed: Some(Confirmed { fingerprint, epoch }), ..Entry::default() }
    }

    fn doubt(operation: Operation, fingerprint: Fingerprint) -> Doubt {
        Doubt {
            operation,
            fingerprint,
            number: IntentNumber(1),
            batch: BatchNumber(1),
            index: 0,
            is_repeated: false,
            is_spent: false,
        }
    }

    fn rejection(operation: Operation, fingerprint: Fingerprint, due: i64) -> Rejection {
        Rejection {
            operation,
            fingerprint,
            epoch: EPOCH,
            code: String::new(),
            message: String::new(),
            attempts: 1,
            due: Instant(due),
        }
    }

    fn decide(entry: &Entry) -> Present {
        present(Some(entry), 7, EPOCH, NOW)
    }

    #[test]
    fn no_entry_and_other_content_and_an_older_epoch_are_upserts() {
        assert_eq!(present(None, 7, EPOCH, NOW), Present::Upsert(Reason::Fresh));
        assert_eq!(decide(&confirmed(8, EPOCH)), Present::Upsert(Reason::Fresh));
        assert_eq!(decide(&confirmed(7, Epoch(2))), Present::Upsert(Reason::Fresh));
        assert_eq!(decide(&confirmed(7, EPOCH)), Present::Unchanged { has_rejection: false });
    }

    #[test]
    fn doubt_is_asserted_again_whatever_the_fingerprints_say() {
        let aba = Entry { doubt: Some(doubt(Operation::Upsert, 8)), ..confirmed(7, EPOCH) };
        assert_eq!(decide(&aba), Present::Upsert(Reason::Fresh));
        let undelete = Entry { doubt: Some(doubt(Operation::Delete, 0)), ..confirmed(7, EPOCH) };
        assert_eq!(decide(&undelete), Present::Upsert(Reason::Fresh));
        let same = Entry { doubt: Some(doubt(Operation::Upsert, 7)), ..confirmed(7, EPOCH) };
        assert_eq!(decide(&same), Present::Upsert(Reason::Repetition));
        let overtaken = Doubt { is_spent: true, ..doubt(Operation::Upsert, 7) };
        let aba = Entry { doubt: Some(overtaken), ..confirmed(7, EPOCH) };
        assert_eq!(decide(&aba), Present::Upsert(Reason::Fresh));
        let orphan = Entry { doubt: Some(doubt(Operation::Upsert, 7)), ..Entry::default() };
        assert_eq!(absent(&orphan, Mode::Mirror, EPOCH, NOW), Absent::Delete);
    }

    #[test]
    fn a_rejection_waits_until_it_is_due_and_a_new_epoch_makes_it_due() {
        for in_doubt in [None, Some(doubt(Operation::Upsert, 8))] {
            let standing = |due| Entry {
                doubt: in_doubt,
                rejection: Some(rejection(Operation::Upsert, 7, due)),
                ..confirmed(6, EPOCH)
            };
            assert_eq!(decide(&standing(1_001)), Present::Deferred);
            assert_eq!(decide(&standing(1_000)), Present::Upsert(Reason::RetryOfRejection));
            let next_epoch = present(Some(&standing(1_001)), 7, Epoch(4), NOW);
            assert_eq!(next_epoch, Present::Upsert(Reason::RetryOfRejection));
        }
    }

    #[test]
    fn a_waiver_holds_for_its_content_and_epoch_only() {
        let waived = |fingerprint, epoch| Entry {
            waiver: Some(Waiver { fingerprint, epoch }),
            ..confirmed(6, EPOCH)
        };
        assert_eq!(decide(&waived(7, EPOCH)), Present::Waived);
        assert_eq!(decide(&waived(8, EPOCH)), Present::Upsert(Reason::Fresh));
        assert_eq!(decide(&waived(7, Epoch(2))), Present::Upsert(Reason::Fresh));
    }

    #[test]
    fn absent_rows_are_deleted_only_in_mirror_mode_and_refused_deletes_wait() {
        let known = confirmed(7, EPOCH);
        assert_eq!(absent(&known, Mode::Upsert, EPOCH, NOW), Absent::Keep);
        assert_eq!(absent(&known, Mode::Mirror, EPOCH, NOW), Absent::Delete);
        let refused =
            Entry { rejection: Some(rejection(Operation::Delete, 0, 2_000)), ..known.clone() };
        assert_eq!(absent(&refused, Mode::Mirror, EPOCH, NOW), Absent::Deferred);
        assert_eq!(absent(&refused, Mode::Mirror, Epoch(4), NOW), Absent::Delete);
        let never_there =
            Entry { rejection: Some(rejection(Operation::Upsert, 7, 2_000)), ..Entry::default() };
        assert_eq!(absent(&never_there, Mode::Mirror, EPOCH, NOW), Absent::Forget);
    }
}
