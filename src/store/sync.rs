//! What is remembered of each sync between runs, beside its snapshot.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{Error, Store, query, stored};
use crate::domain::id::Lineage;

const KNOWN: &str = "SELECT lineage, generation FROM known_snapshots WHERE sync = ?";
const SET_KNOWN: &str = "
    INSERT INTO known_snapshots (sync, lineage, generation, file) VALUES (?, ?, ?, ?)
    ON CONFLICT (sync) DO UPDATE SET lineage = excluded.lineage, generation = excluded.generation,
    file = excluded.file";
const FILE: &str = "SELECT file FROM known_snapshots WHERE sync = ?";
const FORGET_KNOWN: &str = "DELETE FROM known_snapshots WHERE sync = ?";
const PINS: &str = "SELECT pins FROM pins WHERE sync = ?";
const SET_PINS: &str = "
    INSERT INTO pins (sync, pins) VALUES (?, ?)
    ON CONFLICT (sync) DO UPDATE SET pins = excluded.pins";

impl Store {
    /// The lineage and the generation that the sync's snapshot must at least have.
    pub async fn known(&self, sync: &str) -> Result<Option<(Lineage, u64)>, Error> {
        let row: Option<(String, i64)> = sqlx::query_as(KNOWN)
            .bind(sync)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        row.map(|(lineage, generation)| {
            let lineage = u128::from_str_radix(&lineage, 16)
                .map_err(|_| self.damaged("column `lineage` holds no lineage"))?;
            Ok((Lineage(lineage), self.natural("generation", generation)?))
        })
        .transpose()
    }

    /// Remembers the sync's snapshot.
    pub async fn set_known(
        &self,
        sync: &str,
        lineage: Lineage,
        generation: u64,
    ) -> Result<(), Error> {
        let statement =
            query(SET_KNOWN).bind(sync).bind(lineage.to_string()).bind(stored(generation));
        self.execute(statement.bind(identity(&self.path))).await
    }

    /// Whether the sync's snapshot was remembered in another file than this database is now: the state was restored from
    /// a backup, or copied.
    pub async fn is_copied(&self, sync: &str) -> Result<bool, Error> {
        let file: Option<Option<String>> = sqlx::query_scalar(FILE)
            .bind(sync)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let (file, now) = (file.flatten(), identity(&self.path));
        Ok(file.is_some() && now.is_some() && file != now)
    }

    /// The sync's next snapshot is a new one. Nothing happens if none was known.
    pub async fn forget_known(&self, sync: &str) -> Result<(), Error> {
        self.execute(query(FORGET_KNOWN).bind(sync)).await
    }

    /// The column types pinned at the sync's first run, as JSON that the source understands.
    pub async fn pins(&self, sync: &str) -> Result<Option<String>, Error> {
        sqlx::query_scalar(PINS)
            .bind(sync)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))
    }

    /// Replaces the sync's pins.
    pub async fn set_pins(&self, sync: &str, pins: &str) -> Result<(), Error> {
        self.execute(query(SET_PINS).bind(sync).bind(pins)).await
    }
}

/// Which file this is: its number and when it was made, which no copy of it shares and no renaming or change of its mode
/// or owner changes. `None` where the file system does not say.
fn identity(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let made = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}", metadata.ino(), made.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_of_the_database_is_known_as_one_and_a_renamed_one_is_not_c7() {
        let directory = tempfile::tempdir().unwrap();
        let folder = |name: &str| directory.path().join(name);
        let store = Store::open(&folder("state")).await.unwrap();
        assert!(!store.is_copied("crm").await.unwrap());
        store.set_known("crm", Lineage(7), 1).await.unwrap();
        store.close().await;
        std::fs::create_dir(folder("copy")).unwrap();
        let file = "counterflow.db";
        std::fs::copy(folder("state").join(file), folder("copy").join(file)).unwrap();
        std::fs::rename(folder("state"), folder("renamed")).unwrap();
        let is_told = identity(&folder("renamed").join(file)).is_some();
        let renamed = Store::open(&folder("renamed")).await.unwrap();
        assert!(!renamed.is_copied("crm").await.unwrap());
        let copy = Store::open(&folder("copy")).await.unwrap();
        assert_eq!(copy.is_copied("crm").await.unwrap(), is_told);
        assert!(!copy.is_copied("ads").await.unwrap());
        copy.set_known("crm", Lineage(7), 1).await.unwrap();
        assert!(!copy.is_copied("crm").await.unwrap());
    }

    #[tokio::test]
    async fn a_known_snapshot_is_replaced_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        assert_eq!(store.known("crm").await.unwrap(), None);
        store.set_known("crm", Lineage(u128::MAX - 1), 3).await.unwrap();
        store.set_known("ads", Lineage(7), 1).await.unwrap();
        store.set_known("crm", Lineage(u128::MAX - 1), 4).await.unwrap();
        assert_eq!(store.known("crm").await.unwrap(), Some((Lineage(u128::MAX - 1), 4)));
        store.forget_known("crm").await.unwrap();
        store.forget_known("crm").await.unwrap();
        assert_eq!(store.known("crm").await.unwrap(), None);
        assert_eq!(store.known("ads").await.unwrap(), Some((Lineage(7), 1)));
    }

    #[tokio::test]
    async fn pins_come_back_as_they_were_stored() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        assert_eq!(store.pins("crm").await.unwrap(), None);
        store.set_pins("crm", "{}").await.unwrap();
        store.set_pins("crm", r#"{"id":"Utf8"}"#).await.unwrap();
        assert_eq!(store.pins("crm").await.unwrap().as_deref(), Some(r#"{"id":"Utf8"}"#));
    }
}
