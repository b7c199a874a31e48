//! What a run would do: the same read and the same rules, nothing sent and nothing written.

use std::sync::Arc;

use super::disk_need::{self, Room};
use super::extent::{self, Asking};
use super::fates::Fates;
use super::intake::{Intake, Outlet, Waiting};
use super::key_pass;
use super::memory::Shares;
use super::order::Order;
use super::passes::{Passes, Terms};
use super::prepare::Error;
use super::proving;
use super::reading::{Chunk, QueryRuntime};
use super::removals::{self, Facts, Removals};
use super::report::Since;
use super::run::now;
use super::{skipping, viewing};
use crate::delivery::Item;
use crate::delta::examiner::Scope;
use crate::delta::key_map::KeyMap;
use crate::domain::guard::HoldCause;
use crate::domain::id::{Epoch, IntentNumber};
use crate::domain::key::{self, KeyHash, Shown};
use crate::domain::kind::Choice;
use crate::domain::tally::Tally;
use crate::shutdown::blocking;
use crate::snapshot::View;
use crate::snapshot::header::Header;
use crate::snapshot::record::Record;
use crate::source::{Verified, volatile};
use crate::spill::Spill;
use crate::store::Store;

/// Lines of the sample, of each sort.
const SAMPLE: usize = 5;
/// Keys that are kept for the sample of each sort, as some may turn out to be invalid.
const CANDIDATES: usize = 100;
/// Invalid records that are named.
const INVALID: usize = 20;

/// The counts of a run that is only thought of, and a few of its changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub choice: Choice,
    /// From where on rows would be read, where not all would be.
    pub since: Option<Since>,
    /// Why all would be read of a model with a cursor.
    pub whole: Option<String>,
    /// Reads and operations; nothing of it is delivered.
    pub tally: Tally,
    pub sample: Vec<Line>,
    pub holds: Vec<HoldCause>,
    /// Keys and what is wrong with them.
    pub invalid: Vec<(String, String)>,
    /// What makes rows change though nothing changed, and what the disk lacks.
    pub warnings: Vec<String>,
    /// What the run would need of the disk; `None` of one that does nothing.
    pub room: Option<Room>,
}

impl Plan {
    /// That of a run that does nothing.
    fn of(choice: Choice) -> Plan {
        Plan {
            choice,
            since: None,
            whole: None,
            tally: Tally::default(),
            sample: Vec::new(),
            holds: Vec::new(),
            invalid: Vec::new(),
            warnings: Vec::new(),
            room: None,
        }
    }
}

/// One change of the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `add`, `change` or `remove`.
    pub what: &'static str,
    pub key: String,
}

/// Reads the model and compares it with the snapshot as it stands; neither where the run would be skipped.
///
/// # Errors
/// Whatever would keep a run from starting or its read from its end.
pub async fn plan(store: Option<&Store>, order: &Order) -> Result<Plan, Error> {
    let (query, cancelling) = QueryRuntime::start()?;
    let planned = Box::pin(compare(store, order, query)).await;
    cancelling.end().await;
    planned
}

async fn compare(store: Option<&Store>, order: &Order, query: QueryRuntime) -> Result<Plan, Error> {
    if let Some(store) = store
        && let Some(unchanged) = skipping::unchanged(store, order, &query).await
    {
        return Ok(Plan::of(Choice::skipped(unchanged)));
    }
    let view = viewing::view(store, order).await?;
    let header = view.as_ref().map(View::header);
    let is_owed = match store {
        Some(store) => store.is_full_owed(&order.sync.name).await?,
        None => false,
    };
    let order = &Order { is_full: order.is_full || is_owed, ..order.clone() };
    let started = now();
    let asking = Asking {
        order,
        view: view.as_ref(),
        is_vouched: false,
        now: started,
        is_stopped: &|| false,
    };
    let (reading, sent, extent) = extent::compare(store, asking, &query).await?;
    let restriction = extent.restriction.as_ref();
    let (pins, held) = (&reading.pins, &reading.held);
    let repeated = key_pass::repeated(order, pins, restriction, held, &query).await?;
    let recorded = header.map_or(Epoch(0), |header| header.epoch);
    let epoch = if sent.choice.opens_epoch { Epoch(recorded.0 + 1) } else { recorded };
    let spill = Arc::new(Spill::new(&order.state));
    let terms = Terms {
        view: view.as_ref(),
        kind: sent.choice.kind,
        epoch,
        columns: &sent.columns,
        scope: Scope::All,
        now: started,
        destination: &sent.destination,
        model: &order.sync.model.name,
        memory_limit: order.memory_limit,
        folder: &order.state,
        shutdown: None,
        runtime: query.handle(),
    };
    let begun = Passes::begin(terms, reading.partitions).await?;
    let (mut passes, mut readers) = begun.expect("nothing stops it");
    let mut removals = Removals::new(&spill);
    let floor = header.map_or(IntentNumber(0), |header| header.reuse_floor);
    let mut sketch = Sketch::default();
    let fates = Fates::new(Shares::of(order.memory_limit), Arc::clone(&spill));
    let mut intake = Intake::new(floor, Waiting { repeated, repetitions: false }, fates);
    let (mut proof, mut verified) = (Some(reading.proof), None);
    loop {
        while let Some(chunk) = readers.next().await {
            sketch.sample(&chunk);
            intake.take(&chunk, &mut sketch)?;
            proving::check_invalid(&intake, order.sync.limits.max_invalid)?;
        }
        readers.end().await?;
        if let Some(proof) = proof.take() {
            verified = Some(proving::check_source(proof, header, query.handle()).await?);
        }
        let releases = header.map_or(&[][..], |header| &header.releases);
        let (mode, standing) = (order.sync.mode, header.and_then(Header::standing));
        let terms = removals::Terms { mode, releases, standing, epoch, now: started };
        if restriction.is_none() {
            blocking(|| removals.collect(passes.table(), &terms, || false))?;
        }
        let Some(next) = passes.next().await? else { break };
        readers = next;
    }
    while intake.has_unsure() {
        blocking(|| intake.decide(&mut sketch))?;
        proving::check_invalid(&intake, order.sync.limits.max_invalid)?;
    }
    let mut tally = intake.counts.tally();
    let whole = header.filter(|_| restriction.is_none());
    if restriction.is_none() {
        proving::check_rows(&order.sync.model.name, header, tally.rows_read)?;
    }
    if let Some(header) = whole {
        let Verified { mut left, facts } = verified.expect("the read came to its end");
        if let Some(baseline) = &header.baseline {
            left.extend(proving::lacking(baseline, &facts.files, &facts.completeness));
        }
        let facts = Facts {
            definition: &sent.definition,
            vanished: left,
            rows_read: tally.rows_read,
            invalid_keys: u64::try_from(intake.counts.invalid_keys).unwrap_or(0),
            credentials: [(); 2].map(|()| sent.destination.credentials_hash(header.lineage.0)),
            declares_account: order.connection.knows_account(),
        };
        removals.judge(&order.sync, header, &facts);
        removals.count(&mut tally);
    }
    let mut sample = sketch.lines(&intake);
    let gone = removals.sample(SAMPLE)?.into_iter();
    sample.extend(gone.map(|key| Line { what: "remove", key: Shown(&key).to_string() }));
    let invalid = intake.notes.iter().take(INVALID);
    let invalid = invalid.map(|note| (note.key.clone(), note.message.clone().unwrap_or_default()));
    let model = &order.sync.model.name;
    let mut warnings: Vec<String> =
        reading.volatile.iter().map(|name| volatile::told(model, name)).collect();
    let kind = sent.choice.kind;
    let room = disk_need::of(order, view.as_ref(), kind, &sent.columns, &reading.facts.files);
    warnings.extend(room.clone().check().err().map(|error| error.to_string()));
    Ok(Plan {
        choice: sent.choice,
        since: restriction.map(Since::of),
        whole: extent.whole.map(|why| why.to_string()),
        tally,
        sample,
        holds: removals.causes,
        invalid: invalid.collect(),
        warnings,
        room: Some(room),
    })
}

/// The outlet of a run that is only thought of, and candidates for its sample.
#[derive(Debug, Default)]
struct Sketch {
    added: Vec<Vec<u8>>,
    changed: Vec<Vec<u8>>,
    /// Whether each of them was pushed.
    pushed: KeyMap<bool>,
}

impl Sketch {
    fn sample(&mut self, chunk: &Chunk) {
        for candidate in chunk.operations.iter().map(|operation| operation.candidate) {
            let keys = if candidate.place.is_some() { &mut self.changed } else { &mut self.added };
            if keys.len() < CANDIDATES {
                let key = chunk.examined.keys.key(candidate.row);
                keys.push(key.to_vec());
                self.pushed.insert_new(chunk.examined.keys.hash(candidate.row), key, false);
            }
        }
    }

    fn note_pushed(&mut self, hash: KeyHash, key: &[u8], is_pushed: bool) {
        if self.pushed.get(hash, key).is_some() {
            self.pushed.insert(hash, key, is_pushed);
        }
    }

    /// The first of those that are really to be sent.
    fn lines(&self, intake: &Intake) -> Vec<Line> {
        let lines = |what: &'static str, keys: &[Vec<u8>]| {
            let is_sent = |key: &&Vec<u8>| {
                let hash = key::hash(key);
                self.pushed.get(hash, key) == Some(&true) || intake.lane.has(hash, key)
            };
            let sent = keys.iter().filter(is_sent).take(SAMPLE);
            sent.map(|key| Line { what, key: Shown(key).to_string() }).collect::<Vec<_>>()
        };
        [lines("add", &self.added), lines("change", &self.changed)].concat()
    }
}

impl Outlet for Sketch {
    fn push(&mut self, item: &Item<'_>) {
        self.note_pushed(item.key_hash, item.key, true);
    }

    /// Nothing ever leaves.
    fn withdraw(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.note_pushed(hash, key, false);
        true
    }

    fn note(&mut self, _record: &Record<'_>) {}
}
