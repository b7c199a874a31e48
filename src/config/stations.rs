//! What only the stations can judge of a file, asked of them without opening a file: the SQL of models and mappings by
//! the source, requests by the destination.
//!
//! What config has found wrong itself is not asked again, as the stand-ins there would be judged. Not responsible for
//! what needs the data: columns and their types.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::child;
use super::raw::RawConfig;
use super::validate::Check;
use super::{Connection, SyncConfig, template};
use crate::destination::definition::{Body, Request, Requests};
use crate::destination::http::Fields;
use crate::destination::http::check::{self, At};
use crate::domain::compare::Compare;
use crate::domain::form::Form;
use crate::domain::sync::{Mapped, Model, Reads, Sync, delivered_key};
use crate::source::definition::{Access, Definition, Files};
use crate::source::{Reader, Settings};

/// Nothing is read with it.
const MEMORY: usize = 1 << 20;

/// Asks source and destination, and reports each problem at its place in the file.
pub fn ask(
    check: &mut Check,
    raw: &RawConfig,
    sources: &BTreeMap<String, Definition>,
    models: &BTreeMap<String, Model>,
    connections: &BTreeMap<String, Connection>,
    syncs: &[SyncConfig],
) {
    // One for all models of a source, which may have a table for each of them.
    let shared: BTreeMap<&str, Arc<Definition>> =
        sources.iter().map(|(name, source)| (name.as_str(), Arc::new(source.clone()))).collect();
    for model in models.values() {
        let pointer = child("/models", &model.name);
        let read: Vec<Arc<Definition>> =
            model.sources().filter_map(|name| shared.get(name)).map(Arc::clone).collect();
        let is_sound = |source: &Arc<Definition>| {
            !check.document.has_problem_within(&child("/sources", &source.name))
        };
        if read.len() == model.sources().count()
            && read.iter().all(is_sound)
            && !check.document.has_problem_within(&pointer)
        {
            self::model(
                check,
                &pointer,
                model,
                &Reader::new(read, Settings::new(1, MEMORY, MEMORY)),
            );
        }
    }
    for sync in syncs {
        let name = &sync.sync.name;
        let pointer = child("/syncs", name);
        let connection_pointer = child("/connections", &sync.sync.connection);
        let model_pointer = child("/models", &sync.sync.model.name);
        if check.document.has_problem_within(&pointer) {
            continue;
        }
        for mapped in &sync.sync.mapping {
            let field = child(&child(&pointer, "mapping"), &mapped.field);
            let sql = child(&field, "sql");
            expression(check, if check.document.has(&sql) { &sql } else { &field }, mapped);
        }
        let is_sound = ![&connection_pointer, &model_pointer]
            .into_iter()
            .any(|pointer| check.document.has_problem_within(pointer));
        if let Some(connection) = connections.get(&sync.sync.connection)
            && is_sound
            && raw.syncs.is_some()
        {
            requests(check, &pointer, &child(&connection_pointer, "http"), sync, connection);
        }
    }
}

fn model(check: &mut Check, pointer: &str, model: &Model, reader: &Reader) {
    if let Err(error) = reader.check(model) {
        let in_file = child(pointer, "sql_file");
        let at = if check.document.has(&in_file) { in_file } else { child(pointer, "sql") };
        report(check, &at, &error.to_string());
    }
}

/// An expression is SQL where it can stand in a query without tables.
fn expression(check: &mut Check, pointer: &str, mapped: &Mapped) {
    const NAME: &str = "mapping";
    let source = Definition { name: String::new(), access: Access::Files(Files::default()) };
    let model = Model {
        name: NAME.to_owned(),
        reads: Reads::One(String::new()),
        sql: format!("SELECT (\n{}\n)", mapped.expression),
        primary_key: Vec::new(),
        cursor: None,
    };
    let reader = Reader::new(vec![Arc::new(source)], Settings::new(1, MEMORY, MEMORY));
    if let Err(error) = reader.check(&model) {
        let text = error.to_string();
        let why = text.strip_prefix(&format!("model `{NAME}` ")).unwrap_or(&text);
        let what = format!("`{}`: the expression {why}", check.document.written(pointer));
        check.report(pointer, what, "write one SQL expression over the model's columns");
    }
}

fn requests(
    check: &mut Check,
    pointer: &str,
    connection_pointer: &str,
    sync: &SyncConfig,
    connection: &Connection,
) {
    let (fields, key) = fields(sync);
    let mut requests = sync.requests.clone();
    let key = key.unwrap_or_else(|| {
        // Which fields identify a record is seen when the model is planned.
        requests.delete = None;
        vec![0]
    });
    let forms: Vec<Form> =
        sync.sync.mapping.iter().map(|mapped| mapped.options.form.clone()).collect();
    let compares: Vec<Compare> =
        sync.sync.mapping.iter().map(|mapped| mapped.options.compare).collect();
    let fields = Fields { names: &fields, forms: &forms, compares: &compares, key: &key };
    for problem in check::validate(&connection.definition, &requests, fields) {
        let (holder, request) = match problem.at {
            At::Connection => (connection_pointer.to_owned(), None),
            At::Upsert => (child(pointer, "upsert"), Some(&requests.upsert)),
            At::Delete => (child(pointer, "delete"), requests.delete.as_ref()),
        };
        let below = match request {
            Some(_) => in_file(check, &holder, &problem.pointer),
            None => problem.pointer,
        };
        report(check, &format!("{holder}{below}"), &problem.message);
    }
}

/// The destination's pointer into a request, as the file has it.
fn in_file(check: &Check, holder: &str, pointer: &str) -> String {
    if pointer == "/path" {
        let methods = ["/post", "/put", "/patch", "/delete"];
        let said = methods.iter().find(|key| check.document.has(&format!("{holder}{key}")));
        return said.map_or_else(String::new, |key| (*key).to_owned());
    }
    match pointer.strip_prefix("/body") {
        Some(inner) => format!("/body/json{inner}"),
        None => pointer.to_owned(),
    }
}

/// The mapped fields, and which of them are the key where the file alone says so. Without a mapping every column is a
/// field; those that the requests name are taken to be there.
fn fields(sync: &SyncConfig) -> (Vec<String>, Option<Vec<usize>>) {
    let Sync { key, mapping, model, .. } = &sync.sync;
    let identifying = delivered_key(key, mapping, &model.primary_key);
    if mapping.is_empty() {
        let mut fields = identifying.clone().unwrap_or_default();
        let key = (0..fields.len()).collect();
        for name in named(&sync.requests) {
            if !fields.contains(&name) {
                fields.push(name);
            }
        }
        return (fields, Some(key));
    }
    let fields: Vec<String> = mapping.iter().map(|mapped| mapped.field.clone()).collect();
    let place = |name: &String| fields.iter().position(|field| field == name);
    let key = identifying.and_then(|names| names.iter().map(place).collect());
    (fields, key)
}

/// The fields that placeholders name.
fn named(requests: &Requests) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |text: &str| {
        for placeholder in template::placeholders(text) {
            if let template::Placeholder::Field(name) = placeholder {
                names.push(name);
            }
        }
    };
    let all: Vec<&Request> = std::iter::once(&requests.upsert).chain(&requests.delete).collect();
    for request in all {
        add(&request.path);
        if let Body::Json(json) = &request.body {
            template::texts(json, "", &mut |_, text| add(text));
        }
    }
    names
}

/// The stations say what is wrong and, after a semicolon, what to do.
fn report(check: &mut Check, pointer: &str, text: &str) {
    let (what, remedy) = text.split_once("; ").unwrap_or((text, ""));
    check.report(pointer, what, remedy);
}
