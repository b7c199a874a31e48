//! What a workspace's snapshot says, read beside the product by the library's own reader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterflow::delta::fingerprint::{self, Fingerprinter};
use counterflow::domain::column::Column;
use counterflow::domain::entry::{Entry, Fingerprint};
use counterflow::domain::key;
use counterflow::domain::value::Value;
use counterflow::snapshot::{self, View};
use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

use super::people::Person;
use super::workspace::Workspace;

/// What a snapshot says, by the key as the oracle shows it.
pub type Entries = BTreeMap<String, Entry>;

/// The entries of the sync `people`, by the key as the oracle shows it, as the next run will find them; `None` before the
/// first commit.
pub fn entries(workspace: &Workspace) -> Option<Entries> {
    view(workspace).map(|view| entries_of(&view))
}

/// The entries of each sync of a state.
pub fn all_entries(state: &Path) -> Vec<Entries> {
    let Ok(folders) = std::fs::read_dir(state.join("snapshots")) else { return Vec::new() };
    let folders = folders.map(|folder| folder.expect("the folder can be read").path());
    let view = |folder: PathBuf| {
        let sync = folder.file_name()?.to_str()?;
        snapshot::recovered(&folder, sync, None, &[])
            .expect("a snapshot that the product left is whole")
    };
    folders.filter_map(view).map(|view| entries_of(&view)).collect()
}

/// The entries of a snapshot.
pub fn entries_of(view: &View) -> Entries {
    let mut entries = Entries::new();
    let visited = view.visit(|key, entry| {
        entries.insert(shown(key), entry);
    });
    visited.expect("a snapshot that the product left can be read");
    entries
}

/// The sync's snapshot as the next run will find it.
pub fn view(workspace: &Workspace) -> Option<View> {
    let folder = workspace.state().join("snapshots").join("people");
    snapshot::recovered(&folder, "people", None, &[])
        .expect("a snapshot that the product left is whole")
}

/// The fingerprint of each person's record, computed beside the product's run.
pub fn fingerprints(people: &[Person]) -> Vec<Fingerprint> {
    let records: Vec<serde_json::Value> = people.iter().map(|person| person.record()).collect();
    let number = |field: &str| -> ArrayRef {
        Arc::new(Int64Array::from_iter(records.iter().map(|record| record[field].as_i64())))
    };
    let text = |field: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter(records.iter().map(|record| record[field].as_str())))
    };
    let arrays = [number("id"), number("counter"), text("checksum"), text("email")];
    let columns: Vec<Column<'_>> =
        arrays.iter().map(|array| Column::new(array).expect("a supported type")).collect();
    Fingerprinter::new(fingerprint::VERSION, ["id", "counter", "checksum", "email"])
        .rows(&columns, people.len())
}

/// The fingerprint of a record whose fields are integers, text and NULL in the source too; `None` where one is neither.
pub fn fingerprint(record: &serde_json::Value) -> Option<Fingerprint> {
    use serde_json::Value;
    let fields = record.as_object()?;
    let array = |value: &Value| -> Option<ArrayRef> {
        Some(match value {
            Value::Null => Arc::new(StringArray::from(vec![None::<&str>])),
            Value::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
            value => Arc::new(Int64Array::from(vec![value.as_i64()?])),
        })
    };
    let arrays = fields.values().map(array).collect::<Option<Vec<_>>>()?;
    let columns: Vec<Column<'_>> =
        arrays.iter().map(|array| Column::new(array).expect("a supported type")).collect();
    Fingerprinter::new(fingerprint::VERSION, fields.keys().map(String::as_str))
        .rows(&columns, 1)
        .pop()
}

/// A key of the snapshot as the oracle shows it: `[1]`.
fn shown(key: &[u8]) -> String {
    let values = key::values(key).expect("a key of the snapshot can be decoded");
    let shown = |value: &Value<'_>| match value {
        Value::Integer(number) => serde_json::json!(number),
        Value::Text(text) => serde_json::json!(text),
        other => panic!("the kit has no keys such as {other:?}"),
    };
    serde_json::Value::Array(values.iter().map(shown).collect()).to_string()
}
