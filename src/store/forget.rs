//! The rows of a sync that is no longer in the config.

use serde::Serialize;

use super::audit::statement;
use super::{Audited, Error, Store, query};

/// How much the database has of one sync, the audit log aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Rows {
    pub runs: u64,
    /// Runs without an end.
    pub unfinished: u64,
    /// A pause or a resume is recorded.
    pub has_pause: bool,
    /// A snapshot is remembered, or the types of columns are.
    pub has_memory: bool,
}

const ROWS: &str = "
    SELECT (SELECT count(*) FROM runs WHERE sync = ?1),
    (SELECT count(*) FROM runs WHERE sync = ?1 AND finished_at IS NULL),
    EXISTS (SELECT 1 FROM pauses WHERE sync = ?1),
    EXISTS (SELECT 1 FROM known_snapshots WHERE sync = ?1) OR EXISTS (SELECT 1 FROM pins WHERE sync = ?1)";
/// What a later version keeps of a sync belongs here too. Notes of a run go with it.
const FORGET: [&str; 8] = [
    "DELETE FROM record_notes WHERE sync = ?",
    "DELETE FROM runs WHERE sync = ?",
    "DELETE FROM pauses WHERE sync = ?",
    "DELETE FROM pins WHERE sync = ?",
    "DELETE FROM known_snapshots WHERE sync = ?",
    "DELETE FROM owed_fulls WHERE sync = ?",
    "DELETE FROM armed WHERE sync = ?",
    "DELETE FROM decisions WHERE sync = ?",
];

impl Store {
    /// What is there of the sync.
    pub async fn rows_of(&self, sync: &str) -> Result<Rows, Error> {
        let (runs, unfinished, has_pause, has_memory): (i64, i64, bool, bool) =
            sqlx::query_as(ROWS)
                .bind(sync)
                .fetch_one(&self.readers)
                .await
                .map_err(|error| self.failure(error))?;
        let (runs, unfinished) = (self.natural("count", runs)?, self.natural("count", unfinished)?);
        Ok(Rows { runs, unfinished, has_pause, has_memory })
    }

    /// Removes all rows of the sync but those of the audit log, which it appends to: all of it or nothing.
    pub async fn forget_sync(&self, sync: &str, audited: &Audited) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let audit = statement(audited).execute(&mut *transaction).await;
        audit.map_err(|error| self.failure(error))?;
        for statement in FORGET {
            let done = query(statement).bind(sync).execute(&mut *transaction).await;
            done.map_err(|error| self.failure(error))?;
        }
        self.commit(transaction).await
    }
}
