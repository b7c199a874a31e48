//! The databases of which a model joins tables with others: their sessions, and how often each is asked.
//!
//! Not responsible for what a table's answer is (`postgres`, `mysql`) nor for its end (`database`). Guard: whatever a read takes
//! of one database is of one state of it; where the database cannot have that, it is asked once or not at all.

use std::sync::Arc;

use super::database::{DatabaseTable, Ended, Scan};
use super::definition::{Access, Definition};
use super::error::Error;
use super::moment::{Held, Moment};
use super::mysql;
use super::postgres::{self, Sessions};
use super::reader::Settings;
use super::remote::Remote;
use super::table::{Named, Opened};
use super::watched::Watched;
use super::weights::Weights;

/// Those that one read asks, as they are come upon.
pub(super) struct Databases<'s> {
    model: &'s str,
    settings: &'s Settings,
    moment: &'s Moment,
    begun: Vec<Joined>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Joined {
    source: String,
    /// Of PostgreSQL.
    sessions: Option<Arc<Sessions>>,
    /// The ends of its tables.
    tables: Vec<Arc<Ended>>,
}

impl<'s> Databases<'s> {
    /// For a read of the model which sees the states of the moment.
    pub fn new(model: &'s str, settings: &'s Settings, moment: &'s Moment) -> Databases<'s> {
        Databases { model, settings, moment, begun: Vec::new() }
    }

    /// The table, whose columns the database says.
    ///
    /// # Errors
    /// The database is not there, or refuses the table's SQL.
    pub async fn table(&mut self, named: &Named<'_>) -> Result<Opened, Error> {
        let Named { name, source } = named;
        let place = format!("table `{name}` of model `{}`", self.model);
        let remote = source.access.remote().expect("it is a database");
        let sql = sql(remote, name.table());
        let joined = self.joined_of(source);
        let scan: Result<Arc<dyn Scan>, Error> = match (&source.access, &joined.sessions) {
            (Access::MySql(definition), _) => {
                let query =
                    mysql::Query { sql, primary_key: &[], restriction: None, is_table: true };
                let scan = mysql::plan(definition, &query, &place, self.settings).await;
                scan.map(|scan| Arc::new(scan) as Arc<dyn Scan>)
            }
            (_, sessions) => {
                let sessions = sessions.as_ref().expect("PostgreSQL has them");
                let scan = postgres::plan_table(sql, &place, sessions).await;
                scan.map(|scan| Arc::new(scan) as Arc<dyn Scan>)
            }
        };
        let scan = scan.map_err(|error| remote.unsaid(error))?;
        let ended = Arc::new(Ended::of_part(place));
        self.joined_of(source).tables.push(Arc::clone(&ended));
        let watched = Watched::Query(Arc::clone(&ended));
        let volatile = scan.volatile().to_vec();
        let provider = Arc::new(DatabaseTable { scan, ended });
        Ok(Opened { volatile, ..Opened::new(provider, watched, Weights::default()) })
    }

    fn joined_of(&mut self, source: &Definition) -> &mut Joined {
        let known = self.begun.iter().position(|joined| joined.source == source.name);
        let place = known.unwrap_or_else(|| {
            for warning in source.warnings() {
                tracing::warn!("{warning}");
            }
            let sessions = match &source.access {
                Access::Postgres(definition) => {
                    let at = self.moment.of(&source.name);
                    Some(Sessions::new(definition, self.settings, at))
                }
                Access::MySql(_) | Access::Files(_) => None,
            };
            let source = source.name.clone();
            self.begun.push(Joined { source, sessions, tables: Vec::new() });
            self.begun.len() - 1
        });
        &mut self.begun[place]
    }

    /// The states that the read holds open.
    pub fn held(&self) -> Held {
        let held = self.begun.iter().filter_map(|joined| {
            let sessions = joined.sessions.as_ref()?;
            Some((joined.source.clone(), Arc::downgrade(sessions)))
        });
        Held(held.collect())
    }

    /// Which databases they are, of those that say so.
    pub fn identities(&self) -> Vec<String> {
        let identity = |joined: &Joined| joined.sessions.as_ref()?.identity();
        self.begun.iter().filter_map(identity).collect()
    }

    /// All that were come upon.
    pub fn joined(self) -> Vec<Arc<Joined>> {
        self.begun.into_iter().map(Arc::new).collect()
    }
}

/// Sessions that one read has with a server; the keys that are looked at first take as many again.
const MOST_SESSIONS: usize = 16;

impl Joined {
    /// How many answers the plan wants, which has been made by then.
    fn answers(&self) -> usize {
        self.tables.iter().map(|ended| ended.answers()).sum()
    }

    /// Whether the plan of the model at `place` can have all that it asks for, of one state and of no more sessions than there
    /// may be.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self, place: &str) -> Result<(), Error> {
        let (answers, source) = (self.answers(), &self.source);
        match self.sessions {
            None if answers > 1 => Err(asked_twice(place, source)),
            Some(_) if answers > MOST_SESSIONS => Err(Error::Definition(format!(
                "{place} reads {answers} times from `{source}`, and each takes a session with the server, of which a model has \
                 {MOST_SESSIONS} at most; join what it has in the `sql` of one of its `tables`"
            ))),
            _ => Ok(()),
        }
    }

    /// Has as many sessions wait as the plan wants answers, which all see one state.
    ///
    /// # Errors
    /// As [`Sessions::await_readers`].
    pub async fn await_readers(&self) -> Result<(), Error> {
        match &self.sessions {
            Some(sessions) => sessions.await_readers(self.answers()).await,
            None => Ok(()),
        }
    }
}

/// Of a model at `place` that asks a database more than once, of which two sessions cannot see one state.
pub(super) fn asked_twice(place: &str, source: &str) -> Error {
    Error::Definition(format!(
        "{place} reads more than once from `{source}`, and two answers of MySQL are of two states of it; join what it has in the \
         `sql` of one of its `tables`, and read that once"
    ))
}

fn sql<'r>(remote: &'r Remote, table: &str) -> &'r str {
    let found = remote.tables.iter().find(|queried| queried.name == table);
    &found.expect("the SQL was checked against it").sql
}
