//! Who runs when, as seen from outside: shared budgets, priorities, limits, groups, sequences, sources that are off, pauses
//! that end, halts. The rules by themselves are tested in `control` and `domain`.

use serde_json::{Value, json};

use super::access::execute;
use super::http_commands::keyed;
use crate::support::SOON;
use crate::support::check::{check_mirror, expect_status};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

pub const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }";

/// A workspace with several syncs of one connection, each as `people` is but for the lines given; and a text before them.
pub fn workspace(oracle: &Oracle, head: &str, syncs: &[(&str, &str)]) -> Workspace {
    let setup = Setup { concurrency: 1, head: HEAD, sync: "shared: true", ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    let config = workspace.config();
    let (before, sync) = config.split_once("  people:\n    model").expect("there is a sync");
    let syncs: String = syncs
        .iter()
        .map(|(name, more)| format!("  {name}:\n    {more}\n    model{sync}"))
        .collect();
    let before = before.replace(HEAD, head);
    workspace.write("counterflow.yaml", &format!("{before}{syncs}"));
    workspace.write_people(&people(1..=3));
    workspace
}

/// Asks for a run of this sync; its number.
#[track_caller]
pub fn run(server: &Server, sync: &str) -> u64 {
    let path = format!("/api/v1/syncs/{sync}/run");
    server.post(&path, "").expect(202).json["run"].as_u64().expect("a number")
}

pub fn standing(server: &Server, sync: &str) -> Value {
    server.get(&format!("/api/v1/syncs/{sync}")).expect(200).json
}

#[test]
fn requests_of_runs_beside_each_other_share_the_connection_s_budget_e1_e3() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("a", ""), ("b", "")]);
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::ApplyThenHold);
    let first = run(&server, "a");
    oracle.wait_for_requests(1, SOON);
    let second = run(&server, "b");
    server.wait_for_phase(second, "reading");
    // It has rows to send, and time to: a whole start-up of it and more went by.
    let third = run(&server, "b");
    expect_status(&standing(&server, "b"), "Running", &[]);
    assert_eq!(oracle.request_count(), 1, "the one place is taken");
    oracle.release();
    for run in [first, second, third] {
        assert_eq!(server.ended(run)["phase"], "succeeded");
    }
    server.end().expect_code(0);
    oracle.assert_faults_fired();
}

#[test]
fn the_higher_priority_begins_first_and_the_limit_of_the_server_is_named_e4_b9() {
    let oracle = Oracle::start(&["id"]);
    let head = "server: { listen: \"127.0.0.1:0\", max_running: 1 }";
    let syncs =
        [("first", ""), ("low", "priority: low"), ("normal", ""), ("high", "priority: high")];
    let workspace = workspace(&oracle, head, &syncs);
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::ApplyThenHold);
    let first = run(&server, "first");
    oracle.wait_for_requests(1, SOON);
    let runs = ["low", "normal", "high"].map(|sync| run(&server, sync));
    expect_status(&standing(&server, "high"), "In Queue", &["at most 1 go at once", "max_running"]);
    assert_eq!(standing(&server, "high")["priority"], "high");
    oracle.release();
    let finished = |run| server.ended(run)["finished_at"].as_str().expect("it ended").to_owned();
    let [low, normal, high] = runs.map(finished);
    finished(first);
    assert!(high <= normal && normal <= low, "{high} {normal} {low}");
    let order: Vec<String> = oracle
        .requests()
        .iter()
        .map(|request| request.sent.run.clone().unwrap_or_default())
        .collect();
    let expected = [first, runs[2], runs[1], runs[0]].map(|run| run.to_string());
    assert_eq!(order, expected);
    server.end().expect_code(0);
    oracle.assert_faults_fired();
}

#[test]
fn a_group_starts_in_one_write_or_not_at_all() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{HEAD}\ngroups: {{ sales: {{}} }}");
    let syncs = [("a", "group: sales"), ("b", "group: sales\n    paused: true")];
    let workspace = workspace(&oracle, &head, &syncs);
    let server = Server::start(&workspace);
    server.post("/api/v1/syncs/a/pause", "{\"message\": \"night\"}").expect(200);
    let database = workspace.state().join("counterflow.db");
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON runs WHEN NEW.sync = 'b' BEGIN SELECT RAISE(ABORT, 'full'); END";
    execute(&database, refuse);
    let start = || keyed(&server, "/api/v1/groups/sales/start", "morning", "");
    start().expect_problem(500, &["counterflow.db"]);
    for sync in ["a", "b"] {
        assert_eq!(standing(&server, sync)["is_paused"], true, "`{sync}` is as it was");
    }
    assert_eq!(server.get("/api/v1/runs").expect(200).json, json!([]));
    execute(&database, "DROP TRIGGER full");
    let started = start().expect(202);
    for one in started.json["syncs"].as_array().expect("a list") {
        let run = server.ended(one["run"].as_u64().expect("a number"));
        assert_eq!(run["phase"], "succeeded", "{run:#}");
    }
    let answered = start().expect(202);
    assert_eq!(answered.json, started.json);
    // As after a kill between the effect and its answer.
    execute(&database, "UPDATE command_keys SET status = NULL, answer = NULL");
    let known = start().expect(200).json;
    assert_eq!((&known["state"], &known["command"]), (&json!("done"), &json!("group start sales")));
    assert_eq!(server.get("/api/v1/runs").expect(200).json.as_array().map(Vec::len), Some(2));
    server.end().expect_code(0);
}

#[test]
fn a_group_has_a_limit_a_status_and_is_stopped_and_started_as_one_b4_b9_b12() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{HEAD}\ngroups: {{ sales: {{ max_running: 1 }} }}");
    let syncs = [("a", "group: sales"), ("b", "group: sales"), ("other", "paused: true")];
    let workspace = workspace(&oracle, &head, &syncs);
    let server = Server::start(&workspace);
    let group = || server.get("/api/v1/groups/sales").expect(200).json;
    expect_status(&group(), "Idle", &[]);
    oracle.on_request(1, Fault::ApplyThenHold);
    let going = run(&server, "a");
    oracle.wait_for_requests(1, SOON);
    let waiting = run(&server, "b");
    expect_status(&standing(&server, "b"), "In Queue", &["a place in group `sales`; at most 1"]);
    expect_status(&group(), "Running", &[&format!("`a`: run {going} goes")]);

    workspace.run(&["group", "stop", "sales"]).expect_code(2).expect_printed(&["--yes"]);
    workspace
        .run(&["group", "stop", "nobody", "--yes"])
        .expect_code(2)
        .expect_printed(&["`sales`"]);
    server.post("/api/v1/groups/nobody/stop", "").expect_problem(404, &["/api/v1/groups"]);
    let stopped = server.post("/api/v1/groups/sales/stop", "{\"message\": \"night\"}").expect(202);
    assert_eq!(stopped.json["syncs"][0]["run"].as_u64(), Some(going), "{stopped:#?}");
    server.wait_for_phase(going, "draining");
    oracle.release();
    for run in [going, waiting] {
        assert_eq!(server.ended(run)["phase"], "cancelled");
    }
    expect_status(&group(), "Disabled", &["every sync is", "by local: group `sales`: night"]);
    let again = ["group", "stop", "sales", "--yes"];
    workspace.run(&again).expect_code(0).expect_printed(&["0 syncs were paused"]);
    assert_eq!(workspace.json(&["group", "status"])[0], group(), "the same by either way");

    workspace.write_people(&people(1..=6));
    oracle.on_next(Fault::ApplyThenHold);
    let before = oracle.request_count();
    let started = workspace.json(&["group", "start", "sales", "--yes", "-m", "morning"]);
    let runs: Vec<u64> = started["syncs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["run"].as_u64().expect("a number"))
        .collect();
    assert_eq!(runs.len(), 2);
    oracle.wait_for_requests(before + 1, SOON);
    expect_status(&group(), "Restarting", &["`a`: resumed", "its first run since"]);
    let again = server.post("/api/v1/groups/sales/start", "").expect(202).json;
    assert_eq!(again["syncs"][0]["run"].as_u64(), Some(runs[0]), "what goes is left alone");
    oracle.release();
    for run in runs {
        assert_eq!(server.ended(run)["phase"], "succeeded");
    }
    expect_status(&group(), "Idle", &[]);
    expect_status(&standing(&server, "other"), "Disabled", &["`paused: true`"]);
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=6)));
    oracle.assert_faults_fired();
}

#[test]
fn a_sync_runs_after_another_has_succeeded_and_a_new_one_at_once_b1() {
    let oracle = Oracle::start(&["id"]);
    let syncs = [("first", "start: now"), ("second", "schedule: { after: first }")];
    let workspace = workspace(&oracle, HEAD, &syncs);
    workspace.run(&["validate"]).expect_code(0).expect_printed(&["`second` runs after `first`"]);
    let server = Server::start(&workspace);
    let runs = until("both have run by themselves", || {
        let runs = server.get("/api/v1/runs").expect(200).json;
        let ended = runs.as_array()?.iter().filter(|run| run["phase"] == "succeeded").count();
        (ended == 2).then_some(runs)
    });
    assert_eq!((&runs[0]["sync"], &runs[0]["trigger"]), (&json!("second"), &json!("sequence")));
    assert_eq!((&runs[1]["sync"], &runs[1]["trigger"]), (&json!("first"), &json!("schedule")));
    assert_eq!(standing(&server, "second")["after"], "first");
    server.end().expect_code(0);
    let server = Server::start(&workspace);
    server.end().expect_code(0);
    let runs = workspace.json(&["runs"]);
    assert_eq!(runs.as_array().map(Vec::len), Some(2), "neither is new any more: {runs:#}");
}

#[test]
fn a_source_that_is_disabled_drains_its_syncs_and_keeps_them_from_running_c8() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "")]);
    let disable = ["source", "disable", "lake", "-m", "it moves"];
    workspace.run(&disable).expect_code(0).expect_printed(&["`lake` is disabled", "`people`"]);
    workspace.run(&disable).expect_code(0).expect_printed(&["it moves; nothing was changed"]);
    let way_out = ["source `lake` is disabled since", "counterflow source enable lake -m WHY"];
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&way_out);
    workspace
        .run(&["source", "enable", "sea", "-m", "x"])
        .expect_code(2)
        .expect_printed(&["`lake`"]);
    workspace.run(&["source", "enable", "lake", "-m", "moved"]).expect_code(0);

    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::ApplyThenHold);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    let waiting = server.run("");
    let why = "{\"message\": \"again\"}";
    server.post("/api/v1/sources/lake/disable", "{}").expect_problem(422, &["`message`"]);
    let disabled = server.post("/api/v1/sources/lake/disable", why).expect(202).json;
    assert_eq!(disabled["runs"], json!([going]), "{disabled:#}");
    server.wait_for_phase(going, "draining");
    oracle.release();
    assert_eq!(server.ended(going)["phase"], "cancelled");
    let dropped = server.ended(waiting);
    let reason = dropped["error"].as_str().expect("there is a reason");
    assert!(reason.contains("source `lake` disabled: again"), "{reason}");
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &way_out);
    expect_status(
        &standing(&server, "people"),
        "Disabled",
        &["source `lake` is disabled", "again"],
    );
    server.post("/api/v1/sources/lake/disable", why).expect(200);
    server.end().expect_code(0);
    let server = Server::start(&workspace);
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &way_out);
    let enabled = server.post("/api/v1/sources/lake/enable", why).expect(200).json;
    assert_eq!((&enabled["is_disabled"], &enabled["is_changed"]), (&json!(false), &json!(true)));
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    check_mirror(&oracle, &expected(&people(1..=3)));
    server.end().expect_code(0);
    oracle.assert_faults_fired();
}

#[test]
fn a_pause_with_an_end_ends_by_itself_while_a_server_runs_and_while_none_does() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "")]);
    let wrong = ["pause", "people", "-m", "x", "--for", "soon"];
    workspace.run(&wrong).expect_code(2).expect_printed(&["`--for`", "`2h`"]);
    let past = ["pause", "people", "-m", "x", "--until", "2020-01-01T00:00:00Z"];
    let words = ["`--until` is 2020-01-01T00:00:00Z, which has passed", "now it is 2", "`--for`"];
    workspace.run(&past).expect_code(2).expect_printed(&words);
    let pause = |length| ["pause", "people", "-m", "lunch", "--for", length];
    workspace.run(&pause("2h")).expect_code(0).expect_printed(&["is paused until 2"]);
    expect_status(&workspace.status(), "Disabled", &["until 2", "lunch"]);
    workspace.run(&pause("1s")).expect_code(0);
    until("the pause is over", || (workspace.status()["status"] != "Disabled").then_some(()));
    workspace.sync(&[]).expect(0, "succeeded", &[]);

    let server = Server::start(&workspace);
    let body = "{\"message\": \"tea\", \"for\": \"1s\"}";
    let paused = server.post("/api/v1/syncs/people/pause", body).expect(200).json;
    assert!(paused["pause"]["until"].is_string(), "{paused:#}");
    let bad = "{\"message\": \"tea\", \"for\": \"1s\", \"until\": \"2099-01-01T00:00:00Z\"}";
    server.post("/api/v1/syncs/people/pause", bad).expect_problem(422, &["keep one"]);
    let bad = "{\"message\": \"tea\", \"until\": \"2020-01-01T00:00:00Z\"}";
    let words = ["`until` is 2020-01-01T00:00:00Z, which has passed", "a later instant", "`for`"];
    server.post("/api/v1/syncs/people/pause", bad).expect_problem(409, &words);
    let resumed = until("the server resumes it", || {
        let pause = standing(&server, "people")["pause"].clone();
        (pause["is_paused"] == false).then_some(pause)
    });
    assert_eq!(
        (&resumed["who"], &resumed["message"]),
        (&json!("counterflow"), &json!("the pause by local is over: tea"))
    );
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    server.end().expect_code(0);
    oracle.assert_faults_fired();
}

#[test]
fn runs_that_halt_in_a_row_disable_their_sync_until_it_is_resumed_b6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "disable_after_halts: 2")]);
    let server = Server::start(&workspace);
    oracle.always(Fault::status(403));
    assert_eq!(server.ended(server.run(""))["phase"], "failed");
    expect_status(&standing(&server, "people"), "Failed", &["403"]);
    assert_eq!(server.ended(server.run(""))["phase"], "failed");
    let reasons = ["by counterflow: 2 runs in a row halted, the last was 2", "403"];
    until("it is disabled", || (standing(&server, "people")["status"] == "Disabled").then_some(()));
    expect_status(&standing(&server, "people"), "Disabled", &reasons);
    server.end().expect_code(0);
    expect_status(&workspace.status(), "Disabled", &reasons);
    oracle.clear_faults();
    let server = Server::start(&workspace);
    let refused = server.post("/api/v1/syncs/people/run", "");
    refused.expect_problem(409, &["403", "counterflow resume people -m WHY"]);
    workspace.run(&["resume", "people", "-m", "the right is back"]).expect_code(0);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    expect_status(&standing(&server, "people"), "Idle", &["succeeded"]);
    server.end().expect_code(0);
    oracle.assert_faults_fired();
}

#[test]
fn a_partial_run_above_the_limit_makes_the_sync_failed_and_a_resume_restarting_b10_b12() {
    let oracle = Oracle::start(&["id"]);
    let yearly = "schedule: { cron: \"30 3 29 2 *\" }\n    fail_above_rejected: 1";
    let workspace = workspace(&oracle, HEAD, &[("people", yearly)]);
    let reject = |ids: &[u32]| {
        let keys = crate::support::people::keys(ids.iter().copied());
        oracle.on_next(Fault::RejectKeys(keys, "no".to_owned()));
    };
    reject(&[1]);
    workspace.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
    expect_status(&workspace.status(), "Running", &["was partial"]);
    reject(&[1, 2]);
    workspace.sync(&["--full"]).expect(3, "partial", &[("rejected", 2)]);
    expect_status(&workspace.status(), "Failed", &["2 records were rejected", "more than 1"]);
    workspace.run(&["pause", "people", "-m", "look"]).expect_code(0);
    workspace.run(&["resume", "people", "-m", "mended"]).expect_code(0);
    expect_status(&workspace.status(), "Restarting", &["resumed 2", "its schedule is on"]);
    assert_eq!(workspace.status()["next"].as_array().map(Vec::len), Some(5));
    workspace.sync(&["--full"]).expect(0, "succeeded", &[]);
    expect_status(&workspace.status(), "Running", &["succeeded"]);
}
