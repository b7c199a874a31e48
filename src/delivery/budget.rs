//! What one connection bears, shared by all its syncs: requests in flight, and requests in a period of time.
//!
//! One queue of requests: those of a sync of higher priority leave first, and none waits for ever (`domain::priority`).

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::limits::{Limits, Rate};
use crate::domain::priority::{Line, Priority};

const WHOLE: &str = "nobody panics while counting places";

/// Made once for each connection.
#[derive(Debug)]
pub struct Budget {
    places: Mutex<Places>,
    limiter: Mutex<Option<Arc<Limiter>>>,
    /// Tells runs that go of the limit of places.
    concurrency: watch::Sender<u32>,
    /// Tells those that wait when the rate lets the next one go, where that is what keeps them.
    due: watch::Sender<Option<Instant>>,
}

#[derive(Debug)]
struct Limiter(DefaultDirectRateLimiter, DefaultClock);

#[derive(Debug)]
struct Places {
    limit: u32,
    /// May be above the limit for a while after that was lowered.
    taken: u32,
    waiting: Line<(), oneshot::Sender<Permit>>,
}

/// One request may be in flight; dropped when it ended.
#[derive(Debug)]
#[must_use = "the place is free again as soon as this is dropped"]
pub struct Permit(Arc<Budget>);

/// A place in the queue, or one that was free; given up when dropped.
#[derive(Debug)]
pub struct Turn {
    budget: Arc<Budget>,
    stands: Stands,
}

#[derive(Debug)]
enum Stands {
    Admitted(Permit),
    Waiting(oneshot::Receiver<Permit>),
}

impl Turn {
    /// Waits for a place and a turn of the rate, which come together. What was not returned was not taken, but for a turn of
    /// the rate.
    pub async fn come(self) -> Permit {
        let mut turn = match self.stands {
            Stands::Admitted(permit) => return permit,
            Stands::Waiting(turn) => turn,
        };
        let mut due = self.budget.due.subscribe();
        let mut seen = None;
        loop {
            // Whoever looks when the rate has a turn gives it to the first of all that wait, not to itself.
            let next = due.borrow_and_update().filter(|next| Some(*next) != seen);
            tokio::select! {
                biased;
                permit = &mut turn => return permit.expect("whoever waits is let in, or has gone"),
                () = at(next) => {
                    seen = next;
                    self.budget.admit();
                }
                Ok(()) = due.changed() => {}
            }
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Permit {
    /// The place, where those who wait for it are of lower priority: it is kept until whoever had it has asked for the next
    /// one, as it would go to them in between. Else it is free at once.
    pub fn kept_from_lower(self, priority: Priority) -> Option<Permit> {
        let first = self.0.places().waiting.highest();
        first.is_some_and(|first| first > priority).then_some(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Budget {
    pub fn new(limits: &Limits) -> Arc<Budget> {
        let places =
            Places { limit: limits.concurrency.max(1), taken: 0, waiting: Line::default() };
        let limiter = Mutex::new(limits.rate.map(Limiter::new));
        let (concurrency, _) = watch::channel(places.limit);
        let (due, _) = watch::channel(None);
        Arc::new(Budget { places: Mutex::new(places), limiter, concurrency, due })
    }

    /// Puts other limits in place of those there are; requests that are in flight stay so, those that wait go by the new ones.
    pub fn change(self: &Arc<Budget>, limits: &Limits) {
        *self.limiter.lock().expect(WHOLE) = limits.rate.map(Limiter::new);
        let most = limits.concurrency.max(1);
        self.places().limit = most;
        self.concurrency.send_replace(most);
        self.admit();
    }

    /// How many requests may be in flight at once, and each change of that.
    pub fn concurrency(&self) -> watch::Receiver<u32> {
        self.concurrency.subscribe()
    }

    /// Waits for a place and for the rate. Cancel-safe: what was not returned was not taken, but for a turn of the rate.
    pub async fn acquire(self: &Arc<Budget>, priority: Priority) -> Permit {
        self.ask(priority).come().await
    }

    /// Stands in the queue from now on, or has a place that is free.
    pub fn ask(self: &Arc<Budget>, priority: Priority) -> Turn {
        let stands = match self.take_or_wait(priority) {
            Ok(permit) => Stands::Admitted(permit),
            Err(turn) => Stands::Waiting(turn),
        };
        Turn { budget: Arc::clone(self), stands }
    }

    /// Whether one more may go by the rate, whose turn is taken then; else all that wait are told when.
    fn is_due(&self) -> bool {
        let limiter = self.limiter.lock().expect(WHOLE).clone();
        let Some(limiter) = limiter else { return true };
        let Limiter(limiter, clock) = limiter.as_ref();
        let refused = limiter.check().err();
        if let Some(not_until) = &refused {
            self.due.send_replace(Some(Instant::now() + not_until.wait_time_from(clock.now())));
        }
        refused.is_none()
    }

    fn take_or_wait(
        self: &Arc<Budget>,
        priority: Priority,
    ) -> Result<Permit, oneshot::Receiver<Permit>> {
        let mut places = self.places();
        if places.taken < places.limit && places.waiting.is_empty() && self.is_due() {
            places.taken += 1;
            return Ok(Permit(Arc::clone(self)));
        }
        let (admit, turn) = oneshot::channel();
        places.waiting.push(priority, (), admit);
        Err(turn)
    }

    fn release(self: &Arc<Budget>) {
        self.places().taken -= 1;
        self.admit();
    }

    /// Gives the places that are free to whoever is next and still waits.
    fn admit(self: &Arc<Budget>) {
        while let Some(admit) = self.next() {
            // Without the lock: who has gone meanwhile drops the permit, which is a release.
            drop(admit.send(Permit(Arc::clone(self))));
        }
    }

    /// Whoever is next, with a place and a turn of the rate taken for it, if there are both.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut places = self.places();
        if places.taken >= places.limit {
            return None;
        }
        places.waiting.remove(oneshot::Sender::is_closed);
        if places.waiting.is_empty() || !self.is_due() {
            return None;
        }
        places.taken += 1;
        places.waiting.take(|()| true)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect(WHOLE)
    }
}

impl Limiter {
    fn new(rate: Rate) -> Arc<Limiter> {
        let clock = DefaultClock::default();
        Arc::new(Limiter(RateLimiter::direct_with_clock(quota(rate), clock.clone()), clock))
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
    async fn a_place_is_kept_from_lower_ones_alone_until_the_next_was_asked_for_e4() {
        let budget = Budget::new(&limits(1, None));
        let held = budget.acquire(Priority::High).await;
        let mut low = Box::pin(budget.acquire(Priority::Low));
        assert!((&mut low).now_or_never().is_none());
        let kept = held.kept_from_lower(Priority::High).expect("only a low one waits");
        let next = budget.ask(Priority::High);
        drop(kept);
        assert!((&mut low).now_or_never().is_none());
        let held = next.come().now_or_never().expect("it is let in");
        let other = budget.ask(Priority::High);
        assert!(held.kept_from_lower(Priority::High).is_none(), "an equal waits");
        let held = other.come().now_or_never().expect("it is let in");
        assert!(held.kept_from_lower(Priority::Low).is_none(), "nobody lower waits");
        assert!(low.now_or_never().is_some());
    }

    #[tokio::test]
    async fn changed_limits_count_for_those_that_wait_e3() {
        let budget = Budget::new(&limits(1, None));
        let held = budget.acquire(Priority::Normal).await;
        let mut waits = Box::pin(budget.acquire(Priority::Normal));
        assert!((&mut waits).now_or_never().is_none());
        budget.change(&limits(2, None));
        let second = (&mut waits).now_or_never().expect("there are two places now");
        budget.change(&limits(1, None));
        drop(held);
        assert!(budget.acquire(Priority::Normal).now_or_never().is_none(), "one is one too many");
        drop(second);
        assert!(budget.acquire(Priority::Normal).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_request_beyond_the_rate_waits() {
        let rate = Rate { requests: 2, per: Duration::from_secs(7200) };
        let budget = Budget::new(&limits(9, Some(rate)));
        drop(budget.acquire(Priority::Normal).await);
        assert!(budget.acquire(Priority::Normal).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_turn_of_the_rate_goes_to_the_higher_priority_and_then_in_order_e4() {
        let rate = Rate { requests: 1, per: Duration::from_millis(200) };
        let budget = Budget::new(&limits(9, Some(rate)));
        drop(budget.acquire(Priority::Normal).await);
        let order = Mutex::new(Vec::new());
        let stand = |priority, name| {
            let (turn, order) = (budget.ask(priority), &order);
            async move {
                let held = turn.come().await;
                order.lock().unwrap().push(name);
                held
            }
        };
        let low = (stand(Priority::Low, "low 1"), stand(Priority::Low, "low 2"));
        let gone = budget.ask(Priority::High);
        let high = (stand(Priority::High, "high 1"), stand(Priority::High, "high 2"));
        drop(gone);
        // In whatever order they look.
        let _held = tokio::join!(low.1, high.1, low.0, high.0);
        assert_eq!(*order.lock().unwrap(), ["high 1", "high 2", "low 1", "low 2"]);
    }

    #[tokio::test]
    async fn another_rate_counts_for_those_that_wait_e3() {
        let slow = Rate { requests: 1, per: Duration::from_secs(7200) };
        let budget = Budget::new(&limits(9, Some(slow)));
        drop(budget.acquire(Priority::Normal).await);
        let mut waits = Box::pin(budget.acquire(Priority::Normal));
        assert!((&mut waits).now_or_never().is_none());
        budget.change(&limits(9, None));
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn a_burst_is_part_of_the_rate() {
        let quota = quota(Rate { requests: 10_000, per: Duration::from_secs(1) });
        assert_eq!(quota.burst_size().get(), 50);
        let others = 1_000_000_000 / quota.replenish_interval().as_nanos();
        assert!(others + 50 <= 10_001, "{others}");
    }
}
