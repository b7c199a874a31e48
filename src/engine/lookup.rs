//! Records that were put aside by the hash of their key, beside what a log says of those keys: pile by pile, in bounded memory.
//!
//! Not here: what they are about (`fates`, `intake`). Guards: the last word of the log counts; no more keys are looked up at once
//! than there is room for, but for those of one piece; keys are told apart by all bits of their hash.

use hashbrown::HashTable;

use super::fates::Fate;
use super::memory::Shares;
use super::piles::{PILES, Piles};
use crate::delta::key_map::low;
use crate::domain::key::KeyHash;
use crate::spill::Error;

/// Bytes that a key takes while it is looked up, at most.
const LOOKED_UP: usize = 128;
/// Bytes of a key in the log: its hash and its fate.
const LOGGED: usize = size_of::<KeyHash>() + 1;

/// How far somebody has come in the records, and what became of the keys of the piece at hand.
#[derive(Debug, Default)]
pub struct Lookup {
    pile: usize,
    /// The piece to be shown next, and the first whose keys were not looked up.
    next: usize,
    until: usize,
    keys: HashTable<LookedUp>,
}

/// A key of the records.
#[derive(Debug)]
pub struct LookedUp {
    hash: KeyHash,
    /// As the log says, if it knows the key.
    pub fate: Option<Fate>,
    /// More than one record that is looked up is about it.
    pub comes_again: bool,
}

/// How many keys may be looked up at once.
pub fn at_once(shares: &Shares) -> usize {
    shares.keys / LOOKED_UP
}

/// Puts on its pile what `write` appends, for [`Lookup::next`].
///
/// # Errors
/// The spill has no room.
pub fn put_record(
    records: &mut Piles,
    hash: KeyHash,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), Error> {
    records.append(hash, |out| {
        out.extend(hash.to_le_bytes());
        let start = out.len();
        out.extend([0; size_of::<u32>()]);
        write(out);
        let length = out.len() - start - size_of::<u32>();
        let length = u32::try_from(length).expect("a row has less than 4 GiB");
        out[start..start + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    })
}

/// The records of a piece, each with the hash of its key.
pub fn records(mut piece: &[u8]) -> impl Iterator<Item = (KeyHash, &[u8])> {
    std::iter::from_fn(move || {
        let (hash, rest) = piece.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (record, rest) = rest.split_at_checked(length)?;
        piece = rest;
        Some((KeyHash::from_le_bytes(*hash), record))
    })
}

/// Notes what became of a key.
///
/// # Errors
/// The spill has no room.
pub fn log(log: &mut Piles, hash: KeyHash, fate: Fate) -> Result<(), Error> {
    log.append(hash, |out| {
        out.extend(hash.to_le_bytes());
        out.push(fate as u8);
    })
}

impl Lookup {
    /// Replaces the content of `piece` by the next of `records`, for [`records()`], and knows what `log` says of their keys until
    /// it is called again. False if there are no more. Blocks.
    ///
    /// # Errors
    /// The spill cannot be used.
    pub fn next(
        &mut self,
        records: &mut Piles,
        log: &mut Piles,
        most: usize,
        piece: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        while self.pile < PILES {
            if self.next < self.until {
                records.read(self.pile, self.next, piece)?;
                self.next += 1;
                return Ok(true);
            }
            if self.until < records.pieces(self.pile) {
                self.look_up(records, log, most)?;
                continue;
            }
            records.clear(self.pile);
            log.clear(self.pile);
            *self = Lookup { pile: self.pile + 1, ..Lookup::default() };
        }
        Ok(false)
    }

    /// Looks up the keys of the next pieces: of one, and of more as long as there are fewer than `most` keys.
    fn look_up(&mut self, pieces: &Piles, log: &mut Piles, most: usize) -> Result<(), Error> {
        // Later pieces may be about the same keys.
        for LookedUp { hash, fate, .. } in self.keys.drain() {
            fate.map_or(Ok(()), |fate| self::log(log, hash, fate))?;
        }
        let mut bytes = Vec::new();
        while self.until < pieces.pieces(self.pile)
            && (self.until == self.next || self.keys.len() < most)
        {
            pieces.read(self.pile, self.until, &mut bytes)?;
            for (hash, _) in records(&bytes) {
                let comes_again = self.find(hash).is_some();
                self.meet(hash).comes_again |= comes_again;
            }
            self.until += 1;
        }
        for piece in 0..log.pieces(self.pile) {
            log.read(self.pile, piece, &mut bytes)?;
            for record in bytes.chunks_exact(LOGGED) {
                let (hash, fate) = record.split_first_chunk().expect("each has a hash");
                let hash = KeyHash::from_le_bytes(*hash);
                let is_it = |key: &LookedUp| key.hash == hash;
                if let Some(key) = self.keys.find_mut(low(hash), is_it) {
                    key.fate = Fate::of(fate[0]);
                }
            }
        }
        Ok(())
    }

    pub fn find(&self, hash: KeyHash) -> Option<&LookedUp> {
        self.keys.find(low(hash), |key| key.hash == hash)
    }

    /// The key, looked up from now on if it was not.
    pub fn meet(&mut self, hash: KeyHash) -> &mut LookedUp {
        let entry = self.keys.entry(low(hash), |key| key.hash == hash, |key| low(key.hash));
        entry.or_insert(LookedUp { hash, fate: None, comes_again: false }).into_mut()
    }

    #[cfg(test)]
    pub fn allocated(&self) -> usize {
        self.keys.allocation_size()
    }
}
