use std::time::Duration;

/// How much one connection bears, shared by its syncs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Requests in flight at once; at least 1.
    pub concurrency: u32,
    pub rate: Option<Rate>,
    pub retry: Retry,
}

/// At most `requests` in each period of length `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// When a batch is tried again: exponential with full jitter, bounded by attempts and by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    pub first_delay: Duration,
    pub longest_delay: Duration,
    /// No attempt starts later than this after the first.
    pub longest_time: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 6,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            longest_time: Duration::from_secs(600),
        }
    }
}
