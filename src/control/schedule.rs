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
        let (start, offset_before) = stretch.start?;
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
            if !self.is_every_hour {
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
mod tests {
    use std::str::FromStr;

    use jiff::Zoned;
    use proptest::prelude::*;

    use super::*;

    fn instant(text: &str) -> Instant {
        Instant(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    /// The firings after a local midnight, as local times with their offsets.
    fn firings(line: &str, zone: &str, day: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(line, zone).unwrap();
        let midnight = format!("{day}T00:00[{zone}]").parse::<Zoned>().unwrap();
        let local = |firing: Instant| {
            let timestamp = Timestamp::from_millisecond(firing.0).unwrap();
            timestamp.to_zoned(TimeZone::get(zone).unwrap()).strftime("%d %H:%M %:z").to_string()
        };
        let before = Instant(midnight.timestamp().as_millisecond() - 1);
        schedule.next(before, count).into_iter().map(local).collect()
    }

    #[test]
    fn an_interval_fires_at_its_multiples_whenever_it_is_asked() {
        let schedule = Schedule::every(Duration::from_secs(900));
        let quarter = instant("2026-05-04T12:15:00Z");
        assert_eq!(schedule.next_after(instant("2026-05-04T12:00:00Z")), Some(quarter));
        assert_eq!(schedule.next_after(instant("2026-05-04T12:07:31Z")), Some(quarter));
        assert_eq!(schedule.next_after(Instant(quarter.0 - 1)), Some(quarter));
        assert_eq!(schedule.next(quarter, 2)[1], instant("2026-05-04T12:45:00Z"));
        assert_eq!(schedule.next_after(Instant(-1)), Some(Instant(0)));
        assert_eq!(schedule.next_after(Instant(i64::MAX)), None);
    }

    #[test]
    fn a_firing_is_strictly_after_the_instant_asked_about() {
        let schedule = Schedule::parse("*/15 * * * *", "UTC").unwrap();
        let noon = instant("2026-05-04T12:00:00Z");
        let quarter = instant("2026-05-04T12:15:00Z");
        assert_eq!(schedule.next_after(noon), Some(quarter));
        assert_eq!(schedule.next_after(Instant(noon.0 - 1)), Some(noon));
        assert_eq!(schedule.next_after(Instant(quarter.0 - 1)), Some(quarter));
        assert_eq!(schedule.next_after(instant("2101-01-01T00:00:00Z")), None);
    }

    #[test]
    fn weekdays_count_from_sunday_as_zero() {
        // 2026-11-01 is a Sunday.
        assert_eq!(firings("0 9 * * 1", "UTC", "2026-11-01", 1), ["02 09:00 +00:00"]);
        assert_eq!(
            firings("0 9 * * MON-FRI", "UTC", "2026-11-06", 2).concat(),
            "06 09:00 +00:0009 09:00 +00:00"
        );
        assert_eq!(
            firings("0 9 * * 7", "UTC", "2026-11-01", 2),
            ["01 09:00 +00:00", "08 09:00 +00:00"]
        );
    }

    #[test]
    fn two_restricted_day_fields_are_either_and_a_star_is_no_restriction() {
        let days = |line| -> Vec<String> {
            let firings = firings(line, "UTC", "2026-11-01", 4);
            firings.into_iter().map(|firing| firing[..2].to_owned()).collect()
        };
        assert_eq!(days("0 0 1,3 * MON"), ["01", "02", "03", "09"]);
        assert_eq!(days("0 0 * * MON"), ["02", "09", "16", "23"]);
        assert_eq!(days("0 0 */2 * MON"), ["09", "23", "07", "21"]);
    }

    #[test]
    fn a_leap_day_comes_every_four_years() {
        let schedule = Schedule::parse("0 12 29 2 *", "Europe/Berlin").unwrap();
        assert_eq!(
            schedule.next(instant("2026-01-01T00:00:00Z"), 2),
            [instant("2028-02-29T11:00:00Z"), instant("2032-02-29T11:00:00Z")]
        );
    }

    #[test]
    fn a_line_that_never_fires_and_an_unknown_zone_are_refused() {
        let never = Schedule::parse("0 0 30 2 *", "UTC").unwrap_err();
        assert_eq!(never, Error::Never("0 0 30 2 *".to_owned()));
        let nowhere = Schedule::parse("@daily", "Europe/Atlantis").unwrap_err();
        assert_eq!(
            nowhere.to_string(),
            "unknown time zone `Europe/Atlantis`; use an IANA name such as `Europe/Berlin`"
        );
    }

    #[test]
    fn new_york_in_spring_moves_what_the_clock_jumps_over_behind_the_gap_once() {
        let day = |line, count| firings(line, "America/New_York", "2026-03-08", count);
        assert_eq!(day("30 2 * * *", 2), ["08 03:30 -04:00", "09 02:30 -04:00"]);
        assert_eq!(day("30 2,3 * * *", 2), ["08 03:30 -04:00", "09 02:30 -04:00"]);
        assert_eq!(
            day("30 * * * *", 4),
            ["08 00:30 -05:00", "08 01:30 -05:00", "08 03:30 -04:00", "08 04:30 -04:00"]
        );
        assert_eq!(
            day("0 */2 * * *", 3),
            ["08 00:00 -05:00", "08 03:00 -04:00", "08 04:00 -04:00"]
        );
        assert_eq!(
            day("15,45 2 * * *", 3),
            ["08 03:15 -04:00", "08 03:45 -04:00", "09 02:15 -04:00"]
        );
    }

    #[test]
    fn new_york_in_autumn_repeats_every_hour_lines_only() {
        let day = |line, count| firings(line, "America/New_York", "2026-11-01", count);
        assert_eq!(day("30 1 * * *", 2), ["01 01:30 -04:00", "02 01:30 -05:00"]);
        assert_eq!(
            day("0,30 1,2 * * *", 4),
            ["01 01:00 -04:00", "01 01:30 -04:00", "01 02:00 -05:00", "01 02:30 -05:00"]
        );
        assert_eq!(
            day("30 * * * *", 4),
            ["01 00:30 -04:00", "01 01:30 -04:00", "01 01:30 -05:00", "01 02:30 -05:00"]
        );
        assert_eq!(
            day("*/30 */1 1 11 *", 6)[2..],
            ["01 01:00 -04:00", "01 01:30 -04:00", "01 01:00 -05:00", "01 01:30 -05:00"]
        );
    }

    #[test]
    fn a_question_asked_inside_the_repeated_hour_is_answered_by_the_same_rule() {
        let between = instant("2026-11-01T06:10:00Z");
        let at = |line: &str| {
            Schedule::parse(line, "America/New_York").unwrap().next_after(between).unwrap()
        };
        assert_eq!(at("30 1 * * *"), instant("2026-11-02T06:30:00Z"));
        assert_eq!(at("30 * * * *"), instant("2026-11-01T06:30:00Z"));
    }

    #[test]
    fn berlin_changes_its_clock_at_two_and_three() {
        assert_eq!(
            firings("30 2 * * *", "Europe/Berlin", "2026-03-29", 2),
            ["29 03:30 +02:00", "30 02:30 +02:00"]
        );
        assert_eq!(
            firings("30 2 * * *", "Europe/Berlin", "2026-10-25", 2),
            ["25 02:30 +02:00", "26 02:30 +01:00"]
        );
        assert_eq!(
            firings("0 */2 * * *", "Europe/Berlin", "2026-10-25", 4),
            ["25 00:00 +02:00", "25 02:00 +02:00", "25 02:00 +01:00", "25 04:00 +01:00"]
        );
    }

    #[test]
    fn lord_howe_changes_its_clock_by_half_an_hour() {
        let zone = "Australia/Lord_Howe";
        assert_eq!(
            firings("15 2 * * *", zone, "2026-10-04", 2),
            ["04 02:45 +11:00", "05 02:15 +11:00"]
        );
        assert_eq!(
            firings("15,45 * * * *", zone, "2026-10-04", 6)[3..],
            ["04 01:45 +10:30", "04 02:45 +11:00", "04 03:15 +11:00"]
        );
        assert_eq!(
            firings("45 1 * * *", zone, "2026-04-05", 2),
            ["05 01:45 +11:00", "06 01:45 +10:30"]
        );
        assert_eq!(
            firings("45 * * * *", zone, "2026-04-05", 4),
            ["05 00:45 +11:00", "05 01:45 +11:00", "05 01:45 +10:30", "05 02:45 +10:30"]
        );
    }

    #[test]
    fn apia_left_out_a_whole_day_and_the_line_fires_once() {
        assert_eq!(
            firings("0 9 * * *", "Pacific/Apia", "2011-12-29", 3),
            ["29 09:00 -10:00", "31 09:00 +14:00", "01 09:00 +14:00"]
        );
    }

    fn part(low: u32, high: u32) -> impl Strategy<Value = String> {
        let longest = (high - low).min(20);
        prop_oneof![
            3 => (low..=high).prop_map(|number| number.to_string()),
            2 => (low..=high, low..=high)
                .prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
            1 => (low..=high, low..=high, 1..=longest)
                .prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
        ]
    }

    fn restricted(low: u32, high: u32) -> impl Strategy<Value = String> {
        prop::collection::vec(part(low, high), 1..3).prop_map(|parts| parts.join(","))
    }

    fn any_field(low: u32, high: u32) -> impl Strategy<Value = String> {
        prop_oneof![
            2 => Just("*".to_owned()),
            1 => (1..=(high - low).min(20)).prop_map(|step| format!("*/{step}")),
            4 => restricted(low, high),
        ]
    }

    /// Lines on which croner and the rules above agree: they differ where a day field is `*/n`.
    fn any_line(hour: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let day = prop_oneof![Just("*".to_owned()), restricted(1, 31)];
        let name = prop::sample::select(vec!["MON", "tue", "Sat", "WED-FRI"]);
        let weekday =
            prop_oneof![Just("*".to_owned()), restricted(0, 7), name.prop_map(str::to_owned),];
        (any_field(0, 59), hour, day, any_field(1, 12), weekday).prop_map(
            |(minute, hour, day, month, weekday)| {
                format!("{minute} {hour} {day} {month} {weekday}")
            },
        )
    }

    fn agrees_with_croner(line: &str, zone: &str, second: i64) -> Result<(), TestCaseError> {
        let ours = match Schedule::parse(line, zone) {
            Err(Error::Never(_)) => return Ok(()),
            parsed => parsed.map_err(|error| TestCaseError::fail(error.to_string()))?,
        };
        let theirs = croner::Cron::from_str(line).unwrap();
        let start = Timestamp::from_second(second).unwrap().in_tz(zone).unwrap();
        let expected: Vec<Instant> = theirs
            .iter_after(start)
            .take(5)
            .map(|zoned| Instant(zoned.timestamp().as_millisecond()))
            .take_while(|firing| *firing < instant("2100-01-01T00:00:00Z"))
            .collect();
        let found = ours.next(Instant(second * 1_000), expected.len());
        prop_assert_eq!(found, expected, "{} in {} after {}", line, zone, second);
        Ok(())
    }

    const YEAR_2000: i64 = 946_684_800;
    const YEAR_2060: i64 = 2_840_140_800;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn croner_agrees_where_the_clock_never_changes(
            line in any_line(any_field(0, 23)),
            zone in prop::sample::select(vec!["UTC", "Asia/Kolkata", "Asia/Tokyo", "America/Phoenix", "Asia/Kathmandu"]),
            second in YEAR_2000..YEAR_2060,
        ) {
            agrees_with_croner(&line, zone, second)?;
        }

        #[test]
        fn croner_agrees_where_the_clock_changes_on_lines_for_every_hour_and_hours_that_never_change(
            line in any_line(prop_oneof![Just("*".to_owned()), restricted(5, 21)]),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "America/Santiago"]),
            second in YEAR_2000..YEAR_2060,
        ) {
            agrees_with_croner(&line, zone, second)?;
        }

        #[test]
        fn firings_rise_strictly_and_next_after_is_consistent_inside_every_interval(
            line in any_line(any_field(0, 23)),
            zone in prop::sample::select(vec!["America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
            second in YEAR_2000..YEAR_2060,
        ) {
            let Ok(schedule) = Schedule::parse(&line, zone) else { return Ok(()) };
            let firings = schedule.next(Instant(second * 1_000), 12);
            for pair in firings.windows(2) {
                prop_assert!(pair[0] < pair[1]);
                for at in [pair[0].0, pair[0].0.midpoint(pair[1].0), pair[1].0 - 1] {
                    prop_assert_eq!(schedule.next_after(Instant(at)), Some(pair[1]));
                }
            }
        }
    }
}
