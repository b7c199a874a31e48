//! Repeated keys that are found by a pass before anything is sent (`check_keys: first`): none of their rows ever leaves.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::check::{check_covered, check_mirror};
use crate::support::oracle::Oracle;
use crate::support::people::{CANARY, Person, expected, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

/// So many that the last is read when the first has long been sent.
const ROWS: u32 = 20_000;
const FIRST: &str = "check_keys: first";
/// Each of its rows has to be counted before the one row comes out, which takes longer than any test.
const ENDLESS: &str = "SELECT count(*) AS id FROM people a, people b, people c, people d, people e";
/// How soon a process that is told to stop has ended: a second, and what a busy machine adds.
const AT_ONCE: Duration = Duration::from_secs(8);

fn workspace(oracle: &Oracle, sync: &'static str) -> Workspace {
    Workspace::new(oracle, Setup { sync, batch: 1_000, concurrency: 1, ..Setup::default() })
}

/// Everybody once, and then the first person again, changed.
fn first_comes_again() -> Vec<Person> {
    let mut people = people(1..=ROWS);
    people.push(Person::new(1, 2));
    people
}

#[test]
fn while_streaming_one_row_of_a_repeated_key_has_left_when_the_other_comes() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "check_keys: streaming");
    workspace.write_people(&first_comes_again());
    workspace.sync(&[]).expect(3, "partial", &[("delivered", u64::from(ROWS)), ("invalid", 1)]);
    assert_eq!(oracle.count_of(&key(1)), 1);
    workspace.run(&["explain", "people", "1"]).expect_code(0).expect_printed(&["in doubt"]);
}

#[test]
fn neither_row_of_a_repeated_key_leaves_and_the_key_is_named() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, FIRST);
    workspace.write_people(&first_comes_again());
    let rows = u64::from(ROWS);
    let counts = [("rows_read", rows + 1), ("delivered", rows - 1), ("invalid", 2)];
    let report = workspace.sync(&[]).expect(3, "partial", &counts);
    report.finished.expect_printed(&["`1` the key comes more than once"]);
    let report = workspace.sync(&[]).expect(3, "partial", &[("requests", 0), ("invalid", 2)]);
    report.finished.expect_printed(&["`1` the key comes more than once"]);
    assert_eq!(oracle.count_of(&key(1)), 0, "no request named it\n{}", oracle.print());
    check_mirror(&oracle, &expected(&people(2..=ROWS)));

    let mut mended = people(1..=ROWS);
    mended[0].counter = 3;
    workspace.write_people(&mended);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
    check_mirror(&oracle, &expected(&mended));
    oracle.assert_deletes_only(&keys([]));
}

#[test]
fn a_key_that_the_destination_holds_stays_as_it_was_while_it_is_repeated() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, FIRST);
    let mut held = people(1..=ROWS);
    workspace.write_people(&held);
    let rows = u64::from(ROWS);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", rows)]);
    // Everybody changed, the first at both of its places.
    held[1..].iter_mut().for_each(|person| person.counter = 5);
    let twice = [Person::new(1, 5), Person::new(1, 6)];
    workspace.write_people(&[&twice[..1], &held[1..], &twice[1..]].concat());
    let counts = [("upserts", rows - 1), ("delivered", rows - 1), ("invalid", 2), ("deletes", 0)];
    workspace.sync(&[]).expect(3, "partial", &counts);
    check_mirror(&oracle, &expected(&held));
}

#[test]
fn no_row_of_a_repeated_primary_key_leaves_though_its_rows_have_delivered_keys_of_their_own() {
    let row = |id: u32, login: &str| format!("{id},{login},free\n");
    let once: String = (1..=ROWS).map(|id| row(id, &format!("p{id}"))).collect();
    let once = format!("id,login,plan\n{once}");
    let rows = u64::from(ROWS);
    for (sync, delivered, invalid) in
        [("key: [login]", rows, 1), ("key: [login]\n    check_keys: first", rows - 1, 2)]
    {
        let oracle = Oracle::start(&["login"]);
        let workspace = workspace(&oracle, sync);
        workspace.write("people.csv", &(once.clone() + &row(1, "other")));
        let report = workspace.sync(&[]);
        let report = report.expect(3, "partial", &[("delivered", delivered), ("invalid", invalid)]);
        report.finished.expect_printed(&["`other` its primary key comes more than once"]);
        let sent = |login: &str| oracle.count_of(&json!([login]).to_string());
        let is_streaming = delivered == rows;
        assert_eq!((sent("p1"), sent("other")), (usize::from(is_streaming), 0));
        workspace.write("people.csv", &once);
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("unchanged", rows - 1)]);
        assert_eq!((oracle.table().len(), sent("other")), (once.lines().count() - 1, 0));
    }
}

#[test]
fn a_stop_while_keys_are_checked_ends_the_run_at_once_and_nothing_was_sent() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { sql: ENDLESS.to_owned(), sync: FIRST, ..Setup::default() };
    let mut workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=10_000));
    let process = workspace.spawn_sync(&[]);
    let run = workspace.wait_for_run(|run| run["kind"] == "full");
    assert_eq!(run["phase"], json!("starting"), "keys are checked before the read: {run:#}");
    let told = Instant::now();
    workspace.run(&["stop", "people", "--yes"]).expect_code(0);
    let report = workspace.report(process).expect(6, "cancelled", &[("rows_read", 0)]);
    assert!(told.elapsed() < AT_ONCE, "{:?} {report:#?}", told.elapsed());
    assert_eq!(oracle.connections(), 0, "{}", oracle.print());
    workspace.change(|setup| setup.sql = "SELECT * FROM people".to_owned());
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect_kind("full", "first_run").expect(0, "succeeded", &[]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_failure_while_keys_are_checked_fails_the_run_and_nothing_was_sent() {
    let oracle = Oracle::start(&["id"]);
    let sql = "SELECT 1000 / (15000 - id) * 0 + id AS id, counter, checksum, email FROM people";
    let setup = Setup { sql: sql.to_owned(), sync: FIRST, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=ROWS));
    let report = workspace.sync(&[]).expect(1, "failed", &[("rows_read", 0)]);
    assert!(report.word("error").contains("zero"), "{report:#?}");
    assert!(!report.finished.printed().contains(CANARY), "I12");
    assert_eq!(oracle.connections(), 0, "{}", oracle.print());
    workspace.run(&["plan", "people"]).expect_code(1);
    workspace.write_people(&people(1..=100));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 100)]);
    check_covered(&oracle, &expected(&people(1..=100)));
}
