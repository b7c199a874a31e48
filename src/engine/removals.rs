//! What a proven read did not meet: which entries are deleted, held, kept or forgotten (design.md §3, Guard).
//!
//! Collected part by part of the snapshot, and judged as a whole. Not here: how the deletes are sent (`course`).

use std::sync::Arc;

use super::gone::{Gone, Removal, Walk};
use crate::delta::table::{Place, Table};
use crate::domain::decision::{self, Absent};
use crate::domain::entry::{Doubt, Entry, Held, Operation, Rejection, Standing};
use crate::domain::guard::{self, HoldCause};
use crate::domain::id::{Epoch, Instant, RunId};
use crate::domain::sync::{Definition, Mode, Sync};
use crate::domain::tally::Tally;
use crate::points;
use crate::snapshot::header::{Header, Release};
use crate::snapshot::record::Record;
use crate::spill::{self, Spill};

/// Removals that are noted before it is asked again whether that is to stop.
const STRIDE: u64 = if cfg!(test) { 1 } else { 1 << 12 };

/// What this read is judged by, beside the number of removals.
#[derive(Debug)]
pub struct Facts<'a> {
    pub definition: &'a Definition,
    pub vanished: Vec<String>,
    pub rows_read: u64,
    pub invalid_keys: u64,
    /// Hashes of those that the run began with, and of those that its deletes would be sent with.
    pub credentials: [Option<String>; 2],
    pub declares_account: bool,
}

/// The entries without a row, by what becomes of them.
#[derive(Debug)]
pub struct Removals {
    forget: Gone,
    /// Deletes that a person released.
    released: Gone,
    /// Deletes that the guard judges as a whole.
    others: Gone,
    /// Kept or deferred, and of the hold that stands.
    lapsed: Gone,
    /// Deletes that the destination refused and that are not yet due.
    pub deferred: u64,
    /// One that is kept without a row is in doubt, rejected, or was held when the sync was a mirror.
    pub is_unsettled: bool,
    /// Why the others are held.
    pub causes: Vec<HoldCause>,
    /// The read that did not meet them was proven; nothing comes of them before.
    is_judged: bool,
    /// The hold that stood before.
    standing: Option<Standing>,
    /// It had keys that are not among the others.
    has_lapsed: bool,
}

/// By what each entry is sorted.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub mode: Mode,
    pub releases: &'a [Release],
    pub standing: Option<Standing>,
    /// The run's.
    pub epoch: Epoch,
    pub now: Instant,
}

/// How far somebody has come in the deletes.
#[derive(Debug, Default)]
pub struct Deletes {
    is_past_released: bool,
    walk: Walk,
}

impl Removals {
    /// None yet. Those that do not fit into memory are written to `spill`.
    pub fn new(spill: &Arc<Spill>) -> Removals {
        let [forget, released, others, lapsed] = [(); 4].map(|()| Gone::new(spill));
        let causes = Vec::new();
        Removals {
            forget,
            released,
            others,
            lapsed,
            deferred: 0,
            is_unsettled: false,
            causes,
            is_judged: false,
            standing: None,
            has_lapsed: false,
        }
    }

    /// Sorts the entries of a part of the snapshot that no row met; false where it was stopped before the last. Blocks.
    ///
    /// # Errors
    /// What does not fit into memory cannot be written.
    pub fn collect(
        &mut self,
        table: &Table,
        terms: &Terms<'_>,
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, spill::Error> {
        for places in table.unmet_by_shard() {
            if is_stopped() {
                return Ok(false);
            }
            self.collect_some(table, places, terms)?;
        }
        Ok(true)
    }

    fn collect_some(
        &mut self,
        table: &Table,
        places: impl Iterator<Item = Place>,
        terms: &Terms<'_>,
    ) -> Result<(), spill::Error> {
        let Terms { mode, releases, standing, epoch, now } = *terms;
        for place in places {
            let entry = table.entry(place, epoch);
            let is_of_hold = entry.held.is_some_and(|held| held.is_of(standing));
            let list = match decision::absent(&entry, mode, epoch, now) {
                kept @ (Absent::Keep | Absent::Deferred) => {
                    let is_deferred = kept == Absent::Deferred;
                    self.deferred += u64::from(is_deferred);
                    self.is_unsettled |= !is_deferred
                        && (entry.doubt.is_some()
                            || entry.rejection.is_some()
                            || entry.held.is_some());
                    if !is_of_hold {
                        continue;
                    }
                    self.has_lapsed = true;
                    &mut self.lapsed
                }
                Absent::Forget => &mut self.forget,
                Absent::Delete if is_released(&entry, releases, standing) => {
                    self.has_lapsed |= is_of_hold;
                    &mut self.released
                }
                Absent::Delete
                    if points::is_planted("delete_put_off") && self.others.len() == 1 =>
                {
                    continue;
                }
                Absent::Delete => &mut self.others,
            };
            list.push(&removal(table.key(place), &entry))?;
        }
        Ok(())
    }

    /// Holds what was collected and not released against the guard; to be called once, after the last part of a proven read.
    pub fn judge(&mut self, sync: &Sync, header: &Header, facts: &Facts<'_>) {
        (self.is_judged, self.standing) = (true, header.standing());
        let was_asked = self.standing.is_some() && points::is_planted("guard_asked_once");
        if !self.others.is_empty() && !was_asked {
            self.causes = causes(sync, header, facts, self.others.len());
        }
    }

    pub fn is_judged(&self) -> bool {
        self.is_judged
    }

    fn are_others_held(&self) -> bool {
        !self.causes.is_empty()
    }

    /// Whether the hold that stands goes on with keys of which it says enough: each that it had is among the others, or back.
    fn does_hold_go_on(&self) -> bool {
        self.are_others_held() && self.standing.is_some() && !self.has_lapsed
    }

    /// Since when the hold that stands from now on says of its keys that it has them; `None` where since this run.
    pub fn held_since(&self) -> Option<RunId> {
        self.standing.filter(|_| self.does_hold_go_on()).map(|standing| standing.since)
    }

    /// How many are to be deleted.
    pub fn deletes(&self) -> u64 {
        match (self.is_judged, self.are_others_held()) {
            (false, _) => 0,
            (true, true) => self.released.len(),
            (true, false) => self.released.len() + self.others.len(),
        }
    }

    /// How many are held.
    pub fn held(&self) -> u64 {
        if self.are_others_held() { self.others.len() } else { 0 }
    }

    /// The next of those to be deleted; `None` at the end.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub fn next_delete(&self, deletes: &mut Deletes) -> Result<Option<Removal>, spill::Error> {
        if !deletes.is_past_released {
            if let Some(removal) = self.released.next(&mut deletes.walk)? {
                return Ok(Some(removal));
            }
            *deletes = Deletes { is_past_released: true, walk: Walk::default() };
        }
        if self.are_others_held() { Ok(None) } else { self.others.next(&mut deletes.walk) }
    }

    /// The first keys of those that are deleted or held.
    ///
    /// # Errors
    /// As [`Removals::next_delete`].
    pub fn sample(&self, most: usize) -> Result<Vec<Vec<u8>>, spill::Error> {
        let mut keys = Vec::new();
        for list in [&self.released, &self.others] {
            let mut walk = Walk::default();
            while keys.len() < most
                && let Some(removal) = list.next(&mut walk)?
            {
                keys.push(removal.key);
            }
        }
        Ok(keys)
    }

    /// Adds them to a tally, once they are judged.
    pub fn count(&self, tally: &mut Tally) {
        if !self.is_judged {
            return;
        }
        tally.deletes += self.deletes() + self.held() + self.deferred;
        tally.held += self.held();
        tally.deferred += self.deferred;
    }

    /// Notes what is held and what is forgotten, but for what the hold that stands says of its keys anyway. False where it was
    /// stopped before the last: then nothing was judged.
    ///
    /// # Errors
    /// As [`Removals::next_delete`]; then too.
    pub fn record(
        &mut self,
        run: RunId,
        note: impl FnMut(&Record<'_>),
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, spill::Error> {
        let recorded = self.record_all(run, note, is_stopped);
        if !matches!(recorded, Ok(true)) {
            (self.is_judged, self.causes) = (false, Vec::new());
        }
        recorded
    }

    fn record_all(
        &self,
        run: RunId,
        mut note: impl FnMut(&Record<'_>),
        is_stopped: impl Fn() -> bool,
    ) -> Result<bool, spill::Error> {
        let (standing, is_held) = (self.standing, self.are_others_held());
        let goes_on = self.does_hold_go_on();
        // What is no longer held says itself until when it was.
        let left = |held: Option<Held>| {
            let until = held.map(|held| held.until(standing));
            until.filter(|until| held.is_some_and(|held| held.last != *until))
        };
        let stays = |held: Option<Held>| {
            let is_known = goes_on && held.is_some_and(|held| held.is_of(standing));
            (!is_known).then_some(run)
        };
        let mut hold = |removal: &Removal, until: Option<RunId>| {
            if let Some(run) = until {
                note(&Record::Hold { key: &removal.key, run });
            }
        };
        let is_stopped = &is_stopped;
        Ok(each(&self.released, is_stopped, |it| hold(it, left(it.held)))?
            && each(&self.lapsed, is_stopped, |it| hold(it, left(it.held)))?
            && each(&self.others, is_stopped, |it| {
                hold(it, if is_held { stays(it.held) } else { left(it.held) });
            })?
            && each(&self.forget, is_stopped, |it| note(&Record::Forget { key: &it.key }))?)
    }
}

/// Shows the removals of a list to `f`; false where it was stopped before the last.
fn each(
    list: &Gone,
    is_stopped: &impl Fn() -> bool,
    mut f: impl FnMut(&Removal),
) -> Result<bool, spill::Error> {
    let mut walk = Walk::default();
    for shown in 1_u64.. {
        let Some(removal) = list.next(&mut walk)? else { break };
        f(&removal);
        if shown.is_multiple_of(STRIDE) && is_stopped() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_released(entry: &Entry, releases: &[Release], standing: Option<Standing>) -> bool {
    let was_held =
        |held: Held| releases.iter().any(|release| held.was_held_in(release.run, standing));
    let is_taken_for = points::is_planted("release_covers_others") && !releases.is_empty();
    entry.held.is_some_and(was_held) || is_taken_for
}

fn removal(key: &[u8], entry: &Entry) -> Removal {
    let is_repeated = |doubt: &Doubt| doubt.has_number_for(Operation::Delete, 0);
    let repeats = entry.doubt.filter(is_repeated);
    let is_delete = |rejection: &Rejection| rejection.operation == Operation::Delete;
    Removal {
        key: key.to_vec(),
        repeats: repeats.map(|doubt| (doubt.batch, doubt.index, doubt.number)),
        is_refused: entry.rejection.as_ref().is_some_and(is_delete),
        held: entry.held,
    }
}

fn causes(sync: &Sync, header: &Header, facts: &Facts<'_>, removals: u64) -> Vec<HoldCause> {
    let limit = sync.limits.max_deletes;
    let mut causes: Vec<HoldCause> =
        guard::judge(limit, removals, header.entries, facts.rows_read).into_iter().collect();
    let Some(baseline) = &header.baseline else {
        return causes;
    };
    if !facts.vanished.is_empty() {
        causes.push(HoldCause::VanishedFiles { names: facts.vanished.clone() });
    }
    if let Some(before) = baseline.invalid_keys.filter(|before| facts.invalid_keys > *before) {
        let now = facts.invalid_keys;
        causes.push(HoldCause::InvalidKeys { before, now });
    }
    if let Some(what) = facts.definition.hold_cause(&baseline.definition) {
        causes.push(HoldCause::DefinitionChanged { what });
    }
    let is_other = |credentials: &Option<String>| *credentials != baseline.credentials;
    if !facts.declares_account && facts.credentials.iter().any(is_other) {
        causes.push(HoldCause::CredentialsChanged);
    }
    causes
}

#[cfg(test)]
mod tests;
