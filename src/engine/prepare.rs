//! The start of a run: snapshot opened and recovered, read opened, destination compiled, kind chosen, epoch opened.
//!
//! Header and epoch change in one commit before any intent. A run that cannot start changes nothing.

use std::sync::Arc;

use super::order::Order;
use datafusion::execution::SendableRecordBatchStream;

use crate::delta::table::{Builder, Table};
use crate::destination::Destination;
use crate::destination::http::Http;
use crate::domain::id::{Epoch, IntentNumber};
use crate::domain::kind::{self, Choice, Circumstances, KindReason};
use crate::domain::sync::{Definition, DefinitionChange, KeyField, Mapped};
use crate::domain::value::ENCODING_VERSION;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::header::{FileFact, Header};
use crate::snapshot::{Known, Snapshot, Stored};
use crate::source::{self, Pins, Proof, Reader, Reading, Selection, Settings, key_type_name};
use crate::store::Store;

/// Why a run cannot start or go on, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Source(#[from] crate::source::Error),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(transparent)]
    Destination(#[from] crate::destination::http::Error),
    #[error("cannot use the state folder: {0}")]
    State(#[from] std::io::Error),
    #[error(
        "{0}; if the destination still holds what the snapshot says, put the definition back, else `counterflow rebaseline {1} -m WHY`"
    )]
    DefinitionChanged(String, String),
    #[error(
        "`key` names other fields than the primary key of model `{0}`: a delivered key of its own is not built yet"
    )]
    KeyOfItsOwn(String),
    #[error("{invalid} invalid records are more than `max_invalid` ({limit}): {examples}")]
    TooManyInvalid { invalid: u64, limit: u64, examples: String },
    #[error("{0}")]
    Halted(String),
    #[error("the read did not prove its end: {0}; nothing was deleted, run the sync again")]
    Unproven(String),
    #[error("{0}; this is a defect, please report it")]
    Defect(String),
}

/// Everything a run works with.
pub struct Prepared {
    pub snapshot: Snapshot,
    pub destination: Arc<Destination>,
    pub definition: Definition,
    pub choice: Choice,
    pub fields: Vec<String>,
    pub key: Vec<usize>,
    pub files: Vec<FileFact>,
    pub pins: Pins,
    pub streams: Vec<SendableRecordBatchStream>,
    pub proof: Option<Proof>,
}

/// Opens everything, without changing anything but what recovery folds.
///
/// # Errors
/// Whatever of source, snapshot, definition or destination does not fit.
pub async fn prepare(store: &Store, order: &Order) -> Result<Prepared, Error> {
    let snapshot = open(store, order).await?;
    let (reading, sent) = compare(Some(store), order, Some(snapshot.header())).await?;
    let Sent { fields, destination, definition, choice } = sent;
    let files = reading.files.iter().map(fact_of_snapshot).collect();
    let Reading { key, pins, partitions: streams, proof, .. } = reading;
    Ok(Prepared {
        snapshot,
        destination,
        definition,
        choice,
        fields,
        key,
        files,
        pins,
        streams,
        proof: Some(proof),
    })
}

/// What a run would send, as far as it is known before a row is read.
pub struct Sent {
    pub fields: Vec<String>,
    pub destination: Arc<Destination>,
    pub definition: Definition,
    pub choice: Choice,
}

/// Opens the read and holds what the order says against what the snapshot's header says.
///
/// # Errors
/// Whatever of source, definition or destination does not fit.
pub async fn compare(
    store: Option<&Store>,
    order: &Order,
    header: Option<&Header>,
) -> Result<(Reading, Sent), Error> {
    let reading = read(store, order).await?;
    let fields: Vec<String> = reading.fields.iter().map(|field| field.name.clone()).collect();
    if reading.primary_key != reading.key {
        return Err(Error::KeyOfItsOwn(order.sync.model.name.clone()));
    }
    let http = Http::new(&order.connection, &order.requests, &fields, &reading.key)?;
    let destination = Arc::new(Destination::Http(http));
    let definition = define(order, &reading, &destination);
    let choice = choose(order, header, &definition)?;
    Ok((reading, Sent { fields, destination, definition, choice }))
}

/// Opens the sync's snapshot for writing; recovers what a dead run left.
///
/// # Errors
/// The snapshot is damaged, missing or foreign.
pub async fn open(store: &Store, order: &Order) -> Result<Snapshot, Error> {
    let name = order.sync.name.clone();
    let known = store.known(&name).await?;
    let known = known.map(|(lineage, generation)| Known { lineage, generation });
    let disk = LocalDisk::new(order.state.join("snapshots").join(&name))?;
    let opened = Snapshot::open(Arc::new(disk), &name, known)?;
    if opened.header().generation > 0 {
        remember(store, &opened).await?;
    }
    Ok(opened)
}

/// Tells the store which generation it has to find from now on.
///
/// # Errors
/// The store cannot write.
pub async fn remember(store: &Store, snapshot: &Snapshot) -> Result<(), Error> {
    let header = snapshot.header();
    store.set_known(&header.sync, header.lineage, header.generation).await?;
    Ok(())
}

async fn read(store: Option<&Store>, order: &Order) -> Result<Reading, Error> {
    let pinned = match store {
        Some(store) => store.pins(&order.sync.name).await?,
        None => None,
    };
    let pins = match pinned {
        Some(json) => serde_json::from_str(&json).map_err(|error| {
            Error::Defect(format!("the pinned column types are not readable: {error}"))
        })?,
        None => Pins::default(),
    };
    let memory = usize::try_from(order.memory_limit).unwrap_or(usize::MAX);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let reader = Reader::new(std::slice::from_ref(&order.source), Settings::new(cores, memory));
    let selection = Selection { fields: order.sync.mapping.clone(), key: order.sync.key.clone() };
    Ok(reader.open(&order.sync.model, &selection, &pins).await?)
}

fn define(order: &Order, reading: &Reading, destination: &Destination) -> Definition {
    let mapping = if order.sync.mapping.is_empty() {
        let identity = |name: &String| Mapped { field: name.clone(), expression: name.clone() };
        reading.fields.iter().map(|field| identity(&field.name)).collect()
    } else {
        order.sync.mapping.clone()
    };
    let key = reading.key.iter().map(|index| &reading.fields[*index]).map(|field| KeyField {
        name: field.name.clone(),
        data_type: key_type_name(&field.data_type),
    });
    Definition {
        source: order.source.name.clone(),
        sql: order.sync.model.sql.clone(),
        mode: order.sync.mode,
        key: key.collect(),
        destination: destination.identity(),
        mapping,
        rendering: destination.rendering(),
        encoding: ENCODING_VERSION,
    }
}

fn choose(order: &Order, header: Option<&Header>, now: &Definition) -> Result<Choice, Error> {
    let recorded = header.and_then(|header| header.definition.as_ref());
    let change = recorded.map_or(DefinitionChange::None, |old| old.change(now));
    let definition = match change {
        DefinitionChange::None => None,
        DefinitionChange::NewEpoch("the mapping changed") => Some(KindReason::MappingChanged),
        DefinitionChange::NewEpoch(_) => Some(KindReason::RenderingChanged),
        DefinitionChange::Refused(why) => {
            return Err(Error::DefinitionChanged(why, order.sync.name.clone()));
        }
    };
    Ok(kind::choose(Circumstances {
        is_first: header.is_none_or(|header| header.epoch == Epoch(0)),
        is_rebaselined: header.is_some_and(|header| header.is_rebaselined) || is_set_aside(order),
        is_epoch_open: header.is_some_and(|header| header.is_epoch_open),
        is_full_requested: order.is_full,
        definition,
    }))
}

/// Whether an earlier snapshot of the sync lies in an archive beside this one.
fn is_set_aside(order: &Order) -> bool {
    let folder = order.state.join("snapshots").join(&order.sync.name);
    let is_archive = |name: std::ffi::OsString| name.to_string_lossy().starts_with("archive-");
    std::fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_archive(entry.file_name())))
}

/// Opens the epoch that the choice demands, in one commit, before any intent.
///
/// # Errors
/// The commit failed; nothing was sent.
pub fn begin(
    snapshot: &mut Snapshot,
    choice: Choice,
    definition: &Definition,
) -> Result<(), Error> {
    if !choice.opens_epoch {
        return Ok(());
    }
    let definition = definition.clone();
    snapshot.commit(|header| {
        header.epoch = Epoch(header.epoch.0 + 1);
        header.is_epoch_open = true;
        if matches!(choice.reason, KindReason::MappingChanged | KindReason::RenderingChanged) {
            header.reuse_floor = IntentNumber(header.next_batch.0);
        }
        header.definition = Some(definition);
    })?;
    Ok(())
}

/// Loads the snapshot as the build side of the delta.
///
/// # Errors
/// A file of the snapshot is damaged.
pub fn load(snapshot: &Snapshot) -> Result<Table, Error> {
    let header = snapshot.header();
    let entries = usize::try_from(header.entries).unwrap_or(0);
    let mut builder = Builder::new(header.epoch, entries);
    snapshot.visit_stored(|key, stored| match stored {
        Stored::Confirmed(confirmed) => builder.push_confirmed(key, confirmed),
        Stored::Other(entry) => builder.push(key, *entry),
    })?;
    Ok(builder.finish())
}

/// The same fact in the words of the source room.
pub fn fact_of_source(fact: &FileFact) -> source::FileFact {
    let FileFact { table, path, size, inode, changed } = fact.clone();
    source::FileFact { table, path, size, inode, changed }
}

/// The same fact in the words of the snapshot room.
pub fn fact_of_snapshot(fact: &source::FileFact) -> FileFact {
    let source::FileFact { table, path, size, inode, changed } = fact.clone();
    FileFact { table, path, size, inode, changed }
}
