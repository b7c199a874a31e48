//! When a pause ends by itself, from what was said: for how long, or until when. Pure: the time is passed in.

use jiff::Timestamp;

use crate::domain::id::Instant;

const SECOND: i64 = 1_000;
const DAY: i64 = 86_400 * SECOND;
/// In days.
const LONGEST: i64 = 366;

/// Why there is no such end, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// What was said is none.
    #[error("{0}")]
    Unreadable(String),
    /// It is none at this time.
    #[error("{0}")]
    Time(String),
}

/// The end of a pause that begins `now`; `None` where none was said.
///
/// # Errors
/// What is wrong with it, and the remedy.
pub fn ending(
    lasting: Option<&str>,
    until: Option<&str>,
    now: Instant,
) -> Result<Option<Instant>, Wrong> {
    match (lasting, until) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let both = "both `for` and `until` say when the pause ends; keep one of the two";
            Err(Wrong::Unreadable(both.to_owned()))
        }
        (Some(lasting), None) => span(lasting).map(|span| Some(now.plus(span))),
        (None, Some(until)) => {
            let usual =
                "write an instant such as `2026-05-04T12:00:00Z` or with an offset, `+02:00`";
            let at: Timestamp = until
                .parse()
                .map_err(|_| Wrong::Unreadable(format!("`until` cannot be read; {usual}")))?;
            let at = Instant(at.as_millisecond());
            if at <= now {
                let why = format!(
                    "`until` is {at}, which has passed, now it is {now}; say a later instant, or with `for` how long, such as `2h`"
                );
                return Err(Wrong::Time(why));
            }
            if at > now.plus(LONGEST * DAY) {
                return Err(too_long());
            }
            Ok(Some(at))
        }
    }
}

fn too_long() -> Wrong {
    let why = format!("the pause would last more than {LONGEST} days; leave its end out instead");
    Wrong::Time(why)
}

/// In milliseconds.
fn span(text: &str) -> Result<i64, Wrong> {
    let remedy = || {
        let what = "`for` cannot be read; write a number and `s`, `m`, `h` or `d`, such as `2h`";
        Wrong::Unreadable(what.to_owned())
    };
    let unit = text.chars().last().ok_or_else(remedy)?;
    let each = match unit {
        's' => SECOND,
        'm' => 60 * SECOND,
        'h' => 3_600 * SECOND,
        'd' => DAY,
        _ => return Err(remedy()),
    };
    let digits = &text[..text.len() - 1];
    let is_number = (1..=9).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| is_number).ok_or_else(remedy)?;
    match number.saturating_mul(each) {
        span if span > LONGEST * DAY => Err(too_long()),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_span_from_now_or_an_instant_to_come() {
        let now = Instant(1_000_000);
        let of = |lasting, until| ending(lasting, until, now);
        assert_eq!(of(None, None), Ok(None));
        for (text, span) in [("90s", 90_000), ("2h", 7_200_000), ("1m", 60_000), ("3d", 3 * DAY)] {
            assert_eq!(of(Some(text), None), Ok(Some(now.plus(span))), "{text}");
        }
        assert_eq!(of(None, Some("1970-01-01T01:20:00+01:00")), Ok(Some(Instant(1_200_000))));
        for text in
            ["", "h", "2", "0s", "-1h", "2 h", "1.5h", "2ä", "367d", "4000000000d", "+2h", "02h"]
        {
            assert!(of(Some(text), None).is_err(), "{text}");
        }
        for text in ["1970-01-01T00:00:00Z", "tomorrow", "1975-01-01T00:00:00Z", "12:00"] {
            assert!(of(None, Some(text)).is_err(), "{text}");
        }
        let past = of(None, Some("1970-01-01T01:00:00+01:00")).unwrap_err().to_string();
        for word in ["is 1970-01-01T00:00:00Z, which has passed", "1970-01-01T00:16:40Z", "`2h`"] {
            assert!(past.contains(word), "`{word}` in {past}");
        }
        assert!(
            of(Some("2h"), Some("1970-01-01T01:00:00Z"))
                .unwrap_err()
                .to_string()
                .contains("keep one")
        );
    }
}
