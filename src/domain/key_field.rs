//! A field of a key as the snapshot's header has it, and what of its type two keys may differ in.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyField {
    pub name: String,
    /// The Arrow type, as DataFusion prints it, with string and binary widths made one.
    pub data_type: String,
}

/// Whether the fields carry the same keys `now` as `then`. The unit of a time is none of them, as keys are encoded without it;
/// nor is the width of a whole number that has become wider: each number that the narrow one holds is encoded as it was.
pub(super) fn is_same_key(then: &[KeyField], now: &[KeyField]) -> bool {
    then.len() == now.len() && then.iter().zip(now).all(|(then, now)| now.is_as(then))
}

impl KeyField {
    fn is_as(&self, then: &KeyField) -> bool {
        self.name == then.name
            && (without_unit(&self.data_type) == without_unit(&then.data_type)
                || is_widened(&then.data_type, &self.data_type))
    }
}

/// Whether both are whole numbers in the same form, and `now` holds all that `then` does. The other way round numbers may have
/// been made others.
fn is_widened(then: &str, now: &str) -> bool {
    let ((then, of_then), (now, of_now)) = match (whole(then), whole(now)) {
        (Some(then), Some(now)) => (then, now),
        _ => return false,
    };
    let Whole { is_signed, bits } = then;
    let is_wider = match (is_signed, now.is_signed) {
        (true, true) | (false, false) => bits <= now.bits,
        (false, true) => bits < now.bits,
        (true, false) => false,
    };
    is_wider && of_then == of_now
}

#[derive(Clone, Copy)]
struct Whole {
    is_signed: bool,
    bits: u32,
}

/// A whole number's type, and what follows on it: the form that the key has.
fn whole(data_type: &str) -> Option<(Whole, &str)> {
    let (is_signed, rest) = match data_type.strip_prefix("UInt") {
        Some(rest) => (false, rest),
        None => (true, data_type.strip_prefix("Int")?),
    };
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let bits = rest[..end].parse().ok()?;
    Some((Whole { is_signed, bits }, &rest[end..]))
}

/// `Timestamp(UNIT)` and `Timestamp(UNIT, ZONE)` without the unit; another type as it is.
fn without_unit(data_type: &str) -> String {
    const TIME: &str = "Timestamp(";
    match data_type.strip_prefix(TIME).and_then(|rest| rest.find([',', ')']).map(|at| &rest[at..]))
    {
        Some(rest) => format!("{TIME}{rest}"),
        None => data_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_times_make_no_other_key() {
        let with = |name: &str, data_type: &str| {
            vec![KeyField { name: name.into(), data_type: data_type.into() }]
        };
        let is_same = |then: &str, now: &str| is_same_key(&with("id", then), &with("id", now));
        assert!(is_same("Timestamp(µs, \"UTC\")", "Timestamp(ns, \"UTC\")"));
        assert!(is_same("Timestamp(ms)", "Timestamp(s)"));
        for (then, now) in [
            ("Int32", "Int64"),
            ("Int8", "Int16"),
            ("UInt8", "UInt64"),
            ("UInt32", "Int64"),
            ("Int32 as text", "Int64 as text"),
        ] {
            assert!(is_same(then, now), "{then} became {now}");
            assert!(!is_same(now, then), "{now} became {then}");
        }
        for (then, now) in [
            ("UInt64", "Int64"),
            ("Int32", "UInt64"),
            ("Int32", "Int64 as text"),
            ("Int32", "Interval(MonthDayNano)"),
            ("Timestamp(µs, \"UTC\")", "Timestamp(µs)"),
            ("Int64", "Int32"),
            ("Int64", "Utf8"),
            ("Int64", "Float64"),
            ("Int64", "Interval(MonthDayNano)"),
            ("Float64", "Float32"),
            ("Decimal128(10, 2)", "Decimal128(10, 3)"),
        ] {
            assert!(!is_same(then, now), "{then} and {now}");
        }
        assert!(!is_same_key(&with("id", "Int64"), &with("other", "Int64")));
        assert!(!is_same_key(&with("id", "Int64"), &[]));
    }
}
