//! The last pause or resume of each sync, kept with its audit.
//!
//! Not responsible for whether a sync is paused (`control::pausing`). Invariants: a record, the requests to stop that come
//! with a pause, and the audit are one write; a record takes the place of the one that its writer knew, and of no other.

use std::collections::BTreeMap;

use sqlx::Transaction;
use sqlx::sqlite::Sqlite;

use super::audit::statement;
use super::{Audited, Error, NewRun, Store, query};
use crate::domain::id::{Instant, RunId};

/// The last recorded pause or resume of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub is_paused: bool,
    /// The file's `paused:` at that time; this record wins until the file says something else.
    pub configured: bool,
    pub message: Option<String>,
    pub who: String,
    pub at: Instant,
    /// When it ends by itself; of a pause only.
    pub until: Option<Instant>,
}

/// What is to be recorded of one sync, in the place of what was `known`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseChange {
    pub sync: String,
    pub known: Option<Pause>,
    pub next: Pause,
}

/// What came of recording a pause or a resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It stands. For a pause: the oldest of the runs that are asked to stop by it.
    Done(Option<RunId>),
    /// Another command was quicker; nothing is changed.
    Overtaken,
}

const PAUSE: &str = "SELECT paused, configured, message, who, at, until FROM pauses WHERE sync = ?";
const PAUSES: &str = "SELECT sync, paused, configured, message, who, at, until FROM pauses";
const ENDED: &str = "SELECT sync FROM pauses WHERE until <= ? AND paused = 1 ORDER BY until";
const SET_PAUSE: &str = "
    INSERT INTO pauses (sync, paused, configured, message, who, at, until)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (sync) DO UPDATE SET paused = excluded.paused, configured = excluded.configured,
    message = excluded.message, who = excluded.who, at = excluded.at, until = excluded.until";
const FORGET_OUTDATED: &str = "DELETE FROM pauses WHERE sync = ? AND configured <> ?";

type PauseColumns = (bool, bool, Option<String>, String, i64, Option<i64>);
pub(super) type NamedColumns = (String, bool, bool, Option<String>, String, i64, Option<i64>);

impl Store {
    /// The last recorded pause or resume of the sync.
    pub async fn pause(&self, sync: &str) -> Result<Option<Pause>, Error> {
        let row: Option<PauseColumns> = sqlx::query_as(PAUSE)
            .bind(sync)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(row.map(pause))
    }

    /// The last recorded pause or resume of every sync that has one, by sync.
    pub async fn pauses(&self) -> Result<BTreeMap<String, Pause>, Error> {
        let rows: Vec<NamedColumns> = sqlx::query_as(PAUSES)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(rows.into_iter().map(named).collect())
    }

    /// The syncs with a recorded pause that was to end by `now`. One indexed read.
    pub async fn ended_pauses(&self, now: Instant) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(ENDED)
            .bind(now.0)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))
    }

    /// Records a pause or a resume in the place of `known`, with its audit; a pause asks the sync's unfinished runs to
    /// stop. All of it happens, or nothing.
    pub async fn record_pause(
        &self,
        sync: &str,
        known: Option<&Pause>,
        next: &Pause,
    ) -> Result<Recorded, Error> {
        let mut transaction = self.write().await?;
        let recorded = self.pause_within(&mut transaction, sync, known, next).await?;
        if recorded != Recorded::Overtaken {
            self.commit(transaction).await?;
        }
        Ok(recorded)
    }

    /// As [`Store::record_pause`], of several syncs in one write with the audit of the command to all of them, and with new
    /// runs, each with its own; the runs that end by each change and the new ones, or `None` if another command was quicker,
    /// and nothing is changed.
    pub async fn record_pauses(
        &self,
        audited: &Audited,
        changes: &[PauseChange],
        begun: &[(NewRun, Audited)],
    ) -> Result<Option<(Vec<Option<RunId>>, Vec<RunId>)>, Error> {
        let mut transaction = self.write().await?;
        let mut runs = Vec::with_capacity(changes.len());
        for PauseChange { sync, known, next } in changes {
            match self.pause_within(&mut transaction, sync, known.as_ref(), next).await? {
                Recorded::Done(run) => runs.push(run),
                Recorded::Overtaken => return Ok(None),
            }
        }
        let mut new = Vec::with_capacity(begun.len());
        for (run, asked) in begun {
            new.push(self.ask_within(&mut transaction, run, asked).await?);
        }
        let audit = statement(audited).execute(&mut *transaction).await;
        audit.map_err(|error| self.failure(error))?;
        self.commit(transaction).await?;
        Ok(Some((runs, new)))
    }

    async fn pause_within(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        sync: &str,
        known: Option<&Pause>,
        next: &Pause,
    ) -> Result<Recorded, Error> {
        if self.known_within(transaction, sync).await?.as_ref() != known {
            return Ok(Recorded::Overtaken);
        }
        let Pause { is_paused, message, who, at, .. } = next;
        query(SET_PAUSE)
            .bind(sync.to_owned())
            .bind(*is_paused)
            .bind(next.configured)
            .bind(message.clone())
            .bind(who.clone())
            .bind(at.0)
            .bind(next.until.map(|until| until.0))
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        let mut run = None;
        if *is_paused {
            let why = message.as_ref().map_or("paused".to_owned(), |why| format!("paused: {why}"));
            run = self.stop_within(transaction, sync, false, who, Some(&why)).await?;
        }
        let audited = Audited {
            at: *at,
            who: who.clone(),
            command: if *is_paused { "pause" } else { "resume" }.to_owned(),
            sync: Some(sync.to_owned()),
            run,
            message: message.clone(),
        };
        let audit = statement(&audited).execute(&mut **transaction).await;
        audit.map_err(|error| self.failure(error))?;
        Ok(Recorded::Done(run))
    }

    /// Forgets a record that was made when the file said something else than it does now, so that it does not come back
    /// when the file's value does.
    pub async fn forget_outdated_pause(&self, sync: &str, configured: bool) -> Result<(), Error> {
        match self.pause(sync).await? {
            Some(pause) if pause.configured != configured => {
                self.execute(query(FORGET_OUTDATED).bind(sync).bind(configured)).await
            }
            _ => Ok(()),
        }
    }

    async fn known_within(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        sync: &str,
    ) -> Result<Option<Pause>, Error> {
        let row: Option<PauseColumns> = sqlx::query_as(PAUSE)
            .bind(sync)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(row.map(pause))
    }
}

pub(super) fn named(row: NamedColumns) -> (String, Pause) {
    let (sync, paused, configured, message, who, at, until) = row;
    (sync, pause((paused, configured, message, who, at, until)))
}

fn pause((is_paused, configured, message, who, at, until): PauseColumns) -> Pause {
    Pause { is_paused, configured, message, who, at: Instant(at), until: until.map(Instant) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Trigger;
    use crate::store::StopRequest;

    fn paused(at: i64) -> Pause {
        Pause {
            is_paused: true,
            configured: false,
            message: Some("the CRM moves".to_owned()),
            who: "ada".to_owned(),
            at: Instant(at),
            until: None,
        }
    }

    #[tokio::test]
    async fn a_pause_that_is_over_is_found_by_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let until = |until| Pause { until: Some(Instant(until)), ..paused(1) };
        store.record_pause("late", None, &until(90)).await.unwrap();
        store.record_pause("soon", None, &until(50)).await.unwrap();
        store.record_pause("ever", None, &paused(1)).await.unwrap();
        assert_eq!(store.ended_pauses(Instant(49)).await.unwrap(), Vec::<String>::new());
        assert_eq!(store.ended_pauses(Instant(90)).await.unwrap(), ["soon", "late"]);
        assert_eq!(store.pause("soon").await.unwrap(), Some(until(50)));
        let all = store.pauses().await.unwrap();
        assert_eq!((all.len(), &all["late"]), (3, &until(90)));
    }

    #[tokio::test]
    async fn a_pause_comes_back_as_it_was_recorded_and_is_audited_a5() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let run = store.create_run("crm", None, Trigger::Manual, Instant(0)).await.unwrap();
        let first = paused(5);
        let done = store.record_pause("crm", None, &first).await.unwrap();
        assert_eq!(done, Recorded::Done(Some(run)));
        assert_eq!(store.pause("crm").await.unwrap(), Some(first.clone()));
        let stop = store.run(run).await.unwrap().unwrap().stop.unwrap();
        assert_eq!(stop.request, StopRequest::Drain);
        assert_eq!(
            (stop.who.as_str(), stop.message.as_deref()),
            ("ada", Some("paused: the CRM moves"))
        );
        let resumed = Pause { is_paused: false, message: None, at: Instant(6), ..first.clone() };
        let late = store.record_pause("crm", None, &resumed).await.unwrap();
        assert_eq!(late, Recorded::Overtaken);
        let done = store.record_pause("crm", Some(&first), &resumed).await.unwrap();
        assert_eq!(done, Recorded::Done(None));
        assert_eq!(store.pause("crm").await.unwrap(), Some(resumed));
        assert_eq!(store.pause("ads").await.unwrap(), None);
        let log = store.audit_log(10).await.unwrap();
        let commands: Vec<_> = log.iter().map(|one| (one.command.as_str(), one.run)).collect();
        assert_eq!(commands, [("resume", None), ("pause", Some(run))]);
        assert_eq!(log[1].message.as_deref(), Some("the CRM moves"));
    }

    #[tokio::test]
    async fn a_pause_that_cannot_be_audited_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let run = store.create_run("crm", None, Trigger::Manual, Instant(0)).await.unwrap();
        let refuse = "CREATE TRIGGER no_audit BEFORE INSERT ON audit
            BEGIN SELECT RAISE(ABORT, 'no'); END";
        store.execute(query(refuse)).await.unwrap();
        store.record_pause("crm", None, &paused(5)).await.unwrap_err();
        assert_eq!(store.pause("crm").await.unwrap(), None);
        assert_eq!(store.stop_requested(run).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_a_record_of_another_value_of_the_file_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        store.record_pause("crm", None, &paused(5)).await.unwrap();
        store.forget_outdated_pause("crm", false).await.unwrap();
        assert_eq!(store.pause("crm").await.unwrap(), Some(paused(5)));
        store.forget_outdated_pause("crm", true).await.unwrap();
        assert_eq!(store.pause("crm").await.unwrap(), None);
    }
}
