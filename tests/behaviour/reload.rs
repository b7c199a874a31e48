//! Another config in a server that runs: by the command line, over HTTP, by SIGHUP and by a change of the files (D2, D10).

use serde_json::{Value, json};

use super::control_plane::{run, standing};
use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }";
/// A schedule that does not fire while a test runs.
const FAR: &str = "schedule: { cron: \"0 0 1 1 *\" }";

/// A server's workspace with people to deliver.
fn workspace(oracle: &Oracle, setup: Setup) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { head: HEAD, ..setup });
    workspace.write_people(&people(1..=30));
    workspace
}

/// Puts other syncs than `people` into the config's file: each its name and more keys of it.
fn write_syncs(workspace: &Workspace, syncs: &[(&str, &str)]) {
    let config = workspace.config();
    let (before, sync) = config.split_once("  people:\n    model").expect("there is a sync");
    let sync = |(name, more): &(&str, &str)| {
        format!("  {name}:\n    shared: true\n    {more}\n    model{sync}")
    };
    let syncs = syncs.iter().map(sync).collect::<String>();
    workspace.write("counterflow.yaml", &format!("{before}{syncs}"));
}

/// Changes the config's file as it is.
#[track_caller]
fn edit(workspace: &Workspace, changes: &[(&str, &str)]) {
    let path = workspace.path().join("counterflow.yaml");
    let mut config = std::fs::read_to_string(path).expect("there is a config");
    for (from, to) in changes {
        assert!(config.contains(from), "`{from}` is in the config");
        config = config.replace(from, to);
    }
    workspace.write("counterflow.yaml", &config);
}

/// Asks for a reload; what changed.
#[track_caller]
fn reload(server: &Server) -> Value {
    let answer = server.post("/api/v1/reload", "").expect(200).json;
    assert_eq!(answer["revision"], revision(server), "{answer:#}");
    answer["changes"].clone()
}

fn revision(server: &Server) -> Value {
    server.get("/version").expect(200).json["revision"].clone()
}

#[test]
fn a_sync_is_added_and_one_that_is_removed_while_it_runs_drains_c8() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() });
    write_syncs(&workspace, &[("old", "paused: false")]);
    let server = Server::start(&workspace);
    let before = revision(&server);
    write_syncs(&workspace, &[("old", "paused: false"), ("new", "start: now")]);
    let answer = workspace.json(&["reload"]);
    assert_eq!(answer["changes"]["syncs"]["added"], json!(["new"]), "{answer:#}");
    assert_ne!(answer["revision"], before);
    until("it runs by itself", || {
        let runs = server.get("/api/v1/runs?sync=new").expect(200).json;
        (runs[0]["phase"] == "succeeded").then_some(())
    });
    check_mirror(&oracle, &expected(&people(1..=30)));

    oracle.on_next(Fault::ApplyThenHold);
    let count = oracle.request_count();
    let going = run(&server, "old");
    oracle.wait_for_requests(count + 1, SOON);
    let waiting = run(&server, "old");
    write_syncs(&workspace, &[("new", "start: now")]);
    assert_eq!(reload(&server)["syncs"]["removed"], json!(["old"]));
    let dropped = server.ended(waiting);
    assert_eq!(dropped["phase"], "cancelled");
    assert_eq!(dropped["error"], "the sync is no longer in the config");
    server.wait_for_phase(going, "draining");
    server.get("/api/v1/syncs/old").expect_problem(404, &["`old`"]);
    server.post("/api/v1/syncs/old/run", "").expect_problem(404, &["`old`"]);
    oracle.release();
    let drained = server.ended(going);
    assert_eq!(drained["phase"], "cancelled");
    assert_eq!(drained["tally"]["delivered"], 10, "what was in flight counts: {drained:#}");
    assert_eq!(drained["stop_message"], "the sync is no longer in the config");
    assert_eq!(oracle.request_count(), count + 1, "nothing more was sent");
    server.end().expect_code(0);
}

#[test]
fn a_sample_that_goes_drains_where_its_sync_is_removed_or_paused_c8() {
    const GOES: (&str, &str) = ("old", "paused: false");
    const PAUSED: (&str, &str) = ("old", "paused: true");
    for (syncs, why) in [
        (&[("new", "paused: true")][..], "the sync is no longer in the config"),
        (&[PAUSED][..], "`old` is paused by `paused: true`"),
    ] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() });
        write_syncs(&workspace, &[GOES]);
        let server = Server::start(&workspace);
        assert_eq!(server.ended(run(&server, "old"))["phase"], "succeeded");
        oracle.on_next(Fault::ApplyThenHold);
        let count = oracle.request_count();
        let sampled = server.post("/api/v1/syncs/old/sample", r#"{"limit": 25}"#).expect(202);
        let sampled = sampled.json["run"].as_u64().expect("a number");
        oracle.wait_for_requests(count + 1, SOON);
        write_syncs(&workspace, syncs);
        reload(&server);
        server.wait_for_phase(sampled, "draining");
        oracle.release();
        let drained = server.ended(sampled);
        assert_eq!(drained["phase"], "cancelled", "{drained:#}");
        let told = drained["stop_message"].as_str().expect("it says why");
        assert!(told.contains(why), "{drained:#}");
        assert_eq!(oracle.request_count(), count + 1, "nothing more was sent");
        server.end().expect_code(0);
    }
}

#[test]
fn another_schedule_counts_from_the_reload_on_and_the_sync_restarts_b10() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    write_syncs(&workspace, &[("a", FAR), ("b", FAR)]);
    let server = Server::start(&workspace);
    let far = FAR.replace("0 0 1", "0 1 1");
    write_syncs(&workspace, &[("a", "schedule: { every: 1s }"), ("b", &far)]);
    let changes = reload(&server);
    assert_eq!(changes["syncs"]["changed"], json!({ "a": ["schedule"], "b": ["schedule"] }));
    let shown = standing(&server, "b");
    assert_eq!(shown["status"], "Restarting", "{shown:#}");
    assert_eq!(shown["status_reason"], workspace.json(&["status"])[1]["status_reason"]);
    let runs = until("it has run by itself", || {
        let runs = server.get("/api/v1/runs?sync=a").expect(200).json;
        runs.as_array()?.iter().any(|run| run["phase"] == "succeeded").then_some(runs)
    });
    assert_eq!(runs[0]["trigger"], "schedule");
    assert_eq!(server.ended(run(&server, "b"))["phase"], "succeeded");
    assert_eq!(standing(&server, "b")["status"], "Running");
    server.end().expect_code(0);
}

#[test]
fn a_run_that_goes_keeps_its_definition_and_has_the_new_concurrency_e3_d2() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() });
    let server = Server::start(&workspace);
    let before = revision(&server);
    oracle.always(Fault::ApplyThenHold);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    let waiting = server.run("");
    let of = |run: u64| server.get(&format!("/api/v1/runs/{run}")).expect(200).json;
    assert_eq!((&of(going)["revision"], &of(waiting)["revision"]), (&before, &Value::Null));
    edit(&workspace, &[("concurrency: 1", "concurrency: 3"), ("records: 10", "records: 5")]);
    let changes = reload(&server);
    assert_eq!(changes["connections"], json!({ "crm": ["budget"] }));
    assert_eq!(changes["syncs"]["changed"], json!({ "people": ["definition"] }));
    oracle.wait_for_requests(3, SOON);
    oracle.clear_faults();
    oracle.release();
    let ended = server.ended(going);
    assert_eq!((&ended["phase"], &ended["tally"]["delivered"]), (&json!("succeeded"), &json!(30)));
    let sizes = |from: usize| -> Vec<usize> {
        oracle.requests()[from..].iter().map(|request| request.sent.keys().count()).collect()
    };
    assert_eq!(sizes(0), [10, 10, 10], "as it began");
    let now = revision(&server);
    assert_ne!(now, before);
    assert_eq!(ended["revision"], before, "D2: what it began with");
    assert_eq!(server.ended(waiting)["revision"], now, "D2: it began after the reload");
    let runs = workspace.json(&["runs"]);
    assert_eq!((&runs[0]["revision"], &runs[1]["revision"]), (&now, &before));
    let words = [&before, &now].map(|revision| revision.as_str().expect("a word").to_owned());
    workspace.run(&["runs"]).expect_code(0).expect_printed(&words.each_ref().map(String::as_str));
    server.ended(server.run("{\"full\": true}"));
    assert_eq!(sizes(3), [5; 6], "as the file says now");
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=30)));
}

#[test]
fn a_bad_file_or_none_changes_nothing_and_is_told_of_until_a_good_one_comes_d10() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    let server = Server::start(&workspace);
    let before = revision(&server);
    let good = workspace.config();
    let bad =
        good.replace("mode: mirror", "mode: mirrored").replace("model: people", "model: persons");
    workspace.write("counterflow.yaml", &bad);
    let line = |words: &str| {
        let at = bad.lines().position(|line| line.contains(words)).expect("it is there");
        format!("counterflow.yaml:{}:", at + 1)
    };
    let problems = [line("model: persons"), line("mode: mirrored")];
    let words: Vec<&str> = problems.iter().map(String::as_str).collect();
    workspace.run(&["reload"]).expect_code(2).expect_printed(&words);
    let answered = server.post("/api/v1/reload", "");
    assert_eq!(answered.json["problems"].as_array().map(Vec::len), Some(2), "{answered:#?}");
    answered.expect_problem(422, &words);
    let warning = |server: &Server| server.get("/version").expect(200).json["warning"].clone();
    let said = warning(&server);
    // Whoever asks is told that there is something, and no more.
    let open = server.get("/ready").expect(200).json["warning"].clone();
    assert!(open.as_str().is_some_and(|open| open.contains("does not run")), "{open}");
    assert!(
        words.iter().all(|word| said.as_str().is_some_and(|said| said.contains(word))),
        "{said}"
    );
    std::fs::remove_file(workspace.path().join("counterflow.yaml")).expect("it is there");
    server.post("/api/v1/reload", "").expect_problem(422, &["cannot be read"]);
    assert!(warning(&server).as_str().is_some_and(|said| said.contains("cannot be read")));
    assert_eq!(revision(&server), before);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded", "the last good one runs");
    // Nobody asks: the file is looked at.
    workspace.write("counterflow.yaml", &good);
    until("the warning ends", || warning(&server).is_null().then_some(()));
    assert_eq!(revision(&server), before, "the same is written");
    // What a command beside says of it is what the server says: here of a file that only the server cannot run.
    workspace.write("counterflow.yaml", &good.replace("${TOKEN}", "${NOT_SET}"));
    server.post("/api/v1/reload", "").expect_problem(422, &["NOT_SET"]);
    let version = server.get("/version").expect(200).json;
    let shown = workspace.status()["config"].clone();
    assert!(shown["warning"].as_str().is_some_and(|said| said.contains("NOT_SET")), "{shown:#}");
    for said in [&shown, &standing(&server, "people")["config"]] {
        for name in ["revision", "since", "warning"] {
            assert_eq!(said[name], version[name], "{name}");
        }
    }
    let words = [before.as_str().expect("a word"), "does not run", "NOT_SET"];
    workspace.run(&["status"]).expect_code(0).expect_printed(&words);
    workspace.write("counterflow.yaml", &good.replace("concurrency: 4", "concurrency: 3"));
    until("it runs by it", || (revision(&server) != before).then_some(()));
    let version = server.get("/version").expect(200).json;
    let shown = workspace.status()["config"].clone();
    for name in ["revision", "since", "warning"] {
        assert_eq!(shown[name], version[name], "{name}");
    }
    server.end().expect_code(0);
    let alone = workspace.status()["config"].clone();
    assert_eq!(alone, json!({ "revision": version["revision"], "since": null, "warning": null }));
    check_mirror(&oracle, &expected(&people(1..=30)));
}

#[test]
fn sighup_reads_the_file_anew_and_ends_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    let server = Server::start(&workspace);
    let before = revision(&server);
    edit(&workspace, &[("mode: mirror", &format!("mode: mirror\n    {FAR}"))]);
    server.process.signal("HUP");
    until("it runs by the new one", || (revision(&server) != before).then_some(()));
    assert_eq!(standing(&server, "people")["next"].as_array().map(Vec::len), Some(5));
    server.end().expect_code(0).expect_printed(&["the config was reloaded", "SIGHUP"]);
}

#[test]
fn a_change_of_the_file_or_of_a_query_that_it_names_counts_without_a_word_d2() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    let config =
        workspace.config().replace("sql: \"SELECT * FROM people\"", "sql_file: people.sql");
    workspace.write("people.sql", "SELECT * FROM people");
    workspace.write("counterflow.yaml", &config);
    let server = Server::start(&workspace);
    assert_eq!(server.ended(server.run(""))["tally"]["delivered"], 30);
    let first = revision(&server);
    workspace.write("people.sql", "SELECT * FROM people WHERE id > 0");
    until("the query is another", || (revision(&server) != first).then_some(()));
    let second = revision(&server);
    workspace.write("counterflow.yaml", &config.replace("concurrency: 4", "concurrency: 2"));
    until("the file is another", || (revision(&server) != second).then_some(()));
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    workspace.run(&["status"]).expect_printed(&[revision(&server).as_str().expect("a word")]);
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=30)));
}

#[test]
fn a_stale_revision_is_a_conflict_and_what_cannot_change_is_said() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    let server = Server::start(&workspace);
    let first = revision(&server).as_str().expect("a word").to_owned();
    let by = |revision: &str, sync: &str| {
        workspace.write("counterflow.yaml", &workspace.config().replace("mode: mirror", sync));
        server.post("/api/v1/reload", &json!({ "revision": revision }).to_string())
    };
    let second = by(&first, "mode: mirror\n    priority: high").expect(200).json;
    assert_eq!(second["changes"]["syncs"]["changed"], json!({ "people": ["group or priority"] }));
    by(&first, "mode: mirror")
        .expect_problem(409, &[&first, second["revision"].as_str().unwrap_or("")]);
    workspace
        .run(&["reload", "--revision", &first])
        .expect_code(2)
        .expect_printed(&["409", &first]);
    assert_eq!(revision(&server), second["revision"], "nothing changed");
    server.post("/api/v1/reload", "{\"version\": 1}").expect_problem(422, &["`version`"]);
    let other = workspace.config().replace("state: ./state", "state: ./elsewhere");
    workspace.write("counterflow.yaml", &other);
    server.post("/api/v1/reload", "").expect_problem(422, &["`state` cannot change", "elsewhere"]);
    let other = workspace.config().replace("127.0.0.1:0", "127.0.0.1:1");
    workspace.write("counterflow.yaml", &other);
    let changes = reload(&server);
    assert_eq!(changes["at_next_start"], json!(["server.listen"]), "{changes:#}");
    let again = server.post("/api/v1/reload", "").expect(200).json;
    assert_eq!(
        (&again["is_changed"], &again["summary"]),
        (&json!(false), &json!("nothing changed"))
    );
    server.end().expect_code(0);
    workspace.run(&["reload"]).expect_code(2).expect_printed(&["no server"]);
}

#[test]
fn a_paused_sync_is_changed_and_given_another_secret_and_the_files_pause_counts_a2_a10() {
    let oracle = Oracle::start(&["id"]);
    oracle.take_only("new-token");
    let setup = Setup { bearer: "file:token", concurrency: 1, ..Setup::default() };
    let workspace = workspace(&oracle, setup);
    workspace.write("token", "old-token");
    let server = Server::start(&workspace);
    assert_eq!(server.ended(server.run(""))["phase"], "failed");
    workspace.run(&["pause", "people", "-m", "the token is old"]).expect_code(0);
    workspace.write("token", "new-token");
    edit(&workspace, &[("records: 10", "records: 5")]);
    let changes = reload(&server);
    assert_eq!(changes["connections"], json!({ "crm": ["credentials"] }));
    assert_eq!(changes["syncs"]["changed"], json!({ "people": ["definition"] }));
    assert_eq!(standing(&server, "people")["status"], "Disabled", "the pause stands");
    workspace.run(&["resume", "people", "-m", "there is another"]).expect_code(0);
    let count = oracle.request_count();
    oracle.on_request(count + 2, Fault::ApplyThenHold);
    let going = server.run("");
    oracle.wait_for_requests(count + 2, SOON);
    let waiting = server.run("");

    edit(&workspace, &[("mode: mirror", "mode: mirror\n    paused: true")]);
    assert_eq!(reload(&server)["syncs"]["changed"], json!({ "people": ["paused"] }));
    assert_eq!(server.ended(waiting)["phase"], "cancelled");
    oracle.release();
    let ended = server.ended(going);
    assert_eq!((&ended["phase"], &ended["tally"]["delivered"]), (&json!("cancelled"), &json!(10)));
    let shown = standing(&server, "people");
    assert_eq!(shown["status"], "Disabled", "{shown:#}");
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &["`paused: true`"]);
    edit(&workspace, &[("paused: true", "paused: false")]);
    reload(&server);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=30)));
    workspace.assert_state_holds_no_canary();
}

#[test]
fn another_rate_counts_for_a_run_that_goes_e3() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() });
    let rate = "concurrency: 1\n    rate_limit: ";
    edit(&workspace, &[("concurrency: 1", &format!("{rate}1/h"))]);
    let server = Server::start(&workspace);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    server.wait_for_phase(going, "reading");
    edit(&workspace, &[("rate_limit: 1/h", "rate_limit: 1000/s")]);
    assert_eq!(reload(&server)["connections"], json!({ "crm": ["budget"] }));
    assert_eq!(server.ended(going)["phase"], "succeeded", "it waits no hour");
    edit(&workspace, &[("rate_limit: 1000/s", "rate_limit: 1/h")]);
    reload(&server);
    let next = server.run("{\"full\": true}");
    oracle.wait_for_requests(4, SOON);
    edit(&workspace, &[("    rate_limit: 1/h\n", "")]);
    reload(&server);
    assert_eq!(server.ended(next)["phase"], "succeeded", "nothing limits it any more");
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=30)));
}

#[test]
fn another_drain_timeout_counts_for_the_next_run_and_not_for_one_that_goes_d2() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() });
    edit(&workspace, &[("drain_timeout: 5s", "drain_timeout: 10m")]);
    let server = Server::start(&workspace);
    oracle.on_next(Fault::ApplyThenHold);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    edit(&workspace, &[("drain_timeout: 10m", "drain_timeout: 100ms")]);
    assert_eq!(reload(&server)["syncs"]["changed"], json!({ "people": ["definition"] }));
    let stop = "/api/v1/syncs/people/stop";
    server.post(stop, "").expect(202);
    server.wait_for_phase(going, "draining");
    oracle.release();
    let drained = server.ended(going);
    assert_eq!(drained["tally"]["delivered"], 10, "its answer is waited for: {drained:#}");

    oracle.on_next(Fault::ApplyThenHold);
    let next = server.run("");
    oracle.wait_for_requests(2, SOON);
    server.post(stop, "").expect(202);
    // Nobody releases what it has in flight.
    let cut = server.ended(next);
    assert_eq!((&cut["phase"], &cut["tally"]["unknown"]), (&json!("cancelled"), &json!(10)));
    oracle.release();
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=30)));
}

#[test]
fn another_delivery_log_counts_from_the_next_start_on_and_the_reload_says_so_d11() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default());
    let log = workspace.path().join("log");
    std::fs::create_dir(&log).expect("a folder can be made");
    let server = Server::start(&workspace);
    let with_log = format!("{HEAD}\ndelivery_log: {{ path: ./log, every: 1s }}");
    edit(&workspace, &[(HEAD, &with_log)]);
    assert_eq!(reload(&server)["at_next_start"], json!(["delivery_log"]));
    server.ended(server.run(""));
    server.end().expect_code(0);
    assert!(!log.join("runs").exists(), "it began without one");
    let server = Server::start(&workspace);
    until("what ended before is exported", || log.join("runs").exists().then_some(()));
    server.end().expect_code(0);
}
