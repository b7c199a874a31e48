//! Operations that wait: for the end of the read, or for others to go first. Within bounds, in the order they are sent.
//!
//! Not here: what has to wait, and why (`intake`, `domain::decision`).

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashTable;

use crate::delivery::{Dispatch, Item};
use crate::delta::key_map::low;
use crate::domain::entry::{Fingerprint, Operation};
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::domain::key::KeyHash;

/// Bytes that a lane may hold.
const MOST_BYTES: usize = 64 << 20;

/// An operation that waits.
#[derive(Debug)]
pub struct Late {
    pub key: Vec<u8>,
    pub hash: KeyHash,
    pub fingerprint: Fingerprint,
    pub fragment: Vec<u8>,
    pub target_len: u32,
    /// The batch and place it had, and its number, if it is a repetition.
    pub repeats: Option<(BatchNumber, u32, IntentNumber)>,
    /// The retry of a standing rejection.
    pub is_retry: bool,
    /// Only a read that was proven complete can say that it may be sent.
    pub needs_proof: bool,
}

impl Late {
    fn size(&self) -> usize {
        self.key.len() + self.fragment.len() + size_of::<Late>()
    }

    pub fn item(&self) -> Item<'_> {
        Item {
            key: &self.key,
            key_hash: self.hash,
            fingerprint: self.fingerprint,
            number: self.repeats.map(|(_, _, number)| number),
            fragment: &self.fragment,
            target_len: self.target_len,
            is_retry: self.is_retry,
        }
    }
}

/// The operations that wait.
#[derive(Debug, Default)]
pub struct Lane {
    late: Vec<Late>,
    /// Where each of them is.
    places: HashTable<usize>,
    bytes: usize,
    /// Batches of which a part found no room, and that may leave only whole.
    cut: BTreeSet<BatchNumber>,
}

impl Lane {
    pub fn has_room(&self) -> bool {
        self.bytes <= MOST_BYTES
    }

    /// Retries of rejections have half of it, so that they leave room for what is in doubt; for others there is room elsewhere.
    pub fn has_room_for_retries(&self) -> bool {
        self.bytes <= MOST_BYTES / 2
    }

    /// A part of the batch found no room here: the rest of it is left out too.
    pub fn cut(&mut self, batch: BatchNumber) {
        self.cut.insert(batch);
    }

    pub fn is_cut(&self, batch: BatchNumber) -> bool {
        self.cut.contains(&batch)
    }

    pub fn push(&mut self, late: Late) {
        self.bytes += late.size();
        let (hash, place) = (low(late.hash), self.late.len());
        self.late.push(late);
        self.places.insert_unique(hash, place, |place| low(self.late[*place].hash));
    }

    pub fn remove(&mut self, hash: KeyHash, key: &[u8]) {
        let late = &self.late;
        let is_it = |place: &usize| late[*place].hash == hash && late[*place].key == key;
        let Ok(found) = self.places.find_entry(low(hash), is_it) else { return };
        let (place, _) = found.remove();
        self.bytes -= self.late.swap_remove(place).size();
        if let Some(moved) = self.late.get(place) {
            let before = self.late.len();
            let moved = self.places.find_mut(low(moved.hash), |place| *place == before);
            *moved.expect("all that wait have a place") = place;
        }
    }

    pub fn has(&self, hash: KeyHash, key: &[u8]) -> bool {
        let is_it = |place: &usize| self.late[*place].hash == hash && self.late[*place].key == key;
        self.places.find(low(hash), is_it).is_some()
    }

    pub fn len(&self) -> usize {
        self.late.len()
    }

    pub fn is_empty(&self) -> bool {
        self.late.is_empty()
    }

    /// Empties the lane into groups to be sent one after the other: repetitions in their old batches first, whatever was
    /// refused before them, and other retries of rejections last. Also how many were left out, as they need a proof and
    /// there is none, or the rest of their batch.
    pub fn groups(&mut self, is_proven: bool) -> (VecDeque<Group>, u64) {
        let all = self.late.len();
        let Lane { mut late, cut, .. } = std::mem::take(self);
        let is_cut = |late: &Late| late.repeats.is_some_and(|(batch, ..)| cut.contains(&batch));
        late.retain(|late| (is_proven || !late.needs_proof) && !is_cut(late));
        let left_out = (all - late.len()) as u64;
        late.sort_by_key(|late| {
            let place = late.repeats.map(|(batch, index, _)| (batch, index));
            (late.is_retry && place.is_none(), place.is_none(), place)
        });
        let mut groups: VecDeque<Group> = VecDeque::new();
        for late in late {
            let batch = late.repeats.map(|(batch, _, _)| batch);
            match groups.back_mut() {
                Some(group) if batch.is_some() && group.batch == batch => group.lates.push(late),
                _ => groups.push_back(Group { batch, lates: vec![late] }),
            }
        }
        (groups, left_out)
    }
}

/// Operations that belong together.
#[derive(Debug)]
pub struct Group {
    batch: Option<BatchNumber>,
    lates: Vec<Late>,
}

impl Group {
    pub fn len(&self) -> usize {
        self.lates.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lates.is_empty()
    }

    /// Hands the group over: a repetition as the one batch it was.
    pub fn push(&self, operation: Operation, delivery: &mut Dispatch) {
        let items: Vec<Item<'_>> = self.lates.iter().map(Late::item).collect();
        if self.batch.is_some() {
            delivery.push_group(operation, &items);
        } else {
            items.iter().for_each(|item| delivery.push(operation, item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(key: u8, repeats: Option<(u64, u32)>, is_retry: bool, needs_proof: bool) -> Late {
        let repeats =
            repeats.map(|(batch, index)| (BatchNumber(batch), index, IntentNumber(batch)));
        Late {
            key: vec![key],
            hash: u128::from(key),
            fingerprint: 1,
            fragment: Vec::new(),
            target_len: 0,
            repeats,
            is_retry,
            needs_proof,
        }
    }

    fn lane() -> Lane {
        let mut lane = Lane::default();
        lane.push(late(1, None, true, false));
        lane.push(late(2, Some((7, 1)), false, false));
        lane.push(late(3, None, false, true));
        lane.push(late(4, Some((6, 0)), false, false));
        lane.push(late(5, Some((7, 0)), false, false));
        lane
    }

    fn keys(groups: &VecDeque<Group>) -> Vec<Vec<u8>> {
        let keys = |group: &Group| group.lates.iter().map(|late| late.key[0]).collect();
        groups.iter().map(keys).collect()
    }

    #[test]
    fn repetitions_go_first_in_their_old_batches_and_retries_last() {
        let (groups, left_out) = lane().groups(true);
        assert_eq!(keys(&groups), [vec![4], vec![5, 2], vec![3], vec![1]]);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn a_retry_without_an_answer_is_repeated_in_its_old_batch() {
        let mut lane = lane();
        lane.push(late(6, Some((7, 2)), true, false));
        assert_eq!(keys(&lane.groups(true).0), [vec![4], vec![5, 2, 6], vec![3], vec![1]]);
    }

    #[test]
    fn without_a_proof_what_needs_one_is_left_out_and_counted() {
        let (groups, left_out) = lane().groups(false);
        assert_eq!(keys(&groups), [vec![4], vec![5, 2], vec![1]]);
        assert_eq!(left_out, 1);
    }

    #[test]
    fn of_a_batch_that_was_cut_nothing_goes_and_all_is_counted() {
        let mut lane = lane();
        lane.cut(BatchNumber(7));
        assert!(lane.is_cut(BatchNumber(7)) && !lane.is_cut(BatchNumber(6)));
        let (groups, left_out) = lane.groups(true);
        assert_eq!(keys(&groups), [vec![4], vec![3], vec![1]]);
        assert_eq!(left_out, 2);
    }

    #[test]
    fn in_whatever_order_they_are_removed_the_others_stay() {
        for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4]] {
            let mut lane = lane();
            let mut left = vec![1, 2, 3, 4, 5];
            for key in order {
                lane.remove(u128::from(key), &[key]);
                left.retain(|other| *other != key);
                let mut keys: Vec<u8> = lane.late.iter().map(|late| late.key[0]).collect();
                keys.sort_unstable();
                assert_eq!((keys, lane.places.len()), (left.clone(), left.len()));
            }
            assert_eq!(lane.bytes, 0);
        }
    }

    #[test]
    fn what_is_removed_makes_room() {
        let mut lane = lane();
        let before = lane.bytes;
        lane.remove(3, &[3]);
        lane.remove(3, &[3]);
        assert_eq!(lane.len(), 4);
        assert!(lane.bytes < before && lane.has_room());
    }
}
