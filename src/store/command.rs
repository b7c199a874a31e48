//! Commands that came with an idempotency key, and whether a command was audited.
//!
//! A [`Mark`] goes with a store that is [`Store::marked`]: the first write through it claims the command's key in the
//! same transaction, so that a crash between the effect and the answer is no second effect. Not responsible for what is
//! answered (`api::command`). Invariant: at most [`KEYS`] keys, and none older than [`KEPT`], stay stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Transaction;
use sqlx::sqlite::Sqlite;

use super::audit::AuditColumns;
use super::{Audited, Error, Store, query};
use crate::domain::id::Instant;

/// In milliseconds: how long the answer to a key stays.
pub const KEPT: i64 = 24 * 60 * 60 * 1_000;
/// The first version of the state that knows keys. Beside an older one a `stop` alone is given, which may be repeated anyway.
const SINCE: i64 = 5;
/// Keys at most; the oldest go first.
const KEYS: u32 = 10_000;

/// A key that a command came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Keys of two callers are two keys.
    pub who: String,
    pub key: String,
    /// What was asked: a hash of path and body.
    pub request: String,
    pub at: Instant,
}

/// What is known of one command while it is carried out.
#[derive(Debug, Default)]
pub struct Mark {
    pub claim: Option<Claim>,
    is_audited: AtomicBool,
}

impl Mark {
    pub fn new(claim: Option<Claim>) -> Arc<Mark> {
        Arc::new(Mark { claim, ..Mark::default() })
    }

    /// Whether a line of the audit log was committed on behalf of the command.
    pub fn is_audited(&self) -> bool {
        self.is_audited.load(Ordering::SeqCst)
    }
}

/// A key that was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub request: String,
    /// Status and body; `None` if the process ended between the effect and its answer.
    pub answer: Option<(u16, String)>,
    /// What was done for it, where there is no answer.
    pub audited: Option<Audited>,
}

const CLAIM: &str = "
    INSERT INTO command_keys (who, key, request, at, audit)
    VALUES (?1, ?2, ?3, ?4, (SELECT max(id) FROM audit))
    ON CONFLICT (who, key) DO UPDATE SET request = excluded.request, at = excluded.at,
    audit = excluded.audit, status = NULL, answer = NULL";
const ANSWER: &str = "
    INSERT INTO command_keys (who, key, request, at, status, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (who, key) DO UPDATE SET request = excluded.request, at = excluded.at,
    status = excluded.status, answer = excluded.answer";
const FORGET_OLD: &str = "
    DELETE FROM command_keys WHERE at <= ?1
    OR at < (SELECT at FROM command_keys ORDER BY at DESC LIMIT 1 OFFSET ?2)";
const USED: &str =
    "SELECT request, status, answer, audit FROM command_keys WHERE who = ? AND key = ? AND at > ?";
const NEWEST_AUDIT: &str = "SELECT max(id) FROM audit";
const AUDITED: &str =
    "SELECT at, who, command, sync, run, message FROM audit WHERE id = ? AND who = ?";

type UsedColumns = (String, Option<i64>, Option<String>, Option<i64>);

impl Store {
    /// The same store, whose writes belong to one command.
    #[must_use]
    pub fn marked(&self, mark: Arc<Mark>) -> Store {
        Store { mark: Some(mark), ..self.clone() }
    }

    /// What came of this caller's key in the last day. Not known beside a state of an older version.
    pub async fn used_key(
        &self,
        who: &str,
        key: &str,
        now: Instant,
    ) -> Result<Option<Used>, Error> {
        if self.version < SINCE {
            return Ok(None);
        }
        let row: Option<UsedColumns> = sqlx::query_as(USED)
            .bind(who)
            .bind(key)
            .bind(now.plus(-KEPT).0)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let Some((request, status, answer, audit)) = row else { return Ok(None) };
        let status = status.map(|status| {
            u16::try_from(status).map_err(|_| self.damaged("column `status` holds no status"))
        });
        let answer = status.transpose()?.zip(answer);
        let audited = match audit {
            Some(id) if answer.is_none() => self.audited_as(id, who).await?,
            _ => None,
        };
        Ok(Some(Used { request, answer, audited }))
    }

    async fn audited_as(&self, id: i64, who: &str) -> Result<Option<Audited>, Error> {
        let row: Option<AuditColumns> = sqlx::query_as(AUDITED)
            .bind(id)
            .bind(who)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        row.map(|row| self.audited(row)).transpose()
    }

    /// Keeps the answer to a key, but not beside a state of an older version.
    pub async fn keep_answer(&self, claim: &Claim, status: u16, answer: &str) -> Result<(), Error> {
        if self.version < SINCE {
            return Ok(());
        }
        let mut transaction = self.write().await?;
        query(ANSWER)
            .bind(claim.who.as_str())
            .bind(claim.key.as_str())
            .bind(claim.request.as_str())
            .bind(claim.at.0)
            .bind(i64::from(status))
            .bind(answer)
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.failure(error))?;
        self.forget_old_keys(&mut transaction, claim.at).await?;
        self.commit(transaction).await
    }

    /// Forgets the keys whose answers are kept no longer.
    pub async fn forget_expired_keys(&self, now: Instant) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        self.forget_old_keys(&mut transaction, now).await?;
        self.commit(transaction).await
    }

    /// Commits a write of a command: its key is claimed with the first that has an effect and its audit.
    pub(super) async fn commit_marked(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
        mark: &Mark,
    ) -> Result<(), Error> {
        // Only this transaction writes now, so that what is newer than what others see is its own.
        let own: Option<i64> = sqlx::query_scalar(NEWEST_AUDIT)
            .fetch_one(&mut *transaction)
            .await
            .map_err(|error| self.failure(error))?;
        let seen: Option<i64> = sqlx::query_scalar(NEWEST_AUDIT)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let is_audited = own > seen;
        if let Some(claim) = mark.claim.as_ref().filter(|_| is_audited && self.version >= SINCE) {
            query(CLAIM)
                .bind(claim.who.as_str())
                .bind(claim.key.as_str())
                .bind(claim.request.as_str())
                .bind(claim.at.0)
                .execute(&mut *transaction)
                .await
                .map_err(|error| self.failure(error))?;
        }
        transaction.commit().await.map_err(|error| self.failure(error))?;
        mark.is_audited.fetch_or(is_audited, Ordering::SeqCst);
        Ok(())
    }

    async fn forget_old_keys(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        now: Instant,
    ) -> Result<(), Error> {
        query(FORGET_OLD)
            .bind(now.plus(-KEPT).0)
            .bind(KEYS - 1)
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RunId;
    use crate::domain::run::Trigger;
    use crate::store::NewRun;

    fn claim(key: &str, at: i64) -> Claim {
        let (who, request) = ("ci".to_owned(), "hash".to_owned());
        Claim { who, key: key.to_owned(), request, at: Instant(at) }
    }

    fn audited(run: u64) -> Audited {
        Audited {
            at: Instant(1),
            who: "ci".to_owned(),
            command: "sync".to_owned(),
            sync: Some("crm".to_owned()),
            run: Some(RunId(run)),
            message: None,
        }
    }

    #[tokio::test]
    async fn the_key_is_claimed_with_the_effect_and_says_what_was_done_until_there_is_an_answer() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let mark = Mark::new(Some(claim("k", 5)));
        let marked = store.marked(Arc::clone(&mark));
        marked.set_pins("crm", "{}").await.unwrap();
        assert!(!mark.is_audited());
        assert_eq!(store.used_key("ci", "k", Instant(6)).await.unwrap(), None);
        let given = audited(9);
        let new = NewRun { sync: "crm".to_owned(), choice: None, trigger: Trigger::Api };
        let run = marked.ask_run(&new, &given, None).await.unwrap();
        assert!(mark.is_audited());
        let used = store.used_key("ci", "k", Instant(6)).await.unwrap().unwrap();
        assert_eq!((used.answer, used.audited.unwrap().run), (None, Some(run)));
        store.keep_answer(&claim("k", 5), 202, "{}").await.unwrap();
        let used = store.used_key("ci", "k", Instant(6)).await.unwrap().unwrap();
        assert_eq!(used.answer, Some((202, "{}".to_owned())));
        assert_eq!(store.used_key("other", "k", Instant(6)).await.unwrap(), None);
        assert_eq!(store.used_key("ci", "k", Instant(5 + KEPT)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn beside_a_state_from_before_there_were_keys_none_is_known_and_the_command_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        store.execute(query("DROP TABLE command_keys")).await.unwrap();
        let older = Store { version: SINCE - 1, ..store.clone() };
        assert_eq!(older.used_key("ci", "k", Instant(6)).await.unwrap(), None);
        older.marked(Mark::new(Some(claim("k", 5)))).audit(&audited(9)).await.unwrap();
        older.keep_answer(&claim("k", 5), 0, "{}").await.unwrap();
        assert_eq!(store.audit_log(9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn old_keys_go() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        store.keep_answer(&claim("a", 5), 200, "{}").await.unwrap();
        store.keep_answer(&claim("b", 5 + KEPT), 200, "{}").await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM command_keys")
            .fetch_one(&store.readers)
            .await
            .unwrap();
        assert_eq!(left, 1);
    }
}
