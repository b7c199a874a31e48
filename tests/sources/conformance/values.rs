//! Values of every type that Arrow's columns have in Parquet, in Arrow's own files and in Delta tables, and what JSON has of
//! them; and those of the types that text has.

use std::sync::Arc;

use datafusion::arrow::array::types::IntervalMonthDayNano;
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeStringArray,
    ListArray, MapBuilder, RecordBatch, StringArray, StringBuilder, StringViewArray, StructArray,
    Time64NanosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array, new_null_array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, i256};
use serde_json::{Value, json};

use crate::support::parquet;

/// A column of two rows, the second of which is NULL.
pub struct Column {
    pub name: &'static str,
    array: ArrayRef,
    json: &'static str,
    /// The type that a Delta table has for it.
    delta: Option<Value>,
    /// Whether Parquet has the type.
    is_parquet: bool,
}

/// Which of the columns a format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Having {
    All,
    Parquet,
    Delta,
}

impl Column {
    fn new(name: &'static str, array: impl Array + 'static, json: &'static str) -> Column {
        assert!(array.len() == 2 && array.is_null(1) && !array.is_null(0), "{name}");
        Column { name, array: Arc::new(array), json, delta: None, is_parquet: true }
    }

    fn delta(self, kind: impl Into<Value>) -> Column {
        Column { delta: Some(kind.into()), ..self }
    }

    fn arrow_alone(self) -> Column {
        Column { is_parquet: false, ..self }
    }
}

fn all() -> Vec<Column> {
    let decimal = Decimal128Array::from(vec![Some(-15_000_000_000_000_000_001_i128), None]);
    let wide = i256::from_string("12345678901234567890123456789012345678901234567890");
    let wide = Decimal256Array::from(vec![wide, None]);
    let moment = || TimestampMicrosecondArray::from(vec![Some(253_402_300_799_999_999), None]);
    let instant = TimestampNanosecondArray::from(vec![Some(1_709_251_199_123_456_789), None]);
    let list = [Some(vec![Some(1), None]), None];
    let city = Arc::new(Field::new("city", DataType::Utf8, true));
    let cities: ArrayRef = Arc::new(StringArray::from(vec![Some("Ulm"), None]));
    let place = StructArray::new(
        vec![city].into(),
        vec![cities],
        Some(NullBuffer::from(vec![true, false])),
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("a");
    map.values().append_value("b");
    map.append(true).expect("a key has a value");
    map.append(false).expect("there is none");
    let word: DictionaryArray<Int32Type> = vec![Some("plain"), None].into_iter().collect();
    let fixed = vec![Some([0_u8, 255].as_slice()), None];
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed.into_iter(), 2);
    let member = json!({ "name": "city", "type": "string", "nullable": true, "metadata": {} });
    let span = IntervalMonthDayNano::new(1, 2, 3_500_000_000);
    vec![
        Column::new("truth", BooleanArray::from(vec![Some(true), None]), "true").delta("boolean"),
        Column::new("i8", Int8Array::from(vec![Some(i8::MIN), None]), "-128").delta("byte"),
        Column::new("i16", Int16Array::from(vec![Some(i16::MIN), None]), "-32768").delta("short"),
        Column::new("i32", Int32Array::from(vec![Some(i32::MAX), None]), "2147483647")
            .delta("integer"),
        Column::new("i64", Int64Array::from(vec![Some(i64::MIN), None]), "-9223372036854775808")
            .delta("long"),
        Column::new("u8", UInt8Array::from(vec![Some(u8::MAX), None]), "255"),
        Column::new("u16", UInt16Array::from(vec![Some(u16::MAX), None]), "65535"),
        Column::new("u32", UInt32Array::from(vec![Some(u32::MAX), None]), "4294967295"),
        Column::new("u64", UInt64Array::from(vec![Some(u64::MAX), None]), "18446744073709551615"),
        Column::new("f32", Float32Array::from(vec![Some(0.1), None]), "0.1").delta("float"),
        Column::new("f64", Float64Array::from(vec![Some(5e-324), None]), "5e-324").delta("double"),
        Column::new(
            "decimal",
            decimal.with_precision_and_scale(38, 2).expect("it fits"),
            "-150000000000000000.01",
        )
        .delta("decimal(38,2)"),
        Column::new(
            "wide",
            wide.with_precision_and_scale(60, 10).expect("it fits"),
            "1234567890123456789012345678901234567890.1234567890",
        ),
        Column::new("text", StringArray::from(vec![Some("ä \u{0}\"\\\n😀"), None]), r#""ä \u0000\"\\\n😀""#)
            .delta("string"),
        Column::new("empty", LargeStringArray::from(vec![Some(""), None]), r#""""#).delta("string"),
        Column::new("seen", StringViewArray::from(vec![Some("a view"), None]), r#""a view""#)
            .delta("string"),
        Column::new("bytes", BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), None]), r#""AP8=""#)
            .delta("binary"),
        Column::new("fixed", fixed.expect("they are as long"), r#""AP8=""#),
        Column::new("day", Date32Array::from(vec![Some(-719_162), None]), r#""0001-01-01""#)
            .delta("date"),
        Column::new(
            "time",
            Time64NanosecondArray::from(vec![Some(86_399_999_999_999), None]),
            r#""23:59:59.999999999""#,
        ),
        Column::new("wall", moment(), r#""9999-12-31T23:59:59.999999""#),
        Column::new("moment", moment().with_timezone("UTC"), r#""9999-12-31T23:59:59.999999Z""#)
            .delta("timestamp"),
        Column::new(
            "instant",
            instant.with_timezone("+02:00"),
            r#""2024-02-29T23:59:59.123456789Z""#,
        ),
        Column::new("list", ListArray::from_iter_primitive::<Int32Type, _, _>(list), "[1,null]")
            .delta(json!({ "type": "array", "elementType": "integer", "containsNull": true })),
        Column::new("place", place, r#"{"city":"Ulm"}"#)
            .delta(json!({ "type": "struct", "fields": [member] })),
        Column::new("map", map.finish(), r#"{"a": "b"}"#).delta(
            json!({ "type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": true }),
        ),
        Column::new("word", word, r#""plain""#),
        Column::new("lasts", DurationMillisecondArray::from(vec![Some(1_500), None]), r#""PT1.5S""#)
            .arrow_alone(),
        Column::new("span", IntervalMonthDayNanoArray::from(vec![Some(span), None]), r#""P1M2DT3.5S""#)
            .arrow_alone(),
    ]
}

/// The columns that a format has.
fn of(having: Having) -> Vec<Column> {
    let is_had = |column: &Column| match having {
        Having::All => true,
        Having::Parquet => column.is_parquet,
        Having::Delta => column.delta.is_some(),
    };
    all().into_iter().filter(is_had).collect()
}

/// What JSON has of each column's first row.
pub fn expected(having: Having) -> Vec<(String, String)> {
    of(having).iter().map(|it| (it.name.to_owned(), it.json.to_owned())).collect()
}

/// The rows 1 and 2, of which the first has values where it is to.
pub fn batch(having: Having, has_values: bool) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let columns = of(having).into_iter().map(|column| match has_values {
        true => (column.name, column.array),
        false => (column.name, new_null_array(column.array.data_type(), 2)),
    });
    parquet::batch(std::iter::once(("id", ids)).chain(columns).collect())
}

/// The columns of a Delta table, by names and types.
pub fn of_delta() -> Vec<(&'static str, Value)> {
    let columns = of(Having::Delta).into_iter();
    let columns = columns.map(|column| (column.name, column.delta.expect("it has one")));
    std::iter::once(("id", json!("long"))).chain(columns).collect()
}

/// Of text: the name of each column, its declared type, what a CSV file and what an NDJSON file says, and what JSON has of it.
const TEXTS: [(&str, &str, &str, &str, &str); 15] = [
    ("small", "SMALLINT", "-32768", "-32768", "-32768"),
    ("number", "INTEGER", "2147483647", "2147483647", "2147483647"),
    ("big", "BIGINT", "-9223372036854775808", "-9223372036854775808", "-9223372036854775808"),
    ("price", "\"DECIMAL(12,2)\"", "-1.50", "-1.50", "-1.50"),
    ("double", "DOUBLE", "1e300", "1e300", "1e+300"),
    ("truth", "BOOLEAN", "true", "true", "true"),
    ("day", "DATE", "2024-02-29", "\"2024-02-29\"", "\"2024-02-29\""),
    (
        "wall",
        "TIMESTAMP",
        "2024-02-29 23:59:59.5",
        "\"2024-02-29 23:59:59.5\"",
        "\"2024-02-29T23:59:59.500\"",
    ),
    (
        "instant",
        "TIMESTAMP WITH TIME ZONE",
        "2024-06-01T12:00:00+02:00",
        "\"2024-06-01T12:00:00+02:00\"",
        "\"2024-06-01T10:00:00Z\"",
    ),
    ("text", "VARCHAR", "\"ä ,\"\"\n😀\"", "\"ä ,\\\"\\n😀\"", "\"ä ,\\\"\\n😀\""),
    ("empty", "VARCHAR", "\"\"", "\"\"", "\"\""),
    // What nobody declares is what it looks like.
    ("seen", "", "007", "\"007\"", "\"007\""),
    ("whole", "", "12345678901", "12345678901", "12345678901"),
    ("share", "", "0.25", "0.25", "0.25"),
    ("yes", "", "false", "false", "false"),
];

/// What a table of text says of its columns.
pub fn declared() -> String {
    let columns = TEXTS.iter().filter(|column| !column.1.is_empty());
    let columns: Vec<String> = columns.map(|(name, kind, ..)| format!("{name}: {kind}")).collect();
    format!(", columns: {{ {} }}", columns.join(", "))
}

pub fn expected_of_text() -> Vec<(String, String)> {
    TEXTS.iter().map(|(name, .., json)| ((*name).to_owned(), (*json).to_owned())).collect()
}

pub fn csv(has_values: bool) -> Vec<u8> {
    let names: Vec<&str> = TEXTS.iter().map(|column| column.0).collect();
    let values: Vec<&str> =
        TEXTS.iter().map(|column| if has_values { column.2 } else { "" }).collect();
    let nulls = ",".repeat(TEXTS.len());
    format!("id,{}\n1,{}\n2{nulls}\n", names.join(","), values.join(",")).into_bytes()
}

pub fn ndjson(has_values: bool) -> Vec<u8> {
    let row = |id: u8, has_values: bool| {
        let value = |said| if has_values { said } else { "null" };
        let members = TEXTS.iter().map(|column| format!(",\"{}\":{}", column.0, value(column.3)));
        format!("{{\"id\":{id}{}}}\n", members.collect::<String>())
    };
    format!("{}{}", row(1, has_values), row(2, false)).into_bytes()
}
