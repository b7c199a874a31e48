//! What is remembered of each sync between runs, beside its snapshot.

use super::{Error, Store, query, stored};
use crate::domain::id::Lineage;
use crate::identity;

const KNOWN: &str = "SELECT lineage, generation, journal FROM known_snapshots WHERE sync = ?";
const KNOWN_TO_OLDER: &str = "SELECT lineage, generation, NULL FROM known_snapshots WHERE sync = ?";
const SET_KNOWN: &str = "
    INSERT INTO known_snapshots (sync, lineage, generation, manifest, file, journal)
    VALUES (?, ?, ?, ?, ?, 0)
    ON CONFLICT (sync) DO UPDATE SET lineage = excluded.lineage, generation = excluded.generation,
    manifest = excluded.manifest, file = excluded.file, journal = excluded.journal";
const NOTE_JOURNAL: &str =
    "UPDATE known_snapshots SET journal = ?3 WHERE sync = ?1 AND generation = ?2";
const FILES: &str = "SELECT file, manifest, generation FROM known_snapshots WHERE sync = ?";
const PINS: &str = "SELECT pins FROM pins WHERE sync = ?";
const SET_PINS: &str = "
    INSERT INTO pins (sync, pins) VALUES (?, ?)
    ON CONFLICT (sync) DO UPDATE SET pins = excluded.pins";
const IS_FULL_OWED: &str = "SELECT EXISTS (SELECT 1 FROM owed_fulls WHERE sync = ?)";
const GRANT_FULL: &str = "DELETE FROM owed_fulls WHERE sync = ?";

impl Store {
    /// The lineage and the generation that the sync's snapshot must at least have, and how many bytes the journal of that
    /// very generation, if somebody wrote that down.
    pub async fn known(&self, sync: &str) -> Result<Option<(Lineage, u64, Option<u64>)>, Error> {
        let statement = if self.version < 3 { KNOWN_TO_OLDER } else { KNOWN };
        let row: Option<(String, i64, Option<i64>)> = sqlx::query_as(statement)
            .bind(sync)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        row.map(|(lineage, generation, journal)| {
            let lineage = self.lineage(&lineage)?;
            let journal = journal.map(|bytes| self.natural("journal", bytes)).transpose()?;
            Ok((lineage, self.natural("generation", generation)?, journal))
        })
        .transpose()
    }

    pub(super) fn lineage(&self, text: &str) -> Result<Lineage, Error> {
        let lineage = u128::from_str_radix(text, 16);
        lineage.map(Lineage).map_err(|_| self.damaged("column `lineage` holds no lineage"))
    }

    /// Remembers that so many bytes of the journal of this generation are safe.
    ///
    /// # Errors
    /// [`Error::Damaged`] too, if this generation is not the one that is remembered: then nothing would miss the journal.
    pub async fn note_journal(&self, sync: &str, generation: u64, bytes: u64) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let statement = query(NOTE_JOURNAL).bind(sync.to_owned()).bind(stored(generation));
        let noted = statement.bind(stored(bytes)).execute(&mut *transaction).await;
        if noted.map_err(|error| self.failure(error))?.rows_affected() != 1 {
            return Err(self.damaged(format!("it does not know snapshot {generation} of `{sync}`")));
        }
        self.commit(transaction).await
    }

    /// Remembers the sync's snapshot, whose journal has not begun. `manifest` says which file its manifest is, where that is
    /// known.
    pub async fn set_known(
        &self,
        sync: &str,
        lineage: Lineage,
        generation: u64,
        manifest: Option<&str>,
    ) -> Result<(), Error> {
        let statement =
            query(SET_KNOWN).bind(sync).bind(lineage.to_string()).bind(stored(generation));
        self.execute(statement.bind(manifest).bind(identity::of(&self.path))).await
    }

    /// Whether the sync's snapshot was remembered in another file than this database is now, or under another manifest
    /// than that of the same generation: the state was restored from a backup, or copied. `manifest`: of a generation;
    /// where a later one is known by now, it is none to judge by.
    pub async fn is_copied(
        &self,
        sync: &str,
        manifest: Option<(u64, &str)>,
    ) -> Result<bool, Error> {
        if self.version < 2 {
            return Ok(false);
        }
        let files: Option<(Option<String>, Option<String>, i64)> = sqlx::query_as(FILES)
            .bind(sync)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.failure(error))?;
        let (file, known, generation) = files.unwrap_or_default();
        let manifest = manifest.filter(|(of, _)| stored(*of) == generation).map(|(_, it)| it);
        let is_other = |known: Option<String>, now: Option<&str>| {
            known.zip(now).is_some_and(|(known, now)| known != now)
        };
        Ok(is_other(file, identity::of(&self.path).as_deref()) || is_other(known, manifest))
    }

    /// Whether a full resync of the sync was asked for whose run began, and ended before its epoch was open.
    /// Not known beside a state of an older version.
    pub async fn is_full_owed(&self, sync: &str) -> Result<bool, Error> {
        if self.version < 3 {
            return Ok(false);
        }
        sqlx::query_scalar(IS_FULL_OWED)
            .bind(sync)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.failure(error))
    }

    /// The epoch of the sync's full resync is open, so that it is owed no more.
    pub async fn grant_full(&self, sync: &str) -> Result<(), Error> {
        self.execute(query(GRANT_FULL).bind(sync)).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_of_the_database_is_known_as_one_and_a_renamed_one_is_not_c7() {
        let directory = tempfile::tempdir().unwrap();
        let folder = |name: &str| directory.path().join(name);
        let store = Store::open(&folder("state")).await.unwrap();
        assert!(!store.is_copied("crm", None).await.unwrap());
        store.set_known("crm", Lineage(7), 1, None).await.unwrap();
        store.close().await;
        std::fs::create_dir(folder("copy")).unwrap();
        let file = "counterflow.db";
        std::fs::copy(folder("state").join(file), folder("copy").join(file)).unwrap();
        std::fs::rename(folder("state"), folder("renamed")).unwrap();
        let is_told = identity::of(&folder("renamed").join(file)).is_some();
        let renamed = Store::open(&folder("renamed")).await.unwrap();
        assert!(!renamed.is_copied("crm", None).await.unwrap());
        let copy = Store::open(&folder("copy")).await.unwrap();
        assert_eq!(copy.is_copied("crm", None).await.unwrap(), is_told);
        assert!(!copy.is_copied("ads", None).await.unwrap());
        copy.set_known("crm", Lineage(7), 1, None).await.unwrap();
        assert!(!copy.is_copied("crm", None).await.unwrap());
    }

    #[tokio::test]
    async fn another_manifest_than_the_remembered_one_is_a_copy_and_an_unknown_one_is_no_verdict_c7()
     {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        store.set_known("crm", Lineage(7), 1, Some("5")).await.unwrap();
        let of = |manifest| Some((1, manifest));
        for (manifest, is_copied) in [(of("5"), false), (of("6"), true), (None, false)] {
            assert_eq!(store.is_copied("crm", manifest).await.unwrap(), is_copied);
        }
        // The owner has committed since the manifest was looked at.
        store.set_known("crm", Lineage(7), 2, Some("7")).await.unwrap();
        assert!(!store.is_copied("crm", of("5")).await.unwrap());
        store.set_known("crm", Lineage(7), 2, None).await.unwrap();
        assert!(!store.is_copied("crm", Some((2, "6"))).await.unwrap());
    }

    #[tokio::test]
    async fn a_known_snapshot_is_replaced_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        assert_eq!(store.known("crm").await.unwrap(), None);
        store.set_known("crm", Lineage(u128::MAX - 1), 3, None).await.unwrap();
        store.set_known("ads", Lineage(7), 1, None).await.unwrap();
        store.set_known("crm", Lineage(u128::MAX - 1), 4, None).await.unwrap();
        assert_eq!(store.known("crm").await.unwrap(), Some((Lineage(u128::MAX - 1), 4, Some(0))));
        for (sync, generation) in [("crm", 3), ("crm", 5), ("web", 4)] {
            let noted = store.note_journal(sync, generation, 70).await;
            assert!(matches!(noted, Err(Error::Damaged { .. })), "{sync} {generation}: {noted:?}");
        }
        assert_eq!(store.known("crm").await.unwrap(), Some((Lineage(u128::MAX - 1), 4, Some(0))));
        store.note_journal("crm", 4, 80).await.unwrap();
        assert_eq!(store.known("crm").await.unwrap(), Some((Lineage(u128::MAX - 1), 4, Some(80))));
        for _ in 0..2 {
            store.settle_afresh("crm", 0).await.unwrap();
        }
        assert_eq!(store.known("crm").await.unwrap(), None);
        assert_eq!(store.known("ads").await.unwrap(), Some((Lineage(7), 1, Some(0))));
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
