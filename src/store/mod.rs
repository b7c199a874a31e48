//! Small rows: runs, stop requests, known snapshots, pins, pauses, record notes, audit, tokens, keys of commands,
//! decisions that no snapshot knows of yet.
//!
//! [`Store`] is a narrow asynchronous interface over one embedded SQLite file; the next step is PostgreSQL behind
//! the same functions, so no SQL, connection or row of the database leaves this room. What the destination is known
//! to hold is not here (`snapshot`), nor who may run when (`control`).
//!
//! Invariants:
//! - a write is durable when its function returns (WAL with `synchronous=FULL`);
//! - a run's phase changes only by a legal step, checked in the transaction that stores it;
//! - a damaged, missing, foreign or newer database is named and left as it is, never recreated.

mod armed;
mod audit;
mod command;
mod decision;
mod disabled;
mod error;
mod forget;
mod glance;
mod halt;
mod history;
mod keep;
pub mod lock;
mod note;
mod open;
mod page;
mod pause;
#[cfg(feature = "faults")]
mod planted;
mod run;
mod schema;
mod sync;
mod token;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Transaction;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool};

pub use audit::{AuditFilter, Audited};
pub use command::{Claim, Mark, Used};
pub use decision::{Decision, Pending};
pub use disabled::DisabledSource;
pub use error::Error;
pub use forget::Rows;
pub use glance::Glance;
pub use history::{OldRuns, Step};
pub use lock::{Holder, StateLock};
pub use note::{NOTES_PER_VERDICT, NoteFilter, RUNS_WITH_NOTES, RecordNote, RunNote, Verdict};
pub use page::Span;
pub use pause::{Pause, PauseChange, Recorded};
pub use run::{End, NewRun, RunFilter, RunRow, Stop, StopRequest};
pub use token::{Made, Scope, Token};

/// The state database of one directory. Cheap to clone; clones share the connections.
///
/// Every function may fail with [`Error::Busy`] (another process kept the database for 5 s), [`Error::Full`],
/// [`Error::Io`], [`Error::Damaged`] or [`Error::Database`]; further errors are named where they can occur.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    /// Of the database when it was opened; beside an owner that is older, or before one converts it, an older one.
    version: i64,
    /// One connection: writers of this process wait here, in order, not for SQLite's lock.
    writer: SqlitePool,
    readers: SqlitePool,
    /// The command that writes belong to.
    mark: Option<Arc<Mark>>,
}

impl Store {
    /// Closes all connections; the last process to close folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Whether it was closed: nothing can be read or written any more.
    pub fn is_closed(&self) -> bool {
        self.writer.is_closed() || self.readers.is_closed()
    }

    /// Whether the state could be written now: takes the turn of a writer, and gives it back.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn probe(&self) -> Result<(), Error> {
        self.write().await.map(drop)
    }

    /// When the database was last written, in nanoseconds since 1970 by the clock of its file system; `None` where that does
    /// not say it. Behind a write of this process it is never later than now, whatever other clocks say.
    pub fn written_at(&self) -> Option<i128> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let metadata = std::fs::metadata(log).ok()?;
        Some(i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()))
    }

    /// Begins a write. Rolled back if dropped before its commit.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.failure(error))
    }

    /// One statement as a write of its own.
    async fn execute(&self, statement: Statement) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        statement.execute(&mut *transaction).await.map_err(|error| self.failure(error))?;
        self.commit(transaction).await
    }

    async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<(), Error> {
        match &self.mark {
            Some(mark) => self.commit_marked(transaction, mark).await,
            None => transaction.commit().await.map_err(|error| self.failure(error)),
        }
    }

    fn failure(&self, error: sqlx::Error) -> Error {
        Error::database(&self.path, error)
    }

    fn damaged(&self, detail: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), detail: detail.into() }
    }

    /// A domain value from its JSON column.
    fn restore<T: DeserializeOwned>(&self, column: &str, json: &str) -> Result<T, Error> {
        serde_json::from_str(json)
            .map_err(|error| self.damaged(format!("column `{column}` holds no {column}: {error}")))
    }

    /// A number that is never negative.
    fn natural(&self, column: &str, number: i64) -> Result<u64, Error> {
        u64::try_from(number).map_err(|_| self.damaged(format!("`{column}` is negative")))
    }
}

/// The JSON of a domain value.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("domain values are plain data and always JSON")
}

/// A number as SQLite keeps it. Ours count events, far below 2^63; one from outside may be any, and what is out of range
/// becomes the greatest, which no row has.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

type Statement = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// A statement with parameters; each connection prepares it once.
fn query(sql: &'static str) -> Statement {
    sqlx::query(sql)
}
