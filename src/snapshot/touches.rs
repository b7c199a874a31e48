//! Touches of keys, each one record's word on one key: how they wait to be folded, and by key in the order of segments.
//!
//! Not responsible for what they mean (fold.rs), nor for how many are in memory at a time (partitions.rs). As bytes, one after
//! the other, in the order of the journal:
//!
//! ```text
//! touch = 1 attempt  key:bytes operation:u8 fingerprint:u128 number:varint batch:varint place:varint verdict
//!                    at:i64, where the verdict is rejected: no other looks at the time
//!       | a record of one key as in the journal, kinds 4 to 9; verdicts are those of the journal too, see encoding.rs
//! ```

use prefetch_index::prefetch_index;

use super::encoding::{self, DAMAGED};
use super::error::Fault;
use super::fold::Event;
use crate::domain::codec::{Bytes, put_bytes, put_varint};
use crate::domain::entry::{Doubt, Verdict};
use crate::domain::extras;
use crate::domain::id::{BatchNumber, Instant, IntentNumber};
use crate::domain::key::{self, KeyHash};

/// Touches that are folded in one piece, roughly.
const PART: usize = if cfg!(test) { 16 } else { 1 << 12 };

/// How many touches ahead memory is asked for: they lie anywhere.
const AHEAD: usize = 16;

const ATTEMPT: u8 = 1;

/// Adds an attempt for a key.
pub(super) fn put_attempt(
    out: &mut Vec<u8>,
    key: &[u8],
    intent: &Doubt,
    verdict: &Verdict,
    at: Instant,
) {
    out.push(ATTEMPT);
    put_bytes(out, key);
    out.push(extras::operation_number(intent.operation));
    out.extend_from_slice(&intent.fingerprint.to_le_bytes());
    put_varint(out, intent.number.0);
    put_varint(out, intent.batch.0);
    put_varint(out, u64::from(intent.index));
    encoding::put_verdict(out, verdict);
    if matches!(verdict, Verdict::Rejected { .. }) {
        out.extend_from_slice(&at.0.to_le_bytes());
    }
}

/// Takes one touch off the front.
fn take<'a>(bytes: &mut Bytes<'a>) -> Result<(&'a [u8], Event), Fault> {
    let kind = bytes.u8().ok_or(DAMAGED)?;
    if kind != ATTEMPT {
        let (key, change) = encoding::key_record(kind, bytes).ok_or(DAMAGED)?;
        return Ok((key, Event::Change(change)));
    }
    let (key, intent) = attempt(bytes).ok_or(DAMAGED)?;
    let verdict = encoding::verdict(bytes)?;
    let at = match verdict {
        Verdict::Rejected { .. } => bytes.i64().ok_or(DAMAGED)?,
        _ => 0,
    };
    Ok((key, Event::Attempt { intent, verdict, at: Instant(at) }))
}

fn attempt<'a>(bytes: &mut Bytes<'a>) -> Option<(&'a [u8], Doubt)> {
    let key = bytes.bytes()?;
    let intent = Doubt {
        operation: extras::operation(bytes.u8()?)?,
        fingerprint: bytes.u128()?,
        number: IntentNumber(bytes.varint()?),
        batch: BatchNumber(bytes.varint()?),
        index: bytes.varint_u32()?,
        is_repeated: false,
        is_spent: false,
    };
    Some((key, intent))
}

/// The number of the range that a hash is in, of `count` ranges of one size that are numbered in order.
pub(super) fn range_of(hash: KeyHash, count: u64) -> usize {
    let number = ((hash >> 64) * KeyHash::from(count)) >> 64;
    usize::try_from(number).expect("it is below the count, which fits into memory")
}

/// All touches of some keys.
#[derive(Debug, Default)]
pub(super) struct Touches {
    bytes: Vec<u8>,
    /// By ranges of the key hash, in order; in each in the order of the journal.
    parts: Vec<Vec<Touch>>,
}

/// Where a touch begins.
#[derive(Debug, Clone, Copy)]
struct Touch {
    hash: KeyHash,
    at: usize,
}

impl Touches {
    /// `count` of them, in the order of the journal, of the keys of one range of hashes out of `ranges`.
    pub fn read(bytes: Vec<u8>, count: usize, ranges: u64) -> Result<Touches, Fault> {
        let parts_of_range = count.div_ceil(PART).max(1);
        let room = count / parts_of_range;
        let total = ranges * parts_of_range as u64;
        let mut parts = vec![Vec::new(); parts_of_range];
        let mut rest = Bytes::new(&bytes);
        while !rest.is_empty() {
            let at = bytes.len() - rest.rest.len();
            let (key, _) = take(&mut rest)?;
            let hash = key::hash(key);
            let part = &mut parts[range_of(hash, total) % parts_of_range];
            if part.is_empty() {
                part.reserve(room + room / 8);
            }
            part.push(Touch { hash, at });
        }
        Ok(Touches { bytes, parts })
    }

    /// No key is in two parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Shows the keys of a part in the order of segments, each with its events in the order of the journal.
    pub fn visit<'t, E>(
        &'t self,
        part: usize,
        mut visit: impl FnMut(KeyHash, &'t [u8], &mut dyn Iterator<Item = Event>) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = |touch: &Touch| self.key(touch);
        let mut touches = self.parts[part].clone();
        touches.sort_unstable_by(|a, b| {
            let by_key = || key(a).cmp(key(b));
            a.hash.cmp(&b.hash).then_with(by_key).then_with(|| a.at.cmp(&b.at))
        });
        let mut ahead = touches.iter().skip(AHEAD);
        for same in touches.chunk_by(|a, b| a.hash == b.hash && key(a) == key(b)) {
            for touch in ahead.by_ref().take(same.len()) {
                // It can reach into the next line of the cache.
                prefetch_index(&self.bytes, touch.at);
                prefetch_index(&self.bytes, touch.at + 32);
            }
            let mut events = same.iter().map(|touch| self.event(touch));
            visit(same[0].hash, key(&same[0]), &mut events)?;
        }
        Ok(())
    }

    fn key(&self, touch: &Touch) -> &[u8] {
        // It follows the kind.
        let key = Bytes::new(&self.bytes[touch.at + 1..]).bytes();
        key.expect("it was read once already")
    }

    fn event(&self, touch: &Touch) -> Event {
        let taken = take(&mut Bytes::new(&self.bytes[touch.at..]));
        taken.expect("it was read once already").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::Operation;

    #[test]
    fn parts_together_are_everything_in_order_and_part_no_key() {
        for ranges in [1, 3, 16] {
            let mut by_range = vec![(Vec::new(), 0); usize::try_from(ranges).unwrap()];
            for number in 0..1000_u32 {
                let key = (number % 300).to_le_bytes();
                let intent = Doubt {
                    operation: Operation::Upsert,
                    fingerprint: 0,
                    number: IntentNumber(1),
                    batch: BatchNumber(1),
                    index: number,
                    is_repeated: false,
                    is_spent: false,
                };
                let (bytes, count) = &mut by_range[range_of(key::hash(&key), ranges)];
                put_attempt(bytes, &key, &intent, &Verdict::Delivered, Instant(0));
                *count += 1;
            }
            let (mut last, mut keys, mut places) = (0, 0, 0);
            for (bytes, count) in by_range {
                let touches = Touches::read(bytes, count, ranges).unwrap();
                assert!(touches.parts() >= count / PART && touches.parts() > 1);
                for part in 0..touches.parts() {
                    let visited = touches.visit(part, |hash, key, events| {
                        assert!(hash == key::hash(key) && hash > last);
                        let place = |event: Event| match event {
                            Event::Attempt { intent, .. } => intent.index,
                            Event::Change(_) => unreachable!(),
                        };
                        let found: Vec<u32> = events.map(place).collect();
                        assert!(found.is_sorted_by(|a, b| a < b));
                        (last, keys, places) = (hash, keys + 1, places + found.len());
                        Ok::<(), ()>(())
                    });
                    visited.unwrap();
                }
            }
            assert_eq!((keys, places), (300, 1000));
        }
    }

    #[test]
    fn an_attempt_takes_what_is_said_of_it() {
        let size = |number, batch, index| {
            let (operation, is_repeated, is_spent) = (Operation::Upsert, false, false);
            let (number, batch) = (IntentNumber(number), BatchNumber(batch));
            let fingerprint = 0;
            let intent =
                Doubt { operation, fingerprint, number, batch, index, is_repeated, is_spent };
            let mut bytes = Vec::new();
            put_attempt(&mut bytes, b"nine byte", &intent, &Verdict::Delivered, Instant(0));
            bytes.len()
        };
        assert_eq!(size(10_000_000, 100_000, 99), 37, "README says so of the last of ten million");
        assert_eq!(size(1 << 34, 1 << 27, 9_999), 40, "as much as a run asks the disk for");
    }
}
