//! One shard of the table: the keys of one range of the hash, in its order, in a few long arrays.
//!
//! Nothing is allocated for each key, and a key lies beside its fingerprint, so that both come with one wait for memory.
//! Keys of one length, which numbers have, need no word of where they are. Not here: what a sighting means, and which
//! shard a key belongs to (`table`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use prefetch_index::prefetch_index;

use super::ends::Ends;
use super::records::Records;
use super::table::Known;
use crate::domain::codec::{Bytes, put_varint};
use crate::domain::entry::{Confirmed, Entry, Fingerprint};
use crate::domain::extras;
use crate::domain::id::Epoch;
use crate::domain::key::KeyHash;
use crate::points;

/// Records whose average length foretells that of all.
const SAMPLE: usize = 4096;
/// Keys in a bucket, on average: so few that most buckets are searched by one look at `AT_ONCE` keys.
const IN_BUCKET: usize = 3;
/// Keys that are compared without asking after each whether it was the one, which no processor can foretell.
const AT_ONCE: usize = 4;
/// Bytes that come from memory together.
const LINE: usize = 64;
/// Keys of a bucket whose sightings stand in its word.
const IN_WORD: u32 = 8;
/// Bits of the word that say the first place; four for each sighting follow.
const OF_PLACE: u32 = 32;
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
    /// The first place of each bucket and the sightings of its first places, and the end of the last one.
    buckets: Vec<AtomicU64>,
    /// The sightings of the others.
    crowded: Mutex<HashMap<usize, u8>>,
}

/// Takes entries in the order of their hash.
#[derive(Debug)]
pub struct Builder {
    shard: Shard,
    expected: usize,
    /// How many buckets there will be.
    count: usize,
    scratch: Vec<u8>,
}

impl Builder {
    pub(super) fn new(bits: u32, epoch: Epoch, entries: usize) -> Builder {
        let mut shard = Shard { bits, epoch, ..Shard::default() };
        let count = entries.div_ceil(IN_BUCKET).max(1);
        shard.buckets.reserve_exact(count + 1);
        Builder { shard, expected: entries, count, scratch: Vec::new() }
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
        let bucket = bucket(shard.rest(hash), self.count);
        shard.begin_buckets(bucket + 1, place);
        place
    }

    pub fn finish(self) -> Shard {
        let Builder { mut shard, count, .. } = self;
        shard.begin_buckets(count + 1, shard.len());
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
        let bucket = self.bucket_of(hash);
        self.first(bucket)..self.first(bucket + 1)
    }

    #[inline]
    fn bucket_of(&self, hash: KeyHash) -> usize {
        bucket(self.rest(hash), self.buckets.len() - 1)
    }

    /// The first place of a bucket, or the end of the last one.
    #[inline]
    fn first(&self, bucket: usize) -> u32 {
        let word = self.buckets[bucket].load(Ordering::Relaxed);
        u32::try_from(word & u64::from(u32::MAX)).expect("half of the bits")
    }

    /// Has buckets begin here until there are so many.
    #[inline]
    fn begin_buckets(&mut self, many: usize, place: usize) {
        while self.buckets.len() < many {
            let place = u32::try_from(place).expect("a shard has fewer than 2^32 keys");
            self.buckets.push(AtomicU64::new(u64::from(place)));
        }
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
        prefetch_index(&self.buckets, self.bucket_of(hash));
    }

    #[inline]
    pub(super) fn fetch(&self, places: Range<usize>) {
        if places.is_empty() {
            return;
        }
        let start = self.ends.range(places.start).start;
        let end = self.ends.range(places.end - 1).end.max(start + AT_ONCE * OF_NUMBER);
        for at in [start, start + LINE, end - 1] {
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

    /// Notes the first sighting, which is not 0, of the key of this hash at a place; returns the earlier one, or 0 if there
    /// was none.
    #[inline]
    pub(super) fn sight(&self, hash: KeyHash, place: usize, sighting: u8) -> u8 {
        let bucket = self.bucket_of(hash);
        let Some(shift) = shift(place - self.first(bucket) as usize) else {
            return self.sight_crowded(place, sighting);
        };
        let word = &self.buckets[bucket];
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let earlier = nibble(seen, shift);
            if earlier > 0 {
                if points::is_planted("invalid_row_deleted") {
                    word.fetch_and(!(NIBBLE << shift), Ordering::Relaxed);
                }
                return earlier;
            }
            let noted = seen | u64::from(sighting) << shift;
            match word.compare_exchange(seen, noted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return 0,
                Err(other) => seen = other,
            }
        }
    }

    #[cold]
    fn sight_crowded(&self, place: usize, sighting: u8) -> u8 {
        let mut crowded = self.crowded.lock().expect("nothing panics while it holds the lock");
        let noted = crowded.entry(place).or_insert(0);
        let earlier = *noted;
        if earlier == 0 {
            *noted = sighting;
        }
        earlier
    }

    /// The first sighting of the key of this hash at a place, or 0 if there was none.
    pub(super) fn sighting(&self, hash: KeyHash, place: usize) -> u8 {
        self.sighting_in(self.bucket_of(hash), place)
    }

    fn sighting_in(&self, bucket: usize, place: usize) -> u8 {
        match shift(place - self.first(bucket) as usize) {
            Some(shift) => nibble(self.buckets[bucket].load(Ordering::Relaxed), shift),
            None => {
                let crowded = self.crowded.lock().expect("nothing panics while it holds the lock");
                crowded.get(&place).copied().unwrap_or(0)
            }
        }
    }

    pub(super) fn unmet(&self) -> impl Iterator<Item = usize> + '_ {
        let buckets = 0..self.buckets.len().saturating_sub(1);
        buckets.filter(|bucket| !self.is_met(*bucket)).flat_map(move |bucket| {
            let places = self.first(bucket) as usize..self.first(bucket + 1) as usize;
            places.filter(move |place| self.sighting_in(bucket, *place) == 0)
        })
    }

    /// Whether the word of a bucket says that all of its keys were met: so it is with nearly all.
    #[inline]
    fn is_met(&self, bucket: usize) -> bool {
        let word = self.buckets[bucket].load(Ordering::Relaxed);
        let keys = u64::from(self.first(bucket + 1)) - (word & u64::from(u32::MAX));
        let sightings = word >> OF_PLACE;
        let met = sightings | sightings >> 1 | sightings >> 2 | sightings >> 3;
        let all = EACH_NIBBLE & ((1 << (4 * keys.min(u64::from(IN_WORD)))) - 1);
        keys <= u64::from(IN_WORD) && met & all == all
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("a shard has fewer than 2^32 keys")
}

const NIBBLE: u64 = 15;
/// The lowest bit of each sighting in a word.
const EACH_NIBBLE: u64 = 0x1111_1111;

/// Where in the word of a bucket the sighting of its key of this number stands; `None` where it has no room.
#[inline]
fn shift(number: usize) -> Option<u32> {
    let number = u32::try_from(number).ok().filter(|number| *number < IN_WORD)?;
    Some(OF_PLACE + 4 * number)
}

#[inline]
fn nibble(word: u64, shift: u32) -> u8 {
    u8::try_from(word >> shift & NIBBLE).expect("four bits")
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
mod tests;
