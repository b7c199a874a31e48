//! Canonical bytes, key hashes and fingerprints of values, against a file that another implementation made.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{IntervalMonthDayNano, i256};
use counterflow::delta::fingerprint::{self, Fingerprinter};
use counterflow::domain::column::Column;
use counterflow::domain::key;
use counterflow::domain::value::{ENCODING_VERSION, Value};
use serde::Deserialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{ADVICE, folder, folder_of};

/// Canonical bytes, key hashes and the fingerprints of version 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    encoding: u32,
    values: Vec<One>,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct One {
    #[serde(flatten)]
    said: Said,
    /// The canonical encoding, in hexadecimal.
    bytes: String,
    /// Of the key that is this one value.
    hash: String,
    /// Of the row that has this one field.
    fingerprint: String,
}

/// The fingerprints of version 2.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fingerprints {
    fingerprints: u32,
    values: Vec<Fingerprinted>,
    rows: Vec<FingerprintedRow>,
}

#[derive(Debug, Deserialize)]
struct Fingerprinted {
    #[serde(flatten)]
    said: Said,
    /// Of the row that has this one field.
    fingerprint: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FingerprintedRow {
    fields: Vec<Said>,
    fingerprint: String,
}

/// A value as the file says it.
#[derive(Debug, Deserialize)]
pub struct Said {
    field: String,
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    fields: Vec<Said>,
    fingerprint: String,
    /// Of the key that is all of them in this order.
    hash: String,
}

impl Said {
    /// Of no field.
    pub fn new(kind: &str, value: &str) -> Said {
        Said { field: String::new(), kind: kind.to_owned(), value: value.to_owned() }
    }

    /// A column of this one value.
    pub fn array(&self) -> ArrayRef {
        let text = &self.value;
        match self.kind.as_str() {
            "null" => Arc::new(StringArray::from(vec![None::<&str>])),
            "boolean" => Arc::new(BooleanArray::from(vec![text == "true"])),
            "integer" => match text.parse::<i64>() {
                Ok(integer) => Arc::new(Int64Array::from(vec![integer])),
                Err(_) => Arc::new(UInt64Array::from(vec![text.parse::<u64>().expect("a number")])),
            },
            "float32" => Arc::new(Float32Array::from(vec![text.parse::<f32>().expect("a number")])),
            "float64" => Arc::new(Float64Array::from(vec![text.parse::<f64>().expect("a number")])),
            "decimal" => {
                let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                let mantissa = i256::from_string(&text.replace('.', "")).expect("a number");
                let scale = i8::try_from(scale).expect("a scale");
                let array = Decimal256Array::from(vec![mantissa]);
                Arc::new(array.with_precision_and_scale(76, scale).expect("it fits"))
            }
            "text" => Arc::new(StringViewArray::from(vec![text.as_str()])),
            "binary" => Arc::new(BinaryArray::from_vec(vec![&unhex(text)])),
            "date" => Arc::new(Date32Array::from(vec![text.parse::<i32>().expect("a number")])),
            "time" => {
                Arc::new(Time64NanosecondArray::from(vec![text.parse::<i64>().expect("a number")]))
            }
            "timestamp" => self.instant(Some("Asia/Tokyo")),
            "local_timestamp" => self.instant(None),
            "duration" => {
                let nanoseconds: i128 = text.parse().expect("a number");
                match i64::try_from(nanoseconds) {
                    Ok(nanoseconds) => Arc::new(DurationNanosecondArray::from(vec![nanoseconds])),
                    Err(_) => Arc::new(DurationSecondArray::from(vec![seconds(nanoseconds)])),
                }
            }
            "interval" => {
                let numbers: Vec<i64> =
                    text.split(' ').map(|number| number.parse().expect("a number")).collect();
                let narrow = |place: usize| i32::try_from(numbers[place]).expect("it fits");
                let interval = IntervalMonthDayNano::new(narrow(0), narrow(1), numbers[2]);
                Arc::new(IntervalMonthDayNanoArray::from(vec![interval]))
            }
            other => panic!("`{other}` is no type of version 1"),
        }
    }

    fn instant(&self, zone: Option<&str>) -> ArrayRef {
        let nanoseconds: i128 = self.value.parse().expect("a number");
        let narrow = |number: i128| i64::try_from(number).ok();
        if let Some(nanoseconds) = narrow(nanoseconds) {
            let array = TimestampNanosecondArray::from(vec![nanoseconds]);
            return Arc::new(array.with_timezone_opt(zone));
        }
        // Far years do not fit 64 bits of nanoseconds; only whole microseconds beyond them have an Arrow type.
        match narrow(nanoseconds / 1_000).filter(|_| nanoseconds % 1_000 == 0) {
            Some(microseconds) => {
                let array = TimestampMicrosecondArray::from(vec![microseconds]);
                Arc::new(array.with_timezone_opt(zone))
            }
            None => panic!("{nanoseconds} has no Arrow type"),
        }
    }
}

fn seconds(nanoseconds: i128) -> i64 {
    assert_eq!(nanoseconds % 1_000_000_000, 0);
    i64::try_from(nanoseconds / 1_000_000_000).expect("it fits")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

pub fn encoded(array: &ArrayRef) -> Vec<u8> {
    let mut bytes = Vec::new();
    Column::new(array).expect("a scalar").value(0).encode(&mut bytes);
    bytes
}

fn golden<T: serde::de::DeserializeOwned>(folder: PathBuf) -> T {
    let path = folder.join("fingerprints.json");
    let text = std::fs::read_to_string(path).expect("the golden file is there");
    serde_json::from_str(&text).expect("the golden file can be read")
}

pub fn fingerprint(version: u32, fields: &[(&str, &ArrayRef)]) -> String {
    let columns: Vec<Column<'_>> =
        fields.iter().map(|(_, array)| Column::new(array).expect("a scalar")).collect();
    let fingerprinter = Fingerprinter::new(version, fields.iter().map(|(name, _)| *name));
    format!("{:032x}", fingerprinter.rows(&columns, 1)[0])
}

/// Of a row of these fields.
fn of_row(version: u32, fields: &[Said]) -> String {
    let arrays: Vec<ArrayRef> = fields.iter().map(Said::array).collect();
    let names = fields.iter().map(|said| said.field.as_str());
    fingerprint(version, &names.zip(&arrays).collect::<Vec<_>>())
}

#[test]
fn values_keys_and_rows_are_encoded_as_in_version_1() {
    let golden: Golden = golden(folder());
    assert_eq!(
        ENCODING_VERSION, golden.encoding,
        "a new version needs golden files of its own{ADVICE}"
    );
    assert!(golden.values.len() >= 80, "nothing was taken out of the golden file");
    for one in &golden.values {
        let array = one.said.array();
        let bytes = encoded(&array);
        assert_eq!(hex(&bytes), one.bytes, "canonical bytes of {one:?}{ADVICE}");
        assert_eq!(format!("{:032x}", key::hash(&bytes)), one.hash, "key hash of {one:?}{ADVICE}");
        let own = of_row(1, std::slice::from_ref(&one.said));
        assert_eq!(own, one.fingerprint, "fingerprint of {one:?}{ADVICE}");
        let mut rest = &bytes[..];
        let mut again = Vec::new();
        Value::decode(&mut rest).expect("it can be read back").encode(&mut again);
        assert_eq!((rest.len(), again), (0, bytes), "what {one:?} reads back as{ADVICE}");
    }
    for row in &golden.rows {
        let key: Vec<u8> = row.fields.iter().flat_map(|said| encoded(&said.array())).collect();
        assert_eq!(format!("{:032x}", key::hash(&key)), row.hash, "key hash of {row:?}{ADVICE}");
        assert_eq!(of_row(1, &row.fields), row.fingerprint, "fingerprint of {row:?}{ADVICE}");
    }
}

#[test]
fn rows_are_fingerprinted_as_in_version_2() {
    let golden: Fingerprints = golden(folder_of(2));
    assert_eq!(fingerprint::VERSION, golden.fingerprints, "a new version needs a file{ADVICE}");
    assert!(golden.values.len() >= 87, "nothing was taken out of the golden file");
    for one in &golden.values {
        let own = of_row(2, std::slice::from_ref(&one.said));
        assert_eq!(own, one.fingerprint, "fingerprint of {one:?}{ADVICE}");
    }
    for row in &golden.rows {
        let own = of_row(2, &row.fields);
        assert_eq!(own, row.fingerprint, "fingerprint of {row:?}{ADVICE}");
    }
}

/// By the definition alone, and the hash against the published values of XXH3 for no input.
#[test]
fn a_few_are_right_by_hand() {
    assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(xxh3_128(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    let golden: Golden = golden(folder());
    let find = |field: &str, value: &str| {
        let mut values = golden.values.iter();
        values.find(|one| one.said.field == field && one.said.value == value).expect("it is there")
    };
    for (field, value, bytes) in [
        ("id", "42", &[3, 42, 0, 0, 0, 0, 0, 0, 0][..]),
        ("name", "Zo\u{eb}", b"\x07\x04\0\0\0Zo\xc3\xab"),
        ("active", "true", &[2]),
        ("gone", "", &[0]),
        ("born", "-1", &[9, 255, 255, 255, 255]),
        ("score", "-0", &[5, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let one = find(field, value);
        assert_eq!(one.bytes, hex(bytes));
        assert_eq!(one.hash, format!("{:032x}", xxh3_128(bytes)));
    }
    let mut decimal = [0; 34];
    (decimal[0], decimal[1], decimal[2]) = (6, 1, 15);
    assert_eq!(find("price", "1.50").bytes, hex(&decimal), "15 x 10^-1");
}
