//! The judge after each process: what the snapshot says, the destination holds and the last run says of itself agree.
//!
//! | invariant | what is looked at |
//! |---|---|
//! | I2 | what a run that ended green or partial left, exactly, save the keys that it names |
//! | I3 | each confirmed entry has its receipt, and no later one says otherwise |
//! | I4 | each of our keys at the destination is in the snapshot; what left without an answer is in doubt there |
//!
//! Not responsible for what a run sent (asked.rs) nor for what it counts (counts.rs).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use counterflow::domain::entry::Entry;

use super::case::{Attempt, Case};
use super::check;
use super::journal::{Asked, Made, Operation, Request};
use super::judge::{by_key, is_of, is_sample};
use super::known::{self, Entries};
use super::oracle::Oracle;
use super::people::Person;

/// What a receipt confirmed of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirmed {
    /// The record's fingerprint, where the kit can tell it.
    Upsert(Option<u128>),
    Delete,
}

impl Case {
    /// I3 and I4, from the snapshot as the next run will find it; I2 where the run that ended says that it is well.
    pub(super) fn wrong_after_a_process(&self) -> Vec<String> {
        // In this order: what another process sends in between is known before it is at the destination, and what it has
        // sent is known when the snapshot is read.
        let (table, sent) = (self.oracle.table(), self.oracle.requests());
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
        wrong.extend(ahead(&entries, &requests, self.is_plain.get()));
        if let Some(attempt) = self.attempts.last() {
            wrong.extend(self.wrong_of(attempt, &requests));
            wrong.extend(self.without_doubt(attempt, &sent, &entries));
            wrong.extend(self.undelivered(attempt, &table, &entries));
            wrong.extend(self.wrong_open(&entries));
        }
        wrong
    }

    /// I4: a key that a process sent, and of which no receipt came whole since, is in doubt, or is named as refused where
    /// it was. What was certainly not applied leaves none.
    fn without_doubt(&self, attempt: &Attempt, sent: &[Request], entries: &Entries) -> Vec<String> {
        let mut unknown = BTreeMap::<&str, &Request>::new();
        for request in sent.iter().filter(|request| is_of(request, attempt)) {
            let is_settled = is_left_alone(request);
            for (operation, made) in request.operations() {
                let key = operation.key.as_str();
                match (is_settled, request.is_receipt && request.is_answered_whole, made) {
                    (_, true, Made::Applied | Made::Redundant) => drop(unknown.remove(key)),
                    (false, false, _) => drop(unknown.insert(key, request)),
                    _ => {}
                }
            }
        }
        let is_known = |key: &str, request: &Request| {
            let is_refusal = request.is_answered_whole && is_of_the_record(request);
            let is_named =
                |entry: &Entry| entry.doubt.is_some() || (is_refusal && entry.rejection.is_some());
            entries.get(key).is_some_and(is_named) || self.ever_discarded.contains(key)
        };
        let unknown = unknown.into_iter().filter(|(key, request)| !is_known(key, request));
        let say = |(key, request): (&str, &Request)| {
            format!("I4: {key} left in request {} without a receipt, and is in no doubt", {
                request.sent.number
            })
        };
        unknown.map(say).collect()
    }

    /// I2: a run that succeeded, or was skipped, leaves what it read, exactly; a partial one does so but for the keys that it
    /// names, and for as many as it says are unsent.
    fn undelivered(
        &self,
        attempt: &Attempt,
        table: &BTreeMap<String, Value>,
        entries: &Entries,
    ) -> Vec<String> {
        let Some(ended) = &attempt.ended else { return Vec::new() };
        let outcome = ended["outcome"].as_str().or(ended["phase"].as_str()).unwrap_or_default();
        let unsent = match outcome {
            "partial" => ended["tally"]["unsent"].as_u64().unwrap_or(0),
            _ => 0,
        };
        let is_named = |key: &String| {
            let is_open = |entry: &Entry| {
                entry.rejection.is_some() || entry.doubt.is_some() || entry.held.is_some()
            };
            let entry = entries.get(key);
            let is_waived = entry.is_some_and(|entry| entry.waiver.is_some());
            is_waived || outcome == "partial" && entry.is_some_and(is_open)
        };
        if !matches!(outcome, "succeeded" | "partial" | "skipped") || is_sample(&ended) {
            return Vec::new();
        }
        let mut least: Option<Vec<String>> = None;
        for source in self.read_by(attempt) {
            let wrong = self.left_otherwise(&by_key(source), attempt, table, &is_named);
            if wrong.len() as u64 <= unsent {
                return Vec::new();
            }
            least = least.filter(|least| least.len() <= wrong.len()).or(Some(wrong));
        }
        let words = format!("I2: after a run that {outcome} ");
        least.into_iter().flatten().take(20).map(|wrong| words.clone() + &wrong).collect()
    }

    /// How the table differs from a source that was read, but for the keys that are named.
    fn left_otherwise(
        &self,
        read: &BTreeMap<String, Vec<Value>>,
        attempt: &Attempt,
        table: &BTreeMap<String, Value>,
        is_named: &dyn Fn(&String) -> bool,
    ) -> Vec<String> {
        let late = self.oracle.late();
        // A repeated key is invalid, and named as such.
        let single = read.iter().filter(|(_, states)| states.len() == 1);
        let wanted: BTreeMap<String, Value> = single
            .filter(|(key, _)| !late.contains(*key) && !is_named(key))
            .map(|(key, states)| (key.clone(), states[0].clone()))
            .collect();
        let mut wrong = check::differences(&wanted, table, false);
        if self.workspace.setup.mode != "mirror" {
            return wrong;
        }
        let requests = self.oracle.requests();
        let sent = requests.iter().filter(|request| is_of(request, attempt));
        let sent: BTreeSet<&str> = sent.flat_map(|request| request.sent.keys()).collect();
        let was_ours = |key: &String| {
            let before = attempt.entries.get(key);
            before.is_some_and(Entry::is_possibly_at_destination) || sent.contains(key.as_str())
        };
        let ghosts = table.keys().filter(|key| {
            was_ours(key)
                && !read.contains_key(*key)
                && !late.contains(*key)
                && !is_named(key)
                && !self.ever_discarded.contains(*key)
        });
        wrong.extend(ghosts.map(|key| format!("{key} should be gone")));
        wrong
    }
}

/// I3 and I4 without a case, of all syncs whose states name this destination.
pub(super) fn wrong_at_rest(oracle: &Oracle) -> Vec<String> {
    let (table, planted, late) = (oracle.table(), oracle.planted(), oracle.late());
    let snapshots: Vec<Entries> =
        oracle.states().iter().flat_map(|state| known::all_entries(state)).collect();
    if snapshots.is_empty() {
        return Vec::new();
    }
    let requests = oracle.requests();
    let mut wrong: Vec<String> =
        snapshots.iter().flat_map(|entries| ahead(entries, &requests, false)).collect();
    let is_known = |key: &String| {
        let of =
            |entries: &Entries| entries.get(key).is_some_and(Entry::is_possibly_at_destination);
        snapshots.iter().any(of) || planted.contains_key(key) || late.contains(key)
    };
    let unknown = table.keys().filter(|key| !is_known(key) && !oracle.is_ownerless(key));
    wrong.extend(unknown.map(|key| format!("I4: {key} is at the destination, and nobody knows")));
    wrong
}

/// Not applied for certain, or with an answer that is still to come.
fn is_left_alone(request: &Request) -> bool {
    let is_refused = request.is_answered_whole && matches!(request.status, Some(401 | 413 | 429));
    is_refused || request.is_open
}

/// Refused with a status that is the record's own fault.
fn is_of_the_record(request: &Request) -> bool {
    matches!(request.status, Some(400..=499))
}

/// I3: what the snapshot says is confirmed was confirmed.
fn ahead(entries: &Entries, requests: &[Request], is_plain: bool) -> Vec<String> {
    let delivered = delivered_by_key(requests, is_plain);
    let mut wrong = Vec::new();
    for (key, entry) in entries {
        let Some(confirmed) = entry.confirmed else { continue };
        let is_it = |state: &Confirmed| match state {
            Confirmed::Upsert(fingerprint) => {
                fingerprint.is_none_or(|f| f == confirmed.fingerprint)
            }
            Confirmed::Delete => false,
        };
        let states = delivered.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let is_so = match entry.doubt {
            None => states.last().is_some_and(is_it),
            Some(_) => states.iter().any(is_it),
        };
        if !is_so {
            wrong.push(format!("I3: the snapshot is ahead at {key}: {entry:?}"));
        }
    }
    wrong
}

/// The states that receipts have confirmed for each key, in order. The fingerprints of persons are known, and those of
/// other records where they are plain.
fn delivered_by_key(requests: &[Request], is_plain: bool) -> BTreeMap<&str, Vec<Confirmed>> {
    let operations: Vec<&Operation> = check::receipts(requests).collect();
    let people: Vec<Option<Person>> =
        operations.iter().map(|operation| Person::of(&operation.record)).collect();
    let known: Vec<Person> = people.iter().flatten().copied().collect();
    let mut fingerprints = known::fingerprints(&known).into_iter();
    let mut delivered = BTreeMap::<&str, Vec<Confirmed>>::new();
    for (operation, person) in operations.into_iter().zip(people) {
        let fingerprint = match person {
            Some(_) => fingerprints.next(),
            None if is_plain => known::fingerprint(&operation.record),
            None => None,
        };
        let state = match operation.asked {
            Asked::Upsert => Confirmed::Upsert(fingerprint),
            Asked::Delete => Confirmed::Delete,
        };
        delivered.entry(&operation.key).or_default().push(state);
    }
    delivered
}
