//! Stop, signal and kill, for every mode and kind: nothing is lost, and the kind is kept (I11).

use std::time::Duration;

use crate::support::SOON;
use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, people};
use crate::support::process::Process;
use crate::support::server::{Server, until};
use crate::support::workspace::{Report, Setup, Workspace};

/// How a run is ended in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    StopNow,
    Term,
    Interrupt,
    Kill,
}

const ENDS: [End; 5] = [End::Stop, End::StopNow, End::Term, End::Interrupt, End::Kill];

/// Waits until the run says that it drains: an answer that comes before would let it send the next request.
fn wait_for_drain(workspace: &Workspace) {
    workspace.wait_for_run(|run| run["phase"] == "draining");
}

/// Ends the run while a request is held; the request is answered in a drain. The report, unless killed.
fn end(end: End, oracle: &Oracle, workspace: &Workspace, process: Process) -> Option<Report> {
    let code = match end {
        End::Kill => {
            process.kill();
            return None;
        }
        End::Stop => {
            // `stop` may wait for the drain, which waits for the release.
            let stop = workspace.spawn(&["stop", "people", "--yes"]);
            wait_for_drain(workspace);
            oracle.release();
            workspace.end(stop, SOON).expect_code(0);
            6
        }
        End::StopNow => {
            workspace.run(&["stop", "people", "--yes", "--now"]).expect_code(0);
            6
        }
        End::Term => {
            process.sigterm();
            wait_for_drain(workspace);
            143
        }
        End::Interrupt => {
            process.sigint();
            wait_for_drain(workspace);
            130
        }
    };
    oracle.release();
    Some(workspace.report(process).expect(code, "cancelled", &[]))
}

/// A run of the kind is ended in its middle by each of `ENDS`; the next one has the same kind and makes all right.
fn story(mode: &'static str, kind: &str) {
    for how in ENDS {
        let oracle = Oracle::start(&["id"]);
        oracle.plant(Person::new(9_000, 1).record());
        let setup = Setup { mode, concurrency: 1, max_deletes: Some("100%"), ..Setup::default() };
        let workspace = Workspace::new(&oracle, setup);
        let first = people(1..=60);
        workspace.write_people(&first);
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        let mut next = people(6..=65);
        next.iter_mut().for_each(|person| person.counter = 2);
        workspace.write_people(&next);
        let before = oracle.request_count();
        oracle.on_request(before + 3, Fault::Hold);
        let more: &[&str] = if kind == "full" { &["--full"] } else { &[] };
        let process = workspace.spawn_sync(more);
        oracle.wait_for_requests(before + 3, SOON);
        if let Some(report) = end(how, &oracle, &workspace, process) {
            assert_eq!(report.word("kind"), kind);
            assert!(report.count("unsent") > 0, "it was in its middle: {how:?} {report:#?}");
            assert!(report.count("delivered") >= 20, "receipts count: {how:?} {report:#?}");
        }
        let reason = if kind == "full" { "open_epoch" } else { "usual" };
        workspace.sync(&[]).expect_kind(kind, reason).expect(0, "succeeded", &[]);
        let wanted = expected(&next);
        if mode == "mirror" {
            check_mirror(&oracle, &wanted)
        } else {
            check_covered(&oracle, &wanted)
        }
        oracle.assert_counters_never_go_back();
        oracle.assert_redundant_at_most(if how == End::Kill { 30 } else { 10 });
        workspace.sync(&[]).expect_kind("incremental", "usual").expect(
            0,
            "succeeded",
            &[("requests", 0)],
        );
    }
}

#[test]
fn a_full_mirror_run_is_stopped_or_killed_and_gone_on_with() {
    story("mirror", "full");
}

#[test]
fn an_incremental_mirror_run_is_stopped_or_killed_and_gone_on_with() {
    story("mirror", "incremental");
}

#[test]
fn a_full_upsert_run_is_stopped_or_killed_and_gone_on_with() {
    story("upsert", "full");
}

#[test]
fn an_incremental_upsert_run_is_stopped_or_killed_and_gone_on_with() {
    story("upsert", "incremental");
}

#[test]
fn the_first_run_is_stopped_and_gone_on_with_without_sending_anything_twice() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..Setup::default() });
    workspace.write_people(&people(1..=100));
    oracle.on_request(4, Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(4, SOON);
    process.sigterm();
    wait_for_drain(&workspace);
    oracle.release();
    workspace.report(process).expect(143, "cancelled", &[]).expect_kind("full", "first_run");
    workspace.sync(&[]).expect_kind("full", "open_epoch").expect(0, "succeeded", &[]);
    check_mirror(&oracle, &expected(&people(1..=100)));
    oracle.assert_redundant_at_most(0);
}

#[test]
fn a_drain_ends_at_its_limit_and_what_is_in_flight_is_in_doubt_a4() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { drain_timeout: "1s", ..Setup::default() });
    workspace.write_people(&people(1..=10));
    oracle.on_next(Fault::ApplyThenHold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(1, SOON);
    let told = std::time::Instant::now();
    process.sigterm();
    let report = workspace.report(process).expect(143, "cancelled", &[("unknown", 10)]);
    assert!(told.elapsed() < Duration::from_secs(3), "A4: the limit plus 1 s: {report:#?}");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    check_mirror(&oracle, &expected(&people(1..=10)));
}

#[test]
fn a_second_signal_ends_the_drain_at_once_a4() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { drain_timeout: "10m", ..Setup::default() });
    workspace.write_people(&people(1..=10));
    oracle.on_next(Fault::ApplyThenHold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(1, SOON);
    process.sigint();
    process.sigterm();
    let finished = workspace.end(process, SOON);
    assert_ne!(finished.code, Some(0), "{finished:#?}");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    check_mirror(&oracle, &expected(&people(1..=10)));
}

#[test]
fn a_stop_is_heard_within_a_long_retry_after_a4() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { longest_time: "2h", ..Setup::default() });
    workspace.write_people(&people(1..=10));
    oracle.on_next(Fault::retry_after(429, "3600"));
    let process = workspace.spawn_sync(&[]);
    oracle.wait_until(SOON, |journal| {
        journal.requests.first().is_some_and(|one| one.is_answered_whole)
    });
    let told = std::time::Instant::now();
    process.sigterm();
    workspace.report(process).expect(143, "cancelled", &[("delivered", 0), ("unknown", 0)]);
    assert!(told.elapsed() < Duration::from_secs(7), "A4");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
}

#[test]
fn a_second_process_is_refused_while_reading_commands_and_stop_work_beside_the_first() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=10));
    oracle.on_next(Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(1, SOON);
    workspace.run(&["sync", "people"]).expect_code(5);
    workspace.run(&["status"]).expect_code(0).expect_printed(&["people"]);
    workspace.run(&["runs"]).expect_code(0);
    assert_eq!(
        oracle.request_count(),
        1,
        "D1: the second process sent nothing\n{}",
        oracle.print()
    );
    let report = end(End::Stop, &oracle, &workspace, process).expect("a stopped run reports");
    assert_eq!(report.count("delivered"), 10, "receipts of the drain count: {report:#?}");
    check_mirror(&oracle, &expected(&people(1..=10)));
}

#[test]
fn a_stop_without_a_run_changes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.run(&["stop", "people", "--yes"]).expect_code(0);
    workspace.run(&["stop", "people", "--yes", "--now"]).expect_code(0);
    workspace.write_people(&people(1..=4));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
}

#[test]
fn a_full_run_stopped_when_all_is_in_flight_is_cancelled_and_the_next_one_is_full_c6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { batch: 100, ..Setup::default() });
    workspace.write_people(&people(1..=5));
    oracle.on_next(Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(1, SOON);
    let report = end(End::Stop, &oracle, &workspace, process).expect("it was not killed");
    assert_eq!(report.count("delivered"), 5, "{report:#?}");
    let next = workspace.sync(&[]).expect_kind("full", "open_epoch");
    next.expect(0, "succeeded", &[("unchanged", 5), ("requests", 0)]);
    workspace.sync(&[]).expect_kind("incremental", "usual").expect(0, "succeeded", &[]);
}

#[test]
fn a_query_that_is_left_behind_is_counted_and_the_next_run_waits_for_it_in_the_queue() {
    const STOP: &str = "/api/v1/syncs/people/stop";
    /// One call works for minutes on a batch, and looks at nothing meanwhile.
    const SQL: &str =
        "SELECT * FROM people WHERE levenshtein(repeat(email, 20000), repeat(email, 20001)) >= 0";
    let oracle = Oracle::start(&["id"]);
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let workspace =
        Workspace::new(&oracle, Setup { head, sql: SQL.to_owned(), ..Setup::default() });
    workspace.write_people(&people(1..=12));
    let server = Server::start(&workspace);
    let run = server.run("{}");
    server.wait_for_phase(run, "reading");
    // Nothing but the query is busy; a stop before it is would find nothing to leave behind.
    let idle = server.process.processor_time();
    until("busy", || (server.process.processor_time() > idle + 50).then_some(()));
    server.post(STOP, "{}").expect(202);
    let document = server.ended(run);
    assert_eq!(document["phase"], "cancelled", "{document:#}");
    // The report comes a moment after the end.
    let path = format!("/api/v1/runs/{run}");
    let report = until("the report is there", || {
        let report = server.get(&path).expect(200).json["report"].clone();
        (!report.is_null()).then_some(report)
    });
    assert_eq!(report["abandoned_queries"], 1, "{report:#}");
    let counted = "counterflow_queries_abandoned_total{sync=\"people\"} 1\n";
    assert!(server.text("/metrics").contains(counted));
    let next = server.run("{}");
    let why = format!("the end of a query that run {run} left behind");
    let words = until("it is said what it waits for", || {
        let words = server.get("/api/v1/syncs/people").expect(200).json["status_reason"].clone();
        words.as_str().is_some_and(|words| words.contains(&why)).then_some(words)
    });
    assert_eq!(workspace.status()["status_reason"], words, "a command beside it says the same");
    assert_eq!(server.get(&format!("/api/v1/runs/{next}")).json["phase"], "in queue");
    server.post(STOP, "{}").expect(202);
    assert_eq!(server.ended(next)["phase"], "cancelled");
    let ended = server.end().expect_code(0);
    ended.expect_printed(&["the next run of the sync waits for its end"]);
}
