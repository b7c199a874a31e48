//! What the destination is known to hold: format, journal (intents, receipts), commit, compaction.
//!
//! A snapshot is a directory: a manifest (manifest.rs), immutable segments (segment.rs, block.rs, extras.rs) and the
//! journal of the generation in the making (journal.rs, encoding.rs); frame.rs says what all of them share. A commit folds
//! the journal into a segment (commit.rs); nothing here holds all of a journal or of a segment in memory.
//! Not responsible for deciding what is sent, nor for the lock that keeps a second process out.

pub mod archive;
mod block;
pub mod commit;
mod compaction;
pub mod disk;
mod encoding;
pub mod error;
mod fold;
mod frame;
mod frames;
mod gather;
pub mod glance;
pub mod header;
pub mod journal;
mod ledger;
mod manifest;
pub mod memory_disk;
mod merge;
mod names;
pub mod open;
pub mod overlay;
mod partitions;
pub mod record;
mod rest;
mod scan;
mod segment;
mod segment_writer;
#[cfg(test)]
mod tests;
mod touches;
pub mod view;

pub use archive::archive;
pub use commit::Committed;
pub use error::Error;
pub use glance::{Glance, Glances};
pub use open::{Known, Recovered, Snapshot};
pub use overlay::recovered;
pub use rest::as_left;
pub use view::{Entries, Stored, View};
