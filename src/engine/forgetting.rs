//! Removes what is left of a sync that is no longer in the config: its snapshot with all archives, pause, runs.
//!
//! Whoever calls this makes sure that no config has the sync, that no run of it goes and that nobody else forgets it. Guards:
//! all of it goes or nothing. The snapshot is renamed into a folder that nothing reads as one; then the audit and the removal
//! of all rows are one transaction; then the folder is removed. Whether the transaction was committed, says the audit log:
//! where it was not, the snapshot is put back, at once or at the next start ([`settle_all`]).

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::prepare::{self, Error};
use super::run::now;
use super::unexported;
use crate::delivery::spool;
use crate::domain::id::{Instant, RunId};
use crate::domain::message::one_line;
use crate::folders::{create_private, sync_parent};
use crate::points::{self, Point};
use crate::shutdown::blocking;
use crate::store::{Audited, Rows, Store};

/// The word of the audit log.
const COMMAND: &str = "forget";
/// Where snapshots lie in the state while their syncs are forgotten.
const PLACE: &str = "forgotten";

/// What is left of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Left {
    /// A snapshot, or archives of older ones.
    pub has_snapshot: bool,
    /// Runs whose receipts the delivery log has not exported.
    pub unexported: u64,
    #[serde(flatten)]
    pub rows: Rows,
}

impl Left {
    pub fn is_nothing(&self) -> bool {
        !self.has_snapshot && self.rows == Rows::default()
    }
}

/// What is left of the sync in this state.
///
/// # Errors
/// The store cannot be read.
pub async fn left(store: &Store, state: &Path, sync: &str) -> Result<Left, Error> {
    let unexported = unexported::of(store, state, sync).await?;
    left_with(store, state, sync, &unexported).await
}

/// As [`left`], where it is known which runs were not exported.
async fn left_with(
    store: &Store,
    state: &Path,
    sync: &str,
    unexported: &[RunId],
) -> Result<Left, Error> {
    let has_snapshot = folder(state, sync).is_some_and(|folder| folder.exists());
    let rows = store.rows_of(sync).await?;
    Ok(Left { has_snapshot, unexported: unexported.len() as u64, rows })
}

/// Removes it for good.
///
/// # Errors
/// The folder of the snapshot or the store cannot be written, and nothing was removed.
pub async fn forget(
    store: &Store,
    state: &Path,
    sync: &str,
    message: Option<&str>,
    who: &str,
) -> Result<Left, Error> {
    settle(store, state, |aside| aside.sync == sync).await?;
    let unexported = unexported::of(store, state, sync).await?;
    let left = left_with(store, state, sync, &unexported).await?;
    let audited = Audited {
        at: now(),
        who: who.to_owned(),
        command: COMMAND.to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: message.and_then(one_line),
    };
    let aside = match folder(state, sync) {
        Some(folder) => blocking(|| Aside::put(state, sync, audited.at, &folder))
            .map_err(|source| Error::Unremoved { folder, source })?,
        None => None,
    };
    points::reached(Point::Aside);
    let forgotten = store.forget_sync(sync, &audited).await;
    points::reached(Point::Decided);
    if let Some(aside) = aside
        && let Err(error) = aside.settle(store, state).await
    {
        tracing::error!(sync, %error, "a snapshot that was put aside is settled at the next start");
    }
    forgotten?;
    unexported::remove(&state.join(spool::FOLDER), &unexported);
    Ok(left)
}

/// Removes what was forgotten, and puts back what was not, where a process ended before it could. Only the owner of the state
/// may call this, before anything works on snapshots.
///
/// # Errors
/// The store cannot be read.
pub async fn settle_all(store: &Store, state: &Path) -> Result<(), Error> {
    settle(store, state, |_| true).await
}

async fn settle(
    store: &Store,
    state: &Path,
    is_meant: impl Fn(&Aside) -> bool,
) -> Result<(), Error> {
    for aside in all_aside(state).into_iter().filter(is_meant) {
        aside.settle(store, state).await?;
    }
    Ok(())
}

/// A snapshot out of its place.
#[derive(Debug)]
struct Aside {
    sync: String,
    /// When it was to be forgotten, as the audit log says if it was.
    at: Instant,
    folder: PathBuf,
}

impl Aside {
    /// Puts it there, if there is one, safe from a power cut.
    fn put(state: &Path, sync: &str, at: Instant, folder: &Path) -> io::Result<Option<Aside>> {
        if !folder.try_exists()? {
            return Ok(None);
        }
        let place = state.join(PLACE);
        create_private(&place)?;
        let aside =
            Aside { sync: sync.to_owned(), at, folder: place.join(format!("{}-{sync}", at.0)) };
        let moved = std::fs::rename(folder, &aside.folder).and_then(|()| {
            sync_parent(&aside.folder)?;
            sync_parent(folder)
        });
        if moved.is_err() {
            let _ = std::fs::rename(&aside.folder, folder);
        }
        moved.map(|()| Some(aside))
    }

    fn of(folder: PathBuf) -> Option<Aside> {
        let (at, sync) = folder.file_name()?.to_str()?.split_once('-')?;
        let (at, sync) = (Instant(at.parse().ok()?), sync.to_owned());
        Some(Aside { sync, at, folder })
    }

    /// Removes it if the sync was forgotten, or puts it back. What the disk does not let be done is done later.
    async fn settle(self, store: &Store, state: &Path) -> Result<(), Error> {
        let Aside { sync, at, folder } = self;
        let is_forgotten = store.has_audited(COMMAND, &sync, at).await?;
        let settled = blocking(|| {
            if is_forgotten {
                return std::fs::remove_dir_all(&folder);
            }
            let place = prepare::folder(state, &sync);
            std::fs::rename(&folder, &place)?;
            sync_parent(&folder)?;
            sync_parent(&place)
        });
        if let Err(error) = settled {
            let folder = folder.display();
            tracing::warn!(sync, %folder, %error, is_forgotten, "a snapshot that was put aside stays there for now");
        }
        Ok(())
    }
}

/// All that are out of their place.
fn all_aside(state: &Path) -> Vec<Aside> {
    let entries = blocking(|| std::fs::read_dir(state.join(PLACE)));
    let entries = entries.into_iter().flatten().flatten();
    entries.filter_map(|entry| Aside::of(entry.path())).collect()
}

/// The folder of the sync's snapshot; none for a name that would lead elsewhere.
fn folder(state: &Path, sync: &str) -> Option<PathBuf> {
    let mut components = Path::new(sync).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(name)), None) if name == sync => Some(prepare::folder(state, sync)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Lineage;
    use crate::domain::run::Trigger;

    #[test]
    fn no_name_leads_out_of_the_snapshots() {
        let state = Path::new("/state");
        assert_eq!(folder(state, "crm"), Some(PathBuf::from("/state/snapshots/crm")));
        for name in ["", ".", "..", "../crm", "/", "/etc", "crm/", "a/b", "./crm"] {
            assert_eq!(folder(state, name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn everything_of_the_sync_is_gone_and_nothing_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let store = Store::open(state).await.unwrap();
        for sync in ["crm", "ads"] {
            store.create_run(sync, None, Trigger::Manual, Instant(0)).await.unwrap();
            store.set_known(sync, Lineage(7), 1, None).await.unwrap();
            store.set_pins(sync, "{}").await.unwrap();
            std::fs::create_dir_all(state.join("snapshots").join(sync).join("archive-1")).unwrap();
        }
        let gone = forget(&store, state, "crm", Some("moved\nout"), "ada").await.unwrap();
        assert!(gone.has_snapshot && gone.rows.runs == 1, "{gone:?}");
        assert!(left(&store, state, "crm").await.unwrap().is_nothing());
        assert_eq!(left(&store, state, "ads").await.unwrap(), gone);
        let audited = store.audit_log(1).await.unwrap().remove(0);
        assert_eq!(
            (audited.command.as_str(), audited.message.as_deref()),
            ("forget", Some("moved out"))
        );
    }
    /// A state with one sync, whose rows cannot be removed as long as the trigger is there.
    async fn stuck(state: &Path) -> Store {
        let store = Store::open(state).await.unwrap();
        store.create_run("crm", None, Trigger::Manual, Instant(0)).await.unwrap();
        store.set_pins("crm", "{}").await.unwrap();
        std::fs::create_dir_all(state.join("snapshots/crm/archive-1")).unwrap();
        let stuck =
            "CREATE TRIGGER stuck BEFORE DELETE ON pins BEGIN SELECT RAISE(ABORT, 'stuck'); END";
        execute(state, stuck).await;
        store
    }

    async fn execute(state: &Path, statement: &'static str) {
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(state.join("counterflow.db"));
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    #[tokio::test]
    async fn what_cannot_be_forgotten_whole_is_all_there_and_not_said_to_be_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let store = stuck(state).await;
        let before = left(&store, state, "crm").await.unwrap();
        forget(&store, state, "crm", None, "ada").await.unwrap_err();
        assert_eq!(left(&store, state, "crm").await.unwrap(), before);
        assert!(state.join("snapshots/crm/archive-1").exists());
        assert_eq!(store.audit_log(1).await.unwrap(), []);
        execute(state, "DROP TRIGGER stuck").await;
        assert_eq!(forget(&store, state, "crm", None, "ada").await.unwrap(), before);
        assert!(left(&store, state, "crm").await.unwrap().is_nothing());
    }
}
