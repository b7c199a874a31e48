use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Whose turn it is to work on the snapshot of a sync: of the runs and other commands of one process, one at a time. Cheap
/// to clone.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    syncs: Arc<Mutex<BTreeMap<String, Lock>>>,
    /// The one place of what reads beside the queue.
    beside: Lock,
}

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The turn ends when this is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedMutexGuard<()>>);

impl Turns {
    /// Waits for the turn, behind those who waited before. Cancel-safe.
    pub async fn take(&self, sync: &str) -> Turn {
        Turn(vec![self.of(sync).lock_owned().await])
    }

    /// As [`Turns::take`], for what reads a model and is not held back by the queue and its limits, such as a sample: one of
    /// all syncs at a time, as each takes the memory of a run. Whoever waits for its sync keeps nobody else from it.
    pub async fn take_beside_queue(&self, sync: &str) -> Turn {
        let turn = self.of(sync).lock_owned().await;
        Turn(vec![turn, Arc::clone(&self.beside).lock_owned().await])
    }

    /// The turn, if nobody has it or waits for it.
    pub fn try_take(&self, sync: &str) -> Option<Turn> {
        self.of(sync).try_lock_owned().ok().map(|turn| Turn(vec![turn]))
    }

    fn of(&self, sync: &str) -> Lock {
        let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(syncs.entry(sync.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_works_on_a_sync_and_others_are_not_held_up() {
        let turns = Turns::default();
        let first = turns.take("crm").await;
        assert!(turns.clone().take("crm").now_or_never().is_none());
        assert!(turns.take("ads").now_or_never().is_some());
        assert!(turns.try_take("crm").is_none() && turns.try_take("ads").is_some());
        drop(first);
        assert!(turns.take("crm").now_or_never().is_some());
    }
    #[tokio::test]
    async fn one_at_a_time_reads_beside_the_queue_and_keeps_nobody_from_it_while_its_sync_is_worked_on()
     {
        let turns = Turns::default();
        let run = turns.take("crm").await;
        let mut waiting = Box::pin(turns.take_beside_queue("crm"));
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits for the run");
        let other =
            turns.take_beside_queue("ads").now_or_never().expect("nobody is beside the queue");
        drop(run);
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits for the other");
        assert!(turns.take("shop").now_or_never().is_some(), "a run of the queue does not");
        drop(other);
        assert!(waiting.now_or_never().is_some());
    }
}
