//! One value of one field, in the few kinds that matter here, and its canonical encoding.
//!
//! The encoding is what fingerprints and keys are made of, so it is frozen: version 1 of it must give the same
//! bytes for ever. It is self-delimiting, and equal values have equal bytes whatever Arrow type carried them:
//! NULL differs from empty, `-0.0` equals `0.0`, NaN equals NaN, decimals compare by value, times by instant.
//!
//! Not here: how a value looks in a request (`domain::render`), nor where it comes from (`column`), nor what a list, a
//! struct or a map is made of (`nested`).

use arrow::datatypes::i256;

use super::decimal::shortest;
use super::nested::{Entries, Items, Members};
use crate::points;

/// The version of the canonical encoding; recorded in every snapshot.
pub const ENCODING_VERSION: u32 = 1;

/// Decimal places of a millionth.
const MOST_DECIMALS: i8 = 6;
/// What makes millionths of a mantissa, by its scale.
const FACTORS: [i64; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// A value, borrowed from the record batch or the key it stands in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Only for integers above `i64::MAX`; smaller ones are `Integer`.
    Unsigned(u64),
    /// A 32-bit float keeps its width for rendering: `0.1` stays `0.1`.
    Float32(f32),
    Float64(f64),
    /// `mantissa` x 10^-`scale`.
    Decimal {
        mantissa: i256,
        scale: i8,
    },
    Text(&'a str),
    Binary(&'a [u8]),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Timestamp(i128),
    /// Nanoseconds since 1970-01-01T00:00:00 of a calendar without a zone.
    LocalTimestamp(i128),
    /// Nanoseconds.
    Duration(i128),
    Interval {
        months: i32,
        days: i32,
        nanoseconds: i64,
    },
    List(Items<'a>),
    Struct(Members<'a>),
    Map(Entries<'a>),
}

/// The first byte of each encoding.
pub(crate) mod tag {
    pub const NULL: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const INTEGER: u8 = 3;
    pub const UNSIGNED: u8 = 4;
    pub const FLOAT: u8 = 5;
    pub const DECIMAL: u8 = 6;
    pub const TEXT: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const DATE: u8 = 9;
    pub const TIME: u8 = 10;
    pub const TIMESTAMP: u8 = 11;
    pub const LOCAL_TIMESTAMP: u8 = 12;
    pub const DURATION: u8 = 13;
    pub const INTERVAL: u8 = 14;
    /// In no encoding: of decimals that are a whole number of millionths.
    pub const MILLIONTHS: u8 = 15;
    pub const LIST: u8 = 16;
    pub const STRUCT: u8 = 17;
    pub const MAP: u8 = 18;
}

impl Value<'_> {
    /// The decimal without trailing zeros.
    #[inline]
    pub fn decimal_in_short(mantissa: i256, scale: i8) -> Value<'static> {
        let (mantissa, scale) = shortest(mantissa, scale);
        Value::Decimal { mantissa, scale }
    }

    /// Appends the canonical encoding to `out`.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Null => out.push(tag::NULL),
            Value::Boolean(false) => out.push(tag::FALSE),
            Value::Boolean(true) => out.push(tag::TRUE),
            Value::Integer(integer) => tagged(tag::INTEGER, &integer.to_le_bytes(), out),
            Value::Unsigned(integer) => match i64::try_from(integer) {
                Ok(small) => tagged(tag::INTEGER, &small.to_le_bytes(), out),
                Err(_) => tagged(tag::UNSIGNED, &integer.to_le_bytes(), out),
            },
            Value::Float32(float) => encode_float(f64::from(float), out),
            Value::Float64(float) => encode_float(float, out),
            Value::Decimal { mantissa, scale } => encode_decimal(mantissa, scale, out),
            Value::Text(text) => {
                out.push(tag::TEXT);
                sized(text.as_bytes(), out);
            }
            Value::Binary(bytes) => {
                out.push(tag::BINARY);
                sized(bytes, out);
            }
            Value::Date(days) => tagged(tag::DATE, &days.to_le_bytes(), out),
            Value::Time(nanoseconds) => tagged(tag::TIME, &nanoseconds.to_le_bytes(), out),
            Value::Timestamp(instant) => tagged(tag::TIMESTAMP, &instant.to_le_bytes(), out),
            Value::LocalTimestamp(instant) => {
                tagged(tag::LOCAL_TIMESTAMP, &instant.to_le_bytes(), out);
            }
            Value::Duration(nanoseconds) => tagged(tag::DURATION, &nanoseconds.to_le_bytes(), out),
            Value::Interval { months, days, nanoseconds } => {
                out.push(tag::INTERVAL);
                out.extend_from_slice(&months.to_le_bytes());
                out.extend_from_slice(&days.to_le_bytes());
                out.extend_from_slice(&nanoseconds.to_le_bytes());
            }
            Value::List(items) => items.encode(out),
            Value::Struct(members) => members.encode(out),
            Value::Map(entries) => entries.encode(out),
        }
    }

    /// The canonical encoding of the kinds that have nine bytes, made without going through memory; `None` for others.
    #[inline]
    pub fn nine(&self) -> Option<[u8; 9]> {
        let (tag, word) = match *self {
            Value::Integer(integer) => (tag::INTEGER, integer.cast_unsigned()),
            Value::Float32(float) => (tag::FLOAT, canonical(f64::from(float)).to_bits()),
            Value::Float64(float) => (tag::FLOAT, canonical(float).to_bits()),
            Value::Time(nanoseconds) => (tag::TIME, nanoseconds.cast_unsigned()),
            _ => return None,
        };
        (u128::from(tag) | u128::from(word) << 8).to_le_bytes().first_chunk().copied()
    }

    /// What tells this value from all others, where a number of 64 bits and its kind do; `None` for texts, bytes, intervals,
    /// nested values and numbers that need more. Of equal values both or neither have one, and it is the same; the kind of a
    /// decimal says its scale too. Frozen, as fingerprints are made of it.
    #[inline(always)]
    pub fn word(&self) -> Option<(u16, u64)> {
        let (tag, word) = match *self {
            Value::Null => (tag::NULL, 0),
            Value::Boolean(boolean) => (tag::FALSE, u64::from(boolean)),
            Value::Integer(integer) => (tag::INTEGER, integer.cast_unsigned()),
            Value::Unsigned(integer) if i64::try_from(integer).is_ok() => (tag::INTEGER, integer),
            Value::Unsigned(integer) => (tag::UNSIGNED, integer),
            Value::Float32(float) => (tag::FLOAT, canonical(f64::from(float)).to_bits()),
            Value::Float64(float) => (tag::FLOAT, canonical(float).to_bits()),
            Value::Decimal { mantissa, scale } => {
                return match millionths(mantissa, scale) {
                    Some(millionths) => Some((u16::from(tag::MILLIONTHS), millionths)),
                    None => word_of_decimal(mantissa, scale),
                };
            }
            Value::Date(days) => (tag::DATE, i64::from(days).cast_unsigned()),
            Value::Time(nanoseconds) => (tag::TIME, nanoseconds.cast_unsigned()),
            Value::Timestamp(instant) => (tag::TIMESTAMP, narrow(instant)?),
            Value::LocalTimestamp(instant) => (tag::LOCAL_TIMESTAMP, narrow(instant)?),
            Value::Duration(nanoseconds) => (tag::DURATION, narrow(nanoseconds)?),
            Value::Text(_) | Value::Binary(_) | Value::Interval { .. } => return None,
            Value::List(_) | Value::Struct(_) | Value::Map(_) => return None,
        };
        Some((u16::from(tag), word))
    }

    /// Takes one value off the front of `bytes`; `None` if they are not the canonical encoding of a scalar, of which alone
    /// keys are made.
    pub fn decode<'a>(bytes: &mut &'a [u8]) -> Option<Value<'a>> {
        let tag = take::<1>(bytes)?[0];
        Some(match tag {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Boolean(false),
            tag::TRUE => Value::Boolean(true),
            tag::INTEGER => Value::Integer(i64::from_le_bytes(take(bytes)?)),
            tag::UNSIGNED => Value::Unsigned(u64::from_le_bytes(take(bytes)?)),
            tag::FLOAT => Value::Float64(f64::from_le_bytes(take(bytes)?)),
            tag::DECIMAL => {
                let [scale] = take::<1>(bytes)?;
                let mantissa = i256::from_le_bytes(take::<32>(bytes)?);
                Value::Decimal { mantissa, scale: i8::from_le_bytes([scale]) }
            }
            tag::TEXT => Value::Text(std::str::from_utf8(take_sized(bytes)?).ok()?),
            tag::BINARY => Value::Binary(take_sized(bytes)?),
            tag::DATE => Value::Date(i32::from_le_bytes(take(bytes)?)),
            tag::TIME => Value::Time(i64::from_le_bytes(take(bytes)?)),
            tag::TIMESTAMP => Value::Timestamp(i128::from_le_bytes(take(bytes)?)),
            tag::LOCAL_TIMESTAMP => Value::LocalTimestamp(i128::from_le_bytes(take(bytes)?)),
            tag::DURATION => Value::Duration(i128::from_le_bytes(take(bytes)?)),
            tag::INTERVAL => Value::Interval {
                months: i32::from_le_bytes(take(bytes)?),
                days: i32::from_le_bytes(take(bytes)?),
                nanoseconds: i64::from_le_bytes(take(bytes)?),
            },
            _ => return None,
        })
    }
}

#[inline]
fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

/// Bytes behind their length.
#[inline]
pub(super) fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).expect("arrow values are shorter than 2 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

#[inline]
fn encode_float(float: f64, out: &mut Vec<u8>) {
    tagged(tag::FLOAT, &canonical(float).to_le_bytes(), out);
}

/// Adding zero turns -0.0 into 0.0; every NaN becomes the one canonical NaN.
#[inline(always)]
fn canonical(float: f64) -> f64 {
    if points::is_planted("negative_zero_differs") {
        return float;
    }
    if float.is_nan() { f64::NAN.abs() } else { float + 0.0 }
}

fn encode_decimal(mantissa: i256, scale: i8, out: &mut Vec<u8>) {
    let (mantissa, scale) = shortest(mantissa, scale);
    out.push(tag::DECIMAL);
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(&mantissa.to_le_bytes());
}

/// The decimal in millionths, without a division, where its scale and size allow that.
#[inline(always)]
fn millionths(mantissa: i256, scale: i8) -> Option<u64> {
    if points::is_planted("decimal_scale_differs") {
        return None;
    }
    let factor = FACTORS.get(usize::try_from(scale).ok()?)?;
    let small = i64::try_from(mantissa.to_i128()?).ok()?;
    small.checked_mul(*factor).map(i64::cast_unsigned)
}

/// Of a decimal that is not in millionths as it stands: it may be, without its trailing zeros.
#[cold]
fn word_of_decimal(mantissa: i256, scale: i8) -> Option<(u16, u64)> {
    let (mantissa, scale) = shortest(mantissa, scale);
    let small = i64::try_from(mantissa.to_i128()?).ok()?;
    let digits = i16::from(MOST_DECIMALS) - i16::from(scale);
    let widened = (0..digits).try_fold(small, |value, _| value.checked_mul(10));
    let is_whole = digits >= 0 && !points::is_planted("decimal_scale_differs");
    match widened.filter(|_| is_whole) {
        Some(millionths) => Some((u16::from(tag::MILLIONTHS), millionths.cast_unsigned())),
        None => {
            let kind = u16::from_le_bytes([tag::DECIMAL, scale.cast_unsigned()]);
            Some((kind, small.cast_unsigned()))
        }
    }
}

#[inline(always)]
fn narrow(wide: i128) -> Option<u64> {
    i64::try_from(wide).ok().map(i64::cast_unsigned)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn take_sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(bytes)?) as usize;
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    #[test]
    fn equal_values_have_equal_bytes_whatever_carried_them() {
        assert_eq!(encoded(Value::Float64(-0.0)), encoded(Value::Float64(0.0)));
        assert_eq!(encoded(Value::Float64(f64::NAN)), encoded(Value::Float64(-f64::NAN)));
        assert_eq!(encoded(Value::Float32(1.5)), encoded(Value::Float64(1.5)));
        assert_eq!(encoded(Value::Unsigned(7)), encoded(Value::Integer(7)));
        let one = Value::Decimal { mantissa: i256::from_i128(10), scale: 1 };
        let one_too = Value::Decimal { mantissa: i256::from_i128(100), scale: 2 };
        assert_eq!(encoded(one), encoded(one_too));
        let beyond_64_bits = i128::from(i64::MAX) * 100;
        let large = Value::Decimal { mantissa: i256::from_i128(beyond_64_bits), scale: 2 };
        let same = Value::Decimal { mantissa: i256::from_i128(i128::from(i64::MAX)), scale: 0 };
        assert_eq!(encoded(large), encoded(same));
        let zero = Value::Decimal { mantissa: i256::ZERO, scale: 9 };
        assert_eq!(encoded(zero), encoded(Value::Decimal { mantissa: i256::ZERO, scale: 0 }));
    }

    #[test]
    fn equal_decimals_have_equal_words_however_they_are_scaled() {
        let word = |mantissa: i128, scale| {
            Value::Decimal { mantissa: i256::from_i128(mantissa), scale }.word()
        };
        let most = i128::from(i64::MAX);
        for (mantissa, scale) in
            [(0, 0), (15, 1), (-5, 3), (1, -2), (most, 6), (most, 7), (most, 0), (1, 20), (12, 8)]
        {
            let own = word(mantissa, scale);
            assert!(own.is_some());
            assert_eq!(word(mantissa * 10, scale + 1), own, "{mantissa} x 10^-{scale}");
            assert_eq!(word(mantissa * 100_000_000, scale + 8), own);
            assert_ne!(word(mantissa + 1, scale), own);
        }
        // One and the same number of 64 bits, in millionths and in whole numbers that are too large for them.
        assert_ne!(word(9_223_372_036_855, 6), word(9_223_372_036_855, 0));
        assert_eq!(word(i128::MAX, 0), None);
    }

    #[test]
    fn null_differs_from_empty_and_kinds_differ_from_each_other() {
        assert_ne!(encoded(Value::Null), encoded(Value::Text("")));
        assert_ne!(encoded(Value::Text("")), encoded(Value::Binary(b"")));
        assert_ne!(encoded(Value::Text("1")), encoded(Value::Integer(1)));
        assert_ne!(encoded(Value::Timestamp(0)), encoded(Value::LocalTimestamp(0)));
    }

    #[test]
    fn every_kind_comes_back_from_its_encoding() {
        let values = [
            Value::Null,
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::Unsigned(u64::MAX),
            Value::Float64(0.1),
            Value::Decimal { mantissa: i256::from_i128(-123), scale: 2 },
            Value::Text("\u{0}é"),
            Value::Binary(&[0, 255]),
            Value::Date(-1),
            Value::Time(1),
            Value::Timestamp(-1),
            Value::LocalTimestamp(1),
            Value::Duration(5),
            Value::Interval { months: 1, days: 2, nanoseconds: 3 },
        ];
        for value in values {
            let bytes = encoded(value);
            assert!(value.nine().is_none_or(|nine| nine.as_slice() == bytes), "{value:?}");
            assert!(values.iter().all(|other| other == &value
                || other.word().is_none()
                || other.word() != value.word()));
            let mut rest = bytes.as_slice();
            assert_eq!(Value::decode(&mut rest), Some(value));
            assert!(rest.is_empty());
            for length in 0..bytes.len() {
                assert_eq!(Value::decode(&mut &bytes[..length]), None, "cut at {length}");
            }
        }
    }
}
