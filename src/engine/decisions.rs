//! A person's word on deletes that are held: released, or given up. Both are audited.

use super::identity;
use super::order::Order;
use super::prepare::{self, Error};
use super::run::now;
use crate::destination::http;
use crate::domain::id::{Instant, RunId};
use crate::shutdown::blocking;
use crate::snapshot::header::{Header, Release};
use crate::snapshot::record::Record;
use crate::snapshot::{self, Snapshot};
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
    if blocking(|| held(&snapshot, run))?.0.is_empty() {
        return Err(Error::NotHeld { sync: order.sync.name.clone(), run });
    }
    audit(store, order, run, message, who, "release").await?;
    blocking(|| keep_release(&mut snapshot, run, message, now()))?;
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
    let (keys, others) = blocking(|| held(&snapshot, run))?;
    if keys.is_empty() {
        return Err(Error::NotHeld { sync: order.sync.name.clone(), run });
    }
    audit(store, order, run, message, who, "discard").await?;
    blocking(|| forget(&mut snapshot, &keys, others))?;
    prepare::remember(store, &snapshot).await?;
    Ok((keys.len() as u64, others))
}

/// Records that the snapshot is true of the connection of the order, though it was made under another one. What the
/// deletes are judged by stays, so that the first ones are held. False where there is no snapshot.
///
/// # Errors
/// The account cannot be asked for, or the snapshot cannot be written; then it is as it was.
pub async fn keep_for_connection(store: &Store, order: &Order) -> Result<bool, Error> {
    let connection = identity::identified(order).await?;
    let destination = http::identity(&connection, &order.requests.upsert);
    let mut snapshot = prepare::open(store, order).await?;
    if snapshot.header().definition.is_none() {
        return Ok(false);
    }
    blocking(|| {
        snapshot.commit(|header| {
            if let Some(definition) = &mut header.definition {
                definition.destination = destination;
            }
        })
    })?;
    prepare::remember(store, &snapshot).await?;
    Ok(true)
}

/// Writes the yes to the deletes that were held in `run` into the snapshot.
///
/// # Errors
/// The snapshot cannot be written.
pub fn keep_release(
    snapshot: &mut Snapshot,
    run: RunId,
    message: &str,
    at: Instant,
) -> Result<(), snapshot::Error> {
    let release = Release { run, message: Some(message.to_owned()), at };
    snapshot.commit(|header| header.releases.push(release)).map(drop)
}

/// Takes held keys out of the snapshot; `others` are held still.
///
/// # Errors
/// The snapshot cannot be written.
pub fn forget(
    snapshot: &mut Snapshot,
    keys: &[Vec<u8>],
    others: u64,
) -> Result<(), snapshot::Error> {
    for key in keys {
        snapshot.journal().append(&Record::Forget { key });
    }
    snapshot.journal().write()?;
    let keep_others = |header: &mut Header| {
        header.hold = header.hold.take().filter(|_| others > 0);
        if let Some(hold) = &mut header.hold {
            hold.keys = others;
        }
    };
    snapshot.commit(keep_others).map(drop)
}

/// The keys whose deletes were held in `run`, and how many others are held.
///
/// # Errors
/// The snapshot cannot be read.
pub fn held(snapshot: &Snapshot, run: RunId) -> Result<(Vec<Vec<u8>>, u64), snapshot::Error> {
    let (mut keys, mut others) = (Vec::new(), 0);
    snapshot.visit(|key, entry| match entry.held {
        Some(held) if held.was_held_in(run) => keys.push(key.to_vec()),
        Some(_) => others += 1,
        None => {}
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
