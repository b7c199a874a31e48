//! A snapshot open for writing: what is checked before anything of it is believed, and what a crash left is cleared.
//!
//! Guards: nothing on disk is read as empty unless nothing was ever committed; the journal of an interrupted run is
//! committed before anybody sees the entries; files are removed only after everything was checked.

use std::sync::Arc;

use super::disk::Disk;
use super::encoding::Start;
use super::error::{Error, Place};
use super::header::Header;
use super::journal::Journal;
use super::manifest::Manifest;
use super::names::{self, Name};
use super::scan::Scan;
use super::view::{self, View};
use crate::domain::id::{BatchNumber, Epoch, IntentNumber, Lineage};
use crate::points::is_planted;

/// What the store last knew of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub lineage: Lineage,
    pub generation: u64,
    /// Bytes of the journal of that very generation that are safe at least: 0 while it has not begun, which is known to
    /// the store before the first intent. `None`: nobody wrote it down.
    pub journal: Option<u64>,
}

impl Known {
    /// As `journal`, of the generation that was found. A later one than the store knows has none yet.
    fn journal_of(self, generation: u64) -> Option<u64> {
        self.journal.map(|bytes| if self.generation == generation { bytes } else { 0 })
    }
}

/// What a run that did not commit left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Batches that were about to be sent.
    pub intents: u64,
    /// Keys of the journal that are in doubt after it was folded.
    pub records_in_doubt: u64,
    /// Bytes of the torn end of the journal.
    pub dropped_bytes: u64,
}

/// What a destination is known to hold, open for writing by one process.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) view: View,
    pub(super) journal: Journal,
    /// A commit failed: what is on disk is not known.
    pub(super) is_halted: bool,
    recovered: Option<Recovered>,
}

impl Snapshot {
    /// Opens a sync's snapshot, or begins one where nothing is on disk and `known` is `None`. What it finds is safe from a
    /// power cut when it returns. Writes nothing, unless a run was interrupted: then its journal is committed.
    ///
    /// # Errors
    /// Anything is missing, foreign, older, newer or damaged, or the disk fails.
    pub fn open(disk: Arc<dyn Disk>, sync: &str, known: Option<Known>) -> Result<Snapshot, Error> {
        let Some(mut manifest) = Manifest::read(disk.as_ref(), sync)? else {
            return Self::fresh(disk, sync, known);
        };
        check_known(&manifest.header, known)?;
        // A rename by a process that died may be in memory only: nothing may rest on it before it is safe, and what it
        // replaced may not be removed.
        let place = Place::new(sync, names::MANIFEST);
        disk.sync_directory().map_err(|error| place.io(error))?;
        let leftovers = leftovers(disk.as_ref(), &manifest)?;
        manifest.header.fence = manifest.header.fence.saturating_add(1);
        let safe = known.and_then(|known| known.journal_of(manifest.header.generation));
        if !leftovers.has_journal && safe.is_some_and(|bytes| bytes > 0) {
            let place = Place::new(sync, &names::journal(manifest.header.generation));
            return Err(place.damaged("it is missing, though a run had begun to send"));
        }
        let view = View::load(disk.as_ref(), manifest)?;
        // Before anything is written: a new file may get the name of one that is left over.
        for name in &leftovers.names {
            remove(disk.as_ref(), sync, name)?;
        }
        let journal = journal(&disk, view.header());
        let mut snapshot = Snapshot { disk, view, journal, is_halted: false, recovered: None };
        if leftovers.has_journal {
            snapshot.recover(safe)?;
        }
        Ok(snapshot)
    }

    fn fresh(disk: Arc<dyn Disk>, sync: &str, known: Option<Known>) -> Result<Snapshot, Error> {
        if let Some(stray) = view::stray(disk.as_ref(), sync)? {
            return Err(view::without_manifest(sync, &stray));
        }
        if known.is_some() && !is_planted("missing_snapshot_read_as_empty") {
            return Err(Error::Missing { sync: sync.to_owned() });
        }
        let header = Header {
            sync: sync.to_owned(),
            lineage: Lineage(rand::random()),
            fence: 1,
            generation: 0,
            definition: None,
            epoch: Epoch(0),
            is_epoch_open: false,
            next_batch: BatchNumber(1),
            reuse_floor: IntentNumber(1),
            contents_from: None,
            baseline: None,
            hold: None,
            releases: Vec::new(),
            entries: 0,
            at_rest: None,
            cursor: None,
        };
        let journal = journal(&disk, &header);
        journal.refuse_until_committed();
        let manifest = Manifest { header, segments: Vec::new(), next_segment: 1, journal: 0 };
        let view = View { manifest, segments: Vec::new() };
        Ok(Snapshot { disk, view, journal, is_halted: false, recovered: None })
    }

    /// `safe`: bytes of the journal that are known to be, if that is known.
    fn recover(&mut self, safe: Option<u64>) -> Result<(), Error> {
        let place = Place::new(&self.header().sync, &names::journal(self.header().generation));
        let file = self.disk.open(place.file()).map_err(|error| place.io(error))?;
        let Header { lineage, generation, .. } = *self.header();
        let scan = Scan::read(&place, lineage, generation, file, safe.unwrap_or(0))?;
        if safe == Some(0) && scan.has_intents && !is_planted("older_store_ignored") {
            return Err(Error::OlderStore { sync: place.sync().to_owned() });
        }
        let fence = scan.start.map_or(0, |start| start.fence.saturating_add(1));
        let header = &mut self.view.manifest.header;
        header.fence = header.fence.max(fence);
        let mut recovered =
            Recovered { intents: 0, records_in_doubt: 0, dropped_bytes: scan.dropped };
        // One that the store knows of is missed where it is gone without a commit.
        if scan.records == 0 && safe.is_none_or(|bytes| bytes == 0) {
            remove(self.disk.as_ref(), place.sync(), place.file())?;
            self.journal = journal(&self.disk, self.header());
        } else {
            let (_, folded) = self.commit_scan(Some(scan), |_| {})?;
            recovered.intents = folded.intents;
            recovered.records_in_doubt = folded.in_doubt;
        }
        let is_something = recovered.intents > 0 || recovered.dropped_bytes > 0;
        self.recovered =
            (is_something || generation < self.header().generation).then_some(recovered);
        Ok(())
    }

    /// Has the journal of this generation never have been, if there is one: what it says is not to be folded.
    ///
    /// # Errors
    /// The disk fails.
    pub fn drop_journal(disk: &dyn Disk, sync: &str, generation: u64) -> Result<(), Error> {
        remove(disk, sync, &names::journal(generation))
    }

    /// As [`View::read`]: reads beside a process that may be writing, and writes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn read(disk: &dyn Disk, sync: &str) -> Result<Option<View>, Error> {
        View::read(disk, sync)
    }

    /// Which file the manifest is, as no copy of it is; `None` where that is not known.
    pub fn manifest_identity(&self) -> Option<String> {
        self.disk.identity(names::MANIFEST)
    }

    /// Which file the manifest on `disk` is, if it is of the very generation that is `known`. May be asked beside a process
    /// that is writing.
    ///
    /// # Errors
    /// The manifest is damaged or cannot be read.
    pub fn identity_if_known(
        disk: &dyn Disk,
        sync: &str,
        known: Known,
    ) -> Result<Option<String>, Error> {
        // Before the generation is read: what comes in between makes it a later one.
        let identity = disk.identity(names::MANIFEST);
        let manifest = Manifest::read(disk, sync)?;
        let is_known = manifest.is_some_and(|Manifest { header, .. }| {
            (header.lineage, header.generation) == (known.lineage, known.generation)
        });
        Ok(identity.filter(|_| is_known))
    }

    /// What was left by a run that did not commit, if opening found any.
    pub fn recovered(&self) -> Option<Recovered> {
        self.recovered
    }

    /// What the generation says of itself. The fence is already that of this process.
    pub fn header(&self) -> &Header {
        self.view.header()
    }

    /// The committed generation, for reading; it stays as it is while this snapshot goes on.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What the journal takes until the next commit is said otherwise than the epoch says it: what is delivered of it counts as
    /// confirmed before the epoch, and no number of it is used again. To be called before the first intent.
    pub fn settle_as_foreign(&mut self) {
        let Epoch(epoch) = self.header().epoch;
        self.journal.begin_in(Epoch(epoch.saturating_sub(1)));
    }

    /// Where intents and receipts go until the next commit. Before the very first commit it takes none.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

pub(super) fn journal(disk: &Arc<dyn Disk>, header: &Header) -> Journal {
    let Header { generation, fence, epoch, lineage, .. } = *header;
    let place = Place::new(&header.sync, &names::journal(generation));
    Journal::new(Arc::clone(disk), place, lineage, Start { generation, fence, epoch })
}

/// A file that is already gone is as good as removed.
pub(super) fn remove(disk: &dyn Disk, sync: &str, name: &str) -> Result<(), Error> {
    match disk.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Place::new(sync, name).io(error))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_known(header: &Header, known: Option<Known>) -> Result<(), Error> {
    let Some(known) = known else {
        return Ok(());
    };
    if header.lineage != known.lineage && !is_planted("foreign_file_accepted") {
        let what = format!("its lineage is {}, not {}", header.lineage, known.lineage);
        return Err(Place::new(&header.sync, names::MANIFEST).foreign(what));
    }
    if header.generation < known.generation && !is_planted("older_generation_accepted") {
        return Err(Error::Older {
            sync: header.sync.clone(),
            found: header.generation,
            known: known.generation,
        });
    }
    Ok(())
}

pub(super) struct Leftovers {
    /// The current journal has a file.
    pub has_journal: bool,
    /// Files that nothing refers to any more.
    names: Vec<String>,
}

/// What the manifest does not name. A crash leaves older files and one segment in the making; anything newer proves
/// that the manifest itself is not the latest.
pub(super) fn leftovers(disk: &dyn Disk, manifest: &Manifest) -> Result<Leftovers, Error> {
    let sync = &manifest.header.sync;
    let names = disk.list().map_err(|error| Place::new(sync, ".").io(error))?;
    let mut leftovers = Leftovers { has_journal: false, names: Vec::new() };
    for name in names {
        let (is_needed, is_newer) = match names::parse(&name) {
            None | Some(Name::Manifest) => (true, false),
            Some(Name::Temporary) => (false, false),
            Some(Name::Journal(number)) => {
                leftovers.has_journal |= number == manifest.journal;
                (number == manifest.journal, number > manifest.journal)
            }
            Some(Name::Segment(number)) => {
                let is_named = manifest.segments.iter().any(|segment| segment.number == number);
                (is_named, number > manifest.next_segment)
            }
        };
        if is_newer {
            return Err(Place::new(sync, names::MANIFEST)
                .damaged(format_args!("it is older than `{name}`")));
        }
        if !is_needed {
            leftovers.names.push(name);
        }
    }
    Ok(leftovers)
}
