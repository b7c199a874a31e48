//! The window of parcels in flight: a pure state machine, without clock, socket or chance; all three are handed in.
//!
//! A parcel is a batch or a part of one. Not responsible for durability (an event says that it is reached) nor for what
//! an answer means (destination). Guards: every record settles exactly once; no place is in two parcels; what may have
//! had an effect is never settled as not applied; a stopping window sends nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use super::limits::Retry;
use crate::destination::answer::{Attempt, Effect, Judgement, RecordVerdict, Refusal};
use crate::destination::definition::Repeat;
use crate::domain::entry::Verdict;
use crate::domain::id::BatchNumber;
use crate::points;

/// Time since the delivery began.
pub type Moment = Duration;

/// Rejections of single records with one code, while nothing was delivered, that end a run.
pub const REJECTIONS_THAT_HALT: u32 = 100;
/// Codes that are counted; a destination that answers with more has not one fault.
const CODES_COUNTED: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParcelId(pub u64);

/// What the window is told.
#[derive(Debug)]
pub enum Event {
    /// The batch's intent is durable. Of its records, those set in `retries` are retries of standing rejections.
    Durable { batch: BatchNumber, retries: Vec<bool>, repeat: Repeat },
    /// An attempt that left at `left` ended now. `random` in `0.0..1.0` is the jitter of its repetition.
    Answered { parcel: ParcelId, attempt: Attempt, left: Moment, now: Moment, random: f64 },
    /// The attempt never left.
    Recalled { parcel: ParcelId },
    /// Time passed.
    Due { now: Moment },
    /// Send nothing new; what is in flight may end.
    Drain,
    /// What is in flight is not waited for.
    Abort,
}

/// What the window wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// These records ended. `why`: what left them unknown.
    Settle { batch: BatchNumber, places: Vec<Range<u32>>, verdict: Verdict, why: Option<Refusal> },
    /// No record will succeed: nothing more is sent.
    Halt(Refusal),
    /// `attempt` counts from 1.
    Send { parcel: ParcelId, batch: BatchNumber, places: Vec<Range<u32>>, attempt: u32 },
    /// Come back with `Due` at this time.
    WaitUntil(Moment),
}

/// See the file's comment.
#[derive(Debug)]
pub struct Window {
    concurrency: usize,
    retry: Retry,
    is_stopping: bool,
    has_delivered: bool,
    rejections: HashMap<String, u32>,
    next: u64,
    ready: VecDeque<(ParcelId, Parcel)>,
    in_flight: BTreeMap<ParcelId, Parcel>,
    waiting: BTreeMap<ParcelId, Parcel>,
    due: BTreeSet<(Moment, ParcelId)>,
}

#[derive(Debug, Clone)]
struct Parcel {
    batch: BatchNumber,
    records: Vec<Place>,
    repeat: Repeat,
    /// Ended attempts at this content.
    attempts: u32,
    /// When the first of them left.
    first: Option<Moment>,
    /// Set if an earlier attempt may have had an effect: what came of the last such.
    unknown: Option<Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    place: u32,
    is_retry: bool,
}

impl Window {
    pub fn new(concurrency: u32, retry: Retry) -> Window {
        Window {
            concurrency: usize::try_from(concurrency.max(1)).unwrap_or(usize::MAX),
            retry,
            is_stopping: false,
            has_delivered: false,
            rejections: HashMap::new(),
            next: 0,
            ready: VecDeque::new(),
            in_flight: BTreeMap::new(),
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Takes an event in and says what follows from it.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Durable { batch, retries, repeat } => {
                let places = (0..).zip(retries);
                let records = places.map(|(place, is_retry)| Place { place, is_retry }).collect();
                let (attempts, first, unknown) = (0, None, None);
                let parcel = Parcel { batch, records, repeat, attempts, first, unknown };
                self.put(parcel, false);
            }
            Event::Answered { parcel, attempt, left, now, random } => {
                // An answer may cross an abort: its parcel is settled already.
                if let Some(mut parcel) = self.in_flight.remove(&parcel) {
                    parcel.attempts += 1;
                    parcel.first.get_or_insert(left);
                    self.answer(parcel, attempt, now, random, &mut actions);
                }
            }
            Event::Recalled { parcel } => {
                if let Some(parcel) = self.in_flight.remove(&parcel) {
                    self.put(parcel, true);
                }
            }
            Event::Due { now } => self.wake(now),
            Event::Drain => self.is_stopping = true,
            Event::Abort => {
                self.is_stopping = true;
                for (_, mut parcel) in std::mem::take(&mut self.in_flight) {
                    parcel.unknown = Some(unanswered());
                    actions.push(parcel.give_up());
                }
            }
        }
        self.follow(&mut actions);
        actions
    }

    /// Parcels that may be sent at once.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// So many may be in flight from the next event on; at least 1.
    pub fn allow(&mut self, concurrency: usize) {
        self.concurrency = concurrency.max(1);
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The earliest time at which something is due.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(moment, _)| *moment)
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.in_flight.is_empty() && self.waiting.is_empty()
    }

    fn put(&mut self, parcel: Parcel, is_first: bool) {
        if parcel.records.is_empty() {
            return;
        }
        let id = ParcelId(self.next);
        self.next += 1;
        if is_first {
            self.ready.push_front((id, parcel));
        } else {
            self.ready.push_back((id, parcel));
        }
    }

    fn wake(&mut self, now: Moment) {
        while let Some((moment, id)) = self.due.first().copied()
            && moment <= now
            && !points::is_planted("repetition_never_woken")
        {
            self.due.remove(&(moment, id));
            let parcel = self.waiting.remove(&id).expect("what is due is waiting");
            self.ready.push_back((id, parcel));
        }
    }

    /// What is always so after an event: a stopping window holds nothing back, another one sends what it may.
    fn follow(&mut self, actions: &mut Vec<Action>) {
        if self.is_stopping {
            self.due.clear();
            let ready = std::mem::take(&mut self.ready).into_iter();
            for (_, parcel) in ready.chain(std::mem::take(&mut self.waiting)) {
                actions.push(parcel.give_up());
            }
            return;
        }
        while self.in_flight.len() < self.concurrency
            && let Some((id, parcel)) = self.ready.pop_front()
        {
            let (batch, places, attempt) = (parcel.batch, parcel.places(), parcel.attempts + 1);
            actions.push(Action::Send { parcel: id, batch, places, attempt });
            self.in_flight.insert(id, parcel);
        }
    }

    fn answer(
        &mut self,
        mut parcel: Parcel,
        attempt: Attempt,
        now: Moment,
        random: f64,
        actions: &mut Vec<Action>,
    ) {
        let retry_after =
            attempt.retry_after.filter(|_| !points::is_planted("retry_after_ignored"));
        match counted(attempt.judgement, parcel.records.len()) {
            Judgement::Records(verdicts) => {
                let again = self.settle_each(&parcel, verdicts, actions);
                parcel.records = again;
                self.try_again(parcel, now, retry_after, random, actions);
            }
            Judgement::NotApplied(_) => self.try_again(parcel, now, retry_after, random, actions),
            Judgement::Unknown(refusal) => {
                parcel.unknown = Some(refusal);
                if parcel.repeat == Repeat::Never {
                    actions.push(parcel.give_up());
                } else {
                    self.try_again(parcel, now, retry_after, random, actions);
                }
            }
            Judgement::Split(refusal) => self.split(parcel, refusal, actions),
            Judgement::Halt(refusal, effect) => {
                if effect == Effect::Possible {
                    parcel.unknown = Some(refusal.clone());
                }
                actions.push(parcel.give_up());
                self.halt(refusal, actions);
            }
        }
    }

    /// Settles each record by its verdict; returns those that are to be sent again.
    fn settle_each(
        &mut self,
        parcel: &Parcel,
        verdicts: Vec<RecordVerdict>,
        actions: &mut Vec<Action>,
    ) -> Vec<Place> {
        self.has_delivered |= verdicts.contains(&RecordVerdict::Delivered);
        let mut again = Vec::new();
        let mut settled: Vec<(Vec<Range<u32>>, Verdict)> = Vec::new();
        let mut halt = None;
        for (record, verdict) in parcel.records.iter().zip(verdicts) {
            let verdict = match verdict {
                RecordVerdict::Retry(_) => {
                    again.push(*record);
                    continue;
                }
                RecordVerdict::Delivered => Verdict::Delivered,
                RecordVerdict::Rejected(refusal) => {
                    if self.is_hopeless(&refusal, record.is_retry) {
                        halt = Some(refusal.clone());
                    }
                    parcel.rejected(refusal)
                }
            };
            match settled.last_mut() {
                Some((places, last)) if *last == verdict => add(places, record.place),
                _ => {
                    let mut places = Vec::new();
                    add(&mut places, record.place);
                    settled.push((places, verdict));
                }
            }
        }
        let batch = parcel.batch;
        let settle = |(places, verdict)| Action::Settle { batch, places, verdict, why: None };
        actions.extend(settled.into_iter().map(settle));
        if let Some(refusal) = halt {
            self.halt(refusal, actions);
        }
        again
    }

    fn try_again(
        &mut self,
        parcel: Parcel,
        now: Moment,
        retry_after: Option<Duration>,
        random: f64,
        actions: &mut Vec<Action>,
    ) {
        if parcel.records.is_empty() {
            return;
        }
        let elapsed = now.saturating_sub(parcel.first.unwrap_or(now));
        let delay = self.retry.delay(parcel.attempts, elapsed, retry_after, random);
        match delay.filter(|_| !self.is_stopping) {
            None => actions.push(parcel.give_up()),
            Some(Duration::ZERO) => self.put(parcel, false),
            Some(delay) => {
                let (id, moment) = (ParcelId(self.next), now.saturating_add(delay));
                self.next += 1;
                self.waiting.insert(id, parcel);
                self.due.insert((moment, id));
                actions.push(Action::WaitUntil(moment));
            }
        }
    }

    /// Halves the parcel; what is alone is rejected, what only its key keeps from being applied twice is not halved.
    fn split(&mut self, mut parcel: Parcel, refusal: Refusal, actions: &mut Vec<Action>) {
        if let [record] = parcel.records[..] {
            let is_hopeless = self.is_hopeless(&refusal, record.is_retry);
            let verdict = parcel.rejected(refusal.clone());
            actions.push(parcel.settle(verdict));
            if is_hopeless {
                self.halt(refusal, actions);
            }
            return;
        }
        if parcel.unknown.is_some() && parcel.repeat == Repeat::Key {
            // Halves have other keys: what an unanswered attempt applied would be applied a second time.
            actions.push(parcel.give_up());
            return;
        }
        // A half is another content: its attempts are its own.
        parcel.attempts = 0;
        parcel.first = None;
        let second = parcel.records.split_off(parcel.records.len() / 2);
        self.put(Parcel { records: second, ..parcel.clone() }, true);
        self.put(parcel, true);
    }

    /// Counts the rejection of one record.
    fn is_hopeless(&mut self, refusal: &Refusal, is_retry: bool) -> bool {
        if self.has_delivered || is_retry {
            return false;
        }
        if self.rejections.len() >= CODES_COUNTED && !self.rejections.contains_key(&refusal.code) {
            return false;
        }
        let count = self.rejections.entry(refusal.code.clone()).or_default();
        *count += 1;
        *count >= REJECTIONS_THAT_HALT
    }

    fn halt(&mut self, refusal: Refusal, actions: &mut Vec<Action>) {
        self.is_stopping = true;
        actions.push(Action::Halt(refusal));
    }
}

impl Parcel {
    fn places(&self) -> Vec<Range<u32>> {
        let mut places = Vec::new();
        for record in &self.records {
            add(&mut places, record.place);
        }
        places
    }

    fn settle(&self, verdict: Verdict) -> Action {
        let (batch, places) = (self.batch, self.places());
        let why = self.unknown.clone().filter(|_| verdict == Verdict::Unknown);
        Action::Settle { batch, places, verdict, why }
    }

    /// Not to be sent again.
    fn give_up(&self) -> Action {
        self.settle(if self.unknown.is_some() { Verdict::Unknown } else { Verdict::NotApplied })
    }

    fn rejected(&self, refusal: Refusal) -> Verdict {
        let Refusal { code, message } = refusal;
        Verdict::Rejected { code, message, after_unknown: self.unknown.is_some() }
    }
}

/// An answer for another number of records is no receipt.
pub(super) fn counted(judgement: Judgement, records: usize) -> Judgement {
    match judgement {
        Judgement::Records(verdicts) if verdicts.len() != records => {
            let message = "the answer is for another number of records".to_owned();
            Judgement::Unknown(Refusal { code: "no_receipt".to_owned(), message })
        }
        judgement => judgement,
    }
}

fn unanswered() -> Refusal {
    let message = "the run ended before the answer came".to_owned();
    Refusal { code: "unanswered".to_owned(), message }
}

/// Adds a place beyond the last one.
fn add(places: &mut Vec<Range<u32>>, place: u32) {
    match places.last_mut() {
        Some(last) if last.end == place => last.end += 1,
        _ => places.push(place..place + 1),
    }
}

#[cfg(test)]
mod tests;
