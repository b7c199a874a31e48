//! What the fuzz target may see of PostgreSQL: columns, and the stream of a binary COPY as it comes. Not in a release build.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use tokio_postgres::types::Type;

use super::decode::Decoder;
use super::frames::{Frames, Row, Wrong, is_whole};
use super::wire::asked;

/// Types of columns, each with a way of its own to be read.
const TYPES: [Type; 26] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::XID8,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::CHAR,
    Type::BYTEA,
    Type::JSONB,
    Type::UUID,
    Type::DATE,
    Type::TIME,
    Type::TIMETZ,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INTERVAL,
    Type::INET,
    Type::MACADDR,
    Type::VARBIT,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::NUMERIC_ARRAY,
];

/// The rows of a stream that comes in these pieces, with columns of the types that have these numbers; where it is whole, and
/// each value can be taken. How many rows came stands beside them.
pub fn decoded(kinds: &[u8], pieces: &[&[u8]]) -> Option<(usize, Option<RecordBatch>)> {
    let kind = |number: &u8| asked(&TYPES[usize::from(*number) % TYPES.len()], -1).ok();
    let columns: Vec<_> = kinds.iter().map(kind).collect::<Option<_>>()?;
    let fields = columns.iter().enumerate();
    let fields = fields.map(|(at, asked)| Field::new(at.to_string(), asked.data_type(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let count = columns.len();
    let mut decoder = Decoder::new(columns, schema, &[], true, usize::MAX, String::new());
    let (mut frames, mut rows) = (Frames::default(), 0);
    for piece in pieces {
        let take = |row: Row<'_>| {
            rows += 1;
            decoder.row(row).map_err(|_| -> Wrong { "a value is refused" })
        };
        frames.feed(Bytes::copy_from_slice(piece), count, take).ok()?;
    }
    is_whole(&frames).then(|| (rows, decoder.batch()))
}
