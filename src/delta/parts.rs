//! The parts of a snapshot that are compared with the rows one after the other, as not all of it fits into memory.
//!
//! A part is some shards of the table that follow one another, so that all rows of a key are compared with the same part.
//! Not here: the rows that wait for their part (`engine::parked`).

use std::ops::Range;

use super::table::Cut;
use crate::domain::key::KeyHash;

/// At least one; the first is compared with the rows as they stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    cut: Cut,
    /// The number of the first shard of each part, and behind them how many shards there are.
    bounds: Vec<usize>,
}

impl Parts {
    /// As few as have room: `size` says what each shard takes, in the unit of `room`. A shard that has no room alone is a part.
    pub fn new(cut: Cut, room: usize, size: impl Fn(usize) -> usize) -> Parts {
        let (mut bounds, mut taken) = (vec![0], 0_usize);
        for shard in 0..cut.shards() {
            let size = size(shard);
            if taken > 0 && taken.saturating_add(size) > room {
                bounds.push(shard);
                taken = 0;
            }
            taken = taken.saturating_add(size.max(1));
        }
        bounds.push(cut.shards());
        Parts { cut, bounds }
    }

    pub fn cut(&self) -> Cut {
        self.cut
    }

    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The shards of a part; `None` behind the last one.
    pub fn shards(&self, part: usize) -> Option<Range<usize>> {
        Some(*self.bounds.get(part)?..*self.bounds.get(part + 1)?)
    }

    /// The part that a key of this hash belongs to.
    pub fn of(&self, hash: KeyHash) -> usize {
        let shard = self.cut.shard_of(hash);
        self.bounds.partition_point(|bound| *bound <= shard) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_put_together_while_there_is_room_and_each_hash_has_its_part() {
        let cut = Cut::of(1 << 20, 2, 1 << 17);
        let shards = cut.shards();
        assert!(shards > 8);
        for (room, parts) in [(usize::MAX, 1), (4 * 100, shards / 4), (1, shards), (0, shards)] {
            let found = Parts::new(cut, room, |_| 100);
            assert_eq!(found.len(), parts);
            let ranges: Vec<_> = (0..parts).map(|part| found.shards(part).unwrap()).collect();
            assert!(ranges.iter().flat_map(Range::clone).eq(0..shards));
            assert_eq!(found.shards(parts), None);
            for (part, range) in ranges.iter().enumerate() {
                let (first, last) = (cut.range(range.start), cut.range(range.end - 1));
                assert_eq!([found.of(*first.start()), found.of(*last.end())], [part; 2]);
            }
        }
        let uneven = Parts::new(cut, 10, |shard| if shard == 3 { 50 } else { 5 });
        assert_eq!(uneven.shards(1), Some(2..3));
        assert_eq!(uneven.shards(2), Some(3..4));
    }
}
