//! A small life of one snapshot that has something of everything: three epochs' worth of records, and a journal that was
//! never committed. The same calls give the same bytes, save for the lineage, which the first manifest brings.

use std::sync::Arc;

use counterflow::domain::entry::{Operation, Verdict, Waiver};
use counterflow::domain::file::FileFact;
use counterflow::domain::guard::HoldCause;
use counterflow::domain::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};
use counterflow::domain::key_field::KeyField;
use counterflow::domain::sync::{Definition, Mapped, Mode};
use counterflow::domain::value::Value;
use counterflow::snapshot::Snapshot;
use counterflow::snapshot::header::{Baseline, Header, Hold, Release};
use counterflow::snapshot::memory_disk::MemoryDisk;
use counterflow::snapshot::record::{IntentRecord, Record};

pub const SYNC: &str = "golden";

/// A key as delivered: a number and a name.
pub fn key(number: i64, name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    Value::Integer(number).encode(&mut key);
    Value::Text(name).encode(&mut key);
    key
}

pub fn keys() -> Vec<Vec<u8>> {
    let names = ["ann", "", "Zo\u{eb}"].into_iter().cycle();
    (0..12).zip(names).map(|(number, name)| key(number, name)).collect()
}

pub fn open(disk: &MemoryDisk) -> Snapshot {
    Snapshot::open(Arc::new(disk.clone()), SYNC, None).expect("the snapshot opens")
}

/// The first commit, with which the lineage comes.
pub fn begin(disk: &MemoryDisk) {
    let mut snapshot = open(disk);
    snapshot.commit(|header| define(header, Epoch(1))).expect("the disk is well");
}

fn define(header: &mut Header, epoch: Epoch) {
    let definition = Definition {
        source: r#"["lake",[["people","people/*.parquet","parquet",null]]]"#.to_owned(),
        sql: "SELECT * FROM people".to_owned(),
        mode: Mode::Mirror,
        key: vec![
            KeyField { name: "id".to_owned(), data_type: "Int64".to_owned() },
            KeyField { name: "name".to_owned(), data_type: "Utf8".to_owned() },
        ],
        destination: "https://crm.example.com /contacts".to_owned(),
        mapping: vec![Mapped::plain("id", "id")],
        rendering: "http-1:0011".to_owned(),
        encoding: 1,
        fingerprints: 1,
    };
    let file = FileFact {
        table: "people".to_owned(),
        path: "people/a.parquet".to_owned(),
        size: 7,
        inode: 9,
        changed: 1_357_016_400_000_000_000,
        ends_within_line: None,
        etag: None,
    };
    header.baseline = Some(Baseline {
        run: RunId(3),
        definition: definition.clone(),
        files: vec![file],
        invalid_keys: Some(2),
        credentials: Some("00ff".to_owned()),
    });
    header.definition = Some(definition);
    header.epoch = epoch;
    header.is_epoch_open = true;
}

fn intent(snapshot: &mut Snapshot, batch: u64, operation: Operation, of: &[usize], content: u128) {
    let keys = keys();
    let records = of.iter().map(|number| IntentRecord {
        key: &keys[*number],
        fingerprint: content.wrapping_mul(*number as u128 + 1),
        number: IntentNumber(batch),
    });
    snapshot.journal().append_intent(BatchNumber(batch), operation, records);
}

fn receipt(snapshot: &mut Snapshot, batch: u64, verdicts: Vec<(std::ops::Range<u32>, Verdict)>) {
    let at = Instant(1_357_016_400_000);
    snapshot.journal().append(&Record::Receipt { batch: BatchNumber(batch), at, verdicts });
}

fn rejected(after_unknown: bool) -> Verdict {
    let (code, message) = ("422".to_owned(), "no such plan".to_owned());
    Verdict::Rejected { code, message, after_unknown }
}

/// From the first commit to a journal without its commit.
pub fn tell(disk: &MemoryDisk) {
    let keys = keys();
    let mut snapshot = open(disk);
    intent(&mut snapshot, 1, Operation::Upsert, &[0, 1, 2, 3, 4, 5, 6, 7], 1 << 100 | 5);
    receipt(&mut snapshot, 1, vec![(0..6, Verdict::Delivered), (6..7, rejected(false))]);
    snapshot.commit(|header| header.is_epoch_open = false).expect("the disk is well");

    intent(&mut snapshot, 2, Operation::Upsert, &[1, 8, 9], 77);
    intent(&mut snapshot, 3, Operation::Delete, &[2, 3], 0);
    receipt(
        &mut snapshot,
        2,
        vec![(0..1, Verdict::Delivered), (1..2, Verdict::NotApplied), (2..3, rejected(true))],
    );
    receipt(&mut snapshot, 3, vec![(0..1, Verdict::Delivered)]);
    let waiver = Waiver { fingerprint: 99, epoch: Epoch(2) };
    snapshot.journal().append(&Record::Waive { key: &keys[4], waiver });
    snapshot.journal().append(&Record::Hold { key: &keys[5], run: RunId(4) });
    let decide = |header: &mut Header| {
        define(header, Epoch(2));
        let causes = vec![HoldCause::Guard { removals: 1, entries: 8 }];
        header.hold =
            Some(Hold { run: RunId(4), causes, keys: 1, since: None, versions: Vec::new() });
        let message = Some("as agreed".to_owned());
        header.releases = vec![Release { run: RunId(2), message, at: Instant(5) }];
        header.reuse_floor = IntentNumber(2);
    };
    snapshot.commit(decide).expect("the disk is well");

    intent(&mut snapshot, 4, Operation::Upsert, &[0, 10, 11], 1234);
    receipt(&mut snapshot, 4, vec![(1..2, Verdict::Delivered)]);
    snapshot.journal().append(&Record::Accepted { batch: BatchNumber(4), job: "job-1" });
    snapshot.journal().append(&Record::Repeated { key: &keys[10] });
    snapshot.journal().append(&Record::Forget { key: &keys[1] });
    snapshot.journal().append(&Record::Clear { key: &keys[6] });
    snapshot.journal().append(&Record::Back { key: &keys[5] });
    snapshot.journal().write().expect("the disk is well");
    snapshot.journal().syncer().sync().expect("the disk is well");
    intent(&mut snapshot, 5, Operation::Upsert, &[7], 4321);
    snapshot.journal().write().expect("the disk is well");
}
