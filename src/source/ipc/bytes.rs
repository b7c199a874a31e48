//! The bytes of one Arrow IPC file, by their places in it: of a file of this machine, or of an object that was listed.
//!
//! Invariants: no more is asked for than the file has; the file is the one that was listed, or the read fails.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

use arrow::buffer::{Buffer, MutableBuffer};
use futures::TryStreamExt as _;

use super::super::error::Error;
use super::super::store::Pinned;
use super::Wrong;
use crate::domain::file::FileFact;

/// See the module.
pub(super) struct Bytes {
    size: u64,
    from: Origin,
    /// What is read at once, where less is asked for.
    ahead: u64,
    /// What was read last, and where it begins.
    window: (u64, Buffer),
}

enum Origin {
    File(File),
    Object(Arc<Pinned>, usize),
}

impl Bytes {
    /// Opens the file at this place among those of its table. Blocks on the file system.
    ///
    /// # Errors
    /// It is not there, or is another one by now.
    pub fn open(
        place: usize,
        file: &FileFact,
        objects: Option<&Arc<Pinned>>,
        ahead: u64,
    ) -> Result<Bytes, Wrong> {
        let from = match objects {
            Some(objects) => Origin::Object(Arc::clone(objects), place),
            None => {
                let opened = File::open(&file.path).map_err(|error| Wrong::Unread(error.kind()))?;
                let now = opened.metadata().map_err(|error| Wrong::Unread(error.kind()))?;
                if (now.len(), now.ino()) != (file.size, file.inode) {
                    return Err(Wrong::Changed);
                }
                Origin::File(opened)
            }
        };
        Ok(Bytes { size: file.size, from, ahead, window: (0, Buffer::default()) })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// So many bytes from there on, where a buffer of values may begin.
    ///
    /// # Errors
    /// There are not so many, or they cannot be read.
    pub async fn take(&mut self, at: u64, length: u64) -> Result<Buffer, Wrong> {
        let end = at.checked_add(length).filter(|end| *end <= self.size).ok_or(Wrong::Cut)?;
        if length >= self.ahead {
            return self.read(at..end).await;
        }
        let (begun, window) = &self.window;
        let has = *begun..*begun + window.len() as u64;
        if at < has.start || end > has.end {
            let window = self.read(at..at.saturating_add(self.ahead).min(self.size)).await?;
            self.window = (at, window);
        }
        let (begun, window) = &self.window;
        let from = usize::try_from(at - begun).map_err(|_| Wrong::TooLarge)?;
        let length = usize::try_from(length).map_err(|_| Wrong::TooLarge)?;
        // A copy begins where any buffer may.
        Ok(Buffer::from(&window.as_slice()[from..from + length]))
    }

    async fn read(&self, range: Range<u64>) -> Result<Buffer, Wrong> {
        let length = usize::try_from(range.end - range.start).map_err(|_| Wrong::TooLarge)?;
        match &self.from {
            Origin::File(file) => {
                let mut bytes = MutableBuffer::from_len_zeroed(length);
                let read = file.read_exact_at(bytes.as_slice_mut(), range.start);
                // It was as long as that when it was opened.
                read.map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => Wrong::Changed,
                    kind => Wrong::Unread(kind),
                })?;
                Ok(bytes.into())
            }
            Origin::Object(objects, place) => {
                let mut bytes = MutableBuffer::with_capacity(length);
                let mut pieces = objects.range(*place, range).await.map_err(Wrong::Store)?;
                while let Some(piece) = pieces.try_next().await.map_err(Wrong::Store)? {
                    bytes.extend_from_slice(&piece);
                }
                match bytes.len() == length {
                    true => Ok(bytes.into()),
                    false => Err(Wrong::Changed),
                }
            }
        }
    }
}

impl Wrong {
    /// What it means for a file of a table.
    pub fn told(self, table: &str, path: &str) -> Error {
        let damaged = |what: &str| Error::Damaged(format!("table `{table}`: file `{path}` {what}"));
        match self {
            Wrong::Store(error) => error,
            Wrong::Unread(kind) => Error::Missing(format!(
                "table `{table}`: file `{path}` cannot be read: {kind}; put it back or make it readable"
            )),
            Wrong::Changed => {
                damaged("changed during the read; run again when the files are at rest")
            }
            Wrong::Empty => damaged("is empty; put the whole Arrow file there"),
            Wrong::NotArrow => {
                damaged("is no Arrow file; write it in the IPC file or stream format")
            }
            Wrong::Feather => damaged("is of version 1 of Feather; write it as version 2"),
            Wrong::Cut => {
                damaged("ends early: it is cut or damaged; put the whole Arrow file there")
            }
            Wrong::NoFooter => damaged(
                "has no footer: it is cut or not yet written; put the whole Arrow file there",
            ),
            Wrong::NoMarker => damaged(
                "has no marker at its end, so that it may be cut; have its writer close the stream, or write the IPC file \
                 format",
            ),
            Wrong::Behind => {
                damaged("goes on behind the marker of its end; put one whole Arrow stream there")
            }
            Wrong::Damaged => damaged("is damaged; put the whole Arrow file there"),
            Wrong::TooLarge => damaged(
                "has a record batch or a dictionary of more than 1 GiB; write smaller record batches, of 64,000 rows or less",
            ),
            Wrong::Old => {
                damaged("is of a version of Arrow before 0.15; write it with a later one")
            }
            Wrong::BigEndian => {
                damaged("is of a machine with the other order of bytes; write it as little-endian")
            }
            Wrong::Column(name) => damaged(&format!(
                "has a column `{name}` of a type that is not known here, such as a union; leave it out"
            )),
            Wrong::Beyond(name) => damaged(&format!(
                "has a decimal in column `{name}` with more digits than the column's type; write it with a type that has room"
            )),
            Wrong::Twice(name) => damaged(&format!("has two columns named `{name}`; rename one")),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::super::sample::fact;
    use super::*;

    #[test]
    fn a_file_that_is_cut_once_it_is_open_is_told_as_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1_000).unwrap();
        let fact = fact(file.path());
        let Ok(mut bytes) = Bytes::open(0, &fact, None, 100) else { panic!("it is there") };
        assert!(block_on(bytes.take(0, 1_000)).is_ok());
        file.as_file().set_len(500).unwrap();
        assert!(matches!(block_on(bytes.take(0, 1_000)), Err(Wrong::Changed)));
        assert!(matches!(block_on(bytes.take(450, 10)), Err(Wrong::Changed)));
        assert!(matches!(block_on(bytes.take(0, 1_001)), Err(Wrong::Cut)));
    }
}
