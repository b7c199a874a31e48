use std::collections::BTreeMap;

use super::{Error, Store, query};
use crate::domain::id::Instant;

const ARM: &str = "INSERT OR IGNORE INTO armed (sync, since) VALUES (?, ?)";
const ARMED: &str = "SELECT sync, since FROM armed";

impl Store {
    /// Notes that the schedules of these syncs are armed `now`, and returns since when each that ever was has been: the first
    /// note stands.
    pub async fn arm(
        &self,
        syncs: &[String],
        now: Instant,
    ) -> Result<BTreeMap<String, Instant>, Error> {
        let mut armed = self.armed().await?;
        let new: Vec<&String> = syncs.iter().filter(|sync| !armed.contains_key(*sync)).collect();
        if new.is_empty() {
            return Ok(armed);
        }
        let mut transaction = self.write().await?;
        for sync in new {
            let noted = query(ARM).bind(sync.clone()).bind(now.0).execute(&mut *transaction).await;
            noted.map_err(|error| self.failure(error))?;
            armed.insert(sync.clone(), now);
        }
        self.commit(transaction).await?;
        Ok(armed)
    }

    async fn armed(&self) -> Result<BTreeMap<String, Instant>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(ARMED)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        Ok(rows.into_iter().map(|(sync, since)| (sync, Instant(since))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_arming_stands() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let arm = |syncs: &[&str], now| {
            let syncs: Vec<String> = syncs.iter().map(|sync| (*sync).to_owned()).collect();
            let store = store.clone();
            async move { store.arm(&syncs, Instant(now)).await.unwrap() }
        };
        assert_eq!(arm(&["a"], 1).await["a"], Instant(1));
        let both = arm(&["a", "b"], 2).await;
        assert_eq!((both["a"], both["b"]), (Instant(1), Instant(2)));
    }
}
