//! What a person is asked, shown and told: missing parts all at once, questions on a terminal, a drain with its counts, the
//! version wherever it stands, the usual port (B1, B4, C3, C9, D1, D3, D5).

use std::net::TcpListener;

use super::control_plane::{HEAD, workspace};
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::process::Finished;
use crate::support::server::Server;
use crate::support::workspace::{Setup, Workspace};

#[test]
fn what_is_not_fully_defined_is_not_started_and_all_that_is_missing_is_listed_b1() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { head: HEAD, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let whole = workspace.config();
    let without = whole.replace("    model: people\n", "");
    let cut = without.find("    delete:").expect("there is one");
    workspace.write("counterflow.yaml", &without[..cut]);
    let missing = ["`model` is missing", "without a `delete`", "counterflow.yaml:"];
    for command in
        [&["validate"][..], &["sync", "people"], &["serve"], &["resume", "people", "-m", "x"]]
    {
        workspace.run(command).expect_code(2).expect_printed(&missing);
    }
    assert_eq!((oracle.connections(), workspace.state().exists()), (0, false));
    let unset = whole.replace("${TOKEN}", "${NOBODY_SET_IT}");
    workspace.write("counterflow.yaml", &unset);
    for command in [&["validate"][..], &["sync", "people"], &["serve"]] {
        workspace.run(command).expect_code(2).expect_printed(&["NOBODY_SET_IT", "is not set"]);
    }
    workspace.write("counterflow.yaml", &whole);
    let server = Server::start(&workspace);
    workspace.write("counterflow.yaml", &without[..cut]);
    server.post("/api/v1/reload", "").expect_problem(422, &missing);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded", "what is defined runs");
    server.end().expect_code(0);
}

#[test]
fn before_anything_is_given_up_it_is_said_what_will_not_come_back_a9() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: HEAD, max_deletes: Some("0"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(3..=20));
    let run = workspace.sync(&[]).expect(4, "partial", &[("held", 2)]).run();
    for (command, words) in [
        (&["discard", &run][..], ["stay at the destination for good", "no longer ours"]),
        (&["rebaseline", "people"], ["sends every row again", "already gone are never deleted"]),
    ] {
        let command = [command, &["-m", "why"]].concat();
        let refused = workspace.run(&command).expect_code(2);
        refused.expect_printed(&words).expect_printed(&["Nobody is there to ask; say `--yes`"]);
        let refused = at_a_terminal(&workspace, &command, "n").expect_code(1);
        refused.expect_printed(&words).expect_printed(&["[y/N]", "nothing was changed"]);
    }
    let held = workspace.sync(&[]).expect_kind("incremental", "usual");
    held.expect(4, "partial", &[("held", 2), ("unchanged", 18)]);
    at_a_terminal(&workspace, &["discard", &run, "-m", "why"], "yes").expect_code(0);
    workspace.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deletes", 0)]);
}

#[test]
fn commands_may_be_repeated_and_their_codes_tell_what_came_of_them_b2() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{HEAD}\ngroups: {{ sales: {{}} }}");
    let workspace = workspace(&oracle, &head, &[("people", "group: sales")]);
    let code = |args: &[&str], code: i32| drop(workspace.run(args).expect_code(code));
    let story = || {
        for (args, expected) in [
            (&["sync", "people"][..], 0),
            (&["stop", "people", "--yes"], 0),
            (&["pause", "people", "-m", "why"], 0),
            (&["pause", "people", "-m", "why"], 0),
            (&["sync", "people"], 2),
            (&["resume", "people", "-m", "why"], 0),
            (&["resume", "people", "-m", "why"], 0),
            (&["group", "stop", "sales", "--yes"], 0),
            (&["group", "stop", "sales", "--yes"], 0),
            (&["source", "disable", "lake", "-m", "why"], 0),
            (&["source", "disable", "lake", "-m", "why"], 0),
            (&["source", "enable", "lake", "-m", "why"], 0),
            (&["source", "enable", "lake", "-m", "why"], 0),
            (&["group", "start", "sales", "--yes"], 0),
            (&["group", "start", "sales", "--yes"], 0),
            (&["sync", "nobody"], 2),
        ] {
            code(args, expected);
        }
    };
    story();
    let server = Server::start(&workspace);
    story();
    // A run that goes is stopped twice, and whoever waits for it hears that.
    workspace.write_people(&people(1..=9));
    oracle.on_next(Fault::ApplyThenHold);
    let before = oracle.request_count();
    let waits = workspace.spawn(&["sync", "people", "--full"]);
    oracle.wait_for_requests(before + 1, SOON);
    code(&["stop", "people", "--now"], 0);
    workspace.end(waits, SOON).expect_code(6);
    code(&["stop", "people", "--now"], 0);
    server.end().expect_code(0);
}

/// Runs a command at a terminal, with this for an answer.
fn at_a_terminal(workspace: &Workspace, args: &[&str], answer: &str) -> Finished {
    let line = format!("echo {answer} | script -qec \"$*\" /dev/null");
    let process = workspace.spawn_under(&["sh", "-c", &line, "sh"], args, &[]);
    workspace.end(process, SOON)
}

#[test]
fn at_a_terminal_a_person_is_asked_before_a_group_or_a_run_is_stopped_b4_c3() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{HEAD}\ngroups: {{ sales: {{}} }}");
    let workspace = workspace(&oracle, &head, &[("people", "group: sales")]);
    let server = Server::start(&workspace);
    let refused = at_a_terminal(&workspace, &["group", "stop", "sales"], "n").expect_code(1);
    refused.expect_printed(&["Stop and pause all 1 syncs of group `sales`? [y/N]", "not done"]);
    assert_eq!(workspace.json(&["status", "people"])[0]["is_paused"], false);
    at_a_terminal(&workspace, &["group", "stop", "sales"], "y").expect_code(0);
    assert_eq!(workspace.json(&["status", "people"])[0]["is_paused"], true);
    let refused = at_a_terminal(&workspace, &["group", "start", "sales"], "n").expect_code(1);
    refused.expect_printed(&["Start all 1 syncs of group `sales`? [y/N]"]);
    assert_eq!(workspace.json(&["status", "people"])[0]["is_paused"], true);
    oracle.on_next(Fault::Hold);
    at_a_terminal(&workspace, &["group", "start", "sales"], "y").expect_code(0);
    oracle.wait_for_requests(1, SOON);
    let refused = at_a_terminal(&workspace, &["stop", "people"], "n").expect_code(1);
    refused.expect_printed(&["Stop run 1 of `people`? [y/N]", "nothing was changed"]);
    assert_eq!(server.get("/api/v1/runs/1").expect(200).json["phase"], "reading");
    // In a script nobody is asked, as a stop loses nothing.
    let stop = workspace.spawn(&["stop", "people"]);
    server.wait_for_phase(1, "draining");
    oracle.release();
    workspace.end(stop, SOON).expect_code(0).expect_printed(&["run 1 of `people`: cancelled"]);
    server.end().expect_code(0);
}

#[test]
fn a_drain_is_a_phase_with_counts_and_what_was_not_sent_is_unsent_at_once_c9() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: HEAD, concurrency: 2, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=60));
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::Hold);
    oracle.on_request(2, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    let stop = server.post("/api/v1/syncs/people/stop", "").expect(202).json;
    assert_eq!(stop["run"].as_u64(), Some(going), "nobody waits for the end: {stop:#}");
    server.wait_for_phase(going, "draining");
    let shown = server.get(&format!("/api/v1/runs/{going}")).expect(200).json;
    assert_eq!(shown["live"]["in_flight"], 2, "{shown:#}");
    assert_eq!((oracle.request_count(), shown["is_ended"].as_bool()), (2, Some(false)));
    oracle.release();
    let ended = server.ended(going);
    let counts = ["delivered", "unsent", "unknown"].map(|count| ended["tally"][count].as_u64());
    assert_eq!(counts, [Some(20), Some(40), Some(0)], "{ended:#}");
    assert_eq!(oracle.request_count(), 2, "only what was in flight");
    server.end().expect_code(0);
}

#[test]
fn the_version_is_semantic_and_the_same_wherever_it_stands_d1_d3() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "")]);
    let version = workspace.json(&["version"])["version"].as_str().expect("text").to_owned();
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |number: &&str| number.parse::<u64>().is_ok_and(|n| n.to_string() == *number);
    assert!(numbers.len() == 3 && numbers.iter().all(is_number), "{version}");
    workspace.run(&["--version"]).expect_code(0).expect_printed(&[&version]);
    let server = Server::start(&workspace);
    assert_eq!(server.get("/version").expect(200).json["version"], version.as_str());
    let metric = format!("counterflow_build_info{{version=\"{version}\"}} 1");
    assert!(server.text("/metrics").contains(&metric));
    server.end().expect_code(0);
}

#[test]
fn where_no_address_is_said_the_port_is_8080_d5() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    // Taken by this test, or by somebody else on the machine.
    let taken = TcpListener::bind("127.0.0.1:8080");
    let refused = workspace.run(&["serve"]).expect_code(1);
    refused.expect_printed(&["127.0.0.1:8080", "server.listen"]);
    drop(taken);
}
