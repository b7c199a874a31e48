//! What the values of one member can all be read as, found by reading the files once.
//!
//! Numbers are never made floats but where exponents say that they are: a column of whole numbers is one of integers, one
//! with fractions one of decimals, with the most digits of a fraction that were seen. Texts stay texts, whatever they look
//! like. What is of several kinds is JSON, each value as it is written.

use super::super::text::column_type::{self, ColumnType, WIDEST_DECIMAL};
use super::object::{Kind, Member};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Candidates {
    has_boolean: bool,
    has_number: bool,
    has_text: bool,
    has_nested: bool,
    is_beyond_integer: bool,
    has_exponent: bool,
    is_beyond_double: bool,
    /// The most digits before and behind the point.
    whole: usize,
    fraction: usize,
}

impl Candidates {
    pub fn see(&mut self, member: Member<'_>) {
        match member.kind {
            Kind::Null => {}
            Kind::Boolean => self.has_boolean = true,
            Kind::Text => self.has_text = true,
            Kind::Nested => self.has_nested = true,
            Kind::Number => {
                self.has_number = true;
                let number = member.json.as_bytes();
                self.is_beyond_integer |= column_type::integer(number).is_none();
                self.is_beyond_double |= column_type::same_double(number).is_none();
                match column_type::digits(number) {
                    Some((whole, fraction)) => {
                        self.whole = self.whole.max(whole);
                        self.fraction = self.fraction.max(fraction);
                    }
                    None => self.has_exponent = true,
                }
            }
        }
    }

    /// `None` where no value but null was seen, so that there is nothing to decide from.
    pub fn decide(self) -> Option<ColumnType> {
        let Candidates { has_boolean, has_number, has_text, has_nested, .. } = self;
        Some(match (has_boolean, has_number, has_text, has_nested) {
            (false, false, false, false) => return None,
            (true, false, false, false) => ColumnType::Boolean,
            (false, false, true, false) => ColumnType::Varchar,
            (false, true, false, false) => self.number(),
            _ => ColumnType::Json,
        })
    }

    fn number(self) -> ColumnType {
        let fits = self.whole + self.fraction <= usize::from(WIDEST_DECIMAL);
        let scale = i8::try_from(self.fraction).ok().filter(|_| fits);
        match (self.has_exponent, scale) {
            (false, _) if !self.is_beyond_integer => ColumnType::BigInt,
            (false, Some(scale)) => ColumnType::Decimal { precision: WIDEST_DECIMAL, scale },
            (true, _) if !self.is_beyond_double => ColumnType::Double,
            _ => ColumnType::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Object;
    use super::*;

    fn infer(values: &[&str]) -> Option<ColumnType> {
        let mut candidates = Candidates::default();
        for value in values {
            let mut object = Object::default();
            object.read(format!("{{\"v\":{value}}}").as_bytes()).expect("it is an object");
            object.members().for_each(|member| candidates.see(member));
        }
        candidates.decide()
    }

    #[test]
    fn no_number_becomes_a_float_but_by_its_exponent() {
        let decimal = |scale| Some(ColumnType::Decimal { precision: 38, scale });
        assert_eq!(infer(&["1", "-2", "9223372036854775807"]), Some(ColumnType::BigInt));
        assert_eq!(infer(&["1", "9223372036854775808"]), decimal(0));
        assert_eq!(infer(&["18446744073709551615"]), decimal(0));
        assert_eq!(infer(&["-0"]), decimal(0));
        assert_eq!(infer(&["1.5", "2", "1.10"]), decimal(2));
        assert_eq!(infer(&["0.1000000000000000055"]), decimal(19));
        assert_eq!(infer(&["1e3", "1.5", "-2.5E-7"]), Some(ColumnType::Double));
        assert_eq!(infer(&["1e3", "12345678901234567891"]), Some(ColumnType::Json));
        assert_eq!(infer(&["1e400"]), Some(ColumnType::Json));
        assert_eq!(infer(&["0.5", &"9".repeat(38)]), Some(ColumnType::Json));
    }

    #[test]
    fn texts_are_not_guessed_at_and_mixtures_are_json() {
        assert_eq!(infer(&["\"1\"", "\"2013-01-01\"", "null"]), Some(ColumnType::Varchar));
        assert_eq!(infer(&["true", "false"]), Some(ColumnType::Boolean));
        for mixed in [["1", "\"1\""], ["true", "1"], ["[]", "null"], ["{}", "\"\""]] {
            assert_eq!(infer(&mixed), Some(ColumnType::Json), "{mixed:?}");
        }
        assert_eq!(infer(&["null"]), None);
        assert_eq!(infer(&[]), None);
    }
}
