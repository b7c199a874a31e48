//! Models with a cursor, where runs read no more than new rows: what was not delivered is read again, whatever came between.
//!
//! The counter of a person is the cursor, so that it rises over all of them.

use super::Scenario;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::{Person, people};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "A5",
        "what a stopped run left is read by the next though it is not new",
        stopped,
    ),
    Scenario::new("B8", "what a run over new rows left unsent is read by the next", unsent),
    Scenario::new("B3", "a record in doubt is read by its key though it is not new", in_doubt),
    Scenario::new(
        "E11",
        "a full run reads what is not new, and so does one that goes on with it",
        full,
    ),
];

/// Rows that the destination holds, and newer ones that it does not hold yet.
fn changed(scenario: &Scenario) -> Case {
    let setup = Setup {
        mode: "upsert",
        max_deletes: None,
        cursor: Some("counter"),
        attempts: 1,
        batch: 1,
        concurrency: 1,
        ..Setup::default()
    };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 12)]);
    let next: Vec<Person> = (1..=12).map(|id| Person::new(id, id + 1)).collect();
    case.write(&next);
    case
}

/// After the faults the destination comes to hold what the source does, and no run reads more than it must then.
#[track_caller]
fn settle(mut case: Case, read: u64) {
    case.oracle.clear_faults();
    case.oracle.release();
    case.say("all faults are over");
    for _ in 0..3 {
        case.sync(&[]);
    }
    let wrong: Vec<Person> = case
        .people()
        .iter()
        .filter(|person| case.oracle.record(&person.key()) != Some(person.record()))
        .copied()
        .collect();
    assert!(wrong.is_empty(), "I2: {wrong:?} are not at the destination\n{}", case.print());
    let last = case.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("rows_read", read)]);
    last.expect_kind("incremental", "cursor");
    case.assert_unbroken();
}

fn stopped(scenario: &Scenario) {
    let mut case = changed(scenario);
    case.oracle.on_next(Fault::ApplyLate);
    let before = case.oracle.request_count();
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, crate::support::SOON);
    started.process.terminate();
    case.oracle.release();
    case.end(started);
    settle(case, 1);
}

fn unsent(scenario: &Scenario) {
    let mut case = changed(scenario);
    case.oracle.always(Fault::Status { code: 503, headers: Vec::new(), body: String::new() });
    case.sync(&[]);
    settle(case, 1);
}

fn in_doubt(scenario: &Scenario) {
    let mut case = changed(scenario);
    case.oracle.on_next(Fault::DropBeforeApply);
    let doubtful = case.sync(&[]);
    assert_eq!(doubtful.json["tally"]["unknown"], 1, "{}", case.print());
    settle(case, 1);
}

fn full(scenario: &Scenario) {
    let mut case = changed(scenario);
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 12)]);
    // What goes back is not new.
    let mut next = case.people().to_vec();
    next[3].counter = 2;
    case.write(&next);
    case.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    case.sync(&["--full"]).expect(0, "succeeded", &[("rows_read", 12)]);
    assert_eq!(
        case.oracle.record(&next[3].key()),
        Some(next[3].record()),
        "I2: not at the destination"
    );
    next[5].counter = 2;
    case.write(&next);
    case.oracle.always(Fault::Status { code: 503, headers: Vec::new(), body: String::new() });
    case.sync(&["--full"]);
    case.oracle.clear_faults();
    let goes_on = case.sync(&[]);
    goes_on.expect_kind("full", "open_epoch");
    settle(case, 1);
}
