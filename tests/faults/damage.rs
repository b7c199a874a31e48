//! A state that is put aside, put back, and damaged between processes; and what must come of a run on a damaged one.

use std::path::{Path, PathBuf};

use crate::catalogue::Scenario;
use crate::support::case::Case;
use crate::support::process::Finished;
use crate::support::workspace::Setup;

/// A state of several commits, whose guard holds nothing by number; nothing is left to do.
pub fn committed(scenario: &Scenario) -> Case {
    let setup = Setup { batch: 3, concurrency: 1, max_deletes: Some("100%"), ..Setup::default() };
    let mut case = Case::changed(&scenario.replay(), setup);
    case.sync(&[]).expect(0, "succeeded", &[]);
    case
}

/// The folder of the snapshot of `people`.
pub fn snapshot(case: &Case) -> PathBuf {
    case.workspace.state().join("snapshots").join("people")
}

/// A copy of a folder with all that is in it.
pub struct Copy {
    kept: tempfile::TempDir,
    folder: PathBuf,
}

impl Copy {
    pub fn of(folder: &Path) -> Copy {
        let kept = tempfile::tempdir().expect("a folder for the copy");
        copy(folder, kept.path());
        Copy { kept, folder: folder.to_path_buf() }
    }

    /// Makes the folder what it was.
    pub fn put_back(&self) {
        self.put_at(&self.folder);
    }

    /// Makes another folder what this one was.
    pub fn put_at(&self, folder: &Path) {
        let _ = std::fs::remove_dir_all(folder);
        copy(self.kept.path(), folder);
    }

    /// Copies the files over those that are there, as `cp -a COPY/. FOLDER/` does: each stays the file that it is.
    pub fn put_over(&self) {
        copy(self.kept.path(), &self.folder);
    }

    pub fn path(&self) -> &Path {
        self.kept.path()
    }
}

/// A folder that was moved aside: its files stay the files they are, which those of a copy are not.
pub struct Aside {
    kept: tempfile::TempDir,
    folder: PathBuf,
}

impl Aside {
    pub fn of(folder: &Path) -> Aside {
        let beside = folder.parent().expect("a folder in the workspace");
        let kept = tempfile::tempdir_in(beside.parent().unwrap_or(beside)).expect("a place");
        std::fs::rename(folder, kept.path().join("aside")).expect("a folder can be moved");
        Aside { kept, folder: folder.to_path_buf() }
    }

    /// Moves it back.
    pub fn put_back(self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        let parent = self.folder.parent().expect("a folder in the workspace");
        std::fs::create_dir_all(parent).expect("a folder can be made");
        std::fs::rename(self.kept.path().join("aside"), &self.folder).expect("it can be moved");
    }
}

/// Copies a folder with all that is in it, into one that may be there.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("a file can be copied");
        }
    }
}

/// The names in a folder, in order.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder can be read");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("a folder can be read to its end");
        entry.file_name().into_string().expect("the names are plain")
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// Runs the sync over a state that is not as it must be: it ends with a word that holds all of `words`, and sends nothing.
/// The snapshot stays as it is.
#[track_caller]
pub fn assert_halts(case: &mut Case, words: &[&str]) {
    let files = content(&snapshot(case));
    assert_refused(case, words);
    let is_left = content(&snapshot(case)) == files;
    assert!(is_left, "the files are not left as they were\n{}", case.print());
}

/// As `assert_halts`; what a killed run has left behind may be cleared.
#[track_caller]
pub fn assert_refused(case: &mut Case, words: &[&str]) {
    let before = case.oracle.request_count();
    case.say("sync over a damaged state");
    let process = case.workspace.spawn_sync(&[]);
    let finished = case.workspace.end(process, crate::support::SOON);
    assert_halted(case, &finished, words);
    assert_eq!(case.oracle.request_count(), before, "something was sent\n{}", case.print());
}

/// Makes sure that a process failed with a word that holds all of `words`.
#[track_caller]
pub fn assert_halted(case: &Case, finished: &Finished, words: &[&str]) {
    let went_on = finished.code != Some(1);
    assert!(!went_on, "a run went on over what is damaged: {finished:#?}\n{}", case.print());
    let said = finished.printed();
    assert!(!said.contains("panicked"), "{finished:#?}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not said: {finished:#?}\n{}", case.print());
    }
}

/// The files of a folder and what is in them; none where there is no folder.
pub fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let files = names(folder).into_iter().filter(|name| folder.join(name).is_file());
    files
        .map(|name| {
            let bytes = std::fs::read(folder.join(&name)).expect("a file can be read");
            (name, bytes)
        })
        .collect()
}
