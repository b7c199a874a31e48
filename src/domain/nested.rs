//! Lists, structs and maps: values that are made of values, borrowed from the column they stand in, and their canonical
//! encoding, which is frozen as that of every value is ([`value`]).
//!
//! Guards: what a column carries a value by makes no difference, be it the kind of list, the order of a struct's members or
//! that of a map's entries. Not here: which types there may be (`syncable`), how they look in a request (`render`).
//!
//! [`value`]: super::value

use std::fmt;
use std::ops::Range;

use arrow::array::{ArrayRef, GenericListArray, MapArray};
use arrow::array::{OffsetSizeTrait, StructArray};
use arrow::datatypes::ArrowNativeType;

use super::column::Column;
use super::value::{Value, sized, tag};
use crate::points;

/// The items of one list, in order.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    values: &'a ArrayRef,
    start: usize,
    end: usize,
}

/// The members of one struct, in the order of its type.
#[derive(Clone, Copy)]
pub struct Members<'a> {
    array: &'a StructArray,
    row: usize,
}

/// The entries of one map, as they come. A key may be there twice; a request cannot say that, and a fingerprint must not
/// hide it.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    array: &'a MapArray,
    row: usize,
}

impl<'a> Items<'a> {
    pub(super) fn of_list<O: OffsetSizeTrait>(array: &'a GenericListArray<O>, row: usize) -> Self {
        let offsets = array.value_offsets();
        Items {
            values: array.values(),
            start: offsets[row].as_usize(),
            end: offsets[row + 1].as_usize(),
        }
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = Value<'a>> {
        let column = part(self.values);
        (self.start..self.end).map(move |place| column.value(place))
    }

    #[inline(never)]
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let items = self.iter();
        counted(tag::LIST, items.len(), out);
        items.for_each(|item| item.encode(out));
    }
}

impl<'a> Members<'a> {
    pub(super) fn of(array: &'a StructArray, row: usize) -> Self {
        Members { array, row }
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> {
        (0..self.array.num_columns()).map(move |place| self.member(place))
    }

    fn member(self, place: usize) -> (&'a str, Value<'a>) {
        (self.name(place), part(self.array.column(place)).value(self.row))
    }

    fn name(self, place: usize) -> &'a str {
        self.array.fields()[place].name()
    }

    /// Their places, in the order of their names.
    fn by_name(self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.array.num_columns()).collect();
        if !points::is_planted("struct_member_order_differs") {
            places.sort_unstable_by_key(|place| self.name(*place));
        }
        places
    }

    #[inline(never)]
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        counted(tag::STRUCT, self.array.num_columns(), out);
        for place in self.by_name() {
            let (name, value) = self.member(place);
            sized(name.as_bytes(), out);
            value.encode(out);
        }
    }
}

impl<'a> Entries<'a> {
    pub(super) fn of(array: &'a MapArray, row: usize) -> Self {
        Entries { array, row }
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = (Value<'a>, Value<'a>)> {
        let offsets = self.array.value_offsets();
        let (keys, values) = (part(self.array.keys()), part(self.array.values()));
        let places = offsets[self.row].as_usize()..offsets[self.row + 1].as_usize();
        places.map(move |place| (keys.value(place), values.value(place)))
    }

    /// The entries one after the other in their one order, and where each of them is.
    #[inline(never)]
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let entries = self.iter();
        counted(tag::MAP, entries.len(), out);
        let start = out.len();
        let mut places: Vec<Range<usize>> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let first = out.len();
            key.encode(out);
            value.encode(out);
            places.push(first..out.len());
        }
        // No encoding begins with another one, so that this is the order of the keys, and of equal ones that of the values.
        let is_sorted = places.is_sorted_by_key(|place| &out[place.clone()]);
        if is_sorted || points::is_planted("map_order_differs") {
            return;
        }
        places.sort_unstable_by_key(|place| &out[place.clone()]);
        let sorted: Vec<u8> =
            places.iter().flat_map(|place| &out[place.clone()]).copied().collect();
        out.truncate(start);
        out.extend_from_slice(&sorted);
    }

    /// In their one order.
    fn sorted(self) -> Vec<(Value<'a>, Value<'a>)> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_cached_key(|(key, value)| {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            value.encode(&mut bytes);
            bytes
        });
        entries
    }
}

/// A tag, and how many parts follow.
fn counted(tag: u8, count: usize, out: &mut Vec<u8>) {
    out.push(tag);
    let count = u32::try_from(count).expect("a value of a batch has fewer than 2^32 parts");
    out.extend_from_slice(&count.to_le_bytes());
}

/// The column of the parts of nested values.
fn part(array: &ArrayRef) -> Column<'_> {
    Column::new(array).expect("a type is let through with all of its parts or not at all")
}

impl PartialEq for Items<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Members<'_> {
    fn eq(&self, other: &Self) -> bool {
        let members = |members: &Self| {
            let members = *members;
            members.by_name().into_iter().map(move |place| members.member(place))
        };
        members(self).eq(members(other))
    }
}

impl PartialEq for Entries<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().len() == other.iter().len() && self.sorted() == other.sorted()
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, Float64Array, Int32Array, Int64Array, LargeListArray, ListArray, StringArray,
        StringViewArray,
    };
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{Field, Fields, Int64Type};

    use super::*;

    fn encoded(array: &ArrayRef) -> Vec<Vec<u8>> {
        let column = Column::new(array).expect("it is known");
        let rows = (0..array.len()).map(|row| {
            let mut out = b"before".to_vec();
            column.value(row).encode(&mut out);
            out.split_off(6)
        });
        rows.collect()
    }

    /// The first.
    fn value(array: &ArrayRef) -> Value<'_> {
        Column::new(array).expect("it is known").value(0)
    }

    /// Of rows that are NULL where `valid` says so.
    fn struct_of(members: &[(&str, ArrayRef)], valid: Option<Vec<bool>>) -> ArrayRef {
        let field =
            |(name, its): &(&str, ArrayRef)| Field::new(*name, its.data_type().clone(), true);
        let fields: Fields = members.iter().map(field).collect();
        let columns = members.iter().map(|(_, its)| Arc::clone(its)).collect();
        Arc::new(StructArray::new(fields, columns, valid.map(NullBuffer::from)))
    }

    /// Of one row with these entries.
    fn map_of(keys: &[&str], values: &[Option<i64>]) -> ArrayRef {
        let fields = Fields::from(vec![
            Field::new("k", arrow::datatypes::DataType::Utf8, false),
            Field::new("v", arrow::datatypes::DataType::Int64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(keys.to_vec())),
            Arc::new(Int64Array::from(values.to_vec())),
        ];
        let entries = StructArray::new(fields, columns, None);
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        let offsets = OffsetBuffer::from_lengths([keys.len()]);
        Arc::new(MapArray::new(field, offsets, entries, None, false))
    }

    #[test]
    fn a_list_is_the_same_in_every_array_that_carries_it_and_in_every_place() {
        let rows = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(2), Some(3)])];
        let list: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows.clone()));
        let large: ArrayRef =
            Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(rows));
        let found = encoded(&list);
        assert_eq!(found, encoded(&large));
        assert_eq!(encoded(&list.slice(1, 3)), found[1..]);
        assert_eq!(found[1], [tag::NULL]);
        assert_eq!(found[2], [tag::LIST, 0, 0, 0, 0], "an empty list is not NULL");
        assert_eq!(value(&list), value(&large));
        assert_ne!(value(&list), value(&list.slice(3, 1)));
        assert!(value(&list).word().is_none() && value(&list).nine().is_none());
    }

    #[test]
    fn the_order_and_width_of_members_do_not_matter_but_their_names_do() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let words: ArrayRef = Arc::new(StringArray::from(vec![None, None, Some("x")]));
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![None, None, Some("x")]));
        let valid = Some(vec![true, true, false]);
        let usual = struct_of(&[("b", numbers.clone()), ("a", words.clone())], valid.clone());
        let turned = struct_of(&[("a", views), ("b", narrow)], valid);
        let found = encoded(&usual);
        assert_eq!(found, encoded(&turned));
        assert_eq!(encoded(&usual.slice(1, 2)), found[1..]);
        assert_ne!(found[1], [tag::NULL], "a struct of NULLs is not NULL");
        assert_eq!(found[2], [tag::NULL], "whatever its members hold on to");
        assert_eq!(value(&usual), value(&turned));
        for other in [
            struct_of(&[("a", numbers.clone()), ("b", words.clone())], None),
            struct_of(&[("b", numbers.clone()), ("c", words.clone())], None),
            struct_of(&[("b", numbers.clone())], None),
            struct_of(&[("b", numbers.clone()), ("a", words.clone()), ("c", words)], None),
        ] {
            assert_ne!(encoded(&other)[0], found[0]);
            assert_ne!(value(&other), value(&usual));
        }
        let empty = StructArray::new_empty_fields(2, Some(NullBuffer::from(vec![true, false])));
        assert_eq!(encoded(&(Arc::new(empty) as ArrayRef)), [&[tag::STRUCT, 0, 0, 0, 0][..], &[0]]);
    }

    #[test]
    fn the_order_of_entries_does_not_matter_but_what_they_are_does() {
        let usual = map_of(&["b", "a", "aa"], &[Some(1), None, Some(3)]);
        let turned = map_of(&["aa", "b", "a"], &[Some(3), Some(1), None]);
        assert_eq!(encoded(&usual), encoded(&turned));
        assert_eq!(value(&usual), value(&turned));
        let (one, two) = (Some(1), Some(2));
        let repeated = map_of(&["a", "a"], &[two, one]);
        assert_eq!(encoded(&repeated), encoded(&map_of(&["a", "a"], &[one, two])));
        for other in [
            map_of(&["b", "a"], &[one, None]),
            map_of(&["b", "a", "aa"], &[Some(3), None, one]),
            map_of(&["b", "a", "aa", "aa"], &[one, None, Some(3), Some(3)]),
            repeated.clone(),
        ] {
            assert_ne!(encoded(&other), encoded(&usual));
            assert_ne!(value(&other), value(&usual));
        }
        // A repeated key is not hidden, nor is an entry that comes twice.
        let once = map_of(&["a"], &[one]);
        assert_ne!(encoded(&map_of(&["a", "a"], &[one, one])), encoded(&once));
        assert_ne!(encoded(&once), encoded(&repeated));
        assert_eq!(encoded(&map_of(&[], &[])), [[tag::MAP, 0, 0, 0, 0]]);
    }

    #[test]
    fn a_nested_value_is_never_read_from_a_key() {
        for array in [
            map_of(&["a"], &[None]),
            struct_of(&[("a", Arc::new(Float64Array::from(vec![0.0])))], None),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![None])])),
        ] {
            let bytes = &encoded(&array)[0];
            assert_eq!(Value::decode(&mut bytes.as_slice()), None);
        }
    }

    #[test]
    fn values_do_not_grow_by_those_that_are_nested() {
        assert_eq!(size_of::<Value<'_>>(), 48);
    }
}
