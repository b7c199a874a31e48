//! Where a command works: the config file and the state beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::address::{self, Address};
use super::beside::Server;
use super::exit::Exit;
use super::failure::Failure;
use super::last_good;
use super::time;
use crate::config::{self, Config, SyncConfig};
use crate::control::pausing::SELF;
use crate::engine::{decisions, forgetting};
use crate::store::{self, Claim, Decision, Mark, StateLock, Store};

/// The config file that was named, and the key that the command came with.
#[derive(Debug)]
pub struct Place {
    pub file: PathBuf,
    pub mark: Option<Arc<Mark>>,
}

/// The state, owned: while this lives no other process writes it.
#[derive(Debug)]
pub struct Owned {
    pub store: Store,
    _lock: StateLock,
}

/// Who carries out a command that begins a run.
#[derive(Debug)]
pub enum Owner {
    /// This process, by this config.
    Us(Owned, Box<Config>),
    Server(Address),
}

impl Place {
    pub fn new(file: PathBuf, claim: Option<Claim>) -> Place {
        Place { file, mark: claim.map(|claim| Mark::new(Some(claim))) }
    }

    /// What the command came with for a key.
    pub fn claim(&self) -> Option<&Claim> {
        self.mark.as_ref().and_then(|mark| mark.claim.as_ref())
    }

    /// Who gives the command, and the store as the command writes it.
    pub fn given(&self, store: &Store) -> (String, Store) {
        let marked = self.mark.as_ref().map(|mark| store.marked(Arc::clone(mark)));
        (time::who(), marked.unwrap_or_else(|| store.clone()))
    }

    /// The server that owns the state, if one does.
    pub fn server(&self) -> Result<Option<Server>, Failure> {
        let Some(found) = address::of_owner(&self.state()?) else { return Ok(None) };
        self.server_at(&found).map(Some)
    }

    /// The server that was found.
    pub fn server_at(&self, found: &Address) -> Result<Server, Failure> {
        Server::at(found.address, self.claim().map(|claim| claim.key.clone()))
    }

    /// The config, without problems.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.file)?)
    }

    /// The config for a command that uses the connection of one sync, or none: secrets of others may be missing.
    pub fn config_for(&self, sync: Option<&str>) -> Result<Config, Failure> {
        Ok(config::load_for(&self.file, sync)?)
    }

    /// The state's folder, even where the rest of the config is wrong; where nothing of the file can be read, that of the
    /// server which goes on by what the file was.
    pub fn state(&self) -> Result<PathBuf, Failure> {
        config::state_directory(&self.file).or_else(|problems| {
            let running = last_good::of_server(&self.file);
            running.map(|(config, _)| config.state).ok_or_else(|| problems.into())
        })
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

/// The server that owns the state, also one that came up just now; else this process, which owns it from here on. `sync`: whose
/// secrets are needed for that, and nothing is made where they are missing.
pub async fn owner(place: &Place, sync: Option<&str>) -> Result<Owner, Failure> {
    match address::of_owner(&place.state()?) {
        Some(server) => Ok(Owner::Server(server)),
        None => taken(place.config_for(sync)?).await,
    }
}

async fn taken(config: Config) -> Result<Owner, Failure> {
    match own(&config).await {
        Ok(owned) => Ok(Owner::Us(owned, Box::new(config))),
        Err(failure) if failure.exit == Exit::Locked => {
            address::of_owner(&config.state).map(Owner::Server).ok_or(failure)
        }
        Err(failure) => Err(failure),
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
    last_good::renew(config);
    let store = Store::open(state).await?;
    forgetting::settle_all(&store, state).await.map_err(|error| Failure::of(&error))?;
    judge_replacements(config, &store).await?;
    Ok(Owned { store, _lock: lock })
}

/// Withdraws the replacements of connections that the file does not say.
async fn judge_replacements(config: &Config, store: &Store) -> Result<(), Failure> {
    let pending = store.decisions(None).await?;
    let replacement = pending.iter().find_map(|one| match &one.decision {
        Decision::Replace { connection, .. } => Some((&one.sync, connection)),
        _ => None,
    });
    let Some((sync, new)) = replacement else { return Ok(()) };
    // The file may have been rewritten before the lock was taken: what it says now counts. The last good config cannot stand
    // in for it, as it may be from before.
    let now = config::load_for(&config.path, None).map_err(|problems| {
        Failure::usage(format!(
            "it is decided that `{sync}` writes over `{new}`, and whether the config file says so cannot be read: \
             {problems}; correct the file first"
        ))
    })?;
    let connection_of = |sync: &str| now.sync(sync).map(|sync| sync.sync.connection.as_str());
    Ok(decisions::withdraw_unwritten(store, SELF, connection_of).await?)
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
        let found = taken(config).await.unwrap();
        assert!(matches!(found, Owner::Server(found) if found.address == listened));
        owned.store.close().await;
    }

    #[tokio::test]
    async fn a_decision_is_judged_by_what_the_file_says_once_the_state_is_owned() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counterflow.yaml");
        let starter = include_str!("starter.yaml");
        let open = starter.replace("      auth:\n        bearer: ${CRM_TOKEN}\n", "");
        std::fs::write(&file, &open).unwrap();
        let before = config::load(&file).unwrap();
        let (sync, old) = (before.syncs[0].sync.name.clone(), &before.syncs[0].sync.connection);
        let of_old = format!("connection: {old}\n");
        let changed = open.replacen(
            "connections:\n",
            "connections:\n  next:\n    http: { base_url: \"http://127.0.0.1:1\" }\n",
            1,
        );
        std::fs::write(&file, changed.replace(&of_old, "connection: next\n")).unwrap();
        let after = config::load(&file).unwrap();
        assert_eq!(after.syncs[0].sync.connection, "next");
        let Owned { store, _lock } = own(&after).await.unwrap();
        let (connection, kept, at) = ("next".to_owned(), None, Instant(1));
        let audited = decisions::audited("connection replace", &sync, "why", "ada");
        let replace = store::Decision::Replace { connection, kept, at };
        store.decide(&[(audited, replace)]).await.unwrap();
        store.close().await;
        drop(_lock);
        let owned = own(&before).await.unwrap();
        assert_eq!(owned.store.decisions(None).await.unwrap().len(), 1, "it stands");
        owned.store.close().await;
        drop(owned);
        std::fs::write(&file, "syncs: [").unwrap();
        let refused = own(&before).await.unwrap_err();
        let named = format!("{:?}", refused.cause);
        assert!(named.contains(&format!("`{sync}` writes over `next`")), "{named}");
        std::fs::write(&file, &open).unwrap();
        let owned = own(&after).await.unwrap();
        assert_eq!(owned.store.decisions(None).await.unwrap(), [], "nobody wrote it");
        let audited = decisions::audited("rebaseline", &sync, "why", "ada");
        let aside = store::Decision::SetAside { at: Instant(1) };
        owned.store.decide(&[(audited, aside)]).await.unwrap();
        owned.store.close().await;
        drop(owned);
        std::fs::write(&file, "syncs: [").unwrap();
        let owned = own(&before).await.unwrap();
        assert_eq!(owned.store.decisions(None).await.unwrap().len(), 1, "the file is not asked");
        owned.store.close().await;
    }
}
