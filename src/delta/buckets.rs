//! Where in a shard keys of a hash lie, and what a run has seen of each key: one line of memory for some thirty keys.
//!
//! A search waits for memory, not for the processor: the bounds of a bucket and the sightings of its keys come with one
//! wait, and buckets are so small that what is then compared comes with one or two. Not here: the keys themselves
//! (`shard`), and what a sighting means (`table`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use prefetch_index::prefetch_index;

use crate::points;

/// Buckets of a block, and its keys on average: most buckets have one or two.
const IN_BLOCK: usize = 31;
/// The end of a block's last bucket where it has more keys than its bytes can say: then all of them are looked through.
const OVERFULL: u8 = u8::MAX;
/// Sightings in a word.
const IN_WORD: usize = 8;
const WORDS: usize = 7;
const NIBBLE: u32 = 15;
/// The lowest bit of each sighting in a word.
const EACH_NIBBLE: u32 = 0x1111_1111;

/// Keys of a range of the hash that follow one another: those of `IN_BLOCK` buckets.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Block {
    /// The place of the first key.
    base: u32,
    /// Where each bucket begins, counted from the base, and where the last one ends.
    bounds: [u8; IN_BLOCK + 1],
    /// Four bits for each of the first keys.
    seen: [AtomicU32; WORDS],
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

    /// The word of a key's sighting, and where in it that stands; `None` where the block has no room for it.
    #[inline]
    fn sighting(&self, place: usize) -> Option<(&AtomicU32, u32)> {
        let number = place - self.base as usize;
        let shift = u32::try_from(4 * (number % IN_WORD)).expect("less than 32");
        Some((self.seen.get(number / IN_WORD)?, shift))
    }

    /// Whether the sightings of so many first keys are all there: so it is with nearly all blocks.
    fn is_met(&self, keys: usize) -> bool {
        let is_met = |(number, word): (usize, &AtomicU32)| {
            let here = keys.saturating_sub(number * IN_WORD).min(IN_WORD);
            let all = EACH_NIBBLE & u32::try_from((1_u64 << (4 * here)) - 1).expect("32 bits");
            let word = word.load(Ordering::Relaxed);
            (word | word >> 1 | word >> 2 | word >> 3) & all == all
        };
        keys <= WORDS * IN_WORD && self.seen.iter().enumerate().all(is_met)
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
    /// The sightings of keys for which their block has no room.
    crowded: Mutex<HashMap<usize, u8>>,
}

impl Buckets {
    /// For about so many keys.
    pub fn new(keys: usize) -> Buckets {
        let blocks = keys.div_ceil(IN_BLOCK).max(1) + 1;
        let blocks = std::iter::repeat_with(Block::default).take(blocks).collect();
        Buckets { blocks, open: 0, crowded: Mutex::default() }
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

    /// Notes the first sighting, which is not 0, of the key of this hash at a place; returns the earlier one, or 0 if there
    /// was none.
    #[inline]
    pub fn sight(&self, hash: u32, place: usize, sighting: u8) -> u8 {
        let block = &self.blocks[self.of(hash).0];
        let Some((word, shift)) = block.sighting(place) else {
            return self.sight_crowded(place, sighting);
        };
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
    pub fn sighting(&self, hash: u32, place: usize) -> u8 {
        self.sighting_in(&self.blocks[self.of(hash).0], place)
    }

    fn sighting_in(&self, block: &Block, place: usize) -> u8 {
        match block.sighting(place) {
            Some((word, shift)) => nibble(word.load(Ordering::Relaxed), shift),
            None => {
                let crowded = self.crowded.lock().expect("nothing panics while it holds the lock");
                crowded.get(&place).copied().unwrap_or(0)
            }
        }
    }

    /// The places of keys that were not sighted, in their order.
    pub fn unmet(&self) -> impl Iterator<Item = usize> + '_ {
        let blocks = self.blocks.iter().zip(&self.blocks[1..]);
        let places = |(block, next): (&Block, &Block)| block.base as usize..next.base as usize;
        let blocks = blocks.map(move |pair| (pair.0, places(pair)));
        let left = blocks.filter(|(block, places)| !block.is_met(places.len()));
        left.flat_map(move |(block, places)| {
            places.filter(move |place| self.sighting_in(block, *place) == 0)
        })
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
    fn a_block_takes_one_line_of_memory() {
        assert_eq!((size_of::<Block>(), align_of::<Block>()), (64, 64));
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
                    assert!(candidates.len() <= 4 || !is_even, "{candidates:?}");
                }
                for hash in [0, 1, u32::MAX / 2, u32::MAX] {
                    let candidates = buckets.candidates(hash);
                    assert!(candidates.start <= candidates.end && candidates.end <= many);
                }
            }
        }
    }

    #[test]
    fn what_was_sighted_is_known_and_the_rest_is_unmet_also_where_keys_crowd() {
        for (many, expected) in [(1_000, 1_000), (1_000, 0), (200, 31), (57, 31), (56, 31)] {
            let hashes = hashes(many, 3);
            let buckets = buckets(expected, &hashes);
            let places: Vec<(usize, u32)> = hashes.into_iter().enumerate().collect();
            assert_eq!(buckets.unmet().count(), places.len());
            for (place, hash) in places.iter().copied().filter(|(place, _)| place % 5 > 0) {
                assert_eq!(buckets.sight(hash, place, 2), 0);
                assert_eq!(buckets.sight(hash, place, 4), 2);
            }
            for (place, hash) in &places {
                let sighting = if place % 5 > 0 { 2 } else { 0 };
                assert_eq!(buckets.sighting(*hash, *place), sighting);
            }
            assert!(buckets.unmet().eq((0..places.len()).step_by(5)));
            assert!(
                places.iter().step_by(5).all(|(place, hash)| buckets.sight(*hash, *place, 1) == 0)
            );
            assert_eq!(buckets.unmet().count(), 0);
        }
    }
}
