//! One shard of the table: the keys of one range of the hash, in its order, in a few long arrays.
//!
//! Nothing is allocated for each key, and a key lies beside its fingerprint, so that both come with one wait for memory.
//! Keys of one length, which numbers have, need no word of where they are. Not here: where the
//! keys of a hash lie (`buckets`), what was seen of a key (`sightings`), and which shard it belongs to (`table`).

use std::ops::Range;

use prefetch_index::prefetch_index;

use super::buckets::Buckets;
use super::ends::Ends;
use super::records::Records;
use super::sightings::Sightings;
use super::table::Known;
use crate::domain::codec::{Bytes, put_varint};
use crate::domain::entry::{Confirmed, Entry, Fingerprint, Stretch};
use crate::domain::extras;
use crate::domain::id::Epoch;
use crate::domain::key::{self, KeyHash};

/// Records whose average length foretells that of all.
const SAMPLE: usize = 4096;
/// Keys that are compared without asking after each whether it was the one, which no processor can foretell: most buckets
/// have no more.
const AT_ONCE: usize = 4;

/// Bytes of a fingerprint, with which each record begins; the key follows.
const FINGERPRINT: usize = 16;

/// Bytes of a key that is one number, and of a record with such a key.
const NUMBER: usize = 9;
const OF_NUMBER: usize = FINGERPRINT + NUMBER;

/// What is said of a place: 0 is current, smaller numbers than these are by how many epochs it is older than the run's.
const OLDEST: u8 = 254;
const OTHER: u8 = 255;

/// The entries of one range of the hash.
#[derive(Debug)]
pub struct Shard {
    /// A fingerprint and its key, again and again.
    records: Records,
    ends: Ends,
    epoch: Epoch,
    /// What is said of each place, up to the last that is not current: in a forced full run of all, in most others of few.
    said: Vec<u8>,
    /// The epochs of those as old as `OLDEST`, in the order of places.
    oldest: Vec<(u32, Epoch)>,
    /// The places of entries that hold more than what is confirmed, in their order; as many as the destination refused or did
    /// not answer, or all where an empty read holds them.
    others: Vec<u32>,
    /// What these hold, as in a segment: the epoch after that of what is confirmed, or 0, and the extras behind their length.
    extras: Vec<u8>,
    extras_ends: Ends,
    /// The bits of the hash that name the shard; a bucket is named by those that follow.
    bits: u32,
    buckets: Buckets,
    sightings: Sightings,
}

/// Takes entries in the order of their hash.
#[derive(Debug)]
pub struct Builder {
    shard: Shard,
    expected: usize,
    /// The upper half of the last key's hash.
    last: u64,
    is_in_order: bool,
    scratch: Vec<u8>,
}

impl Builder {
    pub(super) fn new(bits: u32, epoch: Epoch, entries: usize) -> Builder {
        let shard = Shard {
            records: Records::default(),
            ends: Ends::default(),
            epoch,
            said: Vec::new(),
            oldest: Vec::new(),
            others: Vec::new(),
            extras: Vec::new(),
            extras_ends: Ends::default(),
            bits,
            buckets: Buckets::new(entries),
            sightings: Sightings::default(),
        };
        Builder { shard, expected: entries, last: 0, is_in_order: true, scratch: Vec::new() }
    }

    /// An entry of whatever kind.
    pub fn push(&mut self, hash: KeyHash, key: &[u8], entry: Entry) {
        match entry.confirmed {
            Some(confirmed) if !entry.has_more_than_confirmed() => {
                self.push_confirmed(hash, key, confirmed)
            }
            confirmed => {
                let fingerprint = confirmed.map_or(0, |confirmed| confirmed.fingerprint);
                let place = self.append(hash, key, fingerprint);
                self.shard.mark(place, OTHER);
                self.shard.push_other(place, &entry, &mut self.scratch);
            }
        }
    }

    /// An entry that is confirmed and nothing else.
    #[inline]
    pub fn push_confirmed(&mut self, hash: KeyHash, key: &[u8], confirmed: Confirmed) {
        let place = self.append(hash, key, confirmed.fingerprint);
        if confirmed.epoch != self.shard.epoch {
            self.shard.mark_epoch(place, confirmed.epoch);
        }
    }

    /// Many entries that are confirmed and nothing else.
    pub fn push_stretch(&mut self, stretch: Stretch<'_>) {
        let numbers = stretch.keys_of::<NUMBER>();
        // The first entries foretell how much room all of them take.
        let is_foretold = self.shard.len() > SAMPLE && stretch.epoch == self.shard.epoch;
        if let Some(keys) = numbers.filter(|_| is_foretold) {
            return self.push_numbers(keys, stretch.fingerprints);
        }
        for (key, confirmed) in stretch.keys().zip(stretch.confirmed()) {
            self.push_confirmed(key::hash(key), key, confirmed);
        }
    }

    /// Entries of the run's epoch with keys of one number each.
    fn push_numbers(&mut self, keys: &[[u8; NUMBER]], fingerprints: &[[u8; FINGERPRINT]]) {
        let shard = &mut self.shard;
        let first = shard.len();
        let (records, _) =
            shard.records.extend(keys.len() * OF_NUMBER).as_chunks_mut::<OF_NUMBER>();
        for (record, (fingerprint, key)) in records.iter_mut().zip(fingerprints.iter().zip(keys)) {
            record[..FINGERPRINT].copy_from_slice(fingerprint);
            record[FINGERPRINT..].copy_from_slice(key);
        }
        shard.ends.push_even(keys.len(), OF_NUMBER);
        for (place, key) in (first..).zip(keys) {
            self.place(key::hash(key), place);
        }
    }

    #[inline]
    fn append(&mut self, hash: KeyHash, key: &[u8], fingerprint: Fingerprint) -> usize {
        let shard = &mut self.shard;
        let place = shard.ends.len();
        let start = shard.records.len();
        if place == SAMPLE {
            // Growing by doubling would copy all of it several times and hold it twice.
            let rest = self.expected.saturating_sub(place);
            let wanted = start / SAMPLE * rest + start % SAMPLE * rest / SAMPLE;
            shard.records.reserve(wanted);
        }
        shard.records.extend_from_slice(&fingerprint.to_le_bytes());
        shard.records.extend_from_slice(key);
        shard.ends.push(shard.records.len());
        self.place(hash, place);
        place
    }

    #[inline]
    fn place(&mut self, hash: KeyHash, place: usize) {
        self.is_in_order &= high(hash) >= self.last;
        if self.is_in_order {
            self.last = high(hash);
            self.shard.buckets.push(rest(self.shard.bits, hash), narrow(place));
        }
    }

    /// `None` where the keys did not come in the order of their hashes: then a search would not find them.
    pub fn finish(self) -> Option<Shard> {
        let Builder { mut shard, is_in_order, .. } = self;
        shard.buckets.finish(narrow(shard.len()));
        shard.sightings = Sightings::new(shard.len());
        is_in_order.then_some(shard)
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    #[inline]
    fn rest(&self, hash: KeyHash) -> u32 {
        rest(self.bits, hash)
    }

    #[inline]
    pub(super) fn candidates(&self, hash: KeyHash) -> Range<u32> {
        self.buckets.candidates(self.rest(hash))
    }

    #[inline]
    pub(super) fn find_in(&self, mut places: Range<usize>, key: &[u8]) -> Option<usize> {
        if self.ends.even() == Some(OF_NUMBER)
            && let Ok(key) = key.try_into()
            && let Some(found) = self.find_number(places.start, key)
        {
            return found.or_else(|| places.skip(AT_ONCE).find(|place| self.key(*place) == key));
        }
        places.find(|place| self.key(*place) == key)
    }

    /// Looks for the key of one number at `AT_ONCE` places; `None` where there are not that many.
    #[inline]
    fn find_number(&self, first: usize, key: &[u8; NUMBER]) -> Option<Option<usize>> {
        let (records, _) = self.records.as_chunks::<OF_NUMBER>();
        let records = records.get(first..)?.first_chunk::<AT_ONCE>()?;
        let mut found = None;
        for (at, record) in records.iter().enumerate() {
            let (_, other) = record.split_last_chunk::<NUMBER>().expect("a key is part of it");
            found = if other == key { Some(first + at) } else { found };
        }
        Some(found)
    }

    #[inline]
    pub(super) fn fetch_end(&self, place: usize) {
        self.ends.fetch(place);
    }

    #[inline]
    pub(super) fn fetch_bucket(&self, hash: KeyHash) {
        self.buckets.fetch(self.rest(hash));
    }

    #[inline]
    pub(super) fn fetch(&self, places: Range<usize>) {
        if places.is_empty() {
            return;
        }
        self.sightings.fetch(places.start);
        let start = self.ends.range(places.start).start;
        let end = self.ends.range(places.end - 1).end.max(start + AT_ONCE * OF_NUMBER);
        for at in [start, start.midpoint(end), end - 1] {
            prefetch_index(&*self.records, at);
        }
    }

    #[inline]
    pub(super) fn key(&self, place: usize) -> &[u8] {
        &self.records[self.ends.range(place)][FINGERPRINT..]
    }

    #[inline]
    fn fingerprint(&self, place: usize) -> Fingerprint {
        let record = &self.records[self.ends.range(place)];
        let bytes = record.first_chunk().expect("a record begins with a fingerprint");
        Fingerprint::from_le_bytes(*bytes)
    }

    fn push_other(&mut self, place: usize, entry: &Entry, scratch: &mut Vec<u8>) {
        self.others.push(narrow(place));
        let epoch = entry.confirmed.map_or(0, |confirmed| u64::from(confirmed.epoch.0) + 1);
        put_varint(&mut self.extras, epoch);
        extras::put(&mut self.extras, scratch, entry);
        self.extras_ends.push(self.extras.len());
    }

    /// The entry at a place of which `known` says no more than that there is another one.
    pub(super) fn other(&self, place: usize) -> Entry {
        let found = self.others.binary_search(&narrow(place)).expect("it was marked");
        let mut bytes = Bytes::new(&self.extras[self.extras_ends.range(found)]);
        let decode = |bytes: &mut Bytes<'_>| {
            let epoch = bytes.varint()?.checked_sub(1).map(u32::try_from).transpose().ok()?;
            let fingerprint = self.fingerprint(place);
            let confirmed = epoch.map(|epoch| Confirmed { fingerprint, epoch: Epoch(epoch) });
            let mut entry = Entry { confirmed, ..Entry::default() };
            extras::read(bytes.bytes()?, &mut entry).ok()?;
            Some(entry)
        };
        decode(&mut bytes).expect("it was encoded here")
    }

    fn mark(&mut self, place: usize, what: u8) {
        self.said.resize(place, 0);
        self.said.push(what);
    }

    fn mark_epoch(&mut self, place: usize, epoch: Epoch) {
        let age = self.epoch.0.checked_sub(epoch.0).and_then(|age| u8::try_from(age).ok());
        let age = age.filter(|age| *age < OLDEST).unwrap_or(OLDEST);
        if age == OLDEST {
            self.oldest.push((narrow(place), epoch));
        }
        self.mark(place, age);
    }

    #[inline]
    pub(super) fn known(&self, place: usize) -> Known {
        let fingerprint = self.fingerprint(place);
        match self.said.get(place).copied().unwrap_or(0) {
            0 => Known::Current(fingerprint),
            OTHER => Known::Other,
            OLDEST => {
                let found = self.oldest.binary_search_by_key(&narrow(place), |(at, _)| *at);
                let (_, epoch) = self.oldest[found.expect("it was marked")];
                Known::Outdated(Confirmed { fingerprint, epoch })
            }
            age => {
                let epoch = Epoch(self.epoch.0.saturating_sub(u32::from(age)));
                Known::Outdated(Confirmed { fingerprint, epoch })
            }
        }
    }

    pub(super) fn sightings(&self) -> &Sightings {
        &self.sightings
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("a shard has fewer than 2^32 keys")
}

/// What follows the bits of the hash that name the shard.
#[inline]
fn rest(bits: u32, hash: KeyHash) -> u32 {
    u32::try_from(high(hash) << bits >> 32).expect("half of 64 bits")
}

/// The half of the hash by which shards and buckets are named.
#[inline]
pub(super) fn high(hash: KeyHash) -> u64 {
    (hash >> 64) as u64
}

#[cfg(test)]
mod tests;
