//! What a run would do: the same read and the same rules, nothing sent and nothing written.

use std::collections::HashSet;
use std::sync::Arc;

use super::order::Order;
use super::prepare::{self, Error};
use super::reading::{Chunk, Readers};
use super::removals::{self, Facts};
use super::run::now;
use crate::delta::examiner::Examiner;
use crate::delta::fingerprint::Fingerprinter;
use crate::delta::table::{Builder, Place, Table};
use crate::domain::guard::HoldCause;
use crate::domain::id::Epoch;
use crate::domain::key::{KeyHash, Shown};
use crate::domain::kind::Choice;
use crate::domain::tally::Tally;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::{Stored, View};
use crate::source::vanished;
use crate::store::Store;

/// Lines of the sample, of each sort.
const SAMPLE: usize = 5;
/// Invalid records that are named.
const INVALID: usize = 20;

/// The counts of a run that is only thought of, and a few of its changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub choice: Choice,
    /// Reads and operations; nothing of it is delivered.
    pub tally: Tally,
    pub sample: Vec<Line>,
    pub holds: Vec<HoldCause>,
    /// Keys and what is wrong with them.
    pub invalid: Vec<(String, String)>,
}

/// One change of the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `add`, `change` or `remove`.
    pub what: &'static str,
    pub key: String,
}

/// Reads the model and compares it with the snapshot as it stands.
///
/// # Errors
/// Whatever would keep a run from starting or its read from its end.
pub async fn plan(store: Option<&Store>, order: &Order) -> Result<Plan, Error> {
    let folder = order.state.join("snapshots").join(&order.sync.name);
    let view = View::read(&LocalDisk::existing(folder), &order.sync.name)?;
    let header = view.as_ref().map(View::header);
    let (reading, sent) = prepare::compare(store, order, header).await?;
    let recorded = header.map_or(Epoch(0), |header| header.epoch);
    let epoch = if sent.choice.opens_epoch { Epoch(recorded.0 + 1) } else { recorded };
    let table = Arc::new(load(view.as_ref(), epoch)?);
    let examiner = Arc::new(Examiner {
        table: Arc::clone(&table),
        fingerprinter: Fingerprinter::new(sent.fields.iter().map(String::as_str)),
        key: reading.key.clone(),
        epoch,
        now: now(),
    });
    let query = tokio::runtime::Builder::new_multi_thread().thread_name("query").build()?;
    let mut readers = Readers::start(
        reading.partitions,
        sent.fields.len(),
        &examiner,
        &sent.destination,
        &order.sync.model.name,
        query.handle(),
    );
    let mut counted = Counted::default();
    while let Some(chunk) = readers.next().await {
        counted.take(&chunk);
    }
    let ended = readers.end().await;
    query.shutdown_background();
    ended?;
    let files: Vec<_> = reading.files.iter().map(prepare::fact_of_snapshot).collect();
    let completeness = reading.proof.completeness();
    let mut holds = Vec::new();
    if let Some(header) = header {
        let before = header.baseline.as_ref().map(|baseline| &baseline.files);
        let before: Vec<_> = before.into_iter().flatten().map(prepare::fact_of_source).collect();
        let facts = Facts {
            definition: &sent.definition,
            files: &files,
            vanished: vanished(&before, &reading.files, &completeness),
            rows_read: counted.tally.rows_read,
            invalid_keys: counted.invalid_keys,
            credentials: sent.destination.credentials_hash(header.lineage.0),
            declares_account: order.connection.account.is_some(),
        };
        let removals = removals::sort(&table, &order.sync, header, &facts, epoch, now());
        counted.remove(&table, &removals.delete);
        counted.remove(&table, &removals.held);
        counted.tally.held = removals.held.len() as u64;
        holds = removals.causes;
    }
    let Counted { tally, sample, invalid, .. } = counted;
    Ok(Plan { choice: sent.choice, tally, sample, holds, invalid })
}

fn load(view: Option<&View>, epoch: Epoch) -> Result<Table, Error> {
    let entries = view.map_or(0, |view| view.header().entries);
    let mut builder = Builder::new(epoch, usize::try_from(entries).unwrap_or(0));
    if let Some(view) = view {
        view.visit_stored(|key, stored| match stored {
            Stored::Confirmed(confirmed) => builder.push_confirmed(key, confirmed),
            Stored::Other(entry) => builder.push(key, *entry),
        })?;
    }
    Ok(builder.finish())
}

#[derive(Debug, Default)]
struct Counted {
    tally: Tally,
    invalid_keys: u64,
    keys: HashSet<KeyHash>,
    sample: Vec<Line>,
    invalid: Vec<(String, String)>,
}

impl Counted {
    fn take(&mut self, chunk: &Chunk) {
        let examined = &chunk.examined;
        self.tally.rows_read += examined.rows;
        self.tally.unchanged += examined.unchanged;
        self.tally.waived += examined.waived;
        self.tally.deferred += examined.deferred;
        self.tally.upserts += examined.deferred;
        for row in &examined.null_keys {
            self.invalid_keys += 1;
            self.refuse(examined.keys.key(*row), "a field of the key is NULL");
        }
        for (row, _) in &examined.repeated {
            self.invalid_keys += 1;
            self.refuse(examined.keys.key(*row), "the key comes more than once in this read");
        }
        for (row, why) in &chunk.unrenderable {
            self.refuse(examined.keys.key(*row), why);
        }
        for operation in &chunk.operations {
            let row = operation.candidate.row;
            let key = examined.keys.key(row);
            if !self.keys.insert(examined.keys.hash(row)) {
                self.invalid_keys += 1;
                self.refuse(key, "the key comes more than once in this read");
                continue;
            }
            self.tally.upserts += 1;
            let what = if operation.candidate.place.is_some() { "change" } else { "add" };
            self.show(what, key);
        }
    }

    fn remove(&mut self, table: &Table, places: &[Place]) {
        self.tally.deletes += places.len() as u64;
        places.iter().take(SAMPLE).for_each(|place| self.show("remove", table.key(*place)));
    }

    fn refuse(&mut self, key: &[u8], why: &str) {
        self.tally.invalid += 1;
        if self.invalid.len() < INVALID {
            self.invalid.push((Shown(key).to_string(), why.to_owned()));
        }
    }

    fn show(&mut self, what: &'static str, key: &[u8]) {
        if self.sample.iter().filter(|line| line.what == what).count() < SAMPLE {
            self.sample.push(Line { what, key: Shown(key).to_string() });
        }
    }
}
