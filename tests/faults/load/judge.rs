//! What must hold of a server that was loaded and killed: no run lost, doubled or stuck, none beside another of its sync,
//! every accepted trigger answered, and the destination holding what the sources hold.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, sync_of};
use super::store::Stored;
use crate::support::journal::Request;
use crate::support::oracle::Oracle;

/// Things that are wrong and are shown of each kind.
const SHOWN: usize = 5;

/// What is wrong, in words.
#[derive(Debug, Default)]
pub struct Wrong(Vec<String>);

impl Wrong {
    /// Takes in what is wrong in one respect, the first few of it.
    pub fn add(&mut self, rule: &str, what: impl IntoIterator<Item = String>) {
        let what: Vec<String> = what.into_iter().collect();
        self.0.extend(what.iter().take(SHOWN).map(|what| format!("{rule}: {what}")));
        if what.len() > SHOWN {
            self.0.push(format!("{rule}: {} more", what.len() - SHOWN));
        }
    }

    pub fn all(self) -> Vec<String> {
        self.0
    }
}

/// I1: the destination holds what the sources hold; I6: no key was in two requests at once.
pub fn destination(wrong: &mut Wrong, fleet: &Fleet, oracle: &Oracle) {
    let (expected, held) = (fleet.expected(), oracle.table());
    let keys: BTreeSet<&String> = expected.keys().chain(held.keys()).collect();
    let differs = keys.into_iter().filter(|key| expected.get(*key) != held.get(*key));
    wrong.add(
        "I1",
        differs.map(|key| {
            let (source, destination) = (expected.get(key), held.get(key));
            format!("{key}: the source holds {source:?}, the destination {destination:?}")
        }),
    );
    wrong.add("I6", oracle.violations());
}

/// What the store says of all runs at the end, when the server has ended. `settled` is the last run that was waited for:
/// later ones may have been stopped with the server.
pub fn runs(wrong: &mut Wrong, runs: &[Stored], accepted: &[i64], settled: i64, period: i64) {
    let ids: BTreeMap<i64, &Stored> = runs.iter().map(|run| (run.id, run)).collect();
    let last = ids.keys().next_back().copied().unwrap_or_default();
    wrong.add(
        "lost",
        (1..=last).filter(|id| !ids.contains_key(id)).map(|id| format!("run {id} is gone")),
    );
    let unknown = accepted.iter().filter(|id| !ids.get(*id).is_some_and(|run| run.is_ended));
    wrong.add("lost", unknown.map(|id| format!("run {id} was accepted, and has not ended")));
    let stuck = runs.iter().filter(|run| run.goes());
    wrong.add("stuck", stuck.map(|run| format!("run {} of {}: {}", run.id, run.sync, run.phase)));
    // In the order of their numbers: the last stands.
    let newest: BTreeMap<&str, i64> = runs.iter().map(|run| (run.sync.as_str(), run.id)).collect();
    let unanswered =
        runs.iter().filter(|run| run.is("interrupted") && newest[run.sync.as_str()] == run.id);
    wrong.add(
        "lost",
        unanswered.map(|run| {
            format!("run {} of {} was interrupted, and none followed", run.id, run.sync)
        }),
    );
    let dropped = runs.iter().filter(|run| run.id <= settled && run.is("cancelled"));
    // Two runs of a sync may wait after a kill; the one that goes answers both.
    let dropped = dropped
        .filter(|run| !run.error.as_deref().is_some_and(|why| why.contains("waits already")));
    wrong.add("lost", dropped.map(|run| format!("run {} was cancelled: {:?}", run.id, run.error)));
    let mut ticks: BTreeMap<(&str, i64), Vec<i64>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.trigger.contains("schedule")) {
        ticks.entry((&run.sync, run.queued_at / period)).or_default().push(run.id);
    }
    let doubled = ticks.into_iter().filter(|(_, runs)| runs.len() > 1);
    wrong.add(
        "doubled",
        doubled.map(|((sync, tick), runs)| format!("{sync} fired runs {runs:?} at tick {tick}")),
    );
}

/// No run of a sync sends while another of it does: by what the destination saw.
pub fn order(wrong: &mut Wrong, requests: &[Request]) {
    // The last requests of each run, by its first: (sync, run) to the numbers of the first and the last.
    let mut spans: BTreeMap<(usize, i64), (usize, usize)> = BTreeMap::new();
    for request in requests {
        let run = request.sent.run.as_deref().and_then(|run| run.parse().ok());
        let sync = request.sent.keys().next().and_then(sync_of);
        if let (Some(run), Some(sync)) = (run, sync) {
            let number = request.sent.number;
            let span = spans.entry((sync, run)).or_insert((number, number));
            span.1 = number;
        }
    }
    let pairs = spans.iter().zip(spans.iter().skip(1));
    let over = pairs
        .filter(|(((sync, _), (_, last)), ((next, _), (first, _)))| sync == next && first < last);
    wrong.add(
        "overlap",
        over.map(|(((sync, run), _), ((_, next), _))| {
            format!("s{sync}: run {next} sent before run {run} had sent its last")
        }),
    );
}
