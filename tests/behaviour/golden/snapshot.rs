//! The files of a snapshot as version 1 writes them, byte by byte, and what they say when they are opened.

use std::collections::BTreeMap;

use counterflow::domain::entry::{Confirmed, Doubt, Entry, Operation, Rejection, Waiver};
use counterflow::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};
use counterflow::domain::key::Shown;
use counterflow::snapshot::disk::Disk;
use counterflow::snapshot::memory_disk::MemoryDisk;

use super::story::{begin, keys, open, tell};
use super::{ADVICE, folder};

type Files = BTreeMap<String, Vec<u8>>;

/// The golden files of a folder.
fn golden(name: &str) -> Files {
    let entries = std::fs::read_dir(folder().join(name)).expect("the golden files are there");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("the golden files can be listed");
        let name = entry.file_name().into_string().expect("a name in ASCII");
        (name, std::fs::read(entry.path()).expect("a golden file can be read"))
    };
    entries.map(file).collect()
}

fn disk(files: &Files) -> MemoryDisk {
    let disk = MemoryDisk::new();
    files.iter().for_each(|(name, bytes)| disk.put(name, bytes.clone()));
    disk
}

fn files(disk: &MemoryDisk) -> Files {
    let names = disk.list().expect("a disk in memory");
    names.into_iter().map(|name| (name.clone(), disk.read(&name).expect("it was listed"))).collect()
}

#[test]
fn a_snapshots_files_are_written_as_in_version_1() {
    let disk = disk(&golden("begun"));
    tell(&disk);
    let (written, golden) = (files(&disk), golden("snapshot"));
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&golden), "which files there are{ADVICE}");
    for (name, bytes) in &golden {
        let first = bytes.iter().zip(&written[name]).position(|(golden, now)| golden != now);
        let is_same = *bytes == written[name];
        assert!(is_same, "`{name}` is written otherwise, from byte {first:?} on{ADVICE}");
    }
}

#[test]
fn a_snapshot_of_version_1_opens_with_exactly_these_entries() {
    let snapshot = open(&disk(&golden("snapshot")));
    let mut found = BTreeMap::new();
    snapshot
        .view()
        .visit(|key, entry| drop(found.insert(key.to_vec(), entry)))
        .expect("it is whole");
    for (key, expected) in keys().into_iter().zip(expected()) {
        assert_eq!(found.remove(&key), expected, "the entry of {}{ADVICE}", Shown(&key));
    }
    assert!(found.is_empty(), "and no other: {found:?}{ADVICE}");
    let header = snapshot.header();
    let recovered = snapshot.recovered().expect("the journal was not committed");
    let numbers = (recovered.intents, recovered.records_in_doubt, recovered.dropped_bytes);
    assert_eq!(numbers, (2, 4, 0), "{ADVICE}");
    assert_eq!(
        (header.epoch, header.is_epoch_open, header.entries),
        (Epoch(2), true, 8),
        "{ADVICE}"
    );
    assert_eq!((header.next_batch, header.reuse_floor), (BatchNumber(6), IntentNumber(2)));
    let definition = header.definition.as_ref().expect("it was committed");
    assert_eq!((definition.encoding, definition.key.len()), (1, 2));
    assert_eq!(header.hold.as_ref().map(|hold| (hold.run, hold.keys)), Some((RunId(4), 1)));
    assert_eq!(header.releases[0].message.as_deref(), Some("as agreed"));
    let baseline = header.baseline.as_ref().expect("it was committed");
    assert_eq!((baseline.files[0].inode, baseline.invalid_keys), (9, Some(2)));
}

/// What each key of the story comes to; `None` where nothing is known of it.
fn expected() -> Vec<Option<Entry>> {
    let first =
        |number: u128| Some(Confirmed { fingerprint: (1 << 100 | 5) * number, epoch: Epoch(1) });
    let confirmed = |confirmed| Entry { confirmed, ..Entry::default() };
    let doubt = |batch, index, fingerprint| Doubt {
        operation: Operation::Upsert,
        fingerprint,
        number: IntentNumber(batch),
        batch: BatchNumber(batch),
        index,
        is_repeated: false,
        is_spent: false,
    };
    let rejection = |fingerprint| Rejection {
        operation: Operation::Upsert,
        fingerprint,
        epoch: Epoch(1),
        code: "422".to_owned(),
        message: "no such plan".to_owned(),
        attempts: 1,
        due: Instant(1_357_016_400_000 + 600_000),
    };
    let unsettled =
        |confirmed, doubt| Some(Entry { confirmed, doubt: Some(doubt), ..Entry::default() });
    let delete = Doubt { operation: Operation::Delete, ..doubt(3, 1, 0) };
    let waiver = Some(Waiver { fingerprint: 99, epoch: Epoch(2) });
    let refused = Entry {
        doubt: Some(Doubt { is_spent: true, ..doubt(2, 2, 77 * 10) }),
        rejection: Some(rejection(77 * 10)),
        ..Entry::default()
    };
    let twice = Some(Confirmed { fingerprint: 1234 * 11, epoch: Epoch(2) });
    vec![
        unsettled(first(1), doubt(4, 0, 1234)),
        // Forgotten, and deleted.
        None,
        None,
        unsettled(first(4), delete),
        Some(Entry { waiver, ..confirmed(first(5)) }),
        // Held for a while.
        Some(confirmed(first(6))),
        // Refused, and clear again.
        None,
        unsettled(None, doubt(5, 0, 4321 * 8)),
        // Never applied.
        None,
        Some(refused),
        unsettled(twice, Doubt { is_repeated: true, ..doubt(4, 1, 1234 * 11) }),
        unsettled(None, doubt(4, 2, 1234 * 12)),
    ]
}

#[test]
#[ignore = "writes the golden files of a new version, where there are none yet"]
fn write_golden_files() {
    let disk = MemoryDisk::new();
    begin(&disk);
    for name in ["begun", "snapshot"] {
        let folder = folder().join(name);
        std::fs::create_dir(&folder).expect("golden files are never written anew");
        for (name, bytes) in files(&disk) {
            std::fs::write(folder.join(name), bytes).expect("a golden file can be written");
        }
        if name == "begun" {
            tell(&disk);
        }
    }
}
