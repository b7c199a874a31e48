//! Which types of columns can be synced, and what each comes to once it is unpacked.
//!
//! Guards: a type is let through with all of its parts or not at all, so that no row is met whose value has no encoding; what
//! of ours looks at a type or a value in depth ends before the stack does.

use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{DataType, Field, FieldRef};

use super::column::Column;

/// Levels of a type, one for each list, struct, map, dictionary and run; a file may be made to have any number.
pub const DEEPEST: usize = 64;

/// Items of a list that has the same number of them in each row.
const LONGEST: i32 = 1 << 16;

/// Why columns of a type cannot be synced: what is to be read behind the column's name, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsyncable {
    #[error(
        "has a union in its type, which cannot be synced; select one member of it, or leave it out"
    )]
    Union,
    #[error(
        "is nested deeper than {DEEPEST} levels, which cannot be synced; select parts of it, or leave it out"
    )]
    TooDeep,
    #[error(
        "has lists of {0} items each, where at most {LONGEST} can be synced; select some of them, or leave it out"
    )]
    TooLong(i32),
    #[error(
        "has a struct with two members named `{0}`, which cannot be synced; give each its own name, or leave it out"
    )]
    RepeatedMember(String),
    #[error(
        "has a map whose keys are of the nested type `{0}`, which cannot be synced; select its values, or leave it out"
    )]
    NestedKey(DataType),
    #[error("has the type `{0}`, which cannot be synced; cast it to another, or leave it out")]
    Unknown(DataType),
}

/// Whether columns of this type can be synced, once they are unpacked.
///
/// # Errors
/// Why not.
pub fn check(data_type: &DataType) -> Result<(), Unsyncable> {
    within(data_type, DEEPEST)
}

fn within(data_type: &DataType, levels: usize) -> Result<(), Unsyncable> {
    let deeper = |part: &DataType| match levels.checked_sub(1) {
        Some(levels) => within(part, levels),
        None => Err(Unsyncable::TooDeep),
    };
    match data_type {
        DataType::Dictionary(_, values) => deeper(values),
        DataType::RunEndEncoded(_, values) => deeper(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => deeper(item.data_type()),
        // The lists of rows that are NULL take room too.
        DataType::FixedSizeList(_, length) if *length > LONGEST => {
            Err(Unsyncable::TooLong(*length))
        }
        DataType::FixedSizeList(item, _) => deeper(item.data_type()),
        DataType::Struct(members) => {
            let mut names: Vec<&String> = members.iter().map(|member| member.name()).collect();
            names.sort_unstable();
            if let Some(two) = names.windows(2).find(|two| two[0] == two[1]) {
                return Err(Unsyncable::RepeatedMember(two[0].clone()));
            }
            members.iter().try_for_each(|member| deeper(member.data_type()))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(members) = entries.data_type() else {
                return Err(Unsyncable::Unknown(data_type.clone()));
            };
            members.iter().try_for_each(|member| deeper(member.data_type()))?;
            match members.first().map(|key| unpacked(key.data_type())) {
                Some(key) if key.is_nested() => Err(Unsyncable::NestedKey(key)),
                _ => Ok(()),
            }
        }
        DataType::Union(..) => Err(Unsyncable::Union),
        scalar => match Column::new(&new_empty_array(scalar)) {
            Some(_) => Ok(()),
            None => Err(Unsyncable::Unknown(scalar.clone())),
        },
    }
}

/// The type without dictionaries, runs, views of lists and lists of one length at any depth: of a type that [`check`] lets through one that
/// [`Column`] knows with all of its parts.
pub fn unpacked(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => unpacked(values),
        DataType::RunEndEncoded(_, values) => unpacked(values.data_type()),
        DataType::List(item) | DataType::ListView(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(part(item))
        }
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(part(item))
        }
        DataType::Struct(members) => DataType::Struct(members.iter().map(part).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(part(entries), *is_sorted),
        scalar => scalar.clone(),
    }
}

fn part(field: &FieldRef) -> FieldRef {
    let data_type = unpacked(field.data_type());
    if data_type == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The word for a nested type, in errors; `None` for scalars.
pub fn nested_kind(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::List(_) | DataType::LargeList(_) => Some("list"),
        DataType::Struct(_) => Some("struct"),
        DataType::Map(..) => Some("map"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Fields, UnionFields, UnionMode};

    use super::*;

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(item, true)))
    }

    fn members(members: &[(&str, DataType)]) -> Fields {
        members.iter().map(|(name, its)| Field::new(*name, its.clone(), true)).collect()
    }

    fn map(key: DataType, value: DataType) -> DataType {
        let entries = members(&[("key", key), ("value", value)]);
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
    }

    fn dictionary(values: DataType) -> DataType {
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(values))
    }

    fn runs(values: DataType) -> DataType {
        let field = |name: &str, its| Arc::new(Field::new(name, its, true));
        DataType::RunEndEncoded(field("run_ends", DataType::Int32), field("values", values))
    }

    fn nested(item: DataType, levels: usize) -> DataType {
        (0..levels).fold(item, |inner, _| list(inner))
    }

    #[test]
    fn a_type_is_refused_for_any_part_of_it_and_by_name() {
        let two = DataType::Struct(members(&[
            ("a", DataType::Int8),
            ("b", DataType::Int8),
            ("a", DataType::Utf8),
        ]));
        let union = DataType::Union(
            UnionFields::from_fields([Field::new("a", DataType::Int8, true)]),
            UnionMode::Sparse,
        );
        for (part, why) in [
            (union, Unsyncable::Union),
            (two, Unsyncable::RepeatedMember("a".to_owned())),
            (
                map(dictionary(list(DataType::Int8)), DataType::Int8),
                Unsyncable::NestedKey(list(DataType::Int8)),
            ),
        ] {
            for whole in [
                part.clone(),
                list(part.clone()),
                dictionary(runs(part.clone())),
                DataType::Struct(members(&[("x", DataType::Int8), ("y", part.clone())])),
                map(DataType::Utf8, part.clone()),
                nested(part.clone(), 20),
            ] {
                assert_eq!(check(&whole), Err(why.clone()), "{whole}");
            }
        }
    }

    #[test]
    fn a_type_may_have_64_levels_and_no_more() {
        assert_eq!(check(&nested(DataType::Int8, DEEPEST)), Ok(()));
        for many in [DEEPEST + 1, 1_000] {
            let deep = nested(DataType::Int8, many);
            assert_eq!(check(&deep), Err(Unsyncable::TooDeep));
            assert_eq!(check(&map(DataType::Utf8, deep.clone())), Err(Unsyncable::TooDeep));
        }
        assert_eq!(check(&nested(dictionary(DataType::Utf8), DEEPEST)), Err(Unsyncable::TooDeep));
    }

    #[test]
    fn whatever_is_let_through_is_known_with_all_its_parts_once_it_is_unpacked() {
        fn is_known(data_type: &DataType) -> bool {
            let is_whole = match data_type {
                DataType::List(part) | DataType::LargeList(part) => is_known(part.data_type()),
                DataType::Struct(parts) => parts.iter().all(|part| is_known(part.data_type())),
                DataType::Map(part, _) => is_known(part.data_type()),
                _ => true,
            };
            is_whole && Column::new(&new_empty_array(data_type)).is_some()
        }
        let fixed = |length| {
            DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Int8, true)), length)
        };
        assert_eq!(check(&list(fixed(LONGEST + 1))), Err(Unsyncable::TooLong(LONGEST + 1)));
        let view = |item| DataType::ListView(Arc::new(Field::new_list_field(item, true)));
        let packed = DataType::Struct(members(&[
            ("a", view(dictionary(DataType::Utf8))),
            ("b", map(dictionary(DataType::Utf8View), runs(list(runs(DataType::Float16))))),
            ("c", dictionary(DataType::Struct(members(&[("d", runs(DataType::Null))])))),
            ("e", fixed(LONGEST)),
        ]));
        assert_eq!(check(&packed), Ok(()));
        assert!(!is_known(&packed) && is_known(&unpacked(&packed)));
        assert_eq!(unpacked(&unpacked(&packed)), unpacked(&packed));
        assert_eq!(unpacked(&dictionary(runs(DataType::Utf8View))), DataType::Utf8View);
    }
}
