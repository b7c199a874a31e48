//! A table of text files as DataFusion sees it: files in groups, one stream a group, only the columns that are asked for.
//!
//! Not responsible for what a row is in a file: that is the format's [`Layout`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use super::super::error::Error;
use super::super::weights::row_width;
use super::ColumnPlan;
use super::column::Column;
use super::fetch::Fetch;

/// A batch is sent on before it has this many bytes of text, even if it has few rows.
const BATCH_BYTES: usize = 8 << 20;

/// How the files of one table are read; its columns are fixed.
pub(in super::super) trait Layout: fmt::Debug + Send + Sync {
    fn columns(&self) -> &[ColumnPlan];

    fn builder(&self, column: usize) -> Column;

    fn files(&self) -> usize;

    /// Opens a file before its first row; what its rows wait for is to be fetched.
    fn open(&self, file: usize, columns: &[usize]) -> Result<(Box<dyn Rows>, Fetch), Error>;
}

/// What came of looking for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Pushed {
    /// It has so many bytes.
    Row(usize),
    /// The file has no more.
    End,
    /// More has to be fetched.
    Waits,
}

/// The rows of one file.
pub(in super::super) trait Rows: Send {
    /// Adds the next row, of the columns that were asked for.
    fn push(&mut self, builders: &mut [Column]) -> Result<Pushed, Error>;
}

/// A table of one or more text files.
#[derive(Debug)]
pub(in super::super) struct TextTable {
    layout: Arc<dyn Layout>,
    schema: SchemaRef,
}

impl TextTable {
    pub fn new(layout: impl Layout + 'static) -> Self {
        let field =
            |column: &ColumnPlan| Field::new(&column.name, column.column_type.data_type(), true);
        let schema = Schema::new(layout.columns().iter().map(field).collect::<Vec<_>>());
        TextTable { layout: Arc::new(layout), schema: Arc::new(schema) }
    }
}

#[async_trait]
impl TableProvider for TextTable {
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
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.layout.columns().len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&columns)?);
        let files = self.layout.files();
        let groups = state.config().target_partitions().clamp(1, files.max(1));
        let size = files.div_ceil(groups).max(1);
        let group = |first: usize| -> Arc<dyn PartitionStream> {
            Arc::new(Group {
                layout: Arc::clone(&self.layout),
                range: first..(first + size).min(files),
                columns: columns.clone(),
                schema: Arc::clone(&schema),
            })
        };
        let partitions = (0..files).step_by(size).map(group).collect();
        let plan = StreamingTableExec::try_new(schema.clone(), partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Files that one stream reads, one after the other.
#[derive(Debug)]
struct Group {
    layout: Arc<dyn Layout>,
    range: std::ops::Range<usize>,
    /// Of the layout's columns, those asked for.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = Batches {
            layout: Arc::clone(&self.layout),
            waiting: self.range.clone().collect(),
            open: None,
            builders: self.columns.iter().map(|column| self.layout.builder(*column)).collect(),
            columns: self.columns.clone(),
            width: row_width(&self.schema),
            schema: Arc::clone(&self.schema),
            batch_size: context.session_config().batch_size(),
        };
        let stream = futures::stream::try_unfold(batches, |mut batches| async move {
            let batch = batches.batch().await.map_err(DataFusionError::from)?;
            Ok(batch.map(|batch| (batch, batches)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The batches of a group.
struct Batches {
    layout: Arc<dyn Layout>,
    waiting: VecDeque<usize>,
    open: Option<(Box<dyn Rows>, Fetch)>,
    columns: Vec<usize>,
    builders: Vec<Column>,
    schema: SchemaRef,
    /// Bytes that a row takes whatever it holds.
    width: usize,
    batch_size: usize,
}

impl Batches {
    async fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.batch_size && bytes < BATCH_BYTES {
            if self.open.is_none() {
                let Some(file) = self.waiting.pop_front() else { break };
                self.open = Some(self.layout.open(file, &self.columns)?);
            }
            let Some((file, fetch)) = &mut self.open else { break };
            match file.push(&mut self.builders)? {
                Pushed::Row(size) => {
                    rows += 1;
                    // What a row lacks came as nothing, and takes as much as a value.
                    bytes += size + self.width;
                }
                Pushed::End => self.open = None,
                Pushed::Waits => fetch.more().await?,
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = self.builders.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        Ok(Some(batch.expect("the builders were made from the schema")))
    }
}
