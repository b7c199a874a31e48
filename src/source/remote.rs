//! What the config says of a database on a server: where it is, who asks, whom the connection believes, and how long is waited.
//!
//! Only data; what one kind of database has beside it is that kind's. Invariants: a password is neither printed nor described;
//! what references stand for is a hash.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::queried::Queried;
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
    /// What models that join it with other sources may read of it.
    pub tables: Vec<Queried>,
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

/// Whether the host is this machine.
pub fn is_near(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.starts_with('/')
        || host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
}

impl Remote {
    /// Whether the server is reached over a socket of this machine.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Whether the server may be anyone, though the connection is encrypted.
    pub fn verifies_nothing(&self) -> bool {
        matches!(&self.tls, Tls::On(trust) if trust.verify == Verify::Nothing)
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

    /// The error without what references stand for, where they stand in what names the database: servers say it again. What is
    /// ours comes before the first colon.
    pub(super) fn unsaid(&self, error: Error) -> Error {
        if self.written.is_none() {
            return error;
        }
        let hidden = [self.host.trim_matches(['[', ']']), &self.database, &self.user];
        error.map(|text| match text.split_once(": ") {
            None => text,
            Some((ours, said)) => {
                let said = hidden.iter().fold(said.to_owned(), |said, word| without(&said, word));
                format!("{ours}: {said}")
            }
        })
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

/// The text with dots for the word, wherever it stands as a whole one.
fn without(text: &str, word: &str) -> String {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    if word.is_empty() {
        return text.to_owned();
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(word) {
        let (before, behind) = (&rest[..at], &rest[at + word.len()..]);
        let is_whole = !out.chars().chain(before.chars()).next_back().is_some_and(is_of_word)
            && !behind.starts_with(is_of_word);
        out.push_str(before);
        out.push_str(if is_whole { ".." } else { word });
        rest = behind;
    }
    out + rest
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
        tables: Vec::new(),
        written: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_references_stand_for_is_not_told_again_by_the_server() {
        let error = Error::Missing(
            "the database of `${URL}` refused the connection: \"reader\" may not read shop, \
             'shop'.t or shops at db.internal (28P01); correct `user`"
                .into(),
        );
        let open = example();
        assert_eq!(open.unsaid(error.clone()), error);
        let remote = Remote { written: Some("${URL}".into()), ..open };
        let told = remote.unsaid(error).to_string();
        let expected = "the database of `${URL}` refused the connection: \"..\" may not read .., \
                        '..'.t or shops at .. (28P01); correct `user`";
        assert_eq!(told, expected);
        let ours = Error::Definition("model `shop` has no SQL; give it one SELECT".into());
        assert_eq!(remote.unsaid(ours.clone()), ours);
    }
}
