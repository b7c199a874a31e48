//! The loop around the window: makes intents durable, sends, waits, writes receipts.
//!
//! Not responsible for any decision (window.rs). Guards: no request leaves before its intent is durable; receipts are
//! written before a slot is used again; waiting happens in one place, so that `progress` may be dropped at any time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::batch::{Batch, Batcher, Item};
use super::budget::Budget;
use super::clock::now;
use super::counts::Counts;
use super::limits::Retry;
use super::notes::Notes;
use super::request::{Ended, Gate, Request, Shared};
use super::window::{Action, Event, Moment, ParcelId, Window};
use crate::destination::Destination;
use crate::destination::answer::Refusal;
use crate::destination::definition::Repeat;
use crate::domain::entry::{Operation, Verdict};
use crate::domain::id::{BatchNumber, Lineage, RunId};
use crate::domain::key::KeyHash;
use crate::points::{self, Point};
use crate::shutdown::Tasks;
use crate::snapshot::Error;
use crate::snapshot::journal::Journal;
use crate::snapshot::record::Record;

/// Bytes of batches that wait; the reader is held back beyond.
const MOST_BYTES: usize = 64 << 20;

/// What a run's delivery needs to know.
#[derive(Debug)]
pub struct Settings {
    pub destination: Arc<Destination>,
    pub budget: Arc<Budget>,
    /// Requests of this run in flight at once; at least 1.
    pub concurrency: u32,
    pub retry: Retry,
    pub upsert_repeat: Repeat,
    pub delete_repeat: Repeat,
    pub lineage: Lineage,
    pub sync: String,
    pub run: RunId,
    /// The number of the first batch that is formed.
    pub first_batch: BatchNumber,
    pub drain_timeout: Duration,
}

/// The delivery of one run.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    repeat: [Repeat; 2],
    concurrency: usize,
    drain_timeout: Duration,
    batchers: [Option<Batcher>; 2],
    next_batch: BatchNumber,
    sealed: VecDeque<Batch>,
    syncing: Vec<Batch>,
    sync: Tasks<Result<(), Error>>,
    window: Window,
    held: HashMap<BatchNumber, Held>,
    /// Bytes of all batches that were sealed and have not ended.
    bytes: usize,
    /// To be sent once the receipts are written.
    outbox: Vec<(ParcelId, BatchNumber, Vec<Range<u32>>, u32)>,
    requests: Tasks<Ended>,
    in_flight: BTreeMap<ParcelId, InFlight>,
    /// Verdicts that are not in the journal yet.
    receipts: BTreeMap<BatchNumber, Vec<(Range<u32>, Verdict)>>,
    start: Instant,
    deadline: Option<Instant>,
    is_stopping: bool,
    halted: Option<Refusal>,
    counts: Counts,
    notes: Notes,
}

#[derive(Debug)]
struct Held {
    batch: Arc<Batch>,
    unsettled: u32,
    has_been_sent: bool,
}

#[derive(Debug)]
struct InFlight {
    batch: BatchNumber,
    records: usize,
    gate: Gate,
    task: AbortHandle,
}

enum Wake {
    Ended(Ended),
    Synced(Result<(), Error>),
    Due,
    Deadline,
}

impl Delivery {
    pub fn new(settings: Settings) -> Delivery {
        let Settings { destination, budget, lineage, sync, run, .. } = settings;
        let batchers = [Operation::Upsert, Operation::Delete].map(|operation| {
            let encoder = destination.encoder(operation)?;
            Some(Batcher::new(operation, encoder.limits(), encoder.overhead()))
        });
        Delivery {
            batchers,
            shared: Arc::new(Shared { destination, budget, lineage, sync, run }),
            repeat: [settings.upsert_repeat, settings.delete_repeat],
            concurrency: usize::try_from(settings.concurrency.max(1)).unwrap_or(usize::MAX),
            drain_timeout: settings.drain_timeout,
            next_batch: settings.first_batch,
            sealed: VecDeque::new(),
            syncing: Vec::new(),
            sync: Tasks::default(),
            window: Window::new(settings.concurrency, settings.retry),
            held: HashMap::new(),
            bytes: 0,
            outbox: Vec::new(),
            requests: Tasks::default(),
            in_flight: BTreeMap::new(),
            receipts: BTreeMap::new(),
            start: Instant::now(),
            deadline: None,
            is_stopping: false,
            halted: None,
            counts: Counts::default(),
            notes: Notes::default(),
        }
    }

    /// Takes an operation in; the encoder of its operation rendered it. Unsent at once if the delivery is stopping.
    pub fn push(&mut self, operation: Operation, item: &Item<'_>) {
        if self.is_stopping {
            self.counts.unsent += 1;
            return;
        }
        if let Some(batch) = self.batcher(operation).push(item) {
            self.enqueue(batch);
        }
    }

    /// Forms exactly one batch of these, the repetition of an earlier batch.
    pub fn push_group(&mut self, operation: Operation, items: &[Item<'_>]) {
        let batch = self.batcher(operation).group(items);
        self.enqueue(batch);
    }

    /// Closes the open batches.
    pub fn seal(&mut self) {
        for index in 0..self.batchers.len() {
            if let Some(batch) = self.batchers[index].as_mut().and_then(Batcher::close) {
                self.enqueue(batch);
            }
        }
    }

    /// Removes a record that is in no intent yet, and says whether there was one. It is not counted.
    pub fn withdraw(&mut self, key_hash: KeyHash, key: &[u8]) -> bool {
        if self.batchers.iter_mut().flatten().any(|batcher| batcher.withdraw(key_hash, key)) {
            return true;
        }
        let Some(place) = self.sealed.iter_mut().position(|batch| batch.withdraw(key_hash, key))
        else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(size_of::<super::batch::Record>());
        if self.sealed[place].is_empty()
            && let Some(batch) = self.sealed.remove(place)
        {
            self.bytes = self.bytes.saturating_sub(batch.size());
        }
        true
    }

    /// Whether another batch may be pushed; the reader waits by calling `progress` until it is so.
    pub fn has_room(&self) -> bool {
        let live = self.sealed.len() + self.syncing.len() + self.held.len();
        let unsent = live.saturating_sub(self.window.in_flight());
        unsent < 8.max(self.concurrency.saturating_mul(4))
            && (self.bytes < MOST_BYTES || live < self.concurrency)
    }

    /// Nothing waits, nothing is in flight, everything that ended is written. Open batches are not seen: seal them.
    pub fn is_idle(&self) -> bool {
        self.sealed.is_empty()
            && self.syncing.is_empty()
            && self.window.is_empty()
            && self.receipts.is_empty()
    }

    /// Nothing new is sent; what is in flight has until the drain's timeout. Idempotent.
    pub fn drain(&mut self) {
        self.deadline.get_or_insert(Instant::now() + self.drain_timeout);
        self.stop();
    }

    /// What is in flight is unknown at once. Idempotent.
    pub fn abort(&mut self) {
        self.deadline.get_or_insert(Instant::now());
        self.stop();
        for (_, dropped) in std::mem::take(&mut self.in_flight) {
            dropped.task.abort();
            self.count_request(dropped.batch);
        }
        let actions = self.window.step(Event::Abort);
        self.act(actions);
    }

    /// Why no record will succeed, if the destination said so; nothing new is sent from then on.
    pub fn halted(&self) -> Option<&Refusal> {
        self.halted.as_ref()
    }

    pub fn counts(&self) -> Counts {
        Counts { in_flight: self.window.in_flight() as u64, ..self.counts }
    }

    /// What was refused, and what requests came to instead of receipts.
    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// The number that the next batch will have.
    pub fn next_batch(&self) -> BatchNumber {
        self.next_batch
    }

    /// Makes one step: writes what ended, begins a sync, or waits for the next thing to happen; for ever if idle.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The journal cannot be written or synced: what had not left is unsent, what is in flight unknown, and there are no
    /// receipts of either.
    pub async fn progress(&mut self, journal: &mut Journal) -> Result<(), Error> {
        if !self.receipts.is_empty() {
            return self.write_receipts(journal).map_err(|error| self.fail(error));
        }
        self.begin_sync(journal).map_err(|error| self.fail(error))?;
        match self.wake().await {
            Wake::Ended(ended) => self.end(ended),
            Wake::Synced(Ok(())) => self.note_durable(),
            Wake::Synced(Err(error)) => {
                return Err(self.fail(error));
            }
            Wake::Due => {
                let actions = self.window.step(Event::Due { now: self.now() });
                self.act(actions);
            }
            Wake::Deadline => self.abort(),
        }
        self.write_receipts(journal).map_err(|error| self.fail(error))?;
        self.send();
        Ok(())
    }

    /// Answers come before the deadline that would drop them.
    async fn wake(&mut self) -> Wake {
        let due = self.window.next_due().map(|due| self.start + due);
        let deadline = self.deadline.filter(|_| self.window.in_flight() > 0);
        tokio::select! {
            biased;
            Some(ended) = self.requests.next() => Wake::Ended(ended),
            Some(synced) = self.sync.next() => Wake::Synced(synced),
            () = at(deadline) => Wake::Deadline,
            () = at(due) => Wake::Due,
        }
    }

    fn begin_sync(&mut self, journal: &mut Journal) -> Result<(), Error> {
        let is_needed = self.window.ready() < self.concurrency;
        if self.sealed.is_empty() || !self.syncing.is_empty() || !is_needed {
            return Ok(());
        }
        self.syncing.extend(self.sealed.drain(..));
        points::reached(Point::BeforeIntent);
        for batch in &self.syncing {
            journal.append_intent(batch.number, batch.operation, batch.intent());
        }
        journal.write()?;
        points::reached(Point::IntentWritten);
        let syncer = journal.syncer();
        self.sync.spawn_blocking(move || syncer.sync());
        Ok(())
    }

    fn note_durable(&mut self) {
        points::reached(Point::IntentDurable);
        for batch in std::mem::take(&mut self.syncing) {
            let number = batch.number;
            let retries = batch.records.iter().map(|record| record.is_retry).collect();
            let repeat = self.repeat[index(batch.operation)];
            let unsettled = batch.len();
            let held = Held { batch: Arc::new(batch), unsettled, has_been_sent: false };
            self.held.insert(number, held);
            let actions = self.window.step(Event::Durable { batch: number, retries, repeat });
            self.act(actions);
        }
    }

    fn end(&mut self, ended: Ended) {
        points::reached(Point::AnswerRead);
        // One that crossed an abort is counted and settled already.
        let Some(sent) = self.in_flight.remove(&ended.parcel) else { return };
        let parcel = ended.parcel;
        let event = match ended.attempt {
            None => Event::Recalled { parcel },
            Some((attempt, left)) => {
                self.count_request(sent.batch);
                self.notes.hear(&attempt.judgement, sent.records);
                let (left, now) = (left.saturating_duration_since(self.start), self.now());
                Event::Answered { parcel, attempt, left, now, random: rand::random() }
            }
        };
        let actions = self.window.step(event);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Settle { batch, places, verdict, why } => {
                    self.settle(batch, places, &verdict, why.as_ref());
                }
                Action::Halt(refusal) => {
                    self.halted.get_or_insert(refusal);
                }
                Action::Send { parcel, batch, places, attempt } => {
                    self.outbox.push((parcel, batch, places, attempt));
                }
                // The timer is set anew at each wait.
                Action::WaitUntil(_) => {}
            }
        }
        if self.halted.is_some() {
            self.stop();
        }
    }

    fn send(&mut self) {
        for (parcel, number, places, attempt) in std::mem::take(&mut self.outbox) {
            let held = self.held.get_mut(&number).expect("a batch is held until all of it settled");
            let gate = Gate::default();
            let batch = Arc::clone(&held.batch);
            let records = places.iter().map(ExactSizeIterator::len).sum();
            let request = Request { parcel, batch, places, attempt, gate: gate.clone() };
            let task = self.requests.spawn(request.make(Arc::clone(&self.shared)));
            self.in_flight.insert(parcel, InFlight { batch: number, records, gate, task });
        }
    }

    fn settle(
        &mut self,
        number: BatchNumber,
        places: Vec<Range<u32>>,
        verdict: &Verdict,
        why: Option<&Refusal>,
    ) {
        let held = self.held.get_mut(&number).expect("a batch is held until all of it settled");
        let records = places.iter().map(|range| range.end - range.start).sum::<u32>();
        self.counts.settle(held.batch.operation, u64::from(records), verdict);
        self.notes.settle(&held.batch, &places, verdict, why);
        held.unsettled -= records;
        if held.unsettled == 0 {
            self.bytes = self.bytes.saturating_sub(held.batch.size());
            self.held.remove(&number);
        }
        let receipt = self.receipts.entry(number).or_default();
        receipt.extend(places.into_iter().map(|range| (range, verdict.clone())));
    }

    /// Those that were not written are lost with an error.
    fn write_receipts(&mut self, journal: &mut Journal) -> Result<(), Error> {
        if self.receipts.is_empty() {
            return Ok(());
        }
        let at = now();
        for (batch, verdicts) in std::mem::take(&mut self.receipts) {
            journal.append(&Record::Receipt { batch, at, verdicts: merged(verdicts) });
        }
        journal.write()?;
        points::reached(Point::ReceiptWritten);
        Ok(())
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        let open = self.batchers.iter_mut().flatten().filter_map(Batcher::close);
        let unsent: Vec<Batch> = open.chain(self.sealed.drain(..)).collect();
        self.counts.unsent += unsent.iter().map(|batch| u64::from(batch.len())).sum::<u64>();
        let actions = self.window.step(Event::Drain);
        self.act(actions);
        let mut recalled: Vec<ParcelId> =
            std::mem::take(&mut self.outbox).into_iter().map(|(parcel, ..)| parcel).collect();
        self.in_flight.retain(|parcel, sent| {
            let is_recalled = sent.gate.recall();
            if is_recalled {
                sent.task.abort();
                recalled.push(*parcel);
            }
            !is_recalled
        });
        for parcel in recalled {
            let actions = self.window.step(Event::Recalled { parcel });
            self.act(actions);
        }
    }

    /// Nothing more can be noted: nothing may leave, and nothing is waited for.
    fn fail(&mut self, error: Error) -> Error {
        self.abort();
        let syncing = std::mem::take(&mut self.syncing);
        self.counts.unsent += syncing.iter().map(|batch| u64::from(batch.len())).sum::<u64>();
        self.sync = Tasks::default();
        self.receipts.clear();
        error
    }

    fn count_request(&mut self, number: BatchNumber) {
        self.counts.requests += 1;
        let Some(held) = self.held.get_mut(&number) else { return };
        if std::mem::replace(&mut held.has_been_sent, true) {
            self.counts.retries += 1;
            if points::is_planted("counts_off_by_retry") {
                self.counts.requests -= 1;
            }
        }
    }

    fn enqueue(&mut self, mut batch: Batch) {
        if batch.is_empty() {
            return;
        }
        if self.is_stopping {
            self.counts.unsent += u64::from(batch.len());
            return;
        }
        batch.number = self.next_batch;
        self.next_batch = BatchNumber(self.next_batch.0 + 1);
        self.bytes += batch.size();
        self.sealed.push_back(batch);
    }

    fn batcher(&mut self, operation: Operation) -> &mut Batcher {
        self.batchers[index(operation)].as_mut().expect("the sync declares this operation")
    }

    fn now(&self) -> Moment {
        self.start.elapsed()
    }
}

fn index(operation: Operation) -> usize {
    match operation {
        Operation::Upsert => 0,
        Operation::Delete => 1,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// In the order of places; neighbours with one verdict are one range.
fn merged(mut verdicts: Vec<(Range<u32>, Verdict)>) -> Vec<(Range<u32>, Verdict)> {
    verdicts.sort_by_key(|(places, _)| places.start);
    verdicts.dedup_by(|next, last| {
        let is_one = last.0.end == next.0.start && last.1 == next.1;
        if is_one {
            last.0.end = next.0.end;
        }
        is_one
    });
    verdicts
}

#[cfg(test)]
mod tests;
