use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Whose turn it is to work on the snapshot of a sync: of the runs and other commands of one process, one at a time. Cheap
/// to clone.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>);

/// The turn ends when this is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for its drop")] OwnedMutexGuard<()>);

impl Turns {
    /// Waits for the turn, behind those who waited before. Cancel-safe.
    pub async fn take(&self, sync: &str) -> Turn {
        Turn(self.of(sync).lock_owned().await)
    }

    /// The turn, if nobody has it or waits for it.
    pub fn try_take(&self, sync: &str) -> Option<Turn> {
        self.of(sync).try_lock_owned().ok().map(Turn)
    }

    fn of(&self, sync: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(sync.to_owned()).or_default())
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
}
