//! Records become batches: as many as the destination takes in one request, by number and by bytes of the body.
//!
//! Not responsible for order among batches, nor for what became of one. Guards: a batch is of one operation; a record
//! beyond the limit of bytes goes alone.

use std::ops::Range;

use crate::destination::definition::BatchLimits;
use crate::domain::entry::{Fingerprint, Operation};
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::domain::key::KeyHash;
use crate::points;
use crate::snapshot::record::IntentRecord;

/// One operation to be sent, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    pub key: &'a [u8],
    pub key_hash: KeyHash,
    /// Zero for a delete.
    pub fingerprint: Fingerprint,
    /// `None` takes the batch's number; a repetition of the same content without a receipt keeps the one it had.
    pub number: Option<IntentNumber>,
    /// What the encoder rendered: the path, where it names the record, then JSON.
    pub fragment: &'a [u8],
    /// Bytes of the fragment that are the path.
    pub target_len: u32,
    /// The retry of a standing rejection: its rejections never halt a run.
    pub is_retry: bool,
}

/// What one request holds at first.
#[derive(Debug)]
pub struct Batch {
    pub number: BatchNumber,
    pub operation: Operation,
    pub records: Vec<Record>,
    keys: Vec<u8>,
    fragments: Vec<u8>,
    /// The hashes of its keys, sorted, once it grows no more and was asked for one: beyond memory many rows ask.
    hashes: Option<Vec<KeyHash>>,
}

/// One record of a batch; its bytes are in the batch's arenas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    key: Range<usize>,
    fragment: Range<usize>,
    pub key_hash: KeyHash,
    pub fingerprint: Fingerprint,
    number: Option<IntentNumber>,
    target_len: usize,
    pub is_retry: bool,
}

impl Batch {
    fn new(operation: Operation) -> Batch {
        let (records, keys, fragments) = (Vec::new(), Vec::new(), Vec::new());
        Batch { number: BatchNumber(0), operation, records, keys, fragments, hashes: None }
    }

    fn push(&mut self, item: &Item<'_>) {
        let (key, fragment) = (self.keys.len(), self.fragments.len());
        self.keys.extend_from_slice(item.key);
        self.fragments.extend_from_slice(item.fragment);
        let target_len = usize::try_from(item.target_len).unwrap_or(usize::MAX);
        self.records.push(Record {
            key: key..self.keys.len(),
            fragment: fragment..self.fragments.len(),
            key_hash: item.key_hash,
            fingerprint: item.fingerprint,
            number: item.number,
            target_len: target_len.min(item.fragment.len()),
            is_retry: item.is_retry,
        });
    }

    /// How many records; places are below it.
    pub fn len(&self) -> u32 {
        u32::try_from(self.records.len()).expect("limits are u32")
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes it takes in memory.
    pub fn size(&self) -> usize {
        self.keys.len() + self.fragments.len() + self.records.len() * size_of::<Record>()
    }

    /// The records at these places.
    pub fn at(&self, places: &[Range<u32>]) -> impl Iterator<Item = &Record> + Clone {
        places.iter().flat_map(Range::clone).map(|place| {
            let place = usize::try_from(place).expect("places are indices");
            &self.records[place]
        })
    }

    pub fn key(&self, record: &Record) -> &[u8] {
        &self.keys[record.key.clone()]
    }

    pub fn number(&self, record: &Record) -> IntentNumber {
        let number = record.number.filter(|_| !points::is_planted("new_key_on_retry"));
        number.unwrap_or(IntentNumber(self.number.0))
    }

    /// The record's own path; empty where the path is the same for all.
    pub fn path(&self, record: &Record) -> &[u8] {
        &self.fragments[record.fragment.clone()][..record.target_len]
    }

    pub fn json(&self, record: &Record) -> &[u8] {
        &self.fragments[record.fragment.clone()][record.target_len..]
    }

    /// For the journal, in the order of places.
    pub fn intent(&self) -> impl Iterator<Item = IntentRecord<'_>> {
        self.records.iter().map(|record| IntentRecord {
            key: self.key(record),
            fingerprint: record.fingerprint,
            number: self.number(record),
        })
    }

    /// Whether the key was in it. It grows no more.
    pub fn withdraw(&mut self, key_hash: KeyHash, key: &[u8]) -> bool {
        let sorted = || {
            let mut hashes: Vec<KeyHash> = self.records.iter().map(|it| it.key_hash).collect();
            hashes.sort_unstable();
            hashes
        };
        if self.hashes.get_or_insert_with(sorted).binary_search(&key_hash).is_err() {
            return false;
        }
        let place = self.place(key_hash, key);
        if let Some(place) = place {
            self.records.remove(place);
        }
        place.is_some()
    }

    /// A run has at most one operation for each key, so that the first is the only one.
    fn place(&self, key_hash: KeyHash, key: &[u8]) -> Option<usize> {
        let is_it = |record: &Record| record.key_hash == key_hash && self.key(record) == key;
        self.records.iter().position(is_it)
    }
}

/// Forms batches of one operation.
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    overhead: u64,
    open: Batch,
    /// Bytes of the open batch's body, without the overhead.
    bytes: u64,
}

impl Batcher {
    /// `overhead` is the bytes of a body beside its fragments and commas.
    pub fn new(operation: Operation, limits: BatchLimits, overhead: usize) -> Batcher {
        let overhead = overhead as u64;
        Batcher { limits, overhead, open: Batch::new(operation), bytes: 0 }
    }

    /// Takes a record in; a batch that has no room for it is closed and returned. Numbers are given when a batch is closed.
    #[must_use]
    pub fn push(&mut self, item: &Item<'_>) -> Option<Batch> {
        let json = (item.fragment.len() as u64).saturating_sub(u64::from(item.target_len));
        let comma = u64::from(!self.open.is_empty());
        let is_full = self.open.len() >= self.limits.records.max(1)
            || self.open.len() == 1 && points::is_planted("batch_cut_short")
            || self.overhead + self.bytes + comma + json > self.limits.bytes;
        let closed = if is_full { self.close() } else { None };
        self.bytes += json + u64::from(!self.open.is_empty());
        self.open.push(item);
        closed
    }

    /// The open batch, if anything is in it. The next one gets as much room at once, as it will most likely be alike.
    #[must_use]
    pub fn close(&mut self) -> Option<Batch> {
        self.bytes = 0;
        let mut next = Batch::new(self.open.operation);
        next.records.reserve(self.open.records.len());
        next.keys.reserve(self.open.keys.len());
        next.fragments.reserve(self.open.fragments.len());
        let batch = std::mem::replace(&mut self.open, next);
        (!batch.is_empty()).then_some(batch)
    }

    /// Exactly these records, whatever the limits; the open batch stays open.
    pub fn group(&self, items: &[Item<'_>]) -> Batch {
        let mut batch = Batch::new(self.open.operation);
        for item in items {
            batch.push(item);
        }
        batch
    }

    /// Whether the key was in the open batch.
    pub fn withdraw(&mut self, key_hash: KeyHash, key: &[u8]) -> bool {
        let Some(place) = self.open.place(key_hash, key) else {
            return false;
        };
        let json = self.open.json(&self.open.records[place]).len() as u64;
        let comma = u64::from(self.open.len() > 1);
        self.bytes = self.bytes.saturating_sub(json + comma);
        self.open.records.remove(place);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key;

    fn item<'a>(key: &'a [u8], fragment: &'a [u8]) -> Item<'a> {
        Item {
            key,
            key_hash: key::hash(key),
            fingerprint: 1,
            number: None,
            fragment,
            target_len: 2,
            is_retry: false,
        }
    }

    fn batcher(records: u32, bytes: u64) -> Batcher {
        Batcher::new(Operation::Upsert, BatchLimits { records, bytes }, 10)
    }

    #[test]
    fn a_batch_is_closed_by_the_record_for_which_it_has_no_room() {
        let mut by_number = batcher(2, 1000);
        let sizes: Vec<_> =
            (0..5).map(|_| by_number.push(&item(b"k", b"/abc")).map(|batch| batch.len())).collect();
        assert_eq!(sizes, [None, None, Some(2), None, Some(2)]);
        // 10 + 2 + (1 + 2) are 15 bytes: the path is not in the body.
        let mut by_bytes = batcher(9, 15);
        let sizes: Vec<_> =
            (0..3).map(|_| by_bytes.push(&item(b"k", b"/abc")).map(|batch| batch.len())).collect();
        assert_eq!(sizes, [None, None, Some(2)]);
        assert_eq!(by_bytes.close().unwrap().len(), 1);
        assert!(by_bytes.close().is_none());
    }

    #[test]
    fn a_record_beyond_the_limit_goes_alone() {
        let mut batcher = batcher(9, 12);
        assert!(batcher.push(&item(b"k", b"/a{much too long}")).is_none());
        assert_eq!(batcher.push(&item(b"l", b"/a{much too long}")).unwrap().len(), 1);
    }

    #[test]
    fn a_withdrawn_record_makes_room() {
        let mut batcher = batcher(9, 15);
        for key in [b"k", b"l"] {
            assert!(batcher.push(&item(key, b"/abc")).is_none());
        }
        assert!(batcher.withdraw(key::hash(b"k"), b"k"));
        assert!(!batcher.withdraw(key::hash(b"k"), b"k"));
        assert!(batcher.push(&item(b"m", b"/axy")).is_none());
        let batch = batcher.close().unwrap();
        let json: Vec<_> = batch.records.iter().map(|record| batch.json(record)).collect();
        assert_eq!(json, [b"bc", b"xy"]);
        assert_eq!(batch.key(&batch.records[1]), b"m");
        assert_eq!(batch.path(&batch.records[1]), b"/a");
    }
}
