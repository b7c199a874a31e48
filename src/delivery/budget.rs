//! What one connection bears, shared by all its syncs: requests in flight, and requests in a period of time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{Limits, Rate};

/// Made once for each connection.
#[derive(Debug)]
pub struct Budget {
    places: Arc<Semaphore>,
    limiter: Option<(DefaultDirectRateLimiter, DefaultClock)>,
}

/// One request may be in flight; dropped when it ended.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Budget {
    pub fn new(limits: &Limits) -> Arc<Budget> {
        let concurrency = usize::try_from(limits.concurrency.max(1)).unwrap_or(usize::MAX);
        let clock = DefaultClock::default();
        let limiter = limits.rate.map(|rate| {
            (RateLimiter::direct_with_clock(quota(rate), clock.clone()), clock.clone())
        });
        let places = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
        Arc::new(Budget { places, limiter })
    }

    /// Waits for a place, then for the rate. Cancel-safe: what was not returned was not taken, but for a turn of the rate.
    pub async fn acquire(&self) -> Permit {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        if let Some((limiter, clock)) = &self.limiter {
            while let Err(not_until) = limiter.check() {
                let wait = not_until.wait_time_from(clock.now());
                tokio::time::sleep(wait.max(Duration::from_micros(1))).await;
            }
        }
        Permit(place)
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
        let first = budget.acquire().await;
        assert!(budget.acquire().now_or_never().is_none());
        drop(first);
        assert!(budget.acquire().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_request_beyond_the_rate_waits() {
        let rate = Rate { requests: 2, per: Duration::from_secs(7200) };
        let budget = Budget::new(&limits(9, Some(rate)));
        drop(budget.acquire().await);
        assert!(budget.acquire().now_or_never().is_none());
    }

    #[test]
    fn a_burst_is_part_of_the_rate() {
        let quota = quota(Rate { requests: 10_000, per: Duration::from_secs(1) });
        assert_eq!(quota.burst_size().get(), 50);
        let others = 1_000_000_000 / quota.replenish_interval().as_nanos();
        assert!(others + 50 <= 10_001, "{others}");
    }
}
