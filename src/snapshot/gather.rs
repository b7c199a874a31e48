//! Gathers a journal's records by key: the touched keys in the order of segments, each with its events.
//!
//! Not responsible for what the events mean (fold.rs). A large journal is gathered range by range of the key hash: 32 bytes
//! for each touch of one range are held at a time, and keys stay in the journal's buffer.
//! A receipt whose intent is not in the journal settles nothing: the key stays in doubt, which is always safe.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use super::codec::{Bytes, short};
use super::encoding::{self, Change, DAMAGED, IntentRecords, Raw};
use super::error::Fault;
use super::fold::Event;
use crate::domain::entry::{Doubt, Operation, Verdict};
use crate::domain::id::{BatchNumber, Instant};
use crate::domain::key::{self, KeyHash};

/// Touches that are held at a time, roughly; few in tests, so that all of them go through several ranges.
const MOST_TOUCHES: u64 = if cfg!(test) { 100 } else { 1 << 22 };

/// Touches that are folded in one piece, roughly.
const PART: usize = if cfg!(test) { 16 } else { 1 << 12 };

/// A journal by key.
#[derive(Debug)]
pub(super) struct Touched<'a> {
    records: Vec<Gathered<'a>>,
    /// How many times a record touches a key.
    touches: u64,
    pub intents: u64,
    pub largest_batch: BatchNumber,
}

#[derive(Debug)]
enum Gathered<'a> {
    /// Its operations are in `bytes`.
    Intent {
        batch: BatchNumber,
        operation: Operation,
        bytes: &'a [u8],
        outcome: Outcome,
    },
    Key {
        key: &'a [u8],
        change: Change,
    },
    Settled,
}

/// One record's touch of one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    hash: KeyHash,
    record: u32,
    /// In an intent: where the operation begins, and its place in the batch.
    offset: u32,
    place: u32,
}

/// The verdicts on an intent's places.
#[derive(Debug, Default)]
struct Outcome {
    ranges: Vec<(Range<u32>, Verdict, Instant)>,
    /// They overlap or are out of order: the last to name a place wins.
    is_tangled: bool,
}

/// What an intent without a receipt came to.
#[cfg(not(feature = "faults"))]
static UNANSWERED: Verdict = Verdict::Unknown;
#[cfg(feature = "faults")]
static UNANSWERED: std::sync::LazyLock<Verdict> = std::sync::LazyLock::new(|| match () {
    () if crate::points::is_planted("snapshot_before_receipt") => Verdict::Delivered,
    () if crate::points::is_planted("no_intent") => Verdict::NotApplied,
    () => Verdict::Unknown,
});

impl Outcome {
    fn add(&mut self, places: Range<u32>, verdict: Verdict, at: Instant) {
        let end = self.ranges.last().map_or(0, |(last, ..)| last.end);
        self.is_tangled |= places.start < end || places.is_empty();
        self.ranges.push((places, verdict, at));
    }

    fn of(&self, place: u32) -> (&Verdict, Instant) {
        let found = if self.is_tangled {
            self.ranges.iter().rev().find(|(places, ..)| places.contains(&place))
        } else {
            let at = self.ranges.partition_point(|(places, ..)| places.end <= place);
            self.ranges.get(at).filter(|(places, ..)| places.contains(&place))
        };
        found.map_or((&UNANSWERED, Instant(0)), |(_, verdict, at)| (verdict, *at))
    }
}

impl<'a> Touched<'a> {
    pub fn gather(payloads: &[&'a [u8]]) -> Result<Touched<'a>, Fault> {
        let mut touched = Touched {
            records: Vec::with_capacity(payloads.len()),
            touches: 0,
            intents: 0,
            largest_batch: BatchNumber(0),
        };
        let mut latest: HashMap<BatchNumber, usize> = HashMap::new();
        for payload in payloads {
            touched.add(encoding::read(payload)?, &mut latest)?;
        }
        Ok(touched)
    }

    fn add(&mut self, raw: Raw<'a>, latest: &mut HashMap<BatchNumber, usize>) -> Result<(), Fault> {
        let gathered = match raw {
            Raw::Start(_) | Raw::Synced(_) => return Err(DAMAGED),
            Raw::Intent { batch, operation, records } => {
                self.intents += 1;
                self.largest_batch = self.largest_batch.max(batch);
                latest.insert(batch, self.records.len());
                let bytes = records.0.rest;
                for record in records {
                    record?;
                    self.touches += 1;
                }
                Gathered::Intent { batch, operation, bytes, outcome: Outcome::default() }
            }
            Raw::Accepted { batch, .. } => {
                self.largest_batch = self.largest_batch.max(batch);
                Gathered::Settled
            }
            Raw::Receipt { batch, at, verdicts } => {
                self.largest_batch = self.largest_batch.max(batch);
                if let Some(intent) = latest.get(&batch)
                    && let Gathered::Intent { outcome, .. } = &mut self.records[*intent]
                {
                    for (places, verdict) in verdicts {
                        outcome.add(places, verdict, at);
                    }
                }
                Gathered::Settled
            }
            Raw::Key { key, change } => {
                self.touches += 1;
                Gathered::Key { key, change }
            }
        };
        self.records.push(gathered);
        Ok(())
    }

    /// Ranges of the key hash, in order, that together hold every key.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<KeyHash>> + use<> {
        let count = KeyHash::from(self.touches.div_ceil(MOST_TOUCHES).max(1));
        let width = KeyHash::MAX / count;
        (0..count).map(move |number| {
            let is_last = number + 1 == count;
            let last = if is_last { KeyHash::MAX } else { (number + 1) * width - 1 };
            number * width..=last
        })
    }

    /// Replaces `touches` by those of the keys of a range, ordered by (hash, key, place in the journal).
    pub fn gather_range(&self, range: &RangeInclusive<KeyHash>, touches: &mut Vec<Touch>) {
        touches.clear();
        let expected = self.touches.min(MOST_TOUCHES);
        let room = expected + expected / 16;
        touches.reserve(usize::try_from(room).expect("a few million"));
        let mut add = |touch: Touch| {
            if range.contains(&touch.hash) {
                touches.push(touch);
            }
        };
        for (record, gathered) in self.records.iter().enumerate() {
            let record = short(record);
            match gathered {
                Gathered::Intent { bytes, .. } => {
                    let mut operations = IntentRecords(Bytes::new(bytes));
                    for place in 0.. {
                        let offset = short(bytes.len() - operations.0.rest.len());
                        let Some(Ok(operation)) = operations.next() else { break };
                        add(Touch { hash: key::hash(operation.key), record, offset, place });
                    }
                }
                Gathered::Key { key, .. } => {
                    add(Touch { hash: key::hash(key), record, offset: 0, place: 0 });
                }
                Gathered::Settled => {}
            }
        }
        touches.sort_unstable_by(|a, b| {
            a.hash
                .cmp(&b.hash)
                .then_with(|| touch_key(&self.records, a).cmp(touch_key(&self.records, b)))
                .then_with(|| (a.record, a.place).cmp(&(b.record, b.place)))
        });
    }

    /// The keys of gathered touches in the order of segments.
    pub fn keys<'t>(&'t self, touches: &'t [Touch]) -> impl Iterator<Item = TouchedKey<'t, 'a>> {
        let same = |a: &Touch, b: &Touch| {
            a.hash == b.hash && touch_key(&self.records, a) == touch_key(&self.records, b)
        };
        touches.chunk_by(same).map(|touches| TouchedKey {
            hash: touches[0].hash,
            key: touch_key(&self.records, &touches[0]),
            journal: self,
            touches,
        })
    }

    fn event(&self, touch: &Touch) -> Event<'_> {
        match &self.records[touch.record as usize] {
            Gathered::Intent { batch, operation, bytes, outcome } => {
                let record = operation_at(bytes, touch.offset);
                let (verdict, at) = outcome.of(touch.place);
                let intent = Doubt {
                    operation: *operation,
                    fingerprint: record.fingerprint,
                    number: record.number,
                    batch: *batch,
                    index: touch.place,
                    is_repeated: false,
                    is_spent: false,
                };
                Event::Attempt { intent, verdict, at }
            }
            Gathered::Key { change, .. } => Event::Change(*change),
            Gathered::Settled => unreachable!("only intents and records of one key touch keys"),
        }
    }
}

/// Cuts gathered touches into parts; no key is in two of them.
pub(super) fn parts(touches: &[Touch]) -> Vec<&[Touch]> {
    let (mut parts, mut rest) = (Vec::new(), touches);
    while !rest.is_empty() {
        let most = rest.len().min(PART);
        let last = rest[most - 1].hash;
        let end = most + rest[most..].partition_point(|touch| touch.hash == last);
        let (part, later) = rest.split_at(end);
        parts.push(part);
        rest = later;
    }
    parts
}

/// One touched key.
#[derive(Debug)]
pub(super) struct TouchedKey<'t, 'a> {
    pub hash: KeyHash,
    pub key: &'a [u8],
    journal: &'t Touched<'a>,
    touches: &'t [Touch],
}

impl<'t> TouchedKey<'t, '_> {
    pub fn events(&self) -> impl Iterator<Item = Event<'t>> {
        let journal = self.journal;
        self.touches.iter().map(|touch| journal.event(touch))
    }
}

fn touch_key<'a>(records: &[Gathered<'a>], touch: &Touch) -> &'a [u8] {
    match &records[touch.record as usize] {
        Gathered::Intent { bytes, .. } => operation_at(bytes, touch.offset).key,
        Gathered::Key { key, .. } => key,
        Gathered::Settled => unreachable!("only intents and records of one key touch keys"),
    }
}

fn operation_at(bytes: &[u8], offset: u32) -> super::record::IntentRecord<'_> {
    IntentRecords(Bytes::new(&bytes[offset as usize..]))
        .next()
        .and_then(Result::ok)
        .expect("it was read once already")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_together_are_everything_and_part_no_key() {
        let hashes = (0..100).flat_map(|hash: KeyHash| (0..=hash % 40).map(move |_| hash));
        let touches: Vec<Touch> =
            hashes.map(|hash| Touch { hash, record: 0, offset: 0, place: 0 }).collect();
        let parts = parts(&touches);
        let sizes: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(sizes, touches.len());
        assert!(parts.windows(2).all(|two| two[0].last().unwrap().hash < two[1][0].hash));
        assert!(parts.iter().all(|part| part.len() < PART + 40) && parts.len() > 20);
    }

    #[test]
    fn the_last_receipt_that_names_a_place_wins_and_unnamed_places_are_unknown() {
        let mut outcome = Outcome::default();
        outcome.add(0..2, Verdict::Delivered, Instant(1));
        outcome.add(3..5, Verdict::NotApplied, Instant(2));
        let verdicts =
            |outcome: &Outcome| [0, 1, 2, 3, 4, 5].map(|place| outcome.of(place).0.clone());
        let (delivered, unknown, not) = (Verdict::Delivered, Verdict::Unknown, Verdict::NotApplied);
        let plain = [&delivered, &delivered, &unknown, &not, &not, &unknown].map(Clone::clone);
        assert_eq!(verdicts(&outcome), plain);
        outcome.add(1..4, Verdict::Unknown, Instant(3));
        let tangled = [&delivered, &unknown, &unknown, &unknown, &not, &unknown].map(Clone::clone);
        assert_eq!(verdicts(&outcome), tangled);
    }
}
