//! Opening: what is there, what is not, what is damaged, and who may.

use super::*;
use crate::domain::id::{Instant, Lineage, RunId};
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::tally::Tally;

async fn closed_state(directory: &Path) {
    let store = Store::open(directory).await.unwrap();
    for sync in 0..200 {
        store.create_run(&sync.to_string(), None, Trigger::Api, Instant(0)).await.unwrap();
    }
    store.close().await;
}

/// Opens both ways, and asserts that neither touches the file.
async fn refused(directory: &Path) -> [Error; 2] {
    let file = directory.join(FILE);
    let before = std::fs::read(&file).ok();
    let owner = Store::open(directory).await.expect_err("the owner is refused");
    let beside = Store::open_beside(directory).await.expect_err("beside is refused too");
    assert!(std::fs::read(&file).ok() == before, "the file is left as it is");
    [owner, beside]
}

async fn set_pragma(directory: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(directory.join(FILE));
    let pool = pool(1, options.create_if_missing(true));
    sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_new_state_is_created_synced_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("new/state");
    let store = Store::open(&state).await.unwrap();
    for (pragma, expected) in [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA busy_timeout", "5000"),
    ] {
        for pool in [&store.writer, &store.readers] {
            let row = sqlx::query(pragma).fetch_one(pool).await.unwrap();
            let text: String = sqlx::Row::try_get_unchecked(&row, 0).unwrap();
            assert_eq!(text, expected, "{pragma}");
        }
    }
    store.set_pins("crm", "{}").await.unwrap();
    store.close().await;
    let again = Store::open(&state).await.unwrap();
    assert_eq!(again.pins("crm").await.unwrap().as_deref(), Some("{}"));
}

#[tokio::test]
async fn readers_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let refused = sqlx::query("DELETE FROM pins").execute(&store.readers).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn nobody_but_the_owner_may_look_into_a_new_state() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let _lock = StateLock::take(&state).unwrap();
    let store = Store::open(&state).await.unwrap();
    store.set_pins("crm", "{}").await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let names = state.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        assert_eq!(mode(&name), 0o600, "{}", name.display());
    }
}

#[tokio::test]
async fn a_state_at_rest_is_read_where_nothing_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    closed_state(directory.path()).await;
    let path = directory.path().join(FILE);
    let refusal = || std::io::Error::other("unable to open database file");
    let store = Store::open_read_only(path.clone(), refusal()).await.unwrap();
    assert_eq!(store.runs(None, 500, None).await.unwrap().len(), 200);
    assert!(store.set_pins("crm", "{}").await.is_err());
    store.close().await;
}

#[tokio::test]
async fn beside_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let absent = Store::open_beside(directory.path()).await.unwrap_err();
    assert!(matches!(absent, Error::Absent(_)), "{absent}");
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn an_owner_and_one_beside_work_on_one_state_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let lock = crate::store::StateLock::take(directory.path()).unwrap();
    let owner = Store::open(directory.path()).await.unwrap();
    let beside = Store::open_beside(directory.path()).await.unwrap();
    let writes = |store: Store| async move {
        for _ in 0..20 {
            store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
        }
    };
    tokio::join!(writes(owner.clone()), writes(beside.clone()), writes(owner.clone()));
    assert_eq!(beside.runs(Some("crm"), 100, None).await.unwrap().len(), 60);
    owner.close().await;
    drop(lock);
    let run = RunId(60);
    beside.set_phase(run, Phase::Starting).await.unwrap();
    let reopened = Store::open(directory.path()).await.unwrap();
    assert_eq!(reopened.run(run).await.unwrap().unwrap().phase, Phase::Starting);
    let tally = Tally::default();
    reopened.finish(run, Outcome::Failed, &tally, None, Instant(1)).await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_dropped_in_the_middle_is_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let mut transaction = store.write().await.unwrap();
    sqlx::query("INSERT INTO pins VALUES ('crm', '{}')").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    store.set_known("crm", Lineage(1), 1, None).await.unwrap();
    assert_eq!(store.pins("crm").await.unwrap(), None);
}

#[tokio::test]
async fn writes_abandoned_at_any_point_leave_the_store_usable_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    for polls in 0..60 {
        let text = polls.to_string();
        let mut write = Box::pin(store.set_pins("crm", &text));
        for _ in 0..polls {
            if futures::poll!(&mut write).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
        let after = format!("after {polls}");
        store.set_pins("ads", &after).await.unwrap();
        assert_eq!(store.pins("ads").await.unwrap(), Some(after));
    }
}

#[tokio::test]
async fn what_was_written_survives_a_process_that_never_closed() {
    let directory = tempfile::tempdir().unwrap();
    let after_kill = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let run = store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
    for file in [FILE, "counterflow.db-wal"] {
        std::fs::copy(directory.path().join(file), after_kill.path().join(file)).unwrap();
    }
    let recovered = Store::open(after_kill.path()).await.unwrap();
    assert_eq!(recovered.unfinished().await.unwrap()[0].id, run);
}

#[tokio::test]
async fn a_full_disk_is_named_and_nothing_is_half_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1").execute(&store.writer).await.unwrap();
    let pins = "x".repeat(100_000);
    let full = store.set_pins("crm", &pins).await.unwrap_err();
    assert!(matches!(full, Error::Full(_)), "{full}");
    assert_eq!(store.pins("crm").await.unwrap(), None);
    store.set_pins("crm", &pins).await.unwrap();
}

#[tokio::test]
async fn a_newer_state_is_refused_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    closed_state(directory.path()).await;
    set_pragma(directory.path(), "PRAGMA user_version = 99").await;
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Newer { found: 99, known: schema::NEWEST, .. }), "{error}");
        assert!(error.to_string().ends_with("use the newer program that wrote it"));
    }
}

#[tokio::test]
async fn garbage_in_place_of_the_database_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    closed_state(directory.path()).await;
    let file = directory.path().join(FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..16].fill(b'x');
    std::fs::write(&file, bytes).unwrap();
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    std::fs::write(&file, "not a database").unwrap();
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_page_that_is_torn_or_cut_off_is_damage() {
    for is_cut in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        closed_state(directory.path()).await;
        let file = directory.path().join(FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        if is_cut {
            bytes.truncate(bytes.len() / 2);
        } else {
            bytes[4096..8192].fill(0xff);
        }
        std::fs::write(&file, bytes).unwrap();
        let error = Store::open(directory.path()).await.expect_err("damage is found");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn another_programs_database_is_never_written_to() {
    let directory = tempfile::tempdir().unwrap();
    set_pragma(directory.path(), "CREATE TABLE theirs (x)").await;
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_missing_database_beside_snapshots_halts() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("snapshots/crm")).unwrap();
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        assert!(error.to_string().contains("snapshots/crm"), "{error}");
    }
    assert!(!directory.path().join(FILE).exists());
    std::fs::write(directory.path().join(FILE), "").unwrap();
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_empty_snapshot_folder_is_no_evidence() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join(SNAPSHOTS)).unwrap();
    Store::open(directory.path()).await.unwrap();
}

#[tokio::test]
async fn a_log_without_its_database_halts() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("counterflow.db-wal"), "log").unwrap();
    for error in refused(directory.path()).await {
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_write_tells_the_time_by_the_clock_of_the_file_system_and_never_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let changed = |name: &str| {
        use std::os::unix::fs::MetadataExt as _;
        let path = directory.path().join(name);
        std::fs::write(&path, "").unwrap();
        let metadata = path.metadata().unwrap();
        i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
    };
    let before = changed("before");
    store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
    let written = store.written_at().expect("the file system says it");
    assert!(before <= written && written <= changed("after"), "{before} {written}");
}
