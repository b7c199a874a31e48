//! The readers: one task a stream, on the query's own runtime, from record batches to chunks of operations.
//!
//! A reader examines a batch, renders what is to be sent and hands it on; a full channel holds it back. Dropping
//! [`Readers`] ends them: a query that will not yield is left behind on its runtime, and no stop waits for it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::parked::Parked;
use super::prepare::Error;
use crate::delta::examiner::{Candidate, Examined, Examiner};
use crate::delta::primary_keys::Full;
use crate::destination::Destination;
use crate::destination::Encoder;
use crate::domain::column::Column;
use crate::domain::entry::Operation;
use crate::points;
use crate::shutdown::{LONGEST_JOIN, Tasks, end_runtime};
use crate::source::{self, Canceller, Cancels, Spent};

/// Records for which room is made by the length of the first, at most: it may be the only long one.
const MOST_ALIKE: usize = 1 << 10;
/// Bytes of a piece in which a batch of wide rows is taken, with all that its columns hold on to; one of less than twice as
/// many is taken whole.
const PIECE: usize = 2 << 20;
/// Chunks that may wait between the readers and the run.
const CHUNKS: usize = 4;

/// Databases are given so long to be asked to end what nobody reads any more.
const LONGEST_CANCEL: Duration = Duration::from_secs(1);
/// Bytes that the stack of a query's thread may take, of which only those are that it comes to: what reads a file's schema goes
/// as deep as that is nested.
const STACK: usize = 64 << 20;

/// How long a planted defect waits for a query that would never end.
const PLANTED_WAIT: Duration = Duration::from_secs(5);

/// One examined batch, its operations rendered.
#[derive(Debug)]
pub struct Chunk {
    pub examined: Examined,
    pub operations: Vec<Rendered>,
    /// The fragments of all operations.
    pub fragments: Vec<u8>,
    /// Rows with a value that has no form in a request, and why.
    pub unrenderable: Vec<(usize, String)>,
}

#[derive(Debug)]
pub struct Rendered {
    pub candidate: Candidate,
    pub fragment: Range<usize>,
    pub target_len: u32,
}

/// The threads of one query. When this is dropped they end, and are waited for; one that runs what will not yield ends later.
#[derive(Debug)]
pub struct QueryRuntime {
    runtime: Option<Runtime>,
    end: QueryEnd,
    cancels: Cancels,
    spent: Arc<Spent>,
}

/// Asks databases to end what is dropped with the threads of a query. It works on the runtime that began it, which goes on.
#[derive(Debug)]
pub struct Cancelling(Tasks<()>);

impl Cancelling {
    /// To be waited for after the query's runtime is dropped: until the databases were asked, for a second at most.
    pub async fn end(mut self) {
        let _ = timeout(LONGEST_CANCEL, self.0.next()).await;
    }
}

/// Knows when the threads of a query have ended, by their number.
#[derive(Debug, Clone)]
pub struct QueryEnd(watch::Receiver<usize>);

impl QueryEnd {
    /// Resolves once there are none of them any more: after they were told to end, and have. Cancel-safe.
    pub async fn reached(mut self) {
        // Who counts them goes with the last of them.
        let _ = self.0.wait_for(|threads| *threads == 0).await;
    }

    /// Whether [`QueryEnd::reached`] would resolve now.
    pub fn is_reached(&self) -> bool {
        *self.0.borrow() == 0
    }
}

impl QueryRuntime {
    /// # Errors
    /// The system gives no more threads.
    pub fn start() -> std::io::Result<(QueryRuntime, Cancelling)> {
        let (cancels, canceller) = Canceller::new();
        let mut cancelling = Tasks::default();
        cancelling.spawn(canceller.run());
        let (sender, threads) = watch::channel(0);
        let begun = Arc::new(sender);
        let ended = Arc::clone(&begun);
        let runtime = runtime::Builder::new_multi_thread()
            .thread_name("query")
            .thread_stack_size(STACK)
            .on_thread_start(move || begun.send_modify(|threads| *threads += 1))
            .on_thread_stop(move || ended.send_modify(|threads| *threads -= 1))
            .enable_all()
            .build()?;
        let (end, spent) = (QueryEnd(threads), Arc::default());
        let runtime = QueryRuntime { runtime: Some(runtime), end, cancels, spent };
        Ok((runtime, Cancelling(cancelling)))
    }

    pub fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it is taken only when dropped").handle()
    }

    /// Where queries of databases are given up.
    pub fn cancels(&self) -> &Cancels {
        &self.cancels
    }

    /// Where it is counted what listing costs.
    pub fn spent(&self) -> &Arc<Spent> {
        &self.spent
    }

    /// To be waited for after this is dropped.
    pub fn end(&self) -> QueryEnd {
        self.end.clone()
    }
}

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let longest = match points::is_planted("stop_waits_for_query") {
                true => PLANTED_WAIT,
                false => LONGEST_JOIN,
            };
            end_runtime(runtime, longest);
        }
    }
}

/// A stream of rows, of a source or of those that waited.
pub type Batches = BoxStream<'static, Result<RecordBatch, Error>>;

/// The streams of a source.
pub fn batches(streams: Vec<SendableRecordBatchStream>, model: &str) -> Vec<Batches> {
    let batches = |stream: SendableRecordBatchStream| -> Batches {
        let model = model.to_owned();
        let named = move |error| Error::from(source::Error::of_stream(&error, &model));
        stream.map(move |batch| batch.map_err(&named)).boxed()
    };
    streams.into_iter().map(batches).collect()
}

/// The columns of a batch that a source has yielded.
pub fn columns(batch: &RecordBatch) -> Vec<Column<'_>> {
    let column = |array| Column::new(array).expect("the source yields only supported types");
    batch.columns().iter().map(column).collect()
}

/// What the readers of one pass over rows share.
#[derive(Debug, Clone)]
pub struct Shared {
    pub examiner: Arc<Examiner>,
    pub destination: Arc<Destination>,
    pub model: String,
}

/// The running readers of one pass over rows.
#[derive(Debug)]
pub struct Readers {
    chunks: mpsc::Receiver<Chunk>,
    tasks: Tasks<Result<(), Error>>,
    failed: Option<Error>,
}

impl Readers {
    /// Starts one reader for each stream on `runtime`. Rows of no part of the snapshot that is in memory are put into `parked`;
    /// without it there are none.
    pub fn start(
        streams: Vec<Batches>,
        shared: &Shared,
        parked: Option<&Arc<Parked>>,
        runtime: &Handle,
    ) -> Readers {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let mut tasks = Tasks::default();
        for stream in streams {
            let reader = read(stream, shared.clone(), parked.cloned(), sender.clone());
            tasks.spawn_on(reader, runtime);
        }
        Readers { chunks, tasks, failed: None }
    }

    /// The next chunk; `None` once every stream has ended or one has failed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Chunk> {
        while self.failed.is_none() {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.next() => self.failed = ended.err(),
                chunk = self.chunks.recv() => return chunk,
            }
        }
        None
    }

    /// After the last chunk: whether every stream came to its own end.
    ///
    /// # Errors
    /// The first failure of a stream, or its primary keys need too much memory.
    pub async fn end(mut self) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        while let Some(ended) = self.tasks.next().await {
            ended?;
        }
        Ok(())
    }
}

async fn read(
    mut stream: Batches,
    shared: Shared,
    parked: Option<Arc<Parked>>,
    chunks: mpsc::Sender<Chunk>,
) -> Result<(), Error> {
    let Shared { examiner, destination, model } = shared;
    let encoder =
        destination.encoder(Operation::Upsert).expect("every destination can say an upsert");
    let delete = destination.encoder(Operation::Delete).filter(|delete| delete.names_record());
    while let Some(batch) = stream.next().await {
        for piece in pieces(&batch?) {
            let piece = match &parked {
                Some(parked) => parked.sift(piece, &examiner)?,
                None => piece,
            };
            let columns = columns(&piece);
            let examined = examiner
                .examine(&columns, piece.num_rows())
                .map_err(|Full| Error::PrimaryKeys(model.clone()))?;
            let chunk = render(examined, &columns, encoder, delete);
            if chunks.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A batch of wide rows in several pieces: what is made of each waits in memory, and is about as long as its rows.
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
    let each = if bytes > 2 * PIECE { (rows * PIECE / bytes).max(1) } else { rows.max(1) };
    let starts = (0..rows.max(1)).step_by(each);
    starts.map(move |start| batch.slice(start, each.min(rows - start)))
}

/// Renders what is to be sent. A record that could never be deleted again, as its key cannot stand in the path, is
/// invalid from the start.
pub fn render(
    examined: Examined,
    columns: &[Column<'_>],
    encoder: &Encoder,
    delete: Option<&Encoder>,
) -> Chunk {
    let mut path = Vec::new();
    let mut chunk = Chunk {
        operations: Vec::with_capacity(examined.candidates.len()),
        fragments: Vec::new(),
        unrenderable: Vec::new(),
        examined,
    };
    for candidate in &chunk.examined.candidates {
        let start = chunk.fragments.len();
        if chunk.operations.len() == 1 {
            // Most records are about as long as the first; growing by doubling would copy them again and again.
            chunk.fragments.reserve(start * chunk.examined.candidates.len().min(MOST_ALIKE));
        }
        let row = candidate.row;
        let value = |field: usize| columns[field].value(row);
        path.clear();
        let deletable = delete.map_or(Ok(()), |delete| delete.render(value, &mut path).map(drop));
        match deletable.and_then(|()| encoder.render(value, &mut chunk.fragments)) {
            Ok(rendered) => chunk.operations.push(Rendered {
                candidate: *candidate,
                fragment: start..chunk.fragments.len(),
                target_len: rendered.target_len,
            }),
            Err(error) => chunk.unrenderable.push((row, error.to_string())),
        }
    }
    chunk
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};

    use super::*;

    #[test]
    fn a_batch_of_wide_rows_is_taken_in_pieces_and_another_as_it_is() {
        let batch = |width: usize, rows: usize| {
            let texts = (0..rows).map(|row| format!("{row:0width$}"));
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            RecordBatch::try_from_iter([("text", texts)]).unwrap()
        };
        for (width, rows, many) in [(10, 5_000, 1), (10, 0, 1), (5_000, 5_000, 13)] {
            let batch = batch(width, rows);
            let pieces: Vec<RecordBatch> = pieces(&batch).collect();
            assert!(pieces.len() == many || many > 1 && pieces.len() >= many, "{}", pieces.len());
            let texts = pieces.iter().flat_map(|piece| piece.column(0).as_string::<i32>().iter());
            assert!(texts.eq(batch.column(0).as_string::<i32>().iter()));
        }
    }
}
