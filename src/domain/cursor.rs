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
/// Keys that are asked for one by one, of one column each and of several.
const MOST_KEYS: usize = 10_000;
const MOST_COMPOSED_KEYS: usize = 500;
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

/// Whether so many keys of so many fields, of so many bytes together, may be asked for one by one.
///
/// # Errors
/// They are too many.
pub fn check_keys(keys: usize, fields: usize, bytes: usize) -> Result<(), Whole> {
    let most = if fields > 1 { MOST_COMPOSED_KEYS } else { MOST_KEYS };
    if keys > most || bytes > MOST_BYTES { Err(Whole::Many) } else { Ok(()) }
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
    pub began: Instant,
}

/// The bound after a run that found `before`, by which `run` begins anew under `definition`.
pub fn moved(
    before: Option<Reached>,
    ended: Ended,
    definition: &str,
    run: RunId,
) -> Option<Reached> {
    let Ended { is_complete, was_stopped, unsent, invalid, is_whole, largest, began } = ended;
    // An invalid row has no entry by which it would be asked for again.
    let has_rest = unsent + invalid > 0 && !is_planted("cursor_moved_over_unsent");
    let is_over = is_complete && !was_stopped && !has_rest;
    // Under another definition rows may have been sent that the old bound would hide.
    let before = before
        .filter(|reached| reached.definition == definition || is_planted("foreign_bound_kept"));
    if !(is_over || was_stopped && is_planted("cursor_moved_by_stop")) {
        return before;
    }
    let largest = largest.map(|bound| bound.at_most(began));
    match (before, is_whole) {
        (_, true) => {
            let definition = definition.to_owned();
            largest.map(|bound| Reached { bound, definition, run, whole_at: began })
        }
        (Some(before), false) => {
            let bound = largest.filter(|bound| bound.at > before.bound.at).unwrap_or(before.bound);
            Some(Reached { bound, run, ..before })
        }
        (None, false) => None,
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

    /// No later than the clock: a row of the far future would hide all others.
    fn at_most(self, now: Instant) -> Bound {
        let now = match self.kind {
            CursorKind::Integer => i64::MAX,
            CursorKind::Date => now.0.div_euclid(24 * 60 * 60 * 1_000),
            CursorKind::Timestamp | CursorKind::LocalTimestamp => now.0.saturating_mul(1_000),
        };
        Bound { at: self.at.min(now), ..self }
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
        Cursor { column: "changed".to_owned(), overlap, full_every: DAY }
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
        assert_eq!(
            [(10_000, 1), (500, 2)].map(|(keys, fields)| check_keys(keys, fields, MOST_BYTES)),
            [Ok(()); 2]
        );
        for (keys, fields, bytes) in [(10_001, 1, 0), (501, 2, 0), (1, 1, MOST_BYTES + 1)] {
            assert_eq!(check_keys(keys, fields, bytes), Err(Whole::Many));
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
            began: Instant(AT + 5),
        };
        let after = |ended| moved(Some(before.clone()), ended, "d", RunId(4));
        let at =
            |ended| after(ended).map(|reached| (reached.bound.at, reached.run, reached.whole_at));
        assert_eq!(at(ended), Some((9_000, RunId(4), Instant(AT))));
        for left in [
            Ended { is_complete: false, ..ended },
            Ended { was_stopped: true, ..ended },
            Ended { unsent: 1, ..ended },
            Ended { invalid: 1, ..ended },
        ] {
            assert_eq!(after(left).as_ref(), Some(&before), "{left:?}");
            assert_eq!(
                moved(None, Ended { is_whole: true, ..left }, "d", RunId(4)),
                None,
                "{left:?}"
            );
        }
        assert_eq!(moved(Some(before.clone()), Ended { unsent: 1, ..ended }, "e", RunId(4)), None);
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
        assert_eq!(at(Ended { largest: None, ..whole }), None);
        assert_eq!(moved(None, ended, "d", RunId(4)), None);
        let far = Ended { largest: largest(i64::MAX), ..ended };
        assert_eq!(at(far).map(|(at, ..)| at), Some((AT + 5) * 1_000), "never above the clock");
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
