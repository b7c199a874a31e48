//! Tokens: who may ask over HTTP, and how much. Only a hash of each secret is stored.
//!
//! Not responsible for making or hashing secrets (`api::token`). Invariant: making and revoking one is audited in the
//! same write.

use serde::{Deserialize, Serialize};

use super::audit::statement;
use super::{Audited, Error, Statement, Store, query};
use crate::domain::id::Instant;

/// How much a token may do; each may also do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ask.
    Read,
    /// Begin and stop runs.
    Run,
    /// Change what runs: pauses, groups, sources, connections, decisions on what is held.
    Write,
    /// Everything.
    Admin,
}

impl Scope {
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Run, Scope::Write, Scope::Admin];

    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Run => "run",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A token as it is stored: without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub name: String,
    /// Of the secret, in hexadecimal.
    pub hash: String,
    pub scope: Scope,
    pub created_at: Instant,
    pub expires_at: Option<Instant>,
    pub revoked_at: Option<Instant>,
}

impl Token {
    /// Whether it opens anything at `now`.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// What came of making a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Done,
    /// There is or was one of that name; names are never given twice, as the audit log names them.
    NameIsTaken,
}

const TOKENS: &str = "SELECT name, hash, scope, created_at, expires_at, revoked_at FROM tokens ORDER BY created_at, name";
const MAKE: &str = "
    INSERT INTO tokens (name, hash, scope, created_at, expires_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name) DO NOTHING";
const REVOKE: &str = "UPDATE tokens SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL";

type TokenColumns = (String, String, String, i64, Option<i64>, Option<i64>);

impl Store {
    /// All tokens that were ever made, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let rows: Vec<TokenColumns> = sqlx::query_as(TOKENS)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let tokens = rows.into_iter().map(|(name, hash, scope, created_at, expires, revoked)| {
            let scope = Scope::ALL.into_iter().find(|known| known.word() == scope);
            Ok(Token {
                name,
                hash,
                scope: scope.ok_or_else(|| self.damaged("column `scope` holds no scope"))?,
                created_at: Instant(created_at),
                expires_at: expires.map(Instant),
                revoked_at: revoked.map(Instant),
            })
        });
        tokens.collect()
    }

    /// Stores a new token; `by` is who makes it, and `why` what for.
    pub async fn make_token(
        &self,
        token: &Token,
        by: &str,
        why: Option<&str>,
    ) -> Result<Made, Error> {
        let statement = query(MAKE)
            .bind(token.name.clone())
            .bind(token.hash.clone())
            .bind(token.scope.word())
            .bind(token.created_at.0)
            .bind(token.expires_at.map(|at| at.0));
        let until = token.expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
        let message = because(why, &format!("`{}` may {}{until}", token.name, token.scope));
        let is_done =
            self.with_audit(statement, "token create", by, token.created_at, message).await?;
        Ok(if is_done { Made::Done } else { Made::NameIsTaken })
    }

    /// Ends a token for good; false where there is none of that name that is not revoked already.
    pub async fn revoke_token(
        &self,
        name: &str,
        by: &str,
        why: Option<&str>,
        now: Instant,
    ) -> Result<bool, Error> {
        let statement = query(REVOKE).bind(name.to_owned()).bind(now.0);
        let message = because(why, &format!("`{name}`"));
        self.with_audit(statement, "token revoke", by, now, message).await
    }

    /// One statement with its audit; neither, and false, where it changes nothing.
    async fn with_audit(
        &self,
        change: Statement,
        command: &str,
        who: &str,
        at: Instant,
        message: String,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let changed =
            change.execute(&mut *transaction).await.map_err(|error| self.failure(error))?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let audited = Audited {
            at,
            who: who.to_owned(),
            command: command.to_owned(),
            sync: None,
            run: None,
            message: Some(message),
        };
        let audit = statement(&audited).execute(&mut *transaction).await;
        audit.map_err(|error| self.failure(error))?;
        self.commit(transaction).await?;
        Ok(true)
    }
}

/// What was done, behind the reason for it where one was given.
fn because(why: Option<&str>, done: &str) -> String {
    let why = why.map_or(String::new(), |why| format!("{why}: "));
    format!("{why}{done}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_made_once_and_stays_in_the_list_when_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let token = Token {
            name: "ci".to_owned(),
            hash: "00ff".to_owned(),
            scope: Scope::Run,
            created_at: Instant(1),
            expires_at: Some(Instant(10)),
            revoked_at: None,
        };
        assert_eq!(store.make_token(&token, "ada", None).await.unwrap(), Made::Done);
        assert_eq!(store.make_token(&token, "ada", None).await.unwrap(), Made::NameIsTaken);
        assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token));
        assert!(token.is_valid(Instant(9)) && !token.is_valid(Instant(10)));
        assert!(store.revoke_token("ci", "bob", None, Instant(2)).await.unwrap());
        assert!(!store.revoke_token("ci", "bob", None, Instant(3)).await.unwrap());
        assert!(!store.revoke_token("nobody", "bob", None, Instant(3)).await.unwrap());
        let revoked = store.tokens().await.unwrap().remove(0);
        assert_eq!(revoked.revoked_at, Some(Instant(2)));
        assert!(!revoked.is_valid(Instant(3)));
        let log = store.audit_log(10).await.unwrap();
        let commands: Vec<_> =
            log.iter().map(|entry| (entry.command.as_str(), entry.who.as_str())).collect();
        assert_eq!(commands, [("token revoke", "bob"), ("token create", "ada")]);
        assert!(log.iter().all(|entry| !entry.message.as_deref().unwrap().contains("00ff")));
    }

    #[test]
    fn scopes_rise() {
        assert!(Scope::ALL.is_sorted());
    }
}
