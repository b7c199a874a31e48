//! Runs that end before their first row: failed, killed or stopped while starting; nothing asked for is forgotten.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::process::Process;
use crate::support::server::until;
use crate::support::workspace::{Setup, Workspace};

/// How soon a process that is told to stop has ended: `drain_timeout` and a second.
const AT_ONCE: Duration = Duration::from_secs(2);
/// The run is stored, and its snapshot is not open yet.
const FIRST: &str = "run_started";
/// The run has opened its epoch.
const OPENED: &str = "before_pruning";

fn workspace(oracle: &Oracle) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { drain_timeout: "1s", ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace
}

fn mirror(oracle: &Oracle) -> Workspace {
    let workspace = workspace(oracle);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace
}

/// A run that is held at this point while it starts; it goes on where it hears a stop.
fn starting(workspace: &Workspace, point: &str, more: &[&str]) -> Process {
    let held = workspace.path().join("held");
    // Who was killed where it was held has left it.
    let _ = std::fs::remove_file(&held);
    let args = [&["--format", "json", "sync", "people"][..], more].concat();
    let hold = format!("{point}:1:held");
    let process = workspace.spawn_with(&args, &[("COUNTERFLOW_HOLD_AT", &hold)]);
    until("it is held", || held.exists().then_some(()));
    assert_eq!(workspace.json(&["runs"])[0]["phase"], json!("starting"));
    process
}

#[test]
fn a_full_resync_that_failed_to_start_is_made_by_the_next_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle);
    std::fs::remove_file(workspace.path().join("people.csv")).expect("the file is there");
    workspace.sync(&["--full"]).expect(1, "failed", &[]);
    workspace.sync(&[]).expect(1, "failed", &[]);
    workspace.write_people(&people(1..=20));
    let report = workspace.sync(&[]).expect_kind("full", "open_epoch");
    report.expect(0, "succeeded", &[("upserts", 20), ("delivered", 20)]);
    check_mirror(&oracle, &expected(&people(1..=20)));
    workspace.sync(&[]).expect_kind("incremental", "usual").expect(
        0,
        "succeeded",
        &[("requests", 0)],
    );
}

#[test]
fn a_full_resync_that_was_killed_while_starting_is_made_by_the_next_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle);
    let process = starting(&workspace, OPENED, &["--full"]);
    assert_eq!(workspace.status()["is_epoch_open"], json!(true), "it is opened first of all");
    process.kill();
    let report = workspace.sync(&[]).expect_kind("full", "requested");
    report.expect(0, "succeeded", &[("delivered", 20)]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_signal_while_starting_ends_the_run_at_once() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    for (signal, code) in [(Process::sigint as fn(&Process), 130), (Process::sigterm, 143)] {
        let process = starting(&workspace, FIRST, &[]);
        let told = Instant::now();
        signal(&process);
        let report = workspace.report(process).expect(code, "cancelled", &[("rows_read", 0)]);
        assert!(report.json["kind"].is_null(), "the start did not come to its end: {report:#?}");
        let took = report.finished.ended.saturating_duration_since(told);
        assert!(took <= AT_ONCE, "{took:?} {report:#?}");
    }
    assert_eq!(oracle.connections(), 0, "{}", oracle.print());
    workspace.sync(&[]).expect_kind("full", "first_run").expect(0, "succeeded", &[]);
}

#[test]
fn a_stop_while_starting_ends_the_run_at_once() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    for more in [&[][..], &["--now"]] {
        let process = starting(&workspace, FIRST, &[]);
        let told = Instant::now();
        let mut args = vec!["stop", "people", "--yes"];
        args.extend_from_slice(more);
        workspace.run(&args).expect_code(0);
        let report = workspace.report(process).expect(6, "cancelled", &[("rows_read", 0)]);
        assert!(report.json["kind"].is_null(), "the start did not come to its end: {report:#?}");
        let took = report.finished.ended.saturating_duration_since(told);
        assert!(took <= AT_ONCE, "{took:?} {report:#?}");
    }
    assert_eq!(oracle.connections(), 0, "{}", oracle.print());
}

#[test]
fn a_full_resync_that_was_stopped_while_starting_is_made_by_the_next_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle);
    let process = starting(&workspace, FIRST, &["--full"]);
    workspace.run(&["stop", "people", "--yes"]).expect_code(0);
    workspace.report(process).expect(6, "cancelled", &[]);
    let report = workspace.sync(&[]).expect_kind("full", "open_epoch");
    report.expect(0, "succeeded", &[("delivered", 20)]);
}

#[test]
fn a_first_run_over_a_model_without_rows_fails_and_says_so() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&[]);
    for more in [&[][..], &[], &["--full"]] {
        let report = workspace.sync(more).expect(1, "failed", &[("rows_read", 0)]);
        assert!(report.word("error").contains("`people` gave no rows"), "{report:#?}");
    }
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    assert_eq!(oracle.request_count(), 2, "{}", oracle.print());
}

#[test]
fn a_full_resync_that_was_killed_at_its_very_beginning_is_full_all_the_same_i11() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle);
    for point in [FIRST, OPENED] {
        starting(&workspace, point, &["--full"]).kill();
        let next = workspace.sync(&[]).expect_kind("full", "requested");
        next.expect(0, "succeeded", &[("delivered", 20)]);
    }
}

/// The process dies before the run has opened anything, and a person does not let the next one take the run up.
#[test]
fn a_full_resync_that_was_killed_and_then_stopped_is_owed_to_the_next_run_i11() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle);
    let args = ["--format", "json", "sync", "people", "--full"];
    let process = workspace.spawn_with(&args, &[("COUNTERFLOW_END_AT", "run_started:1")]);
    assert!(workspace.end(process, SOON).signal.is_some(), "it was ended while starting");
    assert_eq!(workspace.json(&["runs"])[0]["phase"], json!("starting"));
    workspace.run(&["stop", "people", "--yes"]).expect_code(0);
    // Another process ends it as interrupted, and takes nothing up.
    workspace.run(&["pause", "people", "-m", "later"]).expect_code(0);
    workspace.run(&["resume", "people", "-m", "now"]).expect_code(0);
    let plan = workspace.json(&["plan", "people"]);
    assert_eq!(plan["kind"], json!("full"), "{plan:#}");
    let next = workspace.sync(&[]).expect_kind("full", "requested");
    next.expect(0, "succeeded", &[("delivered", 20)]);
    let next = workspace.sync(&[]).expect_kind("incremental", "usual");
    next.expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_run_of_another_sync_in_between_forgets_nothing_that_was_asked_for_i11() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { mode: "upsert", ..Setup::default() });
    let (head, people_sync) = {
        let config = workspace.config();
        let (head, sync) = config.split_once("syncs:\n  people:").expect("it has a sync");
        (head.to_owned(), sync.to_owned())
    };
    let both = format!("{head}syncs:\n  people:{people_sync}\n  others:{people_sync}");
    workspace.write("counterflow.yaml", &both);
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    starting(&workspace, FIRST, &["--full"]).kill();
    workspace.run(&["sync", "others"]).expect_code(0).expect_printed(&["run 2 of `people` was"]);
    let next = workspace.sync(&[]).expect_kind("full", "requested");
    next.expect(0, "succeeded", &[("delivered", 20)]);
}
