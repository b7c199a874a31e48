//! No run deletes above the guard without a recorded yes (I13), and never on a read that proves nothing (I5).

use crate::support::check::{check_covered, check_mirror};
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, keys, people};
use crate::support::workspace::{Report, Setup, Workspace};

/// A mirror of 100 persons with the guard at its default, of which `left` are still in the source; the held run.
fn held(oracle: &Oracle, left: &[Person]) -> (Workspace, Report) {
    let workspace = Workspace::new(oracle, Setup { max_deletes: None, ..Setup::default() });
    workspace.write_people(&people(1..=100));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(left);
    let report = workspace.sync(&[]);
    (workspace, report)
}

#[test]
fn deletes_up_to_the_guard_go() {
    let oracle = Oracle::start(&["id"]);
    let (_workspace, report) = held(&oracle, &people(11..=100));
    report.expect(0, "succeeded", &[("deletes", 10), ("deleted", 10), ("held", 0)]);
    check_mirror(&oracle, &expected(&people(11..=100)));
}

#[test]
fn deletes_above_the_guard_are_held_and_upserts_still_go() {
    let oracle = Oracle::start(&["id"]);
    let mut left = people(12..=100);
    left[0].counter = 2;
    let (workspace, report) = held(&oracle, &left);
    report.expect(
        4,
        "partial",
        &[("upserts", 1), ("deletes", 11), ("held", 11), ("deleted", 0), ("delivered", 1)],
    );
    check_covered(&oracle, &expected(&left));
    assert!(oracle.deletes().is_empty(), "I13\n{}", oracle.print());
    workspace.sync(&[]).expect(4, "partial", &[("held", 11), ("requests", 0)]);
    workspace.sync(&["--full"]).expect(4, "partial", &[("held", 11)]);
    assert!(oracle.deletes().is_empty(), "full runs are guarded too\n{}", oracle.print());
}

#[test]
fn a_release_deletes_the_held_keys_that_are_still_gone_and_no_others() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, report) = held(&oracle, &people(31..=100));
    let report = report.expect(4, "partial", &[("held", 30)]);
    // Five came back; twenty more are gone, which nobody has released.
    let mut left = people(26..=30);
    left.extend(people(51..=100));
    workspace.write_people(&left);
    let released = workspace.run(&["release", &report.run(), "-m", "the trial accounts ended"]);
    assert_eq!(oracle.deletes(), keys(1..=25), "{released:#?}\n{}", oracle.print());
    assert_eq!(released.code, Some(4), "the new removals meet the guard again: {released:#?}");
    workspace.sync(&[]).expect(4, "partial", &[("held", 20)]);
    assert_eq!(oracle.deletes(), keys(1..=25), "I13\n{}", oracle.print());
}

#[test]
fn a_discard_drops_ownership_and_deletes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, report) = held(&oracle, &people(31..=100));
    let run = report.expect(4, "partial", &[("held", 30)]).run();
    let requests = oracle.request_count();
    workspace.run(&["discard", &run, "-m", "they live on elsewhere", "--yes"]).expect_code(0);
    workspace.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deletes", 0)]);
    assert_eq!(oracle.request_count(), requests, "{}", oracle.print());
    oracle.let_go(keys(1..=30));
    check_mirror(&oracle, &expected(&people(1..=100)));
    workspace.write_people(&people(30..=100));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
}

#[test]
fn an_empty_read_holds_every_delete_whatever_the_guard_allows() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&[]);
    for _ in 0..2 {
        workspace.sync(&[]).expect(4, "partial", &[("rows_read", 0), ("deletes", 5), ("held", 5)]);
    }
    check_mirror(&oracle, &expected(&people(1..=5)));
    assert!(oracle.deletes().is_empty(), "I13\n{}", oracle.print());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[("held", 0)]);
}

#[test]
fn a_file_that_vanished_from_the_set_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let setup =
        Setup { location: "part-*.csv".into(), max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write("part-1.csv", &crate::support::people::csv(&people(1..=20)));
    workspace.write("part-2.csv", &crate::support::people::csv(&people(21..=22)));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 22)]);
    std::fs::remove_file(workspace.path().join("part-2.csv")).expect("the file is there");
    // A second bad read never passes because the first was bad too.
    for _ in 0..2 {
        workspace.sync(&[]).expect(4, "partial", &[("held", 2)]);
    }
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    workspace.write("part-2.csv", &crate::support::people::csv(&people(21..=22)));
    workspace.sync(&[]).expect(0, "succeeded", &[("held", 0)]);
    check_mirror(&oracle, &expected(&people(1..=22)));
}

#[test]
fn a_message_is_demanded_for_a_decision() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, report) = held(&oracle, &people(31..=100));
    workspace.run(&["release", &report.run()]).expect_code(2);
    workspace.run(&["discard", &report.run(), "--yes"]).expect_code(2);
    assert!(oracle.deletes().is_empty());
}
