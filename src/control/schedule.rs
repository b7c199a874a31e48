//! When a schedule fires: a cron line in a time zone, or an interval.
//!
//! An interval fires where the time since 1970 is a multiple of it: no start of the server and no run moves it.
//!
//! The five-field line of Unix is read here, field by field, and handed to the `cron` crate as lists of numbers in
//! that crate's own form; `cron` finds the times in the local calendar, and `jiff`'s transitions map them to
//! instants. Not here: what a firing starts, and catching up on firings that were slept through.
//!
//! The rule at a change of the clock:
//! - a time that the clock jumps over is moved behind the gap by the gap's length (02:30 becomes 03:30), and fires
//!   once even where the line fires at that time anyway;
//! - of a time that comes twice, a line with fixed hours takes the first only; a line for every hour (`*` or `*/n`
//!   in the hour field) takes both, in order.
//!
//! If day of month and day of week are both restricted, meaning that neither begins with `*`, either will do (the
//! rule of Vixie's cron, crontab(5)).

use std::time::Duration;

use chrono::{DateTime, Utc};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::cron_line::{CronLine, Field};
use crate::domain::id::Instant;
use crate::points::is_planted;

/// The shortest interval.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "cron line `{line}` has {found} fields; write five: minute, hour, day of month, month and day of week"
    )]
    FieldCount { line: String, found: usize },
    #[error("cron line `{line}`: {field} `{text}` {problem}")]
    Field { line: String, field: &'static str, text: String, problem: String },
    #[error(
        "unknown cron macro `{0}`; use `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` or five fields"
    )]
    Macro(String),
    #[error("cron line `{0}` never fires; choose a day that its months have")]
    Never(String),
    #[error("unknown time zone `{0}`; use an IANA name such as `Europe/Berlin`")]
    TimeZone(String),
}

/// A cron line in a time zone, or an interval.
#[derive(Debug, Clone)]
pub enum Schedule {
    Calendar(Calendar),
    /// In milliseconds; more than nothing.
    Every(i64),
}

/// A cron line in a time zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// One, or two of which either will do.
    calendars: Vec<cron::Schedule>,
    is_every_hour: bool,
    zone: TimeZone,
}

/// A stretch of time with one offset from UTC. All numbers are seconds; `start` and `end` since 1970.
struct Stretch {
    /// With the offset before it; `None` before the first change of the clock.
    start: Option<(i64, i64)>,
    end: Option<i64>,
    offset: i64,
}

impl Schedule {
    /// An interval, of whole milliseconds.
    ///
    /// # Panics
    /// It is shorter than [`SHORTEST`].
    pub fn every(interval: Duration) -> Schedule {
        assert!(interval >= SHORTEST, "an interval that is too short is refused by the config");
        Schedule::Every(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX))
    }

    /// Reads a cron line of five fields or a macro such as `@hourly`, and the IANA name of a time zone.
    ///
    /// # Errors
    /// Names the field and what is wrong with it, or the time zone. A line that can never fire is refused too.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Schedule, Error> {
        let zone = TimeZone::get(time_zone).map_err(|_| Error::TimeZone(time_zone.to_owned()))?;
        let line = CronLine::parse(cron)?;
        let calendar =
            Calendar { calendars: calendars(&line), is_every_hour: line.is_every_hour(), zone };
        match calendar.next_civil(0) {
            Some(_) => Ok(Schedule::Calendar(calendar)),
            None => Err(Error::Never(cron.to_owned())),
        }
    }

    /// The first firing after `instant`, never at it. `None` after the year 2100 for a cron line.
    pub fn next_after(&self, instant: Instant) -> Option<Instant> {
        match self {
            Schedule::Calendar(calendar) => calendar.next_after(instant),
            Schedule::Every(interval) => {
                let next = instant.0.div_euclid(*interval).checked_add(1)?.checked_mul(*interval);
                next.map(Instant)
            }
        }
    }

    /// The first `count` firings after `instant`, in order.
    pub fn next(&self, instant: Instant, count: usize) -> Vec<Instant> {
        let first = self.next_after(instant);
        std::iter::successors(first, |firing| self.next_after(*firing)).take(count).collect()
    }

    /// A time as people read it beside the line: to the second, by the clock of the schedule's zone with its offset, such
    /// as `2026-02-03T04:05:06+01:00`; with `Z` where that is none.
    pub fn shown(&self, instant: Instant) -> String {
        let timestamp = Timestamp::from_second(instant.0.div_euclid(1_000));
        match (self, timestamp) {
            (Schedule::Calendar(Calendar { zone, .. }), Ok(timestamp)) => {
                let offset = zone.to_offset(timestamp);
                if offset == Offset::UTC {
                    return instant.to_string();
                }
                timestamp.display_with_offset(offset).to_string()
            }
            _ => instant.to_string(),
        }
    }
}

impl Calendar {
    fn next_after(&self, instant: Instant) -> Option<Instant> {
        let earliest = instant.0.div_euclid(1_000) + 1;
        let mut stretch = self.stretch_of(earliest)?;
        loop {
            let moved = self.moved_into(&stretch, earliest);
            let usual = self.next_in(&stretch, earliest)?;
            let end = stretch.end.unwrap_or(i64::MAX);
            if let Some(firing) = moved.into_iter().chain([usual]).filter(|at| *at < end).min() {
                return Some(Instant(firing.checked_mul(1_000)?));
            }
            stretch = self.stretch_of(end)?;
        }
    }

    /// The stretch that the second `at` lies in.
    fn stretch_of(&self, at: i64) -> Option<Stretch> {
        let second = SignedDuration::from_secs(1);
        let timestamp = Timestamp::from_second(at).ok()?;
        let seconds = |offset: Offset| i64::from(offset.seconds());
        let start = self.zone.preceding(timestamp.checked_add(second).ok()?).next().map(|change| {
            let before = change.timestamp().saturating_sub(second).unwrap_or(change.timestamp());
            (change.timestamp().as_second(), seconds(self.zone.to_offset(before)))
        });
        let end =
            self.zone.following(timestamp).next().map(|change| change.timestamp().as_second());
        Some(Stretch { start, end, offset: seconds(self.zone.to_offset(timestamp)) })
    }

    /// The first firing that falls into the gap before the stretch, moved into the stretch.
    fn moved_into(&self, stretch: &Stretch, earliest: i64) -> Option<i64> {
        let (start, offset_before) = stretch.start.filter(|_| !is_planted("gap_left_out"))?;
        let from = earliest.max(start) + offset_before;
        let gap_end = start + stretch.offset;
        let civil = self.next_civil(from).filter(|civil| *civil < gap_end)?;
        Some(civil - offset_before)
    }

    /// The first firing from `earliest` on, if the stretch went on for ever.
    fn next_in(&self, stretch: &Stretch, earliest: i64) -> Option<i64> {
        let mut from = earliest + stretch.offset;
        if let Some((start, offset_before)) = stretch.start {
            from = from.max(start + stretch.offset);
            if !self.is_every_hour && !is_planted("repeated_hour_fired_twice") {
                // What the clock shows again was taken the first time.
                from = from.max(start + offset_before);
            }
        }
        Some(self.next_civil(from)? - stretch.offset)
    }

    /// The first match at or after a time of the local calendar, in seconds as if that calendar were UTC.
    fn next_civil(&self, from: i64) -> Option<i64> {
        let before = DateTime::<Utc>::from_timestamp(from.checked_sub(1)?, 0)?;
        let next = |calendar: &cron::Schedule| calendar.after(&before).next();
        self.calendars.iter().filter_map(next).min().map(|civil| civil.timestamp())
    }
}

/// The line in the form of the `cron` crate: seconds first, and Sunday is 1.
fn calendars(line: &CronLine) -> Vec<cron::Schedule> {
    let calendar = |days: String, weekdays: String| {
        let translated = format!(
            "0 {} {} {days} {} {weekdays}",
            list(&line.minutes, 0, 60),
            list(&line.hours, 0, 24),
            list(&line.months, 0, 12)
        );
        translated.parse().expect("lists of numbers in range are a line of the cron crate")
    };
    let days = list(&line.days, 0, 31);
    let weekdays = list(&line.weekdays, 1, 7);
    if line.days.is_star || line.weekdays.is_star {
        vec![calendar(days, weekdays)]
    } else {
        vec![calendar(days, "*".to_owned()), calendar("*".to_owned(), weekdays)]
    }
}

/// The numbers of a field that can have so many.
fn list(field: &Field, shift: u32, all: usize) -> String {
    let numbers: Vec<String> = field.values().map(|value| (value + shift).to_string()).collect();
    if numbers.len() == all { "*".to_owned() } else { numbers.join(",") }
}

#[cfg(test)]
mod tests;
