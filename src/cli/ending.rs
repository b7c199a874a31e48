//! The end of a server: the signals that ask for it, and the one deadline that all its steps share.
//!
//! Not responsible for the steps and their order (`serve`). Invariants: the first signal drains, the second drops what is
//! waited for, and no step goes on behind the deadline.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::notify;
use super::stopping::{Cause, Signals};
use crate::shutdown::{self, Shutdown, Stage, Stopper, Tasks};

/// What the whole end may take beside the longest drain: the commits of the runs, once after the drain and once
/// more after an abort, and the steps after them.
pub const BESIDE_DRAIN: Duration = Duration::from_secs(40);
/// How long open connections may hold up the end.
const CLOSING: Duration = Duration::from_secs(5);

/// The end, before and while it goes.
pub struct Ending {
    shutdown: Shutdown,
    deadline: Arc<OnceLock<Instant>>,
    aborted: Arc<OnceLock<Cause>>,
    _hearing: Tasks<()>,
}

impl Ending {
    /// Hears signals from here on; at the first it is asked how long a drain may be then. Must be called within a runtime.
    pub fn listen(
        signals: Signals,
        longest_drain: impl FnOnce() -> Duration + Send + 'static,
    ) -> Ending {
        let (stopper, shutdown) = shutdown::channel();
        let (deadline, aborted) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let mut hearing = Tasks::default();
        let heard = Heard { deadline: Arc::clone(&deadline), aborted: Arc::clone(&aborted) };
        hearing.spawn(heard.hear(signals, stopper, longest_drain));
        Ending { shutdown, deadline, aborted, _hearing: hearing }
    }

    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// The second signal, if there was one.
    pub fn aborted(&self) -> Option<Cause> {
        self.aborted.get().copied()
    }

    /// Takes a step, which may begin before the end does; `None` if it is not done by the deadline.
    pub async fn within<T>(&mut self, what: &str, step: impl Future<Output = T>) -> Option<T> {
        let mut shutdown = self.shutdown.clone();
        let deadline = Arc::clone(&self.deadline);
        let over = async move {
            shutdown.reached(Stage::Draining).await;
            match deadline.get() {
                Some(deadline) => tokio::time::sleep_until(*deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = step => {
                tracing::info!("shutting down: {what}");
                Some(done)
            }
            () = over => {
                tracing::error!("the deadline of the shutdown has passed before {what}");
                None
            }
        }
    }

    /// Takes a last step, which is not worth waiting for long, and not at all after a second signal.
    pub async fn briefly<T>(&mut self, what: &str, step: impl Future<Output = T>) {
        let soon = Instant::now() + CLOSING;
        let until = self.deadline.get().map_or(soon, |deadline| soon.min(*deadline));
        tokio::select! {
            biased;
            done = timeout_at(until, step) => match done {
                Ok(_) => tracing::info!("shutting down: {what}"),
                Err(_elapsed) => tracing::warn!("not waited for any longer: {what}"),
            },
            () = self.shutdown.reached(Stage::Aborting) => {
                tracing::warn!("not waited for, by a second signal: {what}");
            }
        }
    }
}

struct Heard {
    deadline: Arc<OnceLock<Instant>>,
    aborted: Arc<OnceLock<Cause>>,
}

impl Heard {
    /// The first signal drains, the second aborts and is the one that the exit code tells of.
    async fn hear(
        self,
        mut signals: Signals,
        stopper: Stopper,
        longest_drain: impl FnOnce() -> Duration,
    ) {
        signals.next().await;
        let limit = longest_drain().saturating_add(BESIDE_DRAIN);
        // Nobody else sets them.
        let _ = self.deadline.set(Instant::now() + limit);
        notify::stopping(limit);
        let seconds = limit.as_secs();
        tracing::info!(
            "shutting down within {seconds} s: no command is taken in and no run begins; what is in flight is finished \
             first; a second signal drops it"
        );
        stopper.raise(Stage::Draining);
        let second = signals.next().await;
        let _ = self.aborted.set(second);
        stopper.raise(Stage::Aborting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An end whose signal came so long ago that its deadline has passed, unless it is still to come.
    fn ending(has_begun: bool) -> (Ending, Stopper) {
        let (stopper, shutdown) = shutdown::channel();
        let (deadline, aborted) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        if has_begun {
            deadline.set(Instant::now()).unwrap();
            stopper.raise(Stage::Draining);
        }
        (Ending { shutdown, deadline, aborted, _hearing: Tasks::default() }, stopper)
    }

    async fn soon() {
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn all_steps_share_one_deadline_and_what_needs_no_time_is_done_behind_it_too() {
        let (mut ending, _stopper) = ending(true);
        for _ in 0..2 {
            assert!(ending.within("one", std::future::pending::<()>()).await.is_none());
            assert_eq!(ending.within("another", async { 7 }).await, Some(7));
            ending.briefly("the last", std::future::pending::<()>()).await;
        }
    }

    #[tokio::test]
    async fn nothing_is_over_before_the_first_signal_and_connections_are_cut_by_the_second() {
        let (mut ending, stopper) = ending(false);
        assert!(ending.within("it serves", soon()).await.is_some());
        stopper.raise(Stage::Aborting);
        ending.briefly("connections", std::future::pending::<()>()).await;
    }
}
