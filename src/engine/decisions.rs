//! A person's word on deletes that are held: released, or given up. Both are audited.

use super::order::Order;
use super::prepare::{self, Error};
use super::run::now;
use crate::domain::id::RunId;
use crate::snapshot::header::Release;
use crate::snapshot::record::Record;
use crate::store::{Audited, Store};

/// Records the yes to the deletes that were held in `run`; the next run makes those that still stand.
///
/// # Errors
/// The snapshot or the audit log cannot be written; then nothing is released.
pub async fn release(
    store: &Store,
    order: &Order,
    run: RunId,
    message: &str,
    who: &str,
) -> Result<(), Error> {
    audit(store, order, run, message, who, "release").await?;
    let mut snapshot = prepare::open(store, order).await?;
    let release = Release { run, message: Some(message.to_owned()), at: now() };
    snapshot.commit(|header| header.releases.push(release))?;
    prepare::remember(store, &snapshot).await
}

/// Drops the ownership of the keys whose deletes were held in `run`: they are forgotten, and stay at the destination.
///
/// # Errors
/// The snapshot or the audit log cannot be written; then nothing is discarded.
pub async fn discard(
    store: &Store,
    order: &Order,
    run: RunId,
    message: &str,
    who: &str,
) -> Result<u64, Error> {
    audit(store, order, run, message, who, "discard").await?;
    let mut snapshot = prepare::open(store, order).await?;
    let mut held = Vec::new();
    snapshot.visit(|key, entry| {
        if entry.held.is_some_and(|held| held.was_held_in(run)) {
            held.push(key.to_vec());
        }
    })?;
    for key in &held {
        snapshot.journal().append(&Record::Forget { key });
    }
    snapshot.journal().write()?;
    snapshot.commit(|header| header.hold = None)?;
    prepare::remember(store, &snapshot).await?;
    Ok(held.len() as u64)
}

async fn audit(
    store: &Store,
    order: &Order,
    run: RunId,
    message: &str,
    who: &str,
    command: &str,
) -> Result<(), Error> {
    let audited = Audited {
        at: now(),
        who: who.to_owned(),
        command: command.to_owned(),
        sync: Some(order.sync.name.clone()),
        run: Some(run),
        message: Some(message.to_owned()),
    };
    Ok(store.audit(&audited).await?)
}
