//! The narrowest type that every value of a column fits, found by reading the whole column once.

use super::super::text::column_type::{self, ColumnType, WIDEST_DECIMAL};

/// What a column may still be, after the values seen so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidates {
    is_empty: bool,
    is_integer: bool,
    is_double: bool,
    /// The fraction digits that all values have; `None` before the first value.
    scale: Option<i8>,
    is_decimal: bool,
    is_boolean: bool,
    is_date: bool,
    is_timestamp: bool,
    is_instant: bool,
}

impl Candidates {
    pub fn new() -> Self {
        Candidates {
            is_empty: true,
            is_integer: true,
            is_double: true,
            scale: None,
            is_decimal: true,
            is_boolean: true,
            is_date: true,
            is_timestamp: true,
            is_instant: true,
        }
    }

    /// Sees one value that is not NULL.
    pub fn see(&mut self, field: &[u8]) {
        self.is_empty = false;
        self.is_integer = self.is_integer && column_type::integer(field).is_some();
        self.is_double = self.is_double && column_type::exact_double(field).is_some();
        if self.is_decimal {
            let scale = column_type::exact_scale(field);
            self.is_decimal = scale.is_some() && (self.scale.is_none() || self.scale == scale);
            self.scale = scale;
        }
        self.is_boolean = self.is_boolean && column_type::boolean(field).is_some();
        self.is_date = self.is_date && column_type::date(field).is_some();
        if self.is_timestamp || self.is_instant {
            let seen = column_type::date_time(field);
            self.is_timestamp &= seen.as_ref().is_some_and(|time| !time.has_zone);
            self.is_instant &= seen.as_ref().is_some_and(|time| time.has_zone);
        }
    }

    /// `None` where no value was seen, so that there is nothing to decide from.
    pub fn decide(self) -> Option<ColumnType> {
        Some(match self {
            Candidates { is_empty: true, .. } => return None,
            Candidates { is_integer: true, .. } => ColumnType::BigInt,
            Candidates { is_double: true, .. } => ColumnType::Double,
            Candidates { is_decimal: true, scale: Some(scale), .. } => {
                ColumnType::Decimal { precision: WIDEST_DECIMAL, scale }
            }
            Candidates { is_boolean: true, .. } => ColumnType::Boolean,
            Candidates { is_date: true, .. } => ColumnType::Date,
            Candidates { is_timestamp: true, .. } => ColumnType::Timestamp,
            Candidates { is_instant: true, .. } => ColumnType::TimestampWithTimeZone,
            _ => ColumnType::Varchar,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(values: &[&str]) -> ColumnType {
        let mut candidates = Candidates::new();
        values.iter().for_each(|value| candidates.see(value.as_bytes()));
        candidates.decide().expect("there are values")
    }

    #[test]
    fn the_narrowest_type_that_fits_all_values_is_chosen() {
        assert_eq!(infer(&["1", "-2"]), ColumnType::BigInt);
        assert_eq!(infer(&["1", "2.5"]), ColumnType::Double);
        assert_eq!(infer(&["true", "false"]), ColumnType::Boolean);
        assert_eq!(infer(&["2013-01-01"]), ColumnType::Date);
        assert_eq!(infer(&["2013-01-01T06:00:00Z"]), ColumnType::TimestampWithTimeZone);
        assert_eq!(infer(&["2013-01-01 06:00:00"]), ColumnType::Timestamp);
    }

    #[test]
    fn whatever_would_lose_something_is_text() {
        assert_eq!(infer(&["1", "00123"]), ColumnType::Varchar);
        assert_eq!(infer(&["+49"]), ColumnType::Varchar);
        assert_eq!(infer(&["12345678901234567890"]), ColumnType::Varchar);
        assert_eq!(infer(&["2013-01-01T06:00:00Z", "2013-01-01T06:00:00"]), ColumnType::Varchar);
        assert_eq!(infer(&["1", "true"]), ColumnType::Varchar);
        assert_eq!(infer(&["-0", "1.5"]), ColumnType::Varchar);
        assert_eq!(infer(&["1", "1.10"]), ColumnType::Varchar);
        assert_eq!(infer(&["1.10", "1.1"]), ColumnType::Varchar);
        assert_eq!(infer(&["1.0", "1.00"]), ColumnType::Varchar);
    }

    #[test]
    fn fractions_with_zeros_at_their_end_are_decimals_of_one_scale() {
        let expected = ColumnType::Decimal { precision: 38, scale: 2 };
        assert_eq!(infer(&["1.10", "22.25", "-3.00"]), expected);
    }

    #[test]
    fn a_column_without_a_value_stays_undecided() {
        assert_eq!(Candidates::new().decide(), None);
    }
}
