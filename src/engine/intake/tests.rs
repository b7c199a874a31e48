//! Random rows, in chunks that are examined in one order and taken in another: whatever the order, the counts add up
//! and a key that comes twice is not sent once that is known.

mod bounded;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use proptest::prelude::*;

use super::*;
use crate::delta::examiner::{Examined, Examiner, Primary};
use crate::delta::fingerprint::{self, Fingerprinter};
use crate::delta::keys::Keys;
use crate::delta::primary_keys::PrimaryKeys;
use crate::delta::repetitions::Repetitions;
use crate::delta::table::{Cut, Table};
use crate::domain::column::Column;
use crate::domain::entry::{Confirmed, Doubt, Entry, Fingerprint, Operation, Rejection, Waiver};
use crate::domain::id::{BatchNumber, Epoch, Instant};
use crate::engine::memory::Shares;
use crate::spill::Spill;

const EPOCH: Epoch = Epoch(2);
/// A value that has no form in a request.
const UNRENDERABLE: i64 = 3;
/// Ids up to this one may be in the snapshot; what the snapshot says of each is `entry`.
const IDS: i64 = 24;

/// More than any test needs.
fn exact() -> Fates {
    fates(Shares { keys: 1 << 20, filter: 0, ..Shares::of(0) })
}

fn fates(shares: Shares) -> Fates {
    Fates::new(shares, Arc::new(Spill::new(&std::env::temp_dir())))
}

/// Delivered key, value, primary key.
type Row = (Option<i64>, i64, Option<i64>);

fn arrays(rows: &[Row]) -> Vec<ArrayRef> {
    let array = |value: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Int64Array>())
    };
    vec![array(|row| row.0), array(|row| Some(row.1)), array(|row| row.2)]
}

fn columns(arrays: &[ArrayRef]) -> Vec<Column<'_>> {
    arrays.iter().map(|array| Column::new(array).unwrap()).collect()
}

fn key_of(id: i64) -> Vec<u8> {
    let arrays = arrays(&[(Some(id), 0, None)]);
    Keys::new(&[&columns(&arrays)[0]], 1).key(0).to_vec()
}

fn fingerprint(id: i64) -> Fingerprint {
    let arrays = arrays(&[(Some(id), 1, None)]);
    Fingerprinter::new(fingerprint::VERSION, ["id", "value"]).rows(&columns(&arrays), 1)[0]
}

/// What the snapshot says of an id: every arm of the decision table, and ids that it does not know.
fn entry(id: i64) -> Option<Entry> {
    let content = fingerprint(id);
    let confirmed = |epoch| Some(Confirmed { fingerprint: content, epoch });
    let doubt = |is_repeated| Doubt {
        operation: Operation::Upsert,
        fingerprint: content,
        number: IntentNumber(5),
        batch: BatchNumber(5),
        index: 0,
        is_repeated,
        is_spent: false,
    };
    let rejection = |due| Rejection {
        operation: Operation::Upsert,
        fingerprint: content,
        epoch: EPOCH,
        code: "422".into(),
        message: "no".into(),
        attempts: 1,
        due: Instant(due),
    };
    Some(match id % 8 {
        0 | 1 => Entry { confirmed: confirmed(EPOCH), ..Entry::default() },
        2 => Entry { confirmed: confirmed(Epoch(1)), ..Entry::default() },
        3 => Entry {
            waiver: Some(Waiver { fingerprint: content, epoch: EPOCH }),
            ..Entry::default()
        },
        4 => Entry { rejection: Some(rejection(2_000)), ..Entry::default() },
        5 => Entry { rejection: Some(rejection(500)), ..Entry::default() },
        6 => Entry { doubt: Some(doubt(id == 14)), ..Entry::default() },
        _ => return None,
    })
}

fn table() -> Table {
    let known = (0..IDS).filter_map(|id| Some((key_of(id), entry(id)?)));
    let mut known: Vec<(Vec<u8>, Entry)> = known.collect();
    known.sort_by_key(|(key, _)| key::hash(key));
    let mut builder = Cut::default().builder(EPOCH, known.len());
    known.into_iter().for_each(|(key, entry)| builder.push(key::hash(&key), &key, entry));
    Cut::default().table(0, vec![builder.finish().unwrap()])
}

/// Examines the chunks in the order given by `order`; the chunks in their own order.
fn examine(chunks: &[Vec<Row>], order: &[usize], has_primary: bool) -> Vec<Chunk> {
    let primary = has_primary
        .then(|| Primary { columns: vec![2], seen: Arc::new(PrimaryKeys::new(1 << 20)) });
    let examiner = Examiner {
        table: Arc::new(table()),
        fingerprinter: Fingerprinter::new(fingerprint::VERSION, ["id", "value"]),
        key: vec![0],
        primary,
        epoch: EPOCH,
        scope: crate::delta::examiner::Scope::All,
        now: Instant(1_000),
    };
    let examine = |number: &usize| {
        let rows = &chunks[*number];
        let examined = examiner.examine(&columns(&arrays(rows)), rows.len()).unwrap();
        (*number, chunk(examined, rows))
    };
    order.iter().map(examine).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// What a pass before the read would say of the chunks.
fn pass(chunks: &[Vec<Row>], has_primary: bool) -> Repeated {
    let primary_key = if has_primary { 2 } else { 0 };
    let repetitions = Repetitions::new(&[0], &[primary_key], 1 << 20);
    for rows in chunks {
        repetitions.sight(&columns(&arrays(rows)), rows.len()).unwrap();
    }
    repetitions.take()
}

fn chunk(examined: Examined, rows: &[Row]) -> Chunk {
    let is_bad =
        |candidate: &&crate::delta::examiner::Candidate| rows[candidate.row].1 == UNRENDERABLE;
    let bad = examined.candidates.iter().filter(is_bad);
    let unrenderable = bad.map(|candidate| (candidate.row, "no form".to_owned())).collect();
    let good = examined.candidates.iter().filter(|candidate| !is_bad(candidate));
    let rendered = |candidate: &crate::delta::examiner::Candidate| Rendered {
        candidate: *candidate,
        fragment: 0..0,
        target_len: 0,
    };
    let operations = good.map(rendered).collect();
    Chunk { operations, fragments: Vec::new(), unrenderable, examined }
}

/// Keeps what is pushed until it leaves, which it does between chunks.
#[derive(Default)]
struct Fake {
    waiting: BTreeSet<Vec<u8>>,
    left: BTreeSet<Vec<u8>>,
    repeated: Vec<Vec<u8>>,
    /// What was pushed while it waited or after it had left.
    twice: Vec<Vec<u8>>,
}

impl Outlet for Fake {
    fn push(&mut self, item: &Item<'_>) {
        if self.left.contains(item.key) || !self.waiting.insert(item.key.to_vec()) {
            self.twice.push(item.key.to_vec());
        }
    }

    fn withdraw(&mut self, _hash: KeyHash, key: &[u8]) -> bool {
        self.waiting.remove(key)
    }

    fn recall(&mut self, _hash: KeyHash, key: &[u8]) -> bool {
        self.waiting.remove(key)
    }

    fn note(&mut self, record: &Record<'_>) {
        if let Record::Repeated { key } = record {
            self.repeated.push(key.to_vec());
        }
    }
}

fn rows() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let id = prop_oneof![1 => Just(None), 15 => (0..IDS).prop_map(Some)];
    let primary = prop_oneof![1 => Just(None), 30 => (0..60_i64).prop_map(Some)];
    let row = (id, 1..=UNRENDERABLE, primary);
    prop::collection::vec(prop::collection::vec(row, 0..5), 1..7)
}

/// Two orders of the chunks.
fn orders() -> impl Strategy<Value = (Vec<Vec<Row>>, Vec<usize>, Vec<usize>)> {
    rows().prop_flat_map(|chunks| {
        let all: Vec<usize> = (0..chunks.len()).collect();
        let order = || Just(all.clone()).prop_shuffle();
        (Just(chunks), order(), order())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn counts_add_up_after_every_chunk_and_a_repeated_key_is_not_sent_once_that_is_known(
        (chunks, examined, taken) in orders(),
        leaves: u64,
        has_primary: bool,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let (mut intake, mut outlet) = (Intake::new(IntentNumber(0), Waiting::default(), exact()), Fake::default());
        let mut met = BTreeMap::<Vec<u8>, u32>::new();
        for (step, number) in taken.iter().enumerate() {
            intake.take(&parts[*number], &mut outlet).unwrap();
            for id in chunks[*number].iter().filter_map(|row| row.0) {
                *met.entry(key_of(id)).or_default() += 1;
            }
            let tally = intake.counts.tally();
            let sum = tally.unchanged + tally.upserts + tally.invalid + tally.waived;
            prop_assert_eq!(tally.rows_read, sum, "{:?}", tally);
            prop_assert!(outlet.twice.is_empty(), "{:?}", outlet.twice);
            for key in met.iter().filter(|(_, count)| **count > 1).map(|(key, _)| key) {
                prop_assert!(!outlet.waiting.contains(key), "it waits to be sent, and came twice");
                let noted = outlet.repeated.iter().filter(|noted| *noted == key).count();
                prop_assert_eq!(noted, usize::from(outlet.left.contains(key)));
                prop_assert!(!intake.lane.has(key::hash(key), key));
            }
            let leaving = |key: &Vec<u8>| {
                let sum: usize = key.iter().map(|byte| usize::from(*byte)).sum();
                leaves >> ((sum + step) % 64) & 1 == 1
            };
            let gone: Vec<_> = outlet.waiting.iter().filter(|key| leaving(key)).cloned().collect();
            for key in gone {
                outlet.waiting.remove(&key);
                outlet.left.insert(key);
            }
        }
    }

    #[test]
    fn invalid_keys_are_as_many_in_whatever_order_chunks_come(
        (chunks, examined, taken) in orders(),
        has_primary: bool,
    ) {
        let count = |examined: &[usize], taken: &[usize]| {
            let parts = examine(&chunks, examined, has_primary);
            let (mut intake, mut outlet) = (Intake::new(IntentNumber(0), Waiting::default(), exact()), Fake::default());
            taken.iter().for_each(|number| intake.take(&parts[*number], &mut outlet).unwrap());
            (intake.counts.invalid_keys, intake.counts.tally().invalid)
        };
        let straight: Vec<usize> = (0..chunks.len()).collect();
        prop_assert_eq!(count(&examined, &taken), count(&straight, &straight));
    }

    #[test]
    fn after_a_pass_no_key_is_found_invalid_once_it_has_left_and_the_counts_are_the_same(
        (chunks, examined, taken) in orders(),
        has_primary: bool,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let mut intake = Intake::new(IntentNumber(0), Waiting { repeated: pass(&chunks, has_primary), repetitions: false }, exact());
        let mut outlet = Fake::default();
        let (mut plain, mut waiting) = (Intake::new(IntentNumber(0), Waiting::default(), exact()), Fake::default());
        for number in &taken {
            intake.take(&parts[*number], &mut outlet).unwrap();
            let left = std::mem::take(&mut outlet.waiting);
            outlet.left.extend(left);
            plain.take(&parts[*number], &mut waiting).unwrap();
            prop_assert_eq!(intake.counts.tally(), plain.counts.tally());
        }
        prop_assert!(outlet.repeated.is_empty(), "{:?}", outlet.repeated);
        prop_assert!(outlet.twice.is_empty(), "{:?}", outlet.twice);
        let repeated = pass(&chunks, has_primary);
        for id in chunks.iter().flatten().filter_map(|row| row.0) {
            let key = key_of(id);
            let is_repeated = repeated.has(key::hash(&key));
            let is_sent = outlet.left.contains(&key);
            prop_assert!(!is_repeated || !is_sent, "{id} was met twice before the read");
        }
    }
}

#[test]
fn a_key_that_only_the_pass_met_twice_waits_for_the_proven_end() {
    let (fresh, known_in_doubt) = (7, 6);
    let rows = [fresh, known_in_doubt, 23].map(|id| (Some(id), 1, None));
    let twice = pass(&[rows[..2].to_vec(), rows[..2].to_vec()], false);
    let parts = examine(&[rows.to_vec()], &[0], false);
    let take = |repeated: Repeated| {
        let waiting = Waiting { repeated, repetitions: false };
        let (mut intake, mut outlet) =
            (Intake::new(IntentNumber(0), waiting, exact()), Fake::default());
        intake.take(&parts[0], &mut outlet).unwrap();
        (intake, outlet.waiting.len())
    };
    let (mut plain, pushed) = take(Repeated::default());
    assert_eq!((pushed, plain.lane.groups(false).1), (2, 0));
    let (mut intake, pushed) = take(twice);
    assert_eq!((pushed, intake.lane.len(), intake.counts.upserts), (1, 2, 3));
    assert_eq!(intake.lane.groups(false).1, 2, "without a proof they are unsent");
}

#[test]
fn a_repetition_that_is_known_by_its_batch_alone_waits_for_the_proven_end() {
    let (fresh, in_doubt) = (7, 6);
    let rows = [fresh, in_doubt].map(|id| (Some(id), 1, None));
    let parts = examine(&[rows.to_vec()], &[0], false);
    let take = |repetitions: bool| {
        let waiting = Waiting { repetitions, ..Waiting::default() };
        let (mut intake, mut outlet) =
            (Intake::new(IntentNumber(0), waiting, exact()), Fake::default());
        intake.take(&parts[0], &mut outlet).unwrap();
        (outlet.waiting.len(), intake.lane)
    };
    for (waits, is_proven, left_out) in [(true, false, 1), (true, true, 0), (false, false, 0)] {
        let (pushed, mut lane) = take(waits);
        assert_eq!((pushed, lane.len()), (1, 1));
        assert_eq!(lane.groups(is_proven).1, left_out, "{waits} {is_proven}");
    }
}

/// What takes so many bytes of the lane.
fn filler(size: usize) -> Late {
    Late {
        key: b"filler".to_vec(),
        hash: key::hash(b"filler"),
        fingerprint: 1,
        fragment: vec![0; size],
        target_len: 0,
        repeats: None,
        is_retry: true,
        needs_proof: false,
    }
}

#[test]
fn without_room_a_whole_batch_stays_in_doubt_and_retries_leave_room_for_it() {
    let in_doubt = [(Some(6), 1, None)];
    let parts = examine(&[in_doubt.to_vec()], &[0], false);
    // More than half of the room, and more than all of it.
    for (size, repetitions, pushed, unsent) in
        [(33 << 20, true, 0, 0), (65 << 20, true, 0, 1), (65 << 20, false, 1, 0)]
    {
        let waiting = Waiting { repetitions, ..Waiting::default() };
        let (mut intake, mut outlet) =
            (Intake::new(IntentNumber(0), waiting, exact()), Fake::default());
        intake.lane.push(filler(size));
        assert!(!intake.lane.has_room_for_retries(), "{size}");
        intake.take(&parts[0], &mut outlet).unwrap();
        assert_eq!((outlet.waiting.len(), intake.counts.unsent), (pushed, unsent), "{size}");
    }
    // Of a batch in doubt for whose second record there is no room, the first stays here too.
    let parts = examine(&[in_doubt.to_vec(), vec![(Some(22), 1, None)]], &[0, 1], false);
    let waiting = Waiting { repetitions: true, ..Waiting::default() };
    let (mut intake, mut outlet) =
        (Intake::new(IntentNumber(0), waiting, exact()), Fake::default());
    intake.take(&parts[0], &mut outlet).unwrap();
    intake.lane.push(filler(65 << 20));
    intake.take(&parts[1], &mut outlet).unwrap();
    assert_eq!((outlet.waiting.len(), intake.counts.unsent), (0, 1));
    let (groups, left_out) = intake.lane.groups(true);
    assert_eq!((groups.len(), left_out), (1, 1), "what fills the lane goes");
}
