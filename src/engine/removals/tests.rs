//! What becomes of entries that no row met: each cause to hold them, releases, and what the guard counts.

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
        limits: RunLimits { max_deletes, max_invalid: 10, drain_timeout: Duration::from_secs(1) },
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
    let terms = Terms { mode: sync.mode, releases: &header.releases, epoch: EPOCH, now: NOW };
    assert!(!removals.collect(table, &terms, || true).unwrap());
    assert!(removals.collect(table, &terms, || false).unwrap());
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
