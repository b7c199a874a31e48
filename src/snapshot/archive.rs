//! Sets a snapshot aside, for `rebaseline`: nothing of it is deleted.

use super::disk::Disk;
use super::error::{Error, Place};
use super::names;
use crate::domain::id::Instant;

/// Moves all files of a snapshot, whatever their state, into the folder `archive-MILLISECONDS`. Where a crash leaves it
/// half done, doing it again moves the rest; until then the snapshot is damaged, not empty.
///
/// # Errors
/// The disk fails.
pub fn archive(disk: &dyn Disk, sync: &str, now: Instant) -> Result<(), Error> {
    let folder = format!("archive-{}", now.0);
    let at = |file: &str| Place::new(sync, file);
    let mut names = disk.list().map_err(|error| at(".").io(error))?;
    // The manifest goes last: without the rest it is damaged, and the rest without it is not read at all.
    names.retain(|name| names::parse(name).is_some());
    names.sort_by_key(|name| name == names::MANIFEST);
    for name in &names {
        disk.rename(name, &format!("{folder}/{name}")).map_err(|error| at(name).io(error))?;
    }
    if names.is_empty() {
        return Ok(());
    }
    disk.sync_directory().map_err(|error| at(".").io(error))
}
