//! Compaction: several segments become one, so that a lookup asks few of them and forgotten entries take no room.
//!
//! The newest segments are merged, as far back as sizes are comparable, so that each byte is copied a few times in its
//! life and a small commit never copies a large segment. Guards: a commit stands whatever becomes of the compaction behind
//! it; the merged segments are removed only after a manifest without them is safe; tombstones go only when nothing older is
//! left for them to hide.

use super::error::Error;
use super::merge::Merge;
use super::open::{self, Snapshot};
use super::segment::{Segment, Summary};
use super::view::View;
use crate::domain::key::{self, KeyHash};
use std::sync::Arc;

/// More segments than this are merged.
const MOST_SEGMENTS: usize = 8;
/// More segments than this are left only where none could be merged behind runs lately: others wanted the snapshot, or that
/// failed.
const OVERDUE: usize = 2 * MOST_SEGMENTS;
/// A segment is merged with newer ones if it is at most so many times as large as all of them.
const COMPARABLE: u64 = 4;
/// What is smaller counts as this large where sizes are compared, in bytes.
const SMALL: u64 = 64 * 1024;
/// Entries that are merged between two questions whether that is still wanted.
const STRIDE: u64 = 4096;

impl Snapshot {
    /// Whether there is so much to merge that it is not left to the time behind the next run.
    pub fn is_compaction_overdue(&self) -> bool {
        let sizes = self.view.sizes();
        sizes.len() > OVERDUE || is_doubled(&sizes)
    }

    /// Merges segments if there is something to merge; to be called while nothing is in the journal. Whether it did: then there
    /// is a generation more, which differs in nothing else. Ends early, with everything as it was, once `is_wanted` is false.
    ///
    /// # Errors
    /// The disk fails or a file is damaged. What was committed stands, but this value takes no more writes.
    pub fn compact(&mut self, is_wanted: impl Fn() -> bool) -> Result<bool, Error> {
        let Some(first) = first_to_merge(&self.view.sizes()) else {
            return Ok(false);
        };
        if self.is_halted || self.journal.size() > 0 {
            return Err(self.place().halted("there was no commit before the compaction"));
        }
        self.is_halted = true;
        self.check_alone()?;
        let merged = self.merge(first, is_wanted);
        if !matches!(merged, Ok(Merged::Whole(_))) {
            self.remove_unfinished();
        }
        let Merged::Whole(summary) = merged? else {
            self.is_halted = false;
            return Ok(false);
        };
        let mut manifest = self.view.manifest.clone();
        let mut segments = self.view.segments.clone();
        let old: Vec<Arc<Segment>> = segments.drain(first..).collect();
        manifest.segments.truncate(first);
        if let Some(summary) = summary {
            manifest.next_segment = summary.number + 1;
            segments.push(self.open_segment(&summary)?);
            manifest.segments.push(summary);
        }
        // The store knows the manifest of a generation: another one of the same would look like a copy.
        manifest.header.generation = manifest.header.generation.saturating_add(1);
        manifest.journal = manifest.header.generation;
        self.publish(manifest, segments)?;
        for segment in old {
            let name = super::names::segment(segment.summary.number);
            open::remove(self.disk.as_ref(), &self.header().sync, &name)?;
        }
        self.is_halted = false;
        Ok(true)
    }

    fn merge(&self, first: usize, is_wanted: impl Fn() -> bool) -> Result<Merged, Error> {
        let mut merge = Merge::new(&self.view.segments[first..], 0..=KeyHash::MAX)?;
        let mut writer = None;
        for count in 0_u64.. {
            if count.is_multiple_of(STRIDE) && !is_wanted() {
                return Ok(Merged::GivenUp);
            }
            let Some((key, entry)) = merge.current()? else { break };
            if entry.is_some() || first > 0 {
                if writer.is_none() {
                    writer = Some(self.writer()?);
                }
                if let Some(writer) = &mut writer {
                    writer.push(key::hash(key), key, entry.as_ref())?;
                }
            }
            merge.advance()?;
        }
        writer.map(super::segment_writer::Writer::finish).transpose().map(Merged::Whole)
    }
}

/// What became of segments that were to be one.
enum Merged {
    /// `None` where nothing is left.
    Whole(Option<Summary>),
    GivenUp,
}

impl View {
    /// Whether there is something to merge.
    pub fn is_compaction_due(&self) -> bool {
        first_to_merge(&self.sizes()).is_some()
    }

    /// Bytes of the segment into which others are merged behind a commit that adds one of so many bytes, at most; 0 where that
    /// leaves nothing to merge.
    pub fn merged_bytes(&self, added: u64) -> u64 {
        let mut sizes = self.sizes();
        sizes.push(added);
        first_to_merge(&sizes).map_or(0, |first| sizes[first..].iter().sum())
    }

    /// Bytes of each segment, from the oldest to the newest.
    fn sizes(&self) -> Vec<u64> {
        self.manifest.segments.iter().map(|segment| segment.bytes).collect()
    }
}

/// The index of the oldest segment of those to merge; `sizes` in bytes, from the oldest to the newest.
fn first_to_merge(sizes: &[u64]) -> Option<usize> {
    if is_doubled(sizes) {
        return Some(0);
    }
    if sizes.len() <= MOST_SEGMENTS {
        return None;
    }
    let mut first = sizes.len() - 2;
    let mut total: u64 = sizes[first..].iter().sum();
    while first > 0 && sizes[first - 1] <= total.max(SMALL).saturating_mul(COMPARABLE) {
        first -= 1;
        total += sizes[first];
    }
    Some(first)
}

/// Whether what is newer is as large as the oldest segment: much of that is superseded, and counts twice against memory and
/// disk.
fn is_doubled(sizes: &[u64]) -> bool {
    sizes
        .split_first()
        .is_some_and(|(oldest, newer)| *oldest > SMALL && newer.iter().sum::<u64>() >= *oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_segments_are_merged_without_the_large_one() {
        let mut sizes = vec![400_000_000];
        sizes.extend([1000; 7]);
        assert_eq!(first_to_merge(&sizes), None);
        sizes.push(1000);
        assert_eq!(first_to_merge(&sizes), Some(1));
        sizes[1] = 50_000_000;
        assert_eq!(first_to_merge(&sizes), Some(2));
    }

    #[test]
    fn what_is_newer_and_as_large_as_the_oldest_is_merged_into_it() {
        assert_eq!(first_to_merge(&[400_000_000, 300_000_000]), None);
        assert_eq!(first_to_merge(&[400_000_000, 400_000_000]), Some(0));
        assert_eq!(first_to_merge(&[100, 100]), None);
        assert_eq!(first_to_merge(&[]), None);
    }
}
