//! Cells drawn for a type, the extremes and the traps more often than chance would have them.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::DataType::{self, *};
use arrow::datatypes::{Float16Type, IntervalUnit, TimeUnit};
use proptest::prelude::*;
use proptest::sample::select;

use super::cell::{Cell, Day, SECOND};
use super::kind::{decimal, nanoseconds_of};
use super::nested;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Cells that the type can carry, NULL among them.
pub fn cells(data_type: &DataType) -> BoxedStrategy<Cell> {
    prop_oneof![1 => Just(Cell::Null), 7 => values(data_type)].boxed()
}

/// As [`cells`], without NULL.
pub fn values(data_type: &DataType) -> BoxedStrategy<Cell> {
    match data_type {
        Boolean => any::<bool>().prop_map(Cell::Boolean).boxed(),
        Int8 => integers(i8::MIN.into(), i8::MAX.into()),
        Int16 => integers(i16::MIN.into(), i16::MAX.into()),
        Int32 => integers(i32::MIN.into(), i32::MAX.into()),
        Int64 => integers(i64::MIN.into(), i64::MAX.into()),
        UInt8 => integers(0, u8::MAX.into()),
        UInt16 => integers(0, u16::MAX.into()),
        UInt32 => integers(0, u32::MAX.into()),
        UInt64 => integers(0, u64::MAX.into()),
        Float16 => {
            floats(any::<u16>().prop_map(|bits| Half::from_bits(bits).to_f64()).boxed(), &[])
        }
        Float32 => {
            let edges =
                [0.1_f32, f32::MAX, f32::MIN_POSITIVE, 1e-45, 16_777_217.0, 1e10].map(f64::from);
            floats(any::<u32>().prop_map(|bits| f64::from(f32::from_bits(bits))).boxed(), &edges)
        }
        Float64 => {
            let edges =
                [0.1, f64::MAX, f64::MIN_POSITIVE, 5e-324, 9_007_199_254_740_993.0, 1e16, 1e-7];
            floats(any::<u64>().prop_map(f64::from_bits).boxed(), &edges)
        }
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => decimals(data_type),
        Utf8 | LargeUtf8 | Utf8View | Dictionary(..) => texts(),
        FixedSizeBinary(width) => {
            let width = usize::try_from(*width).expect("a width");
            prop::collection::vec(any::<u8>(), width).prop_map(Cell::Bytes).boxed()
        }
        Binary | LargeBinary | BinaryView => {
            let edges: Vec<Vec<u8>> =
                vec![vec![], vec![0], vec![0xff; 12], vec![0x80; 13], vec![0, 1, 2]];
            let any = prop::collection::vec(any::<u8>(), 0..40);
            prop_oneof![select(edges), any].prop_map(Cell::Bytes).boxed()
        }
        Date32 | Date64 => days(9999).prop_map(Cell::Date).boxed(),
        Time32(unit) | Time64(unit) => times(*unit).prop_map(Cell::Time).boxed(),
        Timestamp(unit, _) => moments(*unit),
        Duration(unit) => {
            let unit = nanoseconds_of(*unit);
            // What fits 64 bits of the unit.
            let count = prop_oneof![select(vec![i64::MIN, i64::MAX, 0, 1, -1]), any::<i64>()];
            count.prop_map(move |count| Cell::Duration(i128::from(count) * unit)).boxed()
        }
        Interval(IntervalUnit::YearMonth) => {
            let months = prop_oneof![select(vec![i32::MIN, i32::MAX, 0, -1]), any::<i32>()];
            months.prop_map(|months| Cell::Interval { months, days: 0, nanoseconds: 0 }).boxed()
        }
        Interval(_) => {
            let pair = any::<(i32, i32)>();
            pair.prop_map(|(days, milliseconds)| Cell::Interval {
                months: 0,
                days,
                nanoseconds: i64::from(milliseconds) * 1_000_000,
            })
            .boxed()
        }
        other => nested::values(other),
    }
}

fn integers(least: i128, greatest: i128) -> BoxedStrategy<Cell> {
    let exact = 1_i128 << 53;
    let edges = [
        least,
        least + 1,
        greatest,
        greatest - 1,
        0,
        1,
        -1,
        7,
        exact,
        exact + 1,
        -exact - 1,
        i64::MAX.into(),
    ];
    let edges: Vec<i128> =
        edges.into_iter().filter(|edge| (least..=greatest).contains(edge)).collect();
    prop_oneof![select(edges), least..=greatest].prop_map(Cell::Integer).boxed()
}

/// NaN and infinities are drawn seldom: they make the whole row invalid.
fn floats(any: BoxedStrategy<f64>, edges: &[f64]) -> BoxedStrategy<Cell> {
    let mut finite = vec![0.0, -0.0, 1.0, -1.5, 100.0];
    finite.extend(edges.iter().flat_map(|edge| [*edge, -edge]));
    let odd = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    // One bit pattern of NaN is as good as another.
    let any = any.prop_map(|float| if float.is_nan() { f64::NAN } else { float });
    prop_oneof![12 => select(finite), 1 => select(odd), 12 => any].prop_map(Cell::Float).boxed()
}

fn decimals(data_type: &DataType) -> BoxedStrategy<Cell> {
    let (precision, scale) = decimal(data_type);
    let (precision, scale) =
        (usize::from(precision), usize::try_from(scale).expect("no negative scale"));
    let digits = prop_oneof![
        select(vec![
            "0".to_owned(),
            "1".to_owned(),
            "9".repeat(precision),
            "1".to_owned() + &"0".repeat(precision - 1),
            "1".to_owned() + &"0".repeat(scale.min(precision - 1))
        ]),
        (1..=precision)
            .prop_flat_map(|length| {
                prop::collection::vec(prop_oneof![3 => 0..10_u8, 2 => Just(0)], length)
            })
            .prop_map(|digits| {
                let text: String =
                    digits.into_iter().map(|digit| char::from(b'0' + digit)).collect();
                let bare = text.trim_start_matches('0');
                if bare.is_empty() { "0".to_owned() } else { bare.to_owned() }
            }),
    ];
    (digits, any::<bool>())
        .prop_map(move |(digits, is_negative)| {
            let sign = if is_negative && digits != "0" { "-" } else { "" };
            Cell::Decimal { digits: sign.to_owned() + &digits, scale }
        })
        .boxed()
}

fn texts() -> BoxedStrategy<Cell> {
    let edges = [
        "",
        " ",
        "\0",
        "a\0b",
        "null",
        "NULL",
        "\"",
        "\\",
        "\\u0000",
        "a\"b\\c/d",
        "\n\r\t\u{8}\u{c}",
        "\u{7f}",
        "\u{1f}",
        "é",
        "e\u{301}",
        "\u{feff}bom",
        "\u{2028}\u{2029}",
        "\u{202e}rtl",
        "😀👩‍👩‍👧",
        "\u{10ffff}",
        "twelve bytes",
        "thirteen byte",
        "0",
        "1.0",
        "true",
        "</script>",
        "{{record}}",
    ];
    let edges: Vec<String> = edges.map(str::to_owned).to_vec();
    prop_oneof![4 => select(edges), 4 => ".{0,20}", 1 => "\\PC{100,300}"]
        .prop_map(Cell::Text)
        .boxed()
}

/// A day of the years 1 to `last`.
fn days(last: i64) -> BoxedStrategy<Day> {
    let edges = [
        (1, 1, 1),
        (4, 2, 29),
        (1582, 10, 10),
        (1899, 12, 31),
        (1900, 3, 1),
        (1969, 12, 31),
        (1970, 1, 1),
        (2000, 2, 29),
        (2024, 3, 10),
        (9999, 12, 31),
    ];
    let edges: Vec<Day> = edges.map(|(year, month, day)| Day::new(year, month, day)).to_vec();
    let any = (1..=last, 1..=12_i64, 1..=28_i64)
        .prop_map(|(year, month, day)| Day::new(year, month, day));
    prop_oneof![select(edges), any].boxed()
}

/// Nanoseconds of a day in whole units.
fn times(unit: TimeUnit) -> BoxedStrategy<i128> {
    let unit = nanoseconds_of(unit);
    let last = 86_400 * SECOND / unit - 1;
    let edges = vec![0, 1, last, SECOND / unit, 3_723 * SECOND / unit, 500_000_000 / unit];
    prop_oneof![select(edges), 0..=last].prop_map(move |count| count * unit).boxed()
}

/// Nanoseconds in 64 bits reach from 1677 to 2262.
fn moments(unit: TimeUnit) -> BoxedStrategy<Cell> {
    let day = days(9999).prop_map(move |day| {
        let is_far = unit == TimeUnit::Nanosecond && !(1678..=2261).contains(&day.year);
        if is_far { Day { year: 1678 + day.year % 584, day: day.day.min(28), ..day } } else { day }
    });
    (day, times(unit)).prop_map(|(day, time)| Cell::Moment(day, time)).boxed()
}
