//! What all commands over HTTP have in common: the audit, and keys by which a repetition is known.

use serde_json::{Value, json};

use super::access::execute;
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::{Answered, Api, Server};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";
const RUN: &str = "/api/v1/syncs/people/run";
const STOP: &str = "/api/v1/syncs/people/stop";
const PAUSE: &str = "/api/v1/syncs/people/pause";

fn workspace(oracle: &Oracle) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { head: LISTEN, ..Setup::default() });
    workspace.write_people(&people(1..=100));
    workspace
}

pub fn keyed(api: &Api, path: &str, key: &str, body: &str) -> Answered {
    let headers = [("Idempotency-Key", key), ("Content-Type", "application/json")];
    api.ask("POST", path, &headers, body)
}

/// Who, what, why and run of the newest commands.
pub fn log(api: &Api, limit: u32) -> Vec<Value> {
    let page = api.get(&format!("/api/v1/audit?limit={limit}")).expect(200).json;
    let entry = |e: &Value| json!([e["who"], e["command"], e["sync"], e["run"], e["message"]]);
    page.as_array().expect("a list").iter().map(entry).collect()
}

#[test]
fn every_command_is_audited_with_who_what_why_and_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = server.run(r#"{"message": "month end"}"#);
    oracle.wait_for_requests(2, SOON);
    let behind = server.run("");
    let joined = server.post(RUN, r#"{"full": true}"#).expect(202).json;
    assert_eq!(joined["is_joined"], true);
    server.post(STOP, r#"{"message": "wrong\nfile"}"#).expect(202);
    oracle.release();
    server.ended(going);
    server.ended(behind);
    server.post(STOP, "").expect(200);
    // What was refused did nothing.
    server.post(RUN, "{").expect(400);
    server.post("/api/v1/syncs/nobody/run", "").expect(404);
    assert_eq!(
        log(&server, 10),
        [
            json!(["local", "stop", "people", null, null]),
            json!(["local", "stop", "people", going, "wrong file"]),
            json!(["local", "sync --full", "people", behind, null]),
            json!(["local", "sync", "people", behind, null]),
            json!(["local", "sync", "people", going, "month end"]),
        ]
    );
    let first = server.get("/api/v1/audit?limit=2&sync=people").expect(200);
    assert!(first.head.contains("/api/v1/audit?limit=2&before=4&sync=people"), "{first:#?}");
    let second = server.get("/api/v1/audit?limit=2&before=4&sync=people").expect(200).json;
    assert_eq!(second[0]["entry"], 3);
    server.get("/api/v1/audit?limit=0").expect_problem(400, &["`limit`", "500"]);
    let shown = workspace.run(&["audit", "people"]).expect_code(0);
    shown.expect_printed(&["local", "sync --full", "month end", "wrong file"]);
    server.end().expect_code(0);
}

#[test]
fn a_command_that_cannot_be_audited_is_refused_and_does_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    execute(
        &workspace.state().join("counterflow.db"),
        "CREATE TRIGGER audit_is_full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    for (path, body) in [(RUN, ""), (STOP, ""), (PAUSE, r#"{"message": "why"}"#)] {
        server.post(path, body).expect_problem(500, &["counterflow.db"]);
    }
    keyed(&server, RUN, "k", "").expect_problem(500, &[]);
    let standing = server.get("/api/v1/syncs/people").expect(200).json;
    assert_eq!(standing["is_paused"], false, "{standing:#}");
    assert_eq!(standing["unfinished"].as_array().map(Vec::len), Some(1), "{standing:#}");
    oracle.release();
    assert_eq!(server.ended(going)["phase"], "succeeded");
    // Nothing goes: what has no effect is not done unseen either.
    server.post(STOP, "").expect_problem(500, &[]);
    server.end().expect_code(0);
}

#[test]
fn a_repetition_under_one_key_is_answered_as_the_first_was_and_has_no_second_effect() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    let first = keyed(&server, RUN, "night-1", r#"{"full": true}"#).expect(202);
    assert!(!first.head.contains("idempotency-replayed"), "{first:#?}");
    let run = first.json["run"].as_u64().expect("a number");
    server.ended(run);
    let again = keyed(&server, RUN, "night-1", r#"{"full": true}"#).expect(202);
    assert_eq!(again.json, first.json);
    for header in ["idempotency-replayed: true", &format!("location: /api/v1/runs/{run}")] {
        assert!(again.head.contains(header), "{again:#?}");
    }
    keyed(&server, RUN, "night-1", "{}").expect_problem(422, &["Idempotency-Key", "new one"]);
    keyed(&server, STOP, "night-1", r#"{"full": true}"#).expect_problem(422, &["another request"]);
    for wrong in [" ", "", "a b", &"k".repeat(256)] {
        keyed(&server, RUN, wrong, "").expect_problem(400, &["Idempotency-Key", "255"]);
    }
    // A refusal did nothing, and leaves its key free.
    keyed(&server, "/api/v1/syncs/nobody/run", "free", "").expect(404);
    keyed(&server, PAUSE, "free", r#"{"message": "why"}"#).expect(200);
    assert_eq!(log(&server, 10).len(), 2);
    server.process.sigkill();
    server.wait();

    let server = Server::start(&workspace);
    let after = keyed(&server, RUN, "night-1", r#"{"full": true}"#).expect(202);
    assert_eq!(after.json, first.json, "it survives the process");
    let runs = server.get("/api/v1/runs").expect(200).json;
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs:#}");
    server.end().expect_code(0);
}

#[test]
fn a_command_whose_answer_was_lost_is_known_by_its_audit() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    let first = keyed(&server, RUN, "lost", "").expect(202).json;
    let run = first["run"].as_u64().expect("a number");
    server.ended(run);
    let start = "/v2/retl-connections/people/start";
    let on_the_wire = keyed(&server, start, "lost-too", "").expect(200).json;
    // As after a kill between the effect and its answer.
    let forget = "UPDATE command_keys SET status = NULL, answer = NULL";
    execute(&workspace.state().join("counterflow.db"), forget);
    let again = keyed(&server, RUN, "lost", "").expect(200).json;
    assert_eq!(
        (&again["run"], &again["sync"], &again["state"]),
        (&json!(run), &json!("people"), &json!("done"))
    );
    assert_eq!(keyed(&server, start, "lost-too", "").expect(200).json, on_the_wire);
    assert_eq!(server.get("/api/v1/runs").expect(200).json.as_array().map(Vec::len), Some(2));
    server.end().expect_code(0);
}
