//! Numbers and instants that name things: runs, epochs, batches, intents, lineages. Who gives them out is elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a run, unique within one state; given out by the store in the order of starts.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A counter that rises whenever every row must be confirmed anew. Zero is before the first run.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// The number of a batch within one snapshot's life; rises by one for each batch that is formed, over all runs.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BatchNumber(pub u64);

/// The number an idempotency key is made from. A fresh intent takes its batch's number; a repetition of the
/// same content that has no receipt yet keeps the number it had.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct IntentNumber(pub u64);

/// 128 random bits given to a snapshot when it is created: two snapshots of one sync are never mistaken for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage(pub u128);

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Lineage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lineage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Lineage).map_err(serde::de::Error::custom)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z. The core never reads a clock: instants are handed to it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Instant(pub i64);

impl Instant {
    /// This instant, `milliseconds` later.
    #[must_use]
    pub fn plus(self, milliseconds: i64) -> Instant {
        Instant(self.0.saturating_add(milliseconds))
    }
}

/// Such as `2026-02-03T04:05:06Z`, to the second.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0.div_euclid(1_000)) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{} ms after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_to_the_second_and_any_number_is_shown() {
        assert_eq!(Instant(1_770_091_506_999).to_string(), "2026-02-03T04:05:06Z");
        assert_eq!(Instant(-1).to_string(), "1969-12-31T23:59:59Z");
        assert!(Instant(i64::MAX).to_string().ends_with("after 1970"));
    }
}
