//! The bytes of an object for a reader that pulls: it is given one piece at a time, and where it has none, it says that it has
//! to wait. Whoever reads then fetches the next piece, which is a place to be stopped at, and goes on where it was.
//!
//! A file of this machine never has to be waited for: what reads it is the same, and costs no more than before. Invariant:
//! the reader is told that there is an end only once all pieces have come.

use std::io::{BufRead, Error as IoError, ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use futures::TryStreamExt as _;

use super::super::error::Error;
use super::super::store::{Pieces, Pinned};
use super::place;

/// Gets what a reader waits for.
pub(in super::super) enum Fetch {
    /// Nobody waits for a file.
    Nothing {
        path: String,
    },
    Object(Box<Object>),
}

pub(in super::super) struct Object {
    objects: Arc<Pinned>,
    place: usize,
    /// None before the first piece is asked for.
    pieces: Option<Pieces>,
    next: Arc<Mutex<Next>>,
}

/// What the reader takes up next.
#[derive(Debug, Default)]
struct Next {
    piece: Bytes,
    is_end: bool,
}

/// What the reader pulls from.
#[derive(Debug)]
pub(super) struct Fed {
    next: Arc<Mutex<Next>>,
    piece: Bytes,
}

/// A reader of an object, and what feeds it.
pub(super) fn of(object: &place::Object) -> (Fed, Fetch) {
    let place::Object { objects, place, .. } = object;
    let next = Arc::<Mutex<Next>>::default();
    let fed = Fed { next: Arc::clone(&next), piece: Bytes::new() };
    let object = Object { objects: Arc::clone(objects), place: *place, pieces: None, next };
    (fed, Fetch::Object(Box::new(object)))
}

/// Whether the reader goes on once more was fetched.
pub(in super::super) fn is_waiting(error: &IoError) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

impl Fetch {
    /// Waits for the next piece. Can be cancelled.
    ///
    /// # Errors
    /// The object cannot be read to its end, or is another one by now.
    pub async fn more(&mut self) -> Result<(), Error> {
        let object = match self {
            Fetch::Object(object) => object,
            Fetch::Nothing { path } => {
                return Err(Error::Damaged(format!(
                    "file `{path}` cannot be read to its end: it is one that is waited for; name a file at rest"
                )));
            }
        };
        let pieces = match &mut object.pieces {
            Some(pieces) => pieces,
            none => none.insert(object.objects.whole(object.place).await?),
        };
        let mut next = pieces.try_next().await?;
        while next.as_ref().is_some_and(Bytes::is_empty) {
            next = pieces.try_next().await?;
        }
        let mut waiting = object.next.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Some(piece) => waiting.piece = piece,
            None => waiting.is_end = true,
        }
        Ok(())
    }
}

impl BufRead for Fed {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.piece.is_empty() {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            self.piece = std::mem::take(&mut next.piece);
            if self.piece.is_empty() && !next.is_end {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::*;

    /// Gives a text in pieces of so many bytes, and says before each that it has to be waited for.
    pub struct Slow<'t> {
        text: &'t [u8],
        piece: usize,
        is_ready: bool,
    }

    impl<'t> Slow<'t> {
        pub fn new(text: &'t [u8], piece: usize) -> Self {
            Slow { text, piece, is_ready: false }
        }
    }

    impl BufRead for Slow<'_> {
        fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
            if !std::mem::replace(&mut self.is_ready, true) {
                return Err(ErrorKind::WouldBlock.into());
            }
            Ok(&self.text[..self.piece.min(self.text.len())])
        }

        fn consume(&mut self, amount: usize) {
            self.text = &self.text[amount..];
            self.is_ready = amount == 0;
        }
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let piece = self.fill_buf()?;
            let length = piece.len().min(buffer.len());
            buffer[..length].copy_from_slice(&piece[..length]);
            self.consume(length);
            Ok(length)
        }
    }

    #[test]
    fn a_reader_waits_until_it_is_fed_and_ends_once_it_is_told() {
        let next = Arc::<Mutex<Next>>::default();
        let mut fed = Fed { next: Arc::clone(&next), piece: Bytes::new() };
        let mut read = || {
            let mut buffer = [0; 2];
            fed.read(&mut buffer).map(|length| buffer[..length].to_vec())
        };
        assert!(is_waiting(&read().unwrap_err()));
        next.lock().unwrap().piece = Bytes::from_static(b"abc");
        assert_eq!(read().unwrap(), b"ab");
        assert_eq!(read().unwrap(), b"c");
        assert!(is_waiting(&read().unwrap_err()));
        next.lock().unwrap().is_end = true;
        assert_eq!(read().unwrap(), b"");
    }
}
