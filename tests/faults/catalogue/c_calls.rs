//! C1 and C2. A disk without room, and a disk that fails: each call of three stories on a file of the state is made to
//! fail, one after the other.

use super::Scenario;
use crate::calls::{self, Story, case_of};
use crate::strace::{self, Call};
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
    let is_wanted = |call: &Call| {
        call.is_creating || ["write", "pwrite64", "ftruncate"].contains(&call.name.as_str())
    };
    calls::each(scenario, "no space", is_wanted, |story, call| {
        fail(scenario, story, call, "ENOSPC", true)
    });
}

fn broken(scenario: &Scenario) {
    // What cannot be made or opened is C1 and C3.
    let is_wanted =
        |call: &Call| !call.is_creating && !call.name.starts_with("open") && !call.is_sending();
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
    let has_fired = strace::has_fired(&case.workspace.path().join("calls"));
    assert!(!finished.stderr.contains("panicked"), "{finished:#?}");
    assert_eq!(finished.signal, None, "{finished:#?}");
    if has_fired && !(is_tolerable(call) && finished.code == Some(0)) {
        let went_on = finished.code != Some(1);
        assert!(!went_on, "a run went on over a call that failed: {finished:#?}");
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
