//! What of one field counts as a change, where that is not every difference.
//!
//! Tolerance is by buckets, not by distance, as only hashes are kept: two values are the same where they round to the same. So
//! a value that moves a little over the edge of its bucket has changed. Guard: what values round to is frozen, as
//! fingerprints are made of it; it hangs on the decimal digits of a number alone, and on no library's rounding.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, i256};
use serde::{Deserialize, Serialize};

use super::form::{is_decimal, misfit};
use super::value::Value;

/// Digits that are kept at most.
pub const MOST_DIGITS: u8 = 38;

/// How the values of one field are compared. Stored in the snapshot's header, where `Exact` is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    #[default]
    Exact,
    /// No difference counts. The field is sent all the same, whenever its row is.
    Ignore,
    /// Numbers to so many significant digits, half to even.
    Digits(u8),
    /// Times to the beginning of a period of so many nanoseconds, counted from 1970-01-01T00:00:00; of a time of day from
    /// midnight.
    Precision(i64),
}

impl Compare {
    /// The value that stands for all that count as the same; for `Ignore` there is none to be asked for.
    pub fn coarse(self, value: Value<'_>) -> Value<'_> {
        match (self, value) {
            (Compare::Digits(digits), Value::Float32(float)) => {
                Value::Float64(rounded(f64::from(float), digits))
            }
            (Compare::Digits(digits), Value::Float64(float)) => {
                Value::Float64(rounded(float, digits))
            }
            (Compare::Digits(digits), Value::Decimal { mantissa, scale }) => {
                decimal(mantissa, scale, digits)
            }
            (Compare::Precision(period), Value::Timestamp(instant)) => {
                Value::Timestamp(instant - instant.rem_euclid(i128::from(period)))
            }
            (Compare::Precision(period), Value::LocalTimestamp(instant)) => {
                Value::LocalTimestamp(instant - instant.rem_euclid(i128::from(period)))
            }
            (Compare::Precision(period), Value::Time(nanoseconds)) => {
                Value::Time(nanoseconds.saturating_sub(nanoseconds.rem_euclid(period)))
            }
            (_, value) => value,
        }
    }

    /// Why values of this type cannot be compared so, and what to do; `None` if they can.
    pub fn misfit(self, data_type: &DataType) -> Option<String> {
        let is_float = data_type.is_floating();
        let is_time = matches!(
            data_type,
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_)
        );
        match self {
            _ if *data_type == DataType::Null => None,
            Compare::Exact | Compare::Ignore => None,
            Compare::Digits(_) if is_float || is_decimal(data_type) => None,
            Compare::Precision(_) if is_time => None,
            Compare::Digits(_) => {
                Some(misfit("compare: {digits}", "floats and decimals", data_type))
            }
            Compare::Precision(_) => {
                Some(misfit("compare: {precision}", "times and instants", data_type))
            }
        }
    }
}

/// The shortest decimal that is this float, and no other, rounded; what is not finite as it is.
fn rounded(float: f64, digits: u8) -> f64 {
    let digits = usize::from(digits);
    let shortest = format!("{float:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else { return float };
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if all.len() <= digits {
        return float;
    }
    let kept: u64 = all[..digits].parse().expect("17 digits at most");
    let is_odd = kept % 2 == 1;
    let is_up = match &all.as_bytes()[digits..] {
        [b'5', rest @ ..] if rest.iter().all(|digit| *digit == b'0') => is_odd,
        [first, ..] => *first >= b'5',
        [] => false,
    };
    let kept = kept + u64::from(is_up);
    let last = exponent + 1 - i32::try_from(digits).expect("few digits");
    let mut text = String::with_capacity(32);
    write!(text, "{sign}{kept}e{last}").expect("a String takes every write");
    let rounded: f64 = text.parse().expect("it is a number");
    // The largest floats have nothing to be rounded up to.
    if rounded.is_finite() { rounded } else { float }
}

fn decimal(mantissa: i256, scale: i8, digits: u8) -> Value<'static> {
    let exact = Value::Decimal { mantissa, scale };
    let text = mantissa.to_string();
    let all = text.trim_start_matches('-').len();
    let Some(dropped) = all.checked_sub(usize::from(digits)).filter(|dropped| *dropped > 0) else {
        return exact;
    };
    let Some(scale) = i8::try_from(dropped).ok().and_then(|dropped| scale.checked_sub(dropped))
    else {
        return exact;
    };
    let (ten, two) = (i256::from_i128(10), i256::from_i128(2));
    let unit = (0..dropped).fold(i256::ONE, |unit, _| unit.wrapping_mul(ten));
    let (kept, rest) = (mantissa.wrapping_div(unit), mantissa.wrapping_rem(unit).wrapping_abs());
    // Half of a power of ten is a whole number.
    let half = unit.wrapping_div(two);
    let is_odd = kept.wrapping_rem(two) != i256::ZERO;
    let is_up = rest > half || rest == half && is_odd;
    let away = if mantissa < i256::ZERO { i256::MINUS_ONE } else { i256::ONE };
    let kept = if is_up { kept.wrapping_add(away) } else { kept };
    Value::Decimal { mantissa: kept, scale }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float(float: f64, digits: u8) -> f64 {
        let Value::Float64(float) = Compare::Digits(digits).coarse(Value::Float64(float)) else {
            panic!("a float stays one")
        };
        float
    }

    fn encoded(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    fn number(mantissa: i128, scale: i8) -> Value<'static> {
        Value::Decimal { mantissa: i256::from_i128(mantissa), scale }
    }

    /// What these come to is what fingerprints out there are made of: it may never change.
    #[test]
    fn what_floats_round_to_is_frozen() {
        for (exact, digits, kept) in [
            (1.234_564_9, 6, 1.234_56),
            (1.234_565_1, 6, 1.234_57),
            (0.15, 1, 0.2),
            (0.25, 1, 0.2),
            (0.35, 1, 0.4),
            (-2.5, 1, -2.0),
            (-3.5, 1, -4.0),
            (2.500_001, 1, 3.0),
            (999_999.5, 6, 1e6),
            (0.1 + 0.2, 6, 0.3),
            (1e-300, 3, 1e-300),
            (5e-324, 1, 5e-324),
            (123_456_789.0, 3, 123e6),
            (0.0, 3, 0.0),
            (f64::MAX, 17, f64::MAX),
            (f64::MAX, 1, f64::MAX),
            (f64::INFINITY, 3, f64::INFINITY),
        ] {
            assert_eq!(float(exact, digits), kept, "{exact} to {digits} digits");
        }
        assert!(float(f64::NAN, 3).is_nan());
        let single = Compare::Digits(6).coarse(Value::Float32(0.1));
        assert_eq!(single, Value::Float64(0.1), "a single float is compared as a double one");
    }

    #[test]
    fn what_decimals_round_to_is_frozen() {
        for (mantissa, scale, digits, kept) in [
            (123_456, 2, 3, number(123, -1)),
            (123_500, 2, 3, number(124, -1)),
            (122_500, 2, 3, number(122, -1)),
            (-122_501, 2, 3, number(-123, -1)),
            (-122_500, 2, 3, number(-122, -1)),
            (99_950, 0, 3, number(1000, 2 - 4)),
            (100, 2, 3, number(1, 0)),
            (0, 4, 1, number(0, 0)),
            (7, -3, 1, number(7, -3)),
        ] {
            let coarse = Compare::Digits(digits).coarse(number(mantissa, scale));
            assert_eq!(encoded(coarse), encoded(kept), "{mantissa} {scale} {digits}");
        }
        let widest = Compare::Digits(1).coarse(Value::Decimal { mantissa: i256::MIN, scale: 0 });
        assert_eq!(
            encoded(widest),
            encoded(Value::Decimal { mantissa: i256::from_i128(-6), scale: -76 })
        );
    }

    #[test]
    fn times_go_to_the_beginning_of_their_period_before_1970_too() {
        const MINUTE: i64 = 60_000_000_000;
        let minute = Compare::Precision(MINUTE);
        let whole = i128::from(MINUTE);
        assert_eq!(minute.coarse(Value::Timestamp(whole + 1)), Value::Timestamp(whole));
        assert_eq!(minute.coarse(Value::Timestamp(-1)), Value::Timestamp(-whole));
        assert_eq!(minute.coarse(Value::LocalTimestamp(whole)), Value::LocalTimestamp(whole));
        assert_eq!(minute.coarse(Value::Time(MINUTE + 5)), Value::Time(MINUTE));
        assert_eq!(minute.coarse(Value::Text("x")), Value::Text("x"));
        assert_eq!(minute.coarse(Value::Null), Value::Null);
    }

    #[test]
    fn a_way_to_compare_that_does_not_fit_a_type_says_so_and_what_to_do() {
        let (digits, precision) = (Compare::Digits(6), Compare::Precision(1));
        assert_eq!(digits.misfit(&DataType::Float32), None);
        assert_eq!(digits.misfit(&DataType::Decimal128(10, 2)), None);
        assert_eq!(precision.misfit(&DataType::Time32(arrow::datatypes::TimeUnit::Second)), None);
        assert_eq!(Compare::Ignore.misfit(&DataType::Utf8), None);
        for (compare, data_type, words) in [
            (
                digits,
                DataType::Int64,
                "`compare: {digits}` is for floats and decimals, and this is an integer; ",
            ),
            (
                precision,
                DataType::Date32,
                "`compare: {precision}` is for times and instants, and this is a day; ",
            ),
        ] {
            let why = compare.misfit(&data_type).unwrap_or_default();
            assert!(why.starts_with(words), "{why}");
        }
    }

    proptest! {
        /// Rounding twice is rounding once, keeps the order, and moves a number by half a unit at most.
        #[test]
        fn rounding_settles_keeps_the_order_and_stays_near(
            one in any::<f64>(), other in any::<f64>(), digits in 1_u8..=17,
        ) {
            prop_assume!(one.is_finite() && other.is_finite());
            let (near_one, near_other) = (float(one, digits), float(other, digits));
            prop_assert_eq!(float(near_one, digits), near_one);
            prop_assert!(one > other || near_one <= near_other);
            if one != 0.0 && one.is_normal() {
                let moved = ((near_one - one) / one).abs();
                let unit = 10_f64.powi(1 - i32::from(digits));
                prop_assert!(moved <= unit * 0.500_001, "{} moved by {}", one, moved);
            }
        }

        /// A decimal rounds to what it rounds to in any scale.
        #[test]
        fn the_scale_of_a_decimal_does_not_matter(
            mantissa in any::<i64>(), scale in 0_i8..20, wider in 0_u32..8, digits in 1_u8..=38,
        ) {
            let mantissa = i128::from(mantissa);
            let compare = Compare::Digits(digits);
            let usual = encoded(compare.coarse(number(mantissa, scale)));
            let places = i8::try_from(wider).unwrap();
            let wide = number(mantissa * 10_i128.pow(wider), scale + places);
            prop_assert_eq!(encoded(compare.coarse(wide)), usual);
        }
    }
}
