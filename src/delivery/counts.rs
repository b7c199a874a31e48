use crate::domain::entry::{Operation, Verdict};

/// Operations by how they ended, and requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Upserts and deletes.
    pub delivered: u64,
    /// Of `delivered`, those that were deletes.
    pub deleted: u64,
    pub rejected: u64,
    pub unknown: u64,
    pub unsent: u64,
    /// Those that were answered, lost or dropped.
    pub requests: u64,
    /// Requests beyond the first of each batch.
    pub retries: u64,
    /// Requests now in flight or waiting for the connection's budget.
    pub in_flight: u64,
}

impl Counts {
    pub(super) fn settle(&mut self, operation: Operation, records: u64, verdict: &Verdict) {
        match verdict {
            Verdict::Delivered => {
                self.delivered += records;
                if operation == Operation::Delete {
                    self.deleted += records;
                }
            }
            Verdict::Rejected { .. } => self.rejected += records,
            Verdict::NotApplied => self.unsent += records,
            Verdict::Unknown => self.unknown += records,
        }
    }
}
