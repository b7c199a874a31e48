//! A4. A signal at each phase of a run: the process is held at a point of the protocol, hears the signal there, and goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use counterflow::domain::tally::Tally;
use counterflow::points::Point;

use super::a_stop::{GRACE, SIGNALS};
use super::{Scenario, is_exhaustive};
use crate::calls::{Story, case_of};
use crate::runner;
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::journal::Asked;
use crate::support::server::until;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "A4",
        "a signal in any phase ends the run within the drain limit and a second",
        in_each_phase,
    ),
    Scenario::new("A4", "a signal while a delete is in flight ends in time", in_deletes),
];

/// `drain_timeout` of these stories.
const DRAIN: Duration = Duration::from_secs(1);
/// The file that shows that a process is held.
const HELD: &str = "held";

/// Where a signal comes.
struct Moment {
    phase: &'static str,
    story: Story,
    point: Point,
    nth: u32,
    /// Requests that may still leave, or be on their way.
    leaving: usize,
}

const fn moment(phase: &'static str, story: Story, point: Point, nth: u32) -> Moment {
    Moment { phase, story, point, nth, leaving: 0 }
}

impl Moment {
    const fn leaving(self, leaving: usize) -> Moment {
        Moment { leaving, ..self }
    }
}

/// One connection, so that one request at most is on its way.
const MOMENTS: &[Moment] = &[
    moment("starting", Story::First, Point::StateOwned, 1),
    moment("starting", Story::Changes, Point::StateOwned, 1),
    moment("starting", Story::First, Point::RunStarted, 1),
    moment("starting", Story::Changes, Point::RunStarted, 1),
    moment("starting", Story::Changes, Point::BeforeRemembering, 1),
    moment("recovery", Story::Killed, Point::StateOwned, 1),
    moment("recovery", Story::Killed, Point::SegmentsWritten, 1),
    moment("recovery", Story::Killed, Point::ManifestWritten, 1),
    moment("recovery", Story::Killed, Point::ManifestRenamed, 1),
    moment("recovery", Story::Killed, Point::BeforePruning, 1),
    moment("recovery", Story::Killed, Point::BeforeRemembering, 1),
    moment("reading", Story::First, Point::RowsTaken, 1),
    moment("reading", Story::Changes, Point::RowsTaken, 1),
    moment("sending", Story::Changes, Point::BeforeIntent, 1),
    moment("sending", Story::Changes, Point::BeforeIntent, 2).leaving(1),
    moment("sending", Story::Changes, Point::IntentWritten, 1),
    moment("sending", Story::Changes, Point::IntentDurable, 1).leaving(1),
    moment("sending", Story::First, Point::BeforeRequest, 1).leaving(1),
    moment("sending", Story::Changes, Point::BeforeRequest, 2).leaving(1),
    moment("sending", Story::Changes, Point::AnswerRead, 1).leaving(1),
    moment("sending", Story::Changes, Point::ReceiptWritten, 1).leaving(1),
    moment("deletes", Story::Changes, Point::BeforeDeletes, 1).leaving(1),
    moment("draining", Story::First, Point::DrainBegun, 1).leaving(1),
    moment("draining", Story::Changes, Point::DrainBegun, 1).leaving(1),
    moment(COMMITTING, Story::Changes, Point::CommitBegun, 1),
    moment(COMMITTING, Story::Changes, Point::SegmentsWritten, 1),
    moment(COMMITTING, Story::Changes, Point::ManifestWritten, 1),
    moment(COMMITTING, Story::Changes, Point::ManifestRenamed, 1),
    moment(COMMITTING, Story::Changes, Point::BeforePruning, 1),
];

/// A stop that comes then is too late to change what the run came to.
const COMMITTING: &str = "committing";

/// Starts a run that is held at the point, and waits until it is.
pub fn hold(case: &mut Case, point: Point, nth: u32) -> Started {
    let held = case.workspace.path().join(HELD);
    let hold_at = hold_at(point, nth);
    let started = case.spawn_with(&[], &[("COUNTERFLOW_HOLD_AT", &hold_at)]);
    until(&format!("the process is held at {hold_at}"), || {
        assert!(started.process.is_running(), "it ended and never came to {hold_at}");
        held.exists().then_some(())
    });
    started
}

/// What the environment says for `hold`; the file is in the folder that the process works in.
pub fn hold_at(point: Point, nth: u32) -> String {
    format!("{}:{nth}:{HELD}", point.name())
}

/// Waits until a process of the case is held, which was started with `hold_at`.
pub fn wait_for_hold(case: &Case) {
    let held = case.workspace.path().join(HELD);
    until("the process is held", || held.exists().then_some(()));
}

fn in_each_phase(scenario: &Scenario) {
    let mut longest = BTreeMap::<&str, (u32, Duration)>::new();
    for (number, moment) in MOMENTS.iter().enumerate() {
        // One signal after the other in turns, where not all are asked for.
        let is_played = |signal: usize| is_exhaustive() || number % SIGNALS.len() == signal;
        for (_, signal) in SIGNALS.into_iter().enumerate().filter(|(place, _)| is_played(*place)) {
            let took = signalled_at(scenario, moment, signal);
            let of_phase = longest.entry(moment.phase).or_default();
            *of_phase = (of_phase.0 + 1, of_phase.1.max(took));
        }
    }
    let said: Vec<String> = longest
        .iter()
        .map(|(phase, (count, took))| format!("{phase} {count}, {:.2} s", took.as_secs_f64()))
        .collect();
    let said = said.join("; ");
    runner::figure(format!("A4: signals by phase, and the longest until the end: {said}"));
}

/// How long the process took from the signal to its end.
fn signalled_at(
    scenario: &Scenario,
    moment: &Moment,
    (signal, code): (&'static str, i32),
) -> Duration {
    let Moment { phase, story, point, nth, leaving } = moment;
    let mut case = case_of(scenario, *story);
    case.workspace.change(|setup| setup.drain_timeout = "1s");
    let started = hold(&mut case, *point, *nth);
    let before = case.oracle.request_count();
    case.say(format!("SIG{signal} in {phase}, at {}", point.name()));
    let asked = started.process.signal_at(signal);
    if *point == Point::StateOwned {
        // Nobody heeds it yet: it is noted, and the process goes on.
        std::fs::remove_file(case.workspace.path().join(HELD)).expect("the process is held");
    }
    let finished = case.end(started);
    let took = finished.ended.saturating_duration_since(asked);
    let told = format!("{phase}, {} no. {nth}, story {story:?}", point.name());
    let print = || format!("{told}\n{finished:#?}\n{}", case.print());
    assert!(took <= DRAIN + GRACE, "A4: it took {took:?}: {}", print());
    let report = finished.json();
    let (wanted, outcome) = match *phase {
        COMMITTING => (0, "succeeded"),
        _ => (code, "cancelled"),
    };
    assert_eq!(finished.code, Some(wanted), "A4: {}", print());
    assert_eq!(report["outcome"], outcome, "A4: {}", print());
    let sent = case.oracle.request_count() - before;
    assert!(sent <= *leaving, "A4: {sent} requests left after the signal: {}", print());
    assert_adds_up(&report["tally"]);
    case.judge();
    took
}

/// The counts of a run agree with one another.
#[track_caller]
pub fn assert_adds_up(tally: &serde_json::Value) {
    let counts: Tally = serde_json::from_value(tally.clone()).expect("a tally is a tally");
    assert_eq!(counts.check(), Ok(()), "I10: {tally:#}");
}

fn in_deletes(scenario: &Scenario) {
    for (signal, fault) in SIGNALS
        .into_iter()
        .flat_map(|signal| [Fault::ApplyThenHold, Fault::Hold].map(|fault| (signal, fault)))
    {
        let mut case = case_of(scenario, Story::Changes);
        case.workspace.change(|setup| setup.drain_timeout = "1s");
        case.oracle.fault_when(
            |sent| sent.operations.iter().any(|operation| operation.asked == Asked::Delete),
            fault,
        );
        let started = case.spawn(&[]);
        case.oracle.wait_until(SOON, |journal| {
            let last = journal.requests.last();
            last.is_some_and(|last| {
                last.sent.operations.iter().any(|operation| operation.asked == Asked::Delete)
            })
        });
        super::a_stop::end_by(&mut case, started, signal, DRAIN);
        case.judge();
    }
}
