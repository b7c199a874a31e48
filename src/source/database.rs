//! A query in a database, as a table of one read: what databases have in common.
//!
//! Not responsible for how a database is asked (`postgres`, `mysql`). Invariants: nothing ends a query early but its own end,
//! so filters and limits stay here; a stream ends only after the database has said that the answer is whole.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
use super::proof::Unproven;
use crate::points::is_planted;

/// A query that a server has planned, in a session that waits to be asked for its answer.
pub(super) trait Scan: fmt::Debug + Send + Sync {
    fn schema(&self) -> &SchemaRef;

    /// What the server calls the types of the columns.
    fn types(&self) -> &[String];

    /// What it calls that can give another answer for the same rows, by name; sorted, each once.
    fn volatile(&self) -> &[String];

    /// Whether no more is asked for than a restriction lets through.
    fn is_restricted(&self) -> bool;

    /// Sends the answer in batches of these columns, of so many rows at most, and returns when the server has said that it is
    /// whole: with a reason, where that does not say that all was there that should have been.
    fn read(
        self: Arc<Self>,
        columns: Vec<usize>,
        schema: SchemaRef,
        most_rows: usize,
        batches: mpsc::Sender<RecordBatch>,
    ) -> BoxFuture<'static, Result<Option<String>, Error>>;
}

/// Whether the answers to a query were read to their ends. Each is written by its stream alone.
#[derive(Debug)]
pub(super) struct Ended {
    /// The model, or a table of it.
    place: String,
    /// The engine need not want all of it: an inner join with an empty side asks for nothing of the other, and a read of chosen
    /// rows, which proves nothing of the others, is over when it has them.
    may_be_left: bool,
    /// One for each time that the plan asks.
    answers: Mutex<Vec<Arc<Answered>>>,
}

/// How far one of them was read.
#[derive(Debug, Default)]
struct Answered {
    state: AtomicU8,
    /// Why nobody can vouch for it, though it ended.
    doubt: OnceLock<String>,
}

const UNREAD: u8 = 0;
const BEGAN: u8 = 1;
const ENDED: u8 = 2;
const FAILED: u8 = 3;

impl Ended {
    /// Of the one query of a model, of which all is wanted.
    pub fn of_model(place: String) -> Ended {
        Ended { place, may_be_left: false, answers: Mutex::default() }
    }

    /// Of a table that a model joins with others, or of a model of which rows are chosen.
    pub fn of_part(place: String) -> Ended {
        Ended { place, may_be_left: true, answers: Mutex::default() }
    }

    /// How many answers the plan asks for.
    pub fn answers(&self) -> usize {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn asked(&self) -> Arc<Answered> {
        let answered = Arc::new(Answered::default());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push(Arc::clone(&answered));
        answered
    }

    /// As [`Proof::verify`](super::Proof::verify), of this query. All streams of the plan have ended by then, so that an
    /// answer which has neither ended nor failed is one that nobody wanted more of. Of one that is whole, and yet may lack rows,
    /// it says why.
    pub fn verify(&self) -> Result<Option<String>, Unproven> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let states = answers.iter().map(|answered| answered.state.load(Ordering::Acquire));
        let mut lacking = states.filter(|state| *state != ENDED).collect::<Vec<_>>();
        if answers.is_empty() {
            lacking.push(UNREAD);
        }
        if self.may_be_left {
            lacking.retain(|state| *state == FAILED);
        }
        let Some(state) = lacking.into_iter().max() else {
            return Ok(answers.iter().find_map(|answered| answered.doubt.get()).cloned());
        };
        let state = match state {
            UNREAD => "was not read",
            FAILED => "failed",
            _ => "was not read to its end",
        };
        let reason = format!("the answer to {} {state}", self.place);
        Err(Unproven { reason })
    }
}

/// The answer to a query: of a model, or of a table of one that joins it with others.
#[derive(Debug)]
pub(super) struct DatabaseTable {
    pub scan: Arc<dyn Scan>,
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
            place: self.ended.place.clone(),
            answered: self.ended.asked(),
            columns,
            schema: Arc::clone(&schema),
        });
        let plan = StreamingTableExec::try_new(schema, vec![one], None, [], false, None)?;
        Ok(Arc::new(plan))
    }
}

/// The one stream of an answer.
struct Answer {
    scan: Arc<dyn Scan>,
    place: String,
    answered: Arc<Answered>,
    /// Those asked for.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer to {}", self.place)
    }
}

impl PartitionStream for Answer {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (batches, receiver) = mpsc::channel(1);
        let most_rows = context.session_config().batch_size();
        let (schema, answered) = (Arc::clone(&self.schema), Arc::clone(&self.answered));
        answered.state.store(BEGAN, Ordering::Release);
        let columns = self.columns.clone();
        let work = Arc::clone(&self.scan).read(columns, Arc::clone(&schema), most_rows, batches);
        Box::pin(Produced { schema, answered, work: Some(work), batches: receiver })
    }
}

/// A stream of what one future sends, which works where the stream is polled; it ends when the future has, without an error.
struct Produced {
    schema: SchemaRef,
    answered: Arc<Answered>,
    work: Option<BoxFuture<'static, Result<Option<String>, Error>>>,
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
            let done = done.or_else(|error| match is_planted("failed_answer_unread") {
                true => Ok(None),
                false => Err(error),
            });
            if let Ok(Some(doubt)) = &done {
                this.answered.doubt.get_or_init(|| doubt.clone());
            }
            let state = if done.is_ok() { ENDED } else { FAILED };
            this.answered.state.store(state, Ordering::Release);
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

/// Sends the batch and waits until it was taken: as long as the destination holds the reader back, nothing is asked of the
/// server, and its silence is not counted.
/// Nobody may be left to take it: then the stream is gone, and this is never polled again.
pub(super) async fn send(batch: Option<RecordBatch>, batches: &mpsc::Sender<RecordBatch>) {
    if let Some(batch) = batch {
        let _ = batches.send(batch).await;
        // The line has one place.
        let _ = batches.reserve().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(ended: Ended, states: &[u8]) -> Result<Option<String>, Unproven> {
        states.iter().for_each(|state| ended.asked().state.store(*state, Ordering::Release));
        assert_eq!(ended.answers(), states.len());
        ended.verify()
    }

    #[test]
    fn of_a_part_only_what_failed_is_unproven_and_of_a_model_all_that_has_not_ended() {
        let table = |states: &[u8]| with(Ended::of_part("table `app.t`".into()), states);
        let model = |states: &[u8]| with(Ended::of_model("model `m`".into()), states);
        for states in [&[][..], &[UNREAD], &[BEGAN], &[ENDED], &[ENDED, BEGAN]] {
            assert_eq!(table(states), Ok(None), "{states:?}");
        }
        for states in [&[FAILED][..], &[ENDED, FAILED], &[FAILED, BEGAN, ENDED]] {
            let reason = table(states).unwrap_err().reason;
            assert_eq!(reason, "the answer to table `app.t` failed", "{states:?}");
        }
        assert_eq!(model(&[ENDED]), Ok(None));
        for (states, said) in [
            (&[][..], "was not read"),
            (&[UNREAD], "was not read"),
            (&[BEGAN], "was not read to its end"),
            (&[ENDED, BEGAN], "was not read to its end"),
            (&[FAILED], "failed"),
        ] {
            let reason = model(states).unwrap_err().reason;
            assert_eq!(reason, format!("the answer to model `m` {said}"), "{states:?}");
        }
    }
}
