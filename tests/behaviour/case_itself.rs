//! The judge is judged: a case sees how its processes end and what they log, and leaves none of them behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::json;

use crate::again;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{CANARY, expected, people};
use crate::support::server::{Api, until};
use crate::support::table::Mirror;
use crate::support::workspace::{LOG, Setup, Workspace};

/// What a check that must fail says.
#[track_caller]
fn said_by(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("the check must fail");
    let said = panic.downcast_ref::<String>().cloned();
    said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).expect("words")
}

fn case() -> Case {
    let mut case = Case::new(&again(), Setup::default());
    case.write(&people(1..=3));
    case
}

/// Ends a process that is started by this line of a shell, in which `"$@"` is the binary.
fn end(line: &str, environment: &[(&str, &str)]) {
    let mut case = case();
    let started = case.spawn_under(&["sh", "-c", line, "sh"], &[], environment);
    case.end(started);
}

const END_AT: &[(&str, &str)] = &[("COUNTERFLOW_END_AT", "run_started:1")];
/// A moment that no run comes to.
const END_AT_NOTHING: &[(&str, &str)] = &[("COUNTERFLOW_END_AT", "run_started:9")];

#[test]
fn a_process_that_is_told_to_abort_ends_so_or_well_and_in_no_other_way() {
    end("exec \"$@\"", END_AT);
    end("exec \"$@\"", END_AT_NOTHING);
    for environment in [END_AT, END_AT_NOTHING] {
        for line in [
            "exit 101",
            "exit 9",
            "kill -SEGV $$",
            "kill -KILL $$",
            "echo \"thread 'main' panicked\" >&2; exec \"$@\"",
        ] {
            let said = said_by(|| end(line, environment));
            assert!(said.starts_with("it ended badly"), "{line}: {said}");
        }
    }
}

#[test]
fn a_process_with_another_in_front_ends_as_one_without() {
    end("exec \"$@\"", &[]);
    end("kill -KILL $$", &[]);
    for line in [
        "exit 101",
        "exit 9",
        "kill -ABRT $$",
        "kill -SEGV $$",
        "echo \"thread 'main' panicked\" >&2; exec \"$@\"",
    ] {
        let said = said_by(|| end(line, &[]));
        assert!(said.starts_with("it ended badly"), "{line}: {said}");
    }
}

#[test]
fn what_a_server_logs_to_a_file_is_looked_at_as_what_it_prints() {
    for (logged, found) in
        [(CANARY, "I12: "), ("thread 'main' panicked", "it ended badly"), ("all is well", "")]
    {
        let setup = Setup { head: "server: { listen: \"127.0.0.1:0\" }", ..Setup::default() };
        let mut case = Case::new(&again(), setup);
        case.write(&people(1..=3));
        let process = case.workspace.spawn_logged(&["serve"], &[]);
        Api::of(&case.workspace, &process);
        let log = case.workspace.path().join(LOG);
        let mut whole = std::fs::read_to_string(&log).expect("it is text");
        whole.push_str(logged);
        let started = case.started(process);
        std::fs::write(&log, whole).expect("the log can be written");
        if found.is_empty() {
            assert!(case.kill(started).stderr.contains(logged), "it is what the process printed");
        } else {
            let said = said_by(|| drop(case.kill(started)));
            assert!(said.starts_with(found), "{said}");
        }
    }
}

#[test]
fn what_a_process_has_started_ends_with_it() {
    let is_there = |id: &str| {
        let line = std::fs::read_to_string(Path::new("/proc").join(id).join("stat"));
        line.is_ok_and(|line| !line.contains(") Z "))
    };
    for is_killed in [false, true] {
        let mut case = case();
        case.oracle.on_next(Fault::Hold);
        let line = "sleep 600 >/dev/null 2>&1 & echo $! >beside; exec \"$@\"";
        let started = case.spawn_under(&["sh", "-c", line, "sh"], &[], &[]);
        case.oracle.wait_for_requests(1, SOON);
        let beside = std::fs::read_to_string(case.workspace.path().join("beside"));
        let beside = beside.expect("it was started").trim().to_owned();
        assert!(is_there(&beside));
        if is_killed {
            case.kill(started);
        } else {
            drop(started);
        }
        until("what was started beside it is gone", || (!is_there(&beside)).then_some(()));
    }
}

#[test]
fn a_snapshot_ahead_of_a_table_of_any_shape_is_found_i3() {
    let mut mirror = Mirror::new(&again(), &["id"], Setup::default());
    let columns = ["id", "plan"];
    mirror.follow(&columns, &json!([[1, "free"], [2, null]]));
    // What was refused is taken for delivered.
    let defect = ("COUNTERFLOW_DEFECT", "html_taken_for_success".to_owned());
    mirror.workspace.setup.environment.push(defect);
    mirror.oracle.on_next(Fault::Html200);
    mirror.write(&columns, &json!([[1, "free"], [2, "pro"]]));
    mirror.workspace.sync(&[]);
    let said = said_by(|| mirror.assert_unbroken());
    assert!(said.contains("I3: the snapshot is ahead at [2]"), "{said}");
}

#[test]
fn a_snapshot_ahead_or_behind_is_found_without_a_case_i3_i4() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    check_mirror(&oracle, &expected(&people(1..=3)));
    workspace.setup.environment = vec![("COUNTERFLOW_DEFECT", "html_taken_for_success".to_owned())];
    oracle.on_next(Fault::Html200);
    workspace.write_people(&people(1..=4));
    workspace.sync(&[]);
    let said = said_by(|| check_mirror(&oracle, &expected(&people(1..=3))));
    assert!(said.contains("I3: the snapshot is ahead at [4]"), "{said}");
    let snapshots = workspace.state().join("snapshots");
    std::fs::remove_dir_all(snapshots.join("people")).expect("it is there");
    let other = Workspace::new(&oracle, Setup::default());
    other.write_people(&people(1..=2));
    other.sync(&[]).expect(0, "succeeded", &[]);
    let said = said_by(|| check_mirror(&oracle, &expected(&people(1..=3))));
    assert!(said.contains("I4: [3] is at the destination, and nobody knows"), "{said}");
}
