//! E6. Values at the edges of their types: they arrive exactly, or their row is refused by name.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int64Array, Int64Builder, LargeListArray, ListArray, MapBuilder, RecordBatch,
    StringArray, StringBuilder, StructArray, Time64NanosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, TimeUnit};
use serde_json::json;

use super::Scenario;
use super::e_shrink::{FORMATS, open_guard};
use crate::support::parquet;
use crate::support::people::CANARY;
use crate::support::table::Mirror;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E6", "values at the edges of their types arrive exactly", exact),
    Scenario::new("E6", "the same values in other types are sent no second time", same_values),
    Scenario::new("E6", "what has no form in a request is refused by name", refused_rows),
    Scenario::new(
        "E6",
        "a nested value in another order or layout is sent no second time",
        same_nested,
    ),
    Scenario::new("E6", "nested columns that cannot be synced are refused by name", refused_nested),
    Scenario::new("E6", "what a CSV file says arrives as it is written", csv_values),
    Scenario::new("E6", "empty text and NULL are two values", empty_and_null),
];

/// 0001-01-01 and 9999-12-31, in days and in microseconds up to the end of the day.
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;
const FIRST_MOMENT: i64 = -62_135_596_800_000_000;
const LAST_MOMENT: i64 = 253_402_300_799_999_999;
/// 2024-02-29T23:59:59.123456789Z in nanoseconds.
const LEAP: i64 = 1_709_251_199_123_456_789;

fn one_each(scenario: &Scenario, location: &str) -> Mirror {
    Mirror::new(&scenario.replay(), &["id"], Setup { batch: 1, ..open_guard(location) })
}

/// Two rows at the edges and one of NULLs, each column with how its first two values must look.
fn edges() -> Vec<(&'static str, ArrayRef, [&'static str; 2])> {
    let moment = |zone: Option<&str>| -> ArrayRef {
        let moments = vec![Some(FIRST_MOMENT), Some(LAST_MOMENT), None];
        Arc::new(TimestampMicrosecondArray::from(moments).with_timezone_opt(zone))
    };
    let decimals = vec![Some(100), Some(-99_999_999_999_999_999_999_999_999_999_999_999_901), None];
    let decimals = Decimal128Array::from(decimals).with_precision_and_scale(38, 2);
    let decimals = decimals.expect("they fit");
    let nanoseconds = TimestampNanosecondArray::from(vec![Some(LEAP), Some(-1), None]);
    let text = vec![Some(""), Some("a\u{0}b\"\\\n\u{1F600}"), None];
    vec![
        (
            "big",
            Arc::new(Int64Array::from(vec![Some((1 << 53) + 1), Some(i64::MIN), None])),
            ["9007199254740993", "-9223372036854775808"],
        ),
        (
            "unsigned",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some((1 << 63) + 1), None])),
            ["18446744073709551615", "9223372036854775809"],
        ),
        (
            "double",
            Arc::new(Float64Array::from(vec![Some(-0.0), Some(5e-324), None])),
            ["0.0", "5e-324"],
        ),
        (
            "single",
            Arc::new(Float32Array::from(vec![Some(0.1), Some(f32::MAX), None])),
            ["0.1", "3.4028235e+38"],
        ),
        ("decimal", Arc::new(decimals), ["1.00", "-999999999999999999999999999999999999.01"]),
        (
            "instant",
            Arc::new(nanoseconds.with_timezone("+02:00")),
            [r#""2024-02-29T23:59:59.123456789Z""#, r#""1969-12-31T23:59:59.999999999Z""#],
        ),
        (
            "moment",
            moment(Some("UTC")),
            [r#""0001-01-01T00:00:00Z""#, r#""9999-12-31T23:59:59.999999Z""#],
        ),
        ("wall", moment(None), [r#""0001-01-01T00:00:00""#, r#""9999-12-31T23:59:59.999999""#]),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(FIRST_DAY), Some(LAST_DAY), None])),
            [r#""0001-01-01""#, r#""9999-12-31""#],
        ),
        (
            "time",
            Arc::new(Time64NanosecondArray::from(vec![Some(0), Some(86_399_999_999_999), None])),
            [r#""00:00:00""#, r#""23:59:59.999999999""#],
        ),
        (
            "binary",
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b""), Some(b"\x00\xff"), None])),
            [r#""""#, r#""AP8=""#],
        ),
        ("text", Arc::new(StringArray::from(text)), [r#""""#, "\"a\\u0000b\\\"\\\\\\n\u{1F600}\""]),
        (
            "yes",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            ["true", "false"],
        ),
    ]
}

fn with_ids(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let rows = i64::try_from(columns[0].1.len()).expect("few rows");
    let ids: ArrayRef = Arc::new(Int64Array::from_iter(1..=rows));
    parquet::batch([vec![("id", ids)], columns].concat())
}

fn exact(scenario: &Scenario) {
    let mirror = one_each(scenario, FORMATS[1]);
    let edges = edges();
    let arrays = edges.iter().map(|(name, array, _)| (*name, Arc::clone(array)));
    mirror.write_batch(&with_ids(arrays.collect()));
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3), ("invalid", 0)]);
    let requests = mirror.oracle.requests();
    let body = |id: usize| {
        let of_id =
            requests.iter().find(|request| request.sent.keys().any(|k| k == format!("[{id}]")));
        &of_id.expect("each row was sent").sent.beginning
    };
    for (name, _, looks) in &edges {
        for (row, look) in looks.iter().copied().chain(["null"]).enumerate() {
            let [comma, end] = [",", "}"].map(|end| format!("\"{name}\":{look}{end}"));
            let body = body(row + 1);
            assert!(body.contains(&comma) || body.contains(&end), "{comma} in {body}");
        }
    }
    mirror.assert_at_rest();
}

fn same_values(scenario: &Scenario) {
    let mirror = one_each(scenario, FORMATS[1]);
    let decimals = |scale: i8, values: [i128; 2]| -> ArrayRef {
        let array = Decimal128Array::from(values.to_vec()).with_precision_and_scale(20, scale);
        Arc::new(array.expect("they fit"))
    };
    let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1_000_000]));
    let instant = |unit, zone: &str| {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let utc = cast(&instants, &utc).expect("it has no zone");
        let other = DataType::Timestamp(unit, Some(zone.into()));
        cast(&utc, &other).expect("an instant has all units")
    };
    let floats = |values: [f64; 2]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    let singles = |values: [f32; 2]| -> ArrayRef { Arc::new(Float32Array::from(values.to_vec())) };
    let written = |decimal, double, instant| {
        let columns = vec![("decimal", decimal), ("double", double), ("instant", instant)];
        mirror.write_batch(&with_ids(columns));
    };
    written(decimals(1, [10, -5]), floats([-0.0, 1.5]), instant(TimeUnit::Microsecond, "UTC"));
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    mirror.assert_at_rest();
    // 1.0 and 1.00, -0.0 and 0.0, one instant in two zones and units; each alone and all together.
    for (decimal, double, instant) in [
        (decimals(2, [100, -50]), floats([-0.0, 1.5]), instant(TimeUnit::Microsecond, "UTC")),
        (decimals(1, [10, -5]), floats([0.0, 1.5]), instant(TimeUnit::Microsecond, "UTC")),
        (decimals(1, [10, -5]), floats([0.0, 1.5]), instant(TimeUnit::Nanosecond, "+05:30")),
        (decimals(3, [1_000, -500]), singles([0.0, 1.5]), instant(TimeUnit::Second, "-08:00")),
    ] {
        written(decimal, double, instant);
        mirror.assert_at_rest();
    }
    // And what differs by the smallest step is sent.
    written(decimals(3, [1_001, -500]), floats([0.0, 1.5]), instant(TimeUnit::Second, "UTC"));
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1)]);
}

fn refused_rows(scenario: &Scenario) {
    let numbers = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5, -0.0];
    let numbers: ArrayRef = Arc::new(Float64Array::from(numbers));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, i32::MAX, i32::MIN, 1, LAST_DAY]));
    for (array, refused, why) in [(numbers, 3, "NaN"), (days, 2, "year")] {
        let mirror = one_each(scenario, FORMATS[1]);
        // What else is in the row must not be told (I12).
        let notes: ArrayRef = Arc::new(StringArray::from(vec![CANARY; 5]));
        mirror.write_batch(&with_ids(vec![("v", array), ("note", notes)]));
        for delivered in [5 - refused, 0] {
            let report = mirror.workspace.sync(&[]);
            let counts = [("invalid", refused), ("delivered", delivered), ("deletes", 0)];
            let report = report.expect(3, "partial", &counts);
            report.finished.expect_printed(&[why, "`2`", "`3`"]);
        }
        assert_eq!(mirror.oracle.table().len() as u64, 5 - refused);
    }
}

/// Of two rows: the members `x` and `y`, by these places.
fn point(order: [usize; 2]) -> ArrayRef {
    let names = ["x", "y"];
    let columns: [ArrayRef; 2] = [
        Arc::new(Int64Array::from(vec![Some(1), None])),
        Arc::new(StringArray::from(vec![Some("a"), Some(CANARY)])),
    ];
    let member = |place: usize| {
        let field = Field::new(names[place], columns[place].data_type().clone(), true);
        (Arc::new(field), Arc::clone(&columns[place]))
    };
    Arc::new(StructArray::from(order.map(member).to_vec()))
}

/// Of two rows, with these entries each.
fn points(rows: [[(&str, i64); 2]; 2]) -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for row in rows {
        for (key, value) in row {
            map.keys().append_value(key);
            map.values().append_value(value);
        }
        map.append(true).expect("a key for each value");
    }
    Arc::new(map.finish())
}

fn same_nested(scenario: &Scenario) {
    let mirror = one_each(scenario, FORMATS[1]);
    let rows = [Some(vec![Some(1), None]), Some(vec![])];
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows.clone()));
    let large: ArrayRef = Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(rows));
    let usual = [[(CANARY, 1), ("b", 2)], [("c", 3), ("a", 4)]];
    let turned = [[("b", 2), (CANARY, 1)], [("a", 4), ("c", 3)]];
    let write = |list: &ArrayRef, order, entries| {
        let columns =
            vec![("list", Arc::clone(list)), ("at", point(order)), ("points", points(entries))];
        mirror.write_batch(&with_ids(columns));
    };
    write(&list, [0, 1], usual);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    mirror.assert_at_rest();
    // Each alone and all together.
    for (list, order, entries) in [
        (&large, [0, 1], usual),
        (&list, [1, 0], usual),
        (&list, [0, 1], turned),
        (&large, [1, 0], turned),
    ] {
        write(list, order, entries);
        mirror.assert_at_rest();
    }
    write(&list, [1, 0], [turned[0], [("a", 4), ("c", 5)]]);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1)]);
    mirror.assert_at_rest();
}

/// What refuses a type: a run, and whoever looks before it.
const REFUSING: [&[&str]; 2] = [&["validate", "--sources"], &["sync", "people"]];

fn refused_nested(scenario: &Scenario) {
    let mut mirror = one_each(scenario, FORMATS[1]);
    mirror.write_batch(&with_ids(vec![("tags", point([0, 0]))]));
    for command in REFUSING {
        mirror.refuses(command, &[1, 2], &["field `tags`", "two members named `x`"]);
    }
    mirror.workspace.change(|setup| setup.sql = "SELECT id FROM people".to_owned());
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    mirror.assert_at_rest();
    let key = Setup { key: &["at"], ..open_guard(FORMATS[1]) };
    let mirror = Mirror::new(&scenario.replay(), &["id"], key);
    mirror.write_batch(&with_ids(vec![("at", point([0, 1]))]));
    for command in REFUSING {
        mirror.refuses(command, &[1, 2], &["`at` of the primary key", "a struct"]);
    }
}

fn csv_values(scenario: &Scenario) {
    let mirror = one_each(scenario, FORMATS[0]);
    let text = "id,big,huge,price,code,note,at
1,9007199254740993,18446744073709551615,1.10,007,\"a\u{0}b\",2024-02-29T23:59:59.123456789Z
2,-9223372036854775808,99999999999999999999999999,2.00,70,\"say \"\"hi\"\",\nagain\",1969-12-31T23:59:59.999999999Z
3,,,,,,\n";
    mirror.workspace.write(FORMATS[0], text);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3), ("invalid", 0)]);
    let requests = mirror.oracle.requests();
    let sent: String = requests.iter().map(|request| request.sent.beginning.as_str()).collect();
    for said in [
        r#""big":9007199254740993,"#,
        r#""big":-9223372036854775808,"#,
        "18446744073709551615",
        "99999999999999999999999999",
        r#""price":1.10,"#,
        r#""price":2.00,"#,
        r#""code":"007""#,
        r#""code":"70""#,
        r#""note":"a\u0000b""#,
        r#""note":"say \"hi\",\nagain""#,
        "2024-02-29T23:59:59.123456789Z",
        "1969-12-31T23:59:59.999999999Z",
        r#""big":null,"huge":null,"price":null,"code":null,"note":null,"at":null"#,
    ] {
        assert!(sent.contains(said), "{said} in {sent}");
    }
    mirror.assert_at_rest();
}

fn empty_and_null(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = one_each(scenario, location);
        let columns = ["id", "a", "b"];
        mirror.follow(&columns, &json!([[1, "", null], [2, null, ""], [3, "x", "x"]]));
        let swapped = json!([[1, null, ""], [2, "", null], [3, "x", "x"]]);
        mirror.follow(&columns, &swapped).expect(0, "succeeded", &[("upserts", 2)]);
    }
}
