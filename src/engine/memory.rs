//! How `memory_limit` is shared out among what grows with the rows of a run, or with its snapshot.

/// What a process takes beside these, in bytes: the query with its buffers, batches on their way, and the program itself.
const BESIDE: u64 = 200 << 20;

/// What of that is there for what is not decoded yet.
const UNDECODED: u64 = 128 << 20;

/// Bytes that each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// The keys of the read's operations, compared in full.
    pub keys: usize,
    /// The filter that tells which keys were not met, once they do not all fit.
    pub filter: usize,
    /// The table of a part of the snapshot, and what it may take beside primary keys that are not the delivered ones.
    pub table: usize,
    pub table_beside_keys: usize,
    /// Those primary keys.
    pub primary_keys: usize,
    /// Sorts, groups and joins of the model's query.
    pub query: usize,
    /// What the query has read of files and not decoded yet.
    pub undecoded: usize,
}

impl Shares {
    /// `limit` is in bytes. What may grow at one time is little more than it: few keys are sent where the table is large, but for
    /// full runs, whose tables leave room for them (`passes::parts`); and most queries hold no rows.
    pub fn of(limit: u64) -> Shares {
        let part = |of: u64| usize::try_from(limit / of).unwrap_or(usize::MAX);
        let undecoded = part(4);
        let beside = BESIDE + (limit / 4).saturating_sub(UNDECODED);
        let rest = usize::try_from(limit.saturating_sub(beside)).unwrap_or(usize::MAX);
        let (least, primary_keys) = (part(8), (rest / 2).max(part(4)));
        Shares {
            keys: part(16),
            filter: part(8),
            table: rest.max(least),
            table_beside_keys: rest.saturating_sub(primary_keys).max(least),
            primary_keys,
            query: part(2),
            undecoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_what_the_process_leaves_of_the_memory() {
        let table = |mebibytes: u64| Shares::of(mebibytes << 20).table >> 20;
        assert_eq!([0, 16, 200, 256, 512, 4096].map(table), [0, 2, 25, 56, 312, 3000]);
        let Shares { table_beside_keys, primary_keys, .. } = Shares::of(512 << 20);
        assert_eq!([table_beside_keys, primary_keys].map(|bytes| bytes >> 20), [156, 156]);
    }
}
