//! The way of a row through the library without a process or a server: read by the source, compared with the snapshot and
//! rendered by the engine's own readers, confirmed in a snapshot on a disk in memory.
//!
//! The destination is one that takes everything. Not responsible for what a run makes of repeated keys.

use std::path::Path;
use std::sync::Arc;

use counterflow::delta::examiner::Scope;
use counterflow::destination::Destination;
use counterflow::destination::definition::{
    Auth, BatchLimits, Body, Connection, Decode, Idempotency, Method, OutcomeRule, Repeat, Request,
    Requests, StatusMatch, Then,
};
use counterflow::destination::http::Http;
use counterflow::domain::entry::{Operation, Verdict};
use counterflow::domain::id::{BatchNumber, Epoch, Instant, IntentNumber};
use counterflow::domain::key::{self, Shown};
use counterflow::domain::kind::Kind;
use counterflow::domain::sync::{Model, Reads};
use counterflow::engine::passes::{Passes, Terms};
use counterflow::engine::prepare::Columns;
use counterflow::engine::reading::QueryRuntime;
use counterflow::snapshot::Snapshot;
use counterflow::snapshot::memory_disk::MemoryDisk;
use counterflow::snapshot::record::{IntentRecord, Record};
use counterflow::source::definition::{Access, Definition, Files, Format, SchemaRule, Table};
use counterflow::source::{Pins, Reader, Selection, Settings};
use serde_json::json;
use tempfile::TempDir;

const EPOCH: Epoch = Epoch(1);

/// One sync with its state.
pub struct Line {
    folder: TempDir,
    disk: MemoryDisk,
    reader: Reader,
    model: Model,
    runtime: tokio::runtime::Runtime,
    query: QueryRuntime,
}

/// What one run came to.
#[derive(Debug, Default)]
pub struct Pass {
    pub rows: u64,
    pub unchanged: u64,
    /// The upserts as they stand in requests.
    pub sent: Vec<String>,
    /// Rows that no request can carry, and why.
    pub unsayable: Vec<String>,
    pub null_keys: usize,
    pub repeated: Vec<String>,
    /// How each entry of the snapshot would be named in a delete.
    pub deletes: Vec<String>,
}

impl Line {
    pub fn new(key: &[&str]) -> Line {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let table = Table {
            name: "t".to_owned(),
            folder: folder.path().to_owned(),
            location: "*.parquet".into(),
            objects: None,
            format: Format::Parquet,
            compression: None,
            partitions: None,
            schema: SchemaRule::Same,
            rewritten: None,
        };
        let access = Access::Files(Files { tables: vec![table], ..Files::default() });
        let definition = Definition { name: "lake".to_owned(), access };
        let settings = Settings { batch_size: 16, ..Settings::new(2, 64 << 20, 32 << 20) };
        let disk = MemoryDisk::new();
        let mut snapshot = Snapshot::open(Arc::new(disk.clone()), "s", None).expect("a new one");
        snapshot.commit(|header| header.epoch = EPOCH).expect("the disk is well");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let entered = runtime.enter();
        let (query, _) = QueryRuntime::start().expect("a runtime for queries");
        drop(entered);
        Line {
            folder,
            disk,
            reader: Reader::new(vec![Arc::new(definition)], settings),
            model: Model {
                name: "m".to_owned(),
                reads: Reads::One("lake".to_owned()),
                sql: "SELECT * FROM t".to_owned(),
                primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
                cursor: None,
            },
            runtime,
            query,
        }
    }

    /// What the model asks from now on.
    pub fn set_sql(&mut self, sql: &str) {
        sql.clone_into(&mut self.model.sql);
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Reads all, sends what differs, confirms it.
    pub fn pass(&self) -> Pass {
        let disk = Arc::new(self.disk.clone());
        let mut snapshot = Snapshot::open(disk, "s", None).expect("it was committed");
        let mut pass = Pass::default();
        self.runtime.block_on(self.run(&mut snapshot, &mut pass));
        pass
    }

    async fn run(&self, snapshot: &mut Snapshot, pass: &mut Pass) {
        let reading = self.reader.open(&self.model, &Selection::default(), &Pins::default()).await;
        let reading = reading.expect("the source can be read");
        let columns = Columns::of(&reading);
        let requests = requests();
        let http = Http::new(&connection(), &requests, &columns.fields, &columns.key);
        let destination = Arc::new(Destination::Http(http.expect("the requests are right")));
        let view = snapshot.view().clone();
        let terms = Terms {
            kind: Kind::Incremental,
            view: Some(&view),
            epoch: EPOCH,
            columns: &columns,
            scope: Scope::All,
            now: Instant(0),
            destination: &destination,
            model: "m",
            // So little that most rows wait on disk for their part of the snapshot.
            memory_limit: 1 << 10,
            folder: &std::env::temp_dir(),
            shutdown: None,
            runtime: self.query.handle(),
        };
        let begun = Passes::begin(terms, reading.partitions).await.expect("the snapshot is whole");
        let (mut passes, mut readers) = begun.expect("nothing stops it");
        let mut batch = snapshot.header().next_batch;
        loop {
            while let Some(chunk) = readers.next().await {
                let examined = &chunk.examined;
                let shown = |row: usize| Shown(examined.keys.key(row)).to_string();
                pass.rows += examined.rows;
                pass.unchanged += examined.unchanged;
                pass.null_keys += examined.null_keys.len();
                pass.repeated.extend(examined.repeated.iter().map(|(row, _)| shown(*row)));
                let refused = chunk.unrenderable.iter();
                pass.unsayable.extend(refused.map(|(row, why)| format!("{}: {why}", shown(*row))));
                let fragments = chunk.operations.iter().map(|operation| operation.fragment.clone());
                let texts = fragments.map(|fragment| chunk.fragments[fragment].to_vec());
                pass.sent
                    .extend(texts.map(|text| String::from_utf8(text).expect("a body is UTF-8")));
                let intent = chunk.operations.iter().map(|operation| IntentRecord {
                    key: examined.keys.key(operation.candidate.row),
                    fingerprint: operation.candidate.fingerprint,
                    number: IntentNumber(batch.0),
                });
                deliver(snapshot, batch, intent.collect());
                batch = BatchNumber(batch.0 + 1);
            }
            readers.end().await.expect("the read comes to its end");
            let Some(next) = passes.next().await.expect("the rows that waited come back") else {
                break;
            };
            readers = next;
        }
        snapshot.commit(|_| {}).expect("the disk is well");
        let delete = destination.encoder(Operation::Delete).expect("it was declared");
        for entry in snapshot.view().entries().expect("the snapshot is whole") {
            let (key, _) = entry.expect("the snapshot is whole");
            let values = key::values(&key).expect("a key can be read");
            let mut text = Vec::new();
            let value = |field: usize| columns.value_of_key(&values, field);
            delete.render(value, &mut text).expect("what was sent can be deleted");
            pass.deletes.push(String::from_utf8(text).expect("a body is UTF-8"));
        }
    }
}

fn deliver(snapshot: &mut Snapshot, batch: BatchNumber, records: Vec<IntentRecord<'_>>) {
    let count = u32::try_from(records.len()).expect("a chunk is small");
    if count == 0 {
        return;
    }
    snapshot.journal().append_intent(batch, Operation::Upsert, records);
    let verdicts = vec![(0..count, Verdict::Delivered)];
    snapshot.journal().append(&Record::Receipt { batch, at: Instant(0), verdicts });
}

pub fn connection() -> Connection {
    Connection {
        name: "crm".to_owned(),
        base_url: "http://127.0.0.1:9".to_owned(),
        auth: Auth::None,
        headers: Vec::new(),
        connect_timeout: std::time::Duration::from_secs(1),
        request_timeout: std::time::Duration::from_secs(2),
        account: None,
        identify: None,
        written: None,
        hidden: Vec::new(),
        renewal: None,
    }
}

fn requests() -> Requests {
    let request = |path: &str| Request {
        method: Method::Post,
        path: path.to_owned(),
        headers: Vec::new(),
        batch: BatchLimits { records: 100, bytes: 1 << 20 },
        body: Body::Json(json!({ "records": { "each": "{{record}}" } })),
        idempotency: Idempotency { repeat: Repeat::Natural, header: None },
        outcome: vec![OutcomeRule {
            status: vec![StatusMatch::Exactly(200)],
            when: Vec::new(),
            decode: Decode::None,
            then: Then::Delivered,
        }],
        written: None,
        hidden: Vec::new(),
    };
    Requests { upsert: request("/upsert"), delete: Some(request("/delete")) }
}
