//! The room that a run needs on the disk of the state: stated before it, looked for at its start, and about what it takes.

use serde_json::{Value, json};

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::workspace::{Setup, Workspace};

const FREE: &str = "COUNTERFLOW_FREE_DISK";
/// What a run needs where nothing is known yet.
const LEAST: u64 = 64 << 20;

fn has_free(workspace: &mut Workspace, free: impl ToString) {
    workspace.setup.environment = vec![(FREE, free.to_string())];
}

#[track_caller]
fn expect_too_little(oracle: &Oracle, workspace: &Workspace, more: &[&str]) {
    let sent = oracle.request_count();
    let report = workspace.sync(more);
    assert_eq!(oracle.request_count(), sent, "something was sent: {report:#?}");
    let report = report.expect(1, "failed", &[("rows_read", 0)]);
    let words = ["/state/snapshots/people` has 63 MiB free", "the run needs 6", "make room"];
    report.finished.expect_printed(&words);
}

#[test]
fn a_run_without_room_on_the_disk_fails_before_it_sends_and_one_in_full_stays_owed() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=20));
    has_free(&mut workspace, LEAST - 1);
    expect_too_little(&oracle, &workspace, &[]);
    has_free(&mut workspace, LEAST);
    workspace.sync(&[]).expect_kind("full", "first_run").expect(0, "succeeded", &[]);
    workspace.write_people(&people(3..=20));
    has_free(&mut workspace, LEAST - 1);
    expect_too_little(&oracle, &workspace, &[]);
    has_free(&mut workspace, 2 * LEAST);
    workspace.sync(&[]).expect_kind("incremental", "usual").expect(0, "succeeded", &[]);
    has_free(&mut workspace, LEAST - 1);
    expect_too_little(&oracle, &workspace, &["--full"]);
    has_free(&mut workspace, 2 * LEAST);
    let report = workspace.sync(&[]).expect_kind("full", "open_epoch");
    report.expect(0, "succeeded", &[("delivered", 18)]);
    check_mirror(&oracle, &expected(&people(3..=20)));
}

#[test]
fn a_disk_that_does_not_say_what_it_has_free_keeps_no_run_from_its_work() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=20));
    has_free(&mut workspace, "unknown");
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    report.finished.expect_printed(&["WARN", "how much room the disk has is not known"]);
}

/// What `doctor` says of the sync's disk.
fn looked(workspace: &Workspace) -> Value {
    let document = workspace.run(&["--format", "json", "doctor"]).json();
    let documents = document.as_array().expect("a list");
    documents.iter().find(|one| one["sync"] == "people").expect("the sync is in it").clone()
}

#[test]
fn plan_and_doctor_say_what_room_a_run_needs_and_whether_it_is_there() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=20));
    for (free, is_well) in [(LEAST - 1, false), (LEAST, true)] {
        has_free(&mut workspace, free);
        let plan = workspace.json(&["plan", "people"]);
        let mut room = plan["room"].clone();
        assert_eq!(room["needed_bytes"], LEAST, "{plan:#}");
        let warned = plan["warnings"].as_array().expect("a list").len();
        assert_eq!(warned, usize::from(!is_well), "{plan:#}");
        let looked = looked(&workspace);
        room["free_bytes"] = json!(free);
        assert_eq!((&looked["is_well"], &looked["room"]), (&json!(is_well), &room));
        let human = workspace.run(&["doctor"]).expect_code(if is_well { 0 } else { 1 });
        let word = if is_well { "people: well, " } else { "people: not well, " };
        human.expect_printed(&[word, "the run needs 64 MiB"]);
        workspace.run(&["plan", "people"]).expect_printed(&["the run needs 64 MiB"]);
        workspace.run(&["doctor", "crm"]).expect_code(0);
    }
}

/// Bytes of the files of the snapshot with names that begin so.
fn bytes(workspace: &Workspace, name: &str) -> u64 {
    let folder = workspace.state().join("snapshots/people");
    let entries = std::fs::read_dir(folder).expect("there is a snapshot").flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    named.map(|entry| entry.metadata().expect("it is there").len()).sum()
}

#[test]
fn a_full_run_takes_about_what_was_foretold() {
    for batch in [1, 100] {
        let oracle = Oracle::start(&["id"]);
        let workspace = Workspace::new(&oracle, Setup { batch, ..Setup::default() });
        workspace.write_people(&people(1..=2_000));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2_000)]);
        let looked = looked(&workspace);
        assert_eq!(looked["room"]["needed_bytes"], json!(LEAST), "{looked:#}");
        let needed = looked["needed_in_full_bytes"].as_u64().expect("it is a number");
        let segment = bytes(&workspace, "segment-");
        // The first commit opens the epoch, the second one is that of the run.
        let end = [("COUNTERFLOW_END_AT", "commit_begun:2")];
        let process = workspace.spawn_with(&["sync", "people", "--full"], &end);
        workspace.end(process, crate::support::SOON);
        let taken = segment + bytes(&workspace, "journal-");
        let foretold = needed - LEAST;
        let said = format!("batches of {batch}: {taken} bytes of {foretold}, {segment} a segment");
        assert!((taken..taken + taken / 4).contains(&foretold), "{said}");
        workspace.sync(&[]).expect(0, "succeeded", &[]);
    }
}
