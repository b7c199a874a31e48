//! Which version of a Delta table is read, and what tells whether there is another one by now.
//!
//! A version is known by its number, the id of the table and the commit that made it: nobody writes a commit twice, so that the
//! same commit as the newest one means the same rows. To see that, the log is listed from that commit on and nothing is read of
//! it, however large the table is. Invariant: what cannot be found out is no sameness.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::super::definition::{Delta, Table};
use super::super::describe::VersionSeen;
use super::super::error::Error;
use super::super::facts::Facts;
use super::super::files;
use super::super::proof::Unproven;
use super::super::spent::Spent;
use super::super::store::definition::Store;
use super::super::store::nanoseconds;
use super::super::watched::PATIENCE;
use super::listed::tag;
use super::place::{LOG, Place};
use crate::domain::file::{FileFact, TableVersion};
use crate::points::is_planted;

/// A Delta table at the version that is read.
#[derive(Debug)]
pub(in crate::source) struct WatchedDelta {
    place: Place,
    /// The config's.
    folder: PathBuf,
    number: u64,
    /// Of the table, without spaces; empty where nobody has read it.
    id: String,
    /// What made the version; `None` where only a checkpoint is left of it.
    commit: Option<Commit>,
    /// Bytes of the data files that are read.
    size: Arc<AtomicU64>,
    /// What it uses that not everybody can read, where its log was replayed.
    features: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Commit {
    number: u64,
    /// Tells it from every other one.
    tag: String,
    /// When it was written; lists say it more exactly than other answers do.
    changed: i128,
}

impl WatchedDelta {
    /// The version with this number, of the table with this id, by the commit that its log was replayed with.
    pub(super) fn at(
        place: Place,
        table: &Table,
        number: u64,
        id: &str,
        size: Arc<AtomicU64>,
        features: Vec<String>,
    ) -> WatchedDelta {
        let commit = place.listed.of(&path(number)).as_ref().and_then(Commit::of);
        // The tag that has it is parted by spaces.
        let id = id.replace('%', "%25").replace(' ', "%20");
        let folder = table.folder.clone();
        WatchedDelta { place, folder, number, id, commit, size, features }
    }

    /// The version that a read would take now, as far as that is seen without reading the log, held against the one that an
    /// earlier read took.
    ///
    /// # Errors
    /// There is no such table, or no such version of it.
    pub async fn look(
        table: &Table,
        delta: &Delta,
        store: &Store,
        known: &[FileFact],
        patience: Duration,
        spent: &Arc<Spent>,
    ) -> Result<WatchedDelta, Error> {
        let place = Place::open(table, store, spent)?;
        let counting = place.counting();
        let known = known.iter().find(|fact| fact.table == table.name);
        let was = known.and_then(FileFact::version);
        let found = match delta.version {
            Some(number) => commit(&place, number).await?,
            None => {
                let from = was.map_or(0, |was| was.number);
                let behind = place.log_behind(&format!("{from:020}."), patience).await?;
                let commits = behind.iter().filter_map(Commit::of);
                let is_known =
                    |commit: &Commit| !is_planted("delta_commit_ignored") || commit.number == from;
                commits.filter(is_known).max_by_key(|commit| commit.number)
            }
        };
        drop(counting);
        let Some(commit) = found else {
            let (name, root) = (&table.name, &place.root);
            return Err(Error::Missing(format!(
                "table `{name}`: the log of the Delta table `{root}` has no commit of the version that was read"
            )));
        };
        let same = was.filter(|was| (was.number, was.commit) == (commit.number, &commit.tag));
        let bytes = known.filter(|_| same.is_some()).map_or(0, |fact| fact.size);
        Ok(WatchedDelta {
            place,
            folder: table.folder.clone(),
            number: commit.number,
            id: same.map_or_else(String::new, |same| same.id.to_owned()),
            commit: Some(commit),
            size: Arc::new(AtomicU64::new(bytes)),
            features: Vec::new(),
        })
    }

    pub fn version(&self) -> VersionSeen {
        let (table, features) = (self.place.table.clone(), self.features.clone());
        VersionSeen { table, version: self.number, features }
    }

    pub fn tell(&self, facts: &mut Facts) {
        let commit = self.commit.as_ref();
        facts.can_prove_unchanged &= commit.is_some();
        let version = TableVersion {
            number: self.number,
            id: &self.id,
            commit: commit.map_or("-", |commit| &commit.tag),
        };
        let fact = FileFact {
            table: self.place.table.clone(),
            path: self.place.root.clone(),
            size: self.size.load(Ordering::Relaxed),
            inode: 0,
            changed: commit.map_or(0, |commit| commit.changed),
            ends_within_line: None,
            etag: Some(version.etag()),
        };
        facts.files.extend(files::below(&[fact], &self.folder));
    }

    /// What a version is made of never changes; whether the log is still the one that said so.
    pub async fn verify(&self) -> Result<(), Unproven> {
        let Place { table, root, .. } = &self.place;
        if self.commit.is_none() {
            return Ok(());
        }
        let _counting = self.place.counting();
        let (path, unproven) = (path(self.number), |reason| Err(Unproven { reason }));
        let is_same = match self.place.store.head(&path).await {
            Ok(now) => self.place.listed.check(&self.place, &path, &now).is_ok(),
            Err(object_store::Error::NotFound { .. }) => false,
            Err(error) => return unproven(self.place.told(&path, &error).to_string()),
        };
        match is_same {
            true => Ok(()),
            false => unproven(format!(
                "the log of the Delta table `{root}` (table `{table}`) has another commit of version {} than when the read \
                 began, or none",
                self.number
            )),
        }
    }

    /// Why the version does not come of the one that an `earlier` read had, which is older, or why nobody can say. A backup that
    /// was put back has that number again once enough was committed, by another commit.
    pub async fn left(&self, earlier: &[FileFact]) -> Option<String> {
        let Place { table, root, .. } = &self.place;
        let was = earlier.iter().find(|fact| fact.table == *table).and_then(FileFact::version);
        let is_older = |was: &TableVersion<'_>| was.number < self.number;
        let was = was.filter(|was| is_older(was) && !is_planted("delta_catching_up_ignored"))?;
        let _counting = self.place.counting();
        let number = was.number;
        let version = format!(
            "version {number} of the Delta table `{root}` (table `{table}`), which was read before,"
        );
        match self.listed_commit(number).await {
            Ok(Some(now)) if now.tag == was.commit => None,
            Ok(Some(_)) if was.commit != "-" => {
                Some(format!("{version} is of another commit by now, as after a restore"))
            }
            Ok(_) => Some(format!(
                "{version} is not in its log any more, or was not then, so that a restore need not show; have \
                 `delta.logRetentionDuration` keep commits for longer than from run to run"
            )),
            Err(error) => Some(format!("{version} cannot be looked for in its log: {error}")),
        }
    }

    /// The commit of this version as lists tell of it, as they did when it was read: a look has another tag in some stores.
    async fn listed_commit(&self, number: u64) -> Result<Option<Commit>, Error> {
        if let Some(listed) = self.place.listed.of(&path(number)) {
            return Ok(Commit::of(&listed));
        }
        let behind = self.place.log_behind(&format!("{number:020}."), PATIENCE).await?;
        Ok(behind.iter().filter_map(Commit::of).find(|commit| commit.number == number))
    }
}

impl Commit {
    /// `None` where the file of the log is no commit.
    fn of(meta: &ObjectMeta) -> Option<Commit> {
        let name = meta.location.filename()?.strip_suffix(".json")?;
        let is_number = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
        let number = name.parse().ok().filter(|_| is_number)?;
        Some(Commit { number, tag: tag(meta), changed: nanoseconds(meta.last_modified) })
    }
}

/// Where the commit of this version is.
fn path(number: u64) -> Path {
    Path::from(LOG).join(format!("{number:020}.json"))
}

/// The commit of this version; `None` where the log has it no more.
async fn commit(place: &Place, number: u64) -> Result<Option<Commit>, Error> {
    let path = path(number);
    match place.store.head(&path).await {
        // It has the name that was asked for, whatever the store calls it.
        Ok(meta) => Ok(Commit::of(&ObjectMeta { location: path, ..meta })),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(place.told(&path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_commit_is_known_by_its_name_and_told_from_another_by_its_tag() {
        let meta = |name: &str, etag: Option<&str>| ObjectMeta {
            location: Path::from(LOG).join(name),
            last_modified: DateTime::from_timestamp(7, 5_000_000).unwrap(),
            size: 9,
            e_tag: etag.map(str::to_owned),
            version: None,
        };
        for other in [
            "00000000000000000042.checkpoint.parquet",
            "00000000000000000042.crc",
            "0000000000000000042.json",
            "0000000000000000004x.json",
            "00000000000000000041.00000000000000000042.compacted.json",
        ] {
            assert_eq!(Commit::of(&meta(other, None)), None, "{other}");
        }
        let of = |etag| Commit::of(&meta("00000000000000000042.json", etag)).unwrap();
        assert_eq!((of(None).number, of(None).tag.as_str()), (42, "9 7"));
        assert_eq!(of(Some("\"a\"")), of(Some("a")), "lists and looks differ in quotes");
        assert_ne!(of(Some("\"a\"")), of(Some("\"b\"")));
        assert_eq!(of(Some("W/\"a\"")), of(None));
    }
}
