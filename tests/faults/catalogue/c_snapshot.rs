//! C4. A snapshot that is cut, flipped, zeroed, older or another's: detected, never read as empty.

use std::collections::BTreeMap;
use std::path::Path;

use counterflow::domain::entry::Entry;
use counterflow::snapshot::disk::LocalDisk;
use counterflow::snapshot::{self, Snapshot};

use super::{Scenario, is_exhaustive};
use crate::damage::{
    Aside, Copy, assert_halted, assert_halts, committed, content, names, snapshot,
};
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::known;
use crate::support::people::people;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "C4",
        "a file of the snapshot with any byte cut off, flipped or zeroed is damage, never less",
        every_byte,
    ),
    Scenario::new(
        "C4",
        "a journal with any byte cut off, flipped or zeroed is damage or a torn tail, never another state",
        every_byte_of_a_journal,
    ),
    Scenario::new(
        "C4",
        "a journal that is gone or cut after a run had begun to send halts with advice",
        journal_gone,
    ),
    Scenario::new(
        "C4",
        "over a damaged snapshot nothing is sent and the advice is named",
        damaged_files,
    ),
    Scenario::new(
        "C4",
        "a full resync that a damaged snapshot refused is made once the snapshot is whole",
        full_over_damage,
    ),
    Scenario::new("C4", "a snapshot that is missing is never begun anew", missing),
    Scenario::new("C4", "an older generation put back is refused", older_generation),
    Scenario::new("C4", "an older manifest put back beside newer files is refused", older_manifest),
    Scenario::new("C4", "the snapshot of another sync is refused", of_another_sync),
    Scenario::new("C4", "the snapshot of another state is refused", of_another_state),
];

const REBASELINE: &str = "counterflow rebaseline people -m WHY";

/// As `committed`, and a run was killed in its middle.
fn killed(scenario: &Scenario) -> Case {
    let mut case = committed(scenario);
    case.write(&people(5..=20));
    let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", "answer_read:3")]);
    assert!(case.end(started).signal.is_some(), "it was killed in its middle");
    case
}

/// What both ways of opening a snapshot say of its entries; they must agree.
fn read(folder: &Path) -> Result<BTreeMap<Vec<u8>, Entry>, String> {
    let known = None;
    let beside = snapshot::recovered(folder, "people", known, &[]).and_then(|view| {
        let mut entries = BTreeMap::new();
        let view = view.expect("something is on disk");
        view.visit(|key, entry| drop(entries.insert(key.to_vec(), entry)))?;
        Ok(entries)
    });
    let disk = LocalDisk::new(folder).expect("the folder is there");
    let opened = Snapshot::open(std::sync::Arc::new(disk), "people", known).and_then(|opened| {
        let mut entries = BTreeMap::new();
        opened.view().visit(|key, entry| drop(entries.insert(key.to_vec(), entry)))?;
        Ok(entries)
    });
    let (beside, opened) = (beside.map_err(|e| e.to_string()), opened.map_err(|e| e.to_string()));
    assert_eq!(beside.is_ok(), opened.is_ok(), "{beside:?} {opened:?}");
    assert!(beside.is_err() || beside == opened, "{beside:?} {opened:?}");
    opened
}

/// Every way to damage these bytes: cut at each length, a bit flipped in each byte, zeroed from each byte on.
fn damages(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let cut = |length: usize| (format!("cut at {length}"), bytes[..length].to_vec());
    let flipped = |at: usize| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        (format!("flipped at {at}"), flipped)
    };
    let zeroed = |at: usize| {
        let mut zeroed = bytes.to_vec();
        zeroed[at..].fill(0);
        (format!("zeroed from {at}"), zeroed)
    };
    let all = (0..bytes.len()).map(cut);
    let all = all.chain((0..bytes.len()).map(flipped)).chain((0..bytes.len()).map(zeroed));
    all.filter(move |(_, damaged)| damaged != bytes)
}

/// Tries every damage of the files that are named so; how many were tried.
fn try_all(case: &Case, is_named: fn(&str) -> bool, judge: impl Fn(&str, Outcome<'_>)) -> usize {
    let kept = Copy::of(&snapshot(case));
    let trial = tempfile::tempdir().expect("a folder for the trial");
    let whole = || {
        kept.put_at(trial.path());
        read(trial.path())
    };
    let full = whole().expect("it is whole before it is damaged");
    assert!(full.len() > 10, "it holds something");
    let mut tried = 0;
    for (name, bytes) in content(kept.path()).into_iter().filter(|(name, _)| is_named(name)) {
        kept.put_at(trial.path());
        for (what, damaged) in damages(&bytes) {
            std::fs::write(trial.path().join(&name), &damaged).expect("a file can be written");
            let read = read(trial.path());
            // Only what could be read was changed by the reading.
            if read.is_ok() {
                kept.put_at(trial.path());
            }
            judge(&format!("{name} {what}"), Outcome { read, full: &full });
            tried += 1;
        }
    }
    whole().expect("it is whole still");
    tried
}

struct Outcome<'f> {
    read: Result<BTreeMap<Vec<u8>, Entry>, String>,
    full: &'f BTreeMap<Vec<u8>, Entry>,
}

fn every_byte(scenario: &Scenario) {
    let case = committed(scenario);
    let is_named = |name: &str| name == "manifest" || name.starts_with("segment-");
    let tried = try_all(&case, is_named, |what, outcome| match outcome.read {
        Ok(_) => panic!("{what}: it was read\n{}", case.print()),
        Err(said) => assert!(said.contains(REBASELINE), "{what}: {said}"),
    });
    assert!(tried > 3_000, "manifest and segments were damaged: {tried}");
    case.judge();
}

fn every_byte_of_a_journal(scenario: &Scenario) {
    let case = killed(scenario);
    let before = {
        let folder = Copy::of(&snapshot(&case));
        let journal = names(folder.path()).into_iter().find(|name| name.starts_with("journal-"));
        let journal = journal.expect("a run was killed in its middle");
        std::fs::remove_file(folder.path().join(journal)).expect("it is there");
        read(folder.path()).expect("the generation is whole")
    };
    let damaged = std::cell::Cell::new(0);
    let tried = try_all(
        &case,
        |name| name.starts_with("journal-"),
        |what, outcome| match outcome.read {
            Err(said) => {
                damaged.set(damaged.get() + 1);
                assert!(said.contains(REBASELINE), "{what}: {said}");
            }
            Ok(entries) => {
                for (key, entry) in &before {
                    let read = entries.get(key);
                    let is_so = read == Some(entry)
                        || read == outcome.full.get(key)
                        || read.is_some_and(|read| read.doubt.is_some());
                    assert!(is_so, "{what}: {entry:?} became {read:?}");
                }
                let is_new = |key: &&Vec<u8>| !before.contains_key(*key);
                for key in entries.keys().filter(is_new) {
                    assert!(outcome.full.contains_key(key), "{what}: a key of nobody");
                }
            }
        },
    );
    assert!(tried > 1_000 && damaged.get() > 100, "{tried} tried, {} damage", damaged.get());
    case.judge();
}

/// The run that was killed had rows in doubt: without its journal nobody would know.
fn journal_gone(scenario: &Scenario) {
    let mut case = killed(scenario);
    let kept = Copy::of(&snapshot(&case));
    let name = names(kept.path()).into_iter().find(|name| name.starts_with("journal-"));
    let name = name.expect("a run was killed in its middle");
    let journal = snapshot(&case).join(&name);
    let whole = std::fs::read(&journal).expect("it is there");
    let words = [name.as_str(), "is damaged", REBASELINE];
    for length in [None, Some(0), Some(20), Some(60)] {
        case.say(format!("the journal is cut to {length:?} bytes"));
        match length {
            None => std::fs::remove_file(&journal).expect("it is there"),
            Some(length) => std::fs::write(&journal, &whole[..length]).expect("it can be written"),
        }
        assert_halts(&mut case, &words);
        let explain = case.workspace.run(&["explain", "people", "5"]);
        assert_halted(&case, &explain, &words);
    }
    std::fs::write(&journal, whole).expect("it can be written");
    case.judge();
}

fn damaged_files(scenario: &Scenario) {
    let mut case = committed(scenario);
    let folder = snapshot(&case);
    for (name, bytes) in content(&folder) {
        let step = if is_exhaustive() { 40 } else { 400 };
        for (what, damaged) in damages(&bytes).step_by(step) {
            case.say(format!("{name} {what}"));
            std::fs::write(folder.join(&name), damaged).expect("a file can be written");
            assert_halts(&mut case, &[&name, "`people`", REBASELINE]);
        }
        std::fs::write(folder.join(&name), bytes).expect("a file can be written");
        case.say(format!("{name} is removed"));
        let aside = case.workspace.path().join("aside");
        std::fs::rename(folder.join(&name), &aside).expect("it is there");
        assert_halts(&mut case, &[&name, "`people`", REBASELINE]);
        std::fs::rename(aside, folder.join(&name)).expect("it is there");
    }
    case.judge();
}

fn full_over_damage(scenario: &Scenario) {
    let mut case = committed(scenario);
    let manifest = snapshot(&case).join("manifest");
    let whole = std::fs::read(&manifest).expect("it is there");
    std::fs::write(&manifest, "garbage").expect("a file can be written");
    for more in [&["--full"][..], &[], &[]] {
        let process = case.workspace.spawn_sync(more);
        let finished = case.workspace.end(process, SOON);
        assert_halted(&case, &finished, &["`manifest`", REBASELINE]);
    }
    std::fs::write(manifest, whole).expect("a file can be written");
    // A run that ends before its kind is known has made nothing of what is owed.
    let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", "before_remembering:1")]);
    assert!(case.end(started).signal.is_some(), "it was ended while it started");
    let plan = case.run(&["--format", "json", "plan", "people"]).expect_code(0);
    assert_eq!(plan.json()["reason"], "requested", "it is foretold\n{}", case.print());
    case.sync(&[]).expect(0, "succeeded", &[("upserts", 13)]).expect_kind("full", "requested");
    case.sync(&[]).expect(0, "succeeded", &[("upserts", 0)]);
    case.judge();
}

fn missing(scenario: &Scenario) {
    let mut case = committed(scenario);
    let folder = snapshot(&case);
    let kept = Aside::of(&folder);
    case.say("the folder of the snapshot is gone");
    assert_halts(&mut case, &["the snapshot of `people` is missing", REBASELINE]);
    std::fs::remove_dir_all(case.workspace.state().join("snapshots")).expect("it is there");
    case.say("the folder of all snapshots is gone");
    assert_halts(&mut case, &["the snapshot of `people` is missing", REBASELINE]);
    kept.put_back();
    case.judge();
}

fn older_generation(scenario: &Scenario) {
    let mut case = committed(scenario);
    let older = Copy::of(&snapshot(&case));
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let latest = Aside::of(&snapshot(&case));
    older.put_back();
    case.say("the snapshot is put back as it was before the last run");
    assert_halts(&mut case, &["of generation", "was committed already", REBASELINE]);
    latest.put_back();
    case.judge();
}

fn older_manifest(scenario: &Scenario) {
    let mut case = killed(scenario);
    let older = Copy::of(&snapshot(&case));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let latest = Copy::of(&snapshot(&case));
    let kept = Aside::of(&snapshot(&case));
    latest.put_back();
    let manifest = snapshot(&case).join("manifest");
    std::fs::copy(older.path().join("manifest"), manifest).expect("a file can be copied");
    case.say("the manifest alone is put back as it was before the last run");
    assert_halts(&mut case, &["`people`", REBASELINE]);
    kept.put_back();
    case.judge();
}

/// Two states of the same sync, each of a case of its own.
fn of_another_state(scenario: &Scenario) {
    let mut case = committed(scenario);
    let other = committed(scenario);
    let ours = content(&snapshot(&case));
    let theirs = Copy::of(&snapshot(&other));
    let kept = Aside::of(&snapshot(&case));
    theirs.put_at(&snapshot(&case));
    case.say("the snapshot of another state is put in");
    assert_halts(&mut case, &["does not belong to the snapshot of `people`", REBASELINE]);
    kept.put_back();
    for (name, bytes) in content(theirs.path()) {
        let file = snapshot(&case).join(&name);
        std::fs::write(&file, bytes).expect("a file can be written");
        case.say(format!("`{name}` of another state is put in"));
        assert_halts(&mut case, &[&name, "`people`", REBASELINE]);
        match ours.iter().find(|(known, _)| *known == name) {
            Some((_, bytes)) => std::fs::write(file, bytes).expect("a file can be written"),
            None => std::fs::remove_file(file).expect("it was just written"),
        }
    }
    case.judge();
    other.judge();
}

fn of_another_sync(scenario: &Scenario) {
    let mut case = committed(scenario);
    let config = case.workspace.config();
    let (head, sync) = config.split_once("syncs:\n  people:").expect("it has a sync");
    let path = "/contacts/batch";
    let others = sync.replace(path, "/others/batch");
    assert!(others != sync, "another object");
    case.workspace.write("counterflow.yaml", &format!("{head}syncs:\n  others:{others}"));
    // Nobody takes these requests: all that is wanted is the snapshot of a sync that has begun.
    case.run(&["sync", "others"]);
    case.workspace.write_config();
    let theirs = Copy::of(&case.workspace.state().join("snapshots").join("others"));
    let ours = Aside::of(&snapshot(&case));
    theirs.put_at(&snapshot(&case));
    case.say("the snapshot of `others` is put in");
    assert_halts(&mut case, &["it is the manifest of `others`", REBASELINE]);
    ours.put_back();
    assert!(known::entries(&case.workspace).is_some());
    case.judge();
}
