//! A segment: an immutable file of entries ordered by (hash of the key, key), read block by block.
//!
//! Format:
//!
//! ```text
//! segment = file header, block frames (see block.rs), footer frame, trailer
//! footer  = entries:u64 blocks:u32 (first_hash:u128 offset:u64 length:u32 count:u32) * blocks
//!           offset and length are those of the block's whole frame; the blocks lie one after the other
//! trailer = footer_offset:u64 checksum:u64           XXH3-64 of the 8 bytes before it, seed the trailer's offset
//! ```
//!
//! Tombstones count as entries. The manifest holds each segment's size, entries and the footer's checksum. Among
//! segments the newest wins. Guards: a segment that opens is the one the manifest means; each block is checked when
//! it is read.

use std::io;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::block::Block;
use super::disk::{Disk, DiskView};
use super::error::{Error, Place};
use super::frame::{self, FILE_HEADER, FileKind};
use super::names;
use crate::domain::codec::Bytes;
use crate::domain::entry::Entry;
use crate::domain::id::Lineage;
use crate::domain::key::{self, KeyHash};

pub(super) const TRAILER: usize = 16;

/// What the manifest says of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Its number, which rises and is never used again once a manifest has named it.
    pub number: u64,
    /// Tombstones included.
    pub entries: u64,
    /// The size of the file.
    pub bytes: u64,
    /// That of the footer's frame.
    pub checksum: u64,
}

/// One line of the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub first: KeyHash,
    pub offset: u64,
    pub length: u32,
    pub count: u32,
}

/// A segment that is open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    place: Place,
    file: Box<dyn DiskView>,
    pub summary: Summary,
    pub blocks: Vec<BlockPlace>,
}

impl Segment {
    /// Opens a segment, checking all of it but the blocks.
    pub fn open(
        disk: &dyn Disk,
        sync: &str,
        lineage: Lineage,
        summary: Summary,
    ) -> Result<Segment, Error> {
        let place = Place::new(sync, &names::segment(summary.number));
        let file = disk.open(place.file()).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                place.damaged("the manifest names it, and it is missing")
            } else {
                place.io(error)
            }
        })?;
        let size = file.size().map_err(|error| place.io(error))?;
        if size != summary.bytes {
            let expected = summary.bytes;
            return Err(place.damaged(format_args!("it has {size} of {expected} bytes")));
        }
        let head = file.read_at(0, FILE_HEADER).map_err(|error| place.io(error))?;
        frame::check_file_header(&place, FileKind::Segment, &head, Some(lineage))?;
        let blocks = read_footer(&place, file.as_ref(), &summary)?;
        Ok(Segment { place, file, summary, blocks })
    }

    /// Reads a block; the index is that in `blocks`.
    pub fn block(&self, index: usize) -> Result<Block, Error> {
        let BlockPlace { offset, length, count, .. } = self.blocks[index];
        let bytes =
            self.file.read_at(offset, length as usize).map_err(|error| self.place.io(error))?;
        let payload = frame::payload(&bytes, offset);
        if payload.is_none_or(|payload| payload.len() + frame::FRAME_HEADER != bytes.len()) {
            return Err(self.place.damaged(format_args!("a wrong checksum at byte {offset}")));
        }
        let block = Block::parse(bytes).map_err(|fault| self.place.fault(fault))?;
        if block.count() != count as usize || block.count() == 0 {
            return Err(self.place.damaged("a block does not have the entries it should"));
        }
        Ok(block)
    }

    /// The entry at a place of a block of this segment.
    #[inline]
    pub fn entry(&self, block: &Block, at: usize) -> Result<Option<Entry>, Error> {
        block.entry(at).map_err(|fault| self.place.fault(fault))
    }

    /// Entries of the blocks that can hold keys of this range, tombstones included.
    pub fn entries_at_most(&self, range: &RangeInclusive<KeyHash>) -> usize {
        let first = self.block_of(*range.start()).unwrap_or(0);
        let end = self.blocks.partition_point(|block| block.first <= *range.end());
        let blocks = self.blocks.get(first..end).unwrap_or_default();
        blocks.iter().map(|block| block.count as usize).sum()
    }

    /// The one block that can hold keys of this hash.
    pub fn block_of(&self, hash: KeyHash) -> Option<usize> {
        self.blocks.partition_point(|block| block.first <= hash).checked_sub(1)
    }
}

fn read_footer(
    place: &Place,
    file: &dyn DiskView,
    summary: &Summary,
) -> Result<Vec<BlockPlace>, Error> {
    let damaged = || place.damaged("its footer does not add up");
    let trailer_offset = summary.bytes.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
    let trailer = file.read_at(trailer_offset, TRAILER).map_err(|error| place.io(error))?;
    let mut fields = Bytes::new(&trailer);
    let (offset, checksum) = (fields.u64(), fields.u64());
    if checksum != Some(xxh3_64_with_seed(&trailer[..8], trailer_offset)) {
        return Err(place.damaged("the checksum of its end is wrong"));
    }
    let offset = offset.unwrap_or_default();
    let length = trailer_offset.checked_sub(offset).and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(damaged)?;
    let bytes = file.read_at(offset, length).map_err(|error| place.io(error))?;
    let payload = frame::payload(&bytes, offset)
        .filter(|payload| payload.len() + frame::FRAME_HEADER == length)
        .ok_or_else(|| place.damaged("the checksum of its footer is wrong"))?;
    if Bytes::new(&bytes[8..]).u64() != Some(summary.checksum) {
        return Err(place.damaged("it is not the file that the manifest names"));
    }
    let blocks = parse_footer(payload, offset, summary.entries);
    blocks.ok_or_else(damaged)
}

/// `None` unless the blocks fill the file from its header to `footer_offset`, in rising order.
fn parse_footer(payload: &[u8], footer_offset: u64, entries: u64) -> Option<Vec<BlockPlace>> {
    let mut fields = Bytes::new(payload);
    let (stated, count) = (fields.u64()?, fields.u32()?);
    let mut blocks: Vec<BlockPlace> = Vec::new();
    let (mut next, mut total) = (FILE_HEADER as u64, 0u64);
    for _ in 0..count {
        let block = BlockPlace {
            first: fields.u128()?,
            offset: fields.u64()?,
            length: fields.u32()?,
            count: fields.u32()?,
        };
        if block.offset != next || blocks.last().is_some_and(|last| last.first >= block.first) {
            return None;
        }
        next = next.checked_add(u64::from(block.length))?;
        total = total.checked_add(u64::from(block.count))?;
        blocks.push(block);
    }
    let adds_up = fields.is_empty() && next == footer_offset && total == stated && total == entries;
    adds_up.then_some(blocks)
}

/// Looks keys up in one segment. Keys that come in rising order cost each block once.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    segment: &'a Segment,
    block: Option<(usize, Block)>,
    /// The search begins here: the last key looked up in this block was at or after it.
    position: usize,
}

impl<'a> Probe<'a> {
    pub fn new(segment: &'a Segment) -> Probe<'a> {
        Probe { segment, block: None, position: 0 }
    }

    /// `None`: this segment does not know the key. `Some(None)`: it knows that it is forgotten.
    /// Hashes must not fall from call to call.
    pub fn find(&mut self, hash: KeyHash, key: &[u8]) -> Result<Option<Option<Entry>>, Error> {
        let Some(index) = self.segment.block_of(hash) else {
            return Ok(None);
        };
        let block = match self.block.take() {
            Some((loaded, block)) if loaded == index => block,
            _ => {
                self.position = 0;
                self.segment.block(index)?
            }
        };
        let is_before = |at: usize| (key::hash(block.key(at)), block.key(at)) < (hash, key);
        self.position = gallop(self.position, block.count(), is_before);
        let is_found = self.position < block.count() && block.key(self.position) == key;
        let entry = match is_found {
            true => Some(self.segment.entry(&block, self.position)?),
            false => None,
        };
        self.block = Some((index, block));
        Ok(entry)
    }
}

/// The first place from `start` for which `is_before` does not hold, in steps that double and then halve.
pub(super) fn gallop(start: usize, end: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (start, 1);
    while low < end && is_before((low + step - 1).min(end - 1)) {
        low = (low + step).min(end);
        step *= 2;
    }
    let mut high = (low + step - 1).min(end);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galloping_finds_the_first_place_not_before() {
        for end in 0..40 {
            for answer in 0..=end {
                for start in 0..=answer {
                    assert_eq!(gallop(start, end, |at| at < answer), answer);
                }
            }
        }
    }
}
