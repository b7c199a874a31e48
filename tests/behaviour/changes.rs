//! What a run sends: everything at first, then only the difference, by mode and kind.

use serde_json::json;

use crate::support::check::{check_covered, check_mirror};
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, is_whole, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

#[test]
fn the_first_run_is_full_and_an_unchanged_source_costs_no_request_i8() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    let all = people(1..=95);
    workspace.write_people(&all);
    workspace.sync(&[]).expect_kind("full", "first_run").expect(
        0,
        "succeeded",
        &[("rows_read", 95), ("upserts", 95), ("delivered", 95), ("requests", 10)],
    );
    check_mirror(&oracle, &expected(&all));
    assert_eq!(oracle.request_count(), 10, "95 rows in batches of 10");
    let again = workspace.sync(&[]);
    // A run that knows the source to be unchanged may be skipped without a scan.
    assert_eq!(again.finished.code, Some(0), "{again:#?}");
    assert!(["succeeded", "skipped"].contains(&again.word("outcome")), "{again:#?}");
    assert_eq!(oracle.request_count(), 10, "I8\n{}", oracle.print());
    oracle.assert_redundant_at_most(0);
    workspace.assert_state_holds_no_canary();
}

#[test]
fn only_what_was_added_changed_or_removed_is_sent() {
    let oracle = Oracle::start(&["id"]);
    oracle.plant(Person::new(900, 1).record());
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=50));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let before = oracle.request_count();
    let mut next = people(4..=53);
    next[0].counter = 2;
    workspace.write_people(&next);
    workspace.sync(&[]).expect_kind("incremental", "usual").expect(
        0,
        "succeeded",
        &[
            ("rows_read", 50),
            ("unchanged", 46),
            ("upserts", 4),
            ("deletes", 3),
            ("deleted", 3),
            ("delivered", 7),
        ],
    );
    check_mirror(&oracle, &expected(&next));
    assert_eq!(oracle.request_count() - before, 2, "one batch of each\n{}", oracle.print());
    assert_eq!(oracle.deletes(), keys(1..=3));
    oracle.assert_counters_never_go_back();
    assert!(
        oracle.requests()[..before]
            .iter()
            .flat_map(|request| &request.sent.operations)
            .all(|operation| is_whole(&operation.record))
    );
}

#[test]
fn upsert_mode_never_deletes() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { mode: "upsert", ..Setup::default() });
    let all = people(1..=20);
    workspace.write_people(&all);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&all[..5]);
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 0), ("held", 0)]);
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("deletes", 0), ("delivered", 5)]);
    check_covered(&oracle, &expected(&all));
    assert!(oracle.deletes().is_empty(), "{}", oracle.print());
}

#[test]
fn a_full_resync_sends_every_row_again_and_deletes_what_is_gone() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    let all = people(1..=30);
    workspace.write_people(&all);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&all[2..]);
    workspace.sync(&["--full"]).expect_kind("full", "requested").expect(
        0,
        "succeeded",
        &[("upserts", 28), ("deletes", 2), ("delivered", 30)],
    );
    check_mirror(&oracle, &expected(&all[2..]));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 0), ("requests", 0)]);
}

#[test]
fn a_value_that_goes_and_comes_back_is_sent_each_time_with_a_key_of_its_own_i7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    for counter in [1, 2, 1] {
        workspace.write_people(&[Person::new(1, counter)]);
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
        check_mirror(&oracle, &expected(&[Person::new(1, counter)]));
    }
    assert_eq!(oracle.count_of(&key(1)), 3);
}

#[test]
fn null_is_sent_as_null_and_leading_zeros_stay() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write("people.csv", "id,code,plan\n1,00123,pro\n2,04567,\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    assert_eq!(oracle.record(&key(1)), Some(json!({ "id": 1, "code": "00123", "plan": "pro" })));
    assert_eq!(oracle.record(&key(2)), Some(json!({ "id": 2, "code": "04567", "plan": null })));
    // The value becomes NULL (E7), and the types stay pinned though every code now looks like a number.
    workspace.write("people.csv", "id,code,plan\n1,123,\n2,04567,\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("delivered", 1)]);
    assert_eq!(oracle.record(&key(1)), Some(json!({ "id": 1, "code": "123", "plan": null })));
}

#[test]
fn a_plan_sends_nothing_and_changes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=12));
    workspace.run(&["plan", "people"]).expect_code(0).expect_printed(&["12"]);
    assert_eq!(oracle.connections(), 0);
    workspace.sync(&[]).expect_kind("full", "first_run").expect(
        0,
        "succeeded",
        &[("delivered", 12)],
    );
    let before = oracle.request_count();
    workspace.write_people(&people(2..=12));
    workspace.run(&["plan", "people"]).expect_code(0);
    workspace.run(&["plan", "people"]).expect_code(0);
    assert_eq!(oracle.request_count(), before, "{}", oracle.print());
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 1), ("deleted", 1)]);
}

#[test]
fn the_reading_commands_tell_of_runs_and_keys() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.run(&["validate"]).expect_code(0);
    workspace.run(&["sync", "people"]).expect_code(0);
    workspace.run(&["status"]).expect_code(0).expect_printed(&["people"]);
    workspace.run(&["runs"]).expect_code(0).expect_printed(&["people", "succeeded", "full"]);
    workspace.run(&["rejected", "people"]).expect_code(0);
    workspace.run(&["explain", "people", "2"]).expect_code(0).expect_printed(&["2"]);
    for command in [
        vec!["status"],
        vec!["runs"],
        vec!["rejected", "people"],
        vec!["plan", "people"],
        vec!["explain", "people", "2"],
    ] {
        let mut args = vec!["--format", "json"];
        args.extend(command);
        workspace.run(&args).expect_code(0).json();
    }
    assert_eq!(oracle.request_count(), 1);
}
