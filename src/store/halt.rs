use super::{Error, Store, query, stored};
use crate::domain::id::{Instant, RunId};

const MARK: &str = "UPDATE runs SET halted = 1 WHERE id = ?";
/// The sync's last runs with a result, the newest first: cancelled ones and samples say nothing.
const RESULTS: &str = "
    SELECT halted FROM runs
    WHERE sync = ?1 AND finished_at > ?2 AND phase NOT LIKE '%\"cancelled\"%'
    AND coalesce(json_extract(choice, '$.reason'), '') <> 'sample'
    ORDER BY id DESC LIMIT ?3";

impl Store {
    /// Marks a run as one that no later run can do better than before a person has done something.
    pub async fn mark_halted(&self, run: RunId) -> Result<(), Error> {
        self.execute(query(MARK).bind(stored(run.0))).await
    }

    /// Whether each of the sync's last `count` runs that came to a result after `since` halted, and there are so many.
    pub async fn has_halted(&self, sync: &str, since: Instant, count: u32) -> Result<bool, Error> {
        let halted: Vec<bool> = sqlx::query_scalar(RESULTS)
            .bind(sync)
            .bind(since.0)
            .bind(count)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(halted.len() == count && halted.into_iter().all(|halted| halted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::{Outcome, Trigger};
    use crate::domain::tally::Tally;

    #[tokio::test]
    async fn only_halts_in_a_row_since_the_last_resume_count() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let end = |outcome, is_halt: bool, at| {
            let store = store.clone();
            async move {
                let run = store.create_run("crm", None, Trigger::Api, Instant(at)).await.unwrap();
                if is_halt {
                    store.mark_halted(run).await.unwrap();
                }
                let tally = Tally::default();
                store.finish(run, outcome, &tally, None, Instant(at)).await.unwrap();
            }
        };
        let has = |since, count| {
            let store = store.clone();
            async move { store.has_halted("crm", Instant(since), count).await.unwrap() }
        };
        end(Outcome::Failed, true, 1).await;
        end(Outcome::Failed, false, 2).await;
        end(Outcome::Failed, true, 3).await;
        assert!(!has(0, 2).await, "a failure between them is none");
        end(Outcome::Cancelled, false, 4).await;
        end(Outcome::Failed, true, 5).await;
        assert!(has(0, 2).await);
        assert!(!has(0, 3).await && !has(3, 2).await, "there were no more since");
    }
}
