//! Whole commands by their exit codes, in a folder of their own.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::domain::entry::Operation;
use crate::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, Lineage};
use crate::domain::run::{Outcome, Trigger};
use crate::domain::tally::Tally;
use crate::engine::prepare;
use crate::snapshot::Snapshot;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::record::IntentRecord;
use crate::store::{StateLock, StopRequest, Store};

const SYNC: &str = "people_to_crm";

/// A folder with a config that needs no secret.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let starter = include_str!("starter.yaml");
    let open = starter.replace("      auth:\n        bearer: ${CRM_TOKEN}\n", "");
    assert_ne!(starter, open, "the secret is out");
    std::fs::write(folder.path().join("counterflow.yaml"), open).unwrap();
    folder
}

fn config(folder: &Path) -> Config {
    crate::config::load(&folder.join("counterflow.yaml")).unwrap()
}

async fn code(folder: &Path, words: &[&str]) -> u8 {
    let file = folder.join("counterflow.yaml");
    let file = file.to_str().unwrap();
    let mut all = vec!["counterflow", "--format", "json", "--config", file];
    all.extend(words);
    let arguments = Arguments::try_parse_from(all).unwrap();
    let output = Output::new(arguments.format);
    Box::pin(run(arguments, &output)).await
}

/// Names and sizes of all that is in the folder.
fn listing(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            found.extend(listing(&entry.path()));
        } else {
            found.push((entry.path().display().to_string(), entry.metadata().unwrap().len()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn reading_commands_work_before_the_first_run_and_write_nothing() {
    let folder = folder();
    let before = listing(folder.path());
    for words in [
        &["validate"][..],
        &["status"],
        &["status", SYNC],
        &["runs"],
        &["rejected", SYNC],
        &["explain", SYNC, "7"],
        &["stop", SYNC, "--yes"],
        &["version"],
    ] {
        assert_eq!(code(folder.path(), words).await, 0, "{words:?}");
    }
    assert_eq!(listing(folder.path()), before);
}

#[tokio::test]
async fn a_sync_that_does_not_exist_and_a_missing_config_are_usage_errors() {
    let folder = folder();
    for words in [
        &["sync", "nobody"][..],
        &["plan", "nobody"],
        &["stop", "nobody", "--yes"],
        &["status", "nobody"],
        &["runs", "nobody"],
        &["rejected", "nobody"],
        &["explain", "nobody", "7"],
        &["rebaseline", "nobody", "-m", "why", "--yes"],
        &["release", "9", "-m", "why"],
        &["discard", "9", "-m", "why", "--yes"],
    ] {
        assert_eq!(code(folder.path(), words).await, 2, "{words:?}");
    }
    std::fs::remove_file(folder.path().join("counterflow.yaml")).unwrap();
    for words in [&["validate"][..], &["sync", SYNC], &["stop", SYNC], &["runs"]] {
        assert_eq!(code(folder.path(), words).await, 2, "{words:?}");
    }
}

#[tokio::test]
async fn a_second_process_is_refused_while_reading_commands_work() {
    let folder = folder();
    let state = config(folder.path()).state;
    let lock = StateLock::take(&state).unwrap();
    let owner = Store::open(&state).await.unwrap();
    for words in [
        &["sync", SYNC][..],
        &["release", "1", "-m", "why"],
        &["discard", "1", "-m", "why", "--yes"],
        &["rebaseline", SYNC, "-m", "why", "--yes"],
    ] {
        assert_eq!(code(folder.path(), words).await, 5, "{words:?}");
    }
    for words in [&["status"][..], &["runs"], &["rejected", SYNC], &["explain", SYNC, "7"]] {
        assert_eq!(code(folder.path(), words).await, 0, "{words:?}");
    }
    owner.close().await;
    drop(lock);
}

#[tokio::test]
async fn a_stop_waits_for_the_end_of_the_run_and_is_audited() {
    let folder = folder();
    let state = config(folder.path()).state;
    let _lock = StateLock::take(&state).unwrap();
    let owner = Store::open(&state).await.unwrap();
    let run = owner.create_run(SYNC, None, Trigger::Manual, Instant(0)).await.unwrap();
    let obeys = async {
        while owner.stop_requested(run).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let tally = Tally::default();
        owner.finish(run, Outcome::Cancelled, &tally, None, Instant(1)).await.unwrap();
    };
    let words = ["stop", SYNC, "--yes", "-m", "lunch"];
    let (stopped, ()) = tokio::join!(code(folder.path(), &words), obeys);
    assert_eq!(stopped, 0);
    let audited = owner.audit_log(1).await.unwrap().remove(0);
    assert_eq!((audited.command.as_str(), audited.run), ("stop", Some(run)));
    assert_eq!(audited.message.as_deref(), Some("lunch"));
}

#[tokio::test]
async fn a_run_whose_process_died_is_not_waited_for() {
    let folder = folder();
    let state = config(folder.path()).state;
    let owner = Store::open(&state).await.unwrap();
    let run = owner.create_run(SYNC, None, Trigger::Manual, Instant(0)).await.unwrap();
    assert_eq!(code(folder.path(), &["stop", SYNC, "--yes"]).await, 0);
    let asked = owner.stop_requested(run).await.unwrap();
    assert_eq!(asked, Some(StopRequest::Drain), "the next process heeds it");
}

/// A snapshot with one key of an intent that has no receipt and is not committed.
fn leave_in_doubt(config: &Config) -> Lineage {
    let disk = LocalDisk::new(prepare::folder(&config.state, SYNC)).unwrap();
    let mut snapshot = Snapshot::open(Arc::new(disk), SYNC, None).unwrap();
    snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
    let mut key = Vec::new();
    crate::domain::value::Value::Text("a").encode(&mut key);
    let record = IntentRecord { key: &key, fingerprint: 1, number: IntentNumber(1) };
    let journal = snapshot.journal();
    journal.append_intent(BatchNumber(1), Operation::Upsert, [record]);
    journal.write().unwrap();
    snapshot.header().lineage
}

#[tokio::test]
async fn what_a_killed_process_left_in_doubt_is_explained_without_a_write() {
    let folder = folder();
    let config = config(folder.path());
    Store::open(&config.state).await.unwrap().close().await;
    leave_in_doubt(&config);
    let before = listing(&config.state.join("snapshots"));
    let view = crate::engine::viewing::foreseen(&config.state, SYNC, None, &[]).unwrap().unwrap();
    let entries = explain::find(&view, "a").unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].doubt.unwrap().number, IntentNumber(1));
    assert_eq!(code(folder.path(), &["explain", SYNC, "a"]).await, 0);
    assert_eq!(code(folder.path(), &["status", SYNC]).await, 0);
    assert_eq!(listing(&config.state.join("snapshots")), before);
}

#[tokio::test]
async fn a_rebaseline_sets_the_snapshot_aside_whatever_its_state_and_is_audited() {
    let folder = folder();
    let config = config(folder.path());
    let store = Store::open(&config.state).await.unwrap();
    let lineage = leave_in_doubt(&config);
    store.set_known(SYNC, lineage, 1, None).await.unwrap();
    let snapshot = prepare::folder(&config.state, SYNC);
    for (name, _) in listing(&snapshot) {
        std::fs::write(name, b"not a snapshot").unwrap();
    }
    assert_eq!(code(folder.path(), &["explain", SYNC, "a"]).await, 1);
    assert_eq!(code(folder.path(), &["status"]).await, 0);
    assert_eq!(code(folder.path(), &["rebaseline", SYNC, "-m", "bad disk"]).await, 2, "asked");
    assert_eq!(code(folder.path(), &["rebaseline", SYNC, "-m", "bad disk", "--yes"]).await, 0);
    assert_eq!(store.known(SYNC).await.unwrap(), None);
    let audited = store.audit_log(1).await.unwrap().remove(0);
    assert_eq!(
        (audited.command.as_str(), audited.message.as_deref()),
        ("rebaseline", Some("bad disk"))
    );
    let files: Vec<String> = listing(&snapshot).into_iter().map(|(name, _)| name).collect();
    assert!(!files.is_empty() && files.iter().all(|name| name.contains("/archive-")), "{files:?}");
}
