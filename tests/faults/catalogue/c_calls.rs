//! C1 and C2. A disk without room, and a disk that fails: each call of three stories on a file of the state is made to
//! fail, one after the other.

use super::Scenario;
use crate::calls::{self, Story, case_of};
use crate::strace::{self, Call, Kind};
use crate::support::process::Finished;

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

fn no_space(scenario: &Scenario) {
    let is_wanted =
        |call: &Call| call.is_creating || [Kind::Write, Kind::Resize].contains(&call.kind());
    calls::each(scenario, "no space", is_wanted, |story, call| {
        fail(scenario, story, call, "ENOSPC", true)
    });
}

fn broken(scenario: &Scenario) {
    // What cannot be made or opened is C1 and C3.
    let is_wanted =
        |call: &Call| !call.is_creating && ![Kind::Open, Kind::Send].contains(&call.kind());
    calls::each(scenario, "a failing disk", is_wanted, |story, call| {
        fail(scenario, story, call, "EIO", false)
    });
}

/// One case; whether the call was met.
fn fail(scenario: &Scenario, story: Story, call: &Call, error: &str, is_lasting: bool) -> bool {
    let mut case = case_of(scenario, story);
    let before = case.oracle.request_count();
    let failing = strace::failing(call, &case.workspace.state(), error, is_lasting, "calls");
    let failing: Vec<&str> = failing.iter().map(String::as_str).collect();
    let started = case.spawn_under(&failing, &[], &[]);
    let finished = case.end(started);
    let log = case.workspace.path().join("calls");
    let has_fired = strace::has_fired(&log);
    assert!(!finished.stderr.contains("panicked"), "{finished:#?}");
    assert_eq!(finished.signal, None, "{finished:#?}");
    if has_fired {
        let report = finished.json();
        // How often the database is asked whether the run is to stop depends on how long it takes: which read is the n-th
        // differs from run to run. What is old is asked for behind the run, which has ended.
        let is_of_store = call.kind() == Kind::Read && call.file.starts_with("counterflow.db");
        let is_asked_again =
            ["a stop command could not be looked for", "what is old was not removed"]
                .iter()
                .any(|said| finished.stderr.contains(said));
        let is_moved = is_of_store && (is_asked_again || strace::has_fired_last(&log));
        let wanted = match wanted(call) {
            Wanted::Failure if is_moved && finished.code == Some(0) => Wanted::Success,
            Wanted::Either if finished.code == Some(0) => Wanted::Success,
            wanted => wanted,
        };
        match wanted {
            Wanted::Failure | Wanted::Either => {
                let went_on = finished.code != Some(1);
                assert!(!went_on, "a run went on over a call that failed: {call} {finished:#?}");
                assert_named(call, &finished);
            }
            Wanted::Success => {
                assert_eq!(finished.code, Some(0), "{call} fails: {finished:#?}");
                assert_eq!(report["outcome"], "succeeded", "{finished:#?}");
            }
        }
    }
    if has_fired && call.kind() == Kind::Sync && call.file.contains("/journal-") {
        let journal = case.workspace.state().join(&call.file);
        assert!(journal.exists(), "it was committed though it may not be safe\n{}", case.print());
        let sent = case.oracle.request_count() - before;
        assert!(call.nth > 1 || sent == 0, "{sent} requests left on an intent that was not safe");
    }
    case.judge();
    has_fired
}

/// What a run comes to when one of its calls fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It ends with 1, and names the place and the remedy.
    Failure,
    /// Nothing of it is changed.
    Success,
    /// As the threads take turns.
    Either,
}

fn wanted(call: &Call) -> Wanted {
    match (call.kind(), call.file.as_str()) {
        // SQLite folds its log when it is closed; where it cannot, the log is whole, and is read at the next opening. The call
        // of the same count of another thread may be one that matters.
        _ if call.is_folding => Wanted::Either,
        // Nor what it could not remove, at its opening; where it matters, the next one does.
        (Kind::Remove, "counterflow.db-wal" | "counterflow.db-shm") => Wanted::Success,
        // SQLite does not say that it could not sync the folder when it made its files; whoever made the folder does.
        (Kind::Sync, "") => Wanted::Either,
        // After the listing at the opening, which takes two calls, a snapshot that was set aside is looked for, to give the
        // run's reason another word.
        (Kind::List, "snapshots/people") if call.nth > 2 => Wanted::Success,
        _ => Wanted::Failure,
    }
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
