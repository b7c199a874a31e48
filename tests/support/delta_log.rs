//! Delta tables of people as tests write them: data files, and the commits of a log that name them.

use std::cell::RefCell;
use std::sync::Arc;

use delta_kernel::Snapshot;
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::{Value, json};

use super::parquet;
use super::people::Person;

/// A table of which files are put where `put` says, by their names below its folder.
pub struct DeltaLog<'p> {
    put: &'p dyn Fn(&str, &[u8]),
    /// Its commits so far.
    commits: RefCell<Vec<(String, Vec<u8>)>>,
}

impl<'p> DeltaLog<'p> {
    /// A new table, without rows: version 0.
    pub fn create(id: &str, put: &'p dyn Fn(&str, &[u8])) -> DeltaLog<'p> {
        let log = DeltaLog::of(put);
        log.commit(0, &created(id, &PEOPLE.map(|(name, kind)| (name, json!(kind)))));
        log
    }

    /// One that is there.
    pub fn of(put: &'p dyn Fn(&str, &[u8])) -> DeltaLog<'p> {
        DeltaLog { put, commits: RefCell::default() }
    }

    /// Commits a version that has these people more, in a file of this name.
    pub fn add(&self, version: u64, name: &str, people: &[Person]) {
        self.commit(version, &[self.file(name, people, people.len())]);
    }

    /// Commits a version in which one file has these people in place of another file's.
    pub fn replace(&self, version: u64, old: &str, name: &str, people: &[Person]) {
        let removed =
            json!({ "remove": { "path": old, "deletionTimestamp": 1, "dataChange": true } });
        self.commit(version, &[removed, self.file(name, people, people.len())]);
    }

    /// Writes a data file, and says how a commit adds it, with so many rows as it has it.
    pub fn file(&self, name: &str, people: &[Person], said: usize) -> Value {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("people.parquet");
        parquet::write(&path, &parquet::people(people), 100);
        let bytes = std::fs::read(path).expect("it was just written");
        (self.put)(name, &bytes);
        added(name, bytes.len(), said)
    }

    pub fn commit(&self, version: u64, actions: &[Value]) {
        let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
        (self.put)(&commit(version), text.as_bytes());
        self.commits.borrow_mut().push((commit(version), text.into_bytes()));
    }

    /// Writes a checkpoint of the newest version, as the kernel does it.
    pub fn checkpoint(&self) {
        let executor = TokioMultiThreadExecutor::new_owned_runtime(Some(1), None);
        let executor = Arc::new(executor.expect("a runtime"));
        let store = Arc::new(InMemory::new());
        for (name, bytes) in self.commits.borrow().iter() {
            let path = Path::from(name.as_str());
            let put = store.put(&path, bytes.clone().into());
            futures::executor::block_on(put).expect("memory takes it");
        }
        let engine = DefaultEngineBuilder::new(Arc::clone(&store) as _);
        let engine = engine.with_task_executor(executor).build();
        let snapshot = Snapshot::builder_for("memory:///").build(&engine).expect("it is a table");
        snapshot.checkpoint(&engine, None).expect("it can be written");
        let version = snapshot.version();
        for name in [
            format!("_delta_log/{version:020}.checkpoint.parquet"),
            "_delta_log/_last_checkpoint".to_owned(),
        ] {
            let read = async { store.get(&Path::from(name.as_str())).await?.bytes().await };
            (self.put)(&name, &futures::executor::block_on(read).expect("it was just written"));
        }
    }
}

/// The name of a version's commit.
pub fn commit(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// How a commit adds a data file of so many bytes, which is said to have so many rows.
pub fn added(name: &str, bytes: usize, said: usize) -> Value {
    json!({ "add": { "path": name, "partitionValues": {}, "size": bytes, "modificationTime": 1,
        "dataChange": true, "stats": json!({ "numRecords": said }).to_string() } })
}

/// The columns of a table of people, and their types.
pub const PEOPLE: [(&str, &str); 4] =
    [("id", "long"), ("counter", "long"), ("checksum", "string"), ("email", "string")];

/// What makes a table of these columns, with this id.
pub fn created(id: &str, columns: &[(&str, Value)]) -> [Value; 2] {
    let field = |(name, kind): &(&str, Value)| json!({ "name": name, "type": kind, "nullable": true, "metadata": {} });
    let fields: Vec<Value> = columns.iter().map(field).collect();
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    let protocol = json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } });
    let metadata = json!({ "metaData": { "id": id, "format": { "provider": "parquet", "options": {} },
        "schemaString": schema, "partitionColumns": [], "configuration": {}, "createdTime": 1 } });
    [protocol, metadata]
}
