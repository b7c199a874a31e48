use std::num::NonZero;

use crate::delta::table::{Cut, Table};
use crate::domain::id::Epoch;
use crate::domain::key::KeyHash;
use crate::shutdown::on_all_cores;
use crate::snapshot::{Error, Stored, View};

/// Loads a snapshot as the build side of the delta, on all cores; `None` holds nothing. `epoch` is the run's.
///
/// # Errors
/// A file of the snapshot is damaged.
pub fn load(view: Option<&View>, epoch: Epoch) -> Result<Table, Error> {
    Ok(load_unless(view, epoch, || false)?.expect("nothing stops it"))
}

/// As [`load`]; comes back without a table, and soon, once `is_stopped`.
///
/// # Errors
/// As there.
pub fn load_unless(
    view: Option<&View>,
    epoch: Epoch,
    is_stopped: impl Fn() -> bool + Sync,
) -> Result<Option<Table>, Error> {
    let entries = view.map_or(0, |view| view.entries_at_most(&(0..=KeyHash::MAX)));
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let cut = Cut::of(entries, cores);
    let shards = on_all_cores(cut.shards(), |number| {
        if is_stopped() {
            return Ok(None);
        }
        let range = cut.range(number);
        let entries = view.map_or(0, |view| view.entries_at_most(&range));
        let mut builder = cut.builder(epoch, entries);
        if let Some(view) = view {
            view.visit_stored(range, |hash, key, stored| match stored {
                Stored::Confirmed(confirmed) => builder.push_confirmed(hash, key, confirmed),
                Stored::Other(entry) => builder.push(hash, key, *entry),
            })?;
        }
        Ok(Some(builder.finish()))
    });
    let shards: Option<Vec<_>> = shards.into_iter().collect::<Result<_, Error>>()?;
    Ok(shards.map(|shards| cut.table(shards)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_the_loading_without_a_table() {
        assert!(load_unless(None, Epoch(1), || true).unwrap().is_none());
        assert_eq!(load(None, Epoch(1)).unwrap().len(), 0);
    }
}
