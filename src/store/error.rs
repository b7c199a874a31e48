//! What can go wrong with the state, by meaning, and how SQLite's and the file system's errors become it.
//!
//! Invariant: each message names the file and the remedy. Not responsible for exit codes.

use std::path::{Path, PathBuf};

use crate::domain::id::RunId;
use crate::domain::run::Phase;

/// Why the state could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no state yet; only for those who open beside, the owner makes one.
    #[error(
        "there is no state in `{}` yet; it begins with the first `counterflow sync` or `counterflow serve`",
        .0.display()
    )]
    Absent(PathBuf),
    /// The database is gone though snapshots are there.
    #[error(
        "the state database `{}` is missing though {evidence}; put it back from a backup, or if it is gone for good \
         move the whole state directory away: the next runs are then full, and rows already gone are never deleted",
        .path.display()
    )]
    Missing { path: PathBuf, evidence: String },
    #[error(
        "the state database `{}` is damaged or not ours ({detail}); if the disk fails, check it and run again; else put \
         the file back from a backup together with its `-wal` file, or if it is gone for good move the whole state directory away: the next runs are then full, \
         and rows already gone are never deleted",
        .path.display()
    )]
    Damaged { path: PathBuf, detail: String },
    #[error(
        "the state database `{}` has version {found}, this program knows {known}; use the newer program that wrote it",
        .path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "another process{} works on `{}`; stop it, or use `counterflow stop`",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        .directory.display()
    )]
    Locked {
        /// `None` if the other process has not yet written it down.
        pid: Option<u32>,
        directory: PathBuf,
    },
    #[error("run `{run}` may not go from {} to {}: a defect, please report it", .from, .to)]
    IllegalStep { run: RunId, from: Phase, to: Phase },
    #[error("there is no run `{0}`; see `counterflow runs`")]
    NoRun(RunId),
    #[error("the disk of `{}` is full; make room and start again", .0.display())]
    Full(PathBuf),
    /// SQLite's "disk I/O error" is what a disk without room for its shared files gives too.
    #[error(
        "`{}` cannot be read or written: {detail}; the disk is full or damaged: make room, or check the disk, and start \
         again",
        .path.display()
    )]
    Disk { path: PathBuf, detail: String },
    #[error("the state database `{}` was busy for too long; try again", .0.display())]
    Busy(PathBuf),
    #[error("cannot access `{}`; check that it exists and its permissions", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the state database `{}` refused a statement", .path.display())]
    Database { path: PathBuf, source: sqlx::Error },
}

impl Error {
    /// What an error of the file system on `path` means.
    pub(super) fn io(path: PathBuf, source: std::io::Error) -> Error {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Error::Full(path),
            FileTooLarge => {
                let detail = format!("{source} (see `ulimit -f`)");
                Error::Disk { path, detail }
            }
            _ => Error::Io { path, source },
        }
    }

    /// What SQLite found when it checked the file `path`. A page that the disk did not give is not a damaged one: the
    /// code at the end is that of a failed read, see https://sqlite.org/rescode.html.
    pub(super) fn of_check(path: &Path, verdict: &str) -> Result<(), Error> {
        let (path, detail) = (path.to_path_buf(), verdict.replace('\n', " "));
        let code = verdict.rsplit_once("error code=").and_then(|(_, code)| code.parse().ok());
        match code.map(|code: i32| code & 0xff) {
            _ if verdict == "ok" => Ok(()),
            Some(10) => Err(Error::Disk { path, detail }),
            _ => Err(Error::Damaged { path, detail }),
        }
    }

    /// What a database error on the file `path` means.
    pub(super) fn database(path: &Path, error: sqlx::Error) -> Error {
        let path = path.to_path_buf();
        match error {
            sqlx::Error::Io(source) => Error::io(path, source),
            sqlx::Error::PoolTimedOut => Error::Busy(path),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Error::Damaged { path, detail: error.to_string() }
            }
            sqlx::Error::Database(ref refused) => {
                let code = refused.code().and_then(|code| code.parse::<i32>().ok());
                // The low byte of an extended result code is its class, see https://sqlite.org/rescode.html.
                match code.map(|code| code & 0xff) {
                    Some(5 | 6) => Error::Busy(path),
                    Some(11 | 26) => Error::Damaged { path, detail: refused.message().to_owned() },
                    Some(13) => Error::Full(path),
                    Some(10) => Error::Disk { path, detail: refused.message().to_owned() },
                    Some(8 | 14) => {
                        let source = std::io::Error::other(refused.message().to_owned());
                        Error::Io { path, source }
                    }
                    _ => Error::Database { path, source: error },
                }
            }
            _ => Error::Database { path, source: error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_the_disk_did_not_give_is_no_damage_c2() {
        let path = Path::new("state/counterflow.db");
        let unread =
            "*** in database main ***\nTree 9 page 9: unable to get the page. error code=8458";
        let failed = Error::of_check(path, unread).expect_err("it was not read");
        assert!(matches!(failed, Error::Disk { .. }), "{failed}");
        assert!(!failed.to_string().contains('\n'), "{failed}");
        let torn = "Tree 9 page 9: btreeInitPage() returns error code 11";
        assert!(matches!(Error::of_check(path, torn), Err(Error::Damaged { .. })));
        assert!(Error::of_check(path, "ok").is_ok());
    }
}
