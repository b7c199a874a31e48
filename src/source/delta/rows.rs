//! The rows of a Delta table's data files: Parquet as it is stored, made into the table's columns, without the rows that a
//! deletion vector takes away.
//!
//! What has to be done to a file's columns is the kernel's to say: other names, types and partition values. Reading them is
//! not: files are read where their streams are polled, one row group in memory for each, where there is room for it (`room`).
//! Invariants: a file has as many rows as the log says, or the read fails; a deletion vector takes away as many as it says; a
//! value that the table's type cannot hold is an error, as the kernel would make it NULL.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, RecordBatchOptions,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine::arrow_expression::ArrowEvaluationHandler;
use delta_kernel::engine::arrow_utils::{ReorderIndex, fixup_parquet_read};
use delta_kernel::scan::Scan;
use delta_kernel::scan::state::{DvInfo, ScanFile};
use delta_kernel::{
    EngineData, EvaluationHandler as _, ExpressionEvaluator, ExpressionRef, KernelError,
};
use futures::StreamExt as _;
use object_store::path::Path;
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::super::error::Error;
use super::super::weights;
use super::error::told;
use super::file::{FileReader, Footer};
use super::kernel::{ROOT, on_thread};
use super::place::Place;
use super::room::Room;
use crate::points::is_planted;

/// One data file of a version.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    /// Below the table's folder.
    pub path: Path,
    pub size: u64,
    /// Rows that the log says it has, those among them that were deleted.
    rows: Option<u64>,
    deleted: Option<Box<DvInfo>>,
    transform: Option<ExpressionRef>,
}

impl DataFile {
    /// # Errors
    /// It is not in the table's folder.
    pub fn of(place: &Place, file: ScanFile) -> Result<DataFile, Error> {
        let Place { table, root, .. } = place;
        let base = Url::parse(ROOT).expect("it is a URL");
        let url = base.join(&file.path).ok().filter(|url| {
            let is_below = url.scheme() == base.scheme() && url.host() == base.host();
            is_below && !file.path.starts_with('/')
        });
        let path = url.and_then(|url| Path::from_url_path(url.path()).ok());
        let path = path.ok_or_else(|| {
            Error::Damaged(format!(
                "table `{table}`: a data file of the Delta table `{root}` lies outside of its folder, as those of a shallow \
                 clone do; read the table that was cloned, or a deep clone"
            ))
        })?;
        let size = u64::try_from(file.size).unwrap_or(0);
        let rows = file.stats.map(|stats| stats.num_records);
        let deleted = file.dv_info.has_vector().then(|| Box::new(file.dv_info));
        Ok(DataFile { path, size, rows, deleted, transform: file.transform })
    }

    /// Which of its rows are left, if some are not.
    async fn left(&self, place: &Place, rows: u64) -> Result<Option<Vec<bool>>, Error> {
        let Some(deleted) = self.deleted.clone() else { return Ok(None) };
        let wrong = |error: KernelError| told(place, None, &error);
        let expected = deleted.cardinality().map_err(wrong)?;
        let at = place.clone();
        let gone = on_thread(place, move |engine| {
            let root = Url::parse(ROOT).expect("it is a URL");
            deleted.get_row_indexes(engine, &root).map_err(|error| told(&at, None, &error))
        });
        let gone = gone.await?.unwrap_or_default();
        let is_within = gone.iter().all(|row| *row < rows);
        if !is_within || expected.is_some_and(|expected| expected != gone.len() as u64) {
            return Err(Error::Damaged(format!(
                "table `{}`: the deletion vector of data file `{}` does not fit it; restore the file or the vector",
                place.table,
                place.of(&self.path)
            )));
        }
        let mut left = vec![true; usize::try_from(rows).unwrap_or(0)];
        for row in gone {
            if let Some(is_left) = usize::try_from(row).ok().and_then(|row| left.get_mut(row)) {
                *is_left = false;
            }
        }
        Ok(Some(left))
    }
}

/// The field without what writers have noted beside its type, at any depth.
pub(super) fn plain(field: &Field) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(plain(item)),
        DataType::Struct(members) => DataType::Struct(members.iter().map(|it| plain(it)).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(plain(entries), *is_sorted),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

/// Files that one stream reads, one after the other.
pub(super) struct Group {
    pub place: Place,
    pub scan: Arc<Scan>,
    pub files: Vec<DataFile>,
    /// For all groups of the scan.
    pub room: Room,
    /// What goes out; no column, where only rows are counted.
    pub schema: SchemaRef,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} files of `{}`)", self.files.len(), self.place.table)
    }
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = Batches {
            place: self.place.clone(),
            scan: Arc::clone(&self.scan),
            waiting: self.files.iter().cloned().collect(),
            room: self.room.clone(),
            open: None,
            schema: Arc::clone(&self.schema),
            batch_size: context.session_config().batch_size(),
        };
        let stream = futures::stream::try_unfold(batches, |mut batches| async move {
            let batch = Box::pin(batches.batch()).await.map_err(DataFusionError::from)?;
            Ok(batch.map(|batch| (batch, batches)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The batches of a group.
struct Batches {
    place: Place,
    scan: Arc<Scan>,
    waiting: VecDeque<DataFile>,
    room: Room,
    open: Option<Open>,
    schema: SchemaRef,
    batch_size: usize,
}

/// A data file that is being read.
struct Open {
    file: DataFile,
    batches: ParquetRecordBatchStream<FileReader>,
    order: Vec<ReorderIndex>,
    _room: OwnedSemaphorePermit,
    evaluator: Option<Arc<dyn ExpressionEvaluator>>,
    left: Option<Vec<bool>>,
    /// Rows so far, those among them that were deleted.
    read: usize,
    rows: u64,
}

impl Batches {
    async fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if self.open.is_none() {
                let Some(file) = self.waiting.pop_front() else { return Ok(None) };
                let (place, scan) = (&self.place, self.scan.as_ref());
                self.open = Some(enter(place, scan, &self.room, self.batch_size, file).await?);
            }
            let Some(open) = &mut self.open else { continue };
            match open.batches.next().await {
                Some(Ok(batch)) => {
                    let batch = open.logical(&self.place, &self.scan, &self.schema, batch)?;
                    if batch.num_rows() > 0 {
                        return Ok(Some(batch));
                    }
                }
                Some(Err(error)) => return Err(super::file::told(&self.place, &open.file, &error)),
                None => {
                    open.check_end(&self.place)?;
                    self.open = None;
                }
            }
        }
    }
}

/// Opens a data file before its first row.
async fn enter(
    place: &Place,
    scan: &Scan,
    room: &Room,
    most: usize,
    file: DataFile,
) -> Result<Open, Error> {
    let schema = scan.physical_schema();
    let footer = Footer::read(place, &file, schema).await?;
    let rows = footer.rows();
    let said = file.rows.filter(|_| !is_planted("delta_rows_ignored"));
    if let Some(said) = said.filter(|said| *said != rows) {
        return Err(miscounted(place, &file, rows, said));
    }
    let room = room.take(footer.chunk()).await;
    let left = file.left(place, rows).await?;
    let evaluator = match file.transform.clone() {
        Some(transform) => {
            let (physical, logical) = (Arc::clone(schema), scan.logical_schema().as_ref().clone());
            let made = ArrowEvaluationHandler.new_expression_evaluator(
                physical,
                transform,
                logical.into(),
            );
            Some(made.map_err(|error| told(place, None, &error))?)
        }
        None => None,
    };
    let most = weights::rows(footer.value(), most);
    let (batches, order) = footer.stream(place, &file, most)?;
    Ok(Open { file, batches, order, _room: room, evaluator, left, read: 0, rows })
}

impl Open {
    /// The batch as the table has it.
    fn logical(
        &mut self,
        place: &Place,
        scan: &Scan,
        schema: &SchemaRef,
        batch: RecordBatch,
    ) -> Result<RecordBatch, Error> {
        let rows = batch.num_rows();
        let unfit = |_: KernelError| misfit(place, &self.file);
        let target = Some(scan.physical_schema());
        let stored = batch.clone();
        let read = fixup_parquet_read(batch, &self.order, None, None, target).map_err(unfit)?;
        self.check_values(place, &stored, read.record_batch())?;
        let read: Box<dyn EngineData> = match &self.evaluator {
            Some(evaluator) => evaluator.evaluate(&read).map_err(unfit)?,
            None => Box::new(read),
        };
        let read = ArrowEngineData::try_from_engine_data(read).map_err(unfit)?;
        let batch = fitted(read.record_batch(), schema, rows);
        let batch = batch.ok_or_else(|| misfit(place, &self.file))?;
        let from = self.read;
        self.read += rows;
        let Some(left) = &self.left else { return Ok(batch) };
        let is_left = |row: usize| Some(left.get(row).copied().unwrap_or(true));
        let mask: BooleanArray = (from..self.read).map(is_left).collect();
        filter_record_batch(&batch, &mask).map_err(|_| misfit(place, &self.file))
    }

    /// Nothing that is stored became NULL: columns are stored in the order of what is done to them.
    fn check_values(
        &self,
        place: &Place,
        stored: &RecordBatch,
        read: &RecordBatch,
    ) -> Result<(), Error> {
        for ((field, column), moved) in
            stored.schema_ref().fields().iter().zip(stored.columns()).zip(&self.order)
        {
            let is_whole = |now: &ArrayRef| values(now, None) == values(column, None);
            if !read.columns().get(moved.index).is_some_and(is_whole) {
                return Err(Error::Misfit(format!(
                    "table `{}`: data file `{}` has a value in its column `{}` that the table's type cannot hold, such as a time \
                     after the year 294246; correct it, or write the file again",
                    place.table,
                    place.of(&self.file.path),
                    field.name()
                )));
            }
        }
        Ok(())
    }

    /// All that the footer has was read.
    fn check_end(&self, place: &Place) -> Result<(), Error> {
        match self.read as u64 == self.rows {
            true => Ok(()),
            false => Err(miscounted(place, &self.file, self.read as u64, self.rows)),
        }
    }
}

/// How many values the column has below it, at any depth, that are not NULL by themselves or by what holds them.
fn values(column: &ArrayRef, holder: Option<&NullBuffer>) -> usize {
    let nulls = NullBuffer::union(holder, column.nulls());
    match column.data_type() {
        DataType::Struct(_) => {
            let members = column.as_struct().columns().iter();
            members.map(|member| values(member, nulls.as_ref())).sum()
        }
        DataType::List(_) => values(column.as_list::<i32>().values(), None),
        DataType::Map(..) => {
            column.as_map().entries().columns().iter().map(|it| values(it, None)).sum()
        }
        _ => column.len() - nulls.map_or(0, |nulls| nulls.null_count()),
    }
}

/// The columns in the types that they were said to have; `None` where one is not.
fn fitted(batch: &RecordBatch, schema: &SchemaRef, rows: usize) -> Option<RecordBatch> {
    let cast = |(field, column)| -> Option<_> {
        let (field, column): (&FieldRef, &ArrayRef) = (field, column);
        if column.data_type() == field.data_type() {
            return Some(Arc::clone(column));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, field.data_type(), &options).ok()
    };
    let columns = schema.fields().iter().zip(batch.columns()).map(cast);
    let columns = columns.collect::<Option<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).ok()
}

fn miscounted(place: &Place, file: &DataFile, found: u64, said: u64) -> Error {
    Error::Damaged(format!(
        "table `{}`: data file `{}` has {found} rows, and the log of the Delta table says {said}; restore the file",
        place.table,
        place.of(&file.path)
    ))
}

fn misfit(place: &Place, file: &DataFile) -> Error {
    Error::Misfit(format!(
        "table `{}`: data file `{}` has a column that does not fit the table's; restore the file, or write it again",
        place.table,
        place.of(&file.path)
    ))
}
