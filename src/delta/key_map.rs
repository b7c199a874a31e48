//! A map from keys, compared in full, to small values: keys lie one after the other in one arena, and nothing is
//! allocated for each.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::ends::Ends;
use crate::domain::key::KeyHash;

/// Grows only; a key's value may be replaced.
#[derive(Debug)]
pub struct KeyMap<V> {
    slots: HashTable<u32>,
    /// The low half of each key's hash.
    hashes: Vec<u64>,
    keys: Vec<u8>,
    ends: Ends,
    values: Vec<V>,
}

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        KeyMap {
            slots: HashTable::new(),
            hashes: Vec::new(),
            keys: Vec::new(),
            ends: Ends::default(),
            values: Vec::new(),
        }
    }
}

impl<V> KeyMap<V> {
    pub fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&V> {
        self.place(low(hash), key).map(|place| &self.values[place])
    }

    /// The value that the key had, if it had one.
    pub fn insert(&mut self, hash: KeyHash, key: &[u8], value: V) -> Option<V> {
        match self.claim(low(hash), key) {
            Some(place) => Some(std::mem::replace(&mut self.values[place], value)),
            None => {
                self.values.push(value);
                None
            }
        }
    }

    /// Whether the key is new; one that is there keeps its value.
    pub fn insert_new(&mut self, hash: KeyHash, key: &[u8], value: V) -> bool {
        let is_new = self.claim(low(hash), key).is_none();
        if is_new {
            self.values.push(value);
        }
        is_new
    }

    /// The place of the key; `None` where it was made just now, and its value is to be pushed.
    fn claim(&mut self, hash: u64, key: &[u8]) -> Option<usize> {
        let KeyMap { slots, hashes, keys, ends, values } = self;
        let is_it = |place: &u32| {
            let place = index(*place);
            hashes[place] == hash && keys[ends.range(place)] == *key
        };
        let free = match slots.entry(hash, is_it, |place| hashes[index(*place)]) {
            Entry::Occupied(slot) => return Some(index(*slot.get())),
            Entry::Vacant(free) => free,
        };
        let place = values.len();
        free.insert(u32::try_from(place).expect("a read has fewer than 2^32 keys"));
        keys.extend_from_slice(key);
        ends.push(keys.len());
        hashes.push(hash);
        None
    }

    /// All keys, in the order in which they came.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|place| &self.keys[self.ends.range(place)])
    }

    /// Takes all keys out, and keeps their memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.hashes.clear();
        self.keys.clear();
        self.ends = Ends::default();
        self.values.clear();
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Bytes, but for the ends of keys of many lengths.
    #[cfg(test)]
    pub fn allocated(&self) -> usize {
        let values = self.values.capacity() * size_of::<V>();
        self.slots.allocation_size() + 8 * self.hashes.capacity() + self.keys.capacity() + values
    }

    fn place(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |place: &u32| {
            let place = index(*place);
            self.hashes[place] == hash && self.keys[self.ends.range(place)] == *key
        };
        self.slots.find(hash, is_it).map(|place| index(*place))
    }
}

/// The half of the hash that segments and buckets are not ordered by.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub fn low(hash: KeyHash) -> u64 {
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
        assert!(!map.insert_new(7, b"b", 4) && map.insert_new(7, b"c", 5));
        assert_eq!((map.get(7, b"b"), map.get(7, b"c")), (Some(&2), Some(&5)));
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn what_was_taken_out_is_new_again() {
        let mut map = KeyMap::default();
        for round in 0..3 {
            assert!(map.insert_new(7, b"a", round) && map.insert_new(8, b"longer", round));
            assert_eq!((map.get(8, b"longer"), map.len()), (Some(&round), 2));
            map.clear();
            assert!(map.is_empty() && map.get(7, b"a").is_none());
        }
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
