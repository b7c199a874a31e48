//! The open line from source to snapshot, and the steps that a run takes along it.
//!
//! Not here: the order of the steps (`run`), what a chunk means (`intake`), which removals are held (`removals`).

use std::sync::Arc;

use super::intake::{Intake, Outlet};
use super::order::Order;
use super::prepare::{self, Error, Prepared};
use super::progress::Progress;
use super::reading::Readers;
use super::removals::{self, Facts, Removals};
use super::report::{self, Report};
use super::run::now;

use crate::delivery::{Budget, Delivery, Item, Settings};
use crate::delta::table::{Place, Table};
use crate::destination::definition::{Repeat, Request};
use crate::domain::entry::Operation;
use crate::domain::id::{Instant, RunId};
use crate::domain::key::{self, KeyHash, Shown};
use crate::domain::run::Phase;
use crate::domain::tally::Tally;
use crate::shutdown::{Shutdown, Stage, Tasks};
use crate::snapshot::header::{Baseline, Hold};
use crate::snapshot::journal::Journal;
use crate::snapshot::record::Record;
use crate::source::{Proof, Unproven, vanished};
use crate::store::{RecordNote, Store};

/// Invalid, rejected and unknown records that a report names.
const EXAMPLES: usize = 10;

/// How reading ended.
#[derive(Debug)]
pub enum End {
    /// Complete, and proven so.
    Proven,
    Stopped,
    Failed(Error),
}

/// The delivery and the journal of a run that is really made.
struct Live<'a> {
    delivery: &'a mut Delivery,
    journal: &'a mut Journal,
}

impl Outlet for Live<'_> {
    fn push(&mut self, item: &Item<'_>) {
        self.delivery.push(Operation::Upsert, item);
    }

    fn withdraw(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.delivery.withdraw(hash, key)
    }

    fn note(&mut self, record: &Record<'_>) {
        self.journal.append(record);
    }
}

/// One run's line.
pub struct Line<'a> {
    store: &'a Store,
    order: &'a Order,
    run: RunId,
    prepared: Prepared,
    table: Arc<Table>,
    readers: Option<Readers>,
    intake: Intake,
    delivery: Delivery,
    shutdown: Shutdown,
    query: Option<tokio::runtime::Runtime>,
    vanished: Vec<String>,
    /// Operations that the end of the run left unsent before delivery ever had them.
    unsent: u64,
    started: Instant,
    is_draining: bool,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.readers = None;
        if let Some(query) = self.query.take() {
            query.shutdown_background();
        }
    }
}

impl<'a> Line<'a> {
    /// Opens the epoch, loads the snapshot, starts the readers.
    ///
    /// # Errors
    /// The snapshot cannot be written or read.
    pub async fn open(
        store: &'a Store,
        order: &'a Order,
        mut prepared: Prepared,
        run: RunId,
        shutdown: Shutdown,
    ) -> Result<Line<'a>, Error> {
        prepare::begin(&mut prepared.snapshot, prepared.choice, &prepared.definition)?;
        prepare::remember(store, &prepared.snapshot).await?;
        let pins = serde_json::to_string(&prepared.pins).expect("pins are JSON");
        store.set_pins(&order.sync.name, &pins).await?;
        let table = Arc::new(prepare::load(&prepared.snapshot)?);
        let started = now();
        let header = prepared.snapshot.header();
        let memory = order.memory_limit;
        let examiner = prepared.columns.examiner(&table, header.epoch, started, memory);
        let query = tokio::runtime::Builder::new_multi_thread()
            .thread_name("query")
            .enable_all()
            .build()?;
        let streams = std::mem::take(&mut prepared.streams);
        let readers = Readers::start(
            streams,
            &examiner,
            &prepared.destination,
            &order.sync.model.name,
            query.handle(),
        );
        let repeat = |request: &Request| request.idempotency.repeat;
        let delivery = Delivery::new(Settings {
            destination: Arc::clone(&prepared.destination),
            budget: Budget::new(&order.limits),
            concurrency: order.limits.concurrency,
            retry: order.limits.retry,
            upsert_repeat: repeat(&order.requests.upsert),
            delete_repeat: order.requests.delete.as_ref().map_or(Repeat::Never, repeat),
            lineage: header.lineage,
            sync: order.sync.name.clone(),
            run,
            first_batch: header.next_batch,
            drain_timeout: order.sync.limits.drain_timeout,
        });
        let intake = Intake::new(header.reuse_floor);
        Ok(Line {
            store,
            order,
            run,
            prepared,
            table,
            readers: Some(readers),
            intake,
            delivery,
            shutdown,
            query: Some(query),
            vanished: Vec::new(),
            unsent: 0,
            started,
            is_draining: false,
        })
    }

    pub fn stage(&self) -> Stage {
        self.shutdown.stage()
    }

    /// Reads and delivers until the streams end, a stop comes, or nothing more can succeed.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn read(&mut self, progress: &Progress) -> Result<End, Error> {
        let mut readers = self.readers.take().expect("a line is read once");
        loop {
            self.show(progress);
            if self.delivery.halted().is_some() {
                return Ok(End::Stopped);
            }
            let journal = self.prepared.snapshot.journal();
            tokio::select! {
                biased;
                () = self.shutdown.reached(Stage::Draining) => return Ok(End::Stopped),
                stepped = self.delivery.progress(journal), if !self.delivery.is_idle() => stepped?,
                chunk = readers.next(), if self.delivery.has_room() => match chunk {
                    Some(chunk) => {
                        let journal = self.prepared.snapshot.journal();
                        self.intake.take(&chunk, &mut Live { delivery: &mut self.delivery, journal });
                    }
                    None => break,
                },
            }
            if let Some(error) = self.too_many_invalid() {
                return Ok(End::Failed(error));
            }
        }
        if let Err(error) = readers.end().await {
            return Ok(End::Failed(error));
        }
        Ok(self.prove().await)
    }

    async fn prove(&mut self) -> End {
        let proof: Proof = self.prepared.proof.take().expect("a line is proven once");
        let completeness = proof.completeness();
        let mut tasks: Tasks<Result<(), Unproven>> = Tasks::default();
        tasks.spawn_blocking(|| proof.verify());
        let verified = tasks.next().await.expect("the one task was just spawned");
        if let Err(unproven) = verified {
            return End::Failed(Error::Unproven(unproven.reason));
        }
        if let Some(baseline) = &self.prepared.snapshot.header().baseline {
            let known: Vec<_> = baseline.files.iter().map(prepare::fact_of_source).collect();
            let files: Vec<_> = self.prepared.files.iter().map(prepare::fact_of_source).collect();
            self.vanished = vanished(&known, &files, &completeness);
        }
        End::Proven
    }

    fn too_many_invalid(&self) -> Option<Error> {
        let invalid = u64::try_from(self.intake.counts.invalid).unwrap_or(0);
        let limit = self.order.sync.limits.max_invalid;
        (invalid > limit).then(|| {
            let examples = self.intake.notes.iter().take(3);
            let examples: Vec<String> = examples
                .map(|note| {
                    format!("`{}` {}", note.key, note.message.as_deref().unwrap_or_default())
                })
                .collect();
            Error::TooManyInvalid { invalid, limit, examples: examples.join(", ") }
        })
    }

    /// Sends what had to wait for the proven end of the read.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn deliver_late(&mut self, progress: &Progress) -> Result<(), Error> {
        for group in self.intake.late_groups() {
            if self.make_room(progress).await? {
                group.push(&mut self.delivery);
            } else {
                self.unsent += group.len() as u64;
            }
        }
        self.settle(progress).await
    }

    /// Waits until delivery can take more; false if the run is being stopped or has halted.
    async fn make_room(&mut self, progress: &Progress) -> Result<bool, Error> {
        while !self.is_ending() && !self.delivery.has_room() {
            self.step(progress).await?;
        }
        Ok(!self.is_ending())
    }

    fn is_ending(&self) -> bool {
        self.shutdown.stage() > Stage::Running || self.delivery.halted().is_some()
    }

    /// Tells delivery how far a stop has come, and whoever asks that the run is draining.
    async fn heed(&mut self) -> Result<Stage, Error> {
        let stage = self.shutdown.stage();
        match stage {
            Stage::Running => {}
            Stage::Draining => self.delivery.drain(),
            Stage::Aborting => self.delivery.abort(),
        }
        if stage > Stage::Running {
            self.enter_drain().await?;
        }
        Ok(stage)
    }

    /// Shows the run as draining, once.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn enter_drain(&mut self) -> Result<(), Error> {
        if !self.is_draining {
            self.is_draining = true;
            self.store.set_phase(self.run, Phase::Draining).await?;
        }
        Ok(())
    }

    async fn step(&mut self, progress: &Progress) -> Result<(), Error> {
        let stage = self.heed().await?;
        if self.delivery.is_idle() {
            return Ok(());
        }
        let next = if stage == Stage::Running { Stage::Draining } else { Stage::Aborting };
        let journal = self.prepared.snapshot.journal();
        tokio::select! {
            biased;
            () = self.shutdown.reached(next), if stage < Stage::Aborting => {}
            stepped = self.delivery.progress(journal) => stepped?,
        }
        self.show(progress);
        Ok(())
    }

    /// Finishes everything that delivery was given; in a drain, everything that is in flight.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn settle(&mut self, progress: &Progress) -> Result<(), Error> {
        self.delivery.seal();
        loop {
            self.heed().await?;
            if self.delivery.is_idle() {
                return Ok(());
            }
            self.step(progress).await?;
        }
    }

    /// What the proven read did not meet.
    pub fn removals(&mut self) -> Removals {
        let lineage = self.prepared.snapshot.header().lineage;
        let facts = Facts {
            definition: &self.prepared.definition,
            files: &self.prepared.files,
            vanished: std::mem::take(&mut self.vanished),
            rows_read: u64::try_from(self.intake.counts.rows).unwrap_or(0),
            invalid_keys: self.invalid_keys(),
            credentials: self.prepared.destination.credentials_hash(lineage.0),
            declares_account: self.order.connection.account.is_some(),
        };
        let header = self.prepared.snapshot.header();
        let removals = removals::sort(
            &self.table,
            &self.order.sync,
            header,
            &facts,
            header.epoch,
            self.started,
        );
        removals::record(&removals, &self.table, self.run, self.prepared.snapshot.journal());
        removals
    }

    fn invalid_keys(&self) -> u64 {
        u64::try_from(self.intake.counts.invalid_keys).unwrap_or(0)
    }

    /// Sends the deletes, after everything else.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn delete(&mut self, removals: &Removals, progress: &Progress) -> Result<(), Error> {
        let destination = Arc::clone(&self.prepared.destination);
        let Some(encoder) = destination.encoder(Operation::Delete) else {
            return Ok(());
        };
        let table = Arc::clone(&self.table);
        let places: Vec<Place> = removals.delete.clone();
        let mut fragment = Vec::new();
        for place in places {
            let bytes = table.key(place);
            let values = key::values(bytes).unwrap_or_default();
            fragment.clear();
            let value = |field: usize| self.prepared.columns.value_of_key(&values, field);
            let rendered = encoder.render(value, &mut fragment).map_err(|error| {
                Error::Defect(format!(
                    "the key `{}` was sent and cannot be deleted: {error}",
                    Shown(bytes)
                ))
            })?;
            if !self.make_room(progress).await? {
                self.unsent += 1;
                continue;
            }
            let hash = key::hash(bytes);
            let entry = table.entry(place, self.prepared.snapshot.header().epoch);
            let repeats = entry.doubt.filter(|doubt| doubt.has_number_for(Operation::Delete, 0));
            let item = Item {
                key: bytes,
                key_hash: hash,
                fingerprint: 0,
                number: repeats.map(|doubt| doubt.number),
                fragment: &fragment,
                target_len: rendered.target_len,
                is_retry: entry.rejection.is_some(),
            };
            self.delivery.push(Operation::Delete, &item);
        }
        self.settle(progress).await
    }

    /// A run that the destination halted has failed, however its read ended.
    pub fn halt(&self, end: End) -> End {
        match self.delivery.halted() {
            Some(refusal) if !matches!(end, End::Failed(_)) => {
                let (code, message) = (&refusal.code, &refusal.message);
                let place = report::place(self.order);
                End::Failed(Error::Halted(format!("{place} halted the run: `{code}` {message}")))
            }
            _ => end,
        }
    }

    fn show(&self, progress: &Progress) {
        let counts = self.delivery.counts();
        let rows = u64::try_from(self.intake.counts.rows).unwrap_or(0);
        progress.set(rows, counts.delivered, counts.rejected, counts.in_flight);
    }

    pub fn tally(&self, removals: &Removals) -> Tally {
        let counts = self.delivery.counts();
        let read = self.intake.counts.tally();
        let mut tally = Tally {
            delivered: counts.delivered,
            rejected: counts.rejected,
            unknown: counts.unknown,
            unsent: read.unsent + counts.unsent + self.unsent + self.intake.late_len() as u64,
            deleted: counts.deleted,
            requests: counts.requests,
            retries: counts.retries,
            ..read
        };
        removals.count(&mut tally);
        tally
    }

    /// Folds the journal into the next generation; closes the epoch where it was confirmed.
    ///
    /// # Errors
    /// The commit failed; the next run recovers.
    pub async fn commit(
        &mut self,
        store: &Store,
        end: &End,
        removals: &Removals,
        tally: &Tally,
    ) -> Result<(), Error> {
        let is_proven = matches!(end, End::Proven);
        let is_confirmed = is_proven && tally.unsent == 0 && tally.unknown == 0;
        let (run, held) = (self.run, tally.held);
        let definition = self.prepared.definition.clone();
        let lineage = self.prepared.snapshot.header().lineage;
        let baseline = Baseline {
            run,
            definition: definition.clone(),
            files: self.prepared.files.clone(),
            invalid_keys: self.invalid_keys(),
            credentials: self.prepared.destination.credentials_hash(lineage.0),
        };
        let released_are_done = self.table_has_no_released(removals, tally);
        let next_batch = self.delivery.next_batch();
        self.prepared.snapshot.journal().write()?;
        self.prepared.snapshot.commit(|header| {
            header.next_batch = next_batch;
            header.definition = Some(definition);
            header.is_rebaselined = false;
            if is_confirmed {
                header.is_epoch_open = false;
            }
            if is_proven {
                header.hold =
                    (held > 0).then(|| Hold { run, causes: removals.causes.clone(), keys: held });
                if held == 0 {
                    header.baseline = Some(baseline);
                }
                if released_are_done {
                    header.releases.clear();
                }
            }
        })?;
        prepare::remember(store, &self.prepared.snapshot).await
    }

    /// Every delete that a person released has been answered, so that the release has done its work.
    fn table_has_no_released(&self, removals: &Removals, tally: &Tally) -> bool {
        removals.deferred == 0 && tally.unsent == 0 && tally.unknown == 0 && tally.rejected == 0
    }

    /// Keeps the names of refused, unknown and invalid records for people to ask for.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn note(&mut self, store: &Store, report: &mut Report) -> Result<(), Error> {
        let mut notes = std::mem::take(&mut self.intake.notes);
        notes.extend(report::undelivered(self.delivery.notes()));
        report.explain(self.order, self.delivery.notes().troubles(), self.stage());
        let name = |note: &RecordNote| {
            format!("`{}` {}", note.key, note.message.as_deref().unwrap_or_default())
        };
        report.examples = notes.iter().take(EXAMPLES).map(name).collect();
        store.note_records(report.run, &report.sync, &notes).await?;
        Ok(())
    }
}
