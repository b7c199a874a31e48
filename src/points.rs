//! Named moments of the protocol at which the fault kit ends the process, and defects that it plants to see itself fail.
//!
//! All of it exists only with the feature `faults`, which no release build can have; without it every call is empty and
//! gone. What is asked for stands in the environment: `COUNTERFLOW_END_AT=point:n` ends the process when the point is
//! reached for the n-th time, counted from 1; `COUNTERFLOW_HOLD_AT=point:n:file` makes the file then and goes no further
//! until a stop was heard, the file is gone, or ten seconds have passed; `COUNTERFLOW_DEFECT=name` plants one defect;
//! `COUNTERFLOW_CLOCK_STEP=by:after` steps the wall clock by that many milliseconds, that many after it was first asked;
//! with `COUNTERFLOW_FILES_REST=never` every file counts as just changed, however slow the machine is;
//! with `COUNTERFLOW_SOURCES=silent` no source can say whether it changed, as a database cannot;
//! `COUNTERFLOW_FREE_DISK=bytes` says how much the disk of the state has free, or with `unknown` that nobody knows.

use std::io;
use std::time::SystemTime;

/// A moment of the protocol: before or after what cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The state is this process's; nothing was recovered yet, and no run is begun.
    StateOwned,
    /// The run is shown as starting; its snapshot is not open yet.
    RunStarted,
    /// Some rows were read and compared; what they ask for may be on its way already.
    RowsTaken,
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
    /// All upserts are on their way, and the deletes are about to follow.
    BeforeDeletes,
    /// Nothing new is given out; requests may be in flight.
    DrainBegun,
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
    /// A server answers questions, and has taken up nothing of what an earlier process left.
    BeforeRecovery,
    /// A server is about to put another config in place.
    BeforeReload,
    /// The snapshot of a sync that is to be forgotten is out of its place, and nothing is decided.
    Aside,
    /// A person's decision is stored, and nothing else is done of it.
    Decided,
    /// The config file names the connection that takes the place of another, and nobody was told.
    Rewritten,
}

impl Point {
    /// Every point, in the order of a run.
    pub const ALL: [Point; 17] = [
        Point::StateOwned,
        Point::RunStarted,
        Point::RowsTaken,
        Point::BeforeIntent,
        Point::IntentWritten,
        Point::IntentDurable,
        Point::BeforeRequest,
        Point::AnswerRead,
        Point::ReceiptWritten,
        Point::BeforeDeletes,
        Point::DrainBegun,
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

    /// The points that only a server comes by.
    pub const OF_A_SERVER: [Point; 2] = [Point::BeforeRecovery, Point::BeforeReload];

    /// The points of a person's decisions.
    pub const OF_A_DECISION: [Point; 3] = [Point::Aside, Point::Decided, Point::Rewritten];

    /// Every point that there is.
    pub fn every() -> impl Iterator<Item = Point> {
        let others = Point::OF_AN_UPGRADE.into_iter().chain(Point::OF_A_SERVER);
        Point::ALL.into_iter().chain(others).chain(Point::OF_A_DECISION)
    }

    /// The name that the environment says it by.
    pub fn name(self) -> &'static str {
        match self {
            Point::StateOwned => "state_owned",
            Point::RunStarted => "run_started",
            Point::RowsTaken => "rows_taken",
            Point::BeforeIntent => "before_intent",
            Point::IntentWritten => "intent_written",
            Point::IntentDurable => "intent_durable",
            Point::BeforeRequest => "before_request",
            Point::AnswerRead => "answer_read",
            Point::ReceiptWritten => "receipt_written",
            Point::BeforeDeletes => "before_deletes",
            Point::DrainBegun => "drain_begun",
            Point::CommitBegun => "commit_begun",
            Point::SegmentsWritten => "segments_written",
            Point::ManifestWritten => "manifest_written",
            Point::ManifestRenamed => "manifest_renamed",
            Point::BeforePruning => "before_pruning",
            Point::BeforeRemembering => "before_remembering",
            Point::StateCopied => "state_copied",
            Point::StateKept => "state_kept",
            Point::StateRaised => "state_raised",
            Point::BeforeRecovery => "before_recovery",
            Point::BeforeReload => "before_reload",
            Point::Aside => "aside",
            Point::Decided => "decided",
            Point::Rewritten => "rewritten",
        }
    }
}

/// Ends the process here if the environment says so, without a word to anybody, as a kill would; or holds it here.
#[inline]
pub fn reached(point: Point) {
    #[cfg(feature = "faults")]
    played::reached(point);
    #[cfg(not(feature = "faults"))]
    let _ = point;
}

/// A stop was heard: nothing is held any longer.
#[inline]
pub fn stop_heard() {
    #[cfg(feature = "faults")]
    played::stop_heard();
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

/// The wall clock, wrong by what the environment says. Nothing else reads it.
#[inline]
pub fn wall_clock() -> SystemTime {
    #[cfg(feature = "faults")]
    return played::wall_clock();
    #[cfg(not(feature = "faults"))]
    SystemTime::now()
}

/// Whether files are ever at rest, so that runs may be skipped.
#[inline]
pub fn files_rest() -> bool {
    #[cfg(feature = "faults")]
    return played::files_rest();
    #[cfg(not(feature = "faults"))]
    true
}

/// Whether a source that can say whether it changed does, so that runs may be skipped.
#[inline]
pub fn sources_tell() -> bool {
    #[cfg(feature = "faults")]
    return played::sources_tell();
    #[cfg(not(feature = "faults"))]
    true
}

/// Bytes that are free on the disk of the state; `found` unless the environment says otherwise.
#[inline]
pub fn free_disk(found: io::Result<u64>) -> io::Result<u64> {
    #[cfg(feature = "faults")]
    return played::free_disk(found);
    #[cfg(not(feature = "faults"))]
    found
}

#[cfg(feature = "faults")]
mod played {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::{Duration, Instant, SystemTime};

    use super::Point;
    use crate::shutdown::blocking;

    /// The longest that a point is held.
    const LONGEST_HOLD: Duration = Duration::from_secs(10);
    /// Between two looks at whether it is still to be held.
    const LOOK: Duration = Duration::from_millis(1);

    /// A point's name, and how often it is still to be reached.
    struct Countdown {
        name: String,
        left: AtomicU64,
    }

    impl Countdown {
        fn of(name: &str, count: &str) -> Countdown {
            assert!(Point::every().any(|point| point.name() == name), "no such point: {name}");
            let left = AtomicU64::new(count.parse().expect("n is a number"));
            Countdown { name: name.to_owned(), left }
        }

        /// Whether this is the time to act.
        fn is_at(&self, point: Point) -> bool {
            self.name == point.name() && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    static END_AT: LazyLock<Option<Countdown>> = LazyLock::new(|| {
        let said = std::env::var("COUNTERFLOW_END_AT").ok()?;
        let (name, count) = said.split_once(':').expect("COUNTERFLOW_END_AT is `point:n`");
        Some(Countdown::of(name, count))
    });

    /// The file shows that the point is held.
    static HOLD_AT: LazyLock<Option<(Countdown, PathBuf)>> = LazyLock::new(|| {
        let said = std::env::var("COUNTERFLOW_HOLD_AT").ok()?;
        let mut parts = said.splitn(3, ':');
        let mut part = || parts.next().expect("COUNTERFLOW_HOLD_AT is `point:n:file`");
        Some((Countdown::of(part(), part()), PathBuf::from(part())))
    });

    static IS_STOP_HEARD: AtomicBool = AtomicBool::new(false);

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
        if END_AT.as_ref().is_some_and(|end| end.is_at(point)) {
            std::process::abort();
        }
        if let Some((countdown, file)) = &*HOLD_AT
            && countdown.is_at(point)
        {
            blocking(|| hold(file));
        }
    }

    /// The other tasks of the runtime go on meanwhile, those that hear a stop among them.
    fn hold(file: &Path) {
        let begun = Instant::now();
        std::fs::write(file, "").expect("the file that shows the hold can be written");
        let is_held = || !IS_STOP_HEARD.load(Ordering::Acquire) && file.exists();
        while is_held() && begun.elapsed() < LONGEST_HOLD {
            std::thread::sleep(LOOK);
        }
    }

    pub fn stop_heard() {
        IS_STOP_HEARD.store(true, Ordering::Release);
    }

    /// A step beyond what the system can say leaves the clock at 1970.
    pub fn wall_clock() -> SystemTime {
        let now = SystemTime::now();
        let Some((by, at)) = *CLOCK_STEP else { return now };
        let step = Duration::from_millis(by.unsigned_abs());
        let stepped = if by < 0 { now.checked_sub(step) } else { now.checked_add(step) };
        if Instant::now() < at { now } else { stepped.unwrap_or(SystemTime::UNIX_EPOCH) }
    }

    pub fn files_rest() -> bool {
        std::env::var("COUNTERFLOW_FILES_REST").is_err()
    }

    pub fn sources_tell() -> bool {
        std::env::var("COUNTERFLOW_SOURCES").is_err()
    }

    pub fn free_disk(found: io::Result<u64>) -> io::Result<u64> {
        let Ok(said) = std::env::var("COUNTERFLOW_FREE_DISK") else { return found };
        said.parse().map_err(io::Error::other)
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
        let names: std::collections::BTreeSet<&str> = Point::every().map(Point::name).collect();
        assert_eq!(names.len(), Point::every().count());
    }

    #[test]
    fn without_a_word_in_the_environment_nothing_is_planted_and_nothing_ends() {
        Point::ALL.into_iter().for_each(reached);
        assert!(!is_planted("no_intent"));
    }
}
