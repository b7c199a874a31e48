//! The threads on which commands do what takes long: work on snapshots, reads, questions to others; and on which snapshots are
//! made smaller behind runs.
//!
//! Not responsible for what is done there. Invariants: once begun it goes on to its end, whoever waits for it, and what may
//! last hears of the end of the process by itself; the process waits for all of it; nobody else works on the snapshot of a
//! sync meanwhile.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::handle::Refused;
use super::sampling::Samples;
use crate::engine::order::Order;
use crate::engine::prepare::Error;
use crate::shutdown::Tasks;
use crate::store::Store;

/// The threads of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Threads(Arc<Mutex<Option<Tasks<()>>>>);

impl Default for Threads {
    fn default() -> Threads {
        Threads(Arc::new(Mutex::new(Some(Tasks::default()))))
    }
}

impl Threads {
    /// Does work that holds up others, on a thread of its own. Must be called within a runtime.
    ///
    /// # Errors
    /// The process ends, and nothing was begun.
    pub async fn run<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce() -> T + Send + 'static,
    {
        match self.begin(work)?.await {
            Ok(ended) => Ok(ended.unwrap_or_else(|panic| resume_unwind(panic))),
            Err(_never_began) => Err(Refused::Draining),
        }
    }

    /// As [`Threads::run`], and waits for nothing: what comes of it is sent.
    ///
    /// # Errors
    /// As there.
    pub fn begin<T, W>(&self, work: W) -> Result<oneshot::Receiver<std::thread::Result<T>>, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce() -> T + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let runtime = Handle::current();
        let mut tasks = self.lock();
        let tasks = tasks.as_mut().ok_or(Refused::Draining)?;
        tasks.reap();
        tasks.spawn_blocking(move || {
            let ended = runtime.block_on(AssertUnwindSafe(work()).catch_unwind());
            // Whoever asked may be gone; what was done stands all the same.
            if let Err(Err(_panic)) = tell.send(ended) {
                tracing::error!("work that nobody waits for broke off by a defect, please report it with the log");
            }
        });
        Ok(told)
    }

    /// Begins nothing more, and resolves once all that was begun is at its end.
    pub async fn ended(&self) {
        let tasks = self.lock().take();
        if let Some(mut tasks) = tasks {
            while tasks.next().await.is_some() {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tasks<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works on the snapshot of a sync in the process that owns the state, on a thread of its own, while nobody else does.
///
/// # Errors
/// There is no such sync, the process takes no commands in, or a run of the sync goes; or inside, as those of `work`.
pub async fn alone<T, W>(
    samples: &Samples,
    store: &Store,
    sync: &str,
    work: W,
) -> Result<Result<T, Error>, Refused>
where
    T: Send + 'static,
    W: AsyncFnOnce(Store, Order) -> Result<T, Error> + Send + 'static,
{
    samples.check_ready()?;
    let order = samples.order(sync)?;
    let turn = samples.turns().take_unless_working(sync).await;
    let turn = turn.ok_or_else(|| Refused::Working(sync.to_owned()))?;
    let store = store.clone();
    let work = async move || {
        let _turn = turn;
        work(store, order).await
    };
    samples.threads().run(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_waited_for_though_whoever_asked_is_gone_and_nothing_more_is_begun() {
        let threads = Threads::default();
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let work = async move || {
            begin.send(()).unwrap();
            ended.await.unwrap();
            tell.send(()).unwrap();
        };
        let mut asked = Box::pin(threads.run(work));
        assert!(asked.as_mut().now_or_never().is_none());
        begun.await.unwrap();
        drop(asked);
        let mut all = Box::pin(threads.ended());
        assert!(all.as_mut().now_or_never().is_none());
        assert!(matches!(threads.run(async || ()).await, Err(Refused::Draining)));
        end.send(()).unwrap();
        all.await;
        assert!(told.now_or_never().is_some(), "it came to its end before");
    }

    #[tokio::test]
    async fn work_that_panics_takes_along_whoever_asked_and_nobody_else() {
        let threads = Threads::default();
        let asked = threads.run(async || panic!("planted"));
        assert!(AssertUnwindSafe(asked).catch_unwind().await.is_err());
        assert_eq!(threads.run(async || 7).await.unwrap(), 7);
        threads.ended().await;
    }
}
