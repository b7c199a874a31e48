//! What people decided of snapshots, kept with its audit until the snapshot says so.
//!
//! A decision counts from the moment it is stored. Whoever opens the sync's snapshot next carries out what stands here
//! (`engine::decisions`), so that a crash between the two loses nothing. Not responsible for what a decision does.

use serde::{Deserialize, Serialize};
use sqlx::Transaction;
use sqlx::sqlite::Sqlite;

use super::audit::statement;
use super::{Audited, Error, Store, json, query, stored};
use crate::domain::id::{Instant, RunId};

/// What a person decided of the snapshot of one sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The deletes that were held in `run` are made where they still stand.
    Release { run: RunId, message: Option<String>, at: Instant },
    /// The keys whose deletes were held in `run` are no longer ours.
    Discard { run: RunId },
    /// The snapshot is archived, and the next one begins afresh.
    SetAside { at: Instant },
    /// The run that this came with goes on with the snapshot, though key or destination changed or the state is a copy; or
    /// the run that goes on for that one.
    Keep { at: Instant },
    /// What waited when the snapshot was of this generation is never sent. Which keys those are is not kept: a later
    /// generation says all of it, or it is taken back.
    Backlog { generation: u64 },
    /// The sync writes over this connection from now on. `kept`: the destination that the snapshot is true of there; where
    /// there is none, it begins afresh.
    Replace { connection: String, kept: Option<String>, at: Instant },
}

/// A decision that no snapshot is known to say yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub id: u64,
    pub sync: String,
    /// That the decision came with, or is about.
    pub run: Option<RunId>,
    pub decision: Decision,
}

const DECIDE: &str = "
    INSERT INTO decisions (sync, decision, audit) VALUES (?, ?, (SELECT max(id) FROM audit))";
const DECISIONS: &str = "
    SELECT id, sync, decision, (SELECT run FROM audit WHERE audit.id = decisions.audit)
    FROM decisions WHERE ?1 IS NULL OR sync = ?1 ORDER BY id";
const SETTLE: &str = "DELETE FROM decisions WHERE id = ?";
const SETTLE_UP_TO: &str = "DELETE FROM decisions WHERE sync = ? AND id <= ?";
const FORGET_KNOWN: &str = "DELETE FROM known_snapshots WHERE sync = ?";
const FORGET_PINS: &str = "DELETE FROM pins WHERE sync = ?";
const FREE_KEY: &str = "
    DELETE FROM command_keys WHERE answer IS NULL
    AND audit = (SELECT audit FROM decisions WHERE id = ?)";

impl Store {
    /// Decides of the snapshots of these syncs, each with the audit that names it: of all of them, or none.
    pub async fn decide(&self, decided: &[(Audited, Decision)]) -> Result<Vec<Pending>, Error> {
        let mut transaction = self.write().await?;
        for (audited, _) in decided {
            let audit = statement(audited).execute(&mut *transaction).await;
            audit.map_err(|error| self.failure(error))?;
        }
        let mut pending = Vec::with_capacity(decided.len());
        for (Audited { sync, run, .. }, decision) in decided {
            let (run, sync) = (*run, sync.clone().unwrap_or_default());
            let id = self.decide_within(&mut transaction, &sync, Some(decision)).await?;
            pending.extend(id.map(|id| Pending { id, sync, run, decision: decision.clone() }));
        }
        self.commit(transaction).await?;
        Ok(pending)
    }

    /// As [`Store::decide`], as a part of a write that has the audit already.
    pub(super) async fn decide_within(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        sync: &str,
        decision: Option<&Decision>,
    ) -> Result<Option<u64>, Error> {
        let Some(decision) = decision else { return Ok(None) };
        let decided = query(DECIDE).bind(sync.to_owned()).bind(json(decision));
        let decided = decided.execute(&mut **transaction).await;
        let id = decided.map_err(|error| self.failure(error))?.last_insert_rowid();
        self.natural("id", id).map(Some)
    }

    /// What is decided of the snapshot of one sync, or of all, the oldest first. Not known beside a state of an older version.
    pub async fn decisions(&self, sync: Option<&str>) -> Result<Vec<Pending>, Error> {
        if self.version < 6 {
            return Ok(Vec::new());
        }
        let rows: Vec<(i64, String, String, Option<i64>)> = sqlx::query_as(DECISIONS)
            .bind(sync)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let pending = rows.into_iter().map(|(id, sync, decision, run)| {
            let decision = self.restore("decision", &decision)?;
            let run = run.map(|run| self.natural("run", run).map(RunId)).transpose()?;
            Ok(Pending { id: self.natural("id", id)?, sync, run, decision })
        });
        pending.collect()
    }

    /// What was decided is carried out.
    pub async fn settle(&self, id: u64) -> Result<(), Error> {
        self.execute(query(SETTLE).bind(stored(id))).await
    }

    /// As [`Store::settle`], where the snapshot was set aside, with all that was decided of it before: the next one is a new
    /// one, and what was pinned by what may have been wrong does not outlive it.
    pub async fn settle_afresh(&self, sync: &str, id: u64) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for statement in [
            query(FORGET_KNOWN).bind(sync.to_owned()),
            query(FORGET_PINS).bind(sync.to_owned()),
            query(SETTLE_UP_TO).bind(sync.to_owned()).bind(stored(id)),
        ] {
            let done = statement.execute(&mut *transaction).await;
            done.map_err(|error| self.failure(error))?;
        }
        self.commit(transaction).await
    }

    /// Takes decisions back that could not be carried out, each with an audit that says so: nothing was done for the
    /// command, and the key that it came with is free.
    pub async fn withdraw(&self, withdrawn: &[(Pending, Audited)]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        for (Pending { id, .. }, audited) in withdrawn {
            let id = stored(*id);
            for statement in [query(FREE_KEY).bind(id), query(SETTLE).bind(id), statement(audited)]
            {
                let done = statement.execute(&mut *transaction).await;
                done.map_err(|error| self.failure(error))?;
            }
        }
        // Not on behalf of the command, which would have its key again.
        transaction.commit().await.map_err(|error| self.failure(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Lineage;
    use crate::store::{Claim, Mark};

    fn audited(sync: &str) -> Audited {
        Audited {
            at: Instant(1),
            who: "ada".to_owned(),
            command: "connection replace".to_owned(),
            sync: Some(sync.to_owned()),
            run: None,
            message: None,
        }
    }

    #[tokio::test]
    async fn a_decision_stands_with_its_audit_until_it_is_settled_and_takes_what_was_before_with_it()
     {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        store.set_known("crm", Lineage(7), 1, None).await.unwrap();
        store.set_pins("crm", "{}").await.unwrap();
        let decisions = [
            Decision::Discard { run: RunId(3) },
            Decision::SetAside { at: Instant(4) },
            Decision::Release { run: RunId(5), message: None, at: Instant(6) },
        ];
        for decision in &decisions {
            store.decide(&[(audited("crm"), decision.clone())]).await.unwrap();
        }
        store.decide(&[(audited("ads"), decisions[0].clone())]).await.unwrap();
        let pending = store.decisions(Some("crm")).await.unwrap();
        let stored: Vec<_> = pending.iter().map(|one| one.decision.clone()).collect();
        assert_eq!(stored, decisions);
        assert_eq!(store.audit_log(9).await.unwrap().len(), 4);
        store.settle_afresh("crm", pending[1].id).await.unwrap();
        assert_eq!(store.decisions(Some("crm")).await.unwrap(), pending[2..]);
        assert_eq!(store.known("crm").await.unwrap(), None);
        assert_eq!(store.pins("crm").await.unwrap(), None);
        store.settle(pending[2].id).await.unwrap();
        assert_eq!(store.decisions(None).await.unwrap().len(), 1, "that of the other sync");
    }

    #[tokio::test]
    async fn a_decision_that_is_taken_back_frees_the_key_it_came_with() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let (who, key, request) = ("ada".to_owned(), "k".to_owned(), "hash".to_owned());
        let marked = store.marked(Mark::new(Some(Claim { who, key, request, at: Instant(1) })));
        let replace = |sync: &str| {
            let (connection, kept) = ("next".to_owned(), None);
            (audited(sync), Decision::Replace { connection, kept, at: Instant(1) })
        };
        let pending = marked.decide(&[replace("crm"), replace("ads")]).await.unwrap();
        assert!(store.used_key("ada", "k", Instant(2)).await.unwrap().is_some());
        let back: Vec<_> = pending.into_iter().map(|one| (one, audited("crm"))).collect();
        marked.withdraw(&back).await.unwrap();
        assert_eq!(store.decisions(None).await.unwrap(), []);
        assert_eq!(store.used_key("ada", "k", Instant(2)).await.unwrap(), None);
        assert_eq!(store.audit_log(9).await.unwrap().len(), 4);
    }
}
