//! From rows, as the binary protocol has them, to columns.
//!
//! Not responsible for which type comes how (`column`). Invariants: whatever the server sends, a value is exact or an error; an
//! error names the column and the row's key, and never another value.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{SchemaRef, i256};

use super::column::Form;
use super::fields::Fields;
use super::temporal::{self, Moment};
use crate::source::builders::{Builder, Filling};
use crate::source::error::Error;

/// What of a value cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The server does not say such values so.
    Malformed,
    /// It is not UTF-8.
    NotText,
    /// A year, a month or a day is zero.
    ZeroDate,
    /// It is a day that no calendar has.
    NoDay,
    /// It has more digits than its column.
    TooLong,
    /// It is neither 0 nor 1.
    NotBoolean,
}

/// A column of the answer.
pub struct Answered {
    pub name: String,
    pub form: Form,
}

/// Makes batches of rows.
pub struct Decoder {
    columns: Vec<Column>,
    /// Those that are asked for, in the order of the batches.
    wanted: Vec<usize>,
    /// Those that name a row.
    keys: Vec<usize>,
    filling: Filling,
    is_zero_date_null: bool,
    place: String,
}

struct Column {
    name: String,
    form: Form,
    /// Of those that are asked for.
    builder: Option<Builder>,
    text: String,
}

/// A value as it came.
#[derive(Debug, Clone, Copy)]
enum Value<'p> {
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    Bytes(&'p [u8]),
    Moment(Moment),
    /// A span of hours behind the number of its bytes.
    Time(Fields<'p>),
}

impl Decoder {
    /// Of rows with these columns, of which some are wanted, as `schema` has them, and `primary_key` names a row. `place` is
    /// the model, for messages.
    pub fn new(
        answered: Vec<Answered>,
        wanted: Vec<usize>,
        primary_key: &[String],
        filling: (SchemaRef, usize),
        is_zero_date_null: bool,
        place: String,
    ) -> Decoder {
        let (schema, most_rows) = filling;
        let position = |name: &String| answered.iter().position(|column| column.name == *name);
        let keys = primary_key.iter().filter_map(position).collect();
        let column = |(position, Answered { name, form }): (usize, Answered)| {
            let builder = wanted.contains(&position).then(|| Builder::new(&form.data_type()));
            Column { name, form, builder, text: String::new() }
        };
        let columns = answered.into_iter().enumerate().map(column).collect();
        let filling = Filling::new(schema, most_rows);
        Decoder { columns, wanted, keys, filling, is_zero_date_null, place }
    }

    /// Takes a row.
    pub fn row(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.filling.row(packet.len());
        self.take(packet).map_err(|(column, wrong)| self.misfit(column, wrong, packet))
    }

    pub fn is_full(&self) -> bool {
        self.filling.is_full()
    }

    /// The rows since the last batch, if there are any.
    pub fn batch(&mut self) -> Option<RecordBatch> {
        let (wanted, columns) = (&self.wanted, &mut self.columns);
        let finish = |position: &usize| {
            columns[*position].builder.as_mut().expect("it was made for those").finish()
        };
        self.filling.batch(|| wanted.iter().map(finish).collect())
    }

    fn take(&mut self, packet: &[u8]) -> Result<(), (usize, Wrong)> {
        let (is_zero_date_null, count) = (self.is_zero_date_null, self.columns.len());
        let mut row = Row::new(packet, count).map_err(|wrong| (0, wrong))?;
        for (position, column) in self.columns.iter_mut().enumerate() {
            let value = row.next(position, column.form).map_err(|wrong| (position, wrong))?;
            let Some(builder) = &mut column.builder else { continue };
            let added = match value {
                None => Err(Wrong::ZeroDate),
                Some(value) => add(builder, column.form, value, &mut column.text),
            };
            match added {
                Err(Wrong::ZeroDate) if value.is_none() || is_zero_date_null => builder.null(),
                added => added.map_err(|wrong| (position, wrong))?,
            }
        }
        match row.fields.is_empty() {
            true => Ok(()),
            false => Err((count.saturating_sub(1), Wrong::Malformed)),
        }
    }

    /// What names the row, as far as it can be said.
    fn key(&self, packet: &[u8]) -> Option<String> {
        const LONGEST: usize = 64;
        let mut row = Row::new(packet, self.columns.len()).ok()?;
        let mut said = Vec::new();
        for (position, column) in self.columns.iter().enumerate() {
            let value = row.next(position, column.form).ok()?;
            if !self.keys.contains(&position) {
                continue;
            }
            let value = match value? {
                Value::Int(value) => value.to_string(),
                Value::UInt(value) => value.to_string(),
                Value::Bytes(bytes) if !matches!(column.form, Form::Bytes | Form::Bits) => {
                    std::str::from_utf8(bytes).ok()?.chars().take(LONGEST).collect()
                }
                _ => return None,
            };
            said.push(format!("`{}` is {value}", column.name));
        }
        (!said.is_empty()).then(|| format!(" where {}", said.join(" and ")))
    }

    fn misfit(&self, column: usize, wrong: Wrong, packet: &[u8]) -> Error {
        let place = &self.place;
        let name = self.columns.get(column).map_or("", |column| &column.name);
        let said = match wrong {
            Wrong::Malformed => {
                return Error::Damaged(format!(
                    "the server sent a value that is not of its type in column `{name}` of {place}; it does not speak as MySQL \
                     does"
                ));
            }
            Wrong::NotText => {
                format!(
                    "text that is not UTF-8; write `CONVERT({name} USING utf8mb4)`, or `HEX({name})`"
                )
            }
            Wrong::ZeroDate => format!(
                "a zero date, which is no day; write `NULLIF({name}, 0)`, or `zero_dates: as_null` at the source"
            ),
            Wrong::NoDay => {
                format!(
                    "a day that no calendar has; write `CAST({name} AS CHAR)`, or correct the row"
                )
            }
            Wrong::TooLong => format!(
                "a number with more digits than its column says; write `CAST({name} AS DECIMAL(65, 30))`"
            ),
            Wrong::NotBoolean => format!(
                "a number that is neither 0 nor 1; write `{name} <> 0`, or `tinyint1: integer` at the source"
            ),
        };
        let key = self.key(packet).unwrap_or_default();
        Error::Misfit(format!("column `{name}` of {place} has, in the row{key}, {said}"))
    }
}

/// A row whose values are taken from left to right.
struct Row<'p> {
    nulls: &'p [u8],
    fields: Fields<'p>,
}

impl<'p> Row<'p> {
    fn new(packet: &'p [u8], columns: usize) -> Result<Row<'p>, Wrong> {
        let mut fields = Fields(packet);
        match fields.byte() {
            Ok(0) => {}
            _ => return Err(Wrong::Malformed),
        }
        let nulls = fields.bytes((columns + 9) / 8).map_err(|_| Wrong::Malformed)?;
        Ok(Row { nulls, fields })
    }

    /// The value of the next column, which is none where it is NULL.
    fn next(&mut self, position: usize, form: Form) -> Result<Option<Value<'p>>, Wrong> {
        let bit = position + 2;
        if self.nulls[bit / 8] >> (bit % 8) & 1 == 1 {
            return Ok(None);
        }
        let malformed = |_| Wrong::Malformed;
        let fields = &mut self.fields;
        let value = match form {
            Form::Null => return Err(Wrong::Malformed),
            Form::Truth | Form::Int1 => {
                Value::Int(i8::from_le_bytes(fields.fixed().map_err(malformed)?).into())
            }
            Form::Int2 => Value::Int(i16::from_le_bytes(fields.fixed().map_err(malformed)?).into()),
            Form::Int4 => Value::Int(i32::from_le_bytes(fields.fixed().map_err(malformed)?).into()),
            Form::Int8 => Value::Int(i64::from_le_bytes(fields.fixed().map_err(malformed)?)),
            Form::UInt1 => Value::UInt(fields.byte().map_err(malformed)?.into()),
            Form::UInt2 => Value::UInt(fields.two().map_err(malformed)?.into()),
            Form::UInt4 => Value::UInt(fields.four().map_err(malformed)?.into()),
            Form::UInt8 => Value::UInt(u64::from_le_bytes(fields.fixed().map_err(malformed)?)),
            Form::Float => Value::Float(f32::from_le_bytes(fields.fixed().map_err(malformed)?)),
            Form::Double => Value::Double(f64::from_le_bytes(fields.fixed().map_err(malformed)?)),
            Form::Date | Form::DateTime | Form::Timestamp => {
                Value::Moment(temporal::moment(fields)?)
            }
            Form::Time { .. } => {
                let whole = *fields;
                fields.sized().map_err(malformed)?;
                Value::Time(whole)
            }
            Form::Decimal { .. } | Form::Bit | Form::Bits | Form::Text | Form::Bytes => {
                Value::Bytes(fields.sized().map_err(malformed)?)
            }
        };
        Ok(Some(value))
    }
}

/// Whatever number it is, as one that the column has.
fn narrow<N: TryFrom<T>, T>(value: T) -> Result<N, Wrong> {
    N::try_from(value).map_err(|_| Wrong::Malformed)
}

fn add(
    builder: &mut Builder,
    form: Form,
    value: Value<'_>,
    text: &mut String,
) -> Result<(), Wrong> {
    match (builder, value) {
        (Builder::Boolean(builder), Value::Int(value @ (0 | 1))) => {
            builder.append_value(value == 1)
        }
        (Builder::Boolean(_), Value::Int(_)) => return Err(Wrong::NotBoolean),
        (Builder::Boolean(builder), Value::Bytes([bit @ (0 | 1)])) => {
            builder.append_value(*bit == 1)
        }
        (Builder::Int8(builder), Value::Int(value)) => builder.append_value(narrow(value)?),
        (Builder::Int16(builder), Value::Int(value)) => builder.append_value(narrow(value)?),
        (Builder::Int32(builder), Value::Int(value)) => builder.append_value(narrow(value)?),
        (Builder::Int64(builder), Value::Int(value)) => builder.append_value(value),
        (Builder::UInt8(builder), Value::UInt(value)) => builder.append_value(narrow(value)?),
        (Builder::UInt16(builder), Value::UInt(value)) => builder.append_value(narrow(value)?),
        (Builder::UInt32(builder), Value::UInt(value)) => builder.append_value(narrow(value)?),
        (Builder::UInt64(builder), Value::UInt(value)) => builder.append_value(value),
        (Builder::UInt64(builder), Value::Bytes(bits)) if bits.len() <= 8 => {
            let value = bits.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
            builder.append_value(value);
        }
        (Builder::Float32(builder), Value::Float(value)) => builder.append_value(value),
        (Builder::Float64(builder), Value::Double(value)) => builder.append_value(value),
        (Builder::Decimal128(builder, scale), Value::Bytes(said)) => {
            let digits = digits(said, form, *scale)?;
            builder.append_value(digits.parse().map_err(|_| Wrong::TooLong)?);
        }
        (Builder::Decimal256(builder, scale), Value::Bytes(said)) => {
            let digits = digits(said, form, *scale)?;
            builder.append_value(i256::from_string(&digits).ok_or(Wrong::TooLong)?);
        }
        (Builder::Text(builder), Value::Bytes(said)) => {
            builder.append_value(std::str::from_utf8(said).map_err(|_| Wrong::NotText)?);
        }
        (Builder::Text(builder), Value::Time(mut fields)) => {
            let Form::Time { digits } = form else { return Err(Wrong::Malformed) };
            text.clear();
            temporal::time(&mut fields, digits, text)?;
            builder.append_value(&*text);
        }
        (Builder::Binary(builder), Value::Bytes(said)) => builder.append_value(said),
        (Builder::Date(builder), Value::Moment(moment)) => builder.append_value(moment.days()?),
        (Builder::Timestamp(builder), Value::Moment(moment)) => {
            builder.append_value(moment.micros()?);
        }
        _ => return Err(Wrong::Malformed),
    }
    Ok(())
}

/// All digits of a decimal, with as many behind the point as the column has, and without the point.
fn digits(said: &[u8], form: Form, scale: i8) -> Result<String, Wrong> {
    let Form::Decimal { precision, .. } = form else { return Err(Wrong::Malformed) };
    let said = std::str::from_utf8(said).map_err(|_| Wrong::Malformed)?;
    let (sign, bare) = match said.strip_prefix('-') {
        Some(bare) => ("-", bare),
        None => ("", said),
    };
    let (whole, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || whole.is_empty() && fraction.is_empty() {
        return Err(Wrong::Malformed);
    }
    let scale = usize::try_from(scale).map_err(|_| Wrong::Malformed)?;
    let (kept, more) = fraction.split_at(fraction.len().min(scale));
    let whole = whole.trim_start_matches('0');
    if more.bytes().any(|byte| byte != b'0') || whole.len() + scale > usize::from(precision) {
        return Err(Wrong::TooLong);
    }
    Ok(format!("{sign}{whole}{kept:0<scale$}")).map(|it| match it.as_str() {
        "" | "-" => "0".to_owned(),
        _ => it,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::AsArray as _;
    use datafusion::arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    const CENTS: Form = Form::Decimal { precision: 6, scale: 2 };

    fn decoder(forms: &[Form], wanted: &[usize]) -> Decoder {
        let name = |at: usize| format!("c{at}");
        let answered = forms.iter().enumerate();
        let answered =
            answered.map(|(at, form)| Answered { name: name(at), form: *form }).collect();
        let field = |at: &usize| Field::new(name(*at), forms[*at].data_type(), true);
        let schema = Arc::new(Schema::new(wanted.iter().map(field).collect::<Vec<_>>()));
        Decoder::new(
            answered,
            wanted.to_vec(),
            &[name(0)],
            (schema, 100),
            false,
            "model `m`".into(),
        )
    }

    #[test]
    fn every_digit_of_a_decimal_is_kept_or_it_does_not_fit() {
        let read = |said: &str| digits(said.as_bytes(), CENTS, 2);
        for (said, expected) in [
            ("1.50", "150"),
            ("-0.05", "-05"),
            ("12", "1200"),
            ("0", "00"),
            ("0.100", "10"),
            ("9999.99", "999999"),
        ] {
            assert_eq!(read(said).as_deref(), Ok(expected), "{said}");
        }
        for said in ["0.001", "10000", "99999.99"] {
            assert_eq!(read(said), Err(Wrong::TooLong), "{said}");
        }
        for said in ["", "-", "1e5", "1.2.3", "NaN", " 1", "."] {
            assert_eq!(read(said), Err(Wrong::Malformed), "{said}");
        }
        let none = Form::Decimal { precision: 1, scale: 0 };
        assert_eq!(digits(b"0", none, 0).as_deref(), Ok("0"));
    }

    #[test]
    fn columns_that_nobody_asked_for_are_passed_over() {
        let mut decoder =
            decoder(&[Form::Int8, Form::Text, Form::Int1, Form::Time { digits: 0 }], &[2, 0]);
        let mut packet = vec![0, 0b1000, 5, 0, 0, 0, 0, 0, 0, 0];
        packet.extend([7, 0]);
        decoder.row(&packet).unwrap();
        let batch = decoder.batch().unwrap();
        assert_eq!(batch.schema().field(0).name(), "c2");
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 5);
        assert!(decoder.batch().is_none());
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_column_and_its_row_and_without_itself() {
        let mut decoder = decoder(&[Form::UInt1, Form::Date, Form::Text], &[0, 1, 2]);
        let packet = [&[0, 0, 7, 4, 0, 0, 0, 0, 6][..], b"canary"].concat();
        let said = decoder.row(&packet).unwrap_err().to_string();
        assert!(said.contains("column `c1` of model `m`") && said.contains("`c0` is 7"), "{said}");
        assert!(said.contains("zero_dates: as_null") && !said.contains("canary"), "{said}");
        decoder.is_zero_date_null = true;
        decoder.row(&packet).unwrap();
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_a_row_or_an_error(packet in prop::collection::vec(any::<u8>(), 0..40)) {
            let forms = [CENTS, Form::Int4, Form::Timestamp, Form::Time { digits: 3 }, Form::Bits, Form::Bytes];
            let _ = decoder(&forms, &[0, 1, 2, 3, 4, 5]).row(&packet);
        }
    }
}
