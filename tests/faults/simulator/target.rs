//! The simulated destination: what it holds, what it was asked, and what it answers.
//!
//! Not responsible for judging what it was asked (judge.rs). It is honest: it names as delivered what it holds, and says
//! that nothing was applied only where nothing was.

use std::collections::{BTreeMap, BTreeSet};

use counterflow::delivery::dispatch::Sending;
use counterflow::delivery::idempotency;
use counterflow::destination::answer::{Attempt, Effect, Judgement, RecordVerdict, Refusal};
use counterflow::destination::definition::Repeat;
use counterflow::domain::entry::{Fingerprint, Operation};
use counterflow::domain::id::IntentNumber;
use counterflow::snapshot::header::Header;

use super::fixture::{SYNC, id};
use super::plan::{How, Part};

/// One request, as it left.
#[derive(Debug, Clone)]
pub struct Request {
    /// Counts all requests of the history.
    pub number: u64,
    pub run: u64,
    pub operation: Operation,
    pub idempotency_key: String,
    pub records: Vec<Asked>,
    /// All records of its batch are in it.
    pub is_whole: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub key: i64,
    pub fingerprint: Fingerprint,
    pub number: IntentNumber,
    pub content: String,
}

/// What is held under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub fingerprint: Fingerprint,
    pub content: String,
}

#[derive(Debug)]
pub struct Target {
    pub held: BTreeMap<i64, Held>,
    pub poison: BTreeSet<u8>,
    pub sticky: BTreeSet<i64>,
    answers_by_record: bool,
    /// Recognises idempotency keys: the verdicts it gave, by key.
    known: Option<BTreeMap<String, Vec<RecordVerdict>>>,
    /// The last request that was applied to each key.
    applied: BTreeMap<i64, u64>,
    /// Keys whose content is that of an older request that was applied after a newer one.
    pub overtaken: BTreeSet<i64>,
    /// To be applied at a tick, counted over the whole history.
    late: Vec<(u64, Request)>,
    /// What came of requests, for people; nothing where nobody listens.
    pub story: Option<Vec<String>>,
}

impl Request {
    /// `header` is that of the snapshot, since the run began.
    pub fn of(sending: &Sending, header: &Header, run: u64, number: u64) -> Request {
        let batch = &sending.batch;
        let asked = |record| Asked {
            key: id(batch.key(record)),
            fingerprint: record.fingerprint,
            number: batch.number(record),
            content: String::from_utf8_lossy(batch.json(record)).into_owned(),
        };
        Request {
            number,
            run,
            operation: batch.operation,
            idempotency_key: idempotency::key(
                header.lineage,
                SYNC,
                batch,
                &sending.places,
                header.contents_from(false),
            ),
            records: batch.at(&sending.places).map(asked).collect(),
            is_whole: batch.at(&sending.places).count() == batch.records.len(),
        }
    }

    pub fn shares_key_with(&self, other: &Request) -> bool {
        self.records.iter().any(|asked| other.records.iter().any(|it| it.key == asked.key))
    }
}

impl Target {
    pub fn new(repeat: Repeat, answers_by_record: bool, is_told: bool) -> Target {
        Target {
            held: BTreeMap::new(),
            poison: BTreeSet::new(),
            sticky: BTreeSet::new(),
            answers_by_record,
            known: (repeat == Repeat::Key).then(BTreeMap::new),
            applied: BTreeMap::new(),
            overtaken: BTreeSet::new(),
            late: Vec::new(),
            story: is_told.then(Vec::new),
        }
    }

    /// Answers a request; `None` answers as it should.
    pub fn answer(&mut self, request: &Request, how: Option<How>, now: u64) -> Attempt {
        let judgement = self.judge(request, how, now);
        self.tell(request, || {
            let how = how.map_or("answered".to_owned(), |how| format!("{how:?}"));
            format!("{how} → {}", shown(&judgement))
        });
        let retry_after =
            matches!(how, Some(How::Busy)).then_some(std::time::Duration::from_secs(1));
        Attempt { judgement, status: None, retry_after }
    }

    fn judge(&mut self, request: &Request, how: Option<How>, now: u64) -> Judgement {
        match how {
            None | Some(How::TooLarge) if request.records.len() == 1 || how.is_none() => {
                self.respond(request)
            }
            None | Some(How::TooLarge) => Judgement::Split(refusal("413")),
            Some(How::Lost(part)) => {
                self.apply_part(request, part);
                Judgement::Unknown(refusal("timeout"))
            }
            Some(How::Late(ticks)) => {
                self.late.push((now + ticks, request.clone()));
                Judgement::Unknown(refusal("timeout"))
            }
            Some(How::Unavailable(part)) => {
                self.apply_part(request, part);
                Judgement::Unknown(refusal("503"))
            }
            Some(How::Busy) => Judgement::NotApplied(refusal("429")),
            Some(How::Unreachable) => Judgement::NotApplied(refusal("connect")),
            Some(How::AgainByRecord(bits)) => {
                self.by_record(request, bits, |_| RecordVerdict::Retry(refusal("busy")))
            }
            Some(How::RejectByRecord(bits)) => {
                self.by_record(request, bits, |_| RecordVerdict::Rejected(refusal("422")))
            }
            Some(How::WrongCount) => {
                self.apply_part(request, Part::All);
                Judgement::Records(vec![RecordVerdict::Delivered; request.records.len() + 1])
            }
            Some(How::Unauthorised) => Judgement::Halt(refusal("401"), Effect::None),
            Some(How::Forbidden(part)) => {
                self.apply_part(request, part);
                Judgement::Halt(refusal("403"), Effect::Possible)
            }
        }
    }

    /// As it should be answered.
    fn respond(&mut self, request: &Request) -> Judgement {
        if let Some(verdicts) =
            self.known.as_ref().and_then(|known| known.get(&request.idempotency_key))
        {
            return Judgement::Records(verdicts.clone());
        }
        let is_bad = request.records.iter().any(|asked| !self.takes(request.operation, asked));
        if is_bad && !self.answers_by_record {
            return Judgement::Split(refusal("400"));
        }
        Judgement::Records(self.apply(request))
    }

    fn by_record(
        &mut self,
        request: &Request,
        bits: u32,
        verdict: impl Fn(&Asked) -> RecordVerdict,
    ) -> Judgement {
        let mut verdicts = Vec::new();
        for (place, asked) in request.records.iter().enumerate() {
            let is_hit = bits >> (place % 8) & 1 == 1;
            verdicts.push(if is_hit { verdict(asked) } else { self.set(request, asked) });
        }
        Judgement::Records(verdicts)
    }

    fn takes(&self, operation: Operation, asked: &Asked) -> bool {
        match operation {
            Operation::Delete => !self.sticky.contains(&asked.key),
            Operation::Upsert => {
                let is_of = |value: &u8| asked.content.contains(&format!(":{value}.0"));
                !self.poison.iter().any(is_of)
            }
        }
    }

    /// Applies a request whole, once for its key where keys are recognised.
    fn apply(&mut self, request: &Request) -> Vec<RecordVerdict> {
        if let Some(verdicts) =
            self.known.as_ref().and_then(|known| known.get(&request.idempotency_key))
        {
            return verdicts.clone();
        }
        let verdicts: Vec<RecordVerdict> =
            request.records.iter().map(|asked| self.set(request, asked)).collect();
        if let Some(known) = &mut self.known {
            known.insert(request.idempotency_key.clone(), verdicts.clone());
        }
        verdicts
    }

    fn apply_part(&mut self, request: &Request, part: Part) {
        match part {
            Part::None => {}
            Part::All => drop(self.apply(request)),
            Part::Half => {
                let is_known =
                    |known: &BTreeMap<_, _>| known.contains_key(&request.idempotency_key);
                if !self.known.as_ref().is_some_and(is_known) {
                    let half = request.records.len().div_ceil(2);
                    request.records[..half].iter().for_each(|asked| drop(self.set(request, asked)));
                }
            }
        }
    }

    fn set(&mut self, request: &Request, asked: &Asked) -> RecordVerdict {
        if !self.takes(request.operation, asked) {
            return RecordVerdict::Rejected(refusal("422"));
        }
        let held = match request.operation {
            Operation::Delete => None,
            Operation::Upsert => {
                Some(Held { fingerprint: asked.fingerprint, content: asked.content.clone() })
            }
        };
        let newest = self.applied.get(&asked.key).copied().unwrap_or(0);
        if request.number < newest {
            if self.held.get(&asked.key) != held.as_ref() {
                self.overtaken.insert(asked.key);
            }
        } else {
            self.applied.insert(asked.key, request.number);
            self.overtaken.remove(&asked.key);
        }
        match held {
            Some(held) => drop(self.held.insert(asked.key, held)),
            None => drop(self.held.remove(&asked.key)),
        }
        RecordVerdict::Delivered
    }

    /// Nobody waits for the answer of this one any more.
    pub fn give_up(&mut self, request: Request, part: Part, late: Option<u64>) {
        self.tell(&request, || format!("given up, {part:?} applied, late: {late:?}"));
        match late {
            Some(tick) => self.late.push((tick, request)),
            None => self.apply_part(&request, part),
        }
    }

    /// Applies what was late. Returns how many requests.
    pub fn catch_up(&mut self, now: u64) -> u64 {
        let (due, late) =
            std::mem::take(&mut self.late).into_iter().partition(|(tick, _)| *tick <= now);
        self.late = late;
        let due: Vec<(u64, Request)> = due;
        for (_, request) in &due {
            self.tell(request, || "applied late".to_owned());
            self.apply(request);
        }
        due.len() as u64
    }

    fn tell(&mut self, request: &Request, what: impl FnOnce() -> String) {
        let Some(story) = &mut self.story else { return };
        let records: Vec<String> = request
            .records
            .iter()
            .map(|asked| format!("{} #{}", asked.content, asked.number.0))
            .collect();
        story.push(format!(
            "  request {} of run {}, {} [{}] key {}: {}",
            request.number,
            request.run,
            request.operation.word(),
            records.join(", "),
            &request.idempotency_key[..8],
            what(),
        ));
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: String::new() }
}

fn shown(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Records(verdicts) => {
            let word = |verdict: &RecordVerdict| match verdict {
                RecordVerdict::Delivered => "delivered",
                RecordVerdict::Rejected(_) => "rejected",
                RecordVerdict::Retry(_) => "again",
            };
            verdicts.iter().map(word).collect::<Vec<_>>().join(" ")
        }
        Judgement::NotApplied(why) => format!("not applied, {}", why.code),
        Judgement::Unknown(why) => format!("unknown, {}", why.code),
        Judgement::Split(why) => format!("split, {}", why.code),
        Judgement::Halt(why, _) => format!("halt, {}", why.code),
    }
}
