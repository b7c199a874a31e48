//! Delivery without its loop: batches are formed and noted, parcels of them sent, answers settled. No clock, no task,
//! no socket: whoever drives it says when a sync ended, what an answer was and what time it is.
//!
//! Not responsible for any decision on an attempt (window.rs). Guards: nothing is given out to be sent before its intent
//! is durable, nor before the receipts of what ended are written; a stopping dispatch gives nothing out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Batcher, Item};
use super::counts::Counts;
use super::limits::Retry;
use super::notes::Notes;
use super::spool::Spool;
use super::window::{Action, Event, Moment, ParcelId, Window};
use crate::destination::answer::{Attempt, Refusal};
use crate::destination::definition::Repeat;
use crate::domain::entry::{Operation, Verdict};
use crate::domain::id::{BatchNumber, Instant};
use crate::domain::key::KeyHash;
use crate::points::{self, Point};
use crate::snapshot::Error;
use crate::snapshot::journal::{Journal, Syncer};
use crate::snapshot::record::Record;

/// Bytes of batches that wait; the reader is held back beyond.
const MOST_BYTES: usize = 64 << 20;

/// What a dispatch needs to know.
#[derive(Debug)]
pub struct Terms {
    /// Parcels in flight at once; at least 1.
    pub concurrency: u32,
    pub retry: Retry,
    /// Of upserts and of deletes; `None` where the sync does not declare the operation.
    pub batchers: [Option<Batcher>; 2],
    pub repeat: [Repeat; 2],
    /// The number of the first batch that is formed.
    pub first_batch: BatchNumber,
}

/// A parcel to be sent now.
#[derive(Debug, Clone)]
pub struct Sending {
    pub parcel: ParcelId,
    pub batch: Arc<Batch>,
    pub places: Vec<Range<u32>>,
    /// From 1.
    pub attempt: u32,
}

/// See the file's comment.
#[derive(Debug)]
pub struct Dispatch {
    batchers: [Option<Batcher>; 2],
    repeat: [Repeat; 2],
    concurrency: usize,
    next_batch: BatchNumber,
    sealed: VecDeque<Batch>,
    syncing: Vec<Batch>,
    window: Window,
    held: HashMap<BatchNumber, Held>,
    /// Bytes of all batches that were sealed and have not ended.
    bytes: usize,
    /// To be sent once the receipts are written.
    outbox: Vec<(ParcelId, BatchNumber, Vec<Range<u32>>, u32)>,
    /// The batch of each parcel that was given out, and how many records it has.
    given_out: BTreeMap<ParcelId, (BatchNumber, usize)>,
    /// Verdicts that are not in the journal yet.
    receipts: BTreeMap<BatchNumber, Vec<(Range<u32>, Verdict)>>,
    is_stopping: bool,
    halted: Option<Refusal>,
    counts: Counts,
    notes: Notes,
    spool: Option<Spool>,
}

#[derive(Debug)]
struct Held {
    batch: Arc<Batch>,
    unsettled: u32,
    has_been_sent: bool,
}

impl Dispatch {
    pub fn new(terms: Terms) -> Dispatch {
        Dispatch {
            batchers: terms.batchers,
            repeat: terms.repeat,
            concurrency: usize::try_from(terms.concurrency.max(1)).unwrap_or(usize::MAX),
            next_batch: terms.first_batch,
            sealed: VecDeque::new(),
            syncing: Vec::new(),
            window: Window::new(terms.concurrency, terms.retry),
            held: HashMap::new(),
            bytes: 0,
            outbox: Vec::new(),
            given_out: BTreeMap::new(),
            receipts: BTreeMap::new(),
            is_stopping: false,
            halted: None,
            counts: Counts::default(),
            notes: Notes::default(),
            spool: None,
        }
    }

    /// From here on what becomes of each record is noted there too.
    pub fn log_to(&mut self, spool: Spool) {
        self.spool = Some(spool);
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

    /// Forms exactly one batch of these, the repetition of an earlier batch. Where each of them now has a path of its own,
    /// one request can no longer say them all.
    pub fn push_group(&mut self, operation: Operation, items: &[Item<'_>]) {
        if items.len() > 1 && items.iter().any(|item| item.target_len > 0) {
            return items.iter().for_each(|item| self.push(operation, item));
        }
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

    /// Whether another batch may be pushed; the reader waits until it is so.
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

    /// Nothing new is given out any more.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Parcels in the window's flight, given out or about to be.
    pub fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// The earliest time at which a parcel is due again.
    pub fn next_due(&self) -> Option<Moment> {
        self.window.next_due()
    }

    /// Why no record will succeed, if the destination said so; nothing new is sent from then on.
    pub fn halted(&self) -> Option<&Refusal> {
        self.halted.as_ref()
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { in_flight: self.window.in_flight() as u64, ..self.counts };
        if points::is_planted("unsent_called_delivered") {
            counts.delivered += std::mem::take(&mut counts.unsent);
        }
        counts
    }

    /// What was refused, and what requests came to instead of receipts.
    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// The number that the next batch will have.
    pub fn next_batch(&self) -> BatchNumber {
        self.next_batch
    }

    /// Writes the intents of what is sealed, if the window could take it, and nothing is being synced. What it returns
    /// makes them durable; [`Dispatch::note_durable`] says that they are.
    ///
    /// # Errors
    /// The journal cannot be written: see [`Dispatch::fail`].
    pub fn begin_sync(&mut self, journal: &mut Journal) -> Result<Option<Syncer>, Error> {
        let is_needed = self.window.ready() < self.concurrency;
        if self.sealed.is_empty() || !self.syncing.is_empty() || !is_needed {
            return Ok(None);
        }
        self.syncing.extend(self.sealed.drain(..));
        points::reached(Point::BeforeIntent);
        for batch in &self.syncing {
            journal.append_intent(batch.number, batch.operation, batch.intent());
        }
        if !points::is_planted("intent_after_send") {
            journal.write()?;
        }
        points::reached(Point::IntentWritten);
        Ok(Some(journal.syncer()))
    }

    /// The sync that was begun has ended well.
    pub fn note_durable(&mut self) {
        points::reached(Point::IntentDurable);
        for batch in std::mem::take(&mut self.syncing) {
            let number = batch.number;
            let retries = batch.records.iter().map(|record| record.is_retry).collect();
            let repeat = self.repeat[index(batch.operation)];
            let unsettled = batch.len();
            let held = Held { batch: Arc::new(batch), unsettled, has_been_sent: false };
            self.held.insert(number, held);
            self.step(Event::Durable { batch: number, retries, repeat });
        }
    }

    /// What is to be sent now: once receipts are written, and until a stop.
    pub fn take_sendings(&mut self) -> Vec<Sending> {
        let take = |(parcel, number, places, attempt): (_, _, Vec<Range<u32>>, _)| {
            let held = self.held.get(&number).expect("a batch is held until all of it settled");
            let records = places.iter().map(ExactSizeIterator::len).sum();
            self.given_out.insert(parcel, (number, records));
            Sending { parcel, batch: Arc::clone(&held.batch), places, attempt }
        };
        std::mem::take(&mut self.outbox).into_iter().map(take).collect()
    }

    /// An attempt that left at `left` ended now. `random` in `0.0..1.0` is the jitter of its repetition.
    pub fn answered(
        &mut self,
        parcel: ParcelId,
        attempt: Attempt,
        left: Moment,
        now: Moment,
        random: f64,
    ) {
        points::reached(Point::AnswerRead);
        // One that crossed an abort is counted and settled already.
        let Some((batch, records)) = self.given_out.remove(&parcel) else { return };
        self.count_request(batch);
        self.notes.hear(&attempt.judgement, records);
        self.step(Event::Answered { parcel, attempt, left, now, random });
    }

    /// The attempt never left.
    pub fn recalled(&mut self, parcel: ParcelId) {
        if self.given_out.remove(&parcel).is_some() {
            self.step(Event::Recalled { parcel });
        }
    }

    /// It is `now`.
    pub fn wake(&mut self, now: Moment) {
        self.step(Event::Due { now });
    }

    /// So many requests may be in flight from now on; what is in flight stays so.
    pub fn allow(&mut self, concurrency: u32, now: Moment) {
        self.concurrency = usize::try_from(concurrency.max(1)).unwrap_or(usize::MAX);
        self.window.allow(self.concurrency);
        self.wake(now);
    }

    /// Something ended that is not in the journal yet.
    pub fn has_receipts(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// Writes the receipts of what ended. Those that could not be written are lost with an error.
    ///
    /// # Errors
    /// The journal cannot be written: see [`Dispatch::fail`].
    pub fn write_receipts(&mut self, journal: &mut Journal, at: Instant) -> Result<(), Error> {
        if !self.has_receipts() {
            return Ok(());
        }
        for (batch, verdicts) in std::mem::take(&mut self.receipts) {
            journal.append(&Record::Receipt { batch, at, verdicts: merged(verdicts) });
        }
        journal.write()?;
        points::reached(Point::ReceiptWritten);
        Ok(())
    }

    /// Nothing new is given out; what was may end, and is better recalled if it has not left. Idempotent.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        let open = self.batchers.iter_mut().flatten().filter_map(Batcher::close);
        let unsent: Vec<Batch> = open.chain(self.sealed.drain(..)).collect();
        self.counts.unsent += unsent.iter().map(|batch| u64::from(batch.len())).sum::<u64>();
        self.step(Event::Drain);
        for (parcel, ..) in std::mem::take(&mut self.outbox) {
            self.step(Event::Recalled { parcel });
        }
    }

    /// Nothing is waited for: what was given out is unknown. Idempotent.
    pub fn abort(&mut self) {
        self.stop();
        for (_, (batch, _)) in std::mem::take(&mut self.given_out) {
            self.count_request(batch);
        }
        self.step(Event::Abort);
    }

    /// Nothing more can be noted: nothing may leave, and nothing is waited for. What had not left is unsent, what is in
    /// flight unknown, and there are no receipts of either.
    pub fn fail(&mut self) {
        self.abort();
        let syncing = std::mem::take(&mut self.syncing);
        self.counts.unsent += syncing.iter().map(|batch| u64::from(batch.len())).sum::<u64>();
        self.receipts.clear();
    }

    fn step(&mut self, event: Event) {
        for action in self.window.step(event) {
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
                // Whoever waits asks for the next due time.
                Action::WaitUntil(_) => {}
            }
        }
        if self.halted.is_some() {
            self.stop();
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
        if let Some(spool) = &mut self.spool {
            spool.note(&held.batch, &places, verdict, why);
        }
        held.unsettled -= records;
        if held.unsettled == 0 {
            self.bytes = self.bytes.saturating_sub(held.batch.size());
            self.held.remove(&number);
        }
        let receipt = self.receipts.entry(number).or_default();
        receipt.extend(places.into_iter().map(|range| (range, verdict.clone())));
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
}

fn index(operation: Operation) -> usize {
    match operation {
        Operation::Upsert => 0,
        Operation::Delete => 1,
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
