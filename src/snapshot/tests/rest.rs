use super::super::as_left;
use super::super::header::AtRest;
use super::*;
use crate::domain::skip::Obstacle;

fn mark() -> AtRest {
    AtRest { run: RunId(3), definition: "d".to_owned(), version: "1".to_owned() }
}

fn look(disk: &MemoryDisk, known: Known) -> Result<Option<AtRest>, Obstacle> {
    as_left(disk, SYNC, known).map(|header| header.at_rest)
}

#[test]
fn the_mark_of_a_run_goes_with_the_next_commit_and_outlives_a_compaction() {
    let disk = MemoryDisk::new();
    let mut snapshot = scattered(&disk, 5);
    snapshot.commit(|header| header.at_rest = Some(mark())).unwrap();
    assert_eq!(look(&disk, known(&snapshot)), Ok(Some(mark())));
    assert!(snapshot.compact(|| true).unwrap());
    assert_eq!(look(&disk, known(&snapshot)), Ok(Some(mark())));
    drop(snapshot);
    let mut again = open(&disk, None).unwrap();
    assert_eq!(again.header().at_rest, Some(mark()), "opening says nothing new");
    again.commit(|_| {}).unwrap();
    assert_eq!(look(&disk, known(&again)), Ok(None));
}

#[test]
fn a_snapshot_that_is_not_as_its_last_run_left_it_is_left_to_whoever_opens_it() {
    let disk = MemoryDisk::new();
    let mut snapshot = scattered(&disk, 5);
    snapshot.commit(|header| header.at_rest = Some(mark())).unwrap();
    let as_known = known(&snapshot);
    let later = Known { generation: as_known.generation + 1, ..as_known };
    let noted = Known { journal: Some(70), ..as_known };
    for other in [later, noted] {
        assert_eq!(look(&disk, other), Err(Obstacle::Snapshot));
    }
    let spoilt = |spoil: &dyn Fn(&MemoryDisk)| {
        let copy = disk.copy();
        spoil(&copy);
        look(&copy, as_known)
    };
    assert_eq!(spoilt(&|_| {}), Ok(Some(mark())));
    let segment = disk.list().unwrap().into_iter().find(|name| name.starts_with("segment"));
    let segment = segment.unwrap();
    let journal = format!("journal-{}", as_known.generation);
    for spoil in [
        &|disk: &MemoryDisk| disk.remove("manifest").unwrap(),
        &|disk: &MemoryDisk| disk.put("manifest", vec![1; 90]),
        &|disk: &MemoryDisk| disk.remove(&segment).unwrap(),
        &|disk: &MemoryDisk| disk.put(&segment, vec![1; 90]),
        &|disk: &MemoryDisk| disk.put(&journal, Vec::new()),
    ] as [&dyn Fn(&MemoryDisk); 5]
    {
        assert_eq!(spoilt(spoil), Err(Obstacle::Snapshot));
    }
    intent(&mut snapshot, 90, Operation::Upsert, 0..1, 7);
    snapshot.journal().write().unwrap();
    assert_eq!(look(&disk, as_known), Err(Obstacle::Snapshot), "somebody has begun to send");
}
