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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use futures::StreamExt as _;

    use super::super::definition::{Format, Partitions, SchemaRule, Table};
    use super::super::partitions;
    use super::*;
    use crate::domain::file::FileFact;

    const DAYS: [&str; 4] = ["a", "b", "b", "c"];

    /// Files of one row each, which says their number.
    #[derive(Debug)]
    struct Numbered {
        schema: SchemaRef,
        read: Arc<Mutex<Vec<Vec<usize>>>>,
    }

    impl Grouped for Numbered {
        fn schema(&self) -> &SchemaRef {
            &self.schema
        }

        fn files(&self) -> usize {
            DAYS.len()
        }

        fn read(&self, files: Vec<usize>, wanted: Arc<Wanted>, _: usize) -> Batches {
            self.read.lock().unwrap().push(files.clone());
            let batch = move |file: usize| {
                let number = i64::try_from(file).unwrap();
                let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
                let columns = wanted.columns.iter().map(|_| Arc::clone(&column)).collect();
                Ok(wanted.batch(file, columns, 1).unwrap())
            };
            futures::stream::iter(files.into_iter().map(batch)).boxed()
        }
    }

    fn files() -> Vec<FileFact> {
        let file = |day: &str| FileFact {
            table: "t".into(),
            path: format!("/srv/d={day}/f"),
            size: 1,
            inode: 1,
            changed: 1,
            ends_within_line: None,
            etag: None,
        };
        DAYS.map(file).to_vec()
    }

    #[tokio::test]
    async fn only_files_whose_directories_fit_are_read_in_as_many_streams_as_there_may_be() {
        let table = Table {
            name: "t".into(),
            folder: "/srv".into(),
            location: "*/f".into(),
            objects: None,
            format: Format::Arrow,
            compression: None,
            partitions: Some(Partitions::Declared(vec![("d".into(), "VARCHAR".into())])),
            schema: SchemaRule::Same,
            rewritten: None,
        };
        let values = partitions::of(&table, &files()).unwrap();
        let read = Arc::new(Mutex::new(Vec::new()));
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let numbered = Numbered { schema, read: Arc::clone(&read) };
        let grouped = GroupedTable::new("t", numbered, values).unwrap();
        let config = SessionConfig::new().with_target_partitions(2);
        let context = SessionContext::new_with_config(config);
        context.register_table("t", Arc::new(grouped)).unwrap();
        for (sql, rows, streams) in [
            ("SELECT n FROM t WHERE d = 'b'", 2, vec![vec![1], vec![2]]),
            ("SELECT n, d FROM t WHERE n < 9", 4, vec![vec![0, 1], vec![2, 3]]),
            ("SELECT d FROM t WHERE d = 'b' AND n > 1", 1, vec![vec![1], vec![2]]),
        ] {
            let found = context.sql(sql).await.unwrap().collect().await.unwrap();
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{sql}");
            let mut groups = std::mem::take(&mut *read.lock().unwrap());
            groups.sort();
            assert_eq!(groups, streams, "{sql}");
        }
    }
}
