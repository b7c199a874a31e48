//! The answer to a model's query, read row by row to its proven end.
//!
//! Not responsible for what fields mean (`decode`). Invariant: it ends without an error only after the server has ended the
//! answer, has warned of nothing that makes it shorter or cuts a value, and has committed the transaction.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::column::{Form, form, name};
use super::connection::{Described, End, Next};
use super::decode::{Answered, Decoder};
use super::definition::Definition;
use super::error::{Failure, Said, planning, reading};
use super::outside;
use super::session::{START, Session, identifier, text};
use super::volatile;
use crate::points::is_planted;
use crate::source::database::{self, send};
use crate::source::error::Error;
use crate::source::restriction::{Restriction, Words};
use crate::source::trimmed::{Dialect, locking, trimmed};

/// What a server is asked.
pub struct Query<'q> {
    pub sql: &'q str,
    /// By which its rows are named.
    pub primary_key: &'q [String],
    pub restriction: Option<&'q Restriction>,
    /// It is a table of a model.
    pub is_table: bool,
}

/// A query that a server has planned, in a session that waits to be asked for its answer.
pub struct Scan {
    planned: Mutex<Option<(Session, u32)>>,
    sql: String,
    /// The query is a table of a model, which is asked for no more columns than the model wants.
    is_table: bool,
    columns: Vec<(String, Form)>,
    types: Vec<String>,
    volatile: Vec<String>,
    schema: SchemaRef,
    is_restricted: bool,
    primary_key: Vec<String>,
    is_zero_date_null: bool,
    is_tinyint1_boolean: bool,
    /// The model, or a table of it, for messages.
    place: String,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan of {}", self.place)
    }
}

/// Of an answer that is not of the session's own transaction.
fn elsewhere(place: &str) -> Error {
    Error::Query(format!(
        "the answer to {place} came in another transaction than was begun, as a proxy that hands out statements gives it; name the \
         server itself"
    ))
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
        self.is_restricted
    }

    fn read(
        self: Arc<Self>,
        columns: Vec<usize>,
        schema: SchemaRef,
        most_rows: usize,
        batches: mpsc::Sender<RecordBatch>,
    ) -> BoxFuture<'static, Result<Option<String>, Error>> {
        Box::pin(
            async move { self.answer(columns, schema, most_rows, batches).await.map(|()| None) },
        )
    }
}

impl Scan {
    /// Has the server plan the query of the model or the table at `place`.
    ///
    /// # Errors
    /// It is not one query that only reads, or has columns that cannot be had.
    pub async fn plan(
        mut session: Session,
        definition: &Definition,
        query: &Query<'_>,
        place: &str,
    ) -> Result<Scan, Error> {
        let connection = &mut session.connection;
        let refuse = |why: String| Err(Error::Definition(format!("{place} {why}")));
        if let Some(words) = locking(query.sql) {
            return refuse(format!(
                "has `{words}`: a model may only read, and what is locked would be left out, or of another moment; remove it"
            ));
        }
        let prepared = connection.prepare(query.sql).await;
        let prepared = prepared.map_err(|failure| planning(&failure, place))?;
        if prepared.has_placeholders {
            return refuse("has the placeholder `?`; write the value itself".to_owned());
        }
        if prepared.columns.is_empty() {
            return refuse("is no SELECT; a model may only read, so give it one".to_owned());
        }
        let columns = match forms(&prepared.columns, definition.is_tinyint1_boolean) {
            Ok(columns) => columns,
            Err(why) => return refuse(why),
        };
        // As a table it can be nothing but one query; nothing of this is executed.
        let sql = trimmed(query.sql, Dialect::MySql);
        let table = format!("SELECT * FROM (\n{sql}\n) AS counterflow_model");
        let table =
            connection.prepare(&table).await.map_err(|failure| no_query(&failure, place))?;
        let forgotten = connection.forget(table.statement).await;
        forgotten.map_err(|failure| planning(&failure, place))?;
        match outside::of_columns(connection, &prepared.columns).await {
            Ok(tables) => tables.iter().for_each(|table| {
                tracing::warn!(model = place, "{}", outside::told(&format!("table `{table}` is")));
            }),
            // It is read all the same.
            Err(Failure::Said(_)) => {}
            Err(failure) => return Err(planning(&failure, place)),
        }
        let field = |(name, form): &(String, Form)| Field::new(name, form.data_type(), true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let (mut statement, mut is_restricted) = (prepared.statement, false);
        if let Some(restriction) = query.restriction.filter(|it| it.fits(&schema)) {
            let predicate = restriction.sql(&Words {
                identifier,
                text,
                // The session's zone is UTC.
                timestamp: |said| format!("TIMESTAMP '{}'", said.trim_end_matches('Z')),
                nothing: (definition.is_zero_date_null)
                    .then_some(|column| format!("MONTH({column}) = 0 OR DAYOFMONTH({column}) = 0")),
            });
            let sql = format!("SELECT * FROM (\n{sql}\n) AS counterflow_model WHERE {predicate}");
            match connection.prepare(&sql).await {
                Ok(restricted) => {
                    let forgotten = connection.forget(statement).await;
                    forgotten.map_err(|failure| planning(&failure, place))?;
                    (statement, is_restricted) = (restricted.statement, true);
                }
                // It cannot compare so: of all rows none is missing.
                Err(Failure::Said(_)) => {}
                Err(failure) => return Err(planning(&failure, place)),
            }
        }
        if is_planted("snapshot_made_early") {
            let early = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
            connection.ask(early).await.map_err(|failure| planning(&failure, place))?;
        }
        Ok(Scan {
            schema,
            is_restricted,
            columns,
            volatile: volatile::called(sql),
            types: prepared.columns.iter().map(name).collect(),
            planned: Mutex::new(Some((session, statement))),
            sql: sql.to_owned(),
            is_table: query.is_table,
            primary_key: query.primary_key.to_vec(),
            is_zero_date_null: definition.is_zero_date_null,
            is_tinyint1_boolean: definition.is_tinyint1_boolean,
            place: place.to_owned(),
        })
    }

    async fn answer(
        self: Arc<Self>,
        wanted: Vec<usize>,
        schema: SchemaRef,
        most_rows: usize,
        batches: mpsc::Sender<RecordBatch>,
    ) -> Result<(), Error> {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut session, mut statement)) = planned else {
            return Err(Error::Query(format!("{} was to be read twice", self.place)));
        };
        let failed = |failure: Failure| reading(&failure, &self.place);
        let connection = &mut session.connection;
        let (mut asked, mut wanted) = (self.columns.clone(), wanted);
        if self.is_table && wanted.len() < asked.len() {
            // Of no column at all there are no rows to count.
            let kept = if wanted.is_empty() { vec![0] } else { wanted.clone() };
            let names: Vec<_> = kept.iter().map(|column| identifier(&asked[*column].0)).collect();
            let (names, sql) = (names.join(", "), &self.sql);
            let narrow = format!("SELECT {names} FROM (\n{sql}\n) AS counterflow_model");
            let narrow = connection.prepare(&narrow).await.map_err(failed)?;
            connection.forget(statement).await.map_err(failed)?;
            statement = narrow.statement;
            asked = kept.iter().map(|column| asked[*column].clone()).collect();
            wanted = (0..wanted.len()).collect();
        }
        // Anew, with nothing of ours between here and the rows: what was looked up since the session began may have given the
        // transaction a state already, as tables of `information_schema` do where they are InnoDB's.
        if !is_planted("snapshot_made_early") {
            let (_, begun) = connection.ask(START).await.map_err(failed)?;
            if !begun.only_reads() {
                return Err(elsewhere(&self.place));
            }
        }
        let columns = connection.execute(statement).await.map_err(failed)?;
        // The tables may have changed since, as the server itself looks only when it is asked.
        if forms(&columns, self.is_tinyint1_boolean).as_ref() != Ok(&asked) {
            let said = Said { code: TABLE_CHANGED, message: String::new() };
            return Err(failed(Failure::Said(said)));
        }
        let answered = |(name, form): &(String, Form)| Answered { name: name.clone(), form: *form };
        let mut decoder = Decoder::new(
            asked.iter().map(answered).collect(),
            wanted,
            &self.primary_key,
            (schema, most_rows),
            self.is_zero_date_null,
            self.place.clone(),
        );
        let end = loop {
            match connection.next().await {
                Ok(Next::Row(row)) => decoder.row(&row)?,
                Ok(Next::End(end)) => break end,
                Err(_) if is_planted("broken_answer_believed") => {
                    send(decoder.batch(), &batches).await;
                    return Ok(());
                }
                Err(failure) => return Err(failed(failure)),
            }
            if decoder.is_full() {
                send(decoder.batch(), &batches).await;
            }
        };
        send(decoder.batch(), &batches).await;
        self.check(&mut session, end).await?;
        session.connection.ask("COMMIT").await.map_err(failed)?;
        session.close().await;
        Ok(())
    }

    /// Whether the server has said with the end that the answer is less than it should be.
    async fn check(&self, session: &mut Session, end: End) -> Result<(), Error> {
        let (place, failed) = (&self.place, |failure: Failure| reading(&failure, &self.place));
        if end.has_more() {
            return Err(Error::Definition(format!(
                "{place} gives several answers; give it one SELECT"
            )));
        }
        if !end.only_reads() {
            return Err(elsewhere(place));
        }
        if end.warnings == 0 {
            return Ok(());
        }
        let (warnings, _) = session.connection.ask("SHOW WARNINGS").await.map_err(failed)?;
        let code = |row: &Vec<Option<String>>| row.get(1).cloned().flatten();
        let codes: Vec<String> = warnings.iter().filter_map(code).collect();
        let mut said = codes.clone();
        said.sort();
        said.dedup();
        tracing::debug!(model = %place, warnings = end.warnings, codes = ?said, "the server warns");
        for (code, what, remedy) in GRAVE {
            let is_ignored = *code == "1931" && is_planted("warning_1931_ignored");
            if codes.iter().any(|said| said == code) && !is_ignored {
                return Err(Error::Query(format!(
                    "the answer to {place} {what} ({code}); {remedy}"
                )));
            }
        }
        // Those that are not listed may be of any kind; of more than it can count, a server says that it counted all it can.
        if codes.len() < usize::from(end.warnings) || end.warnings == u16::MAX {
            return Err(Error::Query(format!(
                "the answer to {place} came with {} warnings or more, of which the server lists {}, so that it may have been made \
                 shorter; write the query so that it warns of less (see `SHOW WARNINGS`)",
                end.warnings,
                codes.len()
            )));
        }
        Ok(())
    }
}

/// `ER_TABLE_DEF_CHANGED`.
const TABLE_CHANGED: u16 = 1412;

/// Warnings that say of an answer that it is not whole: what they say, and what to do.
const GRAVE: &[(&str, &str, &str)] = &[
    ("1931", "is not whole, as `LIMIT ROWS EXAMINED` ended it", "take that out of the SQL"),
    (
        "1260",
        "has text that was cut by `GROUP_CONCAT`",
        "raise `group_concat_max_len` with `settings:` at the source",
    ),
    (
        "1301",
        "has NULL for a value that is longer than `max_allowed_packet`",
        "raise that at the server, or cut the value",
    ),
    (
        "1139",
        "lacks what a regular expression failed on",
        "write one that takes fewer steps, or compare otherwise",
    ),
    (
        "4040",
        "has NULL for JSON that is nested too deeply for the server",
        "read the JSON as it is",
    ),
];

/// How the columns of an answer come.
///
/// # Errors
/// One cannot be had; why, and what to do.
fn forms(
    described: &[Described],
    is_tinyint1_boolean: bool,
) -> Result<Vec<(String, Form)>, String> {
    let mut columns: Vec<(String, Form)> = Vec::with_capacity(described.len());
    for column in described {
        let name = &column.name;
        if name.is_empty() {
            return Err("has a column without a name; give it one with `AS`".to_owned());
        }
        if columns.iter().any(|(other, _)| other == name) {
            return Err(format!(
                "has two columns named `{name}`; give each its own name with `AS`"
            ));
        }
        let form = form(column, is_tinyint1_boolean);
        let form = form.map_err(|why| format!("has the column `{name}`, which {why}"))?;
        columns.push((name.clone(), form));
    }
    Ok(columns)
}

/// Of a statement that was planned, and cannot be a table: it is told what it is.
fn no_query(failure: &Failure, place: &str) -> Error {
    match failure {
        Failure::Said(Said { code: 1064, .. }) => Error::Definition(format!(
            "{place} is no SELECT by itself; a model may only read, so give it one SELECT, without `INTO`"
        )),
        Failure::Said(Said { code: 1060, .. }) => Error::Definition(format!(
            "{place} has two columns of one name, whatever its letters' case; give each its own with `AS`"
        )),
        other => planning(other, place),
    }
}
