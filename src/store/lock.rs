//! One owner per state directory. The lock is the operating system's, on an open file: it ends with the process,
//! however that ends, so a stale file never locks anyone out.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::Error;

const FILE: &str = "lock";

/// Held by the process that owns the state; released when dropped, or when the process ends or is killed.
#[derive(Debug)]
#[must_use = "the lock is released as soon as this is dropped"]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of a state directory, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::Locked`] with the other's pid at once, never after a wait; [`Error::Io`].
    pub fn take(state_directory: &Path) -> Result<StateLock, Error> {
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // A pid that cannot be read is not worth another error: the lock is what matters.
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(Error::Locked { pid, directory: state_directory.to_path_buf() });
            }
            Err(TryLockError::Error(source)) => return Err(failure(source)),
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
        let path = state_directory.join(FILE);
        let failure = |source| Error::io(path.clone(), source);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failure(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(failure(source)),
        }
    }
}

/// Makes the state's folder, which nobody but the owner may look into: keys may be personal data. One that is there
/// keeps its permissions.
pub(super) fn create_private(state_directory: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_directory);
    made.map_err(|source| Error::io(state_directory.to_path_buf(), source))
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
}
