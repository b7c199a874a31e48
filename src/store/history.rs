//! What of the past is needed no more: ended runs with their notes, entries of the audit log, keys of commands.
//!
//! A walk goes through a table from its oldest row on, in steps that are short, so that no write of anybody else waits long.
//! Not responsible for what is old, nor for what must be exported first (`history`). Invariants: a run that is not ended
//! stays, and so does the last one of its sync of each sort that a status, a schedule, a kind or a decision is made of; the
//! audit log loses nothing without a new entry that says so, in the same write.

use sqlx::sqlite::SqliteQueryResult;

use super::audit::statement;
use super::{Audited, Error, Statement, Store, json, query, stored};
use crate::domain::id::{Instant, RunId};
use crate::domain::run::{Outcome, Phase};

/// Runs that one step looks at, and that one write removes; so many of their notes does another.
const STEP: u32 = 500;
/// Entries of the audit log that one step looks at, and that one write removes.
const AUDIT_STEP: u32 = 5_000;

/// What a step of a walk has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<T> {
    /// The rows that may go.
    pub old: Vec<T>,
    /// The last row that was looked at; `None` once there is none behind it.
    pub next: Option<u64>,
}

/// Which of the runs may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldRuns {
    /// They ended before this.
    pub before: Instant,
    /// Of each sync so many of the last ones that came to a result stay, however old.
    pub results: u32,
}

const LOOK_AT_RUNS: &str = "
    SELECT max(id), count(*) FROM (SELECT id FROM runs WHERE id > ?1 ORDER BY id LIMIT ?2)";
/// ?4 is cancelled, ?5 succeeded, ?6 skipped. In this order there stay of each sync: the last run, and the last but samples
/// (`glance`, `past`), the last results (`glance`, `halt`), the last that began (`kept`), the last success by number and by
/// clock (`past`), the last that succeeded, as skipped ones name it, and the last whose deletes were held, as they are
/// released by its number.
const OLD_RUNS: &str = "
    SELECT id FROM (
        SELECT *, coalesce(json_extract(choice, '$.reason'), '') = 'sample' AS is_sample FROM runs
    ) AS old WHERE id > ?1 AND id <= ?2 AND finished_at < ?3
    AND EXISTS (
        SELECT 1 FROM runs WHERE sync = old.sync AND id > old.id AND finished_at IS NOT NULL)
    AND (is_sample OR EXISTS (
        SELECT 1 FROM runs WHERE sync = old.sync AND id > old.id AND finished_at IS NOT NULL
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample'))
    AND (is_sample OR phase = ?4 OR ?7 = (SELECT count(*) FROM (
        SELECT 1 FROM runs WHERE sync = old.sync AND id > old.id AND finished_at IS NOT NULL AND phase <> ?4
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample' LIMIT ?7)))
    AND (is_sample OR revision IS NULL OR EXISTS (
        SELECT 1 FROM runs WHERE sync = old.sync AND id > old.id AND finished_at IS NOT NULL
        AND revision IS NOT NULL AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample'))
    AND (is_sample OR phase NOT IN (?5, ?6) OR EXISTS (
        SELECT 1 FROM runs WHERE sync = old.sync AND phase IN (?5, ?6) AND finished_at >= old.finished_at
        AND id > old.id AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample'))
    AND (is_sample OR phase <> ?5 OR EXISTS (
        SELECT 1 FROM runs WHERE sync = old.sync AND id > old.id AND phase = ?5
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample'))
    AND (coalesce(json_extract(tally, '$.held'), 0) = 0 OR EXISTS (
        SELECT 1 FROM runs WHERE sync = old.sync AND id > old.id AND finished_at IS NOT NULL
        AND json_extract(tally, '$.held') > 0))
    ORDER BY id";
const REMOVE_NOTES: &str = "
    DELETE FROM record_notes WHERE id IN (
        SELECT id FROM record_notes WHERE run IN (SELECT value FROM json_each(?1)) LIMIT ?2)";
const REMOVE_RUNS: &str = "
    DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?)) AND finished_at IS NOT NULL";

const LOOK_AT_AUDIT: &str = "
    SELECT max(id), count(*) FROM (SELECT id FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2)";
/// What a decision stands for that is not carried out stays, and the last time that the command ?4 was given to each sync.
const OLD_AUDIT: &str = "
    SELECT id, command FROM audit AS old WHERE id > ?1 AND id <= ?2 AND at < ?3
    AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.audit = old.id)
    AND (command <> ?4 OR sync IS NULL OR EXISTS (
        SELECT 1 FROM audit WHERE sync = old.sync AND command = ?4 AND id > old.id))
    ORDER BY id";
const LIFT: &str = "DROP TRIGGER IF EXISTS audit_is_never_shortened";
const REMOVE_AUDIT: &str = "DELETE FROM audit WHERE id IN (SELECT value FROM json_each(?))";
/// As the first version of the state has it.
const LOWER: &str = include_str!("../../sql/state/audit_is_never_shortened.sql");

impl Store {
    /// The next step through the runs behind this one, and those of them that may go.
    pub async fn old_runs(&self, after: u64, which: OldRuns) -> Result<Step<RunId>, Error> {
        let (last, next) = self.look(LOOK_AT_RUNS, STEP, after).await?;
        let ended = |outcome| json(&Phase::Ended(outcome));
        let ids: Vec<i64> = sqlx::query_scalar(OLD_RUNS)
            .bind(stored(after))
            .bind(stored(last))
            .bind(which.before.0)
            .bind(ended(Outcome::Cancelled))
            .bind(ended(Outcome::Succeeded))
            .bind(ended(Outcome::Skipped))
            .bind(which.results.max(1))
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let runs = ids.into_iter().map(|id| self.natural("id", id).map(RunId));
        Ok(Step { old: runs.collect::<Result<_, _>>()?, next })
    }

    /// Removes some of the notes of these runs; whether there may be more.
    pub async fn remove_notes(&self, runs: &[RunId]) -> Result<bool, Error> {
        let removed = self.counted(query(REMOVE_NOTES).bind(json(&runs)).bind(STEP)).await?;
        Ok(removed.rows_affected() == u64::from(STEP))
    }

    /// Removes these runs, as far as they have ended; how many.
    pub async fn remove_runs(&self, runs: &[RunId]) -> Result<u64, Error> {
        Ok(self.counted(query(REMOVE_RUNS).bind(json(&runs))).await?.rows_affected())
    }

    /// The next step through the audit log behind this entry: those from before this that may go, each with its command. The
    /// last `standing` command that each sync was given may not.
    pub async fn old_audit(
        &self,
        after: u64,
        before: Instant,
        standing: &str,
    ) -> Result<Step<(u64, String)>, Error> {
        let (last, next) = self.look(LOOK_AT_AUDIT, AUDIT_STEP, after).await?;
        let rows: Vec<(i64, String)> = sqlx::query_as(OLD_AUDIT)
            .bind(stored(after))
            .bind(stored(last))
            .bind(before.0)
            .bind(standing)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let entry = |(id, command)| Ok((self.natural("id", id)?, command));
        Ok(Step { old: rows.into_iter().map(entry).collect::<Result<_, _>>()?, next })
    }

    /// Removes these entries of the audit log, and appends the one that says so: both, or neither.
    pub async fn remove_audit(&self, entries: &[u64], audited: &Audited) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for statement in [
            query(LIFT),
            query(REMOVE_AUDIT).bind(json(&entries)),
            query(LOWER),
            statement(audited),
        ] {
            let done = statement.execute(&mut *transaction).await;
            done.map_err(|error| self.failure(error))?;
        }
        self.commit(transaction).await
    }

    /// The last row of the next step, and the one to go on behind. A step without an old row is not the last: the clock may
    /// have been ahead for a while, and runs may be unfinished for long.
    async fn look(
        &self,
        asked: &'static str,
        step: u32,
        after: u64,
    ) -> Result<(u64, Option<u64>), Error> {
        let (last, rows): (Option<i64>, i64) = sqlx::query_as(asked)
            .bind(stored(after))
            .bind(step)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let last = last.map_or(Ok(after), |last| self.natural("id", last))?;
        Ok((last, (rows == i64::from(step)).then_some(last)))
    }

    async fn counted(&self, statement: Statement) -> Result<SqliteQueryResult, Error> {
        let mut transaction = self.write().await?;
        let done = statement.execute(&mut *transaction).await;
        let done = done.map_err(|error| self.failure(error))?;
        self.commit(transaction).await?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
