//! Sources that a person has disabled, kept with their audit.
//!
//! Not responsible for what that means for a sync (`control::disabling`). Invariant: the record, the requests to stop that
//! come with it, and the audit are one write.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteExecutor;

use super::audit::statement;
use super::{Audited, Error, Store, query};
use crate::domain::id::{Instant, RunId};

/// A source that no sync reads, until it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisabledSource {
    pub source: String,
    pub message: String,
    pub who: String,
    pub at: Instant,
}

const ALL: &str = "SELECT source, message, who, at FROM disabled_sources";
const DISABLE: &str =
    "INSERT OR IGNORE INTO disabled_sources (source, message, who, at) VALUES (?, ?, ?, ?)";
const ENABLE: &str = "DELETE FROM disabled_sources WHERE source = ?";

impl Store {
    /// Every source that is disabled, by name.
    pub async fn disabled_sources(&self) -> Result<BTreeMap<String, DisabledSource>, Error> {
        self.disabled_within(&self.readers).await
    }

    pub(super) async fn disabled_within(
        &self,
        reader: impl SqliteExecutor<'_>,
    ) -> Result<BTreeMap<String, DisabledSource>, Error> {
        let rows: Vec<(String, String, String, i64)> =
            sqlx::query_as(ALL).fetch_all(reader).await.map_err(|error| self.failure(error))?;
        let named = rows.into_iter().map(|(source, message, who, at)| {
            (source.clone(), DisabledSource { source, message, who, at: Instant(at) })
        });
        Ok(named.collect())
    }

    /// Disables the source and asks the unfinished runs of its `syncs` to stop; the oldest of each sync that has some.
    /// `None` if it is disabled already, and nothing was changed. All of it happens, or nothing.
    pub async fn disable_source(
        &self,
        next: &DisabledSource,
        syncs: &[&str],
    ) -> Result<Option<Vec<RunId>>, Error> {
        let DisabledSource { source, message, who, at } = next;
        let mut transaction = self.write().await?;
        let disabled = query(DISABLE)
            .bind(source.clone())
            .bind(message.clone())
            .bind(who.clone())
            .bind(at.0)
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.failure(error))?;
        if disabled.rows_affected() == 0 {
            return Ok(None);
        }
        let why = format!("source `{source}` disabled: {message}");
        let mut runs = Vec::new();
        for sync in syncs {
            runs.extend(self.stop_within(&mut transaction, sync, false, who, Some(&why)).await?);
        }
        let audit = statement(&audited("source disable", source, message, who, *at));
        audit.execute(&mut *transaction).await.map_err(|error| self.failure(error))?;
        self.commit(transaction).await?;
        Ok(Some(runs))
    }

    /// Enables the source; false if it is not disabled, and nothing was changed.
    pub async fn enable_source(
        &self,
        source: &str,
        message: &str,
        who: &str,
        at: Instant,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let enabled = query(ENABLE).bind(source.to_owned()).execute(&mut *transaction).await;
        if enabled.map_err(|error| self.failure(error))?.rows_affected() == 0 {
            return Ok(false);
        }
        let audit = statement(&audited("source enable", source, message, who, at));
        audit.execute(&mut *transaction).await.map_err(|error| self.failure(error))?;
        self.commit(transaction).await?;
        Ok(true)
    }
}

/// The command with the source, which is no sync.
fn audited(command: &str, source: &str, message: &str, who: &str, at: Instant) -> Audited {
    Audited {
        at,
        who: who.to_owned(),
        command: format!("{command} {source}"),
        sync: None,
        run: None,
        message: Some(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Trigger;

    fn lake() -> DisabledSource {
        let (source, message, who) = ("lake".to_owned(), "it moves".to_owned(), "ada".to_owned());
        DisabledSource { source, message, who, at: Instant(5) }
    }

    #[tokio::test]
    async fn a_source_is_disabled_once_its_runs_are_asked_to_stop_and_all_of_it_is_audited_c8() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let run = store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
        let other = store.create_run("ads", None, Trigger::Api, Instant(0)).await.unwrap();
        let disabled = store.disable_source(&lake(), &["crm", "idle"]).await.unwrap();
        assert_eq!(disabled, Some(vec![run]));
        let stop = store.run(run).await.unwrap().unwrap().stop.unwrap();
        assert_eq!(stop.message.as_deref(), Some("source `lake` disabled: it moves"));
        assert_eq!(store.stop_requested(other).await.unwrap(), None);
        assert_eq!(store.disable_source(&lake(), &["crm"]).await.unwrap(), None);
        assert_eq!(store.disabled_sources().await.unwrap()["lake"], lake());
        assert!(store.enable_source("lake", "moved", "bob", Instant(6)).await.unwrap());
        assert!(!store.enable_source("lake", "moved", "bob", Instant(7)).await.unwrap());
        assert!(store.disabled_sources().await.unwrap().is_empty());
        let log = store.audit_log(10).await.unwrap();
        let said: Vec<_> = log.iter().map(|one| (one.command.as_str(), one.who.as_str())).collect();
        assert_eq!(said, [("source enable lake", "bob"), ("source disable lake", "ada")]);
    }

    #[tokio::test]
    async fn a_source_that_cannot_be_audited_is_not_disabled() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let run = store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
        let refuse = "CREATE TRIGGER no_audit BEFORE INSERT ON audit
            BEGIN SELECT RAISE(ABORT, 'no'); END";
        store.execute(query(refuse)).await.unwrap();
        store.disable_source(&lake(), &["crm"]).await.unwrap_err();
        assert!(store.disabled_sources().await.unwrap().is_empty());
        assert_eq!(store.stop_requested(run).await.unwrap(), None);
    }
}
