//! Pause and resume, by the command line and over HTTP, with a server and without one.

use counterflow::store::{Audited, Store};
use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const PAUSE: &str = "/api/v1/syncs/people/pause";
const RESUME: &str = "/api/v1/syncs/people/resume";
/// No test lasts until it fires.
const YEARLY: &str = "schedule: { cron: \"30 3 29 2 *\" }";

/// A workspace whose server listens on a free port.
fn workspace(oracle: &Oracle, sync: &'static str) -> Workspace {
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let setup = Setup { concurrency: 1, head, sync, ..Setup::default() };
    Workspace::new(oracle, setup)
}

/// Says `paused: true` in the config, or takes it out.
fn declare(workspace: &Workspace, is_paused: bool) {
    let open = workspace.config();
    let paused = open.replace("    mode:", "    paused: true\n    mode:");
    workspace.write("counterflow.yaml", if is_paused { &paused } else { &open });
}

fn why(message: &str) -> String {
    json!({ "message": message }).to_string()
}

/// The audit log, the oldest first, without the runs that were asked for: command, run and message.
fn audit(workspace: &Workspace) -> Vec<(String, Option<u64>, Option<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let log = runtime.expect("there are threads").block_on(async {
        let store = Store::open_beside(&workspace.state()).await.expect("there is a state");
        store.audit_log(100).await.expect("the audit log can be read")
    });
    let entry = |one: Audited| {
        assert_eq!(one.sync.as_deref(), Some("people"));
        (one.command, one.run.map(|run| run.0), one.message)
    };
    let is_pause = |one: &Audited| !one.command.starts_with("sync");
    log.into_iter().rev().filter(is_pause).map(entry).collect()
}

fn said(command: &str, run: Option<u64>, message: &str) -> (String, Option<u64>, Option<String>) {
    (command.to_owned(), run, Some(message.to_owned()))
}

#[test]
fn a_sync_that_begins_paused_is_activated_by_a_resume_with_its_reason_a1() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    workspace.write_people(&people(1..=3));
    declare(&workspace, true);
    let way_out = ["`people` is paused by `paused: true`", "counterflow resume people -m WHY"];
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&way_out);
    // Before there is any state.
    let again = ["pause", "people", "-m", "not yet"];
    workspace.run(&again).expect_code(0).expect_printed(&["paused already, by `paused: true`"]);
    workspace.run(&["resume", "people"]).expect_code(2).expect_printed(&["--message"]);
    workspace.run(&["resume", "nobody", "-m", "x"]).expect_code(2).expect_printed(&["`nobody`"]);
    let resume = ["resume", "people", "-m", "agreed with the CRM team"];
    workspace.run(&resume).expect_code(0).expect_printed(&["`people` is resumed"]);
    workspace.run(&resume).expect_code(0).expect_printed(&["is not paused"]);
    let status = workspace.status();
    assert_eq!(
        (&status["is_paused"], &status["is_paused_in_config"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(status["pause"]["message"], "agreed with the CRM team");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
    check_mirror(&oracle, &expected(&people(1..=3)));
    assert_eq!(audit(&workspace), [said("resume", None, "agreed with the CRM team")]);
}

#[test]
fn a_sync_is_paused_before_it_ever_ran_and_json_says_what_came_of_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    workspace.write_people(&people(1..=3));
    let answered = |is_paused: bool, is_changed: bool| json!({ "sync": "people", "is_paused": is_paused, "is_changed": is_changed, "until": null, "run": null, "phase": null });
    for is_changed in [true, false] {
        assert_eq!(
            workspace.json(&["pause", "people", "-m", "agree first"]),
            answered(true, is_changed)
        );
    }
    let reason = ["`people` is paused since", ": agree first"];
    for more in [&[][..], &["--full"]] {
        let words = [&["sync", "people"][..], more].concat();
        workspace.run(&words).expect_code(2).expect_printed(&reason);
    }
    for is_changed in [true, false] {
        assert_eq!(
            workspace.json(&["resume", "people", "-m", "agreed"]),
            answered(false, is_changed)
        );
    }
    workspace.run(&["status"]).expect_code(0).expect_printed(&["resumed", ": agreed"]);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
}

#[test]
fn a_changed_value_of_the_file_wins_over_a_record_and_the_record_does_not_come_back() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    workspace.write_people(&people(1..=3));
    declare(&workspace, true);
    workspace.run(&["resume", "people", "-m", "go"]).expect_code(0);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    declare(&workspace, false);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.run(&["pause", "people", "-m", "by hand"]).expect_code(0);
    declare(&workspace, true);
    let by_file = ["paused by `paused: true`"];
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&by_file);
    declare(&workspace, false);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(workspace.status()["pause"], Value::Null);
}

#[test]
fn a_pause_drains_the_run_and_drops_the_one_behind_it_and_a_resume_goes_on_in_its_kind_a4_c8() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    workspace.write_people(&people(1..=100));
    let server = Server::start(&workspace);
    oracle.on_request(4, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(4, SOON);
    let behind = server.run("");
    let paused = server.post(PAUSE, &why("the CRM moves")).expect(202).json;
    assert_eq!((&paused["is_paused"], &paused["is_changed"]), (&json!(true), &json!(true)));
    assert_eq!(paused["run"].as_u64(), Some(going));
    assert_eq!(
        (&paused["pause"]["who"], &paused["pause"]["message"]),
        (&json!("local"), &json!("the CRM moves"))
    );
    let reason = ["is paused since", "by local: the CRM moves", "counterflow resume people -m WHY"];
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &reason);
    server.wait_for_phase(going, "draining");
    oracle.release();
    let drained = server.ended(going);
    assert_eq!((&drained["phase"], &drained["stopped_by"]), (&json!("cancelled"), &json!("local")));
    assert_eq!(drained["stop_message"], "paused: the CRM moves");
    assert_eq!(drained["tally"]["delivered"], 40, "receipts of the drain count");
    let dropped = server.ended(behind);
    assert_eq!(dropped["phase"], "cancelled");
    let error = dropped["error"].as_str().expect("a reason");
    assert!(error.contains("by local: paused: the CRM moves"), "{dropped:#?}");

    let again = server.post(PAUSE, &why("me too")).expect(200).json;
    assert_eq!((&again["is_changed"], &again["run"]), (&json!(false), &Value::Null));
    assert_eq!(again["pause"], paused["pause"], "the first stands");
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&reason);
    let shown = ["paused since", "by local: the CRM moves"];
    workspace.run(&["status"]).expect_code(0).expect_printed(&shown);
    let standing = server.get("/api/v1/syncs/people").expect(200).json;
    assert_eq!(standing, workspace.status(), "API and command line say the same");
    assert_eq!((&standing["is_paused"], &standing["pause"]), (&json!(true), &paused["pause"]));
    assert_eq!(oracle.request_count(), 4);

    let resumed = server.post(RESUME, &why("it has moved")).expect(200).json;
    assert_eq!((&resumed["is_paused"], &resumed["is_changed"]), (&json!(false), &json!(true)));
    assert_eq!(server.post(RESUME, &why("twice")).expect(200).json["is_changed"], false);
    let next = server.ended(server.run(""));
    assert_eq!((&next["phase"], &next["reason"]), (&json!("succeeded"), &json!("open_epoch")));
    check_mirror(&oracle, &expected(&people(1..=100)));
    oracle.assert_redundant_at_most(0);
    server.end().expect_code(0);
    // Those that found everything so are written down too.
    let log = [
        said("pause", Some(going), "the CRM moves"),
        said("pause", None, "me too"),
        said("resume", None, "it has moved"),
        said("resume", None, "twice"),
    ];
    assert_eq!(audit(&workspace), log);
}

#[test]
fn whatever_is_wrong_with_a_pause_over_http_is_a_problem_and_changes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    let server = Server::start(&workspace);
    for command in ["pause", "resume"] {
        let path = format!("/api/v1/syncs/people/{command}");
        let nobody = format!("/api/v1/syncs/nobody/{command}");
        server.post(&nobody, &why("x")).expect_problem(404, &["`nobody`"]);
        for silent in ["", "{}", r#"{"message": " "}"#, r#"{"message": "\u008f\n"}"#] {
            server.post(&path, silent).expect_problem(422, &["`message`", "say why"]);
        }
        server.post(&path, r#"{"message": 7}"#).expect_problem(422, &["body"]);
        server.post(&path, r#"{"why": "x"}"#).expect_problem(422, &["`why`"]);
        server.get(&path).expect_problem(405, &["POST"]);
        workspace.run(&[command, "nobody", "-m", "x"]).expect_code(2).expect_printed(&["`nobody`"]);
    }
    assert_eq!(server.get("/api/v1/syncs/people").expect(200).json["pause"], Value::Null);
    server.end().expect_code(0);
    assert_eq!(audit(&workspace), []);
}

#[test]
fn the_command_line_pauses_and_resumes_beside_a_server_whose_config_counts() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, YEARLY);
    workspace.write_people(&people(1..=40));
    let server = Server::start(&workspace);
    // What the file says by now is not what the server works by, nor can: it does not know the variable.
    let paused = workspace.config().replace("    mode:", "    paused: true\n    mode:");
    workspace.write("counterflow.yaml", &paused.replace("${TOKEN}", "${ANOTHER}"));
    let known = [("ANOTHER", workspace.setup.token)];
    let command = |args: &[&str]| workspace.spawn_with(args, &known);
    let run = |args: &[&str]| workspace.end(command(args), SOON);
    oracle.on_next(Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    let pause = command(&["pause", "people", "-m", "bad data"]);
    server.wait_for_phase(going, "draining");
    oracle.release();
    let ended = format!("run {going}: cancelled");
    workspace.end(pause, SOON).expect_code(0).expect_printed(&["`people` is paused", &ended]);
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &["bad data"]);
    let standing = || server.get("/api/v1/syncs/people").expect(200).json;
    assert_eq!(standing()["next"], json!([]), "the schedule is silent");
    let again = run(&["pause", "people", "-m", "worse data"]).expect_code(0);
    again.expect_printed(&["paused already, since", ": bad data"]);
    run(&["resume", "people", "-m", "mended"]).expect_code(0);
    assert_eq!(standing()["next"].as_array().map(Vec::len), Some(5));
    let next = server.ended(server.run(""));
    assert_eq!((&next["phase"], &next["kind"]), (&json!("succeeded"), &json!("full")));
    check_mirror(&oracle, &expected(&people(1..=40)));
    server.end().expect_code(0);
    let log = [
        said("pause", Some(going), "bad data"),
        said("pause", None, "worse data"),
        said("resume", None, "mended"),
    ];
    assert_eq!(audit(&workspace), log);
}

#[test]
fn a_pause_outlives_the_server_and_what_a_killed_one_left_is_not_gone_on_with() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, YEARLY);
    workspace.write_people(&people(1..=40));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    let behind = server.run("");
    server.process.kill();
    let sent = oracle.request_count();
    let no_more = format!("no process goes on with run {going}");
    let pause = ["pause", "people", "-m", "night"];
    workspace.run(&pause).expect_code(0).expect_printed(&["`people` is paused", &no_more]);
    let shown = [": night", &format!("run {behind} was stopped and will not begin")];
    workspace.run(&["status"]).expect_code(0).expect_printed(&shown);

    let server = Server::start(&workspace);
    assert_eq!(server.ended(going)["phase"], "interrupted");
    let dropped = server.ended(behind);
    let error = dropped["error"].as_str().expect("a reason");
    assert!(error.contains("paused: night"), "{dropped:#?}");
    let finished = server.end().expect_code(0);
    assert_eq!(finished.json()["schedules"], json!([]));
    assert_eq!(oracle.request_count(), sent);

    workspace.run(&["resume", "people", "-m", "morning"]).expect_code(0);
    let server = Server::start(&workspace);
    let idle = until("it stands still", || {
        let standing = server.get("/api/v1/syncs/people").expect(200).json;
        (standing["unfinished"] == json!([])).then_some(standing)
    });
    assert_eq!(idle["is_paused"], false);
    assert_eq!(server.ended(server.run(""))["reason"], "open_epoch");
    check_mirror(&oracle, &expected(&people(1..=40)));
    let finished = server.end().expect_code(0);
    assert_eq!(finished.json()["schedules"][0]["sync"], "people");
}

#[test]
fn a_pause_beside_a_sync_by_hand_stops_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "");
    workspace.write_people(&people(1..=40));
    oracle.on_request(2, Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(2, SOON);
    let pause = workspace.spawn(&["pause", "people", "-m", "lunch"]);
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    workspace.end(pause, SOON).expect_code(0).expect_printed(&["run 1: cancelled"]);
    workspace.report(process).expect(6, "cancelled", &[("delivered", 20)]);
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&[": lunch"]);
    workspace.run(&["resume", "people", "-m", "back"]).expect_code(0);
    workspace.sync(&[]).expect_kind("full", "open_epoch").expect(0, "succeeded", &[]);
    check_mirror(&oracle, &expected(&people(1..=40)));
    oracle.assert_redundant_at_most(0);
}
