//! Which files a table is made of, and the facts that tell whether one was replaced.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::definition::{Rewritten, Table};
use super::error::Error;
use crate::domain::file::FileFact;

/// Files of a table, at most.
pub(super) const MOST: usize = 1_000_000;

/// The files of a table as they are now, sorted by name. The completion marker is not one of them. A location that is
/// the name of a file is that file, even if it reads like a glob.
pub(super) fn list(table: &Table) -> Result<Vec<FileFact>, Error> {
    let location = absolute(table)?;
    let mut paths = match location.is_file() {
        true => vec![location],
        false => matches(table, &location, MOST)?,
    };
    paths.sort();
    paths.iter().map(|path| fact(table, path)).collect()
}

/// Where the completion marker of a table must be, if one is declared: beside the location, or where its first folder
/// with a wildcard is.
pub(super) fn marker(table: &Table) -> Result<Option<PathBuf>, Error> {
    let Some(Rewritten { marker: Some(marker) }) = &table.rewritten else { return Ok(None) };
    let location = absolute(table)?;
    let mut folder = PathBuf::new();
    for part in location.parent().into_iter().flat_map(Path::components) {
        if !folder.join(part).exists() && part.as_os_str().to_str().is_none_or(is_glob) {
            break;
        }
        folder.push(part);
    }
    Ok(Some(folder.join(marker)))
}

fn absolute(table: &Table) -> Result<PathBuf, Error> {
    resolved(table, &table.path())
}

fn resolved(table: &Table, path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| {
        Error::Missing(format!(
            "table `{}`: location `{}` cannot be resolved: {error}",
            table.name,
            path.display()
        ))
    })
}

/// The glob of a table: its location as written, below the folder, whose name is taken letter by letter.
fn pattern(table: &Table, location: &str) -> Result<String, Error> {
    if table.location.is_absolute() {
        return Ok(location.to_owned());
    }
    let folder = resolved(table, &table.folder.join("."))?;
    let (Some(folder), Some(written)) = (folder.to_str(), table.location.to_str()) else {
        return Ok(location.to_owned());
    };
    Ok(format!("{}/{written}", glob::Pattern::escape(folder.trim_end_matches('/'))))
}

fn matches(table: &Table, location: &Path, most: usize) -> Result<Vec<PathBuf>, Error> {
    let (name, shown) = (&table.name, location.display());
    let text = location.to_str().ok_or_else(|| {
        Error::Missing(format!("table `{name}`: location `{shown}` is not UTF-8; rename it"))
    })?;
    if location.is_dir() {
        return Err(Error::Missing(format!(
            "table `{name}`: `{shown}` is a folder; name the files in it, such as `{shown}/*.parquet`"
        )));
    }
    if !table.location.to_str().is_some_and(is_glob) {
        return Err(Error::Missing(format!(
            "table `{name}`: no file `{shown}`; correct the location or put the file there"
        )));
    }
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let found = glob::glob_with(&pattern(table, text)?, options).map_err(|error| {
        Error::Missing(format!("table `{name}`: `{shown}` is not a valid glob: {}", error.msg))
    })?;
    let marker = marker(table)?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|error| {
            Error::Missing(format!(
                "table `{name}`: `{}` cannot be listed: {}; make it readable",
                error.path().display(),
                error.error()
            ))
        })?;
        let is_marker =
            marker.as_ref().is_some_and(|marker| marker.file_name() == path.file_name());
        if !path.is_dir() && !is_marker {
            paths.push(path);
            check_count(name, location, paths.len(), most)?;
        }
    }
    if paths.is_empty() {
        return Err(Error::Missing(format!(
            "table `{name}`: no file matches `{shown}`; correct the location or put the files there"
        )));
    }
    Ok(paths)
}

/// # Errors
/// There are more files than a table may have.
pub(super) fn check_count(
    table: &str,
    location: &Path,
    count: usize,
    most: usize,
) -> Result<(), Error> {
    if count <= most {
        return Ok(());
    }
    Err(Error::Missing(format!(
        "table `{table}`: more than {most} files match `{}`, which is the most that a table can have; name fewer, or write \
         larger ones",
        location.display()
    )))
}

/// The same files by their names below the folder of their table, where they lie there.
pub(super) fn below(facts: &[FileFact], folder: &Path) -> impl Iterator<Item = FileFact> {
    let folder = std::path::absolute(folder).ok();
    facts.iter().map(move |fact| {
        let below = |folder| Path::new(&fact.path).strip_prefix(folder).ok()?.to_str();
        let name = folder.as_ref().and_then(below).unwrap_or(&fact.path);
        FileFact { path: name.to_owned(), ..fact.clone() }
    })
}

fn fact(table: &Table, path: &Path) -> Result<FileFact, Error> {
    let text = path.to_str().ok_or_else(|| {
        Error::Missing(format!(
            "table `{}`: the name of file `{}` is not UTF-8; rename it",
            table.name,
            path.display()
        ))
    })?;
    let metadata = std::fs::metadata(path).map_err(|error| {
        Error::Missing(format!(
            "table `{}`: file `{text}` cannot be read: {error}; put it back or make it readable",
            table.name
        ))
    })?;
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    Ok(FileFact {
        table: table.name.clone(),
        path: text.to_owned(),
        size: metadata.len(),
        inode: metadata.ino(),
        changed,
        ends_within_line: is_plain_text(table).then(|| ends_within_line(path)),
        etag: None,
    })
}

/// Of compressed text the end is known when it is opened.
fn is_plain_text(table: &Table) -> bool {
    table.format.is_text() && table.compression.is_none()
}

/// Whether the last byte of a text file is no line end. What cannot be read is found when the rows are.
fn ends_within_line(path: &Path) -> bool {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    read.is_ok() && !matches!(last, [b'\n' | b'\r'])
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Format, SchemaRule};
    use super::*;

    fn table(location: PathBuf, marker: Option<&str>) -> Table {
        Table {
            name: "orders".to_owned(),
            folder: PathBuf::new(),
            location,
            objects: None,
            format: Format::Parquet,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: marker.map(|marker| Rewritten { marker: Some(marker.to_owned()) }),
        }
    }

    #[test]
    fn a_glob_is_sorted_and_leaves_out_marker_folders_and_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a", "_SUCCESS", ".hidden"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let table = table(folder.path().join("*"), Some("_SUCCESS"));
        let files = list(&table).unwrap();
        let names = files.iter().map(|file| file.path.rsplit('/').next().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(marker(&table).unwrap(), Some(folder.path().join("_SUCCESS")));
    }

    #[test]
    fn a_glob_that_more_files_match_than_a_table_can_have_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let location = folder.path().join("*");
        let table = table(location.clone(), None);
        assert_eq!(matches(&table, &location, 3).unwrap().len(), 3);
        let said = matches(&table, &location, 2).unwrap_err().to_string();
        let shown = location.to_str().unwrap();
        assert!(said.contains("table `orders`: more than 2 files match") && said.contains(shown));
    }

    #[test]
    fn a_file_whose_name_reads_like_a_glob_is_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a[1]*.csv");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(list(&table(path.clone(), None)).unwrap()[0].path, path.to_str().unwrap());
    }

    #[test]
    fn a_folder_with_brackets_is_no_part_of_the_glob() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("g[1]*?");
        std::fs::create_dir_all(folder.join("data")).unwrap();
        for name in ["a.csv", "b.csv", "_OK"] {
            std::fs::write(folder.join("data").join(name), "x").unwrap();
        }
        let table = Table { folder: folder.clone(), ..table("data/*".into(), Some("_OK")) };
        let files = list(&table).unwrap();
        let expected = ["a.csv", "b.csv"].map(|name| folder.join("data").join(name));
        let found = files.iter().map(|file| PathBuf::from(&file.path)).collect::<Vec<_>>();
        assert_eq!(found, expected);
        assert_eq!(marker(&table).unwrap(), Some(folder.join("data/_OK")));
        let missing = Table { location: "data/x[1].csv".into(), ..table };
        assert!(list(&missing).unwrap_err().to_string().contains("no file matches"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_place_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        for location in ["none.csv", "*.csv", ""] {
            let error = list(&table(folder.path().join(location), None)).unwrap_err().to_string();
            assert!(error.contains("table `orders`"), "{error}");
            assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
        }
    }
}
