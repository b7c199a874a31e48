//! What the destination is known to hold: format, journal (intents, receipts), commit, compaction.

pub mod header;
pub mod record;
