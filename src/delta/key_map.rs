//! A map from keys, compared in full, to small values: keys lie one after the other in one arena, and nothing is
//! allocated for each.

use std::ops::Range;

use hashbrown::HashTable;

use crate::domain::key::KeyHash;

/// Grows only; a key's value may be replaced.
#[derive(Debug)]
pub struct KeyMap<V> {
    slots: HashTable<u32>,
    entries: Vec<(KeyHash, usize, V)>,
    keys: Vec<u8>,
}

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        KeyMap { slots: HashTable::new(), entries: Vec::new(), keys: Vec::new() }
    }
}

impl<V> KeyMap<V> {
    pub fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&V> {
        self.place(hash, key).map(|place| &self.entries[place].2)
    }

    /// The value that the key had, if it had one.
    pub fn insert(&mut self, hash: KeyHash, key: &[u8], value: V) -> Option<V> {
        if let Some(place) = self.place(hash, key) {
            return Some(std::mem::replace(&mut self.entries[place].2, value));
        }
        let place = u32::try_from(self.entries.len()).expect("a read has fewer than 2^32 keys");
        self.keys.extend_from_slice(key);
        self.entries.push((hash, self.keys.len(), value));
        let entries = &self.entries;
        self.slots.insert_unique(low(hash), place, |place| low(entries[index(*place)].0));
        None
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, hash: KeyHash, key: &[u8]) -> Option<usize> {
        let is_it = |place: &u32| {
            let place = index(*place);
            self.entries[place].0 == hash && &self.keys[self.range(place)] == key
        };
        self.slots.find(low(hash), is_it).map(|place| index(*place))
    }

    fn range(&self, place: usize) -> Range<usize> {
        let start = if place == 0 { 0 } else { self.entries[place - 1].1 };
        start..self.entries[place].1
    }
}

/// The half of the hash that segments and buckets are not ordered by.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(hash: KeyHash) -> u64 {
    hash as u64
}

fn index(place: u32) -> usize {
    usize::try_from(place).expect("a u32 fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_one_hash_are_two_keys() {
        let mut map = KeyMap::default();
        assert_eq!(map.insert(7, b"a", 1), None);
        assert_eq!(map.insert(7, b"b", 2), None);
        assert_eq!(map.insert(7, b"a", 3), Some(1));
        assert_eq!(map.get(7, b"a"), Some(&3));
        assert_eq!(map.get(7, b"b"), Some(&2));
        assert_eq!(map.get(7, b"c"), None);
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn a_thousand_keys_are_found() {
        let mut map = KeyMap::default();
        for n in 0..1_000_u32 {
            let key = n.to_le_bytes();
            assert_eq!(map.insert(crate::domain::key::hash(&key), &key, n), None);
        }
        for n in 0..1_000_u32 {
            let key = n.to_le_bytes();
            assert_eq!(map.get(crate::domain::key::hash(&key), &key), Some(&n));
        }
    }
}
