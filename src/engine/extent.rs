//! How much of its model a run reads: all of it, or where the model has a cursor and nothing stands against it, what is new.
//!
//! Not responsible for the rule (`domain::cursor`) and for the read (`source`). Guards: every record in doubt and every
//! rejection that is due is asked for by its key; the bound moves in the commit of the run that has read so far.

use super::order::Order;
use super::prepare::{self, Sent};
use super::reading::QueryRuntime;
use super::skipping::Begun;
use crate::domain::cursor::{self, Circumstances, Cursor, Ended, Reached, Whole};
use crate::domain::entry::Entry;
use crate::domain::id::{Instant, RunId};
use crate::domain::key::KeyHash;
use crate::domain::kind::KindReason;
use crate::shutdown::blocking;
use crate::snapshot::{Error, Stored, View};
use crate::source::{Met, Reading, Restriction};
use crate::store::Store;

/// What a run of this order may be restricted to, before its kind is known; `None` where it reads everything.
///
/// # Errors
/// The snapshot is damaged.
fn restriction(
    order: &Order,
    view: Option<&View>,
    now: Instant,
) -> Result<Option<Restriction>, Error> {
    let cursor = order.sync.model.cursor.as_ref().filter(|_| order.chosen.is_none());
    let Some((cursor, view)) = cursor.zip(view) else { return Ok(None) };
    let asked = asked(order, cursor, view, now)?;
    Ok(asked.inspect_err(|why| tell(order, cursor, *why)).ok())
}

fn asked(
    order: &Order,
    cursor: &Cursor,
    view: &View,
    now: Instant,
) -> Result<Result<Restriction, Whole>, Error> {
    let header = view.header();
    let circumstances = Circumstances {
        reached: header.cursor.as_ref(),
        is_full: order.is_full,
        is_epoch_open: header.is_epoch_open,
        is_kept: order.keeps_snapshot,
        now,
    };
    let from = match cursor.since(circumstances) {
        Ok(from) => from,
        Err(why) => return Ok(Err(why)),
    };
    let Some(key) = order.sync.key_columns() else { return Ok(Err(Whole::Keys)) };
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut many = Ok(());
    blocking(|| {
        view.visit_stored(0..=KeyHash::MAX, |_, bytes, stored| match stored {
            Stored::Other(entry) if is_asked_for(&entry, now) && many.is_ok() => {
                keys.push(bytes.to_vec());
                many = cursor::check_count(keys.len(), key.len());
            }
            Stored::Other(_) | Stored::Confirmed(_) => {}
        })
    })?;
    if let Err(why) = many {
        return Ok(Err(why));
    }
    Ok(Restriction::new(cursor, from, key, keys.iter().map(Vec::as_slice)))
}

/// Whether the row of an entry is to be read whatever its cursor says.
fn is_asked_for(entry: &Entry, now: Instant) -> bool {
    entry.doubt.is_some() || entry.rejection.as_ref().is_some_and(|rejection| rejection.is_due(now))
}

/// As [`prepare::compare`], of no more than the order's run may be restricted to; and what that is, where it is.
///
/// # Errors
/// As there; the snapshot is damaged.
pub async fn compare(
    store: Option<&Store>,
    order: &Order,
    view: Option<&View>,
    query: &QueryRuntime,
    now: Instant,
) -> Result<(Reading, Sent, Option<Restriction>), prepare::Error> {
    let header = view.map(View::header);
    let mut restriction = restriction(order, view, now)?;
    loop {
        let asked = restriction.take();
        let opened = prepare::compare(store, order, header, asked.clone(), query);
        let (reading, mut sent) = Box::pin(opened).await?;
        let cursor = order.sync.model.cursor.as_ref();
        let (Some(asked), Some(cursor)) = (asked, cursor) else { return Ok((reading, sent, None)) };
        let why = match header.and_then(|header| header.cursor.as_ref()) {
            _ if !is_restricted(&reading) => Err(Whole::Type),
            Some(reached) => {
                let definition = Begun::of(order, &reading, None).definition;
                cursor::check_opened(reached, &definition, sent.choice)
            }
            None => Err(Whole::NoBound),
        };
        match why {
            Ok(()) => {
                sent.choice.reason = KindReason::Cursor;
                return Ok((reading, sent, Some(asked)));
            }
            // The type of the column is another one, so that all of it was opened.
            Err(why @ Whole::Type) => {
                tell(order, cursor, why);
                return Ok((reading, sent, None));
            }
            Err(why) => tell(order, cursor, why),
        }
    }
}

fn is_restricted(reading: &Reading) -> bool {
    reading.cursor.as_ref().is_some_and(|met| met.is_restricted)
}

fn tell(order: &Order, cursor: &Cursor, why: Whole) {
    let (sync, column) = (&order.sync.name, &cursor.column);
    tracing::info!(sync, column, %why, "everything is read");
}

/// Rows of a run that no entry tells of, so that none of them would be asked for by its key.
#[derive(Debug, Clone, Copy)]
pub struct WithoutEntry {
    pub unsent: u64,
    pub invalid: u64,
}

/// What a run has noted of its cursor.
#[derive(Debug, Clone)]
pub struct Noted {
    pub met: Met,
    pub definition: String,
    /// When the run began, before anything was read.
    pub began: Instant,
}

impl Noted {
    /// The bound after the run.
    pub fn moved(
        self,
        before: Option<Reached>,
        without_entry: WithoutEntry,
        (is_complete, was_stopped): (bool, bool),
        run: RunId,
    ) -> Option<Reached> {
        let Noted { met, definition, began } = self;
        let ended = Ended {
            is_complete,
            was_stopped,
            unsent: without_entry.unsent,
            invalid: without_entry.invalid,
            is_whole: !met.is_restricted,
            largest: met.largest(),
            began,
        };
        cursor::moved(before, ended, &definition, run)
    }
}
