//! Removes what is left of a sync that is no longer in the config: its snapshot with all archives, pause, runs.
//!
//! Whoever calls this makes sure that no config has the sync and that no run of it goes. Guards: it is audited first; the
//! snapshot goes before the rows that know of it, so that half of it is never taken for a new sync.

use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::prepare::{self, Error};
use super::run::now;
use super::unexported;
use crate::domain::message::one_line;
use crate::shutdown::blocking;
use crate::store::{Audited, Rows, Store};

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
    let has_snapshot = folder(state, sync).is_some_and(|folder| folder.exists());
    let unexported = unexported::of(store, state, sync).await?.len() as u64;
    Ok(Left { has_snapshot, unexported, rows: store.rows_of(sync).await? })
}

/// Removes it for good.
///
/// # Errors
/// The audit log cannot be written, and nothing was removed; or a file or a row cannot be removed, and the rest can be
/// asked for again.
pub async fn forget(
    store: &Store,
    state: &Path,
    sync: &str,
    message: Option<&str>,
    who: &str,
) -> Result<Left, Error> {
    let left = left(store, state, sync).await?;
    let unexported = unexported::of(store, state, sync).await?;
    let audited = Audited {
        at: now(),
        who: who.to_owned(),
        command: "forget".to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: message.and_then(one_line),
    };
    store.audit(&audited).await?;
    if let Some(folder) = folder(state, sync) {
        match blocking(|| std::fs::remove_dir_all(&folder)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Unremoved { folder, source });
            }
            _ => {}
        }
    }
    store.forget_sync(sync).await?;
    unexported::remove(state, &unexported);
    Ok(left)
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
    use crate::domain::id::{Instant, Lineage};
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
}
