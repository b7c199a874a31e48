//! The commit: intents and receipts folded into the next generation, atomically.
//!
//! Costs what the journal costs, not what the snapshot costs: prior entries come from the blocks that can hold touched
//! keys, on all cores, and one new segment takes what changed. A journal is read twice, once for what became of each batch
//! (scan.rs, ledger.rs) and once for the touches of keys (gather.rs), which are folded range by range of the key hash
//! (partitions.rs): no more of it is in memory at a time, however long it is. Guards: until the manifest is renamed the old
//! generation and its journal stand; a commit that failed leaves a snapshot that must be opened again; only the journal
//! moves entries.

use std::sync::Arc;

use super::error::{Error, Place};
use super::fold;
use super::gather::gather;
use super::header::Header;
use super::manifest::Manifest;
use super::names;
use super::open::{self, Snapshot};
use super::partitions::Partitions;
use super::scan::Scan;
use super::segment::{Segment, Summary};
use super::segment_writer::Writer;
use super::touches::Touches;
use super::view::View;
use crate::domain::entry::Entry;
use crate::domain::id::{BatchNumber, Epoch};
use crate::domain::key::KeyHash;
use crate::points::{self, Point};
use crate::shutdown::{beside, on_all_cores};

/// Parts that are folded before any of them is written.
const WAVE: usize = 8;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Bytes of the new segment and manifest.
    pub written_bytes: u64,
    /// How many entries the destination now holds or may hold.
    pub entries: u64,
}

/// What became of a journal.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// `None` where no entry changed.
    pub segment: Option<Summary>,
    pub intents: u64,
    pub in_doubt: u64,
    pub largest_batch: BatchNumber,
    /// Of entries possibly at the destination.
    pub gained: u64,
    pub lost: u64,
}

/// What became of the keys of one part of a journal.
#[derive(Debug, Default)]
struct Part<'a> {
    /// Its counts alone.
    folded: Folded,
    /// Those whose entries changed, in order.
    changed: Vec<Changed<'a>>,
}

/// A key and its entry, `None` where nothing is left of it.
type Changed<'a> = (KeyHash, &'a [u8], Option<Entry>);

impl Snapshot {
    /// Folds the journal, and changes the header in the same step. Lineage, fence, generation and the count of entries
    /// are the snapshot's own: `change` does not move them, and `next_batch` stays beyond the journal's batches. That a run
    /// left nothing to do is over, unless `change` says it.
    ///
    /// # Errors
    /// The disk fails or a file is damaged. Either the old or the new generation stands then, and this value takes
    /// no more writes: open the snapshot again.
    pub fn commit(&mut self, change: impl FnOnce(&mut Header)) -> Result<Committed, Error> {
        if self.is_halted {
            return Err(self.place().halted("an earlier commit failed"));
        }
        self.is_halted = true;
        let file = self.journal.close()?;
        let Header { sync, generation, fence, lineage, .. } = self.header();
        let place = Place::new(sync, &names::journal(*generation));
        let scan =
            file.map(|file| Scan::read(&place, *lineage, *generation, file, 0)).transpose()?;
        let is_ours = |scan: &Scan| scan.start.is_some_and(|start| start.fence == *fence);
        if scan.as_ref().is_some_and(|scan| scan.dropped > 0 || !is_ours(scan)) {
            return Err(place.damaged("it does not hold what was written to it"));
        }
        self.check_alone()?;
        points::reached(Point::CommitBegun);
        let (committed, _) = self.commit_scan(scan, change)?;
        self.is_halted = false;
        Ok(committed)
    }

    /// Everything of a commit but the closing of the journal.
    pub(super) fn commit_scan(
        &mut self,
        journal: Option<Scan>,
        change: impl FnOnce(&mut Header),
    ) -> Result<(Committed, Folded), Error> {
        let folded = match &journal {
            None => Folded::default(),
            Some(scan) => self.fold(scan).inspect_err(|_| self.remove_unfinished())?,
        };
        let mut manifest = self.view.manifest.clone();
        let old = self.header();
        manifest.header.at_rest = None;
        change(&mut manifest.header);
        let header = &mut manifest.header;
        header.sync.clone_from(&old.sync);
        header.lineage = old.lineage;
        header.fence = old.fence;
        header.generation = old.generation.saturating_add(1);
        header.entries = (old.entries + folded.gained).saturating_sub(folded.lost);
        header.next_batch = header
            .next_batch
            .max(old.next_batch)
            .max(BatchNumber(folded.largest_batch.0.saturating_add(1)));
        manifest.journal = header.generation;
        let mut written_bytes = 0;
        let mut segments = self.view.segments.clone();
        if let Some(summary) = &folded.segment {
            written_bytes += summary.bytes;
            manifest.next_segment = summary.number + 1;
            manifest.segments.push(summary.clone());
            segments.push(self.open_segment(summary).inspect_err(|_| self.remove_unfinished())?);
        }
        points::reached(Point::SegmentsWritten);
        let entries = manifest.header.entries;
        written_bytes += self.publish(manifest, segments)?;
        points::reached(Point::BeforePruning);
        if let Some(Scan { place, .. }) = journal {
            open::remove(self.disk.as_ref(), place.sync(), place.file())?;
        }
        Ok((Committed { written_bytes, entries }, folded))
    }

    /// Whoever writes beside us has committed, or has not seen our last commit: neither may go on.
    pub(super) fn check_alone(&self) -> Result<(), Error> {
        let found = Manifest::read(self.disk.as_ref(), &self.header().sync)?;
        let found = found.map_or(0, |manifest| manifest.header.generation);
        if found != self.header().generation {
            return Err(self.place().halted("another process has written it"));
        }
        Ok(())
    }

    /// Makes a manifest the current one, on disk and here, with a journal of its own. Returns the bytes written.
    pub(super) fn publish(
        &mut self,
        manifest: Manifest,
        segments: Vec<Arc<Segment>>,
    ) -> Result<u64, Error> {
        let written = manifest.publish(self.disk.as_ref())?;
        self.view = View { manifest, segments };
        self.journal = open::journal(&self.disk, self.header());
        Ok(written)
    }

    pub(super) fn open_segment(&self, summary: &Summary) -> Result<Arc<Segment>, Error> {
        let Header { sync, lineage, .. } = self.header();
        Segment::open(self.disk.as_ref(), sync, *lineage, summary.clone()).map(Arc::new)
    }

    pub(super) fn place(&self) -> Place {
        Place::new(&self.header().sync, names::MANIFEST)
    }

    fn fold(&self, scan: &Scan) -> Result<Folded, Error> {
        let epoch = scan.start.as_ref().map_or(self.header().epoch, |start| start.epoch);
        let mut partitions =
            Partitions::new(self.disk.as_ref(), scan.place.sync(), scan.ledger.bytes);
        gather(scan, &mut partitions)?;
        let mut folded = Folded {
            intents: scan.ledger.intents,
            largest_batch: scan.ledger.largest_batch,
            ..Folded::default()
        };
        let mut writer = None;
        let mut touches = partitions.take(0)?;
        for next in 1..=partitions.count() {
            let take = || (next < partitions.count()).then(|| partitions.take(next)).transpose();
            let fold = || self.fold_range(&touches, epoch, &mut writer, &mut folded);
            let (taken, done) = beside(take, fold);
            done?;
            touches = taken?.unwrap_or_default();
        }
        folded.segment = writer.map(Writer::finish).transpose()?;
        Ok(folded)
    }

    /// Adds what became of the keys of one range to `folded`, and what changed to the segment: a wave of parts is written
    /// while the next one is folded.
    fn fold_range(
        &self,
        touches: &Touches,
        epoch: Epoch,
        writer: &mut Option<Writer>,
        folded: &mut Folded,
    ) -> Result<(), Error> {
        let parts = |wave: usize| wave * WAVE..touches.parts().min((wave + 1) * WAVE);
        let fold = |wave| {
            let parts = parts(wave);
            on_all_cores(parts.len(), |part| self.fold_part(touches, parts.start + part, epoch))
        };
        let mut write = |wave: Vec<Result<Part<'_>, Error>>| -> Result<(), Error> {
            for part in wave {
                let part = part?;
                folded.add(&part.folded);
                self.write(writer, &part.changed)?;
            }
            Ok(())
        };
        let mut wave = fold(0);
        for next in 1..touches.parts().div_ceil(WAVE) {
            let (folded, written) = beside(|| fold(next), || write(wave));
            written?;
            wave = folded;
        }
        write(wave)
    }

    fn fold_part<'a>(
        &self,
        touches: &'a Touches,
        part: usize,
        epoch: Epoch,
    ) -> Result<Part<'a>, Error> {
        let mut probes = self.view.probes();
        let mut folded = Part::default();
        let is_foreign = epoch < self.header().epoch;
        touches.visit(part, |hash, key, events| {
            let before = probes.find(hash, key)?;
            let events = events.map(|event| event.spent(is_foreign));
            let after = fold::fold(before.clone(), events, epoch);
            folded.folded.count(before.as_ref(), after.as_ref());
            if before != after {
                folded.changed.push((hash, key, after));
            }
            Ok(())
        })?;
        Ok(folded)
    }

    /// Adds what changed to the segment, which begins with the first of it.
    fn write(&self, writer: &mut Option<Writer>, changed: &[Changed<'_>]) -> Result<(), Error> {
        for (hash, key, after) in changed {
            if writer.is_none() {
                *writer = Some(self.writer()?);
            }
            if let Some(writer) = writer {
                writer.push(*hash, key, after.as_ref())?;
            }
        }
        Ok(())
    }

    /// Removes the next segment, which no manifest names yet: it is in nobody's way, but takes room.
    pub(super) fn remove_unfinished(&self) {
        let name = names::segment(self.view.manifest.next_segment);
        let _ = open::remove(self.disk.as_ref(), &self.header().sync, &name);
    }

    pub(super) fn writer(&self) -> Result<Writer, Error> {
        let Header { sync, lineage, .. } = self.header();
        Writer::create(self.disk.as_ref(), sync, *lineage, self.view.manifest.next_segment)
    }
}

impl Folded {
    fn count(&mut self, before: Option<&Entry>, after: Option<&Entry>) {
        let is_there = |entry: Option<&Entry>| entry.is_some_and(Entry::is_possibly_at_destination);
        self.gained += u64::from(is_there(after) && !is_there(before));
        self.lost += u64::from(is_there(before) && !is_there(after));
        self.in_doubt += u64::from(after.is_some_and(|entry| entry.doubt.is_some()));
    }

    /// Adds what was counted of other keys.
    fn add(&mut self, other: &Folded) {
        self.gained += other.gained;
        self.lost += other.lost;
        self.in_doubt += other.in_doubt;
    }
}
