//! The judge: one call looks at everything that a case has seen, by every invariant of the fault document.
//!
//! | invariant | where it is looked at |
//! |---|---|
//! | I1, I8, I9 | [`Case::judge`], which lets the sync settle first |
//! | I2, I3, I4 | after each process, and at the end: after.rs |
//! | I5, I6, I7, I8, I13 | after each process, and over all requests at the end: asked.rs |
//! | I10 | over all runs that the store names: counts.rs |
//! | I11 | over all runs that the store names: kinds.rs |
//! | I12 | after each process what it printed and the state, and each answer of a server: canaries.rs |

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use counterflow::domain::entry::Entry;

use super::case::{Attempt, Case};
use super::check;
use super::journal::Request;
use super::known::{self, Entries};
use super::people::{Person, expected, key};

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
        self.assert_unbroken();
    }

    /// All that must hold whatever the source holds, of everything that was seen so far.
    #[track_caller]
    pub fn assert_unbroken(&self) {
        let runs = self.runs();
        let mut wrong = self.wrong_after_a_process();
        wrong.extend(self.wrong_requests(&runs));
        wrong.extend(self.wrong_counts(&runs));
        wrong.extend(self.wrong_kinds(&runs));
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
        self.assert_refused_as_confirmed(&declared(&left.rejected), &entries);
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

    /// I1: under a key that is named as rejected, and is in no doubt, the destination holds what it last took.
    #[track_caller]
    fn assert_refused_as_confirmed(&self, rejected: &BTreeSet<String>, entries: &Entries) {
        let (table, late) = (self.oracle.table(), self.oracle.late());
        for key in rejected.iter().filter(|key| !late.contains(*key)) {
            let Some(entry) = entries.get(key).filter(|entry| entry.doubt.is_none()) else {
                continue;
            };
            let held = table.get(key).and_then(Person::of);
            let held = held.and_then(|held| known::fingerprints(&[held]).pop());
            let confirmed = entry.confirmed.map(|confirmed| confirmed.fingerprint);
            assert_eq!(held, confirmed, "I1: {key}, which was rejected\n{}", self.print());
        }
    }

    /// All faults are over: the sync settles by itself, without a new epoch, and the destination holds the source, save
    /// what it has refused and what waits for a person.
    #[track_caller]
    pub fn assert_settles(&mut self) {
        self.settle();
        let refused = self.oracle.refused();
        let entries = known::entries(&self.workspace).unwrap_or_default();
        let is_listed = |key: &&String| self.people().iter().any(|person| person.key() == **key);
        let mut left = Left::default();
        for (key, entry) in &entries {
            if entry.rejection.is_some() {
                assert!(refused.contains(key), "I1: {key} was not refused\n{}", self.print());
                left.rejected.insert(id(key));
            }
            if entry.held.is_some() {
                assert!(!is_listed(&key), "I1: {key} is held and there\n{}", self.print());
                left.held.insert(id(key));
            }
        }
        let people = self.people().to_vec();
        self.assert_held(&people, &left);
        let wrong = self.wrong_kinds(&self.runs());
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", self.print());
    }

    /// What the source held when a process of the case may have read it; nothing where the kit does not know.
    pub(super) fn read_by(&self, attempt: &Attempt) -> &[Vec<Person>] {
        self.sources.get(attempt.sources.clone()).unwrap_or_default()
    }

    /// All runs of the sync that the store names, the newest first.
    pub(super) fn runs(&self) -> Vec<Value> {
        let runs = self.workspace.json(&["runs", "--limit", "100000"]);
        let mut runs = runs.as_array().cloned().unwrap_or_default();
        runs.retain(|run| run["sync"] == "people");
        runs
    }
}

pub(super) fn by_key(people: &[Person]) -> BTreeMap<String, Vec<Value>> {
    let mut by_key = BTreeMap::<String, Vec<Value>>::new();
    for person in people {
        by_key.entry(person.key()).or_default().push(person.record());
    }
    by_key
}

/// The id in a key as the oracle shows it.
pub fn id(key: &str) -> u32 {
    key.trim_matches(['[', ']']).parse().expect("people have numbers")
}

pub(super) fn run_of(request: &Request) -> Option<u64> {
    request.sent.run.as_ref()?.parse().ok()
}

pub(super) fn is_of(request: &Request, attempt: &Attempt) -> bool {
    let is_while = attempt.requests.contains(&request.sent.number);
    is_while && run_of(request).is_some_and(|run| attempt.runs.contains(&run))
}

/// A sample is no iteration of its sync, and has no part in the order of kinds.
pub(super) fn is_sample(run: &&Value) -> bool {
    run["reason"] == "sample"
}

/// It reads chosen rows, or those that are new by the model's cursor.
pub(super) fn reads_a_part(run: &Value) -> bool {
    is_sample(&run) || run["reason"] == "cursor"
}

pub(super) fn number(run: &Value) -> Option<u64> {
    run["run"].as_u64()
}
