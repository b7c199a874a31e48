//! Delta tables: a folder of Parquet files, and the log that says which of them each version of the table is made of.
//!
//! A read takes one version, the newest as it begins or the one that the config names, and all that it is made of stays as it is:
//! commits that come meanwhile are the next run's. The log is replayed by Delta's own kernel, which waits where it is called: it
//! has threads of the query for that, and ends with the read (`kernel`). Rows are read where their streams are polled (`rows`).
//! Not responsible for what a version that is older, or another table's, means: `source::vanished`.
//!
//! Invariants: every data file of the version is read to its end, with as many rows as the log says that it has, or the read
//! fails; whatever the kernel cannot read is refused by name; no words of the kernel that may hold a value are shown.

mod engine;
mod error;
mod file;
mod kernel;
mod listed;
mod place;
mod room;
mod rows;
mod table;
mod versions;

pub(super) use place::LOG;
pub(super) use table::{DeltaTable, open};
pub(super) use versions::WatchedDelta;
