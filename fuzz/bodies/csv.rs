//! Bytes → records → the column that they are inferred to be. Guards: records do not depend on how the file is cut into
//! reads; a record has no byte that the file has not; the type inferred from fields takes each of them, and a number, a day
//! or a text goes out as it was written.

use std::io::BufReader;

use counterflow::domain::column::Column;
use counterflow::domain::render::render;
use counterflow::source::fuzzing_csv::{inferred, records};

use super::Input;

/// The input is a byte that chooses the delimiter, and the file.
pub fn fuzz_csv(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let delimiter = [b',', b';', b'\t', b'|'][usize::from(input.byte() % 4)];
    let file = input.rest;
    let (whole, is_whole) = records(file, delimiter);
    for buffer in [1, 3, 7] {
        let pieces = records(BufReader::with_capacity(buffer, file), delimiter);
        assert_eq!(pieces, (whole.clone(), is_whole), "in pieces of {buffer}");
    }
    let bytes: usize = whole.iter().flat_map(|(_, fields)| fields).map(|field| field.0.len()).sum();
    assert!(bytes <= file.len(), "{bytes} bytes of {} in the file", file.len());
    let mut last = 0;
    for (line, fields) in &whole {
        // A carriage return alone ends a record and begins no line.
        assert!(*line >= last && !fields.is_empty(), "a record at line {line} after {last}");
        last = *line;
    }
    let width = whole.first().map_or(0, |(_, fields)| fields.len());
    for place in 0..width.min(4) {
        let fields = whole.iter().filter_map(|(_, fields)| fields.get(place));
        let fields: Vec<&[u8]> = fields.map(|field| field.0.as_slice()).collect();
        check_column(&fields);
    }
    is_whole
}

fn check_column(fields: &[&[u8]]) {
    let (name, array) = match inferred(fields) {
        None => return assert!(fields.is_empty(), "there is something to infer from"),
        // Text that is not UTF-8 fits no type.
        Some(Err(place)) if std::str::from_utf8(fields[place]).is_err() => return,
        Some(Err(place)) => panic!("field {place} does not fit what was inferred from it"),
        Some(Ok(column)) => column,
    };
    let column = Column::new(&array).expect("the source yields only scalars");
    assert_eq!(array.len(), fields.len());
    for (row, field) in fields.iter().enumerate() {
        let field = std::str::from_utf8(field).expect("it was read as a value");
        let mut json = Vec::new();
        render(column.value(row), &mut json).expect("what CSV can say, a request can carry");
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        let is_kept = match name.split('(').next().unwrap_or_default() {
            "VARCHAR" => serde_json::from_str::<String>(&json).is_ok_and(|text| text == field),
            "DATE" => json == format!("\"{field}\""),
            "BIGINT" | "DECIMAL" => json == field,
            // `2` among `1.5` goes out as `2.0`, the same number; no digit is lost.
            "DOUBLE" => json.parse::<f64>().is_ok_and(|float| float.to_string() == field),
            _ => true,
        };
        assert!(is_kept, "`{field}` of {name} goes out as {json}");
    }
}
