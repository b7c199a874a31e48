use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::domain::id::RunId;
use crate::shutdown::{Stage, Stopper};
use crate::store::{StopRequest, Store};

/// How often a run that is going is looked up for a stop command.
const POLL: Duration = Duration::from_millis(100);

/// Raises the stage of a run that is going when a command beside asks it to stop, and says so by `told`, once. Returns
/// when there is nothing left to raise.
pub async fn heed(store: Store, run: RunId, stopper: Stopper, told: impl FnOnce()) {
    let mut told = Some(told);
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stage = match store.stop_requested(run).await {
            Ok(None) => continue,
            Ok(Some(StopRequest::Drain)) => Stage::Draining,
            Ok(Some(StopRequest::Now)) => Stage::Aborting,
            Err(error) => {
                tracing::warn!(%error, "a stop command could not be looked for");
                continue;
            }
        };
        if let Some(told) = told.take() {
            told();
        }
        stopper.raise(stage);
        if stage == Stage::Aborting {
            return;
        }
    }
}
