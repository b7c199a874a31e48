//! The bytes of one data file, its footer, and the batches as they are stored.
//!
//! Invariant: no bytes but those of a file of the size that the log says.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, TimeUnit};
use delta_kernel::KernelError;
use delta_kernel::engine::arrow_utils::{ReorderIndex, parquet_read_plan};
use delta_kernel::schema::SchemaRef;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use parquet::basic::Type;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::super::error::Error;
use super::super::store::own;
use super::place::Place;
use super::rows::DataFile;

/// Bytes of a file's end that are asked for first.
const FOOTER: usize = 64 << 10;

/// Reads the bytes of one file.
#[derive(Debug)]
pub(super) struct FileReader {
    place: Place,
    path: Path,
    size: u64,
}

/// What a file says of itself, and what is read of it.
pub(super) struct Footer {
    metadata: ArrowReaderMetadata,
    order: Vec<ReorderIndex>,
    mask: ProjectionMask,
}

impl FileReader {
    fn of(place: &Place, file: &DataFile) -> FileReader {
        FileReader { place: place.clone(), path: file.path.clone(), size: file.size }
    }

    fn told(&self, error: object_store::Error) -> ParquetError {
        let Place { table, root, .. } = &self.place;
        let file = self.place.of(&self.path);
        let error = match error {
            object_store::Error::NotFound { .. } => Error::Missing(format!(
                "table `{table}`: data file `{file}` is gone, and the log of the Delta table `{root}` names it; run again, and \
                 have VACUUM keep files for longer than a read lasts"
            )),
            error => self.place.told(&self.path, &error),
        };
        ParquetError::External(Box::new(error))
    }

    fn check(&self, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
        match bytes.len() as u64 == range.end - range.start {
            true => Ok(()),
            false => Err(ParquetError::EOF("the file is shorter than it was".to_owned())),
        }
    }
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let bytes = self.place.store.get_range(&self.path, range.clone()).await;
            let bytes = bytes.map_err(|error| self.told(error))?;
            self.check(&range, &bytes)?;
            Ok(bytes)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let all = self.place.store.get_ranges(&self.path, &ranges).await;
            let all = all.map_err(|error| self.told(error))?;
            for (range, bytes) in ranges.iter().zip(&all) {
                self.check(range, bytes)?;
            }
            Ok(all)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

impl Footer {
    /// Of the columns that `schema` asks for, as the kernel finds them in the file.
    ///
    /// # Errors
    /// The file is not there, or not whole.
    pub async fn read(place: &Place, file: &DataFile, schema: &SchemaRef) -> Result<Footer, Error> {
        let broken = |error: ParquetError| told(place, file, &error);
        let mut reader = FileReader::of(place, file);
        // The types are those of Parquet: what Arrow's writers note beside them is not the table's.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load_async(&mut reader, options.clone()).await;
        let mut metadata = metadata.map_err(broken)?;
        let (parquet, arrow) = (metadata.parquet_schema(), metadata.schema());
        if let Some(schema) = in_microseconds(parquet, arrow) {
            let options = options.with_schema(Arc::new(schema));
            let again = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options);
            metadata = again.map_err(broken)?;
        }
        let (order, mask) = parquet_read_plan(schema, &metadata).map_err(|_: KernelError| {
            Error::Damaged(format!(
                "table `{}`: data file `{}` has not the columns that the log of the Delta table says; restore the file",
                place.table,
                place.of(&file.path)
            ))
        })?;
        let mask = mask.unwrap_or_else(ProjectionMask::all);
        Ok(Footer { metadata, order, mask })
    }

    pub fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// Bytes of the largest row group, as it is stored.
    pub fn chunk(&self) -> usize {
        self.largest(|column, _| column.compressed_size())
    }

    /// Bytes of a row in memory, roughly, where that is most.
    pub fn value(&self) -> usize {
        self.largest(|column, rows| {
            let texts = column.unencoded_byte_array_data_bytes().unwrap_or(0);
            column.uncompressed_size().max(texts).checked_div(rows).unwrap_or(0).saturating_add(1)
        })
    }

    /// The greatest sum over the columns of a row group that are read.
    fn largest(
        &self,
        bytes: impl Fn(&parquet::file::metadata::ColumnChunkMetaData, i64) -> i64,
    ) -> usize {
        let of_group = |group: &parquet::file::metadata::RowGroupMetaData| -> i64 {
            let columns = group.columns().iter().enumerate();
            let read = columns.filter(|(leaf, _)| self.mask.leaf_included(*leaf));
            read.map(|(_, column)| bytes(column, group.num_rows())).fold(0, i64::saturating_add)
        };
        let groups = self.metadata.metadata().row_groups().iter();
        usize::try_from(groups.map(of_group).max().unwrap_or(0)).unwrap_or(0)
    }

    /// The batches of the file, of so many rows at most, and what is to be done to their columns.
    pub fn stream(
        self,
        place: &Place,
        file: &DataFile,
        rows: usize,
    ) -> Result<(ParquetRecordBatchStream<FileReader>, Vec<ReorderIndex>), Error> {
        let Footer { metadata, order, mask } = self;
        let reader = FileReader::of(place, file);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
        let stream = builder.with_projection(mask).with_batch_size(rows).build();
        Ok((stream.map_err(|error| told(place, file, &error))?, order))
    }
}

/// The columns of a file with its old times of 96 bits in microseconds: in nanoseconds they would wrap around to another year.
/// `None` where it has none.
fn in_microseconds(parquet: &SchemaDescriptor, arrow: &Schema) -> Option<Schema> {
    let is_old = |leaf: &ColumnDescPtr| leaf.physical_type() == Type::INT96;
    if !parquet.columns().iter().any(is_old) {
        return None;
    }
    // Both schemas have the same leaves in the same order, whatever layout lists have.
    let mut are_old = parquet.columns().iter().map(is_old);
    let fields = arrow.fields().iter().map(|field| coerced(field, &mut are_old));
    Some(Schema::new(fields.collect::<Vec<_>>()))
}

fn coerced(field: &FieldRef, are_old: &mut dyn Iterator<Item = bool>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(coerced(item, are_old)),
        DataType::Map(entries, is_sorted) => DataType::Map(coerced(entries, are_old), *is_sorted),
        DataType::Struct(members) => {
            DataType::Struct(members.iter().map(|member| coerced(member, are_old)).collect())
        }
        other => match are_old.next() {
            Some(true) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => other.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// What an error of Parquet means.
pub(super) fn told(place: &Place, file: &DataFile, error: &ParquetError) -> Error {
    if let Some(own) = own(error) {
        return own.clone();
    }
    Error::Damaged(format!(
        "table `{}`: data file `{}` of the Delta table is not whole, or not the one that its log names; restore it",
        place.table,
        place.of(&file.path)
    ))
}
