//! Which types of MySQL and MariaDB come how, and what they are here.
//!
//! Not responsible for bytes (`decode`).

use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::connection::Described;

/// How the values of a column come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Only NULL comes.
    Null,
    /// `TINYINT(1)` where it is a boolean: 0, 1, and nothing else.
    Truth,
    Int1,
    UInt1,
    Int2,
    UInt2,
    Int4,
    UInt4,
    Int8,
    UInt8,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// One bit.
    Bit,
    /// Up to 64 bits, the highest first.
    Bits,
    Text,
    Bytes,
    Date,
    /// A day and a time of no zone.
    DateTime,
    /// The same in UTC.
    Timestamp,
    /// Hours, up to 838 and below zero, with so many digits behind the seconds.
    Time {
        digits: u8,
    },
}

/// Bytes, in place of text in a collation.
const BINARY: u16 = 63;
const UNSIGNED: u16 = 1 << 5;
/// Digits of a number of 128 bits, and of the widest here.
const NARROW: u8 = 38;
const WIDEST: u32 = 76;

/// How a column comes.
///
/// # Errors
/// It cannot be had, and what to do.
pub fn form(column: &Described, is_tinyint1_boolean: bool) -> Result<Form, String> {
    let is_unsigned = column.flags & UNSIGNED != 0;
    let of_sign = |signed, unsigned| if is_unsigned { unsigned } else { signed };
    let form = match column.kind {
        0 | 246 => return decimal(column, is_unsigned),
        1 if is_tinyint1_boolean && column.length == 1 && !is_unsigned => Form::Truth,
        1 => of_sign(Form::Int1, Form::UInt1),
        2 => of_sign(Form::Int2, Form::UInt2),
        // INT and MEDIUMINT.
        3 | 9 => of_sign(Form::Int4, Form::UInt4),
        4 => Form::Float,
        5 => Form::Double,
        6 => Form::Null,
        7 | 17 => Form::Timestamp,
        8 => of_sign(Form::Int8, Form::UInt8),
        10 | 14 => Form::Date,
        11 | 19 => Form::Time { digits: column.decimals },
        12 | 18 => Form::DateTime,
        // YEAR has no sign, and no value that needs the room.
        13 => Form::Int2,
        16 if column.length == 1 => Form::Bit,
        16 => Form::Bits,
        // JSON is text, whatever its collation says.
        245 => Form::Text,
        255 => return Err("is a geometry; use `ST_AsGeoJSON(..)` or `ST_AsText(..)`".to_owned()),
        242 => return Err("is a vector; use `VECTOR_TO_STRING(..)`".to_owned()),
        // VARCHAR, ENUM, SET, the four of TEXT or BLOB, VAR_STRING and STRING.
        15 | 247..=254 if column.collation == BINARY => Form::Bytes,
        15 | 247..=254 => Form::Text,
        other => {
            return Err(format!(
                "is of a type that is not known here ({other}); use `CAST(.. AS CHAR)`"
            ));
        }
    };
    Ok(form)
}

/// What MySQL calls such a column's type.
pub fn name(column: &Described) -> String {
    const ENUM: u16 = 1 << 8;
    const SET: u16 = 1 << 11;
    /// Bytes of a letter in the character set that answers come in.
    const LETTER: u32 = 4;
    let Described { kind, collation, length, flags, decimals, .. } = column;
    let is_binary = *collation == BINARY;
    let of_bytes = |text: &str, binary: &str| match is_binary {
        true => format!("{binary}({length})"),
        false => format!("{text}({})", length / LETTER),
    };
    let with_fraction = |name: &str| match decimals {
        digits @ 1..=6 => format!("{name}({digits})"),
        _ => name.to_owned(),
    };
    let name = match kind {
        0 | 246 => match decimal(column, flags & UNSIGNED != 0) {
            Ok(Form::Decimal { precision, scale }) => format!("decimal({precision},{scale})"),
            _ => "decimal".to_owned(),
        },
        1 if *length == 1 => "tinyint(1)".to_owned(),
        1 => "tinyint".to_owned(),
        2 => "smallint".to_owned(),
        3 => "int".to_owned(),
        4 => "float".to_owned(),
        5 => "double".to_owned(),
        6 => "null".to_owned(),
        7 | 17 => with_fraction("timestamp"),
        8 => "bigint".to_owned(),
        9 => "mediumint".to_owned(),
        10 | 14 => "date".to_owned(),
        11 | 19 => with_fraction("time"),
        12 | 18 => with_fraction("datetime"),
        13 => return "year".to_owned(),
        16 => return format!("bit({length})"),
        242 => "vector".to_owned(),
        245 => "json".to_owned(),
        247 => "enum".to_owned(),
        248 => "set".to_owned(),
        249..=252 if is_binary => "blob".to_owned(),
        249..=252 => "text".to_owned(),
        254 if flags & ENUM != 0 => "enum".to_owned(),
        254 if flags & SET != 0 => "set".to_owned(),
        254 => of_bytes("char", "binary"),
        15 | 253 => of_bytes("varchar", "varbinary"),
        255 => "geometry".to_owned(),
        other => format!("type {other}"),
    };
    let is_number = matches!(kind, 0..=5 | 8 | 9 | 246);
    match is_number && flags & UNSIGNED != 0 {
        true => format!("{name} unsigned"),
        false => name,
    }
}

/// The length counts the point and the sign.
fn decimal(column: &Described, is_unsigned: bool) -> Result<Form, String> {
    let scale = u32::from(column.decimals);
    let signs = u32::from(scale > 0) + u32::from(!is_unsigned);
    let precision = column.length.saturating_sub(signs).max(scale).clamp(1, WIDEST);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if u32::from(column.decimals) <= WIDEST => {
            Ok(Form::Decimal { precision, scale })
        }
        _ => {
            Err("has more digits than are known here; use `CAST(.. AS DECIMAL(65, 30))`".to_owned())
        }
    }
}

impl Form {
    /// What one such value is here.
    pub fn data_type(self) -> DataType {
        match self {
            Form::Truth | Form::Bit => DataType::Boolean,
            Form::Int1 => DataType::Int8,
            Form::UInt1 => DataType::UInt8,
            Form::Int2 => DataType::Int16,
            Form::UInt2 => DataType::UInt16,
            Form::Int4 => DataType::Int32,
            Form::UInt4 => DataType::UInt32,
            Form::Int8 => DataType::Int64,
            Form::UInt8 | Form::Bits => DataType::UInt64,
            Form::Float => DataType::Float32,
            Form::Double => DataType::Float64,
            Form::Decimal { precision, scale } if precision <= NARROW => {
                DataType::Decimal128(precision, scale)
            }
            Form::Decimal { precision, scale } => DataType::Decimal256(precision, scale),
            Form::Null | Form::Text | Form::Time { .. } => DataType::Utf8View,
            Form::Bytes => DataType::BinaryView,
            Form::Date => DataType::Date32,
            Form::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Form::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: u8, length: u32, flags: u16, decimals: u8) -> Described {
        let origin = Default::default();
        Described { name: "c".into(), origin, kind, collation: BINARY, length, flags, decimals }
    }

    #[test]
    fn decimals_have_the_digits_that_their_column_says() {
        let typed = |length, flags, scale| {
            form(&column(246, length, flags, scale), false).unwrap().data_type()
        };
        assert_eq!(typed(14, 0, 2), DataType::Decimal128(12, 2));
        assert_eq!(typed(13, UNSIGNED, 2), DataType::Decimal128(12, 2));
        assert_eq!(typed(11, 0, 0), DataType::Decimal128(10, 0));
        assert_eq!(typed(67, 0, 30), DataType::Decimal256(65, 30));
        // Of expressions, more may be said than there can be.
        assert_eq!(typed(90, 0, 38), DataType::Decimal256(76, 38));
        assert_eq!(typed(3, 0, 10), DataType::Decimal128(10, 10));
    }

    #[test]
    fn a_tinyint_of_one_digit_is_a_boolean_where_that_is_said() {
        assert_eq!(form(&column(1, 1, 0, 0), false), Ok(Form::Int1));
        assert_eq!(form(&column(1, 1, 0, 0), true), Ok(Form::Truth));
        assert_eq!(form(&column(1, 4, 0, 0), true), Ok(Form::Int1));
        assert_eq!(form(&column(1, 1, UNSIGNED, 0), true), Ok(Form::UInt1));
    }

    #[test]
    fn types_go_by_the_names_that_they_have_at_the_server() {
        let named = |kind, length, flags, decimals, collation| {
            name(&Described { collation, ..column(kind, length, flags, decimals) })
        };
        assert_eq!(named(246, 14, 0, 2, BINARY), "decimal(12,2)");
        assert_eq!(named(8, 20, UNSIGNED, 0, BINARY), "bigint unsigned");
        assert_eq!(named(1, 1, 0, 0, BINARY), "tinyint(1)");
        assert_eq!(named(253, 160, 0, 0, 45), "varchar(40)");
        assert_eq!(named(253, 16, 0, 0, BINARY), "varbinary(16)");
        assert_eq!(named(254, 4, 1 << 8, 0, 45), "enum");
        assert_eq!(named(252, 1, 0, 0, 45), "text");
        assert_eq!(named(12, 26, 0, 6, BINARY), "datetime(6)");
        assert_eq!(named(13, 4, UNSIGNED, 0, BINARY), "year");
    }

    #[test]
    fn what_has_no_form_here_is_refused_with_what_to_use() {
        for (kind, words) in [(255, "ST_AsGeoJSON"), (242, "VECTOR_TO_STRING"), (200, "CAST")] {
            assert!(form(&column(kind, 1, 0, 0), false).unwrap_err().contains(words), "{kind}");
        }
        assert_eq!(form(&column(245, 1, 0, 0), false), Ok(Form::Text));
        let text = Described { collation: 45, ..column(252, 1, 0, 0) };
        assert_eq!(
            (form(&text, false), form(&column(252, 1, 0, 0), false)),
            (Ok(Form::Text), Ok(Form::Bytes))
        );
    }
}
