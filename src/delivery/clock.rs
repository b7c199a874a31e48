use std::time::UNIX_EPOCH;

use crate::domain::id::Instant;
use crate::points;

/// The wall clock, as journal, engine and commands want it.
pub fn now() -> Instant {
    let milliseconds = match points::wall_clock().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()),
        Err(before) => i64::try_from(before.duration().as_millis()).map(|since| -since),
    };
    Instant(milliseconds.unwrap_or(i64::MAX))
}
