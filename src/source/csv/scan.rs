//! A CSV table as DataFusion sees it: files in groups, one stream a group, only the columns that are asked for.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
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

use super::column::Column;
use super::column_type::ColumnType;
use super::record::{Record, Records};
use super::{CsvFile, Error, Layout, SharedLayout, check_width, damaged, data, is_null};

/// A batch is sent on before it has this many bytes of text, even if it has few rows.
const BATCH_BYTES: usize = 8 << 20;

/// A table of one or more CSV files whose columns are fixed.
#[derive(Debug)]
pub(in super::super) struct CsvTable {
    layout: SharedLayout,
    files: Arc<[CsvFile]>,
    schema: SchemaRef,
}

impl CsvTable {
    pub(super) fn new(layout: Layout, files: Vec<CsvFile>) -> Self {
        let field = |column: &super::ColumnPlan| {
            Field::new(&column.name, column.column_type.data_type(), true)
        };
        let schema = Schema::new(layout.columns.iter().map(field).collect::<Vec<_>>());
        CsvTable { layout: Arc::new(layout), files: files.into(), schema: Arc::new(schema) }
    }
}

#[async_trait]
impl TableProvider for CsvTable {
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
            None => (0..self.layout.columns.len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&columns)?);
        let groups = state.config().target_partitions().clamp(1, self.files.len().max(1));
        let size = self.files.len().div_ceil(groups).max(1);
        let group = |first: usize| -> Arc<dyn PartitionStream> {
            Arc::new(Group {
                layout: Arc::clone(&self.layout),
                files: Arc::clone(&self.files),
                range: first..(first + size).min(self.files.len()),
                columns: columns.clone(),
                schema: Arc::clone(&schema),
            })
        };
        let partitions = (0..self.files.len()).step_by(size).map(group).collect();
        let plan = StreamingTableExec::try_new(schema.clone(), partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Files that one stream reads, one after the other.
struct Group {
    layout: SharedLayout,
    files: Arc<[CsvFile]>,
    range: std::ops::Range<usize>,
    /// Of the layout's columns, those asked for.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "csv {} files {:?}", self.layout.table, self.range)
    }
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let plan = |column: &usize| {
            let plan = &self.layout.columns[*column];
            Column::new(plan.column_type, plan.is_declared)
        };
        let rows = Rows {
            layout: Arc::clone(&self.layout),
            files: Arc::clone(&self.files),
            waiting: self.range.clone().collect(),
            open: None,
            builders: self.columns.iter().map(plan).collect(),
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            batch_size: context.session_config().batch_size(),
            is_failed: false,
        };
        let stream = futures::stream::iter(rows);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The batches of a group.
struct Rows {
    layout: SharedLayout,
    files: Arc<[CsvFile]>,
    waiting: VecDeque<usize>,
    open: Option<(usize, Records<BufReader<File>>)>,
    columns: Vec<usize>,
    builders: Vec<Column>,
    schema: SchemaRef,
    batch_size: usize,
    is_failed: bool,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, DataFusionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_failed {
            return None;
        }
        match self.batch() {
            Ok(None) => None,
            Ok(Some(batch)) => Some(Ok(batch)),
            Err(error) => {
                self.is_failed = true;
                Some(Err(error.into()))
            }
        }
    }
}

impl Rows {
    fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.batch_size && bytes < BATCH_BYTES {
            if self.open.is_none() {
                let Some(file) = self.waiting.pop_front() else { break };
                let path = &self.files[file].path;
                self.open = Some((file, data(&self.layout.table, &self.layout.csv, path)?));
            }
            let Some((file, records)) = &mut self.open else { break };
            let file = &self.files[*file];
            let record = records
                .next()
                .map_err(|problem| damaged(&self.layout.table, &file.path, &problem))?;
            let Some(record) = record else {
                self.open = None;
                continue;
            };
            check_width(&self.layout.table, &self.layout.csv, file, &record)?;
            push(&self.layout, file, &self.columns, &mut self.builders, &record)?;
            rows += 1;
            bytes += record.size();
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

fn push(
    layout: &Layout,
    file: &CsvFile,
    columns: &[usize],
    builders: &mut [Column],
    record: &Record<'_>,
) -> Result<(), Error> {
    for (column, builder) in columns.iter().zip(builders) {
        let position = file.positions[*column];
        if is_null(&layout.csv, record, position) {
            builder.push_null();
        } else if !builder.push(record.field(position)) {
            return Err(misfit(layout, file, *column, record.line, record.field(position)));
        }
    }
    Ok(())
}

fn misfit(layout: &Layout, file: &CsvFile, column: usize, line: u64, field: &[u8]) -> Error {
    let plan = &layout.columns[column];
    let (table, path, name) = (&layout.table, &file.path, &plan.name);
    let wider = plan.column_type.wider(field);
    let types = if wider.is_empty() { &[ColumnType::Varchar] } else { wider.as_slice() };
    let types = types.iter().map(|one| format!("`{name}: {one}`")).collect::<Vec<_>>().join(" or ");
    Error::Misfit(match (plan.column_type, plan.is_declared) {
        (ColumnType::Varchar, _) => format!(
            "table `{table}`: the value of column `{name}` at line {line} of file `{path}` is not UTF-8; convert the \
             file"
        ),
        (expected, true) => format!(
            "table `{table}`: the value of column `{name}` at line {line} of file `{path}` is no {expected}, as it is \
             declared; correct the value, name it under `nulls`, or declare {types} under `columns`, \
             which for a column of the key must be followed by `counterflow rebaseline`"
        ),
        (expected, false) => format!(
            "table `{table}`: the value of column `{name}` at line {line} of file `{path}`, as it is written, is no \
             {expected}, the type pinned at the first run; correct the value, name it under `nulls`, or declare \
             {types} under `columns`, which for a column of the key must be followed by `counterflow \
             rebaseline`"
        ),
    })
}
