//! The status of syncs and connections in words, with the reason, on the command line and over HTTP; schedules in intervals.

use super::access::execute;
use crate::support::SOON;
use crate::support::check::{check_mirror, expect_status};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";

#[test]
fn without_a_server_the_word_follows_from_the_last_result_and_the_config() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    expect_status(&workspace.status(), "Idle", &["no schedule"]);
    workspace.sync(&[]).expect(1, "failed", &[]);
    expect_status(&workspace.status(), "Failed", &["the last run, 1, failed", "people.csv"]);
    workspace.run(&["status"]).expect_code(0).expect_printed(&["people (mirror): Failed, "]);
    workspace.write_people(&people(1..=3));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    expect_status(&workspace.status(), "Idle", &["the last run, 2, succeeded"]);
    workspace.change(|setup| setup.sync = "schedule: { cron: \"0 0 1 1 *\" }");
    expect_status(
        &workspace.status(),
        "Running",
        &["the last run, 2, succeeded", "the schedule is on"],
    );
    workspace.change(|setup| setup.sync = "paused: true");
    expect_status(&workspace.status(), "Disabled", &["`paused: true`"]);
}

#[test]
fn a_snapshot_that_is_gone_is_unknown_and_never_healthy() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    std::fs::remove_dir_all(workspace.state().join("snapshots/people")).expect("it is there");
    expect_status(&workspace.status(), "Unknown", &["missing"]);
}

#[test]
fn a_store_that_cannot_be_read_is_unknown_and_a_failure_of_the_command() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let garbage = b"this is no database\n".repeat(1000);
    std::fs::write(workspace.state().join("counterflow.db"), garbage).expect("it can be written");
    let shown = workspace.run(&["--format", "json", "status"]).expect_code(1).json();
    expect_status(&shown[0], "Unknown", &["counterflow.db"]);
    workspace.run(&["status"]).expect_code(1).expect_printed(&["people (mirror): Unknown, "]);
}

#[test]
fn a_row_that_is_damaged_makes_its_own_sync_unknown_and_hides_no_other() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { sync: "shared: true", ..Setup::default() });
    let config = workspace.config();
    let (before, sync) = config.split_once("  people:\n    model").expect("there is a sync");
    let syncs = ["a", "b"].map(|name| format!("  {name}:\n    model{sync}")).concat();
    workspace.write("counterflow.yaml", &format!("{before}{syncs}"));
    workspace.write_people(&people(1..=3));
    for name in ["a", "b"] {
        workspace.run(&["sync", name]).expect_code(0);
    }
    for damage in [
        "UPDATE runs SET tally = '{' WHERE sync = 'a'",
        "UPDATE runs SET choice = '{' WHERE sync = 'a'",
    ] {
        execute(&workspace.state().join("counterflow.db"), damage);
        let shown = workspace.run(&["--format", "json", "status"]).expect_code(1).json();
        expect_status(&shown[0], "Unknown", &["counterflow.db"]);
        expect_status(&shown[1], "Idle", &["the last run, 2, succeeded"]);
    }
}

#[test]
fn a_server_shows_what_goes_what_was_killed_and_what_goes_on_after_it() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    let connection =
        |server: &Server| server.get("/api/v1/connections").expect(200).json[0].clone();
    expect_status(&connection(&server), "Idle", &["no schedule"]);
    oracle.on_request(2, Fault::ApplyThenHold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    let queued = server.run("");
    let shown = server.get("/api/v1/syncs/people").expect(200).json;
    expect_status(&shown, "Running", &[&format!("run {going} goes")]);
    assert_eq!(shown["status_reason"], workspace.status()["status_reason"]);
    expect_status(&connection(&server), "Running", &[&format!("run {going} goes")]);
    server.process.kill();
    expect_status(
        &workspace.status(),
        "In Queue",
        &[&format!("run {queued} waits for the next start")],
    );

    let before = oracle.request_count();
    oracle.on_next(Fault::ApplyThenHold);
    let server = Server::start(&workspace);
    server.wait_for_phase(queued, "reading");
    // What is held must be there before it is released.
    oracle.wait_for_requests(before + 1, SOON);
    expect_status(&workspace.status(), "Restarting", &[&format!("run {queued}")]);
    expect_status(&connection(&server), "Restarting", &[&format!("run {queued}")]);
    oracle.release();
    server.ended(queued);
    expect_status(&workspace.status(), "Idle", &["succeeded"]);
    check_mirror(&oracle, &expected(&people(1..=30)));
    server.end().expect_code(0);
}

#[test]
fn a_run_behind_the_limit_is_in_queue_and_says_so() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, sync: "shared: true", ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    let config = workspace.config();
    let (before, sync) = config.split_once("  people:\n    model").expect("there is a sync");
    let names = ["a", "b", "c", "d", "people"];
    let syncs = names.map(|name| format!("  {name}:\n    model{sync}")).concat();
    workspace.write("counterflow.yaml", &format!("{before}{syncs}"));
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    oracle.always(Fault::ApplyThenHold);
    let mut runs = Vec::new();
    for name in names {
        let path = format!("/api/v1/syncs/{name}/run");
        runs.push(server.post(&path, "").expect(202).json["run"].as_u64().expect("a number"));
    }
    for run in &runs[..4] {
        server.wait_for_phase(*run, "reading");
    }
    expect_status(&workspace.status(), "In Queue", &["run 5", "at most 4"]);
    let connection = server.get("/api/v1/connections").expect(200).json;
    expect_status(&connection[0], "Running", &["`a`: run 1 goes"]);
    assert_eq!(connection[0]["syncs"], serde_json::json!(names));
    oracle.wait_for_requests(1, SOON);
    oracle.clear_faults();
    oracle.release();
    for run in runs {
        assert_eq!(server.ended(run)["phase"], "succeeded");
    }
    server.end().expect_code(0);
}

#[test]
fn an_interval_fires_by_the_wall_clock_and_validate_says_when() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, sync: "schedule: { every: 1s }", ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=3));
    let valid = workspace.run(&["--format", "json", "validate"]).expect_code(0).json();
    assert_eq!(valid["schedules"][0]["sync"], "people");
    assert_eq!(valid["schedules"][0]["next"].as_array().map(Vec::len), Some(5), "{valid:#}");
    workspace.run(&["validate"]).expect_code(0).expect_printed(&["`people` fires at 2"]);
    let server = Server::start(&workspace);
    let runs = until("it has run twice by itself", || {
        let runs = server.get("/api/v1/runs?sync=people").expect(200).json;
        (runs.as_array()?.iter().filter(|run| run["phase"] == "succeeded").count() > 1)
            .then_some(runs)
    });
    assert_eq!(runs[1]["trigger"], "schedule");
    // Between two runs.
    let idle = until("it waits for its time", || {
        let shown = server.get("/api/v1/syncs/people").expect(200).json;
        shown["status_reason"].as_str()?.contains("succeeded").then_some(shown)
    });
    expect_status(&idle, "Running", &["succeeded"]);
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=3)));
}

#[test]
fn the_next_times_are_shown_by_the_clock_of_the_schedules_zone() {
    let oracle = Oracle::start(&["id"]);
    let sync = "schedule: { cron: \"30 3 1 1 *\", time_zone: Asia/Kolkata }";
    let workspace = Workspace::new(&oracle, Setup { sync, ..Setup::default() });
    let valid = workspace.run(&["--format", "json", "validate"]).expect_code(0).json();
    let (foretold, shown) = (&valid["schedules"][0]["next"], &workspace.status()["next"]);
    assert_eq!(foretold, shown);
    let times: Vec<&str> =
        shown.as_array().into_iter().flatten().flat_map(|at| at.as_str()).collect();
    assert_eq!(times.len(), 5);
    assert!(times.iter().all(|at| at.ends_with("-01-01T03:30:00+05:30")), "{times:?}");
    workspace.run(&["validate"]).expect_code(0).expect_printed(&times);
    workspace.run(&["status"]).expect_code(0).expect_printed(&times);
}
