//! What the destination is known to hold under one key, and the rule by which answers move it (design.md §3).
//!
//! Guards: only receipts and recorded decisions of people change an entry; a rejection settles only its own
//! attempt; doubt ends by a delivered receipt, or when no attempt since it began is unknown.

use std::num::NonZero;

use serde::{Deserialize, Serialize};

use super::id::{BatchNumber, Epoch, Instant, IntentNumber, RunId};
use crate::points;

/// The hash of a row's mapped columns; see `delta::fingerprint`.
pub type Fingerprint = u128;

/// What we ask of the destination. The numbers are those of the journal and the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Upsert,
    Delete,
}

impl Operation {
    pub fn word(self) -> &'static str {
        match self {
            Operation::Upsert => "upsert",
            Operation::Delete => "delete",
        }
    }
}

/// One key of the snapshot. An entry with nothing in it does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The content last confirmed by a receipt, and the epoch it was confirmed in.
    pub confirmed: Option<Confirmed>,
    /// Set while the destination may hold something else than `confirmed` says.
    pub doubt: Option<Doubt>,
    pub rejection: Option<Rejection>,
    pub waiver: Option<Waiver>,
    /// Set while the key's delete waits for a person.
    pub held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    pub fingerprint: Fingerprint,
    pub epoch: Epoch,
}

/// Keys that follow one another, confirmed in one epoch and nothing else, as nearly all of a snapshot are.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    keys: &'a [u8],
    length: NonZero<usize>,
    /// Of each key, little endian.
    pub fingerprints: &'a [[u8; 16]],
    pub epoch: Epoch,
}

impl<'a> Stretch<'a> {
    /// `keys` lie one after the other, each of `length` bytes; `None` where they are not as many as the fingerprints.
    pub fn new(
        keys: &'a [u8],
        length: NonZero<usize>,
        fingerprints: &'a [[u8; 16]],
        epoch: Epoch,
    ) -> Option<Stretch<'a>> {
        let is_whole = fingerprints.len().checked_mul(length.get()) == Some(keys.len());
        is_whole.then_some(Stretch { keys, length, fingerprints, epoch })
    }

    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.keys.chunks_exact(self.length.get())
    }

    /// The keys, if each has `N` bytes.
    pub fn keys_of<const N: usize>(&self) -> Option<&'a [[u8; N]]> {
        (self.length.get() == N).then_some(self.keys.as_chunks().0)
    }

    /// What is confirmed of each key.
    pub fn confirmed(&self) -> impl Iterator<Item = Confirmed> {
        let Stretch { fingerprints, epoch, .. } = *self;
        let of =
            move |bytes: &[u8; 16]| Confirmed { fingerprint: u128::from_le_bytes(*bytes), epoch };
        fingerprints.iter().map(of)
    }
}

/// Sent, no receipt. Names the last intent, so that a repetition can be the same batch with the same keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    pub operation: Operation,
    /// Zero for a delete.
    pub fingerprint: Fingerprint,
    pub number: IntentNumber,
    pub batch: BatchNumber,
    /// The place of the record in its batch, from 0.
    pub index: u32,
    /// The key came twice in the read that sent it: it stays unsent until a complete read finds it at most once.
    pub is_repeated: bool,
    /// The number is not used again: since this intent the destination has refused something of the key, or other content
    /// was asked for, so that the same number would name what was overtaken.
    pub is_spent: bool,
}

impl Doubt {
    /// Whether asking this now repeats the intent, so that it takes the same number.
    pub fn has_number_for(&self, operation: Operation, fingerprint: Fingerprint) -> bool {
        !self.is_spent && self.is_of(operation, fingerprint)
    }

    fn is_of(&self, operation: Operation, fingerprint: Fingerprint) -> bool {
        let is_same = self.fingerprint == fingerprint;
        self.operation == operation && (is_same || points::is_planted("one_key_for_two_contents"))
    }
}

/// The destination's own refusal, of one operation with one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub operation: Operation,
    /// Zero for a delete.
    pub fingerprint: Fingerprint,
    pub epoch: Epoch,
    pub code: String,
    /// Cut short, and free of the record's values.
    pub message: String,
    pub attempts: u32,
    pub due: Instant,
}

impl Rejection {
    /// Whether it may be tried again. A due time further away than any that could have been set now is of a clock that was
    /// set back since; by more than a time server does.
    #[inline]
    pub fn is_due(&self, now: Instant) -> bool {
        const STEP_BACK: i64 = 60_000;
        let furthest = now.plus(retry_delay_milliseconds(self.attempts) + STEP_BACK);
        self.due <= now || self.due > furthest
    }
}

/// A person's decision that this change shall not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiver {
    pub fingerprint: Fingerprint,
    pub epoch: Epoch,
}

/// The runs between which the key's delete was held. `last` is the last that says so of the key itself: while a hold goes on,
/// it says so of all its keys at once, and [`Held::until`] knows better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub first: RunId,
    pub last: RunId,
}

/// The hold that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// It has the keys of which a run says so that is no earlier than this one.
    pub since: RunId,
    /// The last run that held them.
    pub run: RunId,
}

impl Held {
    /// Whether the hold that stands has the key.
    pub fn is_of(self, standing: Option<Standing>) -> bool {
        standing.is_some_and(|standing| self.last >= standing.since)
    }

    /// The last run that held the key.
    pub fn until(self, standing: Option<Standing>) -> RunId {
        let standing = standing.filter(|standing| self.is_of(Some(*standing)));
        standing.map_or(self.last, |standing| self.last.max(standing.run))
    }

    /// Whether a decision about `run` covers this key.
    pub fn was_held_in(self, run: RunId, standing: Option<Standing>) -> bool {
        (self.first..=self.until(standing)).contains(&run)
    }
}

/// How one operation of an intent ended, over all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Refused for good by the destination. `after_unknown`: an earlier attempt of this intent has no answer.
    Rejected {
        code: String,
        message: String,
        after_unknown: bool,
    },
    /// No attempt can have had an effect: never connected, refused as a whole, or never sent.
    NotApplied,
    /// At least one attempt may have had an effect, and no answer settles it.
    Unknown,
}

/// The back-off of standing rejections: doubling from ten minutes up to a day.
pub fn retry_delay_milliseconds(attempts: u32) -> i64 {
    const FIRST: i64 = 10 * 60 * 1000;
    const LONGEST: i64 = 24 * 60 * 60 * 1000;
    let doublings = attempts.saturating_sub(1).min(16);
    (FIRST << doublings).min(LONGEST)
}

impl Entry {
    pub fn is_empty(&self) -> bool {
        self.confirmed.is_none()
            && self.doubt.is_none()
            && self.rejection.is_none()
            && self.waiver.is_none()
    }

    /// The destination holds the key, or may hold it.
    pub fn is_possibly_at_destination(&self) -> bool {
        self.confirmed.is_some() || self.doubt.is_some()
    }

    /// More is known than what was last confirmed.
    pub fn has_more_than_confirmed(&self) -> bool {
        self.doubt.is_some()
            || self.rejection.is_some()
            || self.waiver.is_some()
            || self.held.is_some()
    }

    /// Folds one ended operation in. `intent` is what was asked.
    pub fn settle(&mut self, intent: Doubt, verdict: &Verdict, epoch: Epoch, now: Instant) {
        match verdict {
            Verdict::Delivered => self.deliver(intent, epoch),
            Verdict::NotApplied => {
                if let Some(doubt) = &mut self.doubt {
                    doubt.is_spent |= !doubt.is_of(intent.operation, intent.fingerprint);
                }
            }
            Verdict::Unknown => self.doubt = Some(intent),
            Verdict::Rejected { code, message, after_unknown } => {
                if *after_unknown {
                    self.doubt = Some(intent);
                }
                if let Some(doubt) = &mut self.doubt {
                    doubt.is_spent = true;
                }
                if points::is_planted("rejection_settles_doubt") {
                    self.doubt = None;
                }
                self.reject(intent, code.clone(), message.clone(), epoch, now);
            }
        }
    }

    fn deliver(&mut self, intent: Doubt, epoch: Epoch) {
        self.doubt = None;
        self.rejection = None;
        self.waiver = None;
        match intent.operation {
            Operation::Upsert => {
                self.confirmed = Some(Confirmed { fingerprint: intent.fingerprint, epoch });
                self.held = None;
            }
            Operation::Delete => *self = Entry::default(),
        }
    }

    fn reject(&mut self, intent: Doubt, code: String, message: String, epoch: Epoch, now: Instant) {
        let earlier = self.rejection.as_ref().filter(|earlier| {
            earlier.operation == intent.operation && earlier.fingerprint == intent.fingerprint
        });
        let attempts = earlier.map_or(0, |earlier| earlier.attempts).saturating_add(1);
        self.rejection = Some(Rejection {
            operation: intent.operation,
            fingerprint: intent.fingerprint,
            epoch,
            code,
            message,
            attempts,
            due: now.plus(retry_delay_milliseconds(attempts)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(1);

    fn intent(operation: Operation, fingerprint: Fingerprint, number: u64) -> Doubt {
        Doubt {
            operation,
            fingerprint,
            number: IntentNumber(number),
            batch: BatchNumber(number),
            index: 0,
            is_repeated: false,
            is_spent: false,
        }
    }

    fn rejected(after_unknown: bool) -> Verdict {
        Verdict::Rejected { code: "422".into(), message: "no".into(), after_unknown }
    }

    #[test]
    fn a_delivered_upsert_confirms_and_a_delivered_delete_forgets() {
        let mut entry = Entry::default();
        entry.settle(intent(Operation::Upsert, 7, 1), &Verdict::Unknown, EPOCH, Instant(0));
        entry.settle(intent(Operation::Upsert, 8, 2), &Verdict::Delivered, EPOCH, Instant(0));
        assert_eq!(entry.confirmed, Some(Confirmed { fingerprint: 8, epoch: EPOCH }));
        assert_eq!(entry.doubt, None);
        entry.settle(intent(Operation::Delete, 0, 3), &Verdict::Delivered, EPOCH, Instant(0));
        assert!(entry.is_empty());
    }

    #[test]
    fn a_rejection_never_settles_an_older_doubt() {
        let mut entry = Entry::default();
        let older = intent(Operation::Upsert, 7, 1);
        entry.settle(older, &Verdict::Unknown, EPOCH, Instant(0));
        entry.settle(intent(Operation::Upsert, 8, 2), &rejected(false), EPOCH, Instant(0));
        let spent = Doubt { is_spent: true, ..older };
        assert_eq!(entry.doubt, Some(spent));
        entry.settle(intent(Operation::Upsert, 8, 3), &Verdict::NotApplied, EPOCH, Instant(0));
        assert_eq!(entry.doubt, Some(spent));
    }

    #[test]
    fn a_number_returns_only_while_the_last_intent_has_the_same_content_and_no_answer() {
        let other = [intent(Operation::Upsert, 8, 2), intent(Operation::Delete, 0, 2)];
        for (last, verdict, is_repeated) in [
            (other[0], Verdict::NotApplied, false),
            (other[1], Verdict::NotApplied, false),
            (other[0], rejected(false), false),
            (other[1], rejected(false), false),
            (intent(Operation::Upsert, 7, 1), rejected(false), false),
            (intent(Operation::Upsert, 7, 1), rejected(true), false),
            (intent(Operation::Upsert, 7, 1), Verdict::NotApplied, true),
            (intent(Operation::Upsert, 7, 1), Verdict::Unknown, true),
        ] {
            let mut entry = Entry::default();
            let first = intent(Operation::Upsert, 7, 1);
            entry.settle(first, &Verdict::Unknown, EPOCH, Instant(0));
            entry.settle(last, &verdict, EPOCH, Instant(0));
            let doubt = entry.doubt.expect("nothing settled it");
            let repeats = doubt.has_number_for(Operation::Upsert, 7);
            assert_eq!(repeats, is_repeated, "{last:?} {verdict:?}");
        }
    }

    #[test]
    fn a_rejection_after_an_unanswered_attempt_leaves_doubt() {
        let mut entry = Entry::default();
        let asked = intent(Operation::Delete, 0, 4);
        entry.settle(asked, &rejected(true), EPOCH, Instant(0));
        assert_eq!(entry.doubt, Some(Doubt { is_spent: true, ..asked }));
        assert_eq!(entry.rejection.map(|rejection| rejection.operation), Some(Operation::Delete));
    }

    #[test]
    fn a_rejection_is_due_in_its_time_and_after_a_clock_was_set_back_d4() {
        let mut entry = Entry::default();
        let set = Instant(1_000_000_000);
        entry.settle(intent(Operation::Upsert, 7, 1), &rejected(false), EPOCH, set);
        let standing = entry.rejection.expect("it was rejected");
        let delay = retry_delay_milliseconds(1);
        for (now, is_due) in [
            (set, false),
            (set.plus(delay - 1), false),
            (set.plus(delay), true),
            (set.plus(-60_000), false),
            (set.plus(-60_001), true),
            (Instant(0), true),
        ] {
            assert_eq!(standing.is_due(now), is_due, "{now:?}");
        }
    }

    #[test]
    fn attempts_count_only_at_the_same_content_and_push_the_due_time_out() {
        let mut entry = Entry::default();
        for number in 1..=3 {
            entry.settle(intent(Operation::Upsert, 7, number), &rejected(false), EPOCH, Instant(0));
        }
        let standing = entry.rejection.clone().expect("rejected");
        assert_eq!((standing.attempts, standing.due), (3, Instant(40 * 60 * 1000)));
        entry.settle(intent(Operation::Upsert, 9, 4), &rejected(false), EPOCH, Instant(0));
        assert_eq!(entry.rejection.map(|rejection| rejection.attempts), Some(1));
        assert_eq!(retry_delay_milliseconds(u32::MAX), 24 * 60 * 60 * 1000);
    }
}
