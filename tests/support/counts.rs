//! I10 over all runs that the store names, those of a server and those that were killed among them: the counts are those
//! of the source and of the oracle.
//!
//! Where every attempt reaches the oracle and no batch is halved, [`Case::assert_attempts_counted`] is exact.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use counterflow::domain::entry::Entry;

use super::asked::seconds;
use super::case::{Attempt, Case};
use super::check;
use super::journal::{Asked, Made, Request};
use super::judge::{by_key, number, reads_a_part, run_of};
use super::people::Person;

/// The counts of one run.
struct Tally<'a> {
    run: u64,
    phase: &'a str,
    counts: &'a Value,
    /// It reads a part of the rows only.
    is_partial_read: bool,
}

impl Tally<'_> {
    fn count(&self, field: &str) -> u64 {
        self.counts[field].as_u64().unwrap_or(0)
    }

    fn sum(&self, fields: &[&str]) -> u64 {
        fields.iter().map(|field| self.count(field)).sum()
    }

    /// It came to its end, and says what became of everything.
    fn is_final(&self) -> bool {
        matches!(self.phase, "succeeded" | "partial" | "cancelled" | "failed")
    }

    fn read_all(&self) -> bool {
        matches!(self.phase, "succeeded" | "partial") && !self.is_partial_read
    }
}

impl Case {
    /// I10: the counts that runs report are those that the source and the oracle tell.
    pub(super) fn wrong_counts(&self, runs: &[Value]) -> Vec<String> {
        let requests = self.oracle.requests();
        let mut wrong = Vec::new();
        for document in runs {
            let (Some(run), Some(phase)) = (number(document), document["phase"].as_str()) else {
                continue;
            };
            if run <= self.forgotten {
                continue;
            }
            let is_partial_read = reads_a_part(document);
            let tally = Tally { run, phase, counts: &document["tally"], is_partial_read };
            let ours: Vec<&Request> =
                requests.iter().filter(|request| run_of(request) == Some(run)).collect();
            let attempt = self.attempts.iter().find(|attempt| attempt.runs.contains(&run));
            let is_timely = attempt.is_some_and(|attempt| self.is_timely(attempt));
            // What cannot be noted any more is no receipt.
            let is_cut_short =
                phase == "failed" && attempt.is_some_and(|attempt| attempt.is_disturbed);
            let mut said = against_requests(&tally, &ours, is_timely && !is_cut_short);
            said.extend(wrong_sum(&tally));
            said.extend(wrong_success(&tally));
            // A run that failed before it began, on a full disk, may wait in the queue still: its last report counts.
            let mut reports = self.attempts.iter().filter_map(|attempt| attempt.report.as_ref());
            let report = reports.rfind(|report| report.json["run"].as_u64() == Some(run));
            if report.is_some_and(|r| tally.is_final() && r.json["tally"] != *tally.counts) {
                said.push("another tally than its report".to_owned());
            }
            if let Some(attempt) = attempt {
                said.extend(self.against_source(&tally, attempt));
                said.extend(self.needless_requests(&tally, attempt, &ours));
            }
            let counts = tally.counts;
            wrong.extend(said.iter().map(|s| format!("I10: run {run}, {phase}: {s}: {counts}")));
        }
        wrong
    }

    /// Whether the process ended sooner than a request is given up.
    fn is_timely(&self, attempt: &Attempt) -> bool {
        let limit = self.workspace.setup.request_timeout.map(seconds);
        let took = attempt.report.as_ref().map(|report| report.finished.took);
        limit.is_none_or(|limit| took.is_some_and(|took| took < limit))
    }

    /// The rows and the invalid ones are those of a source that the run may have read. Of a repeated key the first row may
    /// have left before the second came.
    fn against_source(&self, tally: &Tally<'_>, attempt: &Attempt) -> Option<String> {
        if !self.workspace.setup.sql.starts_with("SELECT * FROM people") {
            return None;
        }
        let (rows, invalid) = (tally.count("rows_read"), tally.count("invalid"));
        let fits = |source: &Vec<Person>| {
            let by_key = by_key(source);
            let repeated = by_key.values().map(Vec::len).filter(|count| *count > 1);
            let (keys, repeated) = repeated.fold((0, 0), |(k, sum), rows| (k + 1, sum + rows));
            let invalids = (repeated - keys) as u64..=repeated as u64;
            match tally.read_all() {
                true => rows == source.len() as u64 && invalids.contains(&invalid),
                false => rows <= source.len() as u64 && invalid <= repeated as u64,
            }
        };
        let sources = self.read_by(attempt);
        let is_so = sources.is_empty() || sources.iter().any(fits);
        (!is_so).then(|| "other rows than the source has".to_owned())
    }

    /// Where nothing went wrong, a run makes no more requests than its operations fill; what it repeats, it repeats as it
    /// was sent.
    fn needless_requests(
        &self,
        tally: &Tally<'_>,
        attempt: &Attempt,
        ours: &[&Request],
    ) -> Option<String> {
        let is_usual = |request: &&Request| request.fault == "None" && request.is_answered_whole;
        let is_open = |entry: &Entry| entry.doubt.is_some() || entry.rejection.is_some();
        let is_plain = ours.iter().copied().all(|request| is_usual(&request))
            && !attempt.entries.values().any(is_open)
            && attempt.runs.len() == 1;
        let batch = u64::from(self.workspace.setup.batch);
        let most: u64 =
            ["upserts", "deletes"].map(|field| tally.count(field).div_ceil(batch)).iter().sum();
        let made = tally.count("requests");
        let is_so = !is_plain || !tally.read_all() || made <= most;
        (!is_so).then(|| format!("{most} requests would have done"))
    }

    /// I10, exactly: each attempt that was seen is reported, and no other; so for the repetitions of a batch. Only where
    /// every attempt reaches the oracle and no batch is halved.
    #[track_caller]
    pub fn assert_attempts_counted(&self) {
        let violations = self.oracle.violations();
        assert!(violations.is_empty(), "{violations:#?}\n{}", self.print());
        let requests = self.oracle.requests();
        for report in self.attempts.iter().filter_map(|attempt| attempt.report.as_ref()) {
            let run = report.json["run"].as_u64();
            let ours = || requests.iter().filter(|request| run_of(request) == run);
            // A batch is known by its body; one that was never read, by its key.
            let bodies: BTreeMap<_, _> = ours()
                .filter(|request| !request.sent.operations.is_empty())
                .map(|request| (&request.sent.idempotency_key, &request.sent.body_hash))
                .collect();
            let batch = |request: &Request| match bodies.get(&request.sent.idempotency_key) {
                Some(body) => Some((*body).clone()),
                None => request.sent.idempotency_key.clone(),
            };
            let (seen, batches) = (ours().count(), ours().map(batch).collect::<BTreeSet<_>>());
            let said = (report.count("requests"), report.count("retries"));
            let wanted = (seen as u64, (seen - batches.len()) as u64);
            assert_eq!(said, wanted, "I10: requests and retries of run {run:?}\n{}", self.print());
        }
    }

    /// I10: what waits for a person, or for its next try, is counted as the snapshot names it.
    pub(super) fn wrong_open(&self, entries: &super::known::Entries) -> Option<String> {
        let ended = self.attempts.last()?.ended.as_ref()?;
        let phase = ended["outcome"].as_str().or(ended["phase"].as_str())?;
        let is_partial_read = reads_a_part(ended);
        let tally = Tally { run: 0, phase, counts: &ended["tally"], is_partial_read };
        if !tally.read_all() {
            return None;
        }
        let held = entries.values().filter(|entry| entry.held.is_some());
        // A delete that was released, and was rejected or not answered, is counted as that, and stays one of its hold.
        let is_asked = |entry: &&Entry| entry.doubt.is_some() || entry.rejection.is_some();
        let (asked, kept): (Vec<_>, Vec<_>) = held.partition(is_asked);
        let held = kept.len() as u64..=(kept.len() + asked.len()) as u64;
        let refused = entries.values().filter(|entry| entry.rejection.is_some()).count() as u64;
        let said = (tally.count("held"), tally.sum(&["rejected", "deferred"]));
        (!held.contains(&said.0) || said.1 > refused).then(|| {
            format!("I10: {held:?} are held and {refused} are rejected, and the run says {}", {
                tally.counts
            })
        })
    }
}

/// The counts of what was asked and came of it. A run has one operation for each key, however often it was repeated because
/// an answer was not read in time. `is_timely`: none can have come too late, or in vain.
fn against_requests(tally: &Tally<'_>, ours: &[&Request], is_timely: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let received: BTreeSet<(&str, bool)> = check::receipts_of(ours.iter().copied())
        .map(|operation| (operation.key.as_str(), operation.asked == Asked::Delete))
        .collect();
    let deletes = received.iter().filter(|(_, is_delete)| *is_delete).count() as u64;
    let unknown = tally.count("unknown");
    for (field, received) in [("delivered", received.len() as u64), ("deleted", deletes)] {
        let said = tally.count(field);
        let hides = tally.is_final() && received > said + unknown;
        if said > received || hides {
            wrong.push(format!("{received} {field} by the oracle"));
        }
    }
    if !tally.is_final() {
        return wrong;
    }
    let made = |wanted: &dyn Fn(&Request, Made) -> bool| -> u64 {
        let operations =
            ours.iter().flat_map(|r| r.operations().map(move |(o, made)| (r, o, made)));
        let keys = operations.filter(|(r, _, made)| wanted(r, *made)).map(|(_, o, _)| &o.key);
        keys.collect::<BTreeSet<_>>().len() as u64
    };
    let refused = made(&|_, made| made == Made::Rejected);
    if tally.count("rejected") < refused && unknown == 0 {
        wrong.push(format!("{refused} rejections were answered"));
    }
    // Where a request was lost before it was read, nobody knows what it asked for.
    let is_read = ours.iter().all(|request| !request.sent.operations.is_empty());
    let seen = ours.len() as u64;
    if tally.count("requests") < seen {
        wrong.push(format!("the oracle saw {seen} requests"));
    }
    if is_timely && is_read && tally.count("requests") == seen {
        let open = made(&|request, _| !(request.is_receipt && request.is_answered_whole));
        let reset = made(&|request, _| request.fault.starts_with("AnswerThenReset"));
        if unknown > open + reset && tally.phase != "cancelled" {
            wrong.push(format!("{open} operations were left without a receipt"));
        }
    }
    wrong
}

/// A run that succeeded has nothing left of which anybody must know.
fn wrong_success(tally: &Tally<'_>) -> Option<String> {
    let rest = ["rejected", "unknown", "held", "deferred", "unsent", "invalid"];
    let is_so = tally.phase != "succeeded" || tally.sum(&rest) == 0;
    (!is_so).then(|| "it is called a success".to_owned())
}

/// The tally adds up.
fn wrong_sum(tally: &Tally<'_>) -> Option<String> {
    let rows = tally.sum(&["unchanged", "upserts", "invalid", "waived"]);
    let ended = tally.sum(&["delivered", "rejected", "unknown", "held", "deferred", "unsent"]);
    let is_so = tally.count("rows_read") == rows && tally.sum(&["upserts", "deletes"]) == ended;
    (tally.is_final() && !is_so).then(|| "it does not add up".to_owned())
}
