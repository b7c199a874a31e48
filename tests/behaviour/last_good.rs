//! A server that starts while its config file is bad or gone (D10).

use serde_json::Value;

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Api, Server, until};
use crate::support::workspace::{Setup, Workspace};
use crate::support::{SOON, TOKEN};

const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }\ngroups: { sales: {} }";
const KEPT: &str = "last-good-config.json";

fn workspace(oracle: &Oracle) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { head: HEAD, ..Setup::default() });
    workspace.write_people(&people(1..=12));
    workspace
}

/// Starts a server with the file as it is, and ends it; the revision that ran.
fn run_once(workspace: &Workspace) -> Value {
    let server = Server::start(workspace);
    let revision = version(&server)["revision"].clone();
    server.end().expect_code(0);
    revision
}

fn version(server: &Api) -> Value {
    server.get("/version").expect(200).json
}

fn remove_config(workspace: &Workspace) {
    std::fs::remove_file(workspace.path().join("counterflow.yaml")).expect("it is there");
}

#[test]
fn a_server_starts_with_the_last_good_config_where_its_file_is_bad_and_nobody_is_fooled_d10() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let good = workspace.config();
    let before = run_once(&workspace);
    // One that cannot be read as YAML at all says no more where its state is than by a line.
    for (bad, word) in [
        (good.replace("mode: mirror", "mode: mirrored"), "mirrored"),
        (good.replace("models: {", "models: {{{"), "counterflow.yaml:"),
        (good.replace("${TOKEN}", "${NOT_SET}"), "`NOT_SET` is not set"),
    ] {
        workspace.write("counterflow.yaml", &bad);
        workspace.run(&["validate"]).expect_code(2).expect_printed(&[word]);
        workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&[word]);
        let server = Server::start(&workspace);
        let shown = version(&server);
        assert_eq!(shown["revision"], before, "the last good one runs");
        let revision = before.as_str().expect("a word");
        let warning = shown["warning"].as_str().expect("there is one").to_owned();
        for said in [word, "does not run", revision] {
            assert!(warning.contains(said), "`{said}` in {warning}");
        }
        // Whoever asks is told that there is something, and where it is said.
        let ready = server.get("/ready").expect(200).json;
        assert_eq!(ready["revision"], before);
        let open = ready["warning"].as_str().expect("there is one");
        assert!(open.contains("does not run") && open.contains("/version"), "{open}");
        let standing = server.get("/api/v1/syncs/people").expect(200).json;
        assert_eq!(standing["config"]["warning"], warning);
        assert_eq!(server.ended(server.run("{\"full\": true}"))["phase"], "succeeded");
        let ended = server.end().expect_code(0);
        assert_eq!(ended.json()["warning"], warning);
        ended.expect_printed(&["the server starts with the last good config", word]);
    }
    check_mirror(&oracle, &expected(&people(1..=12)));
}

#[test]
fn a_file_that_is_good_again_is_picked_up_and_is_the_next_last_good_one_d10() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let good = workspace.config();
    let before = run_once(&workspace);
    remove_config(&workspace);
    // A file that is gone cannot say where its state is; the service manager can.
    workspace
        .run(&["serve"])
        .expect_code(2)
        .expect_printed(&["counterflow.yaml", "cannot be read"]);
    let state = workspace.state();
    let given = [("STATE_DIRECTORY", state.to_str().expect("a path"))];
    let process = workspace.spawn_with(&["--format", "json", "serve"], &given);
    let server = Api::of(&workspace, &process);
    assert_eq!(version(&server)["revision"], before);
    assert!(
        version(&server)["warning"].as_str().is_some_and(|said| said.contains("cannot be read"))
    );
    workspace.write("counterflow.yaml", &good.replace("concurrency: 4", "concurrency: 3"));
    let now = until("it runs by the file", || {
        let now = version(&server);
        (now["revision"] != before && now["warning"].is_null()).then_some(now)
    });
    assert!(server.get("/ready").expect(200).json["warning"].is_null());
    process.sigterm();
    workspace.end(process, SOON).expect_code(0);
    workspace.write("counterflow.yaml", &good.replace("mode: mirror", "mode: mirrored"));
    assert_eq!(run_once(&workspace), now["revision"]);
}

#[test]
fn what_is_kept_has_the_queries_and_no_secret_and_is_its_owners_alone_d10() {
    use std::os::unix::fs::PermissionsExt as _;
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let config =
        workspace.config().replace("sql: \"SELECT * FROM people\"", "sql_file: people.sql");
    workspace.write("counterflow.yaml", &config);
    workspace.write("people.sql", "SELECT * FROM people WHERE id > 2");
    let before = run_once(&workspace);
    let kept = workspace.state().join(KEPT);
    assert_eq!(kept.metadata().expect("it is kept").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&kept).expect("it is text");
    assert!(text.contains("${TOKEN}") && !text.contains(TOKEN), "references, not secrets");
    for query in [None, Some(""), Some("DELETE FROM people")] {
        match query {
            Some(query) => workspace.write("people.sql", query),
            None => std::fs::remove_file(workspace.path().join("people.sql")).expect("it is there"),
        }
        let server = Server::start(&workspace);
        let shown = version(&server);
        assert_eq!(shown["revision"], before, "{query:?}: {shown:#}");
        assert!(shown["warning"].as_str().is_some_and(|said| said.contains("people")), "{shown:#}");
        assert_eq!(
            server.ended(server.run("{\"full\": true}"))["tally"]["rows_read"],
            10,
            "by the query as it was"
        );
        server.end().expect_code(0);
    }
    workspace.assert_state_holds_no_canary();
}

#[test]
fn without_a_last_good_config_that_runs_the_file_is_refused_by_name_d10() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let good = workspace.config();
    workspace.write("counterflow.yaml", &good.replace("mode: mirror", "mode: mirrored"));
    workspace.run(&["serve"]).expect_code(2).expect_printed(&["mirrored"]);
    workspace.write_config();
    run_once(&workspace);
    // A secret that is not there is as little there for what is kept.
    let process = workspace.spawn_with(&["serve"], &[("TOKEN", "")]);
    workspace
        .end(process, SOON)
        .expect_code(2)
        .expect_printed(&["`${TOKEN}` stands for is empty", "set it"]);
    // What is not set, where, and what to do.
    let unset = good.replace("${TOKEN}", "${ABSENT}");
    workspace.write("counterflow.yaml", &unset);
    std::fs::remove_file(workspace.state().join(KEPT)).expect("it is kept");
    let line = unset.lines().position(|line| line.contains("ABSENT")).expect("it is there") + 1;
    let place = format!("counterflow.yaml:{line}:");
    let words =
        [place.as_str(), "connections.crm.http.auth.bearer", "`ABSENT` is not set", "set `ABSENT`"];
    workspace.run(&["serve"]).expect_code(2).expect_printed(&words);
    assert_eq!(oracle.request_count(), 0);
}

#[test]
fn status_answers_by_what_the_server_runs_by_while_the_file_is_bad_and_says_what_is_wrong_d10() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle);
    workspace.change(|setup| setup.sync = "group: sales");
    // A file that is gone cannot say where its state is; the service manager can.
    let state = workspace.state().display().to_string();
    workspace.setup.environment = vec![("STATE_DIRECTORY", state)];
    let good = workspace.config();
    let questions: [&[&str]; 4] =
        [&["status"], &["status", "people"], &["group", "status"], &["group", "status", "sales"]];
    let server = Server::start(&workspace);
    workspace.run(&["sync", "people"]).expect_code(0);
    let revision = version(&server)["revision"].clone();
    let revision = revision.as_str().expect("a word");
    for (bad, word) in [
        (Some(good.replace("mode: mirror", "mode: mirrored")), "mirrored"),
        (Some(good.replace("models: {", "models: {{{")), "counterflow.yaml:"),
        (None, "cannot be read"),
    ] {
        match &bad {
            Some(bad) => workspace.write("counterflow.yaml", bad),
            None => remove_config(&workspace),
        }
        // At once: the server may not have looked at the file yet. Whoever looks needs no secret.
        for question in questions {
            let process = workspace.spawn_with(question, &[("TOKEN", "")]);
            let said = workspace.end(process, SOON).expect_code(0);
            said.expect_printed(&["people", "Idle", "does not run", revision, word]);
            let document = workspace.json(question)[0].clone();
            assert_eq!(document["config"]["revision"], revision, "{document:#}");
            let warning = document["config"]["warning"].as_str().expect("there is one");
            assert!(warning.contains(word), "{warning}");
        }
        until("the server says the same", || {
            let standing = server.get("/api/v1/syncs/people").expect(200).json;
            (workspace.status() == standing).then_some(())
        });
        let group = server.get("/api/v1/groups/sales").expect(200).json;
        assert_eq!(workspace.json(&["group", "status"])[0], group);
        workspace.run(&["status", "nobody"]).expect_code(2).expect_printed(&["`people`"]);
        workspace.run(&["validate"]).expect_code(2).expect_printed(&[word]);
    }
    workspace.write("counterflow.yaml", &good.replace("mode: mirror", "mode: mirrored"));
    workspace.run(&["group", "stop", "sales", "--yes"]).expect_code(0);
    assert_eq!(workspace.status()["is_paused"], true, "the server has done it");
    server.end().expect_code(0);
    for question in questions {
        workspace.run(question).expect_code(2).expect_printed(&["mirrored"]);
    }
    // What was kept is none of a server that went by another config.
    workspace.write("counterflow.yaml", &good.replace("concurrency: 4", "concurrency: 3"));
    let kept = std::fs::read(workspace.state().join(KEPT)).expect("it is kept");
    let server = Server::start(&workspace);
    std::fs::write(workspace.state().join(KEPT), kept).expect("it can be written");
    workspace.write("counterflow.yaml", &good.replace("mode: mirror", "mode: mirrored"));
    workspace.run(&["status"]).expect_code(2).expect_printed(&["mirrored"]);
    server.end().expect_code(0);
}
