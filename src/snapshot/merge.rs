//! Several segments read as one, in the order of (hash, key); where several hold a key, the newest wins.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::block::Block;
use super::error::Error;
use super::segment::{Segment, gallop};
use super::view::Stored;
use crate::domain::entry::Entry;
use crate::domain::key::{self, KeyHash};

/// The place reached in one segment.
#[derive(Debug)]
struct Cursor {
    segment: Arc<Segment>,
    index: usize,
    block: Block,
    position: usize,
    /// That of the current key; not kept up while nobody needs it.
    hash: KeyHash,
}

/// A key and its entry, `None` for a tombstone.
type Item<'a> = (&'a [u8], Option<Entry>);

/// A walk over the keys of a range of hashes.
#[derive(Debug)]
pub(super) struct Merge {
    /// Newest first; those at their end are taken out.
    cursors: Vec<Cursor>,
    current: usize,
    /// While the current cursor's hash is below this, it stays the current one.
    limit: Option<KeyHash>,
    last: KeyHash,
    /// Somebody asks for the hash of each key.
    is_hashed: bool,
}

impl Merge {
    /// `segments` from the oldest to the newest.
    pub fn new(segments: &[Arc<Segment>], range: RangeInclusive<KeyHash>) -> Result<Merge, Error> {
        Merge::begin(segments, range, false)
    }

    /// As `new`, with the hash of each key.
    pub fn hashed(
        segments: &[Arc<Segment>],
        range: RangeInclusive<KeyHash>,
    ) -> Result<Merge, Error> {
        Merge::begin(segments, range, true)
    }

    fn begin(
        segments: &[Arc<Segment>],
        range: RangeInclusive<KeyHash>,
        is_hashed: bool,
    ) -> Result<Merge, Error> {
        let (cursors, last) = (Vec::new(), *range.end());
        let mut merge = Merge { cursors, current: 0, limit: None, last, is_hashed };
        for segment in segments.iter().rev() {
            if let Some(cursor) = Cursor::at(segment, *range.start(), merge.last)? {
                merge.cursors.push(cursor);
            }
        }
        merge.choose()?;
        Ok(merge)
    }

    /// The current key; `None` at the end.
    #[inline]
    pub fn current(&self) -> Result<Option<Item<'_>>, Error> {
        let Some(cursor) = self.cursors.get(self.current) else {
            return Ok(None);
        };
        let entry = cursor.segment.entry(&cursor.block, cursor.position)?;
        Ok(Some((cursor.key(), entry)))
    }

    /// That of the current key, in a merge that is hashed; zero at the end.
    #[inline]
    pub fn hash(&self) -> KeyHash {
        debug_assert!(self.is_hashed, "the hashes of this merge are not kept up");
        self.cursors.get(self.current).map_or(0, |cursor| cursor.hash)
    }

    #[inline]
    pub fn advance(&mut self) -> Result<(), Error> {
        let needs_hash = self.needs_hash();
        let has_more = self.cursors[self.current].advance(needs_hash)?;
        self.settle(has_more)
    }

    /// Finds the least key anew if the current cursor has moved to one that may not be it.
    #[inline]
    fn settle(&mut self, has_more: bool) -> Result<(), Error> {
        let hash = self.cursors[self.current].hash;
        if !has_more || hash > self.last {
            self.cursors.remove(self.current);
            return self.choose();
        }
        match self.limit {
            Some(limit) if hash >= limit => self.choose(),
            _ => Ok(()),
        }
    }

    /// Shows the current entry and passes over it, and so on while they are confirmed and nothing else: most are, and this
    /// is the quickest way through them. Where all of a block are so and their keys of one length, they are shown at
    /// once up to where another segment has a key. In a merge that is hashed.
    pub fn pass_plain(&mut self, mut show: impl FnMut(Stored<'_>)) -> Result<(), Error> {
        debug_assert!(self.is_hashed, "the hashes of this merge are not kept up");
        while let Some(cursor) = self.cursors.get_mut(self.current) {
            let bound = self.limit.unwrap_or(KeyHash::MAX).min(self.last);
            let end = cursor.block.count() - 1;
            if let Some(length) = cursor.block.in_stretches() {
                let is_below = |at: usize| key::hash(cursor.block.key(at)) < bound;
                let next = gallop(cursor.position + 1, end + 1, is_below);
                show(Stored::Stretch(cursor.block.stretch(length, cursor.position..next)));
                cursor.position = next - 1;
                self.advance()?;
                continue;
            }
            let is_shown = loop {
                let Some(confirmed) = cursor.block.plain(cursor.position) else { return Ok(()) };
                let key = cursor.block.key(cursor.position);
                show(Stored::Confirmed(cursor.hash, key, confirmed));
                if cursor.position == end {
                    break true;
                }
                cursor.position += 1;
                cursor.hash = key::hash(cursor.key());
                if cursor.hash >= bound {
                    break false;
                }
            };
            match is_shown {
                true => self.advance()?,
                false => self.settle(true)?,
            }
        }
        Ok(())
    }

    fn needs_hash(&self) -> bool {
        self.is_hashed || self.cursors.len() > 1 || self.last != KeyHash::MAX
    }

    /// Finds the least key, and passes over the older entries of the same key.
    fn choose(&mut self) -> Result<(), Error> {
        self.limit = None;
        let least = (0..self.cursors.len()).min_by(|a, b| {
            // `min_by` keeps the first of equals: the newest.
            self.cursors[*a].order().cmp(&self.cursors[*b].order())
        });
        let Some(least) = least else {
            return Ok(());
        };
        let (mut current, mut other) = (least, 0);
        while other < self.cursors.len() {
            if other == current || self.cursors[other].order() != self.cursors[current].order() {
                other += 1;
                continue;
            }
            let cursor = &mut self.cursors[other];
            if !cursor.advance(true)? || cursor.hash > self.last {
                self.cursors.remove(other);
                current -= usize::from(other < current);
            } else {
                other += 1;
            }
        }
        self.current = current;
        let others = self.cursors.iter().enumerate().filter(|(at, _)| *at != current);
        self.limit = others.map(|(_, cursor)| cursor.hash).min();
        Ok(())
    }
}

impl Cursor {
    /// At the first key whose hash is `first` or above, if there is one up to `last`.
    fn at(segment: &Arc<Segment>, first: KeyHash, last: KeyHash) -> Result<Option<Cursor>, Error> {
        if segment.blocks.is_empty() {
            return Ok(None);
        }
        let index = segment.block_of(first).unwrap_or(0);
        let block = segment.block(index)?;
        let hash = key::hash(block.key(0));
        let segment = Arc::clone(segment);
        let mut cursor = Cursor { segment, index, block, position: 0, hash };
        while cursor.hash < first {
            if !cursor.advance(true)? {
                return Ok(None);
            }
        }
        Ok((cursor.hash <= last).then_some(cursor))
    }

    fn key(&self) -> &[u8] {
        self.block.key(self.position)
    }

    fn order(&self) -> (KeyHash, &[u8]) {
        (self.hash, self.key())
    }

    /// False at the segment's end.
    #[inline]
    fn advance(&mut self, needs_hash: bool) -> Result<bool, Error> {
        self.position += 1;
        if self.position == self.block.count() {
            if self.index + 1 == self.segment.blocks.len() {
                return Ok(false);
            }
            self.index += 1;
            self.block = self.segment.block(self.index)?;
            self.position = 0;
        }
        if needs_hash {
            self.hash = key::hash(self.key());
        }
        Ok(true)
    }
}
