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
