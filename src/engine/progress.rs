use std::sync::atomic::{AtomicU64, Ordering};

/// Live counts of a run, for a progress bar and for questions while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    rows_read: AtomicU64,
    delivered: AtomicU64,
    rejected: AtomicU64,
    in_flight: AtomicU64,
}

impl Progress {
    pub fn rows_read(&self) -> u64 {
        self.rows_read.load(Ordering::Relaxed)
    }

    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Requests that have no answer yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, rows_read: u64, delivered: u64, rejected: u64, in_flight: u64) {
        self.rows_read.store(rows_read, Ordering::Relaxed);
        self.delivered.store(delivered, Ordering::Relaxed);
        self.rejected.store(rejected, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }
}
