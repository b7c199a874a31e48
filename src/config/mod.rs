//! The config file: YAML → validated values.
//!
//! Text becomes a tree with places (`tree`), the tree a JSON value with references replaced (`document`); the schema finds
//! what is wrong in shape (`shape`), what is left is read into raw structures (`raw`) and checked for meaning
//! (`validate`, `connection`, `sync`, `request`). Every step reports all it finds and goes on with the rest; a [`Config`]
//! comes only of a file without problems. Nothing is read but the file itself, `sql_file`s and `file:` secrets.
//! What source and destination know without a file, they are asked (`stations`). Not responsible for what only the data
//! can tell: columns, and templates against them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::queue;
use crate::control::schedule::Schedule as Timing;
use crate::delivery::limits::Limits;
use crate::domain::priority::Priority;
use crate::telemetry::traces::Collector;
use crate::{destination, domain, source};

pub mod compare;
mod connection;
mod content;
mod cursor;
mod database;
mod document;
mod field;
mod location;
mod mysql;
mod not_built;
mod postgres;
mod problem;
mod queried;
mod raw;
mod raw_database;
mod raw_field;
mod raw_forms;
mod raw_request;
mod raw_store;
mod reference;
pub mod replacing;
mod request;
pub mod rewrite;
mod scalar;
mod sequence;
mod server;
mod shape;
mod stations;
mod store;
mod sync;
mod table;
mod telemetry;
mod template;
mod tree;
mod units;
mod validate;

#[cfg(test)]
mod tests;

pub use content::Content;
use document::Document;
pub use problem::{Problem, Problems};
use reference::Environment;
pub use shape::schema;
use validate::Check;

/// The folder of runs and snapshots where the file names none.
const STATE: &str = "counterflow-state";

/// A config file without problems.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, absolute.
    pub path: PathBuf,
    /// The file's folder, absolute; relative paths in the file begin here.
    pub folder: PathBuf,
    /// The folder of runs and snapshots, absolute; it may not exist yet.
    pub state: PathBuf,
    /// In bytes.
    pub memory_limit: Option<u64>,
    pub server: Server,
    pub delivery_log: Option<DeliveryLog>,
    pub history: History,
    /// Where traces of runs go.
    pub traces: Option<Collector>,
    /// By name. Locations of tables are absolute.
    pub sources: BTreeMap<String, source::definition::Definition>,
    /// By name.
    pub models: BTreeMap<String, domain::sync::Model>,
    /// Groups by name, with how many of their runs go at once where that has a limit.
    pub groups: BTreeMap<String, Option<usize>>,
    /// By name; without those whose secrets are not there and were not asked for.
    pub connections: BTreeMap<String, Connection>,
    /// What is not there of the others, in words, by their names.
    pub absent: BTreeMap<String, Vec<String>>,
    /// What is not there of the secrets of sources, in words, by their names; such a source cannot be read.
    pub absent_sources: BTreeMap<String, Vec<String>>,
    /// In the order of the file.
    pub syncs: Vec<SyncConfig>,
    /// What it says, part by part.
    pub content: Content,
    pub written: Written,
}

/// What a config was made of, with references as they are written: the file, and the queries that it names, by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub text: String,
    pub queries: BTreeMap<PathBuf, String>,
}

/// The HTTP interface of `serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    /// Names by which clients reach it besides its address, in lower case.
    pub hosts: Vec<String>,
    /// Requests of one caller in a second.
    pub rate: NonZeroU32,
    /// Runs that go at once.
    pub max_running: usize,
}

impl Config {
    pub fn sync(&self, name: &str) -> Option<&SyncConfig> {
        self.syncs.iter().find(|sync| sync.sync.name == name)
    }

    /// The syncs of a group.
    pub fn syncs_of<'c>(&'c self, group: &'c str) -> impl Iterator<Item = &'c SyncConfig> {
        self.syncs.iter().filter(move |sync| sync.group.as_deref() == Some(group))
    }

    /// The syncs that read this source.
    pub fn readers_of<'c>(&'c self, source: &'c str) -> impl Iterator<Item = &'c SyncConfig> {
        self.syncs.iter().filter(move |sync| sync.sync.model.reads(source))
    }

    /// How many runs go at once.
    pub fn limits(&self) -> queue::Limits {
        let limit = |(name, most): (&String, &Option<usize>)| most.map(|most| (name.clone(), most));
        let groups = self.groups.iter().filter_map(limit).collect();
        queue::Limits { running: self.server.max_running, groups }
    }

    /// The sources that the sync reads, in the order of its model.
    pub fn sources_of<'c>(
        &'c self,
        sync: &'c SyncConfig,
    ) -> impl Iterator<Item = &'c source::definition::Definition> {
        self.sources_of_model(&sync.sync.model)
    }

    /// The sources that the model reads, in its order.
    pub fn sources_of_model<'c>(
        &'c self,
        model: &'c domain::sync::Model,
    ) -> impl Iterator<Item = &'c source::definition::Definition> {
        let of = |name| self.sources.get(name).expect("validation checked the source's name");
        model.sources().map(of)
    }

    pub fn connection_of(&self, sync: &SyncConfig) -> &Connection {
        self.connections
            .get(&sync.sync.connection)
            .expect("validation checked the connection's name")
    }
}

/// Where runs and receipts are exported to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLog {
    /// Absolute.
    pub path: PathBuf,
    pub every: Duration,
    /// Bytes that may wait while the folder is away.
    pub spool: u64,
}

/// How long the state keeps what has passed; without a limit where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Since they ended.
    pub runs: Option<Duration>,
    pub audit: Option<Duration>,
}

/// An account and how much it bears.
#[derive(Debug, Clone)]
pub struct Connection {
    pub definition: destination::definition::Connection,
    pub limits: Limits,
}

/// A sync with all that is said of it.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    pub sync: domain::sync::Sync,
    pub requests: destination::definition::Requests,
    pub schedule: Option<Schedule>,
    /// It is run at once when it is new.
    pub starts_now: bool,
    pub group: Option<String>,
    pub priority: Priority,
    /// A partial run with more rejected records than this counts as failed; without it none does.
    pub fail_above_rejected: Option<u64>,
    /// 0 for never.
    pub disable_after_halts: u32,
    /// The initial value: a recorded pause or resume wins until it changes.
    pub paused: bool,
    pub shared: bool,
}

/// When runs start by themselves. All of it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Cron {
        /// Five fields.
        line: String,
        /// An IANA name.
        time_zone: String,
    },
    Every(Duration),
    /// When this sync has succeeded.
    After(String),
}

impl Schedule {
    /// The schedule, ready to be asked when it fires; `None` where that is not a matter of time.
    pub fn timing(&self) -> Option<Timing> {
        match self {
            Schedule::Cron { line, time_zone } => {
                Some(Timing::parse(line, time_zone).expect("the config has checked it"))
            }
            Schedule::Every(interval) => Some(Timing::every(*interval)),
            Schedule::After(_) => None,
        }
    }

    /// The sync that this one comes after.
    pub fn after(&self) -> Option<&str> {
        match self {
            Schedule::After(first) => Some(first),
            Schedule::Cron { .. } | Schedule::Every(_) => None,
        }
    }
}

/// Reads and checks a config file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// As [`load`], for a command that uses the connection of one sync, or none at all: secrets of others may be missing.
///
/// # Errors
/// Everything else that is wrong with the file.
pub fn load_for(path: &Path, sync: Option<&str>) -> Result<Config, Problems> {
    let wanted = sync.map_or(Wanted::None, Wanted::Of);
    read_with(path, &|name| std::env::var(name).ok(), wanted)
}

/// As [`load`], with variables looked up where the caller says.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load_with(path: &Path, environment: Environment) -> Result<Config, Problems> {
    read_with(path, environment, Wanted::All)
}

/// As [`load`], of the file at this absolute path as it was written at another time. Secrets are those of today.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_written(path: &Path, written: &Written) -> Result<Config, Problems> {
    let environment = |name: &str| std::env::var(name).ok();
    let queries = Some(&written.queries);
    read_text(path.to_owned(), &written.text, &environment, Wanted::All, queries)
}

/// As [`load_written`], for a command that uses no connection: secrets may be missing.
///
/// # Errors
/// Everything else that is wrong with it.
pub fn load_written_without_secrets(path: &Path, written: &Written) -> Result<Config, Problems> {
    let environment = |name: &str| std::env::var(name).ok();
    let queries = Some(&written.queries);
    read_text(path.to_owned(), &written.text, &environment, Wanted::None, queries)
}

/// The connections whose secrets must be there; those of the traces, where any must.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    All,
    /// That of the sync.
    Of(&'a str),
    None,
}

fn read_with(path: &Path, environment: Environment, wanted: Wanted) -> Result<Config, Problems> {
    let (path, text) = read(path)?;
    read_text(path, &text, environment, wanted, None)
}

/// As [`load_with`], of a file at this absolute path that was read already. For the fuzz targets.
///
/// # Errors
/// Everything that is wrong with the text.
#[cfg(feature = "faults")]
#[doc(hidden)]
pub fn load_text(path: &Path, text: &str, environment: Environment) -> Result<Config, Problems> {
    read_text(path.to_owned(), text, environment, Wanted::All, None)
}

fn read_text(
    path: PathBuf,
    text: &str,
    environment: Environment,
    wanted: Wanted,
    queries: Option<&BTreeMap<PathBuf, String>>,
) -> Result<Config, Problems> {
    let mut document = Document::read(text, environment);
    if !document.is_unreadable() {
        let whole = document.value.clone();
        let raw = shape::read(&mut document);
        let folder = folder(&path);
        let mut check = Check { document: &mut document, folder: &folder, environment, queries };
        let mut config = validate::config(&mut check, &path, &raw);
        for (connection, problem) in std::mem::take(&mut document.absent) {
            let is_wanted = match wanted {
                Wanted::All => true,
                Wanted::Of(_) if connection.is_empty() => true,
                Wanted::Of(sync) => {
                    let sync =
                        raw.syncs.iter().flat_map(|syncs| &syncs.0).find(|(name, _)| name == sync);
                    sync.is_some_and(|(_, sync)| {
                        sync.connection.as_deref() == Some(connection.as_str())
                    })
                }
                Wanted::None => false,
            };
            let words = (!is_wanted).then(|| format!("{}; {}", problem.what, problem.remedy));
            if is_wanted {
                document.problems.push(problem);
            }
            if connection.is_empty() {
                config.traces = None;
                continue;
            }
            config.connections.remove(&connection);
            config.absent.entry(connection).or_default().extend(words);
        }
        for (source, problem) in std::mem::take(&mut document.absent_of_sources) {
            match wanted {
                Wanted::None => {
                    let words = format!("{}; {}", problem.what, problem.remedy);
                    config.absent_sources.entry(source).or_default().push(words);
                }
                Wanted::All | Wanted::Of(_) => document.problems.push(problem),
            }
        }
        if document.problems.is_empty() {
            config.content = content::of(&document, &whole, &config);
            let queries = std::mem::take(&mut document.queries);
            config.written = Written { text: text.to_owned(), queries };
            return Ok(config);
        }
    }
    let absent = document.absent.into_iter().chain(document.absent_of_sources);
    let absent = absent.map(|(_, problem)| problem);
    document.problems.extend(absent);
    let files = std::mem::take(&mut document.files);
    Err(Problems::new(&path, document.shown, document.problems).naming(files))
}

/// The state's folder alone, for commands that work beside a config that is otherwise wrong.
///
/// # Errors
/// The file cannot be read, is not YAML, or has a problem in `state` itself.
pub fn state_directory(path: &Path) -> Result<PathBuf, Problems> {
    let (path, text) = read(path)?;
    let mut document = Document::read(&text, &|name| std::env::var(name).ok());
    if !document.is_unreadable() {
        let raw = shape::read(&mut document);
        document.absent.clear();
        document.absent_of_sources.clear();
        document.problems.retain(|problem| problem.place == "state");
        if document.problems.is_empty() {
            return Ok(state(&folder(&path), raw.state.as_deref()));
        }
    }
    Err(Problems::new(&path, document.shown, document.problems))
}

/// The state's folder where the file names none.
pub fn usual_state(path: &Path) -> PathBuf {
    state(&folder(path), None)
}

fn state(folder: &Path, named: Option<&str>) -> PathBuf {
    resolved(folder, named.unwrap_or(STATE))
}

/// The path, from the folder on unless it is absolute, without `./`.
fn resolved(folder: &Path, path: &str) -> PathBuf {
    folder.join(path).components().collect()
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn read(path: &Path) -> Result<(PathBuf, String), Problems> {
    let unreadable = |error: &std::io::Error| {
        let problem = Problem {
            place: String::new(),
            line: 0,
            column: 0,
            span: 0..0,
            what: format!("the config file cannot be read: {error}"),
            remedy: "name one with `--config FILE`, or begin with `counterflow init`".to_owned(),
        };
        Problems::new(path, String::new(), vec![problem])
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    let absolute = std::path::absolute(path).map_err(|error| unreadable(&error))?;
    Ok((absolute, text))
}
