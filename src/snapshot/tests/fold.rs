//! Journals of any order against the plainest fold: a list of events for each key, all in memory.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::encoding::Change;
use super::super::fold::{Event, fold};
use super::super::frame;
use super::super::journal::Journal;
use super::super::names;
use super::*;

/// A record of a journal; keys by number.
#[derive(Debug, Clone)]
enum Said {
    Intent(u64, Operation, Vec<u32>),
    /// All of the batch was delivered.
    Delivered(u64),
    Receipt(u64, i64, Vec<(Range<u32>, Verdict)>),
    Accepted(u64),
    Change(u32, Change),
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Delivered),
        Just(Verdict::NotApplied),
        Just(Verdict::Unknown),
        (any::<bool>(), "[a-z]{0,40}").prop_map(|(after_unknown, message)| Verdict::Rejected {
            code: "422".into(),
            message,
            after_unknown
        }),
    ]
}

fn any_record() -> impl Strategy<Value = Said> {
    let batch = || 0..12u64;
    let operation = prop_oneof![3 => Just(Operation::Upsert), 1 => Just(Operation::Delete)];
    let keys = prop::collection::vec(0..60u32, 0..8);
    let range = (0..9u32, 0..9u32).prop_map(|(start, length)| start..start + length);
    let verdicts = prop::collection::vec((range, any_verdict()), 0..4);
    let change = prop_oneof![
        Just(Change::Repeated),
        Just(Change::Forget),
        Just(Change::Clear),
        Just(Change::Back),
        (1..4u64).prop_map(|run| Change::Hold(RunId(run))),
        Just(Change::Waive(Waiver { fingerprint: 5, epoch: EPOCH })),
    ];
    prop_oneof![
        4 => (batch(), operation, keys).prop_map(|(b, o, keys)| Said::Intent(b, o, keys)),
        2 => batch().prop_map(Said::Delivered),
        2 => (batch(), any::<i64>(), verdicts).prop_map(|(b, at, v)| Said::Receipt(b, at, v)),
        1 => batch().prop_map(Said::Accepted),
        2 => (0..60u32, change).prop_map(|(key, change)| Said::Change(key, change)),
    ]
}

/// Batches numbered as ours are: one after the other from a number on.
fn in_sequence(mut said: Vec<Said>, first: u64) -> Vec<Said> {
    let mut next = first;
    for said in &mut said {
        match said {
            Said::Intent(batch, ..) => {
                *batch = next;
                next += 1;
            }
            Said::Delivered(batch) | Said::Receipt(batch, ..) | Said::Accepted(batch) => {
                *batch = next.saturating_sub(1 + *batch % 3);
            }
            Said::Change(..) => {}
        }
    }
    said
}

fn any_journal() -> impl Strategy<Value = Vec<Said>> {
    let said = || prop::collection::vec(any_record(), 0..60);
    prop_oneof![
        1 => said(),
        2 => (said(), 1..9u64).prop_map(|(said, first)| in_sequence(said, first)),
    ]
}

fn write(journal: &mut Journal, said: &[Said]) {
    let mut counts = HashMap::new();
    for (number, said) in (1..).zip(said) {
        match said {
            Said::Intent(batch, operation, numbers) => {
                let keys: Vec<_> = numbers.iter().copied().map(key).collect();
                let records = keys.iter().map(|key| record_of(key, number));
                journal.append_intent(BatchNumber(*batch), *operation, records);
                counts.insert(*batch, u32::try_from(keys.len()).unwrap());
            }
            Said::Delivered(batch) => {
                let places = 0..counts.get(batch).copied().unwrap_or(1);
                let (batch, verdicts) = (BatchNumber(*batch), vec![(places, Verdict::Delivered)]);
                journal.append(&Record::Receipt { batch, at: Instant(7), verdicts });
            }
            Said::Receipt(batch, at, verdicts) => {
                let (batch, verdicts) = (BatchNumber(*batch), verdicts.clone());
                journal.append(&Record::Receipt { batch, at: Instant(*at), verdicts });
            }
            Said::Accepted(batch) => {
                journal.append(&Record::Accepted { batch: BatchNumber(*batch), job: "j" });
            }
            Said::Change(number, change) => {
                let key = &key(*number);
                journal.append(&match *change {
                    Change::Repeated => Record::Repeated { key },
                    Change::Forget => Record::Forget { key },
                    Change::Clear => Record::Clear { key },
                    Change::Back => Record::Back { key },
                    Change::Hold(run) => Record::Hold { key, run },
                    Change::Waive(waiver) => Record::Waive { key, waiver },
                });
            }
        }
    }
}

fn record_of(key: &[u8], number: u64) -> IntentRecord<'_> {
    IntentRecord { key, fingerprint: u128::from(number), number: IntentNumber(number) }
}

/// What the receipts say of each place of each intent.
fn outcomes(said: &[Said]) -> Vec<Vec<(Verdict, Instant)>> {
    let (mut outcomes, mut latest) = (Vec::new(), HashMap::new());
    for said in said {
        match said {
            Said::Intent(batch, _, keys) => {
                latest.insert(batch, outcomes.len());
                outcomes.push(vec![(Verdict::Unknown, Instant(0)); keys.len()]);
            }
            Said::Delivered(batch) => {
                if let Some(intent) = latest.get(batch) {
                    outcomes[*intent].fill((Verdict::Delivered, Instant(7)));
                }
            }
            Said::Receipt(batch, at, verdicts) => {
                let Some(intent) = latest.get(batch) else { continue };
                for (places, verdict) in verdicts {
                    for place in places.clone() {
                        if let Some(outcome) = outcomes[*intent].get_mut(place as usize) {
                            *outcome = (verdict.clone(), Instant(*at));
                        }
                    }
                }
            }
            Said::Accepted(_) | Said::Change(..) => {}
        }
    }
    outcomes
}

fn plainly(before: &Contents, said: &[Said]) -> Contents {
    let mut outcomes = outcomes(said).into_iter();
    let mut events: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
    for (number, said) in (1..).zip(said) {
        match said {
            Said::Intent(batch, operation, keys) => {
                let outcome = outcomes.next().unwrap();
                for ((index, key), (verdict, at)) in (0..).zip(keys).zip(outcome) {
                    let intent = Doubt {
                        operation: *operation,
                        fingerprint: u128::from(number),
                        number: IntentNumber(number),
                        batch: BatchNumber(*batch),
                        index,
                        is_repeated: false,
                        is_spent: false,
                    };
                    let event = Event::Attempt { intent, verdict, at };
                    events.entry(*key).or_default().push(event);
                }
            }
            Said::Change(key, change) => {
                events.entry(*key).or_default().push(Event::Change(*change));
            }
            _ => {}
        }
    }
    let mut after = before.clone();
    for (number, events) in events {
        let name = key(number);
        if let Some(entry) = fold(after.remove(&name), events, EPOCH) {
            after.insert(name, entry);
        }
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// In tests, a journal of more than a few touches is folded in several ranges.
    #[test]
    fn a_journal_of_any_order_is_folded_as_if_it_were_all_in_memory(
        journals in prop::collection::vec((any_journal(), any::<bool>()), 1..4)
    ) {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        let mut expected = Contents::new();
        for (said, is_interrupted) in journals {
            let (generation, mut largest) = (snapshot.header().generation, 0);
            write(snapshot.journal(), &said);
            if is_interrupted {
                snapshot.journal().write().unwrap();
                snapshot = open(&disk, Some(known(&snapshot))).unwrap();
            } else {
                snapshot.commit(|_| {}).unwrap();
            }
            expected = plainly(&expected, &said);
            prop_assert_eq!(contents(snapshot.view()).unwrap(), expected.clone());
            for said in &said {
                if let Said::Intent(batch, ..)
                | Said::Delivered(batch)
                | Said::Receipt(batch, ..)
                | Said::Accepted(batch) = said
                {
                    largest = largest.max(*batch);
                }
            }
            prop_assert!(snapshot.header().next_batch > BatchNumber(largest) || said.is_empty());
            let generations = snapshot.header().generation - generation;
            let intents = said.iter().filter(|said| matches!(said, Said::Intent(..))).count();
            if is_interrupted && !said.is_empty() {
                let recovered = snapshot.recovered().unwrap();
                prop_assert_eq!((recovered.intents, generations), (intents as u64, 1));
                let doubts = expected.values().filter(|entry| entry.doubt.is_some()).count();
                prop_assert!(recovered.records_in_doubt <= doubts as u64);
            }
            prop_assert!(!disk.exists(names::SPILL).unwrap());
        }
    }
}

/// Writes as many touches as several ranges have, and fails each write, read and sync of their commit in turn.
#[test]
fn a_commit_that_cannot_set_aside_what_it_gathers_leaves_the_old_generation_and_the_journal() {
    let run = |disk: &MemoryDisk| {
        let mut snapshot = begun(disk);
        deliver(&mut snapshot, 1, 0..40, 1);
        snapshot.commit(|_| {}).unwrap();
        deliver(&mut snapshot, 2, 20..60, 2);
        snapshot.journal().begin().unwrap();
        snapshot
    };
    let disk = MemoryDisk::new();
    let mut snapshot = run(&disk);
    let before = disk.operations();
    snapshot.commit(|_| {}).unwrap();
    let (operations, after) = (disk.operations() - before, contents(snapshot.view()).unwrap());
    let mut spilled = 0;
    for n in 0..operations {
        let disk = MemoryDisk::new();
        let mut snapshot = run(&disk);
        let known = known(&snapshot);
        disk.fail_at(n, n % 2 == 0);
        let committed = snapshot.commit(|_| {});
        disk.heal();
        if let Err(Error::Io { file, .. }) = &committed {
            spilled += u64::from(file == names::SPILL);
        }
        if committed.is_err() {
            assert!(matches!(snapshot.commit(|_| {}), Err(Error::Halted { .. })), "{n}");
        }
        let reopened = open(&disk, Some(known)).unwrap();
        assert_eq!(contents(reopened.view()).unwrap(), after, "{n}");
        assert!(!disk.exists(names::SPILL).unwrap(), "{n}");
    }
    assert!(spilled > 5, "{spilled} of {operations}");
}

#[test]
fn a_journal_with_a_record_that_cannot_be_read_is_refused_whole_and_stays() {
    // Of a kind that a later version has; another start; an intent whose key is cut short.
    for (payload, is_newer) in [(vec![77], true), (vec![0; 21], false), (vec![1, 5, 0, 9], false)] {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        deliver(&mut snapshot, 1, 0..40, 1);
        snapshot.journal().write().unwrap();
        let mut bytes = disk.read("journal-1").unwrap();
        let (start, offset) = (bytes.len(), bytes.len() as u64);
        frame::begin(&mut bytes);
        bytes.extend_from_slice(&payload);
        frame::end(&mut bytes, start, offset);
        disk.put("journal-1", bytes);
        let files = disk.list().unwrap();
        for known in [None, Some(known(&snapshot))] {
            let error = open(&disk, known).unwrap_err();
            assert_eq!(matches!(error, Error::Newer { .. }), is_newer, "{error}");
            assert!(is_newer || matches!(error, Error::Damaged { .. }), "{error}");
            assert_eq!(disk.list().unwrap(), files);
        }
    }
}
