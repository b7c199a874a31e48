//! Opening the state database: as the owner, who holds the state's lock, or beside a running process.
//!
//! Only the owner creates or converts a database, and only where no trace of an older one is left.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use super::lock::{StateLock, create_private};
use super::{Error, Store, schema};

const FILE: &str = "counterflow.db";
const SNAPSHOTS: &str = "snapshots";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a task waits for its turn at the writer: a few other writes, each waiting for another process.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);
const READERS: u32 = 3;

impl Store {
    /// Opens the state as its owner, who must hold the [`super::StateLock`]; creates directory and database where
    /// there is no state yet.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Newer`]: the state is left as it is.
    pub async fn open(state_directory: &Path) -> Result<Store, Error> {
        create_private(state_directory)?;
        let path = state_directory.join(FILE);
        let exists = is_written(&path)?;
        if !exists && let Some(evidence) = evidence(state_directory)? {
            return Err(Error::Missing { path, evidence });
        }
        #[cfg(feature = "faults")]
        super::planted::recreate(&path).await?;
        let version = if exists { inspect(options(&path), &path, true).await? } else { 0 };
        if version == 0 && first_snapshot(&state_directory.join(SNAPSHOTS))?.is_some() {
            let detail = "it is empty though there are snapshots beside it".to_owned();
            return Err(Error::Damaged { path, detail });
        }
        if version == 0 {
            create(&path).await?;
        } else if version < schema::NEWEST {
            schema::raise(durable(&path), &path, version).await?;
        }
        Ok(Store::connect(path))
    }

    /// Opens the state beside the process that owns it, for `stop` and the reading commands. Needs no lock.
    ///
    /// # Errors
    /// [`Error::Absent`] where there is no state yet, otherwise as [`Store::open`].
    pub async fn open_beside(state_directory: &Path) -> Result<Store, Error> {
        let path = state_directory.join(FILE);
        if !is_written(&path)? {
            match evidence(state_directory)? {
                // The owner may have created both in between.
                Some(_) if is_written(&path)? => {}
                Some(evidence) => return Err(Error::Missing { path, evidence }),
                None => return Err(Error::Absent(state_directory.to_path_buf())),
            }
        }
        match inspect(options(&path), &path, false).await {
            // The owner is about to create it.
            Ok(0) => Err(Error::Absent(state_directory.to_path_buf())),
            Ok(_) => Ok(Store::connect(path)),
            Err(Error::Io { source, .. }) => Store::open_read_only(path, source).await,
            Err(error) => Err(error),
        }
    }

    /// Opens a database in a place where nothing can be written: a read-only mount, a backup, another person's files.
    async fn open_read_only(path: PathBuf, refusal: std::io::Error) -> Result<Store, Error> {
        let log = path.with_file_name(format!("{FILE}-wal"));
        // A file that is said to be immutable is read without its log, and without regard to who writes it.
        let is_at_rest =
            !is_written(&log)? && !StateLock::is_held(path.parent().unwrap_or(Path::new(".")))?;
        for is_immutable in [false, true] {
            let options = options(&path).read_only(true).immutable(is_immutable);
            if (!is_immutable || is_at_rest) && inspect(options.clone(), &path, false).await.is_ok()
            {
                let (writer, readers) = (pool(1, options.clone()), pool(READERS, options));
                return Ok(Store { path, writer, readers });
            }
        }
        Err(Error::Io { path, source: refusal })
    }

    fn connect(path: PathBuf) -> Store {
        let options = durable(&path);
        let readers = options.clone().pragma("query_only", "ON");
        Store { path, writer: pool(1, options), readers: pool(READERS, readers) }
    }
}

/// Lays the schema down, whole or not at all. The only place that makes a file.
pub(super) async fn create(path: &Path) -> Result<(), Error> {
    // SQLite gives the files beside it the same permissions.
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map_err(|source| Error::io(path.to_path_buf(), source))?;
    schema::raise(durable(path).create_if_missing(true), path, 0).await
}

/// The version of a database that is ours and not newer than this program; 0 if nothing is in it. Asked over a
/// connection of its own, because one that sets the journal mode would already change a foreign file.
pub(super) async fn inspect(
    options: SqliteConnectOptions,
    path: &Path,
    is_thorough: bool,
) -> Result<i64, Error> {
    let inspector = pool(1, options);
    let version = read_version(&inspector, path).await;
    let verdict =
        if version.is_ok() && is_thorough { check(&inspector, path).await } else { Ok(()) };
    inspector.close().await;
    verdict.and(version)
}

async fn read_version(inspector: &SqlitePool, path: &Path) -> Result<i64, Error> {
    let damaged = |detail: String| Error::Damaged { path: path.to_path_buf(), detail };
    let (version, application, tables): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT user_version FROM pragma_user_version), \
         (SELECT application_id FROM pragma_application_id), \
         (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(inspector)
    .await
    .map_err(|error| Error::database(path, error))?;
    match version {
        0 if tables == 0 => Ok(0),
        _ if application != schema::APPLICATION => {
            Err(damaged("another program's database".to_owned()))
        }
        1..=schema::NEWEST => Ok(version),
        _ if version > schema::NEWEST => {
            Err(Error::Newer { path: path.to_path_buf(), found: version, known: schema::NEWEST })
        }
        _ => Err(damaged(format!("it has version {version}"))),
    }
}

/// Reads the whole file, so that damage is found before a run rather than in the middle of one.
async fn check(inspector: &SqlitePool, path: &Path) -> Result<(), Error> {
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(inspector)
        .await
        .map_err(|error| Error::database(path, error))?;
    Error::of_check(path, &verdict)
}

/// What makes a write durable when it returns.
fn durable(path: &Path) -> SqliteConnectOptions {
    options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT)
}

pub(super) fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TURN_TIMEOUT)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_reusable(connection)))
        .connect_lazy_with(options)
}

/// When SQLite rolls a transaction back by itself, as on a full disk, sqlx still counts it as open and refuses the
/// next one: such a connection is dropped. The ping waits for a rollback that is still in the connection's queue.
async fn is_reusable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Whether the file exists and holds something; an empty one is what a crash in the first moment leaves.
pub(super) fn is_written(path: &Path) -> Result<bool, Error> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { path: path.to_path_buf(), source }),
    }
}

/// What shows that there once was a database where now is none.
fn evidence(state_directory: &Path) -> Result<Option<String>, Error> {
    let log = state_directory.join(format!("{FILE}-wal"));
    if is_written(&log)? {
        return Ok(Some(format!("its log `{}` is there", log.display())));
    }
    let snapshot = first_snapshot(&state_directory.join(SNAPSHOTS))?;
    Ok(snapshot.map(|folder| format!("there are snapshots, such as `{}`", folder.display())))
}

fn first_snapshot(snapshots: &Path) -> Result<Option<PathBuf>, Error> {
    let failure = |source| Error::Io { path: snapshots.to_path_buf(), source };
    let entries = match snapshots.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failure(source)),
    };
    for entry in entries {
        let entry = entry.map_err(failure)?;
        if entry.file_type().map_err(failure)?.is_dir() {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
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
        sqlx::query("INSERT INTO pins VALUES ('crm', '{}')")
            .execute(&mut *transaction)
            .await
            .unwrap();
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
            assert!(
                matches!(error, Error::Newer { found: 99, known: schema::NEWEST, .. }),
                "{error}"
            );
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
}
