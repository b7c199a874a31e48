//! A table of files as DataFusion sees it: files in groups, one stream a group, only the columns that are asked for, and
//! beside them what the names of directories say.
//!
//! Not responsible for what is in a file, nor for Parquet, whose files DataFusion splits and filters itself.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;

use super::error::Error;
use super::partitions::Values;

/// How the files of one table are read; their columns are fixed.
pub(super) trait Grouped: fmt::Debug + Send + Sync {
    /// The columns of the files.
    fn schema(&self) -> &SchemaRef;

    fn files(&self) -> usize;

    /// The rows of these files, one file after the other.
    fn read(&self, files: Vec<usize>, wanted: Arc<Wanted>, batch_size: usize) -> Batches;
}

pub(super) type Batches = BoxStream<'static, Result<RecordBatch, Error>>;

/// The columns of a table that are asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Of the files' columns.
    pub columns: Vec<usize>,
    schema: SchemaRef,
    /// By place in a batch: the place in `columns`, or that of a directory.
    from: Vec<Origin>,
    partitions: Option<Arc<Values>>,
}

#[derive(Debug, Clone, Copy)]
enum Origin {
    File(usize),
    Directory(usize),
}

impl Wanted {
    /// Of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether rows of both files can be in one batch.
    pub fn are_alike(&self, one: usize, other: usize) -> bool {
        self.partitions.as_ref().is_none_or(|partitions| partitions.are_alike(one, other))
    }

    /// The batch of so many rows of a file, of whose columns these are the ones that are wanted.
    ///
    /// # Errors
    /// They are not of the types that the table has.
    pub fn batch(
        &self,
        file: usize,
        arrays: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, DataFusionError> {
        let arrays = match &self.partitions {
            None => arrays,
            Some(partitions) => {
                let values = partitions.of_file(file);
                let array = |from: &Origin| match from {
                    Origin::File(place) => Ok(Arc::clone(&arrays[*place])),
                    Origin::Directory(place) => values[*place].to_array_of_size(rows),
                };
                self.from.iter().map(array).collect::<Result<_, _>>()?
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

/// A table of one or more files.
#[derive(Debug)]
pub(super) struct GroupedTable {
    files: Arc<dyn Grouped>,
    schema: SchemaRef,
    partitions: Option<Arc<Values>>,
}

impl GroupedTable {
    /// # Errors
    /// A column is in the files and in the names of their directories.
    pub fn new(
        table: &str,
        files: impl Grouped + 'static,
        partitions: Option<Arc<Values>>,
    ) -> Result<Self, Error> {
        let schema = match &partitions {
            None => Arc::clone(files.schema()),
            Some(partitions) => Arc::new(partitions.behind(table, files.schema())?),
        };
        Ok(GroupedTable { files: Arc::new(files), schema, partitions })
    }

    pub fn wanted(&self, projection: Option<&Vec<usize>>) -> Result<Wanted, DataFusionError> {
        let places = match projection {
            Some(places) => places.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let own = self.files.schema().fields().len();
        let mut columns = Vec::with_capacity(places.len());
        let mut from = Vec::with_capacity(places.len());
        for place in &places {
            from.push(match place.checked_sub(own) {
                Some(directory) => Origin::Directory(directory),
                None => {
                    columns.push(*place);
                    Origin::File(columns.len() - 1)
                }
            });
        }
        let schema = Arc::new(self.schema.project(&places)?);
        Ok(Wanted { columns, schema, from, partitions: self.partitions.clone() })
    }
}

#[async_trait]
impl TableProvider for GroupedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let wanted = Arc::new(self.wanted(projection)?);
        let kept = match &self.partitions {
            None => (0..self.files.files()).collect(),
            Some(partitions) => partitions.kept(state, filters),
        };
        let groups = state.config().target_partitions().clamp(1, kept.len().max(1));
        let size = kept.len().div_ceil(groups).max(1);
        let group = |group: &[usize]| -> Arc<dyn PartitionStream> {
            let (files, wanted) = (Arc::clone(&self.files), Arc::clone(&wanted));
            Arc::new(Group { files, group: group.to_vec(), wanted })
        };
        let mut partitions: Vec<_> = kept.chunks(size).map(group).collect();
        if partitions.is_empty() {
            partitions.push(group(&[]));
        }
        let schema = Arc::clone(&wanted.schema);
        let plan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(match &self.partitions {
            None => vec![TableProviderFilterPushDown::Unsupported; filters.len()],
            Some(partitions) => partitions.pushed(filters),
        })
    }
}

/// Files that one stream reads, one after the other.
#[derive(Debug)]
struct Group {
    files: Arc<dyn Grouped>,
    group: Vec<usize>,
    wanted: Arc<Wanted>,
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.wanted.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch_size = context.session_config().batch_size();
        let batches = self.files.read(self.group.clone(), Arc::clone(&self.wanted), batch_size);
        let batches = batches.map_err(DataFusionError::from);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.wanted.schema), batches))
    }
}
