//! The journal of a generation: intents, receipts and decisions since the last commit, in the order they were made.
//!
//! Not responsible for what they mean (fold.rs). Three steps: append puts a record in a buffer, write hands the buffer to
//! the file, a [`Syncer`] makes what was written safe, from any thread. The file begins to exist at the first write.
//!
//! Guards: no request leaves on a journal that failed once: after a failed write or sync every call fails, as the
//! operating system may have dropped the bytes; a syncer kept beyond a commit fails too.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::disk::{Disk, DiskFile, DiskView};
use super::encoding::{self, Start};
use super::error::{Error, Place};
use super::frame::{self, FileKind};
use super::record::{IntentRecord, Record};
use crate::domain::entry::Operation;
use crate::domain::id::{BatchNumber, Epoch, Lineage};
use crate::points;

/// Bytes of the buffer beyond which it is handed to the file without being asked.
const MOST_BUFFERED: usize = 1 << 20;

const OPEN: u8 = 0;
const FAILED: u8 = 1;
const COMMITTED: u8 = 2;
const TOO_EARLY: u8 = 3;

/// The journal that is being written.
pub struct Journal {
    shared: Arc<Shared>,
    lineage: Lineage,
    start: Start,
    buffer: Vec<u8>,
    /// Bytes handed to the file.
    written: u64,
    /// What came of handing the buffer over unasked, until somebody asks.
    failure: Option<Error>,
    /// How many of them were safe by the last record that says so.
    noted: u64,
}

struct Shared {
    disk: Arc<dyn Disk>,
    place: Place,
    file: OnceLock<Box<dyn DiskFile>>,
    state: AtomicU8,
    /// Of the first call that failed, as whoever meets it later must name it too.
    cause: OnceLock<std::io::Error>,
    is_directory_synced: AtomicBool,
    /// Bytes handed to the file, and how many of them are safe.
    written: AtomicU64,
    synced: AtomicU64,
}

/// Makes what was written to a journal safe. Clones share one journal, and end with its commit.
#[derive(Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
}

impl Journal {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        place: Place,
        lineage: Lineage,
        start: Start,
    ) -> Journal {
        let shared = Shared {
            disk,
            place,
            file: OnceLock::new(),
            state: AtomicU8::new(OPEN),
            cause: OnceLock::new(),
            is_directory_synced: AtomicBool::new(false),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        };
        let (shared, buffer) = (Arc::new(shared), Vec::new());
        Journal { shared, lineage, start, buffer, written: 0, failure: None, noted: 0 }
    }

    /// Nothing may be written before the first commit: there is no manifest to belong to.
    pub(super) fn refuse_until_committed(&self) {
        self.shared.state.store(TOO_EARLY, Ordering::Release);
    }

    /// Has it be written in another epoch than the snapshot's. It is empty yet.
    pub(super) fn begin_in(&mut self, epoch: Epoch) {
        assert_eq!(self.size(), 0, "an epoch is said before the first record");
        self.start.epoch = epoch;
    }

    /// Puts a record in the buffer. A full buffer is handed to the file; if that fails, the next write says so.
    pub fn append(&mut self, record: &Record<'_>) {
        self.frame(|out| encoding::put(out, record));
    }

    /// Puts an intent in the buffer without gathering its records first. Their order gives them their places.
    pub fn append_intent<'r>(
        &mut self,
        batch: BatchNumber,
        operation: Operation,
        records: impl IntoIterator<Item = IntentRecord<'r>>,
    ) {
        self.frame(|out| encoding::put_intent(out, batch, operation, records));
    }

    /// Makes sure that there is a file, and makes all that was appended safe. Blocks. How many bytes are safe then.
    ///
    /// # Errors
    /// As [`Journal::write`] and [`Syncer::sync`].
    pub fn begin(&mut self) -> Result<u64, Error> {
        if self.size() == 0 {
            self.put_head();
        }
        self.write()?;
        self.syncer().sync()?;
        Ok(self.synced())
    }

    /// Bytes that are safe from a power cut, at least.
    pub fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// Hands the buffer to the file. Safe from a kill afterwards, not from a power cut.
    ///
    /// # Errors
    /// The file cannot be written, or an earlier write or sync failed.
    pub fn write(&mut self) -> Result<(), Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        self.shared.check()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.note_synced();
        let shared = &self.shared;
        if shared.file.get().is_none() {
            let file = shared.disk.create(shared.place.file()).map_err(|e| shared.fail(e))?;
            // Only this journal sets it.
            let _ = shared.file.set(file);
        }
        let file = shared.file.get().expect("it was set above");
        file.append(&self.buffer).map_err(|error| shared.fail(error))?;
        self.written += self.buffer.len() as u64;
        shared.written.store(self.written, Ordering::Release);
        self.buffer.clear();
        Ok(())
    }

    /// What makes written records safe. It does not keep the journal from being written meanwhile.
    pub fn syncer(&self) -> Syncer {
        Syncer { shared: Arc::clone(&self.shared) }
    }

    /// Bytes in the file and in the buffer.
    pub fn size(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes and syncs all of it, ends it, and opens the file for reading; `None` where nothing was ever appended.
    pub(super) fn close(&mut self) -> Result<Option<Box<dyn DiskView>>, Error> {
        if self.size() == 0 {
            if self.shared.state.load(Ordering::Acquire) == FAILED {
                self.shared.check()?;
            }
            self.shared.state.store(COMMITTED, Ordering::Release);
            return Ok(None);
        }
        self.write()?;
        self.syncer().sync()?;
        self.shared.state.store(COMMITTED, Ordering::Release);
        let place = &self.shared.place;
        let file = self.shared.disk.open(place.file()).map_err(|error| place.io(error))?;
        if file.size().map_err(|error| place.io(error))? != self.written {
            return Err(place.damaged("it does not hold what was written to it"));
        }
        Ok(Some(file))
    }

    /// Whoever reads the journal after a crash must tell damage from what was never safe.
    fn note_synced(&mut self) {
        let synced = self.synced();
        if synced > self.noted {
            self.noted = synced;
            self.frame_next(|out| encoding::put_synced(out, synced));
        }
    }

    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.shared.state.load(Ordering::Acquire) == FAILED {
            // Nothing of it will ever be written.
            return;
        }
        if self.size() == 0 {
            self.put_head();
        }
        self.frame_next(write);
        if self.buffer.len() >= MOST_BUFFERED && self.failure.is_none() {
            self.failure = self.write().err();
        }
    }

    fn put_head(&mut self) {
        frame::put_file_header(&mut self.buffer, FileKind::Journal, self.lineage);
        let start = self.start;
        self.frame_next(|out| encoding::put_start(out, &start));
    }

    fn frame_next(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = frame::begin(&mut self.buffer);
        write(&mut self.buffer);
        frame::end(&mut self.buffer, start, self.written + start as u64);
    }
}

impl Syncer {
    /// Returns when everything written before the call is safe, the file's name included. Blocks.
    ///
    /// # Errors
    /// It may not be safe; the journal takes nothing more. Also when the journal was committed meanwhile.
    pub fn sync(&self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.check()?;
        let Some(file) = shared.file.get().filter(|_| !points::is_planted("sync_removed")) else {
            return Ok(());
        };
        let written = shared.written.load(Ordering::Acquire);
        file.sync().map_err(|error| shared.fail(error))?;
        if !shared.is_directory_synced.load(Ordering::Acquire) {
            shared.disk.sync_directory().map_err(|error| shared.fail(error))?;
            shared.is_directory_synced.store(true, Ordering::Release);
        }
        // Another thread's sync may have failed meanwhile and have taken the error with it.
        shared.check()?;
        shared.synced.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }
}

/// The same error once more.
fn again(error: &std::io::Error) -> std::io::Error {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    }
}

impl Shared {
    fn check(&self) -> Result<(), Error> {
        let what = match self.state.load(Ordering::Acquire) {
            OPEN => return Ok(()),
            COMMITTED => "its journal was committed, and another one has begun",
            TOO_EARLY => "the first commit must come before the first intent",
            _ => match self.cause.get() {
                Some(cause) => return Err(self.place.io(again(cause))),
                None => "an earlier write or sync of its journal failed",
            },
        };
        Err(self.place.halted(what))
    }

    fn fail(&self, error: std::io::Error) -> Error {
        // The first one stands.
        let _ = self.cause.set(again(&error));
        self.state.store(FAILED, Ordering::Release);
        self.place.io(error)
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("start", &self.start).field("size", &self.size()).finish()
    }
}

impl std::fmt::Debug for Syncer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syncer").field("journal", &self.shared.place.file()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::FRAME_HEADER;
    use super::super::memory_disk::MemoryDisk;
    use super::super::scan::Scan;
    use super::*;

    const LINEAGE: Lineage = Lineage(5);
    const KEY: &[u8] = b"key";

    fn place() -> Place {
        Place::new("s", "journal-3")
    }

    fn journal(disk: &MemoryDisk) -> Journal {
        let start = Start { generation: 3, fence: 2, epoch: Epoch(1) };
        Journal::new(Arc::new(disk.clone()), place(), LINEAGE, start)
    }

    /// What is read from a file of these bytes.
    fn scan(bytes: &[u8], lineage: Lineage, generation: u64) -> Result<Scan, Error> {
        let disk = MemoryDisk::new();
        disk.put("journal-3", bytes.to_vec());
        Scan::read(&place(), lineage, generation, disk.open("journal-3").unwrap(), 0)
    }

    fn three_records() -> Vec<u8> {
        let disk = MemoryDisk::new();
        let mut journal = journal(&disk);
        for _ in 0..3 {
            journal.append(&Record::Forget { key: KEY });
        }
        let file = journal.close().unwrap().unwrap();
        file.read_at(0, usize::try_from(file.size().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_synced_record_survives_a_power_cut_with_its_file() {
        let disk = MemoryDisk::new();
        let mut journal = journal(&disk);
        journal.write().unwrap();
        assert!(!disk.exists("journal-3").unwrap());
        journal.append(&Record::Forget { key: KEY });
        journal.write().unwrap();
        journal.syncer().sync().unwrap();
        journal.append(&Record::Clear { key: KEY });
        journal.write().unwrap();
        disk.crash();
        let bytes = disk.read("journal-3").unwrap();
        let scan = scan(&bytes, LINEAGE, 3).unwrap();
        assert_eq!((scan.records, scan.dropped), (1, 0));
        assert_eq!(scan.start.map(|start| start.fence), Some(2));
    }

    #[test]
    fn after_a_failed_sync_or_write_every_call_fails() {
        for failing in [1, 2, 3] {
            let disk = MemoryDisk::new();
            let mut journal = journal(&disk);
            journal.append(&Record::Forget { key: KEY });
            let syncer = journal.syncer();
            disk.fail_at(failing, false);
            assert!(journal.write().and_then(|()| syncer.sync()).is_err());
            // Whoever comes later names the file and the cause as well.
            assert!(matches!(syncer.sync(), Err(Error::Io { .. })));
            assert!(matches!(journal.write(), Err(Error::Io { .. })));
            assert!(journal.close().is_err());
        }
    }

    #[test]
    fn many_records_that_nobody_writes_take_no_more_memory_than_a_full_buffer() {
        let disk = MemoryDisk::new();
        let mut journal = journal(&disk);
        let records = 3 * MOST_BUFFERED / 21;
        for _ in 0..records {
            journal.append(&Record::Clear { key: KEY });
            assert!(journal.buffer.len() < MOST_BUFFERED);
        }
        assert!(disk.size("journal-3").unwrap() > 2 * MOST_BUFFERED as u64);
        let file = journal.close().unwrap().unwrap();
        let scan = Scan::read(&place(), LINEAGE, 3, file, 0).unwrap();
        assert_eq!(scan.records, records as u64);
    }

    #[test]
    fn a_full_buffer_that_cannot_be_written_is_told_at_the_next_write_and_grows_no_more() {
        let disk = MemoryDisk::new();
        let mut journal = journal(&disk);
        disk.fail_at(0, false);
        for _ in 0..3 * MOST_BUFFERED / 21 {
            journal.append(&Record::Clear { key: KEY });
        }
        assert!(journal.buffer.len() < MOST_BUFFERED + 100);
        assert!(matches!(journal.write(), Err(Error::Io { .. })));
        assert!(matches!(journal.write(), Err(Error::Io { .. })));
        assert!(journal.close().is_err());
    }

    #[test]
    fn a_syncer_ends_with_its_journal() {
        let disk = MemoryDisk::new();
        let mut journal = journal(&disk);
        let syncer = journal.syncer();
        syncer.sync().unwrap();
        assert!(journal.close().unwrap().is_none());
        assert!(matches!(syncer.sync(), Err(Error::Halted { .. })));
    }

    #[test]
    fn a_cut_leaves_the_records_before_it() {
        let bytes = three_records();
        let size = (bytes.len() - 36 - 16 - 21) / 3;
        let first = bytes.len() - 3 * size;
        for length in 0..=bytes.len() {
            let scan = scan(&bytes[..length], LINEAGE, 3).unwrap();
            let records = length.saturating_sub(first) / size;
            assert_eq!(scan.records, records as u64);
            let kept = match scan.start {
                Some(_) => first + records * size,
                None => 0,
            };
            assert_eq!(scan.dropped, (length - kept) as u64, "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_where_it_was_known_to_be_synced_and_a_torn_tail_elsewhere() {
        let disk = MemoryDisk::new();
        let mut journal = journal(&disk);
        for _ in 0..2 {
            journal.append(&Record::Forget { key: KEY });
        }
        journal.write().unwrap();
        journal.syncer().sync().unwrap();
        let synced = disk.read("journal-3").unwrap().len();
        for _ in 0..2 {
            journal.append(&Record::Forget { key: KEY });
        }
        journal.write().unwrap();
        let bytes = disk.read("journal-3").unwrap();
        let size = FRAME_HEADER + 1 + 1 + KEY.len();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let scan = scan(&flipped, LINEAGE, 3);
            if at < synced {
                assert!(matches!(scan, Err(Error::Damaged { .. })), "{at}");
                continue;
            }
            // What follows the flipped record is dropped with it, whole or not.
            let kept = ((at - synced) / size).min(2);
            let scan = scan.unwrap();
            let dropped = bytes.len() - synced - kept * size;
            assert_eq!((scan.records, scan.dropped), (2 + kept as u64, dropped as u64), "{at}");
        }
    }

    #[test]
    fn another_lineage_another_generation_and_an_unknown_record_are_refused() {
        let mut bytes = three_records();
        let read = |lineage, generation| scan(&bytes, lineage, generation).unwrap_err();
        assert!(matches!(read(Lineage(6), 3), Error::Foreign { .. }));
        assert!(matches!(read(LINEAGE, 4), Error::Damaged { .. }));
        let (start, offset) = (frame::begin(&mut bytes), bytes.len() as u64 - 16);
        bytes.push(77);
        frame::end(&mut bytes, start, offset);
        let scan = scan(&bytes, LINEAGE, 3).unwrap();
        assert_eq!(scan.records, 4);
        assert!(matches!(place().fault(scan.fault.unwrap()), Error::Newer { .. }));
    }
}
