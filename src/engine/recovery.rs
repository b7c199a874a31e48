use super::prepare::Error;
use crate::domain::id::Instant;
use crate::domain::run::{Outcome, Phase};
use crate::store::{RunRow, Store};

/// What a dead process left behind, each as it was found, the oldest first.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Runs that had begun; they are Interrupted now.
    pub interrupted: Vec<RunRow>,
    /// Accepted and never begun: a trigger is not lost with its process, so they stay in the queue for whoever recovers.
    pub queued: Vec<RunRow>,
}

/// Ends the runs that a dead process had begun as Interrupted. What they had in flight is folded when their sync's
/// snapshot is next opened. A queued run that was asked to stop ends as Cancelled. Only the owner of the state may call
/// this.
///
/// # Errors
/// The store cannot be read or written.
pub async fn recover(store: &Store, now: Instant) -> Result<Recovered, Error> {
    let mut recovered = Recovered::default();
    for row in store.unfinished().await? {
        if row.phase != Phase::InQueue {
            let why = "the process ended before the run did";
            store.finish(row.id, Outcome::Interrupted, &row.tally, Some(why), now).await?;
            recovered.interrupted.push(row);
        } else if row.stop.is_some() {
            store.finish(row.id, Outcome::Cancelled, &row.tally, None, now).await?;
        } else {
            recovered.queued.push(row);
        }
    }
    Ok(recovered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Trigger;

    #[tokio::test]
    async fn what_began_is_interrupted_and_what_waits_goes_on_waiting_unless_it_was_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let begun = store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
        store.set_phase(begun, Phase::Starting).await.unwrap();
        let queued = store.create_run("crm", None, Trigger::Api, Instant(0)).await.unwrap();
        let stopped = store.create_run("ads", None, Trigger::Api, Instant(0)).await.unwrap();
        store.request_stop("ads", false, "ada", None).await.unwrap();
        let recovered = recover(&store, Instant(1)).await.unwrap();
        let ids = |rows: &[RunRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(&recovered.interrupted), [begun]);
        assert_eq!(ids(&recovered.queued), [queued]);
        for (run, phase) in [
            (begun, Phase::Ended(Outcome::Interrupted)),
            (queued, Phase::InQueue),
            (stopped, Phase::Ended(Outcome::Cancelled)),
        ] {
            assert_eq!(store.run(run).await.unwrap().unwrap().phase, phase);
        }
    }
}
