//! The SQL types a column of a text file can have, and the strict reading of one field as each of them.
//!
//! Invariant: reading loses nothing. `00123` is no number, a fraction beyond microseconds is no timestamp, and a
//! number that a double would print otherwise than it was written is not inferred as one.

use std::fmt;
use std::str::FromStr;

use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// The type of a column, as declared, pinned or inferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum ColumnType {
    SmallInt,
    Integer,
    BigInt,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Boolean,
    Date,
    /// Without zone, in microseconds.
    Timestamp,
    /// An instant, in microseconds.
    TimestampWithTimeZone,
    Varchar,
    /// Text that is one JSON value.
    Json,
}

/// The names to say where a declared type is not known.
pub(in super::super) const NAMES: &str = "SMALLINT, INTEGER, BIGINT, DOUBLE, DECIMAL(precision, scale), BOOLEAN, DATE, \
                                TIMESTAMP, TIMESTAMP WITH TIME ZONE, VARCHAR";

/// The digits that a decimal can have.
pub(in super::super) const WIDEST_DECIMAL: u8 = 38;

impl ColumnType {
    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::SmallInt => DataType::Int16,
            ColumnType::Integer => DataType::Int32,
            ColumnType::BigInt => DataType::Int64,
            ColumnType::Double => DataType::Float64,
            ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Date => DataType::Date32,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::TimestampWithTimeZone => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            ColumnType::Varchar | ColumnType::Json => DataType::Utf8View,
        }
    }

    /// The numeric types that would hold a number that this one does not, if both are numeric; those of the rest of the
    /// column fit too.
    pub fn wider(self, field: &[u8]) -> Vec<ColumnType> {
        let scale = match self {
            ColumnType::SmallInt | ColumnType::Integer if integer(field).is_some() => {
                return vec![ColumnType::BigInt];
            }
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => 0,
            ColumnType::Double => 1,
            ColumnType::Decimal { scale, .. } => scale,
            _ => return Vec::new(),
        };
        let decimal = plain_number(field).and_then(|(_, whole, fraction)| {
            let scale = i8::try_from(fraction.len()).ok()?.max(scale);
            let digits = whole.len() + usize::try_from(scale).ok()?;
            let fits = digits <= usize::from(WIDEST_DECIMAL);
            fits.then_some(ColumnType::Decimal { precision: WIDEST_DECIMAL, scale })
        });
        match decimal {
            // A double would lose digits that are there now.
            Some(ColumnType::Decimal { scale: 0, .. }) => decimal.into_iter().collect(),
            _ if declared_double(field).is_none() => Vec::new(),
            _ => std::iter::once(ColumnType::Double).chain(decimal).collect(),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::SmallInt => "SMALLINT",
            ColumnType::Integer => "INTEGER",
            ColumnType::BigInt => "BIGINT",
            ColumnType::Double => "DOUBLE",
            ColumnType::Decimal { precision, scale } => {
                return write!(f, "DECIMAL({precision},{scale})");
            }
            ColumnType::Boolean => "BOOLEAN",
            ColumnType::Date => "DATE",
            ColumnType::Timestamp => "TIMESTAMP",
            ColumnType::TimestampWithTimeZone => "TIMESTAMP WITH TIME ZONE",
            ColumnType::Varchar => "VARCHAR",
            ColumnType::Json => "JSON",
        })
    }
}

impl FromStr for ColumnType {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
        Ok(match name.as_str() {
            "SMALLINT" | "INT2" => ColumnType::SmallInt,
            "INTEGER" | "INT" | "INT4" => ColumnType::Integer,
            "BIGINT" | "INT8" => ColumnType::BigInt,
            "DOUBLE" | "DOUBLE PRECISION" | "FLOAT8" => ColumnType::Double,
            "BOOLEAN" | "BOOL" => ColumnType::Boolean,
            "DATE" => ColumnType::Date,
            "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" | "DATETIME" => ColumnType::Timestamp,
            "TIMESTAMP WITH TIME ZONE" | "TIMESTAMPTZ" => ColumnType::TimestampWithTimeZone,
            "VARCHAR" | "TEXT" | "STRING" | "CHARACTER VARYING" => ColumnType::Varchar,
            "JSON" => ColumnType::Json,
            other => return decimal_type(other).ok_or(()),
        })
    }
}

fn decimal_type(name: &str) -> Option<ColumnType> {
    let rest = name.strip_prefix("DECIMAL").or_else(|| name.strip_prefix("NUMERIC"))?;
    let inside = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
    let precision = precision.trim().parse::<u8>().ok()?;
    let scale = scale.trim().parse::<u8>().ok()?;
    let is_valid = (1..=WIDEST_DECIMAL).contains(&precision) && scale <= precision;
    is_valid.then_some(ColumnType::Decimal { precision, scale: i8::try_from(scale).ok()? })
}

/// `0`, `17`, `-5`; not `+5`, `007`, `-0` or ` 5`.
pub(in super::super) fn integer(field: &[u8]) -> Option<i64> {
    let digits = field.strip_prefix(b"-").unwrap_or(field);
    let is_canonical = match digits {
        [b'0'] => digits.len() == field.len(),
        [first, rest @ ..] => matches!(first, b'1'..=b'9') && rest.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    if is_canonical { std::str::from_utf8(field).ok()?.parse().ok() } else { None }
}

/// The parts of a plain decimal number: whether it is negative, its integer digits, its fraction's digits.
fn plain_number(field: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let is_negative = field.first() == Some(&b'-');
    let digits = &field[usize::from(is_negative)..];
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(point) if point + 1 < digits.len() => (&digits[..point], &digits[point + 1..]),
        Some(_) => return None,
        None => (digits, [].as_slice()),
    };
    let is_canonical = !whole.is_empty()
        && (whole.len() == 1 || whole[0] != b'0')
        && whole.iter().chain(fraction).all(u8::is_ascii_digit);
    is_canonical.then_some((is_negative, whole, fraction))
}

/// A plain decimal number that prints as it was written: no zeros at the end of its fraction, which `1.10` has, no sign
/// before a zero, no more digits than a double holds.
pub(in super::super) fn exact_double(field: &[u8]) -> Option<f64> {
    const ALWAYS_EXACT: usize = 15;
    let (is_negative, whole, fraction) = plain_number(field)?;
    let text = std::str::from_utf8(field).ok()?;
    let value = text.parse::<f64>().ok()?;
    if fraction.last() == Some(&b'0') || (is_negative && value == 0.0) {
        return None;
    }
    let is_exact = whole.len() + fraction.len() <= ALWAYS_EXACT || value.to_string() == text;
    is_exact.then_some(value)
}

/// A number, with an exponent or without, that a double holds with all its digits; zeros at the end of a fraction are none.
pub(in super::super) fn same_double(field: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(field).ok()?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (_, whole, fraction) = plain_number(mantissa.as_bytes())?;
    let written = significant(whole, fraction, exponent.parse().ok()?);
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    let shown = format!("{:e}", value.abs());
    let (mantissa, exponent) = shown.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let held = significant(whole.as_bytes(), fraction.as_bytes(), exponent.parse().ok()?);
    (written == held).then_some(value)
}

/// The digits from the first to the last that is not zero, and the power of ten of the first; none for zero.
fn significant(whole: &[u8], fraction: &[u8], exponent: i64) -> (Vec<u8>, i64) {
    let mut digits = [whole, fraction].concat();
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..zeros);
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    let places = i64::try_from(whole.len()).ok().zip(i64::try_from(zeros).ok());
    let power = places.map(|(whole, zeros)| exponent.saturating_add(whole - zeros));
    if digits.is_empty() { (digits, 0) } else { (digits, power.unwrap_or(i64::MAX)) }
}

/// How many digits a plain decimal number has before and behind its point.
pub(in super::super) fn digits(field: &[u8]) -> Option<(usize, usize)> {
    plain_number(field).map(|(_, whole, fraction)| (whole.len(), fraction.len()))
}

/// The digits in the fraction of a plain decimal number that prints as it was written in a column of
/// `DECIMAL(38, that many)`; `None` for whole numbers, and for a sign before a zero.
pub(in super::super) fn exact_scale(field: &[u8]) -> Option<i8> {
    let (is_negative, whole, fraction) = plain_number(field)?;
    let is_zero = whole.iter().chain(fraction).all(|digit| *digit == b'0');
    let is_exact = !fraction.is_empty()
        && whole.len() + fraction.len() <= usize::from(WIDEST_DECIMAL)
        && !(is_negative && is_zero);
    if is_exact { i8::try_from(fraction.len()).ok() } else { None }
}

/// For columns declared DOUBLE: also digits beyond what a double holds, exponents, `NaN` and infinities.
pub(in super::super) fn declared_double(field: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(field).ok()?;
    let is_word = matches!(
        text.trim_start_matches('-').to_ascii_lowercase().as_str(),
        "nan" | "inf" | "infinity"
    );
    let mantissa = text.split_once(['e', 'E']).map_or(text, |(mantissa, _)| mantissa);
    if is_word || plain_number(mantissa.as_bytes()).is_some() { text.parse().ok() } else { None }
}

/// A plain decimal number as a multiple of `10^-scale`; `None` if digits would be lost.
pub(in super::super) fn decimal(field: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (is_negative, whole, fraction) = plain_number(field)?;
    let scale = usize::try_from(scale).ok()?;
    let kept = fraction.len().min(scale);
    if fraction[kept..].iter().any(|digit| *digit != b'0') {
        return None;
    }
    let zeros = std::iter::repeat_n(&b'0', scale - kept);
    let mut mantissa = 0i128;
    for digit in whole.iter().chain(&fraction[..kept]).chain(zeros) {
        mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    if mantissa >= 10i128.checked_pow(u32::from(precision))? {
        return None;
    }
    Some(if is_negative { -mantissa } else { mantissa })
}

/// `true` or `false`.
pub(in super::super) fn boolean(field: &[u8]) -> Option<bool> {
    match field {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// For columns declared BOOLEAN: in whatever case.
pub(in super::super) fn declared_boolean(field: &[u8]) -> Option<bool> {
    boolean(&field.to_ascii_lowercase())
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(in super::super) fn date(field: &[u8]) -> Option<i32> {
    let seconds = civil_date(field)?.to_datetime(jiff::civil::Time::midnight());
    let seconds = jiff::tz::Offset::UTC.to_timestamp(seconds).ok()?.as_second();
    i32::try_from(seconds.div_euclid(86_400)).ok()
}

fn civil_date(field: &[u8]) -> Option<jiff::civil::Date> {
    if field.len() != 10 || field[4] != b'-' || field[7] != b'-' {
        return None;
    }
    let year = i16::try_from(number(&field[..4])?).ok()?;
    jiff::civil::Date::new(year, small(&field[5..7])?, small(&field[8..])?).ok()
}

/// A time as RFC 3339 writes it, its zone optional here, `T` or a space between date and time.
pub(in super::super) struct DateTime {
    /// Since 1970-01-01T00:00:00, of the instant if there is a zone, else as the clock on the wall shows it.
    pub microseconds: i64,
    pub has_zone: bool,
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction][Z|+HH:MM]`. `None` also where microseconds would not hold the fraction.
pub(in super::super) fn date_time(field: &[u8]) -> Option<DateTime> {
    if field.len() < 19
        || !matches!(field[10], b'T' | b' ')
        || field[13] != b':'
        || field[16] != b':'
    {
        return None;
    }
    let (hour, minute, second) =
        (small(&field[11..13])?, small(&field[14..16])?, small(&field[17..19])?);
    let time = jiff::civil::Time::new(hour, minute, second, 0).ok()?;
    let (fraction, zone) = fraction(&field[19..])?;
    let offset = match zone {
        [] => None,
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (number(&rest[..2])?, number(&rest[3..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 3600 + minutes * 60);
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    let civil = civil_date(&field[..10])?.to_datetime(time);
    let wall = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?.as_second();
    let seconds = wall - offset.unwrap_or(0);
    Some(DateTime { microseconds: seconds * 1_000_000 + fraction, has_zone: offset.is_some() })
}

/// The microseconds of `.123456` at the front of `text`, and what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(length);
    let kept = digits.len().min(6);
    if digits.is_empty() || digits[kept..].iter().any(|digit| *digit != b'0') {
        return None;
    }
    let missing = u32::try_from(6 - kept).expect("at most six");
    Some((i64::from(number(&digits[..kept])?) * 10i64.pow(missing), rest))
}

/// At most nine digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

fn small(digits: &[u8]) -> Option<i8> {
    i8::try_from(number(digits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_integers() {
        for text in ["0", "17", "-5", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "-", "00123", "+5", "-0", " 5", "5 ", "1.0", "9223372036854775808", "1_0"]
        {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_double_is_inferred_only_where_it_prints_as_it_was_written() {
        for text in ["0", "-1.5", "10.357019999999999", "0.1", "-74.0445", "1234567890123456"] {
            assert_eq!(exact_double(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in [
            "007.5",
            ".5",
            "5.",
            "1e3",
            "NaN",
            "12345678901234567891",
            "0.1000000000000000055",
            "1.10",
            "2.0",
            "-0",
            "-0.0",
            "100.00",
        ] {
            assert_eq!(exact_double(text.as_bytes()), None, "{text}");
        }
        assert_eq!(declared_double(b"1e3"), Some(1000.0));
        assert_eq!(declared_double(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(declared_double(b"007"), None);
    }

    #[test]
    fn a_double_holds_a_number_only_with_all_its_digits() {
        for text in
            ["0", "0e5", "-1.50", "1e3", "12.5E-3", "1E+22", "0.000001", "123456789012345678e2"]
        {
            let same = same_double(text.as_bytes()).is_some();
            assert_eq!(same, text != "123456789012345678e2", "{text}");
        }
        for text in [
            "1e400",
            "1e-400",
            "0.1000000000000000055",
            "9007199254740993",
            "x",
            "1e",
            "1e99999999999999999999",
        ] {
            assert_eq!(same_double(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_decimal_is_inferred_only_where_it_prints_as_it_was_written() {
        assert_eq!(exact_scale(b"1.10"), Some(2));
        assert_eq!(exact_scale(b"-0.5"), Some(1));
        for text in
            ["1", "-0.00", "007.5", "1e3", "x", &"9.".repeat(2), &format!("1.{}", "1".repeat(38))]
        {
            assert_eq!(exact_scale(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn decimals_keep_every_digit_or_are_refused() {
        assert_eq!(decimal(b"12.5", 10, 2), Some(1250));
        assert_eq!(decimal(b"-0.010", 10, 2), Some(-1));
        assert_eq!(decimal(b"0.001", 10, 2), None);
        assert_eq!(decimal(b"123.00", 4, 2), None);
        assert_eq!(decimal(b"007", 10, 2), None);
    }

    #[test]
    fn dates_and_times_are_read_as_rfc_3339_writes_them() {
        assert_eq!(date(b"1970-01-02"), Some(1));
        assert_eq!(date(b"1969-12-31"), Some(-1));
        assert_eq!(date(b"2013-02-29"), None);
        assert_eq!(date(b"2013-1-1"), None);
        let micros = |text: &str| date_time(text.as_bytes()).map(|t| (t.microseconds, t.has_zone));
        assert_eq!(micros("1970-01-01T00:00:01Z"), Some((1_000_000, true)));
        assert_eq!(micros("1970-01-01T02:00:01.5+02:00"), Some((1_500_000, true)));
        assert_eq!(micros("1970-01-01 00:00:00.000001"), Some((1, false)));
        assert_eq!(micros("1969-12-31T23:59:59.25Z"), Some((-750_000, true)));
        for text in
            ["1970-01-01", "1970-01-01T24:00:00", "1970-01-01T00:00:00.0000001", "1970-01-01T00:00"]
        {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn every_type_is_known_by_the_name_it_prints() {
        for name in ["SMALLINT", "BIGINT", "TIMESTAMP WITH TIME ZONE", "DECIMAL(10,2)", "VARCHAR"] {
            assert_eq!(name.parse::<ColumnType>().unwrap().to_string(), name);
        }
        assert!("VARCHAR(20)".parse::<ColumnType>().is_err());
        assert!("DECIMAL(40,2)".parse::<ColumnType>().is_err());
    }
}
