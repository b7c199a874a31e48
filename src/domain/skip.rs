//! When a run may be skipped without a scan: the last one left nothing to do, and nothing has changed since (design.md §3,
//! Skip).
//!
//! Not responsible for finding the facts out (`engine::skipping`), nor for where they are kept (`snapshot::header`).
//! Guards: what is not known stands in the way; a run that is not green leaves no mark.

use super::file::FileFact;
use super::id::RunId;
use crate::points::is_planted;

/// A file that was changed so shortly before it was read, in nanoseconds, may change again without its change time telling:
/// file systems count time in steps.
const STEP: i128 = 2_000_000_000;

/// What stands in the way of a skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("the source cannot say whether it changed")]
    Unprovable,
    #[error("only chosen rows are to be sent")]
    Sample,
    #[error("a full resync was asked for")]
    Full,
    #[error("a person's word on the snapshot is to be carried out")]
    Decision,
    #[error("the destination is asked for its account at the beginning of each run")]
    Identify,
    #[error("the run is to stop")]
    Stopped,
    #[error("no run before has left nothing to do, or something came after it")]
    NoMark,
    #[error("the snapshot is not as the last run left it")]
    Snapshot,
    #[error("the definition is another one")]
    Definition,
    #[error("the version of the engine is another one")]
    Version,
    #[error("the credentials are others")]
    Credentials,
    #[error("a completion marker is missing")]
    Marker,
    #[error("the files are others")]
    Files,
    #[error("the read did not prove its end")]
    Unproven,
    #[error("some rows are not delivered")]
    Undelivered,
    #[error("some entries without a row are in doubt, rejected or held")]
    Unsettled,
    #[error("an epoch is open")]
    OpenEpoch,
    #[error("deletes are held, or released and not made")]
    Held,
    #[error("the model can give another answer for the same rows")]
    Volatile,
    #[error("a file was changed shortly before it was read")]
    JustChanged,
}

/// What a run leaves behind, as its commit says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub is_sample: bool,
    pub is_proven: bool,
    pub was_stopped: bool,
    /// All that was asked was delivered, and every row was valid.
    pub is_clean: bool,
    /// An entry that is kept without a row is in doubt, rejected, or was held.
    pub is_unsettled: bool,
    pub is_epoch_open: bool,
    /// Deletes are held, or a yes to some stands.
    pub is_held: bool,
    pub is_volatile: bool,
    /// Every source that was read can say whether it changed.
    pub can_prove_unchanged: bool,
    pub are_files_at_rest: bool,
}

impl Left {
    /// Whether the run left nothing to do.
    ///
    /// # Errors
    /// What it left.
    pub fn nothing(self) -> Result<(), Obstacle> {
        let is_clean = self.is_clean || is_planted("skip_with_unsent_rows");
        let at_rest = self.are_files_at_rest || is_planted("skip_after_fresh_files");
        first(&[
            (!can_prove(self.can_prove_unchanged), Obstacle::Unprovable),
            (self.is_sample, Obstacle::Sample),
            (!self.is_proven, Obstacle::Unproven),
            (self.was_stopped, Obstacle::Stopped),
            (!is_clean, Obstacle::Undelivered),
            (self.is_unsettled, Obstacle::Unsettled),
            (self.is_epoch_open, Obstacle::OpenEpoch),
            (self.is_held, Obstacle::Held),
            (self.is_volatile, Obstacle::Volatile),
            (!at_rest, Obstacle::JustChanged),
        ])
    }
}

#[cfg(test)]
impl Left {
    /// A run that left nothing to do.
    pub const NOTHING: Left = Left {
        is_sample: false,
        is_proven: true,
        was_stopped: false,
        is_clean: true,
        is_unsettled: false,
        is_epoch_open: false,
        is_held: false,
        is_volatile: false,
        can_prove_unchanged: true,
        are_files_at_rest: true,
    };
}

/// The mark that a run left which left nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a> {
    pub run: RunId,
    pub definition: &'a str,
    pub version: &'a str,
    pub credentials: Option<&'a str>,
    pub files: &'a [FileFact],
}

/// What a run finds that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    pub definition: &'a str,
    pub version: &'a str,
    pub credentials: Option<&'a str>,
    /// Every source that is read can say whether it changed; else equal files, such as none at all, say nothing.
    pub can_prove_unchanged: bool,
    pub files: &'a [FileFact],
    pub is_marker_missing: bool,
}

impl Found<'_> {
    /// Whether all is as it was at the run of the mark.
    ///
    /// # Errors
    /// What is not.
    pub fn is_as_at(&self, mark: &Mark<'_>) -> Result<(), Obstacle> {
        let is_as = |(file, was): (&FileFact, &FileFact)| file.is_as(was);
        let are_same =
            self.files.len() == mark.files.len() && self.files.iter().zip(mark.files).all(is_as);
        let are_same = are_same || is_planted("skip_with_changed_file");
        let is_same = self.definition == mark.definition || is_planted("skip_with_new_definition");
        first(&[
            (!can_prove(self.can_prove_unchanged), Obstacle::Unprovable),
            (!is_same, Obstacle::Definition),
            (self.version != mark.version, Obstacle::Version),
            (self.credentials != mark.credentials, Obstacle::Credentials),
            (self.is_marker_missing, Obstacle::Marker),
            (!are_same, Obstacle::Files),
        ])
    }
}

fn can_prove(unchanged: bool) -> bool {
    unchanged || is_planted("database_skipped")
}

/// The first that stands in the way.
pub fn first(obstacles: &[(bool, Obstacle)]) -> Result<(), Obstacle> {
    obstacles.iter().find(|(stands, _)| *stands).map_or(Ok(()), |(_, obstacle)| Err(*obstacle))
}

/// Whether no file was changed shortly before the read began, in nanoseconds since 1970 by the clock of the file system.
/// Whatever is written to one of them from then on by calls to write gives it another change time. What has an etag has
/// another one as soon as it changes, whatever the time.
pub fn are_at_rest(files: &[FileFact], read_began: i128) -> bool {
    let mut by_time = files.iter().filter(|file| file.etag.is_none());
    by_time.all(|file| file.changed.saturating_add(STEP) < read_began)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(changed: i128) -> FileFact {
        FileFact {
            table: "t".into(),
            path: "a.csv".into(),
            size: 9,
            inode: 4,
            changed,
            ends_within_line: Some(false),
            etag: None,
        }
    }

    #[test]
    fn whatever_a_run_leaves_to_do_forbids_to_skip_the_next_one() {
        assert_eq!(Left::NOTHING.nothing(), Ok(()));
        for (left, obstacle) in [
            (Left { is_sample: true, ..Left::NOTHING }, Obstacle::Sample),
            (Left { is_proven: false, ..Left::NOTHING }, Obstacle::Unproven),
            (Left { was_stopped: true, ..Left::NOTHING }, Obstacle::Stopped),
            (Left { is_clean: false, ..Left::NOTHING }, Obstacle::Undelivered),
            (Left { is_unsettled: true, ..Left::NOTHING }, Obstacle::Unsettled),
            (Left { is_epoch_open: true, ..Left::NOTHING }, Obstacle::OpenEpoch),
            (Left { is_held: true, ..Left::NOTHING }, Obstacle::Held),
            (Left { is_volatile: true, ..Left::NOTHING }, Obstacle::Volatile),
            (Left { can_prove_unchanged: false, ..Left::NOTHING }, Obstacle::Unprovable),
            (Left { are_files_at_rest: false, ..Left::NOTHING }, Obstacle::JustChanged),
        ] {
            assert_eq!(left.nothing(), Err(obstacle));
        }
    }

    #[test]
    fn whatever_is_other_than_at_the_last_run_forbids_a_skip() {
        let files = [file(5)];
        let (run, definition, version, credentials) = (RunId(3), "d", "1", Some("c"));
        let mark = Mark { run, definition, version, credentials, files: &files };
        let same = Found {
            definition,
            version,
            credentials,
            can_prove_unchanged: true,
            files: &files,
            is_marker_missing: false,
        };
        assert_eq!(same.is_as_at(&mark), Ok(()));
        for (found, obstacle) in [
            (Found { definition: "e", ..same }, Obstacle::Definition),
            (Found { version: "2", ..same }, Obstacle::Version),
            (Found { credentials: Some("b"), ..same }, Obstacle::Credentials),
            (Found { credentials: None, ..same }, Obstacle::Credentials),
            (Found { is_marker_missing: true, ..same }, Obstacle::Marker),
        ] {
            assert_eq!(found.is_as_at(&mark), Err(obstacle));
        }
        for other in [
            vec![],
            vec![file(5), file(5)],
            vec![file(6)],
            vec![FileFact { size: 8, ..file(5) }],
            vec![FileFact { inode: 5, ..file(5) }],
            vec![FileFact { path: "b.csv".into(), ..file(5) }],
            vec![FileFact { table: "u".into(), ..file(5) }],
            vec![FileFact { ends_within_line: Some(true), ..file(5) }],
            vec![FileFact { etag: Some("1".into()), ..file(5) }],
        ] {
            let found = Found { files: &other, ..same };
            assert_eq!(found.is_as_at(&mark), Err(Obstacle::Files), "{other:?}");
        }
    }

    #[test]
    fn a_source_that_cannot_say_whether_it_changed_is_never_as_it_was() {
        let (run, definition, version, credentials) = (RunId(3), "d", "1", None);
        // The files of a database, which are none, are always the same.
        let mark = Mark { run, definition, version, credentials, files: &[] };
        let found = Found {
            definition,
            version,
            credentials,
            can_prove_unchanged: false,
            files: &[],
            is_marker_missing: false,
        };
        assert_eq!(found.is_as_at(&mark), Err(Obstacle::Unprovable));
        assert_eq!(Found { can_prove_unchanged: true, ..found }.is_as_at(&mark), Ok(()));
        let left = Left { can_prove_unchanged: false, ..Left::NOTHING };
        assert_eq!(left.nothing(), Err(Obstacle::Unprovable), "and leaves no mark");
    }

    #[test]
    fn a_file_is_at_rest_once_more_than_two_seconds_lie_between_its_change_and_the_read() {
        let read_began = 10 * STEP;
        assert!(are_at_rest(&[], read_began));
        assert!(are_at_rest(&[file(9 * STEP - 1), file(0)], read_began));
        for late in [9 * STEP, 10 * STEP, 11 * STEP, i128::MAX] {
            assert!(!are_at_rest(&[file(0), file(late)], read_began), "{late}");
            let object = FileFact { etag: Some("1".into()), ..file(late) };
            assert!(are_at_rest(&[file(0), object], read_began), "{late}");
        }
    }
}
