//! The three permanent errors of running ahead unknowingly (design.md §3), each with a kill between request and receipt.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

fn mirror(oracle: &Oracle, people: &[Person]) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(people);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace
}

fn one_run_makes_it_right(
    oracle: &Oracle,
    workspace: &Workspace,
    wanted: &BTreeMap<String, Value>,
) {
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    check_mirror(oracle, wanted);
    let requests = oracle.request_count();
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    assert_eq!(oracle.request_count(), requests, "I8\n{}", oracle.print());
}

#[test]
fn an_orphan_is_deleted_though_no_receipt_ever_named_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle, &people(1..=3));
    workspace.write_people(&people(1..=4));
    workspace.kill_between_request_and_receipt(&oracle);
    workspace.write_people(&people(1..=3));
    one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=3)));
    assert_eq!(oracle.deletes(), keys([4]));
}

#[test]
fn a_value_that_returns_to_the_one_before_is_sent_again() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle, &people(1..=3));
    let changed = [Person::new(1, 1), Person::new(2, 2), Person::new(3, 1)];
    workspace.write_people(&changed);
    workspace.kill_between_request_and_receipt(&oracle);
    assert_eq!(oracle.record(&key(2)), Some(Person::new(2, 2).record()));
    workspace.write_people(&people(1..=3));
    one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=3)));
    assert_eq!(oracle.count_of(&key(1)), 1, "only the key in doubt is sent again");
}

#[test]
fn a_row_that_returns_after_an_unanswered_delete_is_sent_again() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle, &people(1..=3));
    workspace.write_people(&people(1..=2));
    workspace.kill_between_request_and_receipt(&oracle);
    assert_eq!(oracle.record(&key(3)), None, "the delete was applied");
    workspace.write_people(&people(1..=3));
    one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=3)));
}

#[test]
fn a_batch_without_an_answer_is_repeated_after_a_kill_with_the_same_idempotency_key_i7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=10));
    workspace.kill_between_request_and_receipt(&oracle);
    workspace.run(&["explain", "people", "1"]).expect_code(0).expect_printed(&["in doubt"]);
    one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=10)));
    let requests = oracle.requests();
    assert_eq!(requests.len(), 2, "{}", oracle.print());
    assert_eq!(requests[0].sent.body_hash, requests[1].sent.body_hash, "the same batch again");
    assert_eq!(requests[0].sent.idempotency_key, requests[1].sent.idempotency_key);
    oracle.assert_redundant_at_most(10);
}

#[test]
fn a_value_that_returns_after_another_was_refused_has_a_new_idempotency_key_i7() {
    for refusal in
        [Fault::RejectKeys(keys([1]), "too_long".to_owned()), Fault::retry_after(429, "0")]
    {
        let oracle = Oracle::start(&["id"]);
        oracle.on_request(1, Fault::ApplyThenDrop);
        oracle.on_request(2, refusal.clone());
        let workspace = Workspace::new(&oracle, Setup { attempts: 1, ..Setup::default() });
        workspace.write_people(&people(1..=1));
        workspace.sync(&[]).expect(1, "partial", &[("unknown", 1)]);
        workspace.write_people(&[Person::new(1, 2)]);
        workspace.sync(&[]);
        workspace.write_people(&people(1..=1));
        one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=1)));
        let requests = oracle.requests();
        let keys: Vec<_> = requests.iter().map(|request| &request.sent.idempotency_key).collect();
        assert_eq!(keys.len(), 3, "{refusal:?}\n{}", oracle.print());
        assert_eq!(requests[0].sent.body_hash, requests[2].sent.body_hash);
        assert!(keys[0] != keys[1] && keys[0] != keys[2], "A, B, A\n{}", oracle.print());
    }
}

#[test]
fn a_delete_after_another_change_was_refused_has_a_new_idempotency_key_i7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle, &people(1..=2));
    oracle.always(Fault::DropBeforeApply);
    workspace.write_people(&people(1..=1));
    workspace.sync(&[]).expect(1, "partial", &[("unknown", 1)]);
    oracle.clear_faults();
    oracle.always(Fault::RejectKeys(keys([2]), "too_long".to_owned()));
    workspace.write_people(&[Person::new(1, 1), Person::new(2, 2)]);
    workspace.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
    oracle.clear_faults();
    workspace.write_people(&people(1..=1));
    one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=1)));
    let deletes =
        oracle.requests().into_iter().filter(|request| request.sent.path.contains("archive"));
    let keys: Vec<_> = deletes.map(|request| request.sent.idempotency_key).collect();
    let (last, first) = keys.split_last().expect("it was deleted");
    assert!(!first.is_empty() && !first.contains(last), "{}", oracle.print());
}

#[test]
fn an_answer_lost_within_the_run_is_repeated_with_the_same_idempotency_key_i7() {
    for fault in [
        Fault::ApplyThenDrop,
        Fault::ApplyThenCut(40),
        Fault::ApplyThenReset,
        Fault::DropBeforeApply,
        Fault::ResetWithinBody(20),
        Fault::WrongCount,
    ] {
        let oracle = Oracle::start(&["id"]);
        oracle.on_request(1, fault.clone());
        let workspace = Workspace::new(&oracle, Setup::default());
        workspace.write_people(&people(1..=10));
        let report = workspace.sync(&[]);
        report.expect(0, "succeeded", &[("delivered", 10), ("requests", 2), ("retries", 1)]);
        check_mirror(&oracle, &expected(&people(1..=10)));
        assert_eq!(oracle.request_count(), 2, "{fault:?}\n{}", oracle.print());
    }
}

#[test]
fn what_is_never_answered_is_unknown_in_doubt_and_asserted_by_the_next_run() {
    let oracle = Oracle::start(&["id"]);
    oracle.fault_when(|sent| sent.keys().any(|name| name == "[1]"), Fault::ApplyThenDrop);
    let workspace = Workspace::new(&oracle, Setup { attempts: 2, ..Setup::default() });
    workspace.write_people(&people(1..=10));
    let report = workspace.sync(&[]);
    assert_ne!(report.finished.code, Some(0), "never green: {report:#?}");
    assert_eq!((report.count("unknown"), report.count("delivered")), (10, 0), "{report:#?}");
    workspace.run(&["explain", "people", "1"]).expect_code(0).expect_printed(&["in doubt"]);
    oracle.clear_faults();
    one_run_makes_it_right(&oracle, &workspace, &expected(&people(1..=10)));
}

#[test]
fn repeated_kills_lose_nothing_and_delete_nothing_wrongly() {
    let oracle = Oracle::start(&["id"]);
    oracle.plant(Person::new(900, 1).record());
    let workspace = mirror(&oracle, &people(1..=60));
    let mut last = people(1..=60);
    for round in 2..=6 {
        last = people(round..=60 + round);
        last.iter_mut().step_by(3).for_each(|person| person.counter = round);
        workspace.write_people(&last);
        workspace.kill_between_request_and_receipt(&oracle);
    }
    one_run_makes_it_right(&oracle, &workspace, &expected(&last));
    oracle.assert_deletes_only(&keys(1..=5));
}
