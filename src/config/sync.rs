//! Syncs: references to models and connections, keys and mappings, schedules, and who writes what.

use std::collections::BTreeMap;

use super::document::{child, parent};
use super::raw::{RawCheckKeys, RawConfig, RawMode, RawPriority, RawSchedule, RawSync};
use super::raw_forms::NumberOrText;
use super::request::{self, Fields};
use super::validate::{Check, known};
use super::{Schedule, SyncConfig, field, template, units};
use crate::control::schedule::{SHORTEST, Schedule as Timing};
use crate::destination::definition::{Method, Request, Requests};
use crate::domain::guard::MaxDeletes;
use crate::domain::priority::Priority;
use crate::domain::sync::{CheckKeys, Mapped, Mode, Model, Reads, RunLimits, Sync, delivered_key};

const MAX_INVALID: u64 = 1_000;
const HALTS: u32 = 5;
const DRAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

pub fn syncs(
    check: &mut Check,
    raw: &RawConfig,
    models: &BTreeMap<String, Model>,
) -> Vec<SyncConfig> {
    let Some(syncs) = &raw.syncs else { return Vec::new() };
    check.names("/syncs", syncs);
    let mut checked = Vec::new();
    for (name, sync) in &syncs.0 {
        checked.extend(one(check, name, sync, raw, models));
    }
    shared_objects(check, &checked);
    checked
}

/// Checks one sync. None where its upsert cannot be made sense of.
fn one(
    check: &mut Check,
    name: &str,
    raw: &RawSync,
    config: &RawConfig,
    models: &BTreeMap<String, Model>,
) -> Option<SyncConfig> {
    let pointer = child("/syncs", name);
    let at = |key: &str| child(&pointer, key);
    let known_models: Vec<&str> = models.keys().map(String::as_str).collect();
    check.refers(&at("model"), "/models", "model", raw.model.as_deref(), &known_models);
    let connections = known(config.connections.as_ref());
    check.refers(
        &at("connection"),
        "/connections",
        "connection",
        raw.connection.as_deref(),
        &connections,
    );
    let groups = known(config.groups.as_ref());
    check.refers(&at("group"), "/groups", "group", raw.group.as_deref(), &groups);
    let syncs = known(config.syncs.as_ref());
    let after = raw.schedule.as_ref().and_then(|schedule| schedule.after.as_deref());
    check.refers(&child(&at("schedule"), "after"), "/syncs", "sync", after, &syncs);
    let schedule = raw.schedule.as_ref().and_then(|raw| schedule(check, &at("schedule"), raw));
    let mapping = field::mapping(check, &at("mapping"), raw);
    let ignored = field::ignored(check, &at("ignore"), raw);
    let key = key(check, &at("key"), raw, &mapping);
    let limits = limits(check, &pointer, raw);

    let model = raw.model.as_ref().and_then(|name| models.get(name));
    let identifying = match model {
        None if key.is_empty() => None,
        model => {
            let primary_key = model.map_or(&[][..], |model| &model.primary_key);
            delivered_key(&key, &mapping, primary_key)
        }
    };
    field::of_key(check, &pointer, &mapping, &ignored, identifying.as_deref().unwrap_or_default());
    let mapped = mapping.iter().map(|mapped| mapped.field.clone()).collect::<Vec<_>>();
    // A mapping that is there and broken says nothing of its fields.
    let is_cut = mapped.is_empty() && check.document.has(&at("mapping"));
    let mapped = (!mapped.is_empty() && !is_cut).then_some(mapped);
    let upsert = raw.upsert.as_ref().map(|request| {
        let fields = Fields { known: mapped.as_deref(), word: "in the mapping" };
        request::request(check, &at("upsert"), request, &fields)
    });
    let delete = raw.delete.as_ref().map(|request| {
        let fields = Fields { known: identifying.as_deref(), word: "of the key" };
        request::request(check, &at("delete"), request, &fields)
    });
    let is_mirror = matches!(raw.mode, Some(RawMode::Mirror));
    if is_mirror && delete.is_none() && !check.document.has(&at("delete")) {
        let remedy = "add `delete:`, or use `mode: upsert`, which never deletes";
        check.report_key(&pointer, "a mirror without a `delete` request", remedy);
    }
    if is_mirror && model.is_some_and(|model| model.cursor.is_some()) {
        let remedy = "use `mode: upsert`, or a model without `cursor`: a read of new rows does not see which are gone";
        check.report(&at("mode"), "a mirror of a model with a cursor", remedy);
    }
    let sync = Sync {
        name: name.to_owned(),
        model: model.cloned().unwrap_or(Model {
            name: String::new(),
            reads: Reads::One(String::new()),
            sql: String::new(),
            primary_key: Vec::new(),
            cursor: None,
        }),
        connection: raw.connection.clone().unwrap_or_default(),
        mode: if is_mirror { Mode::Mirror } else { Mode::Upsert },
        mapping,
        ignored,
        key,
        check_keys: match raw.check_keys {
            Some(RawCheckKeys::First) => CheckKeys::First,
            Some(RawCheckKeys::Streaming) | None => CheckKeys::Streaming,
        },
        limits,
    };
    if sync.model.cursor.is_some() && !is_cut && sync.key_columns().is_none() {
        let what = "a cursor, and a key that is not made of columns as they are";
        let remedy = "map the key's fields to columns of the model without an expression: records in doubt are asked for by them";
        check.report_key(&pointer, what, remedy);
    }
    Some(SyncConfig {
        sync,
        requests: Requests { upsert: upsert??, delete: delete.flatten() },
        schedule,
        starts_now: raw.start.is_some(),
        group: raw.group.clone(),
        priority: match raw.priority {
            Some(RawPriority::High) => Priority::High,
            Some(RawPriority::Normal) | None => Priority::Normal,
            Some(RawPriority::Low) => Priority::Low,
        },
        fail_above_rejected: raw.fail_above_rejected.map(|number| number.0),
        disable_after_halts: raw.disable_after_halts.map_or(HALTS, |number| number.small()),
        paused: raw.paused.unwrap_or(false),
        shared: raw.shared.unwrap_or(false),
    })
}

fn schedule(check: &mut Check, pointer: &str, raw: &RawSchedule) -> Option<Schedule> {
    let at = |key: &str| child(pointer, key);
    if let Some(first) = &raw.after {
        let other = [("cron", raw.cron.is_some()), ("every", raw.every.is_some())];
        if let Some((other, _)) = other.iter().find(|(_, is_said)| *is_said) {
            let what = format!("both `after` and `{other}`");
            check.report_key(&at("after"), what, "keep one of the two");
            return None;
        }
        no_time_zone(check, pointer, raw, "goes by another sync");
        return Some(Schedule::After(first.clone()));
    }
    match (&raw.cron, &raw.every) {
        (Some(line), None) => Some(cron(check, pointer, raw, line)),
        (None, Some(text)) => {
            no_time_zone(check, pointer, raw, "is an interval");
            let interval = check.unit(&at("every"), Some(text), units::duration)?;
            if interval < SHORTEST {
                let what = format!("`{}` is too short", check.document.written(&at("every")));
                check.report(&at("every"), what, "leave at least `1s` between two runs");
                return None;
            }
            Some(Schedule::Every(interval))
        }
        (Some(_), Some(_)) => {
            check.report_key(&at("every"), "both `cron` and `every`", "keep one of the two");
            None
        }
        (None, None) => {
            if !check.document.has_problem_within(pointer) {
                let remedy = "add `cron: \"*/15 * * * *\"`, `every: 15m` or `after: SYNC`";
                check.report_key(pointer, "a schedule that never fires", remedy);
            }
            None
        }
    }
}

fn no_time_zone(check: &mut Check, pointer: &str, raw: &RawSchedule, what: &str) {
    if raw.time_zone.is_some() {
        let what = format!("`time_zone` is for `cron`, and this schedule {what}");
        check.report_key(&child(pointer, "time_zone"), what, "remove it");
    }
}

fn cron(check: &mut Check, pointer: &str, raw: &RawSchedule, line: &str) -> Schedule {
    if let Err(error) = Timing::parse(line, "UTC") {
        let told = error.to_string();
        let usual = "write minute, hour, day of month, month and day of week";
        let (what, remedy) = told.rsplit_once("; ").unwrap_or((told.as_str(), usual));
        check.report(&child(pointer, "cron"), what, remedy);
    }
    let time_zone = raw.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    check.time_zone(&child(pointer, "time_zone"), &time_zone);
    Schedule::Cron { line: line.to_owned(), time_zone }
}

fn key(check: &mut Check, pointer: &str, raw: &RawSync, mapping: &[Mapped]) -> Vec<String> {
    let Some(key) = &raw.key else { return Vec::new() };
    check.distinct(pointer, key);
    let sibling = child(parent(pointer).unwrap_or_default(), "mapping");
    for (index, field) in key.iter().enumerate() {
        let is_mapped = mapping.is_empty() || mapping.iter().any(|mapped| mapped.field == *field);
        let pointer = child(pointer, &index.to_string());
        let is_cut = check.document.has(&child(&sibling, field));
        if !is_mapped && !is_cut && !field.is_empty() {
            let what =
                format!("`{}` is not a field of the mapping", check.document.written(&pointer));
            let fields: Vec<&str> = mapping.iter().map(|mapped| mapped.field.as_str()).collect();
            let remedy = format!("map it, or use one of {}", super::shape::quoted(&fields));
            check.report(&pointer, what, remedy);
        }
    }
    key.clone()
}

fn limits(check: &mut Check, pointer: &str, raw: &RawSync) -> RunLimits {
    let guard_pointer = child(&child(pointer, "guard"), "max_deletes");
    let max_deletes = raw.guard.as_ref().and_then(|guard| match guard.max_deletes.as_ref()? {
        NumberOrText::Number(rows) => Some(MaxDeletes::Rows(rows.0)),
        NumberOrText::Text(text) => check.unit(&guard_pointer, Some(text), units::share),
    });
    let drain_pointer = child(pointer, "drain_timeout");
    let drain_timeout = check.unit(&drain_pointer, raw.drain_timeout.as_deref(), units::duration);
    RunLimits {
        max_deletes: max_deletes.unwrap_or(MaxDeletes::Default),
        max_invalid: raw.max_invalid.map_or(MAX_INVALID, |number| number.0),
        drain_timeout: drain_timeout.unwrap_or(DRAIN_TIMEOUT),
    }
}

/// Refuses two syncs that write the same object of the same connection when one of them is a mirror, unless both agree:
/// the mirror would delete what the other one delivered.
fn shared_objects(check: &mut Check, syncs: &[SyncConfig]) {
    // Written out once each: pairs are many.
    let objects: Vec<Vec<String>> =
        syncs.iter().map(|sync| requests(sync).map(object).collect()).collect();
    for (index, sync) in syncs.iter().enumerate() {
        for (earlier, others) in syncs[..index].iter().zip(&objects) {
            let is_mirror = [sync, earlier].iter().any(|sync| sync.sync.mode == Mode::Mirror);
            let is_agreed = sync.shared && earlier.shared;
            let is_same_account = sync.sync.connection == earlier.sync.connection;
            if !is_mirror || is_agreed || !is_same_account {
                continue;
            }
            let mut own = requests(sync).zip(&objects[index]);
            if let Some((same, same_object)) = own.find(|(_, object)| others.contains(object)) {
                let object = match &same.written {
                    Some(written) => template::anonymous(written),
                    None => same_object.clone(),
                };
                let what = format!(
                    "`{}` and `{}` both send `{object}` on connection `{}`, and one is a mirror",
                    earlier.sync.name, sync.sync.name, sync.sync.connection
                );
                let remedy = "a mirror deletes what it does not know: make one sync of them, or say `shared: true` in both";
                check.report_key(&child("/syncs", &sync.sync.name), what, remedy);
            }
        }
    }
}

fn requests(sync: &SyncConfig) -> impl Iterator<Item = &Request> {
    std::iter::once(&sync.requests.upsert).chain(&sync.requests.delete)
}

/// What a request writes: its method and path, whatever the records.
fn object(request: &Request) -> String {
    let method = match request.method {
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    };
    format!("{method} {}", template::anonymous(&request.path))
}
