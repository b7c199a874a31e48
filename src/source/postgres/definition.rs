//! What the config says of a PostgreSQL source, validated.
//!
//! Only data. Invariants: a password is neither printed nor described; whatever decides which rows a model has is described.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::secret::Secret;
use crate::domain::hexadecimal;

/// A database, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// A name or an address; a folder, which begins with `/`, is that of a Unix socket.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    /// Without one it is looked up in the password file.
    pub password: Option<Secret>,
    pub tls: Tls,
    pub connect_timeout: Duration,
    /// How long the server lets one read last; without it the server's own rule holds.
    pub statement_timeout: Option<Duration>,
    /// A server that says nothing for so long is given up.
    pub idle_timeout: Duration,
    /// Rows that policies hide are left out silently, where others refuse the read.
    pub applies_row_security: bool,
    /// The role that the session takes on.
    pub role: Option<String>,
    /// Settings of the session, by name.
    pub settings: Vec<(String, String)>,
    /// Dates and times that are infinite are NULL, where others refuse the read.
    pub is_infinity_null: bool,
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

impl Definition {
    /// Whether the server is reached over a socket of this machine.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The server and the database in messages; what references stand for is not among it.
    pub fn place(&self) -> String {
        match &self.written {
            Some(written) => format!("the database of `{written}`"),
            None => format!("database `{}` at `{}:{}`", self.database, self.host, self.port),
        }
    }

    /// All that decides which rows a query gives, apart from the query: not how its answer travels, nor the password.
    /// What references stand for is a hash.
    pub(in crate::source) fn described(&self) -> Value {
        let security = if self.applies_row_security { "apply" } else { "error" };
        let mut settings = self.settings.clone();
        settings.sort();
        let mut said = json!([self.host, self.port, self.database, self.user, security]);
        if self.role.is_some() || !settings.is_empty() {
            let parts = said.as_array_mut().expect("it was made as a list");
            parts.extend([json!(self.role), json!(settings)]);
        }
        match &self.written {
            None => json!({ "postgres": said }),
            Some(written) => {
                let hash = hexadecimal::of(&Sha256::digest(said.to_string())[..8]);
                json!({ "postgres": format!("{written} ({hash})") })
            }
        }
    }
}

#[cfg(test)]
pub(super) fn example() -> Definition {
    Definition {
        host: "db.internal".into(),
        port: 5432,
        database: "shop".into(),
        user: "reader".into(),
        password: None,
        tls: Tls::On(Trust::default()),
        connect_timeout: Duration::from_secs(10),
        statement_timeout: None,
        idle_timeout: Duration::from_secs(300),
        applies_row_security: false,
        role: None,
        settings: Vec::new(),
        is_infinity_null: false,
        written: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(change: impl FnOnce(&mut Definition)) -> String {
        let mut definition = example();
        change(&mut definition);
        definition.described().to_string()
    }

    /// What is written here stands in headers: whatever changes it holds the deletes of every sync.
    #[test]
    fn a_database_is_described_by_what_decides_its_rows_and_never_by_its_password() {
        let plain = r#"{"postgres":["db.internal",5432,"shop","reader","error"]}"#;
        assert_eq!(described(|_| ()), plain);
        let password = || Some(Secret::new("canary".into()));
        assert_eq!(described(|it| it.password = password()), plain);
        assert_eq!(described(|it| it.tls = Tls::Off), plain);
        assert_eq!(described(|it| it.idle_timeout = Duration::from_secs(1)), plain);
        let others = [
            described(|it| it.host = "other".into()),
            described(|it| it.port = 1),
            described(|it| it.database = "other".into()),
            described(|it| it.user = "other".into()),
            described(|it| it.applies_row_security = true),
            described(|it| it.role = Some("other".into())),
            described(|it| it.settings = vec![("search_path".into(), "other".into())]),
        ];
        for (position, other) in others.iter().enumerate() {
            assert!(other != plain && !others[..position].contains(other), "{other}");
        }
        let shown = format!("{:?}", Definition { password: password(), ..example() });
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn what_references_stand_for_is_told_apart_and_not_told() {
        let written = |host: &str| {
            described(|it| (it.host, it.written) = (host.into(), Some("${URL}".into())))
        };
        assert!(written("canary").starts_with(r#"{"postgres":"${URL} ("#));
        assert!(!written("canary").contains("canary"));
        assert_ne!(written("canary"), written("other"));
        assert_eq!(written("canary"), written("canary"));
    }
}
