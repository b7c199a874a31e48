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
    Scenario::new("E5", "an invalid row is read by the next run though it is not new", invalid),
    Scenario::new("B3", "a record in doubt is read by its key though it is not new", in_doubt),
    Scenario::new(
        "E11",
        "a full run reads what is not new, and so does one that goes on with it",
        full,
    ),
    Scenario::new(
        "E4",
        "what another definition has sent is sent again when the first one is back",
        there_and_back,
    ),
];

/// Rows that the destination holds, and newer ones that it does not hold yet.
fn changed(scenario: &Scenario) -> Case {
    changed_by(scenario, "")
}

/// As `changed`, with more keys of the sync.
fn changed_by(scenario: &Scenario, sync: &'static str) -> Case {
    let setup = Setup {
        sync,
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
    started.process.signal("TERM");
    case.oracle.release();
    case.end(started);
    settle(case, 1);
}

/// An invalid row has no entry by which it would be asked for.
fn invalid(scenario: &Scenario) {
    let mut case = changed_by(scenario, "check_keys: first");
    let mended = case.people().to_vec();
    let mut repeated = mended.clone();
    repeated.push(Person::new(5, 20));
    case.write(&repeated);
    case.sync(&[]).expect(3, "partial", &[("invalid", 2), ("unsent", 0)]);
    case.write(&mended);
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
    for more in [vec!["--full"], Vec::new()] {
        // What goes back is not new.
        let mut next = case.people().to_vec();
        next[5].counter -= 1;
        case.write(&next);
        if more.is_empty() {
            case.oracle.always(Fault::Status {
                code: 503,
                headers: Vec::new(),
                body: String::new(),
            });
            case.sync(&["--full"]);
            case.oracle.clear_faults();
        }
        let all = case.sync(&more);
        assert_eq!(
            all.count("rows_read"),
            12,
            "I11: a full run reads everything\n{}",
            case.print()
        );
    }
    settle(case, 1);
}

/// The run of the other definition leaves an invalid row, so that it leaves no bound of its own.
fn there_and_back(scenario: &Scenario) {
    let mut case = changed_by(scenario, "check_keys: first");
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 12)]);
    let first = case.workspace.setup.sql.clone();
    let other = "SELECT id, counter, checksum, 'other' AS email FROM people \
                 UNION ALL SELECT 5 AS id, 1 AS counter, '' AS checksum, '' AS email";
    case.workspace.change(|setup| setup.sql = other.to_owned());
    case.workspace.sync(&[]).expect(3, "partial", &[("invalid", 2), ("delivered", 11)]);
    case.workspace.change(|setup| setup.sql = first);
    case.workspace.sync(&[]).expect(0, "succeeded", &[]);
    for person in case.people() {
        let record = case.oracle.record(&person.key());
        assert_eq!(record, Some(person.record()), "I2: the other definition's is there still");
    }
}
