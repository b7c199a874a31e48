//! A block of a segment: up to 4096 entries, column by column.
//!
//! Format of the payload:
//!
//! ```text
//! count:u32 base_epoch:u32 lengths_size:u32 keys_size:u32 extras_size:u32
//! key lengths     varint * count
//! keys            one after the other
//! flags           u8 * count
//! fingerprints    u128 * count               zero where nothing is confirmed
//! epochs          u32, for each entry with OTHER_EPOCH
//! extras          length:varint tagged values, for each entry with EXTRAS (see extras.rs)
//!
//! flags: 1 CONFIRMED  2 TOMBSTONE (the entry is forgotten)  4 OTHER_EPOCH (confirmed in another epoch than the
//!        base)  8 EXTRAS  16 and above: not yet given, an error
//! ```
//!
//! Entries are ordered by (hash of the key, key). Entries of one hash are never parted by the end of a block.

use std::num::NonZero;
use std::ops::Range;

use super::error::Fault;
use super::frame;
use crate::domain::codec::{Bytes, put_varint, short};
use crate::domain::entry::{Confirmed, Entry, Stretch};
use crate::domain::extras;
use crate::domain::id::Epoch;

/// The most entries of a block.
pub(super) const MOST_ENTRIES: usize = 4096;
/// A block is closed early when its keys and extras reach this many bytes.
const MOST_BYTES: usize = 1 << 20;

const CONFIRMED: u8 = 1;
const TOMBSTONE: u8 = 2;
const OTHER_EPOCH: u8 = 4;
const EXTRAS: u8 = 8;

const HEAD: usize = 20;
const DAMAGED: Fault = Fault::Damaged("a block does not add up");

/// Collects the entries of one block.
#[derive(Debug, Default)]
pub(super) struct Builder {
    count: usize,
    base_epoch: Option<Epoch>,
    lengths: Vec<u8>,
    keys: Vec<u8>,
    flags: Vec<u8>,
    fingerprints: Vec<u8>,
    epochs: Vec<u8>,
    extras: Vec<u8>,
    scratch: Vec<u8>,
}

impl Builder {
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn is_full(&self) -> bool {
        self.count >= MOST_ENTRIES || self.keys.len() + self.extras.len() >= MOST_BYTES
    }

    /// Adds an entry, or with `None` a tombstone.
    pub fn push(&mut self, key: &[u8], entry: Option<&Entry>) {
        self.count += 1;
        put_varint(&mut self.lengths, key.len() as u64);
        self.keys.extend_from_slice(key);
        let mut flags = if entry.is_none() { TOMBSTONE } else { 0 };
        let confirmed = entry.and_then(|entry| entry.confirmed);
        if let Some(confirmed) = confirmed {
            flags |= CONFIRMED;
            if *self.base_epoch.get_or_insert(confirmed.epoch) != confirmed.epoch {
                flags |= OTHER_EPOCH;
                self.epochs.extend_from_slice(&confirmed.epoch.0.to_le_bytes());
            }
        }
        let fingerprint = confirmed.map_or(0, |confirmed| confirmed.fingerprint);
        self.fingerprints.extend_from_slice(&fingerprint.to_le_bytes());
        if let Some(entry) = entry.filter(|entry| entry.has_more_than_confirmed()) {
            flags |= EXTRAS;
            extras::put(&mut self.extras, &mut self.scratch, entry);
        }
        self.flags.push(flags);
    }

    /// Writes the payload and begins anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let base = self.base_epoch.unwrap_or_default().0;
        let sizes = [&self.lengths, &self.keys, &self.extras].map(|part| short(part.len()));
        for number in [short(self.count), base].into_iter().chain(sizes) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.count = 0;
        self.base_epoch = None;
        for part in [
            &mut self.lengths,
            &mut self.keys,
            &mut self.flags,
            &mut self.fingerprints,
            &mut self.epochs,
            &mut self.extras,
        ] {
            out.extend_from_slice(part);
            part.clear();
        }
    }
}

/// A block as read: its frame's bytes, and where in them things are.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    count: usize,
    keys: usize,
    key_ends: KeyEnds,
    flags: usize,
    fingerprints: usize,
    base_epoch: Epoch,
    /// Places in the block, and the epochs confirmed there.
    epochs: Vec<(usize, Epoch)>,
    /// Places in the block, and the range of `bytes` of their extras.
    extras: Vec<(usize, Range<usize>)>,
    /// Whether all entries are confirmed, in the base epoch, and nothing else.
    is_plain: bool,
}

/// Where each key ends in the bytes of its block.
#[derive(Debug)]
enum KeyEnds {
    /// All keys have this length.
    Even(NonZero<usize>),
    Uneven(Vec<u32>),
}

impl Block {
    /// `bytes` are those of a whole frame, its checksum found right.
    pub fn parse(bytes: Vec<u8>) -> Result<Block, Fault> {
        let mut rest = Bytes::new(&bytes);
        rest.take(frame::FRAME_HEADER).ok_or(DAMAGED)?;
        let mut sizes = [0u32; HEAD / 4];
        for size in &mut sizes {
            *size = rest.u32().ok_or(DAMAGED)?;
        }
        let base_epoch = Epoch(sizes[1]);
        let [count, _, lengths_size, keys_size, extras_size] = sizes.map(|size| size as usize);
        let lengths = rest.take(lengths_size).ok_or(DAMAGED)?;
        let keys = bytes.len() - rest.rest.len();
        rest.take(keys_size).ok_or(DAMAGED)?;
        let key_ends = key_ends(lengths, count, keys, keys_size).ok_or(DAMAGED)?;
        let flags = bytes.len() - rest.rest.len();
        let flag_bytes = rest.take(count).ok_or(DAMAGED)?;
        let is_plain = flag_bytes.iter().fold(true, |all, flags| all & (*flags == CONFIRMED));
        let fingerprints = bytes.len() - rest.rest.len();
        rest.take(count.checked_mul(16).ok_or(DAMAGED)?).ok_or(DAMAGED)?;
        let (mut epochs, mut extras) = (Vec::new(), Vec::new());
        let others = if is_plain { &[] } else { flag_bytes };
        for (place, flags) in others.iter().enumerate() {
            if flags & OTHER_EPOCH != 0 {
                epochs.push((place, Epoch(rest.u32().ok_or(DAMAGED)?)));
            }
        }
        if rest.rest.len() != extras_size {
            return Err(DAMAGED);
        }
        for (place, flags) in others.iter().enumerate() {
            if flags & EXTRAS != 0 {
                let length = rest.bytes().ok_or(DAMAGED)?.len();
                let end = bytes.len() - rest.rest.len();
                extras.push((place, end - length..end));
            }
            check_flags(*flags)?;
        }
        if !rest.is_empty() {
            return Err(DAMAGED);
        }
        Ok(Block {
            count,
            keys,
            key_ends,
            flags,
            fingerprints,
            base_epoch,
            epochs,
            extras,
            is_plain,
            bytes,
        })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub fn key(&self, place: usize) -> &[u8] {
        match &self.key_ends {
            KeyEnds::Even(length) => {
                assert!(place < self.count, "a place of the block");
                let start = self.keys + place * length.get();
                &self.bytes[start..start + length.get()]
            }
            KeyEnds::Uneven(ends) => {
                let start = if place == 0 { self.keys } else { ends[place - 1] as usize };
                &self.bytes[start..ends[place] as usize]
            }
        }
    }

    /// The length of each key where all have the same and all entries are confirmed and nothing else: these can be shown
    /// as a stretch.
    #[inline]
    pub fn in_stretches(&self) -> Option<NonZero<usize>> {
        match self.key_ends {
            KeyEnds::Even(length) if self.is_plain => Some(length),
            _ => None,
        }
    }

    /// The entries of some places of a block with keys of this length, in stretches.
    pub fn stretch(&self, length: NonZero<usize>, places: Range<usize>) -> Stretch<'_> {
        let start = self.keys + places.start * length.get();
        let keys = &self.bytes[start..start + places.len() * length.get()];
        let (fingerprints, _) = self.bytes[self.fingerprints..].as_chunks();
        Stretch::new(keys, length, &fingerprints[places], self.base_epoch)
            .expect("a key has a fingerprint")
    }

    /// What is confirmed, where an entry holds nothing else; most entries are so, and this is the cheap way to them.
    #[inline]
    pub fn plain(&self, place: usize) -> Option<Confirmed> {
        if self.bytes[self.flags + place] != CONFIRMED {
            return None;
        }
        let start = self.fingerprints + 16 * place;
        let fingerprint = Bytes::new(&self.bytes[start..]).u128()?;
        Some(Confirmed { fingerprint, epoch: self.base_epoch })
    }

    /// `None` for a tombstone.
    #[inline]
    pub fn entry(&self, place: usize) -> Result<Option<Entry>, Fault> {
        let flags = self.bytes[self.flags + place];
        if flags & TOMBSTONE != 0 {
            return Ok(None);
        }
        let mut entry = Entry::default();
        if flags & CONFIRMED != 0 {
            let mut epoch = self.base_epoch;
            if flags & OTHER_EPOCH != 0 {
                epoch = *found(&self.epochs, place)?;
            }
            let start = self.fingerprints + 16 * place;
            let fingerprint = Bytes::new(&self.bytes[start..]).u128().ok_or(DAMAGED)?;
            entry.confirmed = Some(Confirmed { fingerprint, epoch });
        }
        if flags & EXTRAS != 0 {
            let range = found(&self.extras, place)?.clone();
            extras::read(&self.bytes[range], &mut entry)?;
        }
        Ok(Some(entry))
    }
}

/// Where `count` keys end that begin at `start`; `None` unless they are all of `size` bytes, and `lengths` those of all.
fn key_ends(lengths: &[u8], count: usize, start: usize, size: usize) -> Option<KeyEnds> {
    if let Some(first) = lengths.first().filter(|first| **first < 0x80 && lengths.len() == count)
        && let Some(length) = NonZero::new(usize::from(*first))
        && lengths.iter().fold(true, |all, length| all & (length == first))
    {
        return (count.checked_mul(length.get()) == Some(size)).then_some(KeyEnds::Even(length));
    }
    let mut rest = Bytes::new(lengths);
    let mut end = short(start);
    let mut ends = Vec::with_capacity(count.min(lengths.len()));
    for _ in 0..count {
        end = end.checked_add(rest.varint_u32()?)?;
        ends.push(end);
    }
    (end as usize == start + size && rest.is_empty()).then_some(KeyEnds::Uneven(ends))
}

fn check_flags(flags: u8) -> Result<(), Fault> {
    if flags & !(CONFIRMED | TOMBSTONE | OTHER_EPOCH | EXTRAS) != 0 {
        return Err(Fault::Newer("an entry has a flag that is not known"));
    }
    let is_tombstone = flags & TOMBSTONE != 0;
    let is_other = flags & OTHER_EPOCH != 0;
    if (is_tombstone && flags != TOMBSTONE) || (is_other && flags & CONFIRMED == 0) {
        return Err(DAMAGED);
    }
    Ok(())
}

fn found<T>(list: &[(usize, T)], place: usize) -> Result<&T, Fault> {
    let at = list.binary_search_by_key(&place, |(place, _)| *place).map_err(|_| DAMAGED)?;
    Ok(&list[at].1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::entry::{Doubt, Held, Operation, Rejection, Waiver};
    use crate::domain::id::{BatchNumber, Instant, IntentNumber, RunId};
    use proptest::option;
    use proptest::prelude::*;

    pub fn any_entry() -> impl Strategy<Value = Entry> {
        let confirmed = option::of((any::<u128>(), 0..3u32)).prop_map(|confirmed| {
            confirmed.map(|(fingerprint, epoch)| Confirmed { fingerprint, epoch: Epoch(epoch) })
        });
        let doubt = option::of((
            any::<bool>(),
            any::<u128>(),
            any::<u64>(),
            any::<u32>(),
            any::<[bool; 2]>(),
        ))
        .prop_map(|doubt| {
            doubt.map(|(is_delete, fingerprint, number, index, [is_repeated, is_spent])| Doubt {
                operation: if is_delete { Operation::Delete } else { Operation::Upsert },
                fingerprint,
                number: IntentNumber(number),
                batch: BatchNumber(number ^ 5),
                index,
                is_repeated,
                is_spent,
            })
        });
        let rejection = option::of((any::<u128>(), ".{0,5}", any::<u32>(), any::<i64>())).prop_map(
            |rejection| {
                rejection.map(|(fingerprint, code, attempts, due)| Rejection {
                    operation: Operation::Upsert,
                    fingerprint,
                    epoch: Epoch(attempts),
                    message: format!("no {code}"),
                    code,
                    attempts,
                    due: Instant(due),
                })
            },
        );
        let waiver = option::of(any::<u128>())
            .prop_map(|waiver| waiver.map(|fingerprint| Waiver { fingerprint, epoch: Epoch(1) }));
        let held = option::of((any::<u64>(), any::<u64>())).prop_map(|held| {
            held.map(|(first, last)| Held { first: RunId(first), last: RunId(last) })
        });
        (confirmed, doubt, rejection, waiver, held).prop_map(
            |(confirmed, doubt, rejection, waiver, held)| Entry {
                confirmed,
                doubt,
                rejection,
                waiver,
                held,
            },
        )
    }

    #[test]
    fn keys_of_one_length_come_back_many_at_once_and_are_as_long_as_the_block_says() {
        let confirmed = |n: u32| Confirmed { fingerprint: u128::from(n), epoch: Epoch(5) };
        let mut builder = Builder::default();
        for n in 0..1_000_u32 {
            let entry = Entry { confirmed: Some(confirmed(n)), ..Entry::default() };
            builder.push(&n.to_le_bytes(), Some(&entry));
        }
        let mut bytes = vec![0; frame::FRAME_HEADER];
        builder.finish(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Block::parse(bytes[..length].to_vec()).is_err(), "{length}");
        }
        for (at, wrong) in
            [(12, 3_999_u32), (12, 4_001), (8, 999), (8, 1_001), (0, 999), (0, 1_001)]
        {
            let mut bytes = bytes.clone();
            let at = frame::FRAME_HEADER + at;
            bytes[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
            assert!(Block::parse(bytes).is_err(), "{wrong}");
        }
        let block = Block::parse(bytes).unwrap();
        let length = block.in_stretches().unwrap();
        for places in [0..1_000, 0..1, 999..1_000, 7..500, 3..3] {
            let stretch = block.stretch(length, places.clone());
            assert_eq!(stretch.keys().len(), places.len());
            let entries = places.zip(stretch.keys().zip(stretch.confirmed()));
            for (place, (key, found)) in entries {
                let n = u32::try_from(place).unwrap();
                assert_eq!((key, found), (&n.to_le_bytes()[..], confirmed(n)));
                assert_eq!(block.entry(place).unwrap().unwrap().confirmed, Some(found));
            }
        }
    }

    /// Entries with keys of any length, or of one.
    fn any_entries() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Entry>)>> {
        let keys =
            prop_oneof![Just(0..200usize), (0..20usize).prop_map(|length| length..length + 1)];
        keys.prop_flat_map(|length| {
            let key = prop::collection::vec(any::<u8>(), length);
            prop::collection::vec((key, option::of(any_entry())), 0..50)
        })
    }

    proptest! {
        #[test]
        fn a_block_comes_back_as_it_was(entries in any_entries()) {
            let mut builder = Builder::default();
            for (key, entry) in &entries {
                builder.push(key, entry.as_ref());
            }
            let mut bytes = vec![0; frame::FRAME_HEADER];
            builder.finish(&mut bytes);
            for length in 0..bytes.len() {
                prop_assert!(Block::parse(bytes[..length].to_vec()).is_err());
            }
            let block = Block::parse(bytes).unwrap();
            prop_assert_eq!(block.count(), entries.len());
            for (place, (key, entry)) in entries.iter().enumerate() {
                prop_assert_eq!(block.key(place), &key[..]);
                prop_assert_eq!(&block.entry(place).unwrap(), entry);
            }
        }
    }
}
