//! What is counted of one process's runs, for `/metrics`. Values are handed about, not found by name: whoever counts
//! holds a clone.
//!
//! Not responsible for how it is written (`api::metrics`), nor for what the store knows better: queue, statuses and last
//! successes. Counters begin at zero with each process, as Prometheus expects. Invariant: nothing is counted by a label
//! that a caller can choose; the names of syncs come from the config.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::domain::run::Outcome;
use crate::domain::tally::Tally;

/// Upper bounds of the lateness of triggers, in seconds; what is later is in none of them.
pub const LATENESS: [f64; 8] = [0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The counts of one process. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

/// All counts at one moment.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub syncs: BTreeMap<String, OfSync>,
    pub lateness: Lateness,
}

/// The counts of one sync.
#[derive(Debug, Clone, Default)]
pub struct OfSync {
    pub delivered: u64,
    pub rejected: u64,
    pub unknown: u64,
    /// Queries that went on after their runs.
    pub abandoned_queries: u64,
    /// By outcome.
    pub runs: BTreeMap<&'static str, u64>,
}

/// From the due time of a trigger to its being durable.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lateness {
    /// How many were within each of [`LATENESS`].
    pub within: [u64; LATENESS.len()],
    pub count: u64,
    /// In milliseconds.
    pub sum: u64,
    /// Of the last one, in milliseconds.
    pub last: u64,
}

const WHOLE: &str = "nobody panics while counting";

impl Metrics {
    /// Counts the end of a run.
    pub fn ended(&self, sync: &str, outcome: Outcome, tally: &Tally, abandoned_queries: u64) {
        let mut counts = self.0.lock().expect(WHOLE);
        let of_sync = counts.syncs.entry(sync.to_owned()).or_default();
        of_sync.delivered += tally.delivered;
        of_sync.rejected += tally.rejected;
        of_sync.unknown += tally.unknown;
        of_sync.abandoned_queries += abandoned_queries;
        *of_sync.runs.entry(outcome.word()).or_default() += 1;
    }

    /// Counts a schedule's firing that became durable so many milliseconds after it was due.
    pub fn fired(&self, late_by: u64) {
        let lateness = &mut self.0.lock().expect(WHOLE).lateness;
        let late = std::time::Duration::from_millis(late_by).as_secs_f64();
        for (bound, within) in LATENESS.iter().zip(&mut lateness.within) {
            *within += u64::from(late <= *bound);
        }
        lateness.count += 1;
        lateness.sum += late_by;
        lateness.last = late_by;
    }

    pub fn counts(&self) -> Counts {
        self.0.lock().expect(WHOLE).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_lateness_are_counted_by_all_clones_together() {
        let metrics = Metrics::default();
        let tally = Tally { delivered: 3, rejected: 1, unknown: 2, ..Tally::default() };
        metrics.clone().ended("crm", Outcome::Partial, &tally, 1);
        metrics.ended("crm", Outcome::Partial, &tally, 0);
        metrics.fired(0);
        metrics.fired(700);
        let counts = metrics.counts();
        let crm = &counts.syncs["crm"];
        assert_eq!((crm.delivered, crm.rejected, crm.unknown), (6, 2, 4));
        assert_eq!(crm.abandoned_queries, 1);
        assert_eq!(crm.runs.get("partial"), Some(&2));
        assert_eq!(counts.lateness.within, [1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!((counts.lateness.count, counts.lateness.sum), (2, 700));
    }
}
