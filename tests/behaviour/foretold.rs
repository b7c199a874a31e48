//! What is said of runs before and while they are made: `plan` agrees with the run that follows, and the tally of a run
//! that goes on can be read beside it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv, expected, keys, people};
use crate::support::server::until;
use crate::support::workspace::{Setup, Workspace};

/// What a plan foretells of a tally.
const FORETOLD: [&str; 8] =
    ["rows_read", "unchanged", "upserts", "invalid", "waived", "deletes", "held", "deferred"];

/// The next run comes to what the plan says: its kind, its reason, its counts and why deletes are held.
#[track_caller]
fn plan_agrees_with_the_run(oracle: &Oracle, workspace: &Workspace) -> Value {
    let requests = oracle.request_count();
    let plan = workspace.json(&["plan", "people"]);
    assert_eq!(workspace.json(&["plan", "people"]), plan, "a plan changes nothing");
    assert_eq!(oracle.request_count(), requests, "a plan sends nothing");
    let report = workspace.sync(&[]);
    for field in ["kind", "reason", "holds"] {
        assert_eq!(plan[field], report.json[field], "{field}: {plan:#} {report:#?}");
    }
    for count in FORETOLD {
        assert_eq!(plan["tally"][count], report.json["tally"][count], "{count} {report:#?}");
    }
    plan
}

/// Kills a run once `applied` of its requests are applied and not answered.
fn kill(oracle: &Oracle, workspace: &Workspace, applied: usize) {
    let before = oracle.request_count();
    (0..applied).for_each(|_| oracle.on_next(Fault::ApplyThenHold));
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(before + applied, SOON);
    process.kill();
    oracle.wait_until(SOON, |journal| journal.requests.iter().all(|request| !request.is_open));
}

#[test]
fn a_plan_beside_a_killed_run_agrees_with_the_next_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..Setup::default() });
    workspace.write_people(&people(1..=40));
    kill(&oracle, &workspace, 1);
    let plan = plan_agrees_with_the_run(&oracle, &workspace);
    assert_eq!((&plan["kind"], &plan["reason"]), (&json!("full"), &json!("open_epoch")));
    let mut next = people(6..=45);
    next.iter_mut().take(12).for_each(|person| person.counter = 2);
    workspace.write_people(&next);
    kill(&oracle, &workspace, 1);
    // One that was in doubt goes back to what it was, one that never was at the destination leaves.
    next[0].counter = 1;
    next.truncate(39);
    workspace.write_people(&next);
    plan_agrees_with_the_run(&oracle, &workspace);
    check_mirror(&oracle, &expected(&next));
}

#[test]
fn a_plan_counts_repeated_keys_rejections_and_held_deletes_as_the_run_does() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { max_deletes: Some("1"), concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=40));
    plan_agrees_with_the_run(&oracle, &workspace);
    oracle.always(Fault::RejectKeys(keys([7]), "invalid_email".into()));
    let mut next = people(4..=42);
    next.iter_mut().take(6).for_each(|person| person.counter = 2);
    let twice = format!("{}\n{}", csv(&next), "11,9,c,e\n12,1,c,e\n12,2,c,e\n,3,c,e\n");
    workspace.write("people.csv", &twice);
    let plan = plan_agrees_with_the_run(&oracle, &workspace);
    assert_eq!(plan["tally"]["held"], json!(3), "{plan:#}");
    assert_eq!(plan["tally"]["invalid"], json!(6), "11 and 12 with all their rows: {plan:#}");
    // The rejection is pending, the deletes are held.
    let plan = plan_agrees_with_the_run(&oracle, &workspace);
    assert_eq!(plan["tally"]["deferred"], json!(1), "{plan:#}");
    kill_with_change(&oracle, &workspace, &mut next);
    plan_agrees_with_the_run(&oracle, &workspace);
}

#[test]
fn where_keys_are_checked_first_a_plan_knows_of_repeated_keys_whatever_is_between_their_rows() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        Workspace::new(&oracle, Setup { sync: "check_keys: first", ..Setup::default() });
    let mut all = people(1..=20_000);
    all.extend([Person::new(1, 2), Person::new(9, 1), Person::new(9, 1)]);
    workspace.write_people(&all);
    let plan = plan_agrees_with_the_run(&oracle, &workspace);
    assert_eq!(plan["tally"]["invalid"], json!(5), "1 and 9 with all their rows: {plan:#}");
    let mut next = people(1..=20_000);
    next.iter_mut().take(5).for_each(|person| person.counter = 3);
    next.push(Person::new(2, 3));
    workspace.write_people(&next);
    let plan = plan_agrees_with_the_run(&oracle, &workspace);
    assert_eq!((&plan["tally"]["invalid"], &plan["tally"]["upserts"]), (&json!(2), &json!(5)));
}

/// A run is killed over a change of two persons and a removal.
fn kill_with_change(oracle: &Oracle, workspace: &Workspace, next: &mut Vec<Person>) {
    next.iter_mut().rev().take(2).for_each(|person| person.counter = 5);
    next.remove(10);
    workspace.write_people(next);
    oracle.clear_faults();
    kill(oracle, workspace, 1);
}

#[test]
fn a_plan_without_the_snapshot_that_was_there_is_refused_as_the_run_is() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let requests = oracle.request_count();
    let snapshots = workspace.state().join("snapshots");
    std::fs::remove_dir_all(snapshots.join("people")).expect("the snapshot has a folder");
    let plan = workspace.run(&["plan", "people"]).expect_code(1).expect_printed(&["rebaseline"]);
    let sync = workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["rebaseline"]);
    let error = plan.stderr.trim().trim_start_matches("error: ").to_owned();
    assert!(sync.printed().contains(&error), "{plan:#?} {sync:#?}");
    assert_eq!(oracle.request_count(), requests);
}

#[test]
fn the_tally_of_a_long_run_grows_and_a_killed_run_keeps_its_last() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..Setup::default() });
    workspace.write_people(&people(1..=100));
    oracle.always(Fault::SlowAnswer(Duration::from_secs(1)));
    let process = workspace.spawn_sync(&[]);
    let delivered = |run: &Value| run["tally"]["delivered"].as_u64().unwrap_or(0);
    let first = workspace.wait_for_run(|run| delivered(run) > 0);
    assert_eq!(first["tally"]["rows_read"], json!(100), "{first:#}");
    workspace.wait_for_run(|run| delivered(run) > delivered(&first));
    let shown = workspace.status()["unfinished"][0].clone();
    assert!(delivered(&shown) > delivered(&first), "{shown:#}");
    process.kill();
    oracle.clear_faults();
    let last = workspace.json(&["runs"])[0].clone();
    assert!(delivered(&last) >= delivered(&shown), "{last:#}");
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let killed = workspace.json(&["runs"])[1].clone();
    assert_eq!((&killed["phase"], &killed["tally"]), (&json!("interrupted"), &last["tally"]));
    check_mirror(&oracle, &expected(&people(1..=100)));
}

#[test]
fn a_plan_whose_files_change_while_they_are_read_promises_nothing() {
    let oracle = Oracle::start(&["id"]);
    let http = "identify: { get: /me, account: /account/id }, ";
    let workspace = Workspace::new(&oracle, Setup { http, ..Setup::default() });
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let asked = oracle.question_count();
    // The account is asked for once the files were listed.
    oracle.hold_question();
    let plan = workspace.spawn(&["plan", "people"]);
    until("it asks whose account it is", || (oracle.question_count() > asked).then_some(()));
    workspace.write_people(&people(1..=3));
    oracle.release();
    plan.wait(SOON).expect_code(1).expect_printed(&["changed during the read"]);
}
