//! What an Arrow IPC file says of itself, held against what it has, before a library is given it: that one takes lengths and
//! counts at their word.
//!
//! Invariants: what is let through names no byte outside of its message, has as many parts as its types ask for, and says of no
//! compressed part that it is longer than may be in memory, nor, by lz4, shorter than it is.

use std::io::Read as _;

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc;
use lz4_flex::frame::FrameDecoder;

use super::{MOST, Wrong};
use crate::domain::syncable::DEEPEST;

/// The columns, if all that is said of them makes sense.
pub(super) fn schema(said: ipc::Schema<'_>) -> Result<Schema, Wrong> {
    if said.endianness() != ipc::Endianness::Little {
        return Err(Wrong::BigEndian);
    }
    let fields = said.fields().ok_or(Wrong::Damaged)?;
    let mut names = std::collections::BTreeSet::new();
    for field in fields {
        let name = field.name().unwrap_or_default();
        if !is_known(field, DEEPEST) {
            return Err(Wrong::Column(name.to_owned()));
        }
        if !names.insert(name) {
            return Err(Wrong::Twice(name.to_owned()));
        }
    }
    let schema = ipc::convert::fb_to_schema(said);
    // What is said of the file as a whole is nothing of its rows.
    Ok(Schema::new(schema.fields))
}

/// Whether the library has a type for it.
fn is_known(field: ipc::Field<'_>, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    let is_width = |width: i32| matches!(width, 8 | 16 | 32 | 64);
    if let Some(dictionary) = field.dictionary()
        && !dictionary.indexType().is_some_and(|index| is_width(index.bitWidth()))
    {
        return false;
    }
    let children: Vec<ipc::Field<'_>> = field.children().into_iter().flatten().collect();
    let are_known = |count: usize| {
        children.len() == count && children.iter().all(|child| is_known(*child, levels))
    };
    let is_unit = |unit: ipc::TimeUnit| unit.variant_name().is_some();
    match field.type_type() {
        ipc::Type::Null
        | ipc::Type::Bool
        | ipc::Type::Binary
        | ipc::Type::BinaryView
        | ipc::Type::LargeBinary
        | ipc::Type::Utf8
        | ipc::Type::Utf8View
        | ipc::Type::LargeUtf8 => true,
        ipc::Type::Int => field.type_as_int().is_some_and(|it| is_width(it.bitWidth())),
        ipc::Type::FixedSizeBinary => {
            field.type_as_fixed_size_binary().is_some_and(|it| it.byteWidth() >= 0)
        }
        ipc::Type::FloatingPoint => {
            field.type_as_floating_point().is_some_and(|it| it.precision().variant_name().is_some())
        }
        ipc::Type::Date => {
            field.type_as_date().is_some_and(|it| it.unit().variant_name().is_some())
        }
        ipc::Type::Time => field.type_as_time().is_some_and(|it| {
            let units = match it.bitWidth() {
                32 => [ipc::TimeUnit::SECOND, ipc::TimeUnit::MILLISECOND],
                64 => [ipc::TimeUnit::MICROSECOND, ipc::TimeUnit::NANOSECOND],
                _ => return false,
            };
            units.contains(&it.unit())
        }),
        ipc::Type::Timestamp => field.type_as_timestamp().is_some_and(|it| is_unit(it.unit())),
        ipc::Type::Duration => field.type_as_duration().is_some_and(|it| is_unit(it.unit())),
        ipc::Type::Interval => {
            field.type_as_interval().is_some_and(|it| it.unit().variant_name().is_some())
        }
        ipc::Type::Decimal => field.type_as_decimal().is_some_and(|it| {
            let most = match it.bitWidth() {
                32 => 9,
                64 => 18,
                128 => 38,
                256 => 76,
                _ => return false,
            };
            (1..=most).contains(&it.precision()) && (-most..=most).contains(&it.scale())
        }),
        ipc::Type::List | ipc::Type::LargeList | ipc::Type::ListView | ipc::Type::LargeListView => {
            are_known(1)
        }
        ipc::Type::FixedSizeList => {
            field.type_as_fixed_size_list().is_some_and(|it| it.listSize() >= 0) && are_known(1)
        }
        ipc::Type::Struct_ => are_known(children.len()),
        ipc::Type::Map => {
            let is_pair = |entries: &ipc::Field<'_>| {
                entries.type_type() == ipc::Type::Struct_
                    && entries.dictionary().is_none()
                    && entries.children().is_some_and(|it| it.len() == 2)
            };
            field.type_as_map().is_some() && are_known(1) && children.iter().all(is_pair)
        }
        ipc::Type::RunEndEncoded => {
            let is_end = |ends: &ipc::Field<'_>| {
                ends.dictionary().is_none()
                    && ends.type_as_int().is_some_and(|it| it.is_signed() && it.bitWidth() > 8)
            };
            are_known(2) && children.first().is_some_and(is_end)
        }
        _ => false,
    }
}

/// Whether a batch of these columns is what it says it is, with what comes behind it.
pub(super) fn batch<'f>(
    fields: impl IntoIterator<Item = (&'f DataType, bool)>,
    batch: ipc::RecordBatch<'_>,
    body: &Buffer,
) -> Result<(), Wrong> {
    let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
        return Err(Wrong::Damaged);
    };
    let compression = batch.compression();
    let is_known = compression.is_none_or(|said| {
        matches!(said.codec(), ipc::CompressionType::LZ4_FRAME | ipc::CompressionType::ZSTD)
            && said.method() == ipc::BodyCompressionMethod::BUFFER
    });
    if !is_known {
        return Err(Wrong::Damaged);
    }
    let is_packed = compression.is_some();
    let mut plain = Vec::with_capacity(buffers.len());
    for buffer in buffers {
        plain.push(length(buffer, body, is_packed)?);
    }
    let sum = plain.iter().try_fold(0_u64, |sum, length| sum.checked_add(*length));
    if sum.is_none_or(|sum| sum > MOST) {
        return Err(Wrong::TooLarge);
    }
    let most = i64::try_from(MOST).unwrap_or(i64::MAX);
    let is_count = |count: i64| (0..=most).contains(&count);
    if !is_count(batch.length()) {
        return Err(Wrong::Damaged);
    }
    let nodes: Vec<(u64, bool)> = nodes
        .iter()
        .map(|node| {
            let (length, nulls) = (node.length(), node.null_count());
            let is_sound = is_count(length) && (0..=length).contains(&nulls);
            is_sound.then(|| (length.unsigned_abs(), nulls > 0)).ok_or(Wrong::Damaged)
        })
        .collect::<Result<_, Wrong>>()?;
    let variadic: Vec<i64> = batch.variadicBufferCounts().into_iter().flatten().collect();
    let mut parts = Parts { nodes: nodes.iter(), buffers: plain.iter(), variadic: variadic.iter() };
    for (field, is_read) in fields {
        let first = plain.len() - parts.buffers.len();
        parts.take(field)?;
        let taken = first..plain.len() - parts.buffers.len();
        if is_read && compression.is_some_and(|it| it.codec() == ipc::CompressionType::LZ4_FRAME) {
            for (buffer, plain) in buffers.iter().zip(&plain).skip(first).take(taken.len()) {
                if !unpacks_to(packed(buffer, body)?, *plain) {
                    return Err(Wrong::Damaged);
                }
            }
        }
    }
    let is_all = parts.nodes.next().is_none()
        && parts.buffers.next().is_none()
        && parts.variadic.next().is_none();
    is_all.then_some(()).ok_or(Wrong::Damaged)
}

/// Whether so many bytes come of a part that lz4 may have packed. The library makes of it whatever comes, and looks then.
fn unpacks_to(part: &[u8], plain: u64) -> bool {
    match part.split_first_chunk::<8>() {
        None => part.is_empty(),
        Some((said, _)) if matches!(i64::from_le_bytes(*said), -1 | 0) => true,
        Some((_, frame)) => {
            let mut most = FrameDecoder::new(frame).take(plain.saturating_add(1));
            std::io::copy(&mut most, &mut std::io::sink()).is_ok_and(|bytes| bytes == plain)
        }
    }
}

/// A part of the body.
fn packed<'b>(buffer: &ipc::Buffer, body: &'b Buffer) -> Result<&'b [u8], Wrong> {
    let place = |number: i64| usize::try_from(number).map_err(|_| Wrong::Damaged);
    let (from, length) = (place(buffer.offset())?, place(buffer.length())?);
    from.checked_add(length).and_then(|end| body.get(from..end)).ok_or(Wrong::Damaged)
}

/// How long a part of the body is once it is not compressed.
fn length(buffer: &ipc::Buffer, body: &Buffer, is_packed: bool) -> Result<u64, Wrong> {
    let part = packed(buffer, body)?;
    if !is_packed || part.is_empty() {
        return Ok(part.len() as u64);
    }
    let said = part.first_chunk::<8>().ok_or(Wrong::Damaged)?;
    match i64::from_le_bytes(*said) {
        // It is as it is, behind that.
        -1 => Ok(part.len() as u64 - 8),
        said => u64::try_from(said).map_err(|_| Wrong::Damaged),
    }
}

/// What is left of a batch's parts.
struct Parts<'p> {
    /// Rows, and whether some are NULL.
    nodes: std::slice::Iter<'p, (u64, bool)>,
    /// Bytes.
    buffers: std::slice::Iter<'p, u64>,
    variadic: std::slice::Iter<'p, i64>,
}

impl Parts<'_> {
    fn take(&mut self, kind: &DataType) -> Result<(), Wrong> {
        let (rows, has_nulls) = *self.nodes.next().ok_or(Wrong::Damaged)?;
        match kind {
            DataType::Null => return Ok(()),
            DataType::RunEndEncoded(ends, values) => {
                self.take(ends.data_type())?;
                return self.take(values.data_type());
            }
            _ => {}
        }
        let bits = self.buffers.next().ok_or(Wrong::Damaged)?;
        if has_nulls && bits.saturating_mul(8) < rows {
            return Err(Wrong::Damaged);
        }
        match kind {
            DataType::Struct(members) => {
                members.iter().try_for_each(|member| self.take(member.data_type()))
            }
            DataType::FixedSizeList(item, _) => self.take(item.data_type()),
            DataType::List(item) | DataType::Map(item, _) => {
                self.values(4)?;
                self.take(item.data_type())
            }
            DataType::LargeList(item) => {
                self.values(8)?;
                self.take(item.data_type())
            }
            DataType::ListView(item) => {
                self.values(4)?;
                self.values(4)?;
                self.take(item.data_type())
            }
            DataType::LargeListView(item) => {
                self.values(8)?;
                self.values(8)?;
                self.take(item.data_type())
            }
            DataType::Utf8 | DataType::Binary => {
                self.values(4)?;
                self.values(1)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.values(8)?;
                self.values(1)
            }
            DataType::Utf8View | DataType::BinaryView => {
                self.values(16)?;
                let more = *self.variadic.next().ok_or(Wrong::Damaged)?;
                // There are never more than buffers: the first that is not there ends it.
                (0..u64::try_from(more).map_err(|_| Wrong::Damaged)?)
                    .try_for_each(|_| self.values(1))
            }
            DataType::Dictionary(index, _) => self.values(index.primitive_width().unwrap_or(1)),
            other => self.values(other.primitive_width().unwrap_or(1)),
        }
    }

    /// The next buffer, which has values of so many bytes each.
    fn values(&mut self, width: usize) -> Result<(), Wrong> {
        let bytes = self.buffers.next().ok_or(Wrong::Damaged)?;
        bytes.is_multiple_of(width as u64).then_some(()).ok_or(Wrong::Damaged)
    }
}

/// The values of a dictionary with this number, by the columns that take from it.
pub(super) fn values(schema: &Schema, number: i64) -> Result<&DataType, Wrong> {
    #[expect(deprecated, reason = "nothing else tells which column takes from a dictionary")]
    let fields: Vec<&Field> = schema.fields_with_dict_id(number);
    match fields.first().map(|field| field.data_type()) {
        Some(DataType::Dictionary(_, values)) => Ok(values),
        _ => Err(Wrong::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_of_the_other_order_of_bytes_is_told_as_that() {
        // A schema without a column: where its table is, that table's fields, and the table, which has the order of bytes.
        let said = |endianness: u8| {
            let mut bytes = vec![16, 0, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 4, 0, 8, 0];
            bytes.extend([8, 0, 0, 0, endianness, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
            schema(ipc::root_as_schema(&bytes).unwrap()).map(|schema| schema.fields().len())
        };
        assert!(matches!(said(0), Ok(0)));
        let told = said(1).unwrap_err().told("t", "p.arrow").to_string();
        assert!(told.contains("the other order of bytes") && told.contains("p.arrow"), "{told}");
    }

    #[test]
    fn what_lz4_has_packed_is_held_to_the_length_that_it_says() {
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(&vec![7; 100_000]).unwrap();
        let frame = frame.finish().unwrap();
        let part = |said: i64| [&said.to_le_bytes()[..], &frame].concat();
        for (said, is_so) in [(100_000, true), (99_999, false), (100_001, false), (1, false)] {
            assert_eq!(unpacks_to(&part(said), said.unsigned_abs()), is_so, "{said}");
        }
        assert!(unpacks_to(&part(-1), 1) && unpacks_to(&[], 0) && !unpacks_to(b"short", 5));
        assert!(!unpacks_to(&part(100_000)[..100], 100_000), "it is cut");
    }
}
