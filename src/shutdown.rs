//! The stages of stopping, and the one place that spawns tasks.
//!
//! A [`Shutdown`] is passed to whatever must stop in order; the caller owns the signal. Stages only ever rise:
//! Running < Draining < Aborting. Every task is owned by a [`Tasks`] and joined or aborted by it.

use std::future::Future;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime, RuntimeFlavor};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::points;

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Running,
    /// Read and send nothing new; finish what is in flight.
    Draining,
    /// Drop what is in flight too.
    Aborting,
}

/// Raises the stage; held by whoever hears signals and commands.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Stage>);

/// Sees the stage; handed down to everything that must heed it.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<Stage>);

/// A connected pair at `Running`.
pub fn channel() -> (Stopper, Shutdown) {
    let (sender, receiver) = watch::channel(Stage::Running);
    (Stopper(sender), Shutdown(receiver))
}

impl Stopper {
    /// Raises the stage to at least `stage`. Idempotent; never lowers it.
    pub fn raise(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let rises = stage > *current;
            if rises {
                *current = stage;
            }
            rises
        });
        points::stop_heard();
    }

    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }
}

impl Shutdown {
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Resolves once the stage is at least `stage`; never, if the stopper is gone before that. Cancel-safe.
    pub async fn reached(&mut self, stage: Stage) {
        if self.0.wait_for(|current| *current >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Runs blocking work here while the runtime's other tasks go on elsewhere. On a runtime of one thread they wait.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// How long the threads of a runtime are waited for that have nothing to do any more.
pub const LONGEST_JOIN: Duration = Duration::from_millis(200);

/// Ends a runtime and waits until its threads have ended, but no longer than that: one that runs what will not yield ends later.
///
/// They are waited for, though nobody needs that: a thread that is let go of gives its stack back itself, and glibc may look
/// at a stack that is gone when it lets go of a thread that is just ending (its bug 19951), of which the process dies.
pub fn end_runtime(runtime: Runtime, longest: Duration) {
    let mut runtime = Some(runtime);
    let end = || runtime.take().map(|runtime| runtime.shutdown_timeout(longest));
    // Only a thread that belongs to no runtime may wait for one.
    blocking(|| {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, end).ok();
            thread.and_then(|thread| thread.join().ok())
        })
    });
    if let Some(runtime) = runtime {
        // The system gives no more threads.
        runtime.shutdown_background();
    }
}

/// Does `work` for each of `0..count` on all cores, and returns what came of each, in that order. Blocks; a panic is
/// carried on here.
pub fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let take = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        numbers.take_while(|number| *number < count).map(|number| (number, work(number))).collect()
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let another = |_| std::thread::Builder::new().spawn_scoped(scope, take).ok();
        // Where the system gives no more threads, those that there are do it.
        let others: Vec<_> = (1..cores.min(count)).map_while(another).collect();
        let mut done: Vec<_> = take();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Does both, `other` on a thread of its own where the system gives one. Blocks; a panic is carried on here.
pub fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    // Stays here where there is no thread to take it along.
    let other = Mutex::new(Some(other));
    let take = || {
        let other = other.lock().unwrap_or_else(PoisonError::into_inner).take();
        other.map(|other| other())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, take).ok();
        let here = here();
        let joined = thread
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let other = joined.flatten().or_else(take).expect("one of the two takes it");
        (other, here)
    })
}

/// A set of owned tasks: reaped one by one, or aborted together when dropped.
#[derive(Debug)]
pub struct Tasks<T>(JoinSet<T>);

impl<T: Send + 'static> Default for Tasks<T> {
    fn default() -> Self {
        Tasks(JoinSet::new())
    }
}

impl<T: Send + 'static> Tasks<T> {
    pub fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) -> AbortHandle {
        self.0.spawn(task)
    }

    /// Spawns on another runtime; the set still owns the task.
    pub fn spawn_on(
        &mut self,
        task: impl Future<Output = T> + Send + 'static,
        runtime: &tokio::runtime::Handle,
    ) -> AbortHandle {
        self.0.spawn_on(task, runtime)
    }

    /// Runs blocking work on the runtime's blocking threads.
    pub fn spawn_blocking(&mut self, work: impl FnOnce() -> T + Send + 'static) -> AbortHandle {
        self.0.spawn_blocking(work)
    }

    /// As [`Tasks::spawn_blocking`], on another runtime.
    pub fn spawn_blocking_on(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        runtime: &Handle,
    ) -> AbortHandle {
        self.0.spawn_blocking_on(work, runtime)
    }

    /// The next task that ended; `None` when the set is empty. A panic in a task is carried on here. Cancel-safe.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            if let Some(value) = value_of(self.0.join_next().await?) {
                return Some(value);
            }
        }
    }

    /// Lets go of the tasks that have ended by now. A panic in one of them is carried on here.
    pub fn reap(&mut self) {
        while let Some(joined) = self.0.try_join_next() {
            value_of(joined);
        }
    }

    pub fn abort_all(&mut self) {
        self.0.abort_all();
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `None` where the task was aborted.
fn value_of<T>(joined: Result<T, JoinError>) -> Option<T> {
    match joined {
        Ok(value) => Some(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_aborted) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn stages_only_rise() {
        let (stopper, mut shutdown) = channel();
        assert_eq!(shutdown.stage(), Stage::Running);
        stopper.raise(Stage::Aborting);
        stopper.raise(Stage::Draining);
        shutdown.reached(Stage::Draining).await;
        assert_eq!(shutdown.stage(), Stage::Aborting);
    }

    #[tokio::test]
    async fn the_threads_of_a_runtime_have_ended_when_it_has_but_none_that_does_not_yield_is_waited_for()
     {
        let runtime = || {
            let threads = Arc::new(AtomicUsize::new(0));
            let (begun, ended) = (Arc::clone(&threads), Arc::clone(&threads));
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(4);
            builder.on_thread_start(move || {
                begun.fetch_add(1, Ordering::SeqCst);
            });
            builder.on_thread_stop(move || {
                ended.fetch_sub(1, Ordering::SeqCst);
            });
            (builder.build().unwrap(), threads)
        };
        let (idle, threads) = runtime();
        while threads.load(Ordering::SeqCst) < 4 {
            std::thread::yield_now();
        }
        end_runtime(idle, Duration::from_secs(30));
        assert_eq!(threads.load(Ordering::SeqCst), 0);

        let (busy, threads) = runtime();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (has_begun, begun) = std::sync::mpsc::channel();
        let mut tasks = Tasks::default();
        let never_yields = async move {
            has_begun.send(()).unwrap();
            let _ = receiver.recv();
        };
        tasks.spawn_on(never_yields, busy.handle());
        begun.recv().unwrap();
        let start = std::time::Instant::now();
        end_runtime(busy, Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(threads.load(Ordering::SeqCst) > 0, "it was not waited for");
        drop(sender);
    }

    #[test]
    fn what_is_done_on_all_cores_comes_back_in_order() {
        for count in [0, 1, 100] {
            let doubled = on_all_cores(count, |number| 2 * number);
            assert_eq!(doubled, (0..count).map(|number| 2 * number).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_done_beside_one_another_waits_for_neither() {
        let long = Duration::from_secs(30);
        let [(to_here, from_other), (to_other, from_here)] =
            [(); 2].map(|()| std::sync::mpsc::channel());
        let (other, here) = beside(
            move || to_here.send(1).map(|()| from_here.recv_timeout(long)),
            || to_other.send(2).map(|()| from_other.recv_timeout(long)),
        );
        assert_eq!((other, here), (Ok(Ok(2)), Ok(Ok(1))), "each waits for what the other has sent");
    }

    #[test]
    fn a_panic_of_either_of_two_beside_one_another_is_carried_on() {
        let of = |is_other: bool| {
            let fail = |is_it: bool| assert!(!is_it, "as it is meant");
            std::panic::catch_unwind(|| beside(|| fail(is_other), || fail(!is_other)))
        };
        assert!(of(true).is_err() && of(false).is_err());
    }

    #[tokio::test]
    async fn dropped_tasks_are_aborted() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut tasks = Tasks::default();
        tasks.spawn(async move {
            let _kept = sender;
            std::future::pending::<()>().await;
        });
        drop(tasks);
        assert!(receiver.await.is_err(), "the task's sender was dropped with the task");
    }
}
