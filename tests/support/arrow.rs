//! Arrow files as tests write them.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};

use super::parquet;
use super::people::Person;

/// The people table in record batches of 100 rows.
fn batches(people: &[Person]) -> Vec<RecordBatch> {
    let batch = parquet::people(people);
    let rows = (0..batch.num_rows()).step_by(100);
    rows.map(|first| batch.slice(first, 100.min(batch.num_rows() - first))).collect()
}

/// As a file in the IPC file format.
pub fn file(people: &[Person]) -> Vec<u8> {
    let schema = parquet::people(people).schema();
    let mut writer = FileWriter::try_new(Vec::new(), &schema).expect("a writer");
    for batch in batches(people) {
        writer.write(&batch).expect("the rows can be written");
    }
    writer.finish().expect("the footer can be written");
    writer.into_inner().expect("it is finished")
}

/// As one in the stream format.
pub fn stream(people: &[Person]) -> Vec<u8> {
    let schema = parquet::people(people).schema();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a writer");
    for batch in batches(people) {
        writer.write(&batch).expect("the rows can be written");
    }
    writer.finish().expect("the marker can be written");
    writer.into_inner().expect("it is finished")
}
