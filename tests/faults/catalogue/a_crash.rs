//! A. Crash: kills at random, at each point of the protocol, within recovery; what kills leave in doubt.

use counterflow::points::Point;

use super::Scenario;
use crate::calls::Story;
use crate::kills;
use crate::runner;
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::people::{Person, key, people};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("A1", "300 kills at random times and moments lose nothing", at_random),
    Scenario::new("A2", "a kill at any point of the protocol loses nothing", at_each_point),
    Scenario::new("A2", "a kill while a request is in flight leaves its keys in doubt", in_flight),
    Scenario::new("A2", "a kill in the middle of a body leaves its keys in doubt", within_body),
    Scenario::new("A6", "ten kills within recovery lose nothing", in_recovery),
    Scenario::new("A6", "ten kills in a row within one recovery lose nothing", in_one_recovery),
    Scenario::new("A7", "an orphan is deleted though no receipt ever named it", orphan),
    Scenario::new("A7", "a value that returns to the one before is sent again", aba),
    Scenario::new(
        "A7",
        "a value that returns after another was noted and never sent is sent again",
        noted_only,
    ),
    Scenario::new("A7", "a row that returns after an unanswered delete is sent again", undelete),
];

/// Kills in one play of the catalogue.
const KILLS: u64 = 300;
/// The n-th time that a point is reached, where a story reaches it so often.
const HITS: [u32; 3] = [1, 2, 5];
/// How often a story is told until its process was ended: what is taken together, and noted at once, depends on the machine.
const TRIES: u32 = 5;

/// How often each point is reached in a story from nothing, and in one that changes, adds and deletes rows.
const REACHED: [(Point, u32, u32); 17] = [
    (Point::StateOwned, 1, 1),
    (Point::RunStarted, 1, 1),
    (Point::RowsTaken, 1, 1),
    (Point::BeforeIntent, 2, 3),
    (Point::IntentWritten, 2, 3),
    (Point::IntentDurable, 2, 3),
    (Point::BeforeRequest, 6, 6),
    (Point::AnswerRead, 6, 6),
    (Point::ReceiptWritten, 6, 6),
    (Point::BeforeDeletes, 1, 1),
    (Point::DrainBegun, 1, 1),
    (Point::CommitBegun, 2, 1),
    (Point::SegmentsWritten, 2, 1),
    (Point::ManifestWritten, 2, 1),
    (Point::ManifestRenamed, 2, 1),
    (Point::BeforePruning, 2, 1),
    (Point::BeforeRemembering, 2, 3),
];

/// Starts a run and waits until its first request was applied; it is never answered.
fn until_applied(case: &mut Case) -> Started {
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::ApplyThenHold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, SOON);
    started
}

fn at_random(_: &Scenario) {
    let summary = kills::play(1, KILLS);
    assert!(summary.is_well(), "{summary}");
}

fn at_each_point(scenario: &Scenario) {
    let (mut kills, mut again, mut unmet) = (0, 0, Vec::new());
    for point in Point::ALL {
        let reached = REACHED.iter().find(|(known, _, _)| *known == point);
        let (_, first, changes) = *reached.expect("each point has its hits");
        for (story, reached) in [(Story::First, first), (Story::Changes, changes)] {
            for hit in HITS.into_iter().filter(|hit| *hit <= reached) {
                let end_at = format!("{}:{hit}", point.name());
                let tries = (1..=TRIES).find(|_| is_ended_at(scenario, story, &end_at));
                kills += u32::from(tries.is_some());
                again += tries.unwrap_or(TRIES) - 1;
                unmet.extend(tries.is_none().then(|| format!("{end_at} of {story:?}")));
            }
        }
    }
    runner::figure(format!(
        "A2: {kills} kills at the 1st, 2nd and 5th hit of {} points in two stories, {again} stories told again to meet theirs",
        Point::ALL.len(),
    ));
    assert!(unmet.is_empty(), "the process was never ended at {unmet:?}");
}

/// Tells a story whose process is to end there; whether it did. The case is judged.
fn is_ended_at(scenario: &Scenario, story: Story, end_at: &str) -> bool {
    let setup = Setup { batch: 3, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=18));
    if story == Story::Changes {
        case.sync(&[]).expect(0, "succeeded", &[]);
        let mut next = people(4..=24);
        next.iter_mut().take(9).for_each(|person| person.counter = 2);
        case.write(&next);
    }
    let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", end_at)]);
    let has_fired = case.end(started).signal.is_some();
    case.judge();
    has_fired
}

fn in_flight(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=3));
    let started = until_applied(&mut case);
    case.kill(started);
    case.run(&["explain", "people", "1"]).expect_code(0).expect_printed(&["in doubt"]);
    case.judge();
}

fn within_body(scenario: &Scenario) {
    for bytes in [0, 1_000, 100_000] {
        let setup = Setup { batch: 2_000, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=2_000));
        case.oracle.on_next(Fault::SilentWithinBody(bytes));
        let started = case.spawn(&[]);
        case.oracle.wait_for_requests(1, SOON);
        case.kill(started);
        case.run(&["explain", "people", "1"]).expect_code(0).expect_printed(&["in doubt"]);
        case.judge();
    }
}

fn in_recovery(scenario: &Scenario) {
    let mut case = Case::changed(&scenario.replay(), Setup { batch: 2, ..Setup::default() });
    let points = [Point::SegmentsWritten, Point::ManifestWritten, Point::ManifestRenamed];
    let points = points.into_iter().chain([Point::BeforePruning, Point::BeforeRemembering]);
    let mut fired = 0;
    for (point, counter) in points.cycle().zip(3..13) {
        // Something to recover, each time.
        let rows: Vec<Person> = (3..=15).map(|id| Person::new(id, counter)).collect();
        case.write(&rows);
        let started = until_applied(&mut case);
        case.kill(started);
        let before = case.oracle.request_count();
        let end_at = format!("{}:1", point.name());
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", &end_at)]);
        fired += u32::from(case.end(started).signal.is_some());
        assert_eq!(case.oracle.request_count(), before, "it was ended within its recovery");
    }
    assert_eq!(fired, 10, "each was ended");
    case.judge();
}

/// What one kill left in doubt is recovered at the eleventh try; nothing leaves before.
fn in_one_recovery(scenario: &Scenario) {
    let mut case = Case::changed(&scenario.replay(), Setup { batch: 2, ..Setup::default() });
    let started = until_applied(&mut case);
    case.kill(started);
    let before = case.oracle.request_count();
    let points = [Point::SegmentsWritten, Point::ManifestWritten];
    for (nth, point) in points.into_iter().cycle().take(10).enumerate() {
        let end_at = format!("{}:1", point.name());
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", &end_at)]);
        let finished = case.end(started);
        assert!(finished.signal.is_some(), "try {nth} was not ended at {}", point.name());
    }
    assert_eq!(case.oracle.request_count(), before, "each was ended within its recovery");
    let report = case.sync(&[]).expect(0, "succeeded", &[("unknown", 0)]);
    assert!(report.count("requests") > 0, "what was in doubt is asserted\n{}", case.print());
    case.judge();
}

fn orphan(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=3));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(1..=4));
    let started = until_applied(&mut case);
    case.kill(started);
    case.write(&people(1..=3));
    case.judge();
}

fn aba(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=3));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&[Person::new(1, 1), Person::new(2, 2), Person::new(3, 1)]);
    let started = until_applied(&mut case);
    case.kill(started);
    assert_eq!(case.oracle.record(&key(2)), Some(Person::new(2, 2).record()));
    case.write(&people(1..=3));
    case.judge();
}

fn undelete(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=3));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(1..=2));
    let started = until_applied(&mut case);
    case.kill(started);
    assert_eq!(case.oracle.record(&key(3)), None, "the delete was applied");
    case.write(&people(1..=3));
    case.judge();
}

/// The intent is durable, the request never leaves, and the row is what it was before.
fn noted_only(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { batch: 1, ..Setup::default() });
    case.write(&people(1..=5));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let mut next = people(1..=5);
    next[2].counter = 2;
    case.write(&next);
    let before = case.oracle.request_count();
    let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", "intent_durable:1")]);
    assert!(case.end(started).signal.is_some(), "it was killed");
    assert_eq!(case.oracle.request_count(), before, "nothing left");
    case.write(&people(1..=5));
    case.sync(&[]).expect(0, "succeeded", &[("unchanged", 4), ("delivered", 1)]);
    case.judge();
}
