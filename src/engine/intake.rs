//! Chunks in, operations out: the one place that knows what has become of each key of this read.
//!
//! Guards: a run has at most one operation per key; a key that comes twice is not sent, and is in doubt if it has
//! left already (design.md §3, Keys). Operations that must wait for the proven end of the read stay here, in the
//! late lane.

use std::collections::HashMap;

use super::reading::Chunk;
use crate::delivery::{Delivery, Item};
use crate::delta::table::Sighting;
use crate::domain::decision::Reason;
use crate::domain::entry::{Fingerprint, Operation};
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::domain::key::{KeyHash, Shown};
use crate::snapshot::journal::Journal;
use crate::snapshot::record::Record;
use crate::store::{RecordNote, Verdict};

/// The late lane's limit in bytes; what does not fit waits for a later run.
const LATE_BYTES: usize = 64 << 20;
/// Names of invalid records that are kept for the report.
const NOTES: usize = 1_000;

/// What became of the key of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pushed,
    Late,
    /// Not to be sent in this run: repeated or unrenderable.
    Blocked,
    /// Repeated after it had left.
    Left,
}

/// An operation that waits for the end of the read.
#[derive(Debug)]
struct Late {
    key: Vec<u8>,
    hash: KeyHash,
    fingerprint: Fingerprint,
    fragment: Vec<u8>,
    target_len: u32,
    /// The batch and place it had, and its number, if it is a repetition.
    repeats: Option<(BatchNumber, u32, IntentNumber)>,
    is_retry: bool,
}

/// Row counts, signed because a second sighting takes back what the first was counted as.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub rows: i64,
    pub unchanged: i64,
    pub waived: i64,
    pub deferred: i64,
    pub upserts: i64,
    pub invalid: i64,
    /// Null and repeated keys among the invalid.
    pub invalid_keys: i64,
}

/// The state of one read.
#[derive(Debug)]
pub struct Intake {
    fates: HashMap<KeyHash, Fate>,
    late: Vec<Late>,
    late_bytes: usize,
    /// Intents below this number are never repeated with their number.
    reuse_floor: IntentNumber,
    pub counts: Counts,
    pub notes: Vec<RecordNote>,
}

impl Intake {
    pub fn new(reuse_floor: IntentNumber) -> Intake {
        Intake {
            fates: HashMap::new(),
            late: Vec::new(),
            late_bytes: 0,
            reuse_floor,
            counts: Counts::default(),
            notes: Vec::new(),
        }
    }

    /// Takes one chunk in; what can be sent now goes to `delivery`.
    pub fn take(&mut self, chunk: &Chunk, delivery: &mut Delivery, journal: &mut Journal) {
        let examined = &chunk.examined;
        self.counts.rows += signed(examined.rows);
        self.counts.unchanged += signed(examined.unchanged);
        self.counts.waived += signed(examined.waived);
        self.counts.deferred += signed(examined.deferred);
        self.counts.upserts += signed(examined.deferred);
        for row in &examined.cleared {
            journal.append(&Record::Clear { key: examined.keys.key(*row) });
        }
        for row in &examined.null_keys {
            self.counts.invalid_keys += 1;
            self.invalid(examined.keys.key(*row), "null_key", "a field of the key is NULL");
        }
        for (row, why) in &chunk.unrenderable {
            self.fates.insert(examined.keys.hash(*row), Fate::Blocked);
            self.invalid(examined.keys.key(*row), "unencodable", why);
        }
        for operation in &chunk.operations {
            self.operation(chunk, operation, delivery, journal);
        }
        for (row, first) in &examined.repeated {
            let (hash, key) = (examined.keys.hash(*row), examined.keys.key(*row));
            self.repeated(hash, key, Some(*first), delivery, journal);
        }
    }

    fn operation(
        &mut self,
        chunk: &Chunk,
        operation: &super::reading::Rendered,
        delivery: &mut Delivery,
        journal: &mut Journal,
    ) {
        let candidate = &operation.candidate;
        let key = chunk.examined.keys.key(candidate.row);
        let hash = chunk.examined.keys.hash(candidate.row);
        match self.fates.get(&hash) {
            None => {}
            // The second sighting came first, from another reader, and has counted itself.
            Some(Fate::Blocked) if candidate.place.is_some() => {
                self.repeated_note(key);
                return;
            }
            Some(_) => return self.repeated(hash, key, None, delivery, journal),
        }
        self.counts.upserts += 1;
        let fragment = &chunk.fragments[operation.fragment.clone()];
        let repeats = candidate
            .doubt
            .filter(|doubt| {
                candidate.reason == Reason::Repetition && doubt.number >= self.reuse_floor
            })
            .map(|doubt| (doubt.batch, doubt.index, doubt.number));
        if candidate.reason == Reason::Fresh || self.late_bytes > LATE_BYTES {
            self.fates.insert(hash, Fate::Pushed);
            let item = Item {
                key,
                key_hash: hash,
                fingerprint: candidate.fingerprint,
                number: repeats.map(|(_, _, number)| number),
                fragment,
                target_len: operation.target_len,
                is_retry: candidate.reason == Reason::RetryOfRejection,
            };
            delivery.push(Operation::Upsert, &item);
        } else {
            self.fates.insert(hash, Fate::Late);
            self.late_bytes += key.len() + fragment.len() + size_of::<Late>();
            self.late.push(Late {
                key: key.to_vec(),
                hash,
                fingerprint: candidate.fingerprint,
                fragment: fragment.to_vec(),
                target_len: operation.target_len,
                repeats,
                is_retry: candidate.reason == Reason::RetryOfRejection,
            });
        }
    }

    /// A row whose key was met before; `first` is what the snapshot's table says of the first row, if it knows.
    fn repeated(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        first: Option<Sighting>,
        delivery: &mut Delivery,
        journal: &mut Journal,
    ) {
        self.repeated_note(key);
        let fate = self.fates.get(&hash).copied();
        match (fate, first) {
            (Some(Fate::Blocked | Fate::Left), _) => {}
            (Some(Fate::Late), _) => {
                self.late.retain(|late| late.hash != hash);
                self.take_back_operation(hash);
            }
            (Some(Fate::Pushed), _) => {
                if delivery.withdraw(hash) {
                    self.take_back_operation(hash);
                } else {
                    self.fates.insert(hash, Fate::Left);
                    journal.append(&Record::Repeated { key });
                }
            }
            (None, first) => {
                self.fates.insert(hash, Fate::Blocked);
                match first {
                    Some(Sighting::Unchanged) => self.counts.unchanged -= 1,
                    Some(Sighting::Waived) => self.counts.waived -= 1,
                    Some(Sighting::Deferred) => {
                        self.counts.deferred -= 1;
                        self.counts.upserts -= 1;
                    }
                    // The first row is still on its way here and will count itself as invalid.
                    Some(Sighting::Operation) | None => return,
                }
                self.count_invalid_key();
            }
        }
    }

    fn take_back_operation(&mut self, hash: KeyHash) {
        self.fates.insert(hash, Fate::Blocked);
        self.counts.upserts -= 1;
        self.count_invalid_key();
    }

    fn count_invalid_key(&mut self) {
        self.counts.invalid += 1;
        self.counts.invalid_keys += 1;
    }

    fn repeated_note(&mut self, key: &[u8]) {
        self.counts.invalid_keys += 1;
        self.invalid(key, "repeated_key", "the key comes more than once in this read");
    }

    fn invalid(&mut self, key: &[u8], code: &str, message: &str) {
        self.counts.invalid += 1;
        if self.notes.len() < NOTES {
            self.notes.push(RecordNote {
                key: Shown(key).to_string(),
                verdict: Verdict::Invalid,
                operation: None,
                code: Some(code.to_owned()),
                message: Some(message.to_owned()),
            });
        }
    }

    /// After the proven end: the late lane, as groups to be sent one after the other, repetitions in their old batches
    /// first, retries of rejections last.
    pub fn late_groups(&mut self) -> Vec<Group> {
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|late| {
            let place = late.repeats.map(|(batch, index, _)| (batch, index));
            (late.is_retry, place.is_none(), place)
        });
        let mut groups: Vec<Group> = Vec::new();
        for late in late {
            let batch = late.repeats.map(|(batch, _, _)| batch);
            match groups.last_mut() {
                Some(group) if group.batch == batch => group.lates.push(late),
                _ => groups.push(Group { batch, lates: vec![late] }),
            }
        }
        groups
    }

    /// Operations in the late lane, which count as unsent if the run ends before them.
    pub fn late_len(&self) -> usize {
        self.late.len()
    }
}

/// Operations of the late lane that belong together.
#[derive(Debug)]
pub struct Group {
    batch: Option<BatchNumber>,
    lates: Vec<Late>,
}

impl Group {
    pub fn len(&self) -> usize {
        self.lates.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lates.is_empty()
    }

    /// Hands the group over: a repetition as the one batch it was.
    pub fn push(&self, delivery: &mut Delivery) {
        let items: Vec<Item<'_>> = self.lates.iter().map(Late::item).collect();
        if self.batch.is_some() {
            delivery.push_group(Operation::Upsert, &items);
        } else {
            items.into_iter().for_each(|item| delivery.push(Operation::Upsert, &item));
        }
    }
}

impl Late {
    fn item(&self) -> Item<'_> {
        Item {
            key: &self.key,
            key_hash: self.hash,
            fingerprint: self.fingerprint,
            number: self.repeats.map(|(_, _, number)| number),
            fragment: &self.fragment,
            target_len: self.target_len,
            is_retry: self.is_retry,
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("fewer than 2^63 rows")
}
