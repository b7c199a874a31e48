//! D3 and D4. Triggers that come at once, and a wall clock that steps.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

use super::Scenario;
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::judge::Left;
use crate::support::people::{keys, people};
use crate::support::server::{Api, until};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "D3",
        "schedule, API and Sync Now at once during a run are one run behind it",
        triggers_at_once,
    ),
    Scenario::new("D3", "a trigger during a drain is one run behind it", behind_a_drain),
    Scenario::new("D3", "force full during an incremental run is made behind it", full_behind),
    Scenario::new(
        "D4",
        "runs under a clock that is years ahead or behind lose nothing and keep their order",
        clocks_of_runs,
    ),
    Scenario::new("D4", "a clock that steps within a run changes nothing of it", step_within),
    Scenario::new(
        "D4",
        "a Retry-After with a date is read by the clock, right or wrong, and nothing is lost",
        dated_by_another_clock,
    ),
    Scenario::new(
        "D4",
        "a record that was rejected under a clock far ahead is tried again once it is right",
        due_by_another_clock,
    ),
    Scenario::new(
        "D4",
        "a schedule goes on over steps of the clock, and fires once a tick",
        schedules,
    ),
];

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
pub const STEP: &str = "COUNTERFLOW_CLOCK_STEP";

fn setup() -> Setup {
    Setup { batch: 3, concurrency: 1, ..Setup::default() }
}

/// A server on the case's config, which is given a schedule.
fn serve(case: &mut Case, schedule: Option<&str>, step: Option<&str>) -> (Started, Api) {
    let mut config = format!("server: {{ listen: \"127.0.0.1:0\" }}\n{}", case.workspace.config());
    if let Some(cron) = schedule {
        let mode = format!("    mode: {}\n", case.workspace.setup.mode);
        let with = format!("{mode}    schedule: {{ cron: \"{cron}\", time_zone: UTC }}\n");
        assert!(config.contains(&mode));
        config = config.replacen(&mode, &with, 1);
    }
    case.workspace.write("counterflow.yaml", &config);
    let log = ("RUST_LOG", "counterflow=debug");
    let environment: Vec<(&str, &str)> =
        step.map(|step| (STEP, step)).into_iter().chain([log]).collect();
    case.say(format!("serve {step:?}"));
    let process = case.workspace.spawn_logged(&["--format", "json", "serve"], &environment);
    let api = Api::of(&case.workspace, &process);
    (case.started(process), api)
}

fn end(case: &mut Case, server: Started) {
    server.process.sigterm();
    case.end(server).expect_code(0);
    case.workspace.write_config();
}

/// The runs that the schedule asked for or joined, in order, as a server logged them.
fn fired(log: &str) -> Vec<u64> {
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let firings = lines.filter(|line: &Value| line["message"] == "schedule fires");
    firings.filter_map(|line| line["run"].as_str()?.parse().ok()).collect()
}

/// The step after which a clock that began now reads so many seconds before a full minute.
fn before_a_minute(seconds: i64) -> i64 {
    MINUTE - now() % MINUTE - seconds * 1_000
}

/// In milliseconds since 1970.
pub fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn triggers_at_once(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), setup());
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(3..=15));
    let before = case.oracle.request_count();
    let step = format!("{}:0", before_a_minute(15));
    case.oracle.on_next(Fault::Hold);
    let (server, api) = serve(&mut case, Some("* * * * *"), Some(&step));
    let going = api.run("");
    case.oracle.wait_for_requests(before + 1, SOON);
    // What comes now is for the run behind.
    case.write(&people(4..=18));
    let behind = api.run("");
    assert_ne!(going, behind);
    assert_eq!(api.run(r#"{"full": true}"#), behind, "one waits, and the others join it");
    assert_eq!(api.run(r#"{"full": false}"#), behind);
    let beside = case.workspace.spawn_sync(&[]);
    until("the schedule fires meanwhile", || {
        case.workspace.log().contains("schedule fires").then_some(())
    });
    let listed = api.get("/api/v1/runs").expect(200).json;
    let numbers: Vec<u64> =
        listed.as_array().expect("a list").iter().filter_map(|r| r["run"].as_u64()).collect();
    assert_eq!(numbers[..2], [behind, going], "{listed:#}");
    case.oracle.release();
    assert_eq!(api.ended(going)["phase"], "succeeded");
    let ended = api.ended(behind);
    assert_eq!(
        (&ended["phase"], &ended["kind"]),
        (&"succeeded".into(), &"full".into()),
        "{ended:#}"
    );
    let report = case.workspace.report(beside).expect(0, "succeeded", &[]);
    assert_eq!(report.run(), behind.to_string());
    assert_eq!(case.oracle.record("[18]").map(|record| record["id"].clone()), Some(18.into()));
    end(&mut case, server);
    assert_eq!(
        fired(&case.workspace.log()),
        [behind],
        "the schedule fired, and joined the run that waits"
    );
    case.judge();
}

fn full_behind(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), setup());
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(3..=15));
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::Hold);
    let (server, api) = serve(&mut case, None, None);
    let going = api.run("");
    case.oracle.wait_for_requests(before + 1, SOON);
    let full = api.run(r#"{"full": true}"#);
    case.oracle.release();
    let ended = api.ended(going);
    assert_eq!((&ended["phase"], &ended["kind"]), (&"succeeded".into(), &"incremental".into()));
    let ended = api.ended(full);
    assert_eq!((&ended["phase"], &ended["kind"]), (&"succeeded".into(), &"full".into()));
    assert_eq!(ended["tally"]["delivered"], 13, "{ended:#}");
    end(&mut case, server);
    case.judge();
}

fn behind_a_drain(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), setup());
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(3..=30));
    let before = case.oracle.request_count();
    case.oracle.on_request(before + 2, Fault::Hold);
    let (server, api) = serve(&mut case, None, None);
    let going = api.run("");
    case.oracle.wait_for_requests(before + 2, SOON);
    api.post("/api/v1/syncs/people/stop", "").expect(202);
    api.wait_for_phase(going, "draining");
    case.write(&people(4..=31));
    let behind = api.run("");
    assert_eq!(api.run(r#"{"full": true}"#), behind);
    case.oracle.release();
    assert_eq!(api.ended(going)["phase"], "cancelled");
    let ended = api.ended(behind);
    assert_eq!((&ended["phase"], &ended["kind"]), (&"succeeded".into(), &"full".into()));
    end(&mut case, server);
    case.judge();
}

fn clocks_of_runs(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), setup());
    let ten_years = 3_650 * DAY;
    for (round, by) in (1..).zip([0, ten_years, -ten_years, DAY, -60 * ten_years, 0]) {
        case.write(&people(round * 2..=10 + round * 3));
        let step = format!("{by}:0");
        let started = case.spawn_with(&[], &[(STEP, &step)]);
        let finished = case.end(started).expect_code(0);
        assert_eq!(finished.json()["run"], round, "runs are numbered in order");
        for command in [&["status"][..], &["runs"]] {
            case.workspace.run(command).expect_code(0);
        }
    }
    let runs = case.workspace.json(&["runs"]);
    let numbers: Vec<u64> =
        runs.as_array().expect("a list").iter().filter_map(|run| run["run"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|later, earlier| later > earlier), "{numbers:?}");
    case.judge();
}

fn step_within(scenario: &Scenario) {
    for by in [DAY, -DAY, 20_000 * DAY, -20_000 * DAY] {
        let mut case = Case::new(&scenario.replay(), setup());
        case.write(&people(1..=12));
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.write(&people(3..=20));
        // Between two tries of a batch, and while answers come.
        case.oracle.on_next(Fault::retry_after(429, "1"));
        case.oracle.on_next(Fault::status(503));
        case.oracle.on_next(Fault::SlowAnswer(Duration::from_millis(400)));
        let started = case.spawn_with(&[], &[(STEP, &format!("{by}:500"))]);
        let finished = case.end_within(started, Duration::from_secs(15));
        finished.expect_code(0);
        case.judge();
    }
}

/// A date that is to come is over for a clock that is ahead, and one that is over is far away for one that is behind.
fn dated_by_another_clock(scenario: &Scenario) {
    let date = |seconds: i64| {
        let step = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        httpdate::fmt_http_date(if seconds < 0 { now - step } else { now + step })
    };
    for (by, at) in [(DAY, 3_600), (20_000 * DAY, 3_600), (-DAY, -60), (-20_000 * DAY, -60)] {
        let mut case = Case::new(&scenario.replay(), setup());
        case.write(&people(1..=12));
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.write(&people(3..=20));
        case.oracle.on_next(Fault::retry_after(429, &date(at)));
        let started = case.spawn_with(&[], &[(STEP, &format!("{by}:0"))]);
        let finished = case.end_within(started, Duration::from_secs(15));
        let report = finished.json();
        let (code, unsent) = if by > 0 { (0, 0) } else { (1, 3) };
        let seen = (finished.code, report["tally"]["unsent"].as_u64());
        let print = case.print();
        assert_eq!(seen, (Some(code), Some(unsent)), "a date {at} s from now, by {by} ms\n{print}");
        case.judge();
    }
}

fn due_by_another_clock(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), setup());
    case.write(&people(1..=12));
    case.oracle.fault_when(
        |sent| sent.run.as_deref() == Some("1"),
        Fault::RejectKeys(keys([5]), "E1".to_owned()),
    );
    let started = case.spawn_with(&[], &[(STEP, &format!("{}:0", 100 * DAY))]);
    case.end(started).expect_code(3);
    // The next run that begins is under the right clock, and the destination takes the record now.
    case.judge_leaving(&Left::default());
}

/// The minutes since 1970, by the clock as it was stepped, in which the schedule fired, in order. What fired before the step,
/// by the clock as it was at `real`, is not among them.
fn minutes(runs: &Value, fired: &[u64], real: i64) -> Vec<i64> {
    let at = |number: &u64| {
        let run = runs.as_array()?.iter().find(|run| run["run"] == *number)?;
        let at: Timestamp = run["started_at"].as_str()?.parse().ok()?;
        Some(at.as_millisecond())
    };
    let stepped = fired.iter().filter_map(at).filter(|at| at.abs_diff(real) > 30 * 60_000);
    stepped.map(|at| at / MINUTE).collect()
}

fn schedules(scenario: &Scenario) {
    for by in [60 * MINUTE, -60 * MINUTE] {
        let mut case = Case::new(&scenario.replay(), setup());
        case.write(&people(1..=12));
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.write(&people(3..=15));
        // The clock begins as it is, and steps a second later to 24 seconds before a full minute: after five at most
        // the server looks at it again.
        let now = now();
        let last = (now + by) / MINUTE + 1;
        let step = format!("{}:1000", last * MINUTE - 25_000 - now);
        // The missed ones, if any, are one; the minute's end is another.
        let ticks = if by > 0 { vec![last - 1, last] } else { vec![last] };
        let (server, api) = serve(&mut case, Some("* * * * *"), Some(&step));
        until("the minute's end fires", || {
            let runs = api.get("/api/v1/runs").expect(200).json;
            (minutes(&runs, &fired(&case.workspace.log()), now).len() >= ticks.len()).then_some(())
        });
        for run in fired(&case.workspace.log()) {
            assert_eq!(api.ended(run)["phase"], "succeeded");
        }
        end(&mut case, server);
        let runs = case.workspace.json(&["runs"]);
        let fired = fired(&case.workspace.log());
        assert!(fired.is_sorted_by(|one, next| one < next), "a run for each: {fired:?}");
        let seen = minutes(&runs, &fired, now);
        assert_eq!(seen, ticks, "D4: stepped by {by} ms it fired otherwise: {runs:#}");
        case.judge();
    }
}
