use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// Live counts of a run, for a progress bar and for questions while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    rows_read: AtomicU64,
    delivered: AtomicU64,
    rejected: AtomicU64,
    in_flight: AtomicU64,
    has_started: watch::Sender<bool>,
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

    /// The run has started up: it reads.
    pub fn started(&self) {
        self.has_started.send_replace(true);
    }

    /// Resolves once the run has started up; never, if it ends before that. Cancel-safe.
    pub async fn wait_for_start(&self) {
        let mut has_started = self.has_started.subscribe();
        let waited = has_started.wait_for(|has_started| *has_started).await;
        waited.expect("the sender is part of this");
    }

    pub(super) fn set(&self, rows_read: u64, delivered: u64, rejected: u64, in_flight: u64) {
        self.rows_read.store(rows_read, Ordering::Relaxed);
        self.delivered.store(delivered, Ordering::Relaxed);
        self.rejected.store(rejected, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }
}
