//! Queries of databases that are told to end when nobody reads them any more.
//!
//! A stream that is dropped cannot wait, and its runtime may be going down: it hands the question to end its query to a task on
//! another runtime. Not responsible for sockets, which are closed beside that.

use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::points::is_planted;

/// A server is given so long to take a question.
const LONGEST: Duration = Duration::from_millis(900);

/// The question to end one query, which is asked where it is polled.
struct Cancel {
    /// The database that the query is asked of.
    place: String,
    question: BoxFuture<'static, ()>,
}

/// Asks servers to end queries.
#[derive(Debug)]
pub struct Canceller(mpsc::UnboundedReceiver<Cancel>);

/// Where the queries of one read are given up. One of them is said once, so that the queue is as long as there are streams.
#[derive(Debug, Clone)]
pub struct Cancels(mpsc::UnboundedSender<Cancel>);

/// Held by whoever reads a query's answer; asks the server to end the query when it is dropped before the end.
pub(super) struct CancelOnDrop {
    cancels: Cancels,
    cancel: Option<Cancel>,
}

impl Default for Cancels {
    /// Nobody is asked to end anything.
    fn default() -> Self {
        Cancels(mpsc::unbounded_channel().0)
    }
}

impl Canceller {
    pub fn new() -> (Cancels, Canceller) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Cancels(sender), Canceller(receiver))
    }

    /// Until all who could give up a query are gone, and every server was asked.
    pub async fn run(mut self) {
        let mut asked = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(cancel) = self.0.recv() => asked.push(cancel.ask()),
                Some(_) = asked.next(), if !asked.is_empty() => {}
                else => return,
            }
        }
    }
}

impl Cancel {
    async fn ask(self) {
        if timeout(LONGEST, self.question).await.is_err() {
            not_cancelled(
                &self.place,
                &format!("the server did not take the question within {LONGEST:?}"),
            );
        }
    }
}

/// Tells of a query at `place` that its server was not asked to end.
pub(super) fn not_cancelled(place: &str, why: &str) {
    tracing::warn!(
        place,
        why,
        "a query could not be cancelled; its connection is closed, and its server ends it when it next sends something"
    );
}

impl Cancels {
    /// `place`: the database that the query is asked of.
    pub(super) fn on_drop(
        &self,
        place: &str,
        question: impl Future<Output = ()> + Send + 'static,
    ) -> CancelOnDrop {
        let cancel = Cancel { place: place.to_owned(), question: Box::pin(question) };
        CancelOnDrop { cancels: self.clone(), cancel: Some(cancel) }
    }
}

impl CancelOnDrop {
    /// The query has ended.
    pub fn disarm(mut self) {
        self.cancel = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take().filter(|_| !is_planted("cancel_not_sent")) {
            // Where nobody listens the process ends, and the sockets with it.
            let _ = self.cancels.0.send(cancel);
        }
    }
}

impl fmt::Debug for CancelOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelOnDrop")
    }
}
