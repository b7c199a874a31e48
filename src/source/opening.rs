//! Opening the tables that a model reads: what is behind each of them is told apart here, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::{Session, TableProvider};

use super::database::{DatabaseTable, Ended, Scan};
use super::databases::Databases;
use super::definition::{Access, Definition, Format, Table};
use super::delta::{DeltaTable, WatchedDelta};
use super::error::Error;
use super::grouped::GroupedTable;
use super::mapping::Selection;
use super::moment::Held;
use super::pins::Pins;
use super::postgres::Sessions;
use super::reader::Settings;
use super::spent::Spent;
use super::store::definition::Store;
use super::table::{Named, Opened};
use super::text::place::Place;
use super::watched::{PATIENCE, Watched, WatchedFiles};
use super::weights::Weights;
use super::{csv, delta, ipc, mysql, ndjson, parquet, partitions, postgres, text};
use crate::domain::file::FileFact;
use crate::domain::sync::Model;

/// The tables as they are now. Of files nothing is read but the last byte of texts; of objects nothing. Each store is given
/// `patience` to list what it has of a table. `known` is what an earlier read took: a table that counts its versions is held
/// against it.
///
/// # Errors
/// A file is not there, or a store cannot be asked.
pub(super) async fn watch(
    tables: &[Named<'_>],
    patience: Duration,
    known: &[FileFact],
    spent: &Arc<Spent>,
) -> Result<Vec<Watched>, Error> {
    let mut watched = Vec::with_capacity(tables.len());
    for named in tables {
        let (table, store) = table(named);
        watched.push(match &table.format {
            Format::Delta(delta) => Watched::Delta(Box::new(
                WatchedDelta::look(&table, delta, store, known, patience, spent).await?,
            )),
            _ => {
                let begun = WatchedFiles::begin(table, store, patience, spent).await?;
                Watched::Files(Box::new(begun))
            }
        });
    }
    Ok(watched)
}

/// As [`watch`], for whoever wants to know what there is: the log of a table that counts its versions is replayed.
///
/// # Errors
/// As [`open`].
pub(super) async fn look(
    tables: &[Named<'_>],
    patience: Duration,
    spent: &Arc<Spent>,
) -> Result<Vec<Watched>, Error> {
    let mut watched = Vec::with_capacity(tables.len());
    for named in tables {
        let (table, store) = table(named);
        watched.push(match &table.format {
            Format::Delta(delta) => {
                let (_, watched) = Box::pin(delta::open(&table, delta, store, spent)).await?;
                Watched::Delta(Box::new(watched))
            }
            _ => {
                let begun = WatchedFiles::begin(table, store, patience, spent).await?;
                Watched::Files(Box::new(begun))
            }
        });
    }
    Ok(watched)
}

/// Fixes the columns and types of the tables. All of them are watched before the first file is opened. Databases are asked by
/// `databases`.
///
/// # Errors
/// As [`watch`]; a table cannot be read.
pub(super) async fn open(
    state: &dyn Session,
    tables: &[Named<'_>],
    pins: &mut Pins,
    databases: &mut Databases<'_>,
    spent: &Arc<Spent>,
) -> Result<Vec<Opened>, Error> {
    let mut begun = Vec::with_capacity(tables.len());
    for named in tables {
        if named.source.is_database() {
            begun.push(Begun::Opened(Box::new(databases.table(named).await?)));
            continue;
        }
        let (table, store) = table(named);
        begun.push(match &table.format {
            Format::Delta(delta) => {
                Begun::Delta(Box::new(Box::pin(delta::open(&table, delta, store, spent)).await?))
            }
            _ => {
                let begun = WatchedFiles::begin(table, store, PATIENCE, spent).await?;
                Begun::Files(Box::new(begun))
            }
        });
    }
    let mut opened = Vec::with_capacity(tables.len());
    for (number, begun) in begun.into_iter().enumerate() {
        opened.push(match begun {
            Begun::Opened(table) => *table,
            Begun::Delta(table) => {
                let (table, watched) = *table;
                let weights = Weights { takes_share: true, ..Weights::default() };
                let watched = Watched::Delta(Box::new(watched));
                Opened::new(Arc::new(table), watched, weights)
            }
            Begun::Files(mut watched) => {
                watched.read_ends().await?;
                let read = of_files(state, number, &watched, pins).await?;
                let (provider, weights, differences) = read;
                let watched = Watched::Files(watched);
                Opened { differences, ..Opened::new(provider, watched, weights) }
            }
        });
    }
    Ok(opened)
}

/// A table whose columns are not fixed yet, or that came with them.
enum Begun {
    Opened(Box<Opened>),
    Files(Box<WatchedFiles>),
    Delta(Box<(DeltaTable, WatchedDelta)>),
}

/// The table of files by the name that the model has for it, and what its objects are reached with.
fn table<'d>(named: &Named<'d>) -> (Table, &'d Store) {
    let Access::Files(files) = &named.source.access else {
        unreachable!("databases are asked, and nothing of them is listed")
    };
    let table = files.table(named.name.table()).expect("the SQL was checked against it");
    (table.named(named.name.to_string()), &files.store)
}

/// A model's query that its database has planned.
pub(super) struct Planned {
    pub opened: Opened,
    /// What the database calls the types of the columns.
    pub types: Vec<String>,
    pub held: Held,
    /// Which database it is, where that says so.
    pub identity: Option<String>,
}

/// The answer to the SQL of a model whose one source is a database, which takes it as it stands; no more of it than a restriction
/// lets through, where it can be asked so. And what the database calls the types of its columns.
///
/// # Errors
/// The database is not there, or refuses the SQL.
pub(super) async fn query(
    source: &Definition,
    model: &Model,
    selection: &Selection,
    settings: &Settings,
) -> Result<Planned, Error> {
    let (restriction, moment) = (selection.restriction.as_ref(), &selection.moment);
    for warning in source.warnings() {
        tracing::warn!("{warning}");
    }
    let place = format!("model `{}`", model.name);
    let (mut held, mut identity) = (Held::default(), None);
    let scan: Arc<dyn Scan> = match &source.access {
        Access::Files(_) => unreachable!("the SQL over files is planned here"),
        Access::Postgres(definition) => {
            let sessions = Sessions::new(definition, settings, moment.of(&source.name));
            held.0.push((source.name.clone(), Arc::downgrade(&sessions)));
            let scan = postgres::plan(model, restriction, &place, &sessions).await;
            let scan = scan.map_err(|error| definition.remote.unsaid(error))?;
            identity = sessions.identity();
            Arc::new(scan)
        }
        Access::MySql(definition) => {
            let (sql, primary_key) = (model.sql.as_str(), model.primary_key.as_slice());
            let query = mysql::Query { sql, primary_key, restriction, is_table: false };
            let scan = mysql::plan(definition, &query, &place, settings).await;
            Arc::new(scan.map_err(|error| definition.remote.unsaid(error))?)
        }
    };
    let ended = Arc::new(match selection.is_chosen() {
        true => Ended::of_part(place),
        false => Ended::of_model(place),
    });
    let watched = Watched::Query(Arc::clone(&ended));
    let (is_restricted, types) = (scan.is_restricted(), scan.types().to_vec());
    let volatile = scan.volatile().to_vec();
    let provider = Arc::new(DatabaseTable { scan, ended });
    let opened = Opened::new(provider, watched, Weights::default());
    let opened = Opened { is_restricted, volatile, ..opened };
    Ok(Planned { opened, types, held, identity })
}

/// `number` tells the table from the others of the read.
async fn of_files(
    state: &dyn Session,
    number: usize,
    watched: &WatchedFiles,
    pins: &mut Pins,
) -> Result<(Arc<dyn TableProvider>, Weights, Vec<String>), Error> {
    let WatchedFiles { table, files, objects, ends, .. } = watched;
    let places = || Place::all(files, objects.as_ref(), ends);
    let partitions = partitions::of(table, files)?;
    // Of a text that is unpacked each stream holds the window.
    let whole = table.compression.map_or(0, text::window);
    let mut weights = Weights { whole, ..Weights::default() };
    let mut differences = Vec::new();
    let provider = match &table.format {
        Format::Parquet => {
            let objects = objects.as_ref().map(|objects| (number, objects));
            let named = (table.name.as_str(), table.schema);
            return parquet::open(state, named, files, objects, partitions).await;
        }
        Format::Arrow => {
            let read;
            (read, weights, differences) = ipc::open(table, files, objects.as_ref()).await?;
            GroupedTable::new(&table.name, read, partitions)?
        }
        Format::Csv(csv) => {
            let read = csv::open(table, csv, &places(), pins).await?;
            GroupedTable::new(&table.name, read, partitions)?
        }
        Format::NdJson(ndjson) => {
            let read = ndjson::open(table, ndjson, places(), pins).await?;
            GroupedTable::new(&table.name, read, partitions)?
        }
        Format::Delta(_) => unreachable!("it is opened as it is begun"),
    };
    Ok((Arc::new(provider), weights, differences))
}
