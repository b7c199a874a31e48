//! The state database as another program sees it: read-only, over a connection of its own.
//!
//! A row that another connection sees is durable: SQLite shows what was committed only once its log is synced
//! (`synchronous = FULL`). While a process is killed no connection of ours is open, so that the next one finds the
//! database as the kill left it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::runtime::Runtime;

/// A run as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: i64,
    pub sync: String,
    pub trigger: String,
    /// As it is stored: `{"phase":"ended","outcome":"succeeded"}`.
    pub phase: String,
    /// When it was put into the queue, in milliseconds since 1970.
    pub queued_at: i64,
    pub is_ended: bool,
    pub error: Option<String>,
}

impl Stored {
    pub fn waits(&self) -> bool {
        self.phase.contains("in_queue")
    }

    /// It has begun and not ended.
    pub fn goes(&self) -> bool {
        !self.is_ended && !self.waits()
    }

    /// How it ended, or that it has not.
    pub fn word(&self) -> &'static str {
        const OUTCOMES: [&str; 6] =
            ["succeeded", "partial", "failed", "cancelled", "interrupted", "skipped"];
        let outcome = OUTCOMES.into_iter().find(|outcome| self.is(outcome));
        outcome.unwrap_or(if self.waits() { "waiting" } else { "going" })
    }

    pub fn is(&self, outcome: &str) -> bool {
        self.is_ended && self.phase.contains(&format!("\"{outcome}\""))
    }
}

/// The runs without an end that a dead process left. They are read from a copy, so that its successor finds what it left.
pub fn left_behind(state: &Path) -> Vec<Stored> {
    let copy = tempfile::tempdir().expect("a folder can be made");
    for name in ["counterflow.db", "counterflow.db-wal"] {
        // A process that was killed before its first write has left no log.
        let _ = std::fs::copy(state.join(name), copy.path().join(name));
    }
    let mut database = Database::open(copy.path());
    let left = database.unfinished();
    database.close();
    left
}

/// An open database.
pub struct Database {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Database {
    pub fn open(state: &Path) -> Database {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let options = SqliteConnectOptions::new().filename(state.join("counterflow.db"));
        let connection = runtime.block_on(options.read_only(true).connect());
        Database { runtime, connection: connection.expect("there is a state") }
    }

    /// Runs with greater numbers, in order.
    pub fn runs_after(&mut self, id: i64) -> Vec<Stored> {
        self.runs("SELECT * FROM runs WHERE id > ?1 ORDER BY id", id)
    }

    /// Runs without an end, in order.
    pub fn unfinished(&mut self) -> Vec<Stored> {
        self.runs("SELECT * FROM runs WHERE finished_at IS NULL AND id > ?1 ORDER BY id", 0)
    }

    fn runs(&mut self, query: &'static str, bound: i64) -> Vec<Stored> {
        let asked = sqlx::query(query).bind(bound).fetch_all(&mut self.connection);
        let rows = self.runtime.block_on(asked).expect("the state can be read");
        let stored = |row: &sqlx::sqlite::SqliteRow| Stored {
            id: row.get("id"),
            sync: row.get("sync"),
            trigger: row.get("trigger"),
            phase: row.get("phase"),
            queued_at: row.get("started_at"),
            is_ended: row.get::<Option<i64>, _>("finished_at").is_some(),
            error: row.get("error"),
        };
        rows.iter().map(stored).collect()
    }

    pub fn close(self) {
        let Database { runtime, connection } = self;
        runtime.block_on(connection.close()).expect("it can be closed");
    }
}
