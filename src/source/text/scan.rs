//! The rows of text files, in batches.
//!
//! Not responsible for what a row is in a file: that is the format's [`Layout`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use futures::StreamExt as _;

use super::super::error::Error;
use super::super::grouped::{self, Grouped, Wanted};
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

impl Grouped for TextTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn files(&self) -> usize {
        self.layout.files()
    }

    fn read(&self, files: Vec<usize>, wanted: Arc<Wanted>, batch_size: usize) -> grouped::Batches {
        let batches = Batches {
            layout: Arc::clone(&self.layout),
            waiting: files.into(),
            open: None,
            file: 0,
            builders: wanted.columns.iter().map(|column| self.layout.builder(*column)).collect(),
            width: row_width(wanted.schema()),
            wanted,
            batch_size,
        };
        let stream = futures::stream::try_unfold(batches, |mut batches| async move {
            let batch = batches.batch().await?;
            Ok(batch.map(|batch| (batch, batches)))
        });
        stream.boxed()
    }
}

/// The batches of a group.
struct Batches {
    layout: Arc<dyn Layout>,
    waiting: VecDeque<usize>,
    open: Option<(Box<dyn Rows>, Fetch)>,
    /// The one that is open, or that was.
    file: usize,
    builders: Vec<Column>,
    wanted: Arc<Wanted>,
    /// Bytes that a row takes whatever it holds.
    width: usize,
    batch_size: usize,
}

impl Batches {
    async fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.batch_size && bytes < BATCH_BYTES {
            if self.open.is_none() {
                let Some(next) = self.waiting.front() else { break };
                if rows > 0 && !self.wanted.are_alike(self.file, *next) {
                    break;
                }
                self.file = *next;
                self.waiting.pop_front();
                self.open = Some(self.layout.open(self.file, &self.wanted.columns)?);
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
        let batch = self.wanted.batch(self.file, arrays, rows);
        Ok(Some(batch.expect("the builders were made from the schema")))
    }
}
