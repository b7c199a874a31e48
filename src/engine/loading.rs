use std::num::NonZero;
use std::ops::Range;

use crate::delta::parts::Parts;
use crate::delta::table::{Cut, Table};
use crate::domain::id::Epoch;
use crate::domain::key::KeyHash;
use crate::domain::key_field::KeyField;
use crate::domain::sync::Definition;
use crate::shutdown::on_all_cores;
use crate::snapshot::header::Header;
use crate::snapshot::{Error, Stored, View};

/// Bytes that an entry takes in a table beyond those in a segment, where all keys have one length and where they do not. Those
/// that hold more than what is confirmed take nine more; most are few.
const BESIDE: usize = 1;
const BESIDE_UNEVEN: usize = 5;

/// The parts of a snapshot of which each takes about `room` bytes as a table; `None` holds nothing.
pub fn parts(view: Option<&View>, room: usize) -> Parts {
    let entries_of = |range| view.map_or(0, |view| view.entries_at_most(&range));
    let each = view.map_or(BESIDE, |view| view.bytes_each() + beside(view.header()));
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let entries = entries_of(0..=KeyHash::MAX);
    let is_whole = entries.saturating_mul(each) <= room;
    // Rows that wait for their part have their share: those on their way to the disk and back.
    let room = if is_whole { room } else { room / 4 * 3 };
    let cut = Cut::of(entries, cores, room / each);
    Parts::new(cut, room, |shard| entries_of(cut.range(shard)) * each)
}

fn beside(header: &Header) -> usize {
    let is_uneven = |field: &KeyField| ["Utf8", "Binary"].contains(&&*field.data_type);
    let is_even = |definition: &Definition| !definition.key.iter().any(is_uneven);
    if header.definition.as_ref().is_some_and(is_even) { BESIDE } else { BESIDE_UNEVEN }
}

/// Loads some shards of a snapshot as the build side of the delta, on all cores; `None` holds nothing. `epoch` is the run's.
/// Comes back without a table, and soon, once `is_stopped`.
///
/// # Errors
/// A file of the snapshot is damaged.
pub fn load_part(
    view: Option<&View>,
    epoch: Epoch,
    cut: Cut,
    shards: Range<usize>,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Table>, Error> {
    let first = shards.start;
    let shards = on_all_cores(shards.len(), |number| {
        if is_stopped() {
            return Ok(None);
        }
        let Some(view) = view else { return Ok(cut.builder(epoch, 0).finish()) };
        let range = cut.range(first + number);
        let mut builder = cut.builder(epoch, view.entries_at_most(&range));
        view.visit_stored(range, |stored| match stored {
            Stored::Stretch(stretch) => builder.push_stretch(stretch),
            Stored::Confirmed(hash, key, confirmed) => builder.push_confirmed(hash, key, confirmed),
            Stored::Other(hash, key, entry) => builder.push(hash, key, *entry),
        })?;
        builder.finish().map(Some).ok_or_else(|| view.is_out_of_order())
    });
    let shards: Option<Vec<_>> = shards.into_iter().collect::<Result<_, Error>>()?;
    Ok(shards.map(|shards| cut.table(first, shards)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_nothing_is_one_part_whatever_room_there_is() {
        assert_eq!([0, 1, usize::MAX].map(|room| parts(None, room).len()), [1; 3]);
    }

    #[test]
    fn a_stop_ends_the_loading_without_a_table() {
        let stopped = load_part(None, Epoch(1), Cut::default(), 0..1, &|| true);
        assert!(stopped.unwrap().is_none());
        let empty = load_part(None, Epoch(1), Cut::default(), 0..1, &|| false).unwrap();
        assert_eq!(empty.map(|table| table.len()), Some(0));
    }
}
