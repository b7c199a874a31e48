//! Whether a source works: it is reached, by whose right, and what is there; and what would be better otherwise.
//!
//! Not responsible for what is found (`source`), nor for what models give (`describing`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde::Serialize;

use super::describing::within;
use super::prepare::Error;
use super::reading::QueryRuntime;
use crate::domain::id::Instant;
use crate::domain::sync::Model;
use crate::source::definition::{Access, Definition};
use crate::source::{self, Examined, TableSeen, Writing, examine};

/// Sources that are looked at at once.
const AT_ONCE: usize = 4;
/// How long one may take, and how long of it a server or a store may.
const LONGEST: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(9);

/// What a test of a source found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    pub source: String,
    /// Where it is, without what references stand for.
    pub address: String,
    pub is_well: bool,
    /// What was found, in words, with what to do.
    pub message: String,
    /// What the message has, each by a word.
    pub facts: BTreeMap<&'static str, String>,
    pub tables: Vec<Table>,
    /// What a run would be refused.
    pub problems: Vec<String>,
    /// What would be better otherwise, and how.
    pub advice: Vec<String>,
}

/// A table of files or objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    pub table: String,
    pub location: String,
    pub is_well: bool,
    pub files: u64,
    pub bytes: u64,
    /// When the newest file was changed.
    pub newest: Option<String>,
    /// Requests that it took to list them.
    pub requests: u64,
    /// Of a table that counts its versions, whose files are not counted; and what it uses that not everybody can read.
    pub version: Option<u64>,
    pub features: Vec<String>,
    /// Whether who reads it could write there too; of objects nobody knows.
    pub could_write: Option<bool>,
    /// What is wrong, if anything is.
    pub message: Option<String>,
}

/// Looks at each source, for the models that read it; reads no row. In their order.
///
/// # Errors
/// The system gives no threads to read with.
pub async fn look(
    sources: Vec<Arc<Definition>>,
    models: &Arc<Vec<Model>>,
) -> Result<Vec<Looked>, Error> {
    let (query, cancelling) = QueryRuntime::start()?;
    let looked = futures::stream::iter(sources)
        .map(|source| look_at(source, Arc::clone(models), &query))
        .buffered(AT_ONCE)
        .collect()
        .await;
    drop(query);
    cancelling.end().await;
    Ok(looked)
}

async fn look_at(source: Arc<Definition>, models: Arc<Vec<Model>>, query: &QueryRuntime) -> Looked {
    let (name, address) = (source.name.clone(), address(&source));
    let work = async move { examine(&source, &models, PATIENCE).await };
    let found = within(query, LONGEST, work).await.unwrap_or_else(|| {
        Err(source::Error::Missing(format!(
            "not all of it was seen within {} s; see whether the network and the server are slow",
            LONGEST.as_secs()
        )))
    });
    match found {
        Ok(examined) => of(name, address, examined),
        Err(error) => Looked {
            source: name,
            address,
            is_well: false,
            message: error.to_string(),
            facts: BTreeMap::new(),
            tables: Vec::new(),
            problems: Vec::new(),
            advice: Vec::new(),
        },
    }
}

fn of(source: String, address: String, examined: Examined) -> Looked {
    let Examined { facts, tables, problems, advice } = examined;
    let tables: Vec<Table> = tables.into_iter().map(table).collect();
    let mut message: Vec<String> = facts.iter().map(|(_, said)| said.clone()).collect();
    let ill = tables.iter().filter(|table| !table.is_well).count();
    if ill > 0 {
        message.push(format!("{ill} of its tables cannot be read"));
    }
    Looked {
        source,
        address,
        is_well: ill == 0 && problems.is_empty(),
        message: message.join(", "),
        facts: facts.into_iter().collect(),
        tables,
        problems,
        advice,
    }
}

fn table(seen: TableSeen) -> Table {
    let TableSeen { table, location, found } = seen;
    let message = found.as_ref().err().map(ToString::to_string);
    let found = found.ok();
    let version = found.as_ref().and_then(|found| found.version.clone());
    Table {
        version: version.as_ref().map(|seen| seen.version),
        features: version.map_or_else(Vec::new, |seen| seen.features),
        table,
        location,
        is_well: message.is_none(),
        files: found.as_ref().map_or(0, |found| found.files),
        bytes: found.as_ref().map_or(0, |found| found.bytes),
        could_write: found.as_ref().and_then(|found| could_write(found.writing?)),
        newest: found.as_ref().and_then(|found| found.newest.as_ref().map(Instant::to_string)),
        requests: found.as_ref().map_or(0, |found| found.requests),
        message,
    }
}

/// `None` where the system does not tell.
fn could_write(writing: Writing) -> Option<bool> {
    (writing != Writing::Untold).then_some(writing == Writing::Could)
}

/// Where a source is.
fn address(source: &Definition) -> String {
    match &source.access {
        Access::Files(files) => match files.tables.len() {
            1 => "1 table".to_owned(),
            many => format!("{many} tables"),
        },
        Access::Postgres(database) => database.remote.place(),
        Access::MySql(database) => database.remote.place(),
    }
}
