//! Parquet files as tests write them.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::people::Person;

/// Writes a Parquet file in groups of so many rows.
pub fn write(path: &Path, batch: &RecordBatch, group: usize) {
    let file = std::fs::File::create(path).expect("a file can be made");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let writer = ArrowWriter::try_new(file, batch.schema(), Some(properties));
    let mut writer = writer.expect("a writer");
    // A writer that is given many groups at once splits them off one by one, each deeper in its stack.
    for first in (0..batch.num_rows()).step_by(group) {
        let rows = batch.slice(first, group.min(batch.num_rows() - first));
        writer.write(&rows).expect("the rows can be written");
    }
    writer.close().expect("the footer can be written");
}

/// Columns with names, as a batch.
pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(nullable).expect("columns of one length")
}

/// The people table, with the types that a CSV file of it is read with.
pub fn people(people: &[Person]) -> RecordBatch {
    let records: Vec<serde_json::Value> = people.iter().map(|person| person.record()).collect();
    let number = |field: &str| -> ArrayRef {
        Arc::new(Int64Array::from_iter(records.iter().map(|record| record[field].as_i64())))
    };
    let text = |field: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter(records.iter().map(|record| record[field].as_str())))
    };
    let (id, counter) = (number("id"), number("counter"));
    let columns = vec![("id", id), ("counter", counter)];
    batch([columns, vec![("checksum", text("checksum")), ("email", text("email"))]].concat())
}
