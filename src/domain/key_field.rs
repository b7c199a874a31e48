//! A field of a key as the snapshot's header has it, and what of its type two keys may differ in.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyField {
    pub name: String,
    /// The Arrow type, as DataFusion prints it, with string and binary widths made one.
    pub data_type: String,
}

/// Whether the fields carry the same keys. The unit of a time and the width of a whole number are none of them: keys are
/// encoded without either.
pub(super) fn is_same_key(then: &[KeyField], now: &[KeyField]) -> bool {
    then.len() == now.len() && then.iter().zip(now).all(|(then, now)| then.is_as(now))
}

impl KeyField {
    fn is_as(&self, other: &KeyField) -> bool {
        let encoded = |field: &KeyField| without_width(&without_unit(&field.data_type));
        self.name == other.name && encoded(self) == encoded(other)
    }
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

/// `Int64` for whole numbers of any width, signed or not, with what stands behind it; another type as it is.
fn without_width(data_type: &str) -> String {
    let end = data_type.find(|letter: char| !letter.is_ascii_alphanumeric());
    let (name, rest) = data_type.split_at(end.unwrap_or(data_type.len()));
    match name.strip_prefix('U').unwrap_or(name).strip_prefix("Int") {
        Some("8" | "16" | "32" | "64") => format!("Int64{rest}"),
        _ => data_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_times_and_widths_of_whole_numbers_make_no_other_key() {
        let with = |name: &str, data_type: &str| {
            vec![KeyField { name: name.into(), data_type: data_type.into() }]
        };
        let is_same = |then: &str, now: &str| is_same_key(&with("id", then), &with("id", now));
        for narrow in ["Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32", "UInt64"] {
            assert!(is_same(narrow, "Int64") && is_same("Int64", narrow), "{narrow}");
            assert!(is_same(&format!("{narrow} as text"), "Int64 as text"), "{narrow}");
            assert!(!is_same(narrow, "Int64 as text"), "{narrow}");
        }
        assert!(is_same("Timestamp(µs, \"UTC\")", "Timestamp(ns, \"UTC\")"));
        assert!(is_same("Timestamp(ms)", "Timestamp(s)"));
        for (then, now) in [
            ("Timestamp(µs, \"UTC\")", "Timestamp(µs)"),
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
