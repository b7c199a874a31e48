//! Bytes → two nested values of one type, in two columns that carry them otherwise → their canonical encodings and their JSON.
//! Guards: what carries a value makes no difference; two values have one encoding if and only if they are one value; the JSON
//! says all of the value, and a map with a key twice has none.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, LargeListArray, ListArray, MapArray, StringArray,
    StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields};
use counterflow::domain::column::Column;
use counterflow::domain::render::{Unencodable, render};
use serde_json::{Value as Json, json};

use super::Input;

/// Names of members, of which no two are one, and texts.
const WORDS: [&str; 6] = ["", "b", "a", "a\0", "\"\\", "\u{e9}"];
const DEEPEST: usize = 5;

enum Shape {
    Boolean,
    Integer,
    Text,
    List(Box<Shape>),
    Struct(Vec<Shape>),
    Map(Box<Shape>),
}

#[derive(Debug, PartialEq)]
enum Tree {
    Null,
    Boolean(bool),
    Integer(i64),
    Text(&'static str),
    /// The items of a list, or the members of a struct.
    Parts(Vec<Tree>),
    Map(Vec<(&'static str, Tree)>),
}

/// The input is the type, each byte a choice, and then the two values.
pub fn fuzz_nested(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let shape = shape(&mut input, DEEPEST);
    let trees = [tree(&shape, &mut input), tree(&shape, &mut input)];
    let trees = trees.each_ref();
    let (usual, other) = (array(&shape, &trees, false), array(&shape, &trees, true));
    let encoded = [0, 1].map(|row| {
        let [ours, theirs] = [&usual, &other].map(|array| {
            let mut bytes = Vec::new();
            Column::new(array).expect("its type is known").value(row).encode(&mut bytes);
            bytes
        });
        assert_eq!(ours, theirs, "two columns carry {:?}", trees[row]);
        ours
    });
    let is_one = is_same(&shape, trees[0], trees[1]);
    assert_eq!(encoded[0] == encoded[1], is_one, "{trees:?}");
    let is_said = [0, 1].map(|row| {
        let mut out = b"before".to_vec();
        let rendered = render(Column::new(&usual).expect("it is known").value(row), &mut out);
        let text = out.split_off(6);
        match json_of(&shape, trees[row]) {
            Some(expected) => {
                assert_eq!(rendered, Ok(()));
                let read: Json = serde_json::from_slice(&text).expect("it is JSON");
                assert_eq!(read, expected);
            }
            None => {
                assert_eq!((rendered, &text[..]), (Err(Unencodable::RepeatedMapKey), &b""[..]));
                return false;
            }
        }
        true
    });
    is_said == [true; 2]
}

fn shape(input: &mut Input<'_>, levels: usize) -> Shape {
    let kinds = if levels > 0 { 6 } else { 3 };
    let part = |input: &mut Input<'_>| shape(input, levels.saturating_sub(1));
    match input.byte() % kinds {
        0 => Shape::Boolean,
        1 => Shape::Integer,
        2 => Shape::Text,
        3 => Shape::List(Box::new(part(input))),
        4 => {
            let many = input.byte() % 4;
            Shape::Struct((0..many).map(|_| part(input)).collect())
        }
        _ => Shape::Map(Box::new(part(input))),
    }
}

fn tree(shape: &Shape, input: &mut Input<'_>) -> Tree {
    if input.byte().is_multiple_of(5) {
        return Tree::Null;
    }
    match shape {
        Shape::Boolean => Tree::Boolean(input.byte() & 1 == 1),
        Shape::Integer => Tree::Integer(i64::from(input.byte().cast_signed())),
        Shape::Text => Tree::Text(word(input)),
        Shape::List(item) => {
            let many = input.byte() % 4;
            Tree::Parts((0..many).map(|_| tree(item, input)).collect())
        }
        Shape::Struct(members) => {
            Tree::Parts(members.iter().map(|member| tree(member, input)).collect())
        }
        Shape::Map(value) => {
            let many = input.byte() % 4;
            Tree::Map((0..many).map(|_| (word(input), tree(value, input))).collect())
        }
    }
}

fn word(input: &mut Input<'_>) -> &'static str {
    WORDS[usize::from(input.byte()) % WORDS.len()]
}

/// A column of these values; the `other` is of wider types, and has members and entries from behind.
fn array(shape: &Shape, trees: &[&Tree], other: bool) -> ArrayRef {
    let valid = trees.iter().map(|tree| **tree != Tree::Null);
    let nulls = Some(NullBuffer::from_iter(valid));
    let parts = |tree: &&'_ Tree| match tree {
        Tree::Parts(parts) => parts.len(),
        Tree::Map(entries) => entries.len(),
        _ => 0,
    };
    let lengths: Vec<usize> = trees.iter().map(parts).collect();
    match shape {
        Shape::Boolean => Arc::new(BooleanArray::from_iter(trees.iter().map(|tree| match tree {
            Tree::Boolean(boolean) => Some(*boolean),
            _ => None,
        }))),
        Shape::Integer => Arc::new(Int64Array::from_iter(trees.iter().map(|tree| match tree {
            Tree::Integer(integer) => Some(*integer),
            _ => None,
        }))),
        Shape::Text => {
            let texts = trees.iter().map(|tree| match tree {
                Tree::Text(text) => Some(*text),
                _ => None,
            });
            match other {
                true => Arc::new(StringViewArray::from_iter(texts)),
                false => Arc::new(StringArray::from_iter(texts)),
            }
        }
        Shape::List(item) => {
            let items = trees.iter().filter_map(|tree| match tree {
                Tree::Parts(items) => Some(items),
                _ => None,
            });
            let items = array(item, &items.flatten().collect::<Vec<_>>(), other);
            let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            match other {
                true => {
                    let offsets = OffsetBuffer::from_lengths(lengths);
                    Arc::new(LargeListArray::new(field, offsets, items, nulls))
                }
                false => {
                    let offsets = OffsetBuffer::from_lengths(lengths);
                    Arc::new(ListArray::new(field, offsets, items, nulls))
                }
            }
        }
        Shape::Struct(members) => {
            let column = |(place, member): (usize, &Shape)| {
                let its = trees.iter().map(|tree| match tree {
                    Tree::Parts(parts) => &parts[place],
                    _ => &Tree::Null,
                });
                (WORDS[place], array(member, &its.collect::<Vec<_>>(), other))
            };
            let mut columns: Vec<(&str, ArrayRef)> =
                members.iter().enumerate().map(column).collect();
            if other {
                columns.reverse();
            }
            let field =
                |(name, its): &(&str, ArrayRef)| Field::new(*name, its.data_type().clone(), true);
            let fields: Fields = columns.iter().map(field).collect();
            let columns = columns.into_iter().map(|(_, its)| its).collect();
            Arc::new(
                StructArray::try_new_with_length(fields, columns, nulls, trees.len())
                    .expect("each column has a value a row"),
            )
        }
        Shape::Map(value) => {
            let entries = trees.iter().flat_map(|tree| match tree {
                Tree::Map(entries) if other => entries.iter().rev().collect::<Vec<_>>(),
                Tree::Map(entries) => entries.iter().collect(),
                _ => Vec::new(),
            });
            let (keys, values): (Vec<_>, Vec<_>) =
                entries.map(|(key, value)| (Tree::Text(key), value)).unzip();
            let keys = array(&Shape::Text, &keys.iter().collect::<Vec<_>>(), other);
            let values = array(value, &values, other);
            let fields = Fields::from(vec![
                Field::new("key", keys.data_type().clone(), false),
                Field::new("value", values.data_type().clone(), true),
            ]);
            let entries = StructArray::new(fields, vec![keys, values], None);
            let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::new(field, offsets, entries, nulls, false))
        }
    }
}

/// Entries have no order.
fn is_same(shape: &Shape, one: &Tree, other: &Tree) -> bool {
    match (shape, one, other) {
        (Shape::List(item), Tree::Parts(ours), Tree::Parts(theirs)) => {
            let mut both = ours.iter().zip(theirs);
            ours.len() == theirs.len() && both.all(|(one, other)| is_same(item, one, other))
        }
        (Shape::Struct(members), Tree::Parts(ours), Tree::Parts(theirs)) => {
            let mut both = members.iter().zip(ours.iter().zip(theirs));
            both.all(|(member, (one, other))| is_same(member, one, other))
        }
        (Shape::Map(value), Tree::Map(ours), Tree::Map(theirs)) => {
            let mut left: Vec<&(&str, Tree)> = theirs.iter().collect();
            let mut take = |(key, its): &(&str, Tree)| {
                let is_it =
                    |entry: &&(&str, Tree)| entry.0 == *key && is_same(value, &entry.1, its);
                let found = left.iter().position(is_it);
                found.map(|place| left.swap_remove(place)).is_some()
            };
            ours.len() == theirs.len() && ours.iter().all(&mut take)
        }
        _ => one == other,
    }
}

/// `None` where a map has a key twice.
fn json_of(shape: &Shape, tree: &Tree) -> Option<Json> {
    Some(match (shape, tree) {
        (Shape::List(item), Tree::Parts(items)) => {
            Json::Array(items.iter().map(|one| json_of(item, one)).collect::<Option<_>>()?)
        }
        (Shape::Struct(members), Tree::Parts(parts)) => {
            let parts = members.iter().zip(parts).zip(WORDS);
            let member = |((member, its), name): ((_, _), &str)| {
                Some((name.to_owned(), json_of(member, its)?))
            };
            Json::Object(parts.map(member).collect::<Option<_>>()?)
        }
        (Shape::Map(value), Tree::Map(entries)) => {
            let mut object = serde_json::Map::new();
            for (key, its) in entries {
                if object.insert((*key).to_owned(), json_of(value, its)?).is_some() {
                    return None;
                }
            }
            Json::Object(object)
        }
        (_, Tree::Boolean(boolean)) => json!(boolean),
        (_, Tree::Integer(integer)) => json!(integer),
        (_, Tree::Text(text)) => json!(text),
        _ => Json::Null,
    })
}
