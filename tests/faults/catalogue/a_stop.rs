//! A. Stop: signals and commands in every phase. Reading ends within a second, the process within its drain limit and one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Scenario;
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::people::people;
use crate::support::server::Api;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "A4",
        "a signal while a query does not yield ends the run in a second",
        while_reading,
    ),
    Scenario::new("A4", "a signal while sending ends within the drain limit", while_sending),
    Scenario::new("A4", "a signal in back-off ends at once", in_back_off),
    Scenario::new("A4", "a signal inside a Retry-After of an hour ends at once", in_retry_after),
    Scenario::new("A4", "a second signal in the drain ends it at once", twice),
    Scenario::new("A5", "a stop over HTTP is heeded in each phase and Sync Now goes on", by_api),
    Scenario::new("A5", "a stop that races with the end of the run loses nothing", raced_by_api),
];

/// A free port for each server.
pub const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";
/// Races of a stop with the end of a run.
const RACES: u64 = 20;
/// So many where one side goes on winning.
const MOST_RACES: u64 = 100;
pub const GRACE: Duration = Duration::from_secs(1);
pub const SIGNALS: [(&str, i32); 2] = [("TERM", 143), ("INT", 130)];

/// Sends a signal and makes sure of the exit code and of the time until then.
pub fn end_by(
    case: &mut Case,
    started: Started,
    (signal, code): (&'static str, i32),
    limit: Duration,
) {
    case.say(format!("SIG{signal}"));
    let asked = started.process.signal_at(signal);
    let finished = case.end(started);
    let took = finished.ended.saturating_duration_since(asked);
    assert!(
        took <= limit + GRACE,
        "A4: it took {took:?}, {limit:?} and 1 s are allowed\n{}",
        case.print()
    );
    assert_eq!(finished.code, Some(code), "{finished:#?}\n{}", case.print());
}

/// The model counts for hours, in little memory, without giving a row.
fn while_reading(scenario: &Scenario) {
    for signal in SIGNALS {
        let sql = "SELECT * FROM people WHERE id > (SELECT sum(value) FROM generate_series(1, 1000000000000))";
        let setup = Setup { sql: sql.to_owned(), drain_timeout: "1s", ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=1_000));
        let started = case.spawn(&[]);
        case.wait_for_phase("reading");
        end_by(&mut case, started, signal, Duration::ZERO);
        case.workspace.change(|setup| setup.sql = "SELECT * FROM people".to_owned());
        case.judge();
    }
}

fn while_sending(scenario: &Scenario) {
    for (signal, fault) in SIGNALS.into_iter().flat_map(|signal| {
        [Fault::ApplyThenHold, Fault::Hold, Fault::SlowAnswer(Duration::from_millis(300))]
            .map(|fault| (signal, fault))
    }) {
        let setup = Setup { drain_timeout: "1s", batch: 3, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=40));
        case.oracle.on_request(3, fault.clone());
        let started = case.spawn(&[]);
        case.oracle.wait_for_requests(3, SOON);
        end_by(&mut case, started, signal, Duration::from_secs(1));
        case.judge();
    }
}

fn in_back_off(scenario: &Scenario) {
    for signal in SIGNALS {
        let setup =
            Setup { attempts: 50, first_delay: "1m", longest_time: "2h", ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=10));
        case.oracle.on_next(Fault::status(503));
        let started = case.spawn(&[]);
        case.oracle.wait_until(SOON, |journal| {
            journal.requests.first().is_some_and(|request| request.is_answered_whole)
        });
        end_by(&mut case, started, signal, Duration::ZERO);
        case.judge();
    }
}

fn in_retry_after(scenario: &Scenario) {
    for signal in SIGNALS {
        let setup = Setup { longest_time: "2h", ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=10));
        case.oracle.on_next(Fault::retry_after(429, "3600"));
        let started = case.spawn(&[]);
        case.oracle.wait_until(SOON, |journal| {
            journal.requests.first().is_some_and(|request| request.is_answered_whole)
        });
        end_by(&mut case, started, signal, Duration::ZERO);
        case.judge();
    }
}

fn twice(scenario: &Scenario) {
    for signal in SIGNALS {
        let setup = Setup { drain_timeout: "10m", ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=10));
        case.oracle.on_next(Fault::ApplyThenHold);
        let started = case.spawn(&[]);
        case.oracle.wait_for_requests(1, SOON);
        started.process.signal(signal.0);
        case.wait_for_phase("draining");
        end_by(&mut case, started, signal, Duration::ZERO);
        case.judge();
    }
}

/// Before anything is sent, in the middle, in the drain (again), and at once after it Sync Now.
fn by_api(scenario: &Scenario) {
    let setup =
        Setup { head: LISTEN, drain_timeout: "1s", batch: 3, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=30));
    let started = case.spawn_serve();
    let server = Api::of(&case.workspace, &started.process);
    for nth in [1, 2, 4] {
        let before = case.oracle.request_count();
        case.oracle.on_request(before + nth, Fault::Hold);
        let run = server.run(r#"{"full": true}"#);
        case.oracle.wait_for_requests(before + nth, SOON);
        for body in ["{}", "{}"] {
            let stop = server.post("/api/v1/syncs/people/stop", body);
            assert!([200, 202].contains(&stop.status), "{stop:#?}");
        }
        let asked = Instant::now();
        let next = server.run("{}");
        let document = server.ended(run);
        assert_eq!(document["phase"], "cancelled", "{document:#}");
        assert!(asked.elapsed() <= Duration::from_secs(1) + GRACE, "A5: {:?}", asked.elapsed());
        case.oracle.release();
        let document = server.ended(next);
        assert_eq!(document["phase"], "succeeded", "{document:#}");
        assert_eq!(document["kind"], "full", "I11: {document:#}");
    }
    started.process.sigterm();
    case.end(started);
    case.judge();
}

fn raced_by_api(scenario: &Scenario) {
    let setup = Setup { head: LISTEN, batch: 5, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=10));
    // A run that a stop can overtake, though it is looked for only every tenth of a second.
    case.oracle.always(Fault::SlowAnswer(Duration::from_millis(80)));
    let started = case.spawn_serve();
    let server = Api::of(&case.workspace, &started.process);
    // From before the first request to beyond the end, until both have come.
    let mut came = BTreeSet::new();
    for round in 0..MOST_RACES {
        let run = server.run(r#"{"full": true}"#);
        std::thread::sleep(Duration::from_millis(20 * (round % 20)));
        let stop = server.post("/api/v1/syncs/people/stop", "{}");
        assert!([200, 202].contains(&stop.status), "{stop:#?}");
        let document = server.ended(run);
        let phase = document["phase"].as_str().expect("a phase is a word");
        assert!(["cancelled", "succeeded"].contains(&phase), "{document:#}");
        came.insert(phase.to_owned());
        if round >= RACES && came.len() == 2 {
            break;
        }
    }
    assert_eq!(came.len(), 2, "the race was always won by one: {came:?}");
    started.process.sigterm();
    case.end(started);
    case.judge();
}
