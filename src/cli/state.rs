//! Where a command works: the config file and the state beside it.

use std::path::{Path, PathBuf};

use super::address::{self, Address};
use super::exit::Exit;
use super::failure::Failure;
use crate::config::{self, Config, SyncConfig};
use crate::control::pausing::SELF;
use crate::engine::decisions;
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
    let state = &config.state;
    let lock = match StateLock::take(state) {
        Err(refused @ store::Error::Locked { .. }) => {
            return Err(by_server(state).unwrap_or_else(|| refused.into()));
        }
        taken => taken?,
    };
    address::take_down_stale(state).map_err(|error| {
        let state = state.display();
        Failure::failed(format!(
            "what a server left in `{state}` cannot be removed: {error}; check the folder's permissions"
        ))
    })?;
    let store = Store::open(state).await?;
    let connection_of = |sync: &str| config.sync(sync).map(|sync| sync.sync.connection.as_str());
    decisions::withdraw_unwritten(&store, SELF, connection_of).await?;
    Ok(Owned { store, _lock: lock })
}

/// The refusal where the owner is a server, which `counterflow stop` does not end.
fn by_server(state: &Path) -> Option<Failure> {
    let Address { pid, address, .. } = address::of_owner(state)?;
    let state = state.display();
    let text = format!(
        "the server at {address} (pid {pid}) works on `{state}`; end it first, with SIGTERM"
    );
    Some(Failure { exit: Exit::Locked, ..Failure::failed(text) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reload::Known;
    use crate::domain::id::Instant;

    #[tokio::test]
    async fn an_owner_with_the_pid_of_a_server_that_was_killed_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counterflow.yaml");
        let starter = include_str!("starter.yaml");
        let open = starter.replace("      auth:\n        bearer: ${CRM_TOKEN}\n", "");
        std::fs::write(&file, open).unwrap();
        let config = config::load(&file).unwrap();
        std::fs::create_dir_all(&config.state).unwrap();
        let listened = std::net::SocketAddr::from(([127, 0, 0, 1], 4_711));
        // Never dropped, as by a kill.
        let known = Known { revision: String::new(), since: Instant(0), warning: None };
        let announced = address::announce(&config.state, listened, None, known.clone()).unwrap();
        std::mem::forget(announced);
        let owned = own(&config).await.unwrap();
        assert_eq!(address::of_owner(&config.state), None);
        let refused = own(&config).await.unwrap_err();
        assert_eq!(refused.exit, Exit::Locked);
        let _announced = address::announce(&config.state, listened, None, known.clone()).unwrap();
        let refused = own(&config).await.unwrap_err();
        assert_eq!(refused.exit, Exit::Locked);
        assert!(format!("{refused:?}").contains("the server at 127.0.0.1:4711"), "{refused:?}");
        owned.store.close().await;
    }
}
