//! What a run's report says of requests and records that came to no receipt, or to a refusal.
//!
//! Not responsible for what follows from it (window.rs). Guards: keys and codes are bounded in number; what a
//! destination said of one record alone is that record's refusal, and no trouble of the connection.

use std::ops::Range;

use super::batch::Batch;
use super::window::counted;
use crate::destination::answer::{Judgement, RecordVerdict, Refusal};
use crate::domain::entry::{Operation, Verdict};

/// Records of one kind that are kept until they are taken.
const RECORDS: usize = 1_000;
/// Codes that are told apart; those that come later are counted as `other`.
const CODES: usize = 16;

/// A record that was not delivered: its key, what was asked, and why it was not.
pub type Named = (Vec<u8>, Operation, Refusal);

/// Requests that ended without a receipt, or with one that left records to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The last one with this code.
    pub refusal: Refusal,
    pub requests: u64,
}

/// The notes of one run.
#[derive(Debug, Default)]
pub struct Notes {
    rejected: Vec<Named>,
    unknown: Vec<Named>,
    /// Where they are asked for.
    delivered: Option<Vec<Vec<u8>>>,
    troubles: Vec<Trouble>,
}

impl Notes {
    /// The records rejected since the last call, at most 1,000.
    pub fn take_rejected(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.rejected)
    }

    /// The records left unknown since the last call, at most 1,000.
    pub fn take_unknown(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.unknown)
    }

    /// From now on the keys of delivered records are kept too.
    pub fn keep_delivered(&mut self) {
        self.delivered.get_or_insert_default();
    }

    /// The keys of records delivered since the last call, at most 1,000; none where they were not asked for.
    pub fn take_delivered(&mut self) -> Vec<Vec<u8>> {
        self.delivered.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What requests came to instead of a receipt, by code, most frequent first.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = self.troubles.clone();
        troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.requests));
        troubles
    }

    /// These places of the batch ended; `why` is what left them unknown.
    pub(super) fn settle(
        &mut self,
        batch: &Batch,
        places: &[Range<u32>],
        verdict: &Verdict,
        why: Option<&Refusal>,
    ) {
        let all = || {
            let place = |place| usize::try_from(place).expect("places are indices");
            places.iter().cloned().flatten().map(place)
        };
        if let (Verdict::Delivered, Some(keys)) = (verdict, &mut self.delivered) {
            let left = RECORDS.saturating_sub(keys.len());
            keys.extend(all().take(left).map(|place| batch.key(&batch.records[place]).to_vec()));
        }
        let (named, refusal) = match (verdict, why) {
            (Verdict::Rejected { code, message, .. }, _) => {
                let refusal = Refusal { code: code.clone(), message: message.clone() };
                (&mut self.rejected, refusal)
            }
            (Verdict::Unknown, Some(why)) => (&mut self.unknown, why.clone()),
            _ => return,
        };
        let left = RECORDS.saturating_sub(named.len());
        for place in all().take(left) {
            let key = batch.key(&batch.records[place]).to_vec();
            named.push((key, batch.operation, refusal.clone()));
        }
    }

    /// A request with `records` records was judged.
    pub(super) fn hear(&mut self, judgement: &Judgement, records: usize) {
        match judgement {
            Judgement::Records(verdicts) if verdicts.len() == records => {
                self.hear_retries(verdicts);
            }
            Judgement::Records(_) => {
                if let Judgement::Unknown(refusal) = counted(judgement.clone(), records) {
                    self.add(&refusal);
                }
            }
            // One alone is rejected, and named.
            Judgement::Split(_) if records <= 1 => {}
            Judgement::NotApplied(refusal)
            | Judgement::Unknown(refusal)
            | Judgement::Split(refusal)
            | Judgement::Halt(refusal, _) => self.add(refusal),
        }
    }

    fn hear_retries(&mut self, verdicts: &[RecordVerdict]) {
        let mut codes: Vec<&str> = Vec::new();
        for verdict in verdicts {
            if let RecordVerdict::Retry(refusal) = verdict
                && codes.len() < CODES
                && !codes.contains(&refusal.code.as_str())
            {
                codes.push(&refusal.code);
                self.add(refusal);
            }
        }
    }

    fn add(&mut self, refusal: &Refusal) {
        let is_known = |trouble: &Trouble| trouble.refusal.code == refusal.code;
        if let Some(trouble) = self.troubles.iter_mut().find(|trouble| is_known(trouble)) {
            trouble.requests += 1;
            trouble.refusal.clone_from(refusal);
        } else if self.troubles.len() + 1 < CODES || refusal.code == OTHER {
            self.troubles.push(Trouble { refusal: refusal.clone(), requests: 1 });
        } else {
            let message = "codes that came later".to_owned();
            self.add(&Refusal { code: OTHER.to_owned(), message });
        }
    }
}

const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, message: &str) -> Refusal {
        Refusal { code: code.to_owned(), message: message.to_owned() }
    }

    fn heard(judgements: &[Judgement]) -> Vec<(String, String, u64)> {
        let mut notes = Notes::default();
        judgements.iter().for_each(|judgement| notes.hear(judgement, 2));
        let troubles = notes.troubles().into_iter();
        troubles.map(|it| (it.refusal.code, it.refusal.message, it.requests)).collect()
    }

    #[test]
    fn the_last_refusal_of_each_code_is_kept_with_the_number_of_requests() {
        let busy = RecordVerdict::Retry(refusal("busy", "c"));
        let told = heard(&[
            Judgement::Unknown(refusal("500", "first")),
            Judgement::Records(vec![busy.clone(), busy]),
            Judgement::NotApplied(refusal("500", "last")),
            Judgement::Records(vec![RecordVerdict::Delivered; 2]),
        ]);
        let expected = [("500".into(), "last".into(), 2), ("busy".into(), "c".into(), 1)];
        assert_eq!(told, expected);
        let [(code, _, 1)] = &heard(&[Judgement::Records(Vec::new())])[..] else { panic!() };
        assert_eq!(code, "no_receipt");
    }

    #[test]
    fn a_refusal_of_one_record_is_no_trouble_and_codes_are_bounded() {
        let mut notes = Notes::default();
        notes.hear(&Judgement::Split(refusal("422", "")), 1);
        assert_eq!(notes.troubles(), []);
        for code in 0..100 {
            notes.hear(&Judgement::Unknown(refusal(&code.to_string(), "")), 1);
        }
        let troubles = notes.troubles();
        assert_eq!((troubles.len(), troubles[0].requests), (CODES, 85));
        assert_eq!(troubles[0].refusal.code, OTHER);
    }
}
