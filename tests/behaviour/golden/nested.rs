//! Canonical bytes and fingerprints of lists, structs and maps, against a file that another implementation made
//! (`tests/golden/v2/nested.py`).

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Fields};
use counterflow::domain::value::ENCODING_VERSION;
use serde::Deserialize;
use serde_json::Value as Json;

use super::vectors::{Said, encoded, fingerprint, hex};
use super::{ADVICE, folder_of};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    encoding: u32,
    values: Vec<One>,
    rows: Vec<Row>,
}

/// A value of the field `v`. Its type is a name, or one of `list`, `struct` and `map` with the types of its parts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    #[serde(rename = "type")]
    kind: Json,
    value: Json,
    /// The canonical encoding, in hexadecimal.
    bytes: String,
    fingerprint_1: String,
    fingerprint_2: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    fields: Vec<FieldOf>,
    fingerprint_1: String,
    fingerprint_2: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldOf {
    field: String,
    #[serde(rename = "type")]
    kind: Json,
    value: Json,
}

/// A column of these values.
fn array(kind: &Json, values: &[&Json]) -> ArrayRef {
    let nulls = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
    let parts = |value: &'_ Json| value.as_array().cloned().unwrap_or_default();
    let lists: Vec<Vec<Json>> = values.iter().map(|value| parts(value)).collect();
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
    if let Some(item) = kind.get("list") {
        let items = array(item, &lists.iter().flatten().collect::<Vec<_>>());
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        Arc::new(ListArray::new(field, offsets, items, Some(nulls)))
    } else if let Some(members) = kind.get("struct").and_then(Json::as_array) {
        let columns = members.iter().map(|member| {
            let name = member[0].as_str().expect("a name");
            let its: Vec<&Json> =
                values.iter().map(|value| value.get(name).unwrap_or(&Json::Null)).collect();
            (name, array(&member[1], &its))
        });
        let fields =
            |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
        let columns: Vec<(&str, ArrayRef)> = columns.collect();
        let fields: Fields = columns.iter().map(fields).collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Arc::new(StructArray::new(fields, columns, Some(nulls)))
    } else if let Some(types) = kind.get("map") {
        let side = |side: usize| {
            let its: Vec<&Json> = lists.iter().flatten().map(|entry| &entry[side]).collect();
            array(&types[side], &its)
        };
        let (keys, its) = (side(0), side(1));
        let fields = Fields::from(vec![
            Field::new("key", keys.data_type().clone(), false),
            Field::new("value", its.data_type().clone(), true),
        ]);
        let entries = StructArray::new(fields, vec![keys, its], None);
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        Arc::new(MapArray::new(field, offsets, entries, Some(nulls), false))
    } else {
        let kind = kind.as_str().expect("a name of a type");
        let one = |value: &&Json| value.as_str().map(|text| Said::new(kind, text).array());
        let each: Vec<Option<ArrayRef>> = values.iter().map(one).collect();
        let of = each.iter().flatten().next().map_or(DataType::Null, |it| it.data_type().clone());
        let each: Vec<ArrayRef> =
            each.into_iter().map(|it| it.unwrap_or_else(|| new_null_array(&of, 1))).collect();
        match each.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>() {
            none if none.is_empty() => new_empty_array(&of),
            each => concat(&each).expect("they are of one type"),
        }
    }
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(folder_of(2).join("nested.json"));
    serde_json::from_str(&text.expect("the golden file is there")).expect("it can be read")
}

#[test]
fn nested_values_are_encoded_and_fingerprinted_as_another_implementation_does_it() {
    let golden = golden();
    assert_eq!(ENCODING_VERSION, golden.encoding, "a new version needs a file of its own{ADVICE}");
    assert!(golden.values.len() >= 55, "nothing was taken out of the golden file");
    for one in &golden.values {
        let array = array(&one.kind, &[&one.value]);
        assert_eq!(hex(&encoded(&array)), one.bytes, "canonical bytes of {one:?}{ADVICE}");
        let field = [("v", &array)];
        assert_eq!(fingerprint(1, &field), one.fingerprint_1, "fingerprint of {one:?}{ADVICE}");
        assert_eq!(fingerprint(2, &field), one.fingerprint_2, "fingerprint of {one:?}{ADVICE}");
    }
    assert!(golden.rows.len() >= 4, "nothing was taken out of the golden file");
    for row in &golden.rows {
        let arrays = row.fields.iter().map(|said| array(&said.kind, &[&said.value]));
        let arrays: Vec<ArrayRef> = arrays.collect();
        let names = row.fields.iter().map(|said| said.field.as_str());
        let fields: Vec<(&str, &ArrayRef)> = names.zip(&arrays).collect();
        assert_eq!(fingerprint(1, &fields), row.fingerprint_1, "fingerprint of {row:?}{ADVICE}");
        assert_eq!(fingerprint(2, &fields), row.fingerprint_2, "fingerprint of {row:?}{ADVICE}");
    }
}

/// By the description alone.
#[test]
fn a_few_nested_values_are_right_by_hand() {
    let golden = golden();
    let find = |value: Json| {
        let found = golden.values.iter().find(|one| one.value == value);
        &found.expect("it is there").bytes
    };
    let list = "10 03000000 030100000000000000 00 030000000000000080";
    assert_eq!(
        *find(serde_json::json!(["1", null, "-9223372036854775808"])),
        list.replace(' ', "")
    );
    let point = "11 02000000 01000000 78 030100000000000000 01000000 79 00";
    assert_eq!(*find(serde_json::json!({"x": "1"})), point.replace(' ', ""));
    let map = "12 02000000 07 01000000 61 030100000000000000 07 01000000 62 030200000000000000";
    assert_eq!(*find(serde_json::json!([["b", "2"], ["a", "1"]])), map.replace(' ', ""));
}
