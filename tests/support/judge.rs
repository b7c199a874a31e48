//! The judge: one call looks at everything that a case has seen, by every invariant of the fault document.
//!
//! | invariant | where it is looked at |
//! |---|---|
//! | I1, I2, I8, I9 | [`Case::judge`], which lets the sync settle first |
//! | I3, I4 | after each process, and at the end |
//! | I5, I6, I7, I10, I13 | over all requests and reports, at the end |
//! | I11 | over all runs that the store names |
//! | I12 | after each process (what it printed), and at the end (the state) |

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use counterflow::domain::entry::Entry;

use super::case::{Attempt, Case};
use super::check;
use super::journal::{Asked, Made, Operation, Request};
use super::known;
use super::people::{Person, expected, key};
use super::workspace::Report;

/// Runs that a sync may need until it has nothing more to send, once all faults are over.
const SETTLES_WITHIN: usize = 6;
/// The id of the person who comes last, to see that the sync is alive.
const FRESH: u32 = 800_001;

/// What a scenario says must be left in the end: keys that the product names instead of delivering.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// Refused by the destination, or waiting for their next try.
    pub rejected: BTreeSet<u32>,
    /// Deletes that wait for a person.
    pub held: BTreeSet<u32>,
    /// Changes that a person has decided not to send.
    pub waived: BTreeSet<u32>,
}

impl Case {
    /// All faults are over: lets the sync settle, makes sure that it is alive, and judges all that was seen.
    #[track_caller]
    pub fn judge(self) {
        self.judge_leaving(&Left::default());
    }

    /// As `judge`; these keys, and no others, must be left, and named.
    #[track_caller]
    pub fn judge_leaving(mut self, left: &Left) {
        self.oracle.clear_faults();
        self.oracle.release();
        self.say("all faults are over");
        self.settle();
        self.assert_held(self.people(), left);
        let mut people = self.people().to_vec();
        people.push(Person::new(FRESH, 1));
        self.write(&people);
        let before = self.oracle.request_count();
        self.settle();
        let requests = self.oracle.requests();
        let sent = requests[before..].iter().flat_map(|request| request.sent.keys());
        let others: BTreeSet<&str> = sent.filter(|sent| *sent != key(FRESH)).collect();
        assert!(others.is_empty(), "I8: {others:?} were sent again\n{}", self.print());
        let arrived = self.oracle.record(&key(FRESH)) == Some(Person::new(FRESH, 1).record());
        assert!(arrived, "I9: a fresh change was not delivered\n{}", self.print());
        self.assert_held(&people, left);
        let mut wrong = self.wrong_after_a_process();
        wrong.extend(self.wrong_requests());
        wrong.extend(self.wrong_counts());
        wrong.extend(self.wrong_kinds());
        let may_differ = |last: &Request, next: &Request| self.was_otherwise(last, next);
        wrong.extend(check::wrong_in_journal(&self.oracle, &may_differ));
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", self.print());
        self.workspace.assert_state_holds_no_canary();
    }

    /// Runs until nothing is sent any more (I8); that must come soon (I9).
    #[track_caller]
    fn settle(&mut self) {
        let mut is_clean = false;
        for _ in 0..SETTLES_WITHIN {
            let before = self.oracle.request_count();
            let report = self.sync(&[]);
            let is_silent = self.oracle.request_count() == before;
            assert!(is_silent || !is_clean, "I8: sent in a clean state\n{}", self.print());
            if is_silent && report.json["outcome"] != "failed" {
                return;
            }
            is_clean = report.json["outcome"] == "succeeded";
        }
        panic!("I8, I9: still sending after {SETTLES_WITHIN} runs\n{}", self.print());
    }

    /// I1: the destination holds the source (mirror) or covers it (upsert), save what is named.
    #[track_caller]
    fn assert_held(&self, people: &[Person], left: &Left) {
        let entries = known::entries(&self.workspace).unwrap_or_default();
        let named = |is_named: &dyn Fn(&Entry) -> bool| -> BTreeSet<&String> {
            entries.iter().filter(|(_, entry)| is_named(entry)).map(|(key, _)| key).collect()
        };
        let declared = |ids: &BTreeSet<u32>| ids.iter().map(|id| key(*id)).collect::<BTreeSet<_>>();
        for (what, named, declared) in [
            ("rejected", named(&|entry| entry.rejection.is_some()), declared(&left.rejected)),
            ("held", named(&|entry| entry.held.is_some()), declared(&left.held)),
            ("waived", named(&|entry| entry.waiver.is_some()), declared(&left.waived)),
        ] {
            let wanted: BTreeSet<&String> = declared.iter().collect();
            assert_eq!(named, wanted, "I1: other keys are {what}\n{}", self.print());
        }
        let mut invalid = BTreeSet::new();
        let mut seen = BTreeSet::new();
        invalid.extend(people.iter().filter(|person| !seen.insert(person.id)).map(|p| key(p.id)));
        // Applied after we gave up, where the destination honours no version (B5).
        let late = self.oracle.late();
        let exempt = |key: &String| {
            invalid.contains(key)
                || late.contains(key)
                || declared(&left.rejected).contains(key)
                || declared(&left.held).contains(key)
                || declared(&left.waived).contains(key)
                || self.discarded.contains(key)
        };
        let (mut wanted, mut table) = (expected(people), self.oracle.table());
        wanted.retain(|key, _| !exempt(key));
        let planted = self.oracle.planted();
        table.retain(|key, _| !exempt(key) && !planted.contains_key(key));
        let is_mirror = self.workspace.setup.mode == "mirror";
        let differences = check::differences(&wanted, &table, is_mirror);
        assert!(differences.is_empty(), "I1: {differences:#?}\n{}", self.print());
    }

    /// I3 and I4, from the snapshot as the next run will find it; I2 where the run that ended says that it succeeded.
    pub(super) fn wrong_after_a_process(&self) -> Vec<String> {
        // In this order: what another process sends in between is known before it is at the destination.
        let table = self.oracle.table();
        let entries = known::entries(&self.workspace).unwrap_or_default();
        let requests = self.oracle.requests();
        let mut wrong = Vec::new();
        let (planted, late) = (self.oracle.planted(), self.oracle.late());
        for key in table.keys() {
            let is_ours =
                !planted.contains_key(key) && !self.discarded.contains(key) && !late.contains(key);
            let is_known = entries.get(key).is_some_and(Entry::is_possibly_at_destination);
            if is_ours && !is_known {
                wrong.push(format!("I4: {key} is at the destination, and nobody knows"));
            }
        }
        let delivered = self.delivered_by_key(&requests);
        for (key, entry) in &entries {
            let Some(confirmed) = entry.confirmed else { continue };
            let states = delivered.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            let is_so = match entry.doubt {
                None => states.last() == Some(&Some(confirmed.fingerprint)),
                Some(_) => states.contains(&Some(confirmed.fingerprint)),
            };
            if !is_so {
                wrong.push(format!("I3: the snapshot is ahead at {key}: {entry:?}"));
            }
        }
        if let Some(attempt) = self.attempts.last() {
            wrong.extend(self.undelivered(attempt));
        }
        wrong
    }

    /// I2: after a run that succeeded, the destination holds what it read.
    fn undelivered(&self, attempt: &Attempt) -> Vec<String> {
        let succeeded = attempt.report.as_ref().is_some_and(|r| r.json["outcome"] == "succeeded");
        let is_sample = attempt.report.as_ref().is_some_and(|r| r.json["reason"] == "sample");
        if !succeeded || is_sample || attempt.sources.start() != attempt.sources.end() {
            return Vec::new();
        }
        let mut wanted = expected(&self.sources[*attempt.sources.start()]);
        let (table, late) = (self.oracle.table(), self.oracle.late());
        let entries = known::entries(&self.workspace).unwrap_or_default();
        let is_waived = |key: &String| entries.get(key).is_some_and(|one| one.waiver.is_some());
        wanted.retain(|key, _| !late.contains(key) && !is_waived(key));
        let differences = check::differences(&wanted, &table, false);
        differences.into_iter().map(|difference| format!("I2: {difference}")).collect()
    }

    /// The states that receipts have confirmed for each key, in order; `None` for a delete.
    fn delivered_by_key<'r>(
        &self,
        requests: &'r [Request],
    ) -> BTreeMap<&'r str, Vec<Option<u128>>> {
        let operations: Vec<&Operation> = check::receipts(requests).collect();
        let people: Vec<Option<Person>> =
            operations.iter().map(|operation| Person::of(&operation.record)).collect();
        let known: Vec<Person> = people.iter().flatten().copied().collect();
        let mut fingerprints = known::fingerprints(&known).into_iter();
        let mut delivered = BTreeMap::<&str, Vec<Option<u128>>>::new();
        for (operation, person) in operations.into_iter().zip(people) {
            let state = match (operation.asked, person) {
                (Asked::Upsert, Some(_)) => fingerprints.next(),
                _ => None,
            };
            delivered.entry(&operation.key).or_default().push(state);
        }
        delivered
    }

    /// I5, I6 and I13 by run: what was sent is what the run read, what was deleted it did not find, and not too much.
    fn wrong_requests(&self) -> Vec<String> {
        let requests = self.oracle.requests();
        let mut wrong = Vec::new();
        for attempt in &self.attempts {
            let read: Vec<BTreeMap<String, Vec<Value>>> =
                self.sources[attempt.sources.clone()].iter().map(|people| by_key(people)).collect();
            let mut deleted = BTreeSet::new();
            let ours = requests.iter().filter(|request| is_of(request, attempt));
            for operation in ours.flat_map(|request| &request.sent.operations) {
                let Operation { key, record, .. } = operation;
                let is_so = match operation.asked {
                    Asked::Upsert => read
                        .iter()
                        .any(|read| read.get(key).is_some_and(|states| states.contains(record))),
                    Asked::Delete => {
                        deleted.insert(key.clone());
                        read.iter().any(|read| !read.contains_key(key))
                    }
                };
                if !is_so && operation.asked == Asked::Upsert {
                    wrong.push(format!("I6: {key} was sent as the source did not hold it"));
                } else if !is_so {
                    wrong.push(format!("I5: {key} was deleted, and the source held it"));
                }
            }
            let most = self.deletes_allowed(attempt);
            if deleted.len() > most && !attempt.is_released {
                let count = deleted.len();
                wrong.push(format!("I13: {count} deletes, and the guard allows {most}"));
            }
        }
        wrong.extend(self.too_many_redundant(&requests));
        wrong
    }

    /// The guard of the setup, in keys. A percentage is of the entries before the run and of those that it adds.
    fn deletes_allowed(&self, attempt: &Attempt) -> usize {
        let added = self.sources[attempt.sources.clone()].iter().map(Vec::len).max().unwrap_or(0);
        let percent = |percent: usize| (attempt.entries.max(added) * percent).div_ceil(100);
        match self.workspace.setup.max_deletes {
            None => percent(10).max(10),
            Some(limit) => match limit.strip_suffix('%') {
                Some(share) => percent(share.parse().expect("a whole percentage")),
                None => limit.parse().expect("a number of rows"),
            },
        }
    }

    /// I7: each redundant operation repeats one that was applied and whose answer was lost, that a report calls unknown or
    /// counts as retried, or that was in flight at a crash or when nothing could be noted any more. The first record of a
    /// key in an epoch is none.
    fn too_many_redundant(&self, requests: &[Request]) -> Option<String> {
        let setup = &self.workspace.setup;
        let window = usize::try_from(setup.batch * setup.concurrency).unwrap_or(usize::MAX);
        // Of an answer that is reset after it was written nobody knows whether it was read.
        let is_lost = |request: &&Request| {
            let is_read = request.is_receipt && request.is_answered_whole;
            let is_doubtful = !is_read || request.fault.starts_with("AnswerThenReset");
            request.is_applied() && is_doubtful
        };
        let lost: usize =
            requests.iter().filter(is_lost).map(|request| request.sent.operations.len()).sum();
        let reports = || self.attempts.iter().filter_map(|attempt| attempt.report.as_ref());
        let failed = reports().filter(|report| report.json["outcome"] == "failed").count();
        let told = |report: &Report| {
            report.count("unknown") + report.count("retries") * u64::from(setup.batch)
        };
        let told = usize::try_from(reports().map(told).sum::<u64>()).unwrap_or(usize::MAX);
        let redundant = self.repeated_in_epochs(requests);
        let most = (self.crashes + failed) * window + lost + told;
        (redundant > most).then(|| format!("I7: {redundant} redundant, at most {most} are excused"))
    }

    /// Whether the source held a key of both requests otherwise between them: then another intent may have come between.
    fn was_otherwise(&self, last: &Request, next: &Request) -> bool {
        let place = |request: &Request| self.attempts.iter().position(|one| is_of(request, one));
        let (Some(first), Some(second)) = (place(last), place(next)) else { return false };
        let between = self.attempts[first..=second].iter();
        let mut sources = between.flat_map(|attempt| &self.sources[attempt.sources.clone()]);
        sources.any(|people| {
            let held = by_key(people);
            next.sent.operations.iter().any(|operation| match operation.asked {
                Asked::Upsert => {
                    held.get(&operation.key).is_none_or(|h| *h != [operation.record.clone()])
                }
                Asked::Delete => held.contains_key(&operation.key),
            })
        })
    }

    /// Redundant operations on keys that were delivered in the same epoch before.
    fn repeated_in_epochs(&self, requests: &[Request]) -> usize {
        let opens_epoch = |run: &&Value| run["kind"] == "full" && run["reason"] != "open_epoch";
        let runs = self.runs();
        let opening: BTreeSet<u64> = runs.iter().filter(opens_epoch).filter_map(number).collect();
        // What a sample sends was asked for, whatever was delivered before.
        let samples: BTreeSet<u64> = runs.iter().filter(is_sample).filter_map(number).collect();
        let (mut delivered, mut last, mut redundant) = (BTreeSet::new(), 0, 0);
        for request in requests {
            let Some(run) = run_of(request) else { continue };
            if run > last && opening.range(last + 1..=run).next().is_some() {
                delivered.clear();
            }
            last = last.max(run);
            for (operation, made) in request.operations() {
                let key = operation.key.as_str();
                let is_known = delivered.contains(key) && !self.ever_discarded.contains(key);
                let is_asked_for = samples.contains(&run);
                redundant += usize::from(made == Made::Redundant && is_known && !is_asked_for);
                if matches!(made, Made::Applied | Made::Redundant) {
                    delivered.insert(key);
                }
            }
        }
        redundant
    }

    /// I10: the counts that a run reports are those that the oracle saw.
    fn wrong_counts(&self) -> Vec<String> {
        let requests = self.oracle.requests();
        let mut wrong = Vec::new();
        // A run that failed before it began, on a full disk, may wait in the queue still: its last report counts.
        let reports = self.attempts.iter().filter_map(|attempt| attempt.report.as_ref());
        let last: BTreeMap<Option<u64>, &Report> =
            reports.map(|report| (report.json["run"].as_u64(), report)).collect();
        for (run, report) in last {
            let ours: Vec<&Request> =
                requests.iter().filter(|request| run.is_some() && run_of(request) == run).collect();
            let (delivered, unknown) = (report.count("delivered"), report.count("unknown"));
            // A run has one operation for each key, however often it was repeated because an answer was not read in time.
            let received = check::receipts_of(ours.iter().copied()).map(|operation| &operation.key);
            let received = received.collect::<BTreeSet<_>>().len() as u64;
            if delivered > received || received > delivered + unknown {
                wrong.push(format!(
                    "I10: run {run:?} says {delivered} delivered and {unknown} unknown, the oracle delivered {received}"
                ));
            }
            let rejected = ours.iter().flat_map(|request| &request.made);
            let rejected = rejected.filter(|made| **made == Made::Rejected).count() as u64;
            if report.count("rejected") < rejected && report.count("unknown") == 0 {
                wrong.push(format!("I10: run {run:?} hides rejections, {rejected} were answered"));
            }
            if report.count("requests") < ours.len() as u64 {
                let (said, seen) = (report.count("requests"), ours.len());
                wrong.push(format!("I10: run {run:?} says {said} requests, the oracle saw {seen}"));
            }
            wrong.extend(wrong_sum(report));
        }
        wrong
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

    /// I11: what a run that did not end well was, the next one is. A full run that was killed after its last receipt may
    /// have ended its epoch.
    fn wrong_kinds(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut unfinished: Option<&str> = None;
        // The runs of the epoch, as far as they are known.
        let mut chain = Vec::new();
        let runs = self.runs();
        for run in runs.iter().rev().filter(|run| !is_sample(run)) {
            let (Some(kind), Some(number)) = (run["kind"].as_str(), number(run)) else { continue };
            if let Some(kept) = unfinished
                && kept != kind
                && run["reason"] != "requested"
                && !(kept == "full" && self.is_covered_by(&chain))
            {
                wrong.push(format!(
                    "I11: run {number} is {kind}, and the one before was {kept} and did not end"
                ));
            }
            if run["reason"] != "open_epoch" {
                chain.clear();
            }
            chain.push(number);
            let is_ended = matches!(run["phase"].as_str(), Some("succeeded" | "partial"));
            unfinished = (!is_ended).then_some(kind);
        }
        wrong
    }

    /// Whether receipts of these runs are for everything that the last of them read.
    fn is_covered_by(&self, runs: &[u64]) -> bool {
        let requests = self.oracle.requests();
        let ours = requests.iter().filter(|r| run_of(r).is_some_and(|run| runs.contains(&run)));
        let keys: BTreeSet<&String> =
            check::receipts_of(ours).map(|operation| &operation.key).collect();
        let last = self.attempts.iter().rfind(|a| a.runs.iter().any(|run| runs.contains(run)));
        last.is_some_and(|last| {
            self.sources[*last.sources.end()].iter().all(|person| keys.contains(&person.key()))
        })
    }

    /// All runs of the sync that the store names, the newest first.
    fn runs(&self) -> Vec<Value> {
        let runs = self.workspace.json(&["runs", "--limit", "100000"]);
        let mut runs = runs.as_array().cloned().unwrap_or_default();
        runs.retain(|run| run["sync"] == "people");
        runs
    }
}

/// I10: the tally of a report adds up.
fn wrong_sum(report: &Report) -> Option<String> {
    let sum = |fields: &[&str]| fields.iter().map(|field| report.count(field)).sum::<u64>();
    let rows = sum(&["unchanged", "upserts", "invalid", "waived"]);
    let ended = sum(&["delivered", "rejected", "unknown", "held", "deferred", "unsent"]);
    let is_so = report.count("rows_read") == rows && sum(&["upserts", "deletes"]) == ended;
    (!is_so).then(|| format!("I10: the tally does not add up: {}", report.json["tally"]))
}

fn by_key(people: &[Person]) -> BTreeMap<String, Vec<Value>> {
    let mut by_key = BTreeMap::<String, Vec<Value>>::new();
    for person in people {
        by_key.entry(person.key()).or_default().push(person.record());
    }
    by_key
}

fn run_of(request: &Request) -> Option<u64> {
    request.sent.run.as_ref()?.parse().ok()
}

fn is_of(request: &Request, attempt: &Attempt) -> bool {
    run_of(request).is_some_and(|run| attempt.runs.contains(&run))
}

/// A sample is no iteration of its sync, and has no part in the order of kinds.
fn is_sample(run: &&Value) -> bool {
    run["reason"] == "sample"
}

fn number(run: &Value) -> Option<u64> {
    run["run"].as_u64()
}
