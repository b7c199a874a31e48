//! What the file means, checked: the file as a whole, sources and models.
//!
//! Each check reports and goes on, with a stand-in where a value is broken; stand-ins never leave this room, because a
//! config with problems is not handed out. What shape has reported already is not reported again.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::content::Content;
use super::document::{Document, child};
use super::mysql::mysql;
use super::postgres::postgres;
use super::raw::{RawConfig, RawGroup, RawModel, RawSource};
use super::raw_forms::Named;
use super::reference::Environment;
use super::shape::{nearest, quoted};
use super::{
    Config, DeliveryLog, History, Written, connection, cursor, resolved, sequence, server,
    stations, store, sync, table, telemetry, units,
};
use crate::domain::sync::{Model, Reads};
use crate::source::definition::{Access, Definition, Files, Table};

const MIN_MEMORY: u64 = 16 << 20;

/// What every check has at hand.
pub struct Check<'a> {
    pub document: &'a mut Document,
    pub folder: &'a Path,
    pub environment: Environment<'a>,
    /// The queries that the file names, by their paths, where they are not to be read from there.
    pub queries: Option<&'a BTreeMap<PathBuf, String>>,
}

impl Check<'_> {
    /// Notes a problem with the value at the pointer.
    pub fn report(&mut self, pointer: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.document.report(pointer, what.into(), remedy.into());
    }

    /// Notes a problem with the key at the pointer.
    pub fn report_key(
        &mut self,
        pointer: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.document.report_key(pointer, what.into(), remedy.into());
    }

    /// Reads text in a unit of its own; the parser's error is the remedy.
    pub fn unit<T>(
        &mut self,
        pointer: &str,
        text: Option<&str>,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text?) {
            Ok(value) => Some(value),
            Err(remedy) => {
                let what = format!("cannot make sense of `{}`", self.document.written(pointer));
                self.report(pointer, what, remedy);
                None
            }
        }
    }

    /// Checks the name of a time zone.
    pub fn time_zone(&mut self, pointer: &str, name: &str) {
        if jiff::tz::TimeZone::get(name).is_err() {
            let what = format!("there is no time zone `{}`", self.document.written(pointer));
            self.report(pointer, what, "use an IANA name such as `Europe/Berlin` or `UTC`");
        }
    }

    /// Checks the names of a section.
    pub fn names<T>(&mut self, pointer: &str, entries: &Named<T>) {
        for (name, _) in &entries.0 {
            let is_name = (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
            if !is_name {
                let what = format!("`{name}` is not a name");
                let remedy = "use 1 to 64 of `a` to `z`, `0` to `9`, `_` and `-`";
                self.report_key(&child(pointer, name), what, remedy);
            }
        }
    }

    /// Checks the name that models have for a table.
    pub fn table_name(&mut self, pointer: &str, name: &str) {
        let is_name = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_name {
            let what = format!("`{name}` is not a name for a table");
            self.report_key(pointer, what, "use lower-case letters, digits and `_`, as SQL does");
        }
    }

    /// Checks that a section has what is referred to. One that is there but broken was reported already.
    pub fn refers(
        &mut self,
        pointer: &str,
        section: &str,
        word: &str,
        name: Option<&str>,
        known: &[&str],
    ) {
        let Some(name) = name else { return };
        if known.contains(&name) || self.document.has(&child(section, name)) {
            return;
        }
        let what = format!("there is no {word} `{}`", self.document.written(pointer));
        let remedy = match nearest(name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => format!("define it under `{}:`", &section[1..]),
            None => {
                format!("define it under `{}:`, or use one of {}", &section[1..], quoted(known))
            }
        };
        self.report(pointer, what, remedy);
    }

    /// Checks that no item of a list stands there twice or is empty.
    pub fn distinct(&mut self, pointer: &str, items: &[String]) {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let pointer = child(pointer, &index.to_string());
            if item.is_empty() {
                self.report(&pointer, "an empty name", "write a name, or leave the item out");
            } else if !seen.insert(item) {
                self.report(&pointer, format!("`{item}` stands here twice"), "keep one of the two");
            }
        }
    }
}

/// Checks the whole file.
pub fn config(check: &mut Check, path: &Path, raw: &RawConfig) -> Config {
    if raw.state.as_deref().is_some_and(str::is_empty) {
        check.report("/state", "an empty path", "name a folder, such as `./counterflow-state`");
    }
    if raw.state.as_deref().is_some_and(|state| state.starts_with('~')) {
        let remedy = "write the folder out, or `${HOME}/...`; a folder of that name is `./~`";
        check.report("/state", "`~` stands for nothing here", remedy);
    }
    let memory_limit = check.unit("/memory_limit", raw.memory_limit.as_deref(), units::size);
    if memory_limit.is_some_and(|bytes| bytes < MIN_MEMORY) {
        check.report("/memory_limit", "too little memory to run a query", "give at least `16MiB`");
    }
    let sources = sources(check, raw);
    let models = models(check, raw, &sources);
    let connections = connection::connections(check, raw);
    let syncs = sync::syncs(check, raw, &models);
    sequence::check(check, &syncs);
    stations::ask(check, raw, &sources, &models, &connections, &syncs);
    Config {
        path: path.to_owned(),
        folder: check.folder.to_owned(),
        state: super::state(check.folder, raw.state.as_deref()),
        memory_limit,
        server: server::server(check, raw),
        delivery_log: delivery_log(check, raw),
        history: history(check, raw),
        traces: telemetry::collector(check, raw),
        groups: groups(check, raw),
        sources,
        models,
        connections,
        absent: BTreeMap::new(),
        absent_sources: BTreeMap::new(),
        syncs,
        content: Content::default(),
        written: Written::default(),
    }
}

/// The names of a section, for references to it.
pub fn known<T>(section: Option<&Named<T>>) -> Vec<&str> {
    section.map(|named| named.0.iter().map(|(name, _)| name.as_str()).collect()).unwrap_or_default()
}

fn groups(check: &mut Check, raw: &RawConfig) -> BTreeMap<String, Option<usize>> {
    let Some(groups) = &raw.groups else { return BTreeMap::new() };
    check.names("/groups", groups);
    let most = |group: &RawGroup| usize::try_from(group.max_running?.small()).ok();
    groups.0.iter().map(|(name, group)| (name.clone(), most(group))).collect()
}

fn delivery_log(check: &mut Check, raw: &RawConfig) -> Option<DeliveryLog> {
    const EVERY: Duration = Duration::from_secs(60);
    const SPOOL: u64 = 1 << 30;
    let raw = raw.delivery_log.as_ref()?;
    let every = check.unit("/delivery_log/every", raw.every.as_deref(), units::duration);
    if every.is_some_and(|every| every < Duration::from_secs(1)) {
        check.report("/delivery_log/every", "too short", "leave at least `1s` between two exports");
    }
    let spool = check.unit("/delivery_log/spool", raw.spool.as_deref(), units::size);
    let path = raw.path.as_deref()?;
    if path.is_empty() {
        check.report("/delivery_log/path", "an empty path", "name a folder that is there");
    }
    Some(DeliveryLog {
        path: super::resolved(check.folder, path),
        every: every.unwrap_or(EVERY),
        spool: spool.unwrap_or(SPOOL),
    })
}

fn history(check: &mut Check, raw: &RawConfig) -> History {
    const RUNS: Duration = Duration::from_secs(90 * 86_400);
    let raw = raw.history.as_ref();
    let runs = raw.and_then(|raw| raw.runs.as_deref());
    let audit = raw.and_then(|raw| raw.audit.as_deref());
    History {
        runs: check.unit("/history/runs", runs, units::age).unwrap_or(Some(RUNS)),
        audit: check.unit("/history/audit", audit, units::age).flatten(),
    }
}

fn sources(check: &mut Check, raw: &RawConfig) -> BTreeMap<String, Definition> {
    let Some(sources) = &raw.sources else { return BTreeMap::new() };
    check.names("/sources", sources);
    let entries = sources.0.iter().map(|(name, source)| {
        let pointer = child("/sources", name);
        let access = access(check, &pointer, source);
        (name.clone(), Definition { name: name.clone(), access })
    });
    entries.collect()
}

/// Exactly one kind.
fn access(check: &mut Check, pointer: &str, source: &RawSource) -> Access {
    const KINDS: [&str; 3] = ["files", "postgres", "mysql"];
    let is_said = [source.files.is_some(), source.postgres.is_some(), source.mysql.is_some()];
    let said: Vec<&str> = KINDS
        .into_iter()
        .zip(is_said)
        .filter_map(|(kind, is_said)| is_said.then_some(kind))
        .collect();
    if let [first, second, ..] = said.as_slice() {
        let what = format!("both `{first}` and `{second}`");
        check.report_key(pointer, what, "make two sources of them");
    }
    let is_cut = KINDS.iter().any(|kind| check.document.has(&child(pointer, kind)));
    if said.is_empty() && !is_cut {
        let remedy = "add `files:`, `postgres:` or `mysql:`";
        check.report_key(pointer, "a source without a kind", remedy);
    }
    if source.store.is_some() && source.files.is_none() && !said.is_empty() {
        let what = "a database is in no object store";
        check.report_key(&child(pointer, "store"), what, "remove it");
    }
    match source {
        RawSource { files: None, postgres: Some(raw), .. } => {
            Access::Postgres(Box::new(postgres(check, &child(pointer, "postgres"), raw)))
        }
        RawSource { files: None, mysql: Some(raw), .. } => {
            Access::MySql(Box::new(mysql(check, &child(pointer, "mysql"), raw)))
        }
        _ => {
            let tables = tables(check, pointer, source);
            let store = store::store(check, pointer, source.store.as_ref(), &tables);
            Access::Files(Files { tables, store: Box::new(store) })
        }
    }
}

fn tables(check: &mut Check, pointer: &str, source: &RawSource) -> Vec<Table> {
    let Some(files) = &source.files else { return Vec::new() };
    let pointer = child(pointer, "files");
    if files.0.is_empty() {
        check.report(&pointer, "a source without tables", "name at least one file: `NAME: PATH`");
    }
    let mut tables = Vec::new();
    for (name, form) in &files.0 {
        let pointer = child(&pointer, name);
        check.table_name(&pointer, name);
        tables.extend(table::table(check, &pointer, name, form));
    }
    tables
}

fn models(
    check: &mut Check,
    raw: &RawConfig,
    sources: &BTreeMap<String, Definition>,
) -> BTreeMap<String, Model> {
    let Some(models) = &raw.models else { return BTreeMap::new() };
    check.names("/models", models);
    let known = known(raw.sources.as_ref());
    let mut checked = BTreeMap::new();
    for (name, model) in &models.0 {
        let pointer = child("/models", name);
        let reads = reads(check, &pointer, model, &known);
        if let Reads::Joined(names) = &reads {
            have_tables(check, &child(&pointer, "sources"), names, sources);
        }
        let primary_key = model.primary_key.clone().unwrap_or_default();
        check.distinct(&child(&pointer, "primary_key"), &primary_key);
        let sql = sql(check, &pointer, model);
        let cursor = model.cursor.as_ref();
        let cursor = cursor.and_then(|raw| cursor::cursor(check, &child(&pointer, "cursor"), raw));
        checked.insert(name.clone(), Model { name: name.clone(), reads, sql, primary_key, cursor });
    }
    checked
}

fn reads(check: &mut Check, pointer: &str, model: &RawModel, known: &[&str]) -> Reads {
    let (one, several) = (child(pointer, "source"), child(pointer, "sources"));
    match (&model.source, &model.sources) {
        (Some(_), Some(_)) => {
            check.report_key(&several, "both `source` and `sources`", "keep one of the two");
            Reads::One(String::new())
        }
        (None, None) => {
            if !check.document.has(&one) && !check.document.has(&several) {
                let remedy = "add `source:`, or `sources:` to join tables of several";
                check.report_key(pointer, "a model without a source", remedy);
            }
            Reads::One(String::new())
        }
        (Some(source), None) => {
            check.refers(&one, "/sources", "source", Some(source), known);
            Reads::One(source.clone())
        }
        (None, Some(sources)) => {
            check.distinct(&several, sources);
            for (index, source) in sources.iter().enumerate().filter(|(_, it)| !it.is_empty()) {
                let pointer = child(&several, &index.to_string());
                check.refers(&pointer, "/sources", "source", Some(source), known);
            }
            Reads::Joined(sources.clone())
        }
    }
}

/// A database says what models may read that join it with others.
fn have_tables(
    check: &mut Check,
    pointer: &str,
    names: &[String],
    sources: &BTreeMap<String, Definition>,
) {
    for (index, name) in names.iter().enumerate() {
        let lacks = sources.get(name).is_some_and(Definition::lacks_tables);
        if lacks && !check.document.has_problem_within(&child("/sources", name)) {
            let what = format!("`{name}` is a database that says no `tables`");
            let remedy = format!(
                "add `tables: {{NAME: SCHEMA.TABLE}}` or `{{NAME: {{sql: SELECT ..}}}}` there and read `{name}.NAME`, or \
                 write `source: {name}`"
            );
            check.report(&child(pointer, &index.to_string()), what, remedy);
        }
    }
}

fn sql(check: &mut Check, pointer: &str, model: &RawModel) -> String {
    let file_pointer = child(pointer, "sql_file");
    let (sql, at) = match (&model.sql, &model.sql_file) {
        (Some(_), Some(_)) => {
            check.report_key(&file_pointer, "both `sql` and `sql_file`", "keep one of the two");
            return String::new();
        }
        (None, None) => {
            let is_cut = ["sql", "sql_file"].iter().any(|k| check.document.has(&child(pointer, k)));
            if !is_cut {
                check.report_key(pointer, "a model without a query", "add `sql:` or `sql_file:`");
            }
            return String::new();
        }
        (Some(sql), None) => (sql.clone(), child(pointer, "sql")),
        (None, Some(file)) => {
            let path = resolved(check.folder, file);
            check.document.files.push(path.clone());
            let read = match check.queries {
                Some(queries) => {
                    queries.get(&path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
                }
                None => std::fs::read_to_string(&path),
            };
            match read {
                Ok(sql) => {
                    check.document.queries.insert(path, sql.clone());
                    (sql, file_pointer)
                }
                Err(error) => {
                    let what = format!("`{}` cannot be read: {error}", path.display());
                    check.report(
                        &file_pointer,
                        what,
                        "name a file with one SELECT, from this file's folder on",
                    );
                    return String::new();
                }
            }
        }
    };
    if sql.trim().is_empty() {
        check.report(&at, "an empty query", "write one SELECT");
    }
    sql
}
