//! Watches from outside when runs become durable, and how many go, while a server is under load.
//!
//! The lateness of a tick is the time from its due moment to the moment at which another connection to the database sees
//! the sync's run In Queue. A run is seen only when it is durable, and at most one look later: what is measured is never
//! less than the truth. A sync whose run waits already when it is due is answered by that run, and counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::store::{Database, Stored};

/// Between two looks at the database.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Between two counts of the runs that go.
const COUNT_AGAIN: Duration = Duration::from_millis(250);

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub arrivals: Vec<Arrival>,
    /// By tick: the syncs of which a run waited when it was due.
    waiting: BTreeMap<i64, BTreeSet<String>>,
    /// How many runs went, from time to time.
    pub going: Vec<usize>,
    pub violations: BTreeSet<String>,
}

/// A run that became durable.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub run: Stored,
    /// In milliseconds since 1970.
    pub seen_at: i64,
    pub seen: Instant,
}

/// What came of the ticks of a time.
#[derive(Debug, Default)]
pub struct Ticks {
    /// Of those that a new run answered.
    pub lateness: Vec<Duration>,
    /// Answered by a run that waited already.
    pub joined: usize,
    /// Syncs and due times without an answer.
    pub lost: Vec<(String, i64)>,
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    i64::try_from(now.as_millis()).expect("it is not that late")
}

/// Looks on until it is over.
pub fn watch(state: &Path, period: i64, is_over: &AtomicBool) -> Seen {
    let mut database = Database::open(state);
    let mut seen = Seen::default();
    let mut last = database.runs_after(0).last().map_or(0, |run| run.id);
    let (mut tick, mut counted) = (now() / period, Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        let this = now() / period;
        if this != tick {
            tick = this;
            let due = tick * period;
            let waits = database.unfinished().into_iter().filter(Stored::waits);
            let waits = waits.filter(|run| run.queued_at < due);
            seen.waiting.insert(due, waits.map(|run| run.sync).collect());
        }
        let runs = database.runs_after(last);
        let (seen_at, at) = (now(), Instant::now());
        last = runs.last().map_or(last, |run| run.id);
        seen.arrivals.extend(runs.into_iter().map(|run| Arrival { run, seen_at, seen: at }));
        if counted.elapsed() >= COUNT_AGAIN {
            counted = Instant::now();
            seen.count(&database.unfinished());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    database.close();
    seen
}

impl Seen {
    fn count(&mut self, unfinished: &[Stored]) {
        let going: Vec<&Stored> = unfinished.iter().filter(|run| run.goes()).collect();
        self.going.push(going.len());
        self.violations.extend(twice(&going));
    }

    /// What came of the ticks from `first` up to before `end`, both in milliseconds since 1970.
    pub fn ticks(&self, syncs: &[String], first: i64, end: i64, period: i64) -> Ticks {
        let mut by_sync: BTreeMap<&str, Vec<&Arrival>> = BTreeMap::new();
        for arrival in &self.arrivals {
            by_sync.entry(&arrival.run.sync).or_default().push(arrival);
        }
        let mut ticks = Ticks::default();
        let mut due = first;
        while due < end {
            let waited = self.waiting.get(&due);
            for sync in syncs {
                let within =
                    |arrival: &&&Arrival| (due..due + period).contains(&arrival.run.queued_at);
                let mut arrivals = by_sync.get(sync.as_str()).into_iter().flatten().filter(within);
                let is_waiting = waited.is_some_and(|waited| waited.contains(sync));
                let fired =
                    arrivals.clone().find(|arrival| arrival.run.trigger.contains("schedule"));
                match fired {
                    Some(arrival) => {
                        let late = u64::try_from(arrival.seen_at - due).unwrap_or_default();
                        ticks.lateness.push(Duration::from_millis(late));
                    }
                    // A run that was asked for in between is the answer too.
                    None if is_waiting || arrivals.next().is_some() => ticks.joined += 1,
                    None => ticks.lost.push((sync.clone(), due)),
                }
            }
            due += period;
        }
        ticks
    }
}

/// Syncs of which two runs go at once, in words.
pub fn twice(going: &[&Stored]) -> Vec<String> {
    let mut by_sync: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    going.iter().for_each(|run| by_sync.entry(&run.sync).or_default().push(run.id));
    let twice = by_sync.into_iter().filter(|(_, runs)| runs.len() > 1);
    twice.map(|(sync, runs)| format!("runs {runs:?} of {sync} go at once")).collect()
}
