use std::sync::Arc;

use super::*;
use crate::domain::entry::Operation;
use crate::domain::id::{BatchNumber, IntentNumber};
use crate::snapshot::disk::Disk as _;
use crate::snapshot::header::Hold;
use crate::snapshot::memory_disk::MemoryDisk;
use crate::snapshot::record::IntentRecord;

#[test]
fn whether_anything_is_held_is_known_by_the_first_and_all_of_it_is_forgotten_without_a_list() {
    const KEYS: u32 = 9_000;
    let disk = MemoryDisk::new();
    let open = || Snapshot::open(Arc::new(disk.clone()), "crm", None).unwrap();
    let mut snapshot = open();
    snapshot.commit(|_| {}).unwrap();
    let keys: Vec<[u8; 4]> = (0..KEYS).map(u32::to_le_bytes).collect();
    let record = |key| IntentRecord { key, fingerprint: 1, number: IntentNumber(1) };
    let records = keys.iter().map(|key| record(&key[..]));
    snapshot.journal().append_intent(BatchNumber(1), Operation::Upsert, records);
    for (number, key) in (0_u32..).zip(&keys) {
        let run = RunId(if number < 10 { 5 } else { 4 });
        snapshot.journal().append(&Record::Hold { key, run });
    }
    let (run, since, causes) = (RunId(6), Some(RunId(4)), Vec::new());
    let versions = Vec::new();
    let hold = Hold { run, causes, keys: KEYS.into(), since, versions };
    snapshot.commit(|header| header.hold = Some(hold)).unwrap();
    let counts = |run| count_held(snapshot.view(), RunId(run)).unwrap();
    let all = u64::from(KEYS);
    assert_eq!([3, 4, 5, 6, 7].map(counts).map(|(held, _)| held), [0, all - 10, all, all, 0]);
    assert_eq!(counts(4).1, 10);
    let is_held = |run| has_held(snapshot.view(), RunId(run));
    assert!(!is_held(3).unwrap() && is_held(6).unwrap() && !is_held(7).unwrap());
    // What lies behind the first of them is not read.
    let name = disk.list().unwrap().into_iter().find(|name| name.contains("segment")).unwrap();
    let mut bytes = disk.read(&name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let whole = disk.read(&name).unwrap();
    disk.put(&name, bytes);
    let damaged = open();
    assert!(has_held(damaged.view(), RunId(4)).unwrap());
    assert!(has_held(damaged.view(), RunId(7)).is_err());
    drop(damaged);
    disk.put(&name, whole);
    let mut snapshot = open();
    forget(&mut snapshot, RunId(4)).unwrap();
    assert_eq!(count_held(snapshot.view(), RunId(6)).unwrap(), (10, 0));
    assert_eq!(snapshot.header().hold.as_ref().map(|hold| hold.keys), Some(10));
    forget(&mut snapshot, RunId(6)).unwrap();
    assert_eq!((&snapshot.header().hold, snapshot.header().entries), (&None, 0));
}

#[test]
fn a_replacement_counts_once_the_file_has_it_or_a_later_one() {
    let replace = |id, sync: &str, new: &str| {
        let (connection, kept, at) = (new.to_owned(), None, Instant(0));
        let decision = Decision::Replace { connection, kept, at };
        Pending { id, sync: sync.to_owned(), run: None, decision }
    };
    let discard = Decision::Discard { run: RunId(1) };
    let other = Pending { id: 4, sync: "crm".to_owned(), run: None, decision: discard };
    let all = [replace(1, "crm", "a"), replace(2, "crm", "b"), replace(3, "ads", "c"), other];
    let written = |connection| {
        let of_crm = all.iter().filter(|one| one.sync == "crm");
        let written = of_crm.filter(|one| is_written(&all, one, connection));
        written.map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(written(Some("a")), [1, 4]);
    assert_eq!(written(Some("b")), [1, 2, 4]);
    assert_eq!(written(Some("c")), [4], "that is of another sync");
    assert_eq!(written(None), [4]);
}
