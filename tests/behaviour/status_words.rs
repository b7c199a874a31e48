//! The eight words of the status by name, as they are seen over HTTP, by the command line and in the metrics (B5 to B13). The
//! rule by itself is tested in `domain::status`.

use serde_json::{Value, json};

use super::control_plane::{HEAD, run, standing, workspace};
use crate::support::SOON;
use crate::support::check::expect_status;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::{Api, Server, until};
use crate::support::workspace::Workspace;

const WORDS: [&str; 8] = [
    "Disabled",
    "Failed",
    "Idle",
    "In Queue",
    "Restarting",
    "Running",
    "Server Reinitializing",
    "Unknown",
];
/// No test lasts until it fires.
const YEARLY: &str = "schedule: { cron: \"30 3 29 2 *\" }";

/// The words that the metrics have for this `sync` or `group`, and those of them that apply.
fn in_metrics(api: &Api, kind: &str, name: &str) -> (Vec<String>, Vec<String>) {
    let page = api.text("/metrics");
    let beginning = format!("counterflow_{kind}_status{{{kind}=\"{name}\",status=\"");
    let lines = page.lines().filter_map(|line| line.strip_prefix(&beginning)?.split_once("\"} "));
    let lines: Vec<(&str, &str)> = lines.collect();
    let words = |is_it: fn(&str) -> bool| {
        let mut words: Vec<String> = lines
            .iter()
            .filter(|(_, value)| is_it(value))
            .map(|(word, _)| (*word).to_owned())
            .collect();
        words.sort();
        words
    };
    (words(|_| true), words(|value| value == "1"))
}

/// Two syncs of a group, whose runs are sets of one iteration after another.
struct Pair<'w> {
    server: Server<'w>,
    oracle: &'w Oracle,
}

impl<'w> Pair<'w> {
    fn workspace(oracle: &Oracle) -> Workspace {
        let syncs = [("ss1", "group: sales"), ("ss2", "group: sales")];
        workspace(oracle, &format!("{HEAD}\ngroups: {{ sales: {{}} }}"), &syncs)
    }

    fn start(workspace: &'w Workspace, oracle: &'w Oracle) -> Pair<'w> {
        Pair { server: Server::start(workspace), oracle }
    }

    /// Runs it to its end.
    #[track_caller]
    fn iterate(&self, sync: &str, phase: &str) {
        if phase == "failed" {
            self.oracle.on_next(Fault::status(403));
        }
        let run = self.full(sync);
        assert_eq!(self.server.ended(run)["phase"], phase);
    }

    fn full(&self, sync: &str) -> u64 {
        let path = format!("/api/v1/syncs/{sync}/run");
        let asked = self.server.post(&path, "{\"full\": true}").expect(202);
        asked.json["run"].as_u64().expect("a number")
    }

    /// Begins a run that is not answered until the oracle releases it.
    fn begin(&self, sync: &str) -> u64 {
        let before = self.oracle.request_count();
        self.oracle.on_next(Fault::ApplyThenHold);
        let run = self.full(sync);
        self.oracle.wait_for_requests(before + 1, SOON);
        run
    }

    /// The group and the connection stand so, by every way to ask.
    #[track_caller]
    fn expect(&self, workspace: &Workspace, word: &str, reason: &str) {
        let group = self.server.get("/api/v1/groups/sales").expect(200).json;
        expect_status(&group, word, &[reason]);
        assert_eq!(workspace.json(&["group", "status", "sales"])[0], group);
        let connection = self.server.get("/api/v1/connections/crm").expect(200).json;
        expect_status(&connection, word, &[reason]);
        // What the metrics say may be some seconds old.
        let (all, _) = until("the metrics say so", || {
            let shown = in_metrics(&self.server, "group", "sales");
            (shown.1 == [word]).then_some(shown)
        });
        assert_eq!(all, WORDS);
    }

    #[track_caller]
    fn end(self, run: u64) {
        self.oracle.release();
        assert_eq!(self.server.ended(run)["phase"], "succeeded");
        self.server.end().expect_code(0);
        self.oracle.assert_faults_fired();
    }
}

#[test]
fn case_1_all_succeeded_and_the_next_iteration_goes_on_is_running_b12() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Pair::workspace(&oracle);
    let pair = Pair::start(&workspace, &oracle);
    for sync in ["ss1", "ss2", "ss1", "ss2"] {
        pair.iterate(sync, "succeeded");
    }
    let third = pair.begin("ss1");
    pair.expect(&workspace, "Running", &format!("`ss1`: run {third} goes; the last run before"));
    pair.end(third);
}

#[test]
fn case_2_one_failed_and_its_next_iteration_goes_on_is_failed_b7_b12() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Pair::workspace(&oracle);
    let pair = Pair::start(&workspace, &oracle);
    pair.iterate("ss1", "succeeded");
    pair.iterate("ss2", "succeeded");
    pair.iterate("ss1", "failed");
    pair.iterate("ss2", "succeeded");
    let third = pair.begin("ss1");
    pair.expect(&workspace, "Failed", "`ss1`: the last run, 3, failed");
    // A sync alone is a group of one, and a run that is stopped changes nothing.
    expect_status(&standing(&pair.server, "ss1"), "Failed", &["the last run, 3, failed"]);
    expect_status(&standing(&pair.server, "ss2"), "Idle", &["the last run, 4, succeeded"]);
    pair.server.post("/api/v1/syncs/ss1/stop", "").expect(202);
    pair.server.wait_for_phase(third, "draining");
    oracle.release();
    assert_eq!(pair.server.ended(third)["phase"], "cancelled");
    pair.expect(&workspace, "Failed", "`ss1`: the last run, 3, failed");
    let last = pair.begin("ss1");
    pair.end(last);
}

#[test]
fn case_3_one_failed_and_succeeded_since_while_another_goes_on_is_running_b7_b12() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Pair::workspace(&oracle);
    let pair = Pair::start(&workspace, &oracle);
    pair.iterate("ss1", "failed");
    pair.iterate("ss2", "succeeded");
    pair.iterate("ss1", "succeeded");
    let third = pair.begin("ss2");
    pair.expect(&workspace, "Running", &format!("`ss2`: run {third} goes"));
    pair.end(third);
}

#[test]
fn a_destination_that_is_down_is_failed_by_every_way_to_ask_though_the_run_is_partial_b7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Pair::workspace(&oracle);
    let pair = Pair::start(&workspace, &oracle);
    oracle.always(Fault::status(503));
    pair.iterate("ss1", "partial");
    pair.expect(&workspace, "Failed", "were not sent or got no answer in the last run, 1");
    let alone = standing(&pair.server, "ss1");
    expect_status(&alone, "Failed", &["were not sent or got no answer in the last run, 1"]);
    assert_eq!(workspace.json(&["status", "ss1"])[0], alone);
    oracle.clear_faults();
    pair.iterate("ss1", "succeeded");
    pair.expect(&workspace, "Idle", "nothing is to be done");
    pair.server.end().expect_code(0);
}

#[test]
fn there_are_eight_words_and_every_way_to_ask_says_the_same_one_b5() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        workspace(&oracle, HEAD, &[("idle", ""), ("off", "paused: true"), ("on", YEARLY)]);
    let server = Server::start(&workspace);
    for (sync, word) in [("idle", "Idle"), ("off", "Disabled"), ("on", "Running")] {
        let shown = standing(&server, sync);
        expect_status(&shown, word, &[]);
        assert_eq!(workspace.json(&["status", sync])[0], shown);
        let (all, applies) = in_metrics(&server, "sync", sync);
        assert_eq!((all, applies), (WORDS.map(str::to_owned).to_vec(), vec![word.to_owned()]));
    }
    let said = server.get("/api/v1/openapi.json").expect(200).json;
    let schemas = said["components"]["schemas"].as_object().expect("there are some").values();
    let enums = schemas.filter_map(|schema| schema["enum"].as_array());
    let has_it = |words: &&Vec<Value>| words.contains(&json!("Server Reinitializing"));
    let words = enums.clone().find(has_it).expect("the words are described");
    let mut words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    words.sort_unstable();
    assert_eq!(words, WORDS);
    server.end().expect_code(0);
}

#[test]
fn idle_is_nothing_to_do_and_disabled_is_a_decision_b6_b8() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{HEAD}\ngroups: {{ sales: {{}}, empty: {{}} }}");
    let workspace = workspace(&oracle, &head, &[("a", "group: sales"), ("b", "group: sales")]);
    let server = Server::start(&workspace);
    let group = |name: &str| server.get(&format!("/api/v1/groups/{name}")).expect(200).json;
    expect_status(&group("empty"), "Idle", &["no sync"]);
    expect_status(&group("sales"), "Idle", &["nothing is to be done"]);
    for (sync, word) in [("a", "Idle"), ("b", "Disabled")] {
        workspace.run(&["pause", sync, "-m", "not now"]).expect_code(0);
        expect_status(&standing(&server, sync), "Disabled", &["by ", ": not now"]);
        expect_status(&group("sales"), word, &[]);
    }
    // Nobody asks for a run of it: a resume alone restarts nothing.
    workspace.run(&["resume", "a", "-m", "now"]).expect_code(0);
    expect_status(&standing(&server, "a"), "Idle", &["no schedule and no run asked for"]);
    expect_status(&group("sales"), "Idle", &[]);
    server.end().expect_code(0);
}

#[test]
fn after_five_halts_in_a_row_a_sync_is_disabled_where_nothing_else_is_said_b6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "")]);
    let server = Server::start(&workspace);
    oracle.always(Fault::status(403));
    for _ in 0..4 {
        assert_eq!(server.ended(server.run(""))["phase"], "failed");
    }
    expect_status(&standing(&server, "people"), "Failed", &["403"]);
    let fifth = server.run("");
    server.ended(fifth);
    until("it is disabled", || (standing(&server, "people")["status"] == "Disabled").then_some(()));
    let why = format!("5 runs in a row halted, the last was {fifth}");
    expect_status(&standing(&server, "people"), "Disabled", &["by counterflow", &why, "403"]);
    let log = workspace.run(&["audit"]).expect_code(0);
    log.expect_printed(&["counterflow", "pause", &why]);
    server.end().expect_code(0);
}

#[test]
fn a_resume_is_restarting_until_its_result_and_a_scheduled_run_is_not_b10() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("people", "schedule: { every: 1s }")]);
    oracle.on_next(Fault::ApplyThenHold);
    let server = Server::start(&workspace);
    oracle.wait_for_requests(1, SOON);
    let going = server.get("/api/v1/runs?phase=reading").expect(200).json[0].clone();
    assert_eq!(going["trigger"], "schedule", "{going:#}");
    let goes = format!("run {} goes", going["run"]);
    expect_status(&standing(&server, "people"), "Running", &[&goes]);
    oracle.release();
    server.ended(going["run"].as_u64().expect("a number"));

    workspace.run(&["pause", "people", "-m", "look"]).expect_code(0);
    oracle.always(Fault::status(403));
    // With something to send.
    workspace.write_people(&people(1..=9));
    let before = oracle.request_count();
    oracle.on_next(Fault::Hold);
    workspace.run(&["resume", "people", "-m", "mended"]).expect_code(0);
    expect_status(&standing(&server, "people"), "Restarting", &["resumed", "by "]);
    oracle.wait_for_requests(before + 1, SOON);
    expect_status(&standing(&server, "people"), "Restarting", &["its first run since"]);
    let going = server.get("/api/v1/runs?phase=reading").expect(200).json[0]["run"].as_u64();
    workspace.run(&["stop", "people", "--now"]).expect_code(0);
    server.ended(going.expect("a run goes"));
    let failed = until("a run has failed", || {
        let shown = standing(&server, "people");
        (shown["status"] == "Failed").then_some(shown)
    });
    expect_status(&failed, "Failed", &["403"]);
    server.end().expect_code(0);
}

/// A server that is held at this point with the file `held` to show it.
fn held_at(workspace: &mut Workspace, point: &str) {
    let hold = ("COUNTERFLOW_HOLD_AT", format!("{point}:1:held"));
    workspace.setup.environment.push(hold);
}

#[test]
fn one_run_starts_up_at_a_time_and_the_others_are_in_queue_and_say_so_b3_b9() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, HEAD, &[("a", ""), ("b", ""), ("c", "")]);
    held_at(&mut workspace, "run_started");
    let held = workspace.path().join("held");
    let server = Server::start(&workspace);
    let first = run(&server, "a");
    until("the first starts up", || held.exists().then_some(()));
    let behind = ["b", "c"].map(|sync| run(&server, sync));
    let why = format!("the start-up of `a`, run {first}; one starts up at a time");
    for (sync, run) in ["b", "c"].into_iter().zip(behind) {
        expect_status(&standing(&server, sync), "In Queue", &[&format!("run {run} waits"), &why]);
    }
    let connection = server.get("/api/v1/connections/crm").expect(200).json;
    assert_eq!(connection["status"], "Running", "one of it goes: {connection:#}");
    std::fs::remove_file(&held).expect("it is there");
    for run in [first, behind[0], behind[1]] {
        assert_eq!(server.ended(run)["phase"], "succeeded");
    }
    server.end().expect_code(0);
}

/// That every sync, group and connection is Server Reinitializing, whoever is asked.
#[track_caller]
fn expect_reinitializing(workspace: &Workspace, api: &Api) {
    for path in ["/api/v1/syncs", "/api/v1/groups", "/api/v1/connections"] {
        let all = api.get(path).expect(200).json;
        let all = all.as_array().expect("a list");
        assert!(!all.is_empty());
        all.iter().for_each(|one| expect_status(one, "Server Reinitializing", &["config"]));
    }
    for command in [&["status"][..], &["group", "status"]] {
        let all = workspace.json(command);
        let all = all.as_array().expect("a list");
        all.iter().for_each(|one| expect_status(one, "Server Reinitializing", &["config"]));
    }
    for (kind, name) in [("sync", "a"), ("group", "sales")] {
        assert_eq!(in_metrics(api, kind, name).1, ["Server Reinitializing"]);
    }
    assert!(api.text("/metrics").contains("counterflow_ready 0\n"));
}

#[test]
fn while_a_server_starts_or_reloads_all_is_server_reinitializing_and_it_is_not_ready_b11_d5() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{HEAD}\ngroups: {{ sales: {{}} }}");
    let head = head.replace(":0\"", ":0\", max_running: 1");
    let mut workspace = workspace(&oracle, &head, &[("a", "group: sales"), ("b", YEARLY)]);
    let server = Server::start(&workspace);
    oracle.on_next(Fault::ApplyThenHold);
    let killed = run(&server, "a");
    oracle.wait_for_requests(1, SOON);
    let queued = run(&server, "b");
    server.process.kill();

    held_at(&mut workspace, "before_recovery");
    let held = workspace.path().join("held");
    let process = workspace.spawn(&["--format", "json", "serve"]);
    let api = Api::announced(&workspace, &process);
    until("it has taken up nothing yet", || held.exists().then_some(()));
    assert_eq!(api.get("/health").expect(200).json["status"], "alive");
    let unready = api.get("/ready");
    assert_eq!(unready.json["readiness"], "starting");
    unready.expect_problem(503, &["starting", "/ready"]);
    expect_reinitializing(&workspace, &api);
    // Runs are answered for, and none is begun.
    assert_eq!(api.get(&format!("/api/v1/runs/{queued}")).expect(200).json["phase"], "in queue");
    api.post("/api/v1/syncs/a/run", "").expect_problem(503, &["starting", "/ready"]);
    std::fs::remove_file(&held).expect("it is there");
    until("the server is ready", || (api.get("/ready").status == 200).then_some(()));
    assert_eq!(api.ended(killed)["phase"], "interrupted");
    assert_eq!(api.ended(queued)["phase"], "succeeded");
    process.sigterm();
    workspace.end(process, SOON).expect_code(0);

    workspace.setup.environment.clear();
    held_at(&mut workspace, "before_reload");
    let server = Server::start(&workspace);
    let path = workspace.path().join("counterflow.yaml");
    let config = std::fs::read_to_string(path).expect("there is a config");
    workspace.write("counterflow.yaml", &config.replace("concurrency: 1", "concurrency: 2"));
    let reload = workspace.spawn(&["reload"]);
    until("it is about to be put in place", || held.exists().then_some(()));
    let unready = server.get("/ready");
    assert_eq!(unready.json["readiness"], "reloading");
    unready.expect_problem(503, &["another config"]);
    expect_reinitializing(&workspace, &server);
    std::fs::remove_file(&held).expect("it is there");
    workspace.end(reload, SOON).expect_code(0);
    server.get("/ready").expect(200);
    expect_status(&standing(&server, "b"), "Running", &["the schedule is on"]);
    server.end().expect_code(0);
}
