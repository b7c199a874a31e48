//! `/metrics`, in the text format of Prometheus.
//!
//! Counters are of this process (`telemetry::metrics`); queue, statuses and last successes come from the store. Not
//! responsible for alerts: `deploy/alerts.yml` has them. Invariant: labels are names of the config and words of ours, so
//! that the series grow with syncs, groups and connections, and with nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::App;
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::shape::StatusWord;
use super::status::Status;
use super::syncs::standings;
use crate::config::SyncConfig;
use crate::control::handle::Readiness;
use crate::domain::run::Phase;
use crate::domain::status::{Facts, Word, status};
use crate::engine::run::now;
use crate::telemetry::metrics::{Counts, LATENESS, OfSync};

/// What the text is declared as.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long statuses are taken for current.
const CURRENT: Duration = Duration::from_secs(5);

/// Every metric with its kind and what it says; the README and the alert rules name no other.
pub const NAMES: [(&str, &str, &str); 21] = [
    ("counterflow_build_info", "gauge", "Always 1; the label is the version"),
    (
        "counterflow_heartbeat_timestamp_seconds",
        "gauge",
        "When this was written; a gap is an outage",
    ),
    ("counterflow_start_timestamp_seconds", "gauge", "When this process began to serve"),
    ("counterflow_ready", "gauge", "1 when triggers are taken in"),
    ("counterflow_runs_queued", "gauge", "Runs that wait"),
    ("counterflow_runs_running", "gauge", "Runs that go"),
    ("counterflow_requests_in_flight", "gauge", "Requests to destinations without an answer yet"),
    (
        "counterflow_schedule_lateness_seconds",
        "histogram",
        "From the due time of a schedule to its durable trigger",
    ),
    ("counterflow_schedule_last_lateness_seconds", "gauge", "The same, of the last firing"),
    ("counterflow_records_delivered_total", "counter", "Records delivered, by sync"),
    (
        "counterflow_records_rejected_total",
        "counter",
        "Records that the destination rejected, by sync",
    ),
    ("counterflow_records_unknown_total", "counter", "Records sent without a receipt, by sync"),
    ("counterflow_runs_total", "counter", "Runs that ended, by sync and outcome"),
    (
        "counterflow_queries_abandoned_total",
        "counter",
        "Queries that did not end with their runs, by sync",
    ),
    ("counterflow_last_success_timestamp_seconds", "gauge", "When a run last succeeded, by sync"),
    ("counterflow_sync_status", "gauge", "1 for the status that a sync has, by sync and status"),
    ("counterflow_group_status", "gauge", "1 for the status that a group has, by group and status"),
    (
        "counterflow_connection_status",
        "gauge",
        "1 for the status that a connection has over its syncs, by connection and status",
    ),
    (
        "counterflow_deletes_held",
        "gauge",
        "Deletes that wait for a person, by sync whose snapshot can be read",
    ),
    (
        "counterflow_sync_scheduled",
        "gauge",
        "1 where a sync has a schedule and is not paused, by sync",
    ),
    ("counterflow_resident_memory_bytes", "gauge", "Memory that this process has now"),
];

/// The path of the metrics.
pub fn routes(routes: Routes) -> Routes {
    let route = Route::get("/metrics", "metrics", "Metrics for Prometheus");
    routes.add(route.text(200, "The text format of Prometheus", "text/plain"), get(show))
}

/// The statuses as they were a moment ago.
#[derive(Debug, Default)]
pub struct Statuses(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    at: Instant,
    standings: Arc<Standings>,
}

/// How all stand.
#[derive(Debug)]
struct Standings {
    syncs: Vec<OfStatus>,
    /// By name.
    groups: Vec<(String, Word)>,
    /// By name.
    connections: Vec<(String, Word)>,
}

#[derive(Debug)]
struct OfStatus {
    sync: String,
    word: Word,
    is_scheduled: bool,
    /// Deletes; `None` where it is not known.
    held: Option<u64>,
}

impl Statuses {
    async fn of(&self, app: &App) -> Arc<Standings> {
        let mut kept = self.0.lock().await;
        if let Some(Kept { at, standings }) = &*kept
            && at.elapsed() < CURRENT
            && app.handle.readiness() == Readiness::Ready
        {
            return Arc::clone(standings);
        }
        let syncs: Vec<&SyncConfig> = app.config.syncs.iter().collect();
        let standings = Standings::of(app, standings(app, &syncs).await);
        let standings = Arc::new(standings);
        *kept = Some(Kept { at: Instant::now(), standings: Arc::clone(&standings) });
        standings
    }
}

impl Standings {
    fn of(app: &App, statuses: Vec<Status<'_>>) -> Standings {
        let groups = over(app.config.groups.keys(), &statuses, |sync| sync.group.as_deref());
        let connections = app.config.connections.keys();
        let connections = over(connections, &statuses, |sync| Some(sync.sync.connection.as_str()));
        let syncs = statuses.into_iter().map(|status| OfStatus {
            sync: status.sync.sync.name.clone(),
            word: status.status.word,
            is_scheduled: status.sync.schedule.is_some() && status.facts.disabled.is_none(),
            held: status.snapshot.is_ok().then_some(status.facts.held),
        });
        Standings { syncs: syncs.collect(), groups, connections }
    }
}

/// The status of each of these over the syncs that are `of` it.
fn over<'c>(
    names: impl Iterator<Item = &'c String>,
    statuses: &[Status<'_>],
    of: impl Fn(&SyncConfig) -> Option<&str>,
) -> Vec<(String, Word)> {
    let mut members: BTreeMap<&str, Vec<Facts>> =
        names.map(|name| (name.as_str(), Vec::new())).collect();
    for known in statuses {
        if let Some(members) = of(known.sync).and_then(|name| members.get_mut(name)) {
            members.push(known.facts.clone());
        }
    }
    members.into_iter().map(|(name, facts)| (name.to_owned(), status(&facts).word)).collect()
}

async fn show(State(app): State<App>) -> Result<Response, Problem> {
    let mut page = Page::default();
    let unfinished = app.store.unfinished().await?;
    let queued = unfinished.iter().filter(|run| run.phase == Phase::InQueue).count();
    page.one("counterflow_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.one("counterflow_heartbeat_timestamp_seconds", &[], seconds(now().0));
    page.one("counterflow_start_timestamp_seconds", &[], seconds(app.started_at.0));
    let is_ready = app.handle.readiness() == Readiness::Ready;
    page.one("counterflow_ready", &[], f64::from(u8::from(is_ready)));
    page.one("counterflow_runs_queued", &[], count(queued as u64));
    page.one("counterflow_runs_running", &[], count((unfinished.len() - queued) as u64));
    page.one("counterflow_requests_in_flight", &[], count(app.handle.live().in_flight()));
    let counts = app.handle.metrics().counts();
    page.lateness(&counts);
    page.totals(&app, &counts);
    let syncs: Vec<&str> = app.config.syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
    page.head("counterflow_last_success_timestamp_seconds");
    for (sync, at) in app.store.last_successes(&syncs).await? {
        page.sample(
            "counterflow_last_success_timestamp_seconds",
            &[("sync", &sync)],
            seconds(at.0),
        );
    }
    page.standings(&*app.statuses.of(&app).await);
    if let Some(bytes) = resident_memory() {
        page.one("counterflow_resident_memory_bytes", &[], count(bytes));
    }
    Ok(([(header::CONTENT_TYPE, KIND)], page.0).into_response())
}

/// The text, while it is written.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str) {
        let (_, kind, says) =
            NAMES.iter().find(|(known, ..)| *known == name).expect("every metric has its line");
        self.line(format_args!("# HELP {name} {says}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("text takes all that is written to it");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn one(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.head(name);
        self.sample(name, labels, value);
    }

    fn lateness(&mut self, counts: &Counts) {
        let (name, lateness) = ("counterflow_schedule_lateness_seconds", counts.lateness);
        self.head(name);
        let bucket = format!("{name}_bucket");
        for (bound, within) in LATENESS.iter().zip(lateness.within) {
            self.sample(&bucket, &[("le", &bound.to_string())], count(within));
        }
        self.sample(&bucket, &[("le", "+Inf")], count(lateness.count));
        self.sample(&format!("{name}_sum"), &[], milliseconds(lateness.sum));
        self.sample(&format!("{name}_count"), &[], count(lateness.count));
        self.one("counterflow_schedule_last_lateness_seconds", &[], milliseconds(lateness.last));
    }

    /// Of the syncs that are in the config: one that left it takes its series with it.
    fn totals(&mut self, app: &App, counts: &Counts) {
        type Total = (&'static str, fn(&OfSync) -> u64);
        const TOTALS: [Total; 4] = [
            ("counterflow_records_delivered_total", |of| of.delivered),
            ("counterflow_records_rejected_total", |of| of.rejected),
            ("counterflow_records_unknown_total", |of| of.unknown),
            ("counterflow_queries_abandoned_total", |of| of.abandoned_queries),
        ];
        let none = OfSync::default();
        let syncs: Vec<(&str, &OfSync)> = app
            .config
            .syncs
            .iter()
            .map(|sync| sync.sync.name.as_str())
            .map(|name| (name, counts.syncs.get(name).unwrap_or(&none)))
            .collect();
        for (name, total) in TOTALS {
            self.head(name);
            for (sync, of_sync) in &syncs {
                self.sample(name, &[("sync", sync)], count(total(of_sync)));
            }
        }
        self.head("counterflow_runs_total");
        for (sync, of_sync) in syncs {
            for (outcome, runs) in &of_sync.runs {
                let labels = [("sync", sync), ("outcome", *outcome)];
                self.sample("counterflow_runs_total", &labels, count(*runs));
            }
        }
    }

    fn standings(&mut self, Standings { syncs, groups, connections }: &Standings) {
        self.head("counterflow_sync_status");
        for OfStatus { sync, word, .. } in syncs {
            self.words("counterflow_sync_status", ("sync", sync), *word);
        }
        self.head("counterflow_group_status");
        for (group, word) in groups {
            self.words("counterflow_group_status", ("group", group), *word);
        }
        self.head("counterflow_connection_status");
        for (connection, word) in connections {
            self.words("counterflow_connection_status", ("connection", connection), *word);
        }
        self.head("counterflow_sync_scheduled");
        for OfStatus { sync, is_scheduled, .. } in syncs {
            let is_scheduled = f64::from(u8::from(*is_scheduled));
            self.sample("counterflow_sync_scheduled", &[("sync", sync)], is_scheduled);
        }
        self.head("counterflow_deletes_held");
        for OfStatus { sync, held, .. } in syncs {
            if let Some(held) = held {
                self.sample("counterflow_deletes_held", &[("sync", sync)], count(*held));
            }
        }
    }

    /// One series for each word there is, of which one has it.
    fn words(&mut self, name: &str, label: (&str, &str), has: Word) {
        for word in StatusWord::ALL {
            let labels = [label, ("status", &word.to_string())];
            self.sample(name, &labels, f64::from(u8::from(word == has)));
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Whole to 2^53, far more than is ever counted.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows nothing but floating point")]
fn count(number: u64) -> f64 {
    number as f64
}

fn milliseconds(number: u64) -> f64 {
    Duration::from_millis(number).as_secs_f64()
}

/// From milliseconds since 1970.
fn seconds(at: i64) -> f64 {
    milliseconds(u64::try_from(at).unwrap_or_default())
}

/// What the kernel says of this process, in bytes; `None` where it says nothing.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut page = Page::default();
        page.sample("counterflow_ready", &[("sync", "a\"b\\c\nd")], 1.0);
        assert_eq!(page.0, "counterflow_ready{sync=\"a\\\"b\\\\c\\nd\"} 1\n");
    }

    #[test]
    fn the_memory_of_this_process_is_known() {
        if cfg!(target_os = "linux") {
            assert!(resident_memory().unwrap() > 1 << 20);
        }
    }
}
