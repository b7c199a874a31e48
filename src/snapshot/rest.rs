use super::disk::Disk;
use super::error::{Error, Place};
use super::header::Header;
use super::manifest::Manifest;
use super::open::Known;
use super::{names, open};
use crate::domain::skip::Obstacle;

/// What the generation that is `known` says of itself, if it stands as its last run left it: it is the current one, nothing
/// was written behind it, and every file that it names has its size. Reads the manifest alone.
///
/// # Errors
/// What of it is not so; opening the snapshot says why.
pub fn as_left(disk: &dyn Disk, sync: &str, known: Known) -> Result<Header, Obstacle> {
    let read = || -> Result<Option<Header>, Error> {
        let Some(manifest) = Manifest::read(disk, sync)? else { return Ok(None) };
        let header = &manifest.header;
        let is_known = (header.lineage, header.generation) == (known.lineage, known.generation);
        let has_journal =
            open::leftovers(disk, &manifest)?.has_journal || known.journal.is_some_and(|it| it > 0);
        let is_whole = manifest.segments.iter().try_fold(true, |is_whole, segment| {
            let name = names::segment(segment.number);
            let size = disk.size(&name).map_err(|error| Place::new(sync, &name).io(error))?;
            Ok::<bool, Error>(is_whole && size == segment.bytes)
        })?;
        Ok((is_known && !has_journal && is_whole).then_some(manifest.header))
    };
    read().ok().flatten().ok_or(Obstacle::Snapshot)
}
