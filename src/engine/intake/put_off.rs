//! Retries of standing rejections for which there is no room in memory: in the spill until all else has left.
//!
//! Not here: which retries are due (`domain::decision`), for which of them there is room (`late`). Guards: each that is put off
//! is sent in this run or counted as unsent; one whose key is found invalid meanwhile is not sent.

use super::{Asked, Intake};
use crate::delivery::Item;
use crate::domain::codec::Bytes;
use crate::domain::key::KeyHash;
use crate::engine::fates::{Fate, Fates};
use crate::engine::lookup::{Lookup, at_once, log, put_record, records};
use crate::engine::piles::Piles;
use crate::spill::Error;

/// See the file's comment.
#[derive(Debug)]
pub(super) struct PutOff {
    retries: Piles,
    /// The keys of those that were taken back.
    taken_back: Piles,
    lookup: Lookup,
    /// Keys that are looked up at once.
    most: usize,
    /// That wait.
    len: u64,
    /// None is sent any more.
    is_over: bool,
    failure: Option<Error>,
}

impl PutOff {
    /// None yet; with the room that the fates of keys have.
    pub fn beside(fates: &Fates) -> PutOff {
        let (shares, spill) = fates.room();
        let [retries, taken_back] = [(); 2].map(|()| Piles::new(spill, shares.keys / 8));
        let (lookup, most) = (Lookup::default(), at_once(&shares));
        PutOff { retries, taken_back, lookup, most, len: 0, is_over: false, failure: None }
    }

    pub fn push(&mut self, asked: &Asked<'_>, needs_proof: bool) {
        self.len += 1;
        let pushed = put_record(&mut self.retries, asked.hash, |out| {
            out.push(u8::from(needs_proof));
            asked.encode(out);
        });
        self.heed(pushed);
    }

    /// One that was pushed is not to be sent, and counts elsewhere.
    pub fn take_back(&mut self, hash: KeyHash) {
        self.len -= 1;
        let logged = log(&mut self.taken_back, hash, Fate::Blocked);
        self.heed(logged);
    }

    /// After a failure all that waits stays unsent.
    fn heed(&mut self, put: Result<(), Error>) {
        if let Err(error) = put {
            self.is_over = true;
            self.failure.get_or_insert(error);
        }
    }

    /// Why nothing more can be put off, once.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    fn has_more(&self) -> bool {
        !self.is_over && self.len > 0
    }

    fn hand_over(
        &mut self,
        is_proven: bool,
        mut push: impl FnMut(&Item<'_>),
    ) -> Result<u64, Error> {
        let PutOff { retries, taken_back, lookup, .. } = self;
        let (mut piece, mut left_out) = (Vec::new(), 0);
        if !lookup.next(retries, taken_back, self.most, &mut piece)? {
            self.is_over = true;
        }
        for (hash, record) in records(&piece) {
            if lookup.find(hash).is_some_and(|key| key.fate.is_some()) {
                continue;
            }
            self.len -= 1;
            let (needs_proof, asked) = decode(hash, record).expect("it comes back as it was put");
            match needs_proof && !is_proven {
                true => left_out += 1,
                false => push(&asked.item()),
            }
        }
        Ok(left_out)
    }
}

fn decode(hash: KeyHash, record: &[u8]) -> Option<(bool, Asked<'_>)> {
    let mut bytes = Bytes::new(record);
    let needs_proof = bytes.bool()?;
    let key = bytes.bytes()?;
    Some((needs_proof, Asked::decode(hash, key, &mut bytes)?))
}

impl Intake {
    /// Operations that wait for others to go first, or for the end of the read.
    pub fn waiting(&self) -> u64 {
        self.lane.len() as u64 + self.put_off.len
    }

    /// Whether [`Intake::hand_over`] has more.
    pub fn has_put_off(&self) -> bool {
        self.put_off.has_more()
    }

    /// Shows `push` some of what waited for everything else; how many were left out instead, as they need the proof of the read.
    /// Blocks.
    ///
    /// # Errors
    /// It cannot be read, and all that is left stays unsent.
    pub fn hand_over(
        &mut self,
        is_proven: bool,
        push: impl FnMut(&Item<'_>),
    ) -> Result<u64, Error> {
        let handed_over = self.put_off.hand_over(is_proven, push);
        handed_over.inspect_err(|_| self.put_off.is_over = true)
    }
}
