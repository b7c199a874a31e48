use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{self, StateLock};

const FILE: &str = "server.json";

/// Where the server that owns the state listens, for commands beside it. One that is left by a server that was killed is
/// known by the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub pid: u32,
    pub address: SocketAddr,
}

/// The file that says it; removed when dropped.
#[derive(Debug)]
pub struct Announced(PathBuf);

/// Writes down where this process listens.
///
/// # Errors
/// The file cannot be written.
pub fn announce(state: &Path, address: SocketAddr) -> std::io::Result<Announced> {
    let next = state.join(format!("{FILE}.next"));
    let said = Address { pid: std::process::id(), address };
    let text = serde_json::to_string(&said).expect("an address is plain data");
    std::fs::write(&next, text)?;
    let path = state.join(FILE);
    std::fs::rename(&next, &path)?;
    Ok(Announced(path))
}

impl Drop for Announced {
    fn drop(&mut self) {
        // What stays behind is stale, and known to be by the lock.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where the process that holds the state's lock listens; `None` if that is no server, or nobody holds it.
pub fn of_owner(state: &Path) -> Option<SocketAddr> {
    let text = std::fs::read(state.join(FILE)).ok()?;
    let said: Address = serde_json::from_slice(&text).ok()?;
    match StateLock::take(state) {
        Err(store::Error::Locked { pid: Some(pid), .. }) if pid == said.pid => Some(said.address),
        _ => None,
    }
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
        let announced = announce(state, address).unwrap();
        assert_eq!(of_owner(state), None, "nobody holds the lock");
        let lock = StateLock::take(state).unwrap();
        assert_eq!(of_owner(state), Some(address));
        let of_another = Address { pid: std::process::id() + 1, address };
        std::fs::write(state.join(FILE), serde_json::to_string(&of_another).unwrap()).unwrap();
        assert_eq!(of_owner(state), None, "the lock is held by another");
        drop(lock);
        drop(announced);
        assert!(!state.join(FILE).exists());
    }
}
