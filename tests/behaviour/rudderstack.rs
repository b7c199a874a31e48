//! The RudderStack wire at `/v2`, rule by rule, as its clients use it: header names in lower case, a bearer token, bodies
//! that may be missing, and a connection of its own for each call.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, keys, people};
use crate::support::server::{Answered, Api, Server, until};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";
pub const ROOT: &str = "/v2/retl-connections";
const HEADERS: [(&str, &str); 2] =
    [("authorization", "Bearer some-token"), ("content-type", "application/json")];

/// A workspace whose server listens on a free port.
pub fn workspace(oracle: &Oracle, setup: Setup) -> Workspace {
    Workspace::new(oracle, Setup { head: LISTEN, concurrency: 1, ..setup })
}

/// One call as the clients make it.
pub fn call(api: &Api, method: &str, path: &str, body: &str) -> Answered {
    api.ask(method, &format!("{ROOT}{path}"), &HEADERS, body)
}

/// Asks for a run; its number.
#[track_caller]
pub fn start(api: &Api, body: &str) -> String {
    let answered = call(api, "POST", "/people/start", body).expect(200);
    answered.json["syncId"].as_str().expect("`syncId` is text").to_owned()
}

/// One sync, whole as its clients need it.
#[track_caller]
pub fn sync(api: &Api, id: &str) -> Value {
    let sync = call(api, "GET", &format!("/people/syncs/{id}"), "").expect(200).json;
    assert_eq!(sync["id"], id);
    check_sync(&sync);
    sync
}

#[track_caller]
pub fn check_sync(sync: &Value) {
    let status = sync["status"].as_str().expect("a word");
    assert!(["running", "succeeded", "failed"].contains(&status), "{sync:#}");
    let is_time = |at: &Value| {
        at.is_null() || at.as_str().is_some_and(|at| at.len() == 20 && at.ends_with('Z'))
    };
    assert!(sync["startedAt"].is_string() && is_time(&sync["startedAt"]), "{sync:#}");
    assert!(is_time(&sync["finishedAt"]), "{sync:#}");
    let error = sync["error"].as_str();
    assert_eq!(error.is_some_and(|error| !error.is_empty()), status == "failed", "{sync:#}");
    let metrics = &sync["metrics"];
    for part in ["succeeded", "failed", "changed"] {
        assert!(metrics[part]["total"].is_u64(), "{sync:#}");
    }
    assert!(metrics["total"].is_u64(), "{sync:#}");
}

/// Polls as the clients do, until the word is another than `running`.
#[track_caller]
pub fn ended(api: &Api, id: &str) -> Value {
    until("the sync ends", || Some(sync(api, id)).filter(|sync| sync["status"] != "running"))
}

/// Makes sure of a refusal in the clients' words.
#[track_caller]
pub fn refused(answered: Answered, status: u16, code: &str, words: &[&str]) -> Value {
    let answered = answered.expect(status);
    assert!(answered.head.contains("content-type: application/json"), "{answered:#?}");
    for field in ["error", "message", "code"] {
        let is_said = answered.json[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_said, "`{field}` in {answered:#?}");
    }
    assert_eq!(answered.json["code"], code, "{answered:#?}");
    let message = answered.json["message"].as_str().expect("it is text").to_owned();
    words.iter().for_each(|word| assert!(message.contains(word), "`{word}` in {answered:#?}"));
    answered.json
}

#[test]
fn status_is_running_until_the_end_and_then_one_of_two_words() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = start(&server, "");
    oracle.wait_for_requests(2, SOON);
    let shown = sync(&server, &going);
    assert_eq!((&shown["status"], &shown["run"]["phase"]), (&"running".into(), &"reading".into()));
    call(&server, "POST", "/people/stop", "").expect(204);
    server.wait_for_phase(going.parse().expect("a number"), "draining");
    assert_eq!(sync(&server, &going)["status"], "running");
    let queued = start(&server, "{}");
    let shown = sync(&server, &queued);
    assert_eq!((&shown["status"], &shown["run"]["phase"]), (&"running".into(), &"in queue".into()));
    assert_eq!(shown["finishedAt"], Value::Null);
    oracle.release();
    let stopped = ended(&server, &going);
    assert_eq!(
        (&stopped["status"], &stopped["run"]["phase"]),
        (&"failed".into(), &"cancelled".into())
    );
    assert!(
        stopped["error"].as_str().is_some_and(|error| error.contains("stopped by")),
        "{stopped:#}"
    );
    let last = ended(&server, &queued);
    assert_eq!(last["status"], "succeeded");
    assert!(last["finishedAt"].is_string());
    let metrics = serde_json::json!({
        "succeeded": { "total": 10 }, "failed": { "total": 0 }, "changed": { "total": 10 }, "total": 30,
    });
    assert_eq!(last["metrics"], metrics, "{last:#}");
    check_mirror(&oracle, &expected(&people(1..=30)));
    server.end().expect_code(0);
}

#[test]
fn a_missing_body_and_a_missing_kind_are_accepted_and_an_unknown_kind_is_refused() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    for (body, kind) in [
        ("", "full"),
        ("", "incremental"),
        ("{}", "incremental"),
        (r#"{"syncType":"incremental"}"#, "incremental"),
        (r#"{"syncType":"full"}"#, "full"),
    ] {
        let run = ended(&server, &start(&server, body));
        assert_eq!(
            (&run["status"], &run["run"]["kind"]),
            (&"succeeded".into(), &kind.into()),
            "{body}"
        );
    }
    // Whoever sends no body declares none.
    let bare = server.ask("POST", &format!("{ROOT}/people/start"), &HEADERS[..1], "").expect(200);
    ended(&server, bare.json["syncId"].as_str().expect("text"));
    let before = oracle.request_count();
    for body in [r#"{"syncType":"mirror"}"#, r#"{"syncType":1}"#, "[]", "{", "7"] {
        refused(call(&server, "POST", "/people/start", body), 400, "bad_request", &[]);
    }
    refused(call(&server, "POST", "/people/stop", "["), 400, "bad_request", &["JSON object"]);
    assert_eq!(oracle.request_count(), before);
    assert_eq!(server.get("/api/v1/runs").json.as_array().map(Vec::len), Some(6), "none began");
    server.end().expect_code(0);
}

#[test]
fn a_start_that_was_answered_outlives_a_kill_and_no_path_redirects() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    let begun = Instant::now();
    let id = start(&server, r#"{"syncType":"incremental"}"#);
    server.process.kill();
    assert!(begun.elapsed() < Duration::from_secs(10), "well within 30 s");
    let server = Server::start(&workspace);
    let run = sync(&server, &id);
    let is_kept = ["running", "succeeded"].map(Value::from).contains(&run["status"])
        || run["run"]["phase"] == "interrupted";
    assert!(is_kept, "{run:#}");
    until("what was asked for is done", || {
        let syncs = call(&server, "GET", "/people/syncs?status=succeeded", "").expect(200).json;
        (syncs["paging"]["total"] != 0).then_some(())
    });
    check_mirror(&oracle, &expected(&people(1..=3)));
    for path in ["/people/start/", "//people/start", "/people", "", "/"] {
        refused(call(&server, "POST", path, ""), 404, "not_found", &[]);
    }
    server.end().expect_code(0);
}

#[test]
fn a_restart_answers_within_3_seconds_and_no_run_of_a_dead_process_is_running() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=300));
    let server = Server::start(&workspace);
    oracle.on_request(3, Fault::ApplyThenHold);
    let first = start(&server, "");
    oracle.wait_for_requests(3, SOON);
    server.process.kill();
    // The recovery is held up as well: it goes on while earlier runs are asked for.
    oracle.on_next(Fault::ApplyThenHold);
    let begun = Instant::now();
    let server = Server::start(&workspace);
    let dead = sync(&server, &first);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((&dead["status"], &dead["run"]["phase"]), (&"failed".into(), &"interrupted".into()));
    assert!(
        dead["error"].as_str().is_some_and(|error| error.contains("process ended")),
        "{dead:#}"
    );
    oracle.wait_for_requests(4, SOON);
    let listed = call(&server, "GET", "/people/syncs", "").expect(200).json;
    assert_eq!(listed["syncs"][0]["status"], "running", "the recovery goes: {listed:#}");
    assert_eq!(listed["syncs"][1], sync(&server, &first));
    oracle.release();
    let recovery = listed["syncs"][0]["id"].as_str().expect("text").to_owned();
    assert_eq!(ended(&server, &recovery)["status"], "succeeded");
    check_mirror(&oracle, &expected(&people(1..=300)));
    server.end().expect_code(0);
}

#[test]
fn a_second_start_while_a_run_goes_names_it_and_one_during_a_drain_is_queued_behind_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = start(&server, "");
    oracle.wait_for_requests(2, SOON);
    for body in ["", r#"{"syncType":"full"}"#] {
        let answered = call(&server, "POST", "/people/start", body);
        let body = refused(answered, 409, "sync_already_running", &[&going, "`people`"]);
        assert_eq!(body["syncId"], going.as_str(), "a start whose answer was lost is recovered");
    }
    for body in ["", "{}"] {
        call(&server, "POST", "/people/stop", body).expect(204);
    }
    let behind = start(&server, "");
    assert_ne!(behind, going);
    assert_eq!(start(&server, r#"{"syncType":"full"}"#), behind, "one waits behind it");
    server.wait_for_phase(going.parse().expect("a number"), "draining");
    oracle.release();
    assert_eq!(ended(&server, &going)["status"], "failed");
    assert_eq!(ended(&server, &behind)["status"], "succeeded");
    check_mirror(&oracle, &expected(&people(1..=30)));
    // Nothing goes, and a stop is recorded all the same.
    call(&server, "POST", "/people/stop", "{}").expect(204);
    server.end().expect_code(0);
}

#[test]
fn rejected_records_fail_a_run_only_above_the_threshold_of_the_sync() {
    for (sync, word) in [
        ("", "succeeded"),
        ("fail_above_rejected: 2", "succeeded"),
        ("fail_above_rejected: 1", "failed"),
        ("fail_above_rejected: 0", "failed"),
    ] {
        let oracle = Oracle::start(&["id"]);
        oracle.always(Fault::RejectKeys(keys([3, 7]), "invalid_email".into()));
        let workspace = workspace(&oracle, Setup { sync, ..Setup::default() });
        workspace.write_people(&people(1..=9));
        let server = Server::start(&workspace);
        // The second finds them standing, and sends nothing.
        for _ in 0..2 {
            let run = ended(&server, &start(&server, ""));
            assert_eq!(
                (&run["status"], &run["metrics"]["failed"]["total"]),
                (&word.into(), &2.into()),
                "{sync}: {run:#}"
            );
            assert_eq!(run["run"]["phase"], "partial", "richer state is beside it");
            let is_told = run["error"].as_str().is_some_and(|error| error.contains("rejected"));
            assert_eq!(is_told, word == "failed", "{run:#}");
        }
        let status = server.get("/api/v1/syncs/people").expect(200).json;
        assert_eq!(status["status"] == "Failed", word == "failed", "the same rule: {status:#}");
        server.end().expect_code(0);
    }
}

#[test]
fn a_run_that_left_records_unsent_has_failed() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::status(503));
    let workspace = workspace(&oracle, Setup { attempts: 1, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    let run = ended(&server, &start(&server, ""));
    assert_eq!((&run["status"], &run["run"]["phase"]), (&"failed".into(), &"partial".into()));
    assert!(run["error"].as_str().is_some_and(|error| error.contains("503")), "{run:#}");
    server.end().expect_code(0);
}

#[test]
fn every_refusal_is_an_object_with_three_texts() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { sync: "paused: true", ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    for (method, path) in [
        ("POST", "/nobody/start"),
        ("POST", "/nobody/stop"),
        ("GET", "/nobody/syncs"),
        ("GET", "/nobody/syncs/1"),
    ] {
        refused(call(&server, method, path, ""), 404, "not_found", &["`nobody`"]);
    }
    for id in ["1", "seven", "18446744073709551615", "-1"] {
        let answered = call(&server, "GET", &format!("/people/syncs/{id}"), "");
        refused(answered, 404, "not_found", &[id, "/v2/retl-connections/people/syncs"]);
    }
    refused(call(&server, "GET", "/people/start", ""), 405, "method_not_allowed", &["POST"]);
    // A 409 would name a run.
    refused(call(&server, "POST", "/people/start", ""), 422, "sync_paused", &["paused"]);
    let long = " ".repeat(65 << 10);
    refused(call(&server, "POST", "/people/start", &long), 413, "too_large", &["body"]);
    let path = format!("{ROOT}/people/syncs");
    let elsewhere = server.ask("GET", &path, &[("Host", "evil.example")], "");
    refused(elsewhere, 403, "forbidden", &["evil.example"]);
    for query in [
        "status=aborted",
        "started_after=yesterday",
        "started_before=2026-13-01T00:00:00Z",
        "per_page=0",
        "per_page=201",
        "page=0",
        "page=x",
        "page=1&page=2",
    ] {
        let answered = call(&server, "GET", &format!("/people/syncs?{query}"), "");
        refused(answered, 400, "bad_request", &[]);
    }
    // Beside the wire problems stay problems.
    server.get("/nowhere").expect_problem(404, &[]);
    assert_eq!(oracle.request_count(), 0);
    server.end().expect_code(0);
}

#[test]
fn a_server_that_shuts_down_refuses_starts_and_answers_for_runs() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = start(&server, "");
    oracle.wait_for_requests(2, SOON);
    server.process.sigterm();
    server.wait_for_phase(going.parse().expect("a number"), "draining");
    let answered = call(&server, "POST", "/people/start", "");
    refused(answered, 503, "unavailable", &["shutting down"]);
    assert_eq!(sync(&server, &going)["status"], "running");
    call(&server, "POST", "/people/stop", "").expect(204);
    oracle.release();
    server.wait().expect_code(0);
}

#[test]
fn syncs_are_listed_newest_first_in_pages_and_sifted() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    let server = Server::start(&workspace);
    let list = |query: &str| {
        let listed = call(&server, "GET", &format!("/people/syncs{query}"), "").expect(200).json;
        let syncs = listed["syncs"].as_array().expect("a list").clone();
        syncs.iter().for_each(check_sync);
        let ids: Vec<String> =
            syncs.iter().map(|sync| sync["id"].as_str().expect("text").to_owned()).collect();
        (ids, listed["paging"]["total"].clone(), listed["paging"]["next"].clone())
    };
    assert_eq!(list(""), (vec![], 0.into(), Value::Null), "no run yet");
    let mut failed = Vec::new();
    for _ in 0..2 {
        failed.insert(
            0,
            ended(&server, &start(&server, ""))["id"].as_str().expect("text").to_owned(),
        );
    }
    workspace.write_people(&people(1..=3));
    let mut all = failed.clone();
    for _ in 0..3 {
        let run = ended(&server, &start(&server, ""));
        all.insert(0, run["id"].as_str().expect("text").to_owned());
    }
    assert_eq!(list(""), (all.clone(), 5.into(), Value::Null));
    let (first, total, next) = list("?per_page=2");
    assert_eq!((first.as_slice(), total), (&all[..2], 5.into()));
    let next = next.as_str().expect("a path").to_owned();
    assert!(next.starts_with("/v2/retl-connections/people/syncs?page=2"), "{next}");
    let (second, _, next) = list(next.split_once("/syncs").expect("a query").1);
    assert_eq!(second, all[2..4]);
    let (third, _, next) =
        list(next.as_str().expect("a path").split_once("/syncs").expect("a query").1);
    assert_eq!((third.as_slice(), next), (&all[4..], Value::Null));
    assert_eq!(list("?page=9").0, Vec::<String>::new());

    assert_eq!(list("?status=failed"), (failed.clone(), 2.into(), Value::Null));
    let (one, total, next) = list("?status=succeeded&per_page=1&page=2");
    assert_eq!((one.as_slice(), total), (&all[1..2], 3.into()));
    assert!(next.as_str().is_some_and(|next| next.contains("&status=succeeded")), "{next}");
    assert_eq!(list("?status=running").1, 0);

    assert_eq!(list("?started_after=2020-01-01T00:00:00Z").1, 5);
    assert_eq!(list("?started_after=2120-01-01T00:00:00%2B01:00").1, 0);
    assert_eq!(list("?started_before=2020-01-01T00:00:00Z&status=failed").1, 0);
    server.end().expect_code(0);
}
