//! The primary keys that a read has met, for a sync whose delivered key is another one: a primary key that comes twice
//! takes both of its rows out, whatever records they would have become.
//!
//! Shared by the readers. Guards: never more bytes than it may take; the read ends with an error beyond.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::key_map::KeyMap;
use super::table::Sighting;
use crate::domain::key::KeyHash;

const SHARDS: usize = 16;
/// Bytes of bookkeeping for each key, roughly.
const OVERHEAD: usize = 56;

/// The keys do not fit into the memory they may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The first row with a primary key: its delivered key, and what it came to if the snapshot knows that key.
pub type First = (Vec<u8>, Option<Sighting>);

/// Primary keys, each with the first row that had it.
#[derive(Debug)]
pub struct PrimaryKeys {
    shards: Vec<Mutex<Shard>>,
    bytes: AtomicUsize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Shard {
    seen: KeyMap<(usize, usize)>,
    /// A sighting and a delivered key, again and again.
    rows: Vec<u8>,
}

impl PrimaryKeys {
    /// `limit` is in bytes.
    pub fn new(limit: usize) -> PrimaryKeys {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        PrimaryKeys { shards, bytes: AtomicUsize::new(0), limit }
    }

    /// Notes the primary key of a row, which has this delivered key and came to `sighting`; the first row that had it, if this
    /// is not the first.
    ///
    /// # Errors
    /// The memory is used up.
    pub fn sight(
        &self,
        hash: KeyHash,
        primary: &[u8],
        delivered: &[u8],
        sighting: Option<Sighting>,
    ) -> Result<Option<First>, Full> {
        let shard = usize::try_from(hash >> 124).expect("four bits fit");
        let mut shard = self.shards[shard].lock().expect("nothing panics while it holds the lock");
        if let Some((start, end)) = shard.seen.get(hash, primary) {
            let (first, rest) = shard.rows[*start..*end].split_first().expect("a row has a byte");
            return Ok(Some((rest.to_vec(), Sighting::of(*first))));
        }
        let size = primary.len() + delivered.len() + OVERHEAD;
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > self.limit {
            return Err(Full);
        }
        let start = shard.rows.len();
        shard.rows.push(sighting.map_or(0, |sighting| sighting as u8));
        shard.rows.extend_from_slice(delivered);
        let end = shard.rows.len();
        shard.seen.insert(hash, primary, (start, end));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key;

    #[test]
    fn the_second_row_learns_what_the_first_would_have_become() {
        let keys = PrimaryKeys::new(1_000);
        let sight = |primary: &[u8], delivered: &[u8]| {
            let waived = Some(Sighting::Waived).filter(|_| delivered.starts_with(b"a"));
            keys.sight(key::hash(primary), primary, delivered, waived).unwrap()
        };
        let first = |key: &[u8], sighting| Some((key.to_vec(), sighting));
        assert_eq!(sight(b"1", b"a@example.com"), None);
        assert_eq!(sight(b"2", b"b@example.com"), None);
        let waived = first(b"a@example.com", Some(Sighting::Waived));
        assert_eq!(sight(b"1", b"c@example.com"), waived);
        assert_eq!(sight(b"1", b"d@example.com"), waived);
        assert_eq!(sight(b"2", b"a@example.com"), first(b"b@example.com", None));
    }

    #[test]
    fn beyond_its_limit_it_is_full_and_says_so() {
        let keys = PrimaryKeys::new(2 * (OVERHEAD + 2));
        assert_eq!(keys.sight(1, b"1", b"a", None), Ok(None));
        assert_eq!(keys.sight(2, b"2", b"b", None), Ok(None));
        assert_eq!(keys.sight(3, b"3", b"c", None), Err(Full));
        assert_eq!(keys.sight(1, b"1", b"x", None), Ok(Some((b"a".to_vec(), None))));
    }
}
