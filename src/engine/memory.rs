//! How `memory_limit` is shared out among what grows with the rows of a run.

/// Bytes that each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// The keys of the read's operations, compared in full.
    pub keys: usize,
    /// The filter that tells which keys were not met, once they do not all fit.
    pub filter: usize,
}

impl Shares {
    /// `limit` is in bytes.
    pub fn of(limit: u64) -> Shares {
        let part = |of: u64| usize::try_from(limit / of).unwrap_or(usize::MAX);
        Shares { keys: part(16), filter: part(8) }
    }
}
