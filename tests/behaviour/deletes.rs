//! Deletes that go wrong: refused after doubt, repeated after a kill, of keys that no path can name, and never on a read
//! that did not prove its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::journal::Request;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, keys, people};
use crate::support::workspace::{Setup, Workspace};

fn mirror(oracle: &Oracle, setup: Setup, count: u32) -> Workspace {
    let workspace = Workspace::new(oracle, Setup { max_deletes: Some("100%"), ..setup });
    workspace.write_people(&people(1..=count));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace
}

fn archives(oracle: &Oracle) -> Vec<Request> {
    let requests = oracle.requests().into_iter();
    requests.filter(|request| request.sent.path.contains("archive")).collect()
}

/// Waits until these requests have come, kills the process and waits until the oracle knows that it is gone.
fn kill_at(oracle: &Oracle, workspace: &Workspace, count: usize) {
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(count, SOON);
    process.kill();
    oracle.wait_until(SOON, |journal| journal.requests.iter().all(|request| !request.is_open));
}

#[test]
fn a_delete_that_was_unanswered_and_then_refused_is_retried_with_a_new_idempotency_key_i7() {
    for attempts in [1, 2] {
        let oracle = Oracle::start(&["id"]);
        let timeout = Some("1s");
        let setup = Setup { attempts, request_timeout: timeout, ..Setup::default() };
        let workspace = mirror(&oracle, setup, 2);
        workspace.write_people(&people(1..=1));
        let refusal = Fault::RejectKeys(keys([2]), "409".into());
        if attempts == 1 {
            oracle.on_next(Fault::Hold);
            workspace.sync(&[]).expect(1, "partial", &[("unknown", 1)]);
            oracle.always(refusal);
        } else {
            oracle.on_next(Fault::Hold);
            oracle.on_next(refusal);
        }
        workspace.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
        oracle.clear_faults();
        workspace.sync(&[]).expect(3, "partial", &[("deferred", 1), ("requests", 0)]);
        // A new epoch makes it due.
        workspace.sync(&["--full"]).expect(0, "succeeded", &[("deleted", 1)]);
        check_mirror(&oracle, &expected(&people(1..=1)));
        let archives = archives(&oracle);
        let keys: Vec<_> =
            archives.iter().map(|request| request.sent.idempotency_key.clone()).collect();
        assert_eq!(keys.len(), 3, "{}", oracle.print());
        assert_eq!(keys[0], keys[1], "unanswered, so it is repeated\n{}", oracle.print());
        assert_ne!(keys[1], keys[2], "refused, so it is asked anew\n{}", oracle.print());
    }
}

#[test]
fn deletes_in_doubt_are_repeated_as_the_batches_they_were_though_more_rows_are_gone_i7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = mirror(&oracle, Setup::default(), 40);
    workspace.write_people(&people(21..=40));
    let before = oracle.request_count();
    oracle.on_next(Fault::ApplyThenHold);
    oracle.on_next(Fault::ApplyThenHold);
    kill_at(&oracle, &workspace, before + 2);
    let first = archives(&oracle);
    workspace.write_people(&people(22..=40));
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 21)]);
    let again = archives(&oracle).split_off(first.len());
    let names = |requests: &[Request]| -> BTreeSet<_> {
        let sent = requests.iter().map(|request| request.sent.clone());
        sent.map(|sent| (sent.body_hash, sent.idempotency_key)).collect()
    };
    assert_eq!((first.len(), again.len()), (2, 3), "{}", oracle.print());
    assert!(names(&again).is_superset(&names(&first)), "{}", oracle.print());
    assert!(again.iter().any(|request| request.sent.keys().eq(["[21]"])), "{}", oracle.print());
    check_mirror(&oracle, &expected(&people(22..=40)));
}

/// A config whose deletes name the record in their path.
fn by_path(workspace: &Workspace) -> String {
    let config = workspace.config();
    let (rest, _) = config.split_once("    delete:\n").expect("the config has deletes");
    format!(
        "{rest}    delete:
      delete: /contacts/{{{{record.id}}}}
      idempotency: {{ repeat: natural, header: Idempotency-Key }}
      outcome:
        - {{ status: 200, decode: none, then: delivered }}
"
    )
}

#[test]
fn a_key_that_no_path_can_name_is_invalid_by_name_and_all_others_are_sent_and_deleted() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write("counterflow.yaml", &by_path(&workspace));
    let long = "x".repeat(9_000);
    let write = |ids: &[&str]| {
        let rows = ids.iter().map(|id| format!("\"{id}\",free\n"));
        workspace.write("people.csv", &format!("id,plan\n{}", rows.collect::<String>()));
    };
    let table = |ids: &[&str]| -> BTreeMap<String, Value> {
        let record = |id: &&str| (json!([id]).to_string(), json!({ "id": id, "plan": "free" }));
        ids.iter().map(record).collect()
    };
    write(&["ann", "..", ".", "", &long, "a/b c?d", "zoë"]);
    let report = workspace.sync(&[]);
    let report = report.expect(3, "partial", &[("rows_read", 7), ("invalid", 4), ("delivered", 3)]);
    let examples = report.json["examples"].to_string();
    assert!(examples.contains("`..` ") && examples.contains("`.` "), "{examples}");
    check_mirror(&oracle, &table(&["ann", "a/b c?d", "zoë"]));
    write(&["ann", "..", ".", "", &long]);
    let report = workspace.sync(&[]);
    report.expect(3, "partial", &[("invalid", 4), ("deletes", 2), ("deleted", 2)]);
    check_mirror(&oracle, &table(&["ann"]));
}

#[test]
fn a_batch_of_deletes_in_doubt_goes_one_by_one_where_each_has_a_path_of_its_own_now() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    let write = |ids: &[&str]| workspace.write("people.csv", &format!("id\n{}\n", ids.join("\n")));
    write(&["ann", "bob", "cid", "dan"]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    write(&["ann"]);
    oracle.on_next(Fault::Hold);
    kill_at(&oracle, &workspace, oracle.request_count() + 1);
    workspace.write("counterflow.yaml", &by_path(&workspace));
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 3), ("requests", 3)]);
    check_mirror(&oracle, &[(json!(["ann"]).to_string(), json!({ "id": "ann" }))].into());
}

#[test]
fn rows_in_doubt_are_asserted_and_nothing_is_deleted_while_no_read_proves_its_end() {
    const ROWS: u32 = 20_000;
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { batch: 1_000, concurrency: 1, ..Setup::default() };
    let workspace = mirror(&oracle, setup, ROWS);
    let mut next = people(1..=ROWS - 5);
    next.iter_mut().take(5).for_each(|person| person.counter = 2);
    workspace.write_people(&next);
    let before = oracle.request_count();
    oracle.on_next(Fault::DropBeforeApply);
    oracle.on_next(Fault::Hold);
    kill_at(&oracle, &workspace, before + 2);
    for round in 1..=2 {
        // So many changes that the read waits for the answer, and the file grows meanwhile.
        next.iter_mut().skip(5).for_each(|person| person.counter = 1 + round);
        workspace.write_people(&next);
        let before = oracle.request_count();
        oracle.on_next(Fault::Hold);
        let process = workspace.spawn_sync(&[]);
        oracle.wait_for_requests(before + 1, SOON);
        let path = workspace.path().join("people.csv");
        let mut file =
            std::fs::OpenOptions::new().append(true).open(path).expect("the file is there");
        file.write_all(b"\n").expect("the file can grow");
        drop(file);
        oracle.release();
        let report = workspace.report(process).expect(1, "failed", &[("deletes", 0)]);
        assert!(report.word("error").contains("did not prove its end"), "{report:#?}");
        check_covered(&oracle, &expected(&next));
        let requests = oracle.requests().split_off(before);
        let in_doubt: BTreeSet<String> = keys(1..=5);
        let is_it = |request: &&Request| request.sent.keys().any(|key| in_doubt.contains(key));
        let asserted: Vec<_> = requests.iter().filter(is_it).collect();
        assert_eq!(asserted.len(), usize::from(round == 1), "{}", oracle.print());
        assert!(asserted.iter().all(|request| request.sent.operations.len() == 5));
    }
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    workspace.write_people(&next);
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 5), ("upserts", 0)]);
    check_mirror(&oracle, &expected(&next));
}
