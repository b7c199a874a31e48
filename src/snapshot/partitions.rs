//! Touches of keys on their way from the journal to the fold, apart by ranges of the key hash: so that the touches of one
//! range fit into memory, and each range is read once.
//!
//! Where there is one range, nothing is written. Otherwise what has gathered goes to one temporary file each time that it fills
//! its room: a frame for each range (see frame.rs), whose places stay in memory. The file is never synced, is removed when
//! this value is dropped, and holds nothing that the journal does not: keys and hashes.
//! It has a name and is not encrypted, unlike what goes to `crate::spill`: the journal beside it has the same keys in the clear
//! and no rows, and it goes through `Disk`, so that the fault kit sees each of its calls, and fails each.
//! Guards: touches of a key stay in the order in which they came.

use super::disk::{Disk, DiskFile, DiskView};
use super::error::{Error, Place};
use super::frame::{self, FRAME_HEADER};
use super::names;
use super::touches::{Touches, range_of};
use crate::domain::key::KeyHash;

/// Bytes that the touches of one range take in memory, roughly; two ranges are there at a time. Few in tests, so that all but
/// the smallest journals have several ranges.
const MOST_BYTES: u64 = if cfg!(test) { 256 } else { 32 << 20 };

/// Bytes that are gathered before they are written.
const MOST_HELD: usize = if cfg!(test) { 64 } else { 32 << 20 };

/// Ranges, at most: each has a place in memory.
const MOST_RANGES: u64 = if cfg!(test) { 16 } else { 1 << 10 };

/// Touches by ranges.
#[derive(Debug)]
pub(super) struct Partitions<'d> {
    disk: &'d dyn Disk,
    place: Place,
    ranges: Vec<Gathered>,
    /// Bytes of what is in memory.
    held: usize,
    spill: Option<Spill>,
}

/// The touches of one range.
#[derive(Debug, Default)]
struct Gathered {
    /// Those in memory, behind the room for a frame's header.
    buffer: Vec<u8>,
    /// How many there are in all.
    count: usize,
    /// Where those that were written lie: offset and size of each frame.
    frames: Vec<(u64, usize)>,
}

struct Spill {
    file: Box<dyn DiskFile>,
    written: u64,
    /// For reading.
    view: Option<Box<dyn DiskView>>,
}

impl<'d> Partitions<'d> {
    /// For touches that would take so many bytes of memory, roughly.
    pub fn new(disk: &'d dyn Disk, sync: &str, bytes: u64) -> Partitions<'d> {
        let count = bytes.div_ceil(MOST_BYTES).clamp(1, MOST_RANGES);
        let place = Place::new(sync, names::SPILL);
        let ranges = std::iter::repeat_with(Gathered::default);
        let count = usize::try_from(count).expect("it is at most `MOST_RANGES`");
        Partitions { disk, place, ranges: ranges.take(count).collect(), held: 0, spill: None }
    }

    /// Adds a touch of a key with this hash: what `write` appends.
    ///
    /// # Errors
    /// The disk fails.
    pub fn add(&mut self, hash: KeyHash, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let number = range_of(hash, self.ranges.len() as u64);
        let range = &mut self.ranges[number];
        if range.buffer.is_empty() {
            frame::begin(&mut range.buffer);
        }
        let before = range.buffer.len();
        write(&mut range.buffer);
        range.count += 1;
        self.held += range.buffer.len() - before;
        if self.held >= MOST_HELD && self.ranges.len() > 1 { self.write() } else { Ok(()) }
    }

    /// Nothing is added any more.
    ///
    /// # Errors
    /// The disk fails.
    pub fn close(&mut self) -> Result<(), Error> {
        if self.spill.is_none() {
            return Ok(());
        }
        self.write()?;
        let view = self.disk.open(self.place.file()).map_err(|error| self.place.io(error))?;
        if let Some(spill) = &mut self.spill {
            spill.view = Some(view);
        }
        // The room that they took is needed now for what is read back.
        for range in &mut self.ranges {
            range.buffer = Vec::new();
        }
        Ok(())
    }

    /// How many ranges there are.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Takes the touches of a range out; to be called for each once, after all was added.
    ///
    /// # Errors
    /// The disk fails, or does not hold what was written to it.
    pub fn take(&mut self, number: usize) -> Result<Touches, Error> {
        let count = self.ranges.len() as u64;
        let range = std::mem::take(&mut self.ranges[number]);
        let bytes = match self.spill.as_ref().and_then(|spill| spill.view.as_deref()) {
            Some(view) => self.read(view, &range.frames)?,
            None => {
                let mut bytes = range.buffer;
                bytes.drain(..FRAME_HEADER.min(bytes.len()));
                bytes
            }
        };
        Touches::read(bytes, range.count, count).map_err(|fault| self.place.fault(fault))
    }

    fn read(&self, view: &dyn DiskView, frames: &[(u64, usize)]) -> Result<Vec<u8>, Error> {
        let size = frames.iter().map(|(_, size)| size - FRAME_HEADER).sum();
        let mut bytes = Vec::with_capacity(size);
        for (offset, size) in frames {
            let frame = view.read_at(*offset, *size).map_err(|error| self.place.io(error))?;
            let payload = frame::payload(&frame, *offset);
            let damaged = || self.place.damaged("it does not hold what was written to it");
            bytes.extend_from_slice(payload.ok_or_else(damaged)?);
        }
        Ok(bytes)
    }

    /// Writes what is in memory.
    fn write(&mut self) -> Result<(), Error> {
        let place = &self.place;
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => {
                let file = self.disk.create(place.file()).map_err(|error| place.io(error))?;
                none.insert(Spill { file, written: 0, view: None })
            }
        };
        for Gathered { buffer, frames, .. } in &mut self.ranges {
            if buffer.len() <= FRAME_HEADER {
                continue;
            }
            frame::end(buffer, 0, spill.written);
            spill.file.append(buffer).map_err(|error| place.io(error))?;
            frames.push((spill.written, buffer.len()));
            spill.written += buffer.len() as u64;
            buffer.clear();
        }
        self.held = 0;
        Ok(())
    }
}

impl Drop for Partitions<'_> {
    fn drop(&mut self) {
        if self.spill.is_some() {
            // What is left is removed when the snapshot is opened, and is overwritten before.
            let _ = self.disk.remove(self.place.file());
        }
    }
}

impl std::fmt::Debug for Spill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spill").field("written", &self.written).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::MemoryDisk;
    use super::super::record::Record;
    use super::super::{encoding, fold::Event};
    use super::*;
    use crate::domain::id::RunId;
    use crate::domain::key;

    type Taken = Vec<(Vec<u8>, Vec<Event>)>;

    /// What comes of these numbers of keys, held in one run after the other.
    fn gathered(disk: &MemoryDisk, numbers: &[u32], bytes: u64) -> Result<Taken, Error> {
        let mut partitions = Partitions::new(disk, "s", bytes);
        for (run, number) in (1..).zip(numbers) {
            let key = &number.to_le_bytes();
            let record = Record::Hold { key, run: RunId(run) };
            partitions.add(key::hash(key), |out| encoding::put(out, &record))?;
            let most = partitions.ranges.iter().map(|range| range.buffer.len()).sum::<usize>();
            assert!(partitions.count() == 1 || most < MOST_HELD + 100 + 16 * FRAME_HEADER);
        }
        partitions.close()?;
        let mut taken = Taken::new();
        for number in 0..partitions.count() {
            let touches = partitions.take(number)?;
            for part in 0..touches.parts() {
                touches.visit(part, |_, key, events| {
                    taken.push((key.to_vec(), events.collect()));
                    Ok(())
                })?;
            }
        }
        Ok(taken)
    }

    #[test]
    fn many_ranges_are_as_one_and_leave_no_file_behind() {
        let numbers: Vec<u32> = (0..700).map(|number| number * number % 311).collect();
        let disk = MemoryDisk::new();
        let one = gathered(&disk, &numbers, 0).unwrap();
        assert_eq!(disk.written(), 0, "what fits into memory is not written");
        let hashes: Vec<KeyHash> = one.iter().map(|(key, _)| key::hash(key)).collect();
        assert!(hashes.is_sorted() && one.iter().any(|(_, events)| events.len() > 1));
        for bytes in [MOST_BYTES + 1, 5 * MOST_BYTES, u64::MAX] {
            let disk = MemoryDisk::new();
            assert_eq!(gathered(&disk, &numbers, bytes).unwrap(), one);
            assert!(disk.written() > 700 * 14);
            assert!(disk.list().unwrap().is_empty());
        }
        assert_eq!(gathered(&disk, &[], u64::MAX).unwrap(), []);
    }

    #[test]
    fn what_was_set_aside_and_has_changed_is_damage() {
        let disk = MemoryDisk::new();
        let mut partitions = Partitions::new(&disk, "s", u64::MAX);
        for number in 0..100_u32 {
            let key = &number.to_le_bytes();
            let write = |out: &mut Vec<u8>| encoding::put(out, &Record::Clear { key });
            partitions.add(key::hash(key), write).unwrap();
        }
        let mut bytes = disk.read(names::SPILL).unwrap();
        // A key, which would be another one.
        bytes[FRAME_HEADER + 2] ^= 1;
        disk.put(names::SPILL, bytes);
        // In memory another file is behind the name now.
        let spill = partitions.spill.as_mut().unwrap();
        partitions.held = 0;
        spill.view = Some(disk.open(names::SPILL).unwrap());
        let taken = (0..partitions.count()).map(|number| partitions.take(number));
        assert!(taken.into_iter().any(|taken| matches!(taken, Err(Error::Damaged { .. }))));
    }
}
