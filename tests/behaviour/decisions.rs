//! Decisions about snapshots beside a server, and the kill between a decision and the snapshot that says so.

use std::ops::RangeInclusive;

use serde_json::json;

use super::control_plane::standing;
use super::http_commands::{keyed, log};
use crate::support::SOON;
use crate::support::check::{check_mirror, expect_status};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, keys, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const WHY: &str = r#"{"message": "they are gone"}"#;
const REBASELINE: [&str; 5] = ["rebaseline", "people", "-m", "another account", "--yes"];

/// A mirror of the people 1 to 40 in whose run 2 the deletes of these are held.
fn held(oracle: &Oracle, gone: RangeInclusive<u32>) -> Workspace {
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let setup = Setup { head, max_deletes: None, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    workspace.write_people(&people(1..=40));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let count = gone.clone().count() as u64;
    workspace.write_people(&people((1..=40).filter(|id| !gone.contains(id))));
    let report = workspace.sync(&[]).expect(4, "partial", &[("held", count)]);
    assert_eq!(report.run(), "2");
    workspace
}

/// Begins a run that has a request in flight until the oracle lets it go.
fn going(oracle: &Oracle, server: &Server<'_>) -> u64 {
    let before = oracle.request_count();
    oracle.on_next(Fault::Hold);
    let run = server.run("");
    oracle.wait_for_requests(before + 1, SOON);
    run
}

/// Ends the workspace's processes at this point from here on, or no longer.
fn end_at(workspace: &mut Workspace, point: Option<&str>) {
    workspace.change(|setup| {
        setup.environment =
            point.map(|at| ("COUNTERFLOW_END_AT", at.to_owned())).into_iter().collect();
    });
}

#[test]
fn a_server_releases_behind_the_run_that_goes_and_deletes_only_what_is_still_gone() {
    let oracle = Oracle::start(&["id"]);
    let workspace = held(&oracle, 1..=12);
    let server = Server::start(&workspace);
    let release = "/api/v1/runs/2/release";
    server.post("/api/v1/runs/99/release", WHY).expect_problem(404, &["99"]);
    server
        .post("/api/v1/runs/1/release", WHY)
        .expect_problem(409, &["no delete", "counterflow status"]);
    server.post(release, "{}").expect_problem(422, &["`message`"]);
    server.post("/api/v1/syncs/people/pause", WHY).expect(200);
    server.post(release, WHY).expect_problem(409, &["paused", "counterflow resume people"]);
    server.post("/api/v1/syncs/people/resume", WHY).expect(200);
    // Two came back, and thirteen more are gone that nobody has released.
    workspace.write_people(&people((11..=41).filter(|id| !(20..=32).contains(id))));
    let before = going(&oracle, &server);
    let queued = keyed(&server, release, "once", WHY).expect(202);
    let run = queued.json["run"].as_u64().expect("a number");
    assert!(queued.head.contains(&format!("location: /api/v1/runs/{run}")), "{queued:#?}");
    assert_eq!(server.get(&format!("/api/v1/runs/{run}")).json["phase"], "in queue");
    oracle.release();
    server.ended(before);
    let ended = server.ended(run);
    assert_eq!(
        (&ended["phase"], &ended["tally"]["held"]),
        (&json!("partial"), &json!(13)),
        "{ended:#}"
    );
    assert_eq!(oracle.deletes(), keys(1..=10), "{}", oracle.print());
    assert_eq!(keyed(&server, release, "once", WHY).expect(202).json, queued.json);
    let audited = json!(["local", "release 2", "people", run, "they are gone"]);
    assert_eq!(log(&server, 1), [audited]);
    server.end().expect_code(0);
}

#[test]
fn the_command_line_has_the_server_release_and_waits_for_the_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = held(&oracle, 1..=12);
    let server = Server::start(&workspace);
    for (run, code) in [("1", 2), ("99", 2)] {
        workspace.run(&["release", run, "-m", "a slip"]).expect_code(code);
    }
    let done = workspace.run(&["release", "2", "-m", "they are gone"]).expect_code(0);
    done.expect_printed(&["carried out by the server", "12"]);
    check_mirror(&oracle, &expected(&people(13..=40)));
    server.end().expect_code(0);
}

#[test]
fn a_server_discards_once_no_run_goes_and_a_paused_sync_too() {
    let oracle = Oracle::start(&["id"]);
    let workspace = held(&oracle, 1..=12);
    let server = Server::start(&workspace);
    let discard = "/api/v1/runs/2/discard";
    workspace.write_people(&people((13..=41).filter(|id| *id != 20)));
    let run = going(&oracle, &server);
    let words = ["a run of `people` goes", "counterflow stop people", "ask again"];
    server.post(discard, WHY).expect_problem(409, &words);
    workspace.run(&["discard", "2", "-m", "x", "--yes"]).expect_code(2).expect_printed(&words);
    server.post("/api/v1/syncs/people/rebaseline", WHY).expect_problem(409, &words);
    workspace.run(&REBASELINE).expect_code(2).expect_printed(&words);
    server.post("/api/v1/syncs/people/pause", WHY).expect(202);
    oracle.release();
    server.ended(run);
    let asked = workspace.run(&["discard", "2", "-m", "they live on"]).expect_code(2);
    asked.expect_printed(&["`people`", "no longer ours", "--yes"]);
    let done = server.post(discard, WHY).expect(200).json;
    // That run held one more, before it was stopped.
    assert_eq!(done, json!({ "sync": "people", "run": 2, "discarded": 12, "still_held": 1 }));
    assert_eq!(log(&server, 1), [json!(["local", "discard", "people", 2, "they are gone"])]);
    server.post(discard, WHY).expect_problem(409, &["no delete", "run 2"]);
    workspace.run(&["discard", "2", "-m", "x", "--yes"]).expect_code(2);
    assert_eq!(server.get("/api/v1/syncs/people").json["hold"]["keys"], json!(1));
    server.post("/api/v1/syncs/people/resume", WHY).expect(200);
    server.ended(server.run(""));
    assert_eq!(oracle.deletes(), keys([20]), "{}", oracle.print());
    server.end().expect_code(0);
}

#[test]
fn a_server_sets_a_snapshot_aside_and_the_next_run_is_full() {
    let oracle = Oracle::start(&["id"]);
    let workspace = held(&oracle, 1..=12);
    let server = Server::start(&workspace);
    let path = "/api/v1/syncs/people/rebaseline";
    server.post("/api/v1/syncs/nobody/rebaseline", WHY).expect_problem(404, &["`nobody`"]);
    server.post(path, "{}").expect_problem(422, &["`message`"]);
    workspace.run(&REBASELINE[..4]).expect_code(2).expect_printed(&["--yes"]);
    let done = workspace.run(&REBASELINE).expect_code(0);
    done.expect_printed(&["set aside in", "the next run is full"]);
    let run = server.ended(server.run(""));
    assert_eq!((&run["kind"], &run["reason"]), (&json!("full"), &json!("rebaselined")), "{run:#}");
    assert_eq!(run["tally"]["deletes"], 0, "{run:#}");
    let again = keyed(&server, path, "twice", WHY).expect(200).json;
    assert_eq!(keyed(&server, path, "twice", WHY).expect(200).json, again);
    assert_eq!(log(&server, 1), [json!(["local", "rebaseline", "people", null, "they are gone"])]);
    assert!(oracle.deletes().is_empty(), "{}", oracle.print());
    server.end().expect_code(0);
}

#[test]
fn a_decision_whose_process_is_killed_before_the_snapshot_says_so_stands() {
    for (command, is_beside) in [("discard", false), ("discard", true), ("rebaseline", true)] {
        let oracle = Oracle::start(&["id"]);
        let mut workspace = held(&oracle, 1..=12);
        end_at(&mut workspace, Some("decided:1"));
        let path = match command {
            "discard" => "/api/v1/runs/2/discard",
            _ => "/api/v1/syncs/people/rebaseline",
        };
        if is_beside {
            let server = Server::start(&workspace);
            server.lose(path, "once", WHY);
            assert_eq!(server.wait().code, None);
        } else {
            let killed = workspace.run(&["discard", "2", "-m", "why", "--yes"]);
            assert_eq!(killed.code, None, "{killed:#?}");
        }
        end_at(&mut workspace, None);
        let server = Server::start(&workspace);
        if is_beside {
            let again = keyed(&server, path, "once", WHY).expect(200);
            assert!(again.head.contains("idempotency-replayed"), "{again:#?}");
            assert_eq!(
                (&again.json["state"], &again.json["command"]),
                (&json!("done"), &json!(command))
            );
        }
        assert_eq!(server.get("/api/v1/syncs/people").json["hold"], json!(null), "{command}");
        let audited = log(&server, 9);
        assert_eq!(audited.iter().filter(|entry| entry[1] == command).count(), 1, "{audited:#?}");
        let run = server.ended(server.run(""));
        let kind = if command == "discard" { "incremental" } else { "full" };
        assert_eq!((&run["kind"], &run["tally"]["held"]), (&json!(kind), &json!(0)), "{run:#}");
        assert!(oracle.deletes().is_empty(), "{}", oracle.print());
        server.end().expect_code(0);
    }
}

#[test]
fn a_release_whose_server_is_killed_before_its_run_begins_is_made_by_the_next_one() {
    let oracle = Oracle::start(&["id"]);
    let workspace = held(&oracle, 1..=12);
    let server = Server::start(&workspace);
    workspace.write_people(&people(13..=41));
    going(&oracle, &server);
    let queued = keyed(&server, "/api/v1/runs/2/release", "once", WHY).expect(202).json;
    server.process.sigkill();
    server.wait();
    let server = Server::start(&workspace);
    let run = server.ended(queued["run"].as_u64().expect("a number"));
    assert_eq!(run["phase"], "succeeded", "{run:#}");
    assert_eq!(oracle.deletes(), keys(1..=12), "{}", oracle.print());
    server.end().expect_code(0);
}

#[test]
fn held_deletes_are_in_the_metrics_and_in_the_reason_of_every_status_d12() {
    let oracle = Oracle::start(&["id"]);
    let workspace = held(&oracle, 1..=12);
    let server = Server::start(&workspace);
    let measured = || {
        let page = server.text("/metrics");
        let of_it = |line: &str| {
            line.strip_prefix("counterflow_deletes_held{sync=\"people\"} ").map(str::to_owned)
        };
        page.lines().find_map(of_it)
    };
    assert_eq!(measured().as_deref(), Some("12"));
    let connection = || server.get("/api/v1/connections/crm").expect(200).json;
    for shown in [standing(&server, "people"), workspace.status(), connection()] {
        expect_status(&shown, "Idle", &["; 12 deletes are held"]);
    }
    server.ended(
        server.post("/api/v1/runs/2/release", WHY).expect(202).json["run"]
            .as_u64()
            .expect("a number"),
    );
    until("none is held", || (measured()? == "0").then_some(()));
    let reason = standing(&server, "people")["status_reason"].clone();
    assert!(!reason.to_string().contains("held"), "{reason}");
    server.end().expect_code(0);
}
