//! What is left of a sync that is no longer in the config, removed by a person's word.

use serde_json::json;

use super::http_commands::keyed;
#[cfg(feature = "faults")]
use super::http_commands::log;
use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::Server;
#[cfg(feature = "faults")]
use crate::support::server::until;
use crate::support::workspace::{Setup, Workspace};

const PATH: &str = "/api/v1/syncs/people/forget";
const FORGET: [&str; 5] = ["forget", "people", "-m", "moved", "--yes"];

/// The workspace after a run, with the sync under another name in the config.
fn renamed(oracle: &Oracle) -> Workspace {
    renamed_with(oracle, "server: { listen: \"127.0.0.1:0\" }")
}

fn renamed_with(oracle: &Oracle, head: &'static str) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { head, ..Setup::default() });
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.run(&["pause", "people", "-m", "no more"]).expect_code(0);
    let words = ["`people` is in", "take it out"];
    workspace.run(&FORGET).expect_code(2).expect_printed(&words);
    let others = workspace.config().replace("\n  people:\n", "\n  others:\n");
    workspace.write("counterflow.yaml", &others);
    workspace
}

#[test]
fn a_sync_is_forgotten_once_it_is_out_of_the_config_and_begins_anew_if_it_comes_back() {
    let oracle = Oracle::start(&["id"]);
    let workspace = renamed(&oracle);
    let asked = workspace.run(&FORGET[..4]).expect_code(2);
    asked.expect_printed(&["the snapshot, the pause, 1 runs", "--yes"]);
    let folder = workspace.state().join("snapshots").join("people");
    assert!(folder.exists());
    workspace.run(&FORGET).expect_code(0).expect_printed(&["`people` is forgotten"]);
    assert!(!folder.exists());
    assert_eq!(workspace.json(&["runs"]), json!([]));
    for name in ["people", "nobody", "..", "../state", "/", ""] {
        let again = workspace.run(&["forget", name, "--yes"]);
        again.expect_code(2).expect_printed(&["nothing is known", "`counterflow runs`"]);
    }
    assert!(workspace.state().join("counterflow.db").exists());
    workspace.write_config();
    let first = workspace.sync(&[]).expect_kind("full", "first_run");
    first.expect(0, "succeeded", &[("delivered", 5)]);
    check_mirror(&oracle, &expected(&people(1..=5)));
}

#[test]
fn a_server_forgets_a_sync_that_its_config_does_not_have() {
    let oracle = Oracle::start(&["id"]);
    let workspace = renamed(&oracle);
    let server = Server::start(&workspace);
    server.post("/api/v1/syncs/others/forget", "").expect_problem(409, &["`others`", "config"]);
    server
        .post("/api/v1/syncs/nobody/forget", "")
        .expect_problem(404, &["`nobody`", "`GET /api/v1/runs`"]);
    workspace.run(&FORGET).expect_code(0).expect_printed(&["`people` is forgotten"]);
    server.post(PATH, "").expect_problem(404, &["nothing is known"]);
    assert!(!workspace.state().join("snapshots").join("people").exists());
    server.end().expect_code(0);
}

#[test]
fn what_the_delivery_log_has_yet_to_export_of_a_sync_is_said_and_goes_with_it() {
    let oracle = Oracle::start(&["id"]);
    // The folder is away.
    let workspace = renamed_with(&oracle, "delivery_log: { path: log }");
    let spooled = || {
        let entries = std::fs::read_dir(workspace.state().join("delivery_log"));
        let names = entries.expect("it is there").map(|entry| entry.expect("it is there"));
        names.filter(|entry| entry.path().extension().is_some_and(|end| end == "receipts")).count()
    };
    workspace.run(&["sync", "others"]).expect_code(0);
    assert_eq!(spooled(), 2);
    let asked = workspace.run(&FORGET[..4]).expect_code(2);
    asked.expect_printed(&["the receipts of 1 runs that the delivery log has not exported"]);
    let forget = [&["--format", "json"], &FORGET[..]].concat();
    let removed = workspace.run(&forget).expect_code(0).json()["removed"].clone();
    assert_eq!((&removed["runs"], &removed["unexported"]), (&json!(1), &json!(1)), "{removed:#}");
    assert_eq!(spooled(), 1, "those of another sync stay");
}

/// Whether anything of the sync is left in the state.
fn is_there(workspace: &Workspace) -> (bool, bool) {
    let has_snapshot = workspace.state().join("snapshots").join("people").exists();
    (has_snapshot, workspace.json(&["runs"]) != json!([]))
}

#[cfg(feature = "faults")]
#[test]
fn a_forgetting_that_is_killed_is_whole_or_nothing_after_the_next_start_and_its_key_says_which() {
    for (point, is_done) in [("aside:1", false), ("decided:1", true)] {
        let oracle = Oracle::start(&["id"]);
        let mut workspace = renamed(&oracle);
        workspace.setup.environment.push(("COUNTERFLOW_END_AT", point.to_owned()));
        {
            let server = Server::start(&workspace);
            server.lose(PATH, "once", "");
            assert_eq!(server.wait().code, None, "{point}");
        }
        workspace.setup.environment.clear();
        let server = Server::start(&workspace);
        assert_eq!(is_there(&workspace), (!is_done, !is_done), "{point}");
        assert_eq!(log(&server, 1)[0][1] == "forget", is_done, "{point}");
        let again = keyed(&server, PATH, "once", "").expect(200);
        assert_eq!(again.head.contains("idempotency-replayed"), is_done, "{point}: {again:#?}");
        assert_eq!(is_there(&workspace), (false, false), "{point}");
        let aside = workspace.state().join("forgotten").read_dir().expect("it was there");
        assert_eq!(aside.count(), 0, "{point}: it takes no room");
        server.end().expect_code(0);
    }
}

#[test]
fn a_snapshot_that_cannot_be_removed_keeps_all_of_the_sync_and_the_key_free() {
    let oracle = Oracle::start(&["id"]);
    let workspace = renamed(&oracle);
    let server = Server::start(&workspace);
    workspace.write("state/forgotten", "in the way");
    keyed(&server, PATH, "once", "")
        .expect_problem(500, &["cannot remove", "forget the sync again"]);
    assert_eq!(is_there(&workspace), (true, true));
    std::fs::remove_file(workspace.state().join("forgotten")).expect("it was written");
    let again = keyed(&server, PATH, "once", "").expect(200);
    assert!(!again.head.contains("idempotency-replayed"), "{again:#?}");
    assert_eq!(is_there(&workspace), (false, false));
    server.end().expect_code(0);
}

#[cfg(feature = "faults")]
#[test]
fn a_sync_is_forgotten_once_under_its_key_though_nobody_waits_for_the_answer() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = renamed(&oracle);
    workspace.setup.environment.push(("COUNTERFLOW_HOLD_AT", "aside:1:held".to_owned()));
    let server = Server::start(&workspace);
    let held = workspace.path().join("held");
    let begun = server.begin(PATH, "once", "");
    until("it is carried out", || held.exists().then_some(()));
    drop(begun);
    // Time enough to see that whoever asked has left.
    for _ in 0..50 {
        keyed(&server, PATH, "once", "").expect_problem(409, &["is being carried out"]);
    }
    std::fs::remove_file(held).expect("it is there");
    let done = until("it is done", || {
        Some(keyed(&server, PATH, "once", "")).filter(|again| again.status != 409)
    });
    assert!(done.head.contains("idempotency-replayed: true"), "{done:#?}");
    assert_eq!(done.expect(200).json["command"], "forget");
    assert_eq!(is_there(&workspace), (false, false));
    server.end().expect_code(0);
}
