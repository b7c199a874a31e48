//! A column of a record batch, seen as [`Value`]s. The one place that knows how each of Arrow's types carries them; which
//! types there may be is `syncable`'s.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
    LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, MapArray, PrimitiveArray,
    StringArray, StringViewArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use super::nested::{Entries, Items, Members};
use super::value::Value;

const SECOND: i128 = 1_000_000_000;
const MILLISECOND: i128 = 1_000_000;
const MICROSECOND: i128 = 1_000;

/// What is done with each value of a column. Where `visit` is always inlined, the loop of each type is left with what
/// matters to values of that type; a closure of this size would be called for each row.
pub trait Visitor {
    fn visit(&mut self, row: usize, value: Value<'_>);
}

/// One line for each Arrow type: the variant, what its array holds (of numbers) or the array that carries it, the pattern of its
/// [`DataType`], of numbers what beside an element makes its [`Value`] (of others how the array is had from an
/// [`ArrayRef`]), and how one element becomes a [`Value`]: of nested types by its row, as taking it out would copy.
macro_rules! columns {
    (
        numbers {$($number:ident($type:ty), $of_number:pat, $scale:expr,
            |$element:ident, $context:ident| $counted:expr;)*}
        others {$($other:ident($array:ty), $of_other:pat => $typed:expr, |$item:ident| $shown:expr;)*}
        nested {$($nested:ident($of_parts:ty), $of_nested:pat => $cast:expr, $made:expr;)*}
    ) => {
        /// A typed view of one column. Making one is cheap; the type is matched once, not for each row.
        pub enum Column<'a> {
            /// The column of type `Null`, by its length.
            Null(usize),
            $($number(&'a PrimitiveArray<$type>, i8),)*
            $($other(&'a $array),)*
            $($nested(&'a $of_parts),)*
        }

        impl<'a> Column<'a> {
            /// `None` for types that cannot be synced, and for those that the source unpacks: dictionaries, runs and views of
            /// lists. What the parts of a nested type are is not looked at.
            pub fn new(array: &'a ArrayRef) -> Option<Column<'a>> {
                Some(match array.data_type() {
                    DataType::Null => Column::Null(array.len()),
                    $($of_number => Column::$number(array.as_primitive(), $scale),)*
                    $($of_other => Column::$other(($typed)(array)),)*
                    $($of_nested => Column::$nested(($cast)(array)),)*
                    _ => return None,
                })
            }

            /// The value of one row, counted from 0.
            #[inline]
            pub fn value(&self, row: usize) -> Value<'a> {
                match self {
                    Column::Null(_) => Value::Null,
                    $(Column::$number(array, scale) => {
                        if array.is_null(row) {
                            return Value::Null;
                        }
                        let ($element, $context) = (array.value(row), *scale);
                        let _ = $context;
                        $counted
                    })*
                    $(Column::$other(array) => {
                        if array.is_null(row) {
                            return Value::Null;
                        }
                        let $item = array.value(row);
                        $shown
                    })*
                    $(Column::$nested(array) => {
                        if array.is_null(row) {
                            return Value::Null;
                        }
                        ($made)(array, row)
                    })*
                }
            }

            /// Which rows are NULL, where any is; of a column of type `Null` nothing is said.
            pub fn nulls(&self) -> Option<&'a NullBuffer> {
                let nulls = match self {
                    Column::Null(_) => None,
                    $(Column::$number(array, _) => (*array).nulls(),)*
                    $(Column::$other(array) => (*array).nulls(),)*
                    $(Column::$nested(array) => (*array).nulls(),)*
                };
                nulls.filter(|nulls| nulls.null_count() > 0)
            }

            /// Replaces `words` by those of the values of as many rows from `first` on, and returns their kind, where all
            /// are numbers of one kind ([`Value::word`]). What stands there for a row that is NULL means nothing. The loop
            /// of each type is made for a compiler that can do several rows at once.
            #[inline(always)]
            pub fn words(&self, first: usize, words: &mut [u64]) -> Option<u16> {
                match self {
                    $(Column::$number(array, scale) => {
                        let $context = *scale;
                        let _ = $context;
                        let elements = array.values().get(first..first + words.len())?;
                        let ($element, mut is_one_kind) = (*elements.first()?, true);
                        let (kind, _) = $counted.word()?;
                        for (word, element) in words.iter_mut().zip(elements) {
                            let $element = *element;
                            match $counted.word() {
                                Some((its, it)) => {
                                    is_one_kind &= its == kind;
                                    *word = it;
                                }
                                None => is_one_kind = false,
                            }
                        }
                        is_one_kind.then_some(kind)
                    })*
                    Column::Boolean(array) => {
                        let (kind, _) = Value::Boolean(false).word()?;
                        for (word, row) in words.iter_mut().zip(first..) {
                            *word = u64::from(array.value(row));
                        }
                        Some(kind)
                    }
                    _ => None,
                }
            }

            /// Shows every row in order, in a loop compiled for the column's type.
            #[inline]
            pub fn visit(&self, visitor: &mut impl Visitor) {
                let nulls = self.nulls();
                let is_null = |row| nulls.is_some_and(|nulls| nulls.is_null(row));
                match self {
                    Column::Null(length) => {
                        (0..*length).for_each(|row| visitor.visit(row, Value::Null));
                    }
                    $(Column::$number(array, scale) => {
                        let $context = *scale;
                        let _ = $context;
                        for (row, $element) in array.values().iter().copied().enumerate() {
                            visitor.visit(row, if is_null(row) { Value::Null } else { $counted });
                        }
                    })*
                    $(Column::$other(array) => {
                        for row in 0..array.len() {
                            if is_null(row) {
                                visitor.visit(row, Value::Null);
                            } else {
                                let $item = array.value(row);
                                visitor.visit(row, $shown);
                            }
                        }
                    })*
                    $(Column::$nested(array) => {
                        for row in 0..array.len() {
                            visitor.visit(row, self.value(row));
                        }
                    })*
                }
            }
        }
    };
}

columns! {
    numbers {
        Int8(Int8Type), DataType::Int8, 0, |v, _c| Value::Integer(i64::from(v));
        Int16(Int16Type), DataType::Int16, 0, |v, _c| Value::Integer(i64::from(v));
        Int32(Int32Type), DataType::Int32, 0, |v, _c| Value::Integer(i64::from(v));
        Int64(Int64Type), DataType::Int64, 0, |v, _c| Value::Integer(v);
        UInt8(UInt8Type), DataType::UInt8, 0, |v, _c| Value::Integer(i64::from(v));
        UInt16(UInt16Type), DataType::UInt16, 0, |v, _c| Value::Integer(i64::from(v));
        UInt32(UInt32Type), DataType::UInt32, 0, |v, _c| Value::Integer(i64::from(v));
        UInt64(UInt64Type), DataType::UInt64, 0, |v, _c| unsigned(v);
        Float16(Float16Type), DataType::Float16, 0, |v, _c| Value::Float32(v.to_f32());
        Float32(Float32Type), DataType::Float32, 0, |v, _c| Value::Float32(v);
        Float64(Float64Type), DataType::Float64, 0, |v, _c| Value::Float64(v);
        Decimal32(Decimal32Type), DataType::Decimal32(_, scale), *scale,
            |v, scale| decimal(i256::from_i128(i128::from(v)), scale);
        Decimal64(Decimal64Type), DataType::Decimal64(_, scale), *scale,
            |v, scale| decimal(i256::from_i128(i128::from(v)), scale);
        Decimal128(Decimal128Type), DataType::Decimal128(_, scale), *scale,
            |v, scale| decimal(i256::from_i128(v), scale);
        // Any number has room there: its scale is nobody's choice, as that of a column's type is.
        AnyDecimal(Decimal256Type), DataType::Decimal256(76, 38), 38, |v, scale| Value::decimal_in_short(v, scale);
        Decimal256(Decimal256Type), DataType::Decimal256(_, scale), *scale, |v, scale| decimal(v, scale);
        Date32(Date32Type), DataType::Date32, 0, |v, _c| Value::Date(v);
        Date64(Date64Type), DataType::Date64, 0, |v, _c| date(v);
        Time32Second(Time32SecondType), DataType::Time32(TimeUnit::Second), 0,
            |v, _c| Value::Time(i64::from(v) * 1_000_000_000);
        Time32Millisecond(Time32MillisecondType), DataType::Time32(_), 0,
            |v, _c| Value::Time(i64::from(v) * 1_000_000);
        Time64Nanosecond(Time64NanosecondType), DataType::Time64(TimeUnit::Nanosecond), 0,
            |v, _c| Value::Time(v);
        Time64Microsecond(Time64MicrosecondType), DataType::Time64(_), 0,
            |v, _c| Value::Time(v.saturating_mul(1_000));
        TimestampSecond(TimestampSecondType), DataType::Timestamp(TimeUnit::Second, zone), i8::from(zone.is_some()),
            |v, zoned| timestamp(i128::from(v) * SECOND, zoned);
        TimestampMillisecond(TimestampMillisecondType), DataType::Timestamp(TimeUnit::Millisecond, zone), i8::from(zone.is_some()),
            |v, zoned| timestamp(i128::from(v) * MILLISECOND, zoned);
        TimestampMicrosecond(TimestampMicrosecondType), DataType::Timestamp(TimeUnit::Microsecond, zone), i8::from(zone.is_some()),
            |v, zoned| timestamp(i128::from(v) * MICROSECOND, zoned);
        TimestampNanosecond(TimestampNanosecondType), DataType::Timestamp(TimeUnit::Nanosecond, zone), i8::from(zone.is_some()),
            |v, zoned| timestamp(i128::from(v), zoned);
        DurationSecond(DurationSecondType), DataType::Duration(TimeUnit::Second), 0,
            |v, _c| Value::Duration(i128::from(v) * SECOND);
        DurationMillisecond(DurationMillisecondType), DataType::Duration(TimeUnit::Millisecond), 0,
            |v, _c| Value::Duration(i128::from(v) * MILLISECOND);
        DurationMicrosecond(DurationMicrosecondType), DataType::Duration(TimeUnit::Microsecond), 0,
            |v, _c| Value::Duration(i128::from(v) * MICROSECOND);
        DurationNanosecond(DurationNanosecondType), DataType::Duration(TimeUnit::Nanosecond), 0,
            |v, _c| Value::Duration(i128::from(v));
        IntervalYearMonth(IntervalYearMonthType), DataType::Interval(IntervalUnit::YearMonth), 0,
            |v, _c| interval(v, 0, 0);
        IntervalDayTime(IntervalDayTimeType), DataType::Interval(IntervalUnit::DayTime), 0,
            |v, _c| interval(0, v.days, i64::from(v.milliseconds) * 1_000_000);
        IntervalMonthDayNano(IntervalMonthDayNanoType), DataType::Interval(IntervalUnit::MonthDayNano), 0,
            |v, _c| interval(v.months, v.days, v.nanoseconds);
    }
    others {
        Boolean(BooleanArray), DataType::Boolean => |a: &'a ArrayRef| a.as_boolean(), |v| Value::Boolean(v);
        Utf8(StringArray), DataType::Utf8 => |a: &'a ArrayRef| a.as_string(), |v| Value::Text(v);
        LargeUtf8(LargeStringArray), DataType::LargeUtf8 => |a: &'a ArrayRef| a.as_string(),
            |v| Value::Text(v);
        Utf8View(StringViewArray), DataType::Utf8View => |a: &'a ArrayRef| a.as_string_view(),
            |v| Value::Text(v);
        Binary(BinaryArray), DataType::Binary => |a: &'a ArrayRef| a.as_binary(), |v| Value::Binary(v);
        LargeBinary(LargeBinaryArray), DataType::LargeBinary => |a: &'a ArrayRef| a.as_binary(),
            |v| Value::Binary(v);
        BinaryView(BinaryViewArray), DataType::BinaryView => |a: &'a ArrayRef| a.as_binary_view(),
            |v| Value::Binary(v);
        FixedSizeBinary(FixedSizeBinaryArray), DataType::FixedSizeBinary(_) => |a: &'a ArrayRef| a.as_fixed_size_binary(),
            |v| Value::Binary(v);
    }
    nested {
        List(ListArray), DataType::List(_) => |a: &'a ArrayRef| a.as_list(),
            |a, row| Value::List(Items::of_list(a, row));
        LargeList(LargeListArray), DataType::LargeList(_) => |a: &'a ArrayRef| a.as_list(),
            |a, row| Value::List(Items::of_list(a, row));
        Struct(StructArray), DataType::Struct(_) => |a: &'a ArrayRef| a.as_struct(),
            |a, row| Value::Struct(Members::of(a, row));
        Map(MapArray), DataType::Map(..) => |a: &'a ArrayRef| a.as_map(),
            |a, row| Value::Map(Entries::of(a, row));
    }
}

/// The value of a key's field as its column carries it: the canonical encoding keeps neither the scale of a decimal nor
/// the width of a float, and a delete must name the record by the very text that its upsert had.
pub fn carried<'v>(value: Value<'v>, data_type: &DataType) -> Value<'v> {
    match (value, data_type) {
        (
            Value::Decimal { mantissa, scale },
            DataType::Decimal32(_, carried)
            | DataType::Decimal64(_, carried)
            | DataType::Decimal128(_, carried)
            | DataType::Decimal256(_, carried),
        ) => {
            let ten = i256::from_i128(10);
            let digits = i16::from(*carried) - i16::from(scale);
            let widened = (0..digits).try_fold(mantissa, |value, _| value.checked_mul(ten));
            match widened {
                Some(mantissa) if digits >= 0 || mantissa == i256::ZERO => {
                    Value::Decimal { mantissa, scale: *carried }
                }
                _ => value,
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "it was widened from 32 bits")]
        (Value::Float64(float), DataType::Float16 | DataType::Float32) => {
            Value::Float32(float as f32)
        }
        _ => value,
    }
}

#[inline(always)]
fn decimal(mantissa: i256, scale: i8) -> Value<'static> {
    Value::Decimal { mantissa, scale }
}

#[inline(always)]
fn unsigned(integer: u64) -> Value<'static> {
    match i64::try_from(integer) {
        Ok(small) => Value::Integer(small),
        Err(_) => Value::Unsigned(integer),
    }
}

#[inline(always)]
fn timestamp(nanoseconds: i128, zoned: i8) -> Value<'static> {
    if zoned == 1 { Value::Timestamp(nanoseconds) } else { Value::LocalTimestamp(nanoseconds) }
}

#[inline(always)]
fn interval(months: i32, days: i32, nanoseconds: i64) -> Value<'static> {
    Value::Interval { months, days, nanoseconds }
}

/// A `Date64` is a date as long as it is whole days, as Arrow says it should be.
#[inline(always)]
fn date(milliseconds: i64) -> Value<'static> {
    const DAY: i64 = 86_400_000;
    match i32::try_from(milliseconds / DAY) {
        Ok(days) if milliseconds % DAY == 0 => Value::Date(days),
        _ => Value::LocalTimestamp(i128::from(milliseconds) * MILLISECOND),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{TimestampSecondArray, UInt64Array};

    use super::*;

    struct Expecting<I>(I);

    impl<I: Iterator<Item = (usize, Value<'static>)>> Visitor for Expecting<I> {
        fn visit(&mut self, row: usize, value: Value<'_>) {
            assert_eq!(self.0.next(), Some((row, value)));
        }
    }

    #[test]
    fn rows_and_nulls_come_out_in_order() {
        let array: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None, Some(u64::MAX)]));
        let column = Column::new(&array).expect("a scalar type");
        let expected = [Value::Integer(1), Value::Null, Value::Unsigned(u64::MAX)];
        let mut expecting = Expecting(expected.into_iter().enumerate());
        column.visit(&mut expecting);
        assert_eq!(expecting.0.next(), None);
        for (row, value) in expected.into_iter().enumerate() {
            assert_eq!(column.value(row), value);
        }
    }

    #[test]
    fn a_zone_makes_an_instant() {
        let local: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1]));
        let zoned: ArrayRef =
            Arc::new(TimestampSecondArray::from(vec![1]).with_timezone("Europe/Berlin"));
        let value = |array| Column::new(array).expect("a scalar type").value(0);
        assert_eq!(value(&local), Value::LocalTimestamp(1_000_000_000));
        assert_eq!(value(&zoned), Value::Timestamp(1_000_000_000));
    }

    #[test]
    fn a_key_comes_back_as_its_column_carries_it() {
        let arrays: [ArrayRef; 4] = [
            Arc::new(
                arrow::array::Decimal128Array::from(vec![150, 0, -7, 100_000])
                    .with_precision_and_scale(12, 2)
                    .expect("it fits"),
            ),
            Arc::new(
                arrow::array::Decimal128Array::from(vec![150, 0, -7, 100_000])
                    .with_precision_and_scale(12, -2)
                    .expect("it fits"),
            ),
            Arc::new(arrow::array::Float32Array::from(vec![0.1, 1.5, -3.25, 1e30])),
            Arc::new(arrow::array::Float64Array::from(vec![0.1, 1.5, -3.25, 1e30])),
        ];
        for array in &arrays {
            let column = Column::new(array).expect("a scalar type");
            for row in 0..4 {
                let mut bytes = Vec::new();
                column.value(row).encode(&mut bytes);
                let decoded = Value::decode(&mut bytes.as_slice()).expect("it was encoded");
                assert_eq!(carried(decoded, array.data_type()), column.value(row));
            }
        }
    }
}
