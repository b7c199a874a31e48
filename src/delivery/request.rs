//! One attempt at one parcel: waits for the connection's budget, then sends, unless it was recalled before.
//!
//! Guards: a recalled request has not left and will not; the same records have the same idempotency key in every
//! attempt, and after a kill too.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::batch::{Batch, Record};
use super::budget::Budget;
use super::window::ParcelId;
use crate::destination::answer::Attempt;
use crate::destination::{Destination, Outgoing};
use crate::domain::id::{Lineage, RunId};
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
    pub lineage: Lineage,
    pub sync: String,
    pub run: RunId,
}

/// One attempt to be made.
pub(super) struct Request {
    pub parcel: ParcelId,
    pub batch: Arc<Batch>,
    pub places: Vec<Range<u32>>,
    pub attempt: u32,
    pub gate: Gate,
}

/// One attempt that ended; `None` if it was recalled.
#[derive(Debug)]
pub(super) struct Ended {
    pub parcel: ParcelId,
    pub attempt: Option<(Attempt, Instant)>,
}

impl Request {
    pub async fn make(self, shared: Arc<Shared>) -> Ended {
        let parcel = self.parcel;
        let permit = shared.budget.acquire().await;
        let outgoing = self.outgoing(&shared);
        let left = Instant::now();
        if !self.gate.pass(LEFT) {
            return Ended { parcel, attempt: None };
        }
        points::reached(Point::BeforeRequest);
        let attempt = if points::is_planted("two_in_flight_per_key") {
            let send = || Box::pin(shared.destination.send(&outgoing));
            tokio::join!(send(), send()).0
        } else {
            Box::pin(shared.destination.send(&outgoing)).await
        };
        drop(permit);
        Ended { parcel, attempt: Some((attempt, left)) }
    }

    fn records(&self) -> impl Iterator<Item = &Record> + Clone {
        self.places.iter().flat_map(|range| range.clone()).map(|place| {
            let place = usize::try_from(place).expect("places are indices");
            &self.batch.records[place]
        })
    }

    fn outgoing(&self, shared: &Shared) -> Outgoing {
        let batch = &self.batch;
        let encoder = shared.destination.encoder(batch.operation);
        let encoder = encoder.expect("a batch is formed only with an encoder");
        let path = self.records().next().map(|record| batch.path(record)).unwrap_or_default();
        Outgoing {
            operation: batch.operation,
            records: u32::try_from(self.records().count()).expect("places are u32"),
            body: encoder.body(self.records().map(|record| batch.json(record))),
            path: (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned()),
            idempotency_key: self.idempotency_key(shared),
            run: shared.run.to_string(),
            attempt: self.attempt,
        }
    }

    /// XXH3-128 in hex over the keys of the records, each over all that makes a repetition the same.
    fn idempotency_key(&self, shared: &Shared) -> String {
        let batch = &self.batch;
        let (mut whole, mut one) = (Vec::with_capacity(32 * batch.records.len()), Vec::new());
        for record in self.records() {
            one.clear();
            one.extend_from_slice(&shared.lineage.0.to_le_bytes());
            for bytes in [shared.sync.as_bytes(), batch.key(record)] {
                one.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                one.extend_from_slice(bytes);
            }
            one.extend_from_slice(batch.operation.word().as_bytes());
            one.extend_from_slice(&record.fingerprint.to_le_bytes());
            one.extend_from_slice(&batch.number(record).0.to_le_bytes());
            if points::is_planted("retry_with_new_key") {
                one.extend_from_slice(&self.attempt.to_le_bytes());
            }
            put_hexadecimal(xxh3_128(&one), &mut whole);
        }
        format!("{:032x}", xxh3_128(&whole))
    }
}

/// As `{:032x}`, which is slow for each record.
fn put_hexadecimal(number: u128, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in number.to_be_bytes() {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_has_all_digits_of_a_number() {
        for number in [0, 1, 0xabc, u128::MAX, 0x0123_4567_89ab_cdef << 64] {
            let mut out = Vec::new();
            put_hexadecimal(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{number:032x}"));
        }
    }
}
