//! What one config changes of another. Pure.
//!
//! Not responsible for putting the changes in place (`control::service`). Invariant: what a run does, when it begins and what
//! it may use are each compared in whole, so that a change that is not named here changes nothing that runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Config, SyncConfig};

/// What is another in the new config. Names are those of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: BTreeSet<String>,
    pub removed: BTreeSet<String>,
    /// Of each sync that stays: what of it changed.
    pub syncs: BTreeMap<String, BTreeSet<Part>>,
    /// Of each connection: what of it changed.
    pub connections: BTreeMap<String, BTreeSet<Account>>,
    /// Added, removed or changed.
    pub sources: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    /// Settings of the process that count from now on.
    pub settings: BTreeSet<&'static str>,
    /// Settings of the process that count from its next start on.
    pub at_next_start: BTreeSet<&'static str>,
}

/// A part of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What its runs do, and what it reads from and writes to.
    Definition,
    Schedule,
    Paused,
    /// Its group or priority.
    Place,
    /// What its results mean.
    Judgement,
}

/// A part of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    Added,
    Removed,
    Definition,
    Credentials,
    /// Its concurrency, rate or retries.
    Budget,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Definition => "definition",
            Part::Schedule => "schedule",
            Part::Paused => "paused",
            Part::Place => "group or priority",
            Part::Judgement => "limits of failure",
        }
    }
}

impl Account {
    fn word(self) -> &'static str {
        match self {
            Account::Added => "added",
            Account::Removed => "removed",
            Account::Definition => "definition",
            Account::Credentials => "credentials",
            Account::Budget => "budget",
        }
    }
}

/// What changes if `new` takes the place of `old`.
pub fn compare(old: &Config, new: &Config) -> Changes {
    let names = |config: &Config| -> BTreeSet<String> {
        config.syncs.iter().map(|sync| sync.sync.name.clone()).collect()
    };
    let (before, after) = (names(old), names(new));
    let staying = new.syncs.iter().filter_map(|sync| {
        let parts = parts(old, old.sync(&sync.sync.name)?, new, sync);
        (!parts.is_empty()).then(|| (sync.sync.name.clone(), parts))
    });
    let connections: BTreeSet<&String> =
        old.connections.keys().chain(new.connections.keys()).collect();
    let connections = connections.into_iter().filter_map(|name| {
        let parts = account(old, new, name);
        (!parts.is_empty()).then(|| (name.clone(), parts))
    });
    let choose = |all: &[(&'static str, bool)]| -> BTreeSet<&'static str> {
        all.iter().filter(|(_, is_other)| *is_other).map(|(name, _)| *name).collect()
    };
    Changes {
        added: after.difference(&before).cloned().collect(),
        removed: before.difference(&after).cloned().collect(),
        syncs: staying.collect(),
        connections: connections.collect(),
        sources: others(&old.sources, &new.sources),
        groups: others(&old.groups, &new.groups),
        settings: choose(&[
            ("history", old.history != new.history),
            ("memory_limit", old.memory_limit != new.memory_limit),
            ("server.hosts", old.server.hosts != new.server.hosts),
            ("server.max_running", old.server.max_running != new.server.max_running),
        ]),
        at_next_start: choose(&[
            ("server.listen", old.server.listen != new.server.listen),
            ("server.rate_limit", old.server.rate != new.server.rate),
            ("delivery_log", old.delivery_log != new.delivery_log),
            ("telemetry", old.traces != new.traces),
        ]),
    }
}

/// The names that one of the two has and the other has not, or has otherwise.
fn others<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> BTreeSet<String> {
    let names = old.keys().chain(new.keys());
    names.filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

fn parts(old: &Config, was: &SyncConfig, new: &Config, is: &SyncConfig) -> BTreeSet<Part> {
    let name = &is.sync.name;
    let is_same_account = {
        let of = |config: &Config, sync: &SyncConfig| {
            config.content.connections.get(&sync.sync.connection).copied()
        };
        of(old, was) == of(new, is)
    };
    let is_same = was.sync == is.sync
        && is_same_account
        && old.sources_of(was).eq(new.sources_of(is))
        && old.content.syncs.get(name) == new.content.syncs.get(name);
    let others = [
        (Part::Definition, !is_same),
        (Part::Schedule, was.schedule != is.schedule),
        (Part::Paused, was.paused != is.paused),
        (Part::Place, (&was.group, was.priority) != (&is.group, is.priority)),
        (
            Part::Judgement,
            (was.fail_above_rejected, was.disable_after_halts)
                != (is.fail_above_rejected, is.disable_after_halts),
        ),
    ];
    others.into_iter().filter(|(_, is_other)| *is_other).map(|(part, _)| part).collect()
}

fn account(old: &Config, new: &Config, name: &str) -> BTreeSet<Account> {
    match (old.connections.contains_key(name), new.connections.contains_key(name)) {
        (false, _) => return BTreeSet::from([Account::Added]),
        (_, false) => return BTreeSet::from([Account::Removed]),
        (true, true) => {}
    }
    let printed =
        |config: &Config| config.content.connections.get(name).copied().unwrap_or_default();
    let (was, is) = (printed(old), printed(new));
    let limits = |config: &Config| config.connections.get(name).map(|known| known.limits);
    let others = [
        (Account::Definition, was.definition != is.definition),
        (Account::Credentials, was.credentials != is.credentials),
        (Account::Budget, limits(old) != limits(new)),
    ];
    others.into_iter().filter(|(_, is_other)| *is_other).map(|(part, _)| part).collect()
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// The syncs that restart: those that do something else, or at other times, or are paused no more.
    pub fn restarting(&self) -> BTreeSet<String> {
        let restarts = |parts: &BTreeSet<Part>| {
            [Part::Definition, Part::Schedule, Part::Paused].iter().any(|part| parts.contains(part))
        };
        self.syncs
            .iter()
            .filter(|(_, parts)| restarts(parts))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The syncs with another schedule.
    pub fn rescheduled(&self) -> BTreeSet<String> {
        let changed = self.syncs.iter().filter(|(_, parts)| parts.contains(&Part::Schedule));
        changed.map(|(name, _)| name.clone()).collect()
    }

    pub fn to_json(&self) -> Value {
        let syncs: serde_json::Map<String, Value> = self
            .syncs
            .iter()
            .map(|(name, parts)| (name.clone(), parts.iter().map(|part| part.word()).collect()))
            .collect();
        let connections: serde_json::Map<String, Value> = self
            .connections
            .iter()
            .map(|(name, parts)| (name.clone(), parts.iter().map(|part| part.word()).collect()))
            .collect();
        json!({
            "syncs": { "added": self.added, "removed": self.removed, "changed": syncs },
            "connections": connections,
            "sources": self.sources,
            "groups": self.groups,
            "settings": self.settings,
            "at_next_start": self.at_next_start,
        })
    }

    /// In one line, for people and the audit.
    pub fn words(&self) -> String {
        let mut said = Vec::new();
        let mut list = |what: &str, names: Vec<String>| {
            if !names.is_empty() {
                said.push(format!("{what} {}", names.join(", ")));
            }
        };
        let quoted = |name: &String| format!("`{name}`");
        list("syncs added:", self.added.iter().map(quoted).collect());
        list("syncs removed:", self.removed.iter().map(quoted).collect());
        let sync = |(name, parts): (&String, &BTreeSet<Part>)| {
            let words: Vec<&str> = parts.iter().map(|part| part.word()).collect();
            format!("`{name}` ({})", words.join(", "))
        };
        list("syncs changed:", self.syncs.iter().map(sync).collect());
        let connection = |(name, parts): (&String, &BTreeSet<Account>)| {
            let words: Vec<&str> = parts.iter().map(|part| part.word()).collect();
            format!("`{name}` ({})", words.join(", "))
        };
        list("connections changed:", self.connections.iter().map(connection).collect());
        list("sources changed:", self.sources.iter().map(quoted).collect());
        list("groups changed:", self.groups.iter().map(quoted).collect());
        let setting = |name: &&str| format!("`{name}`");
        list("settings changed:", self.settings.iter().map(setting).collect());
        list("take effect at the next start:", self.at_next_start.iter().map(setting).collect());
        if said.is_empty() { "nothing changed".to_owned() } else { said.join("; ") }
    }
}
