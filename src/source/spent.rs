//! What finding out what there is has cost, of all that one run asks for it.
//!
//! Guard: what a bucket is asked for counts once, however many find out something by way of it at the same time, and only while
//! somebody does: what is read of it besides is no part of the cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::Instant;

use crate::domain::tally::ListingCost;
use crate::points::is_planted;

/// The sum so far.
#[derive(Debug, Default)]
pub struct Spent {
    objects: AtomicU64,
    requests: AtomicU64,
    microseconds: AtomicU64,
}

/// Has what one bucket is asked for counted while somebody finds out what there is.
#[derive(Debug)]
pub(super) struct Meter {
    spent: Arc<Spent>,
    /// Those that find out something now.
    counting: AtomicUsize,
}

/// Counts from when it is made until it is dropped: the time, and what goes through the meter meanwhile.
pub(super) struct Counting<'s> {
    spent: &'s Spent,
    meter: Option<&'s Meter>,
    began: Instant,
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

    pub(super) fn counting<'s>(&'s self, meter: Option<&'s Meter>) -> Counting<'s> {
        if let Some(meter) = meter {
            meter.counting.fetch_add(1, Ordering::Relaxed);
        }
        Counting { spent: self, meter, began: Instant::now() }
    }

    /// What no bucket tells of.
    pub(super) fn saw(&self, objects: usize) {
        self.objects.fetch_add(objects as u64, Ordering::Relaxed);
    }
}

impl Meter {
    pub fn of(spent: &Arc<Spent>) -> Meter {
        Meter { spent: Arc::clone(spent), counting: AtomicUsize::new(0) }
    }

    /// A request leaves, one that is tried again included.
    pub fn asked(&self) {
        if self.counts() {
            self.spent.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lists and looks have told of so many objects.
    pub fn saw(&self, objects: usize) {
        if self.counts() {
            self.spent.saw(objects);
        }
    }

    fn counts(&self) -> bool {
        self.counting.load(Ordering::Relaxed) > 0 && !is_planted("listing_uncounted")
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if let Some(meter) = self.meter {
            meter.counting.fetch_sub(1, Ordering::Relaxed);
        }
        if is_planted("listing_uncounted") {
            return;
        }
        let took = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(0);
        self.spent.microseconds.fetch_add(took, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_a_meter_counts_once_and_only_while_somebody_finds_out_something() {
        let spent = Arc::<Spent>::default();
        let meter = Meter::of(&spent);
        let goes = || {
            meter.asked();
            meter.saw(3);
            let total = spent.total();
            (total.requests, total.objects)
        };
        assert_eq!(goes(), (0, 0));
        let one = spent.counting(Some(&meter));
        assert_eq!(goes(), (1, 3));
        let other = spent.counting(Some(&meter));
        assert_eq!(goes(), (2, 6));
        drop(one);
        assert_eq!(goes(), (3, 9));
        drop(other);
        assert_eq!(goes(), (3, 9));
    }
}
