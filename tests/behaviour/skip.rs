//! Runs that are skipped without a scan: over the very files of a run that left nothing to do, and over nothing else.

use std::process::Command;

use serde_json::{Value, json};

use super::rudderstack;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, keys, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Report, Setup, Workspace};
use crate::support::{NEXT_TOKEN, TOKEN};

const HEAD: &str = "server: { listen: \"127.0.0.1:0\" }";
const WHY: &str = "the files are the same as at run 1, which left nothing to do";

fn setup() -> Setup {
    Setup { rests: true, head: HEAD, ..Setup::default() }
}

/// A sync that has run once, over files that were at rest.
fn ran(oracle: &Oracle, setup: Setup) -> Workspace {
    let workspace = Workspace::new(oracle, setup);
    workspace.write_people(&people(1..=20));
    workspace.wait_until_at_rest();
    workspace.sync(&[]);
    workspace
}

#[track_caller]
fn expect_skip(oracle: &Oracle, workspace: &Workspace) -> Report {
    let before = (oracle.request_count(), oracle.question_count());
    let report = workspace.sync(&[]).expect(0, "skipped", &[("rows_read", 0), ("requests", 0)]);
    let after = (oracle.request_count(), oracle.question_count());
    assert_eq!(before, after, "nothing is asked of the destination");
    report.expect_kind("incremental", "unchanged")
}

/// The next run is not skipped, and the one behind it is.
#[track_caller]
fn expect_one_read(oracle: &Oracle, workspace: &Workspace, what: &str) {
    let read = workspace.sync(&[]);
    assert_eq!((what, read.word("outcome")), (what, "succeeded"), "{read:#?}");
    assert!(read.json.get("unchanged_since").is_none(), "{what}: {read:#?}");
    let skipped = expect_skip(oracle, workspace);
    assert_eq!(skipped.json["unchanged_since"], read.json["run"], "{what}");
}

#[test]
fn a_run_over_the_same_files_is_skipped_and_says_so_wherever_it_is_asked() {
    let oracle = Oracle::start(&["id"]);
    let workspace = ran(&oracle, setup());
    let plan = workspace.json(&["plan", "people"]);
    let told = (&plan["kind"], &plan["reason"], &plan["unchanged_since"]);
    assert_eq!(told, (&json!("incremental"), &json!("unchanged"), &json!(1)));
    let words = format!("is skipped: {WHY}");
    workspace.run(&["plan", "people"]).expect_code(0).expect_printed(&[&words]);
    let skipped = expect_skip(&oracle, &workspace);
    assert_eq!(
        (&skipped.json["unchanged_since"], &skipped.json["error"]),
        (&json!(1), &Value::Null)
    );
    let words = format!("run 3 of `people`: skipped: {WHY}");
    let human = workspace.run(&["sync", "people"]).expect_code(0);
    human.expect_printed(&[&words]);
    workspace.run(&["runs", "show", "3"]).expect_code(0).expect_printed(&[&words]);
    workspace.run(&["runs"]).expect_code(0).expect_printed(&["run 3: the files are the same"]);
    let listed = workspace.json(&["runs"]);
    let facts = ["run", "phase", "kind", "reason", "unchanged_since", "error"];
    let of = |run: &Value| facts.map(|fact| run[fact].clone());
    let one = of(
        &json!({ "run": 3, "phase": "skipped", "kind": "incremental", "reason": "unchanged", "unchanged_since": 1 }),
    );
    assert_eq!(of(&listed[0]), one);
    workspace.run(&["status", "people"]).expect_printed(&["Idle", "3", "was skipped"]);
    // Ten more take nothing from what is known of the run that did something.
    (0..10).for_each(|_| drop(expect_skip(&oracle, &workspace)));
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_server_skips_too_and_a_skip_is_a_success_for_status_metrics_wire_and_followers() {
    let oracle = Oracle::start(&["id"]);
    let workspace = ran(&oracle, setup());
    let config = workspace.config();
    let (_, sync) = config.split_once("  people:\n    model").expect("the sync comes last");
    let other = "    connection: crm\n    schedule: { after: people }\n";
    let follower = format!("  later:\n    model{sync}").replace("/contacts/", "/leads/");
    let follower = follower.replacen("    connection: crm\n", other, 1);
    workspace.write("counterflow.yaml", &(config + &follower));
    let server = Server::start(&workspace);
    let run = server.run("");
    let ended = server.ended(run);
    let told = [&ended["phase"], &ended["reason"], &ended["unchanged_since"], &ended["error"]];
    assert_eq!(
        told,
        [&json!("skipped"), &json!("unchanged"), &json!(1), &Value::Null],
        "{ended:#}"
    );
    // It is kept once the end is stored.
    let report = until("the report is kept", || {
        let report = server.ended(run)["report"].clone();
        (!report.is_null()).then_some(report)
    });
    let told = (&report["outcome"], &report["unchanged_since"]);
    assert_eq!(told, (&json!("skipped"), &json!(1)), "{report:#}");
    let wire = rudderstack::call(&server, "GET", &format!("/people/syncs/{run}"), "").expect(200);
    assert_eq!(wire.json["status"], "succeeded", "{:#}", wire.json);
    let counted = "counterflow_runs_total{sync=\"people\",outcome=\"skipped\"} 1";
    until("the run is counted", || server.text("/metrics").contains(counted).then_some(()));
    until("the follower has run", || {
        let runs = server.get("/api/v1/runs?sync=later").expect(200).json;
        let runs = runs.as_array().expect("a list");
        runs.iter().any(|run| run["trigger"] == "sequence").then_some(())
    });
    let full = server.run(r#"{ "full": true }"#);
    assert_eq!(
        server.ended(full)["phase"],
        "succeeded",
        "what is asked for in full is never skipped"
    );
    server.end().expect_code(0);
}

#[test]
fn after_whatever_a_person_says_or_changes_the_next_run_reads() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = ran(&oracle, setup());
    expect_skip(&oracle, &workspace);
    workspace.run(&["sample", "people", "--key", "3"]).expect_code(0);
    expect_one_read(&oracle, &workspace, "a sample");
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("delivered", 20)]);
    expect_skip(&oracle, &workspace);
    workspace.sync(&["--keep-snapshot"]).expect(0, "succeeded", &[("rows_read", 20)]);
    expect_skip(&oracle, &workspace);
    workspace.setup.token = NEXT_TOKEN;
    expect_one_read(&oracle, &workspace, "another secret");
    workspace.setup.token = TOKEN;
    expect_one_read(&oracle, &workspace, "the first secret again");
    workspace.change(|setup| setup.batch = 7);
    expect_skip(&oracle, &workspace);
    workspace.change(|setup| setup.max_deletes = Some("40%"));
    expect_one_read(&oracle, &workspace, "another guard");
    let config = workspace.config();
    let declared = config.replace("delete:\n      post", "delete: # anew\n      post");
    workspace.write("counterflow.yaml", &declared);
    expect_skip(&oracle, &workspace);
    workspace.run(&["rebaseline", "people", "-m", "why", "--yes"]).expect_code(0);
    workspace.sync(&[]).expect_kind("full", "rebaselined").expect(0, "succeeded", &[]);
    expect_skip(&oracle, &workspace);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn behind_a_backlog_that_was_discarded_one_run_reads_and_what_is_waived_is_sent_by_a_full_one() {
    let oracle = Oracle::start(&["id"]);
    let workspace = ran(&oracle, setup());
    let mut people = people(1..=19);
    people[4].counter += 1;
    workspace.write_people(&people);
    workspace.wait_until_at_rest();
    workspace.run(&["pause", "people", "--discard-backlog", "-m", "why", "--yes"]).expect_code(0);
    workspace.run(&["resume", "people", "-m", "why"]).expect_code(0);
    let sent = oracle.request_count();
    let read = workspace.sync(&[]);
    assert_eq!((read.count("rows_read"), read.count("waived")), (19, 1), "{read:#?}");
    assert_eq!(oracle.request_count(), sent, "nothing of the backlog is sent");
    expect_skip(&oracle, &workspace);
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("delivered", 19)]);
}

#[test]
fn over_rejected_invalid_held_or_volatile_rows_no_run_is_ever_skipped() {
    let reads_on = |workspace: &Workspace, code, outcome: &str| {
        for _ in 0..3 {
            let report = workspace.sync(&[]);
            let came = (report.finished.code, report.word("outcome"));
            assert_eq!(came, (Some(code), outcome), "{report:#?}");
            assert!(report.count("rows_read") > 0, "{report:#?}");
        }
    };
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys([7]), "invalid_email".into()));
    reads_on(&ran(&oracle, setup()), 3, "partial");
    let oracle = Oracle::start(&["id"]);
    let sql =
        "SELECT CASE WHEN id = 4 THEN NULL ELSE id END AS id, counter, checksum, email FROM people";
    reads_on(&ran(&oracle, Setup { sql: sql.into(), ..setup() }), 3, "partial");
    let oracle = Oracle::start(&["id"]);
    let sql = "SELECT *, now() > TIMESTAMP '2020-01-01' AS later FROM people";
    reads_on(&ran(&oracle, Setup { sql: sql.into(), ..setup() }), 0, "succeeded");
    let oracle = Oracle::start(&["id"]);
    let workspace = ran(&oracle, setup());
    workspace.write_people(&people(1..=3));
    workspace.wait_until_at_rest();
    reads_on(&workspace, 4, "partial");
    let run = workspace.json(&["runs"])[0]["run"].to_string();
    workspace.run(&["discard", &run, "-m", "why", "--yes"]).expect_code(0);
    expect_one_read(&oracle, &workspace, "a discard");
}

#[test]
fn over_a_source_that_cannot_say_whether_it_changed_no_run_is_skipped_and_none_leaves_a_mark() {
    let oracle = Oracle::start(&["id"]);
    let silent = || vec![("COUNTERFLOW_SOURCES", "silent".to_owned())];
    let mut workspace = ran(&oracle, Setup { environment: silent(), ..setup() });
    for _ in 0..3 {
        workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 20), ("requests", 0)]);
    }
    workspace.setup.environment.clear();
    expect_one_read(&oracle, &workspace, "the silent run left no mark");
    workspace.setup.environment = silent();
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 20), ("requests", 0)]);
    workspace.setup.environment.clear();
    expect_one_read(&oracle, &workspace, "the silent run took the mark back");
}

#[test]
fn where_the_account_is_asked_for_at_each_run_none_is_skipped() {
    let oracle = Oracle::start(&["id"]);
    let http = "identify: { get: /me, account: /account/id }, ";
    let workspace = ran(&oracle, Setup { http, ..setup() });
    let asked = oracle.question_count();
    assert!(asked > 0);
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 20), ("requests", 0)]);
    assert!(oracle.question_count() > asked);
}

/// Threads of the process that work for its query, those included that wait for the disk.
fn query_threads(process: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let names = tasks.flatten().filter_map(|task| std::fs::read(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with(b"query")).count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_look_at_the_files_that_does_not_come_back_holds_up_no_stop_and_counts_as_left_behind() {
    let oracle = Oracle::start(&["id"]);
    let workspace = ran(&oracle, Setup { location: "people-*.csv".into(), ..setup() });
    let people = workspace.path().join("people-1.csv");
    std::fs::remove_file(&people).expect("it is there");
    // Nobody ever writes into it: whoever opens it waits.
    let made = Command::new("mkfifo").arg(&people).status().expect("there is a `mkfifo`");
    assert!(made.success());
    let process = workspace.spawn_sync(&[]);
    let cores = std::thread::available_parallelism().expect("it is known").get();
    until("it looks", || (query_threads(process.id()) > cores).then_some(()));
    process.sigterm();
    let report = workspace.report(process).expect(143, "cancelled", &[("requests", 0)]);
    assert_eq!(report.json["abandoned_queries"], 1, "{report:#?}");
}

#[test]
fn where_the_state_is_not_as_the_last_run_left_it_the_run_finds_out_why() {
    let oracle = Oracle::start(&["id"]);
    let workspace = ran(&oracle, setup());
    let folder = workspace.state().join("snapshots/people");
    let segment = std::fs::read_dir(&folder).expect("there is a snapshot");
    let segment = segment.map(|entry| entry.expect("an entry").path());
    let is_segment = |path: &std::path::PathBuf| path.to_string_lossy().contains("segment-");
    let segment = segment.into_iter().find(is_segment).expect("there is a segment");
    let bytes = std::fs::read(&segment).expect("it can be read");
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).expect("it can be written");
    workspace.sync(&[]).expect(1, "failed", &[]);
    std::fs::remove_file(&segment).expect("it can be removed");
    workspace.sync(&[]).expect(1, "failed", &[]);
    std::fs::write(&segment, &bytes).expect("it can be written");
    expect_skip(&oracle, &workspace);
}
