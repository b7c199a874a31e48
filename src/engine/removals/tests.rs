//! What becomes of entries that no row met: each cause to hold them, releases, and what the guard counts.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::delta::table::{Cut, Sighting};
use crate::domain::entry::Confirmed;
use crate::domain::guard::MaxDeletes;
use crate::domain::id::{BatchNumber, IntentNumber, Lineage};
use crate::domain::key;
use crate::domain::sync::{CheckKeys, Model, Reads, RunLimits};
use crate::snapshot::header::{Baseline, Hold};

const EPOCH: Epoch = Epoch(3);
const NOW: Instant = Instant(1_000);

fn sync(max_deletes: MaxDeletes) -> Sync {
    let (name, sql) = ("people".to_owned(), "SELECT 1".to_owned());
    let reads = Reads::One("lake".to_owned());
    Sync {
        name: name.clone(),
        model: Model { name, reads, sql, primary_key: vec!["id".into()], cursor: None },
        connection: "crm".into(),
        mode: Mode::Mirror,
        mapping: Vec::new(),
        key: Vec::new(),
        check_keys: CheckKeys::Streaming,
        ignored: Vec::new(),
        limits: RunLimits { max_deletes, max_invalid: 10, drain_timeout: Duration::from_secs(1) },
    }
}

fn definition(mode: Mode, source: &str, sql: &str) -> Definition {
    Definition { source: source.into(), sql: sql.into(), mode, ..Definition::example() }
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
        contents_from: None,
        baseline,
        hold: None,
        releases: released.iter().map(release).collect(),
        entries: 100,
        at_rest: None,
        cursor: None,
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
    Cut::default().table(0, vec![builder.finish().unwrap()])
}

/// What becomes of the entries of a table.
fn sort(table: &Table, sync: &Sync, header: &Header, facts: &Facts<'_>) -> Removals {
    let spill = Arc::new(Spill::new(std::path::Path::new("/nowhere")));
    let mut removals = Removals::new(&spill);
    let (mode, releases, standing) = (sync.mode, &header.releases[..], header.standing());
    let terms = Terms { mode, releases, standing, epoch: EPOCH, now: NOW };
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
        assert_eq!(table.sight(met, Sighting::Unchanged), None);
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

/// What a run does with the hold of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its row is met.
    Back,
    /// No row is met; its delete is refused and not yet due.
    Deferred,
    /// No row is met; that it is deleted where nothing holds it comes to nothing.
    Gone,
}

/// A run that holds what is gone and not released, or not; with a mode that deletes, or not; what each key does.
#[derive(Debug, Clone)]
struct Run {
    is_holding: bool,
    mode: Mode,
    released: Option<u64>,
    keys: Vec<Step>,
}

const KEYS: usize = 6;

fn any_run() -> impl Strategy<Value = Run> {
    let step = prop_oneof![1 => Just(Step::Back), 1 => Just(Step::Deferred), 5 => Just(Step::Gone)];
    let mode = prop_oneof![1 => Just(Mode::Upsert), 7 => Just(Mode::Mirror)];
    let released = prop::option::weighted(0.2, 1..12_u64);
    let (keys, is_holding) = (prop::collection::vec(step, KEYS), prop::bool::weighted(0.8));
    (is_holding, mode, released, keys).prop_map(|(is_holding, mode, released, keys)| Run {
        is_holding,
        mode,
        released,
        keys,
    })
}

proptest! {
    /// As where each run wrote down every key that it held.
    #[test]
    fn a_hold_that_goes_on_covers_the_same_keys_as_one_that_is_written_anew_by_each_run(
        runs in prop::collection::vec(any_run(), 1..10)
    ) {
        let usual = usual();
        let mut known: Vec<Option<Held>> = vec![None; KEYS];
        let mut written_anew = known.clone();
        let mut header = header(Some(baseline()), &[]);
        for (number, run) in (1..).zip(&runs) {
            let refused = Rejection {
                operation: Operation::Delete,
                fingerprint: 0,
                epoch: EPOCH,
                code: "409".into(),
                message: "no".into(),
                attempts: 1,
                due: Instant(2_000),
            };
            for (key, step) in run.keys.iter().enumerate().filter(|(_, step)| **step == Step::Back) {
                (known[key], written_anew[key]) = (None, None);
                let _ = step;
            }
            let entries = known.iter().zip(&run.keys).map(|(held, step)| Entry {
                held: *held,
                rejection: (*step == Step::Deferred).then(|| refused.clone()),
                ..confirmed()
            });
            let table = table(&entries.collect::<Vec<_>>());
            for key in (0_u8..).zip(&run.keys).filter(|(_, step)| **step == Step::Back) {
                let hash = key::hash(&[key.0]);
                let met = table.find(hash, &[key.0]).expect("it is there");
                assert_eq!(table.sight(met, Sighting::Unchanged), None);
            }
            let release = |run: u64| Release { run: RunId(run), message: None, at: NOW };
            header.releases = run.released.map(release).into_iter().collect();
            let sync = Sync { mode: run.mode, ..sync(MaxDeletes::Rows(100)) };
            let rows_read = if run.is_holding { 0 } else { 90 };
            let mut removals = sort(&table, &sync, &header, &Facts { rows_read, ..facts(&usual) });
            let held = if removals.held() > 0 { numbers(&removals.others) } else { Vec::new() };
            let mut notes = Vec::new();
            let note = |record: &Record<'_>| match record {
                Record::Hold { key, run } => notes.push((usize::from(key[0]), *run)),
                other => panic!("{other:?}"),
            };
            prop_assert!(removals.record(RunId(number), note, || false).unwrap());
            let fold = |held: &mut Option<Held>, run: RunId| {
                let first = held.map_or(run, |held| held.first);
                *held = Some(Held { first, last: run });
            };
            notes.into_iter().for_each(|(key, run)| fold(&mut known[key], run));
            for key in &held {
                fold(&mut written_anew[usize::from(*key)], RunId(number));
            }
            let (keys, since) = (held.len() as u64, removals.held_since());
            let (causes, versions) = (Vec::new(), Vec::new());
            let hold = Hold { run: RunId(number), causes, keys, since, versions };
            header.hold = (keys > 0).then_some(hold);
            for asked in (1..=number + 1).map(RunId) {
                let covered = |known: &[Option<Held>], standing| {
                    let covers = |held: &Option<Held>| held.is_some_and(|it| it.was_held_in(asked, standing));
                    known.iter().map(covers).collect::<Vec<_>>()
                };
                prop_assert_eq!(
                    covered(&known, header.standing()),
                    covered(&written_anew, None),
                    "run {} of {:?}: {:?} {:?}", asked, runs, known, header.hold
                );
            }
        }
    }
}

#[test]
fn a_hold_that_goes_on_writes_only_keys_that_it_did_not_have_and_hears_a_stop() {
    let usual = usual();
    let mut header = header(Some(baseline()), &[]);
    let hold = |run, since: Option<u64>| Hold {
        run: RunId(run),
        causes: Vec::new(),
        keys: 3,
        versions: Vec::new(),
        since: since.map(RunId),
    };
    // Held by the runs 4 to 7; one that was let go of in run 5; one that is new.
    header.hold = Some(hold(7, Some(4)));
    let entries = [held(4, 4), held(4, 6), held(2, 3), confirmed()];
    let empty = Facts { rows_read: 0, ..facts(&usual) };
    let come_to = |header: &Header, stops: bool| {
        let mut removals = sort(&table(&entries), &sync(MaxDeletes::Rows(100)), header, &empty);
        let mut noted = Vec::new();
        let note = |record: &Record<'_>| match record {
            Record::Hold { key, run } => noted.push((key[0], run.0)),
            other => panic!("{other:?}"),
        };
        let is_whole = removals.record(RunId(8), note, || stops).unwrap();
        noted.sort_unstable();
        let mut tally = Tally::default();
        removals.count(&mut tally);
        (is_whole, noted, tally.held, removals.held_since())
    };
    assert_eq!(come_to(&header, false), (true, vec![(2, 8), (3, 8)], 4, Some(RunId(4))));
    // What one that was released or refused leaves is written once more, that it is not taken for one of them.
    header.releases = vec![Release { run: RunId(3), message: None, at: NOW }];
    let (is_whole, noted, ..) = come_to(&header, false);
    assert_eq!(
        (is_whole, noted),
        (true, vec![(3, 8)]),
        "what was let go of before changes nothing"
    );
    header.releases[0].run = RunId(5);
    let noted = vec![(0, 7), (1, 7), (2, 8), (3, 8)];
    assert_eq!(come_to(&header, false), (true, noted, 2, None));
    // Where it was stopped, nothing is held by it: the header says nothing of keys that are not all marked.
    let (is_whole, noted, held, since) = come_to(&header, true);
    assert_eq!((is_whole, noted.len(), held, since), (false, 1, 0, None));
}
