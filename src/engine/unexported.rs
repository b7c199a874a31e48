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

/// Removes the receipts of these runs. What cannot be removed is by the next pass of `history`, as its run is gone.
pub fn remove(state: &Path, runs: &[RunId]) {
    let folder = state.join(spool::FOLDER);
    for run in runs {
        if let Err(error) = blocking(|| spool::remove(&folder, *run)) {
            tracing::warn!(%run, %error, "the receipts of a run that is gone are not removed");
        }
    }
}
