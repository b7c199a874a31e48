//! Where in a shard the keys of a hash lie, in less than half a byte a key.
//!
//! A search waits for the addresses of pages more than for their bytes, as the processor remembers those of some
//! thousand pages alone: so what is looked at before the keys is small enough to stay with it. Not here: the keys
//! themselves (`shard`).

use std::ops::Range;

use prefetch_index::prefetch_index;

/// Keys in a bucket, on average.
const IN_BUCKET: usize = 3;
/// Buckets of a group.
const IN_GROUP: usize = 27;
/// The end of a group's last bucket where it has more keys than its bytes can say: then all of them are looked through.
const OVERFULL: u8 = u8::MAX;

/// Keys of a range of the hash that follow one another: those of `IN_GROUP` buckets.
#[derive(Debug, Default, Clone)]
#[repr(align(32))]
struct Group {
    /// The place of the first key.
    base: u32,
    /// Where each bucket begins, counted from the base, and where the last one ends.
    bounds: [u8; IN_GROUP + 1],
}

impl Group {
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
    groups: Vec<Group>,
    /// The group of the last key that was pushed.
    open: usize,
}

impl Buckets {
    /// For about so many keys.
    pub fn new(keys: usize) -> Buckets {
        let groups = keys.div_ceil(IN_BUCKET * IN_GROUP).max(1) + 1;
        Buckets { groups: vec![Group::default(); groups], open: 0 }
    }

    /// The numbers of a hash's group, and of its bucket in there. Both rise with the hash.
    #[inline]
    fn of(&self, hash: u32) -> (usize, usize) {
        let wide = u64::from(hash) * (self.groups.len() - 1) as u64;
        let within = (wide & u64::from(u32::MAX)) * IN_GROUP as u64;
        let upper = |wide: u64| usize::try_from(wide >> 32).expect("32 bits");
        (upper(wide), upper(within))
    }

    /// Notes that the next key, whose hash is not below the last one's, lies at a place.
    #[inline]
    pub fn push(&mut self, hash: u32, place: u32) {
        let (group, bucket) = self.of(hash);
        if group != self.open {
            self.begin(group, place);
        }
        let group = &mut self.groups[group];
        let end = u8::try_from(place + 1 - group.base).unwrap_or(OVERFULL);
        group.bounds[bucket + 1] = end;
    }

    /// Has all groups up to this one begin at a place.
    fn begin(&mut self, group: usize, place: u32) {
        debug_assert!(group > self.open, "keys come in the order of their hashes");
        self.groups[self.open].close();
        self.groups[self.open + 1..=group].iter_mut().for_each(|group| group.base = place);
        self.open = group;
    }

    /// All keys were pushed, so many.
    pub fn finish(&mut self, keys: u32) {
        self.begin(self.groups.len() - 1, keys);
    }

    /// The places where a key of this hash may lie.
    #[inline]
    pub fn candidates(&self, hash: u32) -> Range<u32> {
        let (number, bucket) = self.of(hash);
        let group = &self.groups[number];
        if group.bounds[IN_GROUP] == OVERFULL {
            return group.base..self.groups[number + 1].base;
        }
        let bound = |bucket: usize| group.base + u32::from(group.bounds[bucket]);
        bound(bucket)..bound(bucket + 1)
    }

    /// Has fetched what a search for a hash begins with.
    #[inline]
    pub fn fetch(&self, hash: u32) {
        prefetch_index(&self.groups, self.of(hash).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_takes_half_a_line_of_memory() {
        assert_eq!((size_of::<Group>(), align_of::<Group>()), (32, 32));
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
        let of = |number: u32| if number % 3 == 1 { number - 1 } else { number };
        (0..many).map(|number| of(number) * step).collect()
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
    fn a_group_with_more_keys_than_it_can_say_has_all_of_them_looked_through() {
        // Of a hundred groups one has so many keys in one bucket, and its neighbours as many as they should.
        let width = u32::MAX / 100;
        for crowd in [253, 254, 255, 256, 1_000] {
            let (before, crowded, behind) = (50 * width + 9, 51 * width + 9, 52 * width + 9);
            let mut hashes = vec![before; 2];
            hashes.extend(std::iter::repeat_n(crowded, crowd));
            hashes.extend([behind; 2]);
            let buckets = buckets(100 * IN_BUCKET * IN_GROUP, &hashes);
            let end = 2 + u32::try_from(crowd).unwrap();
            let candidates = [before, crowded, behind].map(|hash| buckets.candidates(hash));
            assert_eq!(candidates, [0..2, 2..end, end..end + 2], "{crowd}");
        }
    }
}
