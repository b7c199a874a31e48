//! The audit log: which commands were given, by whom, why and when. It only grows, save by age (`store::history`); triggers
//! in the database hold that.
//!
//! Not responsible for what counts as a command. A command writes its line in the transaction of its effect.

use serde::Serialize;

use super::{Error, Statement, Store, query, stored};
use crate::domain::id::{Instant, RunId};

/// Which entries of the audit log are asked for; an empty one asks for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub sync: Option<String>,
    pub who: Option<String>,
    /// Entries with a smaller number, for the next page.
    pub before: Option<u64>,
}

/// One command of a person or a program. Never changed once written, and removed by age alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audited {
    pub at: Instant,
    pub who: String,
    /// Such as `release`.
    pub command: String,
    pub sync: Option<String>,
    pub run: Option<RunId>,
    pub message: Option<String>,
}

const AUDIT: &str =
    "INSERT INTO audit (at, who, command, sync, run, message) VALUES (?, ?, ?, ?, ?, ?)";
const AUDIT_LOG: &str =
    "SELECT at, who, command, sync, run, message FROM audit ORDER BY id DESC LIMIT ?";

const AUDIT_PAGE: &str = "
    SELECT id, at, who, command, sync, run, message FROM audit
    WHERE (?1 IS NULL OR sync = ?1) AND (?2 IS NULL OR who = ?2) AND (?3 IS NULL OR id < ?3)
    ORDER BY id DESC LIMIT ?4";

pub(super) type AuditColumns = (i64, String, String, Option<String>, Option<i64>, Option<String>);

type PageColumns = (i64, i64, String, String, Option<String>, Option<i64>, Option<String>);

const HAS_AUDITED: &str =
    "SELECT EXISTS (SELECT 1 FROM audit WHERE command = ?1 AND sync = ?2 AND at = ?3)";

impl Store {
    /// Appends to the audit log.
    pub async fn audit(&self, audited: &Audited) -> Result<(), Error> {
        self.execute(statement(audited)).await
    }

    /// Whether a command about the sync was audited at this time.
    pub async fn has_audited(&self, command: &str, sync: &str, at: Instant) -> Result<bool, Error> {
        sqlx::query_scalar(HAS_AUDITED)
            .bind(command)
            .bind(sync)
            .bind(at.0)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.failure(error))
    }

    /// The last `limit` entries of the audit log, the newest first.
    pub async fn audit_log(&self, limit: u32) -> Result<Vec<Audited>, Error> {
        let rows: Vec<AuditColumns> = sqlx::query_as(AUDIT_LOG)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.into_iter().map(|row| self.audited(row)).collect()
    }

    pub(super) fn audited(&self, row: AuditColumns) -> Result<Audited, Error> {
        let (at, who, command, sync, run, message) = row;
        let run = run.map(|run| self.natural("run", run).map(RunId)).transpose()?;
        Ok(Audited { at: Instant(at), who, command, sync, run, message })
    }

    /// A page of the audit log, the newest first, each entry with its number.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<(u64, Audited)>, Error> {
        let rows: Vec<PageColumns> = sqlx::query_as(AUDIT_PAGE)
            .bind(filter.sync.as_deref())
            .bind(filter.who.as_deref())
            .bind(filter.before.map(stored))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let page = rows.into_iter().map(|(id, at, who, command, sync, run, message)| {
            let audited = self.audited((at, who, command, sync, run, message))?;
            Ok((self.natural("id", id)?, audited))
        });
        page.collect()
    }
}

/// What appends to the audit log.
pub(super) fn statement(audited: &Audited) -> Statement {
    query(AUDIT)
        .bind(audited.at.0)
        .bind(audited.who.clone())
        .bind(audited.command.clone())
        .bind(audited.sync.clone())
        .bind(audited.run.map(|run| stored(run.0)))
        .bind(audited.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_audit_log_grows_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let audited = |at, command: &str| Audited {
            at: Instant(at),
            who: "ada".to_owned(),
            command: command.to_owned(),
            sync: Some("crm".to_owned()),
            run: Some(RunId(4)),
            message: None,
        };
        store.audit(&audited(1, "pause")).await.unwrap();
        store.audit(&audited(2, "resume")).await.unwrap();
        assert_eq!(store.audit_log(10).await.unwrap(), [audited(2, "resume"), audited(1, "pause")]);
        assert_eq!(store.audit_log(1).await.unwrap(), [audited(2, "resume")]);
        let page = |before, who: Option<&str>| AuditFilter {
            before,
            who: who.map(str::to_owned),
            sync: Some("crm".to_owned()),
        };
        let first = store.audit_page(&page(None, Some("ada")), 1).await.unwrap();
        assert_eq!(first, [(2, audited(2, "resume"))]);
        let second = store.audit_page(&page(Some(2), None), 1).await.unwrap();
        assert_eq!(second, [(1, audited(1, "pause"))]);
        assert_eq!(store.audit_page(&page(None, Some("eve")), 9).await.unwrap(), []);
        for statement in ["DELETE FROM audit", "UPDATE audit SET who = 'eve'"] {
            assert!(store.execute(query(statement)).await.is_err(), "{statement}");
        }
        assert_eq!(store.audit_log(10).await.unwrap().len(), 2);
    }
}
