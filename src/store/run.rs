//! Runs: the rows that survive the process, and the requests to stop them.
//!
//! A run is created in the queue, changes its phase by legal steps only, and is finished once. What is unfinished
//! when a process starts was interrupted; recovery asks for it by [`Store::unfinished`].

use sqlx::Transaction;
use sqlx::sqlite::Sqlite;

use super::audit::statement;
use super::note::RUNS_WITH_NOTES;
use super::{Audited, Error, Statement, Store, json, query, stored};
use crate::domain::id::{Instant, RunId};
use crate::domain::kind::Choice;
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::tally::Tally;
use crate::points::is_planted;

/// How a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopRequest {
    /// Send nothing new, finish what is in flight, commit.
    Drain,
    /// Drop what is in flight too.
    Now,
}

/// A stop request with the person behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub request: StopRequest,
    pub who: String,
    pub message: Option<String>,
}

/// A run that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    pub sync: String,
    pub choice: Option<Choice>,
    pub trigger: Trigger,
}

/// A run that is to be ended, with why where there is a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub run: RunId,
    pub outcome: Outcome,
    pub tally: Tally,
    pub error: Option<String>,
}

/// One run, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub id: RunId,
    pub sync: String,
    pub trigger: Trigger,
    /// `None` until the snapshot has been asked.
    pub choice: Option<Choice>,
    pub phase: Phase,
    pub started_at: Instant,
    pub finished_at: Option<Instant>,
    /// The last progress while the run goes, final once it is finished.
    pub tally: Tally,
    pub error: Option<String>,
    pub stop: Option<Stop>,
    /// Of the config that it began with; `None` while it waits, and where an older version made it.
    pub revision: Option<String>,
}

/// Which runs are asked for; an empty one asks for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    pub sync: Option<String>,
    pub phase: Option<Phase>,
    pub trigger: Option<Trigger>,
    /// Runs with a smaller number, for the next page.
    pub before: Option<RunId>,
}

const CREATE: &str =
    "INSERT INTO runs (sync, trigger, choice, phase, started_at, tally) VALUES (?, ?, ?, ?, ?, ?)";
const PHASE: &str = "SELECT phase FROM runs WHERE id = ?";
const SET_PHASE: &str = "UPDATE runs SET phase = ?2 WHERE id = ?1";
const BEGIN: &str = "UPDATE runs SET phase = ?2, revision = ?3 WHERE id = ?1";
const OWE_FULL: &str =
    "INSERT INTO owed_fulls (sync) SELECT sync FROM runs WHERE id = ? ON CONFLICT DO NOTHING";
const SET_CHOICE: &str = "UPDATE runs SET choice = ?2 WHERE id = ?1 AND finished_at IS NULL";
const SET_TALLY: &str = "UPDATE runs SET tally = ?2 WHERE id = ?1 AND finished_at IS NULL";
const FINISH: &str =
    "UPDATE runs SET phase = ?2, tally = ?3, error = ?4, finished_at = ?5 WHERE id = ?1";
const DROP_OLD_NOTES: &str = "
    DELETE FROM record_notes WHERE sync = (SELECT sync FROM runs WHERE id = ?1) AND run < (
        SELECT id FROM runs WHERE sync = (SELECT sync FROM runs WHERE id = ?1) AND phase <> ?3
        ORDER BY id DESC LIMIT 1 OFFSET ?2)";
const RUN: &str = "SELECT * FROM runs WHERE id = ?";
const RUNS: &str = "
    SELECT * FROM runs WHERE (?1 IS NULL OR sync = ?1) AND (?2 IS NULL OR id < ?2)
    ORDER BY id DESC LIMIT ?3";
const FILTERED: &str = "
    SELECT * FROM runs WHERE (?1 IS NULL OR sync = ?1) AND (?2 IS NULL OR id < ?2)
    AND (?3 IS NULL OR phase = ?3) AND (?4 IS NULL OR trigger = ?4)
    ORDER BY id DESC LIMIT ?5";
const UNFINISHED: &str = "SELECT * FROM runs WHERE finished_at IS NULL ORDER BY id";
const UNFINISHED_OF: &str = "SELECT * FROM runs WHERE sync = ? AND finished_at IS NULL ORDER BY id";
const REQUEST_STOP: &str = "
    UPDATE runs SET stop = ?2, stop_who = ?3, stop_message = ?4
    WHERE sync = ?1 AND finished_at IS NULL AND (stop IS NULL OR (stop = 'drain' AND ?2 = 'now'))";
const GOING: &str = "SELECT min(id) FROM runs WHERE sync = ? AND finished_at IS NULL";
const STOP: &str = "SELECT stop FROM runs WHERE id = ?";
/// The phases of runs that have begun.
pub(super) const BEGUN: [Phase; 4] =
    [Phase::Starting, Phase::Reading, Phase::Draining, Phase::Committing];
const STOPPED: &str =
    "SELECT * FROM runs WHERE finished_at IS NULL AND stop IS NOT NULL ORDER BY id";

/// What puts a new run into the queue.
fn create(sync: &str, choice: Option<Choice>, trigger: Trigger, now: Instant) -> Statement {
    query(CREATE)
        .bind(sync.to_owned())
        .bind(json(&trigger))
        .bind(choice.map(|choice| json(&choice)))
        .bind(json(&Phase::InQueue))
        .bind(now.0)
        .bind(json(&Tally::default()))
}

impl Store {
    /// A new run of the sync, in the queue, with the next number.
    pub async fn create_run(
        &self,
        sync: &str,
        choice: Option<Choice>,
        trigger: Trigger,
        now: Instant,
    ) -> Result<RunId, Error> {
        let new = NewRun { sync: sync.to_owned(), choice, trigger };
        Ok(self.create_runs(&[new], now).await?[0])
    }

    /// New runs in the queue, with the next numbers, in one write: all of them, or none.
    pub async fn create_runs(&self, new: &[NewRun], now: Instant) -> Result<Vec<RunId>, Error> {
        let mut runs = Vec::with_capacity(new.len());
        if new.is_empty() {
            return Ok(runs);
        }
        let mut transaction = self.write().await?;
        for NewRun { sync, choice, trigger } in new {
            let created = create(sync, *choice, *trigger, now)
                .execute(&mut *transaction)
                .await
                .map_err(|error| self.failure(error))?;
            runs.push(RunId(self.natural("id", created.last_insert_rowid())?));
        }
        self.commit(transaction).await?;
        Ok(runs)
    }

    /// All runs without an end that were asked to stop, the oldest first.
    pub async fn stopped(&self) -> Result<Vec<RunRow>, Error> {
        let rows = query(STOPPED).fetch_all(&self.readers).await;
        let rows = rows.map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// Takes the run to its next phase.
    ///
    /// # Errors
    /// [`Error::NoRun`]; [`Error::IllegalStep`], also for an end, which is [`Store::finish`]'s.
    pub async fn set_phase(&self, run: RunId, phase: Phase) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let from = self.step(&mut transaction, run, phase).await?;
        if phase.is_ended() {
            return Err(Error::IllegalStep { run, from, to: phase });
        }
        query(SET_PHASE)
            .bind(stored(run.0))
            .bind(json(&phase))
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.failure(error))?;
        self.commit(transaction).await
    }

    /// Takes the run out of the queue, to go by this revision of the config. With `is_full` a full resync is owed to its sync
    /// from now on, until [`Store::grant_full`].
    ///
    /// # Errors
    /// [`Error::NoRun`]; [`Error::IllegalStep`] if it was out of the queue already.
    pub async fn begin(&self, run: RunId, is_full: bool, revision: &str) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        self.step(&mut transaction, run, Phase::Starting).await?;
        let begun = query(BEGIN).bind(stored(run.0)).bind(json(&Phase::Starting)).bind(revision);
        begun.execute(&mut *transaction).await.map_err(|error| self.failure(error))?;
        if is_full && !is_planted("full_not_owed") {
            let owed = query(OWE_FULL).bind(stored(run.0)).execute(&mut *transaction).await;
            owed.map_err(|error| self.failure(error))?;
        }
        self.commit(transaction).await
    }

    /// Stores the kind of an unfinished run and its reason.
    ///
    /// # Errors
    /// [`Error::NoRun`] if there is none such, or it is finished.
    pub async fn set_choice(&self, run: RunId, choice: Choice) -> Result<(), Error> {
        self.set_column(SET_CHOICE, run, json(&choice)).await
    }

    /// Stores how far an unfinished run has come.
    ///
    /// # Errors
    /// [`Error::NoRun`] if there is none such, or it is finished.
    pub async fn record_progress(&self, run: RunId, tally: &Tally) -> Result<(), Error> {
        self.set_column(SET_TALLY, run, json(tally)).await
    }

    /// Ends the run, once. Notes of the sync's runs before the last [`RUNS_WITH_NOTES`] are dropped; skipped ones do not count.
    ///
    /// # Errors
    /// [`Error::NoRun`]; [`Error::IllegalStep`] if the run's phase may not end so.
    pub async fn finish(
        &self,
        run: RunId,
        outcome: Outcome,
        tally: &Tally,
        error: Option<&str>,
        now: Instant,
    ) -> Result<(), Error> {
        let error = error.map(str::to_owned);
        self.finish_all(&[End { run, outcome, tally: *tally, error }], now).await
    }

    /// As [`Store::finish`], of several runs in one write: all of them, or none.
    ///
    /// # Errors
    /// As there.
    pub async fn finish_all(&self, ends: &[End], now: Instant) -> Result<(), Error> {
        if ends.is_empty() {
            return Ok(());
        }
        let mut transaction = self.write().await?;
        for end in ends {
            self.finish_within(&mut transaction, end, now).await?;
        }
        self.commit(transaction).await
    }

    async fn finish_within(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        End { run, outcome, tally, error }: &End,
        now: Instant,
    ) -> Result<(), Error> {
        let from = self.step(transaction, *run, Phase::Ended(*outcome)).await?;
        self.spend_at_end(transaction, *run, from, *outcome).await?;
        query(FINISH)
            .bind(stored(run.0))
            .bind(json(&Phase::Ended(*outcome)))
            .bind(json(tally))
            .bind(error.clone())
            .bind(now.0)
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        if *outcome == Outcome::Skipped {
            return Ok(());
        }
        query(DROP_OLD_NOTES)
            .bind(stored(run.0))
            .bind(RUNS_WITH_NOTES - 1)
            .bind(json(&Phase::Ended(Outcome::Skipped)))
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(())
    }

    /// The run with this number.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        let row = query(RUN)
            .bind(stored(run.0))
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        row.map(|row| self.run_row(&row)).transpose()
    }

    /// At most `limit` runs, the newest first: of one sync or of all, before the run `before` or from the newest.
    pub async fn runs(
        &self,
        sync: Option<&str>,
        limit: u32,
        before: Option<RunId>,
    ) -> Result<Vec<RunRow>, Error> {
        let rows = query(RUNS)
            .bind(sync)
            .bind(before.map(|run| stored(run.0)))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// Runs, the newest first, as many as `limit`.
    pub async fn runs_by(&self, filter: &RunFilter, limit: u32) -> Result<Vec<RunRow>, Error> {
        let rows = query(FILTERED)
            .bind(filter.sync.clone())
            .bind(filter.before.map(|run| stored(run.0)))
            .bind(filter.phase.map(|phase| json(&phase)))
            .bind(filter.trigger.map(|trigger| json(&trigger)))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// All runs without an end, the oldest first.
    pub async fn unfinished(&self) -> Result<Vec<RunRow>, Error> {
        let rows = query(UNFINISHED)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// The sync's runs without an end, the oldest first.
    pub async fn unfinished_of(&self, sync: &str) -> Result<Vec<RunRow>, Error> {
        let rows = query(UNFINISHED_OF)
            .bind(sync)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// Asks the sync's unfinished runs to stop, the going one and any queued behind it, and appends to the audit log, both
    /// or neither; returns the oldest of them, or `None` if nothing goes. Idempotent: the first request stands, only
    /// `is_now` overrides a drain.
    pub async fn request_stop(
        &self,
        sync: &str,
        is_now: bool,
        who: &str,
        message: Option<&str>,
        at: Instant,
    ) -> Result<Option<RunId>, Error> {
        let mut transaction = self.write().await?;
        let oldest = self.stop_within(&mut transaction, sync, is_now, who, message).await?;
        if oldest.is_some() && !is_planted("stop_without_audit") {
            let audited = Audited {
                at,
                who: who.to_owned(),
                command: if is_now { "stop --now" } else { "stop" }.to_owned(),
                sync: Some(sync.to_owned()),
                run: oldest,
                message: message.map(str::to_owned),
            };
            let audit = statement(&audited).execute(&mut *transaction).await;
            audit.map_err(|error| self.failure(error))?;
        }
        self.commit(transaction).await?;
        Ok(oldest)
    }

    /// The requests of [`Store::request_stop`], as a part of a write.
    pub(super) async fn stop_within(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        sync: &str,
        now: bool,
        who: &str,
        message: Option<&str>,
    ) -> Result<Option<RunId>, Error> {
        query(REQUEST_STOP)
            .bind(sync)
            .bind(if now { "now" } else { "drain" })
            .bind(who)
            .bind(message)
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        let oldest: Option<i64> = sqlx::query_scalar(GOING)
            .bind(sync)
            .fetch_one(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        oldest.map(|id| self.natural("id", id).map(RunId)).transpose()
    }

    /// Whether and how the run is asked to stop. One indexed read: cheap enough to ask ten times a second.
    ///
    /// # Errors
    /// [`Error::NoRun`].
    pub async fn stop_requested(&self, run: RunId) -> Result<Option<StopRequest>, Error> {
        let stop: Option<Option<String>> = sqlx::query_scalar(STOP)
            .bind(stored(run.0))
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        stop.ok_or(Error::NoRun(run))?.map(|word| self.stop_request(&word)).transpose()
    }

    /// Checks that the run may go to `to`, and returns where it is.
    async fn step(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        run: RunId,
        to: Phase,
    ) -> Result<Phase, Error> {
        let phase: Option<String> = sqlx::query_scalar(PHASE)
            .bind(stored(run.0))
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        let from: Phase = self.restore("phase", &phase.ok_or(Error::NoRun(run))?)?;
        if from.may_become(to) { Ok(from) } else { Err(Error::IllegalStep { run, from, to }) }
    }

    async fn set_column(
        &self,
        statement: &'static str,
        run: RunId,
        value: String,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let updated = query(statement)
            .bind(stored(run.0))
            .bind(value)
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.failure(error))?;
        if updated.rows_affected() == 0 {
            return Err(Error::NoRun(run));
        }
        self.commit(transaction).await
    }
}

mod asked;
mod kept;
mod past;
mod row;
#[cfg(test)]
mod tests;
