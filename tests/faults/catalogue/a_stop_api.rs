//! A5. A stop by a command, over HTTP or in a terminal, in each phase of a run of the server.

use std::time::{Duration, Instant};

use counterflow::domain::id::RunId;
use counterflow::points::Point;
use counterflow::store::Store;
use serde_json::Value;

use super::Scenario;
use super::a_crash_server::serve;
use super::a_signals::{assert_adds_up, wait_for_hold};
use super::a_stop::{GRACE, LISTEN};
use crate::runner;
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::journal::{Asked, Sent};
use crate::support::people::people;
use crate::support::server::{Api, until};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("A5", "a stop while a run waits in the queue ends it unbegun", in_queue),
    Scenario::new(
        "A5",
        "a stop in any phase of a run of the server ends it in time",
        in_each_phase,
    ),
    Scenario::new("A5", "a stop of a query that does not yield ends the run in time", in_query),
];

/// `drain_timeout` of these stories.
const DRAIN: Duration = Duration::from_secs(1);

/// Who asks the run to stop.
#[derive(Debug, Clone, Copy)]
enum By {
    Api,
    /// `stop` in a terminal.
    Command,
}

const BOTH: [By; 2] = [By::Api, By::Command];

/// Whether a fault is played on a request.
type Concerned = fn(&Sent) -> bool;

/// What a run is doing when the stop comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Starting,
    Sending,
    /// A request was refused, and its next attempt is an hour away.
    BackOff,
    /// The destination says when it may be asked again.
    RetryAfter,
    Deleting,
    Draining,
    Committing,
}

const ALL: [Doing; 7] = [
    Doing::Starting,
    Doing::Sending,
    Doing::BackOff,
    Doing::RetryAfter,
    Doing::Deleting,
    Doing::Draining,
    Doing::Committing,
];

impl Doing {
    /// Where the run is held meanwhile, if the oracle does not hold it.
    fn point(self) -> Option<Point> {
        match self {
            Doing::Starting => Some(Point::RunStarted),
            Doing::Draining => Some(Point::DrainBegun),
            Doing::Committing => Some(Point::CommitBegun),
            Doing::Sending | Doing::BackOff | Doing::RetryAfter | Doing::Deleting => None,
        }
    }

    /// What the oracle plays meanwhile, to which requests.
    fn fault(self) -> Option<(Concerned, Fault)> {
        let is_delete: Concerned =
            |sent| sent.operations.iter().any(|operation| operation.asked == Asked::Delete);
        match self {
            Doing::Sending => Some((|_| true, Fault::ApplyThenHold)),
            Doing::BackOff => Some((|_| true, Fault::status(503))),
            Doing::RetryAfter => Some((|_| true, Fault::retry_after(429, "3600"))),
            Doing::Deleting => Some((is_delete, Fault::ApplyThenHold)),
            Doing::Starting | Doing::Draining | Doing::Committing => None,
        }
    }
}

fn setup() -> Setup {
    Setup {
        head: LISTEN,
        drain_timeout: "1s",
        batch: 3,
        concurrency: 1,
        attempts: 50,
        first_delay: "1h",
        longest_time: "2h",
        ..Setup::default()
    }
}

/// Asks the run to stop; its document when it has ended, and how long that took.
fn stop(case: &mut Case, server: &Api, run: u64, by: By) -> (Value, Duration) {
    case.say(format!("stop by {by:?}"));
    match by {
        By::Api => {
            let asked = Instant::now();
            server.post("/api/v1/syncs/people/stop", "{}").expect(202);
            (server.ended(run), asked.elapsed())
        }
        By::Command => {
            let command = case.workspace.spawn(&["stop", "people", "--yes"]);
            // How long the command takes to begin is not the run's.
            until("the stop is asked for", || {
                let document = server.get(&format!("/api/v1/runs/{run}")).expect(200).json;
                (!document["stopped_by"].is_null() || document["is_ended"] == true).then_some(())
            });
            let asked = Instant::now();
            let ended = (server.ended(run), asked.elapsed());
            case.workspace.end(command, SOON).expect_code(0);
            ended
        }
    }
}

/// A run that was stopped, and the one that is asked for then: it goes on with the same kind.
fn in_each_phase(scenario: &Scenario) {
    let mut longest = Duration::ZERO;
    for (doing, by, is_full) in
        ALL.into_iter().flat_map(|doing| BOTH.map(|by| (doing, by, matches!(by, By::Api))))
    {
        let mut case = Case::changed(&scenario.replay(), setup());
        let (started, server) = serve(&mut case, doing.point());
        if let Some((holds_for, fault)) = doing.fault() {
            case.oracle.fault_when(holds_for, fault);
        }
        let before = case.oracle.request_count();
        let run = server.run(if is_full { r#"{"full": true}"# } else { "{}" });
        if doing.point().is_some() {
            wait_for_hold(&case);
        } else {
            wait_for_fault(&case, doing, before);
        }
        let (document, took) = stop(&mut case, &server, run, by);
        let print = || format!("{doing:?} by {by:?}\n{document:#}\n{}", case.print());
        assert!(took <= DRAIN + GRACE, "A5: it took {took:?}: {}", print());
        longest = longest.max(took);
        // The commit of a full run that opens its epoch comes before anything is sent.
        let is_too_late = doing == Doing::Committing && !is_full;
        let wanted = if is_too_late { "succeeded" } else { "cancelled" };
        assert_eq!(document["phase"], wanted, "A5: {}", print());
        assert_adds_up(&document["tally"]);
        case.oracle.clear_faults();
        case.oracle.release();
        let next = server.ended(server.run("{}"));
        let kind = if is_full { "full" } else { "incremental" };
        assert_eq!(next["kind"], kind, "I11: {doing:?} by {by:?}: {next:#}\n{}", case.print());
        assert_eq!(next["phase"], "succeeded", "{doing:?} by {by:?}: {next:#}\n{}", case.print());
        end(&mut case, started);
        case.judge();
    }
    let longest = longest.as_secs_f64();
    runner::figure(format!("A5: 14 stops by commands, the longest until the end {longest:.2} s"));
}

/// The oracle has played its fault, and where it answers, the run waits for its next attempt.
fn wait_for_fault(case: &Case, doing: Doing, before: usize) {
    let is_answered = matches!(doing, Doing::BackOff | Doing::RetryAfter);
    case.oracle.wait_until(SOON, |journal| {
        journal
            .requests
            .iter()
            .skip(before)
            .any(|request| request.fault != "None" && (!is_answered || request.is_answered_whole))
    });
}

fn end(case: &mut Case, started: Started) {
    started.process.sigterm();
    case.end(started).expect_code(0);
}

/// One run goes, and one waits behind it.
fn in_queue(scenario: &Scenario) {
    for by in BOTH {
        let mut case = Case::changed(&scenario.replay(), setup());
        let (started, server) = serve(&mut case, None);
        let before = case.oracle.request_count();
        case.oracle.on_next(Fault::ApplyThenHold);
        let going = server.run("{}");
        case.oracle.wait_for_requests(before + 1, SOON);
        let waiting = server.run("{}");
        assert!(waiting != going, "it waits behind the other");
        let (document, took) = stop(&mut case, &server, waiting, by);
        assert!(took <= DRAIN + GRACE, "A5: it took {took:?}\n{}", case.print());
        assert_eq!(document["phase"], "cancelled", "A5: {document:#}");
        assert_eq!(document["tally"]["requests"], 0, "A5: {document:#}");
        assert_adds_up(&document["tally"]);
        let document = server.ended(going);
        assert_eq!(document["phase"], "cancelled", "A5: {document:#}");
        assert_adds_up(&document["tally"]);
        let wanted = [("stop".to_owned(), Some(RunId(going)))];
        assert_eq!(
            audited(&case, "stop"),
            wanted,
            "the stop stands in no audit log\n{}",
            case.print()
        );
        case.oracle.release();
        let next = server.ended(server.run("{}"));
        assert_eq!((&next["phase"], &next["kind"]), (&"succeeded".into(), &"incremental".into()));
        end(&mut case, started);
        case.judge();
    }
}

/// The commands of the audit log, and the run that each was for.
fn audited(case: &Case, command: &str) -> Vec<(String, Option<RunId>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let log = runtime.expect("there are threads").block_on(async {
        let store = Store::open_beside(&case.workspace.state()).await.expect("there is a state");
        store.audit_log(100).await.expect("the audit log can be read")
    });
    let ours = log.into_iter().filter(|one| one.command == command);
    ours.map(|one| (one.command, one.run)).collect()
}

/// The model counts for hours, in little memory, without giving a row.
fn in_query(scenario: &Scenario) {
    let sql = "SELECT * FROM people WHERE id > (SELECT sum(value) FROM generate_series(1, 1000000000000))";
    for by in BOTH {
        let mut case = Case::new(&scenario.replay(), Setup { sql: sql.to_owned(), ..setup() });
        case.write(&people(1..=1_000));
        let (started, server) = serve(&mut case, None);
        let run = server.run("{}");
        server.wait_for_phase(run, "reading");
        let (document, took) = stop(&mut case, &server, run, by);
        assert!(took <= DRAIN + GRACE, "A5: it took {took:?}\n{}", case.print());
        assert_eq!(document["phase"], "cancelled", "A5: {document:#}");
        assert_adds_up(&document["tally"]);
        end(&mut case, started);
        case.workspace.change(|setup| setup.sql = "SELECT * FROM people".to_owned());
        case.judge();
    }
}
