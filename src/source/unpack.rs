//! Dictionaries, runs, views of lists and lists of one length, which only carry values, made into the values themselves at any depth.
//!
//! A function of the plan, as a cast in DataFusion refuses dictionaries of structs. Guard: whatever type a column comes in, what
//! goes out is of the type that [`unpacked`] names.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray,
};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::domain::syncable::unpacked;

/// The values of an expression of this type, unpacked.
pub(super) fn unpack(expression: Expr, data_type: &DataType) -> (Expr, DataType) {
    let unpacked = unpacked(data_type);
    if unpacked == *data_type {
        return (expression, unpacked);
    }
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(Unpack { signature, unpacked: unpacked.clone() });
    let call = ScalarFunction::new_udf(Arc::new(function), vec![expression]);
    (Expr::ScalarFunction(call), unpacked)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unpack {
    signature: Signature,
    /// What comes out.
    unpacked: DataType,
}

impl ScalarUDFImpl for Unpack {
    fn name(&self) -> &str {
        "unpack"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.unpacked.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [packed] = &args.args[..] else { unreachable!("the signature says that it takes one") };
        Ok(match packed {
            ColumnarValue::Array(array) => ColumnarValue::Array(values(array)?),
            ColumnarValue::Scalar(scalar) => {
                let array = values(&scalar.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
            }
        })
    }
}

/// What the array carries, as [`unpacked`] says.
fn values(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let whole = unpacked(array.data_type());
    if whole == *array.data_type() {
        return Ok(Arc::clone(array));
    }
    Ok(match (array.data_type(), &whole) {
        (DataType::Dictionary(..), _) => {
            let dictionary = array.as_any_dictionary();
            take(&values(dictionary.values())?, dictionary.keys(), None)?
        }
        (DataType::RunEndEncoded(_, carried), _) => values(&cast(array, carried.data_type())?)?,
        // What waits on disk comes back item by item where a list is of one length.
        (DataType::FixedSizeList(item, _) | DataType::ListView(item), _) => {
            values(&cast(array, &DataType::List(Arc::clone(item)))?)?
        }
        (DataType::LargeListView(item), _) => {
            values(&cast(array, &DataType::LargeList(Arc::clone(item)))?)?
        }
        (_, DataType::List(item)) => list(array.as_list::<i32>(), item)?,
        (_, DataType::LargeList(item)) => list(array.as_list::<i64>(), item)?,
        (_, DataType::Struct(its)) => Arc::new(members(array.as_struct(), its)?),
        (_, DataType::Map(entries, is_sorted)) => {
            let map = array.as_map();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let DataType::Struct(its) = entries.data_type() else {
                unreachable!("the entries of a map are structs")
            };
            let its = members(map.entries(), its)?;
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, its, nulls, *is_sorted)?)
        }
        _ => unreachable!("a type that changes is one of these"),
    })
}

fn list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    item: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    let items = values(list.values())?;
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
}

/// Under the fields of their unpacked type.
fn members(members: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let columns = members.columns().iter().map(values).collect::<Result<Vec<_>, _>>()?;
    let (nulls, rows) = (members.nulls().cloned(), members.len());
    StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        DictionaryArray, FixedSizeListArray, Int32Array, ListViewArray, RunArray, StringArray,
        new_null_array,
    };
    use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
    use datafusion::arrow::datatypes::{Field, Int8Type, Int32Type};

    use super::*;
    use crate::domain::column::Column;
    use crate::domain::render::render;

    fn json(array: &ArrayRef) -> Vec<String> {
        let column = Column::new(array).expect("it is unpacked");
        let rows = (0..array.len()).map(|row| {
            let mut out = Vec::new();
            render(column.value(row), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        });
        rows.collect()
    }

    fn field(name: &str, array: &ArrayRef, is_nullable: bool) -> FieldRef {
        Arc::new(Field::new(name, array.data_type().clone(), is_nullable))
    }

    /// Of four rows: `a`, NULL, `b`, `a`.
    fn dictionary() -> ArrayRef {
        let words = [Some("a"), None, Some("b"), Some("a")];
        Arc::new(words.into_iter().collect::<DictionaryArray<Int8Type>>())
    }

    /// Of four rows: `x`, `x`, NULL, `y`.
    fn runs() -> ArrayRef {
        let ends = Int32Array::from(vec![2, 3, 4]);
        let words = StringArray::from(vec![Some("x"), None, Some("y")]);
        Arc::new(RunArray::<Int32Type>::try_new(&ends, &words).unwrap())
    }

    /// Of four rows, the third of them NULL.
    fn structs() -> ArrayRef {
        let (d, r) = (dictionary(), runs());
        let fields = Fields::from(vec![field("d", &d, true), field("r", &r, true)]);
        let nulls = NullBuffer::from(vec![true, true, false, true]);
        Arc::new(StructArray::new(fields, vec![d, r], Some(nulls)))
    }

    const STRUCTS: [&str; 4] =
        [r#"{"d":"a","r":"x"}"#, r#"{"d":null,"r":"x"}"#, "null", r#"{"d":"a","r":"y"}"#];

    #[test]
    fn what_is_carried_in_dictionaries_runs_and_views_comes_out_at_any_depth() {
        let structs = structs();
        assert_eq!(json(&values(&structs).unwrap()), STRUCTS);
        assert_eq!(json(&values(&structs.slice(1, 2)).unwrap()), STRUCTS[1..3]);

        let keys = Int32Array::from(vec![Some(3), None, Some(2), Some(0)]);
        let picked: ArrayRef =
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(&structs)).unwrap());
        let expected = [STRUCTS[3], "null", "null", STRUCTS[0]];
        assert_eq!(json(&values(&picked).unwrap()), expected);
        assert_eq!(json(&values(&picked.slice(2, 2)).unwrap()), expected[2..]);

        let item = field("item", &picked, true);
        let view: ArrayRef = Arc::new(ListViewArray::new(
            Arc::clone(&item),
            vec![2, 0, 0].into(),
            vec![2, 0, 3].into(),
            Arc::clone(&picked),
            Some(NullBuffer::from(vec![true, true, true])),
        ));
        let of_view = [
            format!("[null,{}]", STRUCTS[0]),
            "[]".to_owned(),
            format!("[{},null,null]", STRUCTS[3]),
        ];
        assert_eq!(json(&values(&view).unwrap()), of_view);

        let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(item, 2, picked, None));
        let fixed = values(&fixed.slice(1, 1)).unwrap();
        assert_eq!(json(&fixed), [format!("[null,{}]", STRUCTS[0])]);
    }

    #[test]
    fn the_keys_and_values_of_a_map_are_unpacked_and_what_needs_none_of_it_is_left_alone() {
        let words = ["k", "l", "k", "m"];
        let keys: ArrayRef = Arc::new(words.into_iter().collect::<DictionaryArray<Int8Type>>());
        let its = structs();
        let fields = Fields::from(vec![field("key", &keys, false), field("value", &its, true)]);
        let entries = StructArray::new(fields, vec![keys, its], None);
        let entries_field = Field::new("entries", entries.data_type().clone(), false);
        let offsets = OffsetBuffer::new(vec![0, 2, 2, 4].into());
        let map: ArrayRef =
            Arc::new(MapArray::new(Arc::new(entries_field), offsets, entries, None, false));
        let unpacked = values(&map).unwrap();
        let expected = [
            format!(r#"{{"k": {},"l": {}}}"#, STRUCTS[0], STRUCTS[1]),
            "{}".to_owned(),
            format!(r#"{{"k": null,"m": {}}}"#, STRUCTS[3]),
        ];
        assert_eq!(json(&unpacked), expected);
        assert_eq!(values(&unpacked).unwrap().to_data(), unpacked.to_data());
        assert_eq!(json(&values(&map.slice(2, 1)).unwrap()), expected[2..]);
        let nulls = values(&new_null_array(map.data_type(), 2)).unwrap();
        assert_eq!(json(&nulls), ["null", "null"]);
    }
}
