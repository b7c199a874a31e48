//! Whether a run may be skipped: what it notes at its start for the next one, and what the next one finds of that.
//!
//! Not responsible for the rule (`domain::skip`). Reads headers and lists files, and neither a row nor an entry; asks nobody
//! over the network. Guards: whatever cannot be found out is in the way, so that the run itself meets it and says so.

use sha2::{Digest as _, Sha256};

use super::order::Order;
use super::prepare::{self, Error};
use super::reading::QueryRuntime;
use crate::delta::fingerprint;
use crate::destination::http;
use crate::domain::file::FileFact;
use crate::domain::hexadecimal;
use crate::domain::id::RunId;
use crate::domain::kind::Unchanged;
use crate::domain::skip::{self, Found, Left, Mark, Obstacle};
use crate::domain::value::ENCODING_VERSION;
use crate::points::files_rest;
use crate::shutdown::{Tasks, blocking};
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::header::{AtRest, Header};
use crate::snapshot::{self, Known};
use crate::source::{Listed, Pins, Reader, Reading, Settings};
use crate::store::Store;

/// What a run notes at its start, for the next one to be skipped by if it leaves nothing to do.
#[derive(Debug, Clone)]
pub struct Begun {
    /// A hash of all that decides what the run reads and sends.
    pub definition: String,
    /// The model can give another answer for the same rows.
    pub is_volatile: bool,
    /// Every source of the read can say whether it changed.
    pub can_prove_unchanged: bool,
    /// No file was changed shortly before the read.
    pub are_files_at_rest: bool,
}

impl Begun {
    /// Of a read that was opened after `moment`, by the clock of the file system, if that is known.
    pub fn of(order: &Order, reading: &Reading, moment: Option<i128>) -> Begun {
        Begun {
            definition: definition(order, &reading.source, &stored(&reading.pins)),
            is_volatile: !reading.volatile.is_empty(),
            can_prove_unchanged: reading.facts.can_prove_unchanged,
            are_files_at_rest: moment.is_some_and(|moment| {
                skip::are_at_rest(&reading.facts.files, moment) && files_rest()
            }),
        }
    }

    /// A hash of all that decides what the run reads and sends, the engine among it.
    pub fn of_bound(&self) -> String {
        format!("{} {}", self.definition, version())
    }

    /// The mark of the run, if `left` is nothing.
    pub fn at_rest(self, left: Left, run: RunId) -> Option<AtRest> {
        let Begun { definition, is_volatile, can_prove_unchanged, are_files_at_rest } = self;
        let left = Left { is_volatile, can_prove_unchanged, are_files_at_rest, ..left };
        match left.nothing() {
            Ok(()) => Some(AtRest { run, definition, version: version() }),
            Err(obstacle) => {
                tracing::debug!(%run, %obstacle, "the next run cannot be skipped");
                None
            }
        }
    }
}

/// Since when nothing has changed, which is since a run that left nothing to do, where that is so: this one may be skipped.
/// `query` has the threads to look on: one that does not come back holds up nobody who gives up on it.
pub async fn unchanged(store: &Store, order: &Order, query: &QueryRuntime) -> Option<Unchanged> {
    let sync = &order.sync.name;
    match Box::pin(look(store, order, query)).await {
        Ok(Ok(unchanged)) => Some(unchanged),
        Ok(Err(obstacle)) => {
            tracing::debug!(sync, %obstacle, "the run is not skipped");
            None
        }
        Err(error) => {
            tracing::debug!(sync, %error, "the run is not skipped");
            None
        }
    }
}

async fn look(
    store: &Store,
    order: &Order,
    query: &QueryRuntime,
) -> Result<Result<Unchanged, Obstacle>, Error> {
    let name = &order.sync.name;
    let asked = skip::first(&[
        (order.connection.identify.is_some(), Obstacle::Identify),
        (order.chosen.is_some(), Obstacle::Sample),
        (order.is_full || store.is_full_owed(name).await?, Obstacle::Full),
        (
            order.keeps_snapshot || !store.decisions(Some(name)).await?.is_empty(),
            Obstacle::Decision,
        ),
    ]);
    if let Err(obstacle) = asked {
        return Ok(Err(obstacle));
    }
    let Some(known) = prepare::known(store, order).await? else {
        return Ok(Err(Obstacle::NoMark));
    };
    if prepare::is_copied(store, order, Some(known)).await? {
        return Ok(Err(Obstacle::Snapshot));
    }
    let pins = store.pins(name).await?.unwrap_or_default();
    let mut comparing = Tasks::default();
    let settings = Settings::new(1, 0, 0).of(name, query.cancels(), query.spent());
    let reader = Reader::new(order.sources.clone(), settings);
    let order = order.clone();
    let compared = async move { compare(&order, &reader, known, &pins).await };
    comparing.spawn_on(compared, query.handle());
    comparing.next().await.expect("the one task was just spawned")
}

/// The mark in the header, and the world as it is.
async fn compare(
    order: &Order,
    reader: &Reader,
    known: Known,
    pins: &str,
) -> Result<Result<Unchanged, Obstacle>, Error> {
    let disk = LocalDisk::existing(prepare::folder(&order.state, &order.sync.name));
    let header = match blocking(|| snapshot::as_left(&disk, &order.sync.name, known)) {
        Ok(header) => header,
        Err(obstacle) => return Ok(Err(obstacle)),
    };
    let Some(mark) = mark(&header) else { return Ok(Err(Obstacle::NoMark)) };
    let Listed { source, facts } = reader.list(&order.sync.model, mark.files).await?;
    let credentials = http::Credentials::new(&order.connection).hash(header.lineage.0);
    let found = Found {
        definition: &definition(order, &source, pins),
        version: &version(),
        credentials: credentials.as_deref(),
        can_prove_unchanged: facts.can_prove_unchanged,
        files: &facts.files,
        is_marker_missing: facts.completeness.iter().any(|table| table.is_marker_missing),
    };
    let mut versions = mark.files.iter().filter_map(FileFact::version);
    let version = versions.next().map(|version| version.number);
    let version = version.filter(|_| versions.next().is_none());
    Ok(found.is_as_at(&mark).map(|()| Unchanged { since: mark.run, version }))
}

fn mark(header: &Header) -> Option<Mark<'_>> {
    let (at_rest, baseline) = (header.at_rest.as_ref()?, header.baseline.as_ref()?);
    (baseline.run == at_rest.run).then_some(Mark {
        run: at_rest.run,
        definition: &at_rest.definition,
        version: &at_rest.version,
        credentials: baseline.credentials.as_deref(),
        files: &baseline.files,
    })
}

/// A hash of all that decides, over the same files, what a run reads and sends, without opening one of them.
fn definition(order: &Order, source: &str, pins: &str) -> String {
    let (sync, upsert) = (&order.sync, &order.requests.upsert);
    let parts = [
        source.to_owned(),
        pins.to_owned(),
        format!("{sync:?}"),
        http::identity(&order.connection, upsert),
        http::rendering(upsert, &[]),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hexadecimal::of(&hash.finalize())
}

/// Another engine may read or say the same files otherwise.
fn version() -> String {
    let (engine, reader) = (env!("CARGO_PKG_VERSION"), datafusion::DATAFUSION_VERSION);
    format!("{engine} {reader} {ENCODING_VERSION} {}", fingerprint::VERSION)
}

/// Pins as the store keeps them.
pub fn stored(pins: &Pins) -> String {
    serde_json::to_string(pins).expect("pins are JSON")
}
