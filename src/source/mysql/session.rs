//! A session with a server: one transaction that only reads and sees one state of the database.
//!
//! Nothing is spawned: whoever waits for an answer drives the connection too. Not responsible for rows (`stream`). Invariant:
//! no model is given to a server that has not said itself that the transaction only reads and that no answer is cut.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Connection, Text};
use super::definition::Definition;
use super::error::{self, Failure, Said};
use super::greeting::{Door, enter, is_sealing_key};
use crate::points::is_planted;
use crate::shutdown::blocking;
use crate::small_file;
use crate::source::cancel::{self, CancelOnDrop, Cancels};
use crate::source::error::Error;
use crate::source::remote::{Remote, Tls};
use crate::source::socket::Address;
use crate::source::tls;

/// A session in its transaction.
pub struct Session {
    pub connection: Connection,
    cancel: CancelOnDrop,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Whose variables a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    MySql,
    MariaDb,
}

impl Session {
    /// Connects, begins the transaction and has the server say what it is. Dropped, it ends.
    ///
    /// # Errors
    /// The server is not there, refuses, or does not keep to a transaction that only reads.
    pub async fn open(
        definition: &Definition,
        name: &str,
        cancels: &Cancels,
    ) -> Result<Session, Error> {
        let remote = &definition.remote;
        let place = remote.place();
        let opening = Box::pin(Session::begin(definition, name, cancels, &place));
        match timeout(remote.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::Missing(format!(
                "{place} did not answer within {:?}; check that the server is up, or raise `connect_timeout`",
                remote.connect_timeout
            ))),
        }
    }

    async fn begin(
        definition: &Definition,
        name: &str,
        cancels: &Cancels,
        place: &str,
    ) -> Result<Session, Error> {
        let Definition { remote, server_key, .. } = definition;
        let tls = match &remote.tls {
            Tls::Off => None,
            Tls::On(trust) => match blocking(|| tls::client(trust)) {
                Ok(client) => Some(Arc::new(client)),
                Err(why) => {
                    return Err(Error::Definition(format!("{place} cannot be asked: {why}")));
                }
            },
        };
        let key = match server_key {
            None => None,
            Some(path) => Some(blocking(|| sealing_key(path)).map_err(|why| {
                Error::Definition(format!(
                    "{place} cannot be asked: the key `{}` {why}; correct `server_public_key`",
                    path.display()
                ))
            })?),
        };
        let door = Door { remote: remote.clone(), tls, key };
        let entered = enter(&door, &Address::of(remote, None), name).await;
        let (packets, address) = entered.map_err(|failure| error::connecting(&failure, place))?;
        let mut connection = Connection::new(packets);
        let planned = |failure: Failure| error::planning(&failure, place);
        let asked = connection.ask("SELECT VERSION(), CONNECTION_ID()").await.map_err(planned)?;
        let word = |at: usize| asked.0.first().and_then(|row| row.get(at)?.clone());
        let server = match connection.ask(WHICH).await {
            Ok((rows, _)) => Some(rows),
            // Not every server has all of it. It is read all the same.
            Err(Failure::Said(_)) => None,
            Err(failure) => return Err(planned(failure)),
        };
        let family = match word(0).is_some_and(|it| it.to_ascii_lowercase().contains("mariadb")) {
            true => Family::MariaDb,
            false => Family::MySql,
        };
        // What the greeting says may be a proxy's.
        let id = word(1).and_then(|id| id.parse::<u64>().ok());
        let id = id.ok_or_else(|| planned(Failure::Malformed))?;
        let cancel = cancels.on_drop(place, end(door, address, server, id));
        for statement in beginning(remote, family) {
            connection.ask(&statement).await.map_err(planned)?;
        }
        let (_, begun) = connection.ask(START).await.map_err(planned)?;
        check(&mut connection, place, begun.only_reads()).await?;
        Ok(Session { connection, cancel })
    }

    /// The end of a session that has nothing to end any more.
    pub async fn close(self) {
        self.cancel.disarm();
        self.connection.leave().await;
    }
}

/// The file with the server's key, in PEM.
fn sealing_key(path: &Path) -> Result<Vec<u8>, String> {
    let read = small_file::read(path, tls::LONGEST_FILE);
    let key = read.map_err(|error| format!("cannot be read: {error}"))?;
    match is_sealing_key(&key) {
        true => Ok(key),
        false => Err("is no public key of RSA in PEM, as `SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'` shows it".to_owned()),
    }
}

/// The transaction. What the one statement reads is of one moment, which comes with it: a snapshot that is made before would hide
/// the rows of a table that was loaded since and then took the place of the one that is named.
pub const START: &str = "START TRANSACTION READ ONLY";

/// By which servers behind one address are told apart.
const WHICH: &str = "SELECT @@hostname, @@port, @@server_id";

/// `ER_UNKNOWN_SYSTEM_VARIABLE`.
const UNKNOWN_VARIABLE: u16 = 1193;

/// `ER_NO_SUCH_THREAD`: the session has ended by itself.
const NO_SUCH_THREAD: u16 = 1094;

/// Asks the server to end what the session of this number asked, over a connection of its own: of another server the number is
/// that of somebody else's session, and so it may be where no server says which it is.
async fn end(door: Door, address: Address, server: Option<Vec<Text>>, id: u64) {
    let place = door.remote.place();
    let asked = async {
        let Some(server) = server else {
            return Ok(Some("its server does not say which one it is"));
        };
        let mut connection = Connection::new(enter(&door, &address, "counterflow").await?.0);
        if connection.ask(WHICH).await?.0 != server {
            return Ok(Some("another server answers than the one that it was asked of"));
        }
        connection.ask(&format!("KILL QUERY {id}")).await?;
        connection.leave().await;
        Ok::<_, Failure>(None)
    };
    let why = match asked.await {
        Ok(None) => return,
        Ok(Some(why)) => why.to_owned(),
        Err(Failure::Said(Said { code: NO_SUCH_THREAD, .. })) => return,
        Err(failure) => error::word(&failure),
    };
    cancel::not_cancelled(&place, &why);
}

/// What holds in the session: the settings of the source, then ours.
fn beginning(remote: &Remote, family: Family) -> Vec<String> {
    let mut said = vec!["SET NAMES utf8mb4".to_owned()];
    let of_source = remote.settings.iter();
    said.extend(of_source.map(|(name, value)| format!("SET SESSION {name} = {}", literal(value))));
    said.push(
        "SET SESSION sql_mode = CONCAT_WS(',', NULLIF(@@SESSION.sql_mode, ''), 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES')"
            .to_owned(),
    );
    // An answer of millions of rows may be held back for long by its destination, and a session may wait for what others read.
    let mut ours =
        "SET SESSION time_zone = '+00:00', net_write_timeout = 86400, wait_timeout = 86400, \
                    lock_wait_timeout = 30, max_error_count = 65535"
            .to_owned();
    if !is_planted("limit_select_left") {
        ours += ", sql_select_limit = 18446744073709551615";
    }
    if family == Family::MariaDb {
        ours += ", idle_transaction_timeout = 86400, idle_readonly_transaction_timeout = 86400";
    }
    if let Some(time) = remote.statement_timeout {
        ours += &limit(time, family);
    }
    said.push(ours);
    // Of the session too: a statement that commits by itself would end the transaction's own.
    said.push("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned());
    said
}

fn limit(time: Duration, family: Family) -> String {
    match family {
        Family::MySql => format!(", max_execution_time = {}", time.as_millis().max(1)),
        Family::MariaDb => {
            format!(", max_statement_time = {}.{:06}", time.as_secs(), time.subsec_micros())
        }
    }
}

/// A name in SQL.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Numbers as they are; text as [`text`].
fn literal(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(_) => value.to_owned(),
        Err(_) => text(value),
    }
}

/// Text in a form that no mode of SQL reads otherwise.
pub fn text(value: &str) -> String {
    let mut out = "_utf8mb4 X'".to_owned();
    for byte in value.bytes() {
        write!(out, "{byte:02X}").expect("a String takes every write");
    }
    out.push('\'');
    out
}

/// Asks how the session is, whose variables of transactions begin so.
fn kept(prefix: &str) -> String {
    format!(
        "SELECT @@SESSION.{prefix}_read_only, @@SESSION.{prefix}_isolation, @@SESSION.time_zone, @@SESSION.sql_select_limit, \
         @@SESSION.character_set_results"
    )
}

/// Has the server say how the session is.
async fn check(connection: &mut Connection, place: &str, only_reads: bool) -> Result<(), Error> {
    let (rows, _) = match connection.ask(&kept("transaction")).await {
        // As MySQL before 5.7.20 and MariaDB before 11.1 call them.
        Err(Failure::Said(Said { code: UNKNOWN_VARIABLE, .. })) => {
            connection.ask(&kept("tx")).await
        }
        answered => answered,
    }
    .map_err(|failure| error::planning(&failure, place))?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let word = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    if !only_reads || word(0) != "1" || word(1) != "REPEATABLE-READ" || word(2) != "+00:00" {
        return Err(Error::Definition(format!(
            "{place} does not keep to a transaction that only reads, as a proxy that hands out statements does not; name the \
             server itself"
        )));
    }
    if word(4) != "utf8mb4" {
        return Err(Error::Definition(format!(
            "{place} answers in another character set than was asked for, as a proxy may have it; name the server itself"
        )));
    }
    if word(3) != "18446744073709551615" && !is_planted("limit_select_left") {
        return Err(Error::Definition(format!(
            "{place} keeps a `sql_select_limit`, which would cut answers; remove it from the server or the proxy before it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::remote::example;

    #[test]
    fn what_the_source_sets_comes_before_what_is_ours_and_cannot_leave_its_place() {
        let mut remote = example();
        remote.settings = vec![
            ("sql_mode".into(), "ANSI', x = '".into()),
            ("group_concat_max_len".into(), "1000".into()),
        ];
        remote.statement_timeout = Some(Duration::from_millis(1_500));
        let said = beginning(&remote, Family::MariaDb);
        let at = |words: &str| {
            said.iter().position(|it| it.contains(words)).unwrap_or_else(|| panic!("no {words}"))
        };
        assert!(at("sql_mode = _utf8mb4 X'414E5349272C2078203D2027'") < at("STRICT_ALL_TABLES"));
        assert!(at("group_concat_max_len = 1000") < at("sql_select_limit = 18446744073709551615"));
        assert!(at("max_statement_time = 1.500000") < at("READ ONLY"));
        let said = beginning(&remote, Family::MySql).join("; ");
        assert!(said.contains("max_execution_time = 1500") && !said.contains("idle_"), "{said}");
        remote.statement_timeout = None;
        assert!(!beginning(&remote, Family::MySql).join("; ").contains("max_execution_time"));
    }
}
