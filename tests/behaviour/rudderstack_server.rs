//! The RudderStack wire where the server is in its way: tokens and limits, kills after an answer, a start that is not over,
//! a sync that left the config.

use serde_json::{Value, json};

use super::access::token;
use super::rudderstack::{ROOT, call, check_sync, ended, refused, start, sync, workspace};
use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Answered, Api, Server, until};
use crate::support::workspace::{Setup, Workspace};

fn ask(api: &Api, method: &str, path: &str, authorization: &str) -> Answered {
    let headers = [("authorization", authorization), ("content-type", "application/json")];
    api.ask(method, &format!("{ROOT}{path}"), &headers, "")
}

/// The ids of the syncs that are listed for this question, the newest first.
fn listed(api: &Api, query: &str) -> Vec<String> {
    let listed = call(api, "GET", &format!("/people/syncs?{query}"), "").expect(200).json;
    let syncs = listed["syncs"].as_array().expect("a list");
    syncs.iter().for_each(check_sync);
    assert_eq!(listed["paging"]["total"], syncs.len());
    syncs.iter().map(|sync| sync["id"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_bearer_token_is_taken_and_whoever_lacks_one_is_refused_in_the_words_of_the_wire() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    let [read, run] = ["read", "run"]
        .map(|scope| format!("Bearer {}", token(&workspace, scope, &["--scope", scope])));
    let nobody = server.ask("GET", &format!("{ROOT}/people/syncs"), &[], "");
    assert!(nobody.head.contains("www-authenticate: bearer"), "{nobody:#?}");
    refused(nobody, 401, "unauthorized", &["Authorization: Bearer"]);
    for wrong in ["Bearer wrong", "Bearer ", "Basic cnVubmVyOg=="] {
        refused(ask(&server, "POST", "/people/start", wrong), 401, "unauthorized", &["token"]);
    }
    ask(&server, "GET", "/people/syncs", &read).expect(200);
    for path in ["/people/start", "/people/stop"] {
        refused(ask(&server, "POST", path, &read), 403, "forbidden", &["`run`"]);
    }
    assert_eq!(oracle.connections(), 0);
    let id = ask(&server, "POST", "/people/start", &run).expect(200).json["syncId"].clone();
    let path = format!("/people/syncs/{}", id.as_str().expect("text"));
    until("the sync ends", || {
        let sync = ask(&server, "GET", &path, &read).expect(200).json;
        (sync["status"] == "succeeded").then_some(())
    });
    ask(&server, "POST", "/people/stop", &run).expect(204);
    server.end().expect_code(0);
}

#[test]
fn whoever_calls_too_often_is_told_so_in_the_words_of_the_wire() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(
        &oracle,
        Setup { head: "server: { listen: \"127.0.0.1:0\", rate_limit: 2/s }", ..Setup::default() },
    );
    let server = Server::start(&workspace);
    let path = format!("{ROOT}/people/syncs");
    let mut answers = (0..50).map(|_| server.ask_once("GET", &path, &[], ""));
    let told = answers.find(|answer| answer.status == 429).expect("50 at once are too many");
    assert!(told.head.contains("retry-after: 1"), "{told:#?}");
    refused(told, 429, "too_many_requests", &["ask again in 1 s"]);
    server.end().expect_code(0);
}

#[test]
fn a_stop_that_was_answered_outlives_a_kill_and_nothing_is_gone_on_with() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { drain_timeout: "10m", ..Setup::default() });
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = start(&server, "");
    oracle.wait_for_requests(2, SOON);
    call(&server, "POST", "/people/stop", "").expect(204);
    let behind = start(&server, "");
    assert_eq!(listed(&server, "status=running"), [behind.clone(), going.clone()]);
    call(&server, "POST", "/people/stop", "{}").expect(204);
    server.process.kill();
    let sent = oracle.request_count();

    let server = Server::start(&workspace);
    for id in [&going, &behind] {
        let stopped = ended(&server, id);
        assert_eq!(stopped["status"], "failed", "{stopped:#}");
    }
    assert_eq!(listed(&server, ""), [behind, going], "no other was begun");
    assert_eq!(oracle.request_count(), sent);
    let next = start(&server, "");
    assert_eq!(ended(&server, &next)["status"], "succeeded");
    check_mirror(&oracle, &expected(&people(1..=30)));
    server.end().expect_code(0);
}

#[test]
fn while_a_server_recovers_it_answers_for_runs_and_a_start_comes_through_once_it_is_ready() {
    let oracle = Oracle::start(&["id"]);
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let setup = Setup { head, concurrency: 1, ..Setup::default() };
    let mut workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let dead = start(&server, "");
    oracle.wait_for_requests(2, SOON);
    let behind = server.run("").to_string();
    server.process.kill();

    workspace.setup.environment.push(("COUNTERFLOW_HOLD_AT", "before_recovery:1:held".to_owned()));
    let held = workspace.path().join("held");
    let process = workspace.spawn(&["--format", "json", "serve"]);
    let api = Api::announced(&workspace, &process);
    until("it has taken up nothing yet", || held.exists().then_some(()));
    let shown = sync(&api, &dead);
    assert_eq!(
        (&shown["status"], &shown["run"]["phase"]),
        (&json!("failed"), &json!("interrupted"))
    );
    assert_eq!(sync(&api, &behind)["status"], "running", "it will be made");
    assert_eq!(listed(&api, "status=failed"), std::slice::from_ref(&dead));
    assert_eq!(listed(&api, "status=running"), std::slice::from_ref(&behind));
    refused(call(&api, "POST", "/people/start", ""), 503, "unavailable", &["starting"]);
    std::fs::remove_file(&held).expect("it is there");
    // As the clients do: once more where it was refused.
    let id = until("a start is answered", || {
        let answer = call(&api, "POST", "/people/start", "");
        match answer.status {
            200 | 409 => answer.json["syncId"].as_str().map(str::to_owned),
            _ => None,
        }
    });
    assert_eq!(ended(&api, &id)["status"], "succeeded");
    assert_eq!(ended(&api, &behind)["status"], "succeeded");
    check_mirror(&oracle, &expected(&people(1..=30)));
    process.sigterm();
    workspace.end(process, SOON).expect_code(0);
}

#[test]
fn runs_of_a_sync_that_left_the_config_are_answered_for_and_it_is_not_started() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    let id = start(&server, "");
    let before = ended(&server, &id);
    let config = workspace.config();
    workspace
        .write("counterflow.yaml", &config.replace("  people:\n    model", "  others:\n    model"));
    server.post("/api/v1/reload", "").expect(200);
    assert_eq!(sync(&server, &id), before);
    assert_eq!(listed(&server, ""), [id]);
    for command in ["start", "stop"] {
        let answer = call(&server, "POST", &format!("/people/{command}"), "");
        refused(answer, 404, "not_found", &["`people`"]);
    }
    let none = call(&server, "GET", "/others/syncs", "").expect(200).json;
    assert_eq!(none, json!({ "syncs": [], "paging": { "total": 0, "next": Value::Null } }));
    server.end().expect_code(0);
}
