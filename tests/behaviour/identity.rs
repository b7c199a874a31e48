//! Which account a sync writes to: declared, asked for, or not known; and connections that are tested.

use serde_json::json;

use super::http_commands::log;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::workspace::{Setup, Workspace};
use crate::support::{NEXT_TOKEN, SOON, TOKEN};

const IDENTIFY: &str = "identify: { get: /me, account: /account/id }, ";

fn workspace(oracle: &Oracle, http: &'static str) -> Workspace {
    let workspace =
        Workspace::new(oracle, Setup { http, max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace
}

#[test]
fn a_server_takes_a_word_for_another_account_and_for_that_one_alone() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, IDENTIFY);
    let head = "server: { listen: \"127.0.0.1:0\" }\nsources:";
    workspace.write("counterflow.yaml", &workspace.config().replacen("sources:", head, 1));
    let server = Server::start(&workspace);
    let refused = |run: u64| {
        let ended = server.ended(run);
        let error = ended["error"].as_str().expect("there is a reason");
        assert!(error.contains("--keep-snapshot"), "{ended:#}");
    };
    oracle.set_account(json!("other"));
    workspace.write_people(&people(1..=18));
    refused(server.run(""));
    let kept = workspace.sync(&["--keep-snapshot"]).expect(4, "partial", &[("held", 2)]);
    oracle.set_account(json!("third"));
    refused(server.run(""));
    oracle.set_account(json!("other"));
    workspace.run(&["release", &kept.run(), "-m", "renamed only"]).expect_code(0);
    oracle.set_account(json!("third"));
    let run = server.run(r#"{ "keep_snapshot": true, "message": "the same" }"#);
    assert_eq!(server.ended(run)["phase"], "succeeded");
    let audited = json!(["local", "sync --keep-snapshot", "people", run, "the same"]);
    assert_eq!(log(&server, 1), [audited]);
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=18)));
}

#[test]
fn a_word_that_came_with_a_run_which_was_stopped_while_it_waited_vouches_for_no_later_change() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, IDENTIFY);
    let head = "server: { listen: \"127.0.0.1:0\" }\nsources:";
    workspace.write("counterflow.yaml", &workspace.config().replacen("sources:", head, 1));
    let server = Server::start(&workspace);
    workspace.write_people(&people(1..=25));
    oracle.on_next(Fault::Hold);
    let sent = oracle.request_count();
    let going = server.run("");
    oracle.wait_for_requests(sent + 1, SOON);
    let queued = server.run(r#"{ "keep_snapshot": true }"#);
    server.post("/api/v1/syncs/people/stop", "").expect(202);
    server.wait_for_phase(going, "draining");
    oracle.release();
    assert_eq!(server.ended(queued)["phase"], "cancelled");
    server.ended(going);
    oracle.set_account(json!("other"));
    let refused = server.ended(server.run(""));
    assert!(
        refused["error"].as_str().is_some_and(|error| error.contains("--keep-snapshot")),
        "{refused:#}"
    );
    server.end().expect_code(0);
}

#[cfg(feature = "faults")]
#[test]
fn a_word_stands_for_the_run_that_goes_on_where_a_kill_came_before_the_snapshot_said_so() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, IDENTIFY);
    oracle.set_account(json!("other"));
    let end = ("COUNTERFLOW_END_AT", "before_remembering:1".to_owned());
    workspace.setup.environment.push(end);
    let killed = workspace.spawn_sync(&["--keep-snapshot"]);
    assert_eq!(killed.wait(SOON).code, None);
    workspace.setup.environment.clear();
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 20)]);
    oracle.set_account(json!("third"));
    let refused = workspace.run(&["sync", "people"]).expect_code(1);
    refused.expect_printed(&["to `third", "--keep-snapshot"]);
}

#[test]
fn an_account_that_is_asked_for_and_differs_is_refused_until_a_person_decides() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, IDENTIFY);
    assert_eq!(oracle.question_count(), 1, "at the run's start");
    oracle.set_account(json!("other"));
    workspace.write_people(&people(1..=18));
    let sent = oracle.request_count();
    for args in [
        &["sync", "people"][..],
        &["sync", "people", "--full"],
        &["sample", "people", "--limit", "1"],
    ] {
        let refused = workspace.run(args).expect_code(1);
        refused.expect_printed(&["from `acme", "to `other", "--keep-snapshot", "rebaseline"]);
    }
    workspace.run(&["plan", "people"]).expect_code(1).expect_printed(&["to `other"]);
    assert_eq!(oracle.request_count(), sent, "nothing is sent");
    let kept = workspace.sync(&["--keep-snapshot"]).expect(4, "partial", &[("held", 2)]);
    workspace.run(&["release", &kept.run(), "-m", "renamed only"]).expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=18)));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    oracle.set_account(json!(17));
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["to `17"]);
    workspace.run(&["rebaseline", "people", "-m", "another account", "--yes"]).expect_code(0);
    workspace.write_people(&people(1..=10));
    let fresh = workspace.sync(&[]).expect_kind("full", "rebaselined");
    fresh.expect(0, "succeeded", &[("deletes", 0)]);
}

#[test]
fn a_new_secret_for_the_account_that_was_asked_for_holds_nothing() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, IDENTIFY);
    workspace.change(|setup| setup.token = NEXT_TOKEN);
    workspace.write_people(&people(1..=18));
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 2)]);
    check_mirror(&oracle, &expected(&people(1..=18)));
}

/// A run of a mirror that adds and deletes rows, whose secret is in a file, with its first request under way.
fn under_way(oracle: &Oracle) -> (Workspace, Process) {
    let setup = Setup {
        http: IDENTIFY,
        bearer: "file:token",
        max_deletes: Some("100%"),
        concurrency: 1,
        ..Setup::default()
    };
    let workspace = Workspace::new(oracle, setup);
    workspace.write("token", TOKEN);
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(3..=21));
    let sent = oracle.request_count();
    oracle.on_next(Fault::Hold);
    let going = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(sent + 1, SOON);
    workspace.write("token", NEXT_TOKEN);
    oracle.take_only(NEXT_TOKEN);
    (workspace, going)
}

fn sent_with_next(oracle: &Oracle) -> usize {
    let is_next = |value: &str| value.contains(NEXT_TOKEN);
    let requests = oracle.requests();
    requests.iter().filter(|one| one.sent.header("authorization").is_some_and(is_next)).count()
}

#[test]
fn a_secret_that_changes_in_mid_run_is_asked_whose_it_is_before_a_row_is_sent_with_it_b14() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, going) = under_way(&oracle);
    oracle.set_account(json!("other"));
    oracle.release();
    let halted = going.wait(SOON).expect_code(1);
    halted.expect_printed(&["the secret has changed since", "account `other`"]);
    assert_eq!(sent_with_next(&oracle), 0, "it is sent no row");
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["to `other"]);
    assert_eq!(sent_with_next(&oracle), 0, "it is sent no row");
    workspace.assert_state_holds_no_canary();
}

#[test]
fn a_secret_of_the_same_account_that_comes_in_mid_run_is_used_for_deletes_too_b14() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, going) = under_way(&oracle);
    let asked = oracle.question_count();
    oracle.answer_question(503, "");
    oracle.release();
    going.wait(SOON).expect_code(0);
    assert_eq!(oracle.question_count() - asked, 2, "what passes is asked again, and no more");
    assert_eq!((sent_with_next(&oracle), oracle.deletes().len()), (1, 2), "it is sent the deletes");
    check_mirror(&oracle, &expected(&people(3..=21)));
    workspace.assert_state_holds_no_canary();
}

#[test]
fn a_new_secret_of_an_account_that_nobody_names_holds_the_deletes_and_says_what_to_do() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "");
    workspace.change(|setup| setup.token = NEXT_TOKEN);
    workspace.write_people(&people(1..=18));
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 2), ("deleted", 0)]);
    assert!(held.json["holds"].to_string().contains("credentials_changed"), "{held:#?}");
    workspace.run(&["status"]).expect_printed(&[
        "`account:` nor `identify:`",
        "release",
        "`rebaseline`",
    ]);
    workspace.run(&["release", &held.run(), "-m", "rotated"]).expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=18)));
    workspace.assert_state_holds_no_canary();
}

#[test]
fn nothing_is_sent_where_the_account_is_not_said_and_what_passes_is_asked_again() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, IDENTIFY);
    workspace.write_people(&people(2..=21));
    let sent = oracle.request_count();
    let secret = format!("{{\"account\": {{\"id\": \"x {}\"}}}}", crate::support::TOKEN);
    for (status, body, words) in [
        (401, "{}", ["`401`", "the credentials are refused"]),
        (404, "{}", ["`404`", "nothing at the path of `identify`"]),
        (302, "{}", ["`302`", "never followed"]),
        (200, "<html>", ["`no_account`", "no JSON"]),
        (200, "{\"account\": {\"id\": null}}", ["`no_account`", "neither text nor a number"]),
        (200, &secret, ["`no_account`", "holds a credential"]),
    ] {
        oracle.answer_question(status, body);
        let refused = workspace.run(&["sync", "people"]).expect_code(1);
        refused
            .expect_printed(&words)
            .expect_printed(&["counterflow doctor crm", "nothing was sent"]);
    }
    for _ in 0..4 {
        oracle.answer_question(503, "");
    }
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["`503`"]);
    assert_eq!(oracle.request_count(), sent, "nothing is sent");
    oracle.answer_question(503, "");
    oracle.answer_question(429, "");
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 1)]);
    check_mirror(&oracle, &expected(&people(2..=21)));
    workspace.assert_state_holds_no_canary();
}

#[test]
fn what_is_wrong_with_identify_is_a_problem_of_the_config() {
    let oracle = Oracle::start(&["id"]);
    for (http, words) in [
        (
            "account: a, identify: { get: /me, account: /id }, ",
            ["both `account` and `identify`", "one of the two"],
        ),
        ("identify: { get: me, account: /id }, ", ["`me` is not a path", "/me"]),
        (
            "identify: { get: /me, account: id }, ",
            ["`id` is not a JSON pointer", "begin each step"],
        ),
        ("identify: { get: /me }, ", ["`account` is missing", "JSON pointer"]),
        ("identify: { account: /id }, ", ["`get` is missing", "path"]),
    ] {
        let workspace = Workspace::new(&oracle, Setup { http, ..Setup::default() });
        workspace.run(&["validate"]).expect_code(2).expect_printed(&words);
    }
}

#[test]
fn a_doctor_tests_connections_paused_or_not_and_its_code_tells_a10() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, IDENTIFY);
    workspace.run(&["pause", "people", "-m", "new token"]).expect_code(0);
    let sent = oracle.request_count();
    let well = workspace.json(&["doctor", "crm"]);
    assert_eq!((&well[0]["is_well"], &well[0]["account"]), (&json!(true), &json!("acme")));
    workspace.run(&["doctor"]).expect_code(0).expect_printed(&["crm at http://", "account `acme`"]);
    oracle.take_only(NEXT_TOKEN);
    let refused = workspace.run(&["doctor", "crm"]).expect_code(1);
    refused.expect_printed(&["not well", "`401`", "credentials are refused", "`auth`"]);
    workspace.change(|setup| setup.token = NEXT_TOKEN);
    workspace.run(&["doctor", "crm"]).expect_code(0);
    workspace.change(|setup| setup.http = "");
    let untested = workspace.run(&["doctor", "crm"]).expect_code(0);
    untested.expect_printed(&["it answers", "not tested", "`identify:`"]);
    let nobody = workspace.run(&["doctor", "nobody"]).expect_code(2);
    nobody.expect_printed(&["no connection `nobody`", "`crm`"]);
    let more = "connections:\n  closed:\n    http: { base_url: \"http://127.0.0.1:1\" }\n  bare:\n    http: { base_url: \"https://x.example\", auth: { bearer: \"${NOT_SET}\" } }\n";
    workspace.write("counterflow.yaml", &workspace.config().replacen("connections:\n", more, 1));
    let closed = workspace.run(&["doctor", "closed"]).expect_code(1);
    closed.expect_printed(&["closed at http://127.0.0.1:1", "`connect`", "is up"]);
    let all = workspace.run(&["doctor"]).expect_code(2);
    all.expect_printed(&["crm at", "closed at", "bare: not tested", "`NOT_SET` is not set"]);
    assert_eq!(oracle.request_count(), sent, "no row is sent");
}
