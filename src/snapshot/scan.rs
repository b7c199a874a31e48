//! Reads a journal for the first time: its start, how far its records are whole, and what became of each batch.
//!
//! What was never synced may be lost in a power cut, in parts and in any order: from the first record that is not whole,
//! all is dropped and counted, as no request left on what follows. Guards: a record that is not whole, or a beginning
//! that is lost, is damage where any whole record says that it was synced; memory does not grow with the journal, but for
//! what the ledger keeps of a batch.

use super::disk::DiskView;
use super::encoding::{self, Raw, SYNCED_SIZE, Start};
use super::error::{Error, Fault, Place};
use super::frame::{self, FILE_HEADER, FileKind};
use super::frames::{self, Frames};
use super::ledger::Ledger;
use crate::domain::id::Lineage;

/// A journal as read once.
#[derive(Debug)]
pub(super) struct Scan {
    pub place: Place,
    pub file: Box<dyn DiskView>,
    /// `None` where not even the beginning was written in full: then there are no records either.
    pub start: Option<Start>,
    /// How many it has, without those that a journal writes of itself.
    pub records: u64,
    /// Whether any request can have left on it.
    pub has_intents: bool,
    /// What the records say of batches; of no use where there is a fault.
    pub ledger: Ledger,
    /// What is wrong with the first whole record that cannot be read.
    pub fault: Option<Fault>,
    /// Where the whole records end.
    pub end: u64,
    /// Bytes of the torn tail.
    pub dropped: u64,
    /// The bytes before it were synced, by the records that were read or by what was known before.
    synced: u64,
}

impl Scan {
    /// `synced`: bytes of it that are known to be safe.
    ///
    /// # Errors
    /// It is damaged, foreign or newer, or cannot be read.
    pub fn read(
        place: &Place,
        lineage: Lineage,
        generation: u64,
        file: Box<dyn DiskView>,
        synced: u64,
    ) -> Result<Scan, Error> {
        let size = file.size().map_err(|error| place.io(error))?;
        if size < synced {
            return Err(place.damaged(format_args!("it is cut short: {synced} bytes were safe")));
        }
        let head = usize::try_from(size).unwrap_or(FILE_HEADER).min(FILE_HEADER);
        let head = file.read_at(0, head).map_err(|error| place.io(error))?;
        let mut scan = Scan {
            place: place.clone(),
            file,
            start: None,
            records: 0,
            has_intents: false,
            ledger: Ledger::default(),
            fault: None,
            end: size,
            dropped: 0,
            synced,
        };
        match frame::check_file_header(place, FileKind::Journal, &head, Some(lineage)) {
            Ok(_) => {}
            Err(Error::Damaged { .. }) => return scan.torn(0),
            Err(error) => return Err(error),
        }
        let whole = scan.read_frames(generation)?;
        if scan.start.is_none() && whole == size {
            scan.dropped = size;
        } else if whole < size {
            // Without the start, what was written is the beginning of a file that was never synced.
            let torn = if scan.start.is_some() { whole } else { 0 };
            return scan.torn(torn);
        }
        scan.ledger.close();
        Ok(scan)
    }

    /// Its frames, the start among them.
    pub fn frames(&self) -> Frames<'_> {
        Frames::new(self.file.as_ref(), FILE_HEADER as u64, self.end)
    }

    /// Takes all whole frames in, and returns where they end.
    fn read_frames(&mut self, generation: u64) -> Result<u64, Error> {
        let place = &self.place;
        let mut frames = Frames::new(self.file.as_ref(), FILE_HEADER as u64, self.end);
        while let Some(frame) = frames.next().map_err(|error| place.io(error))? {
            if self.start.is_none() {
                self.start = Some(start(place, generation, frame.payload)?);
                continue;
            }
            let record = encoding::read(frame.payload);
            if let Ok(Raw::Synced(offset)) = record {
                self.synced = self.synced.max(offset);
                continue;
            }
            self.records += 1;
            self.has_intents |= encoding::is_intent(frame.payload);
            if self.fault.is_none() {
                let taken = record.and_then(|record| self.ledger.take(record, frame.offset));
                self.fault = taken.err();
            }
        }
        Ok(frames.at())
    }

    /// No whole record begins at `at`.
    fn torn(mut self, at: u64) -> Result<Scan, Error> {
        let mut synced = self.synced;
        let note = |payload: &[u8]| synced = encoding::synced(payload).unwrap_or(0).max(synced);
        frames::visit_within(self.file.as_ref(), at, self.end, SYNCED_SIZE, note)
            .map_err(|error| self.place.io(error))?;
        if synced > at {
            let what = format_args!("a record is not whole after byte {at}");
            return Err(self.place.damaged(what));
        }
        self.dropped = self.end - at;
        self.end = at;
        self.ledger.close();
        Ok(self)
    }
}

fn start(place: &Place, generation: u64, payload: &[u8]) -> Result<Start, Error> {
    match encoding::read(payload).map_err(|fault| place.fault(fault))? {
        Raw::Start(start) if start.generation == generation => Ok(start),
        Raw::Start(start) => {
            let found = start.generation;
            Err(place.damaged(format_args!("it is the journal of generation {found}")))
        }
        _ => Err(place.damaged("its start is missing")),
    }
}
