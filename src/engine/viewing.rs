//! The snapshot of a sync as its next run will find it, for whoever writes nothing: what recovery would fold is folded, and
//! what people have decided of it since counts.

use std::path::Path;

use super::decisions;
use super::order::Order;
use super::prepare::{self, Error};
use crate::shutdown::blocking;
use crate::snapshot::{self, Known, View};
use crate::store::{Pending, Store};

/// The snapshot of the order's sync; `None` before the first commit, and where it is to be set aside.
///
/// # Errors
/// As [`prepare::open`].
pub async fn view(store: Option<&Store>, order: &Order) -> Result<Option<View>, Error> {
    let name = &order.sync.name;
    let (known, decided) = match store {
        Some(store) => {
            (prepare::known(store, order).await?, decisions::pending(store, order).await?)
        }
        None => (None, Vec::new()),
    };
    if let Some(store) = store
        && !decided.iter().any(sets_aside)
        && prepare::is_copied(store, order, known).await?
        && !order.keeps_snapshot
    {
        return Err(Error::Copied(name.clone()));
    }
    Ok(blocking(|| foreseen(&order.state, name, known, &decided))?)
}

/// As [`view`], of a sync in the state's folder, by what the store knows of it and what is `decided` and not carried out.
/// Copies are not told from their originals. Blocks.
///
/// # Errors
/// As there.
pub fn foreseen(
    state: &Path,
    sync: &str,
    known: Option<Known>,
    decided: &[Pending],
) -> Result<Option<View>, snapshot::Error> {
    if decided.iter().any(sets_aside) {
        return Ok(None);
    }
    let unwritten: Vec<u64> = decided.iter().filter_map(decisions::unwritten_backlog).collect();
    snapshot::recovered(&prepare::folder(state, sync), sync, known, &unwritten)
}

fn sets_aside(one: &Pending) -> bool {
    decisions::sets_aside(&one.decision).is_some()
}
