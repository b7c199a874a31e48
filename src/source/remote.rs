//! What the config says of a database on a server: where it is, who asks, whom the connection believes, and how long is waited.
//!
//! Only data; what one kind of database has beside it is that kind's. Invariants: a password is neither printed nor described;
//! what references stand for is a hash.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::secret::Secret;
use crate::domain::hexadecimal;

/// A database, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// A name or an address; what begins with `/` is where a Unix socket is.
    pub host: String,
    pub port: u16,
    /// Empty where the SQL of models has to name it.
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    pub tls: Tls,
    pub connect_timeout: Duration,
    /// How long the server lets one read last; without it the server's own rule holds.
    pub statement_timeout: Option<Duration>,
    /// A server that says nothing for so long is given up.
    pub idle_timeout: Duration,
    /// Settings of the session, by name.
    pub settings: Vec<(String, String)>,
    /// What names the database, as the file has it, where references stand in it: what they stand for may be a secret.
    pub written: Option<String>,
}

/// Whether a connection is encrypted, and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Off,
    On(Trust),
}

/// Whom an encrypted connection believes. Paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    pub verify: Verify,
    /// The authorities to believe, in place of the machine's.
    pub authorities: Option<PathBuf>,
    /// What the client shows of itself, and the key to it.
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub needs_channel_binding: bool,
}

/// What of a server's certificate is verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    /// Its authority, its time and the host that it is for.
    #[default]
    Full,
    /// All but the host.
    Authority,
    /// Nothing: whoever sits between sees and changes all.
    Nothing,
}

impl Remote {
    /// Whether the server is reached over a socket of this machine.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The server and the database in messages; what references stand for is not among it.
    pub fn place(&self) -> String {
        let Remote { host, port, database, .. } = self;
        match &self.written {
            Some(written) => format!("the database of `{written}`"),
            None if database.is_empty() => format!("the server at `{host}:{port}`"),
            None => format!("database `{database}` at `{host}:{port}`"),
        }
    }

    /// All that decides which rows a query gives, apart from the query: not how its answer travels, nor the password. `kind` is
    /// the key that the database has in the config, and `more` what that kind adds.
    pub(super) fn described(&self, kind: &str, more: impl IntoIterator<Item = Value>) -> Value {
        let mut said = vec![json!(self.host), json!(self.port), json!(self.database)];
        said.push(json!(self.user));
        said.extend(more);
        let said = match &self.written {
            None => json!(said),
            Some(written) => {
                let hash = Sha256::digest(json!(said).to_string());
                json!(format!("{written} ({})", hexadecimal::of(&hash[..8])))
            }
        };
        json!({ kind: said })
    }

    /// The settings in an order of their own.
    pub(super) fn sorted_settings(&self) -> Vec<(String, String)> {
        let mut settings = self.settings.clone();
        settings.sort();
        settings
    }
}

/// Whether the host is this machine.
pub fn is_near(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.starts_with('/')
        || host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
pub(super) fn example() -> Remote {
    Remote {
        host: "db.internal".into(),
        port: 5432,
        database: "shop".into(),
        user: "reader".into(),
        password: None,
        tls: Tls::On(Trust::default()),
        connect_timeout: Duration::from_secs(10),
        statement_timeout: None,
        idle_timeout: Duration::from_secs(300),
        settings: Vec::new(),
        written: None,
    }
}
