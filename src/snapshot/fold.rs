//! What a journal's events make of one entry. Pure; the order is that in which the events were written.
//!
//! An attempt is folded at the place of its intent, with the verdict that its receipts came to; without one it is
//! unknown. As at most one operation per key is in flight, that is the order in which the destination saw them.

use crate::domain::entry::{Doubt, Entry, Held, Operation, Verdict};
use crate::domain::id::{BatchNumber, Epoch, Instant, IntentNumber};

use super::encoding::Change;

/// Something that happened to one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Attempt { intent: Doubt, verdict: Verdict, at: Instant },
    Change(Change),
}

impl Event {
    /// The same; of a journal that says content otherwise than its snapshot's epoch does, a number is not used again.
    pub(super) fn spent(mut self, is_foreign: bool) -> Event {
        if let Event::Attempt { intent, .. } = &mut self {
            intent.is_spent |= is_foreign;
        }
        self
    }
}

/// The entry after `events`; `None` if nothing is left to remember. `epoch` is the one the journal was written in.
pub(super) fn fold(
    prior: Option<Entry>,
    events: impl IntoIterator<Item = Event>,
    epoch: Epoch,
) -> Option<Entry> {
    let mut entry = prior.unwrap_or_default();
    // The last intent of the journal, and whether anything of it can have left.
    let mut last = None;
    for event in events {
        match event {
            Event::Attempt { intent, verdict, at } => {
                last = Some((intent, verdict != Verdict::NotApplied));
                entry.settle(intent, &verdict, epoch, at);
            }
            Event::Change(change) => apply(&mut entry, last, change),
        }
    }
    (!entry.is_empty()).then_some(entry)
}

fn apply(entry: &mut Entry, last: Option<(Doubt, bool)>, change: Change) {
    match change {
        Change::Repeated => {
            let left = match last {
                Some((intent, true)) => Some(intent),
                // Nothing of it has left after all: what stood before stands.
                Some((_, false)) => entry.doubt,
                None => Some(entry.doubt.unwrap_or_else(|| unnumbered(entry))),
            };
            entry.doubt = left.map(|doubt| Doubt { is_repeated: true, ..doubt });
        }
        Change::Forget => *entry = Entry::default(),
        Change::Back => entry.held = None,
        Change::Clear => {
            entry.rejection = None;
            entry.held = None;
        }
        Change::Hold(run) => {
            let first = entry.held.map_or(run, |held| held.first);
            entry.held = Some(Held { first, last: run });
        }
        Change::Waive(waiver) => entry.waiver = Some(waiver),
    }
}

/// For a key whose intent is not known any more. Number 0 is below every floor of reuse.
fn unnumbered(entry: &Entry) -> Doubt {
    Doubt {
        operation: Operation::Upsert,
        fingerprint: entry.confirmed.map_or(0, |confirmed| confirmed.fingerprint),
        number: IntentNumber(0),
        batch: BatchNumber(0),
        index: 0,
        is_repeated: true,
        is_spent: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::tests::any_entry;
    use super::*;
    use crate::domain::entry::{Confirmed, Waiver};
    use crate::domain::id::RunId;
    use proptest::prelude::*;

    const EPOCH: Epoch = Epoch(4);

    fn intent(operation: Operation, fingerprint: u128, number: u64) -> Doubt {
        Doubt {
            operation,
            fingerprint,
            number: IntentNumber(number),
            batch: BatchNumber(number),
            index: 0,
            is_repeated: false,
            is_spent: false,
        }
    }

    fn attempt(intent: Doubt, verdict: &Verdict) -> Event {
        Event::Attempt { intent, verdict: verdict.clone(), at: Instant(0) }
    }

    fn upsert(fingerprint: u128, verdict: &Verdict) -> Event {
        attempt(intent(Operation::Upsert, fingerprint, 1), verdict)
    }

    fn confirmed(fingerprint: u128) -> Option<Entry> {
        let confirmed = Some(Confirmed { fingerprint, epoch: EPOCH });
        Some(Entry { confirmed, ..Entry::default() })
    }

    #[test]
    fn orphan_an_insert_without_a_receipt_is_remembered() {
        let entry = fold(None, [upsert(7, &Verdict::Unknown)], EPOCH).unwrap();
        assert!(entry.is_possibly_at_destination() && entry.confirmed.is_none());
    }

    #[test]
    fn aba_a_change_without_a_receipt_leaves_doubt_beside_the_old_content() {
        let entry = fold(confirmed(1), [upsert(2, &Verdict::Unknown)], EPOCH).unwrap();
        assert_eq!(entry.confirmed, confirmed(1).unwrap().confirmed);
        assert_eq!(entry.doubt.map(|doubt| doubt.fingerprint), Some(2));
        let entry = fold(Some(entry), [upsert(1, &Verdict::Delivered)], EPOCH);
        assert_eq!(entry, confirmed(1));
    }

    #[test]
    fn undelete_a_delete_without_a_receipt_leaves_doubt() {
        let delete = intent(Operation::Delete, 0, 2);
        let entry = fold(confirmed(1), [attempt(delete, &Verdict::Unknown)], EPOCH).unwrap();
        assert_eq!(entry.doubt, Some(delete));
        assert_eq!(fold(Some(entry), [attempt(delete, &Verdict::Delivered)], EPOCH), None);
    }

    #[test]
    fn a_repeated_key_is_in_doubt_whatever_its_receipt_says_until_delivered_again() {
        let repeated = Event::Change(Change::Repeated);
        let delivered = upsert(7, &Verdict::Delivered);
        let entry = fold(None, [delivered, repeated.clone()], EPOCH).unwrap();
        let doubt = entry.doubt.unwrap();
        assert!(doubt.is_repeated && doubt.number == IntentNumber(1));
        assert_eq!(fold(Some(entry), [upsert(8, &Verdict::Delivered)], EPOCH), confirmed(8));
        let entry = fold(confirmed(3), [repeated], EPOCH).unwrap();
        assert_eq!(entry.doubt.map(|doubt| doubt.number), Some(IntentNumber(0)));
    }

    #[test]
    fn a_repeated_key_whose_row_never_left_is_as_it_was() {
        let repeated = Event::Change(Change::Repeated);
        let unsent = [upsert(7, &Verdict::NotApplied), repeated];
        assert_eq!(fold(confirmed(3), unsent.clone(), EPOCH), confirmed(3));
        assert_eq!(fold(None, unsent.clone(), EPOCH), None);
        let in_doubt = fold(confirmed(3), [upsert(5, &Verdict::Unknown)], EPOCH);
        let doubt = fold(in_doubt, unsent, EPOCH).unwrap().doubt.unwrap();
        assert!(doubt.is_repeated && doubt.fingerprint == 5, "what is unknown stays so");
    }

    #[test]
    fn what_is_only_held_is_not_remembered() {
        assert_eq!(fold(None, [Event::Change(Change::Hold(RunId(1)))], EPOCH), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Attempt(bool, u8, Verdict),
        Change(Change),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let verdict = prop_oneof![
            Just(Verdict::Delivered),
            Just(Verdict::NotApplied),
            Just(Verdict::Unknown),
            any::<bool>().prop_map(|after_unknown| Verdict::Rejected {
                code: "c".into(),
                message: "m".into(),
                after_unknown
            }),
        ];
        let change = prop_oneof![
            Just(Change::Repeated),
            Just(Change::Forget),
            Just(Change::Clear),
            Just(Change::Back),
            (1..4u64).prop_map(|run| Change::Hold(RunId(run))),
            Just(Change::Waive(Waiver { fingerprint: 5, epoch: EPOCH })),
        ];
        prop_oneof![
            3 => (any::<bool>(), any::<u8>(), verdict).prop_map(|(d, f, v)| Step::Attempt(d, f, v)),
            2 => change.prop_map(Step::Change),
        ]
    }

    /// What may be at the destination: it holds one of these (`None`: nothing), after each attempt took effect or not.
    fn possible(steps: &[Step], start: Option<u128>) -> Vec<Option<u128>> {
        let mut worlds = vec![start];
        for step in steps {
            let Step::Attempt(is_delete, fingerprint, verdict) = step else { continue };
            let after = (!is_delete).then_some(u128::from(*fingerprint));
            match verdict {
                Verdict::Delivered => worlds = vec![after],
                Verdict::Unknown | Verdict::Rejected { after_unknown: true, .. } => {
                    worlds.push(after);
                }
                _ => {}
            }
        }
        worlds
    }

    proptest! {
        /// Unless a person dropped ownership, an entry without doubt says exactly what the destination holds.
        #[test]
        fn without_doubt_the_entry_is_the_truth(
            steps in prop::collection::vec(any_step(), 0..12), start in prop::option::of(0..9u128)
        ) {
            let steps: Vec<Step> = steps.into_iter()
                .filter(|step| !matches!(step, Step::Change(Change::Forget))).collect();
            let events = steps.iter().zip(1..).map(|(step, number)| match step {
                Step::Attempt(is_delete, fingerprint, verdict) => {
                    let operation = if *is_delete { Operation::Delete } else { Operation::Upsert };
                    let fingerprint = if *is_delete { 0 } else { u128::from(*fingerprint) };
                    attempt(intent(operation, fingerprint, number), verdict)
                }
                Step::Change(change) => Event::Change(*change),
            });
            let entry = fold(start.and_then(confirmed), events, EPOCH).unwrap_or_default();
            let worlds = possible(&steps, start);
            if entry.doubt.is_none() {
                let known = entry.confirmed.map(|confirmed| confirmed.fingerprint);
                prop_assert!(worlds.iter().all(|world| *world == known), "{worlds:?} {entry:?}");
            }
        }

        #[test]
        fn what_people_and_reads_say_never_ends_a_doubt(
            prior in any_entry(), steps in prop::collection::vec(any_step(), 0..12)
        ) {
            let changes: Vec<Event> = steps.iter().filter_map(|step| match step {
                Step::Change(Change::Forget) | Step::Attempt(..) => None,
                Step::Change(change) => Some(Event::Change(*change)),
            }).collect();
            let entry = fold(Some(prior.clone()), changes, EPOCH).unwrap_or_default();
            prop_assert!(entry.doubt.is_some() || prior.doubt.is_none());
            prop_assert_eq!(entry.confirmed, prior.confirmed);
            prop_assert_eq!(fold(Some(prior), [Event::Change(Change::Forget)], EPOCH), None);
        }
    }
}
