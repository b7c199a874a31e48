//! Where in a shard the keys of a hash lie, in less than half a byte a key, and what a run has seen of each, in half a byte.
//!
//! A search waits for the addresses of pages more than for their bytes, as the processor remembers those of some
//! thousand pages alone: so what is looked at before the keys is small enough to stay with it. Not here: the keys
//! themselves (`shard`), and what a sighting means (`table`).

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use prefetch_index::prefetch_index;

use crate::points;

/// Keys in a bucket, on average.
const IN_BUCKET: usize = 3;
/// Buckets of a block.
const IN_BLOCK: usize = 27;
/// The end of a block's last bucket where it has more keys than its bytes can say: then all of them are looked through.
const OVERFULL: u8 = u8::MAX;

/// Keys of a range of the hash that follow one another: those of `IN_BLOCK` buckets.
#[derive(Debug, Default, Clone)]
#[repr(align(32))]
struct Block {
    /// The place of the first key.
    base: u32,
    /// Where each bucket begins, counted from the base, and where the last one ends.
    bounds: [u8; IN_BLOCK + 1],
}

impl Block {
    /// Where a bucket has no key it ends where the last one did.
    fn close(&mut self) {
        let mut end = 0;
        for bound in &mut self.bounds {
            end = end.max(*bound);
            *bound = end;
        }
    }
}

/// The buckets of a shard, each of one range of hashes, in the order of these. Of a hash this knows the 32 bits that follow
/// those that name the shard.
#[derive(Debug)]
pub struct Buckets {
    /// Ends with one that has no keys, and as its base the number of all.
    blocks: Vec<Block>,
    /// The block of the last key that was pushed.
    open: usize,
}

impl Buckets {
    /// For about so many keys.
    pub fn new(keys: usize) -> Buckets {
        let blocks = keys.div_ceil(IN_BUCKET * IN_BLOCK).max(1) + 1;
        Buckets { blocks: vec![Block::default(); blocks], open: 0 }
    }

    /// The numbers of a hash's block, and of its bucket in there. Both rise with the hash.
    #[inline]
    fn of(&self, hash: u32) -> (usize, usize) {
        let wide = u64::from(hash) * (self.blocks.len() - 1) as u64;
        let within = (wide & u64::from(u32::MAX)) * IN_BLOCK as u64;
        let upper = |wide: u64| usize::try_from(wide >> 32).expect("32 bits");
        (upper(wide), upper(within))
    }

    /// Notes that the next key, whose hash is not below the last one's, lies at a place.
    #[inline]
    pub fn push(&mut self, hash: u32, place: u32) {
        let (block, bucket) = self.of(hash);
        if block != self.open {
            self.begin(block, place);
        }
        let block = &mut self.blocks[block];
        let end = u8::try_from(place + 1 - block.base).unwrap_or(OVERFULL);
        block.bounds[bucket + 1] = end;
    }

    /// Has all blocks up to this one begin at a place.
    fn begin(&mut self, block: usize, place: u32) {
        assert!(block > self.open, "keys come in the order of their hashes");
        self.blocks[self.open].close();
        self.blocks[self.open + 1..=block].iter_mut().for_each(|block| block.base = place);
        self.open = block;
    }

    /// All keys were pushed, so many.
    pub fn finish(&mut self, keys: u32) {
        self.begin(self.blocks.len() - 1, keys);
    }

    /// The places where a key of this hash may lie.
    #[inline]
    pub fn candidates(&self, hash: u32) -> Range<u32> {
        let (number, bucket) = self.of(hash);
        let block = &self.blocks[number];
        if block.bounds[IN_BLOCK] == OVERFULL {
            return block.base..self.blocks[number + 1].base;
        }
        let bound = |bucket: usize| block.base + u32::from(block.bounds[bucket]);
        bound(bucket)..bound(bucket + 1)
    }

    /// Has fetched what a search for a hash begins with.
    #[inline]
    pub fn fetch(&self, hash: u32) {
        prefetch_index(&self.blocks, self.of(hash).0);
    }
}

/// Sightings in a word.
const IN_WORD: usize = 8;
const NIBBLE: u32 = 15;
/// The lowest bit of each sighting in a word.
const EACH_NIBBLE: u32 = 0x1111_1111;

/// What was seen first of each key, by its place.
#[derive(Debug, Default)]
pub struct Sightings {
    words: Vec<AtomicU32>,
    keys: usize,
}

impl Sightings {
    pub fn new(keys: usize) -> Sightings {
        let words = std::iter::repeat_with(AtomicU32::default).take(keys.div_ceil(IN_WORD));
        Sightings { words: words.collect(), keys }
    }

    /// Has fetched what is known of a place and some that follow it.
    #[inline]
    pub fn fetch(&self, place: usize) {
        prefetch_index(&self.words, place / IN_WORD);
    }

    #[inline]
    fn word(&self, place: usize) -> (&AtomicU32, u32) {
        let shift = u32::try_from(4 * (place % IN_WORD)).expect("less than 32");
        (&self.words[place / IN_WORD], shift)
    }

    /// Notes the first sighting, which is not 0, of the key at a place; returns the earlier one, or 0 if there was none.
    #[inline]
    pub fn note(&self, place: usize, sighting: u8) -> u8 {
        let (word, shift) = self.word(place);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let earlier = nibble(seen, shift);
            if earlier > 0 {
                if points::is_planted("invalid_row_deleted") {
                    word.fetch_and(!(NIBBLE << shift), Ordering::Relaxed);
                }
                return earlier;
            }
            let noted = seen | u32::from(sighting) << shift;
            match word.compare_exchange(seen, noted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return 0,
                Err(other) => seen = other,
            }
        }
    }

    /// The first sighting of the key at a place, or 0 if there was none.
    pub fn of(&self, place: usize) -> u8 {
        let (word, shift) = self.word(place);
        nibble(word.load(Ordering::Relaxed), shift)
    }

    /// The places of keys that were not sighted, in their order.
    pub fn unmet(&self) -> impl Iterator<Item = usize> + '_ {
        let left = self.words.iter().enumerate().filter(|(_, word)| {
            let word = word.load(Ordering::Relaxed);
            // So it is with nearly all that none is left.
            (word | word >> 1 | word >> 2 | word >> 3) & EACH_NIBBLE != EACH_NIBBLE
        });
        let places = |number: usize| number * IN_WORD..((number + 1) * IN_WORD).min(self.keys);
        left.flat_map(move |(number, _)| places(number)).filter(|place| self.of(*place) == 0)
    }
}

#[inline]
fn nibble(word: u32, shift: u32) -> u8 {
    u8::try_from(word >> shift & NIBBLE).expect("four bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_half_a_line_of_memory() {
        assert_eq!((size_of::<Block>(), align_of::<Block>()), (32, 32));
    }

    fn buckets(expected: usize, hashes: &[u32]) -> Buckets {
        let mut buckets = Buckets::new(expected);
        for (place, hash) in (0..).zip(hashes) {
            buckets.push(*hash, place);
        }
        buckets.finish(u32::try_from(hashes.len()).unwrap());
        buckets
    }

    /// Of the hashes, which rise; those of every third are one.
    fn hashes(many: u32, step: u32) -> Vec<u32> {
        (0..many).map(|number| if number % 3 == 1 { number - 1 } else { number } * step).collect()
    }

    #[test]
    fn candidates_are_few_and_the_key_is_among_them_however_many_were_expected() {
        for (many, step) in [(0, 1), (1, 1), (100, 1), (1_000, u32::MAX / 1_000), (5_000, 7)] {
            let hashes = hashes(many, step);
            for expected in [0, 10, hashes.len(), 10 * hashes.len()] {
                let buckets = buckets(expected, &hashes);
                for (place, hash) in (0..).zip(&hashes) {
                    let candidates = buckets.candidates(*hash);
                    assert!(candidates.contains(&place) && candidates.end <= many);
                    let is_even = expected >= 1_000 && step > 1_000;
                    assert!(candidates.len() <= 6 || !is_even, "{candidates:?}");
                }
                for hash in [0, 1, u32::MAX / 2, u32::MAX] {
                    let candidates = buckets.candidates(hash);
                    assert!(candidates.start <= candidates.end && candidates.end <= many);
                }
            }
        }
    }

    #[test]
    fn what_was_sighted_is_known_and_the_rest_is_unmet() {
        for many in [0, 1, 7, 8, 9, 1_000] {
            let sightings = Sightings::new(many);
            assert!(sightings.unmet().eq(0..many));
            for place in (0..many).filter(|place| place % 5 > 0) {
                assert_eq!(sightings.note(place, 2), 0);
                assert_eq!(sightings.note(place, 4), 2);
            }
            assert!(
                (0..many).all(|place| sightings.of(place) == if place % 5 > 0 { 2 } else { 0 })
            );
            assert!(sightings.unmet().eq((0..many).step_by(5)));
            assert!((0..many).step_by(5).all(|place| sightings.note(place, 1) == 0));
            assert_eq!(sightings.unmet().count(), 0);
        }
    }
}
