//! When syncs last ran, samples aside: of many at once, in one read.

use std::collections::BTreeMap;

use crate::domain::id::Instant;
use crate::domain::run::{Outcome, Phase};
use crate::store::{Error, Store, json};

const LAST_SUCCESSES: &str = "
    SELECT value, (SELECT max(at) FROM (
        SELECT max(finished_at) AS at FROM runs WHERE sync = value AND phase = ?2
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample'
        UNION ALL SELECT max(finished_at) FROM runs WHERE sync = value AND phase = ?3))
    FROM json_each(?1)";
// `+phase` keeps to the order of the runs, of which the first few tell.
const NEWEST_SUCCESSES: &str = "
    SELECT value, (
        SELECT finished_at FROM runs WHERE sync = value AND +phase IN (?2, ?3)
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample' ORDER BY id DESC LIMIT 1)
    FROM json_each(?1)";
const LAST_ASKED: &str = "
    SELECT value, (
        SELECT started_at FROM runs WHERE sync = value
        AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample' ORDER BY id DESC LIMIT 1)
    FROM json_each(?1)";

impl Store {
    /// When each of these syncs last came to a success, where one did, by the clock.
    pub async fn last_successes(&self, syncs: &[&str]) -> Result<Vec<(String, Instant)>, Error> {
        Ok(self.successes(LAST_SUCCESSES, syncs).await?.collect())
    }

    /// When the newest run of each of these syncs ended that succeeded, or was skipped as nothing was to be done, where there
    /// is one: by the order of the runs, whatever the clock said.
    pub async fn newest_successes(
        &self,
        syncs: &[&str],
    ) -> Result<BTreeMap<String, Instant>, Error> {
        Ok(self.successes(NEWEST_SUCCESSES, syncs).await?.collect())
    }

    /// When the newest run of each of these syncs was put into the queue, where there is one.
    pub async fn last_asked(&self, syncs: &[&str]) -> Result<BTreeMap<String, Instant>, Error> {
        let rows = sqlx::query_as(LAST_ASKED).bind(json(&syncs)).fetch_all(&self.readers).await;
        Ok(dated(rows.map_err(|error| self.failure(error))?).collect())
    }

    async fn successes(
        &self,
        asked: &'static str,
        syncs: &[&str],
    ) -> Result<impl Iterator<Item = (String, Instant)> + use<>, Error> {
        let rows = sqlx::query_as(asked)
            .bind(json(&syncs))
            .bind(json(&Phase::Ended(Outcome::Succeeded)))
            .bind(json(&Phase::Ended(Outcome::Skipped)))
            .fetch_all(&self.readers)
            .await;
        Ok(dated(rows.map_err(|error| self.failure(error))?))
    }
}

/// Of the syncs that have a time.
fn dated(rows: Vec<(String, Option<i64>)>) -> impl Iterator<Item = (String, Instant)> {
    rows.into_iter().filter_map(|(sync, at)| Some((sync, Instant(at?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kind::Choice;
    use crate::domain::run::Trigger;
    use crate::domain::tally::Tally;

    async fn ended(store: &Store, sync: &str, choice: Option<Choice>, outcome: Outcome, at: i64) {
        let run = store.create_run(sync, choice, Trigger::Api, Instant(at)).await.unwrap();
        let phases: &[Phase] = match outcome {
            Outcome::Succeeded => &[Phase::Starting, Phase::Reading, Phase::Committing],
            Outcome::Skipped => &[Phase::Starting],
            _ => &[],
        };
        for phase in phases {
            store.set_phase(run, *phase).await.unwrap();
        }
        store.finish(run, outcome, &Tally::default(), None, Instant(at + 1)).await.unwrap();
    }

    #[tokio::test]
    async fn the_newest_run_and_the_newest_success_of_each_sync_are_those_of_no_sample() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        ended(&store, "a", None, Outcome::Succeeded, 50).await;
        // The clock was set back.
        ended(&store, "a", None, Outcome::Skipped, 20).await;
        ended(&store, "a", None, Outcome::Failed, 30).await;
        ended(&store, "a", Some(Choice::SAMPLE), Outcome::Succeeded, 90).await;
        ended(&store, "b", None, Outcome::Failed, 7).await;
        let syncs = ["a", "b", "never"];
        let of = |times: &[(&str, i64)]| -> BTreeMap<String, Instant> {
            times.iter().map(|(sync, at)| ((*sync).to_owned(), Instant(*at))).collect()
        };
        assert_eq!(store.last_asked(&syncs).await.unwrap(), of(&[("a", 30), ("b", 7)]));
        assert_eq!(store.newest_successes(&syncs).await.unwrap(), of(&[("a", 21)]));
        assert_eq!(store.last_successes(&syncs).await.unwrap(), [("a".to_owned(), Instant(51))]);
    }
}
