//! What was put aside, as it may be about a key that was met before: to bytes and back, and decided on at last.
//!
//! Not here: where it lies meanwhile, and what became of its key (`fates`). Guards: it is decided on by the same rules as what
//! comes while rows are read; while it waits it is in the counts, as what is not sent.

use super::{Asked, Intake, Outlet};
use crate::delta::examiner::{Invalid, TakenBack};
use crate::delta::table::Sighting;
use crate::domain::codec::{Bytes, put_bytes, put_varint};
use crate::domain::decision::Reason;
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::domain::key::KeyHash;
use crate::engine::lookup::records;
use crate::spill::Error;

const REASONS: [Reason; 4] =
    [Reason::Fresh, Reason::Repetition, Reason::WasRepeated, Reason::RetryOfRejection];

/// Something about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Aside<'a> {
    Operation(Asked<'a>),
    /// A row without a form in a request, and why.
    Unrenderable(&'a [u8], &'a str),
    /// A row whose key was met before; what the first one came to, if the snapshot knows the key.
    Repeated(&'a [u8], Option<Sighting>),
    TakenBack(TakenBack),
}

impl Intake {
    /// Whether something was put aside that may still have to be decided on.
    pub fn has_unsure(&self) -> bool {
        self.fates.has_unsure()
    }

    /// What was put aside cannot be decided on, and stays unsent.
    pub fn is_broken(&self) -> bool {
        self.fates.is_broken()
    }

    /// After the read has ended: decides on the next of what was put aside. Blocks.
    ///
    /// # Errors
    /// It cannot be read, and all that is left stays unsent.
    pub fn decide(&mut self, outlet: &mut impl Outlet) -> Result<(), Error> {
        let mut piece = Vec::new();
        if !self.fates.next_unsure(&mut piece)? {
            return Ok(());
        }
        for (hash, record) in records(&piece) {
            let aside = Aside::decode(hash, record).expect("it comes back as it was put aside");
            self.count(&aside, -1);
            match aside {
                Aside::Operation(asked) => self.operation(&asked, outlet),
                Aside::Unrenderable(key, why) => self.unrenderable(hash, key, why, outlet),
                Aside::Repeated(key, first) => self.forestall(hash, key, first, outlet),
                Aside::TakenBack(row) => self.take_back(&row, outlet),
            }
        }
        self.put_off.take_failure().map_or(Ok(()), Err)
    }

    /// Puts it aside until it is known what became of its key.
    pub(super) fn put_aside(&mut self, hash: KeyHash, aside: &Aside<'_>) {
        self.count(aside, 1);
        self.fates.put_aside(hash, |out| aside.encode(out));
    }

    /// A row waits as one that is not sent; one without a form in a request is invalid in any case. What takes other rows back
    /// is counted when it does.
    fn count(&mut self, aside: &Aside<'_>, by: i64) {
        match aside {
            Aside::Operation(_) => {
                self.counts.upserts += by;
                self.counts.unsent += by;
            }
            Aside::Unrenderable(..) => self.counts.invalid += by,
            Aside::Repeated(..) | Aside::TakenBack(_) => {}
        }
    }
}

impl<'a> Aside<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Aside::Operation(asked) => {
                out.push(0);
                asked.encode(out);
            }
            Aside::Unrenderable(key, why) => {
                out.push(1);
                put_bytes(out, key);
                put_bytes(out, why.as_bytes());
            }
            Aside::Repeated(key, first) => {
                out.push(2);
                put_bytes(out, key);
                put_sighting(out, *first);
            }
            Aside::TakenBack(TakenBack { why, key, sighting }) => {
                out.push(match why {
                    Invalid::Null => 3,
                    Invalid::Repeated => 4,
                });
                put_bytes(out, key);
                put_sighting(out, *sighting);
            }
        }
    }

    /// `None` where it is no such thing.
    fn decode(hash: KeyHash, record: &'a [u8]) -> Option<Aside<'a>> {
        let mut bytes = Bytes::new(record);
        let kind = bytes.u8()?;
        let key = bytes.bytes()?;
        Some(match kind {
            0 => Aside::Operation(Asked::decode(hash, key, &mut bytes)?),
            1 => Aside::Unrenderable(key, bytes.text()?),
            2 => Aside::Repeated(key, Sighting::of(bytes.u8()?)),
            3 | 4 => {
                let why = if kind == 3 { Invalid::Null } else { Invalid::Repeated };
                let sighting = Sighting::of(bytes.u8()?);
                Aside::TakenBack(TakenBack { why, key: key.to_vec(), sighting })
            }
            _ => return None,
        })
    }
}

fn put_sighting(out: &mut Vec<u8>, sighting: Option<Sighting>) {
    out.push(sighting.map_or(0, |sighting| sighting as u8));
}

impl<'a> Asked<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.key);
        out.extend(self.fingerprint.to_le_bytes());
        let reason = REASONS.iter().position(|reason| *reason == self.reason);
        put_varint(out, reason.expect("all reasons are there") as u64);
        out.push(u8::from(self.was_repeated));
        out.push(u8::from(self.repeats.is_some()));
        if let Some((batch, index, number)) = self.repeats {
            for number in [batch.0, u64::from(index), number.0] {
                put_varint(out, number);
            }
        }
        put_varint(out, u64::from(self.target_len));
        put_bytes(out, self.fragment);
    }

    pub(super) fn decode(hash: KeyHash, key: &'a [u8], bytes: &mut Bytes<'a>) -> Option<Asked<'a>> {
        Some(Asked {
            key,
            hash,
            fingerprint: bytes.u128()?,
            reason: *REASONS.get(bytes.varint_usize()?)?,
            was_repeated: bytes.bool()?,
            repeats: match bytes.bool()? {
                false => None,
                true => {
                    let batch = BatchNumber(bytes.varint()?);
                    Some((batch, bytes.varint_u32()?, IntentNumber(bytes.varint()?)))
                }
            },
            target_len: bytes.varint_u32()?,
            fragment: bytes.bytes()?,
        })
    }
}
