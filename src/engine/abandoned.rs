//! Queries that a run has left behind: one that will not yield goes on after its run, on threads of its own.
//!
//! Not responsible for telling a query to end (`reading`). Invariants: each of them is counted, and known until it has ended or
//! has gone on for `LONGEST`; so long the sync's next run stays in the queue of a server, and a sample, which knows no queue,
//! waits before it reads; no stop waits for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::reading::QueryEnd;
use crate::domain::id::RunId;
use crate::shutdown::{Shutdown, Stage};

/// A query that was told to end is given so long before it counts as left behind.
const GRACE: Duration = Duration::from_millis(200);
/// A query that goes on for longer keeps the next run from nothing.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The queries that runs of one process have left behind, by sync. Cheap to clone; clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Abandoned(Arc<Mutex<BTreeMap<String, Vec<Left>>>>);

#[derive(Debug, Clone)]
struct Left {
    run: RunId,
    since: Instant,
    query: QueryEnd,
}

impl Abandoned {
    /// How many queries a run leaves behind that has told its one to end: 1, which is known from now on, or none.
    pub async fn leave(&self, sync: &str, run: RunId, query: QueryEnd) -> u64 {
        if timeout(GRACE, query.clone().reached()).await.is_ok() {
            return 0;
        }
        tracing::warn!(
            sync,
            "the query does not end and is left behind; the next run of the sync waits for its end"
        );
        let left = Left { run, since: Instant::now(), query };
        self.lock().entry(sync.to_owned()).or_default().push(left);
        1
    }

    /// The syncs that are not to begin a run yet, each with the run whose query goes on.
    pub fn held(&self) -> BTreeMap<String, RunId> {
        self.held_within(LONGEST)
    }

    fn held_within(&self, longest: Duration) -> BTreeMap<String, RunId> {
        let mut all = self.lock();
        for (sync, left) in &mut *all {
            left.retain(|Left { run, since, query }| {
                let is_over = since.elapsed() >= longest;
                if is_over && !query.is_reached() {
                    tracing::warn!(sync, %run, "its query, left behind, still goes on; the next run may begin beside it");
                }
                !is_over && !query.is_reached()
            });
        }
        all.retain(|_, left| !left.is_empty());
        all.iter().map(|(sync, left)| (sync.clone(), left[0].run)).collect()
    }

    /// Waits for the end of the queries that earlier runs of the sync have left behind, at most `LONGEST`; false once a stop
    /// comes.
    pub async fn ended(&self, sync: &str, shutdown: &mut Shutdown) -> bool {
        self.ended_within(LONGEST, sync, shutdown).await
    }

    async fn ended_within(&self, longest: Duration, sync: &str, shutdown: &mut Shutdown) -> bool {
        let Some(queries) = self.lock().get(sync).cloned() else { return true };
        tracing::info!(sync, "waits for the end of a query that an earlier run has left behind");
        let all = async {
            for left in queries {
                left.query.reached().await;
            }
        };
        tokio::select! {
            biased;
            () = shutdown.reached(Stage::Draining) => return false,
            ended = timeout(longest, all) => if ended.is_err() {
                tracing::warn!(sync, "a query that an earlier run has left behind still goes on; the run begins beside it");
            }
        }
        self.lock().remove(sync);
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Left>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::engine::reading::QueryRuntime;
    use crate::shutdown::{Tasks, channel};

    /// A query that is told to end, and does once something is sent.
    async fn query() -> (QueryEnd, mpsc::Sender<()>) {
        let (sender, receiver) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (runtime, _cancelling) = QueryRuntime::start().unwrap();
        let mut tasks = Tasks::default();
        let never_yields = async move {
            begun.send(()).unwrap();
            receiver.recv().unwrap();
        };
        tasks.spawn_on(never_yields, runtime.handle());
        has_begun.await.unwrap();
        (runtime.end(), sender)
    }

    #[tokio::test]
    async fn a_query_that_ends_when_it_is_told_to_is_not_left_behind() {
        let abandoned = Abandoned::default();
        let end = QueryRuntime::start().unwrap().0.end();
        assert_eq!(abandoned.leave("crm", RunId(7), end).await, 0);
        let (stopper, mut shutdown) = channel();
        assert!(abandoned.ended("crm", &mut shutdown).await);
        drop(stopper);
    }

    #[tokio::test]
    async fn the_next_run_of_the_sync_waits_for_a_query_that_does_not_end_until_a_stop_comes() {
        let abandoned = Abandoned::default();
        let (end, sender) = query().await;
        assert_eq!(abandoned.leave("crm", RunId(7), end).await, 1);
        let (stopper, mut shutdown) = channel();
        assert!(abandoned.clone().ended("ads", &mut shutdown).await, "that is another sync");
        let waits = abandoned.ended("crm", &mut shutdown);
        assert!(timeout(GRACE, waits).await.is_err());
        stopper.raise(Stage::Draining);
        assert!(!abandoned.ended("crm", &mut shutdown).await);
        let (_stopper, mut shutdown) = channel();
        sender.send(()).unwrap();
        assert!(abandoned.ended("crm", &mut shutdown).await);
    }

    #[tokio::test]
    async fn a_sync_is_held_until_its_query_ends_or_has_gone_on_for_too_long() {
        let abandoned = Abandoned::default();
        let (end, sender) = query().await;
        assert_eq!(abandoned.leave("crm", RunId(7), end.clone()).await, 1);
        let held = BTreeMap::from([("crm".to_owned(), RunId(7))]);
        assert_eq!(abandoned.held(), held);
        sender.send(()).unwrap();
        end.reached().await;
        assert_eq!(abandoned.held(), BTreeMap::new());
        let (end, _sender) = query().await;
        assert_eq!(abandoned.leave("crm", RunId(7), end).await, 1);
        assert_eq!(abandoned.held(), held);
        assert_eq!(abandoned.held_within(Duration::ZERO), BTreeMap::new());
        assert_eq!(abandoned.held(), BTreeMap::new(), "it is held once");
    }

    #[tokio::test]
    async fn a_query_that_never_ends_holds_up_no_run_for_ever() {
        let abandoned = Abandoned::default();
        let (end, _sender) = query().await;
        assert_eq!(abandoned.leave("crm", RunId(7), end).await, 1);
        let (_stopper, mut shutdown) = channel();
        assert!(abandoned.ended_within(GRACE, "crm", &mut shutdown).await);
        assert!(abandoned.ended("crm", &mut shutdown).await, "it is waited for once");
    }
}
