//! The seam between a snapshot and what keeps its bytes: a directory, an object store, a simulated disk.
//!
//! Not responsible for formats. Names are those of files directly in the snapshot's own directory, except that
//! [`Disk::rename`] may move a file into a folder `folder/name`. All calls block.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::folders::{create_private, parent};
use crate::identity;
use crate::points::is_planted;

/// Files by name. Nothing written is safe from a power cut before the file is synced, no name before the directory is.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file for reading. What was opened stays readable when the name is removed.
    ///
    /// # Errors
    /// `NotFound` where there is no such file.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskView>>;

    /// The names of all files, in no order; folders are left out. A directory that does not exist has none.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, also where there was one.
    ///
    /// # Errors
    /// The directory cannot be written.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in one step, replacing what had it. Makes the folder of `folder/name`.
    ///
    /// # Errors
    /// `NotFound` where there is no such file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` where there is no such file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when all names given, changed and removed so far are safe.
    ///
    /// # Errors
    /// They may not be.
    fn sync_directory(&self) -> io::Result<()>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// As [`Disk::open`].
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.open(name)?;
        let length = usize::try_from(file.size()?).map_err(io::Error::other)?;
        file.read_at(0, length)
    }

    /// Which file has the name, as no copy of it has; `None` where that is not known.
    fn identity(&self, _name: &str) -> Option<String> {
        None
    }

    /// What tells the file from what it was before; `None` where there is no such file or that is not known.
    fn stamp(&self, _name: &str) -> Option<Stamp> {
        None
    }

    /// The size of a file in bytes.
    ///
    /// # Errors
    /// As [`Disk::open`].
    fn size(&self, name: &str) -> io::Result<u64> {
        self.open(name)?.size()
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn exists(&self, name: &str) -> io::Result<bool> {
        match self.open(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What tells a file from what it was before: whatever was written to it since, or has its name since, has another one,
/// unless that came within one step of the file system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Whether the file was last changed that long before `moment`, or longer.
    pub fn is_from_before(&self, moment: SystemTime, long: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let since = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        let since = since.map_or(Duration::ZERO, |(seconds, rest)| Duration::new(seconds, rest));
        moment.duration_since(UNIX_EPOCH).is_ok_and(|moment| moment >= since.saturating_add(long))
    }
}

/// A file that is being written. Appends come from one thread; syncs may come from another meanwhile.
pub trait DiskFile: Send + Sync {
    /// Writes at the end of the file.
    ///
    /// # Errors
    /// Any part of `bytes` may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all bytes appended before the call are safe.
    ///
    /// # Errors
    /// They may not be, and a later success proves nothing about them.
    fn sync(&self) -> io::Result<()>;
}

/// A file opened for reading.
pub trait DiskView: Send + Sync + Debug {
    /// `length` bytes from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// The size in bytes.
    ///
    /// # Errors
    /// The file system does not say.
    fn size(&self) -> io::Result<u64>;
}

/// A directory of the local file system.
#[derive(Debug)]
pub struct LocalDisk {
    directory: PathBuf,
}

impl LocalDisk {
    /// Creates the directory where it does not exist, readable by its owner only.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<LocalDisk> {
        let directory = directory.into();
        create_private(&directory)?;
        Ok(LocalDisk { directory })
    }

    /// For reading only: a directory that does not exist is not created, and has no files.
    pub fn existing(directory: impl Into<PathBuf>) -> LocalDisk {
        LocalDisk { directory: directory.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn options() -> OpenOptions {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        options.mode(0o600);
        options
    }
}

impl Disk for LocalDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskView>> {
        Ok(Box::new(File::open(self.path(name))?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // Opened for appending, and emptied by hand: std refuses both at once.
        let file = Self::options().create(true).append(true).open(self.path(name))?;
        file.set_len(0)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.path(to);
        let folder = parent(&to).filter(|folder| *folder != self.directory);
        if let Some(folder) = folder {
            create_private(folder)?;
        }
        fs::rename(self.path(from), &to)?;
        folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        if is_planted("folder_not_synced") {
            return Ok(());
        }
        File::open(&self.directory)?.sync_all()
    }

    fn identity(&self, name: &str) -> Option<String> {
        identity::of(&self.path(name))
    }

    fn stamp(&self, name: &str) -> Option<Stamp> {
        let metadata = self.path(name).metadata().ok()?;
        Some(Stamp {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl DiskFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes).or_else(|error| unless(is_planted("write_error_ignored"), error))
    }

    fn sync(&self) -> io::Result<()> {
        if is_planted("files_not_synced") {
            return Ok(());
        }
        self.sync_data().or_else(|error| unless(is_planted("fsync_error_ignored"), error))
    }
}

/// The error, unless a planted defect ignores it.
fn unless(is_ignored: bool, error: io::Error) -> io::Result<()> {
    if is_ignored { Ok(()) } else { Err(error) }
}

impl DiskView for File {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_disk_keeps_truncates_renames_and_removes() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().join("a/b")).unwrap();
        let file = disk.create("one").unwrap();
        file.append(b"hello").unwrap();
        file.sync().unwrap();
        file.append(b" you").unwrap();
        assert_eq!(disk.read("one").unwrap(), b"hello you");
        let view = disk.open("one").unwrap();
        assert_eq!(view.read_at(6, 3).unwrap(), b"you");
        assert_eq!(view.read_at(6, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        disk.rename("one", "old/one").unwrap();
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        assert!(!disk.exists("one").unwrap());
        disk.remove("old/one").unwrap();
        assert_eq!(view.read_at(0, 5).unwrap(), b"hello");
        disk.create("one").unwrap();
        assert_eq!(disk.size("one").unwrap(), 0);
        disk.sync_directory().unwrap();
        assert_eq!(LocalDisk::existing(folder.path().join("c")).list().unwrap().len(), 0);
    }
}
