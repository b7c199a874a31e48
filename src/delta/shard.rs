//! One shard of the table: the keys of one range of the hash, in its order, in a few long arrays.
//!
//! Nothing is allocated for each key, and a key lies beside its fingerprint, so that both come with one wait for memory.
//! Keys of one length, which numbers have, need no word of where they are. Not here: what a sighting means, and which
//! shard a key belongs to (`table`).

use std::collections::HashMap;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

use super::ends::Ends;
use super::table::Known;
use crate::domain::entry::{Confirmed, Entry, Fingerprint};
use crate::domain::id::Epoch;
use crate::domain::key::KeyHash;
use crate::points;

/// Records whose average length foretells that of all.
const SAMPLE: usize = 4096;
/// Keys in a bucket, on average, in halves: so few that nearly all buckets are searched by one look at `AT_ONCE` keys.
const HALVES_OF_BUCKET: usize = 5;
/// Keys that are compared without asking after each whether it was the one, which no processor can foretell.
const AT_ONCE: usize = 5;
/// Bytes of a fingerprint, with which each record begins; the key follows.
const FINGERPRINT: usize = 16;

/// Bytes of a key that is one number, and of a record with such a key.
const NUMBER: usize = 9;
const OF_NUMBER: usize = FINGERPRINT + NUMBER;

/// What is said of a place: 0 is current, smaller numbers than these are by how many epochs it is older than the run's.
const OLDEST: u8 = 254;
const OTHER: u8 = 255;

/// The entries of one range of the hash.
#[derive(Debug, Default)]
pub struct Shard {
    /// A fingerprint and its key, again and again.
    records: Vec<u8>,
    ends: Ends,
    epoch: Epoch,
    /// What is said of each place, up to the last that is not current: in a forced full run of all, in most others of few.
    said: Vec<u8>,
    others: HashMap<usize, Entry>,
    /// The epochs of those as old as `OLDEST`.
    oldest: HashMap<usize, Epoch>,
    /// The bits of the hash that name the shard; a bucket is named by those that follow.
    bits: u32,
    /// The first place of each bucket, and one past the last.
    buckets: Vec<u32>,
    sightings: Vec<AtomicU8>,
}

/// Takes entries in the order of their hash.
#[derive(Debug)]
pub struct Builder {
    shard: Shard,
    expected: usize,
    /// What follows the bits of each hash that name the shard.
    hashes: Vec<u32>,
}

impl Builder {
    pub(super) fn new(bits: u32, epoch: Epoch, entries: usize) -> Builder {
        let shard = Shard { bits, epoch, ..Shard::default() };
        Builder { shard, expected: entries, hashes: Vec::with_capacity(entries) }
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
                self.shard.others.insert(place, entry);
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

    #[inline]
    fn append(&mut self, hash: KeyHash, key: &[u8], fingerprint: Fingerprint) -> usize {
        let shard = &mut self.shard;
        let place = shard.ends.len();
        let start = shard.records.len();
        if place == 0 {
            // Growing by doubling would copy all of it several times and hold it twice.
            shard.records.reserve_exact(self.expected * (FINGERPRINT + key.len()));
        } else if place == SAMPLE {
            let rest = self.expected.saturating_sub(place);
            let wanted = start / SAMPLE * rest + start % SAMPLE * rest / SAMPLE;
            shard.records.reserve_exact(wanted);
        }
        shard.records.extend_from_slice(&fingerprint.to_le_bytes());
        shard.records.extend_from_slice(key);
        shard.ends.push(shard.records.len());
        self.hashes.push(shard.rest(hash));
        place
    }

    pub fn finish(self) -> Shard {
        let Builder { mut shard, hashes, .. } = self;
        let places = u32::try_from(shard.len()).expect("a shard has fewer than 2^32 keys");
        let count = (2 * shard.len()).div_ceil(HALVES_OF_BUCKET).max(1);
        let mut buckets = Vec::with_capacity(count + 1);
        for (place, hash) in (0..places).zip(hashes) {
            let bucket = bucket(hash, count);
            buckets.resize(buckets.len().max(bucket + 1), place);
        }
        buckets.resize(count + 1, places);
        shard.buckets = buckets;
        shard.sightings = (0..places).map(|_| AtomicU8::new(0)).collect();
        shard
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// What follows the bits of the hash that name the shard.
    #[inline]
    fn rest(&self, hash: KeyHash) -> u32 {
        u32::try_from(high(hash) << self.bits >> 32).expect("half of 64 bits")
    }

    #[inline]
    pub(super) fn candidates(&self, hash: KeyHash) -> Range<u32> {
        let bucket = bucket(self.rest(hash), self.buckets.len() - 1);
        self.buckets[bucket]..self.buckets[bucket + 1]
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
        black_box(self.ends.word(place));
    }

    #[inline]
    pub(super) fn fetch(&self, places: Range<usize>) {
        if !places.is_empty() {
            let first = self.records[self.ends.range(places.start).start];
            let last = self.records[self.ends.range(places.end - 1).end - 1];
            black_box((first, last, self.sighting(places.start)));
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

    fn mark(&mut self, place: usize, what: u8) {
        self.said.resize(place, 0);
        self.said.push(what);
    }

    fn mark_epoch(&mut self, place: usize, epoch: Epoch) {
        let age = self.epoch.0.checked_sub(epoch.0).and_then(|age| u8::try_from(age).ok());
        let age = age.filter(|age| *age < OLDEST).unwrap_or(OLDEST);
        if age == OLDEST {
            self.oldest.insert(place, epoch);
        }
        self.mark(place, age);
    }

    #[inline]
    pub(super) fn known(&self, place: usize) -> Known<'_> {
        let fingerprint = self.fingerprint(place);
        match self.said.get(place).copied().unwrap_or(0) {
            0 => Known::Current(fingerprint),
            OTHER => Known::Other(&self.others[&place]),
            OLDEST => Known::Outdated(Confirmed { fingerprint, epoch: self.oldest[&place] }),
            age => {
                let epoch = Epoch(self.epoch.0.saturating_sub(u32::from(age)));
                Known::Outdated(Confirmed { fingerprint, epoch })
            }
        }
    }

    /// Notes the first sighting, which is not 0; returns the earlier one, or 0 if there was none.
    #[inline]
    pub(super) fn sight(&self, place: usize, sighting: u8) -> u8 {
        let sightings = &self.sightings[place];
        let exchanged =
            sightings.compare_exchange(0, sighting, Ordering::Relaxed, Ordering::Relaxed);
        if exchanged.is_err() && points::is_planted("invalid_row_deleted") {
            sightings.store(0, Ordering::Relaxed);
        }
        exchanged.err().unwrap_or(0)
    }

    /// The first sighting, or 0 if there was none.
    pub(super) fn sighting(&self, place: usize) -> u8 {
        self.sightings[place].load(Ordering::Relaxed)
    }

    pub(super) fn unmet(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(|place| self.sighting(*place) == 0)
    }
}

/// The bucket of a hash among so many, which rises with the hash.
#[inline]
fn bucket(hash: u32, count: usize) -> usize {
    let wide = u64::from(hash) * count as u64;
    usize::try_from(wide >> 32).expect("below the number of buckets")
}

/// The half of the hash by which shards and buckets are named.
#[inline]
pub(super) fn high(hash: KeyHash) -> u64 {
    (hash >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(epochs: impl Iterator<Item = u32>) -> Shard {
        let mut builder = Builder::new(0, Epoch(400), 0);
        for epoch in epochs {
            builder.push_confirmed(0, b"k", Confirmed { fingerprint: 7, epoch: Epoch(epoch) });
        }
        builder.finish()
    }

    #[test]
    fn an_epoch_costs_a_byte_a_key_at_most_and_is_kept_exactly() {
        let epochs = [400, 399, 400, 146, 145, 144, 0, 401, 400];
        let shard = shard_of(epochs.into_iter());
        for (place, epoch) in epochs.into_iter().enumerate() {
            match shard.known(place) {
                Known::Current(fingerprint) => assert_eq!((fingerprint, epoch), (7, 400)),
                Known::Outdated(confirmed) => {
                    assert_ne!(epoch, 400);
                    assert_eq!(confirmed, Confirmed { fingerprint: 7, epoch: Epoch(epoch) });
                }
                Known::Other(_) => panic!("it is confirmed and nothing else"),
            }
        }
        // A forced full run: all of an earlier epoch.
        let forced = shard_of(std::iter::repeat_n(399, 10_000));
        assert_eq!((forced.said.len(), forced.oldest.len()), (10_000, 0));
        let usual = shard_of(std::iter::repeat_n(400, 10_000));
        assert_eq!((usual.said.len(), usual.oldest.len()), (0, 0));
    }

    #[test]
    fn keys_are_found_across_groups() {
        let mut builder = Builder::new(0, Epoch(1), 0);
        for n in 0..1_000_u32 {
            let confirmed = Confirmed { fingerprint: 7, epoch: Epoch(1) };
            builder.push_confirmed(u128::from(n) << 118, &n.to_le_bytes(), confirmed);
        }
        let shard = builder.finish();
        for n in 0..1_000_u32 {
            assert_eq!(shard.key(n as usize), n.to_le_bytes());
            assert!(shard.candidates(u128::from(n) << 118).contains(&n));
        }
    }
}
