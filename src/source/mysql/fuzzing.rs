//! What the fuzz target may see of MySQL: columns and rows as a server sends them. Not in a release build.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};

use super::column::form;
use super::connection::described;
use super::decode::{Answered, Decoder};

/// The rows of an answer with these columns, where each of both can be taken.
pub fn decoded(columns: &[&[u8]], rows: &[&[u8]]) -> Option<RecordBatch> {
    let answered = |packet: &&[u8]| {
        let column = described(packet).ok()?;
        let form = form(&column, true).ok()?;
        Some(Answered { name: column.name, form })
    };
    let answered: Vec<Answered> = columns.iter().map(answered).collect::<Option<_>>()?;
    let field = |column: &Answered| Field::new(&column.name, column.form.data_type(), true);
    let schema = Arc::new(Schema::new(answered.iter().map(field).collect::<Vec<_>>()));
    let all = (0..answered.len()).collect();
    let most = (schema, rows.len() + 1);
    let mut decoder = Decoder::new(answered, all, &[], most, true, String::new());
    for row in rows {
        decoder.row(row).ok()?;
    }
    decoder.batch()
}
