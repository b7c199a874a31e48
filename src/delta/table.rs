//! The snapshot as the build side of the delta: every known key in one compact, immutable table, in the order of
//! its hash, and beside it one byte a key that says what a run has seen of it.
//!
//! Readers on many threads probe it without a lock; a key seen twice is found by the byte that was already set.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::domain::entry::{Confirmed, Entry, Fingerprint};
use crate::domain::id::Epoch;
use crate::domain::key::KeyHash;

/// What the first row with a key came to. Zero, for none, is not a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Sighting {
    Unchanged = 1,
    Waived = 2,
    Deferred = 3,
    /// It became an operation, which reaches the run by another way.
    Operation = 4,
}

impl Sighting {
    fn of(byte: u8) -> Option<Sighting> {
        match byte {
            0 => None,
            1 => Some(Sighting::Unchanged),
            2 => Some(Sighting::Waived),
            3 => Some(Sighting::Deferred),
            _ => Some(Sighting::Operation),
        }
    }
}

/// What the table holds of one key.
#[derive(Debug)]
pub enum Known<'t> {
    /// Confirmed in this epoch, and nothing else to say.
    Current(Fingerprint),
    /// Confirmed in an earlier epoch, and nothing else to say.
    Outdated(Confirmed),
    Other(&'t Entry),
}

/// The place of a key in the table.
pub type Place = usize;

/// Keys whose average length foretells that of all.
const SAMPLE: usize = 4096;
/// Places whose ends are counted from one base.
const GROUP: usize = 256;

/// What is said of a place: 0 is current, smaller numbers than these are by how many epochs it is older than the run's.
const OLDEST: u8 = 254;
const OTHER: u8 = 255;

/// All entries of one snapshot, for one run.
#[derive(Debug, Default)]
pub struct Table {
    keys: Vec<u8>,
    /// Where each key ends, counted from the base of its group.
    ends: Vec<u32>,
    bases: Vec<usize>,
    confirmed: Vec<Fingerprint>,
    epoch: Epoch,
    /// What is said of each place, up to the last that is not current: in a forced full run of all, in most others of few.
    said: Vec<u8>,
    others: HashMap<Place, Entry>,
    /// The epochs of those as old as `OLDEST`.
    oldest: HashMap<Place, Epoch>,
    /// The first place whose hash begins with each bucket number, and one past the last.
    buckets: Vec<u32>,
    shift: u32,
    sightings: Vec<AtomicU8>,
}

/// Takes entries in the order of their hash.
#[derive(Debug)]
pub struct Builder {
    table: Table,
    expected: usize,
}

impl Builder {
    /// `epoch` is the run's, `entries` the number to expect.
    pub fn new(epoch: Epoch, entries: usize) -> Builder {
        let mut table = Table { epoch, ..Table::default() };
        table.ends.reserve_exact(entries);
        table.confirmed.reserve_exact(entries);
        Builder { table, expected: entries }
    }

    /// An entry of whatever kind.
    pub fn push(&mut self, key: &[u8], entry: Entry) {
        let is_plain = entry.doubt.is_none()
            && entry.rejection.is_none()
            && entry.waiver.is_none()
            && entry.held.is_none();
        match entry.confirmed {
            Some(confirmed) if is_plain => self.push_confirmed(key, confirmed),
            confirmed => {
                let fingerprint = confirmed.map_or(0, |confirmed| confirmed.fingerprint);
                let place = self.append(key, fingerprint);
                self.table.mark(place, OTHER);
                self.table.others.insert(place, entry);
            }
        }
    }

    /// An entry that is confirmed and nothing else.
    #[inline]
    pub fn push_confirmed(&mut self, key: &[u8], confirmed: Confirmed) {
        let place = self.append(key, confirmed.fingerprint);
        if confirmed.epoch != self.table.epoch {
            self.table.mark_epoch(place, confirmed.epoch);
        }
    }

    #[inline]
    fn append(&mut self, key: &[u8], fingerprint: Fingerprint) -> Place {
        let table = &mut self.table;
        let place = table.ends.len();
        if place.is_multiple_of(GROUP) {
            table.bases.push(table.keys.len());
        }
        if place == SAMPLE {
            // Growing by doubling would copy all of it several times and hold it twice.
            let (length, rest) = (table.keys.len(), self.expected.saturating_sub(place));
            table.keys.reserve_exact(length / SAMPLE * rest + length % SAMPLE * rest / SAMPLE);
        }
        table.keys.extend_from_slice(key);
        let end = table.keys.len() - table.bases[place / GROUP];
        table.ends.push(u32::try_from(end).expect("256 keys take less than 4 GiB"));
        table.confirmed.push(fingerprint);
        place
    }

    pub fn finish(self) -> Table {
        let mut table = self.table;
        // One or two keys in a bucket; neighbours mostly lie in one line of the cache.
        let count = (table.len() / 2).next_power_of_two().max(2);
        table.shift = 64 - count.trailing_zeros();
        let mut buckets = Vec::with_capacity(count + 1);
        for place in 0..table.len() {
            let hash = high(crate::domain::key::hash(table.key(place)));
            let first = u32::try_from(place).expect("a table has fewer than 2^32 keys");
            let bucket = usize::try_from(hash >> table.shift).expect("the number of a bucket");
            buckets.resize(buckets.len().max(bucket + 1), first);
        }
        let end = u32::try_from(table.len()).expect("a table has fewer than 2^32 keys");
        buckets.resize(count + 1, end);
        table.buckets = buckets;
        table.sightings = (0..table.len()).map(|_| AtomicU8::new(0)).collect();
        table
    }
}

impl Table {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The place of a key, compared in full.
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Place> {
        self.find_in(self.candidates(hash), key)
    }

    /// Places where a key of this hash may be.
    #[inline]
    pub fn candidates(&self, hash: KeyHash) -> Range<u32> {
        let bucket = usize::try_from(high(hash) >> self.shift).expect("the number of a bucket");
        self.buckets[bucket]..self.buckets[bucket + 1]
    }

    /// The place of a key among the candidates of its hash, compared in full.
    #[inline]
    pub fn find_in(&self, candidates: Range<u32>, key: &[u8]) -> Option<Place> {
        let mut places = candidates.start as usize..candidates.end as usize;
        places.find(|place| self.key(*place) == key)
    }

    #[inline]
    pub fn key(&self, place: Place) -> &[u8] {
        &self.keys[self.range(place)]
    }

    #[inline]
    fn range(&self, place: Place) -> Range<usize> {
        let base = self.bases[place / GROUP];
        let start = if place.is_multiple_of(GROUP) { 0 } else { self.ends[place - 1] as usize };
        base + start..base + self.ends[place] as usize
    }

    fn mark(&mut self, place: Place, what: u8) {
        self.said.resize(place, 0);
        self.said.push(what);
    }

    fn mark_epoch(&mut self, place: Place, epoch: Epoch) {
        let age = self.epoch.0.checked_sub(epoch.0).and_then(|age| u8::try_from(age).ok());
        let age = age.filter(|age| *age < OLDEST).unwrap_or(OLDEST);
        if age == OLDEST {
            self.oldest.insert(place, epoch);
        }
        self.mark(place, age);
    }

    #[inline]
    pub fn known(&self, place: Place) -> Known<'_> {
        let fingerprint = self.confirmed[place];
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

    /// The entry as the rules want it. `epoch` is the run's.
    pub fn entry(&self, place: Place, epoch: Epoch) -> Entry {
        match self.known(place) {
            Known::Other(entry) => entry.clone(),
            Known::Outdated(confirmed) => Entry { confirmed: Some(confirmed), ..Entry::default() },
            Known::Current(fingerprint) => {
                Entry { confirmed: Some(Confirmed { fingerprint, epoch }), ..Entry::default() }
            }
        }
    }

    /// Notes the first sighting of a key; returns the earlier one if there was one.
    #[inline]
    pub fn sight(&self, place: Place, sighting: Sighting) -> Option<Sighting> {
        let earlier = self.sightings[place].compare_exchange(
            0,
            sighting as u8,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        earlier.err().and_then(Sighting::of)
    }

    /// What the first row with the key came to, if one was met.
    pub fn sighting(&self, place: Place) -> Option<Sighting> {
        Sighting::of(self.sightings[place].load(Ordering::Relaxed))
    }

    /// The places that no row of the read has met, in the order of their hash.
    pub fn unmet(&self) -> impl Iterator<Item = Place> + '_ {
        let is_unmet = |place: &Place| self.sightings[*place].load(Ordering::Relaxed) == 0;
        (0..self.len()).filter(is_unmet)
    }
}

fn high(hash: KeyHash) -> u64 {
    (hash >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key;

    #[test]
    fn every_key_is_found_and_no_other() {
        let mut entries: Vec<(Vec<u8>, Entry)> = (0..1_000_u32)
            .map(|n| {
                let confirmed = Confirmed { fingerprint: u128::from(n), epoch: Epoch(n % 2) };
                let entry = Entry { confirmed: Some(confirmed), ..Entry::default() };
                (n.to_le_bytes().to_vec(), entry)
            })
            .collect();
        entries.sort_by_key(|(bytes, _)| key::hash(bytes));
        let mut builder = Builder::new(Epoch(1), entries.len());
        for (bytes, entry) in &entries {
            builder.push(bytes, entry.clone());
        }
        let table = builder.finish();
        for (bytes, entry) in &entries {
            let place = table.find(key::hash(bytes), bytes).expect("it is there");
            assert_eq!(&table.entry(place, Epoch(1)), entry);
        }
        assert_eq!(table.bases.len(), 4);
        let missing = 1_000_u32.to_le_bytes();
        assert_eq!(table.find(key::hash(&missing), &missing), None);
        let empty = Builder::new(Epoch(1), 0).finish();
        assert_eq!(empty.find(key::hash(&missing), &missing), None);
    }

    #[test]
    fn an_epoch_costs_a_byte_a_key_at_most_and_is_kept_exactly() {
        let table_of = |epochs: &mut dyn Iterator<Item = u32>| {
            let mut builder = Builder::new(Epoch(400), 0);
            for epoch in epochs {
                let confirmed = Some(Confirmed { fingerprint: 7, epoch: Epoch(epoch) });
                builder.push(b"k", Entry { confirmed, ..Entry::default() });
            }
            builder.finish()
        };
        let epochs = [400, 399, 400, 146, 145, 144, 0, 401, 400];
        let table = table_of(&mut epochs.into_iter());
        for (place, epoch) in epochs.into_iter().enumerate() {
            let confirmed = table.entry(place, Epoch(400)).confirmed;
            assert_eq!(confirmed, Some(Confirmed { fingerprint: 7, epoch: Epoch(epoch) }));
            assert_eq!(matches!(table.known(place), Known::Current(7)), epoch == 400);
        }
        // A forced full run: all of an earlier epoch.
        let forced = table_of(&mut std::iter::repeat_n(399, 10_000));
        assert_eq!((forced.said.len(), forced.oldest.len()), (10_000, 0));
        let usual = table_of(&mut std::iter::repeat_n(400, 10_000));
        assert_eq!((usual.said.len(), usual.oldest.len()), (0, 0));
    }

    #[test]
    fn the_second_sighting_tells_the_first() {
        let mut builder = Builder::new(Epoch(1), 1);
        builder.push(b"k", Entry::default());
        let table = builder.finish();
        assert_eq!(table.unmet().count(), 1);
        assert_eq!(table.sight(0, Sighting::Waived), None);
        assert_eq!(table.sight(0, Sighting::Operation), Some(Sighting::Waived));
        assert_eq!(table.unmet().count(), 0);
    }
}
