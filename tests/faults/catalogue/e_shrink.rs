//! E1 and E2. A source that is empty, or shrinks beyond the guard.

use super::Scenario;
use crate::support::case::Case;
use crate::support::judge::Left;
use crate::support::people::{Person, keys, people};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E1", "an empty read holds every delete whatever the guard allows", empty_read),
    Scenario::new("E1", "a filter that matches nothing holds every delete", empty_filter),
    Scenario::new("E1", "a file without a byte is no empty table", no_byte),
    Scenario::new("E1", "a first run over an empty table fails and fixes nothing", empty_at_first),
    Scenario::new("E2", "deletes beyond the guard wait for a yes, run after run", beyond_guard),
    Scenario::new("E2", "what was let go is neither deleted nor owned", let_go),
    Scenario::new("E2", "a sample of a table that shrank deletes nothing", sampled),
    Scenario::new("E2", "a worse read holds more, and a better one less", held_by_each_read),
];

/// The people table as CSV and as Parquet.
pub const FORMATS: [&str; 2] = ["people.csv", "people.parquet"];

/// A mirror of the people in this file, whose guard holds nothing by number alone.
pub fn open_guard(location: &str) -> Setup {
    Setup { location: location.to_owned(), max_deletes: Some("100%"), ..Setup::default() }
}

/// I5, before the judge looks: nothing was deleted so far.
#[track_caller]
pub fn assert_none_deleted(case: &Case) {
    let deleted = case.oracle.deletes();
    assert!(deleted.is_empty(), "I5: {deleted:?} were deleted\n{}", case.print());
}

fn empty_read(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        case.write(&people(1..=25));
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.write(&[]);
        for more in [&[][..], &[], &["--full"]] {
            let report = case.sync(more);
            let deleted = case.oracle.deletes().len();
            assert!(deleted == 0, "I13: {deleted} deletes after an empty read\n{}", case.print());
            let report =
                report.expect(4, "partial", &[("rows_read", 0), ("deletes", 25), ("held", 25)]);
            assert!(report.json["holds"].to_string().contains("empty_read"), "{report:#?}");
        }
        // One row of the twenty-five: the guard of this sync allows the rest.
        case.write(&people(7..=7));
        case.sync(&[]).expect(0, "succeeded", &[("deleted", 24)]);
        case.judge();
    }
}

fn empty_filter(scenario: &Scenario) {
    for location in FORMATS {
        let sql = "SELECT * FROM people WHERE counter < 100".to_owned();
        let mut case = Case::new(&scenario.replay(), Setup { sql, ..open_guard(location) });
        let all = people(1..=25);
        case.write(&all);
        case.sync(&[]).expect(0, "succeeded", &[]);
        let beyond: Vec<Person> =
            all.iter().map(|person| Person::new(person.id, 100 + person.counter)).collect();
        case.workspace.write_people(&beyond);
        case.written("every row is beyond the filter", &[]);
        for _ in 0..2 {
            case.sync(&[]).expect(4, "partial", &[("rows_read", 0), ("held", 25)]);
        }
        case.write(&all);
        case.sync(&[]).expect(0, "succeeded", &[("held", 0), ("requests", 0)]);
        assert_none_deleted(&case);
        case.judge();
    }
}

fn no_byte(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        let all = people(1..=5);
        case.write(&all);
        case.sync(&[]).expect(0, "succeeded", &[]);
        let before = case.oracle.request_count();
        case.workspace.write(location, "");
        case.written("the file is empty", &all);
        for _ in 0..2 {
            let report = case.sync(&[]).expect(1, "failed", &[]);
            report.finished.expect_printed(&[location, "is empty"]);
        }
        assert_eq!(case.oracle.request_count(), before, "{}", case.print());
        case.write(&people(2..=5));
        case.judge();
    }
}

fn empty_at_first(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        case.write(&[]);
        for _ in 0..2 {
            let report = case.sync(&[]).expect(1, "failed", &[("rows_read", 0)]);
            report.finished.expect_printed(&["model `people` gave no rows"]);
        }
        assert_eq!(case.oracle.request_count(), 0, "{}", case.print());
        case.write(&people(1..=5));
        case.sync(&[]).expect_kind("full", "open_epoch").expect(0, "succeeded", &[]);
        case.judge();
    }
}

/// A mirror of 100 persons with the guard at its default, from which the first `gone` left; the run that held them.
fn shrunk(scenario: &Scenario, location: &str, gone: u32) -> (Case, String) {
    let setup = Setup { max_deletes: None, ..open_guard(location) };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=100));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(gone + 1..=100));
    let held = u64::from(gone);
    let report = case.sync(&[]).expect(4, "partial", &[("held", held), ("deleted", 0)]);
    (case, report.run())
}

fn beyond_guard(scenario: &Scenario) {
    for location in FORMATS {
        let (mut case, run) = shrunk(scenario, location, 11);
        for more in [&[][..], &["--full"], &[]] {
            case.sync(more).expect(4, "partial", &[("held", 11), ("deleted", 0)]);
        }
        assert!(case.oracle.deletes().is_empty(), "I13\n{}", case.print());
        case.release(&run).expect_code(0);
        assert_eq!(case.oracle.deletes(), keys(1..=11), "{}", case.print());
        case.judge();
    }
}

fn let_go(scenario: &Scenario) {
    let (mut case, run) = shrunk(scenario, FORMATS[0], 30);
    case.discard(&run, 1..=30);
    case.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deletes", 0), ("requests", 0)]);
    // One that comes back is a new one.
    case.discarded_no_more(30);
    case.write(&people(30..=100));
    case.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
    assert!(case.oracle.deletes().is_empty(), "I13\n{}", case.print());
    case.judge();
}

fn held_by_each_read(scenario: &Scenario) {
    let (mut case, first) = shrunk(scenario, FORMATS[0], 20);
    case.write(&people(51..=100));
    case.sync(&[]).expect(4, "partial", &[("held", 50), ("deleted", 0)]);
    case.write(&people(16..=100));
    case.sync(&[]).expect(4, "partial", &[("held", 15), ("deleted", 0)]);
    assert!(case.oracle.deletes().is_empty(), "I13\n{}", case.print());
    // A yes to the first run is none to what left later.
    let mut left = people(21..=80);
    left.truncate(60);
    case.write(&left);
    case.release(&first).expect_code(4);
    assert_eq!(case.oracle.deletes(), keys(1..=15), "{}", case.print());
    let held = (16..=20).chain(81..=100).collect();
    case.judge_leaving(&Left { held, ..Left::default() });
}

/// Rows are gone that any run may delete, but for one that reads chosen rows alone.
fn sampled(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        case.write(&people(1..=25));
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.write(&people(5..=27));
        let samples =
            [(&["--limit", "3"][..], 3), (&["--key", "26"], 1), (&["--where", "id > 20"], 7)];
        for (more, count) in samples {
            let report = case.sample(more);
            assert_none_deleted(&case);
            report.expect(0, "succeeded", &[("delivered", count), ("deletes", 0)]);
        }
        case.sync(&[]).expect(0, "succeeded", &[("deleted", 4)]);
        case.judge();
    }
}
