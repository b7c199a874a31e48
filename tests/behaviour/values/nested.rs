//! Lists, structs and maps: the types of them that are tried, arrays made from cells, cells drawn, and what of them must
//! stand in a request. All of it part by part, by way of `kind` and `draw`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, LargeListArray, ListArray, MapArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType::{self, *};
use arrow::datatypes::{Field, FieldRef, Fields, TimeUnit};
use proptest::prelude::*;

use super::cell::{Cell, fields, parts};
use super::{draw, kind};

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

pub fn struct_of<const N: usize>(members: [(&str, DataType); N]) -> DataType {
    let member = |(name, its): (&str, DataType)| Field::new(name, its, true);
    Struct(members.map(member).into_iter().collect())
}

pub fn map_of(key: DataType, value: DataType) -> DataType {
    let fields =
        Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    Map(Arc::new(Field::new("entries", Struct(fields), false)), false)
}

pub fn list_of(data_type: DataType) -> DataType {
    List(item(data_type))
}

/// The type with the members of its structs from behind, and with large lists.
pub fn turned(data_type: &DataType) -> DataType {
    let part =
        |field: &FieldRef| Arc::new(Field::clone(field).with_data_type(turned(field.data_type())));
    match data_type {
        List(item) => LargeList(part(item)),
        Struct(fields) => Struct(fields.iter().rev().map(part).collect()),
        Map(entries, is_sorted) => {
            let Struct(fields) = entries.data_type() else { unreachable!("entries are structs") };
            let its = Struct(fields.iter().map(part).collect());
            Map(Arc::new(Field::clone(entries).with_data_type(its)), *is_sorted)
        }
        other => other.clone(),
    }
}

/// As `kind::families`.
pub fn families() -> Vec<Vec<DataType>> {
    let dictionary = || Dictionary(Box::new(Int32), Box::new(Utf8));
    let utc = |unit| Timestamp(unit, Some("UTC".into()));
    let deep = |number: DataType| {
        struct_of([("n", number), ("m", map_of(Utf8, list_of(struct_of([("f", Float64)]))))])
    };
    vec![
        vec![list_of(Int64), LargeList(item(Int32)), FixedSizeList(item(Int64), 2), list_of(UInt8)],
        vec![list_of(dictionary()), list_of(Utf8), LargeList(item(LargeUtf8))],
        vec![
            struct_of([("a", Utf8), ("b", Decimal128(20, 2)), ("at", utc(TimeUnit::Microsecond))]),
            struct_of([
                ("at", utc(TimeUnit::Second)),
                ("b", Decimal64(18, 5)),
                ("a", dictionary()),
            ]),
        ],
        vec![map_of(Utf8, Int64), map_of(LargeUtf8, Int16), map_of(dictionary(), Int64)],
        vec![map_of(Int64, list_of(Boolean)), map_of(Int8, LargeList(item(Boolean)))],
        vec![list_of(deep(Int64)), LargeList(item(deep(Int32)))],
        vec![struct_of([("only", list_of(list_of(Binary)))])],
    ]
}

/// A column of these cells; `None` if one of them does not fit.
pub fn array(data_type: &DataType, cells: &[Cell]) -> Option<ArrayRef> {
    let nulls = Some(NullBuffer::from_iter(cells.iter().map(|cell| *cell != Cell::Null)));
    Some(match data_type {
        List(item) => {
            let (offsets, items) = items(item, cells)?;
            Arc::new(ListArray::new(
                Arc::clone(item),
                OffsetBuffer::from_lengths(offsets),
                items,
                nulls,
            ))
        }
        LargeList(item) => {
            let (offsets, items) = items(item, cells)?;
            let offsets = OffsetBuffer::from_lengths(offsets);
            Arc::new(LargeListArray::new(Arc::clone(item), offsets, items, nulls))
        }
        FixedSizeList(item, length) => {
            let each = usize::try_from(*length).expect("a length");
            let of_length = |cell: &Cell| match cell {
                Cell::Null => Some(Cell::List(vec![Cell::Null; each])),
                Cell::List(items) if items.len() == each => Some(cell.clone()),
                _ => None,
            };
            let cells = cells.iter().map(of_length).collect::<Option<Vec<Cell>>>()?;
            let (_, items) = items(item, &cells)?;
            Arc::new(FixedSizeListArray::new(Arc::clone(item), *length, items, nulls))
        }
        Struct(fields) => {
            let columns = fields.iter().map(|field| {
                let member = |cell: &Cell| match cell {
                    Cell::Null => Some(Cell::Null),
                    Cell::Struct(members) if members.len() == fields.len() => {
                        let mut members = members.iter();
                        members.find(|(name, _)| name == field.name()).map(|(_, its)| its.clone())
                    }
                    _ => None,
                };
                let its = cells.iter().map(member).collect::<Option<Vec<Cell>>>()?;
                kind::array(field.data_type(), &its)
            });
            Arc::new(StructArray::new(fields.clone(), columns.collect::<Option<_>>()?, nulls))
        }
        Map(entries, _) => {
            let Struct(fields) = entries.data_type() else { unreachable!("entries are structs") };
            let mut all = Vec::new();
            let mut lengths = Vec::new();
            for cell in cells {
                match cell {
                    Cell::Null => lengths.push(0),
                    Cell::Map(its) => {
                        lengths.push(its.len());
                        all.extend(its.clone());
                    }
                    _ => return None,
                }
            }
            let (keys, values): (Vec<Cell>, Vec<Cell>) = all.into_iter().unzip();
            let keys = kind::array(fields[0].data_type(), &keys)?;
            let values = kind::array(fields[1].data_type(), &values)?;
            let its = StructArray::new(fields.clone(), vec![keys, values], None);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::new(Arc::clone(entries), offsets, its, nulls, false))
        }
        other => unreachable!("{other} is in no family"),
    })
}

fn items(item: &FieldRef, cells: &[Cell]) -> Option<(Vec<usize>, ArrayRef)> {
    let (mut lengths, mut all) = (Vec::new(), Vec::new());
    for cell in cells {
        match cell {
            Cell::Null => lengths.push(0),
            Cell::List(items) => {
                lengths.push(items.len());
                all.extend(items.clone());
            }
            _ => return None,
        }
    }
    Some((lengths, kind::array(item.data_type(), &all)?))
}

/// As `kind::carried`.
pub fn carried(cell: &Cell, data_type: &DataType) -> Option<Cell> {
    array(data_type, std::slice::from_ref(cell))?;
    Some(match (cell, data_type) {
        (Cell::List(items), List(item) | LargeList(item) | FixedSizeList(item, _)) => {
            let carried = items.iter().map(|one| kind::carried(one, item.data_type()));
            Cell::List(carried.collect::<Option<_>>()?)
        }
        (Cell::Struct(members), Struct(fields)) => {
            let carried = members.iter().map(|(name, its)| {
                let (_, field) = fields.find(name)?;
                Some((name.clone(), kind::carried(its, field.data_type())?))
            });
            Cell::Struct(carried.collect::<Option<_>>()?)
        }
        (Cell::Map(its), Map(entries, _)) => {
            let Struct(fields) = entries.data_type() else { unreachable!("entries are structs") };
            let carried = its.iter().map(|(key, value)| {
                let key = kind::carried(key, fields[0].data_type())?;
                Some((key, kind::carried(value, fields[1].data_type())?))
            });
            Cell::Map(carried.collect::<Option<_>>()?)
        }
        _ => cell.clone(),
    })
}

/// As `kind::check`: lists are arrays, structs objects with their members in the order of the type, maps objects with their
/// keys as text.
pub fn check(cell: &Cell, data_type: &DataType, json: &str) -> Result<(), String> {
    let wrong = || format!("`{json}` was sent for {cell:?} of {data_type}");
    match (cell, data_type) {
        (Cell::Null, _) if json == "null" => Ok(()),
        (Cell::Text(_), Dictionary(_, values)) => cell.check(values, json),
        (Cell::List(items), List(item) | LargeList(item) | FixedSizeList(item, _)) => {
            let sent = parts(json, ["[", "]"]).filter(|sent| sent.len() == items.len());
            let mut both = items.iter().zip(sent.ok_or_else(wrong)?);
            both.try_for_each(|(one, json)| kind::check(one, item.data_type(), json))
        }
        (Cell::Struct(members), Struct(types)) if json.starts_with('{') => {
            let sent = fields(json);
            let names = sent.iter().map(|(name, _)| name);
            if !names.eq(types.iter().map(|field| field.name())) {
                return Err(wrong());
            }
            sent.iter().zip(types).try_for_each(|((name, json), field)| {
                let its = members.iter().find(|(member, _)| member == name);
                kind::check(&its.ok_or_else(wrong)?.1, field.data_type(), json)
            })
        }
        (Cell::Map(its), Map(entries, _)) if json.starts_with('{') => {
            let Struct(types) = entries.data_type() else { unreachable!("entries are structs") };
            let sent = fields(json);
            if sent.len() != its.len() {
                return Err(wrong());
            }
            its.iter().zip(sent).try_for_each(|((key, value), (name, json))| {
                let is_key = match key {
                    Cell::Text(text) => *text == name,
                    Cell::Integer(integer) => integer.to_string() == name,
                    _ => false,
                };
                if !is_key {
                    return Err(wrong());
                }
                kind::check(value, types[1].data_type(), &json)
            })
        }
        _ => Err(wrong()),
    }
}

/// As `draw::values`. What is nested is short, and has a key twice seldom.
pub fn values(data_type: &DataType) -> BoxedStrategy<Cell> {
    match data_type {
        List(item) | LargeList(item) => {
            let items = prop::collection::vec(draw::cells(item.data_type()), 0..4);
            items.prop_map(Cell::List).boxed()
        }
        FixedSizeList(item, length) => {
            let each = usize::try_from(*length).expect("a length");
            let items = prop::collection::vec(draw::cells(item.data_type()), each);
            items.prop_map(Cell::List).boxed()
        }
        Struct(fields) => {
            let member =
                |field: &FieldRef| (Just(field.name().clone()), draw::cells(field.data_type()));
            let members: Vec<_> = fields.iter().map(member).collect();
            members.prop_map(Cell::Struct).boxed()
        }
        Map(entries, _) => {
            let Struct(fields) = entries.data_type() else { unreachable!("entries are structs") };
            let entry = (draw::values(fields[0].data_type()), draw::cells(fields[1].data_type()));
            let once = |(mut its, is_repeated): (Vec<(Cell, Cell)>, bool)| {
                let mut seen = Vec::new();
                its.retain(|(key, _)| {
                    let is_new = !seen.contains(key);
                    seen.push(key.clone());
                    is_new || is_repeated
                });
                Cell::Map(its)
            };
            let is_repeated = prop::bool::weighted(0.05);
            (prop::collection::vec(entry, 0..4), is_repeated).prop_map(once).boxed()
        }
        other => unreachable!("{other} is in no family"),
    }
}
