//! Records that we refuse ourselves: null and repeated keys; named, counted, never sent, never deleted.

use crate::support::check::{check_covered, check_mirror};
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv, expected, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

fn with(people: &[Person], more: &str) -> String {
    csv(people) + more
}

#[test]
fn null_keys_are_counted_and_everything_else_goes() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write("people.csv", &with(&people(1..=5), ",1,c,nobody\n"));
    let report = workspace.sync(&[]);
    let report = report.expect(3, "partial", &[("rows_read", 6), ("invalid", 1), ("delivered", 5)]);
    assert!(!report.finished.printed().contains("nobody"), "I12: {report:#?}");
    check_mirror(&oracle, &expected(&people(1..=5)));
}

#[test]
fn a_repeated_key_is_named_and_never_deleted() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let mut repeated = people(1..=5);
    repeated.extend([Person::new(3, 2), Person::new(3, 3)]);
    workspace.write_people(&repeated);
    let report = workspace.sync(&[]);
    assert_eq!(report.finished.code, Some(3), "{report:#?}");
    assert!(report.count("invalid") >= 2, "{report:#?}");
    workspace.run(&["explain", "people", "3"]).expect_code(0).expect_printed(&["3"]);
    check_covered(&oracle, &expected(&people([1, 2, 4, 5])));
    assert!(oracle.record(&key(3)).is_some() && oracle.deletes().is_empty(), "{}", oracle.print());
    let mut whole = people(1..=5);
    whole[2].counter = 9;
    workspace.write_people(&whole);
    workspace.sync(&[]).expect(0, "succeeded", &[("invalid", 0)]);
    check_mirror(&oracle, &expected(&whole));
}

#[test]
fn a_row_whose_key_became_null_is_not_taken_for_removed() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write("people.csv", &with(&people(1..=4), ",1,c,e\n"));
    // More null keys than the last complete run had: the deletes are held.
    workspace.sync(&[]).expect(4, "partial", &[("invalid", 1), ("held", 1)]);
    check_mirror(&oracle, &expected(&people(1..=5)));
}

#[test]
fn more_invalid_records_than_allowed_fail_the_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { max_invalid: Some(1), ..Setup::default() });
    workspace.write("people.csv", &with(&people(1..=5), ",1,c,e\n,1,c,f\n"));
    let report = workspace.sync(&[]);
    assert_eq!((report.finished.code, report.word("outcome")), (Some(1), "failed"), "{report:#?}");
    assert!(report.word("error").contains("max_invalid"), "the remedy is named: {report:#?}");
    let plan = workspace.run(&["plan", "people"]).expect_code(1);
    plan.expect_printed(&["max_invalid", report.word("error")]);
}

#[test]
fn a_key_that_had_left_when_it_came_again_is_in_doubt_until_a_read_finds_it_once() {
    const ROWS: u32 = 20_000;
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { batch: 1_000, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    // So many rows that the last is read when the first has long been sent.
    workspace.write("people.csv", &with(&people(1..=ROWS), "1,2,c,e\n"));
    let rows = u64::from(ROWS);
    let report = workspace.sync(&[]);
    let report = report.expect(3, "partial", &[("rows_read", rows + 1), ("delivered", rows)]);
    report.expect(3, "partial", &[("invalid", 1), ("upserts", rows)]);
    for _ in 0..2 {
        let report = workspace.sync(&[]);
        report.expect(3, "partial", &[("invalid", 2), ("upserts", 0), ("requests", 0)]);
        workspace.run(&["explain", "people", "1"]).expect_code(0).expect_printed(&["in doubt"]);
    }
    let mut whole = people(1..=ROWS);
    whole[0].counter = 3;
    workspace.write_people(&whole);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
    check_mirror(&oracle, &expected(&whole));
    oracle.assert_deletes_only(&keys([]));
}
