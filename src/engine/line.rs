//! The open line from source to snapshot, and the steps that a run takes along it.
//!
//! Not here: the order of the steps (`run`), what they do to rows and operations (`course`).

mod ending;
mod unsure;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::course::Course;
use super::fates::Fates;
use super::intake::Waiting;
use super::memory::Shares;
use super::order::Order;
use super::passes::{Passes, Terms};
use super::prepare::{self, Error, Prepared};
use super::progress::Progress;
use super::proving;
use super::reading::Readers;
use super::report::{self, Report};
use super::run::now;
use super::sampling::Sampled;
use super::skipping::stored;

use crate::delivery::spool::Spool;
use crate::delivery::{Delivery, Settings};
use crate::delta::examiner::Scope;
use crate::delta::named::Named;
use crate::delta::repetitions::Repeated;
use crate::destination::definition::{Repeat, Request};
use crate::domain::chosen::Chosen;
use crate::domain::guard::HoldCause;
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Phase;
use crate::points::{self, Point};
use crate::shutdown::{Shutdown, Stage, blocking};
use crate::snapshot::header::Header;
use crate::source::{Facts, Proof, Verified};
use crate::spill::Spill;
use crate::store::{RecordNote, Store};

/// How often the tally of a run that goes on is written down.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// Invalid, rejected and unknown records that a report names.
const EXAMPLES: usize = 10;

/// How reading ended.
#[derive(Debug)]
pub enum End {
    /// Complete, and proven so.
    Proven,
    /// All rows that the model's cursor let through were read, and that is proven; nothing is known of the others.
    Restricted,
    /// All rows of a sample were read; nothing is known of the others.
    Chosen,
    Stopped,
    Failed(Error),
}

impl End {
    /// The read of a sample came to its end.
    pub fn of_sample(rows_read: u64, model: &str) -> End {
        match rows_read {
            0 => End::Failed(Error::NothingChosen(model.to_owned())),
            _ => End::Chosen,
        }
    }

    /// All rows that were asked for came.
    pub fn is_proven(&self) -> bool {
        matches!(self, End::Proven | End::Restricted)
    }

    /// Whether what was not read may be deleted.
    pub fn allows_deletes(&self) -> bool {
        let is_partial = matches!(self, End::Failed(Error::Unproven(_)));
        matches!(self, End::Proven)
            || is_partial && points::is_planted("delete_on_partial_read")
            || matches!(self, End::Chosen) && points::is_planted("sample_deletes")
    }
}

/// One run's line.
pub struct Line<'a> {
    store: &'a Store,
    order: &'a Order,
    run: RunId,
    prepared: Prepared,
    /// The read that has begun, until it is followed: what it needs is free again at its end.
    reading: Option<(Passes, Readers)>,
    course: Course,
    /// What became of the rows of a sample.
    sampled: Option<Sampled>,
    delivery: Delivery,
    shutdown: Shutdown,
    vanished: Vec<String>,
    started: Instant,
    recorded: std::time::Instant,
    is_draining: bool,
    /// The journal has begun, and the store knows that.
    is_journaled: bool,
}

impl<'a> Line<'a> {
    /// Opens the epoch, loads the snapshot, starts the readers. Keys of `repeated` wait for the end of the read. `None`
    /// where a stop came before the readers were started.
    ///
    /// # Errors
    /// The snapshot cannot be written or read.
    pub async fn open(
        store: &'a Store,
        order: &'a Order,
        mut prepared: Prepared,
        repeated: Repeated,
        run: RunId,
        shutdown: Shutdown,
    ) -> Result<Option<Line<'a>>, Error> {
        blocking(|| prepare::begin(&mut prepared, run))?;
        prepare::remember(store, &prepared.snapshot).await?;
        if order.chosen.is_none() {
            store.spend_word(&order.sync.name, run).await?;
            store.set_pins(&order.sync.name, &stored(&prepared.pins)).await?;
        }
        let header = prepared.snapshot.header();
        let started = now();
        let spill = Arc::new(Spill::new(&order.state));
        let named = |it: &Chosen| it.keys.clone().map(|keys| Arc::new(Named::from_iter(keys)));
        let terms = Terms {
            view: Some(prepared.snapshot.view()),
            kind: prepared.choice.kind,
            epoch: header.epoch,
            columns: &prepared.columns,
            scope: order.chosen.as_ref().map_or(Scope::All, |it| Scope::Chosen(named(it))),
            now: started,
            destination: &prepared.destination,
            model: &order.sync.model.name,
            memory_limit: order.memory_limit,
            folder: &order.state,
            shutdown: Some(&shutdown),
            runtime: prepared.query.handle(),
        };
        let streams = std::mem::take(&mut prepared.streams);
        let reading = Passes::begin(terms, streams).await?;
        if reading.is_none() {
            return Ok(None);
        }
        let repeat = |request: &Request| request.idempotency.repeat;
        let mut delivery = Delivery::new(Settings {
            destination: Arc::clone(&prepared.destination),
            budget: Arc::clone(&order.budget),
            priority: order.priority,
            retry: order.limits.retry,
            upsert_repeat: repeat(&order.requests.upsert),
            delete_repeat: order.requests.delete.as_ref().map_or(Repeat::Never, repeat),
            lineage: header.lineage,
            sync: order.sync.name.clone(),
            run,
            contents_from: header.contents_from(prepared.columns.are_tolerant()),
            first_batch: header.next_batch,
            drain_timeout: order.sync.limits.drain_timeout,
        });
        if let Some(spool) = order.spool.as_ref().and_then(|place| Spool::begin(place, run)) {
            delivery.dispatch.log_to(spool);
        }
        let columns = prepared.columns.clone();
        let destination = Arc::clone(&prepared.destination);
        let reuse_floor = prepared.reuse_floor.max(header.reuse_floor);
        let header = Header { reuse_floor, ..header.clone() };
        let waiting = Waiting::of(repeated, repeat(&order.requests.upsert), order.chosen.is_some());
        let fates = Fates::new(Shares::of(order.memory_limit), Arc::clone(&spill));
        let course = Course::new(&header, destination, columns, waiting, fates, &spill);
        let sampled = order.chosen.clone().map(Sampled::of);
        if sampled.is_some() {
            delivery.dispatch.notes().keep_delivered();
        }
        Ok(Some(Line {
            store,
            order,
            run,
            prepared,
            reading,
            course,
            sampled,
            delivery,
            shutdown,
            vanished: Vec::new(),
            started,
            recorded: std::time::Instant::now(),
            is_draining: false,
            is_journaled: false,
        }))
    }

    /// Why deletes are held; empty if none are.
    pub fn hold_causes(&self) -> &[HoldCause] {
        &self.course.removals().causes
    }

    pub fn stage(&self) -> Stage {
        self.shutdown.stage()
    }

    /// Reads and delivers until the streams end, a stop comes, or nothing more can succeed.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn read(&mut self, progress: &Progress) -> Result<End, Error> {
        let (mut passes, mut readers) = self.reading.take().expect("a line is read once");
        if let Some(end) = self.take_rows(readers, progress).await? {
            return Ok(end);
        }
        let proof: Proof = self.prepared.proof.take().expect("a line is proven once");
        let runtime = self.prepared.query.handle().clone();
        let last = self.prepared.snapshot.header().clone();
        let checked = proving::check_source(proof, Some(&last), &runtime);
        match self.beside_delivery(pin!(checked), progress).await? {
            Some(Ok(Verified { left, facts })) => {
                (self.vanished, self.prepared.facts) = (left, facts);
            }
            Some(Err(error)) => {
                if points::is_planted("delete_on_partial_read") {
                    self.collect_removals(passes.table())?;
                }
                return Ok(End::Failed(error));
            }
            None => return Ok(End::Stopped),
        }
        loop {
            match self.collect_removals(passes.table()) {
                Ok(true) => {}
                Ok(false) => return Ok(End::Stopped),
                Err(error) => return Ok(End::Failed(error)),
            }
            readers = match self.beside_delivery(pin!(passes.next()), progress).await? {
                Some(Ok(Some(readers))) => readers,
                Some(Ok(None)) if self.stage() == Stage::Running => {
                    return Ok(self.judge_read());
                }
                Some(Ok(None)) | None => return Ok(End::Stopped),
                Some(Err(error)) => return Ok(End::Failed(error)),
            };
            if let Some(end) = self.take_rows(readers, progress).await? {
                return Ok(end);
            }
        }
    }

    /// Takes the rows of one pass; how the read ended, if it did not come to the end of them.
    async fn take_rows(
        &mut self,
        mut readers: Readers,
        progress: &Progress,
    ) -> Result<Option<End>, Error> {
        loop {
            self.show(progress).await;
            if self.delivery.dispatch.halted().is_some() {
                return Ok(Some(End::Stopped));
            }
            self.begin_journal().await?;
            let journal = self.prepared.snapshot.journal();
            tokio::select! {
                biased;
                () = self.shutdown.reached(Stage::Draining) => return Ok(Some(End::Stopped)),
                stepped = self.delivery.progress(journal), if !self.delivery.dispatch.is_idle() => stepped?,
                chunk = readers.next(), if self.delivery.dispatch.has_room() => match chunk {
                    Some(chunk) => {
                        let journal = self.prepared.snapshot.journal();
                        if let Some(sampled) = &mut self.sampled {
                            let intake = &self.course.intake;
                            sampled.meet(&chunk.examined, |hash| intake.is_repeated(hash));
                        }
                        let taken = self.course.take(&chunk, &mut self.delivery.dispatch, journal);
                        if let Err(error) = taken {
                            return Ok(Some(End::Failed(error.into())));
                        }
                        points::reached(Point::RowsTaken);
                    }
                    None => break,
                },
            }
            let limit = self.order.sync.limits.max_invalid;
            if let Err(error) = proving::check_invalid(&self.course.intake, limit) {
                return Ok(Some(End::Failed(error)));
            }
        }
        Ok(readers.end().await.err().map(End::Failed))
    }

    /// Waits for `work`, which may take its time, while delivery goes on; `None` where a stop came first.
    async fn beside_delivery<T>(
        &mut self,
        mut work: impl Future<Output = T> + Unpin,
        progress: &Progress,
    ) -> Result<Option<T>, Error> {
        loop {
            self.show(progress).await;
            self.begin_journal().await?;
            let journal = self.prepared.snapshot.journal();
            tokio::select! {
                biased;
                () = self.shutdown.reached(Stage::Draining) => return Ok(None),
                stepped = self.delivery.progress(journal), if !self.delivery.dispatch.is_idle() => stepped?,
                done = &mut work => return Ok(Some(done)),
            }
        }
    }

    fn judge_read(&mut self) -> End {
        let rows_read = self.course.intake.counts.tally().rows_read;
        if self.order.chosen.is_some() {
            return End::of_sample(rows_read, &self.order.sync.model.name);
        }
        if self.prepared.extent.restriction.is_some() {
            return End::Restricted;
        }
        let header = self.prepared.snapshot.header();
        if let Err(error) =
            proving::check_rows(&self.order.sync.model.name, Some(header), rows_read)
        {
            return End::Failed(error);
        }
        if let Some(baseline) = &self.prepared.snapshot.header().baseline
            && !points::is_planted("vanished_file_ignored")
        {
            let Facts { files, completeness, .. } = &self.prepared.facts;
            self.vanished.extend(proving::lacking(baseline, files, completeness));
        }
        End::Proven
    }

    /// Waits until delivery can take more; false if the run is being stopped or has halted.
    async fn make_room(&mut self, progress: &Progress) -> Result<bool, Error> {
        while !self.is_ending() && !self.delivery.dispatch.has_room() {
            self.step(progress).await?;
        }
        Ok(!self.is_ending())
    }

    fn is_ending(&self) -> bool {
        self.shutdown.stage() > Stage::Running || self.delivery.dispatch.halted().is_some()
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
        if self.delivery.dispatch.is_idle() {
            return Ok(());
        }
        self.begin_journal().await?;
        let next = if stage == Stage::Running { Stage::Draining } else { Stage::Aborting };
        let journal = self.prepared.snapshot.journal();
        tokio::select! {
            biased;
            () = self.shutdown.reached(next), if stage < Stage::Aborting => {}
            stepped = self.delivery.progress(journal) => stepped?,
        }
        self.show(progress).await;
        Ok(())
    }

    /// Before the first intent the journal is made, and the store notes that there is one: from then on it is missed where
    /// it is gone.
    async fn begin_journal(&mut self) -> Result<(), Error> {
        if self.is_journaled || self.delivery.dispatch.is_idle() {
            return Ok(());
        }
        let begun = blocking(|| self.prepared.snapshot.journal().begin());
        let noted = match begun {
            Ok(bytes) => self.note_journal(bytes).await,
            Err(error) => Err(error.into()),
        };
        self.is_journaled = noted.is_ok();
        noted.inspect_err(|_| self.delivery.abort())
    }

    async fn note_journal(&self, bytes: u64) -> Result<(), Error> {
        if points::is_planted("journal_not_noted") {
            return Ok(());
        }
        let header = self.prepared.snapshot.header();
        Ok(self.store.note_journal(&header.sync, header.generation, bytes).await?)
    }

    /// Finishes everything that delivery was given; in a drain, everything that is in flight.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn settle(&mut self, progress: &Progress) -> Result<(), Error> {
        self.delivery.dispatch.seal();
        loop {
            self.step(progress).await?;
            if self.delivery.dispatch.is_idle() {
                return Ok(());
            }
        }
    }

    /// A run that the destination halted has failed, however its read ended.
    pub fn halt(&self, end: End) -> End {
        match self.delivery.dispatch.halted() {
            Some(refusal) if !matches!(end, End::Failed(_)) => {
                let (code, message) = (&refusal.code, &refusal.message);
                let place = report::place(self.order);
                End::Failed(Error::Halted(format!("{place} halted the run: `{code}` {message}")))
            }
            _ => end,
        }
    }

    /// Shows how far the run has come, and writes it down now and then; no run ends for want of that.
    async fn show(&mut self, progress: &Progress) {
        let counts = self.delivery.dispatch.counts();
        let rows = u64::try_from(self.course.intake.counts.rows).unwrap_or(0);
        progress.set(rows, counts.delivered, counts.rejected, counts.in_flight);
        if self.recorded.elapsed() >= RECORD_EVERY {
            self.recorded = std::time::Instant::now();
            if let Err(error) = self.record().await {
                tracing::warn!(run = %self.run, %error, "how far the run has come is not written down");
            }
        }
    }

    async fn record(&mut self) -> Result<(), Error> {
        self.store.record_progress(self.run, &self.tally()).await?;
        if self.is_journaled {
            let synced = self.prepared.snapshot.journal().synced();
            self.note_journal(synced).await?;
        }
        Ok(())
    }

    /// After an error: nothing more leaves or is waited for, so that the counts add up.
    pub fn give_up(&mut self) {
        self.delivery.abort();
        self.delivery.dispatch.fail();
    }

    /// Keeps the names of refused, unknown and invalid records for people to ask for.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn note(&mut self, store: &Store, report: &mut Report) -> Result<(), Error> {
        let mut notes = std::mem::take(&mut self.course.intake.notes);
        let delivered = self.delivery.dispatch.notes().take_delivered();
        notes.extend(report::undelivered(self.delivery.dispatch.notes()));
        if let Some(sampled) = self.sampled.take() {
            report.records = sampled.came_to(&delivered, &notes);
        }
        report.explain(self.order, self.delivery.dispatch.notes().troubles(), self.stage());
        let name = |note: &RecordNote| {
            let why = note.message.as_deref().filter(|message| !message.is_empty());
            format!("`{}` {}", note.key, why.or(note.code.as_deref()).unwrap_or_default())
        };
        report.examples = notes.iter().take(EXAMPLES).map(name).collect();
        store.note_records(report.run, &report.sync, &notes).await?;
        Ok(())
    }
}
