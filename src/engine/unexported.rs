//! The receipts of one sync that wait to be exported to the delivery log.

use std::path::Path;

use crate::delivery::spool;
use crate::domain::id::RunId;
use crate::shutdown::blocking;
use crate::store::{Error, Store};

/// The runs of the sync whose receipts wait in this state.
///
/// # Errors
/// The store cannot be read.
pub async fn of(store: &Store, state: &Path, sync: &str) -> Result<Vec<RunId>, Error> {
    let mut found = Vec::new();
    for run in blocking(|| spool::waiting(&state.join(spool::FOLDER))) {
        if store.run(run).await?.is_some_and(|row| row.sync == sync) {
            found.push(run);
        }
    }
    Ok(found)
}

/// Removes the receipts of these runs from the folder; of how many. What cannot be removed is by the next pass of `history`,
/// as its run is gone.
pub fn remove(folder: &Path, runs: &[RunId]) -> usize {
    let is_removed = |run: &&RunId| match spool::remove(folder, **run) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%run, %error, "the receipts of a run that is gone are not removed");
            false
        }
    };
    blocking(|| runs.iter().filter(is_removed).count())
}
