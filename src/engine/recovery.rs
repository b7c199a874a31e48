use crate::domain::id::Instant;
use crate::domain::kind::Choice;
use crate::domain::message::one_line;
use crate::domain::run::{Outcome, Phase};
use crate::points::is_planted;
use crate::store::{End, Error, RunRow, Stop, Store};

/// What a dead process left behind, the oldest first.
#[derive(Debug, Default)]
pub struct Left {
    /// Runs that had begun.
    pub begun: Vec<RunRow>,
    /// Accepted and never begun: a trigger is not lost with its process, so they stay in the queue for whoever comes next.
    pub queued: Vec<RunRow>,
}

/// Why a run that was asked to stop while it waited has not begun.
pub fn never_began(stop: &Stop) -> String {
    let why = stop.message.as_deref().and_then(one_line);
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    format!("stopped before it began, by {}{why}", stop.who)
}

/// Finds what a dead process left behind, and ends queued runs that were asked to stop, and samples: nobody waits for
/// those any more, and the next run asserts what of them is in doubt. Only the owner of the state may call this.
///
/// # Errors
/// The store cannot be read or written.
pub async fn survey(store: &Store, now: Instant) -> Result<Left, Error> {
    let (mut left, mut ends, mut samples) = (Left::default(), Vec::new(), Vec::new());
    for row in store.unfinished().await? {
        if row.choice.is_some_and(Choice::is_sample) {
            samples.push(row);
        } else if row.phase != Phase::InQueue {
            left.begun.push(row);
        } else if let Some(stop) = &row.stop {
            let error = Some(never_began(stop));
            ends.push(End { run: row.id, outcome: Outcome::Cancelled, tally: row.tally, error });
        } else {
            left.queued.push(row);
        }
    }
    store.finish_all(&ends, now).await?;
    interrupt(store, &samples, now).await?;
    Ok(left)
}

/// Ends runs that a dead process had begun, in one write. What they had in flight is folded when their syncs' snapshots are
/// next opened.
///
/// # Errors
/// The store cannot be written; then none has ended.
pub async fn interrupt(store: &Store, rows: &[RunRow], now: Instant) -> Result<(), Error> {
    if is_planted("interrupted_left_going") {
        return Ok(());
    }
    let end = |row: &RunRow| End {
        run: row.id,
        outcome: Outcome::Interrupted,
        tally: row.tally,
        error: Some("the process ended before the run did".to_owned()),
    };
    let ends: Vec<End> = rows.iter().map(end).collect();
    store.finish_all(&ends, now).await
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
        store.request_stop("ads", false, "ada", None, Instant(0)).await.unwrap();
        let sample = Some(Choice::SAMPLE);
        let sample = store.create_run("crm", sample, Trigger::Api, Instant(0)).await.unwrap();
        let left = survey(&store, Instant(1)).await.unwrap();
        let ids = |rows: &[RunRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!((ids(&left.begun), ids(&left.queued)), (vec![begun], vec![queued]));
        interrupt(&store, &left.begun, Instant(1)).await.unwrap();
        for (run, phase) in [
            (begun, Phase::Ended(Outcome::Interrupted)),
            (sample, Phase::Ended(Outcome::Interrupted)),
            (queued, Phase::InQueue),
            (stopped, Phase::Ended(Outcome::Cancelled)),
        ] {
            assert_eq!(store.run(run).await.unwrap().unwrap().phase, phase);
        }
    }
}
