//! Chunks in, operations out: the one place that knows what has become of each key of this read.
//!
//! Guards: a run has at most one operation per key; a key that comes twice is not sent, and is in doubt if it has
//! left already (design.md §3, Keys); one that a pass before the read met twice does not leave before the read's proven
//! end. Operations that must wait for the end of the read stay in the lane, retries for which it has no room in the spill
//! (`put_off`); what may be about a key that was met before, and is not known at once, is put aside (`aside`), unless an
//! operation under the key still waits to be sent. That such a key came twice is not known where a stop or a failed spill comes
//! before it is decided on: then its first row, if it has left, stands as it was answered, and the next read finds the key again.

mod aside;
mod put_off;

use self::aside::Aside;
use self::put_off::PutOff;
use super::fates::{Fate, Fates, Unsure};
use super::late::{Lane, Late};
use super::reading::{Chunk, Rendered};
use crate::delivery::Item;
use crate::delta::examiner::{Invalid, TakenBack};
use crate::delta::repetitions::Repeated;
use crate::delta::table::Sighting;
use crate::destination::definition::Repeat;
use crate::domain::decision::Reason;
use crate::domain::entry::{Fingerprint, Operation};
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::domain::key::{self, KeyHash, Shown};
use crate::domain::tally::Tally;
use crate::points;
use crate::snapshot::record::Record;
use crate::spill::Error;
use crate::store::{RecordNote, Verdict};

/// How many operations ahead memory is asked for: as long as that takes, they are worked on.
const AHEAD: usize = 16;
/// Names of invalid records that are kept for the report.
const NOTES: usize = 1_000;

/// Where operations go, and what is noted of keys.
pub trait Outlet {
    fn push(&mut self, item: &Item<'_>);
    /// Takes the key's operation back; false if it may have left.
    fn withdraw(&mut self, hash: KeyHash, key: &[u8]) -> bool;
    /// Takes the key's operation back if there is one that waits to be sent; whether there was. Where nothing ever leaves, that
    /// can wait until it is known.
    fn recall(&mut self, _hash: KeyHash, _key: &[u8]) -> bool {
        false
    }
    fn note(&mut self, record: &Record<'_>);
}

/// Row counts, signed because a second sighting takes back what the first was counted as.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub rows: i64,
    pub unchanged: i64,
    pub waived: i64,
    pub deferred: i64,
    pub upserts: i64,
    /// Upserts that must wait and for which there was no room, and those that were put aside.
    pub unsent: i64,
    pub invalid: i64,
    /// Null and repeated keys among the invalid.
    pub invalid_keys: i64,
    /// Keys that were found invalid after they had left: they are in doubt, whatever became of their operation.
    pub left: i64,
}

impl Counts {
    /// What is known of a run's tally. A row that was taken back before it was counted, as its chunk was on its way when
    /// the read ended, was not read.
    pub fn tally(mut self) -> Tally {
        let deferred = self.deferred.min(0);
        self.upserts -= deferred;
        for uncounted in [self.unchanged, self.waived, self.upserts, deferred] {
            self.invalid += uncounted.min(0);
        }
        if points::is_planted("row_counted_twice") && self.unchanged > 0 {
            (self.rows, self.unchanged) = (self.rows + 1, self.unchanged + 1);
        }
        let positive = |count: i64| u64::try_from(count).unwrap_or(0);
        Tally {
            rows_read: positive(self.rows),
            unchanged: positive(self.unchanged),
            upserts: positive(self.upserts),
            invalid: positive(self.invalid),
            waived: positive(self.waived),
            deferred: positive(self.deferred),
            unsent: positive(self.unsent),
            ..Tally::default()
        }
    }
}

/// What does not leave before the read's proven end.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Keys that a pass before the read met more than once.
    pub repeated: Repeated,
    /// Repetitions under their number. Only the whole read tells which of a batch there still are, and a part of it would
    /// leave as another batch, which the destination could not know as a repetition.
    pub repetitions: bool,
}

impl Waiting {
    /// What waits where upserts are repeated as `repeat` says. A repetition that cannot harm waits for nothing; nor do those
    /// of a sample, whose rows are chosen one by one, so that there is no whole batch to wait for.
    pub fn of(repeated: Repeated, repeat: Repeat, is_sample: bool) -> Waiting {
        let is_harmless =
            repeat == Repeat::Natural || points::is_planted("repetitions_leave_early");
        Waiting { repeated, repetitions: !is_harmless && !is_sample }
    }
}

/// The state of one read.
#[derive(Debug)]
pub struct Intake {
    fates: Fates,
    pub lane: Lane,
    put_off: PutOff,
    /// Intents below this number are never repeated with their number.
    reuse_floor: IntentNumber,
    waiting: Waiting,
    pub counts: Counts,
    pub notes: Vec<RecordNote>,
}

impl Intake {
    pub fn new(reuse_floor: IntentNumber, waiting: Waiting, fates: Fates) -> Intake {
        let put_off = PutOff::beside(&fates);
        Intake {
            fates,
            lane: Lane::default(),
            put_off,
            reuse_floor,
            waiting,
            counts: Counts::default(),
            notes: Vec::new(),
        }
    }

    /// Takes one chunk in; what can be sent now goes to `outlet`.
    ///
    /// # Errors
    /// There is no room to put anything aside; what should have been is unsent, and stays so.
    pub fn take(&mut self, chunk: &Chunk, outlet: &mut impl Outlet) -> Result<(), Error> {
        self.fates.begin_chunk();
        let examined = &chunk.examined;
        self.counts.rows += signed(examined.rows);
        self.counts.unchanged += signed(examined.unchanged);
        self.counts.waived += signed(examined.waived);
        self.counts.deferred += signed(examined.deferred);
        self.counts.upserts += signed(examined.deferred);
        for row in &examined.cleared {
            outlet.note(&Record::Clear { key: examined.keys.key(*row) });
        }
        for row in &examined.back {
            outlet.note(&Record::Back { key: examined.keys.key(*row) });
        }
        for row in &examined.null_keys {
            self.count_invalid_key();
            self.name(examined.keys.key(*row), "null_key", "a field of the key is NULL");
        }
        for (row, why) in &chunk.unrenderable {
            self.unrenderable(examined.keys.hash(*row), examined.keys.key(*row), why, outlet);
        }
        for (operation, number) in chunk.operations.iter().zip(AHEAD..) {
            if let Some(ahead) = chunk.operations.get(number) {
                self.fates.fetch(examined.keys.hash(ahead.candidate.row));
            }
            self.operation(&Asked::of(chunk, operation, self.reuse_floor), outlet);
        }
        for (row, first) in &examined.repeated {
            let (hash, key) = (examined.keys.hash(*row), examined.keys.key(*row));
            self.repeated(hash, key, Some(*first), outlet);
        }
        for taken_back in &examined.taken_back {
            self.take_back(taken_back, outlet);
        }
        let failure = self.fates.take_failure().or_else(|| self.put_off.take_failure());
        failure.map_or(Ok(()), Err)
    }

    /// Whether a pass before this read met keys of this hash more than once.
    pub fn is_repeated(&self, hash: KeyHash) -> bool {
        self.waiting.repeated.has(hash)
    }

    /// Frees what was remembered of each key, once nothing more is taken in; the counts stay.
    pub fn forget_keys(&mut self) {
        self.fates.forget();
        self.waiting = Waiting::default();
    }

    fn operation(&mut self, asked: &Asked<'_>, outlet: &mut impl Outlet) {
        let Asked { key, hash, fingerprint, repeats, fragment, target_len, .. } = *asked;
        let needs_proof = asked.was_repeated || self.waiting.repeated.has(hash);
        let is_whole_batch = self.waiting.repetitions && repeats.is_some();
        let batch = repeats.map(|(batch, ..)| batch).filter(|_| is_whole_batch);
        let is_full = !self.lane.has_room() || batch.is_some_and(|batch| self.lane.is_cut(batch));
        let comes_again = self.fates.comes_again(hash);
        let fate = match asked.reason {
            _ if comes_again => Fate::Unsent,
            // A batch in doubt leaves only whole, and what is delivered of it does not come again: others find room then.
            Reason::RetryOfRejection if is_whole_batch && is_full => Fate::Unsent,
            Reason::RetryOfRejection if !is_whole_batch && !self.lane.has_room_for_retries() => {
                Fate::PutOff
            }
            _ if needs_proof && is_full => Fate::Unsent,
            _ if needs_proof => Fate::Late,
            Reason::Fresh => Fate::Pushed,
            Reason::Repetition if is_full && is_whole_batch => Fate::Unsent,
            Reason::Repetition if is_full => Fate::Pushed,
            _ => Fate::Late,
        };
        match self.fates.insert_new(hash, key, fate) {
            Ok(true) => {}
            Ok(false) if points::is_planted("repeated_key_sent") => {
                self.fates.insert(hash, key, fate);
            }
            Ok(false) => return self.repeated(hash, key, None, outlet),
            Err(Unsure) if self.recall(hash, key, outlet) => {
                return self.repeated(hash, key, None, outlet);
            }
            Err(Unsure) => return self.put_aside(hash, &Aside::Operation(*asked)),
        }
        self.counts.upserts += 1;
        let is_retry = asked.reason == Reason::RetryOfRejection;
        match fate {
            Fate::Pushed => outlet.push(&asked.item()),
            Fate::PutOff => self.put_off.push(asked, needs_proof),
            Fate::Late => {
                self.lane.push(Late {
                    key: key.to_vec(),
                    hash,
                    fingerprint,
                    fragment: fragment.to_vec(),
                    target_len,
                    repeats,
                    is_retry,
                    needs_proof: needs_proof || is_whole_batch,
                });
            }
            Fate::Unsent | Fate::Unrenderable | Fate::Blocked | Fate::Left => {
                self.counts.unsent += 1;
                if let Some(batch) = batch.filter(|_| !comes_again) {
                    self.lane.cut(batch);
                }
            }
        }
    }

    fn unrenderable(&mut self, hash: KeyHash, key: &[u8], why: &str, outlet: &mut impl Outlet) {
        match self.fates.insert_new(hash, key, Fate::Unrenderable) {
            Ok(true) => {
                self.counts.invalid += 1;
                self.name(key, "unencodable", why);
            }
            Ok(false) => self.repeated(hash, key, None, outlet),
            Err(Unsure) if self.recall(hash, key, outlet) => {
                self.repeated(hash, key, None, outlet);
            }
            Err(Unsure) => self.put_aside(hash, &Aside::Unrenderable(key, why)),
        }
    }

    /// A row whose key was met before; `first` is what the snapshot's table says of the first row, if it knows.
    fn repeated(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        first: Option<Sighting>,
        outlet: &mut impl Outlet,
    ) {
        self.count_invalid_key();
        self.name(key, "repeated_key", "the key comes more than once in this read");
        self.forestall(hash, key, first, outlet);
    }

    /// Keeps what came before under the key of a row that is counted from being sent.
    fn forestall(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        first: Option<Sighting>,
        outlet: &mut impl Outlet,
    ) {
        if self.block(hash, key, first, outlet) == Err(Unsure) {
            self.put_aside(hash, &Aside::Repeated(key, first));
        }
    }

    fn take_back(&mut self, row: &TakenBack, outlet: &mut impl Outlet) {
        let hash = key::hash(&row.key);
        match (self.block(hash, &row.key, row.sighting, outlet), row.why) {
            (Ok(false), _) => {}
            (Ok(true), Invalid::Null) => {
                self.name(&row.key, "null_primary_key", "a column of the primary key is NULL");
            }
            (Ok(true), Invalid::Repeated) => self.name(
                &row.key,
                "repeated_primary_key",
                "its primary key comes more than once in this read",
            ),
            (Err(Unsure), _) => self.put_aside(hash, &Aside::TakenBack(row.clone())),
        }
    }

    /// Keeps the key from being sent, whatever its earlier row has come to; whether that is news. An earlier row that had
    /// not left counts as invalid from now on; `first` is what the snapshot's table says of it.
    ///
    /// # Errors
    /// It is not known what the earlier row has come to, and nothing was done.
    fn block(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        first: Option<Sighting>,
        outlet: &mut impl Outlet,
    ) -> Result<bool, Unsure> {
        let fate = match self.fates.get(hash, key) {
            Err(Unsure) if self.recall(hash, key, outlet) => return Ok(true),
            fate => fate?,
        };
        let counts = &mut self.counts;
        match (fate, first) {
            (Some(Fate::Blocked | Fate::Left), _) => return Ok(false),
            // Counted as invalid already, and now its key is what is wrong.
            (Some(Fate::Unrenderable), _) => {
                self.fates.insert(hash, key, Fate::Blocked);
                self.counts.invalid_keys += 1;
                return Ok(true);
            }
            (Some(Fate::Pushed), _) if !outlet.withdraw(hash, key) => {
                self.fates.insert(hash, key, Fate::Left);
                self.counts.invalid_keys += 1;
                self.counts.left += 1;
                outlet.note(&Record::Repeated { key });
                return Ok(true);
            }
            (Some(fate), _) => {
                counts.upserts -= 1;
                counts.unsent -= i64::from(fate == Fate::Unsent);
                match fate {
                    Fate::PutOff => self.put_off.take_back(hash),
                    _ => self.lane.remove(hash, key),
                }
            }
            (None, Some(Sighting::Unchanged)) => counts.unchanged -= 1,
            (None, Some(Sighting::Waived)) => counts.waived -= 1,
            (None, Some(Sighting::Deferred)) => {
                counts.deferred -= 1;
                counts.upserts -= 1;
            }
            // The earlier row is still on its way here and will count itself.
            (None, Some(Sighting::Operation) | None) => {
                self.fates.insert(hash, key, Fate::Blocked);
                return Ok(false);
            }
        }
        self.fates.insert(hash, key, Fate::Blocked);
        self.count_invalid_key();
        Ok(true)
    }

    /// Where it is not known whether the key was met: if its operation still waits to be sent, then it was, and the operation
    /// is taken back as one that is known.
    fn recall(&mut self, hash: KeyHash, key: &[u8], outlet: &mut impl Outlet) -> bool {
        let has_waited = outlet.recall(hash, key);
        if has_waited {
            self.counts.upserts -= 1;
            self.fates.insert(hash, key, Fate::Blocked);
            self.count_invalid_key();
        }
        has_waited
    }

    fn count_invalid_key(&mut self) {
        self.counts.invalid += 1;
        self.counts.invalid_keys += 1;
    }

    fn name(&mut self, key: &[u8], code: &str, message: &str) {
        self.note(key, None, code, message);
    }

    /// Keeps the name of a record that is not sent for its own sake; `None` where no operation was begun.
    pub fn note(&mut self, key: &[u8], operation: Option<Operation>, code: &str, message: &str) {
        if self.notes.len() < NOTES {
            self.notes.push(RecordNote {
                key: Shown(key).to_string(),
                verdict: Verdict::Invalid,
                operation,
                code: Some(code.to_owned()),
                message: Some(message.to_owned()),
            });
        }
    }
}

/// An operation, as its row asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked<'a> {
    key: &'a [u8],
    hash: KeyHash,
    fingerprint: Fingerprint,
    reason: Reason,
    /// The key came twice in the read that sent it last.
    was_repeated: bool,
    /// The batch and place it had, and its number, if it is a repetition.
    repeats: Option<(BatchNumber, u32, IntentNumber)>,
    fragment: &'a [u8],
    target_len: u32,
}

impl<'a> Asked<'a> {
    fn item(&self) -> Item<'a> {
        Item {
            key: self.key,
            key_hash: self.hash,
            fingerprint: self.fingerprint,
            number: self.repeats.map(|(_, _, number)| number),
            fragment: self.fragment,
            target_len: self.target_len,
            is_retry: self.reason == Reason::RetryOfRejection,
        }
    }

    /// Intents below `reuse_floor` are never repeated with their number.
    fn of(chunk: &'a Chunk, operation: &Rendered, reuse_floor: IntentNumber) -> Asked<'a> {
        let candidate = &operation.candidate;
        let repeats = candidate.doubt.filter(|doubt| {
            !doubt.is_repeated
                && doubt.number >= reuse_floor
                && doubt.has_number_for(Operation::Upsert, candidate.fingerprint)
        });
        Asked {
            key: chunk.examined.keys.key(candidate.row),
            hash: chunk.examined.keys.hash(candidate.row),
            fingerprint: candidate.fingerprint,
            reason: candidate.reason,
            was_repeated: candidate.doubt.is_some_and(|doubt| doubt.is_repeated),
            repeats: repeats.map(|doubt| (doubt.batch, doubt.index, doubt.number)),
            fragment: &chunk.fragments[operation.fragment.clone()],
            target_len: operation.target_len,
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("fewer than 2^63 rows")
}

#[cfg(test)]
mod tests;
