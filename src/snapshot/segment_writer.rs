//! Writes one segment, entry by entry; see segment.rs for the format.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::block::Builder;
use super::disk::{Disk, DiskFile};
use super::error::{Error, Place};
use super::frame::{self, FileKind};
use super::names;
use super::segment::{BlockPlace, Summary};
use crate::domain::codec::short;
use crate::domain::entry::Entry;
use crate::domain::id::Lineage;
use crate::domain::key::KeyHash;

/// A segment in the making. It exists only once a manifest names it.
pub(super) struct Writer {
    place: Place,
    file: Box<dyn DiskFile>,
    number: u64,
    offset: u64,
    entries: u64,
    builder: Builder,
    first: KeyHash,
    last: KeyHash,
    blocks: Vec<BlockPlace>,
    buffer: Vec<u8>,
}

impl Writer {
    pub fn create(
        disk: &dyn Disk,
        sync: &str,
        lineage: Lineage,
        number: u64,
    ) -> Result<Writer, Error> {
        let place = Place::new(sync, &names::segment(number));
        let file = disk.create(place.file()).map_err(|error| place.io(error))?;
        let mut writer = Writer {
            place,
            file,
            number,
            offset: 0,
            entries: 0,
            builder: Builder::default(),
            first: 0,
            last: 0,
            blocks: Vec::new(),
            buffer: Vec::new(),
        };
        frame::put_file_header(&mut writer.buffer, FileKind::Segment, lineage);
        writer.flush()?;
        Ok(writer)
    }

    /// Adds an entry, or with `None` a tombstone. They come in the order of (hash, key).
    pub fn push(&mut self, hash: KeyHash, key: &[u8], entry: Option<&Entry>) -> Result<(), Error> {
        if self.builder.is_full() && hash != self.last {
            self.close_block()?;
        }
        if self.builder.count() == 0 {
            self.first = hash;
        }
        debug_assert!(hash >= self.last, "entries are written in order");
        self.last = hash;
        self.entries += 1;
        self.builder.push(key, entry);
        Ok(())
    }

    /// Writes the rest and syncs the file, not yet the directory.
    pub fn finish(mut self) -> Result<Summary, Error> {
        if self.builder.count() > 0 {
            self.close_block()?;
        }
        let footer = frame::begin(&mut self.buffer);
        self.buffer.extend_from_slice(&self.entries.to_le_bytes());
        self.buffer.extend_from_slice(&short(self.blocks.len()).to_le_bytes());
        for block in &self.blocks {
            self.buffer.extend_from_slice(&block.first.to_le_bytes());
            self.buffer.extend_from_slice(&block.offset.to_le_bytes());
            self.buffer.extend_from_slice(&block.length.to_le_bytes());
            self.buffer.extend_from_slice(&block.count.to_le_bytes());
        }
        let checksum = frame::end(&mut self.buffer, footer, self.offset);
        let trailer = self.buffer.len();
        let trailer_offset = self.offset + trailer as u64;
        self.buffer.extend_from_slice(&self.offset.to_le_bytes());
        let end = xxh3_64_with_seed(&self.buffer[trailer..], trailer_offset);
        self.buffer.extend_from_slice(&end.to_le_bytes());
        self.flush()?;
        self.file.sync().map_err(|error| self.place.io(error))?;
        let Writer { number, entries, offset, .. } = self;
        Ok(Summary { number, entries, bytes: offset, checksum })
    }

    fn close_block(&mut self) -> Result<(), Error> {
        let count = short(self.builder.count());
        let start = frame::begin(&mut self.buffer);
        self.builder.finish(&mut self.buffer);
        frame::end(&mut self.buffer, start, self.offset);
        let length = short(self.buffer.len());
        self.blocks.push(BlockPlace { first: self.first, offset: self.offset, length, count });
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.append(&self.buffer).map_err(|error| self.place.io(error))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
