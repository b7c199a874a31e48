//! Entries that a read did not meet, however many they are, in the order of their key hashes if they come in it.
//!
//! Not here: what becomes of them (`removals`), and where they lie (`piles`).

use std::sync::Arc;

use super::piles::{PILES, Piles};
use crate::domain::codec::{Bytes, put_bytes, put_varint};
use crate::domain::entry::Held;
use crate::domain::id::{BatchNumber, IntentNumber, RunId};
use crate::domain::key;
use crate::spill::{Error, Spill};

/// Bytes of a list that stay in memory; few in tests, so that most are written.
const ROOM: usize = if cfg!(test) { 1 << 10 } else { 8 << 20 };

/// An entry without a row, as far as its removal asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub key: Vec<u8>,
    /// The batch, place and number of its delete that has no answer yet.
    pub repeats: Option<(BatchNumber, u32, IntentNumber)>,
    /// The destination refused to delete it.
    pub is_refused: bool,
    /// It was held before.
    pub held: Option<Held>,
}

/// A list of removals; grows only.
#[derive(Debug)]
pub struct Gone {
    piles: Piles,
    len: u64,
}

/// How far somebody has come in a list.
#[derive(Debug, Default)]
pub struct Walk {
    /// The pile and the piece of it to be read next.
    next: (usize, usize),
    piece: Vec<u8>,
    at: usize,
}

impl Gone {
    pub fn new(spill: &Arc<Spill>) -> Gone {
        Gone { piles: Piles::new(spill, ROOM), len: 0 }
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
        let Removal { key, repeats, is_refused, held } = removal;
        self.len += 1;
        self.piles.append(key::hash(key), |out| {
            put_bytes(out, key);
            out.push(u8::from(*is_refused));
            out.push(u8::from(repeats.is_some()));
            if let Some((batch, place, number)) = repeats {
                for number in [batch.0, u64::from(*place), number.0] {
                    put_varint(out, number);
                }
            }
            out.push(u8::from(held.is_some()));
            if let Some(Held { first, last }) = held {
                put_varint(out, first.0);
                put_varint(out, last.0);
            }
        })
    }

    /// The next removal; `None` at the end.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub fn next(&self, walk: &mut Walk) -> Result<Option<Removal>, Error> {
        while walk.at == walk.piece.len() {
            let (pile, piece) = walk.next;
            if pile == PILES {
                return Ok(None);
            }
            if piece == self.piles.pieces(pile) {
                walk.next = (pile + 1, 0);
                continue;
            }
            self.piles.read(pile, piece, &mut walk.piece)?;
            (walk.next, walk.at) = ((pile, piece + 1), 0);
        }
        let mut bytes = Bytes::new(&walk.piece[walk.at..]);
        let removal = decode(&mut bytes).expect("it comes back as it was pushed");
        walk.at = walk.piece.len() - bytes.rest.len();
        Ok(Some(removal))
    }
}

/// `None` where it is no removal.
fn decode(bytes: &mut Bytes<'_>) -> Option<Removal> {
    let key = bytes.bytes()?.to_vec();
    let is_refused = bytes.bool()?;
    let repeats = match bytes.bool()? {
        false => None,
        true => {
            let batch = BatchNumber(bytes.varint()?);
            Some((batch, bytes.varint_u32()?, IntentNumber(bytes.varint()?)))
        }
    };
    let held = match bytes.bool()? {
        false => None,
        true => Some(Held { first: RunId(bytes.varint()?), last: RunId(bytes.varint()?) }),
    };
    Some(Removal { key, repeats, is_refused, held })
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
            key: n.to_le_bytes().repeat(1 + n as usize % 20),
            repeats: n.is_multiple_of(3).then(|| (BatchNumber(u64::from(n)), n, IntentNumber(9))),
            is_refused: n.is_multiple_of(2),
            held: n.is_multiple_of(5).then(|| Held { first: RunId(4), last: RunId(n.into()) }),
        };
        let mut all: Vec<Removal> = (0..1_000).map(removal).collect();
        all.sort_by_key(|removal| key::hash(&removal.key));
        all.iter().for_each(|removal| gone.push(removal).unwrap());
        assert_eq!(gone.len(), 1_000);
        assert!(spill.size() > 0, "some of them are on disk");
        for _ in 0..2 {
            let mut walk = Walk::default();
            let back = std::iter::from_fn(|| gone.next(&mut walk).unwrap());
            assert!(back.eq(all.iter().cloned()));
        }
    }
}
