//! What a run has seen of each key of a shard, in half a byte.
//!
//! Readers on many threads note it without a lock. Not here: what a sighting means (`table`).

use std::sync::atomic::{AtomicU32, Ordering};

use prefetch_index::prefetch_index;

use crate::points;

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
