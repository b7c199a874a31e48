//! The delivery log (D11): runs and receipts as Parquet, in a folder that may be away for a while.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{CANARY, keys, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const BESIDE: &str = "delivery_log: { path: ./log }";
const SERVED: &str =
    "server: { listen: \"127.0.0.1:0\" }\ndelivery_log: { path: ./log, every: 1s }";

fn workspace(oracle: &Oracle, head: &'static str) -> Workspace {
    Workspace::new(oracle, Setup { head, concurrency: 1, ..Setup::default() })
}

/// The names of what lies in a folder; none where there is none.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.flatten().map(name).collect()
}

/// All rows of a table of the log.
fn table(workspace: &Workspace, name: &str) -> Vec<RecordBatch> {
    let folder = workspace.path().join("log").join(name);
    let mut files = names(&folder);
    files.sort();
    assert!(files.iter().all(|file| file.ends_with(".parquet")), "whole files only: {files:?}");
    let read = |file: &String| {
        let file = File::open(folder.join(file)).expect("it is there");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet");
        let rows = reader.build().expect("it can be read");
        rows.map(|batch| batch.expect("whole")).collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}

fn words(table: &[RecordBatch], column: &str) -> Vec<String> {
    let cell = |batch: &RecordBatch| {
        let array = batch.column_by_name(column).expect("the column is there").clone();
        let array = array.as_string::<i32>().clone();
        (0..array.len()).map(|row| array.value(row).to_owned()).collect::<Vec<_>>()
    };
    table.iter().flat_map(cell).collect()
}

fn numbers(table: &[RecordBatch], column: &str) -> Vec<u64> {
    let cell = |batch: &RecordBatch| {
        let array = batch.column_by_name(column).expect("the column is there").clone();
        array.as_primitive::<UInt64Type>().values().to_vec()
    };
    table.iter().flat_map(cell).collect()
}

fn spooled(workspace: &Workspace) -> usize {
    let names = names(&workspace.state().join("delivery_log"));
    names.iter().filter(|name| name.ends_with(".receipts")).count()
}

#[test]
fn each_run_and_each_receipt_is_exported_once_with_keys_and_nothing_else_of_a_row() {
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::RejectKeys(keys([3]), "invalid_email".into()));
    let workspace = workspace(&oracle, BESIDE);
    std::fs::create_dir(workspace.path().join("log")).expect("a folder can be made");
    workspace.write_people(&people(1..=12));
    workspace.sync(&[]).expect(3, "partial", &[("delivered", 11), ("rejected", 1)]);
    let mut next = people(1..=11);
    next[0].counter = 2;
    workspace.write_people(&next);
    workspace.sync(&[]).expect(3, "partial", &[("upserts", 2), ("deleted", 1)]);
    let shown = workspace.json(&["runs"]);
    let revision = shown[0]["revision"].as_str().expect("it began with one").to_owned();
    assert_eq!(words(&table(&workspace, "runs"), "revision"), [revision.clone(), revision]);

    let runs = table(&workspace, "runs");
    assert_eq!(
        (numbers(&runs, "run"), words(&runs, "sync")),
        (vec![1, 2], vec!["people".into(); 2])
    );
    assert_eq!(words(&runs, "outcome"), ["partial", "partial"]);
    assert_eq!(words(&runs, "kind"), ["full", "incremental"]);
    assert_eq!(
        (numbers(&runs, "delivered"), numbers(&runs, "rows_read")),
        (vec![11, 2], vec![12, 11])
    );
    let receipts = table(&workspace, "receipts");
    let of_first = numbers(&receipts, "run").iter().filter(|run| **run == 1).count();
    let (names, verdicts) = (words(&receipts, "key"), words(&receipts, "verdict"));
    assert_eq!((of_first, names.len()), (12, 14));
    let place = names.iter().position(|key| key == "3").expect("it was sent");
    assert_eq!(
        (verdicts[place].as_str(), words(&receipts, "code")[place].as_str()),
        ("rejected", "invalid_email")
    );
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "delivered").count(), 13);
    assert_eq!(words(&receipts, "operation").iter().filter(|word| *word == "delete").count(), 1);
    let columns = ["run", "sync", "at", "batch", "operation", "key", "verdict", "code", "message"];
    let schema = receipts[0].schema();
    assert_eq!(
        schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        columns
    );
    assert!(!format!("{receipts:?}{runs:?}").contains(CANARY), "I12");
    assert_eq!(spooled(&workspace), 0, "what was exported waits no more");
    workspace.assert_state_holds_no_canary();
}

#[test]
fn a_release_and_a_sample_without_a_server_are_in_the_delivery_log_too() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: BESIDE, max_deletes: None, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    std::fs::create_dir(workspace.path().join("log")).expect("a folder can be made");
    workspace.write_people(&people(1..=40));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(13..=40));
    workspace.sync(&[]).expect(4, "partial", &[("held", 12)]);
    let exported = || numbers(&table(&workspace, "runs"), "run");
    workspace.run(&["release", "2", "-m", "they are gone"]).expect_code(0);
    assert_eq!(exported(), [1, 2, 3]);
    workspace.run(&["sample", "people", "--key", "13"]).expect_code(0);
    assert_eq!(exported(), [1, 2, 3, 4]);
}

#[test]
fn while_the_folder_is_away_runs_go_on_and_what_waits_is_exported_when_it_is_back() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, SERVED);
    workspace.write_people(&people(1..=12));
    let server = Server::start(&workspace);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    workspace.write_people(&people(1..=15));
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded", "no run fails by it");
    server.get("/ready").expect(200);
    assert_eq!(spooled(&workspace), 2);
    let ended = server.end().expect_code(0);
    ended.expect_printed(
        &["delivery log", "./log", "mount it"].map(|word| word.trim_start_matches("./")),
    );
    assert_eq!(spooled(&workspace), 2, "a restart loses nothing of it");
    assert!(!workspace.path().join("log").exists(), "it is not made, as it may only be away");

    let server = Server::start(&workspace);
    std::fs::create_dir(workspace.path().join("log")).expect("a folder can be made");
    until("it is exported", || {
        (names(&workspace.path().join("log/runs")).len() == 1).then_some(())
    });
    until("nothing waits", || (spooled(&workspace) == 0).then_some(()));
    server.end().expect_code(0);
    assert_eq!(numbers(&table(&workspace, "runs"), "run"), [1, 2]);
    assert_eq!(table(&workspace, "receipts").iter().map(RecordBatch::num_rows).sum::<usize>(), 15);
}

#[test]
fn what_a_killed_run_had_received_is_exported_with_its_end() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, BESIDE);
    std::fs::create_dir(workspace.path().join("log")).expect("a folder can be made");
    workspace.write_people(&people(1..=30));
    oracle.on_request(3, Fault::ApplyThenHold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(3, SOON);
    process.kill();
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let runs = table(&workspace, "runs");
    assert_eq!(words(&runs, "outcome"), ["interrupted", "succeeded"]);
    let receipts = table(&workspace, "receipts");
    let known = numbers(&receipts, "run").len();
    assert!(
        (10..=50).contains(&known),
        "{known}: what was written before the kill, and the second run"
    );
    assert_eq!(spooled(&workspace), 0);
}

#[test]
fn a_delivery_log_without_a_path_or_with_a_bad_one_is_refused() {
    let oracle = Oracle::start(&["id"]);
    for (head, word) in [
        ("delivery_log: {}", "path"),
        ("delivery_log: { path: \"\" }", "empty path"),
        ("delivery_log: { path: ./log, every: 10ms }", "1s"),
        ("delivery_log: { path: ./log, spool: much }", "spool"),
    ] {
        let workspace = workspace(&oracle, head);
        workspace.run(&["validate"]).expect_code(2).expect_printed(&["delivery_log", word]);
    }
}
