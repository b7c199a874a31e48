//! What leaves the state by age (`history:`): old runs, with what was noted of them, and old entries of the audit log.

use serde_json::{Value, json};

use crate::access::execute;
use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const SERVED: &str = "server: { listen: \"127.0.0.1:0\" }";

/// 10,000 runs of 2020, each with a note, of which the last ones are a success, a failure and a cancelled one.
const OLD_RUNS: &str = r#"
    WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 10000)
    INSERT INTO runs (sync, trigger, choice, phase, started_at, finished_at, tally, revision)
    SELECT sync, trigger, choice,
    json_object('phase', 'ended', 'outcome', iif(number % 3 = 1, 'cancelled', iif(number % 3 = 0, 'failed', 'succeeded'))),
    1577836800000 + number * 1000, 1577836800500 + number * 1000, tally, revision FROM runs, numbers WHERE id = 1;
    INSERT INTO record_notes (run, sync, key, verdict)
    SELECT id, sync, 'a key that takes a little room', '"rejected"' FROM runs WHERE id > 1"#;
/// The last of the audit log is the last time that a backlog was discarded.
const OLD_AUDIT: &str = "
    WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 1000)
    INSERT INTO audit (at, who, command, sync, message)
    SELECT 1577836800000 + number, 'ada', iif(number = 1000, 'pause --discard-backlog', 'pause'), 'people', 'why' FROM numbers";

fn workspace(oracle: &Oracle, head: &'static str) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { head, ..Setup::default() });
    workspace.write_people(&people(1..=12));
    workspace
}

fn fill(workspace: &Workspace, statement: &'static str) {
    execute(&workspace.state().join("counterflow.db"), statement);
}

/// A number that the database answers.
fn count(workspace: &Workspace, asked: &'static str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there are threads").block_on(async {
        let path = workspace.state().join("counterflow.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("there is a state");
        let number = sqlx::query_scalar(asked).fetch_one(&pool).await.expect("it answers");
        pool.close().await;
        number
    })
}

fn runs(workspace: &Workspace) -> i64 {
    count(workspace, "SELECT count(*) FROM runs")
}

/// What is shown of the sync, save what goes on.
fn shown(workspace: &Workspace) -> Value {
    let mut status = workspace.status();
    for name in ["has_owner", "config", "next"] {
        status[name] = Value::Null;
    }
    status
}

#[test]
fn ten_thousand_old_runs_leave_a_server_while_it_runs_and_what_it_says_stays() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, SERVED);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 12)]);
    fill(&workspace, OLD_RUNS);
    let before = shown(&workspace);
    let next = people(1..=15);
    workspace.write_people(&next);
    let server = Server::start(&workspace);
    let run = server.run("");
    let ended = server.ended(run);
    assert_eq!(
        (run, &ended["phase"], &ended["kind"]),
        (10_002, &json!("succeeded"), &json!("incremental"))
    );
    assert_eq!(ended["tally"]["delivered"], 3, "only what is new was sent");
    until("old runs are gone", || (runs(&workspace) < 12).then_some(()));
    // The new one, the first, and of the old ones the last that anything is made of.
    let left = server.get("/api/v1/runs").expect(200).json;
    let left: Vec<u64> =
        left.as_array().expect("runs").iter().filter_map(|run| run["run"].as_u64()).collect();
    assert_eq!(left[0], 10_002);
    assert!(left.contains(&1) && left.len() < 12, "{left:?}");
    server.get("/api/v1/runs/500").expect_problem(404, &["500"]);
    server.end().expect_code(0);
    let notes = count(&workspace, "SELECT count(*) FROM record_notes");
    assert!(notes < 12, "{notes} notes are left");
    let free = count(
        &workspace,
        "SELECT freelist_count * 100 / page_count FROM pragma_freelist_count, pragma_page_count",
    );
    assert!(free > 50, "{free} % of the database is there to be used again");
    assert_eq!(before["status"], "Failed", "{before:#}");
    assert_eq!(shown(&workspace)["status"], "Idle", "by the new run");
    check_mirror(&oracle, &expected(&next));
}

#[test]
fn a_status_is_the_same_without_the_runs_that_went_and_an_end_in_their_midst_is_at_once() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, SERVED);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    fill(&workspace, OLD_RUNS);
    let before = shown(&workspace);
    let server = Server::start(&workspace);
    let reason_of = |server: &Server| {
        server.get("/api/v1/syncs/people").expect(200).json["status_reason"].clone()
    };
    let reason = reason_of(&server);
    server.end().expect_code(0);
    let server = Server::start(&workspace);
    until("old runs are gone", || (runs(&workspace) < 12).then_some(()));
    assert_eq!(reason_of(&server), reason);
    server.end().expect_code(0);
    assert_eq!(shown(&workspace), before);
}

#[test]
fn a_sync_without_a_server_removes_what_is_old_once_it_is_exported() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "delivery_log: { path: ./log }");
    workspace.run(&["sync", "people"]).expect_code(0);
    fill(&workspace, OLD_RUNS);
    workspace.run(&["sync", "people"]).expect_code(0);
    assert_eq!(runs(&workspace), 10_002, "nothing of it is exported");
    std::fs::create_dir(workspace.path().join("log")).expect("a folder can be made");
    until("old runs are gone", || {
        workspace.run(&["sync", "people"]).expect_code(0);
        (runs(&workspace) < 20).then_some(())
    });
    assert!(
        workspace.path().join("log/runs").read_dir().is_ok_and(|mut files| files.next().is_some())
    );
}

#[test]
fn the_audit_log_loses_nothing_unless_the_config_says_so_and_then_says_it_itself() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "");
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    fill(&workspace, OLD_AUDIT);
    let audited = |workspace: &Workspace| count(workspace, "SELECT count(*) FROM audit");
    let all = audited(&workspace);
    workspace.run(&["sync", "people"]).expect_code(0);
    assert_eq!(audited(&workspace), all + 1, "never, unless said");
    workspace.change(|setup| setup.head = "history: { runs: never, audit: 400d }");
    for _ in 0..2 {
        workspace.run(&["sync", "people"]).expect_code(0);
    }
    let log = workspace.json(&["audit", "--limit", "9"]);
    let of = |command: &str| -> Vec<Value> {
        let entries = log.as_array().expect("entries").iter();
        entries.filter(|entry| entry["command"] == command).cloned().collect()
    };
    let removals = of("history");
    assert_eq!((removals.len(), of("pause").len()), (1, 0), "{log:#}");
    assert_eq!(removals[0]["who"], "counterflow");
    let said = removals[0]["message"].as_str().expect("it says what");
    assert!(said.starts_with("999 entries") && said.contains("T00:00:00Z"), "{said}");
    assert_eq!(of("pause --discard-backlog").len(), 1, "the status tells of it");
    assert!(
        workspace.status()["discarded_backlog"]["at"]
            .as_str()
            .is_some_and(|at| at.starts_with("2020"))
    );
}

#[test]
fn another_history_counts_at_the_reload() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        workspace(&oracle, "server: { listen: \"127.0.0.1:0\" }\nhistory: { runs: never }");
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    fill(&workspace, OLD_RUNS);
    let server = Server::start(&workspace);
    server.ended(server.run(""));
    assert_eq!(runs(&workspace), 10_002);
    workspace.write("counterflow.yaml", &workspace.config().replace("runs: never", "runs: 400d"));
    let answered = server.post("/api/v1/reload", "").expect(200).json;
    assert_eq!(answered["changes"]["settings"], json!(["history"]), "{answered:#}");
    until("old runs are gone", || (runs(&workspace) < 12).then_some(()));
    server.end().expect_code(0);
}

#[test]
fn a_history_that_makes_no_sense_is_refused() {
    let oracle = Oracle::start(&["id"]);
    for (head, place) in [
        ("history: { runs: 12w }", "history.runs"),
        ("history: { audit: 12h }", "history.audit"),
        ("history: { runs: 0d }", "history.runs"),
        ("history: { notes: 3d }", "history"),
    ] {
        let workspace = workspace(&oracle, head);
        let words: &[&str] =
            if head.contains("notes") { &[place, "notes"] } else { &[place, "`90d`", "`never`"] };
        workspace.run(&["validate"]).expect_code(2).expect_printed(words);
    }
}

/// Of the state of before, each run is of 2020.
const AGED: &str = "UPDATE runs SET started_at = 1577836800000, finished_at = 1577836800500";

#[test]
fn without_a_delivery_log_the_receipts_that_wait_for_it_go_with_their_runs_and_that_is_said() {
    let oracle = Oracle::start(&["id"]);
    // Its folder is not there.
    let (head, sync) = ("delivery_log: { path: ./log }", "disable_after_halts: 1");
    let mut workspace = Workspace::new(&oracle, Setup { head, sync, ..Setup::default() });
    workspace.write_people(&people(1..=12));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let receipts = workspace.state().join("delivery_log/1.receipts");
    workspace.change(|setup| setup.head = "");
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert!(receipts.exists(), "its run is there");
    fill(&workspace, AGED);
    let ended = workspace.run(&["sync", "people"]).expect_code(0);
    ended.expect_printed(&["the receipts of 1 runs that are gone were never exported"]);
    assert!(!receipts.exists());
}

#[test]
fn a_delivery_log_that_a_reload_takes_out_keeps_its_runs_until_the_next_start_which_says_what_waits()
 {
    const WITHOUT: &str = "server: { listen: \"127.0.0.1:0\" }\nhistory: { audit: 400d }";
    let oracle = Oracle::start(&["id"]);
    let with = "server: { listen: \"127.0.0.1:0\" }\ndelivery_log: { path: ./log }";
    let workspace = workspace(&oracle, with);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    fill(&workspace, OLD_RUNS);
    fill(&workspace, OLD_AUDIT);
    let server = Server::start(&workspace);
    workspace.write("counterflow.yaml", &workspace.config().replace(with, WITHOUT));
    server.post("/api/v1/reload", "").expect(200);
    let audited = || count(&workspace, "SELECT count(*) FROM audit");
    until("the new rules count", || (audited() < 100).then_some(()));
    assert_eq!(runs(&workspace), 10_001, "they are exported yet, by this server");
    server.end().expect_code(0);
    let server = Server::start(&workspace);
    until("old runs are gone", || (runs(&workspace) < 12).then_some(()));
    let ended = server.end().expect_code(0);
    ended.expect_printed(&["receipts of 1 runs wait", "the config has no `delivery_log`"]);
}
