//! From the fields of rows, as a binary COPY has them, to columns.
//!
//! Not responsible for which type comes how (`wire`), nor for finding the fields (`frames`). Invariants: whatever the server
//! sends, a value is exact or an error; an error names the column and never the value.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, ListArray, RecordBatch};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{Field, IntervalMonthDayNano, SchemaRef, i256};

use super::frames::Row;
use super::numeric::{self, Unfit};
use super::wire::{Asked, Wire};
use crate::domain::key::is_unshowable;
use crate::source::builders::{Builder, Filling};
use crate::source::error::Error;

/// Days from 1970-01-01, where days are counted from here, to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What of a value cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// The server does not say such values so.
    Malformed,
    /// It is not UTF-8.
    NotText,
    Infinite,
    NotANumber,
    /// It has more digits than any number here.
    TooLong,
    /// It is an array of more than one dimension.
    Dimensions,
    /// It lies outside of what times here reach to.
    TooFar,
}

/// Makes batches of rows.
pub struct Decoder {
    columns: Vec<Column>,
    filling: Filling,
    /// Where the columns are that name a row.
    keys: Vec<usize>,
    place: String,
}

struct Column {
    wire: Wire,
    /// Where each row's list ends among the values, if rows are lists.
    lists: Option<Lists>,
    /// Of what type the items of a list are, as the server numbers types.
    item: Option<u32>,
    builder: Builder,
    is_infinity_null: bool,
    text: String,
}

#[derive(Default)]
struct Lists {
    lengths: Vec<usize>,
    are_there: Vec<bool>,
}

impl Decoder {
    /// Of rows with these columns, of which the `primary_key` names a row; `place` is the model, for messages.
    pub fn new(
        asked: impl IntoIterator<Item = Asked>,
        schema: SchemaRef,
        primary_key: &[String],
        is_infinity_null: bool,
        most_rows: usize,
        place: String,
    ) -> Decoder {
        let column = |asked: Asked| Column {
            wire: asked.wire,
            lists: asked.is_list.then(Lists::default),
            item: asked.item,
            builder: Builder::new(&asked.wire.data_type()),
            is_infinity_null,
            text: String::new(),
        };
        Decoder {
            columns: asked.into_iter().map(column).collect(),
            keys: primary_key.iter().filter_map(|name| schema.index_of(name).ok()).collect(),
            filling: Filling::new(schema, most_rows),
            place,
        }
    }

    /// Takes a row of as many fields as there are columns.
    pub fn row(&mut self, row: Row<'_>) -> Result<(), Error> {
        let mut fields = self.columns.iter_mut().zip(row.fields()).enumerate();
        let mut bytes = 0;
        let wrong = fields.find_map(|(position, (column, field))| {
            let Some(field) = field else {
                column.null();
                return None;
            };
            bytes += field.len();
            column.add(field).err().map(|wrong| (position, wrong))
        });
        self.filling.row(bytes);
        wrong.map_or(Ok(()), |(position, wrong)| Err(self.misfit(position, wrong, row)))
    }

    /// Whether the rows so far are a batch.
    pub fn is_full(&self) -> bool {
        self.filling.is_full()
    }

    /// The rows since the last batch, if there are any.
    pub fn batch(&mut self) -> Option<RecordBatch> {
        self.filling.batch(|| self.columns.iter_mut().map(Column::finish).collect())
    }

    /// What names the row, as far as it can be said.
    fn key(&self, row: Row<'_>) -> Option<String> {
        const LONGEST: usize = 64;
        let mut said = Vec::with_capacity(self.keys.len());
        for position in &self.keys {
            let column = &self.columns[*position];
            let field = row.fields().nth(*position).flatten().filter(|_| column.lists.is_none());
            let Some(value) = field.and_then(|field| said_of(column.wire, field)) else { continue };
            let mut shown = String::new();
            for character in value.chars().take(LONGEST) {
                match is_unshowable(character) {
                    true => shown.extend(character.escape_unicode()),
                    false => shown.push(character),
                }
            }
            if value.chars().nth(LONGEST).is_some() {
                shown.push_str("..");
            }
            said.push(format!("`{}` is {shown}", self.filling.schema.field(*position).name()));
        }
        (!said.is_empty()).then(|| format!(", in the row where {},", said.join(" and ")))
    }

    fn misfit(&self, column: usize, wrong: Wrong, row: Row<'_>) -> Error {
        let (name, place) = (self.filling.schema.field(column).name(), &self.place);
        let is_temporal = self.columns[column].is_temporal();
        let said = match wrong {
            Wrong::Malformed => {
                let what = "a value that is not of its type";
                return Error::Damaged(format!(
                    "the server sent {what} in column `{name}` of {place}; it does not speak as PostgreSQL does"
                ));
            }
            Wrong::NotText => "text that is not UTF-8; convert it with `convert_from`".to_owned(),
            Wrong::Infinite if is_temporal => format!(
                "`infinity`, which no destination knows; write `nullif(nullif({name}, 'infinity'), '-infinity')`, or \
                 `infinity: as_null` at the source"
            ),
            Wrong::Infinite => {
                format!(
                    "`Infinity`, which is no number in JSON; write `nullif({name}, 'Infinity')`"
                )
            }
            Wrong::NotANumber => {
                format!("`NaN`, which is no number in JSON; write `nullif({name}, 'NaN')`")
            }
            Wrong::TooLong => format!(
                "a number with more than 38 digits before or behind its point; cast it: `{name}::text`, or to a \
                 `numeric(p,s)`"
            ),
            Wrong::Dimensions => {
                format!("an array of several dimensions; write `to_jsonb({name})`")
            }
            Wrong::TooFar => {
                format!("a time that is too far away to be kept; cast it: `{name}::text`")
            }
        };
        let key = self.key(row).unwrap_or_default();
        Error::Misfit(format!("column `{name}` of {place} has{key} {said}"))
    }
}

impl Column {
    fn null(&mut self) {
        match &mut self.lists {
            Some(lists) => {
                lists.lengths.push(0);
                lists.are_there.push(false);
            }
            None => self.null_value(),
        }
    }

    fn null_value(&mut self) {
        self.builder.null();
    }

    fn finish(&mut self) -> ArrayRef {
        let values = self.builder.finish();
        let Some(lists) = self.lists.as_mut().map(std::mem::take) else { return values };
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lists.lengths);
        Arc::new(ListArray::new(item, offsets, values, Some(lists.are_there.into())))
    }

    fn add(&mut self, field: &[u8]) -> Result<(), Wrong> {
        if self.lists.is_none() {
            return self.add_value(field);
        }
        let (count, mut items) = items(field, self.item)?;
        let mut length = 0;
        while let Some((size, rest)) = items.split_first_chunk::<4>() {
            items = rest;
            length += 1;
            match i32::from_be_bytes(*size) {
                -1 => self.null_value(),
                size => {
                    let size = usize::try_from(size).map_err(|_| Wrong::Malformed)?;
                    let (item, rest) = items.split_at_checked(size).ok_or(Wrong::Malformed)?;
                    items = rest;
                    self.add_value(item)?;
                }
            }
        }
        if length != count {
            return Err(Wrong::Malformed);
        }
        if let Some(lists) = &mut self.lists {
            lists.lengths.push(length);
            lists.are_there.push(true);
        }
        Ok(())
    }

    fn add_value(&mut self, field: &[u8]) -> Result<(), Wrong> {
        match self.add_finite(field) {
            Err(Wrong::Infinite) if self.is_infinity_null && self.is_temporal() => {
                self.null_value();
                Ok(())
            }
            added => added,
        }
    }

    fn is_temporal(&self) -> bool {
        matches!(self.wire, Wire::Date | Wire::Timestamp | Wire::TimestampTz | Wire::Interval)
    }

    fn add_finite(&mut self, field: &[u8]) -> Result<(), Wrong> {
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_value(fixed::<1>(field)? != [0]),
            Builder::Int16(builder) => builder.append_value(i16::from_be_bytes(fixed(field)?)),
            Builder::Int32(builder) => builder.append_value(i32::from_be_bytes(fixed(field)?)),
            Builder::Int64(builder) => builder.append_value(i64::from_be_bytes(fixed(field)?)),
            Builder::UInt32(builder) => builder.append_value(u32::from_be_bytes(fixed(field)?)),
            Builder::UInt64(builder) => builder.append_value(u64::from_be_bytes(fixed(field)?)),
            Builder::Float32(builder) => builder.append_value(f32::from_be_bytes(fixed(field)?)),
            Builder::Float64(builder) => builder.append_value(f64::from_be_bytes(fixed(field)?)),
            Builder::Decimal128(builder, scale) => {
                let units = units(field, *scale)?.to_i128();
                builder.append_value(units.ok_or(Wrong::TooLong)?);
            }
            Builder::Decimal256(builder, scale) => builder.append_value(units(field, *scale)?),
            Builder::Binary(builder) => builder.append_value(field),
            Builder::Date(builder) => builder.append_value(date(fixed(field)?)?),
            Builder::Time(builder) => builder.append_value(i64::from_be_bytes(fixed(field)?)),
            Builder::Timestamp(builder) => builder.append_value(timestamp(fixed(field)?)?),
            Builder::Interval(builder) => builder.append_value(interval(field)?),
            Builder::Int8(_) | Builder::UInt8(_) | Builder::UInt16(_) => {
                return Err(Wrong::Malformed);
            }
            Builder::Text(builder) => match self.wire {
                Wire::Text => builder.append_value(text(field)?),
                Wire::Jsonb => match field {
                    [1, field @ ..] => builder.append_value(text(field)?),
                    _ => return Err(Wrong::Malformed),
                },
                wire => {
                    self.text.clear();
                    print(wire, field, &mut self.text)?;
                    builder.append_value(&self.text);
                }
            },
        }
        Ok(())
    }
}

/// How many items an array of one dimension has, and those, each with its length before it. Where it begins to count is lost.
/// `item` is the type that they have to be of, if that is known.
fn items(field: &[u8], item: Option<u32>) -> Result<(usize, &[u8]), Wrong> {
    let word = |at: usize| -> Result<i32, Wrong> {
        Ok(i32::from_be_bytes(fixed(field.get(at..at + 4).ok_or(Wrong::Malformed)?)?))
    };
    if item.is_some_and(|item| word(8).map(i32::cast_unsigned) != Ok(item)) {
        return Err(Wrong::Malformed);
    }
    match word(0)? {
        0 if field.len() == 12 => Ok((0, &[])),
        1 => {
            let count = usize::try_from(word(12)?).map_err(|_| Wrong::Malformed)?;
            Ok((count, field.get(20..).ok_or(Wrong::Malformed)?))
        }
        2.. => Err(Wrong::Dimensions),
        _ => Err(Wrong::Malformed),
    }
}

fn fixed<const N: usize>(field: &[u8]) -> Result<[u8; N], Wrong> {
    field.try_into().map_err(|_| Wrong::Malformed)
}

fn text(field: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(field).map_err(|_| Wrong::NotText)
}

fn units(field: &[u8], scale: i8) -> Result<i256, Wrong> {
    numeric::units(field, scale).map_err(|unfit| match unfit {
        Unfit::NotANumber => Wrong::NotANumber,
        Unfit::Infinite => Wrong::Infinite,
        Unfit::TooLong => Wrong::TooLong,
        Unfit::Malformed => Wrong::Malformed,
    })
}

fn date(field: [u8; 4]) -> Result<i32, Wrong> {
    match i32::from_be_bytes(field) {
        i32::MIN | i32::MAX => Err(Wrong::Infinite),
        days => days.checked_add(EPOCH_DAYS).ok_or(Wrong::TooFar),
    }
}

fn timestamp(field: [u8; 8]) -> Result<i64, Wrong> {
    match i64::from_be_bytes(field) {
        i64::MIN | i64::MAX => Err(Wrong::Infinite),
        micros => micros.checked_add(EPOCH_MICROS).ok_or(Wrong::TooFar),
    }
}

fn interval(field: &[u8]) -> Result<IntervalMonthDayNano, Wrong> {
    let field: [u8; 16] = fixed(field)?;
    let micros = i64::from_be_bytes(fixed(&field[..8])?);
    let days = i32::from_be_bytes(fixed(&field[8..12])?);
    let months = i32::from_be_bytes(fixed(&field[12..])?);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) | (i64::MIN, i32::MIN, i32::MIN) => Err(Wrong::Infinite),
        _ => {
            let nanos = micros.checked_mul(1_000).ok_or(Wrong::TooFar)?;
            Ok(IntervalMonthDayNano::new(months, days, nanos))
        }
    }
}

/// A part of a key, for people.
fn said_of(wire: Wire, field: &[u8]) -> Option<String> {
    Some(match wire {
        Wire::Int2 => i16::from_be_bytes(fixed(field).ok()?).to_string(),
        Wire::Int4 => i32::from_be_bytes(fixed(field).ok()?).to_string(),
        Wire::Int8 => i64::from_be_bytes(fixed(field).ok()?).to_string(),
        Wire::Oid => u32::from_be_bytes(fixed(field).ok()?).to_string(),
        Wire::Text => text(field).ok()?.to_owned(),
        wire => {
            let mut printed = String::new();
            print(wire, field, &mut printed).ok()?;
            printed
        }
    })
}

/// Values that are text here, as the server prints them, with the minutes of every offset.
fn print(wire: Wire, field: &[u8], out: &mut String) -> Result<(), Wrong> {
    match wire {
        Wire::Uuid => {
            for (position, byte) in fixed::<16>(field)?.iter().enumerate() {
                if matches!(position, 4 | 6 | 8 | 10) {
                    out.push('-');
                }
                put(out, format_args!("{byte:02x}"));
            }
        }
        Wire::MacAddr => {
            if !matches!(field.len(), 6 | 8) {
                return Err(Wrong::Malformed);
            }
            for (position, byte) in field.iter().enumerate() {
                let between = if position == 0 { "" } else { ":" };
                put(out, format_args!("{between}{byte:02x}"));
            }
        }
        Wire::Byte => match fixed::<1>(field)? {
            [0] => {}
            [byte] if byte < 0x80 => out.push(char::from(byte)),
            [byte] => put(out, format_args!("\\{byte:03o}")),
        },
        Wire::Bits => {
            let (count, bytes) = field.split_first_chunk::<4>().ok_or(Wrong::Malformed)?;
            let count = usize::try_from(i32::from_be_bytes(*count));
            let count = count.map_err(|_| Wrong::Malformed)?;
            if bytes.len() != count.div_ceil(8) {
                return Err(Wrong::Malformed);
            }
            let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1 == 1;
            out.extend((0..count).map(|at| if bit(at) { '1' } else { '0' }));
        }
        Wire::Inet => inet(field, out)?,
        Wire::TimeTz => time_with_offset(field, out)?,
        _ => return Err(Wrong::Malformed),
    }
    Ok(())
}

fn inet(field: &[u8], out: &mut String) -> Result<(), Wrong> {
    let [_, bits, is_cidr, _, address @ ..] = field else { return Err(Wrong::Malformed) };
    let full = match address.len() {
        4 => {
            put(out, format_args!("{}", Ipv4Addr::from(fixed::<4>(address)?)));
            32
        }
        _ => {
            put(out, format_args!("{}", Ipv6Addr::from(fixed::<16>(address)?)));
            128
        }
    };
    if *is_cidr != 0 || *bits != full {
        put(out, format_args!("/{bits}"));
    }
    Ok(())
}

fn time_with_offset(field: &[u8], out: &mut String) -> Result<(), Wrong> {
    let field: [u8; 12] = fixed(field)?;
    let micros = i64::from_be_bytes(fixed(&field[..8])?);
    // Seconds to the west.
    let west = i32::from_be_bytes(fixed(&field[8..])?);
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if micros < 0 {
        return Err(Wrong::Malformed);
    }
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if fraction > 0 {
        put(out, format_args!(".{fraction:06}"));
        out.truncate(out.trim_end_matches('0').len());
    }
    let (sign, offset) = (if west > 0 { '-' } else { '+' }, west.unsigned_abs());
    put(out, format_args!("{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60));
    if offset % 60 > 0 {
        put(out, format_args!(":{:02}", offset % 60));
    }
    Ok(())
}

fn put(out: &mut String, said: std::fmt::Arguments<'_>) {
    out.write_fmt(said).expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_as_many_items_as_it_says_of_the_type_that_it_says() {
        let array = |words: &[i32], items: &[u8]| {
            [&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>()[..], items]
                .concat()
        };
        let one = [0, 0, 0, 4, 0, 0, 0, 7];
        let added = |field: &[u8]| {
            let asked = super::super::wire::asked(&tokio_postgres::types::Type::INT4_ARRAY, -1);
            let asked = asked.expect("it is known");
            let field_of = Field::new("a", asked.data_type(), true);
            let schema = Arc::new(datafusion::arrow::datatypes::Schema::new(vec![field_of]));
            let mut decoder = Decoder::new([asked], schema, &[], false, 9, String::new());
            decoder.columns[0].add(field)
        };
        assert_eq!(added(&array(&[1, 0, 23, 1, 1], &one)), Ok(()));
        assert_eq!(added(&array(&[0, 0, 23], &[])), Ok(()));
        for (words, items) in [
            (&[1, 0, 23, 2, 1][..], &one[..]),
            (&[1, 0, 23, 0, 1], &one),
            (&[1, 0, 23, -1, 1], &one),
            (&[1, 0, 25, 1, 1], &one),
            (&[0, 0, 23], &one),
            (&[-1, 0, 23, 1, 1], &one),
        ] {
            assert_eq!(added(&array(words, items)), Err(Wrong::Malformed), "{words:?}");
        }
        assert_eq!(added(&array(&[2, 0, 23, 1, 1, 1, 1], &one)), Err(Wrong::Dimensions));
    }
}
