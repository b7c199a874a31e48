//! What a run came to: its tally, what is held, what was not delivered and why.
//!
//! Not responsible for how it is printed. Guards: no secret and no row is in it, keys and their codes aside.

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::sampling::Sampling;
use crate::delivery::clock::now;
use crate::delivery::notes::{self, Notes};
use crate::domain::guard::HoldCause;
use crate::domain::id::{Instant, RunId};
use crate::domain::key::Shown;
use crate::domain::kind::{Choice, Kind, KindReason};
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::tally::Tally;
use crate::shutdown::Stage;
use crate::source::Restriction;
use crate::store::{RecordNote, Verdict};
use crate::telemetry::traces::OfRun;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Report {
    pub run: RunId,
    pub sync: String,
    /// `None` where the run failed before its kind was known.
    pub kind: Option<Kind>,
    pub reason: Option<KindReason>,
    /// The run that left nothing to do, where this one was skipped as nothing has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<RunId>,
    /// The version of the table then, where the model reads one table that counts its versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_version: Option<u64>,
    /// From where on rows were read, where the model's cursor restricted the run; rows without a value and those of records in
    /// doubt were read as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Why everything was read, where the model has a cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<String>,
    /// Why the bound of the model's cursor did not move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_stays: Option<String>,
    pub outcome: Outcome,
    pub tally: Tally,
    /// Why deletes are held, where some are.
    pub holds: Vec<HoldCause>,
    /// A few of the invalid, rejected and unknown records, by key, with what is wrong.
    #[serde(default)]
    pub examples: Vec<String>,
    /// What requests came to instead of a receipt, most frequent first; also those whose records got through later.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// What became of each record of a sample, at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Sampling>,
    pub error: Option<String>,
    /// Queries that did not end when they were told to, and go on: 0 or 1. The next run of the sync waits for them.
    #[serde(default)]
    pub abandoned_queries: u64,
    /// Where its time went.
    #[serde(default)]
    pub took: Took,
    /// The run failed by what the config says. Not part of the document: its words say so.
    #[serde(skip)]
    pub is_config_fault: bool,
    /// The run failed so that no later one does better before a person has done something. Not part of the document.
    #[serde(skip)]
    pub is_halt: bool,
    /// Segments of the snapshot are to be merged behind the run. Not part of the document.
    #[serde(skip)]
    pub is_compaction_due: bool,
    /// When the run came to each of its phases; for its trace, and not part of the document.
    #[serde(skip)]
    pub phases: Vec<(Phase, Instant)>,
}

/// From where on the rows of a model are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Since {
    /// The model's cursor.
    pub column: String,
    /// As the values of that column are said.
    pub value: String,
}

impl Since {
    pub fn of(restriction: &Restriction) -> Since {
        Since { column: restriction.column.clone(), value: restriction.from.to_string() }
    }
}

/// How long a run was in each of its phases, in milliseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Took {
    /// From its beginning to the first read: the snapshot is opened and loaded, the query planned.
    pub starting: u64,
    /// Reading and delivering, deletes included.
    pub reading: u64,
    pub draining: u64,
    /// The commit.
    pub committing: u64,
}

impl Took {
    fn of(phases: &[(Phase, Instant)], ended: Instant) -> Took {
        let mut took = Took::default();
        let ends = phases.iter().skip(1).map(|(_, at)| *at).chain([ended]);
        for ((phase, at), end) in phases.iter().zip(ends) {
            let milliseconds = u64::try_from(end.0.saturating_sub(at.0)).unwrap_or(0);
            match phase {
                Phase::Starting => took.starting = milliseconds,
                Phase::Reading => took.reading = milliseconds,
                Phase::Draining => took.draining = milliseconds,
                Phase::Committing => took.committing = milliseconds,
                Phase::InQueue | Phase::Ended(_) => {}
            }
        }
        took
    }
}

/// What the destination did instead of giving a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Trouble {
    pub connection: String,
    /// Scheme, host and port: a path may hold a secret.
    pub address: String,
    /// A status, or a word such as `connect`.
    pub code: String,
    /// Of the last request that ended so.
    pub message: String,
    pub requests: u64,
    /// What a person can do.
    pub remedy: String,
}

impl Trouble {
    fn new(order: &Order, trouble: notes::Trouble) -> Trouble {
        let notes::Trouble { refusal, requests } = trouble;
        Trouble {
            connection: order.connection.name.clone(),
            address: address(&order.connection.base_url).to_owned(),
            remedy: remedy(&refusal.code).to_owned(),
            code: refusal.code,
            message: refusal.message,
            requests,
        }
    }
}

impl Report {
    /// Of a run of which nothing is known yet: until more is, it has failed.
    pub fn new(run: RunId, sync: String) -> Report {
        Report {
            run,
            sync,
            kind: None,
            reason: None,
            unchanged_since: None,
            unchanged_version: None,
            since: None,
            whole: None,
            bound_stays: None,
            outcome: Outcome::Failed,
            tally: Tally::default(),
            holds: Vec::new(),
            examples: Vec::new(),
            troubles: Vec::new(),
            records: Vec::new(),
            error: None,
            abandoned_queries: 0,
            took: Took::default(),
            is_config_fault: false,
            is_halt: false,
            is_compaction_due: false,
            phases: Vec::new(),
        }
    }

    /// Notes which kind the run has, and why.
    pub fn set_choice(&mut self, choice: Choice) {
        self.kind = Some(choice.kind);
        self.reason = Some(choice.reason);
        self.unchanged_since = choice.unchanged_since;
        self.unchanged_version = choice.unchanged_version;
        self.bound_stays = choice.bound_stays.map(|why| why.to_string());
    }

    /// Notes that the run has come to a phase.
    pub fn enters(&mut self, phase: Phase) {
        self.phases.push((phase, now()));
    }

    /// Notes that the run has ended.
    pub fn ends(&mut self) {
        self.took = Took::of(&self.phases, now());
    }

    /// The trace of the run, which began then, by a trigger and with a revision of the config.
    pub fn trace<'a>(&'a self, trigger: Trigger, revision: &'a str, began: Instant) -> OfRun<'a> {
        OfRun {
            sync: &self.sync,
            run: self.run,
            kind: self.kind,
            trigger,
            outcome: self.outcome,
            revision,
            tally: &self.tally,
            began,
            phases: &self.phases,
            ended: now(),
        }
    }

    /// Says what requests came to instead of receipts; as the error of the run where records are left for it, unless the
    /// run was stopped, which is cause enough.
    pub fn explain(&mut self, order: &Order, troubles: Vec<notes::Trouble>, stage: Stage) {
        let troubles = troubles.into_iter();
        self.troubles = troubles.map(|trouble| Trouble::new(order, trouble)).collect();
        if self.tally.unknown + self.tally.unsent > 0 && stage == Stage::Running {
            self.error = in_words(&self.troubles);
        }
    }
}

/// The records that delivery could not deliver, for people to ask for.
pub fn undelivered(notes: &mut Notes) -> Vec<RecordNote> {
    let rejected = notes.take_rejected().into_iter().map(|named| (Verdict::Rejected, named));
    let unknown = notes.take_unknown().into_iter().map(|named| (Verdict::Unknown, named));
    let note = |(verdict, (key, operation, refusal)): (Verdict, notes::Named)| RecordNote {
        key: Shown(&key).to_string(),
        verdict,
        operation: Some(operation),
        code: Some(refusal.code),
        message: Some(refusal.message),
    };
    rejected.chain(unknown).map(note).collect()
}

/// One sentence for what kept records from being delivered; `None` where nothing did.
fn in_words(troubles: &[Trouble]) -> Option<String> {
    let (first, others) = troubles.split_first()?;
    let Trouble { connection, address, code, message, requests, remedy } = first;
    let mut words = format!(
        "`{connection}` at {address} gave no receipt: {requests} x `{code}` {message}; {remedy}; \
         the next run sends again what is not delivered"
    );
    if !others.is_empty() {
        let others = others.iter().map(|other| format!("{} x `{}`", other.requests, other.code));
        words.push_str(&format!(" (also {})", others.collect::<Vec<_>>().join(", ")));
    }
    Some(words)
}

/// The connection of an order, by its name and address.
pub fn place(order: &Order) -> String {
    let connection = &order.connection;
    format!("the destination `{}` at {}", connection.name, address(&connection.base_url))
}

/// Scheme, host and port of a base URL.
pub(super) fn address(base_url: &str) -> &str {
    let host = base_url.find("://").map_or(0, |at| at + 3);
    let end = base_url[host..].find(['/', '?', '#']).map_or(base_url.len(), |at| host + at);
    // A user and a password are refused by `validate`; this is for what was never validated.
    if base_url[..end].contains('@') { "an address with a password" } else { &base_url[..end] }
}

pub(super) fn remedy(code: &str) -> &'static str {
    match code {
        "connect" => "check that the destination is up and that `base_url` is its address",
        "dns" => "check the host in `base_url` and this machine's name server",
        "timeout" => "check how busy the destination is, or raise `request_timeout`",
        "lost" => "check the destination, and any proxy before it, for why it hangs up",
        "no_receipt" => "compare what the destination answers with the rules under `outcome`",
        "too_long" => "check that `base_url` and the request's path are the API's",
        "tls" => "check the destination's certificate and the host in `base_url`",
        "client" => "where they are elsewhere, name their file by `SSL_CERT_FILE`",
        "other_account" => {
            "give the connection a secret of that account, or replace the connection"
        }
        "401" | "403" => "check the connection's `auth` and what it may do",
        "404" | "410" => "check `base_url` and the request's path",
        "413" => "lower `records` or `bytes` under `batch`",
        "425" | "429" => "lower the connection's `rate_limit` or `concurrency`",
        "unanswered" => "give it longer with `drain_timeout`",
        _ if code.starts_with('5') || code == "408" => "ask the destination's operator or its logs",
        _ => "look the code up in the destination's documentation, and declare it under `outcome`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_no_path_and_no_password() {
        for (base_url, shown) in [
            ("https://hooks.example.com:8443/services/T0K3N?k=v", "https://hooks.example.com:8443"),
            ("http://127.0.0.1:9", "http://127.0.0.1:9"),
            ("https://ann:secret@example.com", "an address with a password"),
        ] {
            assert_eq!(address(base_url), shown);
        }
    }

    #[test]
    fn what_a_run_took_is_told_phase_by_phase() {
        let phases = [(Phase::Starting, Instant(10)), (Phase::Reading, Instant(15))];
        let took = Took::of(&phases, Instant(22));
        assert_eq!(took, Took { starting: 5, reading: 7, ..Took::default() });
        // A clock that was set back says nothing.
        assert_eq!(Took::of(&phases, Instant(9)).reading, 0);
        assert_eq!(Took::of(&[], Instant(9)), Took::default());
    }

    #[test]
    fn troubles_are_one_sentence_with_place_count_cause_and_remedy() {
        let trouble = |code: &str, requests| Trouble {
            connection: "crm".into(),
            address: "http://crm".into(),
            code: code.into(),
            message: "no".into(),
            requests,
            remedy: remedy(code).into(),
        };
        assert_eq!(in_words(&[]), None);
        assert_eq!(
            in_words(&[trouble("429", 3), trouble("500", 1)]).unwrap(),
            "`crm` at http://crm gave no receipt: 3 x `429` no; lower the connection's `rate_limit` or \
             `concurrency`; the next run sends again what is not delivered (also 1 x `500`)"
        );
    }
}
