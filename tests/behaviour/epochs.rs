//! Epochs that stay open, definitions that change under them, and what a new epoch makes due.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

const LESS: &str = "mapping: { id: id, counter: counter }";

fn mirror(oracle: &Oracle, count: u32) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { concurrency: 1, ..Setup::default() });
    workspace.write_people(&people(1..=count));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace
}

/// What the destination must hold under the mapping `LESS`.
fn less(people: &[Person]) -> BTreeMap<String, Value> {
    let record = |person: &Person| json!({ "id": person.id, "counter": person.counter });
    people.iter().map(|person| (person.key(), record(person))).collect()
}

/// Stops a full run in its middle: its epoch stays open.
fn stop_a_full_run(oracle: &Oracle, workspace: &Workspace) {
    let before = oracle.request_count();
    oracle.on_request(before + 3, Fault::Hold);
    let process = workspace.spawn_sync(&["--full"]);
    oracle.wait_for_requests(before + 3, SOON);
    process.sigterm();
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    workspace.report(process).expect(143, "cancelled", &[("delivered", 30)]);
    assert_eq!(workspace.status()["is_epoch_open"], json!(true));
}

#[test]
fn a_mapping_that_changes_while_an_epoch_is_open_is_sent_whole_in_a_new_one() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = mirror(&oracle, 60);
    stop_a_full_run(&oracle, &workspace);
    workspace.change(|setup| setup.sync = LESS);
    workspace.write_people(&people(2..=60));
    // Stopped in its middle too: the new epoch is open, and what it confirmed is not sent again.
    let before = oracle.request_count();
    oracle.on_request(before + 2, Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(before + 2, SOON);
    process.sigterm();
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    let report = workspace.report(process).expect(143, "cancelled", &[("delivered", 20)]);
    report.expect_kind("full", "mapping_changed");
    let report = workspace.sync(&[]).expect_kind("full", "open_epoch");
    report.expect(0, "succeeded", &[("delivered", 40), ("unchanged", 20), ("deleted", 1)]);
    check_mirror(&oracle, &less(&people(2..=60)));
    workspace.sync(&[]).expect_kind("incremental", "usual").expect(
        0,
        "succeeded",
        &[("requests", 0)],
    );
}

#[test]
fn a_mapping_that_changes_after_a_kill_in_an_open_epoch_leaves_nothing_at_the_old_one() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = mirror(&oracle, 60);
    stop_a_full_run(&oracle, &workspace);
    let before = oracle.request_count();
    oracle.on_next(Fault::ApplyThenHold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(before + 1, SOON);
    process.kill();
    oracle.wait_until(SOON, |journal| journal.requests.iter().all(|request| !request.is_open));
    workspace.change(|setup| setup.sync = LESS);
    let plan = workspace.json(&["plan", "people"]);
    assert_eq!(plan["tally"]["upserts"], json!(60), "{plan:#}");
    let report = workspace.sync(&[]).expect_kind("full", "mapping_changed");
    report.expect(0, "succeeded", &[("delivered", 60), ("unchanged", 0)]);
    check_mirror(&oracle, &less(&people(1..=60)));
}

#[test]
fn a_changed_path_of_the_destination_is_refused_until_a_rebaseline() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle, 20);
    let requests = oracle.request_count();
    let moved = workspace.config().replace("post: /contacts/batch\n", "post: /people/batch\n");
    assert_ne!(moved, workspace.config());
    workspace.write("counterflow.yaml", &moved);
    workspace.write_people(&people(3..=22));
    for command in ["plan", "sync"] {
        let refused = workspace.run(&[command, "people"]);
        assert!(matches!(refused.code, Some(1 | 2)), "{refused:#?}");
        refused.expect_printed(&["the destination changed", "rebaseline"]);
    }
    assert_eq!(oracle.request_count(), requests, "{}", oracle.print());
    workspace.write_config();
    workspace.run(&["rebaseline", "people", "-m", "it moved", "--yes"]).expect_code(0);
    let report = workspace.sync(&[]).expect_kind("full", "rebaselined");
    report.expect(0, "succeeded", &[("delivered", 20), ("deletes", 0)]);
    oracle.let_go(keys(1..=2));
    check_covered(&oracle, &expected(&people(1..=22)));
    assert!(oracle.deletes().is_empty(), "{}", oracle.print());
}

#[test]
fn a_rejected_record_waits_until_it_is_due_and_a_changed_mapping_makes_it_due() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys([3]), "invalid_email".into()));
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
    for _ in 0..2 {
        let report = workspace.sync(&[]).expect_kind("incremental", "usual");
        report.expect(3, "partial", &[("deferred", 1), ("unchanged", 4), ("requests", 0)]);
    }
    assert_eq!(oracle.count_of(&key(3)), 1, "{}", oracle.print());
    oracle.clear_faults();
    workspace.change(|setup| setup.sync = LESS);
    let report = workspace.sync(&[]).expect_kind("full", "mapping_changed");
    report.expect(0, "succeeded", &[("delivered", 5), ("deferred", 0)]);
    check_mirror(&oracle, &less(&people(1..=5)));
}
