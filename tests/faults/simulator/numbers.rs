//! I7: what idempotency keys and intent numbers must be, whatever becomes of the requests.

use std::collections::{BTreeMap, BTreeSet};

use counterflow::destination::answer::{Effect, Judgement};
use counterflow::domain::entry::{Fingerprint, Operation};
use counterflow::domain::id::IntentNumber;

use super::judge::{Broken, broken};
use super::target::Request;

/// One operation on one key, as it was sent.
type Sent = (Operation, Fingerprint, IntentNumber);

#[derive(Debug, Default)]
pub struct Numbers {
    /// What each idempotency key stands for.
    contents: BTreeMap<String, Request>,
    /// What was sent of each key, each thing once.
    sent: BTreeMap<i64, Vec<Sent>>,
    /// Sent last, and nobody knows what came of it: a repetition has the same number.
    unknown: BTreeMap<i64, Sent>,
    /// Requests of whole batches of which nobody knows anything: a repetition is the same batch with the same key.
    batches: Vec<Request>,
}

impl Numbers {
    /// A request leaves. `is_whole`: what is repeated has to be repeated as the whole batch it was.
    pub fn leaves(&mut self, request: &Request, is_whole: bool) -> Result<(), Broken> {
        let key = &request.idempotency_key;
        let known = self.contents.entry(key.clone()).or_insert_with(|| request.clone());
        if (known.operation, &known.records) != (request.operation, &request.records) {
            return broken("I7", format!("idempotency key `{key}` stands for two contents"));
        }
        let is_shared = |batch: &&Request| {
            is_whole && request.operation == Operation::Upsert && batch.shares_key_with(request)
        };
        if let Some(batch) = self.batches.iter().find(is_shared)
            && batch.idempotency_key != *key
            && sent(batch).all(|(key, sent)| self.unknown.get(&key) == Some(&sent))
        {
            let what = format!("request {} was not repeated under its key", batch.number);
            return broken("I7", what);
        }
        for (key, now) in sent(request) {
            if let Some(before) = self.unknown.get(&key)
                && (before.0, before.1) == (now.0, now.1)
                && before.2 != now.2
            {
                let (before, now) = (before.2.0, now.2.0);
                let what = format!("key {key} is repeated under number {now}, and had {before}");
                return broken("I7", what);
            }
            let all = self.sent.entry(key).or_default();
            if all.last() != Some(&now) {
                if all.iter().any(|before| before.2 == now.2) {
                    return broken("I7", format!("number {} of key {key} comes back", now.2.0));
                }
                all.push(now);
            }
        }
        Ok(())
    }

    /// An answer was read.
    pub fn answered(&mut self, request: &Request, judgement: &Judgement) {
        match judgement {
            Judgement::Records(verdicts) if verdicts.len() == request.records.len() => {
                request.records.iter().for_each(|asked| self.forget(asked.key));
            }
            // What cannot be split any more is refused; halves are other requests.
            Judgement::Split(_) if request.records.len() == 1 => {
                self.forget(request.records[0].key);
            }
            Judgement::Split(_) => self.batches.retain(|batch| !batch.shares_key_with(request)),
            Judgement::NotApplied(_) | Judgement::Halt(_, Effect::None) => {}
            Judgement::Unknown(_) | Judgement::Records(_) | Judgement::Halt(..) => {
                self.unanswered(request);
            }
        }
    }

    /// No answer was read, and none will be.
    pub fn unanswered(&mut self, request: &Request) {
        self.unknown.extend(sent(request));
        if request.is_whole {
            self.batches.push(request.clone());
        }
    }

    /// It is known what became of the key, or nobody asks any more.
    pub fn forget(&mut self, key: i64) {
        self.unknown.remove(&key);
        self.batches.retain(|batch| batch.records.iter().all(|asked| asked.key != key));
    }

    /// They begin anew.
    pub fn clear(&mut self) {
        self.unknown.clear();
        self.batches.clear();
    }

    /// A run begins or is over: a key whose row is another one now is not repeated. `row` says the content of a
    /// key's row, if it is valid, and whether there was one at all; nothing if it is not of the run.
    pub fn keep_same(&mut self, row: impl Fn(&i64) -> Option<(Option<Fingerprint>, bool)>) {
        let is_same = |key: &i64, (operation, content, _): &Sent| match row(key) {
            None => true,
            Some((Some(now), _)) => *operation == Operation::Upsert && now == *content,
            Some((None, is_met)) => *operation == Operation::Delete && !is_met,
        };
        self.unknown.retain(|key, sent| is_same(key, sent));
        self.batches.retain(|batch| sent(batch).all(|(key, sent)| is_same(&key, &sent)));
    }

    /// Batches of which rows are gone are not whole any more.
    pub fn keep_met(&mut self, is_met: impl Fn(&i64) -> bool) {
        self.batches.retain(|batch| batch.records.iter().all(|asked| is_met(&asked.key)));
    }

    /// Keys are repeated one by one: batches with one of them are not whole any more.
    pub fn split(&mut self, keys: &BTreeSet<i64>) {
        self.batches.retain(|batch| batch.records.iter().all(|asked| !keys.contains(&asked.key)));
    }
}

/// What a request asks of each key.
fn sent(request: &Request) -> impl Iterator<Item = (i64, Sent)> {
    let asked = request.records.iter();
    asked.map(|asked| (asked.key, (request.operation, asked.fingerprint, asked.number)))
}
