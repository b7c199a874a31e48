//! Bytes → objects → the column that a member's values are inferred to be. Guards: objects do not depend on how the file is
//! cut into reads; what is accepted is what another JSON reader accepts, with the same values, and no member is lost; the type
//! inferred from values takes each of them, and each goes out with the digits and letters it was written with.

use std::io::BufReader;

use counterflow::domain::column::Column;
use counterflow::domain::render::render;
use counterflow::source::fuzzing_ndjson::{inferred, objects};
use serde_json::{Map, Value};

pub fn fuzz_ndjson(file: &[u8]) -> bool {
    let (whole, is_whole) = objects(file);
    for buffer in [1, 3, 7] {
        let pieces = objects(BufReader::with_capacity(buffer, file));
        assert_eq!(pieces, (whole.clone(), is_whole), "in pieces of {buffer}");
    }
    let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    for (number, members) in &whole {
        let line = lines[usize::try_from(*number).expect("a line's number is small") - 1];
        check_object(line, members);
    }
    let blanks = |line: &&[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
    let rows = lines.iter().filter(|line| !blanks(line)).count();
    assert!(!is_whole || rows == whole.len(), "{} of {rows} rows", whole.len());
    let mut names: Vec<&str> =
        whole.iter().flat_map(|(_, members)| members).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().take(4) {
        let members = whole.iter().flat_map(|(_, members)| members).filter(|it| it.0 == name);
        check_column(&members.map(|(_, json)| json.as_str()).collect::<Vec<_>>());
    }
    is_whole
}

fn check_object(line: &[u8], members: &[(String, String)]) {
    let has_out_of_range = |error: &serde_json::Error| error.to_string().contains("out of range");
    let theirs: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(theirs) => theirs,
        // A number that no float holds is a number all the same.
        Err(error) if has_out_of_range(&error) => return,
        Err(error) => panic!("accepted what is no object: {error}"),
    };
    for (name, json) in members {
        let value: Value = serde_json::from_str(json).expect("a member is one JSON value");
        // Which of two counts is no question here: the table refuses both.
        let is_once = members.iter().filter(|it| it.0 == *name).count() == 1;
        assert!(!is_once || theirs.get(name) == Some(&value), "`{name}` is another value");
    }
    assert!(theirs.keys().all(|name| members.iter().any(|it| it.0 == *name)), "a member is lost");
}

fn check_column(values: &[&str]) {
    let is_null = |value: &str| value == "null";
    let (name, array) = match inferred(values) {
        None => {
            return assert!(
                values.iter().all(|value| is_null(value)),
                "there is something to infer from"
            );
        }
        Some(Err(place)) => panic!("value {place} does not fit what was inferred from it"),
        Some(Ok(column)) => column,
    };
    let column = Column::new(&array).expect("the source yields only scalars");
    assert_eq!(array.len(), values.len());
    for (row, value) in values.iter().enumerate() {
        let mut sent = Vec::new();
        render(column.value(row), &mut sent).expect("what JSON can say, a request can carry");
        let sent = String::from_utf8(sent).expect("JSON is UTF-8");
        let text = |json: &str| serde_json::from_str::<String>(json).ok();
        let is_kept = match name.split('(').next().unwrap_or_default() {
            _ if is_null(value) => sent == "null",
            "VARCHAR" => text(&sent).is_some() && text(&sent) == text(value),
            "JSON" => text(&sent).as_deref() == Some(value),
            "BIGINT" | "BOOLEAN" => sent == *value,
            "DECIMAL" => digits(&sent) == digits(value),
            // An exponent may be written otherwise.
            "DOUBLE" => sent.parse::<f64>().ok() == value.parse::<f64>().ok(),
            _ => false,
        };
        assert!(is_kept, "`{value}` of {name} goes out as {sent}");
    }
}

/// A decimal number without the zeros at the end of its fraction, and zero without a sign.
fn digits(number: &str) -> &str {
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    if number == "-0" { "0" } else { number }
}
