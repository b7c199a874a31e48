//! Records refused by the destination: named, alone, and tried again only when due.

use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

fn without(ids: std::ops::RangeInclusive<u32>, refused: u32) -> Vec<Person> {
    people(ids.filter(|id| *id != refused))
}

#[test]
fn a_rejected_record_is_named_and_tried_again_only_when_due() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys([7]), "invalid_email".into()));
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(3, "partial", &[("delivered", 19), ("rejected", 1)]);
    check_mirror(&oracle, &expected(&without(1..=20, 7)));
    workspace.run(&["rejected", "people"]).expect_code(0).expect_printed(&["7", "invalid_email"]);
    let requests = oracle.request_count();
    workspace.sync(&[]).expect(3, "partial", &[("deferred", 1), ("requests", 0), ("rejected", 0)]);
    assert_eq!(oracle.request_count(), requests, "not yet due\n{}", oracle.print());
    oracle.clear_faults();
    let mut next = people(1..=20);
    next[6].counter = 2;
    workspace.write_people(&next);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1), ("upserts", 1)]);
    check_mirror(&oracle, &expected(&next));
}

#[test]
fn a_new_epoch_makes_a_rejected_record_due() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys([3]), "invalid_email".into()));
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
    oracle.clear_faults();
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("delivered", 5)]);
    check_mirror(&oracle, &expected(&people(1..=5)));
}

#[test]
fn every_due_retry_has_its_turn_in_the_run_however_much_they_take_and_the_epoch_closes() {
    let oracle = Oracle::start(&["id"]);
    // Four of five are as much as may wait in memory.
    let sql = "SELECT id, counter, checksum, repeat('x', 500000) || email AS email FROM people";
    let setup = Setup { sql: sql.into(), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=80));
    oracle.always(Fault::RejectKeys(keys(1..=80), "too_long".into()));
    workspace.sync(&[]).expect(3, "partial", &[("rejected", 80)]);
    let counts = [("upserts", 80), ("rejected", 80), ("unsent", 0)];
    workspace.sync(&["--full"]).expect(3, "partial", &counts);
    oracle.clear_faults();
    let report = workspace.sync(&[]).expect(3, "partial", &[("deferred", 80), ("unsent", 0)]);
    report.expect_kind("incremental", "usual");
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("delivered", 80)]);
}

#[test]
fn a_refused_change_leaves_the_older_value_and_is_not_forgotten() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    oracle.always(Fault::RejectKeys(keys([3]), "too_long".into()));
    let mut next = people(1..=5);
    next[2].counter = 2;
    workspace.write_people(&next);
    workspace.sync(&[]).expect(3, "partial", &[("rejected", 1), ("delivered", 0)]);
    workspace.sync(&[]).expect(3, "partial", &[("deferred", 1)]);
    workspace.write_people(&people(1..=5));
    // The source returned to what is confirmed: nothing to send, and the rejection is gone.
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 5), ("requests", 0)]);
    check_mirror(&oracle, &expected(&people(1..=5)));
}

#[test]
fn a_poison_record_is_bisected_until_it_is_alone_b10() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::Poison400(keys([613])));
    let workspace = Workspace::new(&oracle, Setup { batch: 1000, ..Setup::default() });
    workspace.write_people(&people(1..=1000));
    workspace.sync(&[]).expect(
        3,
        "partial",
        &[("delivered", 999), ("rejected", 1), ("unknown", 0)],
    );
    check_mirror(&oracle, &expected(&without(1..=1000, 613)));
    assert!(oracle.request_count() <= 21, "2 log2(1000) + 1\n{}", oracle.print());
    assert_eq!(oracle.redundant(), 0);
    workspace.run(&["rejected", "people"]).expect_code(0).expect_printed(&["613", "400"]);
}

#[test]
fn a_batch_that_is_too_large_is_halved_b9() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::TooLarge413(3));
    let workspace = Workspace::new(&oracle, Setup { batch: 20, ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20), ("rejected", 0)]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_refused_delete_is_kept_and_tried_again_only_when_due() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=10));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    oracle.always(Fault::RejectKeys(keys([10]), "has_invoices".into()));
    workspace.write_people(&people(1..=8));
    workspace.sync(&[]).expect(3, "partial", &[("deleted", 1), ("rejected", 1)]);
    workspace.sync(&[]).expect(3, "partial", &[("deferred", 1), ("requests", 0)]);
    check_covered(&oracle, &expected(&people([1, 8, 10])));
    assert_eq!(oracle.count_of(&key(10)), 2, "{}", oracle.print());
}

#[test]
fn a_hundred_rejections_of_one_kind_and_no_delivery_halt_the_run() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys(1..=1000), "wrong_field".into()));
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..Setup::default() });
    workspace.write_people(&people(1..=1000));
    let report = workspace.sync(&[]);
    assert_eq!((report.finished.code, report.word("outcome")), (Some(1), "failed"), "{report:#?}");
    assert!(
        oracle.request_count() < 20,
        "it does not go through all 100 batches\n{}",
        oracle.print()
    );
    assert!(report.word("error").contains("wrong_field"), "{report:#?}");
}
