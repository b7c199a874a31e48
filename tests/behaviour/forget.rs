//! What is left of a sync that is no longer in the config, removed by a person's word.

use serde_json::json;

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::Server;
use crate::support::workspace::{Setup, Workspace};

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
    let path = "/api/v1/syncs/people/forget";
    server.post("/api/v1/syncs/others/forget", "").expect_problem(409, &["`others`", "config"]);
    server
        .post("/api/v1/syncs/nobody/forget", "")
        .expect_problem(404, &["`nobody`", "`GET /api/v1/runs`"]);
    workspace.run(&FORGET).expect_code(0).expect_printed(&["`people` is forgotten"]);
    server.post(path, "").expect_problem(404, &["nothing is known"]);
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
