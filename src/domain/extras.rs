//! What an entry holds besides its confirmed content, as tagged values. Most entries have none of it.
//!
//! Format: `(tag:u8 length:varint value[length])*`, each tag at most once, in rising order:
//!
//! ```text
//! 1 doubt      operation:u8 fingerprint:u128 number:u64 batch:u64 index:u32 is_repeated:u8 is_spent:u8
//! 2 rejection  operation:u8 fingerprint:u128 epoch:u32 attempts:u32 due:i64 code:bytes message:bytes
//! 3 waiver     fingerprint:u128 epoch:u32
//! 4 held       first:u64 last:u64
//! 5 reserved   values captured from answers: (name:bytes value:canonical bytes)*
//! 6 reserved   kept mapped values, for field-level plans and undo: (field:bytes value:canonical bytes)*
//! ```
//!
//! Operations are 0 for upsert and 1 for delete; `bytes` have their length before them as a varint. A tag that
//! this build does not know is an error, never skipped: compaction would lose it.

use super::codec::{Bytes, put_bytes};
use super::entry::{Doubt, Entry, Held, Operation, Rejection, Waiver};
use super::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};

const DOUBT: u8 = 1;
const REJECTION: u8 = 2;
const WAIVER: u8 = 3;
const HELD: u8 = 4;

/// Why bytes are not what an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    Damaged,
    /// A kind that this build does not know.
    Newer,
}

pub fn operation_number(operation: Operation) -> u8 {
    match operation {
        Operation::Upsert => 0,
        Operation::Delete => 1,
    }
}

pub fn operation(number: u8) -> Option<Operation> {
    match number {
        0 => Some(Operation::Upsert),
        1 => Some(Operation::Delete),
        _ => None,
    }
}

/// Writes them with their length before them. `scratch` is emptied first.
pub fn put(out: &mut Vec<u8>, scratch: &mut Vec<u8>, entry: &Entry) {
    scratch.clear();
    if let Some(doubt) = &entry.doubt {
        put_tag(scratch, DOUBT, |value| put_doubt(value, doubt));
    }
    if let Some(rejection) = &entry.rejection {
        put_tag(scratch, REJECTION, |value| put_rejection(value, rejection));
    }
    if let Some(waiver) = &entry.waiver {
        put_tag(scratch, WAIVER, |value| put_waiver(value, waiver));
    }
    if let Some(held) = &entry.held {
        put_tag(scratch, HELD, |value| {
            value.extend_from_slice(&held.first.0.to_le_bytes());
            value.extend_from_slice(&held.last.0.to_le_bytes());
        });
    }
    put_bytes(out, scratch);
}

fn put_tag(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut value = Vec::new();
    write(&mut value);
    out.push(tag);
    put_bytes(out, &value);
}

fn put_doubt(value: &mut Vec<u8>, doubt: &Doubt) {
    value.push(operation_number(doubt.operation));
    value.extend_from_slice(&doubt.fingerprint.to_le_bytes());
    value.extend_from_slice(&doubt.number.0.to_le_bytes());
    value.extend_from_slice(&doubt.batch.0.to_le_bytes());
    value.extend_from_slice(&doubt.index.to_le_bytes());
    value.push(u8::from(doubt.is_repeated));
    value.push(u8::from(doubt.is_spent));
}

fn put_rejection(value: &mut Vec<u8>, rejection: &Rejection) {
    value.push(operation_number(rejection.operation));
    value.extend_from_slice(&rejection.fingerprint.to_le_bytes());
    value.extend_from_slice(&rejection.epoch.0.to_le_bytes());
    value.extend_from_slice(&rejection.attempts.to_le_bytes());
    value.extend_from_slice(&rejection.due.0.to_le_bytes());
    put_bytes(value, rejection.code.as_bytes());
    put_bytes(value, rejection.message.as_bytes());
}

pub fn put_waiver(value: &mut Vec<u8>, waiver: &Waiver) {
    value.extend_from_slice(&waiver.fingerprint.to_le_bytes());
    value.extend_from_slice(&waiver.epoch.0.to_le_bytes());
}

/// Reads what [`put`] wrote, without the length before it, into `entry`.
pub fn read(bytes: &[u8], entry: &mut Entry) -> Result<(), Unreadable> {
    let mut rest = Bytes::new(bytes);
    let mut last = 0;
    while !rest.is_empty() {
        let tag = rest.u8().ok_or(Unreadable::Damaged)?;
        let mut value = Bytes::new(rest.bytes().ok_or(Unreadable::Damaged)?);
        if tag <= last {
            return Err(Unreadable::Damaged);
        }
        last = tag;
        match tag {
            DOUBT => entry.doubt = Some(read_doubt(&mut value).ok_or(Unreadable::Damaged)?),
            REJECTION => {
                entry.rejection = Some(read_rejection(&mut value).ok_or(Unreadable::Damaged)?)
            }
            WAIVER => entry.waiver = Some(read_waiver(&mut value).ok_or(Unreadable::Damaged)?),
            HELD => entry.held = Some(read_held(&mut value).ok_or(Unreadable::Damaged)?),
            _ => return Err(Unreadable::Newer),
        }
        if !value.is_empty() {
            return Err(Unreadable::Damaged);
        }
    }
    Ok(())
}

fn read_doubt(value: &mut Bytes<'_>) -> Option<Doubt> {
    Some(Doubt {
        operation: operation(value.u8()?)?,
        fingerprint: value.u128()?,
        number: IntentNumber(value.u64()?),
        batch: BatchNumber(value.u64()?),
        index: value.u32()?,
        is_repeated: value.bool()?,
        is_spent: value.bool()?,
    })
}

fn read_rejection(value: &mut Bytes<'_>) -> Option<Rejection> {
    Some(Rejection {
        operation: operation(value.u8()?)?,
        fingerprint: value.u128()?,
        epoch: Epoch(value.u32()?),
        attempts: value.u32()?,
        due: Instant(value.i64()?),
        code: value.text()?.to_owned(),
        message: value.text()?.to_owned(),
    })
}

pub fn read_waiver(value: &mut Bytes<'_>) -> Option<Waiver> {
    Some(Waiver { fingerprint: value.u128()?, epoch: Epoch(value.u32()?) })
}

fn read_held(value: &mut Bytes<'_>) -> Option<Held> {
    Some(Held { first: RunId(value.u64()?), last: RunId(value.u64()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tag_is_newer_and_a_cut_is_damage() {
        let entry =
            Entry { held: Some(Held { first: RunId(1), last: RunId(2) }), ..Entry::default() };
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        put(&mut out, &mut scratch, &entry);
        let mut back = Entry::default();
        read(&scratch, &mut back).unwrap();
        assert_eq!(back, entry);
        for length in 1..scratch.len() {
            assert_eq!(read(&scratch[..length], &mut back), Err(Unreadable::Damaged));
        }
        for tag in [5, 6, 200] {
            let mut reserved = scratch.clone();
            reserved.push(tag);
            reserved.push(0);
            assert_eq!(read(&reserved, &mut back), Err(Unreadable::Newer));
        }
    }
}
