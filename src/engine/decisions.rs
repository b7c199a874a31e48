//! A person's word on the snapshot of a sync: deletes that are held are released or given up, the snapshot is set aside or
//! kept for another connection.
//!
//! A decision is stored with its audit first, and carried out after that: here, or where a crash came between, by whoever
//! opens the snapshot next. Not responsible for who decides. Invariants: what was not audited is not carried out; doing it
//! twice is doing it once; what was decided for another connection than the sync's waits until that is the sync's.

use std::path::{Path, PathBuf};

use super::backlog;
use super::doctor::{self, Tested};
use super::identity;
use super::order::Order;
use super::prepare::{self, Error};
use super::run::now;
use super::viewing;
use crate::destination::http;
use crate::domain::id::{Instant, RunId};
use crate::points::{self, Point};
use crate::shutdown::blocking;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::header::{Header, Release};
use crate::snapshot::record::Record;
use crate::snapshot::{self, Snapshot, View};
use crate::store::{self, Audited, Decision, Pending, Store};

/// A yes to the deletes that were held in `run`. It is to be stored with the run that makes those that still stand.
///
/// # Errors
/// None is held; or the snapshot cannot be read.
pub async fn release(
    store: &Store,
    order: &Order,
    run: RunId,
    message: &str,
) -> Result<Decision, Error> {
    let is_held = match viewing::view(Some(store), order).await? {
        Some(view) => blocking(|| has_held(&view, run))?,
        None => false,
    };
    match is_held {
        true => Ok(Decision::Release { run, message: Some(message.to_owned()), at: now() }),
        false => Err(Error::NotHeld { sync: order.sync.name.clone(), run }),
    }
}

/// Drops the ownership of the keys whose deletes were held in `run`: they are forgotten, and stay at the destination. How
/// many they were, and how many others are held still. Only who owns the state may call this, while no run of the sync goes.
///
/// # Errors
/// None is held; or the snapshot or the audit log cannot be written, and what was not audited was not done.
pub async fn discard(
    store: &Store,
    order: &Order,
    run: RunId,
    message: &str,
    who: &str,
) -> Result<(u64, u64), Error> {
    let mut snapshot = prepare::open(store, order).await?;
    let (held, others) = blocking(|| count_held(snapshot.view(), run))?;
    if held == 0 {
        return Err(Error::NotHeld { sync: order.sync.name.clone(), run });
    }
    let audited = Audited { run: Some(run), ..audited("discard", &order.sync.name, message, who) };
    let pending = store.decide(&[(audited, Decision::Discard { run })]).await?;
    points::reached(Point::Decided);
    carry_out(store, &mut snapshot, pending).await?;
    Ok((held, others))
}

/// Sets the snapshot of the sync aside, whatever its state; the folder that it is in. As [`discard`].
///
/// # Errors
/// The files or the audit log cannot be written, and what was not audited was not done.
pub async fn rebaseline(
    store: &Store,
    state: &Path,
    sync: &str,
    message: &str,
    who: &str,
) -> Result<PathBuf, Error> {
    let decision = Decision::SetAside { at: now() };
    let audited = audited("rebaseline", sync, message, who);
    let pending = store.decide(&[(audited, decision)]).await?;
    points::reached(Point::Decided);
    set_aside(store, state, pending).await?;
    Ok(prepare::folder(state, sync))
}

/// The audit of a decision of now.
pub fn audited(command: &str, sync: &str, message: &str, who: &str) -> Audited {
    Audited {
        at: now(),
        who: who.to_owned(),
        command: command.to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: Some(message.to_owned()),
    }
}

/// What is decided of the snapshot of this order's sync, and not known to be carried out.
///
/// # Errors
/// The store cannot be read.
pub async fn pending(store: &Store, order: &Order) -> Result<Vec<Pending>, Error> {
    Ok(pending_of(store, &order.sync.name, &order.sync.connection).await?)
}

/// As [`pending`], of a sync that has this connection.
///
/// # Errors
/// As there.
pub async fn pending_of(
    store: &Store,
    sync: &str,
    connection: &str,
) -> Result<Vec<Pending>, store::Error> {
    let mut pending = store.decisions(Some(sync)).await?;
    let all = pending.clone();
    pending.retain(|one| is_written(&all, one, Some(connection)));
    Ok(pending)
}

/// Whether the config file says what was decided: a sync that has this connection has had all those that were decided for it
/// before.
fn is_written(all: &[Pending], one: &Pending, connection: Option<&str>) -> bool {
    let is_replacement = |one: &Pending| matches!(one.decision, Decision::Replace { .. });
    let says_so = |later: &Pending| match &later.decision {
        Decision::Replace { connection: new, .. } => {
            later.sync == one.sync && later.id >= one.id && Some(new.as_str()) == connection
        }
        _ => false,
    };
    !is_replacement(one) || all.iter().any(says_so)
}

/// The order of a run that begins, with a person's word that the snapshot is true all the same where one was given for it,
/// or for the run that it goes on for. The word stands until the snapshot says so ([`Store::spend_word`]), or the run has
/// ended; one that is older is spent by this, as a later change is another question.
///
/// # Errors
/// The store cannot be read or written.
pub async fn vouched(store: &Store, order: &Order, run: RunId) -> Result<Order, Error> {
    let mut order = order.clone();
    if order.chosen.is_some() {
        return Ok(order);
    }
    for Pending { id, sync, run: given, decision } in pending(store, &order).await? {
        if !matches!(decision, Decision::Keep { .. }) || given > Some(run) {
            continue;
        }
        if given == Some(run) || store.follows_cut_short(&sync, run, &order.revision).await? {
            order.keeps_snapshot = true;
        } else {
            store.settle(id).await?;
        }
    }
    Ok(order)
}

/// Carries out what is decided of the snapshot of this order's sync. As [`discard`].
///
/// # Errors
/// The snapshot or the store cannot be written; what is left stays decided.
pub async fn settle(store: &Store, order: &Order) -> Result<(), Error> {
    let pending = pending(store, order).await?;
    match set_aside(store, &order.state, pending).await?.is_empty() {
        true => Ok(()),
        false => prepare::open(store, order).await.map(drop),
    }
}

/// As [`settle`], at the start of a process, for all of these orders. What cannot be carried out is by the next run of its
/// sync, which says why.
///
/// # Errors
/// The store cannot be read.
pub async fn settle_all(store: &Store, orders: &[Order]) -> Result<(), store::Error> {
    let decided = store.decisions(None).await?;
    let is_decided = |order: &&Order| decided.iter().any(|one| one.sync == order.sync.name);
    for order in orders.iter().filter(is_decided) {
        if let Err(error) = settle(store, order).await {
            let sync = &order.sync.name;
            tracing::warn!(sync, %error, "what was decided of the snapshot could not be carried out");
        }
    }
    Ok(())
}

/// Takes back what was decided for connections that the config does not name: the file was never rewritten, or has been
/// changed again. Only who has just taken the state over may call this.
///
/// # Errors
/// The store cannot be read or written.
pub async fn withdraw_unwritten<'c>(
    store: &Store,
    who: &str,
    connection_of: impl Fn(&str) -> Option<&'c str>,
) -> Result<(), store::Error> {
    let mut pending = store.decisions(None).await?;
    let all = pending.clone();
    pending.retain(|one| !is_written(&all, one, connection_of(&one.sync)));
    withdraw(store, who, pending).await
}

/// Takes decisions for another connection back.
///
/// # Errors
/// The store cannot be written.
pub async fn withdraw(store: &Store, who: &str, pending: Vec<Pending>) -> Result<(), store::Error> {
    if pending.is_empty() {
        return Ok(());
    }
    let why = "not carried out: the config file does not say so";
    let withdrawn = pending.into_iter().map(|one| {
        let audited = audited("connection replace", &one.sync, why, who);
        (one, audited)
    });
    store.withdraw(&withdrawn.collect::<Vec<_>>()).await
}

/// Tests the connection that these orders have from now on in the place of another; what that is to decide of the snapshot
/// of each. `is_kept`: a person says that the snapshots are true of it.
///
/// # Errors
/// It does not pass, or its account cannot be asked for.
pub async fn replace(orders: &[Order], is_kept: bool) -> Result<Vec<Decision>, Error> {
    let (Some(first), at) = (orders.first(), now()) else { return Ok(Vec::new()) };
    let Tested { connection, address, is_well, code, message, .. } =
        doctor::test(&first.connection).await;
    if !is_well {
        let code = code.unwrap_or_default();
        return Err(Error::Refused(format!(
            "`{connection}` at {address} does not pass its test: `{code}` {message}; nothing was replaced"
        )));
    }
    let (identified, _) = identity::identified(first).await?;
    let decision = |order: &Order| Decision::Replace {
        connection: connection.clone(),
        kept: is_kept.then(|| http::identity(&identified, &order.requests.upsert)),
        at,
    };
    Ok(orders.iter().map(decision).collect())
}

/// Sets the snapshot aside where one of these decisions of one sync says so; those behind it.
///
/// # Errors
/// The files or the store cannot be written.
pub async fn set_aside(
    store: &Store,
    state: &Path,
    mut pending: Vec<Pending>,
) -> Result<Vec<Pending>, Error> {
    let is_last = |one: &Pending| sets_aside(&one.decision).is_some();
    let Some(last) = pending.iter().rposition(is_last) else { return Ok(pending) };
    let behind = pending.split_off(last + 1);
    for Pending { id, sync, decision, .. } in pending.iter().skip(last) {
        let at = sets_aside(decision).unwrap_or_default();
        let disk = LocalDisk::existing(prepare::folder(state, sync));
        blocking(|| snapshot::archive(&disk, sync, at))?;
        store.settle_afresh(sync, *id).await?;
    }
    Ok(behind)
}

/// When it was decided to begin the snapshot afresh, if it was.
pub fn sets_aside(decision: &Decision) -> Option<Instant> {
    match decision {
        Decision::SetAside { at } | Decision::Replace { kept: None, at, .. } => Some(*at),
        _ => None,
    }
}

/// Writes into the snapshot what was decided of it.
///
/// # Errors
/// The snapshot or the store cannot be written; what is left stays decided.
pub async fn carry_out(
    store: &Store,
    snapshot: &mut Snapshot,
    pending: Vec<Pending>,
) -> Result<(), Error> {
    // A word for the next run is that run's to take.
    let is_of_snapshot = |one: &Pending| !matches!(one.decision, Decision::Keep { .. });
    // What is written here says nothing of whether something else was written before.
    let found = snapshot.header().generation;
    for one in pending.into_iter().filter(is_of_snapshot) {
        if unwritten_backlog(&one).is_some_and(|generation| found <= generation) {
            let audited = audited(backlog::COMMAND, &one.sync, backlog::UNDONE, "counterflow");
            store.withdraw(&[(one, audited)]).await?;
            continue;
        }
        let Pending { id, decision, .. } = one;
        if blocking(|| write(snapshot, &decision))? {
            prepare::remember(store, snapshot).await?;
        }
        store.settle(id).await?;
    }
    Ok(())
}

/// The generation beyond which the snapshot says that a backlog was discarded. Until then it was not, and which keys were
/// meant is known to nobody any more.
pub fn unwritten_backlog(one: &Pending) -> Option<u64> {
    match one.decision {
        Decision::Backlog { generation } => Some(generation),
        _ => None,
    }
}

/// False where the snapshot says so already.
fn write(snapshot: &mut Snapshot, decision: &Decision) -> Result<bool, snapshot::Error> {
    match decision {
        Decision::Release { run, message, at } => {
            let is_known = snapshot.header().releases.iter().any(|known| known.run == *run);
            if is_known || !has_held(snapshot.view(), *run)? {
                return Ok(false);
            }
            keep_release(snapshot, *run, message.as_deref().unwrap_or_default(), *at)?;
        }
        Decision::Discard { run } => {
            let known = snapshot.header().hold.as_ref().map_or(0, |hold| hold.keys);
            // Of a discard that was killed in its middle the keys may be forgotten, and the header not know it.
            if count_held(snapshot.view(), *run)? == (0, known) {
                return Ok(false);
            }
            forget(snapshot, *run)?;
        }
        // What the deletes are judged by stays, so that the first ones are held.
        Decision::Replace { kept: Some(destination), .. } => {
            let known = snapshot.header().definition.as_ref();
            if known.is_none_or(|known| known.destination == *destination) {
                return Ok(false);
            }
            snapshot.commit(|header| {
                if let Some(definition) = &mut header.definition {
                    definition.destination.clone_from(destination);
                }
            })?;
        }
        Decision::Replace { kept: None, .. }
        | Decision::SetAside { .. }
        | Decision::Backlog { .. }
        | Decision::Keep { .. } => return Ok(false),
    }
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
    snapshot.commit(|header| header.release(release)).map(drop)
}

/// Takes the keys whose deletes were held in `run` out of the snapshot.
///
/// # Errors
/// The snapshot cannot be read or written.
pub fn forget(snapshot: &mut Snapshot, run: RunId) -> Result<(), snapshot::Error> {
    let view = snapshot.view().clone();
    let journal = snapshot.journal();
    let mut others = 0;
    visit_held(&view, run, |key, is_meant| match is_meant {
        true => journal.append(&Record::Forget { key }),
        false => others += 1,
    })?;
    journal.write()?;
    let keep_others = |header: &mut Header| {
        header.hold = header.hold.take().filter(|_| others > 0);
        if let Some(hold) = &mut header.hold {
            hold.keys = others;
        }
    };
    snapshot.commit(keep_others).map(drop)
}

/// Whether deletes were held in `run` that still are, or still wait. Looks no further than the first of them.
///
/// # Errors
/// The snapshot cannot be read.
pub fn has_held(view: &View, run: RunId) -> Result<bool, snapshot::Error> {
    let standing = view.header().standing();
    for entry in view.entries()? {
        let (_, entry) = entry?;
        if entry.held.is_some_and(|held| held.was_held_in(run, standing)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many keys' deletes were held in `run`, and how many others are held.
fn count_held(view: &View, run: RunId) -> Result<(u64, u64), snapshot::Error> {
    let (mut held, mut others) = (0, 0);
    visit_held(view, run, |_, is_meant| *if is_meant { &mut held } else { &mut others } += 1)?;
    Ok((held, others))
}

/// Shows the keys whose deletes are held, and whether they were in `run`.
///
/// # Errors
/// The snapshot cannot be read; some were shown then.
pub fn visit_held(
    view: &View,
    run: RunId,
    mut f: impl FnMut(&[u8], bool),
) -> Result<(), snapshot::Error> {
    let standing = view.header().standing();
    view.visit(|key, entry| {
        if let Some(held) = entry.held {
            f(key, held.was_held_in(run, standing));
        }
    })
}

#[cfg(test)]
mod tests;
