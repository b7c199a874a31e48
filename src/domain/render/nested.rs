//! The JSON of lists, structs and maps.
//!
//! A key of a map stands before `: `, the name of a member before `:`. It is a value of the row, and by that blank it is
//! taken for one where rows' values must not be shown (`destination::http::scrub`).

use super::{Unencodable, render, string};
use crate::domain::nested::Entries;
use crate::domain::value::Value;

/// Appends the JSON of a nested value; appends nothing if it fails.
#[inline(never)]
pub(super) fn nested(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let start = out.len();
    let appended = match value {
        Value::List(items) => enclosed(b"[]", items.iter(), out, render),
        Value::Struct(members) => enclosed(b"{}", members.iter(), out, |(name, value), out| {
            string(name, out);
            out.push(b':');
            render(value, out)
        }),
        Value::Map(map) => entries(map, out),
        scalar => render(scalar, out),
    };
    if appended.is_err() {
        out.truncate(start);
    }
    appended
}

/// Each part, with commas between them.
fn enclosed<P>(
    [open, close]: &[u8; 2],
    parts: impl Iterator<Item = P>,
    out: &mut Vec<u8>,
    mut append: impl FnMut(P, &mut Vec<u8>) -> Result<(), Unencodable>,
) -> Result<(), Unencodable> {
    out.push(*open);
    for (place, part) in parts.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        append(part, out)?;
    }
    out.push(*close);
    Ok(())
}

/// An object has each name once, and `null` is none.
fn entries(entries: Entries<'_>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let entries = entries.iter();
    let mut names = Vec::with_capacity(entries.len());
    enclosed(b"{}", entries, out, |(key, value), out| {
        let first = out.len();
        name(key, out)?;
        names.push(first..out.len());
        out.extend_from_slice(b": ");
        render(value, out)
    })?;
    names.sort_unstable_by_key(|name| &out[name.clone()]);
    let is_repeated = |two: &[std::ops::Range<usize>]| out[two[0].clone()] == out[two[1].clone()];
    if names.windows(2).any(is_repeated) {
        return Err(Unencodable::RepeatedMapKey);
    }
    Ok(())
}

/// A key as text: what is no text in JSON is put into quotes.
fn name(key: Value<'_>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    match key {
        Value::Null => Err(Unencodable::NullMapKey),
        Value::Boolean(_)
        | Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Float32(_)
        | Value::Float64(_)
        | Value::Decimal { .. } => {
            out.push(b'"');
            render(key, out)?;
            out.push(b'"');
            Ok(())
        }
        key => render(key, out),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int64Array, ListArray, MapArray, StringArray, StructArray, TimestampSecondArray,
    };
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{DataType, Field, Fields, Float64Type};

    use super::*;
    use crate::domain::column::Column;

    fn rendered(array: &ArrayRef, row: usize) -> Result<String, Unencodable> {
        let mut out = b"before".to_vec();
        let result = render(Column::new(array).unwrap().value(row), &mut out);
        let text = String::from_utf8(out.split_off(6)).unwrap();
        match result {
            Ok(()) => {
                let _: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
                Ok(text)
            }
            Err(why) => {
                assert_eq!(text, "", "nothing is appended");
                Err(why)
            }
        }
    }

    /// One map of these entries, of rows that follow one another.
    fn map(keys: ArrayRef, values: ArrayRef) -> ArrayRef {
        let field = |name: &str, its: &ArrayRef| Field::new(name, its.data_type().clone(), true);
        let key = field("key", &keys).with_nullable(false);
        let fields = Fields::from(vec![key, field("value", &values)]);
        let offsets = OffsetBuffer::from_lengths([keys.len()]);
        let entries = StructArray::new(fields, vec![keys, values], None);
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        Arc::new(MapArray::new(field, offsets, entries, None, false))
    }

    fn texts(texts: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(texts.to_vec()))
    }

    fn numbers(many: i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(0..many))
    }

    #[test]
    fn lists_are_arrays_and_structs_objects_with_their_members_in_the_order_of_the_type() {
        let rows = [Some(vec![Some(1.5), None, Some(-0.0)]), Some(vec![]), None];
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows));
        for (row, json) in ["[1.5,null,0.0]", "[]", "null"].into_iter().enumerate() {
            assert_eq!(rendered(&list, row).unwrap(), json);
        }
        let fields = Fields::from(vec![
            Field::new("z\"\n", list.data_type().clone(), true),
            Field::new("a", DataType::Int64, true),
        ]);
        let a: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7), None]));
        let nulls = NullBuffer::from(vec![true, true, false]);
        let structs: ArrayRef = Arc::new(StructArray::new(fields, vec![list, a], Some(nulls)));
        let json = [r#"{"z\"\n":[1.5,null,0.0],"a":null}"#, r#"{"z\"\n":[],"a":7}"#, "null"];
        for (row, json) in json.into_iter().enumerate() {
            assert_eq!(rendered(&structs, row).unwrap(), json);
        }
    }

    #[test]
    fn the_keys_of_a_map_are_text_whatever_they_are() {
        let decimals = Decimal128Array::from(vec![150, -5]).with_precision_and_scale(9, 2).unwrap();
        for (keys, json) in [
            (texts(&["b\"", "a"]), r#"{"b\"": 0,"a": 1}"#),
            (numbers(2), r#"{"0": 0,"1": 1}"#),
            (Arc::new(BooleanArray::from(vec![true, false])), r#"{"true": 0,"false": 1}"#),
            (Arc::new(Float32Array::from(vec![0.1, -0.0])), r#"{"0.1": 0,"0.0": 1}"#),
            (Arc::new(decimals), r#"{"1.50": 0,"-0.05": 1}"#),
            (Arc::new(Date32Array::from(vec![0, -1])), r#"{"1970-01-01": 0,"1969-12-31": 1}"#),
            (
                Arc::new(TimestampSecondArray::from(vec![0, 1]).with_timezone("UTC")),
                r#"{"1970-01-01T00:00:00Z": 0,"1970-01-01T00:00:01Z": 1}"#,
            ),
        ] {
            assert_eq!(rendered(&map(keys, numbers(2)), 0).unwrap(), json);
        }
        assert_eq!(rendered(&map(texts(&[]), numbers(0)), 0).unwrap(), "{}");
    }

    #[test]
    fn a_map_with_a_key_twice_or_a_part_without_json_is_refused_and_nothing_is_appended() {
        let of = |keys: ArrayRef| {
            let many = i64::try_from(keys.len()).unwrap();
            rendered(&map(keys, numbers(many)), 0)
        };
        assert_eq!(of(texts(&["a", "b", "a"])), Err(Unencodable::RepeatedMapKey));
        // Both are 0.0 in a request.
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        assert_eq!(of(zeros), Err(Unencodable::RepeatedMapKey));
        let odd: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
        assert_eq!(of(Arc::clone(&odd)), Err(Unencodable::NotFinite));
        assert_eq!(rendered(&map(texts(&["a", "b"]), odd), 0), Err(Unencodable::NotFinite));
        let twice = map(texts(&["a", "a"]), numbers(2));
        let outer = map(texts(&["x"]), twice);
        assert_eq!(rendered(&outer, 0), Err(Unencodable::RepeatedMapKey));
    }

    /// No array of Arrow that was made with checks has one.
    #[test]
    fn a_key_that_is_null_is_no_name() {
        let mut out = Vec::new();
        assert_eq!(name(Value::Null, &mut out), Err(Unencodable::NullMapKey));
        assert_eq!(out, b"");
    }
}
