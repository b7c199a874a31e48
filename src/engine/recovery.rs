use super::prepare::Error;
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Outcome;
use crate::store::Store;

/// Ends the runs that a dead process left behind as Interrupted. What they had in flight is folded when their
/// sync's snapshot is next opened. Only the owner of the state may call this.
///
/// # Errors
/// The store cannot be read or written.
pub async fn recover(store: &Store, now: Instant) -> Result<Vec<RunId>, Error> {
    let mut recovered = Vec::new();
    for row in store.unfinished().await? {
        let why = "the process ended before the run did";
        store.finish(row.id, Outcome::Interrupted, &row.tally, Some(why), now).await?;
        recovered.push(row.id);
    }
    Ok(recovered)
}
