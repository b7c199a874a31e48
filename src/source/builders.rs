//! The columns of batches, as the decoders of databases fill them, and when a batch is full.
//!
//! Not responsible for what bytes mean (`postgres::decode`, `mysql::decode`).

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    Decimal256Builder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder,
    Int64Builder, IntervalMonthDayNanoBuilder, RecordBatch, RecordBatchOptions, StringViewBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt8Builder, UInt16Builder,
    UInt32Builder, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use super::weights::row_width;

/// Bytes of a batch, roughly; a row may be longer.
const BATCH_BYTES: usize = 2 << 20;

/// One column.
pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    /// With the digits behind its point.
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, i8),
    Text(StringViewBuilder),
    Binary(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
}

/// The same for each kind of builder.
macro_rules! with {
    ($builder:expr, |$it:ident| $done:expr) => {
        match $builder {
            Builder::Boolean($it) => $done,
            Builder::Int8($it) => $done,
            Builder::Int16($it) => $done,
            Builder::Int32($it) => $done,
            Builder::Int64($it) => $done,
            Builder::UInt8($it) => $done,
            Builder::UInt16($it) => $done,
            Builder::UInt32($it) => $done,
            Builder::UInt64($it) => $done,
            Builder::Float32($it) => $done,
            Builder::Float64($it) => $done,
            Builder::Decimal128($it, _) => $done,
            Builder::Decimal256($it, _) => $done,
            Builder::Text($it) => $done,
            Builder::Binary($it) => $done,
            Builder::Date($it) => $done,
            Builder::Time($it) => $done,
            Builder::Timestamp($it) => $done,
            Builder::Interval($it) => $done,
        }
    };
}

impl Builder {
    /// For one of the types that the databases' columns have.
    pub fn new(data_type: &DataType) -> Builder {
        let typed = || data_type.clone();
        match data_type {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Builder::Int8(Int8Builder::new()),
            DataType::Int16 => Builder::Int16(Int16Builder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::UInt8 => Builder::UInt8(UInt8Builder::new()),
            DataType::UInt16 => Builder::UInt16(UInt16Builder::new()),
            DataType::UInt32 => Builder::UInt32(UInt32Builder::new()),
            DataType::UInt64 => Builder::UInt64(UInt64Builder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Decimal128(_, scale) => {
                Builder::Decimal128(Decimal128Builder::new().with_data_type(typed()), *scale)
            }
            DataType::Decimal256(_, scale) => {
                Builder::Decimal256(Decimal256Builder::new().with_data_type(typed()), *scale)
            }
            DataType::BinaryView => Builder::Binary(BinaryViewBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Time64(_) => Builder::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(..) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(typed()))
            }
            DataType::Interval(_) => Builder::Interval(IntervalMonthDayNanoBuilder::new()),
            DataType::Utf8View => Builder::Text(StringViewBuilder::new()),
            other => unreachable!("no column of a database is `{other}` here"),
        }
    }

    pub fn null(&mut self) {
        with!(self, |builder| builder.append_null());
    }

    pub fn finish(&mut self) -> ArrayRef {
        with!(self, |builder| Arc::new(builder.finish()))
    }
}

/// The rows of the batch that is being filled.
pub(super) struct Filling {
    pub schema: SchemaRef,
    /// Bytes that a row takes whatever it holds.
    width: usize,
    most_rows: usize,
    rows: usize,
    bytes: usize,
}

impl Filling {
    pub fn new(schema: SchemaRef, most_rows: usize) -> Filling {
        let width = row_width(&schema);
        Filling { schema, width, most_rows, rows: 0, bytes: 0 }
    }

    /// A row of so many bytes came.
    pub fn row(&mut self, bytes: usize) {
        self.rows += 1;
        // NULL came as nothing, and takes as much as a value.
        self.bytes += bytes + self.width;
    }

    /// Whether the rows so far are a batch.
    pub fn is_full(&self) -> bool {
        self.rows >= self.most_rows || self.bytes >= BATCH_BYTES
    }

    /// The rows since the last batch, of these columns, if there are any.
    pub fn batch(&mut self, columns: impl FnOnce() -> Vec<ArrayRef>) -> Option<RecordBatch> {
        if self.rows == 0 {
            return None;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns(), &options);
        (self.rows, self.bytes) = (0, 0);
        Some(batch.expect("the schema was made of the same columns"))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn rows_of_nothing_but_null_make_a_batch_by_what_they_take() {
        let field = |column| Field::new(format!("{column}"), DataType::Decimal256(76, 38), true);
        let schema = Schema::new((0..1_600).map(field).collect::<Vec<_>>());
        let mut filling = Filling::new(Arc::new(schema), 8_192);
        let mut rows = 0;
        while !filling.is_full() {
            filling.row(0);
            rows += 1;
        }
        assert!((30..50).contains(&rows), "{rows}");
    }
}
