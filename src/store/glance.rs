//! What there is of several syncs at one moment: in one transaction, with one question of each kind however many they are.
//!
//! Not responsible for what follows from it (`domain::status`). Invariant: all of it is of one moment, so that a run that
//! ends meanwhile is among those without an end or among those with one, and never in both nor in neither.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;

use super::audit::AuditColumns;
use super::pause::{NamedColumns, named};
use super::run::BEGUN;
use super::{Audited, DisabledSource, Error, Pause, RunRow, Store, json, query};
use crate::domain::id::Lineage;
use crate::domain::run::{Outcome, Phase};

/// What there is of the syncs that were asked for, by sync.
#[derive(Debug, Default)]
pub struct Glance {
    /// The runs without an end, the oldest first: those that have begun, of whatever sync, and those of these syncs.
    pub unfinished: Vec<RunRow>,
    /// The last that ended, and behind it the last that came to a result, if that is another: neither cancelled nor a sample.
    pub ended: BTreeMap<String, Vec<RunRow>>,
    pub pauses: BTreeMap<String, Pause>,
    /// Lineage and generation of its snapshot.
    pub known: BTreeMap<String, (Lineage, u64)>,
    /// The last time that the command was given to it.
    pub audited: BTreeMap<String, Audited>,
    /// Of all syncs, by source.
    pub disabled: BTreeMap<String, DisabledSource>,
}

pub(super) const UNFINISHED: &str = "
    SELECT * FROM runs WHERE finished_at IS NULL AND sync IN (SELECT value FROM json_each(?1))
    UNION SELECT * FROM runs WHERE finished_at IS NULL AND phase IN (?2, ?3, ?4, ?5) ORDER BY id";
const ENDED: &str = "
    SELECT * FROM runs WHERE id IN (
        SELECT (SELECT id FROM runs WHERE sync = value AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1)
        FROM json_each(?1)
        UNION SELECT (
            SELECT id FROM runs WHERE sync = value AND finished_at IS NOT NULL AND phase <> ?2
            AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample' ORDER BY id DESC LIMIT 1)
        FROM json_each(?1))
    ORDER BY id DESC";
const PAUSES: &str = "
    SELECT sync, paused, configured, message, who, at, until FROM pauses
    WHERE sync IN (SELECT value FROM json_each(?))";
const KNOWN: &str = "
    SELECT sync, lineage, generation FROM known_snapshots
    WHERE sync IN (SELECT value FROM json_each(?))";
const AUDITED: &str = "
    SELECT at, who, command, sync, run, message FROM audit WHERE id IN (
        SELECT (SELECT id FROM audit WHERE sync = value AND command = ?2 ORDER BY id DESC LIMIT 1)
        FROM json_each(?1))";
impl Store {
    /// What there is of these syncs, and when each was last given this command.
    pub async fn glance(&self, syncs: &[&str], command: &str) -> Result<Glance, Error> {
        let failed = |error| self.failure(error);
        let syncs = json(&syncs);
        let mut read = self.readers.begin().await.map_err(failed)?;
        let unfinished = BEGUN
            .iter()
            .fold(query(UNFINISHED).bind(syncs.clone()), |asked, phase| asked.bind(json(phase)))
            .fetch_all(&mut *read)
            .await
            .map_err(failed)?;
        let cancelled = json(&Phase::Ended(Outcome::Cancelled));
        let ended = query(ENDED).bind(syncs.clone()).bind(cancelled).fetch_all(&mut *read).await;
        let ended = ended.map_err(failed)?;
        let pauses: Vec<NamedColumns> =
            sqlx::query_as(PAUSES).bind(&syncs).fetch_all(&mut *read).await.map_err(failed)?;
        let audited: Vec<AuditColumns> = sqlx::query_as(AUDITED)
            .bind(&syncs)
            .bind(command)
            .fetch_all(&mut *read)
            .await
            .map_err(failed)?;
        let known: Vec<(String, String, i64)> =
            sqlx::query_as(KNOWN).bind(&syncs).fetch_all(&mut *read).await.map_err(failed)?;
        let disabled = self.disabled_within(&mut *read).await?;
        // It has written nothing: the end gives the moment up.
        read.rollback().await.map_err(failed)?;
        Ok(Glance {
            unfinished: self.run_rows(&unfinished)?,
            ended: by_sync(self.run_rows(&ended)?),
            pauses: pauses.into_iter().map(named).collect(),
            known: self.lineages(known)?,
            audited: self.by_their_sync(audited)?,
            disabled,
        })
    }

    fn run_rows(&self, rows: &[SqliteRow]) -> Result<Vec<RunRow>, Error> {
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    fn lineages(
        &self,
        rows: Vec<(String, String, i64)>,
    ) -> Result<BTreeMap<String, (Lineage, u64)>, Error> {
        let known = rows.into_iter().map(|(sync, lineage, generation)| {
            Ok((sync, (self.lineage(&lineage)?, self.natural("generation", generation)?)))
        });
        known.collect()
    }

    fn by_their_sync(&self, rows: Vec<AuditColumns>) -> Result<BTreeMap<String, Audited>, Error> {
        let mut audited = BTreeMap::new();
        for row in rows {
            let one = self.audited(row)?;
            audited.extend(one.sync.clone().map(|sync| (sync, one)));
        }
        Ok(audited)
    }
}

fn by_sync(rows: Vec<RunRow>) -> BTreeMap<String, Vec<RunRow>> {
    let mut all: BTreeMap<String, Vec<RunRow>> = BTreeMap::new();
    for row in rows {
        all.entry(row.sync.clone()).or_default().push(row);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Instant, RunId};
    use crate::domain::kind::Choice;
    use crate::domain::run::Trigger;
    use crate::domain::tally::Tally;

    async fn run(store: &Store, sync: &str, choice: Option<Choice>) -> RunId {
        store.create_run(sync, choice, Trigger::Api, Instant(0)).await.unwrap()
    }

    async fn ended(store: &Store, sync: &str, choice: Option<Choice>, outcome: Outcome) -> RunId {
        let run = run(store, sync, choice).await;
        if outcome == Outcome::Succeeded {
            for phase in [Phase::Starting, Phase::Reading, Phase::Committing] {
                store.set_phase(run, phase).await.unwrap();
            }
        }
        store.finish(run, outcome, &Tally::default(), None, Instant(9)).await.unwrap();
        run
    }

    #[tokio::test]
    async fn the_last_end_and_behind_it_the_last_result_of_each_sync_are_found() {
        use Outcome::{Cancelled, Failed, Succeeded};
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        ended(&store, "a", None, Failed).await;
        let result = ended(&store, "a", None, Succeeded).await;
        ended(&store, "a", None, Cancelled).await;
        let sample = ended(&store, "a", Some(Choice::SAMPLE), Succeeded).await;
        let only = ended(&store, "b", None, Failed).await;
        let cancelled = ended(&store, "c", None, Cancelled).await;
        ended(&store, "other", None, Failed).await;
        let found = store.glance(&["a", "b", "c", "never"], "pause").await.unwrap().ended;
        let ids = |sync: &str| found[sync].iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(
            (ids("a"), ids("b"), ids("c")),
            (vec![sample, result], vec![only], vec![cancelled])
        );
        assert_eq!(found.len(), 3);
    }

    #[tokio::test]
    async fn runs_that_have_begun_are_found_of_all_and_those_that_wait_of_the_syncs_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let (begun, _waits) = (run(&store, "other", None).await, run(&store, "other", None).await);
        store.set_phase(begun, Phase::Starting).await.unwrap();
        let asked = run(&store, "a", None).await;
        ended(&store, "a", None, Outcome::Succeeded).await;
        let found = store.glance(&["a"], "pause").await.unwrap().unfinished;
        assert_eq!(found.iter().map(|run| run.id).collect::<Vec<_>>(), [begun, asked]);
    }

    #[tokio::test]
    async fn what_is_recorded_is_found_of_the_syncs_asked_for_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let pause = |message: &str| Pause {
            is_paused: true,
            configured: false,
            message: Some(message.to_owned()),
            who: "ada".to_owned(),
            at: Instant(1),
            until: None,
        };
        for sync in ["a", "other"] {
            store.set_known(sync, Lineage(7), 3, None).await.unwrap();
            store.record_pause(sync, None, &pause("first")).await.unwrap();
            store.record_pause(sync, Some(&pause("first")), &pause("second")).await.unwrap();
        }
        let found = store.glance(&["a", "b"], "pause").await.unwrap();
        assert_eq!(found.pauses, BTreeMap::from([("a".to_owned(), pause("second"))]));
        assert_eq!(found.known, BTreeMap::from([("a".to_owned(), (Lineage(7), 3))]));
        assert_eq!(found.audited.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(found.audited["a"].message.as_deref(), Some("second"));
        assert!(store.glance(&["a"], "resume").await.unwrap().audited.is_empty());
    }

    #[tokio::test]
    async fn the_questions_do_not_read_whole_tables() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        for asked in [UNFINISHED, ENDED, PAUSES, KNOWN, AUDITED] {
            let explained = format!("EXPLAIN QUERY PLAN {asked}");
            let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(explained));
            let plan = plan.fetch_all(&store.readers).await.unwrap();
            let scans = |step: &&(i64, i64, i64, String)| {
                let step = &step.3;
                step.starts_with("SCAN")
                    && !step.contains("json_each")
                    && !step.contains("SUBQUERY")
            };
            assert_eq!(plan.iter().find(scans), None, "{plan:?}");
        }
    }
}
