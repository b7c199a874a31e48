//! Run a model's query, yield record batches, prove the end of the read.
//!
//! A read has three moments: [`Reader::open`] lists the files, fixes the columns' types and plans the query; the
//! partitions of [`Reading`] are then polled to their ends by the engine, on a runtime of its choice; and only after
//! all of them ended without an error does [`Proof::verify`] say whether the files were the same before and after.
//! Not responsible for keys being unique, for fingerprints, or for what an unproven read means.
//!
//! Invariant: a read is never silently short. A file that cannot be read in full, a cut row, or a value that does not
//! fit its column's type is an error, and no error carries a row's values.

mod agreed;
mod arithmetic;
mod blame;
mod builders;
mod called;
mod cancel;
mod csv;
mod database;
mod databases;
pub mod definition;
mod delta;
mod describe;
mod error;
mod examine;
mod facts;
mod files;
mod grouped;
mod hint;
mod ipc;
mod mapping;
mod moment;
pub mod mysql;
mod ndjson;
mod opening;
mod parquet;
mod partitions;
mod pins;
pub mod postgres;
mod proof;
mod queried;
mod reader;
pub mod remote;
mod restriction;
mod secret;
mod session;
mod silence;
mod socket;
mod spent;
mod statement;
pub mod store;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod trimmed;
mod unpack;
mod user;
pub mod volatile;
mod watched;
mod weights;

pub use cancel::{Canceller, Cancels};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use csv::fuzzing as fuzzing_csv;
pub use describe::{ColumnSeen, Described, FieldSeen, VersionSeen};
pub use error::Error;
pub use examine::{Examined, FilesSeen, TableSeen, examine};
pub use facts::{Completeness, Facts, Listed};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use ipc::fuzzing as fuzzing_ipc;
pub use mapping::{FieldInfo, Selection, check_condition, key_type_name};
pub use moment::{Held, Moment};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use ndjson::fuzzing as fuzzing_ndjson;
pub use pins::{Pin, Pins};
pub use proof::{Earlier, Proof, Unproven, Verified, remembered, vanished};
pub use queried::{Queried, refusal};
pub use reader::{Reader, Reading, Settings};
pub use restriction::{Met, Restriction};
pub use secret::Secret;
pub use spent::Spent;
pub use text::{TextFormat, check_type_name};
pub use trimmed::Dialect;
pub use user::Writing;
