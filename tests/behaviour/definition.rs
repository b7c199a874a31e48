//! A definition that changes, and a snapshot that is damaged, missing or foreign: never read as empty.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::Int32Array;
use serde_json::json;

use crate::support::SOON;
use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::parquet;
use crate::support::people::{Person, expected, key, keys, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

/// The files of the snapshots in the state, the largest first; the database of small rows is none of them.
fn snapshot_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the state can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(snapshot_files(&path));
        } else if path.strip_prefix(folder).is_ok() && !is_of_database(&path) {
            files.push(path);
        }
    }
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    files.retain(|path| size(path) > 0);
    files.sort_by_key(|path| std::cmp::Reverse(size(path)));
    files
}

fn is_of_database(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    [".db", ".sqlite", "-wal", "-shm", ".lock", "lock"].iter().any(|part| name.ends_with(part))
}

/// Writes the people with keys of 64 bits, or of 32.
fn write_parquet(workspace: &Workspace, people: &[Person], is_wide: bool) {
    let batch = parquet::people(people);
    let names = batch.schema();
    let names = names.fields().iter().map(|field| field.name().as_str());
    let mut columns: Vec<_> = names.zip(batch.columns().iter().cloned()).collect();
    if !is_wide {
        let ids = people.iter().map(|person| i32::try_from(person.id).expect("it is narrow"));
        columns[0].1 = Arc::new(Int32Array::from_iter_values(ids));
    }
    assert_eq!(columns[0].0, "id");
    parquet::write(&workspace.path().join("people.parquet"), &parquet::batch(columns), 100);
}

#[test]
fn a_key_whose_numbers_become_wider_is_the_same_key_whatever_became_of_its_record() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { location: "people.parquet".into(), ..Setup::default() };
    let workspace = Workspace::new(&oracle, Setup { max_deletes: Some("1"), ..setup });
    oracle.always(Fault::RejectKeys(keys([7]), "invalid_email".into()));
    write_parquet(&workspace, &people(1..=20), false);
    workspace.sync(&[]).expect(3, "partial", &[("delivered", 19), ("rejected", 1)]);
    // One that was deleted, two that are held, and one in doubt that is as it was before.
    write_parquet(&workspace, &people(2..=20), false);
    workspace.sync(&[]).expect(3, "partial", &[("deleted", 1), ("deferred", 1)]);
    write_parquet(&workspace, &people(4..=20), false);
    workspace.sync(&[]).expect(4, "partial", &[("held", 2)]);
    let mut next = people(4..=20);
    next[4] = Person::new(8, 2);
    write_parquet(&workspace, &next, false);
    oracle.clear_faults();
    workspace.kill_between_request_and_receipt(&oracle);
    // Of those that are there now one is gone, and one has a number that was none before.
    let all = [people(4..=8), people(10..=20), vec![Person::new(4_000_000_000, 1)]].concat();
    write_parquet(&workspace, &all, true);
    let counts =
        [("rows_read", 17), ("unchanged", 14), ("deferred", 1), ("delivered", 2), ("held", 3)];
    let held = workspace.sync(&[]).expect(4, "partial", &counts);
    assert_eq!(oracle.count_of(&key(5)), 1, "nothing is sent again\n{}", oracle.print());
    workspace.run(&["release", &held.run(), "-m", "they are gone"]).expect_code(3);
    let without_rejected =
        || all.iter().copied().filter(|person| person.id != 7).collect::<Vec<_>>();
    check_mirror(&oracle, &expected(&without_rejected()));
    assert_eq!(oracle.deletes(), keys([1, 2, 3, 9]));
    // What is narrower may be another number: that is another key.
    let requests = oracle.request_count();
    write_parquet(&workspace, &people(4..=8), false);
    let refused = workspace.run(&["sync", "people"]);
    refused.expect_printed(&["the key changed from `id Int64` to `id Int32`", "--keep-snapshot"]);
    assert_eq!(oracle.request_count(), requests, "{}", oracle.print());
}

#[test]
fn a_damaged_snapshot_is_refused_and_a_rebaseline_deletes_nothing_that_is_gone() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=50));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let files = snapshot_files(&workspace.state());
    assert!(!files.is_empty(), "a snapshot has files");
    for file in &files {
        let whole = std::fs::read(file).expect("the file can be read");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        for damaged in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new()] {
            std::fs::write(file, &damaged).expect("the file can be written");
            let requests = oracle.request_count();
            let refused = workspace.run(&["sync", "people"]);
            assert_eq!(refused.code, Some(1), "{}: {refused:#?}", file.display());
            refused.expect_printed(&["rebaseline"]);
            assert_eq!(oracle.request_count(), requests, "C4: nothing is sent\n{}", oracle.print());
        }
        std::fs::write(file, &whole).expect("the file can be written");
    }
    std::fs::write(&files[0], b"not a snapshot").expect("the file can be written");
    workspace.write_people(&people(11..=50));
    workspace.run(&["sync", "people"]).expect_code(1);
    workspace.run(&["rebaseline", "people", "-m", "the disk was bad", "--yes"]).expect_code(0);
    workspace.sync(&[]).expect_kind("full", "rebaselined").expect(
        0,
        "succeeded",
        &[("upserts", 40), ("deletes", 0)],
    );
    oracle.let_go(keys(1..=10));
    check_covered(&oracle, &expected(&people(1..=50)));
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
}

#[test]
fn a_missing_snapshot_file_is_refused() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=50));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    for file in snapshot_files(&workspace.state()) {
        let aside = file.with_extension("aside");
        std::fs::rename(&file, &aside).expect("the file can be renamed");
        workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["rebaseline"]);
        std::fs::rename(&aside, &file).expect("the file can be renamed");
    }
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_changed_query_holds_the_first_deletes() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.change(|setup| setup.sql = "SELECT * FROM people WHERE id < 19".into());
    workspace.sync(&[]).expect(4, "partial", &[("held", 2), ("deleted", 0)]);
    assert!(oracle.deletes().is_empty(), "{}", oracle.print());
}

#[test]
fn a_hold_for_another_source_names_its_table_and_both_locations() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.change(|setup| setup.location = "fewer.csv".into());
    workspace.write_people(&people(1..=18));
    workspace.sync(&[]).expect(4, "partial", &[("held", 2), ("deleted", 0)]);
    let held = workspace.run(&["sync", "people"]).expect_code(4);
    held.expect_printed(&[
        "the location of table `people` of source `lake` (from `people.csv` to `fewer.csv`) changed since",
    ]);
}

#[test]
fn upsert_turned_mirror_holds_the_first_deletes() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { mode: "upsert", max_deletes: Some("100%"), ..Setup::default() };
    let mut workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(1..=18));
    workspace.change(|setup| setup.mode = "mirror");
    workspace.sync(&[]).expect(4, "partial", &[("held", 2), ("deleted", 0)]);
    assert!(oracle.deletes().is_empty(), "{}", oracle.print());
}

#[test]
fn a_changed_key_is_refused_until_a_person_decides() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let requests = oracle.request_count();
    workspace.change(|setup| setup.key = &["email"]);
    let refused = workspace.run(&["sync", "people"]);
    assert!(matches!(refused.code, Some(1 | 2)), "{refused:#?}");
    refused.expect_printed(&["rebaseline"]);
    assert_eq!(oracle.request_count(), requests, "{}", oracle.print());
}

#[test]
fn a_lost_snapshot_is_missing_for_whoever_asks_and_never_empty() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    std::fs::remove_dir_all(workspace.state().join("snapshots/people")).expect("it is there");
    for words in [&["explain", "people", "3"][..], &["plan", "people"], &["sync", "people"]] {
        workspace.run(words).expect_code(1).expect_printed(&["missing", "rebaseline"]);
    }
    workspace.run(&["status", "people"]).expect_code(0).expect_printed(&["missing", "rebaseline"]);
}

#[test]
fn a_damaged_journal_is_damage_for_whoever_asks() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { batch: 2, concurrency: 1, ..Setup::default() });
    workspace.write_people(&people(1..=9));
    // When the third request leaves, two receipts stand in the journal, and behind them what proves its beginning safe.
    oracle.on_request(3, Fault::ApplyThenHold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(3, SOON);
    process.kill();
    let folder = workspace.state().join("snapshots/people");
    let names = std::fs::read_dir(&folder).expect("the snapshot is there").flatten();
    let is_journal = |path: &PathBuf| path.to_string_lossy().contains("journal");
    let journal = names.map(|entry| entry.path()).find(is_journal).expect("a journal is left");
    let mut bytes = std::fs::read(&journal).expect("it can be read");
    bytes[20] ^= 0x10;
    std::fs::write(&journal, &bytes).expect("it can be written");
    for words in [&["explain", "people", "3"][..], &["plan", "people"], &["sync", "people"]] {
        workspace.run(words).expect_code(1).expect_printed(&["damaged", "rebaseline"]);
    }
}

#[test]
fn a_snapshot_that_is_kept_by_a_persons_word_goes_on_and_holds_the_first_deletes() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { max_deletes: Some("100%"), ..Setup::default() };
    let mut workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    // The same account at another address, as it were: the same column under another type.
    workspace.change(|setup| {
        setup.sql = "SELECT CAST(id AS INT) AS id, counter, checksum, email FROM people".to_owned();
    });
    workspace.write_people(&people(1..=4));
    let refused = workspace.run(&["sync", "people"]).expect_code(1);
    refused.expect_printed(&["the key changed", "--keep-snapshot", "rebaseline"]);
    let kept = workspace.sync(&["--keep-snapshot"]);
    kept.expect(4, "partial", &[("unchanged", 4), ("held", 1), ("deleted", 0)]);
    let next = workspace.sync(&[]).expect(4, "partial", &[("unchanged", 4), ("held", 1)]);
    workspace.run(&["release", &next.run(), "-m", "it is the same"]).expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=4)));
}

/// A sync whose key is another one now, and whose runs first ask for their account, which is not answered for now; how often
/// it was asked before.
fn changed_and_held(oracle: &Oracle) -> (Workspace, usize) {
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let http = "identify: { get: /me, account: /account/id }, ";
    let mut workspace = Workspace::new(oracle, Setup { head, http, ..Setup::default() });
    workspace.write_people(&people(1..=5));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.change(|setup| {
        setup.sql = "SELECT CAST(id AS INT) AS id, counter, checksum, email FROM people".to_owned();
    });
    oracle.hold_question();
    (workspace, oracle.question_count())
}

#[test]
fn a_persons_word_goes_with_the_run_that_waited_behind_one_that_a_drain_cut_short() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, asked) = changed_and_held(&oracle);
    let server = Server::start(&workspace);
    server.run("{ \"keep_snapshot\": true }");
    until("its account is asked for", || (oracle.question_count() > asked).then_some(()));
    let behind = server.run("");
    server.end().expect_code(0);
    oracle.release();
    let server = Server::start(&workspace);
    let ended = server.ended(behind);
    assert_eq!(
        (&ended["phase"], &ended["error"]),
        (&json!("succeeded"), &json!(null)),
        "{ended:#}"
    );
    server.end().expect_code(0);
}

#[test]
fn a_persons_word_goes_with_the_command_that_is_broken_off_at_the_terminal() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, asked) = changed_and_held(&oracle);
    let process = workspace.spawn_sync(&["--keep-snapshot"]);
    until("its account is asked for", || (oracle.question_count() > asked).then_some(()));
    process.sigint();
    workspace.report(process).expect(130, "cancelled", &[]);
    oracle.release();
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["the key changed"]);
}
