//! The manifest: the one file that says which generation is the current one, and of what it consists.
//!
//! Format: file header, then one frame whose payload is the JSON of [`Manifest`], then nothing. It is replaced as a
//! whole: written beside, synced, renamed, the directory synced. Whatever it does not name does not exist.

use std::io;

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::error::{Error, Place};
use super::frame::{self, FILE_HEADER, FRAME_HEADER, FileKind};
use super::header::Header;
use super::names;
use super::segment::Summary;
use crate::points::{self, Point};

/// One generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub header: Header,
    /// From the oldest to the newest.
    pub segments: Vec<Summary>,
    /// The number of the next segment.
    pub next_segment: u64,
    /// The generation of the journal that follows; its file exists only once something was appended.
    pub journal: u64,
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::put_file_header(&mut bytes, FileKind::Manifest, self.header.lineage);
        let start = frame::begin(&mut bytes);
        serde_json::to_writer(&mut bytes, self).expect("a manifest has no map with odd keys");
        frame::end(&mut bytes, start, FILE_HEADER as u64);
        bytes
    }

    fn decode(place: &Place, bytes: &[u8]) -> Result<Manifest, Error> {
        let lineage = frame::check_file_header(place, FileKind::Manifest, bytes, None)?;
        let payload = frame::payload(&bytes[FILE_HEADER..], FILE_HEADER as u64)
            .filter(|payload| payload.len() + FILE_HEADER + FRAME_HEADER == bytes.len())
            .ok_or_else(|| place.damaged("its checksum is wrong"))?;
        let manifest: Manifest =
            serde_json::from_slice(payload).map_err(|error| place.damaged(error))?;
        let header = &manifest.header;
        if header.lineage != lineage || manifest.journal != header.generation {
            return Err(place.damaged("it contradicts itself"));
        }
        if header.sync != place.sync() {
            let other = &header.sync;
            return Err(place.foreign(format_args!("it is the manifest of `{other}`")));
        }
        Ok(manifest)
    }

    /// Reads the manifest; `None` where there is none.
    pub fn read(disk: &dyn Disk, sync: &str) -> Result<Option<Manifest>, Error> {
        let place = Place::new(sync, names::MANIFEST);
        match disk.read(names::MANIFEST) {
            Ok(bytes) => Manifest::decode(&place, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(place.io(error)),
        }
    }

    /// Makes this the current generation. Returns the bytes written. After an error it may be, or may not be.
    pub fn publish(&self, disk: &dyn Disk) -> Result<u64, Error> {
        let bytes = self.encode();
        let replace = || -> io::Result<()> {
            let file = disk.create(names::TEMPORARY)?;
            file.append(&bytes)?;
            file.sync()?;
            // The segments' names must be safe before the manifest that mentions them.
            disk.sync_directory()?;
            points::reached(Point::ManifestWritten);
            disk.rename(names::TEMPORARY, names::MANIFEST)?;
            points::reached(Point::ManifestRenamed);
            disk.sync_directory()
        };
        let place = Place::new(&self.header.sync, names::MANIFEST);
        replace().map_err(|error| place.io(error))?;
        Ok(bytes.len() as u64)
    }
}
