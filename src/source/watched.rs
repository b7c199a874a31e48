//! What a read keeps an eye on: what was behind a table when the read began, and whether it is the same at its end.
//!
//! Files of this machine and objects of a store alike. Not responsible for what it means that it is not (`engine::proving`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::Schema;

use super::database::Ended;
use super::definition::Table;
use super::delta::WatchedDelta;
use super::describe::VersionSeen;
use super::error::Error;
use super::facts::{Completeness, Facts};
use super::files;
use super::hint::Hint;
use super::proof::Unproven;
use super::spent::Spent;
use super::store::definition::Store;
use super::store::{Bucket, Listing, Pinned};
use super::text::bytes;
use super::text::ends::Ends;
use crate::domain::file::FileFact;
use crate::points::{is_planted, sources_tell};
use crate::shutdown::blocking;

/// How long a listing of objects may last that a run needs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What is behind one table.
#[derive(Debug)]
pub(super) enum Watched {
    Files(Box<WatchedFiles>),
    Delta(Box<WatchedDelta>),
    Query(Arc<Ended>),
}

/// The files of a table, as they were before the first byte of them was read.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    /// By the name that the model has for it.
    pub table: Table,
    /// Sorted by name.
    pub files: Vec<FileFact>,
    /// What gives their bytes where they are objects; each is there under its place in `files`.
    pub objects: Option<Arc<Pinned>>,
    /// How the texts among the objects end, as far as they were read.
    pub ends: Ends,
    bucket: Option<(Bucket, Listing)>,
    /// The completion marker, where one is declared, and whether it was there.
    marker: Option<(String, bool)>,
    /// An object of them was changed so shortly before that its tag says nothing.
    is_fresh: bool,
    spent: Arc<Spent>,
}

/// One look at what is behind a table.
struct Look {
    files: Vec<FileFact>,
    objects: Vec<object_store::ObjectMeta>,
    marker: Option<(String, bool)>,
    is_fresh: bool,
}

impl Watched {
    /// What is known of all of them.
    pub fn facts(all: &[Watched]) -> Facts {
        let mut facts = Facts { can_prove_unchanged: sources_tell(), ..Facts::default() };
        for watched in all {
            match watched {
                Watched::Files(files) => files.tell(&mut facts),
                Watched::Delta(table) => table.tell(&mut facts),
                // No database can say that nothing in it changed.
                Watched::Query(_) => facts.can_prove_unchanged = false,
            }
        }
        facts
    }

    /// What may be wrong where columns are missed, of a table with these, which may be the model's one table.
    pub fn hint(&self, columns: &Schema, is_alone: bool) -> Option<Hint> {
        match self {
            Watched::Files(files) => Hint::of(files, columns, is_alone),
            Watched::Delta(_) | Watched::Query(_) => None,
        }
    }

    /// The version that is read, of a table that counts them.
    pub fn version(&self) -> Option<VersionSeen> {
        match self {
            Watched::Delta(table) => Some(table.version()),
            Watched::Files(_) | Watched::Query(_) => None,
        }
    }

    /// As [`Proof::verify`](super::Proof::verify), of this table.
    pub async fn verify(&self, earlier: &[FileFact]) -> Result<Option<String>, Unproven> {
        match self {
            Watched::Files(files) => files.verify().await.map(|()| None),
            Watched::Delta(table) => {
                table.verify().await?;
                Ok(table.left(earlier).await)
            }
            Watched::Query(ended) => ended.verify(),
        }
    }
}

impl WatchedFiles {
    /// Lists the files or objects as they are now; a store is given `patience` for it. Blocks on the file system.
    pub async fn begin(
        table: Table,
        store: &Store,
        patience: Duration,
        spent: &Arc<Spent>,
    ) -> Result<WatchedFiles, Error> {
        let bucket = match &table.objects {
            Some(location) => {
                let limits = Listing { most: store.max_listed, patience };
                Some((blocking(|| Bucket::open(&table.name, location, store, spent))?, limits))
            }
            None => None,
        };
        let look = look(&table, bucket.as_ref(), spent).await?;
        let Look { files, objects, marker, is_fresh } = look;
        let objects = bucket.as_ref().map(|(bucket, _)| {
            Arc::new(Pinned::new(&table.name, bucket.clone(), objects, is_fresh))
        });
        let (ends, spent) = (Ends::of(files.len()), Arc::clone(spent));
        Ok(WatchedFiles { table, files, objects, ends, bucket, marker, is_fresh, spent })
    }

    /// Finds out how compressed files of this machine end, of which all is read. Of objects that is seen where their rows are
    /// read, and is known at the end of that.
    pub async fn read_ends(&mut self) -> Result<(), Error> {
        let compression = self.table.compression.filter(|_| self.objects.is_none());
        let Some(compression) = compression else { return Ok(()) };
        for file in &mut self.files {
            let ends = bytes::ends_within_line(&self.table.name, &file.path, compression);
            file.ends_within_line = Some(ends.await?);
        }
        Ok(())
    }

    /// Files can say whether they changed since another read, and so can objects with a tag.
    fn tell(&self, facts: &mut Facts) {
        let told = |(place, file): (usize, FileFact)| FileFact {
            etag: file.etag.filter(|_| !self.is_fresh),
            ends_within_line: file.ends_within_line.or_else(|| self.ends.within_line(place)),
            ..file
        };
        let files = files::below(&self.files, &self.table.folder).enumerate();
        let files: Vec<_> = files.map(told).collect();
        facts.can_prove_unchanged &= !files.iter().any(FileFact::is_untold);
        facts.files.extend(files);
        if self.table.rewritten.is_some() {
            facts.completeness.push(Completeness {
                table: self.table.name.clone(),
                is_marker_missing: matches!(self.marker, Some((_, false))),
            });
        }
    }

    async fn verify(&self) -> Result<(), Unproven> {
        let name = &self.table.name;
        let unproven = |reason: String| Err(Unproven { reason });
        let now = match look(&self.table, self.bucket.as_ref(), &self.spent).await {
            Ok(now) => now,
            Err(error) => return unproven(format!("{error}, and it was there before the read")),
        };
        let before = by_path(&self.files);
        let after = by_path(&now.files);
        for (path, file) in &before {
            match after.get(path) {
                None => {
                    return unproven(format!(
                        "file `{path}` of table `{name}` vanished during the read"
                    ));
                }
                Some(now) if !now.is_as(file) && !is_planted("changed_file_believed") => {
                    return unproven(format!(
                        "file `{path}` of table `{name}` changed during the read"
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(path) = after.keys().find(|path| !before.contains_key(*path)) {
            return unproven(format!("file `{path}` of table `{name}` appeared during the read"));
        }
        match (&self.marker, &now.marker) {
            (Some((marker, was_present)), Some((_, is_present))) if was_present != is_present => {
                unproven(format!(
                    "the completion marker `{marker}` of table `{name}` {} during the read",
                    if *was_present { "vanished" } else { "appeared" }
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What is there now, whose cost is counted. Blocks on the file system.
async fn look(
    table: &Table,
    bucket: Option<&(Bucket, Listing)>,
    spent: &Spent,
) -> Result<Look, Error> {
    let _counting = spent.counting(bucket.map(|(bucket, _)| &*bucket.meter));
    let Some((bucket, limits)) = bucket else {
        return blocking(|| {
            let (marker, files) = (files::marker(table)?, files::list(table)?);
            spent.saw(files.len());
            let marker = marker.map(|path| (path.display().to_string(), path.exists()));
            Ok(Look { files, objects: Vec::new(), marker, is_fresh: false })
        });
    };
    let marker = table.rewritten.as_ref().and_then(|rewritten| rewritten.marker.as_deref());
    let marker = match marker.map(|marker| bucket.location.beside(marker)) {
        Some(key) => Some((bucket.location.place(&key), bucket.has(&table.name, &key).await?)),
        None => None,
    };
    let found = bucket.list(&table.name, *limits).await?;
    files::check_count(&table.name, &table.location, found.len(), files::MOST)?;
    let is_marker = |path: &str| marker.as_ref().is_some_and(|(marker, _)| marker == path);
    let is_fresh = found.iter().any(|object| object.is_fresh);
    let found = found.into_iter().filter(|object| !is_marker(&object.fact.path));
    let (files, objects): (Vec<FileFact>, Vec<_>) =
        found.map(|object| (object.fact, object.meta)).unzip();
    if files.is_empty() {
        return Err(bucket.nothing_matches(&table.name));
    }
    Ok(Look { files, objects, marker, is_fresh })
}

fn by_path(files: &[FileFact]) -> BTreeMap<&str, &FileFact> {
    files.iter().map(|file| (file.path.as_str(), file)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::definition::{Format, Rewritten, SchemaRule};
    use super::*;

    #[test]
    fn a_replaced_added_or_removed_file_leaves_the_read_unproven() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.csv"), "1").unwrap();
        std::fs::write(at("_SUCCESS"), "").unwrap();
        let table = Table {
            name: "t".into(),
            folder: PathBuf::new(),
            location: at("*.csv"),
            objects: None,
            format: Format::Parquet,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: Some(Rewritten { marker: Some("_SUCCESS".into()) }),
        };
        let now = |watched: WatchedFiles| futures::executor::block_on(watched.verify());
        let store = Store::default();
        let begin = || {
            let spent = Arc::default();
            let begun = WatchedFiles::begin(table.clone(), &store, PATIENCE, &spent);
            futures::executor::block_on(begun).unwrap()
        };
        assert_eq!(now(begin()), Ok(()));

        let proof = begin();
        std::fs::write(at("new"), "2").unwrap();
        std::fs::rename(at("new"), at("a.csv")).unwrap();
        assert!(now(proof).unwrap_err().reason.contains("changed"));

        let proof = begin();
        std::fs::write(at("b.csv"), "2").unwrap();
        assert!(now(proof).unwrap_err().reason.contains("appeared"));

        let proof = begin();
        std::fs::remove_file(at("b.csv")).unwrap();
        assert!(now(proof).unwrap_err().reason.contains("vanished"));

        let proof = begin();
        std::fs::remove_file(at("_SUCCESS")).unwrap();
        assert!(now(proof).unwrap_err().reason.contains("marker"));
        let facts = Watched::facts(&[Watched::Files(Box::new(begin()))]);
        assert!(facts.completeness[0].is_marker_missing);
    }
}
