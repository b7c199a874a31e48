//! The start of a run: snapshot opened and recovered, read opened, destination compiled, kind chosen, epoch opened.
//!
//! Header and epoch change in one commit before any intent. A run that cannot start changes nothing, but that a full
//! resync that was asked for is not forgotten.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use super::columns::Columns;
use super::defining::{choose, define};
use super::extent::{self, Asking, Extent, Noted};
use super::memory::Shares;
use super::opening::{self, OfSample};
use super::order::Order;
use super::reading::QueryRuntime;
use super::run::now;
use super::skipping::Begun;
use super::{compacting, decisions, disk_need, identity};
use datafusion::execution::SendableRecordBatchStream;

use crate::destination::Destination;
use crate::destination::http::{Fields, Http};
use crate::domain::chosen::Chosen;
use crate::domain::compare::Compare;
use crate::domain::form::Form;
use crate::domain::id::{Epoch, IntentNumber, RunId};
use crate::domain::kind::Choice;
use crate::domain::sync::{Definition, Sync};
use crate::points::{self, Point, is_planted};
use crate::shutdown::{Shutdown, Stage, Tasks, blocking};
use crate::snapshot::disk::{Disk, LocalDisk};
use crate::snapshot::header::{Baseline, Header};
use crate::snapshot::{self, Known, Snapshot};
use crate::source::{
    Facts, Held, Pins, Proof, Reader, Reading, Restriction, Selection, Settings, volatile,
};
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
    Spill(#[from] crate::spill::Error),
    #[error(transparent)]
    Destination(#[from] crate::destination::http::Error),
    #[error(
        "cannot make the folder `{}`: {source}; make the disk usable again (space, permissions), then run again",
        .folder.display()
    )]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error(
        "cannot remove the folder `{}`: {source}; make the disk usable again (permissions), then forget the sync again",
        .folder.display()
    )]
    Unremoved { folder: PathBuf, source: std::io::Error },
    #[error("the system gives no threads to read with: {0}; see `ulimit -u`, then run again")]
    Threads(#[from] std::io::Error),
    #[error(
        "{0}; put it back, or if the destination holds what the snapshot says all the same, \
         `counterflow sync {1} --keep-snapshot`, else `counterflow rebaseline {1} -m WHY`"
    )]
    DefinitionChanged(String, String),
    #[error(
        "the state database `counterflow.db` is older than the snapshot of `{sync}`: it would give the number {next} to a \
         run, and the snapshot knows run {known}; put the latest database back together with its `-wal` file, or if it is \
         gone for good, run `counterflow rebaseline {sync} -m WHY`"
    )]
    OlderStore { sync: String, next: RunId, known: RunId },
    #[error(
        "the state of `{0}` was restored from a backup or copied from another place, so that it may not know what was sent \
         since: `counterflow rebaseline {0} -m WHY`, or, if it was only moved and nothing was sent from the old place \
         since, `counterflow sync {0} --keep-snapshot`"
    )]
    Copied(String),
    #[error("{0}; `counterflow rebaseline {1} -m WHY` begins a new snapshot")]
    EncodingChanged(String, String),
    #[error(
        "the primary keys of model `{0}` do not fit into `memory_limit`, which they must where `key` names other fields; \
         raise it, or make the delivered key the primary key"
    )]
    PrimaryKeys(String),
    #[error(
        "the keys of model `{0}` do not fit into `memory_limit`, which their hashes must with `check_keys: first`; raise it, \
         or leave `check_keys` out"
    )]
    Keys(String),
    #[error(
        "model `{0}` gave no rows, and no run has read any since the sync began or was rebaselined; nothing was sent: check \
         its SQL and what its files hold, and if it is right to be empty, pause the sync until it has rows"
    )]
    NoRows(String),
    #[error(
        "no delete of `{sync}` was held in run {run}; `counterflow status {sync}` says what is held"
    )]
    NotHeld { sync: String, run: RunId },
    #[error(
        "{place} was asked for its account and did not say it: `{code}` {message}; nothing was sent, `counterflow doctor \
         {connection}` tests the connection"
    )]
    Unidentified { place: String, connection: String, code: String, message: String },
    #[error(
        "`{0}` has never run to know what the destination holds, and neither a sample nor a waiver comes before that: \
         `counterflow sync {0}` first"
    )]
    NeverRan(String),
    #[error(
        "no row of model `{0}` was chosen, and nothing was sent; `counterflow explain SYNC KEY` shows what is known of a key"
    )]
    NothingChosen(String),
    #[error("{invalid} invalid records are more than `max_invalid` ({limit}): {examples}")]
    TooManyInvalid { invalid: u64, limit: u64, examples: String },
    #[error(transparent)]
    TooLittleRoom(#[from] disk_need::TooLittle),
    #[error("{0}")]
    Refused(String),
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
    pub columns: Columns,
    /// Of what is read.
    pub facts: Facts,
    pub pins: Pins,
    pub held: Held,
    pub streams: Vec<SendableRecordBatchStream>,
    pub proof: Option<Proof>,
    pub query: QueryRuntime,
    /// A person says that the snapshot is true of the definition as it is now.
    pub is_kept: bool,
    /// Intents below this number are never repeated with their number.
    pub reuse_floor: IntentNumber,
    /// A sample that says its records otherwise than the snapshot's epoch does.
    pub is_foreign: bool,
    /// A hash of the credentials that the run began with. What the destination has taken since may be for others.
    pub credentials: Option<String>,
    /// By which the next run may be skipped.
    pub begun: Begun,
    /// How much the run reads.
    pub extent: Extent,
    /// Of the model's cursor, if it has one.
    pub noted: Option<Noted>,
}

impl Prepared {
    /// A hash of the credentials that are sent now.
    pub fn current_credentials(&self) -> Option<String> {
        self.destination.credentials_hash(self.snapshot.header().lineage.0)
    }
}

/// Opens everything, to be read on the threads of `query`; `None` if the run was stopped meanwhile. Sends nothing, but writes
/// what goes before a run: what recovery folds, and what people have decided since the last one. A full resync that was asked
/// for opens its epoch before anything can go wrong, so that it is never forgotten.
///
/// # Errors
/// Whatever of source, snapshot, definition or destination does not fit.
pub async fn prepare(
    store: &Store,
    order: &Order,
    run: RunId,
    query: QueryRuntime,
    shutdown: &mut Shutdown,
) -> Result<Option<Prepared>, Error> {
    let order = &decisions::vouched(store, order, run).await?;
    let (snapshot, is_vouched) = open_checked(store, order).await?;
    if is_vouched {
        store.spend_word(&order.sync.name, run).await?;
    }
    check_store(&order.sync.name, snapshot.header(), run)?;
    let mut snapshot = compacting::catch_up(store, order, snapshot, shutdown).await?;
    let is_sample = order.chosen.is_some();
    if is_sample && snapshot.header().epoch == Epoch(0) {
        return Err(Error::NeverRan(order.sync.name.clone()));
    }
    let is_owed = !is_sample && store.is_full_owed(&order.sync.name).await?;
    let order = &Order {
        is_full: !is_sample && order.is_full || is_owed,
        // One word answers one question: it vouches for the state, not for a definition that changed as well.
        keeps_snapshot: order.keeps_snapshot
            && (!is_vouched || is_planted("one_word_for_two_questions")),
        ..order.clone()
    };
    let is_forced = order.is_full && blocking(|| opening::force(&mut snapshot))?;
    if is_forced {
        remember(store, &snapshot).await?;
    }
    if order.is_full {
        // A death before this opens the epoch once more, and nothing was sent in between.
        store.grant_full(&order.sync.name).await?;
    }
    let (before, began) = (store.written_at(), now());
    let view = Some(snapshot.view());
    let listener = shutdown.clone();
    let is_stopped = || listener.stage() > Stage::Running;
    let asking = Asking { order, view, is_vouched, now: began, is_stopped: &is_stopped };
    let (reading, mut sent, extent) = tokio::select! {
        biased;
        () = shutdown.reached(Stage::Draining) => return Ok(None),
        compared = extent::compare(Some(store), asking, &query) => compared?,
    };
    let (mut choice, header) = (sent.choice, snapshot.header());
    if is_forced {
        choice = opening::after_force(choice);
    }
    let (mut reuse_floor, mut is_foreign) = (header.reuse_floor, false);
    if is_sample {
        OfSample { choice, reuse_floor, is_foreign } = opening::of_sample(choice, header);
    }
    disk_need::of(order, view, choice.kind, &sent.columns, &reading.facts.files).check()?;
    sent.choose(choice, Some(header));
    let Sent { columns, destination, definition, choice } = sent;
    for function in reading.volatile.iter().filter(|_| !is_sample) {
        let model = &order.sync.model.name;
        tracing::warn!(%model, %function, "{}", volatile::told(model, function));
    }
    let begun = Begun::of(order, &reading, before);
    let Reading { facts, pins, held, partitions: streams, proof, cursor, .. } = reading;
    let noted = cursor.and_then(|met| Noted::new(order, met, began));
    let credentials = destination.credentials_hash(snapshot.header().lineage.0);
    Ok(Some(Prepared {
        snapshot,
        destination,
        definition,
        choice,
        columns,
        facts,
        pins,
        held,
        streams,
        proof: Some(proof),
        query,
        is_kept: order.keeps_snapshot,
        reuse_floor,
        is_foreign,
        credentials,
        begun,
        extent,
        noted,
    }))
}

impl Error {
    /// Whether the config must be changed, rather than the data or the world.
    pub fn is_config_fault(&self) -> bool {
        use crate::destination::http;
        match self {
            Error::Source(error) => error.is_config_fault(),
            Error::Destination(http::Error::Invalid(_)) => true,
            _ => false,
        }
    }
}

/// What a run would send, as far as it is known before a row is read.
pub struct Sent {
    pub columns: Columns,
    pub destination: Arc<Destination>,
    pub definition: Definition,
    pub choice: Choice,
}

impl Sent {
    /// Takes this choice, and the fingerprints that go with it.
    fn choose(&mut self, choice: Choice, header: Option<&Header>) {
        self.choice = choice;
        self.columns.fingerprints = opening::fingerprints(header, choice);
        self.definition.fingerprints = self.columns.fingerprints;
    }
}

/// Opens the read, of all or of what it is restricted to, and holds what the order says against what the snapshot's header says.
///
/// # Errors
/// Whatever of source, definition or destination does not fit.
pub async fn compare(
    store: Option<&Store>,
    order: &Order,
    header: Option<&Header>,
    restriction: Option<Restriction>,
    query: &QueryRuntime,
) -> Result<(Reading, Sent), Error> {
    let pins = pins(store, order).await?;
    let chosen = order.chosen.clone().unwrap_or_default();
    let Chosen { limit, condition, .. } = chosen;
    let selection = Selection { condition, limit, restriction, ..selected(&order.sync) };
    let reading = read(order, selection, pins, Held::default(), query).await?;
    let columns = Columns::of(&reading);
    let (connection, credentials) = identity::identified(order).await?;
    let forms: Vec<Form> = reading.fields.iter().map(|field| field.options.form.clone()).collect();
    let (names, compares, key) = (&columns.fields, &columns.compares, &columns.key);
    let fields = Fields { names, forms: &forms, compares, key };
    let http = Http::with(credentials, &connection, &order.requests, fields)?;
    let destination = Arc::new(Destination::Http(http));
    let definition = define(order, &reading, &destination);
    let choice = choose(order, header, &definition)?;
    let mut sent = Sent { columns, destination, definition, choice };
    sent.choose(choice, header);
    Ok((reading, sent))
}

/// What of its model a sync asks for.
pub fn selected(sync: &Sync) -> Selection {
    let mut fields = sync.mapping.clone();
    if is_planted("ignored_field_dropped") {
        fields.retain(|mapped| mapped.options.compare != Compare::Ignore);
    }
    let (ignored, key) = (sync.ignored.clone(), sync.key.clone());
    Selection { fields, ignored, key, ..Selection::default() }
}

/// A run's number is greater than that of every run before it, unless the store has lost the last of them.
fn check_store(sync: &str, header: &Header, run: RunId) -> Result<(), Error> {
    let baseline = header.baseline.as_ref().map(|baseline| baseline.run);
    let known = baseline.max(header.hold.as_ref().map(|hold| hold.run));
    match known.filter(|known| *known >= run && !is_planted("older_store_ignored")) {
        Some(known) => Err(Error::OlderStore { sync: sync.to_owned(), next: run, known }),
        None => Ok(()),
    }
}

/// Opens the sync's snapshot for writing; recovers what a dead run left.
///
/// # Errors
/// The snapshot is damaged, missing or foreign.
pub async fn open(store: &Store, order: &Order) -> Result<Snapshot, Error> {
    Ok(open_checked(store, order).await?.0)
}

/// As [`open`]; and whether the state was a copy, or its store older than the snapshot, which a person's word in the order
/// has vouched for.
async fn open_checked(store: &Store, order: &Order) -> Result<(Snapshot, bool), Error> {
    let name = order.sync.name.clone();
    let decided = decisions::pending(store, order).await?;
    let decided = decisions::set_aside(store, &order.state, decided).await?;
    let known = known(store, order).await?;
    let folder = folder(&order.state, &name);
    let is_copied = is_copied(store, order, known).await?;
    if is_copied && !order.keeps_snapshot {
        return Err(Error::Copied(name));
    }
    let disk = LocalDisk::new(&folder).map_err(|source| Error::Folder { folder, source })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    for generation in decided.iter().filter_map(decisions::unwritten_backlog) {
        // All of it is discarded, or nothing: that journal has nothing else. Opening makes its end safe.
        blocking(|| Snapshot::drop_journal(disk.as_ref(), &name, generation))?;
    }
    let open = |known| blocking(|| Snapshot::open(Arc::clone(&disk), &name, known));
    let (mut opened, is_older) = match open(known) {
        Err(snapshot::Error::OlderStore { .. }) if order.keeps_snapshot => {
            // The word stands for what the store does not know.
            let known = known.map(|known| Known { journal: None, ..known });
            (open(known)?, true)
        }
        opened => (opened?, false),
    };
    if opened.header().generation > 0 {
        remember(store, &opened).await?;
    }
    decisions::carry_out(store, &mut opened, decided).await?;
    Ok((opened, is_copied || is_older))
}

/// Whether the state, or the snapshot alone, is a copy of what it was when the store last remembered the snapshot.
///
/// # Errors
/// The store or the manifest cannot be read.
pub async fn is_copied(store: &Store, order: &Order, known: Option<Known>) -> Result<bool, Error> {
    let (name, disk) =
        (&order.sync.name, LocalDisk::existing(folder(&order.state, &order.sync.name)));
    let manifest = match known {
        Some(known) => blocking(|| Snapshot::identity_if_known(&disk, name, known))?,
        None => None,
    };
    let manifest = known.zip(manifest.as_deref()).map(|(known, it)| (known.generation, it));
    let is_copied = store.is_copied(name, manifest).await?;
    Ok(is_copied && !is_planted("copy_accepted"))
}

/// What the store has to find of the sync's snapshot.
///
/// # Errors
/// The store cannot be read.
pub async fn known(store: &Store, order: &Order) -> Result<Option<Known>, Error> {
    let known = store.known(&order.sync.name).await?;
    Ok(known.map(|(lineage, generation, journal)| Known { lineage, generation, journal }))
}

/// The folder of a sync's snapshot.
pub fn folder(state: &Path, sync: &str) -> PathBuf {
    state.join("snapshots").join(sync)
}

/// Tells the store which generation it has to find from now on.
///
/// # Errors
/// The store cannot write.
pub async fn remember(store: &Store, snapshot: &Snapshot) -> Result<(), Error> {
    points::reached(Point::BeforeRemembering);
    let header = snapshot.header();
    let manifest = blocking(|| snapshot.manifest_identity());
    store.set_known(&header.sync, header.lineage, header.generation, manifest.as_deref()).await?;
    Ok(())
}

async fn pins(store: Option<&Store>, order: &Order) -> Result<Pins, Error> {
    let pinned = match store {
        Some(store) => store.pins(&order.sync.name).await?,
        None => None,
    };
    pinned.map_or(Ok(Pins::default()), |json| {
        serde_json::from_str(&json).map_err(|error| {
            Error::Defect(format!("the pinned column types are not readable: {error}"))
        })
    })
}

/// Opens a read of the model on the query's threads, of databases as another read has them `held`.
///
/// # Errors
/// The definition does not fit the source, or the source cannot be read.
pub async fn read(
    order: &Order,
    mut selection: Selection,
    pins: Pins,
    held: Held,
    query: &QueryRuntime,
) -> Result<Reading, Error> {
    let Shares { query: memory, undecoded, .. } = Shares::of(order.memory_limit);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let settings = Settings::new(cores, memory, undecoded);
    let settings = settings.of(&order.sync.name, query.cancels(), query.spent());
    let reader = Reader::new(order.sources.clone(), settings);
    let model = order.sync.model.clone();
    // Inference may read whole files: not on the threads that have to hear of a stop.
    let mut opening = Tasks::default();
    let open = async move {
        selection.moment = held.share().await?;
        reader.open(&model, &selection, &pins).await
    };
    opening.spawn_on(open, query.handle());
    Ok(opening.next().await.expect("the one task was just spawned")?)
}

/// As [`opening::begin`].
///
/// # Errors
/// As there.
pub fn begin(prepared: &mut Prepared, run: RunId) -> Result<(), Error> {
    extent::forget_foreign(&mut prepared.snapshot, &prepared.begun)?;
    let baseline = baseline(prepared, run, None);
    opening::begin(&mut prepared.snapshot, prepared.choice, prepared.is_kept, baseline)?;
    if prepared.is_foreign {
        prepared.snapshot.settle_as_foreign();
    }
    Ok(())
}

/// What later reads are judged against, as this run finds it.
pub fn baseline(prepared: &Prepared, run: RunId, invalid_keys: Option<u64>) -> Baseline {
    let renewed = is_planted("renewal_skips_hold").then(|| prepared.current_credentials());
    Baseline {
        run,
        definition: prepared.definition.clone(),
        files: prepared.facts.files.clone(),
        invalid_keys,
        credentials: renewed.unwrap_or_else(|| prepared.credentials.clone()),
    }
}
