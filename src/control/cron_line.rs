//! The five-field cron line of Unix, read into sets of numbers.
//!
//! Fields are lists of `*`, numbers, names (`JAN`, `mon`) and ranges, with steps. Sunday is 0 or 7, also at the end
//! of a range (`FRI-SUN`). A step after a single number goes on to the field's end (`5/15`). Not here: when the line
//! fires (`schedule`).

use super::schedule::Error;

/// One field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Bit n is set if the number n is in the field.
    set: u64,
    /// The field begins with `*`, so it does not restrict by the rule of Vixie's cron, though `*/2` leaves some out.
    pub is_star: bool,
}

impl Field {
    /// The numbers of the field, rising.
    pub fn values(&self) -> impl Iterator<Item = u32> {
        let set = self.set;
        (0..u64::BITS).filter(move |value| set >> value & 1 == 1)
    }
}

/// A line, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CronLine {
    pub minutes: Field,
    pub hours: Field,
    pub days: Field,
    pub months: Field,
    /// Sunday is 0.
    pub weekdays: Field,
}

/// What may stand in a field.
struct Kind {
    name: &'static str,
    low: u32,
    high: u32,
    /// In the order of their numbers, which begin at `low`.
    names: &'static [&'static str],
}

const MINUTE: Kind = Kind { name: "minute", low: 0, high: 59, names: &[] };
const HOUR: Kind = Kind { name: "hour", low: 0, high: 23, names: &[] };
const DAY: Kind = Kind { name: "day of month", low: 1, high: 31, names: &[] };
const MONTH: Kind = Kind {
    name: "month",
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Kind = Kind {
    name: "day of week",
    low: 0,
    high: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};
/// Sunday, when it ends the week.
const LAST_SUNDAY: u32 = 7;

impl CronLine {
    /// Reads a line or a macro.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    pub fn parse(line: &str) -> Result<CronLine, Error> {
        let line = line.trim();
        let fields: Vec<&str> = match line.strip_prefix('@') {
            Some(_) => expand(line)?.split(' ').collect(),
            None => line.split_whitespace().collect(),
        };
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(Error::FieldCount { line: line.to_owned(), found: fields.len() });
        };
        let read = |text: &str, kind: &Kind| {
            read_field(text, kind).map_err(|problem| Error::Field {
                line: line.to_owned(),
                field: kind.name,
                text: text.to_owned(),
                problem,
            })
        };
        Ok(CronLine {
            minutes: read(minutes, &MINUTE)?,
            hours: read(hours, &HOUR)?,
            days: read(days, &DAY)?,
            months: read(months, &MONTH)?,
            weekdays: read(weekdays, &WEEKDAY)?,
        })
    }

    /// The hour field is `*`, `*/n`, or names every hour.
    pub fn is_every_hour(&self) -> bool {
        self.hours.is_star || self.hours.values().count() == 24
    }
}

fn expand(name: &str) -> Result<&'static str, Error> {
    match name.to_ascii_lowercase().as_str() {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        _ => Err(Error::Macro(name.to_owned())),
    }
}

fn read_field(text: &str, kind: &Kind) -> Result<Field, String> {
    let mut set = 0;
    for part in text.split(',') {
        set |= read_part(part, kind)?;
    }
    Ok(Field { set, is_star: text.starts_with('*') })
}

/// One part of a list: `*`, a number or a range, with or without a step.
fn read_part(part: &str, kind: &Kind) -> Result<u64, String> {
    let (span, step) = match part.split_once('/') {
        Some((span, step)) => (span, Some(read_step(step, kind)?)),
        None => (part, None),
    };
    let (first, last) = if span == "*" {
        (kind.low, kind.high)
    } else if let Some((first, last)) = span.split_once('-') {
        let first = read_number(first, kind)?;
        (first, range_end(first, read_number(last, kind)?, kind))
    } else {
        let only = read_number(span, kind)?;
        (only, if step.is_some() { kind.high.max(only) } else { only })
    };
    if first > last {
        return Err(format!("has the range `{span}`, which runs backwards; write it as two"));
    }
    let numbers = (first..=last).step_by(step.unwrap_or(1));
    Ok(numbers.fold(0, |set, number| set | 1 << fold_sunday(number, kind)))
}

fn read_step(text: &str, kind: &Kind) -> Result<usize, String> {
    let longest = kind.high - kind.low + 1;
    match text.parse::<u32>() {
        Ok(step) if (1..=longest).contains(&step) && is_number(text) => {
            Ok(usize::try_from(step).expect("a step is below 61"))
        }
        _ => Err(format!("has the step `{text}`; write a number from 1 to {longest}")),
    }
}

fn read_number(text: &str, kind: &Kind) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(index) = kind.names.iter().position(|name| *name == lower) {
        return Ok(kind.low + u32::try_from(index).expect("there are at most 12 names"));
    }
    let high = if is_weekday(kind) { LAST_SUNDAY } else { kind.high };
    match text.parse::<u32>() {
        Ok(number) if (kind.low..=high).contains(&number) && is_number(text) => Ok(number),
        _ => Err(format!("has `{text}`; {}", allowed(kind, high))),
    }
}

fn allowed(kind: &Kind, high: u32) -> String {
    let numbers = format!("write a number from {} to {high}", kind.low);
    match (kind.names.first(), kind.names.last()) {
        (Some(first), Some(last)) => {
            format!("{numbers} or a name from {} to {}", first.to_uppercase(), last.to_uppercase())
        }
        _ => numbers,
    }
}

/// `u32::from_str` would take `+5` too.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_weekday(kind: &Kind) -> bool {
    kind.name == WEEKDAY.name
}

/// A range of weekdays that goes on to Sunday ends with the last day of the week.
fn range_end(first: u32, last: u32, kind: &Kind) -> u32 {
    if is_weekday(kind) && last == 0 && first > 0 { LAST_SUNDAY } else { last }
}

fn fold_sunday(number: u32, kind: &Kind) -> u32 {
    if is_weekday(kind) { number % LAST_SUNDAY } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, kind: &Kind) -> Vec<u32> {
        read_field(text, kind).unwrap().values().collect()
    }

    #[test]
    fn lists_ranges_steps_and_names_are_read() {
        assert_eq!(field("*/20", &MINUTE), [0, 20, 40]);
        assert_eq!(field("5/20,7,50-55/5", &MINUTE), [5, 7, 25, 45, 50, 55]);
        assert_eq!(field("FEB-apr,Dec", &MONTH), [2, 3, 4, 12]);
        assert_eq!(field("*", &HOUR).len(), 24);
        assert_eq!(field("31", &DAY), [31]);
    }

    #[test]
    fn sunday_is_the_first_and_the_last_day_of_the_week() {
        assert_eq!(field("0", &WEEKDAY), field("7", &WEEKDAY));
        assert_eq!(field("5-7", &WEEKDAY), [0, 5, 6]);
        assert_eq!(field("FRI-SUN", &WEEKDAY), [0, 5, 6]);
        assert_eq!(field("SUN-TUE", &WEEKDAY), [0, 1, 2]);
        assert_eq!(field("0-0", &WEEKDAY), [0]);
        assert_eq!(field("*/2", &WEEKDAY), [0, 2, 4, 6]);
        assert_eq!(field("0-7", &WEEKDAY).len(), 7);
        assert_eq!(field("7/2", &WEEKDAY), [0]);
    }

    #[test]
    fn macros_are_lines() {
        assert_eq!(CronLine::parse("@Hourly"), CronLine::parse("0 * * * *"));
        assert_eq!(CronLine::parse("@midnight"), CronLine::parse("@daily"));
        assert!(matches!(CronLine::parse("@reboot"), Err(Error::Macro(name)) if name == "@reboot"));
    }

    #[test]
    fn a_line_for_every_hour_is_known_by_its_hour_field() {
        for (line, expected) in [
            ("0 * * * *", true),
            ("0 */2 * * *", true),
            ("0 0-23 * * *", true),
            ("0 1-5 * * *", false),
            ("* 3 * * *", false),
        ] {
            assert_eq!(CronLine::parse(line).unwrap().is_every_hour(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_remedy() {
        for (line, problem) in [
            ("60 * * * *", "minute `60` has `60`; write a number from 0 to 59"),
            (
                "* 5-2 * * *",
                "hour `5-2` has the range `5-2`, which runs backwards; write it as two",
            ),
            ("* * 0 * *", "day of month `0` has `0`; write a number from 1 to 31"),
            (
                "* * * SEPT *",
                "month `SEPT` has `SEPT`; write a number from 1 to 12 or a name from JAN to DEC",
            ),
            (
                "* * * * 8",
                "day of week `8` has `8`; write a number from 0 to 7 or a name from SUN to SAT",
            ),
            ("*/0 * * * *", "minute `*/0` has the step `0`; write a number from 1 to 60"),
            ("*/+5 * * * *", "minute `*/+5` has the step `+5`; write a number from 1 to 60"),
            ("1, * * * *", "minute `1,` has ``; write a number from 0 to 59"),
            (
                "* 99999999999 * * *",
                "hour `99999999999` has `99999999999`; write a number from 0 to 23",
            ),
        ] {
            let error = CronLine::parse(line).unwrap_err();
            assert_eq!(error.to_string(), format!("cron line `{line}`: {problem}"));
        }
        let error = CronLine::parse("0 0 * * * *").unwrap_err();
        assert!(matches!(error, Error::FieldCount { found: 6, .. }), "{error}");
        assert!(matches!(CronLine::parse(" "), Err(Error::FieldCount { found: 0, .. })));
    }
}
