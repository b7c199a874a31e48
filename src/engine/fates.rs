//! What became of each key of a read, in bounded memory.
//!
//! As long as they fit, keys are kept and compared in full. Beyond that a filter tells which ones were surely not met before;
//! what becomes of those goes into a log, and is known at once as long as their chunk is taken in, of which nothing can have
//! left. Whatever else meets a key that may be in the log is unsure and is put aside until the read has ended; then the keys of
//! what was put aside are looked up in the log, pile by pile, and it is decided on in the order in which it came. There keys are
//! told apart by all 128 bits of their hash: that two share one is as unlikely as that two rows share a fingerprint.
//!
//! Not here: what is put aside and how it is decided on (`intake`), how a pile is looked through (`lookup`). Guards: each key
//! has one fate at a time; a key that was met is never taken for a new one; memory stays within the shares, but for the keys of
//! one chunk, and the places of the pieces in the spill: one part in two thousand of what lies there with the default
//! `memory_limit`, and more with less of it.

use std::sync::Arc;

use super::lookup::{self, Lookup, log, put_record};
use super::memory::Shares;
use super::piles::Piles;
use crate::delta::filter::Filter;
use crate::delta::key_map::KeyMap;
use crate::domain::key::{self, KeyHash};
use crate::points;
use crate::spill::{Error, Spill};

/// Bytes of a key's place in the map and three times its own are the most that it takes while the map grows.
const EACH: usize = 48;
/// What became of the key of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    Pushed,
    Late,
    /// Has to wait for the end of the read, and there is no room for it: unsent.
    Unsent,
    /// Not to be sent in this run: its row has no form in a request, and is the only one met.
    Unrenderable,
    /// Not to be sent in this run: its rows make the key invalid.
    Blocked,
    /// Found invalid after it had left.
    Left,
    /// The retry of a standing rejection, which waits where there is room.
    PutOff,
}

impl Fate {
    const ALL: [Fate; 7] = [
        Fate::Pushed,
        Fate::Late,
        Fate::Unsent,
        Fate::Unrenderable,
        Fate::Blocked,
        Fate::Left,
        Fate::PutOff,
    ];

    /// That with this number, if there is one.
    pub fn of(number: u8) -> Option<Fate> {
        Fate::ALL.get(usize::from(number)).copied()
    }
}

/// The key may have been met before; only the log knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsure;

/// See the file's comment.
#[derive(Debug)]
pub struct Fates {
    exact: KeyMap<Fate>,
    /// That the exact ones may take.
    bytes: usize,
    shares: Shares,
    spill: Arc<Spill>,
    beyond: Option<Box<Beyond>>,
}

/// What there is once the keys do not fit.
#[derive(Debug)]
struct Beyond {
    filter: Filter,
    /// Every key that is not among the exact ones, and its fate; the last word counts.
    log: Piles,
    /// Those keys of the log that came with the chunk that is taken in.
    recent: KeyMap<Fate>,
    unsure: Piles,
    stage: Stage,
    failure: Option<Error>,
}

#[derive(Debug)]
enum Stage {
    Reading,
    LookingUp(Lookup),
    /// Nothing is unsure any more.
    Decided,
    /// What is unsure stays so.
    Broken,
}

impl Fates {
    pub fn new(shares: Shares, spill: Arc<Spill>) -> Fates {
        Fates { exact: KeyMap::default(), bytes: 0, shares, spill, beyond: None }
    }

    /// Another chunk is taken in: operations of the last may leave.
    pub fn begin_chunk(&mut self) {
        if let Some(beyond) = &mut self.beyond {
            beyond.recent.clear();
        }
    }

    /// What became of the key, if it was met.
    ///
    /// # Errors
    /// That is not known before the read has ended.
    pub fn get(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Fate>, Unsure> {
        let exact = || self.exact.get(hash, key).copied();
        match &self.beyond {
            None => Ok(exact()),
            Some(beyond) => match &beyond.stage {
                Stage::LookingUp(lookup) => Ok(lookup.find(hash).and_then(|key| key.fate)),
                _ if !beyond.filter.may_have(hash) => Ok(None),
                _ => exact()
                    .or_else(|| beyond.recent.get(hash, key).copied())
                    .map(Some)
                    .ok_or(Unsure),
            },
        }
    }

    /// Has the memory brought near that [`Fates::insert_new`] will look at: it is larger than the caches.
    #[inline]
    pub fn fetch(&self, hash: KeyHash) {
        if let Some(beyond) = &self.beyond {
            beyond.filter.fetch(hash);
        }
    }

    /// Whether the key is new; one that is there keeps its fate.
    ///
    /// # Errors
    /// As [`Fates::get`].
    #[inline]
    pub fn insert_new(&mut self, hash: KeyHash, key: &[u8], fate: Fate) -> Result<bool, Unsure> {
        self.make_room(key);
        let Some(beyond) = &mut self.beyond else {
            let is_new = self.exact.insert_new(hash, key, fate);
            self.bytes += if is_new { size(key) } else { 0 };
            return Ok(is_new);
        };
        if !beyond.filter.insert(hash) {
            beyond.keep(hash, key, fate);
            return Ok(true);
        }
        let found = match self.get(hash, key) {
            Err(Unsure) if points::is_planted("maybe_met_key_sent") => None,
            found => found?,
        };
        if found.is_none() {
            self.insert(hash, key, fate);
        }
        Ok(found.is_none())
    }

    /// The key was looked for, and its fate is this from now on.
    pub fn insert(&mut self, hash: KeyHash, key: &[u8], fate: Fate) {
        self.make_room(key);
        let Some(beyond) = &mut self.beyond else {
            let is_new = self.exact.insert(hash, key, fate).is_none();
            self.bytes += if is_new { size(key) } else { 0 };
            return;
        };
        if let Stage::LookingUp(lookup) = &mut beyond.stage {
            lookup.meet(hash).fate = Some(fate);
        } else if self.exact.get(hash, key).is_some() {
            self.exact.insert(hash, key, fate);
        } else {
            beyond.filter.insert(hash);
            beyond.keep(hash, key, fate);
        }
    }

    /// Where the key does not fit among the exact ones, none does from now on.
    fn make_room(&mut self, key: &[u8]) {
        if self.beyond.is_some() || self.bytes + size(key) <= self.shares.keys {
            return;
        }
        let mut filter = Filter::new(self.shares.filter);
        for key in self.exact.keys() {
            filter.insert(key::hash(key));
        }
        let [log, unsure] = [(); 2].map(|()| Piles::new(&self.spill, self.shares.keys / 8));
        let (recent, stage, failure) = (KeyMap::default(), Stage::Reading, None);
        self.beyond = Some(Box::new(Beyond { filter, log, recent, unsure, stage, failure }));
    }

    /// Puts aside what `write` appends, to be decided on once it is known what became of the key.
    pub fn put_aside(&mut self, hash: KeyHash, write: impl FnOnce(&mut Vec<u8>)) {
        let beyond = self.beyond.as_mut().expect("only beyond the exact keys one is unsure");
        beyond.attempt(|beyond| put_record(&mut beyond.unsure, hash, write));
    }

    /// Whether something may still have to be decided on.
    pub fn has_unsure(&self) -> bool {
        let is_open = |beyond: &Beyond| !matches!(beyond.stage, Stage::Decided | Stage::Broken);
        self.beyond.as_deref().is_some_and(is_open)
    }

    /// After the read has ended: replaces the content of `piece` by the next records that were put aside, for
    /// [`lookup::records`], and knows what became of their keys until it is called again. False if there are no more. Blocks.
    ///
    /// # Errors
    /// The spill cannot be used; what is unsure stays so.
    pub fn next_unsure(&mut self, piece: &mut Vec<u8>) -> Result<bool, Error> {
        let Some(beyond) = &mut self.beyond else { return Ok(false) };
        self.exact = KeyMap::default();
        let most = lookup::at_once(&self.shares);
        beyond.next_unsure(most, piece).inspect_err(|_| beyond.stage = Stage::Broken)
    }

    /// Whether more than one record that was put aside is about the key, so that whatever it is, it is not to be sent.
    pub fn comes_again(&self, hash: KeyHash) -> bool {
        let Some(beyond) = &self.beyond else { return false };
        let Stage::LookingUp(lookup) = &beyond.stage else { return false };
        lookup.find(hash).is_some_and(|key| key.comes_again)
    }

    /// Why nothing more can be put aside, once.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.beyond.as_mut()?.failure.take()
    }

    /// What is unsure will stay so.
    pub fn is_broken(&self) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| matches!(beyond.stage, Stage::Broken))
    }

    /// What those that no longer fit into memory are given.
    pub fn room(&self) -> (Shares, &Arc<Spill>) {
        (self.shares, &self.spill)
    }

    /// Frees all that was remembered.
    pub fn forget(&mut self) {
        *self = Fates::new(self.shares, Arc::clone(&self.spill));
    }
}

fn size(key: &[u8]) -> usize {
    EACH + 3 * key.len()
}

impl Beyond {
    fn keep(&mut self, hash: KeyHash, key: &[u8], fate: Fate) {
        self.recent.insert(hash, key, fate);
        self.attempt(|beyond| log(&mut beyond.log, hash, fate));
    }

    /// After a failure nothing more is put aside, and nothing that was is decided on.
    fn attempt(&mut self, put: impl FnOnce(&mut Beyond) -> Result<(), Error>) {
        if matches!(self.stage, Stage::Broken) {
            return;
        }
        if let Err(error) = put(self) {
            (self.stage, self.failure) = (Stage::Broken, Some(error));
        }
    }

    fn next_unsure(&mut self, most: usize, piece: &mut Vec<u8>) -> Result<bool, Error> {
        if matches!(self.stage, Stage::Reading) {
            // No more rows come.
            self.filter = Filter::new(0);
            self.recent = KeyMap::default();
            self.stage = Stage::LookingUp(Lookup::default());
        }
        let Stage::LookingUp(lookup) = &mut self.stage else { return Ok(false) };
        let has_more = lookup.next(&mut self.unsure, &mut self.log, most, piece)?;
        if !has_more {
            self.stage = Stage::Decided;
        }
        Ok(has_more)
    }
}

#[cfg(test)]
mod tests;
