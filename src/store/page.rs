use sqlx::sqlite::Sqlite;

use super::{Error, RunRow, Store, query, stored};
use crate::domain::id::{Instant, RunId};

/// Which runs of a sync are asked for, by when they were started; both ends stand outside.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    pub sync: &'a str,
    pub after: Option<Instant>,
    pub before: Option<Instant>,
}

const PAGE: &str = "
    SELECT * FROM runs WHERE sync = ?1
    AND (?2 IS NULL OR started_at > ?2) AND (?3 IS NULL OR started_at < ?3)
    ORDER BY id DESC LIMIT ?4 OFFSET ?5";
const COUNT: &str = "
    SELECT count(*) FROM runs WHERE sync = ?1
    AND (?2 IS NULL OR started_at > ?2) AND (?3 IS NULL OR started_at < ?3)";

const ENDED: &str = "
    SELECT * FROM runs WHERE id >= ?1 AND finished_at IS NOT NULL ORDER BY id LIMIT ?2";

impl Store {
    /// At most `limit` runs of any sync that have ended, the oldest first, from this number on.
    pub async fn ended_from(&self, first: RunId, limit: u32) -> Result<Vec<RunRow>, Error> {
        let rows = query(ENDED)
            .bind(stored(first.0))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// At most `limit` runs, the newest first, behind the newest `offset` of them.
    pub async fn runs_within(
        &self,
        span: Span<'_>,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<RunRow>, Error> {
        let rows = query(PAGE)
            .bind(span.sync.to_owned())
            .bind(span.after.map(|at| at.0))
            .bind(span.before.map(|at| at.0))
            .bind(limit)
            .bind(stored(offset))
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// How many runs there are.
    pub async fn count_within(&self, span: Span<'_>) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar::<Sqlite, i64>(COUNT)
            .bind(span.sync.to_owned())
            .bind(span.after.map(|at| at.0))
            .bind(span.before.map(|at| at.0))
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        self.natural("count", count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Trigger;

    #[tokio::test]
    async fn runs_of_one_sync_are_counted_and_paged_within_their_span() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        for at in 0..5 {
            store.create_run("crm", None, Trigger::Api, Instant(at)).await.unwrap();
            store.create_run("ads", None, Trigger::Api, Instant(at)).await.unwrap();
        }
        let all = Span { sync: "crm", after: None, before: None };
        let ids = |rows: Vec<RunRow>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(store.count_within(all).await.unwrap(), 5);
        assert_eq!(ids(store.runs_within(all, 2, 0).await.unwrap()), [RunId(9), RunId(7)]);
        assert_eq!(ids(store.runs_within(all, 2, 4).await.unwrap()), [RunId(1)]);
        assert_eq!(ids(store.runs_within(all, 2, u64::MAX).await.unwrap()), []);
        let span = Span { after: Some(Instant(1)), before: Some(Instant(4)), ..all };
        assert_eq!(store.count_within(span).await.unwrap(), 2);
        assert_eq!(ids(store.runs_within(span, 9, 0).await.unwrap()), [RunId(7), RunId(5)]);
    }
}
