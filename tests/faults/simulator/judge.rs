//! The invariants of faults.md §1, on what the history knows to be true, not on what the product believes.
//!
//! Where a crash leaves open whether a commit came through, the judge takes either for right.

use std::collections::{BTreeMap, BTreeSet};

use counterflow::destination::answer::{Attempt, Judgement, RecordVerdict};
use counterflow::destination::definition::Repeat;
use counterflow::domain::entry::{Entry, Fingerprint, Operation};
use counterflow::domain::file::FileFact;
use counterflow::domain::guard::MaxDeletes;
use counterflow::domain::id::Epoch;
use counterflow::domain::kind::Kind;
use counterflow::domain::sync::Mode;
use counterflow::domain::tally::Tally;
use counterflow::snapshot::header::Header;
use counterflow::snapshot::{self, View};

use super::fixture;
use super::numbers::Numbers;
use super::plan::Setting;
use super::source::Reading;
use super::target::{Request, Target};

/// What a snapshot says, by key.
pub type Entries = BTreeMap<i64, Entry>;

/// All entries of a snapshot.
///
/// # Errors
/// The disk fails.
pub fn entries(view: &View) -> Result<Entries, snapshot::Error> {
    let mut entries = Entries::new();
    view.visit(|key, entry| drop(entries.insert(fixture::id(key), entry)))?;
    Ok(entries)
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub what: String,
}

pub fn broken<T>(invariant: &'static str, what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { invariant, what: what.into() })
}

/// What the next run has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    Full,
    Incremental,
    /// Nobody can know.
    Either,
}

/// What later reads are judged against.
#[derive(Debug, Clone)]
pub struct Good {
    pub files: Vec<FileFact>,
    /// Null and repeated keys; `None` where nobody can know.
    pub invalid: Option<usize>,
    pub sql: u32,
    pub mode: Mode,
}

/// One run, as the judge sees it.
#[derive(Debug)]
pub struct Facts {
    pub kind: Kind,
    pub epoch: Epoch,
    pub mapping: usize,
    pub now: Good,
    pub reading: Reading,
    /// The keys of a sample.
    pub chosen: Option<BTreeSet<i64>>,
    /// Only what is new by the cursor is read, and nothing is known of other rows.
    pub is_restricted: bool,
    /// The snapshot when the run began to read.
    pub at_start: Entries,
    /// The read ended, and its files were those it began with.
    pub is_read_complete: bool,
    pub in_flight: BTreeSet<i64>,
    pub asked: BTreeMap<i64, (Operation, Fingerprint)>,
    /// Keys whose last answer was `delivered`.
    delivered: BTreeSet<i64>,
    pub delivered_records: u64,
    pub requests: u64,
}

#[derive(Debug)]
pub struct Judge {
    guard: MaxDeletes,
    repeat: Repeat,
    has_primary: bool,
    /// Keys and contents that the destination has named as delivered, in an answer that was read.
    acknowledged: BTreeSet<(i64, Fingerprint)>,
    /// At the destination, and given up by a person.
    disowned: BTreeSet<i64>,
    pub released: BTreeSet<i64>,
    /// More than one where a crash left open which it is; none before the first run.
    pub goods: Vec<Good>,
    pub must: Must,
    /// The mapping that the header records, if it is known.
    pub recorded_mapping: Option<usize>,
    /// Keys that were delivered or rejected, by epoch.
    done: BTreeSet<(Epoch, i64)>,
    pub numbers: Numbers,
    /// Delivered and committed: not to be sent again in the epoch.
    settled: BTreeMap<i64, (Fingerprint, Epoch)>,
}

impl Facts {
    pub fn new(
        (kind, epoch, mapping): (Kind, Epoch, usize),
        now: Good,
        reading: Reading,
        at_start: Entries,
    ) -> Facts {
        Facts {
            kind,
            epoch,
            mapping,
            now,
            reading,
            chosen: None,
            is_restricted: false,
            at_start,
            is_read_complete: false,
            in_flight: BTreeSet::new(),
            asked: BTreeMap::new(),
            delivered: BTreeSet::new(),
            delivered_records: 0,
            requests: 0,
        }
    }
}

impl Facts {
    /// Whether a key has left whose rows make it invalid.
    pub fn has_left(&self) -> bool {
        self.reading.repeated.iter().any(|key| self.asked.contains_key(key))
    }

    /// What the product calls the content of the key's row, if it is valid.
    fn content(&self, key: i64) -> Option<Fingerprint> {
        let value = self.reading.valid.get(&key)?;
        Some(fixture::fingerprint(self.mapping, key, *value))
    }
}

impl Judge {
    pub fn new(setting: &Setting) -> Judge {
        Judge {
            guard: setting.guard,
            repeat: setting.repeat,
            has_primary: setting.has_primary,
            acknowledged: BTreeSet::new(),
            disowned: BTreeSet::new(),
            released: BTreeSet::new(),
            goods: Vec::new(),
            // The first run is full.
            must: Must::Full,
            recorded_mapping: None,
            done: BTreeSet::new(),
            numbers: Numbers::default(),
            settled: BTreeMap::new(),
        }
    }

    /// I11: the kind that was chosen.
    pub fn chosen(&mut self, kind: Kind, is_asked: bool, mapping: usize) -> Result<(), Broken> {
        let is_same = self.recorded_mapping == Some(mapping);
        let must = self.must;
        // Whichever it was, it is known now.
        if must == Must::Either {
            self.must = if kind == Kind::Full { Must::Full } else { Must::Incremental };
        }
        match must {
            Must::Full if kind == Kind::Incremental => {
                broken("I11", "a full run did not end, and an incremental one follows")
            }
            Must::Incremental if kind == Kind::Full && !is_asked && is_same => {
                broken("I11", "a full run follows, and nothing asks for one")
            }
            _ => Ok(()),
        }
    }

    /// I3 and I4: what a snapshot says, when nothing is in flight.
    pub fn snapshot(
        &self,
        entries: &Entries,
        header: &Header,
        target: &Target,
    ) -> Result<(), Broken> {
        let held = |entry: &&Entry| entry.is_possibly_at_destination();
        let count = entries.values().filter(held).count() as u64;
        if count != header.entries {
            return broken("I10", format!("{count} entries, not {}", header.entries));
        }
        for (key, entry) in entries {
            if let Some(confirmed) = entry.confirmed
                && !self.acknowledged.contains(&(*key, confirmed.fingerprint))
            {
                return broken(
                    "I3",
                    format!("key {key} is confirmed with what was never answered"),
                );
            }
            if entry.doubt.is_some()
                || target.overtaken.contains(key)
                || self.disowned.contains(key)
            {
                continue;
            }
            let there = target.held.get(key).map(|held| held.fingerprint);
            if there != entry.confirmed.map(|confirmed| confirmed.fingerprint) {
                return broken(
                    "I3",
                    format!("key {key} is not what the snapshot says, and is in no doubt"),
                );
            }
        }
        for key in target.held.keys().filter(|key| !self.is_excused(**key, target)) {
            if !entries.get(key).is_some_and(Entry::is_possibly_at_destination) {
                return broken("I4", format!("key {key} is at the destination, and nobody knows"));
            }
        }
        Ok(())
    }

    pub fn is_excused(&self, key: i64, target: &Target) -> bool {
        target.overtaken.contains(&key) || self.disowned.contains(&key)
    }

    /// A request leaves.
    pub fn leaves(&mut self, request: &Request, facts: &mut Facts) -> Result<(), Broken> {
        facts.requests += 1;
        // Where a repetition may do harm, it waits until all rows are known, so that its batch is whole; but not that of a
        // row of a sample, which is chosen alone.
        let waits = facts.is_read_complete || self.repeat != Repeat::Natural;
        let is_whole = waits && facts.chosen.is_none();
        self.numbers.leaves(request, is_whole)?;
        for asked in &request.records {
            let (key, what) = (asked.key, (request.operation, asked.fingerprint));
            if !facts.in_flight.insert(key) {
                return broken("I6", format!("two requests with key {key} are in flight"));
            }
            if *facts.asked.entry(key).or_insert(what) != what {
                return broken("I6", format!("key {key} is asked for in two ways in one run"));
            }
            if request.operation == Operation::Delete {
                self.delete(key, facts)?;
            }
            let same = (asked.fingerprint, facts.epoch);
            let settled = self.settled.remove(&key);
            let is_asked_anyway = request.operation == Operation::Delete || facts.chosen.is_some();
            if settled == Some(same) && !is_asked_anyway {
                return broken(
                    "I7",
                    format!("key {key} was delivered, committed, and is sent again"),
                );
            }
        }
        Ok(())
    }

    /// I5 and I13.
    fn delete(&self, key: i64, facts: &Facts) -> Result<(), Broken> {
        if !facts.is_read_complete {
            return broken("I5", format!("key {key} is deleted after a read that proves nothing"));
        }
        if facts.reading.met.contains(&key) {
            return broken("I5", format!("key {key} is deleted, and was read"));
        }
        if facts.now.mode != Mode::Mirror {
            return broken("I5", format!("key {key} is deleted, and nobody wants deletes"));
        }
        let is_ours = |entry: &Entry| entry.is_possibly_at_destination();
        if !facts.at_start.get(&key).is_some_and(is_ours) {
            return broken("I5", format!("key {key} is deleted, and was never sent"));
        }
        if self.released.contains(&key) {
            return Ok(());
        }
        if self.is_beyond_guard(facts) {
            return broken("I13", format!("key {key} is deleted above the guard without a yes"));
        }
        let is_bad = |good: &Good| self.is_worse(facts, good);
        if !self.goods.is_empty() && self.goods.iter().all(is_bad) {
            return broken("I13", format!("key {key} is deleted by a bad read without a yes"));
        }
        Ok(())
    }

    fn is_beyond_guard(&self, facts: &Facts) -> bool {
        let ours = facts.at_start.iter().filter(|(_, entry)| entry.is_possibly_at_destination());
        let entries = ours.clone().count() as u64;
        let is_refused = |entry: &Entry| {
            entry.rejection.as_ref().is_some_and(|it| it.operation == Operation::Delete)
        };
        let removals = ours.filter(|(key, entry)| {
            !facts.reading.met.contains(key) && !self.released.contains(key) && !is_refused(entry)
        });
        let removals = removals.count() as u64;
        let is_over = |ten_thousandths: u64| removals * 10_000 > entries * ten_thousandths;
        facts.reading.rows.is_empty()
            || match self.guard {
                MaxDeletes::Default => removals > 10 && is_over(1_000),
                MaxDeletes::Rows(rows) => removals > rows,
                MaxDeletes::BasisPoints(points) => is_over(u64::from(points)),
            }
    }

    /// The read is worse than a good one, so that what it lacks may not be believed.
    fn is_worse(&self, facts: &Facts, good: &Good) -> bool {
        let now = &facts.now;
        let is_there = |file: &FileFact| now.files.iter().any(|other| other.path == file.path);
        let has_more = match (now.invalid, good.invalid) {
            (Some(now), Some(before)) => !self.has_primary && now > before,
            _ => false,
        };
        !good.files.iter().all(is_there) || has_more || now.sql != good.sql || now.mode != good.mode
    }

    /// An answer was read.
    pub fn answered(&mut self, request: &Request, attempt: &Attempt, facts: &mut Facts) {
        request.records.iter().for_each(|asked| {
            facts.in_flight.remove(&asked.key);
        });
        self.numbers.answered(request, &attempt.judgement);
        let verdicts = match &attempt.judgement {
            Judgement::Records(verdicts) if verdicts.len() == request.records.len() => verdicts,
            // What cannot be split any more is refused.
            Judgement::Split(refusal) if request.records.len() == 1 => {
                &vec![RecordVerdict::Rejected(refusal.clone())]
            }
            _ => return,
        };
        for (asked, verdict) in request.records.iter().zip(verdicts) {
            let key = asked.key;
            facts.delivered.remove(&key);
            if *verdict == RecordVerdict::Delivered {
                facts.delivered_records += 1;
                facts.delivered.insert(key);
                self.disowned.remove(&key);
            }
            if request.operation == Operation::Upsert && !matches!(verdict, RecordVerdict::Retry(_))
            {
                self.done.insert((facts.epoch, key));
                if *verdict == RecordVerdict::Delivered {
                    self.acknowledged.insert((key, asked.fingerprint));
                }
            }
        }
    }

    /// A person gives the key up: if its row returns, it is a new one.
    pub fn disown(&mut self, key: i64) {
        self.disowned.insert(key);
        self.settled.remove(&key);
        self.numbers.forget(key);
    }

    /// A run begins or is over: a key whose row is another one now, or not valid, is not repeated.
    pub fn keep_same(&mut self, facts: &Facts) {
        let Some(chosen) = &facts.chosen else {
            let is_met = |key: &i64| facts.reading.met.contains(key);
            let is_known = |key: &i64| !facts.is_restricted || is_met(key);
            let row = |key: &i64| is_known(key).then(|| (facts.content(*key), is_met(key)));
            self.numbers.keep_same(row);
            // What is in doubt was asked for by its key: a batch of which a row is gone cannot be the same.
            if facts.is_restricted {
                self.numbers.keep_met(is_met);
            }
            return;
        };
        self.numbers.split(chosen);
        // Of a row that was not met a sample says nothing.
        let is_met = |key: &i64| chosen.contains(key) && facts.reading.met.contains(key);
        self.numbers.keep_same(|key| is_met(key).then(|| (facts.content(*key), true)));
    }

    /// A run ended without a commit: what it may have noted that it would send is asked for again.
    pub fn died(&mut self, facts: &Facts) {
        self.settled.retain(|key, (settled, _)| match &facts.chosen {
            Some(chosen) => !chosen.contains(key),
            None => facts.content(*key) == Some(*settled),
        });
        if facts.is_read_complete {
            // It may have come through, and may have held nothing.
            self.goods.push(facts.now.clone());
        }
    }

    /// Until something is known to be done that either asks for a full run or ends one.
    pub fn either_if(&mut self, is_open: bool) {
        if self.must != Must::Full || is_open {
            self.must = Must::Either;
        }
    }

    /// A run has committed. `is_read`: its read was proven, or that of a sample came to its end; and it was not halted.
    pub fn committed(
        &mut self,
        facts: &Facts,
        tally: &Tally,
        (is_read, was_stopped, is_epoch_open): (bool, bool, bool),
        target: &Target,
    ) -> Result<(), Broken> {
        self.tally(facts, tally)?;
        let has_rest = tally.unsent + tally.unknown > 0;
        let is_proven = is_read && facts.chosen.is_none();
        if is_proven && tally.held == 0 {
            self.goods = vec![facts.now.clone()];
        }
        if facts.chosen.is_none() {
            self.recorded_mapping = Some(facts.mapping);
        }
        if facts.kind == Kind::Full {
            self.must = match is_proven && !was_stopped && !has_rest && !facts.has_left() {
                true => Must::Incremental,
                false => Must::Full,
            };
            let undone = |key: &&i64| !self.done.contains(&(facts.epoch, **key));
            let undone = facts.reading.valid.keys().find(undone);
            if let (false, Some(key)) = (is_epoch_open, undone) {
                return broken("I11", format!("the epoch is closed without key {key}"));
            }
        }
        // A part of a read may have met it or not.
        if facts.is_read_complete {
            self.released.retain(|key| !facts.reading.met.contains(key));
        }
        for (key, (operation, fingerprint)) in &facts.asked {
            if facts.delivered.contains(key) && !facts.reading.repeated.contains(key) {
                match operation {
                    Operation::Upsert => {
                        self.settled.insert(*key, (*fingerprint, facts.epoch));
                    }
                    Operation::Delete => drop(self.released.remove(key)),
                }
            }
        }
        let is_whole = !has_rest && tally.rejected + tally.deferred == 0;
        if is_read && !was_stopped && is_whole {
            self.covers("I2", facts, target)?;
            if is_proven && tally.held == 0 && facts.now.mode == Mode::Mirror {
                self.mirrors(facts, target)?;
            }
        }
        Ok(())
    }

    /// I10, and the equations.
    fn tally(&self, facts: &Facts, tally: &Tally) -> Result<(), Broken> {
        if let Err(what) = tally.check() {
            return broken("tally", what);
        }
        if tally.delivered != facts.delivered_records || tally.requests != facts.requests {
            let Tally { delivered, requests, .. } = tally;
            let what = format!(
                "{delivered} delivered in {requests} requests, not {} in {}",
                facts.delivered_records, facts.requests
            );
            return broken("I10", what);
        }
        if facts.is_read_complete && tally.rows_read != facts.reading.rows.len() as u64 {
            return broken(
                "I10",
                format!("{} rows read, not {}", tally.rows_read, facts.reading.rows.len()),
            );
        }
        // Of a repeated key the first row may have left before the second came.
        let most = (facts.reading.rows.len() - facts.reading.valid.len()) as u64;
        let least = most.saturating_sub(facts.reading.repeated.len() as u64);
        if facts.is_read_complete && !(least..=most).contains(&tally.invalid) {
            return broken("I10", format!("{} invalid, not {least} to {most}", tally.invalid));
        }
        Ok(())
    }
}
