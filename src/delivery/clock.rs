use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::id::Instant;
use crate::points;

/// The wall clock, as journal, engine and commands want it.
pub fn now() -> Instant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).plus(points::clock_step())
}
