//! The journal's records, to bytes and back.
//!
//! Format of a frame's payload in a journal; `bytes` have their length before them as a varint, and lists go on to
//! the end of the payload:
//!
//! ```text
//! 0 start     generation:u64 fence:u64 epoch:u32                   the first frame, and only that
//! 1 intent    batch:varint operation:u8 (key:bytes fingerprint:u128 number:varint)*
//! 2 accepted  batch:varint job:bytes
//! 3 receipt   batch:varint at:i64 (start:varint end:varint verdict)*
//!             verdict: 0 delivered | 1 rejected after_unknown:u8 code:bytes message:bytes | 2 not applied | 3 unknown
//! 4 repeated  key:bytes
//! 5 forget    key:bytes
//! 6 clear     key:bytes
//! 7 hold      key:bytes run:u64
//! 8 waive     key:bytes fingerprint:u128 epoch:u32
//! 9 back      key:bytes
//! 10 synced    offset:u64                                          the bytes before it were safe when this was written
//! ```
//!
//! A kind or verdict that this build does not know is an error.

use std::ops::Range;

use super::error::Fault;
use super::record::{IntentRecord, Record};
use crate::domain::codec::{Bytes, put_bytes, put_varint};
use crate::domain::entry::{Operation, Verdict, Waiver};
use crate::domain::extras;
use crate::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};

pub(super) const DAMAGED: Fault = Fault::Damaged("a record cannot be read");

const START: u8 = 0;
const INTENT: u8 = 1;
const ACCEPTED: u8 = 2;
const RECEIPT: u8 = 3;
const REPEATED: u8 = 4;
const FORGET: u8 = 5;
const CLEAR: u8 = 6;
const HOLD: u8 = 7;
const WAIVE: u8 = 8;
const BACK: u8 = 9;
const SYNCED: u8 = 10;

/// Bytes of a payload that says how much was synced.
pub(super) const SYNCED_SIZE: usize = 9;

/// What a journal says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub generation: u64,
    pub fence: u64,
    pub epoch: Epoch,
}

/// One record as it lies in the buffer; an intent's records are not gathered.
#[derive(Debug)]
pub(super) enum Raw<'a> {
    Start(Start),
    /// Of the journal's own making: how much of it was synced. See scan.rs.
    Synced(u64),
    Intent {
        batch: BatchNumber,
        operation: Operation,
        records: IntentRecords<'a>,
    },
    Accepted {
        batch: BatchNumber,
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "asynchronous APIs will ask the job for its results")
        )]
        job: &'a str,
    },
    Receipt {
        batch: BatchNumber,
        at: Instant,
        verdicts: Vec<(Range<u32>, Verdict)>,
    },
    Key {
        key: &'a [u8],
        #[cfg_attr(not(test), expect(dead_code, reason = "it is read again once it is folded"))]
        change: Change,
    },
}

/// What a record of one key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Repeated,
    Forget,
    Clear,
    Hold(RunId),
    Waive(Waiver),
    Back,
}

/// The operations of an intent, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntentRecords<'a>(pub Bytes<'a>);

impl<'a> Iterator for IntentRecords<'a> {
    type Item = Result<IntentRecord<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = intent_record(&mut self.0);
        if record.is_none() {
            self.0.rest = &[];
        }
        Some(record.ok_or(DAMAGED))
    }
}

fn intent_record<'a>(bytes: &mut Bytes<'a>) -> Option<IntentRecord<'a>> {
    Some(IntentRecord {
        key: bytes.bytes()?,
        fingerprint: bytes.u128()?,
        number: IntentNumber(bytes.varint()?),
    })
}

pub(super) fn is_intent(payload: &[u8]) -> bool {
    payload.first() == Some(&INTENT)
}

pub(super) fn put_start(out: &mut Vec<u8>, start: &Start) {
    out.push(START);
    out.extend_from_slice(&start.generation.to_le_bytes());
    out.extend_from_slice(&start.fence.to_le_bytes());
    out.extend_from_slice(&start.epoch.0.to_le_bytes());
}

pub(super) fn put_intent<'r>(
    out: &mut Vec<u8>,
    batch: BatchNumber,
    operation: Operation,
    records: impl IntoIterator<Item = IntentRecord<'r>>,
) {
    out.push(INTENT);
    put_varint(out, batch.0);
    out.push(extras::operation_number(operation));
    for record in records {
        put_bytes(out, record.key);
        out.extend_from_slice(&record.fingerprint.to_le_bytes());
        put_varint(out, record.number.0);
    }
}

pub(super) fn put_synced(out: &mut Vec<u8>, offset: u64) {
    out.push(SYNCED);
    out.extend_from_slice(&offset.to_le_bytes());
}

/// The offset of a payload that says how much was synced; `None` for any other payload.
pub(super) fn synced(payload: &[u8]) -> Option<u64> {
    match read(payload) {
        Ok(Raw::Synced(offset)) => Some(offset),
        _ => None,
    }
}

pub(super) fn put(out: &mut Vec<u8>, record: &Record<'_>) {
    let put_key = |out: &mut Vec<u8>, kind, key| {
        out.push(kind);
        put_bytes(out, key);
    };
    match record {
        Record::Intent { batch, operation, records } => {
            put_intent(out, *batch, *operation, records.iter().copied());
        }
        Record::Accepted { batch, job } => {
            out.push(ACCEPTED);
            put_varint(out, batch.0);
            put_bytes(out, job.as_bytes());
        }
        Record::Receipt { batch, at, verdicts } => {
            out.push(RECEIPT);
            put_varint(out, batch.0);
            out.extend_from_slice(&at.0.to_le_bytes());
            for (places, verdict) in verdicts {
                put_varint(out, u64::from(places.start));
                put_varint(out, u64::from(places.end));
                put_verdict(out, verdict);
            }
        }
        Record::Repeated { key } => put_key(out, REPEATED, key),
        Record::Forget { key } => put_key(out, FORGET, key),
        Record::Clear { key } => put_key(out, CLEAR, key),
        Record::Back { key } => put_key(out, BACK, key),
        Record::Hold { key, run } => {
            put_key(out, HOLD, key);
            out.extend_from_slice(&run.0.to_le_bytes());
        }
        Record::Waive { key, waiver } => {
            put_key(out, WAIVE, key);
            extras::put_waiver(out, waiver);
        }
    }
}

pub(super) fn put_verdict(out: &mut Vec<u8>, verdict: &Verdict) {
    match verdict {
        Verdict::Delivered => out.push(0),
        Verdict::Rejected { code, message, after_unknown } => {
            out.push(1);
            out.push(u8::from(*after_unknown));
            put_bytes(out, code.as_bytes());
            put_bytes(out, message.as_bytes());
        }
        Verdict::NotApplied => out.push(2),
        Verdict::Unknown => out.push(3),
    }
}

/// Reads one payload whose checksum was found right.
pub(super) fn read(payload: &[u8]) -> Result<Raw<'_>, Fault> {
    let mut bytes = Bytes::new(payload);
    let kind = bytes.u8().ok_or(DAMAGED)?;
    if kind > SYNCED {
        return Err(Fault::Newer("it has a record of an unknown kind"));
    }
    if kind == RECEIPT {
        return receipt(&mut bytes);
    }
    let record = read_known(kind, &mut bytes).ok_or(DAMAGED)?;
    // An intent's records are checked as they are iterated over.
    if !bytes.is_empty() && kind != INTENT {
        return Err(DAMAGED);
    }
    Ok(record)
}

fn read_known<'a>(kind: u8, bytes: &mut Bytes<'a>) -> Option<Raw<'a>> {
    Some(match kind {
        START => Raw::Start(Start {
            generation: bytes.u64()?,
            fence: bytes.u64()?,
            epoch: Epoch(bytes.u32()?),
        }),
        SYNCED => Raw::Synced(bytes.u64()?),
        INTENT => {
            let batch = BatchNumber(bytes.varint()?);
            let operation = extras::operation(bytes.u8()?)?;
            Raw::Intent { batch, operation, records: IntentRecords(*bytes) }
        }
        ACCEPTED => Raw::Accepted { batch: BatchNumber(bytes.varint()?), job: bytes.text()? },
        _ => {
            let (key, change) = key_record(kind, bytes)?;
            Raw::Key { key, change }
        }
    })
}

/// Takes a record of one key off the front; its kind was taken before.
pub(super) fn key_record<'a>(kind: u8, bytes: &mut Bytes<'a>) -> Option<(&'a [u8], Change)> {
    let key = bytes.bytes()?;
    let change = match kind {
        REPEATED => Change::Repeated,
        FORGET => Change::Forget,
        CLEAR => Change::Clear,
        BACK => Change::Back,
        HOLD => Change::Hold(RunId(bytes.u64()?)),
        WAIVE => Change::Waive(extras::read_waiver(bytes)?),
        _ => return None,
    };
    Some((key, change))
}

fn receipt<'a>(bytes: &mut Bytes<'a>) -> Result<Raw<'a>, Fault> {
    let batch = BatchNumber(bytes.varint().ok_or(DAMAGED)?);
    let at = Instant(bytes.i64().ok_or(DAMAGED)?);
    let mut verdicts = Vec::new();
    while !bytes.is_empty() {
        let start = bytes.varint_u32().ok_or(DAMAGED)?;
        let end = bytes.varint_u32().ok_or(DAMAGED)?;
        verdicts.push((start..end, verdict(bytes)?));
    }
    Ok(Raw::Receipt { batch, at, verdicts })
}

/// Takes a verdict off the front.
pub(super) fn verdict(bytes: &mut Bytes<'_>) -> Result<Verdict, Fault> {
    Ok(match bytes.u8().ok_or(DAMAGED)? {
        0 => Verdict::Delivered,
        1 => rejected(bytes).ok_or(DAMAGED)?,
        2 => Verdict::NotApplied,
        3 => Verdict::Unknown,
        _ => return Err(Fault::Newer("it has a verdict of an unknown kind")),
    })
}

fn rejected(bytes: &mut Bytes<'_>) -> Option<Verdict> {
    Some(Verdict::Rejected {
        after_unknown: bytes.bool()?,
        code: bytes.text()?.to_owned(),
        message: bytes.text()?.to_owned(),
    })
}

#[cfg(test)]
impl<'a> Raw<'a> {
    /// The record as the journal was given it; `None` for what a journal says of itself.
    pub fn gather(self) -> Result<Option<Record<'a>>, Fault> {
        Ok(Some(match self {
            Raw::Start(_) | Raw::Synced(_) => return Ok(None),
            Raw::Intent { batch, operation, records } => {
                Record::Intent { batch, operation, records: records.collect::<Result<_, _>>()? }
            }
            Raw::Accepted { batch, job } => Record::Accepted { batch, job },
            Raw::Receipt { batch, at, verdicts } => Record::Receipt { batch, at, verdicts },
            Raw::Key { key, change } => match change {
                Change::Repeated => Record::Repeated { key },
                Change::Forget => Record::Forget { key },
                Change::Clear => Record::Clear { key },
                Change::Back => Record::Back { key },
                Change::Hold(run) => Record::Hold { key, run },
                Change::Waive(waiver) => Record::Waive { key, waiver },
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_comes_back_and_no_cut_of_it_is_the_same() {
        let key = b"k".as_slice();
        let rejected =
            Verdict::Rejected { code: "422".into(), message: "no".into(), after_unknown: true };
        let intent = IntentRecord { key, fingerprint: 7, number: IntentNumber(300) };
        let waiver = Waiver { fingerprint: 9, epoch: Epoch(2) };
        let batch = BatchNumber(200);
        for record in [
            Record::Intent { batch, operation: Operation::Delete, records: vec![intent; 3] },
            Record::Accepted { batch, job: "j" },
            Record::Receipt {
                batch,
                at: Instant(-5),
                verdicts: vec![
                    (0..300, Verdict::Delivered),
                    (300..301, rejected),
                    (301..302, Verdict::NotApplied),
                    (302..303, Verdict::Unknown),
                ],
            },
            Record::Repeated { key },
            Record::Forget { key },
            Record::Clear { key },
            Record::Back { key },
            Record::Hold { key, run: RunId(4) },
            Record::Waive { key, waiver },
        ] {
            let mut out = Vec::new();
            put(&mut out, &record);
            let back = |bytes| read(bytes).and_then(Raw::gather);
            assert_eq!(back(&out).as_ref(), Ok(&Some(record.clone())));
            for length in 0..out.len() {
                assert_ne!(back(&out[..length]).as_ref(), Ok(&Some(record.clone())));
            }
        }
        assert!(matches!(read(&[11]), Err(Fault::Newer(_))));
        assert!(matches!(read(&[]), Err(Fault::Damaged(_))));
    }
}
