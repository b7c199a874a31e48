//! A. Stop and crash.

use counterflow::points::Point;

use super::Scenario;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::{Person, people};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("A2", "a kill at any point of the protocol loses nothing", at_each_point),
    Scenario::new("A7", "an orphan is deleted though no receipt ever named it", orphan),
];

/// The n-th time that a point is reached.
const HITS: [u32; 3] = [1, 2, 5];

fn at_each_point(scenario: &Scenario) {
    for point in Point::ALL {
        let mut fired = 0;
        for hit in HITS {
            let mut case = Case::new(&scenario.replay(), Setup { batch: 3, ..Setup::default() });
            case.write(&people(1..=12));
            case.sync(&[]).expect(0, "succeeded", &[]);
            let mut next = people(3..=15);
            next.iter_mut().take(4).for_each(|person| person.counter = 2);
            case.write(&next);
            let end_at = format!("{}:{hit}", point.name());
            let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", &end_at)]);
            let finished = case.end(started);
            fired += u32::from(finished.signal.is_some());
            case.judge();
        }
        assert!(fired > 0, "the process was never ended at {}", point.name());
    }
}

fn orphan(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=3));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(1..=4));
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::ApplyThenHold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, SOON);
    case.kill(started);
    case.write(&[Person::new(1, 1), Person::new(2, 1), Person::new(3, 1)]);
    case.judge();
}
