//! Every file cut at every length, and every byte of it flipped.

use super::*;

/// Two segments and a journal with three records.
pub fn specimen() -> (MemoryDisk, Known, Contents) {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..40, 1);
    intent(&mut snapshot, 2, Operation::Upsert, 40..43, 2);
    let rejected =
        Verdict::Rejected { code: "422".into(), message: "no".into(), after_unknown: true };
    receipt(&mut snapshot, 2, 0..2, rejected);
    snapshot.commit(|_| {}).unwrap();
    deliver(&mut snapshot, 3, 30..50, 3);
    snapshot.journal().append(&Record::Forget { key: &key(0) });
    snapshot.commit(|_| {}).unwrap();
    let read = contents(snapshot.view()).unwrap();
    intent(&mut snapshot, 4, Operation::Upsert, 60..61, 4);
    snapshot.journal().write().unwrap();
    snapshot.journal().syncer().sync().unwrap();
    intent(&mut snapshot, 5, Operation::Upsert, 61..62, 4);
    snapshot.journal().write().unwrap();
    (disk.copy(), known(&snapshot), read)
}

fn read_all(disk: &MemoryDisk, known: Known) -> Result<(Contents, Option<u64>), Error> {
    let snapshot = open(disk, Some(known))?;
    Ok((contents(snapshot.view())?, snapshot.recovered().map(|recovered| recovered.intents)))
}

#[test]
fn no_cut_file_is_read_as_if_it_were_whole() {
    let (disk, known, committed) = specimen();
    for name in disk.list().unwrap() {
        let bytes = disk.read(&name).unwrap();
        for length in 0..bytes.len() {
            let cut = disk.copy();
            cut.put(&name, bytes[..length].to_vec());
            let read = read_all(&cut, known);
            if name.starts_with("journal") {
                let (read, _) = read.unwrap();
                assert!(committed.iter().all(|(key, entry)| read.get(key) == Some(entry)));
                assert!(read.len() <= committed.len() + 2);
            } else {
                assert!(matches!(read, Err(Error::Damaged { .. })), "{name} cut at {length}");
                assert!(View::read(&cut, SYNC).is_err());
            }
        }
    }
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let (disk, known, committed) = specimen();
    for name in disk.list().unwrap() {
        let bytes = disk.read(&name).unwrap();
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let flipped = disk.copy();
                let mut other = bytes.clone();
                other[at] ^= mask;
                flipped.put(&name, other);
                match read_all(&flipped, known) {
                    Err(Error::Damaged { .. }) => {}
                    Err(error) => panic!("{name} byte {at}: {error}"),
                    Ok((read, intents)) => {
                        assert!(name.starts_with("journal"), "{name} byte {at}");
                        // The last intent was not synced, and is followed by the note that the other one was.
                        let intents = usize::try_from(intents.unwrap()).unwrap();
                        assert!(intents == 1 || intents == 2, "{name} byte {at}");
                        assert_eq!(read.len(), committed.len() + intents);
                    }
                }
            }
        }
    }
}

/// A snapshot whose run was killed after its first intents: the disk, and what the store knows.
fn begun_to_send(intents: u64) -> (MemoryDisk, Known) {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..40, 1);
    snapshot.commit(|_| {}).unwrap();
    let before = Known { journal: Some(0), ..known(&snapshot) };
    let begun = snapshot.journal().begin().unwrap();
    for number in 0..intents {
        intent(&mut snapshot, 2 + number, Operation::Upsert, 40..45, 2);
    }
    let synced = snapshot.journal().begin().unwrap();
    assert_eq!(synced > begun, intents > 0);
    (disk.copy(), Known { journal: Some(synced), ..before })
}

fn journal_name(disk: &MemoryDisk) -> String {
    let names = disk.list().unwrap();
    names.into_iter().find(|name| name.starts_with("journal-")).expect("a journal")
}

#[test]
fn a_journal_that_is_gone_or_cut_where_it_was_safe_is_missed_c4() {
    let (disk, known) = begun_to_send(3);
    let name = journal_name(&disk);
    let bytes = disk.read(&name).unwrap();
    let (head, safe) = (begun_to_send(0).1.journal, known.journal.unwrap());
    assert_eq!(bytes.len() as u64, safe);
    let is_damage = |disk: &MemoryDisk, known| {
        let files = disk.list().unwrap();
        let opened = open(disk, Some(known));
        assert!(opened.is_ok() || disk.list().unwrap() == files, "it is left as it is");
        matches!(opened, Err(Error::Damaged { file, .. }) if file == name)
    };
    for length in 0..bytes.len() {
        let cut = disk.copy();
        cut.put(&name, bytes[..length].to_vec());
        assert!(is_damage(&cut, known), "cut at {length}");
        let zeroed = disk.copy();
        let zeroes = [&bytes[..length], &vec![0; bytes.len() - length]].concat();
        zeroed.put(&name, zeroes.clone());
        assert!(zeroes == bytes || is_damage(&zeroed, known), "zeroed from {length}");
        // What nobody wrote down to be safe may be gone after a power cut.
        let is_short = (length as u64) < head.unwrap();
        assert_eq!(is_damage(&cut, Known { journal: head, ..known }), is_short, "cut at {length}");
    }
    let gone = disk.copy();
    gone.remove(&name).unwrap();
    assert!(is_damage(&gone, known));
    assert!(open(&gone, Some(Known { journal: Some(0), ..known })).is_ok());
    let snapshot = open(&disk, Some(known)).unwrap();
    assert_eq!(snapshot.recovered().unwrap().intents, 3);
}

#[test]
fn a_journal_that_was_begun_and_holds_nothing_is_recovered_however_often_that_is_killed() {
    let (disk, known) = begun_to_send(0);
    // The store hears of none of these.
    for _ in 0..3 {
        let opened = open(&disk, Some(known)).unwrap();
        assert_eq!(contents(opened.view()).unwrap().len(), 40);
    }
}

#[test]
fn a_store_that_does_not_know_of_the_intents_is_older_than_the_snapshot_c5() {
    let (disk, known) = begun_to_send(1);
    let files = disk.list().unwrap();
    for older in [known.generation, known.generation - 1] {
        let lost = Known { generation: older, journal: Some(0), ..known };
        for _ in 0..2 {
            assert!(matches!(open(&disk, Some(lost)), Err(Error::OlderStore { .. })));
            assert_eq!(disk.list().unwrap(), files);
        }
    }
    // Written by a version that did not note it, or vouched for by a person.
    let vouched = Known { journal: None, ..known };
    assert_eq!(open(&disk, Some(vouched)).unwrap().recovered().unwrap().intents, 1);
}
