//! A small table of any columns, as each kind of sources has it and as a destination must hold it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int16Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Map, Value, json};

use crate::servers::cutting::Protocol;
use crate::support::journal::key_of;
use crate::support::parquet;

/// The type of a column, where a kind of sources says types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Short,
    Long,
    Text,
}

/// Columns with their types, and rows of integers, texts and NULLs.
pub struct Sheet {
    columns: Vec<(&'static str, Type)>,
    rows: Vec<Vec<Value>>,
}

impl Sheet {
    /// `rows` is an array of arrays; a column with a text is of texts, and any other of long integers.
    pub fn new(columns: &[&'static str], rows: &Value) -> Sheet {
        let rows = rows.as_array().expect("rows are an array").iter();
        let row = |row: &Value| row.as_array().expect("a row is an array").clone();
        let rows: Vec<Vec<Value>> = rows.map(row).collect();
        let kind = |place: usize| match rows.iter().any(|row| row[place].is_string()) {
            true => Type::Text,
            false => Type::Long,
        };
        let columns = columns.iter().enumerate().map(|(place, name)| (*name, kind(place)));
        Sheet { columns: columns.collect(), rows }
    }

    /// The same, with short integers in this column.
    pub fn shortened(mut self, column: &str) -> Sheet {
        for (name, kind) in &mut self.columns {
            if *name == column {
                assert_eq!(*kind, Type::Long, "`{column}` is of integers");
                *kind = Type::Short;
            }
        }
        self
    }

    /// How a destination that knows records by these fields must hold it.
    pub fn expected(&self, key: &[&str]) -> BTreeMap<String, Value> {
        let key: Vec<String> = key.iter().map(|field| (*field).to_owned()).collect();
        let records = self.records();
        records.map(|record| (key_of(&key, &record).expect("a row has its key"), record)).collect()
    }

    fn records(&self) -> impl Iterator<Item = Value> {
        let record = |row: &Vec<Value>| {
            let names = self.columns.iter().map(|(name, _)| (*name).to_owned());
            Value::Object(names.zip(row.iter().cloned()).collect())
        };
        self.rows.iter().map(record)
    }

    pub fn csv(&self) -> Vec<u8> {
        let said = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => format!("\"{text}\""),
            other => other.to_string(),
        };
        let line = |cells: Vec<String>| cells.join(",") + "\n";
        let names = line(self.columns.iter().map(|(name, _)| (*name).to_owned()).collect());
        let rows = self.rows.iter().map(|row| line(row.iter().map(said).collect()));
        std::iter::once(names).chain(rows).collect::<String>().into_bytes()
    }

    /// A member that is NULL is left out.
    pub fn ndjson(&self) -> Vec<u8> {
        let line = |row: &Vec<Value>| {
            let members = self.columns.iter().map(|(name, _)| (*name).to_owned()).zip(row.iter());
            let said = members.filter(|(_, value)| !value.is_null());
            let said: Map<String, Value> = said.map(|(name, it)| (name, it.clone())).collect();
            format!("{}\n", Value::Object(said)).into_bytes()
        };
        self.rows.iter().flat_map(line).collect()
    }

    pub fn batch(&self) -> RecordBatch {
        let array = |(place, (name, kind)): (usize, &(&'static str, Type))| {
            let values = || self.rows.iter().map(move |row| &row[place]);
            let short = |value: &Value| Some(i16::try_from(value.as_i64()?).expect("it is short"));
            let array: ArrayRef = match kind {
                Type::Short => Arc::new(Int16Array::from_iter(values().map(short))),
                Type::Long => Arc::new(Int64Array::from_iter(values().map(Value::as_i64))),
                Type::Text => Arc::new(StringArray::from_iter(values().map(Value::as_str))),
            };
            (*name, array)
        };
        parquet::batch(self.columns.iter().enumerate().map(array).collect())
    }

    /// The columns of a Delta table, by names and types.
    pub fn of_delta(&self) -> Vec<(&'static str, Value)> {
        let kind = |kind| match kind {
            Type::Short => json!("short"),
            Type::Long => json!("long"),
            Type::Text => json!("string"),
        };
        self.columns.iter().map(|(name, it)| (*name, kind(*it))).collect()
    }

    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// What makes it anew in a database, as the table `people`, without a key of its own.
    pub fn sql(&self, protocol: Protocol) -> String {
        let kind = |kind| match (kind, protocol) {
            (Type::Short, _) => "smallint",
            (Type::Long, _) => "bigint",
            (Type::Text, Protocol::Postgres) => "text",
            (Type::Text, Protocol::MySql) => "varchar(80)",
        };
        let said = |value: &Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => format!("'{text}'"),
            other => other.to_string(),
        };
        let listed = |said: Vec<String>| format!("({})", said.join(", "));
        let columns = self.columns.iter().map(|(name, it)| format!("{name} {}", kind(*it)));
        let rows = self.rows.iter().map(|row| listed(row.iter().map(said).collect()));
        format!(
            "DROP TABLE people; CREATE TABLE people {}; INSERT INTO people VALUES {}",
            listed(columns.collect()),
            rows.collect::<Vec<_>>().join(", ")
        )
    }
}
