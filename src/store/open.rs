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

use super::keep::keep;
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
            keep(&path, version).await?;
            schema::raise(durable(&path), &path, version).await?;
        }
        Ok(Store::connect(path, schema::NEWEST))
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
            Ok(version) => Ok(Store::connect(path, version)),
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
            if (!is_immutable || is_at_rest)
                && let Ok(version) = inspect(options.clone(), &path, false).await
            {
                let (writer, readers) = (pool(1, options.clone()), pool(READERS, options));
                return Ok(Store { path, version, writer, readers, mark: None });
            }
        }
        Err(Error::Io { path, source: refusal })
    }

    fn connect(path: PathBuf, version: i64) -> Store {
        let options = durable(&path);
        let readers = options.clone().pragma("query_only", "ON");
        let (writer, readers) = (pool(1, options), pool(READERS, readers));
        Store { path, version, writer, readers, mark: None }
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
mod tests;
