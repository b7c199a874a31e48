//! Opening the tables that a model reads: what is behind each of them is told apart here, and nowhere else.

use std::sync::Arc;

use datafusion::catalog::{Session, TableProvider};

use super::definition::{Access, Format};
use super::error::Error;
use super::pins::Pins;
use super::table::{Named, Opened};
use super::watched::{Watched, WatchedFiles};
use super::weights::Weights;
use super::{csv, ndjson, parquet};
use crate::shutdown::blocking;

/// The tables as they are now. Of files nothing is read but the last byte of texts.
///
/// # Errors
/// A file is not there.
pub(super) async fn watch(tables: &[Named<'_>]) -> Result<Vec<Watched>, Error> {
    let watch = |named: &Named<'_>| -> Result<Watched, Error> {
        match &named.source.access {
            Access::Files(files) => {
                let table =
                    files.table(named.name.table()).expect("the SQL was checked against it");
                Ok(Watched::Files(WatchedFiles::begin(table.named(named.name.to_string()))?))
            }
        }
    };
    blocking(|| tables.iter().map(watch).collect())
}

/// Fixes the columns and types of the tables. All of them are watched before the first is opened.
///
/// # Errors
/// As [`watch`]; a table cannot be read.
pub(super) async fn open(
    state: &dyn Session,
    tables: &[Named<'_>],
    pins: &mut Pins,
) -> Result<Vec<Opened>, Error> {
    let mut opened = Vec::with_capacity(tables.len());
    for mut watched in watch(tables).await? {
        let (provider, weights) = match &mut watched {
            Watched::Files(files) => {
                files.read_ends().await?;
                of_files(state, files, pins).await?
            }
        };
        opened.push(Opened { provider, watched, weights });
    }
    Ok(opened)
}

async fn of_files(
    state: &dyn Session,
    watched: &WatchedFiles,
    pins: &mut Pins,
) -> Result<(Arc<dyn TableProvider>, Weights), Error> {
    let WatchedFiles { table, files, .. } = watched;
    match &table.format {
        Format::Parquet => parquet::open(state, &table.name, files).await,
        Format::Csv(csv) => {
            let provider = csv::open(table, csv, files, pins).await?;
            Ok((Arc::new(provider), Weights::new()))
        }
        Format::NdJson(ndjson) => {
            let provider = ndjson::open(table, ndjson, files, pins).await?;
            Ok((Arc::new(provider), Weights::new()))
        }
    }
}
