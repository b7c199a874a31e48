//! What a proven read did not meet: which entries are deleted, held, kept or forgotten (design.md §3, Guard).

use crate::delta::table::{Place, Table};
use crate::domain::decision::{self, Absent};
use crate::domain::guard::{self, HoldCause};
use crate::domain::id::{Epoch, Instant, RunId};
use crate::domain::sync::{Definition, Sync};
use crate::domain::tally::Tally;
use crate::snapshot::header::Header;
use crate::snapshot::journal::Journal;
use crate::snapshot::record::Record;

/// What this read is judged by, beside the number of removals.
#[derive(Debug)]
pub struct Facts<'a> {
    pub definition: &'a Definition,
    pub vanished: Vec<String>,
    pub rows_read: u64,
    pub invalid_keys: u64,
    pub credentials: Option<String>,
    pub declares_account: bool,
}

/// The entries without a row, by what becomes of them.
#[derive(Debug, Default)]
pub struct Removals {
    pub delete: Vec<Place>,
    pub held: Vec<Place>,
    /// Deletes that the destination refused and that are not yet due.
    pub deferred: u64,
    pub forget: Vec<Place>,
    pub causes: Vec<HoldCause>,
}

impl Removals {
    /// Adds them to a tally.
    pub fn count(&self, tally: &mut Tally) {
        let held = self.held.len() as u64;
        tally.deletes += self.delete.len() as u64 + held + self.deferred;
        tally.held += held;
        tally.deferred += self.deferred;
    }
}

/// Sorts the entries that no row met.
pub fn sort(
    table: &Table,
    sync: &Sync,
    header: &Header,
    facts: &Facts<'_>,
    epoch: Epoch,
    now: Instant,
) -> Removals {
    let mut removals = Removals::default();
    let mut others = Vec::new();
    for place in table.unmet() {
        let entry = table.entry(place, epoch);
        match decision::absent(&entry, sync.mode, epoch, now) {
            Absent::Keep => {}
            Absent::Forget => removals.forget.push(place),
            Absent::Deferred => removals.deferred += 1,
            Absent::Delete => {
                let is_released = entry.held.is_some_and(|held| {
                    header.releases.iter().any(|release| held.was_held_in(release.run))
                });
                if is_released { removals.delete.push(place) } else { others.push(place) }
            }
        }
    }
    if others.is_empty() {
        return removals;
    }
    removals.causes = causes(sync, header, facts, others.len() as u64);
    if removals.causes.is_empty() {
        removals.delete.append(&mut others);
    } else {
        removals.held = others;
    }
    removals
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
        causes.push(HoldCause::DefinitionChanged { what: what.to_owned() });
    }
    if !facts.declares_account && facts.credentials != baseline.credentials {
        causes.push(HoldCause::CredentialsChanged);
    }
    causes
}

/// Notes in the journal what is held and what is forgotten.
pub fn record(removals: &Removals, table: &Table, run: RunId, journal: &mut Journal) {
    for place in &removals.held {
        journal.append(&Record::Hold { key: table.key(*place), run });
    }
    for place in &removals.forget {
        journal.append(&Record::Forget { key: table.key(*place) });
    }
}
