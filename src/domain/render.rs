//! How a value looks in JSON. One rendering for rows, keys and reports.
//!
//! Integers and decimals are numbers with every digit; NULL is `null`; binary is base64; days, times and instants
//! are RFC 3339 text, instants in UTC with as many fraction digits (0, 3, 6 or 9) as they need; durations are
//! ISO 8601 text. NaN and infinities have no JSON and are refused.

use std::io::Write as _;

use arrow::datatypes::i256;
use base64::Engine as _;
use jiff::civil;

use super::value::Value;

/// Why a value cannot be put into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    #[error("NaN and infinities have no JSON form")]
    NotFinite,
    #[error("the time is outside the years -9999 to 9999")]
    OutOfCalendar,
}

/// Appends the JSON of `value` to `out`; appends nothing if it fails.
///
/// # Errors
/// The value has no JSON form.
#[inline]
pub fn render(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Integer(integer) => json(&integer, out),
        Value::Unsigned(integer) => json(&integer, out),
        Value::Float32(float) if float.is_finite() => json(&(float + 0.0), out),
        Value::Float64(float) if float.is_finite() => json(&(float + 0.0), out),
        Value::Float32(_) | Value::Float64(_) => return Err(Unencodable::NotFinite),
        Value::Decimal { mantissa, scale } => decimal(mantissa, scale, out),
        Value::Text(text) => string(text, out),
        Value::Binary(bytes) => {
            out.push(b'"');
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            out.extend_from_slice(encoded.as_bytes());
            out.push(b'"');
        }
        Value::Date(days) => quoted(date(i64::from(days))?, out),
        Value::Time(nanoseconds) => {
            let time = time_of_day(nanoseconds).ok_or(Unencodable::OutOfCalendar)?;
            quoted(Clock { time }, out);
        }
        Value::Timestamp(instant) => quoted(Moment::at(instant, "Z")?, out),
        Value::LocalTimestamp(instant) => quoted(Moment::at(instant, "")?, out),
        Value::Duration(nanoseconds) => quoted(Seconds(nanoseconds), out),
        Value::Interval { months, days, nanoseconds } => {
            let seconds = Seconds(i128::from(nanoseconds)).to_string();
            let time = &seconds[seconds.find('T').unwrap_or(0)..];
            let sign = if nanoseconds < 0 { "T-" } else { "T" };
            let time = time.replacen('T', sign, 1);
            quoted(format_args!("P{months}M{days}D{time}"), out);
        }
    }
    Ok(())
}

/// Appends `text` as a JSON string.
#[inline]
pub fn string(text: &str, out: &mut Vec<u8>) {
    let is_plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        json(text, out);
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value)
        .expect("scalars are always JSON, and a Vec takes every write");
}

fn quoted(text: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "\"{text}\"").expect("a Vec takes every write");
}

fn decimal(mantissa: i256, scale: i8, out: &mut Vec<u8>) {
    let digits = mantissa.to_string();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let scale = i32::from(scale);
    let written = if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { usize::try_from(-scale).unwrap_or(0) };
        write!(out, "{sign}{digits}{:0<zeros$}", "")
    } else {
        let scale = usize::try_from(scale).unwrap_or(0);
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(out, "{sign}{whole}.{fraction}")
    };
    written.expect("a Vec takes every write");
}

fn date(days: i64) -> Result<civil::Date, Unencodable> {
    let span = jiff::Span::new().try_days(days).map_err(|_| Unencodable::OutOfCalendar)?;
    civil::date(1970, 1, 1).checked_add(span).map_err(|_| Unencodable::OutOfCalendar)
}

fn time_of_day(nanoseconds: i64) -> Option<civil::Time> {
    let seconds = i32::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let fraction = i32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    let hour = i8::try_from(seconds / 3600).ok()?;
    let minute = i8::try_from(seconds / 60 % 60).ok()?;
    let second = i8::try_from(seconds % 60).ok()?;
    civil::Time::new(hour, minute, second, fraction).ok()
}

/// `HH:MM:SS`, with 0, 3, 6 or 9 fraction digits.
struct Clock {
    time: civil::Time,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = self.time;
        write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
        match time.subsec_nanosecond() {
            0 => Ok(()),
            n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000),
            n if n % 1_000 == 0 => write!(f, ".{:06}", n / 1_000),
            n => write!(f, ".{n:09}"),
        }
    }
}

struct Moment {
    date: civil::Date,
    clock: Clock,
    zone: &'static str,
}

impl Moment {
    fn at(instant: i128, zone: &'static str) -> Result<Moment, Unencodable> {
        const DAY: i128 = 86_400_000_000_000;
        let days =
            i64::try_from(instant.div_euclid(DAY)).map_err(|_| Unencodable::OutOfCalendar)?;
        let rest =
            i64::try_from(instant.rem_euclid(DAY)).map_err(|_| Unencodable::OutOfCalendar)?;
        let time = time_of_day(rest).ok_or(Unencodable::OutOfCalendar)?;
        Ok(Moment { date: date(days)?, clock: Clock { time }, zone })
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}T{}{}", self.date, self.clock, self.zone)
    }
}

/// Nanoseconds as an ISO 8601 duration: `PT1.5S`, `-PT3S`.
struct Seconds(i128);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let fraction = magnitude % 1_000_000_000;
        write!(f, "{sign}PT{}", magnitude / 1_000_000_000)?;
        if fraction != 0 {
            write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        write!(f, "S")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(value: Value<'_>) -> String {
        let mut out = Vec::new();
        render(value, &mut out).expect("the value has a JSON form");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
        text
    }

    #[test]
    fn integers_and_decimals_keep_every_digit() {
        assert_eq!(rendered(Value::Integer(9_007_199_254_740_993)), "9007199254740993");
        assert_eq!(rendered(Value::Unsigned(u64::MAX)), "18446744073709551615");
        let decimal =
            |mantissa, scale| Value::Decimal { mantissa: i256::from_i128(mantissa), scale };
        assert_eq!(rendered(decimal(100, 2)), "1.00");
        assert_eq!(rendered(decimal(-5, 3)), "-0.005");
        assert_eq!(rendered(decimal(12, -2)), "1200");
        assert_eq!(rendered(decimal(0, -2)), "0");
    }

    #[test]
    fn floats_keep_their_width_and_lose_the_sign_of_zero() {
        assert_eq!(rendered(Value::Float32(0.1)), "0.1");
        assert_eq!(rendered(Value::Float64(-0.0)), "0.0");
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut out = Vec::new();
            assert_eq!(render(Value::Float64(float), &mut out), Err(Unencodable::NotFinite));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn times_are_rfc_3339_with_the_digits_they_need() {
        assert_eq!(rendered(Value::Date(0)), "\"1970-01-01\"");
        assert_eq!(rendered(Value::Date(-719_162)), "\"0001-01-01\"");
        assert_eq!(
            rendered(Value::Timestamp(1_357_016_400_000_000_000)),
            "\"2013-01-01T05:00:00Z\""
        );
        assert_eq!(rendered(Value::Timestamp(-1)), "\"1969-12-31T23:59:59.999999999Z\"");
        assert_eq!(rendered(Value::LocalTimestamp(1_500_000_000)), "\"1970-01-01T00:00:01.500\"");
        assert_eq!(rendered(Value::Time(3_723_000_000_000)), "\"01:02:03\"");
        assert_eq!(rendered(Value::Duration(-1_500_000_000)), "\"-PT1.5S\"");
        assert_eq!(
            rendered(Value::Interval { months: 1, days: 2, nanoseconds: -500_000_000 }),
            "\"P1M2DT-0.5S\""
        );
        assert_eq!(render(Value::Date(i32::MAX), &mut Vec::new()), Err(Unencodable::OutOfCalendar));
    }

    #[test]
    fn text_is_escaped_and_binary_is_base64() {
        assert_eq!(rendered(Value::Text("a\"b\u{0}")), "\"a\\\"b\\u0000\"");
        assert_eq!(rendered(Value::Binary(&[1, 2, 255])), "\"AQL/\"");
        assert_eq!(rendered(Value::Null), "null");
    }
}
