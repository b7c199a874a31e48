//! A snapshot's folder as it would be after recovery: what is written lands in memory, the folder stays as it is.
//!
//! For reading commands after a crash: what is in doubt stands in the journal, and only opening folds it in. Invariant:
//! nothing below is ever written or removed.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, DiskView, LocalDisk};
use super::memory_disk::MemoryDisk;
use super::open::{Known, Snapshot, check_known};
use super::view::View;

/// The snapshot in `folder` as the next run will find it: what the journal says is in doubt is. Where a commit comes in
/// between, that commit's. `None` before the first. `known` is what the store knew of it before the call; the journals of the
/// generations in `unwritten` are to be dropped by that run, and say nothing.
///
/// # Errors
/// As [`Snapshot::open`].
pub fn recovered(
    folder: &Path,
    sync: &str,
    known: Option<Known>,
    unwritten: &[u64],
) -> Result<Option<View>, super::Error> {
    let Some(view) = View::read(&LocalDisk::existing(folder), sync)? else {
        return match known {
            Some(_) => Err(super::Error::Missing { sync: sync.to_owned() }),
            None => Ok(None),
        };
    };
    let overlay = Arc::new(Overlay::new(LocalDisk::existing(folder)));
    let header = view.header();
    check_known(header, known)?;
    // Beside a process that writes, a journal may have begun since somebody wrote down that it had not.
    let journal = known.filter(|known| known.generation == header.generation);
    let journal = journal.and_then(|known| known.journal).filter(|bytes| *bytes > 0);
    let there = Known { lineage: header.lineage, generation: header.generation, journal };
    for generation in unwritten {
        Snapshot::drop_journal(overlay.as_ref(), sync, *generation)?;
    }
    match Snapshot::open(overlay, sync, Some(there)) {
        Ok(snapshot) => Ok(Some(snapshot.view().clone())),
        // A commit may have come in between; else it is as the next run will find it.
        Err(error) => match View::read(&LocalDisk::existing(folder), sync)? {
            Some(later) if later.header().generation > there.generation => Ok(Some(later)),
            _ => Err(error),
        },
    }
}

/// A read-only folder with a layer of memory over it.
#[derive(Debug)]
pub struct Overlay {
    below: LocalDisk,
    above: MemoryDisk,
    /// Names of files below that are removed or replaced, as far as anyone who looks through this can tell.
    hidden: Mutex<BTreeSet<String>>,
}

impl Overlay {
    pub fn new(below: LocalDisk) -> Overlay {
        Overlay { below, above: MemoryDisk::new(), hidden: Mutex::default() }
    }

    fn hidden(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the file, if there is one, is above.
    fn lift(&self, name: &str) -> io::Result<()> {
        if self.above.exists(name)? || self.hidden().contains(name) {
            return Ok(());
        }
        let bytes = match self.below.read(name) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        self.above.create(name)?.append(&bytes)
    }
}

impl Disk for Overlay {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskView>> {
        match self.above.open(name) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.hidden().contains(name) => {
                self.below.open(name)
            }
            opened => opened,
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let hidden = self.hidden();
        let below = self.below.list()?.into_iter().filter(|name| !hidden.contains(name));
        let names: BTreeSet<String> = below.chain(self.above.list()?).collect();
        Ok(names.into_iter().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.hidden().insert(name.to_owned());
        self.above.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lift(from)?;
        self.above.rename(from, to)?;
        self.hidden().extend([from.to_owned(), to.to_owned()]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.exists(name)? {
            return Err(ErrorKind::NotFound.into());
        }
        self.hidden().insert(name.to_owned());
        match self.above.remove(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.above.sync_directory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_above_is_seen_and_the_folder_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let disk = Overlay::new(LocalDisk::existing(folder.path()));
        disk.create("a").unwrap().append(b"a!").unwrap();
        disk.rename("b", "d").unwrap();
        disk.remove("c").unwrap();
        disk.create("e").unwrap().append(b"new").unwrap();
        assert_eq!(disk.list().unwrap(), ["a", "d", "e"]);
        assert_eq!(disk.read("a").unwrap(), b"a!");
        assert_eq!(disk.read("d").unwrap(), b"b");
        for gone in ["b", "c"] {
            assert!(!disk.exists(gone).unwrap());
            assert_eq!(disk.remove(gone).unwrap_err().kind(), ErrorKind::NotFound);
        }
        let below = LocalDisk::existing(folder.path());
        let mut names = below.list().unwrap();
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(below.read("a").unwrap(), b"a");
    }
}
