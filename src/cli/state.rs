//! Where a command works: the config file and the state beside it.

use std::path::PathBuf;

use super::failure::Failure;
use crate::config::{self, Config, SyncConfig};
use crate::snapshot::disk::LocalDisk;
use crate::store::{self, StateLock, Store};

/// The config file that was named.
#[derive(Debug)]
pub struct Place {
    pub file: PathBuf,
}

/// The state, owned: while this lives no other process writes it.
#[derive(Debug)]
pub struct Owned {
    pub store: Store,
    _lock: StateLock,
}

impl Place {
    pub fn new(file: PathBuf) -> Place {
        Place { file }
    }

    /// The config, without problems.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.file)?)
    }

    /// The config for a command that uses the connection of one sync, or none: secrets of others may be missing.
    pub fn config_for(&self, sync: Option<&str>) -> Result<Config, Failure> {
        Ok(config::load_for(&self.file, sync)?)
    }

    /// The state's folder, even where the rest of the config is wrong.
    pub fn state(&self) -> Result<PathBuf, Failure> {
        Ok(config::state_directory(&self.file)?)
    }

    /// The state beside the process that may own it; `None` before the first run.
    pub async fn beside(&self) -> Result<Option<Store>, Failure> {
        match Store::open_beside(&self.state()?).await {
            Ok(store) => Ok(Some(store)),
            Err(store::Error::Absent(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes the lock and opens the state, which is made where there is none.
pub async fn own(config: &Config) -> Result<Owned, Failure> {
    let lock = StateLock::take(&config.state)?;
    let store = Store::open(&config.state).await?;
    Ok(Owned { store, _lock: lock })
}

/// The sync of that name.
pub fn find<'c>(config: &'c Config, name: &str) -> Result<&'c SyncConfig, Failure> {
    config.sync(name).ok_or_else(|| {
        let names: Vec<&str> = config.syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
        let path = config.path.display();
        Failure::usage(match names.as_slice() {
            [] => format!("there is no sync `{name}`, nor any other, in `{path}`"),
            names => {
                format!("there is no sync `{name}` in `{path}`; it has `{}`", names.join("`, `"))
            }
        })
    })
}

/// The folder of a sync's snapshot, for reading.
pub fn snapshot_folder(config: &Config, sync: &str) -> PathBuf {
    config.state.join("snapshots").join(sync)
}

pub fn snapshot_disk(config: &Config, sync: &str) -> LocalDisk {
    LocalDisk::existing(snapshot_folder(config, sync))
}
