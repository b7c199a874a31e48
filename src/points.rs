//! Named moments of the protocol at which the fault kit ends the process, and defects that it plants to see itself fail.
//!
//! All of it exists only with the feature `faults`, which no release build can have; without it every call is empty and
//! gone. What is asked for stands in the environment: `COUNTERFLOW_END_AT=point:n` ends the process when the point is
//! reached for the n-th time, counted from 1; `COUNTERFLOW_DEFECT=name` plants one defect;
//! `COUNTERFLOW_CLOCK_STEP=by:after` steps the wall clock by that many milliseconds, that many after it was first asked.

/// A moment of the protocol: before or after what cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The intents of some batches are about to be written.
    BeforeIntent,
    /// They were written, and are not synced yet.
    IntentWritten,
    /// They are durable, and nothing of the batches has left.
    IntentDurable,
    /// A request is about to leave.
    BeforeRequest,
    /// An answer was read in full, and nothing of it was noted.
    AnswerRead,
    /// Receipts were written to the journal.
    ReceiptWritten,
    /// The commit has begun: the journal is complete.
    CommitBegun,
    /// The new segments are durable, and no manifest names them.
    SegmentsWritten,
    /// The next manifest is durable under its temporary name.
    ManifestWritten,
    /// The manifest was renamed, and the directory is not synced yet.
    ManifestRenamed,
    /// The directory was synced; what is no longer needed is still there.
    BeforePruning,
    /// The store is about to note the generation that it has to find from now on.
    BeforeRemembering,
    /// The database of an older version was copied, under a temporary name.
    StateCopied,
    /// The copy is safe under its name.
    StateKept,
    /// The database was led to the newest version, and that is not committed yet.
    StateRaised,
}

impl Point {
    /// Every point, in the order of a run.
    pub const ALL: [Point; 12] = [
        Point::BeforeIntent,
        Point::IntentWritten,
        Point::IntentDurable,
        Point::BeforeRequest,
        Point::AnswerRead,
        Point::ReceiptWritten,
        Point::CommitBegun,
        Point::SegmentsWritten,
        Point::ManifestWritten,
        Point::ManifestRenamed,
        Point::BeforePruning,
        Point::BeforeRemembering,
    ];

    /// The points of opening a state that an older version wrote.
    pub const OF_AN_UPGRADE: [Point; 3] =
        [Point::StateCopied, Point::StateKept, Point::StateRaised];

    /// The name that the environment says it by.
    pub fn name(self) -> &'static str {
        match self {
            Point::BeforeIntent => "before_intent",
            Point::IntentWritten => "intent_written",
            Point::IntentDurable => "intent_durable",
            Point::BeforeRequest => "before_request",
            Point::AnswerRead => "answer_read",
            Point::ReceiptWritten => "receipt_written",
            Point::CommitBegun => "commit_begun",
            Point::SegmentsWritten => "segments_written",
            Point::ManifestWritten => "manifest_written",
            Point::ManifestRenamed => "manifest_renamed",
            Point::BeforePruning => "before_pruning",
            Point::BeforeRemembering => "before_remembering",
            Point::StateCopied => "state_copied",
            Point::StateKept => "state_kept",
            Point::StateRaised => "state_raised",
        }
    }
}

/// Ends the process here if the environment says so, without a word to anybody, as a kill would.
#[inline]
pub fn reached(point: Point) {
    #[cfg(feature = "faults")]
    played::reached(point);
    #[cfg(not(feature = "faults"))]
    let _ = point;
}

/// Whether the environment plants the defect of this name.
#[inline]
pub fn is_planted(defect: &'static str) -> bool {
    #[cfg(feature = "faults")]
    return played::is_planted(defect);
    #[cfg(not(feature = "faults"))]
    {
        let _ = defect;
        false
    }
}

/// By how many milliseconds the wall clock is wrong now.
#[inline]
pub fn clock_step() -> i64 {
    #[cfg(feature = "faults")]
    return played::clock_step();
    #[cfg(not(feature = "faults"))]
    0
}

#[cfg(feature = "faults")]
mod played {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::Point;

    /// A point's name, and how often it is still to be reached.
    static END_AT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let said = std::env::var("COUNTERFLOW_END_AT").ok()?;
        let (name, count) = said.split_once(':').expect("COUNTERFLOW_END_AT is `point:n`");
        let mut points = Point::ALL.iter().chain(&Point::OF_AN_UPGRADE);
        assert!(points.any(|point| point.name() == name), "no such point: {name}");
        Some((name.to_owned(), AtomicU64::new(count.parse().expect("n is a number"))))
    });

    /// The step, and when it is made.
    static CLOCK_STEP: LazyLock<Option<(i64, Instant)>> = LazyLock::new(|| {
        let said = std::env::var("COUNTERFLOW_CLOCK_STEP").ok()?;
        let (by, after) = said.split_once(':').expect("COUNTERFLOW_CLOCK_STEP is `by:after`");
        let after = Duration::from_millis(after.parse().expect("`after` is a number"));
        Some((by.parse().expect("`by` is a number"), Instant::now() + after))
    });

    static DEFECT: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("COUNTERFLOW_DEFECT").ok());

    pub fn reached(point: Point) {
        if let Some((name, left)) = &*END_AT
            && name == point.name()
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }

    pub fn clock_step() -> i64 {
        CLOCK_STEP.filter(|(_, at)| Instant::now() >= *at).map_or(0, |(by, _)| by)
    }

    pub fn is_planted(defect: &str) -> bool {
        DEFECT.as_deref() == Some(defect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> =
            Point::ALL.iter().chain(&Point::OF_AN_UPGRADE).map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len() + Point::OF_AN_UPGRADE.len());
    }

    #[test]
    fn without_a_word_in_the_environment_nothing_is_planted_and_nothing_ends() {
        Point::ALL.into_iter().for_each(reached);
        assert!(!is_planted("no_intent"));
    }
}
