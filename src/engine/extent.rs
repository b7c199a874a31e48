//! How much of its model a run reads: all of it, or where the model has a cursor and nothing stands against it, what is new.
//!
//! Not responsible for the rule (`domain::cursor`) and for the read (`source`). Guards: every record in doubt and every one that
//! is rejected is asked for by its key; the bound moves in the commit of the run that has read so far.

use super::order::Order;
use super::prepare::{self, Sent};
use super::reading::QueryRuntime;
use super::skipping::Begun;
use crate::delta::table::Cut;
use crate::domain::cursor::{self, Bound, Circumstances, Cursor, Ended, Reached, Stays, Whole};
use crate::domain::entry::Entry;
use crate::domain::id::{Instant, RunId};
use crate::domain::key::KeyHash;
use crate::domain::kind::KindReason;
use crate::points::is_planted;
use crate::shutdown::blocking;
use crate::snapshot::{Error, Snapshot, Stored, View};
use crate::source::{Met, Reading, Restriction};
use crate::store::Store;

/// What is asked before a run whether it may be restricted.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub order: &'a Order,
    pub view: Option<&'a View>,
    /// A person's word for the state was spent on this run.
    pub is_vouched: bool,
    /// When the run begins.
    pub now: Instant,
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
}

/// How much a run reads.
#[derive(Debug, Clone, Default)]
pub struct Extent {
    /// All where there is none.
    pub restriction: Option<Restriction>,
    /// Why all is read of a model with a cursor.
    pub whole: Option<Whole>,
}

impl Asking<'_> {
    /// What the run may be restricted to, before its kind is known.
    fn restriction(self, cursor: &Cursor) -> Result<Result<Restriction, Whole>, Error> {
        let Asking { order, view: Some(view), is_vouched, now, is_stopped } = self else {
            return Ok(Err(Whole::NoBound));
        };
        let header = view.header();
        let circumstances = Circumstances {
            reached: header.cursor.as_ref(),
            is_full: order.is_full,
            is_epoch_open: header.is_epoch_open,
            is_kept: order.keeps_snapshot || is_vouched,
            now,
        };
        let from = match cursor.since(circumstances) {
            Ok(from) => from,
            Err(why) => return Ok(Err(why)),
        };
        let Some(key) = order.sync.key_columns() else { return Ok(Err(Whole::Keys)) };
        let keys = match blocking(|| asked_for(view, is_stopped))? {
            Ok(keys) => keys,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Restriction::new(cursor, from, key, keys.iter().map(Vec::as_slice)))
    }
}

/// The keys whose rows are to be read whatever their cursor says: all that are in doubt, and all that the destination has
/// rejected, so that those that still stand are counted; or why they are not asked for.
///
/// # Errors
/// The snapshot is damaged.
pub fn asked_for(
    view: &View,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Result<Vec<Vec<u8>>, Whole>, Error> {
    let (mut keys, mut bytes, mut checked) = (Vec::<Vec<u8>>::new(), 0, Ok(()));
    let cut = Cut::of(view.entries_at_most(&(0..=KeyHash::MAX)), 1, usize::MAX);
    for range in (0..cut.shards()).map(|shard| cut.range(shard)) {
        if is_stopped() {
            return Ok(Err(Whole::Stopped));
        }
        view.visit_stored(range, |stored| match stored {
            Stored::Other(_, key, entry) if is_asked_for(&entry) && checked.is_ok() => {
                keys.push(key.to_vec());
                bytes += key.len();
                checked = cursor::check_keys(keys.len(), bytes);
            }
            Stored::Other(..) | Stored::Confirmed(..) | Stored::Stretch(_) => {}
        })?;
        if let Err(why) = checked {
            return Ok(Err(why));
        }
    }
    Ok(Ok(keys))
}

fn is_asked_for(entry: &Entry) -> bool {
    entry.doubt.is_some() || entry.rejection.is_some()
}

/// As [`prepare::compare`], of no more than the order's run may be restricted to; and how much that is.
///
/// # Errors
/// As there; the snapshot is damaged.
pub async fn compare(
    store: Option<&Store>,
    asking: Asking<'_>,
    query: &QueryRuntime,
) -> Result<(Reading, Sent, Extent), prepare::Error> {
    let Asking { order, view, .. } = asking;
    let header = view.map(View::header);
    let compare = async |restriction| {
        Box::pin(prepare::compare(store, order, header, restriction, query)).await
    };
    let cursor = order.sync.model.cursor.as_ref().filter(|_| order.chosen.is_none());
    let Some(cursor) = cursor else {
        let (reading, sent) = compare(None).await?;
        return Ok((reading, sent, Extent::default()));
    };
    let reached = header.and_then(|header| header.cursor.as_ref());
    let whole = match (asking.restriction(cursor)?, reached) {
        (Ok(restriction), Some(reached)) => {
            let (reading, mut sent) = compare(Some(restriction.clone())).await?;
            let definition = Begun::of(order, &reading, None).of_bound();
            if !reading.cursor.as_ref().is_some_and(|met| met.is_restricted) {
                // The source was asked for all of it by then.
                return Ok((reading, sent, everything(order, cursor, Whole::Source)));
            }
            match cursor::check_opened(reached, &definition, sent.choice) {
                Ok(()) => {
                    sent.choice.reason = KindReason::Cursor;
                    let extent = Extent { restriction: Some(restriction), whole: None };
                    return Ok((reading, sent, extent));
                }
                Err(why) => why,
            }
        }
        (Ok(_), None) => Whole::NoBound,
        (Err(why), _) => why,
    };
    let (reading, sent) = compare(None).await?;
    Ok((reading, sent, everything(order, cursor, whole)))
}

fn everything(order: &Order, cursor: &Cursor, why: Whole) -> Extent {
    let (sync, column) = (&order.sync.name, &cursor.column);
    tracing::info!(sync, column, %why, "everything is read");
    Extent { restriction: None, whole: Some(why) }
}

/// Takes the bound back that another definition has left, before anything is sent under this one: rows that this one overwrites
/// would be hidden by it if the definition came back.
///
/// # Errors
/// The commit failed; nothing was sent.
pub fn forget_foreign(snapshot: &mut Snapshot, begun: &Begun) -> Result<(), Error> {
    let reached = snapshot.header().cursor.as_ref();
    let is_foreign = reached.is_some_and(|reached| reached.definition != begun.of_bound());
    if is_foreign && !is_planted("foreign_bound_kept") {
        snapshot.commit(|header| header.cursor = None)?;
    }
    Ok(())
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
    /// What the clock of its values showed then, at least.
    pub clock: Bound,
    /// When the run began, before anything was read.
    pub began: Instant,
}

impl Noted {
    pub fn new(order: &Order, met: Met, began: Instant) -> Option<Noted> {
        let clock = order.sync.model.cursor.as_ref()?.clock(met.kind, began);
        Some(Noted { met, clock, began })
    }

    /// The bound after the run, and why it did not move.
    pub fn moved(
        self,
        before: Option<Reached>,
        begun: &Begun,
        without_entry: WithoutEntry,
        (is_complete, was_stopped): (bool, bool),
        run: RunId,
    ) -> (Option<Reached>, Option<Stays>) {
        let Noted { met, clock, began } = self;
        let ended = Ended {
            is_complete,
            was_stopped,
            unsent: without_entry.unsent,
            invalid: without_entry.invalid,
            is_whole: !met.is_restricted,
            largest: met.largest(),
            clock,
            began,
        };
        cursor::moved(before, ended, &begun.of_bound(), run)
    }
}
