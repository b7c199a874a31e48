//! Positive proof that a read ended with the files it began with, and what of the last complete set is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::definition::Table;
use super::error::Error;
use super::files;
use crate::domain::file::FileFact;
use crate::points::sources_tell;

/// The files a read began with; made before the first byte of them is read.
#[derive(Debug)]
#[must_use = "a read without its proof proves nothing"]
pub struct Proof {
    tables: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    table: Table,
    files: Vec<FileFact>,
    marker: Option<PathBuf>,
    is_marker_present: bool,
}

/// Why a read cannot be believed to be complete; nothing may be deleted after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; run again when the files are at rest")]
pub struct Unproven {
    pub reason: String,
}

/// What a table declared `rewritten` says of the completeness of its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    pub table: String,
    /// A completion marker is declared and was not there when the read began.
    pub is_marker_missing: bool,
}

impl Proof {
    /// Lists the files of the tables as they are now. Blocks on the file system.
    pub(super) fn begin(tables: &[&Table]) -> Result<Proof, Error> {
        let watch = |table: &&Table| {
            let marker = files::marker(table)?;
            Ok(Watched {
                table: (*table).clone(),
                files: files::list(table)?,
                is_marker_present: marker.as_ref().is_some_and(|marker| marker.exists()),
                marker,
            })
        };
        Ok(Proof { tables: tables.iter().map(watch).collect::<Result<_, Error>>()? })
    }

    /// The files of one table, sorted by name.
    pub(super) fn files_of(&self, table: &str) -> &[FileFact] {
        let watched = self.tables.iter().find(|watched| watched.table.name == table);
        watched.map_or(&[], |watched| watched.files.as_slice())
    }

    /// Whether what is watched can say that it did not change since another read: files can.
    pub(super) fn can_prove_unchanged(&self) -> bool {
        sources_tell()
    }

    /// All files, by table and name.
    pub fn files(&self) -> Vec<FileFact> {
        self.tables.iter().flat_map(|watched| watched.files.iter().cloned()).collect()
    }

    /// What the tables declared `rewritten` say of themselves.
    pub fn completeness(&self) -> Vec<Completeness> {
        let rewritten = self.tables.iter().filter(|watched| watched.table.rewritten.is_some());
        rewritten
            .map(|watched| Completeness {
                table: watched.table.name.clone(),
                is_marker_missing: watched.marker.is_some() && !watched.is_marker_present,
            })
            .collect()
    }

    /// Lists all files again and compares: same set, sizes, inodes and change times. To be called after every
    /// partition ended without an error; before that it proves nothing. Blocks on the file system.
    pub fn verify(self) -> Result<(), Unproven> {
        self.tables.iter().try_for_each(Watched::verify)
    }
}

impl Watched {
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
                Some(now) if now != file => {
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

/// What of the file set of the last complete read is gone, one reason each; empty if nothing is. For tables declared
/// `rewritten` names prove nothing: there, fewer files or a missing completion marker are the reasons. A text file that
/// ends within a line was cut, unless those of the last complete read had such an end too.
pub fn vanished(last: &[FileFact], now: &[FileFact], rewritten: &[Completeness]) -> Vec<String> {
    let mut reasons = Vec::new();
    for completeness in rewritten {
        let table = &completeness.table;
        let count = |files: &[FileFact]| files.iter().filter(|file| file.table == *table).count();
        let (before, after) = (count(last), count(now));
        if completeness.is_marker_missing {
            reasons.push(format!("the completion marker of table `{table}` is missing"));
        }
        if after < before {
            reasons.push(format!("table `{table}` has {after} files, before it had {before}"));
        }
    }
    let present = now.iter().map(|file| (&file.table, &file.path)).collect::<BTreeSet<_>>();
    let is_rewritten = |name: &str| rewritten.iter().any(|table| table.table == name);
    for file in last.iter().filter(|file| !is_rewritten(&file.table)) {
        if !present.contains(&(&file.table, &file.path)) {
            reasons.push(format!("file `{}` of table `{}` is gone", file.path, file.table));
        }
    }
    for file in now.iter().filter(|file| is_cut(last, file)) {
        let (table, path) = (&file.table, &file.path);
        reasons.push(format!("file `{path}` of table `{table}` ends within a line"));
    }
    reasons
}

/// Whether the file ends within a line and it is known that none of its table's files did in the `last` complete read.
fn is_cut(last: &[FileFact], file: &FileFact) -> bool {
    let mut before = last.iter().filter(|other| other.table == file.table).peekable();
    let is_whole = |other: &FileFact| other.ends_within_line == Some(false);
    file.ends_within_line == Some(true) && before.peek().is_some() && before.all(is_whole)
}

/// The files of a read as later reads are to be judged against them, when nobody has said yes to what it lacks: that files
/// end within a line does not become their table's way by happening once.
pub fn without_cuts(last: &[FileFact], mut now: Vec<FileFact>) -> Vec<FileFact> {
    for file in now.iter_mut().filter(|file| is_cut(last, file)) {
        file.ends_within_line = Some(false);
    }
    now
}

fn by_path(files: &[FileFact]) -> BTreeMap<&str, &FileFact> {
    files.iter().map(|file| (file.path.as_str(), file)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Format, Rewritten};
    use super::*;

    fn file(table: &str, path: &str) -> FileFact {
        FileFact {
            table: table.into(),
            path: path.into(),
            size: 1,
            inode: 1,
            changed: 1,
            ends_within_line: Some(false),
        }
    }

    #[test]
    fn a_file_that_ends_within_a_line_is_named_where_that_is_not_its_tables_way() {
        let cut = |path| FileFact { ends_within_line: Some(true), ..file("t", path) };
        let whole = [file("t", "/a"), file("t", "/b")];
        let reasons = vanished(&whole, &[file("t", "/a"), cut("/b")], &[]);
        assert_eq!(reasons, ["file `/b` of table `t` ends within a line"]);
        assert!(vanished(&[cut("/a")], &[cut("/a"), cut("/b")], &[]).is_empty());
        assert!(vanished(&[cut("/a")], &[file("t", "/a")], &[]).is_empty());
        assert!(vanished(&[file("u", "/c")], &[file("u", "/c"), cut("/a")], &[]).is_empty());
    }

    #[test]
    fn what_an_older_version_did_not_write_down_gives_no_verdict() {
        let cut = FileFact { ends_within_line: Some(true), ..file("t", "/a") };
        let old = r#"{"table":"t","path":"/a","size":1,"inode":1,"changed":1}"#;
        let old: FileFact = serde_json::from_str(old).unwrap();
        assert!(vanished(std::slice::from_ref(&old), std::slice::from_ref(&cut), &[]).is_empty());
        assert_eq!(without_cuts(&[old], vec![cut.clone()]), [cut]);
    }

    #[test]
    fn a_file_that_is_cut_twice_is_named_twice() {
        let cut = FileFact { ends_within_line: Some(true), ..file("t", "/a") };
        let baseline = without_cuts(&[file("t", "/a")], vec![cut.clone()]);
        assert_eq!(vanished(&baseline, std::slice::from_ref(&cut), &[]).len(), 1);
        // Its table's way from the first read on.
        let baseline = without_cuts(&[], vec![cut.clone()]);
        assert!(vanished(&baseline, &[cut], &[]).is_empty());
    }

    #[test]
    fn a_file_of_the_last_set_that_is_gone_is_named() {
        let last = [file("t", "/a"), file("t", "/b")];
        let gone = vanished(&last, &[file("t", "/a"), file("t", "/c")], &[]);
        assert_eq!(gone, ["file `/b` of table `t` is gone"]);
    }

    #[test]
    fn a_rewritten_table_is_judged_by_count_and_marker() {
        let last = [file("t", "/a"), file("t", "/b")];
        let whole = Completeness { table: "t".into(), is_marker_missing: false };
        let open = Completeness { table: "t".into(), is_marker_missing: true };
        let other = [file("t", "/c"), file("t", "/d")];
        assert!(vanished(&last, &other, std::slice::from_ref(&whole)).is_empty());
        assert_eq!(vanished(&last, &other[..1], &[whole]).len(), 1);
        assert_eq!(vanished(&last, &other, &[open]).len(), 1);
    }

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
            rewritten: Some(Rewritten { marker: Some("_SUCCESS".into()) }),
        };
        let begin = || Proof::begin(&[&table]).unwrap();
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
        assert!(begin().completeness()[0].is_marker_missing);
    }
}
