//! What the fuzz targets may see of CSV: records, and what a column of fields is read as. Not in a release build.

use std::io::BufRead;

use datafusion::arrow::array::ArrayRef;

use super::super::text::column::Column;
use super::inference::Candidates;
use super::record::Records;

/// One record: the line it begins at, and its fields, each with whether it stands in quotes.
pub type Fields = (u64, Vec<(Vec<u8>, bool)>);

/// All records up to the first damage, and whether there was none.
pub fn records(input: impl BufRead, delimiter: u8) -> (Vec<Fields>, bool) {
    let mut records = Records::new(input, delimiter);
    let mut found = Vec::new();
    loop {
        match records.next() {
            Ok(Some(record)) => {
                let field = |place| (record.field(place).to_vec(), record.is_quoted(place));
                found.push((record.line, (0..record.len()).map(field).collect()));
            }
            Ok(None) => return (found, true),
            Err(_) => return (found, false),
        }
    }
}

/// The column that these fields are inferred to be, with the name of its type; `None` where there is nothing to infer
/// from, `Some(Err(n))` where field n does not fit the type that was inferred from it.
pub fn inferred(fields: &[&[u8]]) -> Option<Result<(String, ArrayRef), usize>> {
    let mut candidates = Candidates::new();
    fields.iter().for_each(|field| candidates.see(field));
    let column_type = candidates.decide()?;
    let mut column = Column::new(column_type, false);
    for (place, field) in fields.iter().enumerate() {
        if !column.push(field) {
            return Some(Err(place));
        }
    }
    Some(Ok((column_type.to_string(), column.finish())))
}
