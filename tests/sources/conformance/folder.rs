//! Files of this machine.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::delta::Delta;
use super::files::{File, Shelf};
use super::formats::FORMATS;
use super::place::{Changed, Hang, Part, Place};
use super::{Cell, Cells, Kind};

/// The disk of this machine.
pub struct Disk;

/// All kinds that lie there.
pub fn kinds() -> Vec<Kind<Disk>> {
    let formats = FORMATS.iter().map(|format| Kind {
        name: format.name.to_owned(),
        new: Box::new(move |_: &Disk| -> Box<dyn Place> {
            Box::new(File::new(Box::new(Folder::new()), format))
        }),
        cells: Cells { skip: skip(format.name), ..Cells::PLAYED },
    });
    let delta = Kind {
        name: "delta".to_owned(),
        new: Box::new(|_: &Disk| -> Box<dyn Place> {
            Box::new(Delta::new(Box::new(Folder::new())))
        }),
        cells: Cells { skip: skip("delta"), ..Cells::PLAYED },
    };
    formats.chain([delta]).collect()
}

/// A file of this machine has to lie still for two seconds: what is shown elsewhere is not waited for once more.
fn skip(format: &str) -> Cell {
    match format {
        "csv" => {
            Cell::Elsewhere("a_run_over_the_same_files_is_skipped_and_says_so_wherever_it_is_asked")
        }
        "csv.gz" => Cell::Elsewhere("compressed_rows_arrive_once_and_an_unchanged_file_is_skipped"),
        "arrow file" | "arrow stream" => {
            Cell::Elsewhere("rows_of_arrow_files_arrive_once_and_a_file_that_is_cut_fails_the_run")
        }
        "delta" => Cell::Elsewhere(
            "a_mirror_follows_a_delta_table_and_skips_the_version_that_it_has_read_and_says_which",
        ),
        _ => Cell::Played,
    }
}

/// A folder, in which all is that a source has.
struct Folder {
    folder: TempDir,
    /// Where a process says that it waits.
    aside: TempDir,
}

impl Folder {
    fn new() -> Folder {
        let folder = || tempfile::tempdir().expect("a folder can be made");
        Folder { folder: folder(), aside: folder() }
    }

    fn held(&self) -> PathBuf {
        self.aside.path().join("held")
    }
}

/// Writes a file anew, under a new inode.
fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
    let next = path.with_extension("next");
    std::fs::write(&next, bytes).expect("a file can be written");
    std::fs::rename(next, path).expect("a file can be renamed");
}

impl Shelf for Folder {
    fn put(&self, name: &str, bytes: &[u8]) {
        write(&self.folder.path().join(name), bytes);
    }

    fn put_later(&self, name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        let path = self.folder.path().join(name);
        Box::new(move || write(&path, &bytes))
    }

    fn location(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn source(&self, table: &str) -> String {
        format!("lake: {{ files: {{ people: {table} }} }}")
    }

    /// Names, lengths, inodes and times, and a sum of what is in them.
    fn state(&self) -> String {
        let mut said = String::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).expect("it can be read");
            let mut paths: Vec<_> = entries.map(|it| it.expect("an entry").path()).collect();
            paths.sort();
            for path in paths {
                let it = std::fs::metadata(&path).expect("it is there");
                let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec(), it.mode());
                let what = (path.display(), it.len(), it.ino(), times);
                write!(said, "{what:?}", what = (what.0.to_string(), what.1, what.2, what.3))
                    .expect("text takes it");
                match it.is_dir() {
                    true => folders.push(path),
                    false => said.push_str(&sum(&std::fs::read(&path).expect("it can be read"))),
                }
            }
        }
        said
    }

    /// A file has no server that could hang: the process waits with it open, behind its first rows.
    fn hang(&self, way: usize) -> Option<Hang<'_>> {
        let held = self.held();
        (way == 0).then(|| Hang {
            how: "a read that has taken rows",
            sql: None,
            environment: vec![("COUNTERFLOW_HOLD_AT", format!("rows_taken:1:{}", held.display()))],
            is_reached: Box::new(move || held.exists()),
            is_over: Box::new(|| true),
        })
    }

    fn breaks(&self, _part: Part, _most: usize) -> bool {
        false
    }

    fn mend(&self) -> bool {
        std::fs::remove_file(self.held()).is_ok()
    }

    fn changed(&self) -> Changed {
        Changed::Fails
    }

    fn before_the_last_read(&self, _happens: Box<dyn FnOnce() + Send>) -> bool {
        false
    }

    fn count_reads_anew(&self) {}
}

fn sum(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("{:x?}\n", &sha2::Sha256::digest(bytes)[..8])
}
