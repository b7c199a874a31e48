//! What a run needs of the disk that has its snapshot, and whether that is there before the run begins to read.
//!
//! Not responsible for a disk that fills up all the same: whoever writes finds out and says so. Invariants: too little ends a
//! run before anything is sent; what the system does not say is in nobody's way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::order::Order;
use super::prepare;
use crate::domain::kind::Kind;
use crate::points;
use crate::shutdown::blocking;
use crate::snapshot::View;
use crate::snapshot::view::Size;

/// Bytes that the journal of a usual run may take, and as many its segment: a million changed records with keys of nine
/// bytes. The database's log grows within that too.
const USUAL: u64 = 32 << 20;
/// Bytes that the journal says of a record beside its key and fingerprint, which are in a segment too: the number of its
/// intent, for which a segment has flags.
const NUMBER: u64 = 4;
/// Bytes that the journal says of a batch: two frames with 16 bytes before each, its number twice, the time and a verdict.
const BATCH: u64 = 55;
const MEBIBYTE: u64 = 1 << 20;

/// The disk that has the snapshot of a sync, and what a run needs of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Of the snapshot.
    pub folder: PathBuf,
    pub needed_bytes: u64,
    /// `None` where the system does not say.
    pub free_bytes: Option<u64>,
}

/// There is less room than a run needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; no run sends anything before it has that: make room, then run again")]
pub struct TooLittle(Room);

impl Room {
    /// For a run of this kind over the snapshot as it is, in batches of so many records. Blocks.
    pub fn of(state: &Path, sync: &str, view: Option<&View>, kind: Kind, batch: u32) -> Room {
        let folder = prepare::folder(state, sync);
        let size = view.filter(|_| kind == Kind::Full).map(View::size).unwrap_or_default();
        let merged = |added| view.map_or(0, |view| view.merged_bytes(added));
        let free = points::free_disk(free(&folder)).inspect_err(|error| {
            let folder = folder.display();
            tracing::warn!(sync, %folder, %error, "how much room the disk has is not known; no run waits for that");
        });
        Room { needed_bytes: needed(size, batch, merged), free_bytes: free.ok(), folder }
    }

    /// As people are told it.
    pub fn needed_mebibytes(&self) -> u64 {
        self.needed_bytes.div_ceil(MEBIBYTE)
    }

    fn is_too_little(&self) -> bool {
        let is_too_little = self.free_bytes.is_some_and(|free| free < self.needed_bytes);
        is_too_little && !points::is_planted("lack_of_room_ignored")
    }

    /// # Errors
    /// There is too little, as far as that is known.
    pub fn check(self) -> Result<(), TooLittle> {
        if self.is_too_little() { Err(TooLittle(self)) } else { Ok(()) }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, needed) = (self.folder.display(), self.needed_mebibytes());
        match self.free_bytes {
            Some(free) => write!(f, "the disk of `{folder}` has {} MiB free", free / MEBIBYTE)?,
            None => write!(f, "it is not known what the disk of `{folder}` has free")?,
        }
        write!(f, ", and the run needs {needed} MiB")
    }
}

/// What a run of the order would need, of this kind.
pub fn of(order: &Order, view: Option<&View>, kind: Kind) -> Room {
    let batch = order.requests.upsert.batch.records;
    blocking(|| Room::of(&order.state, &order.sync.name, view, kind, batch))
}

/// The bytes that a run takes at most before it removes anything, beside new records of a full run, which nobody knows before
/// the read. `rewritten`: the entries that it writes anew, all of them in a full run; `batch`: records; `merged`: what becomes
/// of the segments once one of so many bytes is added.
///
/// The journal is there until the new segment is, and with its end the segments are merged, each of which is there until
/// the merged one is. A segment holds the key of each entry, its fingerprint (16 bytes), a length and flags (1 each): 27
/// bytes for a key of one whole number, as `manifest` says after a run. A journal, at the point `commit_begun`, has 31 for the
/// same record, and for each batch those of [`BATCH`] (`a_full_run_takes_about_what_was_foretold` measures both).
fn needed(rewritten: Size, batch: u32, merged: impl Fn(u64) -> u64) -> u64 {
    let Size { known, entries, bytes } = rewritten;
    let same = u128::from(known) * u128::from(bytes) / u128::from(entries.max(1));
    let same = u64::try_from(same).unwrap_or(u64::MAX);
    let batches = known.div_ceil(u64::from(batch.max(1)));
    let beside = known.saturating_mul(NUMBER).saturating_add(batches.saturating_mul(BATCH));
    let segment = same.saturating_add(USUAL);
    let journal = segment.saturating_add(beside);
    segment.saturating_add(journal.max(merged(segment)))
}

/// Bytes that are free for us on the disk of a folder, or where it will be made.
fn free(folder: &Path) -> io::Result<u64> {
    let is_there = |folder: &&Path| folder.exists();
    let found = rustix::fs::statvfs(folder.ancestors().find(is_there).unwrap_or(folder))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Size = Size { known: 0, entries: 0, bytes: 0 };

    #[test]
    fn a_usual_run_needs_its_journal_and_segment_or_the_segments_that_are_merged() {
        assert_eq!(needed(NONE, 100, |_| 0), 64 * MEBIBYTE);
        assert_eq!(needed(NONE, 100, |added| added), 64 * MEBIBYTE, "the journal is gone by then");
        let merged = |added| added + 400 * MEBIBYTE;
        assert_eq!(needed(NONE, 100, merged), 464 * MEBIBYTE);
    }

    #[test]
    fn a_full_run_needs_what_each_entry_takes_once_more() {
        let size = Size { known: 1_000_000, entries: 2_000_000, bytes: 54_000_000 };
        let records = |batch, merged: u64| needed(size, batch, |_| merged) - 64 * MEBIBYTE;
        assert_eq!(records(100, 0), 27_000_000 + 31_000_000 + 550_000);
        assert_eq!(records(1, 0), 27_000_000 + 31_000_000 + 55_000_000);
        let merged = USUAL + 81_000_000;
        assert_eq!(records(100, merged), 27_000_000 + 81_000_000, "the journal is gone by then");
        assert_eq!(needed(Size { bytes: u64::MAX, ..size }, 100, |_| 0), u64::MAX);
    }

    #[test]
    fn too_little_is_named_with_its_place_and_remedy_and_the_unknown_is_enough() {
        let room = |free_bytes| Room {
            folder: PathBuf::from("/state/snapshots/crm"),
            needed_bytes: 64 * MEBIBYTE,
            free_bytes,
        };
        assert_eq!(room(None).check(), Ok(()));
        assert_eq!(room(Some(64 * MEBIBYTE)).check(), Ok(()));
        let said = room(Some(64 * MEBIBYTE - 1)).check().unwrap_err().to_string();
        for word in ["`/state/snapshots/crm`", " 63 MiB free", "needs 64 MiB;", "make room"] {
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_made_yet_is_that_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(&folder.path().join("state/snapshots/crm")).unwrap() > 0);
    }
}
