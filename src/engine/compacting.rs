//! When the snapshot is made smaller: behind a run, until somebody else wants the snapshot, and before a run where too many were
//! not followed by that.
//!
//! Not responsible for which segments are merged (`snapshot::compaction`). Invariants: whoever wants the snapshot or stops the
//! process ends it at once, with everything as it was; no run waits for it or fails by it.

use super::order::Order;
use super::prepare::{self, Error};
use crate::shutdown::{Shutdown, Stage, blocking};
use crate::snapshot::Snapshot;
use crate::store::Store;

/// Merges segments of the snapshot where there are many, until a stop comes; false where it failed, and the next run tries
/// again: then this value takes no more writes.
pub async fn compact(store: &Store, snapshot: &mut Snapshot, shutdown: &Shutdown) -> bool {
    let compacted = blocking(|| snapshot.compact(|| shutdown.stage() == Stage::Running));
    let remembered = match compacted {
        Ok(false) => Ok(()),
        Ok(true) => prepare::remember(store, snapshot).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = &remembered {
        let sync = &snapshot.header().sync;
        tracing::warn!(%sync, %error, "the snapshot could not be made smaller; the next run tries again");
    }
    remembered.is_ok()
}

/// As [`compact`], behind a run of the order that has ended; to be called by whoever has the sync to itself.
pub async fn behind(store: &Store, order: &Order, shutdown: &Shutdown) {
    if shutdown.stage() > Stage::Running {
        return;
    }
    // The word for that run says nothing of what comes after it.
    let order = Order { keeps_snapshot: false, ..order.clone() };
    match prepare::open(store, &order).await {
        Ok(mut snapshot) => {
            compact(store, &mut snapshot, shutdown).await;
        }
        Err(error) => {
            let sync = &order.sync.name;
            tracing::warn!(%sync, %error, "the snapshot cannot be opened to be made smaller");
        }
    }
}

/// As [`compact`], before a run, where too much was left to merge behind those before it: others wanted the snapshot each
/// time, or they were stopped or killed.
///
/// # Errors
/// It failed, and the snapshot cannot be opened again.
pub async fn catch_up(
    store: &Store,
    order: &Order,
    mut snapshot: Snapshot,
    shutdown: &Shutdown,
) -> Result<Snapshot, Error> {
    if !snapshot.is_compaction_overdue() || compact(store, &mut snapshot, shutdown).await {
        return Ok(snapshot);
    }
    drop(snapshot);
    prepare::open(store, order).await
}
