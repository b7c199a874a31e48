//! The files of a snapshot put together by hand, with checksums that are right, so that what lies behind them is reached. The
//! format is that of `src/snapshot/frame.rs`, version 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterflow::domain::entry::{Entry, Operation, Verdict};
use counterflow::domain::id::{BatchNumber, Epoch, Instant, IntentNumber};
use counterflow::domain::value::Value;
use counterflow::snapshot::disk::Disk;
use counterflow::snapshot::memory_disk::MemoryDisk;
use counterflow::snapshot::record::{IntentRecord, Record};
use counterflow::snapshot::{Error, Snapshot};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub const HEADER: usize = 36;
pub const FRAME_HEADER: usize = 16;

pub fn file_header(magic: &[u8; 8], lineage: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(lineage);
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Appends a frame; its checksum.
pub fn put_frame(file: &mut Vec<u8>, payload: &[u8]) -> u64 {
    let checksum = xxh3_64_with_seed(payload, file.len() as u64);
    file.extend_from_slice(&[0xa7, 0xc5, 0x0f, 0x1e]);
    let length = u32::try_from(payload.len()).expect("inputs are small");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&checksum.to_le_bytes());
    file.extend_from_slice(payload);
    checksum
}

/// The payloads of a file's frames, of which each is whole.
pub fn payloads(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = &file[HEADER..];
    let mut payloads = Vec::new();
    while let Some(length) = rest.get(4..8).filter(|_| rest.starts_with(&[0xa7, 0xc5, 0x0f, 0x1e]))
    {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        payloads.push(&rest[FRAME_HEADER..FRAME_HEADER + length]);
        rest = &rest[FRAME_HEADER + length..];
    }
    payloads
}

pub fn open(disk: &MemoryDisk) -> Result<Snapshot, Error> {
    Snapshot::open(Arc::new(disk.clone()), "s", None)
}

/// A snapshot of two entries after its second commit, and a journal of the third generation. The lineage is random: it is
/// taken from the files.
pub fn small() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut snapshot = open(&disk).expect("a new snapshot");
    snapshot.commit(|header| header.epoch = Epoch(1)).expect("the disk is well");
    let keys: Vec<Vec<u8>> = (1..=2).map(key).collect();
    let intent = |fingerprint| {
        keys.iter().map(move |key| IntentRecord { key, fingerprint, number: IntentNumber(1) })
    };
    snapshot.journal().append_intent(BatchNumber(1), Operation::Upsert, intent(7));
    let verdicts = vec![(0..2, Verdict::Delivered)];
    let receipt = Record::Receipt { batch: BatchNumber(1), at: Instant(0), verdicts };
    snapshot.journal().append(&receipt);
    snapshot.commit(|_| {}).expect("the disk is well");
    snapshot.journal().append_intent(BatchNumber(2), Operation::Upsert, intent(8));
    snapshot.journal().write().expect("the disk is well");
    disk
}

pub fn key(number: i64) -> Vec<u8> {
    let mut key = Vec::new();
    Value::Integer(number).encode(&mut key);
    key
}

pub fn read(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    disk.read(name).unwrap_or_else(|error| panic!("`{name}`: {error}"))
}

/// Opens what lies on the disk and reads all of it in three ways, which must agree. Whether all of it could be read.
pub fn read_all(disk: &MemoryDisk) -> bool {
    let Ok(snapshot) = open(disk) else { return false };
    let mut visited = BTreeMap::<Vec<u8>, Entry>::new();
    let mut is_once = true;
    let visit = |key: &[u8], entry| is_once &= visited.insert(key.to_vec(), entry).is_none();
    if snapshot.view().visit(visit).is_err() {
        return false;
    }
    let Ok(listed) =
        snapshot.view().entries().and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
    else {
        return false;
    };
    if is_once {
        assert_eq!(listed.into_iter().collect::<BTreeMap<_, _>>(), visited, "two ways to read");
    }
    // What was read once is read again, and opening left nothing to recover.
    drop(snapshot);
    let again = open(disk).expect("what opened once opens again");
    assert_eq!(again.recovered(), None, "a journal is folded once");
    let mut second = BTreeMap::new();
    let visit = |key: &[u8], entry| drop(second.insert(key.to_vec(), entry));
    again.view().visit(visit).expect("what was read once can be read again");
    assert_eq!(second, visited, "the same after it was opened again");
    true
}
