//! C5. The state database cut, overwritten, missing, without its log, or older than the snapshot: halt with advice, never
//! recreated.

use std::path::{Path, PathBuf};

use super::Scenario;
use crate::damage::{Copy, assert_halted, assert_halts, assert_refused, committed};
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::judge::Left;
use crate::support::people::people;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "C5",
        "a broken or missing state database halts with advice and is left as it is",
        broken,
    ),
    Scenario::new(
        "C5",
        "a log that is lost with a run that had begun to send halts with advice, and loses no record",
        log_lost,
    ),
    Scenario::new(
        "C5",
        "a word for a log that was lost is no word for a definition that changed as well",
        lost_and_changed,
    ),
    Scenario::new(
        "C5",
        "a log that is lost with a run that was committed halts with advice",
        log_of_committed_lost,
    ),
    Scenario::new(
        "C5",
        "a state database that is older than the snapshot halts with advice",
        older,
    ),
];

const LOG: &str = "counterflow.db-wal";

fn database(case: &Case) -> PathBuf {
    case.workspace.state().join("counterflow.db")
}

fn broken(scenario: &Scenario) {
    let mut case = committed(scenario);
    let kept = Copy::of(&case.workspace.state());
    let file = database(&case);
    let whole = std::fs::read(&file).expect("the database is there");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        Some(bytes)
    };
    let damages: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("missing", None),
        ("empty", Some(Vec::new())),
        ("cut within its header", with(&|bytes| bytes.truncate(60))),
        ("cut after a page", with(&|bytes| bytes.truncate(4096))),
        ("cut in its middle", with(&|bytes| bytes.truncate(bytes.len() / 2))),
        ("cut by a page", with(&|bytes| bytes.truncate(bytes.len() - 4096))),
        ("garbage", Some(b"this is no database\n".repeat(1000))),
        ("with a garbage header", with(&|bytes| bytes[..16].fill(b'x'))),
        ("with its second page zeroed", with(&|bytes| bytes[4096..8192].fill(0))),
        ("with its second page overwritten", with(&|bytes| bytes[4096..8192].fill(0xa7))),
        ("zeroed", with(&|bytes| bytes.fill(0))),
    ];
    for (what, bytes) in damages {
        case.say(format!("the database is {what}"));
        write(&file, bytes.as_deref());
        assert_halts(&mut case, &["counterflow.db", "from a backup"]);
        assert_eq!(std::fs::read(&file).ok(), bytes, "{what}: it was changed\n{}", case.print());
        let served = case.workspace.spawn(&["serve"]).wait(SOON);
        assert_eq!(served.code, Some(1), "{what}: {served:#?}");
        for command in [&["status"][..], &["runs"], &["rejected", "people"]] {
            let read = case.workspace.run(command);
            assert!(!read.stderr.contains("panicked"), "{what}: {read:#?}");
        }
        assert_eq!(std::fs::read(&file).ok(), bytes, "{what}: it was changed\n{}", case.print());
        kept.put_back();
    }
    say_that_it_is_true(&mut case);
    case.judge();
}

/// What was put back is a copy, which a person has to vouch for.
fn say_that_it_is_true(case: &mut Case) {
    case.sync(&["--keep-snapshot"]).expect(0, "succeeded", &[]);
}

fn write(file: &Path, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => std::fs::write(file, bytes).expect("a file can be written"),
        None => std::fs::remove_file(file).expect("it is there"),
    }
}

/// The store forgets the run; what the run had sent stands in the snapshot's own journal, until a person has decided.
fn log_lost(scenario: &Scenario) {
    for point in ["intent_durable:1", "answer_read:2", "manifest_written:1"] {
        let mut case = committed(scenario);
        case.write(&people(5..=18));
        lose_log(&mut case, point);
        let words = ["counterflow.db", "older than the snapshot of `people`", "--keep-snapshot"];
        for _ in 0..2 {
            assert_refused(&mut case, &words);
        }
        say_that_it_is_true(&mut case);
        case.judge();
    }
    // One that had sent nothing leaves nothing to tell it by.
    let mut case = committed(scenario);
    case.write(&people(5..=18));
    lose_log(&mut case, "before_intent:1");
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.judge();
}

/// Whoever says that the snapshot is true, although the store has lost a run, may not know that the key changed as well.
fn lost_and_changed(scenario: &Scenario) {
    let mut case = committed(scenario);
    case.write(&people(5..=18));
    lose_log(&mut case, "answer_read:2");
    case.workspace.change(|setup| {
        setup.sql = "SELECT CAST(id AS INT) AS id, counter, checksum, email FROM people".to_owned();
    });
    case.say("the key changed");
    assert_refused(&mut case, &["older than the snapshot of `people`", "--keep-snapshot"]);
    let before = case.oracle.request_count();
    let refused = case.sync(&["--keep-snapshot"]).finished;
    assert_halted(&case, &refused, &["the key changed", "--keep-snapshot"]);
    assert_halts(&mut case, &["the key changed", "--keep-snapshot", "rebaseline people -m WHY"]);
    assert_eq!(case.oracle.request_count(), before, "nothing was sent\n{}", case.print());
    case.sync(&["--keep-snapshot"]).expect(4, "partial", &[("unknown", 0)]);
    case.judge_leaving(&Left { held: [3, 4].into(), ..Left::default() });
}

fn log_of_committed_lost(scenario: &Scenario) {
    for point in ["manifest_renamed:1", "before_pruning:1"] {
        let mut case = committed(scenario);
        case.write(&people(5..=18));
        let log = lose_log(&mut case, point);
        let words = ["counterflow.db", "older than the snapshot of `people`", "-wal", "rebaseline"];
        assert_refused(&mut case, &words);
        std::fs::remove_file(database(&case)).expect("it is there");
        log.put_back();
        say_that_it_is_true(&mut case);
        case.judge();
    }
}

/// Ends a run at this point and loses the database's log; the state before the loss.
fn lose_log(case: &mut Case, point: &str) -> Copy {
    let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", point)]);
    assert!(case.end(started).signal.is_some(), "it was killed at {point}");
    let kept = Copy::of(&case.workspace.state());
    let log = case.workspace.state().join(LOG);
    assert!(log.metadata().is_ok_and(|log| log.len() > 0), "a kill leaves the log");
    std::fs::remove_file(log).expect("it is there");
    case.say("the database's log is lost");
    case.runs_are_lost();
    kept
}

fn older(scenario: &Scenario) {
    let mut case = committed(scenario);
    let older = std::fs::read(database(&case)).expect("it is there");
    for last in [18, 21] {
        case.write(&people(5..=last));
        case.sync(&[]).expect(0, "succeeded", &[]);
    }
    let latest = std::fs::read(database(&case)).expect("it is there");
    write(&database(&case), Some(&older));
    case.say("the database is put back as it was two runs ago");
    assert_halts(
        &mut case,
        &["counterflow.db", "older than the snapshot of `people`", "rebaseline"],
    );
    write(&database(&case), Some(&latest));
    case.judge();
}
