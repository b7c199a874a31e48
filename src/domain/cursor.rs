//! How a model says which of its rows are new: a column that rises with each change, and when a run may read no more than
//! what rose above the bound that earlier runs have reached.
//!
//! Not responsible for the read itself (`source::restriction`), nor for where the bound is kept (`snapshot::header`). Guards:
//! whatever is not known makes the run read everything; a bound never stands above what was read, nor above the clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{Instant, RunId};
use super::kind::{Choice, Kind};
use super::render::render;
use super::value::Value;
use crate::points::is_planted;

/// How far below the bound a read begins where nothing is said: rows that were committed late, with an older time, are read
/// all the same. Times without a zone go back by an hour besides, where their clock is one of a place with summer time.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
const LOCAL_OVERLAP: Duration = Duration::from_secs(70 * 60);
const MICROSECONDS_A_DAY: u128 = 24 * 60 * 60 * 1_000_000;
/// How far a clock without a zone may be behind UTC, in milliseconds: that of the last place to begin a day.
const FARTHEST_BEHIND: i64 = 12 * 60 * 60 * 1_000;
/// Keys that are asked for one by one.
const MOST_KEYS: usize = 10_000;
/// Bytes of all of them.
const MOST_BYTES: usize = 1 << 20;

/// The cursor of a model, as the config says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub column: String,
    /// How far below the bound a read begins.
    pub overlap: Option<Overlap>,
    /// A run reads everything once the last that did is so long ago.
    pub full_every: Duration,
    /// Of dates and times without one, as IANA names it.
    pub time_zone: Option<String>,
}

/// A distance between two values of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    Time(Duration),
    Number(u64),
}

/// What the values of a cursor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorKind {
    Integer,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// As those, of a calendar without a zone.
    LocalTimestamp,
}

/// A value of a cursor: every row below it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub kind: CursorKind,
    pub at: i64,
}

/// The bound that a sync has reached, as its snapshot's header keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    pub bound: Bound,
    /// A hash of all that decides what a run reads and sends: under another the bound says nothing.
    pub definition: String,
    /// The run that reached it.
    pub run: RunId,
    /// When the last run began that read everything.
    pub whole_at: Instant,
}

/// Why a run reads everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Whole {
    #[error(
        "no run of this definition has left a bound: none did before, or each left rows that are invalid or unsent"
    )]
    NoBound,
    #[error("it is a full run, or goes on with one")]
    Full,
    #[error("a person vouches for the snapshot")]
    Kept,
    #[error("the definition is another one")]
    Definition,
    #[error("the last run that read everything is longer ago than `full_every`")]
    Age,
    #[error("too many records are in doubt or due for a retry to ask for each")]
    Many,
    #[error("keys are not whole numbers, decimals or text, so that none can be asked for")]
    Keys,
    #[error(
        "the columns of cursor or key are not there, have other types than before, or cannot be compared at the source"
    )]
    Source,
    #[error("the run is to stop")]
    Stopped,
}

/// What is known before a read.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub reached: Option<&'a Reached>,
    pub is_full: bool,
    pub is_epoch_open: bool,
    pub is_kept: bool,
    /// When the run begins.
    pub now: Instant,
}

impl Cursor {
    /// Where a read may begin: as far as the cursor overlaps below the bound.
    ///
    /// # Errors
    /// Why everything is to be read.
    pub fn since(&self, circumstances: Circumstances<'_>) -> Result<Bound, Whole> {
        let Circumstances { reached, is_full, is_epoch_open, is_kept, now } = circumstances;
        let is_full = is_full || is_epoch_open && !is_planted("open_epoch_restricted");
        if is_full && !is_planted("full_run_restricted") {
            return Err(Whole::Full);
        }
        if is_kept {
            return Err(Whole::Kept);
        }
        let reached = reached.ok_or(Whole::NoBound)?;
        let longest = i64::try_from(self.full_every.as_millis()).unwrap_or(i64::MAX);
        // A clock that was set back says nothing of how long ago it was.
        if now < reached.whole_at || now.0.saturating_sub(reached.whole_at.0) >= longest {
            return Err(Whole::Age);
        }
        Ok(reached.bound.less(self.overlap))
    }

    /// Whether the distance that the config says is one between values of this kind.
    ///
    /// # Errors
    /// The remedy.
    pub fn check(&self, kind: CursorKind) -> Result<(), &'static str> {
        if self.time_zone.is_some() && matches!(kind, CursorKind::Integer | CursorKind::Timestamp) {
            return Err("take `time_zone` out, which is for dates and for times without a zone");
        }
        match (self.overlap, kind) {
            (Some(Overlap::Number(0)), _) => Ok(()),
            (Some(Overlap::Time(_)), CursorKind::Integer) => Err("say `overlap` as a number"),
            (
                Some(Overlap::Number(_)),
                CursorKind::Date | CursorKind::Timestamp | CursorKind::LocalTimestamp,
            ) => Err("say `overlap` as a duration such as `10m`"),
            _ => Ok(()),
        }
    }
}

impl Cursor {
    /// What a clock of these values shows at a moment; where nobody says which zone is theirs, the one that is farthest
    /// behind: a value beyond it may be one of the future, and would hide what is written until then.
    pub fn clock(&self, kind: CursorKind, now: Instant) -> Bound {
        let here = || now.0.saturating_add(self.ahead_of_utc(now));
        let at = match kind {
            CursorKind::Integer => i64::MAX,
            CursorKind::Timestamp => now.0.saturating_mul(1_000),
            CursorKind::LocalTimestamp => here().saturating_mul(1_000),
            CursorKind::Date => here().div_euclid(24 * 60 * 60 * 1_000),
        };
        Bound { kind, at }
    }

    /// In milliseconds.
    fn ahead_of_utc(&self, now: Instant) -> i64 {
        let zone = self.time_zone.as_deref().and_then(|name| jiff::tz::TimeZone::get(name).ok());
        let moment = jiff::Timestamp::from_millisecond(now.0).ok();
        match zone.zip(moment) {
            Some((zone, moment)) => i64::from(zone.to_offset(moment).seconds()) * 1_000,
            None if is_planted("local_clock_in_utc") => 0,
            None => -FARTHEST_BEHIND,
        }
    }
}

/// Whether so many keys, of so many bytes together, may be asked for one by one.
///
/// # Errors
/// They are too many.
pub fn check_keys(keys: usize, bytes: usize) -> Result<(), Whole> {
    if keys > MOST_KEYS || bytes > MOST_BYTES { Err(Whole::Many) } else { Ok(()) }
}

/// Whether a run whose read was restricted may stand, now that its kind is known.
///
/// # Errors
/// Why everything is to be read instead.
pub fn check_opened(reached: &Reached, definition: &str, choice: Choice) -> Result<(), Whole> {
    if choice.kind == Kind::Full
        && !is_planted("full_run_restricted")
        && !is_planted("open_epoch_restricted")
    {
        return Err(Whole::Full);
    }
    if reached.definition != definition { Err(Whole::Definition) } else { Ok(()) }
}

/// What a run leaves of the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// All rows that were asked for were read, and the tally adds up.
    pub is_complete: bool,
    pub was_stopped: bool,
    pub unsent: u64,
    pub invalid: u64,
    /// Everything was read.
    pub is_whole: bool,
    /// The largest value of the read.
    pub largest: Option<Bound>,
    /// What the clock showed when the run began, at least: see [`Cursor::clock`].
    pub clock: Bound,
    pub began: Instant,
}

/// Why a run left the bound where it was, or none, though it may have read beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stays {
    #[error("the run was stopped")]
    Stopped,
    #[error("the read did not come to a proven end")]
    Unproven,
    #[error(
        "{unsent} records that were not sent and {invalid} invalid rows would not be asked for again"
    )]
    Rest { unsent: u64, invalid: u64 },
    #[error("no row has a value of the cursor")]
    NoValue,
}

/// The bound after a run that found `before`, by which `run` begins anew under `definition`; and why it did not move, unless
/// there was no larger value.
pub fn moved(
    before: Option<Reached>,
    ended: Ended,
    definition: &str,
    run: RunId,
) -> (Option<Reached>, Option<Stays>) {
    let Ended { unsent, invalid, is_whole, largest, clock, began, .. } = ended;
    // Under another definition rows may have been sent that the old bound would hide.
    let before = before
        .filter(|reached| reached.definition == definition || is_planted("foreign_bound_kept"));
    let stays = match ended {
        Ended { was_stopped: true, .. } if is_planted("cursor_moved_by_stop") => None,
        Ended { was_stopped: true, .. } => Some(Stays::Stopped),
        Ended { is_complete: false, .. } => Some(Stays::Unproven),
        // An invalid row has no entry by which it would be asked for again.
        _ if unsent + invalid > 0 && !is_planted("cursor_moved_over_unsent") => {
            Some(Stays::Rest { unsent, invalid })
        }
        _ => None,
    };
    if stays.is_some() {
        return (before, stays);
    }
    let largest = largest.map(|bound| bound.at_most(clock));
    match (before, largest, is_whole) {
        (_, Some(bound), true) => {
            let definition = definition.to_owned();
            (Some(Reached { bound, definition, run, whole_at: began }), None)
        }
        (_, None, true) => (None, Some(Stays::NoValue)),
        (Some(before), largest, false) => {
            let bound = largest.filter(|bound| bound.at > before.bound.at).unwrap_or(before.bound);
            (Some(Reached { bound, run, ..before }), None)
        }
        (None, _, false) => (None, None),
    }
}

impl Bound {
    /// The bound lowered by a distance.
    fn less(self, overlap: Option<Overlap>) -> Bound {
        let time = match overlap {
            Some(Overlap::Time(time)) => time,
            Some(Overlap::Number(_)) => Duration::ZERO,
            None if self.kind == CursorKind::LocalTimestamp => LOCAL_OVERLAP,
            None => OVERLAP,
        };
        let number = match overlap {
            Some(Overlap::Number(number)) => u128::from(number),
            Some(Overlap::Time(_)) | None => 0,
        };
        let distance = match self.kind {
            CursorKind::Integer => number,
            CursorKind::Date => time.as_micros().div_ceil(MICROSECONDS_A_DAY),
            CursorKind::Timestamp | CursorKind::LocalTimestamp => time.as_micros(),
        };
        let distance = i64::try_from(distance).unwrap_or(i64::MAX);
        Bound { at: self.at.saturating_sub(distance), ..self }
    }

    /// No later than the clock: a row of the future would hide all that come before its time.
    fn at_most(self, clock: Bound) -> Bound {
        Bound { at: self.at.min(clock.at), ..self }
    }
}

/// As people and SQL read it: `42`, `2026-02-03`, `2026-02-03T04:05:06.000007Z`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i128::from(self.at) * 1_000;
        let value = match self.kind {
            CursorKind::Integer => Value::Integer(self.at),
            CursorKind::Date => Value::Date(i32::try_from(self.at).unwrap_or(i32::MIN)),
            CursorKind::Timestamp => Value::Timestamp(nanoseconds),
            CursorKind::LocalTimestamp => Value::LocalTimestamp(nanoseconds),
        };
        let mut json = Vec::new();
        match render(value, &mut json) {
            Ok(()) => f.write_str(String::from_utf8_lossy(&json).trim_matches('"')),
            Err(_) => write!(f, "{}", self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const AT: i64 = 1_700_000_000_000;

    fn reached(kind: CursorKind, at: i64) -> Reached {
        let bound = Bound { kind, at };
        Reached { bound, definition: "d".to_owned(), run: RunId(3), whole_at: Instant(AT) }
    }

    fn cursor(overlap: Option<Overlap>) -> Cursor {
        Cursor { column: "changed".to_owned(), overlap, full_every: DAY, time_zone: None }
    }

    #[test]
    fn whatever_is_not_known_makes_a_run_read_everything() {
        let reached = reached(CursorKind::Integer, 40);
        let usual = Circumstances {
            reached: Some(&reached),
            is_full: false,
            is_epoch_open: false,
            is_kept: false,
            now: Instant(AT + 1),
        };
        let since = |circumstances| cursor(None).since(circumstances).map(|bound| bound.at);
        assert_eq!(since(usual), Ok(40));
        assert_eq!(since(Circumstances { reached: None, ..usual }), Err(Whole::NoBound));
        assert_eq!(since(Circumstances { is_full: true, ..usual }), Err(Whole::Full));
        assert_eq!(since(Circumstances { is_epoch_open: true, ..usual }), Err(Whole::Full));
        assert_eq!(since(Circumstances { is_kept: true, ..usual }), Err(Whole::Kept));
        let later = |milliseconds| Circumstances { now: Instant(AT + milliseconds), ..usual };
        assert_eq!(since(later(86_399_999)), Ok(40));
        assert_eq!(since(later(86_400_000)), Err(Whole::Age));
        assert_eq!(since(later(-1)), Err(Whole::Age), "the clock was set back");
        let choice = |kind| Choice { kind, ..Choice::SAMPLE };
        let opened = |definition, kind| check_opened(&reached, definition, choice(kind));
        assert_eq!(opened("d", Kind::Incremental), Ok(()));
        assert_eq!(opened("e", Kind::Incremental), Err(Whole::Definition));
        assert_eq!(opened("d", Kind::Full), Err(Whole::Full));
        assert_eq!(check_keys(10_000, MOST_BYTES), Ok(()));
        for (keys, bytes) in [(10_001, 0), (1, MOST_BYTES + 1)] {
            assert_eq!(check_keys(keys, bytes), Err(Whole::Many));
        }
    }

    #[test]
    fn a_read_begins_below_the_bound_by_what_the_config_says() {
        let bound = |kind, at| Bound { kind, at };
        let less = |kind, at, overlap| bound(kind, at).less(overlap).at;
        let minute = Some(Overlap::Time(Duration::from_secs(60)));
        assert_eq!(less(CursorKind::Integer, 40, None), 40);
        assert_eq!(less(CursorKind::Integer, 40, Some(Overlap::Number(7))), 33);
        assert_eq!(less(CursorKind::Integer, i64::MIN, Some(Overlap::Number(7))), i64::MIN);
        assert_eq!(less(CursorKind::Timestamp, 700_000_000, None), 100_000_000);
        assert_eq!(less(CursorKind::LocalTimestamp, 70_000_000, minute), 10_000_000);
        assert_eq!(less(CursorKind::Date, 40, minute), 39, "less than a day is one");
        let check = |overlap, kind| cursor(overlap).check(kind).is_ok();
        assert!(check(minute, CursorKind::Date) && !check(minute, CursorKind::Integer));
        let number = Some(Overlap::Number(1));
        assert!(check(number, CursorKind::Integer) && !check(number, CursorKind::Timestamp));
    }

    #[test]
    fn a_bound_moves_only_behind_a_whole_answer_that_left_nothing() {
        let before = reached(CursorKind::Timestamp, 5_000);
        let ended = Ended {
            is_complete: true,
            was_stopped: false,
            unsent: 0,
            invalid: 0,
            is_whole: false,
            largest: Some(Bound { kind: CursorKind::Timestamp, at: 9_000 }),
            clock: cursor(None).clock(CursorKind::Timestamp, Instant(AT + 5)),
            began: Instant(AT + 5),
        };
        let after = |ended| moved(Some(before.clone()), ended, "d", RunId(4));
        let at =
            |ended| after(ended).0.map(|reached| (reached.bound.at, reached.run, reached.whole_at));
        assert_eq!(at(ended), Some((9_000, RunId(4), Instant(AT))));
        assert_eq!(after(ended).1, None);
        for (left, why) in [
            (Ended { is_complete: false, ..ended }, Stays::Unproven),
            (Ended { was_stopped: true, ..ended }, Stays::Stopped),
            (Ended { unsent: 1, ..ended }, Stays::Rest { unsent: 1, invalid: 0 }),
            (Ended { invalid: 1, ..ended }, Stays::Rest { unsent: 0, invalid: 1 }),
        ] {
            assert_eq!(after(left), (Some(before.clone()), Some(why)), "{left:?}");
            let whole = Ended { is_whole: true, ..left };
            assert_eq!(moved(None, whole, "d", RunId(4)), (None, Some(why)), "{left:?}");
        }
        let rest = Ended { unsent: 1, ..ended };
        assert_eq!(moved(Some(before.clone()), rest, "e", RunId(4)).0, None);
        let largest = |at| Some(Bound { kind: CursorKind::Timestamp, at });
        assert_eq!(
            at(Ended { largest: largest(4_000), ..ended }),
            Some((5_000, RunId(4), Instant(AT)))
        );
        let whole = Ended { is_whole: true, ..ended };
        assert_eq!(
            at(Ended { largest: largest(4_000), ..whole }),
            Some((4_000, RunId(4), Instant(AT + 5)))
        );
        assert_eq!(after(Ended { largest: None, ..whole }), (None, Some(Stays::NoValue)));
        assert_eq!(moved(None, ended, "d", RunId(4)), (None, None));
        let far = Ended { largest: largest(i64::MAX), ..ended };
        assert_eq!(at(far).map(|(at, ..)| at), Some((AT + 5) * 1_000), "never above the clock");
    }

    #[test]
    fn a_clock_without_a_zone_is_that_of_the_place_farthest_behind_unless_its_zone_is_said() {
        // 2026-07-01T01:30:00Z, and 2026-12-01T01:30:00Z.
        let (summer, winter) = (Instant(1_782_869_400_000), Instant(1_796_088_600_000));
        let clock = |time_zone: Option<&str>, kind, now| {
            let time_zone = time_zone.map(str::to_owned);
            Cursor { time_zone, ..cursor(None) }.clock(kind, now).to_string()
        };
        for (zone, kind, now, shown) in [
            (None, CursorKind::Timestamp, summer, "2026-07-01T01:30:00Z"),
            (None, CursorKind::LocalTimestamp, summer, "2026-06-30T13:30:00"),
            (None, CursorKind::Date, summer, "2026-06-30"),
            (Some("UTC"), CursorKind::LocalTimestamp, summer, "2026-07-01T01:30:00"),
            (Some("UTC"), CursorKind::Date, summer, "2026-07-01"),
            (Some("America/New_York"), CursorKind::LocalTimestamp, summer, "2026-06-30T21:30:00"),
            (Some("America/New_York"), CursorKind::LocalTimestamp, winter, "2026-11-30T20:30:00"),
            (Some("Asia/Tokyo"), CursorKind::LocalTimestamp, winter, "2026-12-01T10:30:00"),
            (Some("no zone"), CursorKind::LocalTimestamp, winter, "2026-11-30T13:30:00"),
        ] {
            assert_eq!(clock(zone, kind, now), shown, "{zone:?} {kind:?}");
        }
        let zoned = Cursor { time_zone: Some("UTC".to_owned()), ..cursor(None) };
        for (kind, is_right) in [
            (CursorKind::Integer, false),
            (CursorKind::Timestamp, false),
            (CursorKind::LocalTimestamp, true),
            (CursorKind::Date, true),
        ] {
            assert_eq!(zoned.check(kind).is_ok(), is_right, "{kind:?}");
        }
    }

    #[test]
    fn a_bound_is_said_as_the_values_of_its_column_are() {
        for (kind, at, said) in [
            (CursorKind::Integer, -7, "-7"),
            (CursorKind::Date, 1, "1970-01-02"),
            (CursorKind::Timestamp, 1_500_000, "1970-01-01T00:00:01.500Z"),
            (CursorKind::LocalTimestamp, 1_500_000, "1970-01-01T00:00:01.500"),
        ] {
            assert_eq!(Bound { kind, at }.to_string(), said);
        }
    }
}
