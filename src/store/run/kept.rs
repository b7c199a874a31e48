//! How long a person's word that a snapshot is true stands: for the run that it came with, and for the one that goes on
//! for it where the process ended first.

use sqlx::Transaction;
use sqlx::sqlite::Sqlite;

use crate::domain::id::RunId;
use crate::domain::run::{Outcome, Phase};
use crate::store::{Error, Store, json, query, stored};

/// The words for runs of the sync from one number to another.
const SPEND: &str = "
    DELETE FROM decisions WHERE sync = ?1 AND json_extract(decision, '$.keep') IS NOT NULL
    AND (SELECT run FROM audit WHERE audit.id = decisions.audit) BETWEEN ?2 AND ?3";
/// As above, at the end of the run ?1: a sample spends none, nor does a run that another goes on for, which is one that
/// began and was ended by nobody (?3).
const SPEND_AT_END: &str = "
    DELETE FROM decisions WHERE sync = (SELECT sync FROM runs WHERE id = ?1)
    AND json_extract(decision, '$.keep') IS NOT NULL
    AND (SELECT run FROM audit WHERE audit.id = decisions.audit) BETWEEN ?2 AND ?1
    AND EXISTS (
        SELECT 1 FROM runs WHERE id = ?1 AND (NOT ?3 OR stop IS NOT NULL)
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample')";
/// Of the last run before this one that began, samples aside.
const LAST_PHASE: &str = "
    SELECT phase FROM runs WHERE sync = ? AND id < ? AND revision IS NOT NULL
    AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample' ORDER BY id DESC LIMIT 1";

impl Store {
    /// The word that came with this run or one before is carried out.
    pub async fn spend_word(&self, sync: &str, run: RunId) -> Result<(), Error> {
        let sync = sync.to_owned();
        self.execute(query(SPEND).bind(sync).bind(0).bind(stored(run.0))).await
    }

    /// As a part of the end of a run, which was in the phase `from`.
    pub(super) async fn spend_at_end(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        run: RunId,
        from: Phase,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let has_begun = from != Phase::InQueue;
        if outcome == Outcome::Interrupted {
            return Ok(());
        }
        // One that never began says nothing of those before it.
        let first = if has_begun { 0 } else { stored(run.0) };
        let is_gone_on_with = has_begun && outcome == Outcome::Cancelled;
        let spend = query(SPEND_AT_END).bind(stored(run.0)).bind(first).bind(is_gone_on_with);
        let spent = spend.execute(&mut **transaction).await;
        spent.map(drop).map_err(|error| self.failure(error))
    }

    /// Whether the process ended before the last run did that began before this one.
    pub async fn follows_interrupted(&self, sync: &str, run: RunId) -> Result<bool, Error> {
        let last: Option<String> = sqlx::query_scalar(LAST_PHASE)
            .bind(sync)
            .bind(stored(run.0))
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(last.is_some_and(|phase| phase == json(&Phase::Ended(Outcome::Interrupted))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Instant;
    use crate::domain::kind::Choice;
    use crate::domain::run::Trigger;
    use crate::domain::tally::Tally;
    use crate::store::{Audited, Decision, NewRun};

    async fn asked(store: &Store) -> RunId {
        let (sync, at) = ("crm".to_owned(), Instant(1));
        let audited = Audited {
            at,
            who: "ada".to_owned(),
            command: "sync --keep-snapshot".to_owned(),
            sync: Some(sync.clone()),
            run: None,
            message: None,
        };
        let new = NewRun { sync, choice: None, trigger: Trigger::Api };
        store.ask_run(&new, &audited, Some(&Decision::Keep { at })).await.unwrap()
    }

    async fn end(store: &Store, run: RunId, outcome: Outcome) {
        store.finish(run, outcome, &Tally::default(), None, Instant(2)).await.unwrap();
    }

    async fn words(store: &Store) -> Vec<Option<RunId>> {
        let words = store.decisions(Some("crm")).await.unwrap();
        words.into_iter().map(|one| one.run).collect()
    }

    #[tokio::test]
    async fn a_word_goes_with_its_run_unless_another_goes_on_for_that() {
        for (begins, is_stopped, outcome, stands) in [
            (false, true, Outcome::Cancelled, false),
            (true, true, Outcome::Cancelled, false),
            (true, false, Outcome::Cancelled, true),
            (true, false, Outcome::Interrupted, true),
            (true, false, Outcome::Failed, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).await.unwrap();
            let run = asked(&store).await;
            if begins {
                store.begin(run, false, "r1").await.unwrap();
            }
            if is_stopped {
                store.request_stop("crm", false, "ada", None, Instant(1)).await.unwrap();
            }
            end(&store, run, outcome).await;
            let left = if stands { vec![Some(run)] } else { Vec::new() };
            assert_eq!(words(&store).await, left, "{begins} {is_stopped} {outcome}");
        }
    }

    #[tokio::test]
    async fn what_waits_behind_and_a_sample_leave_the_word_of_another_run_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let create = |choice| store.create_run("crm", choice, Trigger::Api, Instant(1));
        let run = asked(&store).await;
        let (waiting, sample) =
            (create(None).await.unwrap(), create(Some(Choice::SAMPLE)).await.unwrap());
        end(&store, waiting, Outcome::Cancelled).await;
        store.begin(sample, false, "r1").await.unwrap();
        end(&store, sample, Outcome::Failed).await;
        assert_eq!(words(&store).await, [Some(run)]);
        store.begin(run, false, "r1").await.unwrap();
        end(&store, run, Outcome::Interrupted).await;
        let (next, behind) = (create(None).await.unwrap(), asked(&store).await);
        assert!(store.follows_interrupted("crm", next).await.unwrap());
        store.begin(next, false, "r1").await.unwrap();
        end(&store, next, Outcome::Failed).await;
        assert_eq!(words(&store).await, [Some(behind)], "it is spent by the run that went on");
        assert!(!store.follows_interrupted("crm", behind).await.unwrap());
    }
}
