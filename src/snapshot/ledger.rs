//! What became of each intent of a journal, by its receipts: a bit for one whose only receipt says that all of it was
//! delivered, and for any other where its receipts lie.
//!
//! Intents are numbered from 0 in the order of the journal; a receipt is of the last intent of its batch before it. One whose
//! intent is not in the journal settles nothing: its keys stay in doubt, which is always safe.
//! Guards: what is kept is a bit for an intent in the plain case, and 16 bytes for any other receipt; and, while the journal
//! is read, a few for each intent that has no receipt yet, for each gap in the numbers of the batches (ours have some: of
//! those from which every record was taken back), and for each intent whose number falls back, as ours do not.

use std::collections::HashMap;
use std::ops::Range;

use super::encoding::{DAMAGED, Raw};
use super::error::Fault;
use crate::domain::codec::short;
use crate::domain::entry::Verdict;
use crate::domain::id::{BatchNumber, Instant};

/// Bytes that one touch of a key takes in memory until it is folded, beyond those that it has in the journal.
const TOUCH: u64 = 64;

/// What is known of the batches of a journal.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How many there are.
    pub intents: u64,
    pub largest_batch: BatchNumber,
    /// About how much memory it would take to gather all touches of keys, in bytes.
    pub bytes: u64,
    /// Those intents that have a higher batch number than all before them.
    rising: Vec<Stretch>,
    /// The last intents of other batches.
    others: HashMap<BatchNumber, u64>,
    /// Intents without a receipt so far, with the number of their places.
    open: HashMap<u64, u32>,
    /// A bit for each intent whose first receipt says that all of it was delivered.
    delivered: Vec<u64>,
    /// All other receipts: the number of the intent, and where in the journal it lies.
    receipts: Vec<(u64, u64)>,
}

/// Intents that follow one another, and so do their batches.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// The first of each.
    batch: BatchNumber,
    intent: u64,
    length: u64,
}

impl Stretch {
    fn is_followed_by(&self, batch: BatchNumber, intent: u64) -> bool {
        let is_next = self.batch.0.checked_add(self.length) == Some(batch.0);
        is_next && intent == self.intent + self.length
    }

    /// The intent of a batch that is one of these.
    fn intent_of(&self, batch: BatchNumber) -> Option<u64> {
        let place = batch.0.checked_sub(self.batch.0).filter(|place| *place < self.length)?;
        Some(self.intent + place)
    }
}

impl Ledger {
    /// `offset`: where in the journal the record lies.
    pub fn take(&mut self, record: Raw<'_>, offset: u64) -> Result<(), Fault> {
        match record {
            Raw::Start(_) | Raw::Synced(_) => return Err(DAMAGED),
            Raw::Intent { batch, records, .. } => {
                let size = records.0.rest.len() as u64;
                let count = records.map(|record| record.map(drop)).try_fold(0, count)?;
                self.bytes = self.bytes.saturating_add(size + TOUCH * u64::from(count));
                self.note_intent(batch, count);
                self.largest_batch = self.largest_batch.max(batch);
            }
            Raw::Accepted { batch, .. } => self.largest_batch = self.largest_batch.max(batch),
            Raw::Receipt { batch, verdicts, .. } => {
                self.largest_batch = self.largest_batch.max(batch);
                if let Some(intent) = self.last_intent(batch) {
                    self.note_receipt(intent, &verdicts, offset);
                }
            }
            Raw::Key { key, .. } => {
                self.bytes = self.bytes.saturating_add(key.len() as u64 + TOUCH);
            }
        }
        Ok(())
    }

    /// There are no more records.
    pub fn close(&mut self) {
        self.rising = Vec::new();
        self.others = HashMap::new();
        self.open = HashMap::new();
        self.receipts.sort_unstable();
    }

    /// Whether the first receipt of the intent says that all of it was delivered.
    pub fn is_delivered(&self, intent: u64) -> bool {
        let (word, bit) = place_of(intent);
        self.delivered.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Where all other receipts lie, with the numbers of their intents, by number and then in the order of the journal.
    pub fn receipts(&self) -> &[(u64, u64)] {
        &self.receipts
    }

    fn note_intent(&mut self, batch: BatchNumber, count: u32) {
        let intent = self.intents;
        match self.rising.last_mut() {
            Some(last) if last.is_followed_by(batch, intent) => last.length += 1,
            Some(last) if batch < last.batch || last.intent_of(batch).is_some() => {
                self.others.insert(batch, intent);
            }
            _ => self.rising.push(Stretch { batch, intent, length: 1 }),
        }
        self.open.insert(intent, count);
        self.intents += 1;
    }

    fn last_intent(&self, batch: BatchNumber) -> Option<u64> {
        // Whatever fell back came after what has its number and did not.
        let rising = || {
            let next = self.rising.partition_point(|stretch| stretch.batch <= batch);
            self.rising[next.checked_sub(1)?].intent_of(batch)
        };
        self.others.get(&batch).copied().or_else(rising)
    }

    fn note_receipt(&mut self, intent: u64, verdicts: &[(Range<u32>, Verdict)], offset: u64) {
        let count = self.open.remove(&intent);
        if let ([(places, Verdict::Delivered)], Some(count)) = (verdicts, count)
            && places.start == 0
            && places.end >= count
        {
            let (word, bit) = place_of(intent);
            if self.delivered.len() <= word {
                self.delivered.resize(word + 1, 0);
            }
            self.delivered[word] |= bit;
            return;
        }
        self.receipts.push((intent, offset));
        for (places, verdict) in verdicts {
            if let Verdict::Rejected { code, message, .. } = verdict {
                let size = TOUCH + (code.len() + message.len()) as u64;
                let touches = u64::from(places.end.saturating_sub(places.start));
                self.bytes = self.bytes.saturating_add(touches.saturating_mul(size));
            }
        }
    }
}

fn count(count: u32, record: Result<(), Fault>) -> Result<u32, Fault> {
    record.map(|()| short(count as usize + 1))
}

fn place_of(intent: u64) -> (usize, u64) {
    (
        usize::try_from(intent / 64).expect("a bit of each intent fits into memory"),
        1 << (intent % 64),
    )
}

/// The verdicts on an intent's places.
#[derive(Debug)]
pub(super) struct Outcome {
    ranges: Vec<(Range<u32>, Verdict, Instant)>,
    /// They overlap or are out of order: the last to name a place wins.
    is_tangled: bool,
    /// On the places that none of them names.
    rest: Verdict,
}

impl Outcome {
    pub fn new(rest: Verdict) -> Outcome {
        Outcome { ranges: Vec::new(), is_tangled: false, rest }
    }

    pub fn add(&mut self, places: Range<u32>, verdict: Verdict, at: Instant) {
        let end = self.ranges.last().map_or(0, |(last, ..)| last.end);
        self.is_tangled |= places.start < end || places.is_empty();
        self.ranges.push((places, verdict, at));
    }

    pub fn of(&self, place: u32) -> (&Verdict, Instant) {
        let found = if self.is_tangled {
            self.ranges.iter().rev().find(|(places, ..)| places.contains(&place))
        } else {
            let at = self.ranges.partition_point(|(places, ..)| places.end <= place);
            self.ranges.get(at).filter(|(places, ..)| places.contains(&place))
        };
        found.map_or((&self.rest, Instant(0)), |(_, verdict, at)| (verdict, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding;
    use super::super::record::{IntentRecord, Record};
    use super::*;
    use crate::domain::entry::Operation;
    use crate::domain::id::IntentNumber;

    /// Takes an intent of so many places, or with a verdict a receipt on these places.
    fn take(
        ledger: &mut Ledger,
        batch: u64,
        places: Range<u32>,
        verdict: Option<Verdict>,
        at: u64,
    ) {
        let batch = BatchNumber(batch);
        let record = IntentRecord { key: b"key", fingerprint: 1, number: IntentNumber(1) };
        let records = vec![record; places.len()];
        let mut bytes = Vec::new();
        encoding::put(
            &mut bytes,
            &match verdict {
                None => Record::Intent { batch, operation: Operation::Upsert, records },
                Some(verdict) => {
                    Record::Receipt { batch, at: Instant(5), verdicts: vec![(places, verdict)] }
                }
            },
        );
        ledger.take(encoding::read(&bytes).unwrap(), at).unwrap();
    }

    #[test]
    fn batches_that_are_delivered_whole_cost_a_bit_each() {
        let mut ledger = Ledger::default();
        for batch in 0..10_000 {
            take(&mut ledger, 70 + batch, 0..3, None, 0);
            if batch >= 8 {
                take(&mut ledger, 70 + batch - 8, 0..3, Some(Verdict::Delivered), 0);
            }
            assert!(ledger.open.len() <= 9 && ledger.others.is_empty());
            assert_eq!(ledger.rising.len(), 1);
        }
        assert_eq!((ledger.intents, ledger.largest_batch), (10_000, BatchNumber(10_069)));
        assert!(ledger.receipts.is_empty() && ledger.delivered.len() <= 10_000 / 64 + 1);
        let delivered = (0..10_000).filter(|intent| ledger.is_delivered(*intent)).count();
        assert_eq!(delivered, 9992);
        assert!(!ledger.is_delivered(9992) && !ledger.is_delivered(1 << 40));
    }

    #[test]
    fn a_gap_in_the_numbers_of_batches_costs_one_entry_and_no_more_for_what_follows() {
        let mut ledger = Ledger::default();
        let number = |intent: u64| 70 + intent + intent / 100 * 3;
        for intent in 0..10_000 {
            take(&mut ledger, number(intent), 0..3, None, 0);
        }
        assert!(ledger.others.is_empty(), "{} entries", ledger.others.len());
        assert_eq!((ledger.intents, ledger.rising.len()), (10_000, 100));
        let intents = (0..10_000).map(|intent| ledger.last_intent(BatchNumber(number(intent))));
        assert!(intents.eq((0..10_000).map(Some)));
        for unused in [0, 69, 170, 172, 275, number(9_999) + 1, u64::MAX] {
            assert_eq!(ledger.last_intent(BatchNumber(unused)), None, "{unused}");
        }
        // One that falls back takes a place among the intents, and no number from those before it.
        take(&mut ledger, 71, 0..3, None, 0);
        let next = number(9_999) + 1;
        take(&mut ledger, next, 0..3, None, 0);
        let found =
            [71, next - 1, next, next + 1].map(|batch| ledger.last_intent(BatchNumber(batch)));
        assert_eq!(found, [Some(10_000), Some(9_999), Some(10_001), None]);
        take(&mut ledger, u64::MAX, 0..3, None, 0);
        take(&mut ledger, u64::MAX, 0..3, None, 0);
        assert_eq!(ledger.last_intent(BatchNumber(u64::MAX)), Some(10_003));
    }

    #[test]
    fn any_other_receipt_is_found_again_with_the_last_intent_of_its_batch_before_it() {
        let mut ledger = Ledger::default();
        for (batch, places, verdict, at) in [
            // Before its intent: it settles nothing.
            (3, 0..2, Some(Verdict::Delivered), 1),
            (3, 0..2, None, 2),
            (4, 0..2, None, 3),
            (4, 0..1, Some(Verdict::Delivered), 4),
            (9, 0..2, None, 5),
            (3, 0..2, None, 6),
            (3, 0..2, Some(Verdict::Delivered), 7),
            (3, 1..2, Some(Verdict::Unknown), 8),
            (9, 0..3, Some(Verdict::Delivered), 9),
            (4, 0..2, Some(Verdict::Delivered), 10),
            (5, 0..2, Some(Verdict::Delivered), 11),
        ] {
            take(&mut ledger, batch, places, verdict, at);
        }
        ledger.close();
        assert_eq!(ledger.receipts(), [(1, 4), (1, 10), (3, 8)]);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|intent| ledger.is_delivered(intent)),
            [false, false, true, true, false]
        );
        assert_eq!(ledger.intents, 4);
    }

    #[test]
    fn the_last_receipt_that_names_a_place_wins_and_unnamed_places_are_as_the_rest() {
        let mut outcome = Outcome::new(Verdict::Unknown);
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
