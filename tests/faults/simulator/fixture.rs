//! What is the same in all histories: the sync, its two mappings with their destinations, and what the oracle expects of them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::datatypes::DataType;
use counterflow::delivery::limits::Retry;
use counterflow::delta::fingerprint::{self, Fingerprinter};
use counterflow::delta::repetitions::{Repeated, Repetitions};
use counterflow::destination::Destination;
use counterflow::destination::definition::{
    Auth, BatchLimits, Body, Connection, Decode, Idempotency, Method, OutcomeRule, Repeat, Request,
    Requests, StatusMatch, Then,
};
use counterflow::destination::http::Http;
use counterflow::domain::column::Column;
use counterflow::domain::entry::Fingerprint;
use counterflow::domain::id::RunId;
use counterflow::domain::key_field::KeyField;
use counterflow::domain::sync::{
    CheckKeys, Definition, Mapped, Mode, Model, Reads, RunLimits, Sync,
};
use counterflow::domain::value::{ENCODING_VERSION, Value};
use counterflow::engine::prepare::Columns;
use counterflow::engine::skipping::Begun;
use counterflow::snapshot::header::Baseline;
use counterflow::spill::Spill;

use super::judge::Good;
use super::plan::{Run, Setting, Trouble};
use super::source::{Row, arrays};

/// The name of the sync.
pub const SYNC: &str = "people";

pub const RETRY: Retry = Retry {
    attempts: 3,
    first_delay: Duration::from_millis(20),
    longest_delay: Duration::from_millis(100),
    longest_time: Duration::from_secs(60),
};

/// The field of the value, under each of two mappings.
const FIELDS: [&str; 2] = ["value", "worth"];

/// The destination under each mapping; nothing is ever sent to its address.
static DESTINATIONS: LazyLock<[Arc<Destination>; 2]> =
    LazyLock::new(|| [0, 1].map(|mapping| Arc::new(build(mapping))));

pub fn destination(mapping: usize) -> Arc<Destination> {
    Arc::clone(&DESTINATIONS[mapping])
}

fn build(mapping: usize) -> Destination {
    let connection = Connection {
        name: "crm".to_owned(),
        base_url: "http://127.0.0.1:9".to_owned(),
        auth: Auth::None,
        headers: Vec::new(),
        identify: None,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(20),
        account: Some("one".to_owned()),
        written: None,
        hidden: Vec::new(),
        renewal: None,
    };
    let request = || Request {
        method: Method::Post,
        path: "/people".to_owned(),
        headers: Vec::new(),
        batch: BatchLimits { records: 100, bytes: 1 << 20 },
        body: Body::Json(serde_json::json!({"rows": {"each": "{{record}}"}})),
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
    let requests = Requests { upsert: request(), delete: Some(request()) };
    let http = Http::new(&connection, &requests, &columns(mapping, false).fields, &[0]);
    Destination::Http(http.expect("the definition works"))
}

pub fn columns(mapping: usize, has_primary: bool) -> Columns {
    Columns {
        fields: vec!["key".to_owned(), FIELDS[mapping].to_owned()],
        compares: Vec::new(),
        key: vec![0],
        key_types: vec![DataType::Int64],
        primary_key: vec![if has_primary { 2 } else { 0 }],
        fingerprints: fingerprint::VERSION,
    }
}

/// What a run notes by which the next one may be skipped, or restricted.
pub fn begun(mapping: usize, sql: u32) -> Begun {
    Begun {
        definition: format!("{mapping} {sql}"),
        is_volatile: false,
        can_prove_unchanged: true,
        are_files_at_rest: true,
    }
}

pub fn sync(setting: &Setting, mode: Mode) -> Sync {
    Sync {
        name: SYNC.to_owned(),
        model: Model {
            name: "people".to_owned(),
            reads: Reads::One("lake".to_owned()),
            sql: String::new(),
            primary_key: vec!["key".to_owned()],
            cursor: None,
        },
        connection: "crm".to_owned(),
        check_keys: CheckKeys::default(),
        ignored: Vec::new(),
        mode,
        mapping: Vec::new(),
        key: Vec::new(),
        limits: RunLimits {
            max_deletes: setting.guard,
            max_invalid: 1_000,
            drain_timeout: Duration::from_secs(30),
        },
    }
}

pub fn definition(mapping: usize, sql: u32, mode: Mode) -> Definition {
    let destination = &DESTINATIONS[mapping];
    let mapped = Mapped::plain::<&str, &str>;
    Definition {
        source: "lake".to_owned(),
        sql: format!("SELECT {sql}"),
        mode,
        key: vec![KeyField { name: "key".to_owned(), data_type: "Int64".to_owned() }],
        destination: destination.identity(),
        mapping: vec![mapped("key", "key"), mapped(FIELDS[mapping], "value")],
        rendering: destination.rendering(),
        encoding: ENCODING_VERSION,
        fingerprints: fingerprint::VERSION,
    }
}

pub fn baseline(
    run: RunId,
    definition: &Definition,
    now: &Good,
    invalid_keys: Option<u64>,
) -> Baseline {
    Baseline {
        run,
        definition: definition.clone(),
        files: now.files.clone(),
        invalid_keys,
        credentials: None,
    }
}

/// For what does not fit. In every other read that fails there is no room for it.
pub fn spill(run: &Run) -> Spill {
    let fails = |trouble: &Trouble| matches!(trouble, Trouble::ReadFails { .. });
    if !run.seed.is_multiple_of(2) || !run.troubles.iter().any(fails) {
        return Spill::new(&std::env::temp_dir());
    }
    let gone = tempfile::tempdir().expect("a folder can be made");
    Spill::new(gone.path())
}

/// What the destination holds of a row that was delivered.
pub fn content(mapping: usize, key: i64, value: u8) -> String {
    format!(r#"{{"key":{key},"{}":{value}.0}}"#, FIELDS[mapping])
}

/// The key of a record, from its canonical bytes.
pub fn id(mut key: &[u8]) -> i64 {
    match Value::decode(&mut key) {
        Some(Value::Integer(id)) => id,
        _ => panic!("every key is one integer"),
    }
}

/// The keys that a pass over the rows meets more than once.
pub fn repeated(columns: &Columns, rows: &[Row]) -> Repeated {
    let repetitions = Repetitions::new(&columns.key, &columns.primary_key, 1 << 20);
    let arrays = arrays(rows);
    let typed = |array| Column::new(array).expect("a scalar type");
    let typed: Vec<Column<'_>> = arrays.iter().map(typed).collect();
    repetitions.sight(&typed, rows.len()).expect("a few keys fit");
    repetitions.take()
}

/// What the product calls the content of a valid row.
pub fn fingerprint(mapping: usize, key: i64, value: u8) -> Fingerprint {
    let (key, value) = (Some(key), f64::from(value));
    let arrays = arrays(&[Row { key, value, primary: key, changed: None }]);
    let typed = |array| Column::new(array).expect("a scalar type");
    let typed: Vec<Column<'_>> = arrays.iter().map(typed).collect();
    let fields = ["key", FIELDS[mapping]];
    Fingerprinter::new(fingerprint::VERSION, fields).rows(&typed, 1)[0]
}
