//! One attempt at one parcel: waits for the connection's budget, then sends, unless it was recalled before.
//!
//! Guards: a recalled request has not left and will not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;

use super::budget::{Budget, Permit, Turn};
use super::dispatch::Sending;
use super::idempotency;
use super::window::ParcelId;
use crate::destination::answer::Attempt;
use crate::destination::{Destination, Outgoing};
use crate::domain::id::{IntentNumber, Lineage, RunId};
use crate::domain::priority::Priority;
use crate::points::{self, Point};

const WAITING: u8 = 0;
const LEFT: u8 = 1;
const RECALLED: u8 = 2;

/// Decides once whether a request leaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<AtomicU8>);

impl Gate {
    /// Whether the request has not left; it will not from now on.
    pub fn recall(&self) -> bool {
        self.pass(RECALLED)
    }

    fn pass(&self, state: u8) -> bool {
        self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What all requests of a run have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub destination: Arc<Destination>,
    pub budget: Arc<Budget>,
    pub priority: Priority,
    pub lineage: Lineage,
    pub sync: String,
    pub run: RunId,
    /// As [`idempotency::key`] has it.
    pub contents_from: IntentNumber,
}

/// One attempt to be made.
pub(super) struct Request {
    pub sending: Sending,
    pub turn: Turn,
    pub gate: Gate,
}

/// One attempt that ended; `None` if it was recalled.
#[derive(Debug)]
pub(super) struct Ended {
    pub parcel: ParcelId,
    pub attempt: Option<(Attempt, Instant)>,
    /// Its place, where that is kept from requests of lower priority.
    pub place: Option<Permit>,
}

impl Request {
    pub async fn make(self, shared: Arc<Shared>) -> Ended {
        let parcel = self.sending.parcel;
        let Request { sending, turn, gate } = self;
        let permit = turn.come().await;
        let outgoing = sending.outgoing(&shared);
        let left = Instant::now();
        if !gate.pass(LEFT) {
            return Ended { parcel, attempt: None, place: None };
        }
        points::reached(Point::BeforeRequest);
        #[cfg(feature = "faults")]
        if points::is_planted("two_in_flight_per_key") {
            let send = || Box::pin(shared.destination.send(&outgoing));
            let attempt = tokio::join!(send(), send()).0;
            return Ended { parcel, attempt: Some((attempt, left)), place: None };
        }
        let attempt = Box::pin(shared.destination.send(&outgoing)).await;
        let place = permit.kept_from_lower(shared.priority);
        Ended { parcel, attempt: Some((attempt, left)), place }
    }
}

impl Sending {
    fn outgoing(&self, shared: &Shared) -> Outgoing {
        let (batch, places) = (&self.batch, &self.places);
        let encoder = shared.destination.encoder(batch.operation);
        let encoder = encoder.expect("a batch is formed only with an encoder");
        let records = batch.at(places);
        let is_keyed = shared.destination.carries_key(batch.operation);
        let key = || {
            let Shared { lineage, sync, contents_from, .. } = shared;
            let key = idempotency::key(*lineage, sync, batch, places, *contents_from);
            match points::is_planted("retry_with_new_key") {
                true => format!("{key}{}", self.attempt),
                false => key,
            }
        };
        let path = records.clone().next().map(|record| batch.path(record)).unwrap_or_default();
        Outgoing {
            operation: batch.operation,
            records: u32::try_from(records.clone().count()).expect("places are u32"),
            body: encoder.body(records.map(|record| batch.json(record))),
            path: (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned()),
            idempotency_key: is_keyed.then(key),
            run: shared.run.to_string(),
            attempt: self.attempt,
        }
    }
}
