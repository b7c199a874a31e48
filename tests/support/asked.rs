//! The judge over requests: what each run asked for, and whether it had to; after each process, and over all at the end.
//!
//! | invariant | what is looked at |
//! |---|---|
//! | I5 | a deleted key was in the snapshot, in doubt or sent before, and is in no source that the run read |
//! | I6 | each request belongs to a run; a key is asked for in one way in a run, as the source held it |
//! | I7 | repetitions are excused, one by one |
//! | I8 | what the snapshot held as read is not asked for again within an epoch |
//! | I13 | deletes beyond what a person released are within the guard |
//!
//! Not responsible for what the process left (after.rs).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use counterflow::domain::entry::Entry;

use super::case::{Attempt, Case};
use super::journal::{Asked, Made, Operation, Request};
use super::judge::{by_key, is_of, is_sample, number, run_of};
use super::known;
use super::people::Person;

impl Case {
    /// All of it.
    pub(super) fn wrong_requests(&self, runs: &[Value]) -> Vec<String> {
        let requests = self.oracle.requests();
        let mut wrong = self.of_nobody(&requests, runs);
        if self.attempts.is_empty() {
            wrong.extend(deleted_unsent(&requests));
        }
        wrong.extend(self.deleted_without_proof(&requests, runs));
        wrong.extend(asked_in_two_ways(&requests));
        wrong.extend(self.asked_again(&requests));
        // What excuses a repetition stands in reports, which a case without processes of its own has not.
        if !self.attempts.is_empty() {
            wrong.extend(self.too_many_redundant(&requests, runs));
        }
        wrong
    }

    /// What one process asked for, by the snapshot and the sources of that moment.
    pub(super) fn wrong_of(&self, attempt: &Attempt, requests: &[Request]) -> Vec<String> {
        let ours: Vec<&Request> = requests.iter().filter(|r| is_of(r, attempt)).collect();
        let mut wrong = self.not_as_read(attempt, &ours);
        wrong.extend(never_ours(attempt, &ours));
        wrong.extend(self.beyond_guard(attempt, &ours));
        let needless = needless(attempt, &ours);
        if !needless.is_empty() && !self.is_of_sample(attempt) {
            wrong.extend(needless);
        }
        wrong
    }

    /// I6: operations that no run can have intended.
    fn of_nobody(&self, requests: &[Request], runs: &[Value]) -> Vec<String> {
        let stored: BTreeSet<u64> = runs.iter().filter_map(number).collect();
        let is_ours = |request: &Request| {
            let is_stored = run_of(request).is_some_and(|run| stored.contains(&run));
            is_stored || self.attempts.iter().any(|a| is_of(request, a))
        };
        let asking = requests.iter().filter(|request| !request.sent.operations.is_empty());
        let of_nobody = asking.filter(|request| !is_ours(request));
        of_nobody
            .map(|r| format!("I6: request {} is of no run: {:?}", r.sent.number, r.sent.run))
            .collect()
    }

    /// What a sample sends was asked for, whatever the snapshot held.
    fn is_of_sample(&self, attempt: &Attempt) -> bool {
        let is_ours = |run: &Value| number(run).is_some_and(|run| attempt.runs.contains(&run));
        self.runs().iter().any(|run| is_sample(&run) && is_ours(run))
    }

    /// I5 and I6: what was sent is what the run read, and what was deleted it did not find.
    fn not_as_read(&self, attempt: &Attempt, ours: &[&Request]) -> Vec<String> {
        let read: Vec<_> = self.read_by(attempt).iter().map(|people| by_key(people)).collect();
        let mut wrong = Vec::new();
        if read.is_empty() {
            return wrong;
        }
        for operation in ours.iter().flat_map(|request| &request.sent.operations) {
            let Operation { key, record, .. } = operation;
            let holds = |read: &BTreeMap<String, Vec<Value>>| {
                read.get(key).is_some_and(|states| states.contains(record))
            };
            match operation.asked {
                Asked::Upsert if !read.iter().any(holds) => {
                    wrong.push(format!("I6: {key} was sent as the source did not hold it"));
                }
                Asked::Delete if read.iter().all(|read| read.contains_key(key)) => {
                    wrong.push(format!("I5: {key} was deleted, and the source held it"));
                }
                _ => {}
            }
        }
        wrong
    }

    /// I5: what a run deleted was in no row of the one source that it read whole, without an error.
    fn deleted_without_proof(&self, requests: &[Request], runs: &[Value]) -> Vec<String> {
        let mut wrong = Vec::new();
        let is_counted = self.workspace.setup.sql.starts_with("SELECT * FROM people");
        for document in runs.iter().filter(|run| is_ended(run)) {
            let Some(run) = number(document).filter(|run| *run > self.forgotten) else { continue };
            let mut deleted = BTreeSet::new();
            let ours = requests.iter().filter(|request| run_of(request) == Some(run));
            for operation in ours.flat_map(|request| &request.sent.operations) {
                if operation.asked == Asked::Delete {
                    deleted.insert(&operation.key);
                }
            }
            if deleted.is_empty() {
                continue;
            }
            let is_unproven = document.to_string().contains("did not prove its end");
            let rows = document["tally"]["rows_read"].as_u64();
            let is_proof = |source: &Vec<Person>| {
                let is_whole = !is_counted || rows == Some(source.len() as u64);
                let read = by_key(source);
                is_whole && deleted.iter().all(|key| !read.contains_key(*key))
            };
            let attempt = self.attempts.iter().find(|attempt| attempt.runs.contains(&run));
            let sources = attempt.map_or(&[][..], |attempt| self.read_by(attempt));
            if is_unproven || !(sources.is_empty() || sources.iter().any(is_proof)) {
                let count = deleted.len();
                wrong.push(format!(
                    "I5: run {run} deletes {count} keys, and had no complete read without them: {document}"
                ));
            }
        }
        wrong
    }

    /// I13: the deletes of each run, but for those that a person had released, are within the guard.
    fn beyond_guard(&self, attempt: &Attempt, ours: &[&Request]) -> Vec<String> {
        let Some(most) = self.deletes_allowed(attempt) else { return Vec::new() };
        let mut deleted = BTreeMap::<Option<u64>, BTreeSet<&str>>::new();
        for (request, operation) in operations(ours) {
            if operation.asked == Asked::Delete && !attempt.released.contains(&operation.key) {
                deleted.entry(run_of(request)).or_default().insert(&operation.key);
            }
        }
        deleted.retain(|_, keys| keys.len() > most);
        let say = |(run, keys): (Option<u64>, BTreeSet<&str>)| {
            format!(
                "I13: run {run:?} deletes {} that nobody released, and the guard allows {most}",
                { keys.len() }
            )
        };
        deleted.into_iter().map(say).collect()
    }

    /// The guard of the setup, in keys. A percentage is of the entries before the run and of those that it adds. `None`
    /// where the kit does not know the source.
    fn deletes_allowed(&self, attempt: &Attempt) -> Option<usize> {
        let added = self.read_by(attempt).iter().map(Vec::len).max()?;
        if added == 0 {
            return Some(0);
        }
        let before = attempt.entries.values().filter(|e| e.is_possibly_at_destination()).count();
        let percent = |percent: usize| before.max(added) * percent / 100;
        Some(match self.workspace.setup.max_deletes {
            None => percent(10).max(10),
            Some(limit) => match limit.strip_suffix('%') {
                Some(share) => percent(share.parse().expect("a whole percentage")),
                None => limit.parse().expect("a number of rows"),
            },
        })
    }

    /// I7, one by one: within a run a key is not asked for again after its receipt. Whether an answer that was slow, or
    /// ended in a reset, was read in time, nobody knows.
    fn asked_again(&self, requests: &[Request]) -> Vec<String> {
        let limit = self.workspace.setup.request_timeout.map(seconds);
        let mut received = BTreeMap::<(u64, &str), &Request>::new();
        let mut wrong = Vec::new();
        for request in requests {
            let Some(run) = run_of(request) else { continue };
            let is_prompt = request.fault == "None" || request.fault.starts_with("RejectKeys");
            let is_receipt = request.is_receipt && request.is_answered_whole && is_prompt;
            for (operation, made) in request.operations() {
                let key = operation.key.as_str();
                if let Some(before) = received.get(&(run, key)) {
                    let apart = request.sent.at.saturating_duration_since(before.sent.at);
                    if limit.is_none_or(|limit| apart < limit) {
                        let (first, second) = (before.sent.number, request.sent.number);
                        wrong.push(format!(
                            "I7: run {run} asks for {key} in request {second}, and had its receipt in {first}"
                        ));
                    }
                }
                if is_receipt && made != Made::NotApplied {
                    received.insert((run, key), request);
                }
            }
        }
        wrong
    }

    /// I7: each redundant operation repeats an earlier request of its key that had no receipt, which excuses no other. A
    /// receipt that came whole may have been lost in a crash, or where nothing could be noted any more, as far as the
    /// window goes; or have come too late, as far as the run says so. Or a run that crashed had noted that it would ask for
    /// something else, and never did. The first record of a key in an epoch is none.
    fn too_many_redundant(&self, requests: &[Request], runs: &[Value]) -> Vec<String> {
        let opens_epoch = |run: &&Value| run["kind"] == "full" && run["reason"] != "open_epoch";
        let opening: BTreeSet<u64> = runs.iter().filter(opens_epoch).filter_map(number).collect();
        // What a sample sends was asked for, whatever was delivered before.
        let samples: BTreeSet<u64> = runs.iter().filter(is_sample).filter_map(number).collect();
        let (mut delivered, mut last, mut wrong) = (BTreeSet::new(), 0, Vec::new());
        // The request of each key that excuses the next one, and the last that brought its receipt.
        let (mut unknown, mut received) = (BTreeSet::<&str>::new(), BTreeMap::<&str, u64>::new());
        let mut lost: BTreeMap<u64, usize> = self.receipts_lost(requests, runs);
        // Keys that changed, or will, without a request of that moment.
        let mut late = BTreeSet::<&str>::new();
        for request in requests {
            let Some(run) = run_of(request) else { continue };
            if run > last && opening.range(last + 1..=run).next().is_some() {
                delivered.clear();
            }
            last = last.max(run);
            // Whether an answer that is reset after it was written is read, nobody knows; and what the destination applies
            // late it applies by itself.
            let is_read = request.is_receipt && request.is_answered_whole;
            let is_doubtful = !is_read || request.fault.starts_with("AnswerThenReset");
            let is_late = request.fault.starts_with("ApplyLate");
            for (operation, made) in request.operations() {
                let key = operation.key.as_str();
                let is_known = delivered.contains(key) && !self.ever_discarded.contains(key);
                if is_late {
                    late.insert(key);
                }
                let is_excused = is_late || samples.contains(&run);
                let is_needless = made == Made::Redundant && is_known && !is_excused;
                if is_needless && !unknown.remove(key) && !late.remove(key) {
                    // In one run a receipt is followed by another request only where it came too late (`asked_again`).
                    let of = received.get(key).copied().unwrap_or(0);
                    let left = lost.get_mut(&of).filter(|left| **left > 0);
                    match left {
                        _ if of == run || self.crashed_otherwise(of, run, operation) => {}
                        Some(left) => *left -= 1,
                        None => wrong.push(format!(
                            "I7: request {} asserts {key} again, and nothing excuses it",
                            request.sent.number
                        )),
                    }
                }
                match made {
                    _ if is_doubtful => drop(unknown.insert(key)),
                    Made::Applied | Made::Redundant => {
                        unknown.remove(key);
                        received.insert(key, run);
                    }
                    Made::Rejected | Made::NotApplied => {}
                }
                if matches!(made, Made::Applied | Made::Redundant) {
                    delivered.insert(key);
                }
            }
        }
        wrong
    }

    /// By the run, how many receipts that came whole may have been lost to it.
    fn receipts_lost(&self, requests: &[Request], runs: &[Value]) -> BTreeMap<u64, usize> {
        let setup = &self.workspace.setup;
        let window = u64::from(setup.batch) * u64::from(setup.concurrency);
        let asking: BTreeSet<u64> = requests.iter().filter_map(run_of).collect();
        let document = |run: u64| runs.iter().find(|document| number(document) == Some(run));
        let of = |run: u64| {
            let document = document(run);
            let attempt = self.attempts.iter().find(|attempt| attempt.runs.contains(&run));
            let is_killed = attempt.is_some_and(|attempt| attempt.has_crashed);
            let is_failed = document.is_none_or(|d| d["phase"] == "failed" || !is_ended(d));
            // Where nothing around it was in its way, a run that fails notes every receipt that it had.
            let is_disturbed = attempt.is_none_or(|attempt| attempt.is_disturbed);
            let is_lossy = is_killed || is_failed && is_disturbed || document.is_none();
            let count =
                |field: &str| document.and_then(|d| d["tally"][field].as_u64()).unwrap_or(0);
            // What brought no receipt at all is among the unknown, and excuses itself.
            let late = count("unknown").saturating_sub(unreceived(requests, run));
            let most = late + if is_lossy { window } else { 0 };
            (run, usize::try_from(most).unwrap_or(usize::MAX))
        };
        asking.into_iter().map(of).collect()
    }

    /// Whether the source held a key of both requests otherwise between them: then another intent may have come between.
    pub(super) fn was_otherwise(&self, last: &Request, next: &Request) -> bool {
        let place = |request: &Request| self.attempts.iter().position(|one| is_of(request, one));
        let (Some(first), Some(second)) = (place(last), place(next)) else { return false };
        let between = self.attempts[first..=second].iter();
        let mut sources = between.flat_map(|attempt| self.read_by(attempt));
        sources.any(|people| {
            let held = by_key(people);
            next.sent.operations.iter().any(|operation| is_otherwise(&held, operation))
        })
    }

    /// Whether a process between those of two runs crashed while the source held the operation's key otherwise. It need not
    /// have asked for anything.
    fn crashed_otherwise(&self, first: u64, last: u64, operation: &Operation) -> bool {
        let of = |run: u64| self.attempts.iter().position(|attempt| attempt.runs.contains(&run));
        let (Some(first), Some(last)) = (of(first), of(last)) else { return false };
        let between = self.attempts.get(first + 1..last).unwrap_or_default();
        let crashed = between.iter().filter(|attempt| attempt.has_crashed);
        let mut sources = crashed.flat_map(|attempt| self.read_by(attempt));
        sources.any(|people| is_otherwise(&by_key(people), operation))
    }
}

/// Whether the source does not hold what the operation makes of its key.
fn is_otherwise(held: &BTreeMap<String, Vec<Value>>, operation: &Operation) -> bool {
    match operation.asked {
        Asked::Upsert => held.get(&operation.key).is_none_or(|h| *h != [operation.record.clone()]),
        Asked::Delete => held.contains_key(&operation.key),
    }
}

/// How many keys the run asked for last in a request that brought no receipt.
fn unreceived(requests: &[Request], run: u64) -> u64 {
    let mut last = BTreeMap::new();
    for request in requests.iter().filter(|request| run_of(request) == Some(run)) {
        let is_open = !(request.is_receipt && request.is_answered_whole);
        last.extend(request.sent.operations.iter().map(|operation| (&operation.key, is_open)));
    }
    last.values().filter(|is_open| **is_open).count() as u64
}

/// It came to its end, and says what became of everything.
fn is_ended(run: &Value) -> bool {
    matches!(run["phase"].as_str(), Some("succeeded" | "partial" | "cancelled" | "failed"))
}

/// I6: in a run each key is asked for in one way.
fn asked_in_two_ways(requests: &[Request]) -> Vec<String> {
    let mut asked = BTreeMap::<(u64, &str), &Operation>::new();
    let mut wrong = Vec::new();
    for request in requests {
        let Some(run) = run_of(request) else { continue };
        for operation in &request.sent.operations {
            let first = asked.entry((run, &operation.key)).or_insert(operation);
            if *first != operation {
                let key = &operation.key;
                wrong.push(format!("I6: run {run} asks for {key} in two ways"));
            }
        }
    }
    wrong
}

/// I5, where no process was killed: a key that is deleted was sent before. Of a request that was lost before it was read
/// nobody knows what it sent.
fn deleted_unsent(requests: &[Request]) -> Vec<String> {
    let mut sent = BTreeSet::new();
    let mut wrong = Vec::new();
    for request in requests {
        if request.sent.operations.is_empty() {
            break;
        }
        for Operation { asked, key, .. } in &request.sent.operations {
            if *asked == Asked::Upsert {
                sent.insert(key);
            } else if !sent.contains(key) {
                wrong.push(format!("I5: {key} is deleted, and was never sent"));
            }
        }
    }
    wrong
}

/// I5: a key that a run deletes was in the snapshot or in doubt, or an earlier run of the same process had sent it.
fn never_ours(attempt: &Attempt, ours: &[&Request]) -> Vec<String> {
    let mut sent = BTreeMap::<&str, u64>::new();
    let mut wrong = Vec::new();
    for (request, operation) in operations(ours) {
        let (key, run) = (operation.key.as_str(), run_of(request).unwrap_or(0));
        let was_known = attempt.entries.get(key).is_some_and(Entry::is_possibly_at_destination);
        let was_sent = sent.get(key).is_some_and(|first| *first < run);
        match operation.asked {
            Asked::Upsert => drop(sent.entry(key).or_insert(run)),
            Asked::Delete if !was_known && !was_sent => {
                wrong.push(format!("I5: run {run} deletes {key}, which this sync had never sent"));
            }
            Asked::Delete => {}
        }
    }
    wrong
}

/// I8: a record that the snapshot held so, confirmed in the epoch of the run and in no doubt, need not be sent. Where a
/// process made one run; between two of them the snapshot moves.
fn needless(attempt: &Attempt, ours: &[&Request]) -> Vec<String> {
    let [run] = attempt.runs[..] else { return Vec::new() };
    let mut upserts = BTreeMap::<&str, Person>::new();
    for (_, operation) in operations(ours) {
        if operation.asked == Asked::Upsert
            && let Some(person) = Person::of(&operation.record)
        {
            upserts.insert(&operation.key, person);
        }
    }
    let people: Vec<Person> = upserts.values().copied().collect();
    let fingerprints = known::fingerprints(&people);
    let is_needless = |key: &str, fingerprint: u128| {
        let Some(entry) = attempt.entries.get(key) else { return false };
        let confirmed = entry.confirmed.filter(|confirmed| Some(confirmed.epoch) == attempt.epoch);
        let is_settled = entry.doubt.is_none() && entry.rejection.is_none();
        is_settled && confirmed.is_some_and(|known| known.fingerprint == fingerprint)
    };
    let needless = upserts.keys().zip(fingerprints).filter(|(key, f)| is_needless(key, *f));
    needless
        .map(|(key, _)| format!("I8: run {run} sends {key}, which had changed in nothing"))
        .collect()
}

fn operations<'r>(requests: &[&'r Request]) -> impl Iterator<Item = (&'r Request, &'r Operation)> {
    requests.iter().flat_map(|&request| request.sent.operations.iter().map(move |o| (request, o)))
}

/// A whole number of seconds or milliseconds of a config.
pub(super) fn seconds(said: &str) -> Duration {
    let number = |unit: &str| said.strip_suffix(unit)?.parse::<u64>().ok();
    let milliseconds = number("ms").map(Duration::from_millis);
    let time = milliseconds.or_else(|| number("s").map(Duration::from_secs));
    time.expect("a time of the kit is in s or ms")
}
