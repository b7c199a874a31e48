//! Commands of the command line: asked of the server where there is one, given by somebody, known again by a key.

use serde_json::{Value, json};

use super::access::{execute, token};
use super::http_commands::log;
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::front::{Does, Front};
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::process::Finished;
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";
const STOP: [&str; 3] = ["stop", "people", "--yes"];
const PAUSE: [&str; 4] = ["pause", "people", "-m", "why"];
const RESUME: [&str; 4] = ["resume", "people", "-m", "why"];
const DISABLE: [&str; 5] = ["source", "disable", "lake", "-m", "why"];
const ENABLE: [&str; 5] = ["source", "enable", "lake", "-m", "why"];

fn workspace(oracle: &Oracle) -> Workspace {
    let setup = Setup { head: LISTEN, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    workspace.write_people(&people(1..=40));
    workspace
}

/// Runs a command with this of the environment.
fn run_with(workspace: &Workspace, args: &[&str], environment: &[(&str, &str)]) -> Finished {
    workspace.end(workspace.spawn_with(args, environment), SOON)
}

/// Who and what of the audit log, the newest first.
fn audited(workspace: &Workspace) -> Vec<Value> {
    let log = workspace.json(&["audit"]);
    let entry = |e: &Value| json!([e["who"], e["command"]]);
    log.as_array().expect("a list").iter().map(entry).collect()
}

#[test]
fn a_machine_without_certificates_serves_syncs_over_plain_http_and_takes_commands() {
    let oracle = Oracle::start(&["id"]);
    let none = |name| (name, "/nonexistent".to_owned());
    let environment = vec![none("SSL_CERT_FILE"), none("SSL_CERT_DIR")];
    let workspace =
        Workspace::new(&oracle, Setup { head: LISTEN, environment, ..Setup::default() });
    workspace.write_people(&people(1..=40));
    let server = Server::start(&workspace);
    let done = workspace.run(&["sync", "people"]).expect_code(0);
    done.expect_printed(&["carried out by the server", "40 delivered"]);
    server.end().expect_code(0);
    let path = workspace.path().join("counterflow.yaml");
    let config = std::fs::read_to_string(path).expect("there is a config");
    workspace.write("counterflow.yaml", &config.replace("http://", "https://"));
    let told = ["not well", "No CA certificates", "(`ca-certificates`); where they are elsewhere"];
    workspace.run(&["doctor"]).expect_printed(&told);
}

#[test]
fn beside_a_server_with_tokens_a_command_needs_one_that_may_give_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    oracle.on_next(Fault::Hold);
    server.run("");
    oracle.wait_for_requests(1, SOON);
    let [read, run, write] =
        ["read", "run", "write"].map(|scope| token(&workspace, scope, &["--scope", scope]));
    let before = audited(&workspace);
    let commands: [&[&str]; 5] = [&STOP, &PAUSE, &RESUME, &DISABLE, &ENABLE];
    for command in commands {
        let nobody = workspace.run(command).expect_code(2);
        nobody.expect_printed(&["(401)", "COUNTERFLOW_TOKEN"]);
        let reader = run_with(&workspace, command, &[("COUNTERFLOW_TOKEN", &read)]).expect_code(2);
        reader.expect_printed(&["(403)", "`read` may read", "COUNTERFLOW_TOKEN"]);
    }
    for command in &commands[1..] {
        let runner = run_with(&workspace, command, &[("COUNTERFLOW_TOKEN", &run)]).expect_code(2);
        runner.expect_printed(&["`run` may run", "needs `write`"]);
    }
    assert_eq!(audited(&workspace), before, "what was refused did nothing");
    let standing = workspace.status();
    assert_eq!(
        (&standing["is_paused"], &standing["disabled_source"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(workspace.json(&["runs"])[0]["phase"], "reading", "nor was the run stopped");

    let stop = workspace.spawn_with(&STOP, &[("COUNTERFLOW_TOKEN", &run)]);
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    workspace.end(stop, SOON).expect_code(0).expect_printed(&["run 1 of `people`: cancelled"]);
    for (command, words) in [
        (&DISABLE[..], "source `lake` is disabled; none of its syncs runs: `people`"),
        (&DISABLE, "is disabled since"),
        (&ENABLE, "source `lake` is enabled"),
        (&ENABLE, "source `lake` is not disabled; nothing was changed"),
        (&PAUSE, "`people` is paused"),
        (&PAUSE, "`people` is paused already, since"),
        (&RESUME, "`people` is resumed"),
        (&RESUME, "`people` is not paused; nothing was changed"),
        (&STOP, "no run of `people` is going on"),
    ] {
        // The name of the token counts, whatever the user is called.
        let environment = [("COUNTERFLOW_TOKEN", write.as_str()), ("USER", "ada")];
        run_with(&workspace, command, &environment).expect_code(0).expect_printed(&[words]);
    }
    let mut given = audited(&workspace);
    given.truncate(given.len() - before.len());
    let by_write = ["stop", "resume", "resume", "pause", "pause"];
    let of_source = ["enable", "enable", "disable", "disable"];
    let of_source = of_source.map(|word| json!(["write", format!("source {word} lake")]));
    let mut expected: Vec<_> = by_write.map(|word| json!(["write", word])).to_vec();
    expected.extend(of_source);
    expected.push(json!(["run", "stop"]));
    assert_eq!(given, expected);
    server.end().expect_code(0);
}

#[test]
fn beside_a_server_without_tokens_the_user_who_gives_a_command_is_audited() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    for (user, who) in [("ada", "local (ada)"), ("Ada L\u{e4}ng", "local (Ada_L_ng)")] {
        run_with(&workspace, &PAUSE, &[("USER", user)]).expect_code(0);
        assert_eq!(log(&server, 1)[0][0], who);
        run_with(&workspace, &RESUME, &[("USER", user)]).expect_code(0);
    }
    run_with(&workspace, &PAUSE, &[("USER", "ada")]).expect_code(0);
    workspace.run(&["status"]).expect_code(0).expect_printed(&["by local (ada): why"]);
    let path = "/api/v1/syncs/people/resume";
    let body = r#"{"message": "why"}"#;
    let named = |names: &[&str]| {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(names.iter().map(|name| ("Counterflow-User", *name)));
        server.ask("POST", path, &headers, body)
    };
    let before = log(&server, 500);
    for wrong in [&[""][..], &["a b"], &["a(b)"], &["a\u{e9}"], &["a", "b"], &[&"a".repeat(65)]] {
        named(wrong).expect_problem(400, &["`Counterflow-User`", "leave it out"]);
    }
    assert_eq!(log(&server, 500), before, "what was refused did nothing");
    named(&["bob@example.com"]).expect(200);
    named(&[]).expect(200);
    let who: Vec<Value> = log(&server, 2).iter().map(|entry| entry[0].clone()).collect();
    assert_eq!(who, ["local", "local (bob@example.com)"]);
    server.end().expect_code(0);
}

/// A front that the command line takes for the server.
fn before(workspace: &Workspace, server: &Server) -> Front {
    let front = Front::start(&server.address);
    let file = workspace.state().join("server.json");
    let text = std::fs::read_to_string(&file).expect("the server has said where it listens");
    let through = front.url_of("http", "127.0.0.1");
    let through = through.trim_start_matches("http://");
    std::fs::write(&file, text.replace(&server.address, through)).expect("it can be written");
    front
}

#[test]
fn a_command_whose_answer_was_lost_is_given_once_more_and_has_one_effect() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    let front = before(&workspace, &server);
    let commands: [(&[&str], &str, &str); 3] = [
        (&["sync", "people"], "sync", "\"succeeded\""),
        (&PAUSE, "pause", "\"is_changed\":true"),
        (&DISABLE, "source disable lake", "\"is_changed\":true"),
    ];
    for (command, audited, words) in commands {
        let (before, taken) = (log(&server, 500).len(), front.connections());
        front.does(Does::LoseAnswer);
        let given = [&["--format", "json"], command].concat();
        workspace.run(&given).expect_code(0).expect_printed(&[words]);
        assert!(front.connections() >= taken + 2, "the first answer was lost");
        let after = log(&server, 500);
        assert_eq!((after.len(), &after[0][1]), (before + 1, &json!(audited)));
    }
    assert_eq!(workspace.json(&["runs"]).as_array().map(Vec::len), Some(1));
    front.does(Does::Refuse);
    let gone = workspace.run(&RESUME).expect_code(1);
    gone.expect_printed(&["does not answer"]);
    server.end().expect_code(0);
}

/// Gives a command twice under one key; both are answered the same, and the second is no command of its own.
fn give_twice(workspace: &Workspace, key: &str, command: &[&str]) {
    let keyed = [&["--format", "json", "--idempotency-key", key], command].concat();
    let first = workspace.run(&keyed).expect_code(0).json();
    let before = audited(workspace);
    let again = workspace.run(&keyed).expect_code(0).json();
    if command[0] == "sync" {
        assert_eq!((&again["run"], &again["outcome"]), (&first["run"], &first["outcome"]));
    } else {
        assert_eq!(again, first);
    }
    assert_eq!(audited(workspace), before, "{command:?}");
}

/// Gives each of some commands twice under one key.
fn twice(workspace: &Workspace) {
    let commands: [&[&str]; 6] = [&["sync", "people"], &PAUSE, &RESUME, &DISABLE, &ENABLE, &STOP];
    for (index, command) in commands.into_iter().enumerate() {
        let key = format!("night-{index}");
        give_twice(workspace, &key, command);
        let other = ["--idempotency-key", &key, "pause", "people", "-m", "another"];
        workspace.run(&other).expect_code(2).expect_printed(&["was used for another", "new one"]);
    }
    assert_eq!(workspace.json(&["runs"]).as_array().map(Vec::len), Some(1));
    assert_eq!(workspace.status()["is_paused"], false);
    for wrong in ["", "a b", &"k".repeat(256)] {
        let keyed = [&["--idempotency-key", wrong], &PAUSE[..]].concat();
        workspace.run(&keyed).expect_code(2).expect_printed(&["255 visible ASCII"]);
    }
    for command in [&["status"][..], &["runs"], &["group", "status"]] {
        let keyed = [&["--idempotency-key", "k"], command].concat();
        workspace.run(&keyed).expect_code(2).expect_printed(&["takes no `--idempotency-key`"]);
    }
}

#[test]
fn a_command_given_twice_under_one_key_has_one_effect_with_a_server_and_without_one() {
    for has_server in [false, true] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle);
        let server = has_server.then(|| Server::start(&workspace));
        twice(&workspace);
        server.into_iter().for_each(|server| drop(server.end().expect_code(0)));
    }
}

#[test]
fn a_sample_by_a_file_is_known_again_by_the_keys_in_it() {
    for has_server in [false, true] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle);
        let server = has_server.then(|| Server::start(&workspace));
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        let sent = oracle.request_count();
        workspace.write("keys.txt", "1\n2\n");
        let keyed = ["--idempotency-key", "k", "sample", "people", "--keys", "keys.txt"];
        let first = workspace.run(&keyed).expect_code(0);
        first.expect_printed(&["2 delivered"]);
        workspace.run(&keyed).expect_code(0).expect_printed(&["2 delivered"]);
        assert_eq!(oracle.request_count(), sent + 1, "it is sent once");
        workspace.write("keys.txt", "1\n3\n");
        workspace.run(&keyed).expect_code(2).expect_printed(&["was used for another", "new one"]);
        assert_eq!(oracle.request_count(), sent + 1);
        server.into_iter().for_each(|server| drop(server.end().expect_code(0)));
    }
}

#[test]
fn what_a_command_has_taken_away_is_in_no_repetitions_way() {
    for has_server in [false, true] {
        let oracle = Oracle::start(&["id"]);
        let workspace = super::audited::workspace(&oracle);
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        let server = has_server.then(|| Server::start(&workspace));
        give_twice(&workspace, "replaced", &["connection", "replace", "crm", "next", "--yes"]);
        give_twice(&workspace, "set-aside", &["rebaseline", "people", "-m", "why", "--yes"]);
        give_twice(&workspace, "stopped", &["group", "stop", "all", "--yes"]);
        let file = workspace.path().join("counterflow.yaml");
        let text = std::fs::read_to_string(file).expect("it is there");
        let others = text.replace("\n  people:\n    model:", "\n  others:\n    model:");
        workspace.write("counterflow.yaml", &others);
        if has_server {
            give_twice(&workspace, "read-anew", &["reload"]);
        }
        give_twice(&workspace, "forgotten", &["forget", "people", "--yes"]);
        server.into_iter().for_each(|server| drop(server.end().expect_code(0)));
    }
}

#[test]
fn a_repetition_after_a_kill_says_what_became_of_the_first() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let database = workspace.state().join("counterflow.db");
    let keyed = ["--idempotency-key", "once", "sync", "people"];
    oracle.on_next(Fault::Hold);
    let killed = workspace.spawn(&keyed);
    oracle.wait_for_requests(1, SOON);
    killed.kill();
    let again = workspace.run(&keyed).expect_code(1);
    again.expect_printed(&["run 1", "has no end yet", "under a new key"]);
    // The next run finds it interrupted.
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.run(&keyed).expect_code(1).expect_printed(&["interrupted"]);
    let paused = [&["--idempotency-key", "pause"], &PAUSE[..]].concat();
    workspace.run(&paused).expect_code(0);
    workspace.run(&RESUME).expect_code(0);
    // As after a kill between the effect and its answer.
    execute(&database, "UPDATE command_keys SET status = NULL, answer = NULL");
    workspace.run(&paused).expect_code(0).expect_printed(&["done before", "nothing was changed"]);
    assert_eq!(workspace.status()["is_paused"], false);
}

#[test]
fn a_sync_that_has_left_the_config_and_drains_can_be_stopped_at_once() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    oracle.on_next(Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    let other = workspace.config().replace("\n  people:\n    model:", "\n  others:\n    model:");
    workspace.write("counterflow.yaml", &other);
    workspace.run(&["reload"]).expect_code(0);
    server.wait_for_phase(going, "draining");
    let stop = workspace.run(&["stop", "people", "--now"]).expect_code(0);
    stop.expect_printed(&[&format!("run {going} of `people`: cancelled")]);
    workspace.run(&["stop", "people"]).expect_code(2).expect_printed(&["`people`"]);
    server.end().expect_code(0);
}

#[test]
fn one_run_is_shown_and_followed_to_its_end_with_a_server_and_without_one() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    workspace.run(&["runs", "show", "1"]).expect_code(2).expect_printed(&["run `1`"]);
    for (run, has_server) in [(1, false), (2, true)] {
        let server = has_server.then(|| Server::start(&workspace));
        let front = server.as_ref().map(|server| before(&workspace, server));
        let connections = || front.as_ref().map_or(0, Front::connections);
        let number = run.to_string();
        oracle.on_next(Fault::Hold);
        let sent = oracle.request_count();
        let going = workspace.spawn(&["sync", "people", "--full"]);
        oracle.wait_for_requests(sent + 1, SOON);
        workspace.wait_for_run(|run| run["phase"] == "reading");
        let shown = workspace.run(&["runs", "show", &number]).expect_code(0);
        shown.expect_printed(&[&format!("run {run} of `people`: reading"), "trigger", "rows read"]);
        let follow = workspace.spawn_logged(&["runs", "show", &number, "--follow"], &[]);
        let in_flight = || workspace.log().contains("in flight 1");
        until("it is followed", || (!has_server || in_flight()).then_some(()));
        let asked = connections() + usize::from(has_server);
        let follow_json =
            workspace.spawn(&["--format", "json", "runs", "show", &number, "--follow"]);
        until("both have asked the server", || (connections() >= asked).then_some(()));
        let stop = workspace.spawn(&["stop", "people", "-m", "lunch"]);
        workspace.wait_for_run(|run| run["phase"] == "draining");
        oracle.release();
        workspace.end(stop, SOON).expect_code(0);
        workspace.end(going, SOON).expect_code(6);
        let words = [&format!("run {run} of `people`: cancelled"), ": lunch", "10 delivered"];
        let told = workspace.end(follow, SOON).expect_code(6).expect_printed(&words);
        assert_eq!(told.stderr.contains("rejected 0, in flight 1"), has_server, "{told:#?}");
        let document = workspace.end(follow_json, SOON).expect_code(6).json();
        assert_eq!(document, workspace.json(&["runs", "show", &number]));
        assert_eq!(document, workspace.json(&["runs"])[0]);
        server.into_iter().for_each(|server| drop(server.end().expect_code(0)));
    }
    oracle.on_next(Fault::Hold);
    let sent = oracle.request_count();
    let killed = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(sent + 1, SOON);
    let follow = workspace.spawn(&["runs", "show", "3", "--follow"]);
    killed.kill();
    workspace.end(follow, SOON).expect_code(1).expect_printed(&["no process goes on with it"]);
}

#[test]
fn beside_a_server_a_run_a_sample_and_a_reload_are_audited_with_their_message() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    let told = |what: &str| {
        let entry = log(&server, 1).remove(0);
        assert_eq!(entry[1], what, "{entry:#}");
        entry[4].clone()
    };
    workspace.run(&["sync", "people", "-m", "month end"]).expect_code(0);
    assert_eq!(told("sync"), "month end");
    workspace.run(&["sample", "people", "--limit", "1", "-m", "is it there"]).expect_code(0);
    assert_eq!(told("sample"), "is it there");
    let body = r#"{"limit": 1, "message": "once\nmore"}"#;
    let sampled = server.post("/api/v1/syncs/people/sample", body).expect(202).json;
    server.ended(sampled["run"].as_u64().expect("a number"));
    assert_eq!(told("sample"), "once more");
    workspace.run(&["reload", "-m", "nothing new"]).expect_code(0);
    assert_eq!(told("reload"), "nothing new");
    let before = workspace.config();
    for (concurrency, over_http) in [(2, false), (3, true)] {
        let after = before.replace("concurrency: 1", &format!("concurrency: {concurrency}"));
        workspace.write("counterflow.yaml", &after);
        if over_http {
            server.post("/api/v1/reload", r#"{"message": "it is slow"}"#).expect(200);
        } else {
            workspace.run(&["reload", "-m", "it is slow"]).expect_code(0);
        }
        let said = told("reload");
        let said = said.as_str().expect("it is text");
        assert!(said.starts_with("it is slow; revision "), "{said}");
        assert!(said.contains("connections changed: `crm`"), "{said}");
    }
    for command in [&["sync", "people"][..], &["sample", "people", "--limit", "1"], &["reload"]] {
        let silent = [command, &["-m", " "]].concat();
        workspace.run(&silent).expect_code(2).expect_printed(&["a message says why"]);
    }
    server.end().expect_code(0);
}
