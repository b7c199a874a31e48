use super::*;

#[test]
fn a_commit_that_fails_in_its_segment_leaves_nothing_of_it() {
    let (written, opened) = (5, 5);
    assert_eq!(failures_in_the_segment(2), written + opened);
    // Of many, one range is read while another is written, so that which of both fails is open.
    assert!(failures_in_the_segment(100) > 0);
}

/// Has each operation of a commit of so many records fail, one at a time; how many times that was told of the segment.
fn failures_in_the_segment(records: u32) -> u32 {
    let mut failed = 0;
    for n in 0.. {
        let disk = MemoryDisk::new();
        let mut snapshot = begun(&disk);
        deliver(&mut snapshot, 1, 0..records, 1);
        // As a full disk does: what is written fails, and no removal.
        disk.fail_at(n, false);
        match snapshot.commit(|_| {}) {
            Ok(_) => break,
            Err(error) if error.to_string().contains("segment-1") => {
                assert!(!disk.exists("segment-1").unwrap(), "{n}: {error}");
                let again = open(&disk, None).unwrap();
                let entries = u64::from(records);
                assert_eq!(again.header().entries, entries, "{n}: the journal is there still");
                failed += 1;
            }
            Err(_) => {}
        }
    }
    failed
}

#[test]
fn what_a_compaction_behind_the_next_commit_takes_is_foretold() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    let mut added = 0;
    for batch in 1..=9 {
        assert_eq!(snapshot.view().merged_bytes(added) > 0, batch == 9, "{batch}");
        deliver(&mut snapshot, batch.into(), 10 * batch..10 * batch + 10, 1);
        if batch < 9 {
            snapshot.commit(|_| {}).unwrap();
            added = disk.size(&format!("segment-{batch}")).unwrap();
        }
    }
    let (foretold, size) = (snapshot.view().merged_bytes(added), snapshot.view().size());
    assert_eq!((size.known, size.entries, foretold), (80, 80, size.bytes + added));
    commit_and_compact(&mut snapshot);
    let merged = disk.size("segment-10").unwrap();
    assert!(merged <= foretold && merged >= foretold / 3, "{merged} of {foretold}");
}
