//! The keys of a backlog, however many they are: as they come, and what each is to be in the end.
//!
//! Not responsible for what waits (`intake`, `domain::decision`). Guards: a key that was taken back is not among them, nor a
//! change of one that is in doubt; they come in the order of the snapshot; no more than one pile of them is in memory.

use std::sync::Arc;

use crate::delivery::Item;
use crate::domain::codec::{Bytes, put_bytes};
use crate::domain::entry::Fingerprint;
use crate::domain::key::{self, KeyHash};
use crate::engine::intake::Outlet;
use crate::engine::piles::Piles;
use crate::engine::prepare::Error;
use crate::snapshot::View;
use crate::snapshot::record::Record;
use crate::spill::{self, Spill};

/// Bytes of the list that stay in memory while rows are read; few in tests, so that most are written.
const ROOM: usize = if cfg!(test) { 1 << 10 } else { 8 << 20 };
/// Bytes that a key of a pile takes in memory beside its record, while all are put in order.
const EACH: usize = size_of::<Noted<'static>>() / 2 * 3;

/// What a key waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A row of this content that would be sent.
    Change(Fingerprint),
    Removal,
}

/// See the file's comment.
#[derive(Debug)]
pub(super) struct Listed {
    piles: Piles,
    failure: Option<spill::Error>,
    /// Bytes that a pile may take.
    room: usize,
    sync: String,
}

/// One record of a pile; `None` takes back what came before.
#[derive(Debug, Clone, Copy)]
struct Noted<'p> {
    hash: KeyHash,
    key: &'p [u8],
    wait: Option<Wait>,
}

impl Listed {
    /// An empty list. Where it is looked through it may take `room` bytes.
    pub fn new(spill: &Arc<Spill>, room: usize, sync: &str) -> Listed {
        let (piles, sync) = (Piles::new(spill, ROOM), sync.to_owned());
        Listed { piles, failure: None, room, sync }
    }

    /// Adds a record that would be deleted.
    ///
    /// # Errors
    /// There is no room on the disk.
    pub fn add_removal(&mut self, key: &[u8]) -> Result<(), Error> {
        self.put(&Noted { hash: key::hash(key), key, wait: Some(Wait::Removal) });
        self.check()
    }

    /// # Errors
    /// Something that came could not be put on the list, which is of no use then.
    pub fn check(&mut self) -> Result<(), Error> {
        self.failure.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Shows the keys of a pile that wait, once no more come; `view` says which are in doubt. Blocks.
    ///
    /// # Errors
    /// What was written, or the snapshot, cannot be read; or the pile takes more memory than it may.
    pub fn visit(
        &self,
        pile: usize,
        view: &View,
        show: &mut impl FnMut(&[u8], Wait),
    ) -> Result<(), Error> {
        let (mut bytes, mut piece) = (Vec::new(), Vec::new());
        for number in 0..self.piles.pieces(pile) {
            self.piles.read(pile, number, &mut piece)?;
            if bytes.len() + piece.len() > self.room {
                return Err(self.too_many());
            }
            bytes.extend_from_slice(&piece);
        }
        let count = noted(&bytes).count();
        if count.saturating_mul(EACH).saturating_add(bytes.len()) > self.room {
            return Err(self.too_many());
        }
        let mut all = Vec::with_capacity(count);
        all.extend(noted(&bytes));
        // What came last of a key stays the last of it.
        all.sort_by_key(|noted| (noted.hash, noted.key));
        let lasts = || all.chunk_by(|one, next| one.key == next.key).filter_map(<[_]>::last);
        let changes = lasts().filter(|last| matches!(last.wait, Some(Wait::Change(_))));
        let mut entries = view.entries_of(changes.map(|last| (last.hash, last.key)));
        for Noted { key, wait, .. } in lasts() {
            let is_in_doubt = match wait {
                Some(Wait::Change(_)) => {
                    let entry = entries.next().expect("each change was asked for")?;
                    entry.is_some_and(|entry| entry.doubt.is_some())
                }
                _ => false,
            };
            if let Some(wait) = wait.filter(|_| !is_in_doubt) {
                show(key, wait);
            }
        }
        Ok(())
    }

    fn put(&mut self, noted: &Noted<'_>) {
        if self.failure.is_none() {
            self.failure = self.piles.append(noted.hash, |out| noted.encode(out)).err();
        }
    }

    fn too_many(&self) -> Error {
        Error::Refused(format!(
            "the keys of the backlog of `{}` do not fit into `memory_limit`; raise it, and ask again",
            self.sync
        ))
    }
}

impl Outlet for Listed {
    fn push(&mut self, item: &Item<'_>) {
        let wait = Some(Wait::Change(item.fingerprint));
        self.put(&Noted { hash: item.key_hash, key: item.key, wait });
    }

    /// Nothing ever leaves.
    fn withdraw(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        self.put(&Noted { hash, key, wait: None });
        true
    }

    fn note(&mut self, _record: &Record<'_>) {}
}

impl<'p> Noted<'p> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.key);
        match self.wait {
            None => out.push(0),
            Some(Wait::Change(fingerprint)) => {
                out.push(1);
                out.extend(fingerprint.to_le_bytes());
            }
            Some(Wait::Removal) => out.push(2),
        }
    }

    /// `None` where it is no such record.
    fn decode(bytes: &mut Bytes<'p>) -> Option<Noted<'p>> {
        let key = bytes.bytes()?;
        let wait = match bytes.u8()? {
            0 => None,
            1 => Some(Wait::Change(bytes.u128()?)),
            2 => Some(Wait::Removal),
            _ => return None,
        };
        Some(Noted { hash: key::hash(key), key, wait })
    }
}

/// The records of a pile, in the order in which they came.
fn noted(pile: &[u8]) -> impl Iterator<Item = Noted<'_>> {
    let mut bytes = Bytes::new(pile);
    let whole = "it comes back as it was put";
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| Noted::decode(&mut bytes).expect(whole)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::Operation;
    use crate::domain::id::{BatchNumber, Epoch, IntentNumber};
    use crate::engine::piles::PILES;
    use crate::snapshot::Snapshot;
    use crate::snapshot::memory_disk::MemoryDisk;
    use crate::snapshot::record::IntentRecord;

    fn key_of(number: u32) -> Vec<u8> {
        number.to_le_bytes().repeat(2)
    }

    fn change(listed: &mut Listed, number: u32) {
        let key = &key_of(number);
        listed.push(&Item {
            key,
            key_hash: key::hash(key),
            fingerprint: u128::from(number),
            number: None,
            fragment: b"a row",
            target_len: 0,
            is_retry: false,
        });
    }

    /// A snapshot in which every fifth key is in doubt.
    fn doubtful(count: u32) -> Snapshot {
        let mut snapshot = Snapshot::open(Arc::new(MemoryDisk::new()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        let keys: Vec<Vec<u8>> = (0..count).step_by(5).map(key_of).collect();
        let record = |key| IntentRecord { key, fingerprint: 1, number: IntentNumber(1) };
        let records = keys.iter().map(|key| record(&key[..]));
        snapshot.journal().append_intent(BatchNumber(1), Operation::Upsert, records);
        snapshot.commit(|_| {}).unwrap();
        snapshot
    }

    /// Numbers below `count`: changes, of which every third is taken back, and every seventh a removal instead.
    fn listed(spill: &Arc<Spill>, room: usize, count: u32) -> Listed {
        let mut listed = Listed::new(spill, room, "crm");
        for number in 0..count {
            if number % 7 == 0 {
                listed.add_removal(&key_of(number)).unwrap();
            } else {
                change(&mut listed, number);
            }
        }
        for number in (0..count).filter(|number| number % 7 != 0 && number % 3 == 0) {
            let key = key_of(number);
            assert!(listed.withdraw(key::hash(&key), &key));
        }
        listed.check().unwrap();
        listed
    }

    #[test]
    fn what_waits_comes_in_the_order_of_the_snapshot_without_what_was_taken_back_or_is_in_doubt() {
        const COUNT: u32 = 10_000;
        let folder = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(folder.path()));
        let listed = listed(&spill, 1 << 20, COUNT);
        assert!(spill.size() > 0, "most of it is on disk");
        let allocated = listed.piles.allocated();
        assert!(allocated < 8 * ROOM, "{allocated} bytes in memory, of {COUNT} keys");
        let expected = (0..COUNT).filter_map(|number| match number {
            _ if number % 7 == 0 => Some((key_of(number), Wait::Removal)),
            _ if number % 3 == 0 || number % 5 == 0 => None,
            _ => Some((key_of(number), Wait::Change(u128::from(number)))),
        });
        let mut expected: Vec<(Vec<u8>, Wait)> = expected.collect();
        expected.sort_by_key(|(key, _)| key::hash(key));
        let snapshot = doubtful(COUNT);
        for _ in 0..2 {
            let mut found = Vec::new();
            let mut show = |key: &[u8], wait| found.push((key.to_vec(), wait));
            for pile in 0..PILES {
                listed.visit(pile, snapshot.view(), &mut show).unwrap();
            }
            assert!(found == expected);
        }
    }

    #[test]
    fn a_list_beyond_its_memory_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(folder.path()));
        let snapshot = doubtful(0);
        let visit = |room| {
            let listed = listed(&spill, room, 10_000);
            (0..PILES).try_for_each(|pile| listed.visit(pile, snapshot.view(), &mut |_, _| {}))
        };
        assert!(visit(PILES * ROOM).is_ok());
        for room in [0, 5_000, 15_000] {
            let said = visit(room).unwrap_err().to_string();
            assert!(said.contains("`crm` do not fit into `memory_limit`; raise it"), "{said}");
        }
    }

    #[test]
    fn a_list_that_finds_no_room_on_the_disk_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(folder.path()));
        drop(folder);
        let mut listed = Listed::new(&spill, 1 << 20, "crm");
        (0..1_000).for_each(|number| change(&mut listed, number));
        assert!(matches!(listed.check(), Err(Error::Spill(_))));
    }
}
