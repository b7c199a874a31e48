//! Compaction: several segments become one, so that a lookup asks few of them and forgotten entries take no room.
//!
//! The newest segments are merged, as far back as sizes are comparable, so that each byte is copied a few times in its
//! life and a small commit never copies a large segment. Guards: the merged segments are removed only after a
//! manifest without them is safe; tombstones go only when nothing older is left for them to hide.

use super::error::Error;
use super::merge::Merge;
use super::open::{self, Snapshot};
use super::segment::{Segment, Summary};
use crate::domain::key::{self, KeyHash};
use std::sync::Arc;

/// More segments than this are merged.
const MOST_SEGMENTS: usize = 8;
/// A segment is merged with newer ones if it is at most so many times as large as all of them.
const COMPARABLE: u64 = 4;
/// What is smaller counts as this large where sizes are compared, in bytes.
const SMALL: u64 = 64 * 1024;

impl Snapshot {
    /// Merges if there is something to merge. Returns the bytes written.
    pub(super) fn compact(&mut self) -> Result<u64, Error> {
        let Some(first) = first_to_merge(&self.view.manifest.segments) else {
            return Ok(0);
        };
        let merged = self.merge(first)?;
        let mut manifest = self.view.manifest.clone();
        let mut segments = self.view.segments.clone();
        let old: Vec<Arc<Segment>> = segments.drain(first..).collect();
        manifest.segments.truncate(first);
        let mut written = 0;
        if let Some(summary) = merged {
            written += summary.bytes;
            manifest.next_segment = summary.number + 1;
            segments.push(self.open_segment(&summary)?);
            manifest.segments.push(summary);
        }
        written += self.publish(manifest, segments)?;
        for segment in old {
            let name = super::names::segment(segment.summary.number);
            open::remove(self.disk.as_ref(), &self.header().sync, &name)?;
        }
        Ok(written)
    }

    /// `None` where nothing is left.
    fn merge(&self, first: usize) -> Result<Option<Summary>, Error> {
        let mut merge = Merge::new(&self.view.segments[first..], 0..=KeyHash::MAX)?;
        let mut writer = None;
        while let Some((key, entry)) = merge.current()? {
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
        writer.map(super::segment_writer::Writer::finish).transpose()
    }
}

/// The index of the oldest segment of those to merge; `segments` from the oldest to the newest.
fn first_to_merge(segments: &[Summary]) -> Option<usize> {
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.bytes).collect();
    let (oldest, newer) = sizes.split_first()?;
    if *oldest > SMALL && newer.iter().sum::<u64>() >= *oldest {
        return Some(0);
    }
    if segments.len() <= MOST_SEGMENTS {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[u64]) -> Vec<Summary> {
        let summary = |bytes: &u64| Summary { number: 0, entries: 1, bytes: *bytes, checksum: 0 };
        sizes.iter().map(summary).collect()
    }

    #[test]
    fn small_segments_are_merged_without_the_large_one() {
        let mut sizes = vec![400_000_000];
        sizes.extend([1000; 7]);
        assert_eq!(first_to_merge(&segments(&sizes)), None);
        sizes.push(1000);
        assert_eq!(first_to_merge(&segments(&sizes)), Some(1));
        sizes[1] = 50_000_000;
        assert_eq!(first_to_merge(&segments(&sizes)), Some(2));
    }

    #[test]
    fn what_is_newer_and_as_large_as_the_oldest_is_merged_into_it() {
        assert_eq!(first_to_merge(&segments(&[400_000_000, 300_000_000])), None);
        assert_eq!(first_to_merge(&segments(&[400_000_000, 400_000_000])), Some(0));
        assert_eq!(first_to_merge(&segments(&[100, 100])), None);
        assert_eq!(first_to_merge(&[]), None);
    }
}
