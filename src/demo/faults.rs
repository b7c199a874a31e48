//! Which fault the destination plays next: a pure, seeded choice.
//!
//! Faults lie in decks, one for each object and operation, shuffled by the seed. A deck has each fault that the example's
//! config can deal with there, and calm cards between them; an empty one is shuffled anew. So each fault is met soon
//! whatever the seed, and none for ever: from the third attempt on a batch is left in peace. The order in which requests
//! arrive is not the seed's to decide, so that two demos of one seed are alike and not the same. Not responsible for
//! playing a fault.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::seq::{SliceRandom, index};
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::object::Object;

/// What can go wrong with a request, or with one record of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429 with Retry-After, nothing applied.
    TooManyRequests,
    /// 503, nothing applied.
    Unavailable,
    /// A few records of the batch are to be tried again, the others are applied.
    BusyRecords,
    /// 409, the one record of the request is to be tried again.
    Locked,
    /// All is applied, and the connection is closed without an answer.
    LostAnswer,
    /// One record is refused until somebody changes something. Never drawn: the story says when.
    RefusedRecord,
}

impl Fault {
    pub const ALL: [Fault; 6] = [
        Fault::TooManyRequests,
        Fault::Unavailable,
        Fault::BusyRecords,
        Fault::Locked,
        Fault::LostAnswer,
        Fault::RefusedRecord,
    ];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Fault::TooManyRequests => "429, try again in a second",
            Fault::Unavailable => "503, out of order",
            Fault::BusyRecords => "a few records of a batch busy",
            Fault::Locked => "409, record locked for now",
            Fault::LostAnswer => "batch applied, answer lost",
            Fault::RefusedRecord => "record refused for good",
        }
    }
}

/// The first attempt of a batch that nothing happens to.
const PEACEFUL_ATTEMPT: u32 = 3;
/// The most records of a batch that are busy at once.
const MOST_BUSY: usize = 3;

/// How often something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// At once, then about every fourth request.
    Bad,
    /// About every eighth request.
    Mild,
}

/// The decks, and how often each fault was played.
#[derive(Debug)]
pub struct Faults {
    random: SmallRng,
    temper: Temper,
    decks: BTreeMap<(Object, bool), Vec<Option<Fault>>>,
    played: BTreeMap<Fault, u64>,
}

impl Faults {
    pub fn new(seed: u64, temper: Temper) -> Faults {
        let played = Fault::ALL.into_iter().map(|fault| (fault, 0)).collect();
        Faults { random: SmallRng::seed_from_u64(seed), temper, decks: BTreeMap::new(), played }
    }

    /// What happens to this request. `attempt` counts from 1.
    pub fn draw(&mut self, object: Object, is_delete: bool, attempt: u32) -> Option<Fault> {
        if attempt >= PEACEFUL_ATTEMPT {
            return None;
        }
        let is_first = !self.decks.contains_key(&(object, is_delete));
        let deck = self.decks.entry((object, is_delete)).or_default();
        if deck.is_empty() {
            let kinds = kinds(object, is_delete);
            let calm = match self.temper {
                Temper::Bad if is_first => 0,
                Temper::Bad => 3,
                Temper::Mild => 7,
            };
            deck.extend(kinds.iter().copied().map(Some));
            deck.resize(kinds.len() * (calm + 1), None);
            deck.shuffle(&mut self.random);
        }
        deck.pop().flatten()
    }

    /// Which of so many records are busy: at least one, by their places.
    pub fn busy(&mut self, records: usize) -> Vec<usize> {
        let most = records.min(MOST_BUSY);
        if most == 0 {
            return Vec::new();
        }
        let amount = self.random.random_range(1..=most);
        index::sample(&mut self.random, records, amount).into_vec()
    }

    /// Whether something befalls this one of many: about every third.
    pub fn every_third(&mut self) -> bool {
        self.random.random_range(0..3) == 0
    }

    /// One of these, if there are any.
    pub fn pick<T>(&mut self, mut from: Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.random.random_range(0..from.len());
        Some(from.swap_remove(at))
    }

    /// Counts a fault as played.
    pub fn count(&mut self, fault: Fault) {
        *self.played.entry(fault).or_default() += 1;
    }

    pub fn played(&self) -> &BTreeMap<Fault, u64> {
        &self.played
    }
}

/// The faults that the example's config declares a way to deal with, for this request.
fn kinds(object: Object, is_delete: bool) -> &'static [Fault] {
    use Fault::{BusyRecords, Locked, LostAnswer, TooManyRequests, Unavailable};
    match (object, is_delete) {
        (Object::Customers, false) => &[TooManyRequests, Unavailable, BusyRecords, LostAnswer],
        (Object::Customers | Object::Orders, _) => &[TooManyRequests, Unavailable, LostAnswer],
        (Object::Airlines, _) => &[TooManyRequests, Unavailable, Locked, LostAnswer],
        // It says nothing of repetitions, so that what may have been applied waits for the next run.
        (Object::Flights, _) => &[TooManyRequests],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_requests_meet_every_fault_whatever_the_seed() {
        for seed in 0..50 {
            let mut faults = Faults::new(seed, Temper::Bad);
            let mut met = BTreeSet::new();
            for object in Object::ALL {
                for is_delete in [false, true] {
                    let expected = kinds(object, is_delete);
                    let drawn: BTreeSet<_> = (0..expected.len())
                        .filter_map(|_| faults.draw(object, is_delete, 1))
                        .collect();
                    assert_eq!(drawn.len(), expected.len(), "{object:?}");
                    met.extend(drawn);
                }
            }
            let drawn = Fault::ALL.into_iter().filter(|fault| *fault != Fault::RefusedRecord);
            assert_eq!(met, drawn.collect(), "seed {seed}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_one_does_not() {
        let drawn = |seed| -> Vec<_> {
            let mut faults = Faults::new(seed, Temper::Mild);
            (0..64).map(|_| faults.draw(Object::Customers, false, 1)).collect()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn a_batch_that_was_refused_twice_is_left_in_peace() {
        let mut faults = Faults::new(1, Temper::Bad);
        assert!(faults.draw(Object::Orders, false, 2).is_some());
        assert_eq!(faults.draw(Object::Orders, false, 3), None);
    }

    #[test]
    fn some_records_are_busy_and_never_more_than_there_are() {
        let mut faults = Faults::new(1, Temper::Bad);
        for records in 1..20 {
            let busy: BTreeSet<_> = faults.busy(records).into_iter().collect();
            assert!((1..=MOST_BUSY).contains(&busy.len()));
            assert!(busy.iter().all(|place| *place < records));
        }
        assert!(faults.busy(0).is_empty());
    }

    #[test]
    fn what_is_played_is_counted() {
        let mut faults = Faults::new(1, Temper::Bad);
        assert!(faults.played().values().all(|count| *count == 0));
        faults.count(Fault::Locked);
        assert_eq!(faults.played()[&Fault::Locked], 1);
        assert_eq!(faults.played().len(), Fault::ALL.len());
    }
}
