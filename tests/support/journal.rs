//! What an oracle remembers: each request as it came, what was made of it, and the final table D.
//!
//! Not responsible for the wire. Guards I6 as it happens: a key that is in two open requests is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What one record of a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Upsert,
    Delete,
}

/// One record of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub asked: Asked,
    /// The key's values in order, as a JSON array in text: `[1]`.
    pub key: String,
    /// The whole object; for a delete only the key's fields.
    pub record: Value,
}

/// A request as it came, numbered from 1 in the order of arrival.
#[derive(Debug, Clone)]
pub struct Sent {
    pub number: usize,
    pub at: Instant,
    pub connection: usize,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub idempotency_key: Option<String>,
    pub run: Option<String>,
    /// SHA-256 in hexadecimal.
    pub body_hash: String,
    /// The beginning of the body.
    pub beginning: String,
    pub operations: Vec<Operation>,
}

/// What was made of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    NotApplied,
    /// Applied, and the table changed by it.
    Applied,
    /// Applied, and the table was so already.
    Redundant,
    Rejected,
}

/// A request with all that became of it.
#[derive(Debug, Clone)]
pub struct Request {
    pub sent: Sent,
    /// The fault played, in words.
    pub fault: String,
    /// One for each operation.
    pub made: Vec<Made>,
    /// The status answered, if any byte of an answer was written.
    pub status: Option<u16>,
    /// The answer was handed whole to the kernel.
    pub is_answered_whole: bool,
    /// The answer, read in full, is a receipt: 200 in the declared shape.
    pub is_receipt: bool,
    pub is_open: bool,
}

/// The table and the journal.
pub struct Journal {
    pub key_fields: Vec<String>,
    pub requests: Vec<Request>,
    pub table: BTreeMap<String, Value>,
    /// Rows of another writer, which no operation may name.
    pub planted: BTreeMap<String, Value>,
    /// Keys that were last applied after the client had given up: what the destination holds under them, nobody can
    /// know (B5).
    pub late: BTreeSet<String>,
    /// Requests to be applied at the next release though the client is gone.
    to_be_late: Vec<usize>,
    violations: Vec<String>,
    in_flight: BTreeMap<String, usize>,
    conflicts: Vec<Conflict>,
}

/// A key that was in two open requests. It does not count if the earlier request's client turns out to have been gone.
struct Conflict {
    key: String,
    earlier: usize,
    later: usize,
    seen: Instant,
}

/// How much later than a conflict the end of the earlier request's connection may be noticed and still excuse it.
const NOTICE: Duration = Duration::from_millis(200);

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether one idempotency key stands for both, and something else is asked for.
    pub fn contradicts(&self, other: &Sent) -> bool {
        self.idempotency_key.is_some()
            && self.idempotency_key == other.idempotency_key
            && (&self.path, &self.body_hash) != (&other.path, &other.body_hash)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(|operation| operation.key.as_str())
    }
}

impl Request {
    pub fn is_applied(&self) -> bool {
        self.made.iter().any(|made| matches!(made, Made::Applied | Made::Redundant))
    }

    /// Operations with what was made of each.
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = (&Operation, Made)> {
        self.sent.operations.iter().zip(self.made.iter().copied())
    }
}

impl Journal {
    pub fn new(key_fields: &[&str]) -> Journal {
        Journal {
            key_fields: key_fields.iter().map(|&field| field.to_owned()).collect(),
            requests: Vec::new(),
            table: BTreeMap::new(),
            planted: BTreeMap::new(),
            late: BTreeSet::new(),
            to_be_late: Vec::new(),
            violations: Vec::new(),
            in_flight: BTreeMap::new(),
            conflicts: Vec::new(),
        }
    }

    /// The key of an object; missing fields are an error in words.
    pub fn key_of(&self, record: &Value) -> Result<String, String> {
        key_of(&self.key_fields, record)
    }

    /// Reads the operations of a request; an error in words if it is not one of the declared shapes.
    pub fn parse(&self, method: &str, path: &str, body: &[u8]) -> Result<Vec<Operation>, String> {
        if let ("DELETE", Some(key)) = (method, path.strip_prefix("/contacts/")) {
            let text = percent_decode_str(key).decode_utf8().map_err(|error| error.to_string())?;
            let record = serde_json::json!({ &self.key_fields[0]: text });
            let key = self.key_of(&record)?;
            return Ok(vec![Operation { asked: Asked::Delete, key, record }]);
        }
        if method != "POST" {
            return Err("no such method".to_owned());
        }
        let (asked, list) = match path {
            "/contacts/batch" => (Asked::Upsert, "records"),
            "/contacts/batch/archive" => (Asked::Delete, "ids"),
            _ => return Err(format!("no such path: `{path}`")),
        };
        let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let fields = body.as_object().map_or(0, serde_json::Map::len);
        let records = body.get(list).and_then(Value::as_array);
        let records = records.filter(|_| fields == 1).ok_or("the body has another shape")?;
        let operation = |record: &Value| {
            Ok(Operation { asked, key: self.key_of(record)?, record: record.clone() })
        };
        let operations = records.iter().map(operation).collect::<Result<Vec<_>, String>>()?;
        let extra = |operation: &Operation| {
            let fields = operation.record.as_object().map_or(0, serde_json::Map::len);
            asked == Asked::Delete && fields != self.key_fields.len()
        };
        if operations.iter().any(extra) {
            return Err("a delete has fields beside the key".to_owned());
        }
        Ok(operations)
    }

    /// Writes a request down as open. Its number must be the next one.
    pub fn open(&mut self, sent: Sent, fault: String) {
        assert_eq!(sent.number, self.requests.len() + 1, "requests are numbered as they come");
        let mut seen = BTreeSet::new();
        for operation in &sent.operations {
            let key = &operation.key;
            if !seen.insert(key.clone()) {
                self.violations.push(format!("I6: {key} is twice in request {}", sent.number));
            }
            if let Some(earlier) = self.in_flight.insert(key.clone(), sent.number) {
                let (key, later, seen) = (key.clone(), sent.number, Instant::now());
                self.conflicts.push(Conflict { key, earlier, later, seen });
            }
            if self.planted.contains_key(key) {
                self.violations
                    .push(format!("I1: request {} touches the co-writer's {key}", sent.number));
            }
        }
        let made = vec![Made::NotApplied; sent.operations.len()];
        self.requests.push(Request {
            sent,
            fault,
            made,
            status: None,
            is_answered_whole: false,
            is_receipt: false,
            is_open: true,
        });
    }

    /// Applies a request's operations, save those with a key in `refused`.
    pub fn apply(&mut self, number: usize, refused: &BTreeSet<String>) {
        self.apply_but(number, refused, Made::Rejected);
    }

    /// As `apply`; what is made of the others is `instead`.
    pub fn apply_but(&mut self, number: usize, refused: &BTreeSet<String>, instead: Made) {
        let request = &mut self.requests[number - 1];
        for (operation, made) in request.sent.operations.iter().zip(&mut request.made) {
            *made = if refused.contains(&operation.key) {
                instead
            } else {
                self.late.remove(&operation.key);
                let before = match operation.asked {
                    Asked::Upsert => {
                        self.table.insert(operation.key.clone(), operation.record.clone())
                    }
                    Asked::Delete => self.table.remove(&operation.key),
                };
                let is_redundant = match operation.asked {
                    Asked::Upsert => before.as_ref() == Some(&operation.record),
                    Asked::Delete => before.is_none(),
                };
                if is_redundant { Made::Redundant } else { Made::Applied }
            };
        }
    }

    /// Closes a request: nothing of it is in flight any more.
    pub fn close(&mut self, number: usize) {
        let request = &mut self.requests[number - 1];
        request.is_open = false;
        for key in request.sent.keys() {
            if self.in_flight.get(key) == Some(&number) {
                self.in_flight.remove(key);
            }
        }
    }

    /// Closes a request with a whole answer.
    pub fn answered(&mut self, number: usize, status: u16, is_receipt: bool) {
        self.close(number);
        let request = &mut self.requests[number - 1];
        request.status = Some(status);
        request.is_answered_whole = true;
        request.is_receipt = is_receipt;
    }

    /// Closes a request whose client is gone.
    pub fn close_as_gone(&mut self, number: usize) {
        self.close(number);
        self.conflicts
            .retain(|conflict| conflict.earlier != number || conflict.seen.elapsed() > NOTICE);
    }

    /// Closes a request whose client is gone, and which is applied all the same at the next release.
    pub fn put_off(&mut self, number: usize) {
        self.close_as_gone(number);
        self.to_be_late.push(number);
    }

    /// Applies what was put off.
    pub fn apply_late(&mut self) {
        for number in std::mem::take(&mut self.to_be_late) {
            self.apply(number, &BTreeSet::new());
            // Only where something newer was delivered meanwhile can nobody know of it.
            let is_overtaken = |key: &&str| {
                let newer = self.requests[number..].iter();
                let mut delivered = newer.filter(|r| r.is_receipt && r.is_answered_whole);
                delivered.any(|request| request.sent.keys().any(|known| known == *key))
            };
            let keys = self.requests[number - 1].sent.keys().filter(is_overtaken);
            let late: Vec<String> = keys.map(str::to_owned).collect();
            self.late.extend(late);
        }
    }

    /// Everything seen that must never be, in words.
    pub fn violations(&self) -> Vec<String> {
        let in_words = |conflict: &Conflict| {
            let Conflict { key, earlier, later, .. } = conflict;
            format!("I6: {key} is in requests {earlier} and {later} at once")
        };
        self.violations.iter().cloned().chain(self.conflicts.iter().map(in_words)).collect()
    }
}

/// The key of an object as text, such as `[1]` or `["2013-01-01T05:00:00Z","UA",1545]`.
pub fn key_of(key_fields: &[String], record: &Value) -> Result<String, String> {
    let value = |field: &String| {
        record.get(field).cloned().ok_or_else(|| format!("a record lacks the key field `{field}`"))
    };
    let values = key_fields.iter().map(value).collect::<Result<Vec<Value>, String>>()?;
    Ok(Value::Array(values).to_string())
}

/// SHA-256 in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
