//! The server, driven over HTTP, by the command line beside it, by signals and by kills.
//!
//! Firing by a clock set by hand is tested in `control::service`; here one schedule fires by the wall clock.

use std::time::Duration;

use serde_json::Value;

use crate::support::SOON;
use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, people};
use crate::support::process::Process;
use crate::support::server::{Server, until, until_within};
use crate::support::workspace::{Setup, Workspace};

/// A workspace whose server listens on a free port; each change is applied to the config's text.
fn workspace(oracle: &Oracle, setup: Setup, changes: &[(&str, &str)]) -> Workspace {
    let workspace = Workspace::new(oracle, setup);
    let mut config = format!("server: {{ listen: \"127.0.0.1:0\" }}\n{}", workspace.config());
    for (from, to) in changes {
        assert!(config.contains(from), "`{from}` is in the config");
        config = config.replacen(from, to, 1);
    }
    workspace.write("counterflow.yaml", &config);
    workspace
}

fn phases(workspace: &Workspace) -> Vec<(u64, String, String)> {
    let runs = workspace.run(&["--format", "json", "runs"]).expect_code(0).json();
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let runs = runs.as_array().expect("a list").iter();
    runs.map(|run| {
        (run["run"].as_u64().expect("a number"), word(&run["phase"]), word(&run["trigger"]))
    })
    .collect()
}

#[test]
fn probes_and_questions_are_answered_and_whatever_is_wrong_is_a_problem() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default(), &[]);
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    assert_eq!(server.get("/health").expect(200).json["status"], "alive");
    assert_eq!(server.get("/ready").expect(200).json["status"], "ready");
    assert_eq!(server.get("/version").expect(200).json["version"], env!("CARGO_PKG_VERSION"));
    let syncs = server.get("/api/v1/syncs").expect(200).json;
    assert_eq!(syncs[0]["sync"], "people");
    assert_eq!(syncs[0], server.get("/api/v1/syncs/people").expect(200).json);
    let status = workspace.run(&["--format", "json", "status"]).expect_code(0).json();
    assert_eq!(syncs, status, "API and command line say the same");
    assert_eq!(
        server.get("/api/v1/runs?sync=people&limit=5").expect(200).json,
        Value::Array(vec![])
    );

    server.get("/nowhere").expect_problem(404, &["/api/v1/syncs"]);
    server.get("/api/v1/syncs/people/run").expect_problem(405, &["POST"]);
    server.get("/api/v1/syncs/nobody").expect_problem(404, &["`nobody`", "/api/v1/syncs"]);
    server.get("/api/v1/runs/7").expect_problem(404, &["`7`", "counterflow runs"]);
    server.get("/api/v1/runs/seven").expect_problem(400, &["`seven`", "/api/v1/runs"]);
    let far = u64::MAX.to_string();
    server.get(&format!("/api/v1/runs/{far}")).expect_problem(404, &[&far, "counterflow runs"]);
    let newest = server.get(&format!("/api/v1/runs?before={far}")).expect(200).json;
    assert_eq!(newest, Value::Array(vec![]));
    server.get("/api/v1/runs?limit=0").expect_problem(400, &["`limit`", "500"]);
    server.get("/api/v1/runs?sink=people").expect_problem(400, &["sink"]);
    server.get("/api/v1/runs?sync=nobody").expect_problem(404, &["`nobody`"]);
    for command in ["run", "stop"] {
        let path = format!("/api/v1/syncs/people/{command}");
        let nobody = format!("/api/v1/syncs/nobody/{command}");
        server.post(&nobody, "{}").expect_problem(404, &["`nobody`"]);
        server.post(&path, "{").expect_problem(400, &["body"]);
        server.post(&path, r#"{"fully": true}"#).expect_problem(422, &["`fully`"]);
        for other in ["[7]", " []", "null", "7"] {
            server.post(&path, other).expect_problem(422, &["body", "JSON object"]);
        }
        server.ask("POST", &path, &[], "{}").expect_problem(415, &["application/json"]);
        server.post(&path, &" ".repeat(65 << 10)).expect_problem(413, &["body"]);
        for (name, value) in [("Host", "evil.example"), ("Origin", "http://evil.example")] {
            let answered = server.ask("POST", &path, &[(name, value)], "");
            answered.expect_problem(403, &["evil.example", "localhost"]);
        }
    }
    server.ask("GET", "/health", &[("Host", "evil.example")], "").expect_problem(403, &[]);
    assert_eq!(oracle.request_count(), 0, "nothing of it began a run");
    let address = server.address.clone();
    let finished = server.end().expect_code(0);
    assert_eq!(finished.json()["address"], format!("http://{address}"));
    assert!(!workspace.state().join("server.json").exists());
}

#[test]
fn sync_now_by_api_and_by_command_line_delivers_and_reports() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default(), &[]);
    workspace.write_people(&people(1..=25));
    let server = Server::start(&workspace);
    let first = server.ended(server.run(""));
    assert_eq!((&first["phase"], &first["trigger"]), (&"succeeded".into(), &"api".into()));
    check_mirror(&oracle, &expected(&people(1..=25)));

    workspace.write_people(&people(1..=30));
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 5)]);
    report.expect_kind("incremental", "usual");
    let report = workspace.sync(&["--full"]).expect(0, "succeeded", &[("delivered", 30)]);
    let run = report.run();
    report.expect_kind("full", "requested");
    let document = server.get(&format!("/api/v1/runs/{run}")).expect(200).json;
    assert_eq!(document["report"]["tally"], document["tally"]);
    check_mirror(&oracle, &expected(&people(1..=30)));

    // Held deletes, with the same report and exit code as without a server.
    workspace.write_people(&people(1..=5));
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 25)]);
    assert_eq!(held.json["holds"].as_array().map(Vec::len), Some(1), "{held:#?}");
    for command in
        [&["status"][..], &["runs"], &["rejected", "people"], &["explain", "people", "7"]]
    {
        workspace.run(command).expect_code(0);
    }
    workspace.run(&["release", &held.run(), "-m", "why"]).expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=5)));
    workspace.run(&["sync", "nobody"]).expect_code(2);

    // A sync that fails ends nothing but its run.
    std::fs::remove_file(workspace.path().join("people.csv")).expect("it is there");
    workspace.sync(&[]).expect(1, "failed", &[]);
    server.get("/ready").expect(200);
    workspace.write_people(&people(1..=30));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    server.end().expect_code(0);
    workspace.assert_state_holds_no_canary();
}

#[test]
fn triggers_during_a_run_are_one_run_behind_it_of_the_stronger_kind() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() }, &[]);
    workspace.write_people(&people(1..=40));
    let server = Server::start(&workspace);
    server.ended(server.run(""));
    workspace.write_people(&people(1..=60));
    oracle.on_next(Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(5, SOON);
    let behind = server.run(r#"{"full": false}"#);
    let again = server.post("/api/v1/syncs/people/run", r#"{"full": true}"#).expect(202).json;
    assert_eq!((again["run"].as_u64(), &again["is_joined"]), (Some(behind), &true.into()));
    assert_eq!(server.run(""), behind);
    assert!(behind > going);
    let standing = server.get("/api/v1/syncs/people").expect(200).json;
    assert_eq!(standing["unfinished"].as_array().map(Vec::len), Some(2), "{standing:#?}");
    oracle.release();
    assert_eq!(server.ended(going)["kind"], "incremental");
    let full = server.ended(behind);
    assert_eq!((&full["kind"], &full["reason"]), (&"full".into(), &"requested".into()));
    assert_eq!(full["tally"]["delivered"], 60);
    assert_eq!(phases(&workspace).len(), 3, "coalesced");
    check_mirror(&oracle, &expected(&people(1..=60)));
    server.end().expect_code(0);
}

#[test]
fn a_run_that_is_stopped_in_its_middle_is_gone_on_with_in_its_kind() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() }, &[]);
    workspace.write_people(&people(1..=100));
    let server = Server::start(&workspace);
    let idle = server.post("/api/v1/syncs/people/stop", "").expect(200).json;
    assert_eq!((&idle["run"], &idle["state"]), (&Value::Null, &"idle".into()));

    oracle.on_request(4, Fault::Hold);
    let first = server.run("");
    oracle.wait_for_requests(4, SOON);
    for _twice in 0..2 {
        let stop = server.post("/api/v1/syncs/people/stop", r#"{"message": "lunch"}"#).expect(202);
        assert_eq!(stop.json["run"].as_u64(), Some(first));
    }
    server.wait_for_phase(first, "draining");
    oracle.release();
    let stopped = server.ended(first);
    assert_eq!((&stopped["phase"], &stopped["stopped_by"]), (&"cancelled".into(), &"local".into()));
    assert_eq!(stopped["tally"]["delivered"], 40, "receipts of the drain count");

    // Once more, by the command line; whoever waits beside for the run hears that it was stopped.
    oracle.on_request(7, Fault::Hold);
    let waiting = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(7, SOON);
    workspace.run(&["stop", "people", "--yes", "--now"]).expect_code(0);
    let report = workspace.report(waiting).expect(6, "cancelled", &[("unknown", 10)]);
    report.expect_kind("full", "open_epoch");

    let last = server.ended(server.run(""));
    assert_eq!((&last["phase"], &last["reason"]), (&"succeeded".into(), &"open_epoch".into()));
    check_mirror(&oracle, &expected(&people(1..=100)));
    oracle.assert_redundant_at_most(10);
    server.end().expect_code(0);
}

#[test]
fn a_server_that_is_ended_drains_and_its_next_start_goes_on() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() }, &[]);
    workspace.write_people(&people(1..=100));
    let server = Server::start(&workspace);
    oracle.on_request(4, Fault::Hold);
    let waiting = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(4, SOON);
    let first = 1;
    server.process.sigterm();
    server.wait_for_phase(first, "draining");
    server.get("/ready").expect_problem(503, &["shutting down"]);
    server.get("/health").expect(200);
    server.post("/api/v1/syncs/people/run", "").expect_problem(503, &["shutting down"]);
    oracle.release();
    server.wait().expect_code(0);
    let report = workspace.report(waiting).expect(6, "cancelled", &[("delivered", 40)]);
    assert_eq!(report.run(), first.to_string());
    let left = phases(&workspace);
    assert_eq!(left[1], (first, "cancelled".to_owned(), "api".to_owned()));
    assert_eq!((left[0].1.as_str(), left[0].2.as_str()), ("in queue", "recovery"), "{left:?}");

    let server = Server::start(&workspace);
    let next = server.ended(left[0].0);
    assert_eq!((&next["phase"], &next["reason"]), (&"succeeded".into(), &"open_epoch".into()));
    check_mirror(&oracle, &expected(&people(1..=100)));
    oracle.assert_redundant_at_most(0);
    assert_eq!(phases(&workspace).len(), 2, "nobody had to ask");
    server.end().expect_code(0);
}

#[test]
fn a_second_signal_drops_what_is_in_flight_and_what_was_queued_is_not_lost() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { drain_timeout: "10m", concurrency: 1, ..Setup::default() };
    let workspace = workspace(&oracle, setup, &[]);
    workspace.write_people(&people(1..=20));
    let server = Server::start(&workspace);
    oracle.on_next(Fault::ApplyThenHold);
    let going = server.run("");
    oracle.wait_for_requests(1, SOON);
    let queued = server.run(r#"{"full": true}"#);
    server.process.sigterm();
    server.wait_for_phase(going, "draining");
    server.process.sigterm();
    server.wait().expect_code(143);
    // Without a server the queued run is taken up by whoever runs the sync next.
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    assert_eq!(report.run(), queued.to_string());
    report.expect_kind("full", "requested");
    check_mirror(&oracle, &expected(&people(1..=20)));
    assert_eq!(phases(&workspace).len(), 2);
}

#[test]
fn a_killed_server_recovers_at_its_next_start() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() }, &[]);
    workspace.write_people(&people(1..=60));
    let server = Server::start(&workspace);
    oracle.on_request(3, Fault::ApplyThenHold);
    let first = server.run("");
    oracle.wait_for_requests(3, SOON);
    server.process.kill();
    assert!(workspace.state().join("server.json").exists(), "nobody took it down");

    let server = Server::start(&workspace);
    let recovered = until("the recovery is there", || {
        let runs = server.get("/api/v1/runs").expect(200).json;
        runs[0]["run"].as_u64().filter(|run| *run > first)
    });
    assert_eq!(server.ended(first)["phase"], "interrupted");
    let next = server.ended(recovered);
    assert_eq!((&next["phase"], &next["trigger"]), (&"succeeded".into(), &"recovery".into()));
    assert_eq!((&next["kind"], &next["reason"]), (&"full".into(), &"open_epoch".into()));
    check_mirror(&oracle, &expected(&people(1..=60)));
    server.process.kill();
    // A stale address leads nobody astray.
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_trigger_that_was_accepted_outlives_every_kill() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default(), &[]);
    let mut rows = 0;
    for _ in 0..4 {
        let server = Server::start(&workspace);
        rows += 10;
        workspace.write_people(&people(1..=rows));
        server.run("");
        server.process.kill();
    }
    let server = Server::start(&workspace);
    until("nothing is left to do", || {
        let standing = server.get("/api/v1/syncs/people").expect(200).json;
        (standing["unfinished"] == Value::Array(vec![])).then_some(())
    });
    check_mirror(&oracle, &expected(&people(1..=rows)));

    // Whoever waits beside for a run hears that the server is gone.
    oracle.on_next(Fault::Hold);
    let before = oracle.request_count();
    let waiting = workspace.spawn_sync(&["--full"]);
    oracle.wait_for_requests(before + 1, SOON);
    server.process.kill();
    workspace.end(waiting, SOON).expect_code(1).expect_printed(&["is gone before the end of run"]);
}

#[test]
fn syncs_of_one_connection_share_its_concurrency() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { concurrency: 2, mode: "upsert", ..Setup::default() };
    let syncs = Workspace::new(&oracle, setup.clone()).config();
    let (_, people_sync) = syncs.split_once("syncs:\n").expect("it has syncs");
    let others = people_sync.replacen("  people:", "  others:", 1);
    let others = format!("syncs:\n{}", others.replacen("model: people", "model: others", 1));
    let model = "primary_key: [id] }, others: { source: lake, sql: \"SELECT * FROM people WHERE id > 1000\", primary_key: [id] } }";
    let changes = [
        ("primary_key: [id] } }", model),
        ("SELECT * FROM people\"", "SELECT * FROM people WHERE id <= 1000\""),
        ("syncs:\n", others.as_str()),
    ];
    let workspace = workspace(&oracle, setup, &changes);
    let mut all = people(1..=100);
    all.extend(people(1_001..=1_100));
    workspace.write_people(&all);
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::Hold);
    oracle.on_request(2, Fault::Hold);
    let runs = ["people", "others"].map(|sync| {
        let path = format!("/api/v1/syncs/{sync}/run");
        server.post(&path, "").expect(202).json["run"].as_u64().expect("a number")
    });
    let run = |run: u64| server.get(&format!("/api/v1/runs/{run}")).json;
    let open = || oracle.requests().iter().filter(|request| request.is_open).count();
    oracle.wait_for_requests(2, SOON);
    until("both runs go", || {
        runs.iter().all(|number| run(*number)["phase"] == "reading").then_some(())
    });
    assert_eq!(oracle.request_count(), 2, "what the connection bears is taken\n{}", oracle.print());
    oracle.release();
    let mut most = 2;
    until("both runs end", || {
        most = most.max(open());
        runs.iter().all(|number| run(*number)["is_ended"] == true).then_some(())
    });
    assert_eq!(most, 2, "never more in flight than the connection bears\n{}", oracle.print());
    check_covered(&oracle, &expected(&all));
    server.end().expect_code(0);
}

#[test]
fn an_address_that_others_can_reach_is_refused_by_name() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default(), &[("127.0.0.1:0", "0.0.0.0:0")]);
    let finished = workspace.run(&["serve"]).expect_code(2);
    finished.expect_printed(&["server.listen", "0.0.0.0:0", "loopback"]);
}

#[test]
fn a_paused_sync_is_not_run_and_a_second_server_is_refused() {
    let oracle = Oracle::start(&["id"]);
    let paused = (
        "    mode: mirror\n",
        "    mode: mirror\n    paused: true\n    schedule: { cron: \"* * * * *\" }\n",
    );
    let workspace = workspace(&oracle, Setup::default(), &[paused]);
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &["`people`", "paused"]);
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&["paused"]);
    let has_it =
        [&format!("the server at {} (pid {})", server.address, server.process.id()), "SIGTERM"];
    workspace.run(&["serve"]).expect_code(5).expect_printed(&has_it);
    server.get("/ready").expect(200);
    let finished = server.end().expect_code(0);
    assert_eq!(finished.json()["schedules"], Value::Array(vec![]));
    assert_eq!(oracle.request_count(), 0);
}

#[test]
fn a_sync_beside_the_server_ends_as_it_does_alone_and_needs_no_secret() {
    let oracle = Oracle::start(&["id"]);
    let sql = "SELECT id, shoe_size FROM people".to_owned();
    let workspace = workspace(&oracle, Setup { sql, ..Setup::default() }, &[]);
    workspace.write_people(&people(1..=3));
    let alone = workspace.sync(&[]).expect(2, "failed", &[]);
    let server = Server::start(&workspace);
    let beside = workspace.sync(&[]).expect(2, "failed", &[]);
    assert_eq!(alone.word("error"), beside.word("error"));
    let arguments = ["--config", "counterflow.yaml", "--format", "json", "sync", "people"];
    let without = Process::spawn(workspace.path(), &arguments, &[]);
    let without = workspace.report(without).expect(2, "failed", &[]);
    assert_eq!(alone.word("error"), without.word("error"));
    server.end().expect_code(0);

    // Alone it needs the secret, and says so before it makes anything.
    let without = Process::spawn(workspace.path(), &arguments, &[]);
    workspace.end(without, SOON).expect_code(2).expect_printed(&["TOKEN"]);
    assert_eq!(phases(&workspace).len(), 3);
}

#[test]
fn what_waits_for_the_next_server_can_be_stopped_without_one() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup { concurrency: 1, ..Setup::default() }, &[]);
    workspace.write_people(&people(1..=40));
    let server = Server::start(&workspace);
    oracle.on_next(Fault::Hold);
    let first = server.run("");
    oracle.wait_for_requests(1, SOON);
    server.process.sigterm();
    server.wait_for_phase(first, "draining");
    oracle.release();
    server.wait().expect_code(0);
    let waiting = phases(&workspace)[0].0;
    assert!(waiting > first, "one waits to go on");

    let will_not = [&format!("run {waiting}"), "will not begin"];
    let stop = ["stop", "people", "--yes", "-m", "why"];
    workspace.run(&stop).expect_code(0).expect_printed(&will_not);
    let server = Server::start(&workspace);
    server.end().expect_code(0);
    assert_eq!(phases(&workspace)[0].1, "cancelled");
    assert_eq!((phases(&workspace).len(), oracle.request_count()), (2, 1));
    workspace.run(&stop).expect_code(0).expect_printed(&["no run of `people` is going on"]);
}

#[test]
fn a_config_that_changed_under_the_server_is_named_by_a_sync_beside_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, Setup::default(), &[]);
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    let same = workspace.run(&["sync", "people"]).expect_code(0);
    assert!(!same.stderr.contains("counterflow reload"), "{same:#?}");
    let config = workspace.config();
    // The server looks for changes by itself, and cannot load this one: it has no such secret, which a sync beside it needs not.
    workspace.write("counterflow.yaml", &config.replace("${TOKEN}", "${ANOTHER}"));
    let words = ["`counterflow.yaml`", &server.address, "counterflow reload"];
    workspace.run(&["sync", "people"]).expect_code(0).expect_printed(&words);
    workspace.write("counterflow.yaml", &format!("{config}\n"));
    workspace.run(&["reload"]).expect_code(0);
    let same = workspace.run(&["sync", "people"]).expect_code(0);
    assert!(!same.stderr.contains("counterflow reload"), "{same:#?}");
    server.end().expect_code(0);
}

/// By the wall clock, at the beginning of the next minute: this test takes up to 60 s.
#[test]
fn a_schedule_fires_within_a_minute() {
    let oracle = Oracle::start(&["id"]);
    let every_minute = (
        "    mode: mirror\n",
        "    mode: mirror\n    schedule: { cron: \"* * * * *\", time_zone: Europe/Berlin }\n",
    );
    let workspace = workspace(&oracle, Setup::default(), &[every_minute]);
    let persons = [Person::new(1, 1)];
    workspace.write_people(&persons);
    let server = Server::start(&workspace);
    oracle.wait_for_requests(1, Duration::from_secs(70));
    let fired = until_within(SOON, "the run is listed", &mut || {
        let runs = server.get("/api/v1/runs").expect(200).json;
        runs[0]["run"].as_u64()
    });
    let document = server.ended(fired);
    assert_eq!(
        (&document["phase"], &document["trigger"]),
        (&"succeeded".into(), &"schedule".into())
    );
    check_mirror(&oracle, &expected(&persons));
    let finished = server.end().expect_code(0);
    assert_eq!(finished.json()["schedules"][0]["sync"], "people");
}
