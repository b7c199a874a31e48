//! What can be wrong with a snapshot, said with the way out.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::domain::extras::Unreadable;

/// Why a snapshot cannot be read or written. None of these is ever read as an empty snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the snapshot of `{sync}` cannot use its file `{file}`: {source}; \
         make the disk usable again (space, permissions), then run again"
    )]
    Io {
        sync: String,
        file: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "the snapshot of `{sync}` is missing; restore its files from a backup, or run \
         `counterflow rebaseline {sync} -m WHY`"
    )]
    Missing { sync: String },
    #[error(
        "`{file}` does not belong to the snapshot of `{sync}`: {what}; restore the file from a \
         backup, or run `counterflow rebaseline {sync} -m WHY`"
    )]
    Foreign { sync: String, file: String, what: String },
    #[error(
        "the snapshot of `{sync}` is of generation {found}, and generation {known} was committed \
         already; restore the latest files from a backup, or run \
         `counterflow rebaseline {sync} -m WHY`"
    )]
    Older { sync: String, found: u64, known: u64 },
    #[error(
        "`{file}` of the snapshot of `{sync}` is damaged: {what}; restore the file from a backup, \
         or run `counterflow rebaseline {sync} -m WHY`"
    )]
    Damaged { sync: String, file: String, what: String },
    #[error(
        "`{file}` of the snapshot of `{sync}` was written by a newer counterflow: {what}; use that \
         version, restore the file from a backup, or run `counterflow rebaseline {sync} -m WHY`"
    )]
    Newer { sync: String, file: String, what: String },
    #[error(
        "the state database `counterflow.db` is older than the snapshot of `{sync}`: it does not know of a run that began \
         to send; put the latest database back together with its `-wal` file, or if it is gone for good, run `counterflow \
         sync {sync} --keep-snapshot`: what was sent stands in the snapshot, what was asked of the server since is forgotten"
    )]
    OlderStore { sync: String },
    /// An earlier failure, or a misuse: nothing more can be written through this value.
    #[error("the snapshot of `{sync}` takes no more writes: {what}; open it again")]
    Halted { sync: String, what: String },
}

/// What a decoder finds wrong, before it is known in which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Damaged(&'static str),
    Newer(&'static str),
}

impl From<Unreadable> for Fault {
    fn from(unreadable: Unreadable) -> Fault {
        match unreadable {
            Unreadable::Damaged => Fault::Damaged("an entry's details cannot be read"),
            Unreadable::Newer => Fault::Newer("an entry has details of an unknown kind"),
        }
    }
}

/// A file of a sync's snapshot, for errors.
#[derive(Debug, Clone)]
pub(super) struct Place {
    sync: Arc<str>,
    file: Arc<str>,
}

impl Place {
    pub fn new(sync: &str, file: &str) -> Place {
        Place { sync: sync.into(), file: file.into() }
    }

    pub fn sync(&self) -> &str {
        &self.sync
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn damaged(&self, what: impl fmt::Display) -> Error {
        let (sync, file) = self.owned();
        Error::Damaged { sync, file, what: what.to_string() }
    }

    pub fn newer(&self, what: impl fmt::Display) -> Error {
        let (sync, file) = self.owned();
        Error::Newer { sync, file, what: what.to_string() }
    }

    pub fn foreign(&self, what: impl fmt::Display) -> Error {
        let (sync, file) = self.owned();
        Error::Foreign { sync, file, what: what.to_string() }
    }

    pub fn halted(&self, what: impl fmt::Display) -> Error {
        Error::Halted { sync: self.sync.to_string(), what: what.to_string() }
    }

    pub fn fault(&self, fault: Fault) -> Error {
        match fault {
            Fault::Damaged(what) => self.damaged(what),
            Fault::Newer(what) => self.newer(what),
        }
    }

    /// A file that ends too early is damaged; any other failure is the disk's.
    pub fn io(&self, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.damaged("it is cut short");
        }
        let (sync, file) = self.owned();
        Error::Io { sync, file, source }
    }

    fn owned(&self) -> (String, String) {
        (self.sync.to_string(), self.file.to_string())
    }
}
