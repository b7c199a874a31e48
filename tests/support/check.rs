//! Judges an oracle's journal by the invariants of the fault document. Each assertion names its invariant.
//!
//! Not responsible for what the product says of itself, save where a test hands it in as data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::after;
use super::journal::{Asked, Made, Operation, Request};
use super::oracle::Oracle;

impl Oracle {
    /// What this state says, it says of this destination: `check` looks at it.
    pub(super) fn has_state(&self, state: PathBuf) {
        self.states.lock().expect("nothing panics with the lock").push(state);
    }

    /// People let go of these keys, by a discard or a rebaseline.
    pub fn let_go(&self, keys: BTreeSet<String>) {
        self.ownerless.lock().expect("nothing panics with the lock").extend(keys);
    }

    pub(super) fn is_ownerless(&self, key: &str) -> bool {
        self.ownerless.lock().expect("nothing panics with the lock").contains(key)
    }

    pub(super) fn states(&self) -> Vec<PathBuf> {
        self.states.lock().expect("nothing panics with the lock").clone()
    }

    /// The journal, readable: one line a request.
    pub fn print(&self) -> String {
        self.requests().iter().map(line).collect()
    }

    /// Applied operations that changed nothing at the destination.
    pub fn redundant(&self) -> usize {
        let requests = self.requests();
        let made = requests.iter().flat_map(|request| &request.made);
        made.filter(|made| **made == Made::Redundant).count()
    }

    /// I7: at most so many operations were redundant.
    #[track_caller]
    pub fn assert_redundant_at_most(&self, most: usize) {
        let redundant = self.redundant();
        assert!(
            redundant <= most,
            "I7: {redundant} redundant, expected at most {most}\n{}",
            self.print()
        );
    }

    /// I7: a repetition without a receipt in between carries the same idempotency key, and no key two contents.
    #[track_caller]
    pub fn assert_same_idempotency_key_on_repeats(&self) {
        let wrong = idempotency_faults(&self.requests(), &|_, _| false);
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", self.print());
    }

    /// I6: the counters of each key's upserts never go back in the order of arrival.
    #[track_caller]
    pub fn assert_counters_never_go_back(&self) {
        let mut newest = BTreeMap::<String, u64>::new();
        for request in self.requests() {
            for operation in &request.sent.operations {
                let Some(counter) = operation.record.get("counter").and_then(Value::as_u64) else {
                    continue;
                };
                let known = newest.entry(operation.key.clone()).or_default();
                assert!(counter >= *known, "I6: {} goes back\n{}", operation.key, self.print());
                *known = counter;
            }
        }
    }

    /// I5: every delete that was asked is of a key that may be deleted.
    #[track_caller]
    pub fn assert_deletes_only(&self, may_be_deleted: &BTreeSet<String>) {
        for operation in self.requests().iter().flat_map(|request| &request.sent.operations) {
            let is_allowed =
                operation.asked == Asked::Upsert || may_be_deleted.contains(&operation.key);
            assert!(is_allowed, "I5: {} must not be deleted\n{}", operation.key, self.print());
        }
    }

    /// The keys whose last verdict of a whole answer is a rejection.
    pub fn refused(&self) -> BTreeSet<String> {
        let requests = self.requests();
        let receipts =
            requests.iter().filter(|request| request.is_receipt && request.is_answered_whole);
        let mut refused = BTreeSet::new();
        for (operation, made) in receipts.flat_map(Request::operations) {
            match made {
                Made::Rejected => drop(refused.insert(operation.key.clone())),
                Made::Applied | Made::Redundant => drop(refused.remove(&operation.key)),
                Made::NotApplied => {}
            }
        }
        refused
    }

    /// The keys of all deletes that were asked.
    pub fn deletes(&self) -> BTreeSet<String> {
        let requests = self.requests();
        let operations = requests.iter().flat_map(|request| &request.sent.operations);
        let deletes = operations.filter(|operation| operation.asked == Asked::Delete);
        deletes.map(|operation| operation.key.clone()).collect()
    }
}

/// I1 for a mirror: the faults fired, the destination holds exactly what is expected beside the co-writer's rows, which
/// are untouched; I6 and I7 hold.
#[track_caller]
pub fn check_mirror(oracle: &Oracle, expected: &BTreeMap<String, Value>) {
    check_journal(oracle);
    let planted = oracle.planted();
    let mut table = oracle.table();
    table.retain(|key, _| !planted.contains_key(key));
    let differences = differences(expected, &table, true);
    assert!(differences.is_empty(), "I1: {differences:#?}\n{}", oracle.print());
    judge_at_rest(oracle);
}

/// I1 for upserts: the destination holds at least what is expected.
#[track_caller]
pub fn check_covered(oracle: &Oracle, expected: &BTreeMap<String, Value>) {
    check_journal(oracle);
    let differences = differences(expected, &oracle.table(), false);
    assert!(differences.is_empty(), "I1: {differences:#?}\n{}", oracle.print());
    judge_at_rest(oracle);
}

/// I3 and I4: what the states of the oracle's workspaces say agrees with what it answered and holds.
#[track_caller]
fn judge_at_rest(oracle: &Oracle) {
    let wrong = after::wrong_at_rest(oracle);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", oracle.print());
}

/// What must hold whatever the destination should hold.
#[track_caller]
pub fn check_journal(oracle: &Oracle) {
    oracle.assert_faults_fired();
    let wrong = wrong_in_journal(oracle, &|_, _| false);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", oracle.print());
}

/// Whether something else may have been intended between two requests with the same content, and never have left.
pub type MayDiffer<'a> = dyn Fn(&Request, &Request) -> bool + 'a;

/// What is wrong whatever the destination should hold, in words.
pub fn wrong_in_journal(oracle: &Oracle, may_differ: &MayDiffer<'_>) -> Vec<String> {
    let mut wrong = oracle.violations();
    wrong.extend(idempotency_faults(&oracle.requests(), may_differ));
    let table = oracle.table();
    for (key, record) in oracle.planted() {
        if table.get(&key) != Some(&record) {
            wrong.push(format!("I1: the co-writer's {key} was touched"));
        }
    }
    wrong
}

/// At most the first twenty, in words.
pub fn differences(
    expected: &BTreeMap<String, Value>,
    table: &BTreeMap<String, Value>,
    is_exact: bool,
) -> Vec<String> {
    let wanting = expected.iter().filter_map(|(key, wanted)| match table.get(key) {
        None => Some(format!("{key} is not at the destination")),
        Some(found) if found != wanted => Some(format!("{key} is {found}, expected {wanted}")),
        Some(_) => None,
    });
    let beyond = table.keys().filter(|key| is_exact && !expected.contains_key(*key));
    wanting.chain(beyond.map(|key| format!("{key} should be gone"))).take(20).collect()
}

/// The operations that were delivered by a receipt, in the order of their requests.
pub fn receipts(requests: &[Request]) -> impl DoubleEndedIterator<Item = &Operation> {
    receipts_of(requests.iter())
}

/// As `receipts`, of some requests.
pub fn receipts_of<'r>(
    requests: impl DoubleEndedIterator<Item = &'r Request>,
) -> impl DoubleEndedIterator<Item = &'r Operation> {
    judged_of(requests, &[Made::Applied, Made::Redundant])
}

/// The operations whose receipt says one of these.
pub fn judged_of<'r>(
    requests: impl DoubleEndedIterator<Item = &'r Request>,
    judged: &[Made],
) -> impl DoubleEndedIterator<Item = &'r Operation> {
    let answered = requests.filter(|request| request.is_receipt && request.is_answered_whole);
    let operations = answered.flat_map(Request::operations);
    operations.filter(|(_, made)| judged.contains(made)).map(|(operation, _)| operation)
}

/// A request is a repetition if its body was sent before without a receipt and nothing else named its keys since.
fn idempotency_faults(requests: &[Request], may_differ: &MayDiffer<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut content = BTreeMap::<&str, &Request>::new();
    let mut last_of_key = BTreeMap::<&str, &Request>::new();
    for request in requests.iter().filter(|request| !request.sent.operations.is_empty()) {
        let sent = &request.sent;
        let Some(key) = sent.idempotency_key.as_deref() else {
            wrong.push(format!("I7: request {} has no idempotency key", sent.number));
            continue;
        };
        let earlier = content.entry(key).or_insert(request);
        if earlier.sent.body_hash != sent.body_hash || earlier.sent.path != sent.path {
            let number = earlier.sent.number;
            wrong.push(format!("I7: requests {number} and {} share a key", sent.number));
        }
        let mut before =
            sent.keys().map(|key| last_of_key.get(key).map(|before| before.sent.number));
        let first = before.next().flatten();
        let last = first
            .filter(|_| before.all(|number| number == first))
            .map(|number| &requests[number - 1]);
        if let Some(last) = last {
            let has_receipt = last.is_receipt && last.is_answered_whole;
            let is_same = last.sent.body_hash == sent.body_hash && last.sent.path == sent.path;
            // What a whole answer of an earlier run refused is settled: its number is not used again.
            let is_settled = last.sent.run != sent.run
                && last.is_answered_whole
                && matches!(last.status, Some(401 | 413 | 429));
            if is_same
                && !has_receipt
                && !is_settled
                && last.sent.idempotency_key.as_deref() != Some(key)
                && !may_differ(last, request)
            {
                let number = last.sent.number;
                wrong
                    .push(format!("I7: request {} repeats {number} with another key", sent.number));
            }
        }
        // The same content in a part of the batch, or in all of it, is no newer one.
        let newer = sent.operations.iter().any(|operation| {
            last_of_key.get(operation.key.as_str()).is_some_and(|last| {
                last.sent.number > earlier.sent.number && !last.sent.operations.contains(operation)
            })
        });
        if newer && earlier.sent.number != sent.number {
            wrong.push(format!("I7: request {} returns to an older key", sent.number));
        }
        for key in sent.keys() {
            last_of_key.insert(key, request);
        }
    }
    wrong
}

fn line(request: &Request) -> String {
    let sent = &request.sent;
    let mut counts = BTreeMap::<String, usize>::new();
    for made in &request.made {
        *counts.entry(format!("{made:?}")).or_default() += 1;
    }
    let shown: Vec<&str> = sent.keys().take(4).collect();
    let more = sent.operations.len().saturating_sub(shown.len());
    let end = match (request.status, request.is_answered_whole, request.is_open) {
        (_, _, true) => "open".to_owned(),
        (Some(status), true, _) => format!("answered {status}"),
        (Some(status), false, _) => format!("{status} cut"),
        (None, ..) => "no answer".to_owned(),
    };
    format!(
        "#{} connection {} run {} {} key {} {} keys {}{} | {} | {counts:?} | {end}\n",
        sent.number,
        sent.connection,
        sent.run.as_deref().unwrap_or("-"),
        sent.path,
        sent.idempotency_key.as_deref().unwrap_or("-"),
        &sent.body_hash[..8],
        shown.join(" "),
        if more > 0 { format!(" and {more} more") } else { String::new() },
        request.fault,
    )
}

/// Makes sure of the word that a document has for its status and of what its reason names.
#[track_caller]
pub fn expect_status(document: &Value, word: &str, reasons: &[&str]) {
    assert_eq!(document["status"], word, "{document:#}");
    let reason = document["status_reason"].as_str().expect("there is a reason");
    reasons.iter().for_each(|part| assert!(reason.contains(part), "`{part}` in `{reason}`"));
}
