//! One owner per state directory. The lock is the operating system's, on an open file: it ends with the process,
//! however that ends, so a stale file never locks anyone out.
//!
//! Who only looks shares the lock for that moment and writes nothing; an owner that begins in it waits it out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::Error;
use crate::folders;
use crate::points::is_planted;

const FILE: &str = "lock";
/// How often a lock that is held is tried before its holder counts as an owner and not as somebody who looks.
const TRIES: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Held by the process that owns the state; released when dropped, or when the process ends or is killed.
#[derive(Debug)]
#[must_use = "the lock is released as soon as this is dropped"]
pub struct StateLock {
    _file: File,
}

/// The process that owns the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// `None` if it has not yet written it down.
    pub pid: Option<u32>,
}

impl StateLock {
    /// Takes the lock of a state directory, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::Locked`] with the other's pid, after a tenth of a second at most; [`Error::Io`].
    pub fn take(state_directory: &Path) -> Result<StateLock, Error> {
        StateLock::take_between(state_directory, || std::thread::sleep(PAUSE))
    }

    fn take_between(state_directory: &Path, mut pause: impl FnMut()) -> Result<StateLock, Error> {
        let path = state_directory.join(FILE);
        let failure = |source| Error::io(path.clone(), source);
        create_private(state_directory)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failure)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(_) if is_planted("lock_not_taken") => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    pause();
                }
                Err(TryLockError::WouldBlock) => {
                    let directory = state_directory.to_path_buf();
                    return Err(Error::Locked { pid: pid(&mut file), directory });
                }
                Err(TryLockError::Error(source)) => return Err(failure(source)),
            }
        }
        file.set_len(0).map_err(failure)?;
        file.rewind().map_err(failure)?;
        writeln!(file, "{}", std::process::id()).map_err(failure)?;
        Ok(StateLock { _file: file })
    }

    /// Whether a process owns the state, asked without writing anything.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_held(state_directory: &Path) -> Result<bool, Error> {
        Ok(StateLock::holder(state_directory)?.is_some())
    }

    /// The process that owns the state, if one does, asked without writing anything.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn holder(state_directory: &Path) -> Result<Option<Holder>, Error> {
        let path = state_directory.join(FILE);
        let failure = |source| Error::io(path.clone(), source);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Holder { pid: pid(&mut file) })),
            Err(TryLockError::Error(source)) => Err(failure(source)),
        }
    }
}

/// The pid in a lock file. One that cannot be read is not worth an error: the lock is what matters.
fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes the state's folder.
pub(super) fn create_private(state_directory: &Path) -> Result<(), Error> {
    folders::create_private(state_directory)
        .map_err(|source| Error::io(state_directory.to_path_buf(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_by_pid_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("new/state");
        let first = StateLock::take(&state).unwrap();
        let refused = StateLock::take(&state).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(refused, Error::Locked { pid: Some(found), .. } if found == pid));
        assert_eq!(
            refused.to_string(),
            format!(
                "another process (pid {pid}) works on `{}`; stop it, or use `counterflow stop`",
                state.display()
            )
        );
        drop(first);
        let _second = StateLock::take(&state).unwrap();
    }

    #[test]
    fn a_lock_file_left_by_a_dead_process_locks_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "4194304000\n").unwrap();
        let _lock = StateLock::take(directory.path()).unwrap();
        let written = std::fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(written, format!("{}\n", std::process::id()));
    }

    #[test]
    fn an_owner_that_begins_while_somebody_looks_is_not_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(StateLock::take(directory.path()).unwrap());
        let looker = File::open(directory.path().join(FILE)).unwrap();
        looker.try_lock_shared().unwrap();
        let mut looker = Some(looker);
        let owner = StateLock::take_between(directory.path(), || drop(looker.take())).unwrap();
        assert!(looker.is_none(), "it was waited for");
        drop(owner);
    }

    #[test]
    fn whoever_looks_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(StateLock::holder(directory.path()).unwrap(), None);
        assert!(!directory.path().join(FILE).exists());
        std::fs::write(directory.path().join(FILE), "7\n").unwrap();
        assert_eq!(StateLock::holder(directory.path()).unwrap(), None);
        assert_eq!(std::fs::read_to_string(directory.path().join(FILE)).unwrap(), "7\n");
        let _lock = StateLock::take(directory.path()).unwrap();
        let ours = Holder { pid: Some(std::process::id()) };
        assert_eq!(StateLock::holder(directory.path()).unwrap(), Some(ours));
    }
}
