//! A snapshot's folder as it would be after recovery: what is written lands above it, the folder stays as it is.
//!
//! For reading commands after a crash: what is in doubt stands in the journal, and only opening folds it in. What is above is
//! in memory, and where that would be much, in files without a name, so that nothing is left of them whatever becomes of the
//! process: on the folder's own disk, as the system's temporary folder may be memory, or there if the folder may only be read.
//! Invariant: nothing below is ever written or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, DiskView, LocalDisk};
use super::open::{Known, Snapshot, check_known};
use super::view::View;

/// Bytes of a file above that are in memory.
const MOST_IN_MEMORY: usize = if cfg!(test) { 8 } else { 16 << 20 };

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
    let overlay = Arc::new(Overlay::new(folder));
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

/// A read-only folder with a layer over it.
#[derive(Debug)]
pub struct Overlay {
    folder: PathBuf,
    below: LocalDisk,
    /// By name, what is not as it is below.
    above: Mutex<BTreeMap<String, Above>>,
}

#[derive(Debug, Clone)]
enum Above {
    Written(Layer),
    /// The file that has this name below.
    Renamed(String),
    /// As far as anyone who looks through this can tell.
    Removed,
}

/// A file above. Clones are one file.
#[derive(Debug, Clone)]
struct Layer {
    contents: Arc<Mutex<Contents>>,
    /// Near what is below.
    folder: PathBuf,
}

#[derive(Debug)]
enum Contents {
    Memory(Vec<u8>),
    File(File),
}

impl Overlay {
    pub fn new(folder: &Path) -> Overlay {
        let below = LocalDisk::existing(folder);
        Overlay { folder: folder.to_owned(), below, above: Mutex::default() }
    }

    fn above(&self) -> MutexGuard<'_, BTreeMap<String, Above>> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has the name now.
    fn find(&self, name: &str) -> io::Result<Above> {
        match self.above().get(name) {
            Some(above) => Ok(above.clone()),
            None if self.below.exists(name)? => Ok(Above::Renamed(name.to_owned())),
            None => Ok(Above::Removed),
        }
    }
}

impl Disk for Overlay {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskView>> {
        match self.find(name)? {
            Above::Written(layer) => Ok(Box::new(layer)),
            Above::Renamed(below) => self.below.open(&below),
            Above::Removed => Err(ErrorKind::NotFound.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let above = self.above();
        let below = self.below.list()?.into_iter().filter(|name| !above.contains_key(name));
        let is_there = |(name, above): (&String, &Above)| {
            (!matches!(above, Above::Removed)).then(|| name.clone())
        };
        let names: BTreeSet<String> = below.chain(above.iter().filter_map(is_there)).collect();
        Ok(names.into_iter().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let contents = Arc::new(Mutex::new(Contents::Memory(Vec::new())));
        let layer = Layer { contents, folder: self.folder.clone() };
        self.above().insert(name.to_owned(), Above::Written(layer.clone()));
        Ok(Box::new(layer))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let moved = self.find(from)?;
        self.remove(from)?;
        self.above().insert(to.to_owned(), moved);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if matches!(self.find(name)?, Above::Removed) {
            return Err(ErrorKind::NotFound.into());
        }
        self.above().insert(name.to_owned(), Above::Removed);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Layer {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for Layer {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        if let Contents::Memory(held) = &*contents
            && held.len() + bytes.len() > MOST_IN_MEMORY
        {
            let file = unnamed(&self.folder)?;
            file.append(held)?;
            *contents = Contents::File(file);
        }
        match &mut *contents {
            Contents::Memory(held) => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            Contents::File(file) => file.append(bytes),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskView for Layer {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        match &*self.contents() {
            Contents::Memory(held) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let bytes = start.checked_add(length).and_then(|end| held.get(start..end));
                bytes.map(<[u8]>::to_vec).ok_or_else(|| ErrorKind::UnexpectedEof.into())
            }
            Contents::File(file) => file.read_at(offset, length),
        }
    }

    fn size(&self) -> io::Result<u64> {
        match &*self.contents() {
            Contents::Memory(held) => Ok(held.len() as u64),
            Contents::File(file) => file.size(),
        }
    }
}

/// An empty file without a name, on the disk of `folder` if that may be written. It is gone with the process.
fn unnamed(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder).or_else(|_| tempfile::tempfile())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_is_done_above_is_seen_and_the_folder_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let disk = Overlay::new(folder.path());
        disk.create("a").unwrap().append(b"a!").unwrap();
        disk.rename("b", "d").unwrap();
        disk.remove("c").unwrap();
        disk.create("e").unwrap().append(b"new").unwrap();
        disk.create("f").unwrap().append(b"gone").unwrap();
        disk.remove("f").unwrap();
        assert_eq!(disk.list().unwrap(), ["a", "d", "e"]);
        assert_eq!(disk.read("a").unwrap(), b"a!");
        assert_eq!(disk.read("d").unwrap(), b"b");
        for gone in ["b", "c", "f"] {
            assert!(!disk.exists(gone).unwrap());
            assert_eq!(disk.remove(gone).unwrap_err().kind(), ErrorKind::NotFound);
        }
        let below = LocalDisk::existing(folder.path());
        let mut names = below.list().unwrap();
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(below.read("a").unwrap(), b"a");
    }

    #[test]
    fn what_is_much_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Overlay::new(folder.path());
        let file = disk.create("a").unwrap();
        let view = disk.open("a").unwrap();
        let mut written = Vec::new();
        for number in 0..100_u8 {
            let bytes = vec![number; usize::from(number % 4)];
            file.append(&bytes).unwrap();
            written.extend(bytes);
            assert_eq!(view.size().unwrap(), written.len() as u64);
            assert_eq!(disk.read("a").unwrap(), written);
        }
        assert_eq!(view.read_at(20, 5).unwrap(), written[20..25]);
        let beyond = view.read_at(written.len() as u64 - 1, 2).unwrap_err();
        assert_eq!(beyond.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn what_is_much_is_on_the_disk_of_the_folder_or_elsewhere_if_that_may_only_be_read() {
        let written = |folder: &Path| {
            let disk = Overlay::new(folder);
            let file = disk.create("a").unwrap();
            file.append(b"more than fits").unwrap();
            assert_eq!(disk.read("a").unwrap(), b"more than fits");
            let above = disk.find("a").unwrap();
            let Above::Written(layer) = above else { panic!("{above:?}") };
            let Contents::File(file) = &*layer.contents() else { panic!("it is in memory") };
            file.metadata().unwrap().dev()
        };
        let device = |folder: &Path| folder.metadata().unwrap().dev();
        // Which of the two is memory depends on the machine.
        for folder in [Path::new("/dev/shm"), &std::env::current_dir().unwrap()] {
            let Ok(folder) = tempfile::tempdir_in(folder) else { continue };
            assert_eq!(written(folder.path()), device(folder.path()));
        }
        // No file can be made in it, by nobody.
        assert_eq!(written(Path::new("/proc")), device(&std::env::temp_dir()));
    }
}
