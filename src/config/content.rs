//! What a config says, part by part, to know by what another one changes.
//!
//! Invariants: the revision is made of what the file and the queries say, never of what references stand for, so that it may
//! be shown; what secrets go into stays in this process, and nothing but their being others is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Config;
use super::document::{Document, child};
use crate::domain::hexadecimal;

/// Keys of a sync that say when it runs, not what a run does.
const STANDING: [&str; 7] = [
    "schedule",
    "start",
    "paused",
    "group",
    "priority",
    "fail_above_rejected",
    "disable_after_halts",
];
/// Keys of a connection that say how much it bears, not which account it is.
const BUDGET: [&str; 3] = ["concurrency", "rate_limit", "retry"];

/// A config file without problems, as far as another one differs from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The same whenever the same is written, whatever the comments and secrets.
    pub revision: String,
    /// The files that it names and whose content counts: queries and secrets.
    pub files: Vec<PathBuf>,
    /// By name: what a run of the sync does, as far as the sync itself says it.
    pub(super) syncs: BTreeMap<String, u128>,
    /// By name.
    pub(super) connections: BTreeMap<String, Printed>,
}

/// A connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Printed {
    pub definition: u128,
    pub credentials: u128,
}

/// Enough to know another text by.
pub fn print(text: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(text.as_bytes())
}

/// The content of a file, `whole` with references replaced, that the config was made of.
pub fn of(document: &Document, whole: &Value, config: &Config) -> Content {
    let section = |name: &str| whole.get(name).cloned().unwrap_or_default();
    let (syncs, connections) = (section("syncs"), section("connections"));
    let printed = |(name, value): (String, Value)| {
        let pointer = child("/connections", &name);
        let within = format!("{pointer}/");
        let credentials = document.credentials.iter().filter(|(at, _)| at.starts_with(&within));
        let credentials: Vec<String> =
            credentials.map(|(at, print)| format!("{at} {print:x}")).collect();
        let definition = print(&without(value, &BUDGET).to_string());
        (name, Printed { definition, credentials: print(&credentials.join("\n")) })
    };
    let sql = |sync: &super::SyncConfig| json!([sync.sync.model.name, sync.sync.model.sql]);
    let queries: Vec<Value> = config.syncs.iter().map(sql).collect();
    let written = written(document, "", whole);
    let mut files = document.files.clone();
    files.sort();
    files.dedup();
    Content {
        revision: revision(&json!([written, queries])),
        files,
        syncs: entries(syncs)
            .map(|(name, value)| (name, print(&without(value, &STANDING).to_string())))
            .collect(),
        connections: entries(connections).map(printed).collect(),
    }
}

fn entries(section: Value) -> impl Iterator<Item = (String, Value)> {
    let entries = match section {
        Value::Object(entries) => entries,
        _ => serde_json::Map::new(),
    };
    entries.into_iter()
}

fn without(mut value: Value, keys: &[&str]) -> Value {
    if let Value::Object(entries) = &mut value {
        keys.iter().for_each(|key| drop(entries.shift_remove(*key)));
    }
    value
}

/// The value with references as they stand in the file.
fn written(document: &Document, pointer: &str, value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| {
                (name.clone(), written(document, &child(pointer, name), value))
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        Value::Array(items) => {
            let item = |(index, value): (usize, &Value)| {
                written(document, &child(pointer, &index.to_string()), value)
            };
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        Value::String(_) => match document.written_reference(pointer) {
            Some(text) => Value::String(text),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

/// Twelve hexadecimal digits.
fn revision(value: &Value) -> String {
    hexadecimal::of(&Sha256::digest(value.to_string())[..6])
}
