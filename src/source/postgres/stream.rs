//! The answer to a model's query, read by one binary COPY to its proven end.
//!
//! Not responsible for what fields mean (`decode`). Invariant: it ends without an error only after the server has sent its
//! trailer, has ended the COPY, has answered in the same transaction and has committed it.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::decode::Decoder;
use super::error::{planning, reading, too_long};
use super::frames::{self, Frames, TOO_LONG, Wrong};
use super::locked::Locked;
use super::session::{Session, identifier, literal};
use super::sessions::Sessions;
use super::volatile;
use super::wire::{self, Asked};
use crate::points::is_planted;
use crate::source::database::{self, send};
use crate::source::error::Error;
use crate::source::restriction::{Restriction, Words};
use crate::source::trimmed::{Dialect, trimmed};

/// A query that a server has planned, in a session that waits to be asked for its answer.
pub struct Scan {
    sessions: Arc<Sessions>,
    sql: String,
    columns: Vec<Asked>,
    schema: SchemaRef,
    types: Vec<String>,
    volatile: Vec<String>,
    is_infinity_null: bool,
    /// By which its rows are named.
    primary_key: Vec<String>,
    /// Which rows are asked for; all where there is none.
    predicate: Option<String>,
    /// The model, or a table of it, for messages.
    place: String,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan of {}", self.place)
    }
}

impl database::Scan for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn types(&self) -> &[String] {
        &self.types
    }

    fn volatile(&self) -> &[String] {
        &self.volatile
    }

    fn is_restricted(&self) -> bool {
        self.predicate.is_some()
    }

    fn read(
        self: Arc<Self>,
        columns: Vec<usize>,
        schema: SchemaRef,
        most_rows: usize,
        batches: mpsc::Sender<RecordBatch>,
    ) -> BoxFuture<'static, Result<Option<String>, Error>> {
        Box::pin(self.answer(columns, schema, most_rows, batches))
    }
}

/// A row that cannot be taken.
enum Untaken {
    Stream(Wrong),
    Row(Error),
}

impl From<Wrong> for Untaken {
    fn from(wrong: Wrong) -> Self {
        Untaken::Stream(wrong)
    }
}

impl Scan {
    /// Has the server plan the query of the model or the table at `place`. One of the sessions will be asked for its answer, and
    /// `session` is asked now.
    ///
    /// # Errors
    /// It is not one query that only reads, or has columns that cannot be had.
    pub async fn plan(
        sessions: &Arc<Sessions>,
        session: &mut Session,
        sql: &str,
        place: &str,
    ) -> Result<Scan, Error> {
        let statement = session.ask(place, async |client| client.prepare(sql).await, planning);
        let statement = statement.await?;
        let refuse = |why: String| Err(Error::Definition(format!("{place} {why}")));
        if !statement.params().is_empty() {
            return refuse("has the placeholder `$1`; write the value itself".to_owned());
        }
        if statement.columns().is_empty() {
            return refuse("is no SELECT; a model may only read, so give it one".to_owned());
        }
        let mut columns = Vec::with_capacity(statement.columns().len());
        let mut fields: Vec<Field> = Vec::with_capacity(columns.capacity());
        for column in statement.columns() {
            let (name, kind) = (column.name(), column.type_());
            if name.is_empty() || name == "?column?" {
                return refuse("has a column without a name; give it one with `AS`".to_owned());
            }
            if fields.iter().any(|field| field.name() == name) {
                return refuse(format!(
                    "has two columns named `{name}`; give each its own name with `AS`"
                ));
            }
            let asked = match wire::asked(kind, column.type_modifier()) {
                Ok(asked) => asked,
                Err(why) => {
                    return refuse(format!(
                        "has the column `{name}` of type `{kind}`, which {why}"
                    ));
                }
            };
            fields.push(Field::new(name, asked.data_type(), true));
            columns.push(asked);
        }
        // As a table it can be nothing but one query; nothing of this is executed.
        let sql = trimmed(sql, Dialect::Postgres);
        let table = format!("SELECT FROM (\n{sql}\n) AS counterflow_model");
        session.ask(place, async |client| client.prepare(&table).await, no_query).await?;
        let mut scan = Scan {
            sessions: Arc::clone(sessions),
            sql: sql.to_owned(),
            columns,
            types: statement
                .columns()
                .iter()
                .map(|column| wire::name(column.type_(), column.type_modifier()))
                .collect(),
            schema: Arc::new(Schema::new(fields)),
            volatile: Vec::new(),
            is_infinity_null: sessions.is_infinity_null(),
            primary_key: Vec::new(),
            predicate: None,
            place: place.to_owned(),
        };
        let columns = (0..scan.columns.len()).collect::<Vec<_>>();
        let query = scan.query(&columns);
        sessions.hold(session, query.clone(), place).await?;
        scan.volatile = volatile::called(session, &query, place).await?;
        Ok(scan)
    }

    /// Has rows named by these columns.
    pub fn names_rows_by(&mut self, primary_key: &[String]) {
        self.primary_key = primary_key.to_vec();
    }

    /// Asks for no more than the restriction lets through, where it fits and the server can compare so.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn restrict(
        &mut self,
        session: &mut Session,
        restriction: &Restriction,
    ) -> Result<(), Error> {
        if !restriction.fits(&self.schema) {
            return Ok(());
        }
        let predicate = restriction.sql(&Words {
            identifier,
            text: literal,
            timestamp: |said| format!("TIMESTAMPTZ '{said}'"),
            nothing: self.is_infinity_null.then_some(|column| format!("{column} = '-infinity'")),
        });
        let sql = format!("SELECT FROM (\n{}\n) AS counterflow_model WHERE {predicate}", self.sql);
        let prepared = session.attempt(&self.place, async |client| client.prepare(&sql).await);
        let prepared = prepared.await?;
        // Refused for a column without an order, or a key that is none any more: of all rows none is missing.
        self.predicate = prepared.is_ok().then_some(predicate);
        Ok(())
    }

    async fn answer(
        self: Arc<Self>,
        columns: Vec<usize>,
        schema: SchemaRef,
        most_rows: usize,
        batches: mpsc::Sender<RecordBatch>,
    ) -> Result<Option<String>, Error> {
        let Some(mut session) = self.sessions.take() else {
            return Err(Error::Query(format!("{} was to be read twice", self.place)));
        };
        let place = &self.place;
        let held = Locked::by(&mut session, place).await?;
        let copy = format!("COPY (\n{}\n) TO STDOUT (FORMAT binary)", self.query(&columns));
        let answer = session.ask(place, async |client| client.copy_out(&*copy).await, reading);
        let mut answer = Box::pin(answer.await?);
        let asked = columns.iter().map(|column| self.columns[*column]);
        let is_infinity_null = self.is_infinity_null;
        let (keys, place_said) = (&self.primary_key, place.clone());
        let mut decoder =
            Decoder::new(asked, schema, keys, is_infinity_null, most_rows, place_said);
        let mut frames = Frames::default();
        loop {
            let piece = session.drive(place, answer.try_next(), reading).await;
            let piece = match piece {
                Err(_) if is_planted("copy_end_believed") => None,
                piece => piece?,
            };
            let Some(piece) = piece else { break };
            let take = |row: frames::Row<'_>| decoder.row(row).map_err(Untaken::Row);
            frames.feed(piece, columns.len(), take).map_err(|untaken| match untaken {
                Untaken::Row(error) => error,
                Untaken::Stream(TOO_LONG) => too_long(place),
                Untaken::Stream(wrong) => self.damaged(wrong),
            })?;
            if decoder.is_full() {
                send(decoder.batch(), &batches).await;
            }
        }
        send(decoder.batch(), &batches).await;
        if is_planted("copy_end_believed") {
            return Ok(None);
        }
        if !frames::is_whole(&frames) {
            return Err(self.damaged("it ended before its trailer"));
        }
        // The end of a COPY is not the end of its statement: an error behind it shows here, as nothing works in a transaction
        // that has failed.
        let read = Locked::by(&mut session, place).await?;
        session.ask(place, async |client| client.simple_query("COMMIT").await, reading).await?;
        session.close();
        Ok(held.doubt(&read, place))
    }

    fn damaged(&self, wrong: Wrong) -> Error {
        Error::Damaged(format!(
            "the answer to {} is damaged: {wrong}; check what stands between here and the server",
            self.place
        ))
    }

    /// The question for these columns; the model's own SQL where they are all of them, as they are.
    fn query(&self, columns: &[usize]) -> String {
        let is_all = columns.iter().copied().eq(0..self.columns.len());
        let sql = &self.sql;
        if is_all
            && self.predicate.is_none()
            && self.columns.iter().all(|asked| asked.cast.is_none())
        {
            return sql.clone();
        }
        let column = |column: &usize| {
            let name = identifier(self.schema.field(*column).name());
            match self.columns[*column].cast {
                Some(cast) => format!("{name}::{cast} AS {name}"),
                None => name,
            }
        };
        let list: Vec<String> = columns.iter().map(column).collect();
        let list = list.join(", ");
        let predicate = self.predicate.as_ref();
        let condition =
            predicate.map_or_else(String::new, |predicate| format!(" WHERE {predicate}"));
        format!("SELECT {list} FROM (\n{sql}\n) AS counterflow_model{condition}")
    }
}

/// Of a statement that was planned, and cannot be a table: it is told what it is.
fn no_query(failure: &tokio_postgres::Error, place: &str) -> Error {
    match failure.as_db_error().map(|said| said.code().code()) {
        Some("42601") => Error::Definition(format!(
            "{place} is no SELECT; a model may only read, so give it one SELECT, VALUES or TABLE"
        )),
        Some("0A000") => Error::Definition(format!(
            "{place} writes within `WITH`; a model may only read, so give it one SELECT"
        )),
        _ => planning(failure, place),
    }
}
