//! Which keys were surely not met before: a Bloom filter whose bits for one key lie in one line of the cache.
//!
//! Not here: what is done about a key that may have been met, though it was not. Guards: a key that was put in is never denied;
//! the memory is what was asked for, however many keys come.

use prefetch_index::prefetch_index;

use super::key_map::low;
use crate::domain::key::KeyHash;

/// Bits that are set for a key: at ten bits of room a key, one in a hundred new keys is taken for a known one, at five ten.
const EACH: u32 = 5;
/// Bits of the hash that name one of a line's.
const WIDTH: u32 = 9;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Keys that may have been met.
#[derive(Debug)]
pub struct Filter {
    lines: Vec<Line>,
}

impl Filter {
    /// In so many bytes. In less than a line every key may have been met.
    pub fn new(bytes: usize) -> Filter {
        Filter { lines: vec![Line([0; 8]); bytes / size_of::<Line>()] }
    }

    /// Puts the key in; whether it may have been in before.
    #[inline]
    pub fn insert(&mut self, hash: KeyHash) -> bool {
        let place = self.place(hash);
        let Some(line) = self.lines.get_mut(place) else { return true };
        let mut may_have = true;
        for (word, bit) in bits(hash) {
            may_have &= line.0[word] & bit != 0;
            line.0[word] |= bit;
        }
        may_have
    }

    /// Has the memory brought near that [`Filter::insert`] will look at.
    #[inline]
    pub fn fetch(&self, hash: KeyHash) {
        prefetch_index(&self.lines, self.place(hash));
    }

    /// Whether the key may be in; false is certain.
    #[inline]
    pub fn may_have(&self, hash: KeyHash) -> bool {
        let line = self.lines.get(self.place(hash));
        line.is_none_or(|line| bits(hash).all(|(word, bit)| line.0[word] & bit != 0))
    }

    #[cfg(test)]
    pub fn allocated(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    #[inline]
    fn place(&self, hash: KeyHash) -> usize {
        let scaled = u128::from(low(hash)) * self.lines.len() as u128;
        usize::try_from(scaled >> 64).expect("below the number of lines")
    }
}

/// The words and bits of a key within its line. They come from the half of the hash that does not name the line, and not from
/// its first bits, by which keys may be sorted out before.
#[inline]
fn bits(hash: KeyHash) -> impl Iterator<Item = (usize, u64)> {
    let high = low(hash >> 64);
    (0..EACH).map(move |number| {
        let bit = (high >> (number * WIDTH)) & ((1 << WIDTH) - 1);
        (usize::try_from(bit / 64).expect("one of eight"), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key;

    fn hash(n: u32) -> KeyHash {
        key::hash(&n.to_le_bytes())
    }

    #[test]
    fn no_key_that_was_put_in_is_denied_and_few_others_are_taken_for_one() {
        // Bits of room for each key, and how many in a thousand may be taken for known.
        for (room, most) in [(5, 120), (10, 15), (20, 2)] {
            let keys = 100_000;
            let mut filter = Filter::new(keys as usize * room / 8);
            for n in 0..keys {
                filter.insert(hash(n));
            }
            assert!((0..keys).all(|n| filter.may_have(hash(n)) && filter.insert(hash(n))));
            let taken = (keys..2 * keys).filter(|n| filter.may_have(hash(*n))).count();
            assert!(taken < most * 100, "{room}: {taken}");
        }
    }

    #[test]
    fn keys_of_one_range_of_the_hash_fill_all_lines() {
        let mut filter = Filter::new(1 << 14);
        let in_range = (0..1 << 18).map(hash).filter(|hash| hash >> 122 == 7);
        let new = in_range.take(4_000).filter(|hash| !filter.insert(*hash)).count();
        assert!(new > 3_900, "{new}");
        assert!(filter.lines.iter().all(|line| line.0 != [0; 8]));
    }

    #[test]
    fn without_room_every_key_may_have_been_met() {
        let mut filter = Filter::new(63);
        assert!(filter.may_have(hash(1)) && filter.insert(hash(1)));
    }
}
