//! A query in a database, as a table of one read: what databases have in common.
//!
//! Not responsible for how a database is asked (`postgres`). Invariants: nothing ends a query early but its own end, so filters
//! and limits stay here; a stream ends only after the database has said that the answer is whole.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::Stream;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::error::Error;
use super::postgres;
use super::proof::Unproven;

/// Whether the answer to a query was read to its end. Written by its stream alone.
#[derive(Debug)]
pub(super) struct Ended {
    /// The model.
    place: String,
    state: AtomicU8,
}

const UNREAD: u8 = 0;
const BEGAN: u8 = 1;
const ENDED: u8 = 2;
const FAILED: u8 = 3;

impl Ended {
    pub fn new(place: String) -> Ended {
        Ended { place, state: AtomicU8::new(UNREAD) }
    }

    /// As [`Proof::verify`](super::Proof::verify), of this query.
    pub fn verify(&self) -> Result<(), Unproven> {
        let state = match self.state.load(Ordering::Acquire) {
            ENDED => return Ok(()),
            UNREAD => "was not read",
            FAILED => "failed",
            _ => "was not read to its end",
        };
        let reason = format!("the answer to {} {state}", self.place);
        Err(Unproven { reason })
    }
}

/// The answer to a model's query.
#[derive(Debug)]
pub(super) struct DatabaseTable {
    pub scan: Arc<postgres::Scan>,
    pub ended: Arc<Ended>,
}

#[async_trait]
impl TableProvider for DatabaseTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.scan.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.scan.schema().fields().len()).collect(),
        };
        let schema = Arc::new(self.scan.schema().project(&columns)?);
        let one: Arc<dyn PartitionStream> = Arc::new(Answer {
            scan: Arc::clone(&self.scan),
            ended: Arc::clone(&self.ended),
            columns,
            schema: Arc::clone(&schema),
        });
        let plan = StreamingTableExec::try_new(schema, vec![one], None, [], false, None)?;
        Ok(Arc::new(plan))
    }
}

/// The one stream of an answer.
struct Answer {
    scan: Arc<postgres::Scan>,
    ended: Arc<Ended>,
    /// Those asked for.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer to {}", self.ended.place)
    }
}

impl PartitionStream for Answer {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (batches, receiver) = mpsc::channel(1);
        let most_rows = context.session_config().batch_size();
        let (schema, ended) = (Arc::clone(&self.schema), Arc::clone(&self.ended));
        ended.state.store(BEGAN, Ordering::Release);
        let columns = self.columns.clone();
        let work = Arc::clone(&self.scan).read(columns, Arc::clone(&schema), most_rows, batches);
        Box::pin(Produced { schema, ended, work: Some(Box::pin(work)), batches: receiver })
    }
}

/// A stream of what one future sends, which works where the stream is polled; it ends when the future has, without an error.
struct Produced {
    schema: SchemaRef,
    ended: Arc<Ended>,
    work: Option<BoxFuture<'static, Result<(), Error>>>,
    batches: mpsc::Receiver<RecordBatch>,
}

impl Stream for Produced {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(work) = &mut this.work
            && let Poll::Ready(done) = work.as_mut().poll(context)
        {
            this.work = None;
            let state = if done.is_ok() { ENDED } else { FAILED };
            this.ended.state.store(state, Ordering::Release);
            if let Err(error) = done {
                this.batches.close();
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        match this.batches.poll_recv(context) {
            Poll::Ready(Some(batch)) => Poll::Ready(Some(Ok(batch))),
            Poll::Ready(None) if this.work.is_none() => Poll::Ready(None),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl RecordBatchStream for Produced {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The query without what may stand behind a statement: semicolons, comments and white space.
pub(super) fn trimmed(sql: &str) -> &str {
    let (mut at, mut end) = (0, 0);
    while at < sql.len() {
        let (length, is_of_it) = token(&sql[at..]);
        at += length;
        if is_of_it {
            end = at;
        }
    }
    &sql[..end]
}

/// How long the first token of SQL is, which is not empty, and whether it belongs to a statement.
fn token(sql: &str) -> (usize, bool) {
    let first = sql.chars().next().expect("it is not empty");
    let until = |closing: &str, from: usize| {
        sql[from..].find(closing).map_or(sql.len(), |at| from + at + closing.len())
    };
    match first {
        ';' => (1, false),
        _ if first.is_whitespace() => (first.len_utf8(), false),
        '-' if sql.starts_with("--") => {
            // A carriage return ends it too, and what follows is SQL again.
            (sql.find(['\n', '\r']).map_or(sql.len(), |at| at + 1), false)
        }
        '/' if sql.starts_with("/*") => (comment(sql), false),
        '"' => (until("\"", 1), true),
        '\'' => (until("'", 1), true),
        '$' => {
            let is_of_tag = |c: char| c.is_alphanumeric() || c == '_';
            let tag = 1 + sql[1..].find(|c| !is_of_tag(c)).unwrap_or(sql.len() - 1);
            let is_tag =
                sql[tag..].starts_with('$') && !sql[1..].starts_with(|c: char| c.is_ascii_digit());
            match is_tag {
                true => (until(&sql[..=tag], tag + 1), true),
                false => (1, true),
            }
        }
        _ if first.is_alphanumeric() || first == '_' => {
            let is_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let length = sql.find(|c| !is_of_word(c)).unwrap_or(sql.len());
            match sql[..length].eq_ignore_ascii_case("e") && sql[length..].starts_with('\'') {
                true => (escaped(sql, length + 1), true),
                false => (length, true),
            }
        }
        _ => (first.len_utf8(), true),
    }
}

/// Where a comment ends, which may hold others.
fn comment(sql: &str) -> usize {
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < sql.len() {
        let rest = &sql.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
    }
    at
}

/// Where text ends in which a backslash escapes the next letter.
fn escaped(sql: &str, from: usize) -> usize {
    let mut letters = sql[from..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '\'' => return from + at + 1,
            _ => {}
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_statement_is_cut_off_and_nothing_else() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1; \n", "SELECT 1"),
            ("SELECT 1 -- one;\n;; /* a /* b */ ; */", "SELECT 1"),
            ("SELECT 1 -- one\rUNION SELECT 2;\r", "SELECT 1 -- one\rUNION SELECT 2"),
            ("SELECT ';--'", "SELECT ';--'"),
            ("SELECT 'it''s;';", "SELECT 'it''s;'"),
            (r"SELECT E'\';' ;", r"SELECT E'\';'"),
            (r"SELECT '\';", r"SELECT '\'"),
            ("SELECT $a$;$$;--$a$;", "SELECT $a$;$$;--$a$"),
            ("SELECT $$;--$$;", "SELECT $$;--$$"),
            ("SELECT a$b$ FROM c; --$b$", "SELECT a$b$ FROM c"),
            ("SELECT $1;", "SELECT $1"),
            ("SELECT \";\"\"--\" ;", "SELECT \";\"\"--\""),
            ("SELECT 1 - -1;", "SELECT 1 - -1"),
            ("/* only */ -- this", ""),
            ("SELECT 'ä;", "SELECT 'ä;"),
            ("SELECT /* open ;", "SELECT"),
        ] {
            assert_eq!(trimmed(sql), expected, "{sql}");
        }
    }
}
