//! One committed generation, open for reading. What is in the journal is not part of it.
//!
//! Holds its segments open, so that it stays readable while others commit and compact. Clones are cheap.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::disk::Disk;
use super::error::{Error, Place};
use super::header::Header;
use super::manifest::Manifest;
use super::merge::Merge;
use super::names::{self, Name};
use super::segment::{Probe, Segment, Summary};
use crate::domain::entry::{Confirmed, Entry, Stretch};
use crate::domain::key::{self, KeyHash};
use crate::points::is_planted;

/// Entries as they are met in a segment, in the order of the hashes of their keys.
#[derive(Debug)]
pub enum Stored<'a> {
    /// Many at once, whose hashes nobody has looked at but at its ends.
    Stretch(Stretch<'a>),
    /// There is nothing else to say of the key.
    Confirmed(KeyHash, &'a [u8], Confirmed),
    Other(KeyHash, &'a [u8], Box<Entry>),
}

/// How much there is of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Entries that the destination holds or may hold.
    pub known: u64,
    /// Entries of all segments, those that are superseded or forgotten included.
    pub entries: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// A generation of a snapshot.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) manifest: Manifest,
    /// From the oldest to the newest, as in the manifest.
    pub(super) segments: Vec<Arc<Segment>>,
}

impl View {
    /// Reads the current generation beside a process that may be writing; `None` before the first commit.
    ///
    /// # Errors
    /// All but `Missing` and `Older`, which only the store can know.
    pub fn read(disk: &dyn Disk, sync: &str) -> Result<Option<View>, Error> {
        let Some(manifest) = Manifest::read(disk, sync)? else {
            // A first commit may have come between the two looks.
            return match stray(disk, sync)? {
                None => Ok(None),
                Some(stray) => match Manifest::read(disk, sync)? {
                    Some(manifest) => View::load(disk, manifest).map(Some),
                    None => Err(without_manifest(sync, &stray)),
                },
            };
        };
        match View::load(disk, manifest.clone()) {
            Ok(view) => Ok(Some(view)),
            // A commit may have replaced the segments meanwhile: then there is another manifest.
            Err(error) => match Manifest::read(disk, sync)? {
                Some(later) if later != manifest => View::load(disk, later).map(Some),
                _ => Err(error),
            },
        }
    }

    pub(super) fn load(disk: &dyn Disk, manifest: Manifest) -> Result<View, Error> {
        let Header { sync, lineage, .. } = &manifest.header;
        let segments = manifest
            .segments
            .iter()
            .map(|summary| Segment::open(disk, sync, *lineage, summary.clone()).map(Arc::new))
            .filter(|opened| opened.is_ok() || !is_planted("corrupt_read_as_empty"))
            .collect::<Result<_, _>>()?;
        Ok(View { manifest, segments })
    }

    /// What the generation says of itself.
    pub fn header(&self) -> &Header {
        &self.manifest.header
    }

    pub fn size(&self) -> Size {
        let segments = &self.manifest.segments;
        Size {
            known: self.header().entries,
            entries: segments.iter().map(|segment| segment.entries).sum(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
        }
    }

    /// All entries with their keys, ordered by the hash of the key.
    ///
    /// # Errors
    /// A block cannot be read or is damaged; the iterator ends after an error.
    pub fn entries(&self) -> Result<Entries, Error> {
        Ok(Entries { merge: Some(Merge::new(&self.segments, 0..=KeyHash::MAX)?) })
    }

    /// All entries, without an allocation for those that are only confirmed.
    ///
    /// # Errors
    /// A block cannot be read or is damaged; some entries were visited then.
    pub fn visit(&self, f: impl FnMut(&[u8], Entry)) -> Result<(), Error> {
        self.visit_range(0..=KeyHash::MAX, f)
    }

    /// The entries of a range of key hashes, such as a bucket; blocks outside of it are not read.
    ///
    /// # Errors
    /// A block cannot be read or is damaged; some entries were visited then.
    pub fn visit_range(
        &self,
        range: RangeInclusive<KeyHash>,
        mut f: impl FnMut(&[u8], Entry),
    ) -> Result<(), Error> {
        let mut merge = Merge::new(&self.segments, range)?;
        while let Some((key, entry)) = merge.current()? {
            if let Some(entry) = entry {
                f(key, entry);
            }
            merge.advance()?;
        }
        Ok(())
    }

    /// As [`View::visit_range`], without an [`Entry`] for each of the many that are confirmed and nothing else.
    ///
    /// # Errors
    /// As there.
    pub fn visit_stored(
        &self,
        range: RangeInclusive<KeyHash>,
        mut f: impl FnMut(Stored<'_>),
    ) -> Result<(), Error> {
        let mut merge = Merge::hashed(&self.segments, range)?;
        loop {
            merge.pass_plain(&mut f)?;
            match merge.current()? {
                Some((key, Some(entry))) => f(Stored::Other(merge.hash(), key, Box::new(entry))),
                Some((_, None)) => {}
                None => return Ok(()),
            }
            merge.advance()?;
        }
    }

    /// Says that what [`View::visit_stored`] showed was not in the order of the hashes.
    pub fn is_out_of_order(&self) -> Error {
        let newest = self.segments.last().map(|segment| names::segment(segment.summary.number));
        let place = Place::new(&self.header().sync, &newest.unwrap_or_default());
        place.damaged(
            "its keys, or those of a segment before it, are not in the order of their hashes",
        )
    }

    /// A number that the entries of a range of key hashes do not exceed, by no more than a few blocks and what is
    /// superseded. Reads nothing.
    pub fn entries_at_most(&self, range: &RangeInclusive<KeyHash>) -> usize {
        self.segments.iter().map(|segment| segment.entries_at_most(range)).sum()
    }

    /// Bytes of an entry in its segment, on average; 0 where there are none.
    pub fn bytes_each(&self) -> usize {
        let total = |of: fn(&Summary) -> u64| self.manifest.segments.iter().map(of).sum::<u64>();
        let each = total(|it| it.bytes).checked_div(total(|it| it.entries)).unwrap_or(0);
        usize::try_from(each).unwrap_or(usize::MAX)
    }

    /// The entry of one key, from at most one block of each segment.
    ///
    /// # Errors
    /// A block cannot be read or is damaged.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Entry>, Error> {
        self.probes().find(key::hash(key), key)
    }

    /// The entries of some keys, which come with their hashes in the order of those; each block is read once at most.
    ///
    /// # Errors
    /// A block cannot be read or is damaged.
    pub fn entries_of<'k>(
        &self,
        keys: impl Iterator<Item = (KeyHash, &'k [u8])>,
    ) -> impl Iterator<Item = Result<Option<Entry>, Error>> {
        let mut probes = self.probes();
        keys.map(move |(hash, key)| probes.find(hash, key))
    }

    pub(super) fn probes(&self) -> Probes<'_> {
        Probes(self.segments.iter().rev().map(|segment| Probe::new(segment)).collect())
    }
}

/// Looks up keys in rising order.
#[derive(Debug)]
pub(super) struct Probes<'a>(Vec<Probe<'a>>);

impl Probes<'_> {
    pub fn find(&mut self, hash: KeyHash, key: &[u8]) -> Result<Option<Entry>, Error> {
        for probe in &mut self.0 {
            if let Some(entry) = probe.find(hash, key)? {
                return Ok(entry);
            }
        }
        Ok(None)
    }
}

/// See [`View::entries`].
#[derive(Debug)]
pub struct Entries {
    merge: Option<Merge>,
}

impl Entries {
    fn step(&mut self) -> Result<Option<(Vec<u8>, Entry)>, Error> {
        let Some(merge) = &mut self.merge else {
            return Ok(None);
        };
        while let Some((key, entry)) = merge.current()? {
            let found = entry.map(|entry| (key.to_vec(), entry));
            merge.advance()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Iterator for Entries {
    type Item = Result<(Vec<u8>, Entry), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.merge = None;
        }
        step.transpose()
    }
}

/// A segment or journal, if there is one.
pub(super) fn stray(disk: &dyn Disk, sync: &str) -> Result<Option<String>, Error> {
    let place = Place::new(sync, ".");
    let names = disk.list().map_err(|error| place.io(error))?;
    let is_stray =
        |name: &String| matches!(names::parse(name), Some(Name::Segment(_) | Name::Journal(_)));
    Ok(names.into_iter().find(is_stray))
}

pub(super) fn without_manifest(sync: &str, stray: &str) -> Error {
    Place::new(sync, names::MANIFEST)
        .damaged(format_args!("it is missing, while `{stray}` is there"))
}
