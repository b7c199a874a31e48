//! E3 and I8, where a run may be skipped without a scan: only over the very files of one that left nothing to do.

use std::time::{Duration, Instant};

use super::Scenario;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::{Person, people};
use crate::support::workspace::{Report, Setup};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("B8", "what a run left unsent is sent by the next over the same files", unsent),
    Scenario::new(
        "E3",
        "a run over the same files is skipped, and one over any other reads them",
        changed_file,
    ),
    Scenario::new(
        "E4",
        "a run over the same files is skipped, and one by another definition reads them",
        other_definition,
    ),
    Scenario::new(
        "E3",
        "a file that was changed shortly before it was read is read once more",
        fresh_file,
    ),
    Scenario::new(
        "E3",
        "a source that cannot say whether it changed is always read",
        silent_source,
    ),
];

/// Steps of a file system's clock are no longer.
const STEP: Duration = Duration::from_secs(2);

fn is_skipped(report: &Report) -> bool {
    report.word("outcome") == "skipped"
}

/// People of whom some changed, in files that are at rest; the destination has those from before.
fn at_rest(scenario: &Scenario, setup: Setup) -> Case {
    let case = Case::changed(&scenario.replay(), setup);
    case.workspace.wait_until_at_rest();
    case
}

/// A run is skipped, as its files are the same as at the last one.
#[track_caller]
fn expect_skip(case: &mut Case) {
    let requests = case.oracle.request_count();
    let report = case.sync(&[]).expect(0, "skipped", &[("rows_read", 0), ("requests", 0)]);
    report.expect_kind("incremental", "unchanged");
    assert_eq!(case.oracle.request_count(), requests, "I8\n{}", case.print());
}

fn unsent(scenario: &Scenario) {
    let setup = || Setup { rests: true, attempts: 1, concurrency: 1, ..Setup::default() };
    let faults = [Fault::DropBeforeApply, Fault::ApplyThenDrop];
    for fault in faults {
        let mut case = at_rest(scenario, setup());
        case.oracle.always(fault);
        let report = case.sync(&[]);
        assert_ne!(report.word("outcome"), "succeeded", "{}", case.print());
        case.oracle.clear_faults();
        case.sync(&[]).expect(0, "succeeded", &[]);
        expect_skip(&mut case);
        case.judge();
    }
}

fn changed_file(scenario: &Scenario) {
    for location in ["people.csv", "people.parquet", "part-*.csv"] {
        let setup = Setup { rests: true, location: location.to_owned(), ..Setup::default() };
        let mut case = at_rest(scenario, setup);
        case.sync(&[]).expect(0, "succeeded", &[]);
        expect_skip(&mut case);
        // The files are of the same size.
        let mut next: Vec<Person> = case.people().to_vec();
        next[0].counter += 1;
        case.write(&next);
        case.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 0)]);
        case.judge();
    }
}

fn other_definition(scenario: &Scenario) {
    let changes: [&dyn Fn(&mut Setup); 2] =
        [&|setup| "SELECT * FROM people WHERE id <= 12".clone_into(&mut setup.sql), &|setup| {
            setup.mode = "upsert"
        }];
    for (number, change) in changes.into_iter().enumerate() {
        let mut case = at_rest(scenario, Setup { rests: true, ..Setup::default() });
        case.sync(&[]).expect(0, "succeeded", &[]);
        expect_skip(&mut case);
        case.workspace.change(change);
        case.say(format!("the definition changes, {number}"));
        let report = case.sync(&[]);
        assert!(!is_skipped(&report), "another definition was skipped over\n{}", case.print());
    }
}

/// What changes is not seen in the facts of any file, as in a database.
fn silent_source(scenario: &Scenario) {
    let silent = vec![("COUNTERFLOW_SOURCES", "silent".to_owned())];
    let mut case =
        at_rest(scenario, Setup { rests: true, environment: silent, ..Setup::default() });
    case.sync(&[]).expect(0, "succeeded", &[]);
    let report = case.sync(&[]);
    assert!(!is_skipped(&report), "a source that says nothing was skipped\n{}", case.print());
    case.judge();
}

/// A machine that is too slow for it gets another try.
fn fresh_file(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { rests: true, ..Setup::default() });
    let mut all = people(1..=20);
    for counter in 1..=20 {
        let begun = Instant::now();
        all[0].counter = counter;
        case.write(&all);
        case.sync(&[]).expect(0, "succeeded", &[]);
        if begun.elapsed() < STEP {
            let next = case.sync(&[]);
            let why = "a file that may have changed since was skipped over";
            assert!(!is_skipped(&next), "{why}\n{}", case.print());
            return case.judge();
        }
    }
    panic!("no run was quick enough");
}
