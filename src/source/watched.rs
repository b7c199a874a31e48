//! What a read keeps an eye on: what was behind a table when the read began, and whether it is the same at its end.
//!
//! Not responsible for what it means that it is not (`engine::proving`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::database::Ended;
use super::definition::Table;
use super::error::Error;
use super::facts::{Completeness, Facts};
use super::files;
use super::proof::Unproven;
use super::text::bytes;
use crate::domain::file::FileFact;
use crate::points::sources_tell;
use crate::shutdown::blocking;

/// What is behind one table.
#[derive(Debug)]
pub(super) enum Watched {
    Files(Box<WatchedFiles>),
    Query(Arc<Ended>),
}

/// The files of a table, as they were before the first byte of them was read.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    /// By the name that the model has for it.
    pub table: Table,
    /// Sorted by name.
    pub files: Vec<FileFact>,
    marker: Option<PathBuf>,
    is_marker_present: bool,
}

impl Watched {
    /// What is known of all of them.
    pub fn facts(all: &[Watched]) -> Facts {
        let mut facts = Facts { can_prove_unchanged: sources_tell(), ..Facts::default() };
        for watched in all {
            match watched {
                Watched::Files(files) => files.tell(&mut facts),
                // No database can say that nothing in it changed.
                Watched::Query(_) => facts.can_prove_unchanged = false,
            }
        }
        facts
    }

    /// As [`Proof::verify`](super::Proof::verify), of this table.
    pub async fn verify(&self) -> Result<(), Unproven> {
        match self {
            Watched::Files(files) => blocking(|| files.verify()),
            Watched::Query(ended) => ended.verify(),
        }
    }
}

impl WatchedFiles {
    /// Lists the files as they are now. Blocks on the file system.
    pub fn begin(table: Table) -> Result<WatchedFiles, Error> {
        let (marker, files) = (files::marker(&table)?, files::list(&table)?);
        let is_marker_present = marker.as_ref().is_some_and(|marker| marker.exists());
        Ok(WatchedFiles { table, files, marker, is_marker_present })
    }

    /// Finds out how compressed texts end: reads all of them.
    pub async fn read_ends(&mut self) -> Result<(), Error> {
        if let Some(compression) = self.table.compression {
            for file in &mut self.files {
                let ends = bytes::ends_within_line(&self.table.name, &file.path, compression);
                file.ends_within_line = Some(ends.await?);
            }
        }
        Ok(())
    }

    /// Files can say whether they changed since another read.
    fn tell(&self, facts: &mut Facts) {
        facts.files.extend(files::below(&self.files, &self.table.folder));
        if self.table.rewritten.is_some() {
            facts.completeness.push(Completeness {
                table: self.table.name.clone(),
                is_marker_missing: self.marker.is_some() && !self.is_marker_present,
            });
        }
    }

    fn verify(&self) -> Result<(), Unproven> {
        let name = &self.table.name;
        let unproven = |reason: String| Err(Unproven { reason });
        let now = match files::list(&self.table) {
            Ok(now) => now,
            Err(error) => return unproven(format!("{error}, and it was there before the read")),
        };
        let before = by_path(&self.files);
        let after = by_path(&now);
        for (path, file) in &before {
            match after.get(path) {
                None => {
                    return unproven(format!(
                        "file `{path}` of table `{name}` vanished during the read"
                    ));
                }
                Some(now) if !now.is_as(file) => {
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
        match &self.marker {
            Some(marker) if marker.exists() != self.is_marker_present => unproven(format!(
                "the completion marker `{}` of table `{name}` {} during the read",
                marker.display(),
                if self.is_marker_present { "vanished" } else { "appeared" }
            )),
            _ => Ok(()),
        }
    }
}

fn by_path(files: &[FileFact]) -> BTreeMap<&str, &FileFact> {
    files.iter().map(|file| (file.path.as_str(), file)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Format, Rewritten};
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
            format: Format::Parquet,
            compression: None,
            rewritten: Some(Rewritten { marker: Some("_SUCCESS".into()) }),
        };
        let begin = || WatchedFiles::begin(table.clone()).unwrap();
        assert_eq!(begin().verify(), Ok(()));

        let proof = begin();
        std::fs::write(at("new"), "2").unwrap();
        std::fs::rename(at("new"), at("a.csv")).unwrap();
        assert!(proof.verify().unwrap_err().reason.contains("changed"));

        let proof = begin();
        std::fs::write(at("b.csv"), "2").unwrap();
        assert!(proof.verify().unwrap_err().reason.contains("appeared"));

        let proof = begin();
        std::fs::remove_file(at("b.csv")).unwrap();
        assert!(proof.verify().unwrap_err().reason.contains("vanished"));

        let proof = begin();
        std::fs::remove_file(at("_SUCCESS")).unwrap();
        assert!(proof.verify().unwrap_err().reason.contains("marker"));
        let facts = Watched::facts(&[Watched::Files(Box::new(begin()))]);
        assert!(facts.completeness[0].is_marker_missing);
    }
}
