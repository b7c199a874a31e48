//! The snapshot as the build side of the delta: every known key in one compact, immutable table, in the order of
//! its hash, and beside it a few bits a key that say what a run has seen of it.
//!
//! It is cut into shards by the first bits of the hash, so that all cores can build it. Readers on many threads probe it
//! without a lock; a key seen twice is found by the bits that were already set. Not here: how a shard keeps its keys
//! (`shard`).

use std::ops::{Range, RangeInclusive};

use super::shard::{Builder, Shard, high};
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
    /// That of a byte, as which it was kept.
    pub fn of(byte: u8) -> Option<Sighting> {
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
pub enum Known {
    /// Confirmed in this epoch, and nothing else to say.
    Current(Fingerprint),
    /// Confirmed in an earlier epoch, and nothing else to say.
    Outdated(Confirmed),
    /// More than that, or less: [`Table::entry`] says what.
    Other,
}

/// The place of a key in the table: the number of its shard in the upper half of the bits, its place in there in the
/// lower half, so that places rise with the hash.
pub type Place = usize;

const HALF: u32 = usize::BITS / 2;

fn halves(place: Place) -> (usize, usize) {
    (place >> HALF, place & ((1 << HALF) - 1))
}

/// Entries below which a shard is not worth a core.
const LEAST: usize = 1 << 16;
/// Shards for each core, so that none has to wait long for the last. More would be smaller, and waste more at their ends.
const EACH: usize = 4;
/// Entries of a shard at most, roughly: between two of them a stop is heard.
const MOST: usize = 1 << 20;
/// Shards that fit into memory at once where not all do, at least.
const IN_MEMORY: usize = 8;
/// The most bits of the hash that name a shard.
const MOST_BITS: u32 = 10;

/// Into how many shards, each of one range of the key hash, the table of a snapshot is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Of the hash, which name the shard.
    bits: u32,
}

impl Cut {
    /// For a snapshot of about so many entries, built by so many cores, of which `fitting` fit into memory: where not all do,
    /// shards are so small that little of that is left over.
    pub fn of(entries: usize, cores: usize, fitting: usize) -> Cut {
        let for_cores = (entries / LEAST).min(cores.saturating_mul(EACH));
        let for_memory = match entries > fitting {
            true => (entries / (fitting / IN_MEMORY).max(1)).saturating_mul(2),
            false => 0,
        };
        let shards = for_cores.max(entries / MOST).max(for_memory).max(1);
        Cut { bits: shards.ilog2().min(MOST_BITS) }
    }

    pub fn shards(self) -> usize {
        1 << self.bits
    }

    /// The hashes of a shard's keys.
    pub fn range(self, shard: usize) -> RangeInclusive<KeyHash> {
        let width = KeyHash::MAX >> self.bits;
        let first = (width + u128::from(self.bits > 0)).wrapping_mul(shard as u128);
        first..=first + width
    }

    /// Builds one shard of about `entries` entries. `epoch` is the run's.
    pub fn builder(self, epoch: Epoch, entries: usize) -> Builder {
        Builder::new(self.bits, epoch, entries)
    }

    /// The table of some of its shards, which follow one another from the number `first` on.
    pub fn table(self, first: usize, shards: Vec<Shard>) -> Table {
        assert!(first + shards.len() <= self.shards(), "a table has shards of its cut");
        Table { cut: self, first, shards }
    }

    /// The number of the shard that a key of this hash belongs to.
    #[inline]
    pub fn shard_of(self, hash: KeyHash) -> usize {
        // In two steps, as a shift by all 64 bits is none.
        usize::try_from(high(hash) >> 1 >> (63 - self.bits)).expect("the number of a shard")
    }
}

/// The entries of one snapshot, or of a part of it, for one run. Only keys of its part may be asked for.
#[derive(Debug)]
pub struct Table {
    cut: Cut,
    /// The number of the first shard.
    first: usize,
    shards: Vec<Shard>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn shard(&self, number: usize) -> &Shard {
        &self.shards[number - self.first]
    }

    /// The place of a key, compared in full.
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Place> {
        self.find_in(self.candidates(hash), key)
    }

    /// Places where a key of this hash may be.
    #[inline]
    pub fn candidates(&self, hash: KeyHash) -> Range<Place> {
        let number = self.cut.shard_of(hash);
        let places = self.shard(number).candidates(hash);
        let first = number << HALF;
        first + places.start as usize..first + places.end as usize
    }

    /// The place of a key among the candidates of its hash, compared in full.
    #[inline]
    pub fn find_in(&self, candidates: Range<Place>, key: &[u8]) -> Option<Place> {
        let (number, first) = halves(candidates.start);
        let place = self.shard(number).find_in(first..first + candidates.len(), key)?;
        Some((number << HALF) + place)
    }

    /// Has the bucket of a hash fetched. This and what follows change nothing: called
    /// for many keys one after the other, they wait for memory together, where a search would wait for it key by key.
    #[inline]
    pub fn fetch_bucket(&self, hash: KeyHash) {
        self.shard(self.cut.shard_of(hash)).fetch_bucket(hash);
    }

    /// Has the memory fetched that says where a candidate lies.
    #[inline]
    pub fn fetch_end(&self, candidates: &Range<Place>) {
        let (shard, place) = halves(candidates.start);
        self.shard(shard).fetch_end(place);
    }

    /// Has fetched what is known of the candidates.
    #[inline]
    pub fn fetch(&self, candidates: &Range<Place>) {
        let (shard, first) = halves(candidates.start);
        self.shard(shard).fetch(first..first + candidates.len());
    }

    #[inline]
    pub fn key(&self, place: Place) -> &[u8] {
        let (shard, place) = halves(place);
        self.shard(shard).key(place)
    }

    #[inline]
    pub fn known(&self, place: Place) -> Known {
        let (shard, place) = halves(place);
        self.shard(shard).known(place)
    }

    /// The entry as the rules want it. `epoch` is the run's.
    pub fn entry(&self, place: Place, epoch: Epoch) -> Entry {
        match self.known(place) {
            Known::Other => {
                let (shard, place) = halves(place);
                self.shard(shard).other(place)
            }
            Known::Outdated(confirmed) => Entry { confirmed: Some(confirmed), ..Entry::default() },
            Known::Current(fingerprint) => {
                Entry { confirmed: Some(Confirmed { fingerprint, epoch }), ..Entry::default() }
            }
        }
    }

    /// Notes the first sighting of the key at a place; returns the earlier one if there was one.
    #[inline]
    pub fn sight(&self, place: Place, sighting: Sighting) -> Option<Sighting> {
        let (shard, place) = halves(place);
        Sighting::of(self.shard(shard).sightings().note(place, sighting as u8))
    }

    /// What the first row with the key came to, if one was met.
    pub fn sighting(&self, place: Place) -> Option<Sighting> {
        let (shard, place) = halves(place);
        Sighting::of(self.shard(shard).sightings().of(place))
    }

    /// The places that no row of the read has met, in the order of their hash.
    pub fn unmet(&self) -> impl Iterator<Item = Place> + '_ {
        self.unmet_by_shard().flatten()
    }

    /// As [`Table::unmet`], shard by shard.
    pub fn unmet_by_shard(&self) -> impl Iterator<Item = impl Iterator<Item = Place>> {
        let shards = (self.first..).zip(&self.shards);
        shards.map(|(number, shard)| {
            shard.sightings().unmet().map(move |place| (number << HALF) + place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key;

    fn table(cut: Cut, epoch: Epoch, entries: &[(Vec<u8>, Entry)]) -> Table {
        let shards = (0..cut.shards()).map(|shard| {
            let mut builder = cut.builder(epoch, entries.len());
            for (bytes, entry) in entries {
                let hash = key::hash(bytes);
                if cut.range(shard).contains(&hash) {
                    builder.push(hash, bytes, entry.clone());
                }
            }
            builder.finish().expect("they come in order")
        });
        cut.table(0, shards.collect())
    }

    #[test]
    fn every_key_is_found_and_no_other_however_the_table_is_cut() {
        let mut entries: Vec<(Vec<u8>, Entry)> = (0..1_000_u32)
            .map(|n| {
                let confirmed = Confirmed { fingerprint: u128::from(n), epoch: Epoch(n % 2) };
                let entry = Entry { confirmed: Some(confirmed), ..Entry::default() };
                (n.to_le_bytes().to_vec(), entry)
            })
            .collect();
        entries.sort_by_key(|(bytes, _)| key::hash(bytes));
        for bits in [0, 1, 3, MOST_BITS] {
            let table = table(Cut { bits }, Epoch(1), &entries);
            assert_eq!(table.len(), 1_000);
            for (bytes, entry) in &entries {
                let place = table.find(key::hash(bytes), bytes).expect("it is there");
                assert_eq!(&table.entry(place, Epoch(1)), entry);
            }
            let unmet: Vec<&[u8]> = table.unmet().map(|place| table.key(place)).collect();
            let in_order: Vec<&[u8]> = entries.iter().map(|(bytes, _)| &bytes[..]).collect();
            assert_eq!(unmet, in_order);
            let missing = 1_000_u32.to_le_bytes();
            assert_eq!(table.find(key::hash(&missing), &missing), None);
        }
        let empty = table(Cut { bits: 0 }, Epoch(1), &[]);
        assert_eq!(empty.find(key::hash(b"k"), b"k"), None);
        assert!(empty.is_empty() && empty.unmet().next().is_none());
    }

    #[test]
    fn the_ranges_of_a_cut_are_all_hashes_once_and_name_their_shard() {
        for bits in [0, 1, 5, MOST_BITS] {
            let cut = Cut { bits };
            let mut next = Some(0);
            for shard in 0..cut.shards() {
                let range = cut.range(shard);
                assert_eq!(Some(*range.start()), next);
                assert_eq!(
                    (cut.shard_of(*range.start()), cut.shard_of(*range.end())),
                    (shard, shard)
                );
                next = range.end().checked_add(1);
            }
            assert_eq!(next, None);
        }
        let shards = |entries, cores| Cut::of(entries, cores, usize::MAX).shards();
        assert_eq!([shards(0, 2), shards(3 * LEAST, 2), shards(8 * MOST, 2)], [1, 2, 8]);
        assert_eq!([shards(4 * MOST, 1), shards(4 * MOST, 12), shards(64 * MOST, 2)], [4, 32, 64]);
        assert_eq!(shards(usize::MAX, usize::MAX), 1 << MOST_BITS);
        assert_eq!([50_000, 100, 1].map(|fit| Cut::of(1_000, 2, fit).shards()), [1, 128, 1 << 10]);
    }

    #[test]
    fn the_second_sighting_tells_the_first() {
        let table = table(Cut { bits: 0 }, Epoch(1), &[(b"k".to_vec(), Entry::default())]);
        assert_eq!(table.unmet().count(), 1);
        assert_eq!(table.sight(0, Sighting::Waived), None);
        assert_eq!(table.sight(0, Sighting::Operation), Some(Sighting::Waived));
        assert_eq!(table.sighting(0), Some(Sighting::Waived));
        assert_eq!(table.unmet().count(), 0);
    }
}
