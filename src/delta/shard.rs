//! One shard of the table: the keys of one range of the hash, in its order, in a few long arrays.
//!
//! Nothing is allocated for each key, and a key lies beside its fingerprint, so that both come with one wait for memory.
//! Keys of one length, which numbers have, need no word of where they are. Not here: what a sighting means, and which
//! shard a key belongs to (`table`).

use std::collections::HashMap;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ends::Ends;
use super::table::Known;
use crate::domain::entry::{Confirmed, Entry, Fingerprint, Held};
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
const OLDEST: u8 = 253;
/// Confirmed and held: an empty read holds everything.
const HELD: u8 = 254;
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
    /// In the order of places, as the next.
    others: Vec<(u32, Box<Entry>)>,
    held: Vec<(u32, Epoch, Held)>,
    /// The epochs of those as old as `OLDEST`.
    oldest: HashMap<usize, Epoch>,
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
}

impl Builder {
    pub(super) fn new(bits: u32, epoch: Epoch, entries: usize) -> Builder {
        let mut shard = Shard { bits, epoch, ..Shard::default() };
        let count = entries.div_ceil(IN_BUCKET).max(1);
        shard.buckets.reserve_exact(count + 1);
        Builder { shard, expected: entries, count }
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
                let narrow = u32::try_from(place).expect("a shard has fewer than 2^32 keys");
                match (confirmed, entry.held) {
                    (Some(confirmed), Some(held)) if entry == of_held(confirmed, held) => {
                        self.shard.mark(place, HELD);
                        self.shard.held.push((narrow, confirmed.epoch, held));
                    }
                    _ => {
                        self.shard.mark(place, OTHER);
                        self.shard.others.push((narrow, Box::new(entry)));
                    }
                }
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
            shard.records.reserve_exact(wanted);
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
        black_box(self.ends.word(place));
    }

    #[inline]
    pub(super) fn fetch_bucket(&self, hash: KeyHash) {
        black_box(self.buckets[self.bucket_of(hash)].load(Ordering::Relaxed));
    }

    #[inline]
    pub(super) fn fetch(&self, places: Range<usize>) {
        if places.is_empty() {
            return;
        }
        let start = self.ends.range(places.start).start;
        let end = self.ends.range(places.end - 1).end.max(start + AT_ONCE * OF_NUMBER);
        for at in [start, start + LINE, end - 1] {
            black_box(self.records.get(at).copied());
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
            OTHER => {
                let found = self.others.binary_search_by_key(&place, |(at, _)| *at as usize);
                Known::Other(&self.others[found.expect("it was marked")].1)
            }
            HELD => {
                let found = self.held.binary_search_by_key(&place, |(at, ..)| *at as usize);
                let (_, epoch, held) = self.held[found.expect("it was marked")];
                Known::Held(Confirmed { fingerprint, epoch }, held)
            }
            OLDEST => Known::Outdated(Confirmed { fingerprint, epoch: self.oldest[&place] }),
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
        buckets.flat_map(move |bucket| {
            let places = self.first(bucket) as usize..self.first(bucket + 1) as usize;
            places.filter(move |place| self.sighting_in(bucket, *place) == 0)
        })
    }
}

/// The entry of a key that is confirmed and held.
pub(super) fn of_held(confirmed: Confirmed, held: Held) -> Entry {
    Entry { confirmed: Some(confirmed), held: Some(held), ..Entry::default() }
}

const NIBBLE: u64 = 15;

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
mod tests {
    use super::*;
    use crate::domain::key;
    use crate::domain::value::Value;

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
                Known::Other(_) | Known::Held(..) => panic!("it is confirmed and nothing else"),
            }
        }
        // A forced full run: all of an earlier epoch.
        let forced = shard_of(std::iter::repeat_n(399, 10_000));
        assert_eq!((forced.said.len(), forced.oldest.len()), (10_000, 0));
        let usual = shard_of(std::iter::repeat_n(400, 10_000));
        assert_eq!((usual.said.len(), usual.oldest.len()), (0, 0));
    }

    #[test]
    fn a_key_in_a_crowded_bucket_is_sighted_as_any_other() {
        let shard = shard_of(std::iter::repeat_n(400, 20));
        assert_eq!(shard.candidates(0), 0..20, "one bucket");
        for place in (0..20).step_by(3) {
            assert_eq!(shard.sight(0, place, 2), 0);
            assert_eq!(shard.sight(0, place, 4), 2);
        }
        let sightings = (0..20).map(|place| shard.sighting(0, place));
        assert!(sightings.enumerate().all(|(place, it)| it == if place % 3 == 0 { 2 } else { 0 }));
        assert_eq!(shard.unmet().count(), 13);
        assert_eq!(shard.candidates(0), 0..20, "sightings do not touch the places");
    }

    /// Canonical keys of whole numbers, and of texts of several lengths, in the order of their hash.
    fn keys(numbers: usize, texts: usize) -> Vec<(KeyHash, Vec<u8>)> {
        let encoded = |value: Value<'_>| {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            (key::hash(&bytes), bytes)
        };
        let numbers = (0..i64::try_from(numbers).unwrap()).map(|n| encoded(Value::Integer(n)));
        let texts = (0..texts).map(|n| encoded(Value::Text(&"x".repeat(n))));
        let mut keys: Vec<_> = numbers.chain(texts).collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_key_is_found_and_sighted_and_no_other_however_many_were_expected() {
        for (numbers, texts) in [(0, 0), (1, 0), (3, 0), (4, 0), (2_000, 0), (2_000, 3), (0, 600)] {
            let keys = keys(numbers, texts);
            // One crowded bucket, a few crowded ones, as it should be, and more room than is needed.
            for expected in [0, keys.len() / 10, keys.len(), 3 * keys.len()] {
                let mut builder = Builder::new(0, Epoch(1), expected);
                for (place, (hash, key)) in keys.iter().enumerate() {
                    let fingerprint = place as u128;
                    builder.push_confirmed(*hash, key, Confirmed { fingerprint, epoch: Epoch(1) });
                }
                let shard = builder.finish();
                let find = |hash, key: &[u8]| {
                    let places = shard.candidates(hash);
                    shard.find_in(places.start as usize..places.end as usize, key)
                };
                for (place, (hash, key)) in keys.iter().enumerate() {
                    assert_eq!((find(*hash, key), shard.key(place)), (Some(place), &key[..]));
                    assert!(
                        matches!(shard.known(place), Known::Current(it) if it == place as u128)
                    );
                    // A key that is not there, and shares its bucket with one that is.
                    let mut other = key.clone();
                    *other.last_mut().unwrap() ^= 0x80;
                    assert_eq!(find(*hash, &other), None);
                    assert_eq!(find(*hash, &key[1..]), None);
                }
                let met = keys.iter().enumerate().step_by(2);
                met.for_each(|(place, (hash, _))| assert_eq!(shard.sight(*hash, place, 3), 0));
                let unmet: Vec<usize> = shard.unmet().collect();
                assert_eq!(unmet, (1..keys.len()).step_by(2).collect::<Vec<_>>());
                let met = keys.iter().enumerate().step_by(2);
                met.for_each(|(place, (hash, _))| assert_eq!(shard.sight(*hash, place, 1), 3));
            }
        }
    }
}
