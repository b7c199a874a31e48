//! How a value looks in JSON. One rendering for rows, keys and reports.
//!
//! Integers and decimals are numbers with every digit; NULL is `null`; binary is base64; days, times and instants
//! are RFC 3339 text, instants in UTC with as many fraction digits (0, 3, 6 or 9) as they need; durations are
//! ISO 8601 text. NaN and infinities have no JSON and are refused. Lists are arrays; structs are objects with their
//! members in the order of the type; maps are objects with their keys as text, of which none may be NULL or repeated. A
//! field may have a form of its own ([`Renderer`]).

mod formed;
mod json_text;
mod nested;
mod words;

pub use formed::Renderer;
pub use words::words;

use std::io::Write as _;

use arrow::datatypes::i256;
use base64::Engine as _;
use jiff::civil;
use jiff::tz::TimeZone;

use super::value::Value;

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

/// Why a value cannot be put into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    #[error("NaN and infinities have no JSON form")]
    NotFinite,
    #[error("the time is outside the years -9999 to 9999")]
    OutOfCalendar,
    #[error("a map has a key more than once, which no JSON object may have")]
    RepeatedMapKey,
    #[error("a map has the key NULL, which no JSON object can have")]
    NullMapKey,
    #[error("the text is no JSON, which `json: parse` needs")]
    NotJson,
    #[error(
        "the JSON in it is nested deeper than 100 levels, more than most can read within a request"
    )]
    DeepJson,
    #[error("a number in its JSON is greater than readers of JSON take")]
    HugeNumber,
    #[error("an object in its JSON has a member twice, and readers differ in which of them counts")]
    RepeatedMember,
    #[error("the pattern of its `time` cannot say this time")]
    Pattern,
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
        Value::Date(days) => {
            let date = date(i64::from(days))?;
            out.push(b'"');
            put_date(date, out);
            out.push(b'"');
        }
        Value::Time(nanoseconds) => {
            let time = time_of_day(nanoseconds).ok_or(Unencodable::OutOfCalendar)?;
            out.push(b'"');
            put_time(time, out);
            out.push(b'"');
        }
        Value::Timestamp(instant) => moment(instant, b"Z\"", out)?,
        Value::LocalTimestamp(instant) => moment(instant, b"\"", out)?,
        Value::Duration(nanoseconds) => quoted(Seconds(nanoseconds), out),
        Value::Interval { months, days, nanoseconds } => {
            let seconds = Seconds(i128::from(nanoseconds)).to_string();
            let time = &seconds[seconds.find('T').unwrap_or(0)..];
            let sign = if nanoseconds < 0 { "T-" } else { "T" };
            let time = time.replacen('T', sign, 1);
            quoted(format_args!("P{months}M{days}D{time}"), out);
        }
        Value::List(_) | Value::Struct(_) | Value::Map(_) => nested::nested(value, out)?,
    }
    Ok(())
}

/// Appends `text` as a JSON string.
#[inline]
pub fn string(text: &str, out: &mut Vec<u8>) {
    // A piece is looked at as a whole, so that many bytes are compared at once.
    let is_plain = |piece: &[u8]| {
        let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        !piece.iter().fold(false, |found, byte| found | is_special(byte))
    };
    if text.as_bytes().chunks(32).all(is_plain) {
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
    let small = mantissa.to_i128().and_then(|wide| i64::try_from(wide).ok());
    if let (Some(small), Ok(scale)) = (small, u8::try_from(scale)) {
        return small_decimal(small, scale, out);
    }
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

/// As [`decimal`], without an allocation.
fn small_decimal(mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    /// The digits of 64 bits, or as many as the scale asks for; a point, and a zero before it.
    const MOST: usize = u8::MAX as usize + 2;
    let mut text = [b'0'; MOST];
    let (mut rest, mut start, mut places) = (mantissa.unsigned_abs(), MOST, 0);
    while rest > 0 || places <= u16::from(scale) {
        if places == u16::from(scale) && scale > 0 {
            start -= 1;
            text[start] = b'.';
        }
        start -= 1;
        text[start] = digit(rest % 10);
        rest /= 10;
        places += 1;
    }
    if mantissa < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&text[start..]);
}

fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number).expect("one digit")
}

fn date(days: i64) -> Result<civil::Date, Unencodable> {
    let near = jiff::Timestamp::from_second(days.saturating_mul(86_400));
    if let Ok(near) = near {
        return Ok(TimeZone::UTC.to_datetime(near).date());
    }
    // The last days of the calendar are no instants in all zones.
    let span = jiff::Span::new().try_days(days).map_err(|_| Unencodable::OutOfCalendar)?;
    civil::date(1970, 1, 1).checked_add(span).map_err(|_| Unencodable::OutOfCalendar)
}

fn put_date(date: civil::Date, out: &mut Vec<u8>) {
    match u64::try_from(date.year()) {
        Ok(year) => {
            put_digits(year, 4, out);
            out.push(b'-');
            put_digits(u64::from(date.month().unsigned_abs()), 2, out);
            out.push(b'-');
            put_digits(u64::from(date.day().unsigned_abs()), 2, out);
        }
        Err(_) => write!(out, "{date}").expect("a Vec takes every write"),
    }
}

/// `HH:MM:SS`, with 0, 3, 6 or 9 fraction digits.
fn put_time(time: civil::Time, out: &mut Vec<u8>) {
    for (part, mark) in [(time.hour(), b':'), (time.minute(), b':'), (time.second(), b'.')] {
        put_digits(u64::from(part.unsigned_abs()), 2, out);
        out.push(mark);
    }
    match u64::from(time.subsec_nanosecond().unsigned_abs()) {
        0 => drop(out.pop()),
        n if n % 1_000_000 == 0 => put_digits(n / 1_000_000, 3, out),
        n if n % 1_000 == 0 => put_digits(n / 1_000, 6, out),
        n => put_digits(n, 9, out),
    }
}

/// The last so many digits of a number.
fn put_digits(number: u64, count: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 9];
    let mut rest = number;
    for place in digits[..count].iter_mut().rev() {
        *place = digit(rest % 10);
        rest /= 10;
    }
    out.extend_from_slice(&digits[..count]);
}

/// With what follows the time.
fn moment(instant: i128, end: &[u8], out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let part = |part: i128| i64::try_from(part).map_err(|_| Unencodable::OutOfCalendar);
    let (days, rest) = match i64::try_from(instant) {
        Ok(near) => (near.div_euclid(DAY), near.rem_euclid(DAY)),
        Err(_) => (part(instant.div_euclid(DAY.into()))?, part(instant.rem_euclid(DAY.into()))?),
    };
    let time = time_of_day(rest).ok_or(Unencodable::OutOfCalendar)?;
    let date = date(days)?;
    out.push(b'"');
    put_date(date, out);
    out.push(b'T');
    put_time(time, out);
    out.extend_from_slice(end);
    Ok(())
}

fn time_of_day(nanoseconds: i64) -> Option<civil::Time> {
    let seconds = i32::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let fraction = i32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    let hour = i8::try_from(seconds / 3600).ok()?;
    let minute = i8::try_from(seconds / 60 % 60).ok()?;
    let second = i8::try_from(seconds % 60).ok()?;
    civil::Time::new(hour, minute, second, fraction).ok()
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

    /// Of numbers that are too long to be read back.
    fn rendered_as_it_is(value: Value<'_>) -> String {
        let mut out = Vec::new();
        render(value, &mut out).expect("the value has a JSON form");
        String::from_utf8(out).expect("JSON is UTF-8")
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
    fn every_scale_and_size_of_a_decimal_is_written_with_all_its_digits() {
        let decimal =
            |mantissa, scale| Value::Decimal { mantissa: i256::from_i128(mantissa), scale };
        for mantissa in [0, 7, -7, 100, 12_345, i128::from(i64::MAX), i128::from(i64::MIN)] {
            let digits = mantissa.unsigned_abs().to_string();
            let sign = if mantissa < 0 { "-" } else { "" };
            for scale in [1_u8, 2, 5, 18, 19, 20, 38, 76, 127] {
                let padded = format!("{digits:0>width$}", width = usize::from(scale) + 1);
                let (whole, fraction) = padded.split_at(padded.len() - usize::from(scale));
                let expected = format!("{sign}{whole}.{fraction}");
                let scale = i8::try_from(scale).unwrap();
                assert_eq!(rendered_as_it_is(decimal(mantissa, scale)), expected);
                // One digit more than 64 bits hold goes the other way.
                let wide = rendered_as_it_is(decimal(mantissa * 10, scale));
                let expected = rendered_as_it_is(decimal(mantissa, scale - 1));
                let point = if scale == 1 { ".0" } else { "0" };
                assert_eq!(wide, format!("{expected}{point}"));
            }
            assert_eq!(rendered_as_it_is(decimal(mantissa, 0)), mantissa.to_string());
        }
    }

    #[test]
    fn days_of_the_whole_calendar_are_written_as_the_calendar_says() {
        for days in
            [-4_371_587, -4_371_586, -719_529, -719_528, -1, 59, 60, 11_016, 2_932_895, 2_932_896]
        {
            let date = civil::date(1970, 1, 1);
            let date = date.checked_add(jiff::Span::new().days(i64::from(days))).unwrap();
            assert_eq!(rendered(Value::Date(days)), format!("\"{date}\""));
            let instant = i128::from(days) * i128::from(DAY) + 1;
            let expected = format!("\"{date}T00:00:00.000000001\"");
            assert_eq!(rendered(Value::LocalTimestamp(instant)), expected);
        }
        assert_eq!(
            render(Value::Date(2_932_897), &mut Vec::new()),
            Err(Unencodable::OutOfCalendar)
        );
    }

    #[test]
    fn a_special_character_is_escaped_wherever_it_stands() {
        for place in 0..100 {
            for special in ['"', '\\', '\n', '\u{1f}'] {
                let text: String =
                    (0..100).map(|at| if at == place { special } else { 'x' }).collect();
                let expected = serde_json::to_string(&text).unwrap();
                assert_eq!(rendered(Value::Text(&text)), expected);
            }
        }
    }

    #[test]
    fn text_is_escaped_and_binary_is_base64() {
        assert_eq!(rendered(Value::Text("a\"b\u{0}")), "\"a\\\"b\\u0000\"");
        assert_eq!(rendered(Value::Binary(&[1, 2, 255])), "\"AQL/\"");
        assert_eq!(rendered(Value::Null), "null");
    }
}
