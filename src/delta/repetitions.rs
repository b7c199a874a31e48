//! Which keys come more than once in a read, for a pass over the key columns before anything is sent.
//!
//! Shared by the streams of the pass. Only hashes are kept, so that many rows fit: two keys that share one are taken for
//! one that is repeated, which costs them a wait for the end of the read and nothing more; a repetition is never missed.
//! Guards: never more bytes than it may take. Not here: naming the keys, which the run does when it meets them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;

use super::key_map::low;
use super::keys::Keys;
use super::primary_keys::Full;
use crate::domain::column::Column;
use crate::domain::key::KeyHash;

const SHARDS: usize = 16;
/// Bytes of the first allocation of a table, at most.
const SMALLEST: usize = 256;

/// Delivered keys that may not leave before a read has shown that they come once.
#[derive(Debug, Default)]
pub struct Repeated(HashTable<u64>);

impl Repeated {
    pub fn has(&self, hash: KeyHash) -> bool {
        let low = low(hash);
        self.0.find(low, |other| *other == low).is_some()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The keys that a pass has met.
#[derive(Debug)]
pub struct Repetitions {
    /// The columns, of those looked at, that form the delivered key.
    key: Vec<usize>,
    /// Those of the primary key, where it is not the delivered key.
    primary: Option<Vec<usize>>,
    delivered: Vec<Mutex<HashTable<u64>>>,
    /// Each primary key with the delivered key of the first row that had it.
    primaries: Vec<Mutex<HashTable<(u64, u64)>>>,
    repeated: Mutex<HashTable<u64>>,
    memory: Memory,
}

impl Repetitions {
    /// `limit` is in bytes.
    pub fn new(key: &[usize], primary_key: &[usize], limit: usize) -> Repetitions {
        Repetitions {
            key: key.to_vec(),
            primary: (primary_key != key).then(|| primary_key.to_vec()),
            delivered: (0..SHARDS).map(|_| Mutex::default()).collect(),
            primaries: (0..SHARDS).map(|_| Mutex::default()).collect(),
            repeated: Mutex::default(),
            memory: Memory { bytes: AtomicUsize::new(0), limit },
        }
    }

    /// Notes the keys of `rows` rows.
    ///
    /// # Errors
    /// The memory is used up.
    pub fn sight(&self, columns: &[Column<'_>], rows: usize) -> Result<(), Full> {
        let keys = |indexes: &[usize]| {
            let fields: Vec<&Column<'_>> = indexes.iter().map(|index| &columns[*index]).collect();
            Keys::new(&fields, rows)
        };
        let delivered = keys(&self.key);
        // A row with a NULL in its delivered key is never sent itself, but its primary key is one all the same.
        for row in (0..rows).filter(|row| !delivered.is_null(*row)) {
            self.delivered(delivered.hash(row))?;
        }
        let Some(primary) = &self.primary else { return Ok(()) };
        let primary = keys(primary);
        for row in (0..rows).filter(|row| !primary.is_null(*row)) {
            self.primary(primary.hash(row), delivered.hash(row))?;
        }
        Ok(())
    }

    fn delivered(&self, hash: KeyHash) -> Result<(), Full> {
        let low = low(hash);
        let is_new = {
            let mut shard = lock(&self.delivered[shard(hash)]);
            self.memory.insert(&mut shard, low, |hash| *hash)?.is_none()
        };
        if is_new { Ok(()) } else { self.mark(low) }
    }

    fn primary(&self, hash: KeyHash, delivered: KeyHash) -> Result<(), Full> {
        let pair = (low(hash), low(delivered));
        let first = {
            let mut shard = lock(&self.primaries[shard(hash)]);
            self.memory.insert(&mut shard, pair, |(primary, _)| *primary)?
        };
        let Some((_, first)) = first else { return Ok(()) };
        self.mark(first)?;
        self.mark(pair.1)
    }

    fn mark(&self, delivered: u64) -> Result<(), Full> {
        self.memory.insert(&mut lock(&self.repeated), delivered, |hash| *hash)?;
        Ok(())
    }

    /// What was found; nothing is left here.
    pub fn take(&self) -> Repeated {
        Repeated(std::mem::take(&mut *lock(&self.repeated)))
    }
}

fn shard(hash: KeyHash) -> usize {
    usize::try_from(hash >> 124).expect("four bits fit")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}

/// What all tables together have allocated.
#[derive(Debug)]
struct Memory {
    bytes: AtomicUsize,
    limit: usize,
}

impl Memory {
    /// Inserts `entry` unless one with its hash is there, which is returned then.
    fn insert<T: Copy>(
        &self,
        table: &mut HashTable<T>,
        entry: T,
        hash: impl Fn(&T) -> u64,
    ) -> Result<Option<T>, Full> {
        let wanted = hash(&entry);
        if let Some(found) = table.find(wanted, |other| hash(other) == wanted) {
            return Ok(Some(*found));
        }
        if table.len() == table.capacity() {
            self.grow(table, &hash)?;
        }
        table.insert_unique(wanted, entry, hash);
        Ok(None)
    }

    /// A table doubles, and both are there until all entries are in the larger one.
    fn grow<T>(&self, table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) -> Result<(), Full> {
        let before = table.allocation_size();
        let wanted = SMALLEST.max(2 * before);
        if self.bytes.fetch_add(wanted, Ordering::Relaxed) + wanted > self.limit {
            return Err(Full);
        }
        table.reserve(1, hash);
        self.bytes.fetch_add(table.allocation_size(), Ordering::Relaxed);
        self.bytes.fetch_sub(before + wanted, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    /// Rows of delivered key and primary key, in batches.
    fn sight(repetitions: &Repetitions, rows: &[(Option<i64>, Option<i64>)]) -> Result<(), Full> {
        let arrays: [ArrayRef; 2] = [
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        ];
        let columns: Vec<_> = arrays.iter().map(|array| Column::new(array).unwrap()).collect();
        repetitions.sight(&columns, rows.len())
    }

    fn found(repeated: &Repeated, ids: std::ops::Range<i64>) -> Vec<i64> {
        let has = |id: &i64| {
            let array: ArrayRef = Arc::new(Int64Array::from(vec![*id]));
            repeated.has(Keys::new(&[&Column::new(&array).unwrap()], 1).hash(0))
        };
        ids.filter(has).collect()
    }

    #[test]
    fn keys_that_come_twice_are_found_across_batches_and_null_keys_are_none() {
        let repetitions = Repetitions::new(&[0], &[0], 1 << 20);
        let row = |id: i64| (Some(id), None);
        sight(&repetitions, &[row(1), row(2), (None, None), row(3)]).unwrap();
        sight(&repetitions, &[(None, None), row(4), row(2)]).unwrap();
        sight(&repetitions, &[row(5), row(5), row(2)]).unwrap();
        let repeated = repetitions.take();
        assert_eq!(found(&repeated, 0..9), [2, 5]);
        assert_eq!(repeated.len(), 2, "no NULL is among them");
        assert!(repetitions.take().is_empty());
    }

    #[test]
    fn a_repeated_primary_key_marks_what_each_of_its_rows_would_become() {
        let repetitions = Repetitions::new(&[0], &[1], 1 << 20);
        let row = |delivered: i64, primary: i64| (Some(delivered), Some(primary));
        sight(&repetitions, &[row(10, 1), row(11, 2), (Some(12), None), (Some(13), None)]).unwrap();
        sight(&repetitions, &[row(14, 1), row(15, 3), (None, Some(4)), row(16, 4)]).unwrap();
        sight(&repetitions, &[row(17, 1), row(15, 5)]).unwrap();
        assert_eq!(found(&repetitions.take(), 10..20), [10, 14, 15, 16, 17]);
    }

    #[test]
    fn a_hundred_thousand_keys_fit_where_thirty_two_bytes_each_may_be_taken_and_more_are_refused() {
        let rows = |ids: std::ops::Range<i64>| ids.map(|id| (Some(id), None)).collect::<Vec<_>>();
        let repetitions = Repetitions::new(&[0], &[0], 3_200_000);
        sight(&repetitions, &rows(0..100_000)).unwrap();
        sight(&repetitions, &rows(500..501)).unwrap();
        assert_eq!(found(&repetitions.take(), 0..1_000), [500]);
        assert_eq!(sight(&repetitions, &rows(100_000..1_000_000)), Err(Full));
        assert!(Repetitions::new(&[0], &[0], 100).delivered(1).is_err());
    }
}
