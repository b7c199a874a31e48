//! One column of a batch while it is filled from fields.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int16Builder,
    Int32Builder, Int64Builder, StringViewBuilder, TimestampMicrosecondBuilder,
};

use super::column_type::{self, ColumnType};

/// The values read so far, in the array that carries the column's type.
pub(in super::super) enum Column {
    SmallInt(Int16Builder),
    Integer(Int32Builder),
    BigInt(Int64Builder),
    Double { values: Float64Builder, is_declared: bool },
    Decimal { values: Decimal128Builder, precision: u8, scale: i8, is_declared: bool },
    Boolean { values: BooleanBuilder, is_declared: bool },
    Date(Date32Builder),
    Timestamp { values: TimestampMicrosecondBuilder, has_zone: bool },
    Varchar(StringViewBuilder),
}

impl Column {
    pub fn new(column_type: ColumnType, is_declared: bool) -> Self {
        let data_type = column_type.data_type();
        match column_type {
            ColumnType::SmallInt => Column::SmallInt(Int16Builder::new()),
            ColumnType::Integer => Column::Integer(Int32Builder::new()),
            ColumnType::BigInt => Column::BigInt(Int64Builder::new()),
            ColumnType::Double => Column::Double { values: Float64Builder::new(), is_declared },
            ColumnType::Decimal { precision, scale } => {
                let values = Decimal128Builder::new().with_data_type(data_type);
                Column::Decimal { values, precision, scale, is_declared }
            }
            ColumnType::Boolean => Column::Boolean { values: BooleanBuilder::new(), is_declared },
            ColumnType::Date => Column::Date(Date32Builder::new()),
            ColumnType::Timestamp | ColumnType::TimestampWithTimeZone => Column::Timestamp {
                values: TimestampMicrosecondBuilder::new().with_data_type(data_type),
                has_zone: column_type == ColumnType::TimestampWithTimeZone,
            },
            ColumnType::Varchar | ColumnType::Json => Column::Varchar(StringViewBuilder::new()),
        }
    }

    /// Adds a value; `false`, and nothing added, if it does not fit.
    #[must_use]
    pub fn push(&mut self, field: &[u8]) -> bool {
        let pushed = match self {
            Column::SmallInt(values) => column_type::integer(field)
                .and_then(|value| i16::try_from(value).ok())
                .map(|value| values.append_value(value)),
            Column::Integer(values) => column_type::integer(field)
                .and_then(|value| i32::try_from(value).ok())
                .map(|value| values.append_value(value)),
            Column::BigInt(values) => {
                column_type::integer(field).map(|value| values.append_value(value))
            }
            Column::Double { values, is_declared: true } => {
                column_type::declared_double(field).map(|value| values.append_value(value))
            }
            Column::Double { values, is_declared: false } => {
                column_type::exact_double(field).map(|value| values.append_value(value))
            }
            Column::Decimal { values, precision, scale, is_declared } => {
                let is_as_written = *is_declared || column_type::exact_scale(field) == Some(*scale);
                column_type::decimal(field, *precision, *scale)
                    .filter(|_| is_as_written)
                    .map(|value| values.append_value(value))
            }
            Column::Boolean { values, is_declared: true } => {
                column_type::declared_boolean(field).map(|value| values.append_value(value))
            }
            Column::Boolean { values, is_declared: false } => {
                column_type::boolean(field).map(|value| values.append_value(value))
            }
            Column::Date(values) => {
                column_type::date(field).map(|value| values.append_value(value))
            }
            Column::Timestamp { values, has_zone } => column_type::date_time(field)
                .filter(|time| time.has_zone == *has_zone)
                .map(|time| values.append_value(time.microseconds)),
            Column::Varchar(values) => {
                std::str::from_utf8(field).ok().map(|value| values.append_value(value))
            }
        };
        pushed.is_some()
    }

    pub fn push_null(&mut self) {
        match self {
            Column::SmallInt(values) => values.append_null(),
            Column::Integer(values) => values.append_null(),
            Column::BigInt(values) => values.append_null(),
            Column::Double { values, .. } => values.append_null(),
            Column::Decimal { values, .. } => values.append_null(),
            Column::Boolean { values, .. } => values.append_null(),
            Column::Date(values) => values.append_null(),
            Column::Timestamp { values, .. } => values.append_null(),
            Column::Varchar(values) => values.append_null(),
        }
    }

    /// The column so far; the next batch begins empty.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Column::SmallInt(values) => Arc::new(values.finish()),
            Column::Integer(values) => Arc::new(values.finish()),
            Column::BigInt(values) => Arc::new(values.finish()),
            Column::Double { values, .. } => Arc::new(values.finish()),
            Column::Decimal { values, .. } => Arc::new(values.finish()),
            Column::Boolean { values, .. } => Arc::new(values.finish()),
            Column::Date(values) => Arc::new(values.finish()),
            Column::Timestamp { values, .. } => Arc::new(values.finish()),
            Column::Varchar(values) => Arc::new(values.finish()),
        }
    }
}
