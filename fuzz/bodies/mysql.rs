//! Packets of a MySQL server → columns and rows. Guards: whatever is sent, a row is taken or an error; what is taken has as many
//! rows as came, and every value of it can be said in JSON or is refused by name.

use counterflow::domain::column::Column;
use counterflow::domain::render::render;
use counterflow::source::mysql::fuzzing::decoded;

use super::Input;

/// The input is a byte that chooses how many columns there are, a part each for what they are, and a part each row.
pub fn fuzz_mysql(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let count = input.byte() % 6 + 1;
    let columns: Vec<&[u8]> = (0..count).map(|_| input.part()).collect();
    let mut rows = Vec::new();
    while !input.rest.is_empty() {
        rows.push(input.part());
    }
    let Some(batch) = decoded(&columns, &rows) else { return false };
    assert_eq!((batch.num_columns(), batch.num_rows()), (columns.len(), rows.len()));
    let mut out = Vec::new();
    for column in batch.columns() {
        let column = Column::new(column).expect("it is of a type that is known");
        for row in 0..batch.num_rows() {
            // What has no form in JSON says so.
            let _ = render(column.value(row), &mut out);
        }
    }
    true
}
