//! C1 and C2. A disk without room, and a disk that fails: each call of three stories on a file of the state is made to
//! fail, one after the other.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Scenario, is_exhaustive};
use crate::runner::catch;
use crate::strace::{self, Call};
use crate::support::case::Case;
use crate::support::people::people;
use crate::support::process::Finished;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "C1",
        "no space at any write ends the run with a word and loses nothing",
        no_space,
    )
    .needing(strace::is_there),
    Scenario::new(
        "C2",
        "a read, write or sync that fails ends the run with a word and loses nothing",
        broken,
    )
    .needing(strace::is_there),
];

/// How many calls of one name are made to fail where not all are asked for.
const SAMPLE: usize = 3;
/// Cases that are told at once.
const SIDE_BY_SIDE: usize = 4;

/// What happens before the run whose calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// Nothing: there is no state yet.
    First,
    /// A run; rows came, changed and went since.
    Changes,
    /// As `Changes`, and a run was killed in its middle.
    Killed,
}

fn no_space(scenario: &Scenario) {
    let is_wanted = |call: &Call| {
        call.is_creating || ["write", "pwrite64", "ftruncate"].contains(&call.name.as_str())
    };
    play(scenario, "ENOSPC", true, is_wanted);
}

fn broken(scenario: &Scenario) {
    // What cannot be made or opened is C1 and C3.
    play(scenario, "EIO", false, |call| !call.is_creating && !call.name.starts_with("open"));
}

/// Makes each wanted call fail in a case of its own.
fn play(scenario: &Scenario, error: &str, is_lasting: bool, is_wanted: fn(&Call) -> bool) {
    let mut calls = Vec::new();
    for story in [Story::First, Story::Changes, Story::Killed] {
        calls.extend(calls_of(scenario, story).into_iter().filter(is_wanted).map(|c| (story, c)));
    }
    let chosen = chosen(&calls);
    assert!(calls.len() > 100, "the stories make calls: {calls:?}");
    let (next, fired) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((story, call)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch(|| fail(scenario, *story, call, error, is_lasting)) {
                        Ok(has_fired) => {
                            fired.fetch_add(usize::from(has_fired), Ordering::Relaxed);
                        }
                        Err(said) => {
                            let said = format!("{error} at {call}, story {story:?}: {said}");
                            failures.lock().expect("nothing panics with the lock").push(said);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nothing panics with the lock");
    let (fired, chosen) = (fired.into_inner(), chosen.len());
    println!("{error}: {fired} of {chosen} calls failed as they were told, of {}", calls.len());
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
    assert!(fired * 2 >= chosen, "calls that were to fail were not met: {fired} of {chosen}");
}

/// All of these calls, or some of each name, spread over the stories.
fn chosen(calls: &[(Story, Call)]) -> Vec<&(Story, Call)> {
    let mut by_name = BTreeMap::<&str, Vec<&(Story, Call)>>::new();
    for call in calls {
        by_name.entry(&call.1.name).or_default().push(call);
    }
    let all = by_name.into_values();
    let some = |calls: Vec<_>| {
        let step = if is_exhaustive() { 1 } else { calls.len().div_ceil(SAMPLE) };
        // Not from the first on: what the first call of a story can do wrong is little.
        calls.into_iter().skip(step / 2).step_by(step)
    };
    all.flat_map(some).collect()
}

fn case_of(scenario: &Scenario, story: Story) -> Case {
    let setup = Setup { batch: 3, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=12));
    if story == Story::First {
        return case;
    }
    case.sync(&[]).expect(0, "succeeded", &[]);
    let mut next = people(3..=15);
    next.iter_mut().take(4).for_each(|person| person.counter = 2);
    case.write(&next);
    if story == Story::Killed {
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", "answer_read:2")]);
        assert!(case.end(started).signal.is_some(), "it was killed in its middle");
    }
    case
}

fn calls_of(scenario: &Scenario, story: Story) -> Vec<Call> {
    let mut case = case_of(scenario, story);
    let log = case.workspace.path().join("calls");
    let noting = strace::noting("calls");
    let started =
        case.spawn_under(&noting.iter().map(String::as_str).collect::<Vec<_>>(), &[], &[]);
    case.end(started).expect_code(0);
    strace::calls(&log, &case.workspace.state())
}

/// One case; whether the call was met.
fn fail(scenario: &Scenario, story: Story, call: &Call, error: &str, is_lasting: bool) -> bool {
    let mut case = case_of(scenario, story);
    let before = case.oracle.request_count();
    let failing = strace::failing(call, &case.workspace.state(), error, is_lasting, "calls");
    let failing: Vec<&str> = failing.iter().map(String::as_str).collect();
    let started = case.spawn_under(&failing, &[], &[]);
    let finished = case.end(started);
    let has_fired = strace::has_fired(&case.workspace.path().join("calls"));
    assert!(!finished.stderr.contains("panicked"), "{finished:#?}");
    assert_eq!(finished.signal, None, "{finished:#?}");
    if has_fired && !(is_tolerable(call) && finished.code == Some(0)) {
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        assert_named(call, &finished);
    }
    if has_fired && call.name == "fdatasync" && call.file.contains("journal") {
        let journal = case.workspace.state().join(&call.file);
        assert!(journal.exists(), "it was committed though it may not be safe\n{}", case.print());
        let sent = case.oracle.request_count() - before;
        assert!(call.nth > 1 || sent == 0, "{sent} requests left on an intent that was not safe");
    }
    case.judge();
    has_fired
}

/// Calls that may fail and change nothing: those with which SQLite folds its log when it is closed, which leave a log that
/// is whole; its sync of the folder, whose failure it does not tell; and the look for a set-aside snapshot, which gives a
/// run's reason another word.
fn is_tolerable(call: &Call) -> bool {
    let is_closing = call.is_last && call.name == "fsync" && call.file == "counterflow.db-wal";
    is_closing
        || matches!(
            (call.name.as_str(), call.file.as_str()),
            ("pwrite64" | "ftruncate" | "fsync" | "fdatasync", "counterflow.db")
                | ("pread64" | "unlink", "counterflow.db-wal")
                | ("unlink", "counterflow.db-shm")
                | ("fsync", "")
                | ("getdents64", "snapshots/people")
        )
}

/// The message names the place and the remedy.
fn assert_named(call: &Call, finished: &Finished) {
    let said = finished.printed();
    let name = call.file.rsplit('/').next().unwrap_or_default();
    let place = match name {
        "" | "server.json" => "/state",
        "manifest.tmp" => "`manifest`",
        _ if name.starts_with("counterflow.db") => "counterflow.db",
        name => name,
    };
    let remedies = ["make room", "make the disk usable", "check that", "check the", "check it"];
    let has_remedy = remedies.iter().any(|remedy| said.contains(remedy));
    assert!(said.contains(place) && has_remedy, "`{place}` and a remedy in {finished:#?}");
}
