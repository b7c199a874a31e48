//! Records put aside by their key hash: in the order of their arrival, in memory up to some bytes and beyond in a spill.
//!
//! Not here: what a record says (`fates`, `intake::aside`, `gone`). Guards: all records of one key lie in one pile; no pile has
//! more than one piece in memory.

use std::sync::Arc;

use crate::domain::key::KeyHash;
use crate::shutdown::blocking;
use crate::spill::{Error, Frame, Spill};

/// Piles, by the first bits of the hash.
pub const PILES: usize = 64;

/// See the file's comment.
#[derive(Debug)]
pub struct Piles {
    spill: Arc<Spill>,
    piles: Vec<Pile>,
    /// Bytes of a piece, roughly.
    most: usize,
}

#[derive(Debug, Default)]
struct Pile {
    frames: Vec<Frame>,
    /// The last piece.
    open: Vec<u8>,
}

impl Piles {
    /// `room` is in bytes, beside those of the longest records.
    pub fn new(spill: &Arc<Spill>, room: usize) -> Piles {
        let piles = (0..PILES).map(|_| Pile::default()).collect();
        // A buffer grows to twice its size.
        Piles { spill: Arc::clone(spill), piles, most: room / PILES / 2 }
    }

    /// Puts on its pile what `write` appends.
    ///
    /// # Errors
    /// The spill has no room.
    pub fn append(&mut self, hash: KeyHash, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let pile = &mut self.piles[pile_of(hash)];
        write(&mut pile.open);
        if pile.open.len() >= self.most {
            pile.frames.push(blocking(|| self.spill.append(&pile.open))?);
            pile.open.clear();
            pile.open.shrink_to(2 * self.most);
        }
        Ok(())
    }

    /// How many pieces a pile is in; each holds whole records.
    pub fn pieces(&self, pile: usize) -> usize {
        let Pile { frames, open } = &self.piles[pile];
        frames.len() + usize::from(!open.is_empty())
    }

    /// Replaces the content of `bytes` by a piece of the pile.
    ///
    /// # Errors
    /// The spill cannot be read.
    pub fn read(&self, pile: usize, piece: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let Pile { frames, open } = &self.piles[pile];
        match frames.get(piece) {
            Some(frame) => self.spill.read(frame, bytes),
            None => {
                bytes.clear();
                bytes.extend_from_slice(open);
                Ok(())
            }
        }
    }

    /// Bytes, but for where the pieces lie.
    #[cfg(test)]
    pub fn allocated(&self) -> usize {
        self.piles.iter().map(|pile| pile.open.capacity()).sum()
    }

    pub fn clear(&mut self, pile: usize) {
        self.piles[pile] = Pile::default();
    }
}

fn pile_of(hash: KeyHash) -> usize {
    usize::try_from(hash >> (KeyHash::BITS - PILES.ilog2())).expect("the number of a pile")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key;

    #[test]
    fn records_come_back_in_the_order_of_their_arrival_from_memory_and_from_the_spill() {
        for room in [0, 10_000, 1 << 20] {
            let spill = Arc::new(Spill::new(&std::env::temp_dir()));
            let mut piles = Piles::new(&spill, room);
            let record = |n: u32| (key::hash(&n.to_le_bytes()), n.to_le_bytes());
            for (hash, bytes) in (0..10_000).map(record) {
                piles.append(hash, |out| out.extend(bytes)).unwrap();
            }
            assert_eq!(spill.size() > 0, room < 1 << 20);
            piles.append(0, |out| out.extend(vec![0; 1 << 21])).unwrap();
            assert!(piles.allocated() <= room.max(PILES * 8), "{}", piles.allocated());
            let mut bytes = Vec::new();
            for pile in 0..PILES {
                let mut found = Vec::new();
                for piece in 0..piles.pieces(pile) {
                    piles.read(pile, piece, &mut bytes).unwrap();
                    found.extend_from_slice(&bytes);
                }
                let of_pile = (0..10_000).map(record).filter(|(hash, _)| pile_of(*hash) == pile);
                let mut expected: Vec<u8> = of_pile.flat_map(|(_, bytes)| bytes).collect();
                expected.extend(vec![0; if pile == 0 { 1 << 21 } else { 0 }]);
                assert!(found == expected, "{pile}");
                piles.clear(pile);
                assert_eq!(piles.pieces(pile), 0);
            }
        }
    }
}
