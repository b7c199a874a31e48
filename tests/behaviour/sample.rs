//! A sample: chosen rows are really sent, whatever the delta says, and nothing else is said or done.

use serde_json::{Value, json};

use super::control_plane;
use crate::again;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::journal::Asked;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const SAMPLE: &str = "/api/v1/syncs/people/sample";
const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }";

fn setup() -> Setup {
    Setup { head: HEAD, ..Setup::default() }
}

/// How each record of a sample ended, by its key.
fn records(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let records = report["records"].as_array().expect("a sample tells of its records");
    records.iter().map(|one| (text(&one["key"]), text(&one["ended"]))).collect()
}

fn ended(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, ended)| ((*key).to_owned(), (*ended).to_owned())).collect()
}

/// Runs a sample by itself; its report.
fn sample(workspace: &Workspace, code: i32, more: &[&str]) -> Value {
    let args = [&["--format", "json", "sample", "people"][..], more].concat();
    workspace.run(&args).expect_code(code).json()
}

#[test]
fn chosen_rows_are_sent_whatever_the_delta_says_also_while_paused_a3_a7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, setup());
    workspace.write_people(&people(1..=30));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.run(&["pause", "people", "-m", "look first"]).expect_code(0);
    let mut next = people(2..=40);
    next[0].counter = 2;
    workspace.write_people(&next);
    let before = oracle.request_count();
    let named = sample(&workspace, 0, &["--key", "2", "--key", "3", "--key", "40"]);
    let delivered = [("2", "delivered"), ("3", "delivered"), ("40", "delivered")];
    assert_eq!(records(&named), ended(&delivered));
    assert_eq!((&named["kind"], &named["reason"]), (&json!("incremental"), &json!("sample")));
    assert_eq!(
        (&named["tally"]["rows_read"], &named["tally"]["delivered"]),
        (&json!(3), &json!(3))
    );
    workspace.write("keys.txt", "4\n\n 5 \n");
    assert_eq!(
        records(&sample(&workspace, 0, &["--keys", "keys.txt"])),
        ended(&[("4", "delivered"), ("5", "delivered")])
    );
    let by_sql = sample(&workspace, 0, &["--where", "id BETWEEN 6 AND 9", "--limit", "3"]);
    assert_eq!(by_sql["tally"]["delivered"], 3);
    assert_eq!(sample(&workspace, 0, &["--limit", "7"])["tally"]["delivered"], 7);
    let sent: Vec<_> = oracle.requests().split_off(before);
    assert!(!sent.is_empty() && oracle.deletes().is_empty(), "{}", oracle.print());
    let shown = workspace.run(&["sample", "people", "--key", "8"]).expect_code(0);
    shown.expect_printed(&["a sample of chosen rows", "`8` delivered"]);
    workspace.run(&["resume", "people", "-m", "all is well"]).expect_code(0);
    // What the sample delivered is known; the rest is as it was.
    workspace.sync(&[]).expect_kind("incremental", "usual").expect(
        0,
        "succeeded",
        &[("deleted", 1)],
    );
    check_mirror(&oracle, &expected(&next));
}

#[test]
fn a_sample_is_never_the_first_run_and_says_what_is_wrong_with_its_choice() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, setup());
    workspace.write_people(&people(1..=3));
    let first = workspace.run(&["sample", "people", "--limit", "2"]).expect_code(1);
    first.expect_printed(&["never run", "counterflow sync people"]);
    assert_eq!(oracle.request_count(), 0);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    for (more, words) in [
        (&["--limit", "0"][..], ["limit of 0", "say 1"]),
        (&["--where", " "], ["condition", "plan = 'pro'"]),
        (&["--where", "plan = 'pro'"], ["the condition", "plan"]),
        (&["--where", "id IN (SELECT 1)"], ["a subquery", "the model's SQL"]),
        (&["--where", "id"], ["the condition", "boolean"]),
        (&["--keys", "none.txt"], ["none.txt", "one key a line"]),
        (&[], ["no rows are chosen", "a limit, keys or a condition"]),
        (&["--key", "1", "--limit", "1"], ["--key", "--limit"]),
    ] {
        let args = [&["sample", "people"][..], more].concat();
        workspace.run(&args).expect_code(2).expect_printed(&words);
    }
    workspace.run(&["sample", "nobody", "--limit", "1"]).expect_code(2);
    let none = workspace.run(&["sample", "people", "--where", "id > 99"]).expect_code(1);
    none.expect_printed(&["no row of model `people` was chosen"]);
    let partly = sample(&workspace, 1, &["--key", "1", "--key", "nobody"]);
    assert_eq!(records(&partly), ended(&[("1", "delivered"), ("nobody", "missing")]));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_sample_under_a_changed_mapping_opens_no_epoch_and_the_next_run_does() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, setup());
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let mapping = "mapping: { id: id, counter: counter, checksum: checksum, email: email, n: id }";
    workspace.change(|setup| setup.sync = mapping);
    let report = sample(&workspace, 0, &["--key", "7"]);
    assert_eq!(report["tally"]["delivered"], 1);
    assert_eq!(oracle.record("[7]").expect("it is there")["n"], 7, "sent as it is mapped now");
    assert_eq!(workspace.status()["is_epoch_open"], false);
    let full = workspace.sync(&[]).expect_kind("full", "mapping_changed");
    full.expect(0, "succeeded", &[("delivered", 20)]);
}

#[test]
fn what_a_sample_said_under_options_or_a_body_that_are_taken_back_is_said_again() {
    const PLAIN: &str =
        "mapping: { id: id, counter: counter, checksum: checksum, email: { sql: email } }";
    const AS_TEXT: &str = "mapping: { id: id, counter: { numbers: text }, checksum: checksum, email: { sql: email } }";
    for is_killed in [false, true] {
        let oracle = Oracle::start(&["id"]);
        // One request at a time: the first batch of the sample, which has the row 7, is the one
        // that is answered before the second is held.
        let setup = Setup { sync: PLAIN, repeat: "never", concurrency: 1, ..setup() };
        let mut workspace = Workspace::new(&oracle, setup);
        workspace.write_people(&people(1..=20));
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        let counter = || oracle.record("[7]").expect("it is there")["counter"].clone();
        let usual = counter();
        workspace.change(|setup| setup.sync = AS_TEXT);
        if is_killed {
            // Applied, and its receipt is in the journal of a process that never commits.
            let second = oracle.request_count() + 2;
            oracle.on_request(second, Fault::Hold);
            let process = workspace.spawn(&["sample", "people", "--limit", "20"]);
            oracle.wait_for_requests(second, SOON);
            process.kill();
            oracle.release();
        } else {
            sample(&workspace, 0, &["--key", "7"]);
        }
        assert_eq!(counter(), json!(usual.to_string()), "said as it was mapped then");
        workspace.change(|setup| setup.sync = PLAIN);
        let sent = if is_killed { 20 } else { 1 };
        let next = workspace.sync(&[]).expect_kind("incremental", "usual");
        next.expect(0, "succeeded", &[("upserts", sent)]);
        assert_eq!(counter(), usual, "said as it is mapped now: {}", oracle.print());
        workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    }
}

#[test]
fn a_full_resync_that_is_owed_and_an_open_epoch_are_not_ended_by_a_sample() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..setup() });
    workspace.write_people(&people(1..=40));
    oracle.on_request(2, Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(2, SOON);
    process.sigint();
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    workspace.report(process).expect(130, "cancelled", &[("delivered", 20)]);
    sample(&workspace, 0, &["--where", "id > 30"]);
    assert_eq!(workspace.status()["is_epoch_open"], true);
    let next = workspace.sync(&[]).expect_kind("full", "open_epoch");
    next.expect(0, "succeeded", &[("delivered", 10), ("unchanged", 30)]);
    check_mirror(&oracle, &expected(&people(1..=40)));
}

#[test]
fn each_record_has_its_own_receipt_and_a_key_that_comes_twice_is_not_sent() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { batch: 1, ..setup() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let mut twice = people(1..=20);
    twice.push(Person::new(5, 2));
    workspace.write_people(&twice);
    let refused =
        Fault::Status { code: 422, headers: Vec::new(), body: "{\"message\":\"no\"}".to_owned() };
    oracle.fault_when(|sent| sent.keys().any(|key| key == "[3]"), refused);
    let before = oracle.request_count();
    let report = sample(&workspace, 3, &["--where", "id IN (3, 4) OR (id = 5 AND counter = 2)"]);
    let mut told = records(&report);
    told.sort();
    assert_eq!(told, ended(&[("3", "rejected"), ("4", "delivered"), ("5", "unsent")]));
    assert!(report.to_string().contains("comes more than once"), "{report:#}");
    let sent: Vec<_> = oracle.requests().split_off(before);
    let sent: Vec<&str> = sent.iter().flat_map(|request| request.sent.keys()).collect();
    assert!(!sent.contains(&"[5]"), "{sent:?}");
    workspace.run(&["rejected", "people"]).expect_code(0).expect_printed(&["3", "422"]);
}

#[test]
fn a_server_carries_a_sample_out_also_for_a_paused_sync_and_behind_a_run_that_goes() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..setup() });
    workspace.write_people(&people(1..=20));
    let server = Server::start(&workspace);
    let first = server.post(SAMPLE, r#"{"limit": 1}"#).expect(202).json;
    let first = server.ended(first["run"].as_u64().expect("a number"));
    assert!(first["error"].as_str().expect("why").contains("never run"), "{first:#}");
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    assert_eq!(server.get("/api/v1/syncs/people").json["status"], "Idle", "a sample says nothing");
    oracle.on_next(Fault::Hold);
    let held = oracle.request_count() + 1;
    let going = server.run("{\"full\": true}");
    oracle.wait_for_requests(held, SOON);
    let sampled = server.post(SAMPLE, r#"{"keys": ["1", "2"]}"#).expect(202).json;
    let sampled = sampled["run"].as_u64().expect("a number");
    let standing = server.get(&format!("/api/v1/runs/{sampled}")).expect(200).json;
    assert_eq!(standing["phase"], "in queue", "one at a time works on a sync");
    oracle.release();
    assert_eq!(server.ended(going)["phase"], "succeeded");
    // The report comes a moment after the end.
    let path = format!("/api/v1/runs/{sampled}");
    let report = until("the report is there", || {
        let report = server.get(&path).expect(200).json["report"].clone();
        (!report.is_null()).then_some(report)
    });
    assert_eq!(records(&report), ended(&[("1", "delivered"), ("2", "delivered")]));
    server.post("/api/v1/syncs/people/pause", r#"{"message": "wait"}"#).expect(200);
    let beside = sample(&workspace, 0, &["--key", "3"]);
    assert_eq!(records(&beside), ended(&[("3", "delivered")]));
    server
        .post("/api/v1/syncs/nobody/sample", r#"{"limit": 1}"#)
        .expect_problem(404, &["`nobody`"]);
    server.post(SAMPLE, "").expect_problem(422, &["no rows are chosen"]);
    server.post(SAMPLE, r#"{"limit": 0}"#).expect_problem(422, &["limit of 0"]);
    server.post(SAMPLE, r#"{"rows": 1}"#).expect_problem(422, &["`rows`"]);
    let before = (server.get("/api/v1/runs").json, server.get("/api/v1/audit").json);
    for (sql, words) in [
        ("plan = ", ["the condition", "expression"]),
        ("id = 1; DROP TABLE people", ["the condition", "found: ;"]),
        ("id IN (SELECT 1)", ["a subquery", "the model's SQL"]),
        ("id AS a", ["an alias", "`AS`"]),
        (" ", ["condition says nothing", "plan = 'pro'"]),
    ] {
        let body = json!({ "where": sql }).to_string();
        server.post(SAMPLE, &body).expect_problem(422, &words);
        workspace.run(&["sample", "people", "--where", sql]).expect_code(2).expect_printed(&words);
    }
    let after = (server.get("/api/v1/runs").json, server.get("/api/v1/audit").json);
    assert_eq!(after, before, "nothing is queued");
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_server_carries_out_one_sample_at_a_time_beside_the_runs_of_its_queue() {
    let oracle = Oracle::start(&["id"]);
    let workspace = control_plane::workspace(&oracle, HEAD, &[("a", ""), ("b", ""), ("c", "")]);
    let server = Server::start(&workspace);
    for sync in ["a", "b", "c"] {
        assert_eq!(server.ended(control_plane::run(&server, sync))["phase"], "succeeded");
    }
    let sample = |sync: &str| {
        let asked = server.post(&format!("/api/v1/syncs/{sync}/sample"), r#"{"limit": 1}"#);
        asked.expect(202).json["run"].as_u64().expect("a number")
    };
    let before = oracle.request_count();
    oracle.on_next(Fault::Hold);
    let first = sample("a");
    oracle.wait_for_requests(before + 1, SOON);
    let second = sample("b");
    // Time enough for the other sample, if it were not to wait.
    for _ in 0..3 {
        assert_eq!(server.ended(control_plane::run(&server, "c"))["phase"], "succeeded");
    }
    assert_eq!(server.get(&format!("/api/v1/runs/{second}")).expect(200).json["phase"], "in queue");
    oracle.release();
    for run in [first, second] {
        assert_eq!(server.ended(run)["tally"]["delivered"], 1);
    }
    server.end().expect_code(0);
}

#[test]
fn a_sample_ends_with_its_server_and_one_that_a_kill_left_is_not_begun_again() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..setup() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let server = Server::start(&workspace);
    oracle.on_next(Fault::Hold);
    let before = oracle.request_count();
    server.post(SAMPLE, r#"{"limit": 15}"#).expect(202);
    oracle.wait_for_requests(before + 1, SOON);
    server.process.sigterm();
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    server.wait().expect_code(0);
    workspace.wait_for_run(|run| run["phase"] == "cancelled" && run["tally"]["delivered"] == 10);
    let server = Server::start(&workspace);
    oracle.on_next(Fault::Hold);
    let before = oracle.request_count();
    let sampled = server.post(SAMPLE, r#"{"limit": 15}"#).expect(202).json["run"].clone();
    oracle.wait_for_requests(before + 1, SOON);
    until("the last of them has its intent", || {
        let explained = workspace.json(&["explain", "people", "15"]);
        explained["entries"][0]["in_doubt"].is_object().then_some(())
    });
    server.process.kill();
    oracle.release();
    let server = Server::start(&workspace);
    let left = server.ended(sampled.as_u64().expect("a number"));
    assert_eq!(left["phase"], "interrupted");
    assert_eq!(
        server.get("/api/v1/syncs/people").json["unfinished"],
        json!([]),
        "nothing is queued"
    );
    server.end().expect_code(0);
    // All that had an intent is in doubt, whether it left or not.
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 15)]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_sample_that_is_killed_or_gets_no_answer_leaves_a_state_that_is_sound() {
    for fault in [Fault::ApplyThenDrop, Fault::Hold] {
        let mut case = Case::changed(&again(), Setup { repeat: "never", ..setup() });
        case.oracle.on_next(fault.clone());
        let before = case.oracle.request_count();
        let args = ["--format", "json", "sample", "people", "--where", "id > 8"];
        let process = case.workspace.spawn(&args);
        let started = case.started(process);
        case.oracle.wait_for_requests(before + 1, SOON);
        if matches!(fault, Fault::Hold) {
            case.kill(started);
        } else {
            case.end(started);
        }
        case.oracle.release();
        let sent = case.oracle.requests().split_off(before);
        let mut asked = sent.iter().flat_map(|request| &request.sent.operations);
        assert!(asked.all(|one| one.asked == Asked::Upsert), "{}", case.print());
        case.judge();
    }
}
