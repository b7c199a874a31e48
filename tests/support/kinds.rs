//! I11 over all runs that the store names: what a run that did not end well was, the next one is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::case::{Attempt, Case};
use super::check;
use super::journal::Made;
use super::judge::{is_sample, number, run_of};

impl Case {
    /// I11: a full run that was stopped, failed, was killed or left something unknown or unsent is followed by a full one,
    /// and an incremental run by an incremental one. One that was killed after its last receipt may have ended its epoch, as may
    /// one that failed because something around it kept it from saying so.
    pub(super) fn wrong_kinds(&self, runs: &[Value]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut unfinished: Option<(&str, &Value)> = None;
        // The runs of the epoch, as far as they are known.
        let mut chain = Vec::new();
        for run in runs.iter().rev().filter(|run| !is_sample(run)) {
            let (Some(kind), Some(number)) = (run["kind"].as_str(), number(run)) else { continue };
            if let Some((kept, before)) = unfinished
                && kept != kind
                && run["reason"] != "requested"
                && !(kept == "full" && self.may_have_ended(before) && self.is_covered_by(&chain))
            {
                let phase = &before["phase"];
                wrong.push(format!(
                    "I11: run {number} is {kind}, and the one before was {kept} and {phase}: {}",
                    before["tally"]
                ));
            }
            if run["reason"] != "open_epoch" {
                chain.clear();
            }
            chain.push(number);
            unfinished = (!is_ended(kind, run)).then_some((kind, run));
        }
        wrong
    }

    fn may_have_ended(&self, run: &Value) -> bool {
        let is_of = |attempt: &&Attempt| number(run).is_some_and(|run| attempt.runs.contains(&run));
        let is_disturbed = || self.attempts.iter().find(is_of).is_some_and(|a| a.is_disturbed);
        run["phase"] == "interrupted" || run["phase"] == "failed" && is_disturbed()
    }

    /// Whether everything that the last of these runs read was delivered or rejected by receipts of theirs.
    fn is_covered_by(&self, runs: &[u64]) -> bool {
        let requests = self.oracle.requests();
        let ours = requests.iter().filter(|r| run_of(r).is_some_and(|run| runs.contains(&run)));
        let judged = check::judged_of(ours, &[Made::Applied, Made::Redundant, Made::Rejected]);
        let keys: BTreeSet<&String> = judged.map(|operation| &operation.key).collect();
        let last = self.attempts.iter().rfind(|a| a.runs.iter().any(|run| runs.contains(run)));
        let read = last.and_then(|last| self.read_by(last).last());
        // Of an empty source no receipt can prove anything.
        let read = read.filter(|read| !read.is_empty());
        read.is_some_and(|read| read.iter().all(|person| keys.contains(&person.key())))
    }
}

/// Whether nothing of the run is left to the next one.
fn is_ended(kind: &str, run: &Value) -> bool {
    let count = |field: &str| run["tally"][field].as_u64().unwrap_or(0);
    match run["phase"].as_str() {
        Some("succeeded" | "skipped") => true,
        Some("partial") => kind != "full" || count("unknown") + count("unsent") == 0,
        _ => false,
    }
}
