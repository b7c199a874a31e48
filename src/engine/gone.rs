//! Entries that a read did not meet, in the order of their key hashes, however many they are.
//!
//! A few of them stay in memory, the others are spilled. Not here: what becomes of them (`removals`).

use std::sync::Arc;

use crate::domain::id::{BatchNumber, IntentNumber};
use crate::spill::{Error, Frame, Spill};

/// Bytes of a piece, at least; few in tests, so that all of them write several.
const PIECE: usize = if cfg!(test) { 64 } else { 1 << 18 };
/// Pieces that stay in memory.
const HERE: usize = if cfg!(test) { 2 } else { 32 };

const IS_REFUSED: u8 = 1;
const IS_REPEATED: u8 = 2;

/// An entry without a row, as far as its removal asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub key: Vec<u8>,
    /// The batch, place and number of its delete that has no answer yet.
    pub repeats: Option<(BatchNumber, u32, IntentNumber)>,
    /// The destination refused to delete it.
    pub is_refused: bool,
}

/// A list of removals; grows only.
#[derive(Debug)]
pub struct Gone {
    spill: Arc<Spill>,
    pieces: Vec<Piece>,
    open: Vec<u8>,
    len: u64,
}

#[derive(Debug)]
enum Piece {
    Here(Vec<u8>),
    There(Frame),
}

/// How far somebody has come in a list.
#[derive(Debug, Default)]
pub struct Walk {
    /// The number of the piece to be read next.
    next: usize,
    piece: Vec<u8>,
    at: usize,
}

impl Gone {
    pub fn new(spill: &Arc<Spill>) -> Gone {
        Gone { spill: Arc::clone(spill), pieces: Vec::new(), open: Vec::new(), len: 0 }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// # Errors
    /// What does not fit into memory cannot be written.
    pub fn push(&mut self, removal: &Removal) -> Result<(), Error> {
        let Removal { key, repeats, is_refused } = removal;
        let length = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        let flags = u8::from(*is_refused) * IS_REFUSED + u8::from(repeats.is_some()) * IS_REPEATED;
        self.open.extend_from_slice(&length.to_le_bytes());
        self.open.push(flags);
        self.open.extend_from_slice(key);
        if let Some((batch, place, number)) = repeats {
            self.open.extend_from_slice(&batch.0.to_le_bytes());
            self.open.extend_from_slice(&place.to_le_bytes());
            self.open.extend_from_slice(&number.0.to_le_bytes());
        }
        self.len += 1;
        if self.open.len() < PIECE {
            return Ok(());
        }
        if self.pieces.len() < HERE {
            self.pieces.push(Piece::Here(std::mem::take(&mut self.open)));
        } else {
            self.pieces.push(Piece::There(self.spill.append(&self.open)?));
            self.open.clear();
        }
        Ok(())
    }

    /// The next removal; `None` at the end.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub fn next(&self, walk: &mut Walk) -> Result<Option<Removal>, Error> {
        while walk.at == walk.piece.len() {
            match self.pieces.get(walk.next) {
                Some(Piece::Here(bytes)) => walk.piece.clone_from(bytes),
                Some(Piece::There(frame)) => self.spill.read(frame, &mut walk.piece)?,
                None if walk.next == self.pieces.len() => walk.piece.clone_from(&self.open),
                None => return Ok(None),
            }
            (walk.next, walk.at) = (walk.next + 1, 0);
        }
        let mut bytes = Bytes(&walk.piece[walk.at..]);
        let length = usize::try_from(u32::from_le_bytes(bytes.take())).expect("a u32 fits");
        let [flags] = bytes.take();
        let (key, rest) = bytes.0.split_at(length);
        bytes.0 = rest;
        let mut repeated = || {
            let batch = BatchNumber(u64::from_le_bytes(bytes.take()));
            let place = u32::from_le_bytes(bytes.take());
            (batch, place, IntentNumber(u64::from_le_bytes(bytes.take())))
        };
        let removal = Removal {
            key: key.to_vec(),
            repeats: (flags & IS_REPEATED > 0).then(&mut repeated),
            is_refused: flags & IS_REFUSED > 0,
        };
        walk.at = walk.piece.len() - bytes.0.len();
        Ok(Some(removal))
    }
}

/// What is left of a piece.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("a piece holds whole removals");
        self.0 = rest;
        *taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_back_in_order_from_memory_and_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(folder.path()));
        let mut gone = Gone::new(&spill);
        assert_eq!(gone.next(&mut Walk::default()).unwrap(), None);
        let removal = |n: u32| Removal {
            key: vec![b'k'; n as usize % 70],
            repeats: (n % 3 == 0).then(|| (BatchNumber(u64::from(n)), n, IntentNumber(9))),
            is_refused: n % 2 == 0,
        };
        (0..100).for_each(|n| gone.push(&removal(n)).unwrap());
        assert_eq!(gone.len(), 100);
        assert!(spill.size() > 0, "some of them are on disk");
        for _ in 0..2 {
            let mut walk = Walk::default();
            let back = std::iter::from_fn(|| gone.next(&mut walk).unwrap());
            assert!(back.eq((0..100).map(removal)));
        }
    }
}
