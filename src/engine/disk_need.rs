//! About what a run needs of the disk that has its snapshot, and whether that is there before the run begins to read.
//!
//! Not responsible for a disk that fills up all the same: whoever writes finds out and says so. Invariants: too little ends a
//! run before anything is sent; what the system does not say is in nobody's way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::memory::Shares;
use super::order::Order;
use super::prepare::Columns;
use super::{passes, prepare};
use crate::delta::parts::Parts;
use crate::domain::file::FileFact;
use crate::domain::kind::Kind;
use crate::points;
use crate::shutdown::blocking;
use crate::snapshot::View;
use crate::snapshot::view::Size;

/// Bytes that the journal of a usual run may take, and as many its segment: some 800,000 changed records with keys of nine
/// bytes, whose commit sets nothing aside. The database's log grows within that too.
const USUAL: u64 = 32 << 20;
/// Bytes that the journal says of a record beside its key and fingerprint, which are in a segment too: the number of its
/// intent, for which a segment has flags.
const NUMBER: u64 = 4;
/// Bytes that the journal says of a batch: two frames with 16 bytes before each, its number twice, the time and a verdict.
const BATCH: u64 = 55;
/// Bytes that a touch set aside by a commit takes beyond those of its key and fingerprint in a segment: its kind, operation and
/// verdict (1 each), the numbers of its intent and batch (up to 5 and 4) and its place in the batch (2), less the flags
/// (`an_attempt_takes_what_is_said_of_it`).
const TOUCH: u64 = 13;
/// Bytes of touches that a commit of keys of any length has in memory before it sets them aside (`snapshot::partitions`).
const TOUCHES_IN_MEMORY: u64 = 32 << 20;
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

/// Runs of a sync, as far as their need depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a> {
    pub state: &'a Path,
    pub sync: &'a str,
    /// The snapshot as it is.
    pub view: Option<&'a View>,
    /// Records of a batch.
    pub batch: u32,
    /// In bytes.
    pub memory_limit: u64,
    /// The primary key is not the delivered key, and takes memory of its own.
    pub has_primary: bool,
    /// Bytes of the files that are read.
    pub read: u64,
}

impl Runs<'_> {
    /// For a run of this kind. Blocks.
    pub fn room(self, kind: Kind) -> Room {
        let Runs { state, sync, view, batch, memory_limit, has_primary, read } = self;
        let folder = prepare::folder(state, sync);
        let size = view.filter(|_| kind == Kind::Full).map(View::size).unwrap_or_default();
        let merged = |added| view.map_or(0, |view| view.merged_bytes(added));
        let parts = passes::parts(view, &Shares::of(memory_limit), has_primary, kind);
        let needed_bytes = needed(size, batch, merged).saturating_add(waiting(&parts, read));
        let free = points::free_disk(free(&folder)).inspect_err(|error| {
            let folder = folder.display();
            tracing::warn!(sync, %folder, %error, "how much room the disk has is not known; no run waits for that");
        });
        Room { needed_bytes, free_bytes: free.ok(), folder }
    }
}

impl Room {
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

/// What a run of the order would need, of this kind, that reads these columns of these files.
pub fn of(
    order: &Order,
    view: Option<&View>,
    kind: Kind,
    columns: &Columns,
    files: &[FileFact],
) -> Room {
    let runs = Runs {
        state: &order.state,
        sync: &order.sync.name,
        view,
        batch: order.requests.upsert.batch.records,
        memory_limit: order.memory_limit,
        has_primary: columns.has_primary(),
        // Of a sample's few rows little waits.
        read: if order.chosen.is_none() { bytes(files) } else { 0 },
    };
    blocking(|| runs.room(kind))
}

pub fn bytes(files: &[FileFact]) -> u64 {
    files.iter().map(|file| file.size).fold(0, u64::saturating_add)
}

/// About what waits on disk of the rows of files of so many bytes: those whose part of the snapshot is not in memory. That is
/// no bound: no model needs to read all columns or to yield each row once; rows of text take about what they do in their
/// files, and those of Parquet, which keeps values by the column and equal ones once, several times as much. Nobody knows that
/// before the read: no statistics of files are asked for (`source::reader`), and Parquet's sizes are those of encoded columns.
fn waiting(parts: &Parts, read: u64) -> u64 {
    let all = parts.cut().shards();
    let away = all - parts.shards(0).map_or(0, |first| first.len());
    let waiting = u128::from(read) * away as u128 / all as u128;
    u64::try_from(waiting).unwrap_or(u64::MAX)
}

/// About the bytes that a run writes into the folder of the snapshot before it removes anything. Nobody knows before the read
/// how many new records a full run has, nor how many changed ones another run has: `USUAL` is there for both. `rewritten`: the
/// entries that are written anew in any case, all of them in a full run; `batch`: records; `merged`: what becomes of the
/// segments once one of so many bytes is added.
///
/// The journal is there until the new segment is, and so is what a commit of much sets aside of it, each touch of a key once
/// more; with their end the segments are merged, each of which is there until the merged one is.
///
/// A segment holds the key of each entry, its fingerprint (16 bytes), a length and flags (1 each): 27 bytes for a key of one
/// whole number, as `manifest` says after a run. A journal, at the point `commit_begun`, has 31 for the same record, and for
/// each batch those of [`BATCH`] (`a_full_run_takes_about_what_was_foretold` measures both).
fn needed(rewritten: Size, batch: u32, merged: impl Fn(u64) -> u64) -> u64 {
    let Size { known, entries, bytes } = rewritten;
    let same = u128::from(known) * u128::from(bytes) / u128::from(entries.max(1));
    let same = u64::try_from(same).unwrap_or(u64::MAX);
    let batches = known.div_ceil(u64::from(batch.max(1)));
    let beside = known.saturating_mul(NUMBER).saturating_add(batches.saturating_mul(BATCH));
    let touches = same.saturating_add(known.saturating_mul(TOUCH));
    let set_aside = if touches < TOUCHES_IN_MEMORY { 0 } else { touches };
    let segment = same.saturating_add(USUAL);
    let journal = segment.saturating_add(beside).saturating_add(set_aside);
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
    use std::sync::Arc;

    use super::*;
    use crate::delta::table::Cut;
    use crate::domain::entry::Waiver;
    use crate::domain::id::Epoch;
    use crate::snapshot::Snapshot;
    use crate::snapshot::memory_disk::MemoryDisk;
    use crate::snapshot::record::Record;

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
        let size = Size { known: 800_000, entries: 1_600_000, bytes: 43_200_000 };
        let records = |size, batch, merged: u64| needed(size, batch, |_| merged) - 64 * MEBIBYTE;
        assert_eq!(records(size, 100, 0), 21_600_000 + 24_800_000 + 440_000);
        assert_eq!(records(size, 1, 0), 21_600_000 + 24_800_000 + 44_000_000);
        let merged = USUAL + 81_000_000;
        let said = "the journal is gone by then";
        assert_eq!(records(size, 100, merged), 21_600_000 + 81_000_000, "{said}");
        // Their touches do not fit into the memory of a commit.
        let size = Size { known: 1_000_000, entries: 2_000_000, bytes: 54_000_000 };
        assert_eq!(records(size, 100, 0), 27_000_000 + 31_000_000 + 550_000 + 40_000_000);
        assert_eq!(needed(Size { bytes: u64::MAX, ..size }, 100, |_| 0), u64::MAX);
    }

    #[test]
    fn rows_wait_for_the_parts_of_the_snapshot_that_are_not_in_memory() {
        let cut = Cut::of(1 << 20, 2, 1 << 17);
        let shards = cut.shards();
        for (in_memory, waiting_bytes) in [(shards, 0), (shards / 2, 500), (shards / 4, 750)] {
            let parts = Parts::new(cut, in_memory, |_| 1);
            assert_eq!(waiting(&parts, 1_000), waiting_bytes);
        }

        let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        for number in 0..10_000_u32 {
            let (key, waiver) = (&number.to_le_bytes(), Waiver { fingerprint: 1, epoch: Epoch(1) });
            snapshot.journal().append(&Record::Waive { key, waiver });
        }
        snapshot.commit(|_| {}).unwrap();
        let needed = |memory_limit| {
            let (state, view) = (Path::new("/state"), Some(snapshot.view()));
            let (sync, has_primary) = ("s", false);
            let runs =
                Runs { state, sync, view, batch: 100, memory_limit, has_primary, read: 1_000 };
            runs.room(Kind::Incremental).needed_bytes
        };
        assert_eq!(needed(u64::MAX), needed(512 << 20));
        let waits = needed(1 << 10) - needed(512 << 20);
        assert!((500..1_000).contains(&waits), "{waits}");
    }

    #[test]
    fn rows_wait_where_a_snapshot_fits_that_does_not_beside_primary_keys() {
        let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        for number in 0..400_u32 {
            // 40 MB: of 256 MiB a table may take 56, and 32 beside primary keys.
            let key = &number.to_le_bytes().repeat(25_000);
            let waiver = Waiver { fingerprint: 1, epoch: Epoch(1) };
            snapshot.journal().append(&Record::Waive { key, waiver });
        }
        snapshot.commit(|_| {}).unwrap();
        let (state, sync, view) = (Path::new("/state"), "s", Some(snapshot.view()));
        let needed = |has_primary| {
            let (batch, memory_limit, read) = (100, 256 << 20, 1_000);
            let runs = Runs { state, sync, view, batch, memory_limit, has_primary, read };
            runs.room(Kind::Incremental).needed_bytes
        };
        let waits = needed(true) - needed(false);
        assert!((200..800).contains(&waits), "{waits}");
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
