//! The Arrow types that the source can yield: arrays of them made from cells, and which other types carry the same
//! values. What is nested is `nested`'s.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BinaryViewArray, BooleanArray, DictionaryArray,
    FixedSizeBinaryArray, Float16Array, Float32Array, Float64Array, IntervalDayTimeArray,
    IntervalYearMonthArray, LargeBinaryArray, LargeStringArray, PrimitiveArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::DataType::{self, *};
use arrow::datatypes::*;

use super::cell::{Cell, SECOND};
use super::nested;

/// Every type of scalars, in groups of those that can carry the same values. A group's members are told apart by nothing
/// but their width, unit, zone, scale or layout.
pub fn families() -> Vec<Vec<DataType>> {
    let text_dictionary = Dictionary(Box::new(Int32), Box::new(Utf8));
    let zoned = |unit, zone: &str| Timestamp(unit, Some(zone.into()));
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    vec![
        vec![Boolean],
        vec![Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64],
        vec![Float16, Float32, Float64],
        vec![
            Decimal128(38, 0),
            Decimal128(20, 2),
            Decimal128(38, 37),
            Decimal256(76, 10),
            Decimal32(9, 2),
            Decimal64(18, 5),
        ],
        vec![Utf8, LargeUtf8, Utf8View, text_dictionary],
        vec![Binary, LargeBinary, BinaryView, FixedSizeBinary(3)],
        vec![Date32, Date64],
        vec![Time32(Second), Time32(Millisecond), Time64(Microsecond), Time64(Nanosecond)],
        vec![
            Timestamp(Second, None),
            Timestamp(Millisecond, None),
            Timestamp(Microsecond, None),
            Timestamp(Nanosecond, None),
        ],
        vec![
            zoned(Second, "UTC"),
            zoned(Millisecond, "+05:30"),
            zoned(Microsecond, "America/New_York"),
            zoned(Nanosecond, "Europe/Berlin"),
        ],
        vec![Duration(Second), Duration(Millisecond), Duration(Microsecond), Duration(Nanosecond)],
        vec![Interval(IntervalUnit::YearMonth), Interval(IntervalUnit::DayTime)],
    ]
}

/// The types that a key may have.
pub fn scalars() -> Vec<DataType> {
    families().into_iter().flatten().collect()
}

pub fn all() -> Vec<DataType> {
    families().into_iter().chain(nested::families()).flatten().collect()
}

/// The types that carry the same values as this one, itself included.
pub fn family(data_type: &DataType) -> Vec<DataType> {
    let mut families = families().into_iter().chain(nested::families());
    let found = families.find(|family| family.contains(data_type));
    found.expect("every type is in a family")
}

/// Compares what was sent with the cell it was made from.
pub fn check(cell: &Cell, data_type: &DataType, json: &str) -> Result<(), String> {
    match data_type {
        Timestamp(_, Some(_)) => cell.check_zoned(json),
        nested if nested.is_nested() => nested::check(cell, nested, json),
        _ => cell.check(data_type, json),
    }
}

/// The cell as a column of this type carries it; `None` if it cannot.
pub fn carried(cell: &Cell, data_type: &DataType) -> Option<Cell> {
    match (cell, data_type) {
        (Cell::Decimal { .. }, _) => {
            let digits = digits(cell, data_type)?;
            let scale = usize::try_from(scale(data_type)).ok()?;
            Some(Cell::Decimal { digits, scale })
        }
        (_, nested) if nested.is_nested() => nested::carried(cell, nested),
        _ => array(data_type, std::slice::from_ref(cell)).map(|_| cell.clone()),
    }
}

/// A column of these cells; `None` if one of them does not fit.
pub fn array(data_type: &DataType, cells: &[Cell]) -> Option<ArrayRef> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    Some(match data_type {
        Boolean => Arc::new(BooleanArray::from(optional(cells, |cell| match cell {
            Cell::Boolean(boolean) => Some(*boolean),
            _ => None,
        })?)),
        Int8 => whole::<Int8Type>(data_type, cells)?,
        Int16 => whole::<Int16Type>(data_type, cells)?,
        Int32 => whole::<Int32Type>(data_type, cells)?,
        Int64 => whole::<Int64Type>(data_type, cells)?,
        UInt8 => whole::<UInt8Type>(data_type, cells)?,
        UInt16 => whole::<UInt16Type>(data_type, cells)?,
        UInt32 => whole::<UInt32Type>(data_type, cells)?,
        UInt64 => whole::<UInt64Type>(data_type, cells)?,
        Decimal32(..) => whole::<Decimal32Type>(data_type, cells)?,
        Decimal64(..) => whole::<Decimal64Type>(data_type, cells)?,
        Decimal128(..) => whole::<Decimal128Type>(data_type, cells)?,
        Date32 => whole::<Date32Type>(data_type, cells)?,
        Date64 => whole::<Date64Type>(data_type, cells)?,
        Time32(Second) => whole::<Time32SecondType>(data_type, cells)?,
        Time32(_) => whole::<Time32MillisecondType>(data_type, cells)?,
        Time64(Microsecond) => whole::<Time64MicrosecondType>(data_type, cells)?,
        Time64(_) => whole::<Time64NanosecondType>(data_type, cells)?,
        Timestamp(Second, _) => whole::<TimestampSecondType>(data_type, cells)?,
        Timestamp(Millisecond, _) => whole::<TimestampMillisecondType>(data_type, cells)?,
        Timestamp(Microsecond, _) => whole::<TimestampMicrosecondType>(data_type, cells)?,
        Timestamp(Nanosecond, _) => whole::<TimestampNanosecondType>(data_type, cells)?,
        Duration(Second) => whole::<DurationSecondType>(data_type, cells)?,
        Duration(Millisecond) => whole::<DurationMillisecondType>(data_type, cells)?,
        Duration(Microsecond) => whole::<DurationMicrosecondType>(data_type, cells)?,
        Duration(Nanosecond) => whole::<DurationNanosecondType>(data_type, cells)?,
        Decimal256(..) => {
            let read = |cell: &Cell| i256::from_string(&digits(cell, data_type)?);
            let numbers = PrimitiveArray::<Decimal256Type>::from_iter(optional(cells, read)?);
            Arc::new(numbers.with_data_type(data_type.clone()))
        }
        Float16 => Arc::new(Float16Array::from_iter(optional(cells, |cell| {
            let half = <Float16Type as ArrowPrimitiveType>::Native::from_f64(float(cell)?);
            (half.to_f64().to_bits() == float(cell)?.to_bits()).then_some(half)
        })?)),
        Float32 => Arc::new(Float32Array::from_iter(optional(cells, |cell| {
            let narrow = narrowed(float(cell)?);
            (f64::from(narrow).to_bits() == float(cell)?.to_bits()).then_some(narrow)
        })?)),
        Float64 => Arc::new(Float64Array::from_iter(optional(cells, float)?)),
        Utf8 => Arc::new(StringArray::from(optional(cells, text)?)),
        LargeUtf8 => Arc::new(LargeStringArray::from(optional(cells, text)?)),
        Utf8View => Arc::new(StringViewArray::from(optional(cells, text)?)),
        Dictionary(..) => {
            Arc::new(optional(cells, text)?.into_iter().collect::<DictionaryArray<Int32Type>>())
        }
        Binary => Arc::new(BinaryArray::from(optional(cells, bytes)?)),
        LargeBinary => Arc::new(LargeBinaryArray::from(optional(cells, bytes)?)),
        BinaryView => Arc::new(BinaryViewArray::from(optional(cells, bytes)?)),
        FixedSizeBinary(width) => {
            let width = usize::try_from(*width).expect("a width");
            let of_width = |cell| bytes(cell).filter(|bytes| bytes.len() == width);
            let rows = optional(cells, of_width)?.into_iter();
            let width = i32::try_from(width).expect("it was one");
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, width).ok()?)
        }
        Interval(IntervalUnit::YearMonth) => {
            Arc::new(IntervalYearMonthArray::from_iter(optional(cells, |cell| match cell {
                Cell::Interval { months, days: 0, nanoseconds: 0 } => Some(*months),
                _ => None,
            })?))
        }
        Interval(IntervalUnit::DayTime) => {
            Arc::new(IntervalDayTimeArray::from_iter(optional(cells, |cell| match cell {
                Cell::Interval { months: 0, days, nanoseconds } if nanoseconds % 1_000_000 == 0 => {
                    let milliseconds = i32::try_from(nanoseconds / 1_000_000).ok()?;
                    Some(IntervalDayTime { days: *days, milliseconds })
                }
                _ => None,
            })?))
        }
        nested => nested::array(nested, cells)?,
    })
}

/// NULL stays NULL; `None` if a cell is of another kind or too large.
fn optional<'c, T>(
    cells: &'c [Cell],
    read: impl Fn(&'c Cell) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    let one = |cell| match cell {
        &Cell::Null => Some(None),
        cell => read(cell).map(Some),
    };
    cells.iter().map(one).collect()
}

/// A column of whole numbers of the type's unit.
fn whole<T: ArrowPrimitiveType>(data_type: &DataType, cells: &[Cell]) -> Option<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let read = |cell: &Cell| T::Native::try_from(units(cell, data_type)?).ok();
    let numbers = PrimitiveArray::<T>::from_iter(optional(cells, read)?);
    Some(Arc::new(numbers.with_data_type(data_type.clone())))
}

fn units(cell: &Cell, data_type: &DataType) -> Option<i128> {
    let nanoseconds = match cell {
        Cell::Integer(integer) => return Some(*integer),
        Cell::Decimal { .. } => return digits(cell, data_type)?.parse().ok(),
        Cell::Date(day) if *data_type == Date64 => {
            return Some(i128::from(day.number()) * 86_400_000);
        }
        Cell::Date(day) => return Some(i128::from(day.number())),
        Cell::Time(nanoseconds) | Cell::Duration(nanoseconds) => *nanoseconds,
        cell => cell.instant()?,
    };
    let unit = match data_type {
        Time32(unit) | Time64(unit) | Duration(unit) | Timestamp(unit, _) => nanoseconds_of(*unit),
        _ => return None,
    };
    (nanoseconds % unit == 0).then_some(nanoseconds / unit)
}

pub fn nanoseconds_of(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn scale(data_type: &DataType) -> i8 {
    decimal(data_type).1
}

pub fn decimal(data_type: &DataType) -> (u8, i8) {
    match data_type {
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => (*precision, *scale),
        other => unreachable!("{other} is no decimal"),
    }
}

/// The digits of a decimal at the scale of the type, if they fit its precision.
fn digits(cell: &Cell, data_type: &DataType) -> Option<String> {
    let Cell::Decimal { digits, scale } = cell else { return None };
    let (precision, wanted) = decimal(data_type);
    let wanted = usize::try_from(wanted).ok()?;
    let mut digits = digits.clone();
    for _ in *scale..wanted {
        digits.push('0');
    }
    for _ in wanted..*scale {
        if digits != "0" && digits.pop() != Some('0') {
            return None;
        }
    }
    let sign = if digits.starts_with('-') { "-" } else { "" };
    let bare = digits.trim_start_matches('-').trim_start_matches('0');
    let digits = if bare.is_empty() { "0".to_owned() } else { format!("{sign}{bare}") };
    (bare.len() <= usize::from(precision)).then_some(digits)
}

fn float(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Float(float) => Some(*float),
        _ => None,
    }
}

fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn bytes(cell: &Cell) -> Option<&[u8]> {
    match cell {
        Cell::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whether anything was lost is checked")]
fn narrowed(float: f64) -> f32 {
    float as f32
}
