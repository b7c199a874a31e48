//! What one connection bears, shared by all its syncs: requests in flight, and requests in a period of time.
//!
//! One queue of requests: those of a sync of higher priority leave first, and none waits for ever (`domain::priority`).

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::oneshot;

use super::limits::{Limits, Rate};
use crate::domain::priority::{Line, Priority};

/// Made once for each connection.
#[derive(Debug)]
pub struct Budget {
    places: Mutex<Places>,
    limiter: Option<(DefaultDirectRateLimiter, DefaultClock)>,
}

#[derive(Debug)]
struct Places {
    free: u32,
    waiting: Line<(), oneshot::Sender<Permit>>,
}

/// One request may be in flight; dropped when it ended.
#[derive(Debug)]
#[must_use = "the place is free again as soon as this is dropped"]
pub struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Budget {
    pub fn new(limits: &Limits) -> Arc<Budget> {
        let clock = DefaultClock::default();
        let limiter = limits.rate.map(|rate| {
            (RateLimiter::direct_with_clock(quota(rate), clock.clone()), clock.clone())
        });
        let places = Places { free: limits.concurrency.max(1), waiting: Line::default() };
        Arc::new(Budget { places: Mutex::new(places), limiter })
    }

    /// Waits for a place, then for the rate. Cancel-safe: what was not returned was not taken, but for a turn of the rate.
    pub async fn acquire(self: &Arc<Budget>, priority: Priority) -> Permit {
        let permit = match self.take_or_wait(priority) {
            Ok(permit) => permit,
            Err(turn) => turn.await.expect("whoever waits is let in, or has gone"),
        };
        if let Some((limiter, clock)) = &self.limiter {
            while let Err(not_until) = limiter.check() {
                let wait = not_until.wait_time_from(clock.now());
                tokio::time::sleep(wait.max(Duration::from_micros(1))).await;
            }
        }
        permit
    }

    fn take_or_wait(
        self: &Arc<Budget>,
        priority: Priority,
    ) -> Result<Permit, oneshot::Receiver<Permit>> {
        let mut places = self.places();
        if places.free > 0 {
            places.free -= 1;
            return Ok(Permit(Arc::clone(self)));
        }
        let (admit, turn) = oneshot::channel();
        places.waiting.push(priority, (), admit);
        Err(turn)
    }

    /// Gives a place to whoever is next and still waits; free, where nobody does.
    fn release(self: &Arc<Budget>) {
        let mut places = self.places();
        while let Some(admit) = places.waiting.take(|()| true) {
            if admit.is_closed() {
                continue;
            }
            // Without the lock: who has gone meanwhile drops the permit, which comes here again.
            drop(places);
            drop(admit.send(Permit(Arc::clone(self))));
            return;
        }
        places.free += 1;
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("nobody panics while counting places")
    }
}

/// No period of the rate's length, wherever it begins, has more than its requests. Bursts are what a timer of a
/// millisecond needs to keep up with high rates.
fn quota(rate: Rate) -> Quota {
    let requests = rate.requests.max(1);
    let period = rate.per.max(Duration::from_nanos(1));
    let in_five_milliseconds =
        u128::from(requests).saturating_mul(5_000_000) / period.as_nanos().max(1);
    let burst = u32::try_from(in_five_milliseconds).unwrap_or(u32::MAX).clamp(1, requests);
    let each = (period / (requests - burst).saturating_add(1)).max(Duration::from_nanos(1));
    Quota::with_period(each)
        .expect("it is at least a nanosecond")
        .allow_burst(NonZeroU32::new(burst).expect("it is at least 1"))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::delivery::limits::Retry;

    fn limits(concurrency: u32, rate: Option<Rate>) -> Limits {
        Limits { concurrency, rate, retry: Retry::default() }
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_permit_is_dropped() {
        let budget = Budget::new(&limits(1, None));
        let first = budget.acquire(Priority::Normal).await;
        assert!(budget.acquire(Priority::Normal).now_or_never().is_none());
        drop(first);
        assert!(budget.acquire(Priority::Normal).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_place_goes_to_the_higher_priority_and_never_to_whoever_has_gone_e4() {
        let budget = Budget::new(&limits(1, None));
        let held = budget.acquire(Priority::Normal).await;
        let mut low = Box::pin(budget.acquire(Priority::Low));
        let mut gone = Box::pin(budget.acquire(Priority::High));
        let mut late = Box::pin(budget.acquire(Priority::High));
        let mut high = Box::pin(budget.acquire(Priority::High));
        for one in [&mut low, &mut gone, &mut late, &mut high] {
            assert!(one.now_or_never().is_none());
        }
        drop(gone);
        drop(held);
        // It was given a place, and goes before it has heard of it.
        drop(late);
        assert!((&mut low).now_or_never().is_none());
        let held = (&mut high).now_or_never().expect("it is let in");
        drop(held);
        drop((&mut low).now_or_never().expect("it is let in"));
        assert!(budget.acquire(Priority::Low).now_or_never().is_some(), "no place is lost");
    }

    #[tokio::test]
    async fn a_request_beyond_the_rate_waits() {
        let rate = Rate { requests: 2, per: Duration::from_secs(7200) };
        let budget = Budget::new(&limits(9, Some(rate)));
        drop(budget.acquire(Priority::Normal).await);
        assert!(budget.acquire(Priority::Normal).now_or_never().is_none());
    }

    #[test]
    fn a_burst_is_part_of_the_rate() {
        let quota = quota(Rate { requests: 10_000, per: Duration::from_secs(1) });
        assert_eq!(quota.burst_size().get(), 50);
        let others = 1_000_000_000 / quota.replenish_interval().as_nanos();
        assert!(others + 50 <= 10_001, "{others}");
    }
}
