//! Which types of PostgreSQL come how, and what they are here.
//!
//! Not responsible for bytes (`decode`). What has no form of its own here is asked for as text, as the server prints it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use tokio_postgres::types::{Kind, Type};

use super::numeric::WIDEST;

/// How the values of a column come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    /// 32 bits without a sign.
    Oid,
    /// 64 bits without a sign.
    Xid8,
    Float4,
    Float8,
    Numeric {
        precision: u8,
        scale: i8,
    },
    Text,
    /// The type `"char"`: one byte.
    Byte,
    Bytea,
    /// Text behind the number of its version.
    Jsonb,
    Uuid,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Inet,
    /// Six bytes or eight.
    MacAddr,
    Bits,
}

/// How a column is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub wire: Wire,
    /// What it is cast to first.
    pub cast: Option<&'static str>,
    /// Each value is a list of such.
    pub is_list: bool,
    /// The number of the type that the items of a list have; none where the server may say another for it.
    pub item: Option<u32>,
}

/// How a column of this type is asked for.
///
/// # Errors
/// It cannot be, and what to do.
pub fn asked(kind: &Type, modifier: i32) -> Result<Asked, &'static str> {
    let wire = match *kind {
        Type::BOOL => Wire::Bool,
        Type::INT2 => Wire::Int2,
        Type::INT4 => Wire::Int4,
        Type::INT8 => Wire::Int8,
        Type::OID | Type::XID | Type::CID => Wire::Oid,
        Type::XID8 => Wire::Xid8,
        Type::FLOAT4 => Wire::Float4,
        Type::FLOAT8 => Wire::Float8,
        Type::NUMERIC => match digits(modifier) {
            Some((precision, scale)) => Wire::Numeric { precision, scale },
            None => return Ok(as_text()),
        },
        Type::MONEY => {
            let (precision, scale) = WIDEST;
            let wire = Wire::Numeric { precision, scale };
            return Ok(Asked { wire, cast: Some("numeric"), is_list: false, item: None });
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::XML | Type::UNKNOWN => {
            Wire::Text
        }
        Type::JSON => Wire::Text,
        Type::CHAR => Wire::Byte,
        Type::BYTEA => Wire::Bytea,
        Type::JSONB | Type::JSONPATH => Wire::Jsonb,
        Type::UUID => Wire::Uuid,
        Type::DATE => Wire::Date,
        Type::TIME => Wire::Time,
        Type::TIMETZ => Wire::TimeTz,
        Type::TIMESTAMP => Wire::Timestamp,
        Type::TIMESTAMPTZ => Wire::TimestampTz,
        Type::INTERVAL => Wire::Interval,
        Type::INET | Type::CIDR => Wire::Inet,
        Type::MACADDR | Type::MACADDR8 => Wire::MacAddr,
        Type::BIT | Type::VARBIT => Wire::Bits,
        Type::VOID => return Err("has no values; leave it out"),
        Type::RECORD | Type::RECORD_ARRAY => {
            return Err("is a row without names; use `to_jsonb(..)`, or select its parts");
        }
        _ => match kind.kind() {
            Kind::Enum(_) => Wire::Text,
            Kind::Domain(base) => return asked(base, modifier),
            Kind::Array(of) => match asked(of, modifier)? {
                item if item.cast.is_none() && !item.is_list => {
                    let number = matches!(of.kind(), Kind::Simple).then(|| of.oid());
                    return Ok(Asked { is_list: true, item: number, ..item });
                }
                _ => return Ok(as_text()),
            },
            _ => return Ok(as_text()),
        },
    };
    Ok(Asked { wire, cast: None, is_list: false, item: None })
}

/// What PostgreSQL calls such a column's type.
pub fn name(kind: &Type, modifier: i32) -> String {
    if let Kind::Array(item) = kind.kind() {
        return format!("{}[]", name(item, modifier));
    }
    let bare = kind.name();
    match *kind {
        Type::NUMERIC if modifier >= HEADER => {
            let (precision, scale) = unpacked(modifier);
            format!("{bare}({precision},{scale})")
        }
        Type::VARCHAR | Type::BPCHAR if modifier >= HEADER => {
            format!("{bare}({})", modifier - HEADER)
        }
        Type::BIT | Type::VARBIT if modifier > 0 => format!("{bare}({modifier})"),
        Type::TIME | Type::TIMETZ | Type::TIMESTAMP | Type::TIMESTAMPTZ if modifier >= 0 => {
            format!("{bare}({modifier})")
        }
        _ => bare.to_owned(),
    }
}

fn as_text() -> Asked {
    Asked { wire: Wire::Text, cast: Some("text"), is_list: false, item: None }
}

/// What is counted in with the modifiers of types that have a length.
const HEADER: i32 = 4;

/// Precision and scale as a modifier of `numeric` says them.
fn unpacked(modifier: i32) -> (i32, i32) {
    let packed = modifier - HEADER;
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

/// Precision and scale of a `numeric`; none where it has more digits than any number here.
fn digits(modifier: i32) -> Option<(u8, i8)> {
    if modifier < HEADER {
        return Some(WIDEST);
    }
    let (precision, scale) = unpacked(modifier);
    let precision = precision.max(scale);
    let most = i32::from(WIDEST.0);
    if precision > most || precision - scale > most {
        return None;
    }
    Some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
}

impl Asked {
    /// What the column's values are here.
    pub fn data_type(self) -> DataType {
        match self.is_list {
            true => DataType::List(Arc::new(Field::new_list_field(self.wire.data_type(), true))),
            false => self.wire.data_type(),
        }
    }
}

impl Wire {
    /// What one such value is here.
    pub fn data_type(self) -> DataType {
        /// Digits of a number of 128 bits.
        const NARROW: u8 = 38;
        match self {
            Wire::Bool => DataType::Boolean,
            Wire::Int2 => DataType::Int16,
            Wire::Int4 => DataType::Int32,
            Wire::Int8 => DataType::Int64,
            Wire::Oid => DataType::UInt32,
            Wire::Xid8 => DataType::UInt64,
            Wire::Float4 => DataType::Float32,
            Wire::Float8 => DataType::Float64,
            Wire::Numeric { precision, scale } if precision <= NARROW => {
                DataType::Decimal128(precision, scale)
            }
            Wire::Numeric { precision, scale } => DataType::Decimal256(precision, scale),
            Wire::Bytea => DataType::BinaryView,
            Wire::Date => DataType::Date32,
            Wire::Time => DataType::Time64(TimeUnit::Microsecond),
            Wire::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Wire::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Wire::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Wire::Text
            | Wire::Byte
            | Wire::Jsonb
            | Wire::Uuid
            | Wire::TimeTz
            | Wire::Inet
            | Wire::MacAddr
            | Wire::Bits => DataType::Utf8View,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(precision: i32, scale: i32) -> Result<Asked, &'static str> {
        asked(&Type::NUMERIC, ((precision << 16) | (scale & 0x7ff)) + 4)
    }

    #[test]
    fn numbers_have_the_digits_that_their_column_says() {
        let typed = |precision, scale| numeric(precision, scale).unwrap().wire.data_type();
        assert_eq!(typed(12, 2), DataType::Decimal128(12, 2));
        assert_eq!(typed(40, 10), DataType::Decimal256(40, 10));
        assert_eq!(typed(3, -2), DataType::Decimal128(3, -2));
        assert_eq!(typed(3, 5), DataType::Decimal128(5, 5));
        assert_eq!(numeric(100, 2), Ok(as_text()));
        assert_eq!(numeric(76, -10), Ok(as_text()));
        let unsaid = asked(&Type::NUMERIC, -1).unwrap().wire.data_type();
        assert_eq!(unsaid, DataType::Decimal256(76, 38));
    }

    #[test]
    fn types_go_by_the_names_that_they_have_at_the_server() {
        assert_eq!(name(&Type::NUMERIC, ((12 << 16) | 2) + 4), "numeric(12,2)");
        assert_eq!(name(&Type::NUMERIC, ((3 << 16) | (-2 & 0x7ff)) + 4), "numeric(3,-2)");
        assert_eq!(name(&Type::NUMERIC, -1), "numeric");
        assert_eq!(name(&Type::VARCHAR, 44), "varchar(40)");
        assert_eq!(name(&Type::TIMESTAMPTZ, 3), "timestamptz(3)");
        assert_eq!(name(&Type::INT4_ARRAY, -1), "int4[]");
        assert_eq!(name(&Type::VARBIT, 5), "varbit(5)");
        assert_eq!(name(&Type::JSONB, -1), "jsonb");
    }

    #[test]
    fn what_has_no_form_here_is_asked_for_as_text_or_refused() {
        for kind in [Type::POINT, Type::INT4_RANGE, Type::POINT_ARRAY, Type::TS_VECTOR] {
            assert_eq!(asked(&kind, -1), Ok(as_text()), "{kind}");
        }
        let list = asked(&Type::INT4_ARRAY, -1).unwrap();
        assert_eq!((list.wire, list.is_list, list.item), (Wire::Int4, true, Some(23)));
        assert!(asked(&Type::RECORD, -1).unwrap_err().contains("to_jsonb"));
        assert!(asked(&Type::VOID, -1).is_err());
    }
}
