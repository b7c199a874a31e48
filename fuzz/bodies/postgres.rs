//! The binary COPY of a PostgreSQL server → rows. Guards: whatever is sent, in whatever pieces, it is rows or an error; what is
//! taken has as many rows as came, and each value of it can be said in JSON or is refused by name; a stream that lacks its last
//! byte is none.

use counterflow::domain::column::Column;
use counterflow::domain::render::render;
use counterflow::source::postgres::fuzzing::decoded;

use super::Input;

/// The input is a byte that chooses how many columns there are, one each for their types, one for how large the pieces are, and
/// the stream.
pub fn fuzz_postgres(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let count = input.byte() % 6 + 1;
    let kinds: Vec<u8> = (0..count).map(|_| input.byte()).collect();
    let size = usize::from(input.byte()) + 1;
    let stream = input.rest;
    let pieces = |stream: &'_ [u8]| decoded(&kinds, &stream.chunks(size).collect::<Vec<_>>());
    let Some((rows, batch)) = pieces(stream) else { return false };
    let (whole, _) = decoded(&kinds, &[stream]).expect("it is the same in one piece");
    assert_eq!((whole, batch.as_ref().map_or(0, |batch| batch.num_rows())), (rows, rows));
    assert!(pieces(&stream[..stream.len() - 1]).is_none(), "it lacks its last byte");
    let mut out = Vec::new();
    for column in batch.iter().flat_map(|batch| batch.columns()) {
        let column = Column::new(column).expect("it is of a type that is known");
        for row in 0..rows {
            // What has no form in JSON says so.
            let _ = render(column.value(row), &mut out);
        }
    }
    true
}
