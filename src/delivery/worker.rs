//! The loop around a dispatch: syncs, sends, waits.
//!
//! Not responsible for any decision (dispatch.rs, window.rs). Guards: no request leaves before its intent is durable;
//! receipts are written before a slot is used again; waiting happens in one place, so that `progress` may be dropped at
//! any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::batch::Batcher;
use super::budget::Budget;
use super::clock::now;
use super::dispatch::{Dispatch, Terms};
use super::limits::Retry;
use super::request::{Ended, Gate, Request, Shared};
use super::window::{Moment, ParcelId};
use crate::destination::Destination;
use crate::destination::definition::Repeat;
use crate::domain::entry::Operation;
use crate::domain::id::{BatchNumber, IntentNumber, Lineage, RunId};
use crate::domain::priority::Priority;
use crate::points;
use crate::shutdown::Tasks;
use crate::snapshot::Error;
use crate::snapshot::journal::Journal;

/// What a run's delivery needs to know.
#[derive(Debug)]
pub struct Settings {
    pub destination: Arc<Destination>,
    pub budget: Arc<Budget>,
    /// Of the sync, beside others of its connection.
    pub priority: Priority,
    pub retry: Retry,
    pub upsert_repeat: Repeat,
    pub delete_repeat: Repeat,
    pub lineage: Lineage,
    pub sync: String,
    pub run: RunId,
    /// From this number on the idempotency keys of intents tell apart what is said.
    pub contents_from: IntentNumber,
    /// The number of the first batch that is formed.
    pub first_batch: BatchNumber,
    pub drain_timeout: Duration,
}

/// The delivery of one run.
#[derive(Debug)]
pub struct Delivery {
    /// Where operations are put in, and what tells how they ended. A stop is [`Delivery::drain`] or [`Delivery::abort`].
    pub dispatch: Dispatch,
    /// Requests in flight at once, which may change while the run goes.
    concurrency: watch::Receiver<u32>,
    shared: Arc<Shared>,
    drain_timeout: Duration,
    sync: Tasks<Result<(), Error>>,
    requests: Tasks<Ended>,
    in_flight: BTreeMap<ParcelId, InFlight>,
    start: Instant,
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct InFlight {
    gate: Gate,
    task: AbortHandle,
}

enum Wake {
    Ended(Ended),
    Synced(Result<(), Error>),
    Due,
    Deadline,
    Changed,
}

/// What forms the batches of each operation that the destination declares.
pub fn batchers(destination: &Destination) -> [Option<Batcher>; 2] {
    [Operation::Upsert, Operation::Delete].map(|operation| {
        let encoder = destination.encoder(operation)?;
        Some(Batcher::new(operation, encoder.limits(), encoder.overhead()))
    })
}

impl Delivery {
    pub fn new(settings: Settings) -> Delivery {
        let Settings { destination, budget, priority, lineage, sync, run, contents_from, .. } =
            settings;
        let mut concurrency = budget.concurrency();
        let dispatch = Dispatch::new(Terms {
            concurrency: *concurrency.borrow_and_update(),
            retry: settings.retry,
            batchers: batchers(&destination),
            repeat: [settings.upsert_repeat, settings.delete_repeat],
            first_batch: settings.first_batch,
        });
        Delivery {
            dispatch,
            concurrency,
            shared: Arc::new(Shared {
                destination,
                budget,
                priority,
                lineage,
                sync,
                run,
                contents_from,
            }),
            drain_timeout: settings.drain_timeout,
            sync: Tasks::default(),
            requests: Tasks::default(),
            in_flight: BTreeMap::new(),
            start: Instant::now(),
            deadline: None,
        }
    }

    /// Nothing new is sent; what is in flight has until the drain's timeout. Idempotent.
    pub fn drain(&mut self) {
        let is_limited = !points::is_planted("drain_without_limit");
        if is_limited {
            self.deadline.get_or_insert(Instant::now() + self.drain_timeout);
        }
        self.dispatch.stop();
        self.recall();
    }

    /// What is in flight is unknown at once. Idempotent.
    pub fn abort(&mut self) {
        self.deadline.get_or_insert(Instant::now());
        self.dispatch.stop();
        self.recall();
        for (_, dropped) in std::mem::take(&mut self.in_flight) {
            dropped.task.abort();
        }
        self.dispatch.abort();
    }

    /// Makes one step: writes what ended, begins a sync, or waits for the next thing to happen; for ever if idle.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The journal cannot be written or synced: what had not left is unsent, what is in flight unknown, and there are no
    /// receipts of either.
    pub async fn progress(&mut self, journal: &mut Journal) -> Result<(), Error> {
        if self.dispatch.has_receipts() {
            return self.write_receipts(journal);
        }
        match self.dispatch.begin_sync(journal) {
            Ok(Some(syncer)) => {
                self.sync.spawn_blocking(move || syncer.sync());
            }
            Ok(None) => {}
            Err(error) => return Err(self.fail(error)),
        }
        // Given back once the next request stands in line for it.
        let mut place = None;
        match self.wake().await {
            Wake::Ended(mut ended) => {
                place = ended.place.take();
                self.end(ended);
            }
            Wake::Synced(Ok(())) => self.dispatch.note_durable(),
            Wake::Synced(Err(error)) => {
                return Err(self.fail(error));
            }
            Wake::Due => self.dispatch.wake(self.start.elapsed()),
            Wake::Deadline => self.abort(),
            Wake::Changed => {
                let concurrency = *self.concurrency.borrow_and_update();
                self.dispatch.allow(concurrency, self.start.elapsed());
            }
        }
        self.write_receipts(journal)?;
        self.send();
        drop(place);
        Ok(())
    }

    fn write_receipts(&mut self, journal: &mut Journal) -> Result<(), Error> {
        self.dispatch.write_receipts(journal, now()).map_err(|error| self.fail(error))
    }

    /// Answers come before the deadline that would drop them.
    async fn wake(&mut self) -> Wake {
        let due = self.dispatch.next_due().map(|due| self.start + due);
        let deadline = self.deadline.filter(|_| self.dispatch.in_flight() > 0);
        tokio::select! {
            biased;
            Some(ended) = self.requests.next() => Wake::Ended(ended),
            Some(synced) = self.sync.next() => Wake::Synced(synced),
            () = at(deadline) => Wake::Deadline,
            () = at(due) => Wake::Due,
            Ok(()) = self.concurrency.changed() => Wake::Changed,
        }
    }

    fn end(&mut self, ended: Ended) {
        self.in_flight.remove(&ended.parcel);
        match ended.attempt {
            None => self.dispatch.recalled(ended.parcel),
            Some((attempt, left)) => {
                let left: Moment = left.saturating_duration_since(self.start);
                let now = self.start.elapsed();
                self.dispatch.answered(ended.parcel, attempt, left, now, rand::random());
            }
        }
        if self.dispatch.is_stopping() {
            self.recall();
        }
    }

    fn send(&mut self) {
        for sending in self.dispatch.take_sendings() {
            let (parcel, gate) = (sending.parcel, Gate::default());
            let turn = self.shared.budget.ask(self.shared.priority);
            let request = Request { sending, turn, gate: gate.clone() };
            let task = self.requests.spawn(request.make(Arc::clone(&self.shared)));
            self.in_flight.insert(parcel, InFlight { gate, task });
        }
    }

    /// Requests that have not left never will.
    fn recall(&mut self) {
        let mut recalled: Vec<ParcelId> = Vec::new();
        self.in_flight.retain(|parcel, sent| {
            let is_recalled = sent.gate.recall();
            if is_recalled {
                sent.task.abort();
                recalled.push(*parcel);
            }
            !is_recalled
        });
        for parcel in recalled {
            self.dispatch.recalled(parcel);
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.abort();
        self.dispatch.fail();
        self.sync = Tasks::default();
        error
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
