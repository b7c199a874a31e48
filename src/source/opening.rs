//! Opening the tables that a model reads: what is behind each of them is told apart here, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::{Session, TableProvider};

use super::database::{DatabaseTable, Ended, Scan};
use super::definition::{Access, Definition, Files, Format, Table};
use super::delta::{DeltaTable, WatchedDelta};
use super::error::Error;
use super::grouped::GroupedTable;
use super::pins::Pins;
use super::reader::Settings;
use super::restriction::Restriction;
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
) -> Result<Vec<Watched>, Error> {
    let mut watched = Vec::with_capacity(tables.len());
    for named in tables {
        let (table, store) = table(named)?;
        watched.push(match &table.format {
            Format::Delta(delta) => Watched::Delta(Box::new(
                WatchedDelta::look(&table, delta, store, known, patience).await?,
            )),
            _ => Watched::Files(Box::new(WatchedFiles::begin(table, store, patience).await?)),
        });
    }
    Ok(watched)
}

/// Fixes the columns and types of the tables. All of them are watched before the first file is opened.
///
/// # Errors
/// As [`watch`]; a table cannot be read.
pub(super) async fn open(
    state: &dyn Session,
    tables: &[Named<'_>],
    pins: &mut Pins,
    settings: &Settings,
) -> Result<Vec<Opened>, Error> {
    let mut begun = Vec::with_capacity(tables.len());
    for named in tables {
        let (table, store) = table(named)?;
        begun.push(match &table.format {
            Format::Delta(delta) => {
                let opened = delta::open(&table, delta, store, settings.undecoded);
                Begun::Delta(Box::new(Box::pin(opened).await?))
            }
            _ => Begun::Files(Box::new(WatchedFiles::begin(table, store, PATIENCE).await?)),
        });
    }
    let mut opened = Vec::with_capacity(tables.len());
    for (number, begun) in begun.into_iter().enumerate() {
        let (provider, watched, weights): (Arc<dyn TableProvider>, _, _) = match begun {
            Begun::Delta(table) => {
                let (table, watched) = *table;
                (Arc::new(table), Watched::Delta(Box::new(watched)), Weights::default())
            }
            Begun::Files(mut watched) => {
                watched.read_ends().await?;
                let (provider, weights) = of_files(state, number, &watched, pins).await?;
                (provider, Watched::Files(watched), weights)
            }
        };
        opened.push(Opened { provider, watched, weights, is_restricted: false });
    }
    Ok(opened)
}

/// A table whose columns are not fixed yet, or that came with them.
enum Begun {
    Files(Box<WatchedFiles>),
    Delta(Box<(DeltaTable, WatchedDelta)>),
}

/// The table by the name that the model has for it, and what its objects are reached with.
fn table<'d>(named: &Named<'d>) -> Result<(Table, &'d Store), Error> {
    let files = files(named.source)?;
    let table = files.table(named.name.table()).expect("the SQL was checked against it");
    Ok((table.named(named.name.to_string()), &files.store))
}

/// The files of a source whose tables are named in SQL here.
///
/// # Errors
/// It has none: models join it with no other source.
pub(super) fn files(source: &Definition) -> Result<&Files, Error> {
    match &source.access {
        Access::Files(files) => Ok(files),
        Access::Postgres(_) | Access::MySql(_) => Err(Error::Definition(format!(
            "source `{}` is a database, and joining one with other sources is not built yet; read it alone, with `source: {}`",
            source.name, source.name
        ))),
    }
}

/// The answer to the SQL of a model whose one source is a database, which takes it as it stands; no more of it than a restriction
/// lets through, where it can be asked so. And what the database calls the types of its columns.
///
/// # Errors
/// The database is not there, or refuses the SQL.
pub(super) async fn query(
    source: &Definition,
    model: &Model,
    restriction: Option<&Restriction>,
    settings: &Settings,
) -> Result<(Opened, Vec<String>), Error> {
    for warning in source.warnings() {
        tracing::warn!("{warning}");
    }
    let place = format!("model `{}`", model.name);
    let scan: Arc<dyn Scan> = match &source.access {
        Access::Files(_) => unreachable!("the SQL over files is planned here"),
        Access::Postgres(definition) => {
            let scan = postgres::plan(definition, model, restriction, &place, settings).await;
            Arc::new(scan.map_err(|error| definition.remote.unsaid(error))?)
        }
        Access::MySql(definition) => {
            let scan = mysql::plan(definition, model, restriction, &place, settings).await;
            Arc::new(scan.map_err(|error| definition.remote.unsaid(error))?)
        }
    };
    let ended = Arc::new(Ended::new(place));
    let watched = Watched::Query(Arc::clone(&ended));
    let (is_restricted, types) = (scan.is_restricted(), scan.types().to_vec());
    let provider = Arc::new(DatabaseTable { scan, ended });
    Ok((Opened { provider, watched, weights: Weights::default(), is_restricted }, types))
}

/// `number` tells the table from the others of the read.
async fn of_files(
    state: &dyn Session,
    number: usize,
    watched: &WatchedFiles,
    pins: &mut Pins,
) -> Result<(Arc<dyn TableProvider>, Weights), Error> {
    let WatchedFiles { table, files, objects, .. } = watched;
    let places = || Place::all(files, objects.as_ref());
    let partitions = partitions::of(table, files)?;
    // Of a text that is unpacked each stream holds the window.
    let whole = table.compression.map_or(0, text::window);
    let mut weights = Weights { whole, ..Weights::default() };
    let provider = match &table.format {
        Format::Parquet => {
            let objects = objects.as_ref().map(|objects| (number, objects));
            let named = (table.name.as_str(), table.schema);
            return parquet::open(state, named, files, objects, partitions).await;
        }
        Format::Arrow => {
            let (read, of_table) = ipc::open(table, files, objects.as_ref()).await?;
            weights = of_table;
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
    Ok((Arc::new(provider), weights))
}
