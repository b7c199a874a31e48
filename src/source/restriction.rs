//! A read of no more than a model's new rows, and the largest value of its cursor that a read has met.
//!
//! Not responsible for whether a read may be restricted (`domain::cursor`). Guards: rows whose cursor is NULL are always read,
//! and so are those whose keys are asked for; one predicate says all of it, as a second read would meet rows twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::{cast, max};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;

use super::error::{Error, unknown};
use crate::domain::cursor::{Bound, Cursor, CursorKind, Whole};
use crate::domain::key;
use crate::domain::render::render;
use crate::domain::sync::Model;
use crate::domain::value::Value;
use crate::points::is_planted;

/// What of a model a read is restricted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restriction {
    pub column: String,
    /// Rows from here on, and those without a value.
    pub from: Bound,
    /// The model's columns that make the delivered key.
    key: Vec<String>,
    /// Keys whose rows are read whatever their cursor says.
    keys: Vec<Vec<Literal>>,
}

/// A value of a key as SQL has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Literal {
    Number(String),
    Text(String),
}

impl Literal {
    fn of(value: Value<'_>) -> Option<Literal> {
        match value {
            Value::Decimal { mantissa, .. } if mantissa.to_i128().is_none() => None,
            Value::Integer(_) | Value::Unsigned(_) | Value::Decimal { .. } => {
                let mut json = Vec::new();
                render(value, &mut json).ok()?;
                let text = String::from_utf8(json).ok()?;
                Some(Literal::Number(text.trim_matches('"').to_owned()))
            }
            Value::Text(text) => Some(Literal::Text(text.to_owned())),
            _ => None,
        }
    }
}

/// How a database says things in SQL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub identifier: fn(&str) -> String,
    pub text: fn(&str) -> String,
    /// A time in UTC.
    pub timestamp: fn(&str) -> String,
    /// That a column, which is no number, has what is read as NULL though it is not; `None` where there is no such thing.
    pub nothing: Option<fn(&str) -> String>,
}

impl Restriction {
    /// To the rows from a bound on, and those of these keys, whose fields are these columns of the model.
    ///
    /// # Errors
    /// The keys are of a kind that cannot be asked for.
    pub fn new<'k>(
        cursor: &Cursor,
        from: Bound,
        key: Vec<String>,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Restriction, Whole> {
        let literals = |key: &[u8]| {
            let values = key::values(key)?;
            values.into_iter().map(Literal::of).collect::<Option<Vec<_>>>()
        };
        let mut asked = Vec::new();
        for bytes in keys.filter(|_| !is_planted("doubt_not_fetched")) {
            let literals = literals(bytes).filter(|literals| literals.len() == key.len());
            asked.push(literals.ok_or(Whole::Keys)?);
        }
        Ok(Restriction { column: cursor.column.clone(), from, key, keys: asked })
    }

    /// Whether a model with these columns can be restricted so.
    pub(super) fn fits(&self, schema: &Schema) -> bool {
        let has = |name: &String| schema.field_with_name(name).is_ok();
        let kind = schema.field_with_name(&self.column).map(|field| kind(field.data_type()));
        kind.ok().flatten() == Some(self.from.kind) && self.key.iter().all(has)
    }

    /// The predicate in the SQL of a database that speaks so.
    pub(super) fn sql(&self, words: &Words) -> String {
        let Words { identifier, text, timestamp, nothing } = words;
        let column = identifier(&self.column);
        let from = match self.from.kind {
            CursorKind::Integer => self.from.to_string(),
            CursorKind::Date => format!("DATE '{}'", self.from),
            CursorKind::Timestamp => timestamp(&self.from.to_string()),
            CursorKind::LocalTimestamp => format!("TIMESTAMP '{}'", self.from),
        };
        let mut predicate = format!("{column} >= {from} OR {column} IS NULL");
        if let Some(nothing) = nothing.filter(|_| self.from.kind != CursorKind::Integer) {
            predicate += &format!(" OR {}", nothing(&column));
        }
        let literal = |literal: &Literal| match literal {
            Literal::Number(number) => number.clone(),
            Literal::Text(words) => text(words),
        };
        let is_among = |(name, values): (&String, Vec<&Literal>)| {
            let values: Vec<String> = values.into_iter().map(literal).collect();
            format!("{} IN ({})", identifier(name), values.join(", "))
        };
        let asked: Vec<String> = self.asked().map(is_among).collect();
        if !asked.is_empty() {
            predicate += &format!(" OR {}", asked.join(" AND "));
        }
        predicate
    }

    /// The columns of the key, each with its values in the keys that are asked for, each once. Rows that have one of them in
    /// every column are more than those asked for, and are judged as any other; lists are looked up, however long.
    fn asked(&self) -> impl Iterator<Item = (&String, Vec<&Literal>)> {
        let columns = self.key.iter().enumerate().filter(|_| !self.keys.is_empty());
        columns.map(|(place, name)| {
            let values: BTreeSet<_> = self.keys.iter().filter_map(|key| key.get(place)).collect();
            (name, values.into_iter().collect())
        })
    }

    /// The predicate over the columns of a model, which it fits.
    pub(super) fn expression(&self, schema: &DFSchema) -> Expr {
        let column = |name: &str| {
            let found = schema.iter().find(|(_, field)| field.name() == name).map(Column::from);
            Expr::Column(found.expect("the restriction fits the model"))
        };
        let cursor = column(&self.column);
        let field = schema.field_with_unqualified_name(&self.column);
        let data_type = field.expect("the restriction fits the model").data_type();
        let from = cursor.clone().gt_eq(lit(scalar(self.from, data_type)));
        let is_among = |(name, values): (&String, Vec<&Literal>)| {
            column(name).in_list(values.into_iter().map(value).collect(), false)
        };
        let asked = self.asked().map(is_among).reduce(Expr::and);
        let new = from.or(cursor.is_null());
        match asked {
            Some(asked) => new.or(asked),
            None => new,
        }
    }
}

fn value(literal: &Literal) -> Expr {
    match literal {
        Literal::Number(number) => match (number.parse::<i64>(), number.parse::<u64>()) {
            (Ok(number), _) => lit(number),
            (Err(_), Ok(number)) => lit(number),
            // Decimals are compared as such, whatever their scale.
            _ => lit(decimal(number)),
        },
        Literal::Text(text) => lit(text.as_str()),
    }
}

fn decimal(number: &str) -> ScalarValue {
    let scale = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let mantissa = number.replace('.', "").parse::<i128>();
    match (mantissa, i8::try_from(scale)) {
        (Ok(mantissa), Ok(scale)) if scale <= 38 => {
            ScalarValue::Decimal128(Some(mantissa), 38, scale)
        }
        _ => ScalarValue::Utf8(Some(number.to_owned())),
    }
}

/// What the values of a column of this type are as a cursor; `None` where it cannot be one.
pub(super) fn kind(data_type: &DataType) -> Option<CursorKind> {
    match data_type {
        _ if data_type.is_integer() => Some(CursorKind::Integer),
        DataType::Date32 | DataType::Date64 => Some(CursorKind::Date),
        DataType::Timestamp(_, Some(_)) => Some(CursorKind::Timestamp),
        DataType::Timestamp(_, None) => Some(CursorKind::LocalTimestamp),
        _ => None,
    }
}

/// The bound as a value of a column of this type, or the next below it that the type has.
fn scalar(bound: Bound, data_type: &DataType) -> ScalarValue {
    let at = bound.at;
    match data_type {
        DataType::Timestamp(unit, zone) => {
            let zone = zone.clone();
            match unit {
                TimeUnit::Second => {
                    ScalarValue::TimestampSecond(Some(at.div_euclid(1_000_000)), zone)
                }
                TimeUnit::Millisecond => {
                    ScalarValue::TimestampMillisecond(Some(at.div_euclid(1_000)), zone)
                }
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(at), zone),
                TimeUnit::Nanosecond => {
                    ScalarValue::TimestampNanosecond(Some(at.saturating_mul(1_000)), zone)
                }
            }
        }
        DataType::Date32 => ScalarValue::Date32(Some(i32::try_from(at).unwrap_or(i32::MIN))),
        DataType::Date64 => ScalarValue::Date64(Some(at.saturating_mul(24 * 60 * 60 * 1_000))),
        _ if data_type.is_unsigned_integer() => {
            ScalarValue::UInt64(Some(u64::try_from(at).unwrap_or(0)))
        }
        _ => ScalarValue::Int64(Some(at)),
    }
}

/// The cursor of a read: what it has met of it so far.
#[derive(Debug, Clone)]
pub struct Met {
    pub kind: CursorKind,
    /// The read met no more than its restriction lets through.
    pub is_restricted: bool,
    largest: Arc<Mutex<Option<i64>>>,
}

impl Met {
    /// Of a model with these columns.
    ///
    /// # Errors
    /// The column is not there, or cannot be a cursor.
    pub(super) fn begin(
        model: &Model,
        cursor: &Cursor,
        schema: &Schema,
        is_restricted: bool,
    ) -> Result<Met, Error> {
        let place = format!("the cursor of model `{}`", model.name);
        let Ok(field) = schema.field_with_name(&cursor.column) else {
            let columns: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
            return Err(Error::Definition(unknown("column", &cursor.column, &place, &columns)));
        };
        let Some(kind) = kind(field.data_type()) else {
            return Err(Error::Definition(format!(
                "{place} is column `{}` of type {}; a cursor rises with each change: name a column of whole numbers, dates or \
                 timestamps",
                cursor.column,
                field.data_type()
            )));
        };
        cursor.check(kind).map_err(|remedy| {
            let column = &cursor.column;
            Error::Definition(format!(
                "{place}: {remedy}, as `{column}` is a {}",
                field.data_type()
            ))
        })?;
        Ok(Met::new(kind, is_restricted))
    }

    /// Of a read that has met nothing so far.
    pub fn new(kind: CursorKind, is_restricted: bool) -> Met {
        Met { kind, is_restricted, largest: Arc::default() }
    }

    /// The largest value that was met; to be asked after all streams ended.
    pub fn largest(&self) -> Option<Bound> {
        let largest = *self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        largest.map(|at| Bound { kind: self.kind, at })
    }

    /// The stream without its last column, which is the cursor.
    pub(super) fn watch(&self, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = without_last(&stream.schema());
        let (met, schema_of) = (self.clone(), Arc::clone(&schema));
        let batches = stream.map(move |batch| {
            let batch = batch?;
            let (cursor, rest) = batch.columns().split_last().expect("the cursor is among them");
            met.meet(cursor)?;
            let options = datafusion::arrow::array::RecordBatchOptions::new()
                .with_row_count(Some(batch.num_rows()));
            let rest =
                RecordBatch::try_new_with_options(Arc::clone(&schema_of), rest.to_vec(), &options);
            Ok(rest?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }

    /// Takes in the cursor of some rows.
    ///
    /// # Errors
    /// The values are none of a cursor.
    pub fn meet(&self, values: &ArrayRef) -> Result<(), DataFusionError> {
        // What does not fit is left out: the bound is the lower for it.
        let largest = match self.kind {
            CursorKind::Integer => max(cast(values, &DataType::Int64)?.as_primitive::<Int64Type>()),
            CursorKind::Date => {
                let days = cast(values, &DataType::Date32)?;
                max(days.as_primitive::<Date32Type>()).map(i64::from)
            }
            CursorKind::Timestamp | CursorKind::LocalTimestamp => {
                let zone = match values.data_type() {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                let micros = cast(values, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
                max(micros.as_primitive::<TimestampMicrosecondType>())
            }
        };
        let mut known = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        *known = (*known).max(largest);
        Ok(())
    }
}

fn without_last(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().take(schema.fields().len() - 1).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::arrow::array::{Int64Array, StringArray, TimestampNanosecondArray};
    use datafusion::arrow::datatypes::i256;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn cursor() -> Cursor {
        let (column, full_every) = ("at".to_owned(), Duration::from_secs(60));
        Cursor { column, overlap: None, full_every, time_zone: None }
    }

    fn key(values: &[Value<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.encode(&mut bytes));
        bytes
    }

    fn restriction(
        kind: CursorKind,
        at: i64,
        keys: &[Vec<u8>],
        columns: &[&str],
    ) -> Result<Restriction, Whole> {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Restriction::new(&cursor(), Bound { kind, at }, columns, keys.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_database_is_asked_in_its_own_words() {
        let words = Words {
            identifier: |name| format!("\"{name}\""),
            text: |text| format!("'{}'", text.replace('\'', "''")),
            timestamp: |said| format!("TIMESTAMPTZ '{said}'"),
            nothing: Some(|column| format!("{column} = '-infinity'")),
        };
        let sql = |restriction: Restriction| restriction.sql(&words);
        let none = restriction(CursorKind::Timestamp, 1_500_000, &[], &["id"]).unwrap();
        assert_eq!(
            sql(none),
            "\"at\" >= TIMESTAMPTZ '1970-01-01T00:00:01.500Z' OR \"at\" IS NULL OR \"at\" = '-infinity'"
        );
        let decimal = Value::Decimal { mantissa: i256::from_i128(-125), scale: 2 };
        let keys =
            [key(&[Value::Integer(7), Value::Text("o'b")]), key(&[decimal, Value::Text("")])];
        let some = restriction(CursorKind::Integer, -4, &keys, &["id", "of"]).unwrap();
        assert_eq!(
            sql(some),
            "\"at\" >= -4 OR \"at\" IS NULL OR \"id\" IN (-1.25, 7) AND \"of\" IN ('', 'o''b')"
        );
    }

    #[test]
    fn keys_that_cannot_be_asked_for_make_the_read_whole() {
        let of = |value| restriction(CursorKind::Integer, 0, &[key(&[value])], &["id"]).err();
        assert_eq!(of(Value::Unsigned(u64::MAX)), None);
        for value in
            [Value::Float64(0.5), Value::Date(1), Value::Binary(b"x"), Value::Boolean(true)]
        {
            assert_eq!(of(value), Some(Whole::Keys), "{value:?}");
        }
        let two = key(&[Value::Integer(1), Value::Integer(2)]);
        assert_eq!(restriction(CursorKind::Integer, 0, &[two], &["id"]).err(), Some(Whole::Keys));
        let ten = i256::from_i128(10);
        let wide = i256::from_i128(i128::MAX).wrapping_mul(ten).wrapping_add(i256::ONE);
        assert_eq!(of(Value::Decimal { mantissa: wide, scale: 1 }), Some(Whole::Keys));
    }

    #[tokio::test]
    async fn rows_from_the_bound_on_those_without_and_those_asked_for_come() {
        let nanoseconds = [Some(1_000), Some(5_999), Some(6_000), None, Some(2_000), Some(3_000)];
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 6]))),
            ("of", Arc::new(StringArray::from(vec!["a"; 6]))),
            ("at", Arc::new(TimestampNanosecondArray::from(nanoseconds.to_vec()))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, values)| (name, values, true)),
        )
        .unwrap();
        let found = async |restriction: Restriction| {
            assert!(restriction.fits(&batch.schema()));
            let context = SessionContext::new();
            let frame = context.read_batch(batch.clone()).unwrap();
            let predicate = restriction.expression(frame.schema());
            let batches = frame.filter(predicate).unwrap().collect().await.unwrap();
            let ids = batches
                .iter()
                .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
            let mut ids: Vec<_> = ids.collect();
            ids.sort_unstable();
            ids
        };
        let local = |keys: &[Vec<u8>], columns: &[&str]| {
            restriction(CursorKind::LocalTimestamp, 6, keys, columns).unwrap()
        };
        assert_eq!(found(local(&[], &["id"])).await, [3, 4]);
        let one = [key(&[Value::Integer(1)]), key(&[Value::Integer(9)])];
        assert_eq!(found(local(&one, &["id"])).await, [1, 3, 4]);
        let two = [5, 6, 7]
            .map(|id| key(&[Value::Integer(id), Value::Text(if id == 6 { "b" } else { "a" })]));
        assert_eq!(found(local(&two, &["id", "of"])).await, [3, 4, 5, 6], "one more harms nothing");
        let others = [7, 8].map(|id| key(&[Value::Integer(id), Value::Text("a")]));
        assert_eq!(found(local(&others, &["id", "of"])).await, [3, 4]);
        let many: Vec<_> =
            (-9_998..=1).map(|id| key(&[Value::Integer(id), Value::Text("a")])).collect();
        assert_eq!(found(local(&many, &["id", "of"])).await, [1, 3, 4]);
        let other = restriction(CursorKind::Timestamp, 6, &[], &["id"]).unwrap();
        assert!(!other.fits(&batch.schema()), "its bound is of another type");
        assert!(!local(&[], &["gone"]).fits(&batch.schema()));
    }

    #[test]
    fn the_largest_value_is_met_in_whatever_unit_the_column_has() {
        let met = |kind| Met::new(kind, false);
        let times = met(CursorKind::LocalTimestamp);
        assert_eq!(times.largest(), None);
        for nanoseconds in [vec![None, Some(2_999)], vec![Some(1_000)], vec![None], Vec::new()] {
            times
                .meet(&(Arc::new(TimestampNanosecondArray::from(nanoseconds)) as ArrayRef))
                .unwrap();
        }
        assert_eq!(times.largest(), Some(Bound { kind: CursorKind::LocalTimestamp, at: 2 }));
        let numbers = met(CursorKind::Integer);
        let unsigned = datafusion::arrow::array::UInt64Array::from(vec![3, u64::MAX]);
        numbers.meet(&(Arc::new(unsigned) as ArrayRef)).unwrap();
        assert_eq!(numbers.largest().map(|bound| bound.at), Some(3), "what has no room lowers it");
    }
}
