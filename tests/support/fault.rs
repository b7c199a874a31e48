//! The faults an oracle can play, and the script that says when.
//!
//! Guards: a planted fault that never fired is known, so that a scenario whose fault did not fire fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::journal::Sent;

/// What to do with one request instead of applying and answering it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Nothing applied; this status, these headers, this body.
    Status { code: u16, headers: Vec<(String, String)>, body: String },
    /// As `Status`, with no other headers than these, and a body that need be no text (B6, B12).
    Bytes { code: u16, headers: Vec<(String, String)>, body: Body },
    /// Nothing applied; these bytes, which need be no HTTP, and the connection closed (B12).
    Raw(Body),
    /// Applied; answered as this fault answers, which is no receipt.
    Applied(Box<Fault>),
    /// As `Applied`, and by the scenario's config it is a receipt.
    Receipt(Box<Fault>),
    /// Nothing applied; this status, and a message that repeats the request's body and credentials (I12).
    Echo(u16),
    /// Applied; the connection is closed without an answer (B2).
    ApplyThenDrop,
    /// Nothing applied; read in full, and the connection closed without an answer (B3).
    DropBeforeApply,
    /// Applied; the connection is closed after this many bytes of the answer.
    ApplyThenCut(usize),
    /// Nothing applied; the connection is reset after this many bytes of the body came (B4). Where it is not planted by
    /// number or as the next, the body is read first.
    ResetWithinBody(usize),
    /// As `ResetWithinBody`, and the write side is closed instead: nothing is answered, what still comes is read (B4).
    HalfCloseWithinBody(usize),
    /// Nothing applied and nothing answered: after this many bytes of the body the rest is read and dropped.
    SilentWithinBody(usize),
    /// Nothing applied; answered with this status when so many bytes of the body came, and the connection closed: what
    /// still comes is read (B9).
    EarlyAnswer(u16, usize),
    /// Applied and answered whole, and the same bytes once more, which nobody asked for (B18).
    AnswerTwice,
    /// Nothing applied; read in full, and the write side closed without an answer; what still comes is read (B3).
    HalfClose,
    /// Nothing applied and nothing answered until `release`; applied then, whether or not the client has given up (B5).
    ApplyLate,
    /// Applied and answered whole; the write side is closed this much later, and whatever came too late for that is
    /// written down as lost (B18).
    CloseIdle(Duration),
    /// Nothing applied; an answer of which `head` or body never ends: pieces of so many bytes with this pause between
    /// them, until the client is gone (B6).
    Endless { is_head: bool, piece: usize, pause: Duration },
    /// Applied; the connection is reset without an answer.
    ApplyThenReset,
    /// Applied and answered whole; then the connection is reset (B1).
    AnswerThenReset,
    /// Nothing applied; 200 with a page in HTML (B12).
    Html200,
    /// Nothing applied; 200 with this body as JSON, whatever it is (B12).
    Json200(String),
    /// Applied; the answer has one result too few (B11).
    WrongCount,
    /// Applied; the answer has the first result twice (B11).
    Repeated,
    /// Applied and answered record by record with this status (B11).
    AnswerWith(u16),
    /// The records with these keys are rejected in the answer with this code; the others are applied.
    RejectKeys(BTreeSet<String>, String),
    /// The records with these keys are answered with the status `busy` and not applied; the others are applied.
    BusyKeys(BTreeSet<String>),
    /// While one of these keys is in the batch, all of it is refused with 400 and no record is named (B10).
    Poison400(BTreeSet<String>),
    /// As `Poison400`, with another status.
    Poison(u16, BTreeSet<String>),
    /// Batches of more records than this are refused with 413 (B9).
    TooLarge413(usize),
    /// Nothing applied; this status and this location (B13).
    Redirect(u16, String),
    /// Applied at once, answered after this time.
    SlowAnswer(Duration),
    /// Applied; the answer comes in that many pieces with this pause between them (B6).
    SlowPieces(usize, Duration),
    /// Waits for `release`, then applies and answers; a client that is gone by then had nothing applied.
    Hold,
    /// Applied at once; the answer waits for `release`.
    ApplyThenHold,
    /// No fault: for scripts that spare some requests.
    None,
}

/// A body that is shown in short.
#[derive(Clone, PartialEq)]
pub struct Body(pub Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = String::from_utf8_lossy(&self.0[..self.0.len().min(60)]);
        write!(f, "{} bytes: {beginning:?}", self.0.len())
    }
}

impl Fault {
    /// A refusal with this status and a short JSON body.
    pub fn status(code: u16) -> Fault {
        Fault::Status { code, headers: Vec::new(), body: r#"{"error":"played"}"#.to_owned() }
    }

    /// A refusal with a `Retry-After`, in whatever form.
    pub fn retry_after(code: u16, value: &str) -> Fault {
        let headers = vec![("retry-after".to_owned(), value.to_owned())];
        Fault::Status { code, headers, body: String::new() }
    }

    /// Nothing applied; this status, and neither a body nor its type.
    pub fn empty(code: u16) -> Fault {
        Fault::Bytes { code, headers: Vec::new(), body: Body(Vec::new()) }
    }

    /// Applied, and answered as this fault answers.
    pub fn applied(self) -> Fault {
        Fault::Applied(Box::new(self))
    }

    /// Applied, and answered as this fault answers, which the scenario's config declares to be a receipt.
    pub fn receipt(self) -> Fault {
        Fault::Receipt(Box::new(self))
    }

    /// Nothing applied; this status, and a body of this type.
    pub fn body(code: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Fault {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Fault::Bytes { code, headers, body: Body(body.into()) }
    }

    /// The bytes of the body before which this is played, where it is played within the body.
    fn within_body(&self) -> Option<usize> {
        match self {
            Fault::ResetWithinBody(bytes)
            | Fault::HalfCloseWithinBody(bytes)
            | Fault::SilentWithinBody(bytes)
            | Fault::EarlyAnswer(_, bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// Whether this fault has anything to say about this request.
    fn concerns(&self, sent: &Sent) -> bool {
        match self {
            Fault::RejectKeys(keys, _)
            | Fault::BusyKeys(keys)
            | Fault::Poison400(keys)
            | Fault::Poison(_, keys) => {
                sent.operations.iter().any(|operation| keys.contains(&operation.key))
            }
            Fault::TooLarge413(records) => sent.operations.len() > *records,
            _ => true,
        }
    }
}

type Predicate = Box<dyn Fn(&Sent) -> bool + Send>;

struct Standing {
    holds_for: Predicate,
    fault: Fault,
    fired: u64,
}

struct Mix {
    random: SmallRng,
    /// Probability and fault; they add up to at most one.
    faults: Vec<(f64, Fault)>,
}

/// When which fault is played. First match: by number, next, standing, random.
#[derive(Default)]
pub struct Script {
    by_number: BTreeMap<usize, Fault>,
    next: VecDeque<Fault>,
    standing: Vec<Standing>,
    mix: Option<Mix>,
}

impl Script {
    pub fn on_request(&mut self, number: usize, fault: Fault) {
        self.by_number.insert(number, fault);
    }

    pub fn on_next(&mut self, fault: Fault) {
        self.next.push_back(fault);
    }

    pub fn when(&mut self, holds_for: Predicate, fault: Fault) {
        self.standing.push(Standing { holds_for, fault, fired: 0 });
    }

    pub fn mix(&mut self, seed: u64, faults: Vec<(f64, Fault)>) {
        self.mix = Some(Mix { random: SmallRng::seed_from_u64(seed), faults });
    }

    /// The fault for this request; taken out of the script where it stands there once.
    pub fn choose(&mut self, sent: &Sent) -> Fault {
        // One that has nothing to say about this request stays, and is known as one that never fired.
        if self.by_number.get(&sent.number).is_some_and(|fault| fault.concerns(sent)) {
            return self.by_number.remove(&sent.number).expect("it was there");
        }
        if self.next.front().is_some_and(|fault| fault.concerns(sent)) {
            return self.next.pop_front().expect("it was there");
        }
        for standing in &mut self.standing {
            if (standing.holds_for)(sent) && standing.fault.concerns(sent) {
                standing.fired += 1;
                return standing.fault.clone();
            }
        }
        let Some(mix) = &mut self.mix else { return Fault::None };
        let mut drawn: f64 = mix.random.random();
        for (probability, fault) in &mix.faults {
            if drawn < *probability {
                return if fault.concerns(sent) { fault.clone() } else { Fault::None };
            }
            drawn -= probability;
        }
        Fault::None
    }

    /// The fault that is to be played before the body of request `number` is read in full, if that is next, and the
    /// bytes of the body to wait for.
    pub fn choose_within_body(&mut self, number: usize) -> Option<(Fault, usize)> {
        if let Some(bytes) = self.by_number.get(&number).and_then(Fault::within_body) {
            return self.by_number.remove(&number).map(|fault| (fault, bytes));
        }
        let bytes = self.next.front().and_then(Fault::within_body)?;
        self.next.pop_front().map(|fault| (fault, bytes))
    }

    /// The planted faults that have not fired; a random mix is never among them.
    pub fn unfired(&self) -> Vec<String> {
        let by_number =
            self.by_number.iter().map(|(number, fault)| format!("on request {number}: {fault:?}"));
        let next = self.next.iter().map(|fault| format!("on the next request: {fault:?}"));
        let standing = self.standing.iter().filter(|standing| standing.fired == 0);
        let standing = standing.map(|standing| format!("standing: {:?}", standing.fault));
        by_number.chain(next).chain(standing).collect()
    }
}
