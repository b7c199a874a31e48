//! Reads a journal for the second time, and takes it apart by key: each record's touches of keys, with what the attempts
//! came to.
//!
//! Not responsible for what the touches mean (fold.rs).

use super::encoding::{self, Raw};
use super::error::Error;
use super::frame::FRAME_HEADER;
use super::frames;
use super::ledger::Outcome;
use super::partitions::Partitions;
use super::scan::Scan;
use super::touches;
use crate::domain::entry::{Doubt, Verdict};
use crate::domain::key;
use crate::points::is_planted;

/// Adds all touches of a journal. It is not open for writing any more.
///
/// # Errors
/// A record cannot be read, or a disk fails.
pub(super) fn gather(scan: &Scan, into: &mut Partitions<'_>) -> Result<(), Error> {
    let place = &scan.place;
    if let Some(fault) = scan.fault {
        return Err(place.fault(fault));
    }
    let mut outcomes = Outcomes::new(scan);
    let mut frames = scan.frames();
    while let Some(frame) = frames.next().map_err(|error| place.io(error))? {
        match encoding::read(frame.payload).map_err(|fault| place.fault(fault))? {
            Raw::Intent { batch, operation, records } => {
                let outcome = outcomes.next()?;
                for (index, record) in (0..).zip(records) {
                    let record = record.map_err(|fault| place.fault(fault))?;
                    let intent = Doubt {
                        operation,
                        fingerprint: record.fingerprint,
                        number: record.number,
                        batch,
                        index,
                        is_repeated: false,
                        is_spent: false,
                    };
                    let (verdict, at) = outcome.of(index);
                    into.add(key::hash(record.key), |out| {
                        touches::put_attempt(out, record.key, &intent, verdict, at);
                    })?;
                }
            }
            Raw::Key { key, .. } => {
                into.add(key::hash(key), |out| out.extend_from_slice(frame.payload))?;
            }
            Raw::Start(_) | Raw::Synced(_) | Raw::Accepted { .. } | Raw::Receipt { .. } => {}
        }
    }
    if frames.at() < scan.end {
        return Err(place.damaged(format_args!("a record is not whole after byte {}", frames.at())));
    }
    into.close()
}

/// What an intent without a receipt came to.
fn unanswered() -> Verdict {
    match () {
        () if is_planted("snapshot_before_receipt") => Verdict::Delivered,
        () if is_planted("no_intent") => Verdict::NotApplied,
        () => Verdict::Unknown,
    }
}

/// The outcomes of a journal's intents, in its order.
struct Outcomes<'s> {
    scan: &'s Scan,
    /// The number of the next intent.
    intent: u64,
    /// Of that one and those behind it; see [`super::ledger::Ledger::receipts`].
    receipts: &'s [(u64, u64)],
}

impl<'s> Outcomes<'s> {
    fn new(scan: &'s Scan) -> Outcomes<'s> {
        Outcomes { scan, intent: 0, receipts: scan.ledger.receipts() }
    }

    fn next(&mut self) -> Result<Outcome, Error> {
        let Scan { place, file, end, ledger, .. } = self.scan;
        let is_delivered = ledger.is_delivered(self.intent);
        let mut outcome =
            Outcome::new(if is_delivered { Verdict::Delivered } else { unanswered() });
        while let Some((&(intent, offset), rest)) = self.receipts.split_first()
            && intent == self.intent
        {
            let damaged = || place.damaged(format_args!("a record is not whole at byte {offset}"));
            let frame = frames::frame_at(file.as_ref(), offset, *end);
            let frame = frame.map_err(|error| place.io(error))?.ok_or_else(damaged)?;
            if let Raw::Receipt { at, verdicts, .. } =
                encoding::read(&frame[FRAME_HEADER..]).map_err(|fault| place.fault(fault))?
            {
                for (places, verdict) in verdicts {
                    outcome.add(places, verdict, at);
                }
            }
            self.receipts = rest;
        }
        self.intent += 1;
        Ok(outcome)
    }
}
