//! Where the server that owns the state listens, and by which config it runs: a file beside the state, for commands.
//!
//! Not responsible for talking to it (`beside`). Invariant: an address that a killed server left is known by the lock.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::reload::Known;
use crate::domain::id::Instant;
use crate::folders;
use crate::store::StateLock;

const FILE: &str = "server.json";

/// Where the server that owns the state listens, for commands beside it. One that is left by a server that was killed is
/// known by the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub pid: u32,
    pub address: SocketAddr,
    /// The hash of the config file that it runs by.
    pub config: Option<String>,
    /// The revision of that.
    #[serde(default)]
    pub revision: String,
    /// When it was put in place.
    #[serde(default)]
    pub since: Option<Instant>,
    /// Why the file as it is now does not run, if it does not.
    #[serde(default)]
    pub warning: Option<String>,
}

/// The file that says it; removed when dropped.
#[derive(Debug)]
pub struct Announced {
    file: PathBuf,
    address: SocketAddr,
}

/// Writes down where this process listens.
///
/// # Errors
/// The file cannot be written.
pub fn announce(
    state: &Path,
    address: SocketAddr,
    config: Option<String>,
    known: Known,
) -> std::io::Result<Announced> {
    let announced = Announced { file: state.join(FILE), address };
    announced.again(config, known)?;
    Ok(announced)
}

impl Announced {
    /// Writes it down anew, with the config that runs now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn again(&self, config: Option<String>, known: Known) -> std::io::Result<()> {
        let Known { revision, since, warning } = known;
        let (pid, since) = (std::process::id(), Some(since));
        let said = Address { pid, address: self.address, config, revision, since, warning };
        let text = serde_json::to_string(&said).expect("an address is plain data");
        folders::replace(&self.file, text.as_bytes(), 0o644)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // What stays behind is stale, and known to be by the lock.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Takes down what a server that was killed has left: its pid may be that of the next owner, as in a container.
///
/// # Errors
/// The file cannot be removed.
pub fn take_down_stale(state: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(state.join(FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the process that holds the state's lock listens; `None` if that is no server, or nobody holds it.
pub fn of_owner(state: &Path) -> Option<Address> {
    // In this order: an owner takes the lock first, and takes down what is stale next.
    let holder = StateLock::holder(state).ok()??;
    let text = std::fs::read(state.join(FILE)).ok()?;
    let said: Address = serde_json::from_slice(&text).ok()?;
    (holder.pid == Some(said.pid)).then_some(said)
}

/// The hash of a config file, to know by whether it was changed; `None` if it cannot be read.
pub fn hash(config: &Path) -> Option<String> {
    Some(hash_of(&std::fs::read(config).ok()?))
}

/// The hash of a config file with this content.
pub fn hash_of(content: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_address_is_known_by_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert_eq!(of_owner(state), None);
        let address = SocketAddr::from(([127, 0, 0, 1], 4_711));
        let known = Known { revision: String::new(), since: Instant(0), warning: None };
        let announced = announce(state, address, None, known).unwrap();
        assert_eq!(of_owner(state), None, "nobody holds the lock");
        assert!(!state.join("lock").exists(), "whoever looks makes nothing");
        let lock = StateLock::take(state).unwrap();
        assert_eq!(of_owner(state).map(|said| said.address), Some(address));
        let of_another = Address {
            pid: std::process::id() + 1,
            address,
            config: None,
            revision: String::new(),
            since: None,
            warning: None,
        };
        std::fs::write(state.join(FILE), serde_json::to_string(&of_another).unwrap()).unwrap();
        assert_eq!(of_owner(state), None, "the lock is held by another");
        drop(lock);
        drop(announced);
        assert!(!state.join(FILE).exists());
    }
}
