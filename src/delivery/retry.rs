//! When a batch is tried again.

use std::time::Duration;

use super::limits::Retry;

impl Retry {
    /// How long to wait after `attempt` (from 1) failed; `None` where there is no other attempt. Exponential with full
    /// jitter, never less than what the destination asked for. `elapsed` is the time since the first attempt started,
    /// `random` is in `0.0..1.0`.
    pub fn delay(
        &self,
        attempt: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay);
        let wait = ceiling.mul_f64(random.clamp(0.0, 1.0)).max(retry_after.unwrap_or_default());
        let left = self.longest_time.checked_sub(elapsed)?;
        (wait <= left).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        attempts: 4,
        first_delay: Duration::from_secs(1),
        longest_delay: Duration::from_secs(3),
        longest_time: Duration::from_secs(10),
    };

    fn after(attempt: u32, elapsed: u64, retry_after: Option<u64>) -> Option<u64> {
        let retry_after = retry_after.map(Duration::from_secs);
        RETRY
            .delay(attempt, Duration::from_secs(elapsed), retry_after, 1.0)
            .map(|wait| wait.as_secs())
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_delay_and_attempts_end() {
        let waits = [1, 2, 3, 4, u32::MAX].map(|attempt| after(attempt, 0, None));
        assert_eq!(waits, [Some(1), Some(2), Some(3), None, None]);
    }

    #[test]
    fn jitter_takes_the_whole_range() {
        assert_eq!(RETRY.delay(2, Duration::ZERO, None, 0.0), Some(Duration::ZERO));
        assert_eq!(RETRY.delay(2, Duration::ZERO, None, 0.5), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_the_destination_asks_is_the_least_and_never_outlasts_the_longest_time() {
        assert_eq!(after(1, 0, Some(7)), Some(7));
        assert_eq!(after(1, 3, Some(7)), Some(7));
        assert_eq!(after(1, 4, Some(7)), None);
        assert_eq!(after(1, 10, None), None);
        assert_eq!(after(1, 11, Some(0)), None);
    }
}
