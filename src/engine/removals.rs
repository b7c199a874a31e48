//! What a proven read did not meet: which entries are deleted, held, kept or forgotten (design.md §3, Guard).
//!
//! Collected part by part of the snapshot, and judged as a whole. Not here: how the deletes are sent (`course`).

use std::sync::Arc;

use super::gone::{Gone, Removal, Walk};
use crate::delta::table::Table;
use crate::domain::decision::{self, Absent};
use crate::domain::entry::{Doubt, Entry, Held, Operation, Rejection};
use crate::domain::guard::{self, HoldCause};
use crate::domain::id::{Epoch, Instant, RunId};
use crate::domain::sync::{Definition, Mode, Sync};
use crate::domain::tally::Tally;
use crate::points;
use crate::snapshot::header::{Header, Release};
use crate::snapshot::journal::Journal;
use crate::snapshot::record::Record;
use crate::spill::{self, Spill};

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
    /// Deletes that the destination refused and that are not yet due.
    pub deferred: u64,
    /// One that is kept without a row is in doubt, rejected, or was held when the sync was a mirror.
    pub is_unsettled: bool,
    /// Why the others are held.
    pub causes: Vec<HoldCause>,
    /// The read that did not meet them was proven; nothing comes of them before.
    is_judged: bool,
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
        let [forget, released, others] = [(); 3].map(|()| Gone::new(spill));
        let causes = Vec::new();
        Removals {
            forget,
            released,
            others,
            deferred: 0,
            is_unsettled: false,
            causes,
            is_judged: false,
        }
    }

    /// Sorts the entries of a part of the snapshot that no row met.
    ///
    /// # Errors
    /// What does not fit into memory cannot be written.
    pub fn collect(
        &mut self,
        table: &Table,
        mode: Mode,
        releases: &[Release],
        epoch: Epoch,
        now: Instant,
    ) -> Result<(), spill::Error> {
        for place in table.unmet() {
            let entry = table.entry(place, epoch);
            let list = match decision::absent(&entry, mode, epoch, now) {
                Absent::Keep => {
                    self.is_unsettled |=
                        entry.doubt.is_some() || entry.rejection.is_some() || entry.held.is_some();
                    continue;
                }
                Absent::Deferred => {
                    self.deferred += 1;
                    continue;
                }
                Absent::Forget => &mut self.forget,
                Absent::Delete if is_released(&entry, releases) => &mut self.released,
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
        self.is_judged = true;
        if !self.others.is_empty() {
            self.causes = causes(sync, header, facts, self.others.len());
        }
    }

    pub fn is_judged(&self) -> bool {
        self.is_judged
    }

    fn are_others_held(&self) -> bool {
        !self.causes.is_empty()
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

    /// Notes in the journal what is held and what is forgotten.
    ///
    /// # Errors
    /// As [`Removals::next_delete`].
    pub fn record(&self, run: RunId, journal: &mut Journal) -> Result<(), spill::Error> {
        if self.are_others_held() {
            let mut walk = Walk::default();
            while let Some(Removal { key, .. }) = self.others.next(&mut walk)? {
                journal.append(&Record::Hold { key: &key, run });
            }
        }
        let mut walk = Walk::default();
        while let Some(Removal { key, .. }) = self.forget.next(&mut walk)? {
            journal.append(&Record::Forget { key: &key });
        }
        Ok(())
    }
}

fn is_released(entry: &Entry, releases: &[Release]) -> bool {
    let was_held = |held: Held| releases.iter().any(|release| held.was_held_in(release.run));
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
        causes.push(HoldCause::DefinitionChanged { what: what.to_owned() });
    }
    let is_other = |credentials: &Option<String>| *credentials != baseline.credentials;
    if !facts.declares_account && facts.credentials.iter().any(is_other) {
        causes.push(HoldCause::CredentialsChanged);
    }
    causes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delta::table::{Cut, Sighting};
    use crate::domain::entry::Confirmed;
    use crate::domain::guard::MaxDeletes;
    use crate::domain::id::{BatchNumber, IntentNumber, Lineage};
    use crate::domain::key;
    use crate::domain::sync::{CheckKeys, Model, RunLimits};
    use crate::snapshot::header::Baseline;

    const EPOCH: Epoch = Epoch(3);
    const NOW: Instant = Instant(1_000);

    fn sync(max_deletes: MaxDeletes) -> Sync {
        let (name, source, sql) = ("people".to_owned(), "lake".to_owned(), "SELECT 1".to_owned());
        Sync {
            name: name.clone(),
            model: Model { name, source, sql, primary_key: vec!["id".into()] },
            connection: "crm".into(),
            mode: Mode::Mirror,
            mapping: Vec::new(),
            key: Vec::new(),
            check_keys: CheckKeys::Streaming,
            limits: RunLimits {
                max_deletes,
                max_invalid: 10,
                drain_timeout: Duration::from_secs(1),
            },
        }
    }

    fn definition(mode: Mode, source: &str, sql: &str) -> Definition {
        Definition {
            source: source.into(),
            sql: sql.into(),
            mode,
            key: Vec::new(),
            destination: "crm".into(),
            mapping: Vec::new(),
            rendering: "1".into(),
            encoding: 1,
            fingerprints: 2,
        }
    }

    fn usual() -> Definition {
        definition(Mode::Mirror, "lake", "SELECT 1")
    }

    fn baseline() -> Baseline {
        Baseline {
            run: RunId(1),
            definition: usual(),
            files: Vec::new(),
            invalid_keys: Some(2),
            credentials: Some("a".into()),
        }
    }

    fn header(baseline: Option<Baseline>, released: &[u64]) -> Header {
        let release = |run: &u64| Release { run: RunId(*run), message: None, at: NOW };
        Header {
            sync: "people".into(),
            lineage: Lineage(1),
            fence: 1,
            generation: 1,
            definition: None,
            epoch: EPOCH,
            is_epoch_open: false,
            next_batch: BatchNumber(1),
            reuse_floor: IntentNumber(1),
            baseline,
            hold: None,
            releases: released.iter().map(release).collect(),
            entries: 100,
            at_rest: None,
        }
    }

    fn facts(definition: &Definition) -> Facts<'_> {
        Facts {
            definition,
            vanished: Vec::new(),
            rows_read: 90,
            invalid_keys: 2,
            credentials: [Some("a".into()), Some("a".into())],
            declares_account: false,
        }
    }

    fn confirmed() -> Entry {
        let confirmed = Confirmed { fingerprint: 7, epoch: Epoch(2) };
        Entry { confirmed: Some(confirmed), ..Entry::default() }
    }

    fn held(first: u64, last: u64) -> Entry {
        let held = Held { first: RunId(first), last: RunId(last) };
        Entry { held: Some(held), ..confirmed() }
    }

    /// A table of these entries; the key of each is its number.
    fn table(entries: &[Entry]) -> Table {
        let mut keyed: Vec<([u8; 1], Entry)> = (0..).map(|n| [n]).zip(entries.to_vec()).collect();
        keyed.sort_by_key(|(key, _)| key::hash(key));
        let mut builder = Cut::default().builder(EPOCH, keyed.len());
        keyed.into_iter().for_each(|(key, entry)| builder.push(key::hash(&key), &key, entry));
        Cut::default().table(0, vec![builder.finish()])
    }

    /// What becomes of the entries of a table.
    fn sort(table: &Table, sync: &Sync, header: &Header, facts: &Facts<'_>) -> Removals {
        let spill = Arc::new(Spill::new(std::path::Path::new("/nowhere")));
        let mut removals = Removals::new(&spill);
        removals.collect(table, sync.mode, &header.releases, EPOCH, NOW).unwrap();
        removals.judge(sync, header, facts);
        removals
    }

    fn numbers(list: &Gone) -> Vec<u8> {
        let mut walk = Walk::default();
        let keys = std::iter::from_fn(|| list.next(&mut walk).unwrap());
        let mut numbers: Vec<u8> = keys.map(|removal| removal.key[0]).collect();
        numbers.sort_unstable();
        numbers
    }

    fn to_delete(removals: &Removals) -> Vec<u8> {
        let mut deletes = Deletes::default();
        let keys = std::iter::from_fn(|| removals.next_delete(&mut deletes).unwrap());
        let mut numbers: Vec<u8> = keys.map(|removal| removal.key[0]).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn each_cause_holds_alone_and_what_the_baseline_does_not_know_holds_nothing() {
        let (lake, sql) = (usual(), definition(Mode::Mirror, "lake", "SELECT 2"));
        let sea = definition(Mode::Mirror, "sea", "SELECT 1");
        let from = |change: fn(&mut Baseline)| {
            let mut baseline = baseline();
            change(&mut baseline);
            Some(baseline)
        };
        let known = || Some(baseline());
        let many = MaxDeletes::Rows(1_000);
        let vanished = || Facts { vanished: vec!["a.csv".into()], ..facts(&lake) };
        let invalid = || Facts { invalid_keys: 3, ..facts(&lake) };
        let secrets = |secrets: [&str; 2]| Facts {
            credentials: secrets.map(|secret| Some(secret.to_owned())),
            ..facts(&lake)
        };
        let secret = || secrets(["b", "b"]);
        let declared = || Facts { declares_account: true, ..secret() };
        let empty = || Facts { rows_read: 0, ..facts(&lake) };
        let names = || vec!["a.csv".to_owned()];
        let changed = |what: &str| HoldCause::DefinitionChanged { what: what.into() };
        let was_upsert = from(|before| before.definition.mode = Mode::Upsert);
        let one_removal = HoldCause::Guard { removals: 1, entries: 100 };
        let cases = [
            (MaxDeletes::Rows(1), facts(&lake), known(), None),
            (MaxDeletes::Rows(0), facts(&lake), known(), Some(one_removal.clone())),
            (MaxDeletes::Rows(0), facts(&lake), None, Some(one_removal)),
            (many, empty(), known(), Some(HoldCause::EmptyRead { entries: 100 })),
            (many, empty(), None, Some(HoldCause::EmptyRead { entries: 100 })),
            (many, vanished(), known(), Some(HoldCause::VanishedFiles { names: names() })),
            (many, vanished(), None, None),
            (many, invalid(), known(), Some(HoldCause::InvalidKeys { before: 2, now: 3 })),
            (many, invalid(), from(|before| before.invalid_keys = None), None),
            (many, invalid(), None, None),
            (many, facts(&sql), known(), Some(changed("the model's SQL"))),
            (many, facts(&sea), known(), Some(changed("the source"))),
            (many, facts(&lake), was_upsert, Some(changed("the mode"))),
            (many, facts(&sql), None, None),
            (many, secret(), known(), Some(HoldCause::CredentialsChanged)),
            (many, secrets(["a", "b"]), known(), Some(HoldCause::CredentialsChanged)),
            (many, secrets(["b", "a"]), known(), Some(HoldCause::CredentialsChanged)),
            (
                many,
                secret(),
                from(|before| before.credentials = None),
                Some(HoldCause::CredentialsChanged),
            ),
            (many, secret(), None, None),
            (many, declared(), known(), None),
        ];
        for (limit, facts, baseline, cause) in cases {
            let table = table(&[confirmed()]);
            let header = header(baseline, &[]);
            let sorted = sort(&table, &sync(limit), &header, &facts);
            assert_eq!(sorted.causes, cause.iter().cloned().collect::<Vec<_>>(), "{facts:?}");
            let (held, delete) = if cause.is_some() { (1, 0) } else { (0, 1) };
            assert_eq!((sorted.held(), sorted.deletes()), (held, delete), "{facts:?}");
        }
    }

    #[test]
    fn a_release_covers_what_was_held_in_its_run_and_the_rest_is_judged_by_itself() {
        let doubt = Doubt {
            operation: Operation::Upsert,
            fingerprint: 7,
            number: IntentNumber(1),
            batch: BatchNumber(1),
            index: 0,
            is_repeated: false,
            is_spent: false,
        };
        let refused = |due| Rejection {
            operation: Operation::Delete,
            fingerprint: 0,
            epoch: EPOCH,
            code: "409".into(),
            message: "no".into(),
            attempts: 1,
            due: Instant(due),
        };
        let entries = [
            held(4, 6),
            held(5, 5),
            held(6, 7),
            confirmed(),
            Entry { doubt: Some(doubt), ..Entry::default() },
            Entry { rejection: Some(refused(1_001)), ..held(4, 6) },
            Entry { rejection: Some(refused(1_000)), ..held(4, 6) },
            Entry { rejection: Some(refused(1_001)), ..Entry::default() },
            confirmed(),
        ];
        let usual = usual();
        let came_to = |max: u64, released: &[u64], mode: Mode| {
            let table = table(&entries);
            let hash = key::hash(&[8]);
            let met = table.find(hash, &[8]).expect("it is there");
            assert_eq!(table.sight(hash, met, Sighting::Unchanged), None);
            let header = header(Some(baseline()), released);
            let sync = Sync { mode, ..sync(MaxDeletes::Rows(max)) };
            let sorted = sort(&table, &sync, &header, &facts(&usual));
            let mut tally = Tally::default();
            sorted.count(&mut tally);
            let (delete, forget) = (to_delete(&sorted), numbers(&sorted.forget));
            let is_held = !sorted.causes.is_empty();
            let held = if is_held { numbers(&sorted.others) } else { Vec::new() };
            assert_eq!((delete.len() as u64, held.len() as u64), (sorted.deletes(), sorted.held()));
            assert_eq!(tally.deletes, (delete.len() + held.len()) as u64 + tally.deferred);
            (delete, held, forget, tally.deferred)
        };
        let none: Vec<u8> = Vec::new();
        let all = vec![0, 1, 2, 3, 4, 6];
        assert_eq!(came_to(6, &[], Mode::Mirror), (all.clone(), none.clone(), vec![7], 1));
        assert_eq!(came_to(5, &[], Mode::Mirror), (none.clone(), all, vec![7], 1));
        // What a release covers does not count against the guard, nor does the guard hold it.
        let covered = (vec![0, 1, 6], vec![2, 3, 4], vec![7], 1);
        assert_eq!(came_to(2, &[5], Mode::Mirror), covered);
        assert_eq!(came_to(3, &[5], Mode::Mirror).0, vec![0, 1, 2, 3, 4, 6]);
        assert_eq!(came_to(0, &[5, 7], Mode::Mirror).0, vec![0, 1, 2, 6]);
        assert_eq!(came_to(0, &[9], Mode::Mirror).0, none);
        assert_eq!(came_to(0, &[5], Mode::Upsert), (none.clone(), none, vec![7], 0));
    }
}
