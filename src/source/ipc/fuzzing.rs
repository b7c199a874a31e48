//! What the fuzz targets may see of Arrow files: their rows. Not in a release build.

use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt as _;
use futures::executor::block_on;

use super::super::error::Error;
use super::super::grouped::{Grouped as _, GroupedTable};
use super::open;
use super::sample::{fact, table};

/// Rows that are looked at: a few bytes can say that there are a thousand million of them.
const MOST_ROWS: usize = 256;

/// The first rows of a file with these bytes, read so many at a time, of one of its columns or of all; and what people are
/// told of what is wrong with it.
pub fn rows(bytes: &[u8], column: Option<usize>, each: usize) -> (Vec<String>, Option<String>) {
    let mut found = Vec::new();
    let told = block_on(read(bytes, column, each, &mut found)).err();
    (found, told.map(|error| error.to_string()))
}

async fn read(
    bytes: &[u8],
    column: Option<usize>,
    each: usize,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let file = tempfile::NamedTempFile::new().expect("there is room for a small file");
    std::fs::write(file.path(), bytes).expect("there is room for a small file");
    let (opened, ..) = open(&table(file.path()), &[fact(file.path())], None).await?;
    let column = column.filter(|column| *column < opened.schema.fields().len());
    let grouped = GroupedTable::new("t", opened.clone(), None)?;
    let wanted = grouped.wanted(column.map(|column| vec![column]).as_ref());
    let wanted = Arc::new(wanted.expect("the column is there"));
    let mut batches = opened.read(vec![0], wanted, each);
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let options = FormatOptions::default().with_null("~");
        let columns =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns: Vec<_> = columns.filter_map(Result::ok).collect();
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            found.push(values.collect::<Vec<_>>().join("|"));
            if found.len() == MOST_ROWS {
                return Ok(());
            }
        }
    }
    Ok(())
}
