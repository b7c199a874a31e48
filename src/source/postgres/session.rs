//! A session with a server: one transaction that only reads.
//!
//! One that holds what will be read has no state of its own: a table that somebody empties, fills again or puts in place of
//! another while we wait for it is empty to whoever looks at an earlier state. One that reads begins behind it and sees one
//! state for all that it does.
//!
//! Nothing is spawned: whoever waits for an answer drives the connection too. Not responsible for rows (`stream`). Invariant:
//! no model is given to a server that has not said itself that the transaction only reads.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{
    CancelToken, Client, Config, Error as Failure, NoTls, SimpleQueryMessage, SimpleQueryRow,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::bounded::{Bounded, Bounding};
use super::definition::Definition;
use super::passfile::Found;
use super::sees::Sees;
use super::{error, passfile};
use crate::points::is_planted;
use crate::shutdown::blocking;
use crate::source::cancel::{self, CancelOnDrop, Cancels};
use crate::source::error::Error;
use crate::source::remote::{Remote, Tls};
use crate::source::silence::heard;
use crate::source::socket::{Address, Stream, reach};
use crate::source::tls;

/// How long a session that is left is waited for.
const LEAVE: Duration = Duration::from_secs(1);

/// A session in its transaction.
pub struct Session {
    pub client: Client,
    link: Link,
    cancel: CancelOnDrop,
    pub idle_timeout: Duration,
    server_version: String,
}

/// The connection itself, which only moves while it is driven.
struct Link {
    connection: Option<BoxFuture<'static, Result<(), Failure>>>,
    /// Why it ended, until that is told.
    cause: Option<Failure>,
}

/// What encrypts one connection.
type Encrypting = <MakeRustlsConnect as MakeTlsConnect<Stream>>::TlsConnect;

/// How a server is greeted.
enum Greeting {
    Plain,
    Encrypted(Encrypting),
}

/// The question to end a query.
struct Cancel {
    place: String,
    token: CancelToken,
    address: Address,
    greeting: Greeting,
}

impl Cancel {
    /// Sends it, over a connection of its own. Whether the query ended is not said.
    async fn send(self) {
        let sent = match (reach(&self.address).await, self.greeting) {
            (Err(error), _) => Err(error.to_string()),
            (Ok((wire, _)), greeting) => match greeting {
                Greeting::Plain => self.token.cancel_query_raw(wire, NoTls).await,
                Greeting::Encrypted(tls) => self.token.cancel_query_raw(wire, tls).await,
            }
            .map_err(|error| error.to_string()),
        };
        if let Err(why) = sent {
            cancel::not_cancelled(&self.place, &why);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("server_version", &self.server_version)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Waits for `work`, which the connection has to bring forward.
    async fn drive<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        let Some(connection) = &mut self.connection else {
            let told = |error: Failure| match error.is_closed() {
                true => self.cause.take().unwrap_or(error),
                false => error,
            };
            return work.await.map_err(told);
        };
        let ended = tokio::select! {
            biased;
            done = &mut work => return done,
            ended = connection => ended,
        };
        self.connection = None;
        // What came before the end may be the answer, or say why it ended.
        match (work.await, ended) {
            (Err(error), Err(cause)) if error.is_closed() => Err(cause),
            (done, ended) => {
                self.cause = ended.err();
                done
            }
        }
    }
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
        sees: Sees<'_>,
    ) -> Result<Session, Error> {
        let place = definition.remote.place();
        let opening = Session::begin(definition, name, cancels, sees, &place);
        match timeout(definition.remote.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::Missing(format!(
                "{place} did not answer within {:?}; check that the server is up, or raise `connect_timeout`",
                definition.remote.connect_timeout
            ))),
        }
    }

    async fn begin(
        definition: &Definition,
        name: &str,
        cancels: &Cancels,
        sees: Sees<'_>,
        place: &str,
    ) -> Result<Session, Error> {
        let (config, lacks) = config(definition, name).map_err(|why| unusable(place, &why))?;
        let failed = |failure: Failure| error::connecting(&failure, place, lacks.as_deref());
        let file = format!(".s.PGSQL.{}", definition.remote.port);
        let reached = reach(&Address::of(&definition.remote, Some(&file))).await;
        let (wire, address) = reached.map_err(|why| error::unreached(&why, place))?;
        let (client, link, greeting, version) = match &definition.remote.tls {
            Tls::Off => {
                let connected = config.connect_raw(Bounded::new(wire), NoTls).await;
                let (client, connection) = connected.map_err(failed)?;
                let version = connection.parameter("server_version").unwrap_or("").to_owned();
                (client, Link::of(connection), Greeting::Plain, version)
            }
            Tls::On(trust) => {
                let tls = blocking(|| tls::client(trust)).map_err(|why| unusable(place, &why))?;
                let mut tls = MakeRustlsConnect::new(tls);
                let bounding = Bounding(encrypting(&mut tls, &definition.remote));
                let connected = config.connect_raw(wire, bounding).await;
                let (client, connection) = connected.map_err(failed)?;
                let version = connection.parameter("server_version").unwrap_or("").to_owned();
                let greeting = Greeting::Encrypted(encrypting(&mut tls, &definition.remote));
                (client, Link::of(connection), greeting, version)
            }
        };
        let token = client.cancel_token();
        let cancel = Cancel { place: place.to_owned(), token, address, greeting };
        let mut session = Session {
            client,
            link,
            cancel: cancels.on_drop(place, cancel.send()),
            idle_timeout: definition.remote.idle_timeout,
            server_version: version,
        };
        let planned = |failure: Failure| error::planning(&failure, place);
        let begin = format!("BEGIN ISOLATION LEVEL {} READ ONLY;\n", sees.level());
        let settings = settings(definition, sees.patience());
        match sees {
            // The first statement of all, as any other would have the transaction see a state of its own.
            Sees::Shared(at) if !is_planted("state_of_its_own") => {
                let shared = format!("{begin}SET TRANSACTION SNAPSHOT {}", literal(at));
                let shared = session.link.drive(session.client.batch_execute(&shared)).await;
                shared.map_err(|failure| error::sharing(&failure, place))?;
                let set = session.link.drive(session.client.batch_execute(&settings)).await;
                set.map_err(planned)?;
            }
            // In one message: the state and what `now()` says are of one moment.
            _ => {
                let begin = begin + &settings;
                let begun = session.link.drive(session.client.batch_execute(&begin)).await;
                begun.map_err(planned)?;
            }
        }
        session.watch_client().await.map_err(planned)?;
        session.check(sees.level(), place).await?;
        Ok(session)
    }

    /// Waits for what the client asked, and drives the connection meanwhile. A server that says nothing for the time that the
    /// source gives it is given up.
    pub async fn drive<T>(
        &mut self,
        place: &str,
        work: impl Future<Output = Result<T, Failure>>,
        named: fn(&Failure, &str) -> Error,
    ) -> Result<T, Error> {
        drive(&mut self.link, self.idle_timeout, place, work, named).await
    }

    /// As [`Session::drive`], of what the client is asked now.
    pub async fn ask<T>(
        &mut self,
        place: &str,
        ask: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
        named: fn(&Failure, &str) -> Error,
    ) -> Result<T, Error> {
        drive(&mut self.link, self.idle_timeout, place, ask(&self.client), named).await
    }

    /// Has the transaction hold all that the query reads, views, partitions and what stands behind them, until it ends: nobody
    /// can empty it, write it anew or put something else in its place between here and the last row. To plan the query is what
    /// takes the locks, and looks whether it may be read. What functions read is not held. `false`: others hold it for longer
    /// than they are waited for, and the session is of no use any more.
    ///
    /// # Errors
    /// The server does not plan it, or is gone.
    pub async fn hold(&mut self, query: &str, place: &str) -> Result<bool, Error> {
        let explain = format!("EXPLAIN (COSTS OFF)\n{query}");
        let ask = async |client: &Client| {
            let planned = async {
                let mut lines = pin!(client.simple_query_raw(&explain).await?);
                while lines.try_next().await?.is_some() {}
                Ok(true)
            };
            match planned.await {
                Err(failure) if error::is_locked(&failure) => Ok(false),
                done => done,
            }
        };
        self.ask(place, ask, error::holding).await
    }

    /// What tells this database from another one at the same address: its number, and that of its cluster where the role may ask
    /// for it. A copy of the files, such as a standby, has the same; what was loaded from a dump has not.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn identity(&mut self, place: &str) -> Result<String, Error> {
        const ASKED: &str = "SELECT (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()), \
                             pg_catalog.has_function_privilege(\
                             pg_catalog.to_regprocedure('pg_catalog.pg_control_system()'), 'execute')";
        const CLUSTER: &str = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        let ask = async |client: &Client| client.simple_query(ASKED).await;
        let row = first(self.ask(place, ask, error::planning).await?);
        let word = |row: &Option<SimpleQueryRow>, at: usize| {
            let word = row.as_ref().and_then(|row| row.try_get(at).ok().flatten());
            word.unwrap_or("-").to_owned()
        };
        let database = word(&row, 0);
        if word(&row, 1) != "t" {
            return Ok(format!("database {database}"));
        }
        let ask = async |client: &Client| client.simple_query(CLUSTER).await;
        let row = first(self.ask(place, ask, error::planning).await?);
        Ok(format!("database {database} of cluster {}", word(&row, 0)))
    }

    /// The name under which other sessions can see the state that this one sees, as long as its transaction lasts.
    ///
    /// # Errors
    /// The server cannot share it, or is gone.
    pub async fn export(&mut self, place: &str) -> Result<String, Error> {
        const EXPORT: &str = "SELECT pg_export_snapshot()";
        let ask = async |client: &Client| client.simple_query(EXPORT).await;
        let row = first(self.ask(place, ask, error::sharing).await?);
        let name = row.as_ref().and_then(|row| row.try_get(0).ok().flatten());
        name.map(str::to_owned).ok_or_else(|| {
            Error::Damaged(format!(
                "{place} did not name the state that it shares; check the server"
            ))
        })
    }

    /// The end of a session whose transaction has not ended.
    pub async fn leave(mut self) {
        // Where it does not go through the server sees it by the socket.
        let _ = timeout(LEAVE, self.link.drive(self.client.simple_query("ROLLBACK"))).await;
        self.close();
    }

    /// The end of a session that has nothing to end any more.
    pub fn close(self) {
        self.cancel.disarm();
    }

    /// Has the server look whether the client is still there, where it can: then no query goes on after its reader was killed.
    async fn watch_client(&mut self) -> Result<(), Failure> {
        let major = self.server_version.split(['.', ' ']).next().unwrap_or_default();
        if major.parse::<u32>().is_ok_and(|major| major < 14) {
            return Ok(());
        }
        const SET: &str = "SAVEPOINT counterflow; SET LOCAL client_connection_check_interval = 500; \
                           RELEASE SAVEPOINT counterflow";
        let set = self.link.drive(self.client.batch_execute(SET)).await;
        match set {
            // Not every system can.
            Err(failure) if failure.as_db_error().is_some() => {
                let back = "ROLLBACK TO SAVEPOINT counterflow; RELEASE SAVEPOINT counterflow";
                self.link.drive(self.client.batch_execute(back)).await
            }
            set => set,
        }
    }

    /// Has the server say how the transaction is. From its first question on it can be made neither another nor one that
    /// writes.
    async fn check(&mut self, level: &str, place: &str) -> Result<(), Error> {
        const ASKED: &str = "SELECT current_setting('transaction_read_only'), \
                             current_setting('transaction_isolation')";
        let answer = self.link.drive(self.client.simple_query(ASKED)).await;
        let answer = answer.map_err(|failure| error::planning(&failure, place))?;
        let row = first(answer);
        let word = |at: usize| row.as_ref().and_then(|row| row.try_get(at).ok().flatten());
        if word(0) != Some("on") || word(1) != Some(level) {
            return Err(Error::Definition(format!(
                "{place} does not keep to a transaction that only reads, as a pooler that hands out statements does not; name \
                 the server itself, or a pooler in transaction mode"
            )));
        }
        Ok(())
    }
}

/// The first row of an answer.
fn first(answer: Vec<SimpleQueryMessage>) -> Option<SimpleQueryRow> {
    answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

/// See [`Session::drive`].
async fn drive<T>(
    link: &mut Link,
    idle_timeout: Duration,
    place: &str,
    work: impl Future<Output = Result<T, Failure>>,
    named: fn(&Failure, &str) -> Error,
) -> Result<T, Error> {
    match heard(idle_timeout, link.drive(work)).await {
        Ok(done) => done.map_err(|failure| named(&failure, place)),
        Err(_) => Err(Error::Missing(format!(
            "{place}: the database said nothing for {idle_timeout:?}; make the query quicker, or raise `idle_timeout` at the \
             source"
        ))),
    }
}

impl Link {
    fn of(connection: impl Future<Output = Result<(), Failure>> + Send + 'static) -> Link {
        let connection: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connection);
        Link { connection: Some(connection), cause: None }
    }
}

fn encrypting(tls: &mut MakeRustlsConnect, remote: &Remote) -> Encrypting {
    let host = remote.host.trim_matches(['[', ']']);
    match MakeTlsConnect::<Stream>::make_tls_connect(tls, host) {
        Ok(encrypting) => encrypting,
        Err(never) => match never {},
    }
}

fn unusable(place: &str, why: &str) -> Error {
    Error::Definition(format!("{place} cannot be asked: {why}"))
}

/// How it is asked; and why there is no password for it, as far as that is known.
fn config(definition: &Definition, name: &str) -> Result<(Config, Option<String>), String> {
    let mut config = Config::new();
    config.dbname(&definition.remote.database).user(&definition.remote.user).application_name(name);
    let Found { password, lacks } = match &definition.remote.password {
        Some(password) => Found { password: Some(password.clone()), lacks: None },
        None => blocking(|| passfile::look_up(&definition.remote))?,
    };
    if let Some(password) = password {
        config.password(password.expose());
    }
    match &definition.remote.tls {
        Tls::Off => {
            config.ssl_mode(SslMode::Disable).channel_binding(ChannelBinding::Disable);
        }
        Tls::On(trust) => {
            config.ssl_mode(SslMode::Require);
            if trust.needs_channel_binding {
                config.channel_binding(ChannelBinding::Require);
            }
        }
    }
    Ok((config, lacks))
}

/// The settings that hold in the transaction, which waits for locks with this `patience`: those of the source, then ours.
/// None outlives it, so that poolers may stand in between.
fn settings(definition: &Definition, patience: &str) -> String {
    let mut sql = String::new();
    if let Some(role) = &definition.role {
        sql += &format!("SET LOCAL ROLE {};\n", identifier(role));
    }
    let applies = definition.applies_row_security || is_planted("rls_filtered");
    let security = if applies { "on" } else { "off" };
    let timeout =
        definition.remote.statement_timeout.map(|timeout| timeout.as_millis().to_string());
    let ours = [
        ("statement_timeout", timeout.as_deref()),
        ("lock_timeout", Some(patience)),
        // A session may wait for what others read; of one whose client is gone the server is told by its socket.
        ("idle_in_transaction_session_timeout", Some("1d")),
        ("TimeZone", Some("UTC")),
        ("DateStyle", Some("ISO, YMD")),
        ("IntervalStyle", Some("iso_8601")),
        ("bytea_output", Some("hex")),
        ("extra_float_digits", Some("1")),
        ("client_encoding", Some("UTF8")),
        ("row_security", Some(security)),
    ];
    let ours = ours.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let theirs =
        definition.remote.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in theirs.chain(ours) {
        sql += &format!("SELECT set_config({}, {}, true);\n", literal(name), literal(value));
    }
    sql
}

/// A name of SQL, in quotes.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text in SQL, whatever the server takes a backslash for.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::super::definition::example;
    use super::*;

    #[test]
    fn what_the_source_sets_comes_before_what_is_ours_and_is_quoted() {
        let mut definition = Definition { role: Some("re\"porting".into()), ..example() };
        definition.remote.settings = vec![("search_path".into(), "a', \\b".into())];
        let sql = settings(&definition, "30s");
        let at = |words: &str| sql.find(words).unwrap_or_else(|| panic!("no {words} in {sql}"));
        assert!(at("SET LOCAL ROLE \"re\"\"porting\"") < at("E'search_path', E'a'', \\\\b', true"));
        assert!(at("E'search_path'") < at("set_config(E'row_security', E'off', true)"));
        assert!(!sql.contains("statement_timeout"), "{sql}");
    }
}
