//! A person's word on deletes that are held: released, or given up. Both are audited.

use super::order::Order;
use super::prepare::{self, Error};
use super::run::now;
use crate::domain::id::RunId;
use crate::shutdown::blocking;
use crate::snapshot::Snapshot;
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
    let mut snapshot = prepare::open(store, order).await?;
    if held(&snapshot, run)?.0.is_empty() {
        return Err(Error::NotHeld { sync: order.sync.name.clone(), run });
    }
    audit(store, order, run, message, who, "release").await?;
    let release = Release { run, message: Some(message.to_owned()), at: now() };
    blocking(|| snapshot.commit(|header| header.releases.push(release)))?;
    prepare::remember(store, &snapshot).await
}

/// Drops the ownership of the keys whose deletes were held in `run`: they are forgotten, and stay at the destination. How
/// many they were, and how many others are held still.
///
/// # Errors
/// The snapshot or the audit log cannot be written; then nothing is discarded.
pub async fn discard(
    store: &Store,
    order: &Order,
    run: RunId,
    message: &str,
    who: &str,
) -> Result<(u64, u64), Error> {
    let mut snapshot = prepare::open(store, order).await?;
    let (keys, others) = held(&snapshot, run)?;
    if keys.is_empty() {
        return Err(Error::NotHeld { sync: order.sync.name.clone(), run });
    }
    audit(store, order, run, message, who, "discard").await?;
    for key in &keys {
        snapshot.journal().append(&Record::Forget { key });
    }
    blocking(|| {
        snapshot.journal().write()?;
        snapshot.commit(|header| {
            header.hold = header.hold.take().filter(|_| others > 0);
            if let Some(hold) = &mut header.hold {
                hold.keys = others;
            }
        })
    })?;
    prepare::remember(store, &snapshot).await?;
    Ok((keys.len() as u64, others))
}

/// The keys whose deletes were held in `run`, and how many others are held.
fn held(snapshot: &Snapshot, run: RunId) -> Result<(Vec<Vec<u8>>, u64), Error> {
    let (mut keys, mut others) = (Vec::new(), 0);
    blocking(|| {
        snapshot.visit(|key, entry| match entry.held {
            Some(held) if held.was_held_in(run) => keys.push(key.to_vec()),
            Some(_) => others += 1,
            None => {}
        })
    })?;
    Ok((keys, others))
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
