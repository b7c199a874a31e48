//! A field of a key as the snapshot's header has it, and what of its type two keys may differ in.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyField {
    pub name: String,
    /// The Arrow type, as DataFusion prints it, with string and binary widths made one.
    pub data_type: String,
}

/// Whether the fields carry the same keys. The unit of a time is none of them: keys are encoded without it.
pub(super) fn is_same_key(then: &[KeyField], now: &[KeyField]) -> bool {
    then.len() == now.len() && then.iter().zip(now).all(|(then, now)| then.is_as(now))
}

impl KeyField {
    fn is_as(&self, other: &KeyField) -> bool {
        self.name == other.name && without_unit(&self.data_type) == without_unit(&other.data_type)
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
