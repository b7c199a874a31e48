//! A config of many small syncs, whose sources change one after the other, and what the destination must hold of them.
//!
//! Sync `n` owns the ids from `100 n` on, so that a record tells whose it is. Each change of a source alters a row, adds
//! one and takes one away, so that a run has an upsert and a delete to send.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::oracle::Oracle;
use crate::support::workspace::{PER_RECORD, Setup, Workspace};

/// Ids of one sync.
const IDS: u32 = 100;
/// Rows of each source.
const ROWS: u32 = 6;

/// A counter by id.
type Rows = BTreeMap<u32, u32>;

/// See the file's comment.
pub struct Fleet {
    pub workspace: Workspace,
    base_url: String,
    max_running: u32,
    sources: Mutex<Vec<Rows>>,
}

/// When its syncs fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firing {
    /// Not while anything here is played.
    Yearly,
    Minutely,
    Every(Duration),
}

impl Firing {
    fn schedule(self) -> String {
        match self {
            Firing::Yearly => "{ cron: \"0 0 29 2 *\" }".to_owned(),
            Firing::Minutely => "{ cron: \"* * * * *\" }".to_owned(),
            Firing::Every(period) => format!("{{ every: {}s }}", period.as_secs()),
        }
    }

    /// Between two firings; their times are its multiples since 1970.
    pub fn period(self) -> Duration {
        match self {
            Firing::Yearly => Duration::from_secs(366 * 86_400),
            Firing::Minutely => Duration::from_secs(60),
            Firing::Every(period) => period,
        }
    }
}

impl Fleet {
    /// So many syncs, of which at most `max_running` run at once.
    pub fn new(oracle: &Oracle, syncs: u32, max_running: u32) -> Fleet {
        let first = |sync: u32| (sync * IDS..sync * IDS + ROWS).map(|id| (id, 1)).collect();
        let fleet = Fleet {
            workspace: Workspace::new(oracle, Setup::default()),
            base_url: oracle.base_url(),
            max_running,
            sources: Mutex::new((0..syncs).map(first).collect()),
        };
        (0..fleet.len()).for_each(|sync| fleet.write_source(sync));
        fleet.write_config(Firing::Yearly);
        fleet
    }

    pub fn len(&self) -> usize {
        self.sources().len()
    }

    pub fn write_config(&self, firing: Firing) {
        self.workspace.write("counterflow.yaml", &self.config(firing));
    }

    fn config(&self, firing: Firing) -> String {
        let (tables, models, syncs): (String, String, String) = (
            (0..self.len()).map(|n| format!("      t{n}: t{n}.csv\n")).collect(),
            (0..self.len())
                .map(|n| {
                    format!(
                        "  m{n}: {{ source: lake, sql: SELECT * FROM t{n}, primary_key: [id] }}\n"
                    )
                })
                .collect(),
            (0..self.len()).map(|n| sync(n, firing)).collect(),
        );
        let Fleet { base_url, max_running, .. } = self;
        format!(
            "state: ./state
server: {{ listen: \"127.0.0.1:0\", max_running: {max_running} }}
sources:
  lake:
    files:
{tables}models:
{models}connections:
  crm:
    http: {{ base_url: \"{base_url}\", auth: {{ bearer: \"${{TOKEN}}\" }} }}
    concurrency: {max_running}
    retry: {{ attempts: 4, first_delay: 10ms, longest_delay: 100ms, longest_time: 20s }}
syncs:
{syncs}"
        )
    }

    /// Changes one source after the other, all of them in a period, until it is over.
    pub fn change_until(&self, period: Duration, is_over: &AtomicBool) {
        let count = u32::try_from(self.len()).expect("there are not that many");
        let pause = period / count.max(1);
        for sync in (0..self.len()).cycle() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            self.change(sync);
            std::thread::sleep(pause);
        }
    }

    fn change(&self, sync: usize) {
        {
            let rows = &mut self.sources()[sync];
            let first = rows.first_key_value().map(|(id, _)| *id);
            let last = rows.last_key_value().map(|(id, _)| *id);
            let (first, last) = first.zip(last).expect("a source is never empty");
            rows.remove(&first);
            let base = first - first % IDS;
            // The highest id is followed by the lowest: rows come back that were deleted.
            let next = (last + 1..base + IDS).chain(base..last).find(|id| !rows.contains_key(id));
            rows.insert(next.expect("most ids are free"), 1);
            *rows.entry(last).or_default() += 1;
        }
        self.write_source(sync);
    }

    fn write_source(&self, sync: usize) {
        let mut csv = "id,counter,name\n".to_owned();
        for (id, counter) in &self.sources()[sync] {
            csv.push_str(&format!("{id},{counter},{}\n", name(*id, *counter)));
        }
        self.workspace.write(&format!("t{sync}.csv"), &csv);
    }

    /// What the destination must hold, by key.
    pub fn expected(&self) -> BTreeMap<String, Value> {
        let sources = self.sources();
        let rows = sources.iter().flatten();
        rows.map(|(id, counter)| (format!("[{id}]"), record(*id, *counter))).collect()
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Rows>> {
        self.sources.lock().expect("nothing panics with the lock")
    }
}

/// The sync whose record has this key.
pub fn sync_of(key: &str) -> Option<usize> {
    let id: u32 = key.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    usize::try_from(id / IDS).ok()
}

/// The name of a sync in the config.
pub fn name_of(sync: usize) -> String {
    format!("s{sync}")
}

fn name(id: u32, counter: u32) -> String {
    format!("n{id}x{counter}")
}

fn record(id: u32, counter: u32) -> Value {
    json!({ "id": id, "counter": counter, "name": name(id, counter) })
}

fn sync(number: usize, firing: Firing) -> String {
    let (name, schedule) = (name_of(number), firing.schedule());
    let rest = format!(
        "idempotency: {{ repeat: natural, header: Idempotency-Key }}, outcome: [{{ status: 200, then: {PER_RECORD} }}] }}"
    );
    format!(
        "  {name}:
    model: m{number}
    connection: crm
    mode: mirror
    shared: true
    schedule: {schedule}
    drain_timeout: 5s
    upsert: {{ post: /contacts/batch, batch: {{ records: 10 }}, body: {{ json: {{ records: {{ each: \"{{{{record}}}}\" }} }} }}, {rest}
    delete: {{ post: /contacts/batch/archive, batch: {{ records: 10 }}, body: {{ json: {{ ids: {{ each: \"{{{{record}}}}\" }} }} }}, {rest}
"
    )
}
