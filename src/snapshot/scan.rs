//! Reads a journal back: its start, and the payloads of its whole records, borrowed from one buffer.
//!
//! What was never synced may be lost in a power cut, in parts and in any order: from the first record that is not whole,
//! all is dropped and counted, as no request left on what follows. Guards: a record that is not whole, or a beginning
//! that is lost, is damage where any whole record says that it was synced.

use super::encoding::{self, Raw, Start};
use super::error::{Error, Place};
use super::frame::{self, FILE_HEADER, FRAME_HEADER, FileKind};
use crate::domain::id::Lineage;

/// A journal as read.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    /// `None` where not even the beginning was written in full: then there are no records either.
    pub start: Option<Start>,
    /// One for each record, in order; see encoding.rs.
    pub payloads: Vec<&'a [u8]>,
    /// Bytes of the torn tail.
    pub dropped: u64,
    /// The bytes before it were synced, by the records that were read or by what was known before.
    synced: u64,
}

impl<'a> Scan<'a> {
    /// `synced`: bytes of it that are known to be safe.
    ///
    /// # Errors
    /// It is damaged, foreign or newer.
    pub fn read(
        place: &Place,
        lineage: Lineage,
        generation: u64,
        bytes: &'a [u8],
        synced: u64,
    ) -> Result<Scan<'a>, Error> {
        let mut scan = Scan { start: None, payloads: Vec::new(), dropped: 0, synced };
        if (bytes.len() as u64) < synced {
            return Err(place.damaged(format_args!("it is cut short: {synced} bytes were safe")));
        }
        let mut at = FILE_HEADER;
        match frame::check_file_header(place, FileKind::Journal, bytes, Some(lineage)) {
            Ok(_) => {}
            Err(Error::Damaged { .. }) => return scan.torn(place, bytes, 0),
            Err(error) => return Err(error),
        }
        while at < bytes.len() {
            let Some(payload) = frame::payload(&bytes[at..], at as u64) else {
                // Without the start, what was written is the beginning of a file that was never synced.
                let torn = if scan.start.is_some() { at } else { 0 };
                return scan.torn(place, bytes, torn);
            };
            if scan.start.is_none() {
                scan.start = Some(start(place, generation, payload)?);
            } else if let Some(offset) = encoding::synced(payload) {
                scan.synced = scan.synced.max(offset);
            } else {
                scan.payloads.push(payload);
            }
            at += FRAME_HEADER + payload.len();
        }
        if scan.start.is_none() {
            scan.dropped = bytes.len() as u64;
        }
        Ok(scan)
    }

    /// Whether any request can have left on it.
    pub fn has_intents(&self) -> bool {
        self.payloads.iter().any(|payload| encoding::is_intent(payload))
    }

    fn torn(mut self, place: &Place, bytes: &[u8], at: usize) -> Result<Scan<'a>, Error> {
        let later = frame::payloads_within(&bytes[at..], at as u64).filter_map(encoding::synced);
        if later.fold(self.synced, u64::max) > at as u64 {
            return Err(place.damaged(format_args!("a record is not whole after byte {at}")));
        }
        self.dropped = (bytes.len() - at) as u64;
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
