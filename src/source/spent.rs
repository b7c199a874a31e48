//! What finding out what there is has cost, of all that one run asks for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::store::Bucket;
use crate::domain::tally::ListingCost;
use crate::points::is_planted;

/// The sum so far.
#[derive(Debug, Default)]
pub struct Spent {
    objects: AtomicU64,
    requests: AtomicU64,
    microseconds: AtomicU64,
}

/// Counts from when it is made until it is dropped: the time, and what a bucket is asked for meanwhile.
pub(super) struct Counting<'s> {
    spent: &'s Spent,
    bucket: Option<&'s Bucket>,
    began: Instant,
    before: (u64, u64),
}

impl Spent {
    pub fn total(&self) -> ListingCost {
        let sum = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ListingCost {
            objects: sum(&self.objects),
            requests: sum(&self.requests),
            milliseconds: sum(&self.microseconds) / 1_000,
        }
    }

    pub(super) fn counting<'s>(&'s self, bucket: Option<&'s Bucket>) -> Counting<'s> {
        Counting { spent: self, bucket, began: Instant::now(), before: asked(bucket) }
    }

    /// What no bucket tells of.
    pub(super) fn saw(&self, objects: usize) {
        self.objects.fetch_add(objects as u64, Ordering::Relaxed);
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if is_planted("listing_uncounted") {
            return;
        }
        let (requests, objects) = asked(self.bucket);
        self.spent.requests.fetch_add(requests.saturating_sub(self.before.0), Ordering::Relaxed);
        self.spent.objects.fetch_add(objects.saturating_sub(self.before.1), Ordering::Relaxed);
        let took = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(0);
        self.spent.microseconds.fetch_add(took, Ordering::Relaxed);
    }
}

/// Requests and objects of a bucket so far.
fn asked(bucket: Option<&Bucket>) -> (u64, u64) {
    bucket.map_or((0, 0), |bucket| (bucket.requests(), bucket.seen()))
}
