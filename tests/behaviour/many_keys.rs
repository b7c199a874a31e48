//! More keys in a read than `memory_limit` leaves room for: all of them are checked, the later ones once the read has ended.

use serde_json::json;

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, key, people};
use crate::support::workspace::{Setup, Workspace};

/// About three times as many as fit into what 16 MiB leave for them.
const ROWS: u32 = 40_000;
/// One that fits, and one that does not; both have left when the last rows are read.
const TWICE: [u32; 2] = [1, 20_000];

#[test]
fn keys_that_do_not_fit_into_memory_are_checked_and_sent_all_the_same() {
    let oracle = Oracle::start(&["id"]);
    let head = "memory_limit: 16MiB";
    let setup = Setup { head, batch: 1_000, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    let once = people(1..=ROWS);
    workspace.write_people(&[&once[..], &TWICE.map(|id| Person::new(id, 2))].concat());
    let rows = u64::from(ROWS);
    let plan = workspace.json(&["plan", "people"]);
    let counts = ["rows_read", "upserts", "unsent", "invalid"].map(|it| plan["tally"][it].clone());
    assert_eq!(json!(counts), json!([rows + 2, rows - 2, 0, 4]), "nothing has left {plan:#}");

    let counts = [("rows_read", rows + 2), ("delivered", rows), ("invalid", 2)];
    let report = workspace.sync(&[]).expect(3, "partial", &counts);
    let named = TWICE.map(|id| format!("`{id}` the key comes more than once"));
    report.finished.expect_printed(&named.each_ref().map(String::as_str));
    for id in TWICE {
        assert_eq!(oracle.count_of(&key(id)), 1, "its first row alone had left");
        let explained = workspace.run(&["explain", "people", &id.to_string()]);
        explained.expect_code(0).expect_printed(&["in doubt"]);
    }
    workspace.write_people(&once);
    let counts = [("upserts", 2), ("delivered", 2), ("unchanged", rows - 2)];
    workspace.sync(&[]).expect(0, "succeeded", &counts);
    check_mirror(&oracle, &expected(&once));
}
