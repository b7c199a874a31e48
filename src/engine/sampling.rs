//! What became of each record of a sample.
//!
//! Not responsible for which rows are chosen (`domain::chosen`, `source`, `delta::examiner`). Guard: only the destination's
//! own receipt makes a record delivered here; whatever nothing is known of was not sent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::delta::examiner::Examined;
use crate::domain::chosen::Chosen;
use crate::domain::key::{KeyHash, Shown};
use crate::store::{RecordNote, Verdict};

/// Records that are told one by one; the tally counts all of them.
const RECORDS: usize = 1_000;
const REPEATED: &str =
    "its key comes more than once in the model, and only a run of all rows can say which is meant";

/// How a record of a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    Delivered,
    Rejected,
    Unknown,
    Invalid,
    /// Not sent: the run was stopped before, or only a read of all rows can say that it may be.
    Unsent,
    /// No row of the model has the key.
    Missing,
}

impl Ended {
    pub fn word(self) -> &'static str {
        match self {
            Ended::Delivered => "delivered",
            Ended::Rejected => "rejected",
            Ended::Unknown => "unknown",
            Ended::Invalid => "invalid",
            Ended::Unsent => "unsent",
            Ended::Missing => "missing",
        }
    }
}

/// One record of a sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sampling {
    /// As shown to people.
    pub key: String,
    pub ended: Ended,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// The rows of a sample, as they were read.
#[derive(Debug)]
pub struct Sampled {
    /// Keys that were asked for by name.
    asked: BTreeSet<String>,
    /// As shown, in the order of the read, each once.
    met: Vec<String>,
    known: BTreeSet<String>,
    /// Keys that come more than once in the whole model.
    repeated: BTreeSet<String>,
}

impl Sampled {
    pub fn of(chosen: Chosen) -> Sampled {
        let asked = chosen.keys.unwrap_or_default();
        Sampled { asked, met: Vec::new(), known: BTreeSet::new(), repeated: BTreeSet::new() }
    }

    /// Takes in the rows of a batch that were taken up. `is_repeated`: whether keys of this hash come more than once in the
    /// whole model.
    pub fn meet(&mut self, examined: &Examined, is_repeated: impl Fn(KeyHash) -> bool) {
        for row in examined.taken() {
            if self.known.len() >= RECORDS.max(self.asked.len()) {
                return;
            }
            let key = Shown(examined.keys.key(row)).to_string();
            if self.known.insert(key.clone()) {
                if is_repeated(examined.keys.hash(row)) {
                    self.repeated.insert(key.clone());
                }
                self.met.push(key);
            }
        }
    }

    /// What each came to, by the keys with a receipt and the notes of all others; in the order of the read, and what was
    /// not met behind that.
    pub fn came_to(self, delivered: &[Vec<u8>], notes: &[RecordNote]) -> Vec<Sampling> {
        let delivered: BTreeSet<String> =
            delivered.iter().map(|key| Shown(key).to_string()).collect();
        let mut noted: BTreeMap<&str, &RecordNote> = BTreeMap::new();
        for note in notes {
            // An invalid row is noted once for each of its rows; the first tells as much as the last.
            noted.entry(&note.key).or_insert(note);
        }
        let missing = self.asked.iter().filter(|key| !self.known.contains(*key)).cloned();
        let plain = |key: String, ended| Sampling { key, ended, code: None, message: None };
        let met = self.met.iter().map(|key| match noted.get(key.as_str()) {
            Some(note) => Sampling {
                key: key.clone(),
                ended: ended(note.verdict),
                code: note.code.clone(),
                message: note.message.clone(),
            },
            None if delivered.contains(key) => plain(key.clone(), Ended::Delivered),
            None if self.repeated.contains(key) => {
                Sampling { message: Some(REPEATED.to_owned()), ..plain(key.clone(), Ended::Unsent) }
            }
            None => plain(key.clone(), Ended::Unsent),
        });
        let missing = missing.map(|key| plain(key, Ended::Missing));
        met.chain(missing).take(RECORDS).collect()
    }
}

fn ended(verdict: Verdict) -> Ended {
    match verdict {
        Verdict::Rejected => Ended::Rejected,
        Verdict::Unknown => Ended::Unknown,
        Verdict::Invalid => Ended::Invalid,
        // A sample deletes nothing, so that it holds nothing.
        Verdict::Held => Ended::Unsent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Value;

    fn key(text: &str) -> Vec<u8> {
        let mut key = Vec::new();
        Value::Text(text).encode(&mut key);
        key
    }

    fn note(key: &str, verdict: Verdict) -> RecordNote {
        let code = Some("422".to_owned());
        RecordNote { key: key.to_owned(), verdict, operation: None, code, message: None }
    }

    #[test]
    fn only_a_receipt_is_a_delivery_and_what_was_asked_for_in_vain_is_told() {
        let words = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
        let sampled = Sampled {
            asked: words("a b c d e").into_iter().collect(),
            met: words("d b a c"),
            known: words("d b a c").into_iter().collect(),
            repeated: words("d").into_iter().collect(),
        };
        let notes = [note("b", Verdict::Rejected), note("c", Verdict::Unknown)];
        let told = sampled.came_to(&[key("a"), key("b")], &notes);
        let told: Vec<_> = told.iter().map(|told| (told.key.as_str(), told.ended)).collect();
        assert_eq!(
            told,
            [
                ("d", Ended::Unsent),
                ("b", Ended::Rejected),
                ("a", Ended::Delivered),
                ("c", Ended::Unknown),
                ("e", Ended::Missing),
            ]
        );
    }
}
