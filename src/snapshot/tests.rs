//! The snapshot as a whole: commits, crashes at every step, damage of every byte.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;

use super::disk::{Disk, LocalDisk};
use super::memory_disk::MemoryDisk;
use super::open::Known;
use super::record::{IntentRecord, Record};
use super::{Error, Snapshot, View, archive};
use crate::domain::entry::{Confirmed, Doubt, Entry, Held, Operation, Verdict, Waiver};
use crate::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};

const SYNC: &str = "customers";
const EPOCH: Epoch = Epoch(1);

type Contents = BTreeMap<Vec<u8>, Entry>;

fn open(disk: &MemoryDisk, known: Option<Known>) -> Result<Snapshot, Error> {
    Snapshot::open(Arc::new(disk.clone()), SYNC, known)
}

/// A snapshot whose first commit opened the epoch.
fn begun(disk: &MemoryDisk) -> Snapshot {
    let mut snapshot = open(disk, None).unwrap();
    snapshot.commit(|header| header.epoch = EPOCH).unwrap();
    snapshot
}

fn known(snapshot: &Snapshot) -> Known {
    Known { lineage: snapshot.header().lineage, generation: snapshot.header().generation }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn intent(snapshot: &mut Snapshot, batch: u64, operation: Operation, numbers: Range<u32>, v: u128) {
    let keys: Vec<Vec<u8>> = numbers.map(key).collect();
    let records =
        keys.iter().map(|key| IntentRecord { key, fingerprint: v, number: IntentNumber(batch) });
    snapshot.journal().append_intent(BatchNumber(batch), operation, records);
}

fn receipt(snapshot: &mut Snapshot, batch: u64, places: Range<u32>, verdict: Verdict) {
    let record = Record::Receipt {
        batch: BatchNumber(batch),
        at: Instant(5),
        verdicts: vec![(places, verdict)],
    };
    snapshot.journal().append(&record);
}

fn deliver(snapshot: &mut Snapshot, batch: u64, numbers: Range<u32>, v: u128) {
    let count = numbers.end - numbers.start;
    intent(snapshot, batch, Operation::Upsert, numbers, v);
    receipt(snapshot, batch, 0..count, Verdict::Delivered);
}

fn contents(view: &View) -> Result<Contents, Error> {
    let mut contents = Contents::new();
    view.visit(|key, entry| assert_eq!(contents.insert(key.to_vec(), entry), None))?;
    let listed = view.entries()?.collect::<Result<Contents, Error>>()?;
    assert_eq!(listed, contents);
    for (key, entry) in &contents {
        assert_eq!(view.lookup(key)?.as_ref(), Some(entry));
    }
    let there = contents.values().filter(|entry| entry.is_possibly_at_destination()).count();
    assert_eq!(view.header().entries, there as u64);
    Ok(contents)
}

#[test]
fn a_commit_is_read_back_and_numbers_batches_on() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 7, 0..10_000, 3);
    intent(&mut snapshot, 8, Operation::Delete, 0..2, 0);
    receipt(&mut snapshot, 8, 0..1, Verdict::Delivered);
    let committed = snapshot.commit(|_| {}).unwrap();
    assert_eq!(committed.entries, 9_999);
    let read = contents(snapshot.view()).unwrap();
    assert_eq!(read.len(), 9_999);
    let confirmed = Some(Confirmed { fingerprint: 3, epoch: EPOCH });
    assert_eq!(read[&key(5)], Entry { confirmed, ..Entry::default() });
    let doubt = read[&key(1)].doubt.unwrap();
    assert_eq!((doubt.operation, doubt.index, doubt.batch.0), (Operation::Delete, 1, 8));
    assert_eq!(snapshot.header().next_batch, BatchNumber(9));
    let reopened = open(&disk, Some(known(&snapshot))).unwrap();
    assert_eq!(contents(reopened.view()).unwrap(), read);
    assert_eq!(reopened.header().fence, snapshot.header().fence + 1);
    assert_eq!(reopened.recovered(), None);
    assert_eq!(reopened.lookup(b"no such key").unwrap(), None);
}

#[test]
fn ranges_of_hashes_together_are_everything() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..9000, 1);
    snapshot.commit(|_| {}).unwrap();
    deliver(&mut snapshot, 2, 8500..9500, 2);
    snapshot.commit(|_| {}).unwrap();
    let mut found = Contents::new();
    for bucket in 0..16u128 {
        let first = bucket << 124;
        let visit = |key: &[u8], entry| {
            assert_eq!(crate::domain::key::hash(key) >> 124, bucket);
            assert_eq!(found.insert(key.to_vec(), entry), None);
        };
        snapshot.view().visit_range(first..=first | (u128::MAX >> 4), visit).unwrap();
    }
    assert_eq!(found, contents(snapshot.view()).unwrap());
}

#[test]
fn ten_changed_rows_of_many_write_little() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..100_000, 1);
    assert!(snapshot.commit(|_| {}).unwrap().written_bytes > 2_000_000);
    for batch in 2..40 {
        let before = disk.written();
        let first = u32::try_from(batch).unwrap() * 1000;
        deliver(&mut snapshot, batch, first..first + 10, u128::from(batch));
        let committed = snapshot.commit(|_| {}).unwrap();
        assert_eq!(committed.entries, 100_000);
        assert!(committed.written_bytes < 20_000, "{committed:?}");
        assert!(disk.written() - before < 30_000);
    }
    assert!(disk.list().unwrap().len() < 12);
    assert_eq!(contents(snapshot.view()).unwrap()[&key(39_005)].confirmed.unwrap().fingerprint, 39);
}

#[test]
fn everything_forgotten_leaves_no_segment_behind() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..4000, 1);
    snapshot.commit(|_| {}).unwrap();
    for number in 0..4000 {
        let key = key(number);
        snapshot.journal().append(&Record::Forget { key: &key });
    }
    assert_eq!(snapshot.commit(|_| {}).unwrap().entries, 0);
    assert!(contents(snapshot.view()).unwrap().is_empty());
    // Nothing changes what is not there.
    snapshot.journal().append(&Record::Clear { key: b"none" });
    let segments = snapshot.view().segments.len();
    snapshot.commit(|_| {}).unwrap();
    assert_eq!(snapshot.view().segments.len(), segments);
}

#[test]
fn an_interrupted_run_is_recovered_by_the_same_commit() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..5, 1);
    intent(&mut snapshot, 2, Operation::Upsert, 5..8, 2);
    snapshot.journal().write().unwrap();
    snapshot.journal().syncer().sync().unwrap();
    receipt(&mut snapshot, 2, 0..3, Verdict::Delivered);
    snapshot.journal().write().unwrap();
    let known = known(&snapshot);
    drop(snapshot);
    disk.crash_keeping(false, 10);
    // A segment that a commit was making; its name is used again by the recovery.
    disk.put("segment-1", b"half".to_vec());
    disk.put("manifest.tmp", b"half".to_vec());
    let snapshot = open(&disk, Some(known)).unwrap();
    let recovered = snapshot.recovered().unwrap();
    assert_eq!(
        (recovered.intents, recovered.records_in_doubt, recovered.dropped_bytes),
        (2, 3, 10)
    );
    assert_eq!(snapshot.header().generation, known.generation + 1);
    let read = contents(snapshot.view()).unwrap();
    assert_eq!(read.values().filter(|entry| entry.doubt.is_some()).count(), 3);
    let mut names = disk.list().unwrap();
    names.sort();
    assert_eq!(names, ["manifest", "segment-1"]);
    let again = open(&disk, None).unwrap();
    assert_eq!(again.recovered(), None);
    assert_eq!(contents(again.view()).unwrap(), read);
}

#[test]
fn the_fence_rises_over_starts_that_commit_nothing() {
    let disk = MemoryDisk::new();
    let mut last = begun(&disk).header().fence;
    for torn in [true, true, false, true] {
        let mut snapshot = open(&disk, None).unwrap();
        assert!(snapshot.header().fence > last || torn);
        last = snapshot.header().fence;
        snapshot.journal().append(&Record::Clear { key: b"k" });
        snapshot.journal().write().unwrap();
        let name = format!("journal-{}", snapshot.header().generation);
        let mut bytes = disk.read(&name).unwrap();
        if torn {
            bytes.pop();
        }
        disk.put(&name, bytes);
    }
    open(&disk, None).unwrap();
}

#[test]
fn missing_foreign_older_and_newer_are_told_apart() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    let first = known(&snapshot);
    let backup = disk.copy();
    deliver(&mut snapshot, 1, 0..3, 1);
    snapshot.commit(|_| {}).unwrap();
    let second = known(&snapshot);
    let empty = MemoryDisk::new();
    let error = |disk: &MemoryDisk, known| open(disk, known).map(|_| ()).unwrap_err();
    let missing = error(&empty, Some(first));
    assert!(matches!(missing, Error::Missing { .. }));
    assert!(missing.to_string().contains("counterflow rebaseline customers -m WHY"));
    let other = MemoryDisk::new();
    begun(&other);
    assert!(matches!(error(&other, Some(first)), Error::Foreign { .. }));
    assert!(matches!(error(&backup, Some(second)), Error::Older { found: 1, known: 2, .. }));
    let named = Snapshot::open(Arc::new(disk.copy()), "orders", None).unwrap_err();
    assert!(matches!(named, Error::Foreign { .. }));
    // A generation that the manifest cannot know of.
    let mixed = disk.copy();
    mixed.put("manifest", backup.read("manifest").unwrap());
    mixed.put("journal-2", Vec::new());
    assert!(matches!(error(&mixed, None), Error::Damaged { .. }));
    for (name, stray) in [("segment-1", "segment-1"), ("journal-0", "segment-1")] {
        let strays = MemoryDisk::new();
        strays.put(name, disk.read(stray).unwrap());
        assert!(matches!(error(&strays, None), Error::Damaged { .. }));
        assert!(View::read(&strays, SYNC).is_err());
    }
    for name in ["manifest", "segment-1"] {
        let newer = disk.copy();
        let mut bytes = newer.read(name).unwrap();
        bytes[8] = 2;
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..28]).to_le_bytes();
        bytes[28..36].copy_from_slice(&checksum);
        newer.put(name, bytes);
        assert!(matches!(error(&newer, Some(second)), Error::Newer { .. }));
    }
    let gone = disk.copy();
    gone.remove("segment-1").unwrap();
    assert!(matches!(error(&gone, Some(second)), Error::Damaged { .. }));
    assert!(View::read(&empty, SYNC).unwrap().is_none());
}

/// What a process got through before the disk failed it.
#[derive(Debug, Default)]
struct Progress {
    known: Option<Known>,
    /// Keys whose intent was safe, so that their request left; the last content asked of each.
    sent: BTreeMap<Vec<u8>, u128>,
    /// Those of them that nothing answered.
    unanswered: Vec<Vec<u8>>,
    committed: Option<Contents>,
}

/// Fourteen runs, enough to compact; each delivers some, leaves one in doubt and deletes an older one.
fn runs(disk: &MemoryDisk, progress: &mut Progress) -> Result<(), Error> {
    let mut snapshot = open(disk, None)?;
    snapshot.commit(|header| header.epoch = EPOCH)?;
    progress.known = Some(known(&snapshot));
    for run in 0..14u32 {
        let (batch, v) = (u64::from(run) * 2 + 1, u128::from(run) + 1);
        intent(&mut snapshot, batch, Operation::Upsert, run * 10..run * 10 + 4, v);
        snapshot.journal().write()?;
        snapshot.journal().syncer().sync()?;
        for number in run * 10..run * 10 + 4 {
            progress.sent.insert(key(number), v);
        }
        progress.unanswered.push(key(run * 10 + 3));
        receipt(&mut snapshot, batch, 0..3, Verdict::Delivered);
        snapshot.journal().write()?;
        if let Some(old) = run.checked_sub(3) {
            intent(&mut snapshot, batch + 1, Operation::Delete, old * 10..old * 10 + 1, 0);
            snapshot.journal().write()?;
            snapshot.journal().syncer().sync()?;
            progress.sent.remove(&key(old * 10));
            receipt(&mut snapshot, batch + 1, 0..1, Verdict::Delivered);
        }
        snapshot.commit(|_| {})?;
        progress.known = Some(known(&snapshot));
        progress.committed = Some(contents(snapshot.view())?);
    }
    Ok(())
}

#[test]
fn a_disk_that_fails_at_any_operation_loses_no_commit_and_no_doubt() {
    let disk = MemoryDisk::new();
    runs(&disk, &mut Progress::default()).unwrap();
    let operations = disk.operations();
    for n in 0..operations {
        let disk = MemoryDisk::new();
        disk.fail_at(n, n % 2 == 0);
        let mut progress = Progress::default();
        let outcome = runs(&disk, &mut progress);
        assert!(outcome.is_err() || n % 2 == 1, "{n}");
        for (names, bytes) in [(true, usize::MAX), (false, 0), (true, 0), (true, 7), (false, 40)] {
            let after = disk.fork();
            after.crash_keeping(names, bytes);
            check_reopened(&after, &progress, n);
        }
    }
}

fn check_reopened(disk: &MemoryDisk, progress: &Progress, n: u64) {
    let reopened = open(disk, progress.known);
    let snapshot = reopened.unwrap_or_else(|error| panic!("operation {n}: {error}"));
    let read = contents(snapshot.view()).unwrap();
    for (key, v) in &progress.sent {
        let entry = read.get(key).unwrap_or_else(|| panic!("operation {n}: a sent key is lost"));
        let confirmed = entry.confirmed.map(|confirmed| confirmed.fingerprint);
        assert!(entry.doubt.is_some() || confirmed == Some(*v), "operation {n}");
    }
    for key in &progress.unanswered {
        assert!(read[key].doubt.is_some(), "operation {n}: a doubt is lost");
    }
    for (key, entry) in progress.committed.iter().flatten() {
        let is_same = read.get(key) == Some(entry);
        assert!(is_same || !progress.sent.contains_key(key), "operation {n}: a commit is lost");
    }
}

#[test]
fn after_a_failed_commit_nothing_is_written_until_it_is_opened_again() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..3, 1);
    disk.fail_at(5, false);
    assert!(snapshot.commit(|_| {}).is_err());
    assert!(matches!(snapshot.commit(|_| {}), Err(Error::Halted { .. })));
    assert_eq!(contents(open(&disk, None).unwrap().view()).unwrap().len(), 3);
}

#[test]
fn two_writers_do_not_overwrite_one_another() {
    let disk = MemoryDisk::new();
    let mut first = begun(&disk);
    let mut second = open(&disk, None).unwrap();
    second.commit(|_| {}).unwrap();
    assert!(matches!(first.commit(|_| {}), Err(Error::Halted { .. })));
}

#[test]
fn nothing_is_journaled_before_the_first_commit() {
    let disk = MemoryDisk::new();
    let mut snapshot = open(&disk, None).unwrap();
    assert!(disk.list().unwrap().is_empty());
    snapshot.journal().append(&Record::Clear { key: b"k" });
    assert!(matches!(snapshot.journal().write(), Err(Error::Halted { .. })));
    assert!(disk.list().unwrap().is_empty());
}

/// Two segments and a journal with three records.
fn specimen() -> (MemoryDisk, Known, Contents) {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..40, 1);
    intent(&mut snapshot, 2, Operation::Upsert, 40..43, 2);
    let rejected =
        Verdict::Rejected { code: "422".into(), message: "no".into(), after_unknown: true };
    receipt(&mut snapshot, 2, 0..2, rejected);
    snapshot.commit(|_| {}).unwrap();
    deliver(&mut snapshot, 3, 30..50, 3);
    snapshot.journal().append(&Record::Forget { key: &key(0) });
    snapshot.commit(|_| {}).unwrap();
    let read = contents(snapshot.view()).unwrap();
    intent(&mut snapshot, 4, Operation::Upsert, 60..61, 4);
    intent(&mut snapshot, 5, Operation::Upsert, 61..62, 4);
    snapshot.journal().write().unwrap();
    (disk.copy(), known(&snapshot), read)
}

fn read_all(disk: &MemoryDisk, known: Known) -> Result<(Contents, Option<u64>), Error> {
    let snapshot = open(disk, Some(known))?;
    Ok((contents(snapshot.view())?, snapshot.recovered().map(|recovered| recovered.intents)))
}

#[test]
fn no_cut_file_is_read_as_if_it_were_whole() {
    let (disk, known, committed) = specimen();
    for name in disk.list().unwrap() {
        let bytes = disk.read(&name).unwrap();
        for length in 0..bytes.len() {
            let cut = disk.copy();
            cut.put(&name, bytes[..length].to_vec());
            let read = read_all(&cut, known);
            if name.starts_with("journal") {
                let (read, _) = read.unwrap();
                assert!(committed.iter().all(|(key, entry)| read.get(key) == Some(entry)));
                assert!(read.len() < committed.len() + 2);
            } else {
                assert!(matches!(read, Err(Error::Damaged { .. })), "{name} cut at {length}");
                assert!(View::read(&cut, SYNC).is_err());
            }
        }
    }
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let (disk, known, committed) = specimen();
    for name in disk.list().unwrap() {
        let bytes = disk.read(&name).unwrap();
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let flipped = disk.copy();
                let mut other = bytes.clone();
                other[at] ^= mask;
                flipped.put(&name, other);
                match read_all(&flipped, known) {
                    Err(Error::Damaged { .. }) => {}
                    Err(error) => panic!("{name} byte {at}: {error}"),
                    Ok((read, intents)) => {
                        assert!(name.starts_with("journal"), "{name} byte {at}");
                        assert_eq!(intents, Some(1));
                        assert_eq!(read.len(), committed.len() + 1);
                    }
                }
            }
        }
    }
}

#[test]
fn a_view_stays_readable_while_others_commit_and_compact() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..3, 1);
    snapshot.commit(|_| {}).unwrap();
    let view = Snapshot::read(&disk, SYNC).unwrap().unwrap();
    let before = contents(&view).unwrap();
    for batch in 2..30 {
        deliver(&mut snapshot, batch, 0..3, u128::from(batch));
        snapshot.commit(|_| {}).unwrap();
    }
    assert_eq!(contents(&view).unwrap(), before);
    assert!(!disk.exists("segment-1").unwrap());
}

#[test]
fn an_archived_snapshot_is_set_aside_whole() {
    let (disk, ..) = specimen();
    let before = disk.copy();
    archive(&disk, SYNC, Instant(77)).unwrap();
    assert!(disk.list().unwrap().is_empty());
    for name in before.list().unwrap() {
        assert_eq!(disk.read(&format!("archive-77/{name}")).unwrap(), before.read(&name).unwrap());
    }
    archive(&disk, SYNC, Instant(78)).unwrap();
    assert_eq!(begun(&disk).header().generation, 1);
}

#[test]
fn it_works_on_a_local_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(LocalDisk::new(folder.path().join(SYNC)).unwrap());
    let mut snapshot = Snapshot::open(disk.clone(), SYNC, None).unwrap();
    snapshot.commit(|header| header.epoch = EPOCH).unwrap();
    for batch in 1..20 {
        deliver(&mut snapshot, batch, 0..5000, u128::from(batch));
        snapshot.commit(|_| {}).unwrap();
    }
    let read = contents(snapshot.view()).unwrap();
    intent(&mut snapshot, 30, Operation::Upsert, 9000..9001, 1);
    snapshot.journal().write().unwrap();
    snapshot.journal().syncer().sync().unwrap();
    let beside = Snapshot::read(disk.as_ref(), SYNC).unwrap().unwrap();
    assert_eq!(contents(&beside).unwrap(), read);
    let reopened = Snapshot::open(disk.clone(), SYNC, Some(known(&snapshot))).unwrap();
    assert_eq!(contents(reopened.view()).unwrap().len(), 5001);
    archive(disk.as_ref(), SYNC, Instant(1)).unwrap();
    assert!(disk.list().unwrap().is_empty());
}

/// One step of a run, of few keys.
#[derive(Debug, Clone)]
enum Step {
    Send { operation: Operation, keys: Vec<u8>, verdicts: Vec<Option<Verdict>> },
    Repeated(u8),
    Forget(u8),
    Clear(u8),
    Hold(u8, u64),
    Waive(u8),
    Commit,
    Reopen,
}

fn any_verdict() -> impl Strategy<Value = Option<Verdict>> {
    prop_oneof![
        Just(None),
        Just(Some(Verdict::Delivered)),
        Just(Some(Verdict::NotApplied)),
        Just(Some(Verdict::Unknown)),
        any::<bool>().prop_map(|after_unknown| Some(Verdict::Rejected {
            code: "c".into(),
            message: "m".into(),
            after_unknown
        })),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![3 => Just(Operation::Upsert), 1 => Just(Operation::Delete)];
    let verdicts = prop::collection::vec(any_verdict(), 6);
    let keys = prop::collection::hash_set(0..12u8, 1..6);
    let send = (operation, keys, verdicts).prop_map(|(operation, keys, verdicts)| Step::Send {
        operation,
        keys: keys.into_iter().collect(),
        verdicts,
    });
    let one = 0..12u8;
    prop_oneof![
        6 => send,
        1 => one.clone().prop_map(Step::Repeated),
        1 => one.clone().prop_map(Step::Forget),
        1 => one.clone().prop_map(Step::Clear),
        1 => (one.clone(), 1..5u64).prop_map(|(key, run)| Step::Hold(key, run)),
        1 => one.prop_map(Step::Waive),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

/// The same, in the plainest way: a map, changed at once.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u8, Entry>,
    last_intents: BTreeMap<u8, Doubt>,
}

impl Model {
    fn take(&mut self, step: &Step, batch: u64) {
        match step {
            Step::Send { operation, keys, verdicts } => {
                for (index, key) in (0u32..).zip(keys) {
                    let fingerprint = u128::from(batch);
                    let (number, batch) = (IntentNumber(batch), BatchNumber(batch));
                    let operation = *operation;
                    let is_repeated = false;
                    let intent =
                        Doubt { operation, fingerprint, number, batch, index, is_repeated };
                    self.last_intents.insert(*key, intent);
                    let verdict = verdicts[index as usize].clone().unwrap_or(Verdict::Unknown);
                    self.entry(*key, |entry| entry.settle(intent, &verdict, EPOCH, Instant(5)));
                }
            }
            Step::Repeated(key) => {
                let last = self.last_intents.get(key).copied();
                self.entry(*key, |entry| {
                    let unnumbered = Doubt {
                        operation: Operation::Upsert,
                        fingerprint: entry.confirmed.map_or(0, |confirmed| confirmed.fingerprint),
                        number: IntentNumber(0),
                        batch: BatchNumber(0),
                        index: 0,
                        is_repeated: true,
                    };
                    let doubt = last.or(entry.doubt).unwrap_or(unnumbered);
                    entry.doubt = Some(Doubt { is_repeated: true, ..doubt });
                });
            }
            Step::Forget(key) => self.entry(*key, |entry| *entry = Entry::default()),
            Step::Clear(key) => self.entry(*key, |entry| {
                entry.rejection = None;
                entry.held = None;
            }),
            Step::Hold(key, run) => self.entry(*key, |entry| {
                let first = entry.held.map_or(RunId(*run), |held| held.first);
                entry.held = Some(Held { first, last: RunId(*run) });
            }),
            Step::Waive(key) => self.entry(*key, |entry| {
                entry.waiver = Some(Waiver { fingerprint: 1, epoch: EPOCH });
            }),
            Step::Commit | Step::Reopen => {
                self.last_intents.clear();
                self.entries.retain(|_, entry| !entry.is_empty());
            }
        }
    }

    fn entry(&mut self, key: u8, change: impl FnOnce(&mut Entry)) {
        change(self.entries.entry(key).or_default());
    }

    fn contents(&self) -> Contents {
        self.entries
            .iter()
            .map(|(number, entry)| (key(u32::from(*number)), entry.clone()))
            .collect()
    }
}

fn write(snapshot: &mut Snapshot, step: &Step, batch: u64) {
    let name = |number: &u8| key(u32::from(*number));
    match step {
        Step::Send { operation, keys, verdicts } => {
            let keys: Vec<_> = keys.iter().map(name).collect();
            let (fingerprint, number) = (u128::from(batch), IntentNumber(batch));
            let records =
                keys.iter().map(|key| IntentRecord { key, fingerprint, number }).collect();
            let operation = *operation;
            let batch = BatchNumber(batch);
            snapshot.journal().append(&Record::Intent { batch, operation, records });
            let named = (0u32..).zip(verdicts).take(keys.len());
            let verdicts = named
                .filter_map(|(index, verdict)| Some((index..index + 1, verdict.clone()?)))
                .collect();
            snapshot.journal().append(&Record::Receipt { batch, at: Instant(5), verdicts });
        }
        Step::Repeated(key) => snapshot.journal().append(&Record::Repeated { key: &name(key) }),
        Step::Forget(key) => snapshot.journal().append(&Record::Forget { key: &name(key) }),
        Step::Clear(key) => snapshot.journal().append(&Record::Clear { key: &name(key) }),
        Step::Hold(key, run) => {
            snapshot.journal().append(&Record::Hold { key: &name(key), run: RunId(*run) });
        }
        Step::Waive(key) => {
            let waiver = Waiver { fingerprint: 1, epoch: EPOCH };
            snapshot.journal().append(&Record::Waive { key: &name(key), waiver });
        }
        Step::Commit | Step::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn commits_and_recoveries_agree_with_a_map(
        steps in prop::collection::vec(any_step(), 0..80)
    ) {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        let mut model = Model::default();
        for (step, batch) in steps.iter().chain([&Step::Commit]).zip(1..) {
            write(&mut snapshot, step, batch);
            model.take(step, batch);
            match step {
                Step::Commit => {
                    snapshot.commit(|_| {}).unwrap();
                }
                Step::Reopen => {
                    snapshot.journal().write().unwrap();
                    snapshot = open(&disk, Some(known(&snapshot))).unwrap();
                }
                _ => continue,
            }
            prop_assert_eq!(contents(snapshot.view()).unwrap(), model.contents());
        }
    }
}
