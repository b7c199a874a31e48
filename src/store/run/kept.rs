//! How long a person's word that a snapshot is true stands: for the run that it came with, and for the one that goes on
//! for it where the process was killed or drained first.

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
/// Of the last run before this one that began, samples aside: whether it was interrupted (?3), or cancelled (?4) by nobody,
/// under the same config (?5).
const WAS_LAST_CUT_SHORT: &str = "
    SELECT revision = ?5 AND (phase = ?3 OR (phase = ?4 AND stop IS NULL))
    FROM runs WHERE sync = ?1 AND id < ?2 AND revision IS NOT NULL
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

    /// Whether the last run that began before this one was cut short by nobody: its process was killed, or drained. Whatever
    /// asked for this run, it goes on for that one, if `revision` is the config of both: under another one the question
    /// that a person has answered may be another too.
    pub async fn follows_cut_short(
        &self,
        sync: &str,
        run: RunId,
        revision: &str,
    ) -> Result<bool, Error> {
        let was_cut_short: Option<bool> = sqlx::query_scalar(WAS_LAST_CUT_SHORT)
            .bind(sync)
            .bind(stored(run.0))
            .bind(json(&Phase::Ended(Outcome::Interrupted)))
            .bind(json(&Phase::Ended(Outcome::Cancelled)))
            .bind(revision.to_owned())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(was_cut_short.unwrap_or(false))
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
        assert!(store.follows_cut_short("crm", next, "r1").await.unwrap());
        store.begin(next, false, "r1").await.unwrap();
        end(&store, next, Outcome::Failed).await;
        assert_eq!(words(&store).await, [Some(behind)], "it is spent by the run that went on");
        assert!(!store.follows_cut_short("crm", behind, "r1").await.unwrap());
    }

    #[tokio::test]
    async fn what_waited_behind_a_run_that_a_drain_cut_short_goes_on_for_it_and_for_none_that_a_person_stopped()
     {
        for (outcome, is_stopped, goes_on) in [
            (Outcome::Interrupted, false, true),
            (Outcome::Cancelled, false, true),
            (Outcome::Cancelled, true, false),
            (Outcome::Failed, false, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).await.unwrap();
            let run = asked(&store).await;
            store.begin(run, false, "r1").await.unwrap();
            if is_stopped {
                store.request_stop("crm", false, "ada", None, Instant(1)).await.unwrap();
            }
            let behind = store.create_run("crm", None, Trigger::Schedule, Instant(1)).await;
            end(&store, run, outcome).await;
            let behind = behind.unwrap();
            let follows = store.follows_cut_short("crm", behind, "r1").await.unwrap();
            assert_eq!(follows, goes_on, "{outcome} {is_stopped}");
            let under_another = store.follows_cut_short("crm", behind, "r2").await.unwrap();
            assert!(!under_another, "another config asks another question");
        }
    }
}
