//! The snapshot as a whole: commits, starts and what they refuse. Crashes, damage and the model have files of their own.

mod crash;
mod damage;
mod fold;
mod merge;
mod model;
mod rest;
mod room;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{Disk, LocalDisk};
use super::memory_disk::MemoryDisk;
use super::open::Known;
use super::record::{IntentRecord, Record};
use super::{Committed, Error, Snapshot, Stored, View, archive};
use crate::domain::entry::{Confirmed, Doubt, Entry, Held, Operation, Verdict, Waiver};
use crate::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};
use crate::domain::key::{self, KeyHash};

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

/// As a run ends that nobody stops.
fn commit_and_compact(snapshot: &mut Snapshot) -> Committed {
    let committed = snapshot.commit(|_| {}).unwrap();
    snapshot.compact(|| true).unwrap();
    committed
}

fn known(snapshot: &Snapshot) -> Known {
    let header = snapshot.header();
    Known { lineage: header.lineage, generation: header.generation, journal: None }
}

/// Of one length up to 9,999.
fn key(number: u32) -> Vec<u8> {
    format!("key {number:04}").into_bytes()
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
    // All of a few, some of many.
    for (key, entry) in contents.iter().step_by(1 + contents.len() / 500) {
        assert_eq!(view.lookup(key)?.as_ref(), Some(entry));
    }
    let mut keys: Vec<_> = contents.keys().map(|key| (key::hash(key), &key[..])).collect();
    keys.push((KeyHash::MAX, b"no such key"));
    keys.sort_unstable();
    for (entry, (_, key)) in view.entries_of(keys.iter().copied()).zip(&keys) {
        assert_eq!(entry?.as_ref(), contents.get(*key));
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
    assert_eq!(reopened.view().lookup(b"no such key").unwrap(), None);
}

#[test]
fn what_is_said_otherwise_than_the_epoch_says_it_is_confirmed_before_it_and_repeats_no_number() {
    for is_committed in [true, false] {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        snapshot.settle_as_foreign();
        deliver(&mut snapshot, 1, 0..1, 3);
        intent(&mut snapshot, 2, Operation::Upsert, 1..2, 3);
        if is_committed {
            snapshot.commit(|_| {}).unwrap();
        } else {
            snapshot.journal().begin().unwrap();
            drop(snapshot);
        }
        let mut snapshot = open(&disk, None).unwrap();
        let read = contents(snapshot.view()).unwrap();
        assert_eq!(read[&key(0)].confirmed, Some(Confirmed { fingerprint: 3, epoch: Epoch(0) }));
        assert!(!read[&key(1)].doubt.unwrap().has_number_for(Operation::Upsert, 3));
        // The next journal is of the epoch again.
        deliver(&mut snapshot, 3, 0..1, 3);
        snapshot.commit(|_| {}).unwrap();
        let read = contents(snapshot.view()).unwrap();
        assert_eq!(read[&key(0)].confirmed, Some(Confirmed { fingerprint: 3, epoch: EPOCH }));
    }
}

#[test]
fn ten_changed_rows_of_many_write_little() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..100_000, 1);
    assert!(commit_and_compact(&mut snapshot).written_bytes > 2_000_000);
    for batch in 2..40 {
        let before = disk.written();
        let first = u32::try_from(batch).unwrap() * 1000;
        deliver(&mut snapshot, batch, first..first + 10, u128::from(batch));
        let committed = commit_and_compact(&mut snapshot);
        assert_eq!(committed.entries, 100_000);
        assert!(committed.written_bytes < 20_000, "{committed:?}");
        assert!(disk.written() - before < 30_000);
    }
    assert!(disk.list().unwrap().len() < 12);
    assert_eq!(contents(snapshot.view()).unwrap()[&key(39_005)].confirmed.unwrap().fingerprint, 39);
}

#[test]
fn what_is_deleted_stays_so_when_small_segments_are_merged_over_a_large_one() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..20_000, 1);
    commit_and_compact(&mut snapshot);
    for run in 1..30u32 {
        intent(&mut snapshot, u64::from(run), Operation::Delete, run * 10..run * 10 + 10, 0);
        receipt(&mut snapshot, u64::from(run), 0..10, Verdict::Delivered);
        commit_and_compact(&mut snapshot);
        let read = contents(snapshot.view()).unwrap();
        assert_eq!(read.len(), 20_000 - run as usize * 10);
        assert!(!read.contains_key(&key(10)));
    }
    assert_eq!(snapshot.view().segments[0].summary.number, 1);
    assert!(snapshot.view().segments.len() < 9);
}

#[test]
fn everything_forgotten_leaves_no_segment_behind() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..4000, 1);
    commit_and_compact(&mut snapshot);
    for number in 0..4000 {
        let key = key(number);
        snapshot.journal().append(&Record::Forget { key: &key });
    }
    assert_eq!(commit_and_compact(&mut snapshot).entries, 0);
    assert!(contents(snapshot.view()).unwrap().is_empty());
    // Nothing changes what is not there.
    snapshot.journal().append(&Record::Clear { key: b"none" });
    let segments = snapshot.view().segments.len();
    commit_and_compact(&mut snapshot);
    assert_eq!(snapshot.view().segments.len(), segments);
}

/// A snapshot of more segments than there should be, each of so many records.
fn scattered(disk: &MemoryDisk, records: u32) -> Snapshot {
    let mut snapshot = begun(disk);
    for batch in 1..10u32 {
        deliver(&mut snapshot, u64::from(batch), batch * records..(batch + 1) * records, 1);
        snapshot.commit(|_| {}).unwrap();
    }
    snapshot
}

#[test]
fn a_compaction_that_fails_anywhere_leaves_the_commit_and_no_half_of_it() {
    let disk = MemoryDisk::new();
    let mut snapshot = scattered(&disk, 5);
    let before = disk.operations();
    assert!(snapshot.compact(|| true).unwrap());
    let (after, whole) = (disk.operations(), disk.size("segment-10").unwrap());
    for n in 0..after - before {
        let disk = MemoryDisk::new();
        let mut snapshot = scattered(&disk, 5);
        let (known, read) = (known(&snapshot), contents(snapshot.view()).unwrap());
        // As a full disk does: what is written fails, and no removal.
        disk.fail_at(n, false);
        let failed = snapshot.compact(|| true);
        if failed.is_ok() {
            assert_eq!(contents(snapshot.view()).unwrap(), read, "{n}");
            continue;
        }
        assert!(matches!(snapshot.commit(|_| {}), Err(Error::Halted { .. })), "{n}");
        assert!(
            disk.size("segment-10").is_ok_and(|bytes| bytes == whole)
                || !disk.exists("segment-10").unwrap(),
            "{n}"
        );
        let is_published = View::read(&disk, SYNC).unwrap().unwrap().segments.len() < 9;
        let mut again = open(&disk, Some(known)).unwrap();
        assert_eq!(contents(again.view()).unwrap(), read, "{n}");
        assert_eq!(again.compact(|| true).unwrap(), !is_published, "{n}");
        assert_eq!(contents(open(&disk, None).unwrap().view()).unwrap(), read, "{n}");
    }
}

#[test]
fn a_compaction_that_is_not_wanted_any_more_leaves_everything_as_it_was() {
    let disk = MemoryDisk::new();
    let mut snapshot = scattered(&disk, 600);
    let (known, mut names) = (known(&snapshot), disk.list().unwrap());
    let asked = std::cell::Cell::new(0);
    let is_wanted = || asked.replace(asked.get() + 1) == 0;
    assert!(!snapshot.compact(is_wanted).unwrap());
    assert_eq!(asked.get(), 2, "it ends in the midst of the entries");
    let mut left = disk.list().unwrap();
    names.sort();
    left.sort();
    assert_eq!((left, snapshot.header().generation), (names, known.generation));
    deliver(&mut snapshot, 20, 0..5, 2);
    snapshot.commit(|_| {}).unwrap();
    assert!(snapshot.compact(|| true).unwrap(), "the next one does it");
    assert_eq!(snapshot.view().segments.len(), 1);
}

#[test]
fn a_compaction_is_refused_where_it_would_lose_what_the_journal_holds() {
    let disk = MemoryDisk::new();
    let mut snapshot = scattered(&disk, 5);
    snapshot.journal().append(&Record::Clear { key: b"k" });
    assert!(matches!(snapshot.compact(|| true), Err(Error::Halted { .. })));
    deliver(&mut snapshot, 20, 0..5, 2);
    snapshot.commit(|_| {}).unwrap();
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
    disk.crash_keeping(|_| false, 10);
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

#[test]
fn a_view_stays_readable_while_others_commit_and_compact() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..3, 1);
    commit_and_compact(&mut snapshot);
    let view = Snapshot::read(&disk, SYNC).unwrap().unwrap();
    let before = contents(&view).unwrap();
    for batch in 2..30 {
        deliver(&mut snapshot, batch, 0..3, u128::from(batch));
        commit_and_compact(&mut snapshot);
    }
    assert_eq!(contents(&view).unwrap(), before);
    assert!(!disk.exists("segment-1").unwrap());
}

#[test]
fn an_archived_snapshot_is_set_aside_whole() {
    let (disk, ..) = damage::specimen();
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
        commit_and_compact(&mut snapshot);
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
