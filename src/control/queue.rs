//! Which sync runs now, which waits, and what a trigger comes to.
//!
//! Pure: no IO, no clock, no async; the caller makes durable what [`Queue::needed`] names before it says
//! [`Queue::accept`]. Not here: when schedules fire (`timetable`), what else a run may wait for. Guards:
//!
//! - **Q1** a sync never has two runs going;
//! - **Q2** a trigger that was accepted is followed by a run that begins after it, at least as strong, unless that run
//!   is withdrawn;
//! - **Q3** no more runs go at once than the limit, and no more than one waits behind each sync.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::id::RunId;
use crate::domain::kind::{Choice, Kind, KindReason};
use crate::domain::run::{Phase, Trigger};
use crate::points::is_planted;
use crate::store::RunRow;

/// What a trigger asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Force Full Resync.
    pub is_full: bool,
    pub trigger: Trigger,
}

/// A run that waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub wish: Wish,
}

/// What must be durable before a trigger counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Nothing waits yet: a new run.
    NewRun,
    /// This run waits already, and becomes a full one.
    Stronger(RunId),
    /// This run waits already and does what is wished.
    Nothing(RunId),
}

/// A sync that is not idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Queued(Waiting),
    Running(RunId),
    RunningWithNext(RunId, Waiting),
}

/// All syncs of one process.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    /// By sync; one that is not here is idle.
    lanes: BTreeMap<String, Lane>,
    /// Syncs with a waiting run, in the order of acceptance.
    line: VecDeque<String>,
}

impl Wish {
    /// What is to be stored of the wish with a run that waits.
    pub fn choice(self) -> Option<Choice> {
        self.is_full.then_some(Choice {
            kind: Kind::Full,
            reason: KindReason::Requested,
            opens_epoch: true,
        })
    }

    /// The wish that a stored run stands for, as far as it has not been granted: once a run reads, its epoch is open,
    /// and the next one goes on with that.
    pub fn of(row: &RunRow) -> Wish {
        let is_ahead = matches!(row.phase, Phase::InQueue | Phase::Starting);
        let is_requested = row.choice.is_some_and(|choice| choice.reason == KindReason::Requested);
        Wish { is_full: is_ahead && is_requested, trigger: row.trigger }
    }
}

impl Queue {
    /// An idle queue that lets `limit` runs go at once.
    pub fn new(limit: usize) -> Queue {
        Queue { limit, lanes: BTreeMap::new(), line: VecDeque::new() }
    }

    /// What a trigger of this sync would need.
    pub fn needed(&self, sync: &str, wish: Wish) -> Needed {
        match self.waiting(sync) {
            None => Needed::NewRun,
            Some(waiting) if wish.is_full && !waiting.wish.is_full => Needed::Stronger(waiting.run),
            Some(waiting) => Needed::Nothing(waiting.run),
        }
    }

    /// Takes a trigger in, whose `run` is durable: the one that [`Queue::needed`] named, or else a new one.
    pub fn accept(&mut self, sync: &str, wish: Wish, run: RunId) {
        let merged = |waiting: Waiting| {
            assert_eq!(waiting.run, run, "Q3: one run waits for a sync, and a trigger joins it");
            let is_full = waiting.wish.is_full || wish.is_full;
            Waiting { wish: Wish { is_full, ..waiting.wish }, ..waiting }
        };
        let fresh = Waiting { run, wish };
        let lane = self.lanes.get(sync).copied();
        if is_planted("trigger_during_run_lost") && matches!(lane, Some(Lane::Running(_))) {
            return;
        }
        let next = match lane {
            None => Lane::Queued(fresh),
            Some(Lane::Queued(waiting)) => Lane::Queued(merged(waiting)),
            Some(Lane::Running(going)) => Lane::RunningWithNext(going, fresh),
            Some(Lane::RunningWithNext(going, waiting)) => {
                Lane::RunningWithNext(going, merged(waiting))
            }
        };
        if matches!(lane, None | Some(Lane::Running(_))) {
            self.line.push_back(sync.to_owned());
        }
        self.lanes.insert(sync.to_owned(), next);
    }

    /// The next run that may begin, which is going from then on.
    pub fn begin(&mut self) -> Option<(String, Waiting)> {
        if self.going() >= self.limit {
            return None;
        }
        let is_free = |sync: &String| matches!(self.lanes.get(sync), Some(Lane::Queued(_)));
        let sync = self.line.remove(self.line.iter().position(is_free)?)?;
        let waiting = self.waiting(&sync).expect("whoever stands in line has a waiting run");
        self.lanes.insert(sync.clone(), Lane::Running(waiting.run));
        Some((sync, waiting))
    }

    /// A run that was going has ended.
    pub fn ended(&mut self, sync: &str) {
        match self.lanes.remove(sync) {
            Some(Lane::Running(_)) => {}
            Some(Lane::RunningWithNext(_, waiting)) => {
                self.lanes.insert(sync.to_owned(), Lane::Queued(waiting));
            }
            Some(Lane::Queued(_)) | None => panic!("Q1: only a run that was going can end"),
        }
    }

    /// Takes a waiting run out, as it was stopped before it began; false if it waits no more.
    pub fn withdraw(&mut self, sync: &str, run: RunId) -> bool {
        let left = match self.lanes.get(sync).copied() {
            Some(Lane::Queued(waiting)) if waiting.run == run => None,
            Some(Lane::RunningWithNext(going, waiting)) if waiting.run == run => {
                Some(Lane::Running(going))
            }
            _ => return false,
        };
        match left {
            Some(lane) => self.lanes.insert(sync.to_owned(), lane),
            None => self.lanes.remove(sync),
        };
        self.line.retain(|known| known != sync);
        true
    }

    /// The run of this sync that waits.
    pub fn waiting(&self, sync: &str) -> Option<Waiting> {
        match self.lanes.get(sync).copied()? {
            Lane::Queued(waiting) | Lane::RunningWithNext(_, waiting) => Some(waiting),
            Lane::Running(_) => None,
        }
    }

    /// How many runs wait.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether no run waits.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many runs are going.
    pub fn going(&self) -> usize {
        self.lanes.values().filter(|lane| !matches!(lane, Lane::Queued(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOME: Wish = Wish { is_full: false, trigger: Trigger::Schedule };
    const FULL: Wish = Wish { is_full: true, trigger: Trigger::Api };

    fn waiting(run: u64, wish: Wish) -> Waiting {
        Waiting { run: RunId(run), wish }
    }

    #[test]
    fn what_a_trigger_comes_to_in_every_state_of_its_sync() {
        let queued = |wish| {
            let mut queue = Queue::new(1);
            queue.accept("crm", wish, RunId(1));
            queue
        };
        let running = |next: Option<Wish>| {
            let mut queue = queued(SOME);
            queue.begin().unwrap();
            next.into_iter().for_each(|wish| queue.accept("crm", wish, RunId(2)));
            queue
        };
        for (queue, wish, needed) in [
            (Queue::new(1), SOME, Needed::NewRun),
            (Queue::new(1), FULL, Needed::NewRun),
            (queued(SOME), SOME, Needed::Nothing(RunId(1))),
            (queued(SOME), FULL, Needed::Stronger(RunId(1))),
            (queued(FULL), SOME, Needed::Nothing(RunId(1))),
            (queued(FULL), FULL, Needed::Nothing(RunId(1))),
            (running(None), SOME, Needed::NewRun),
            (running(None), FULL, Needed::NewRun),
            (running(Some(SOME)), SOME, Needed::Nothing(RunId(2))),
            (running(Some(SOME)), FULL, Needed::Stronger(RunId(2))),
            (running(Some(FULL)), SOME, Needed::Nothing(RunId(2))),
        ] {
            assert_eq!(queue.needed("crm", wish), needed, "{queue:?} {wish:?}");
        }
    }

    #[test]
    fn a_trigger_during_a_run_waits_behind_it_and_the_stronger_kind_wins() {
        let mut queue = Queue::new(4);
        queue.accept("crm", SOME, RunId(1));
        assert_eq!(queue.begin(), Some(("crm".to_owned(), waiting(1, SOME))));
        queue.accept("crm", SOME, RunId(2));
        queue.accept("crm", FULL, RunId(2));
        queue.accept("crm", SOME, RunId(2));
        assert_eq!(queue.begin(), None, "Q1");
        queue.ended("crm");
        let stronger = Wish { is_full: true, ..SOME };
        assert_eq!(queue.begin(), Some(("crm".to_owned(), waiting(2, stronger))));
        queue.ended("crm");
        assert_eq!((queue.begin(), queue.going(), queue.len()), (None, 0, 0));
    }

    #[test]
    fn the_limit_holds_and_those_who_wait_come_in_order() {
        let mut queue = Queue::new(1);
        for (run, sync) in [(1, "a"), (2, "b"), (3, "c")] {
            queue.accept(sync, SOME, RunId(run));
        }
        assert_eq!(queue.begin().unwrap().0, "a");
        queue.accept("a", SOME, RunId(4));
        assert_eq!(queue.begin(), None, "Q3");
        for next in ["b", "c", "a"] {
            queue.ended(if next == "b" {
                "a"
            } else if next == "c" {
                "b"
            } else {
                "c"
            });
            assert_eq!(queue.begin().unwrap().0, next);
        }
    }

    #[test]
    fn a_run_is_withdrawn_only_while_it_waits() {
        let mut queue = Queue::new(1);
        queue.accept("crm", FULL, RunId(1));
        assert!(!queue.withdraw("crm", RunId(9)));
        assert!(queue.withdraw("crm", RunId(1)));
        assert_eq!((queue.begin(), queue.len()), (None, 0));
        queue.accept("crm", SOME, RunId(2));
        queue.begin().unwrap();
        assert!(!queue.withdraw("crm", RunId(2)));
        queue.accept("crm", FULL, RunId(3));
        assert!(queue.withdraw("crm", RunId(3)));
        assert_eq!((queue.going(), queue.len()), (1, 0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Trigger(usize, bool),
        Begin,
        End(usize),
        Withdraw(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_usize, any::<bool>()).prop_map(|(sync, is_full)| Step::Trigger(sync, is_full)),
            3 => Just(Step::Begin),
            3 => (0..4_usize).prop_map(Step::End),
            1 => (0..4_usize).prop_map(Step::Withdraw),
        ]
    }

    /// What the invariants say, written down naively for one sync.
    #[derive(Debug, Default, Clone, Copy)]
    struct Model {
        is_going: bool,
        /// A trigger came since the last run began: whether one of them asked for a full run.
        owed: Option<bool>,
    }

    proptest! {
        #[test]
        fn no_sync_overlaps_nothing_accepted_is_lost_and_all_is_bounded_q1_q2_q3(
            steps in proptest::collection::vec(step(), 0..200),
            limit in 1..4_usize,
        ) {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let mut queue = Queue::new(limit);
            let mut model = [Model::default(); 4];
            let mut last = 0;
            let begin = |queue: &mut Queue, model: &mut [Model; 4]| {
                let Some((sync, began)) = queue.begin() else { return false };
                let at = NAMES.iter().position(|name| *name == sync).unwrap();
                assert!(!model[at].is_going, "Q1");
                assert_eq!(model[at].owed, Some(began.wish.is_full), "Q2: all that was asked, and no more");
                model[at] = Model { is_going: true, owed: None };
                true
            };
            for step in steps {
                match step {
                    Step::Trigger(at, is_full) => {
                        let wish = Wish { is_full, ..SOME };
                        let run = match queue.needed(NAMES[at], wish) {
                            Needed::NewRun => {
                                last += 1;
                                RunId(last)
                            }
                            Needed::Stronger(run) | Needed::Nothing(run) => run,
                        };
                        queue.accept(NAMES[at], wish, run);
                        let owed = &mut model[at].owed;
                        *owed = Some(owed.unwrap_or(false) || is_full);
                    }
                    Step::Begin => drop(begin(&mut queue, &mut model)),
                    Step::End(at) if model[at].is_going => {
                        queue.ended(NAMES[at]);
                        model[at].is_going = false;
                    }
                    Step::End(_) => {}
                    Step::Withdraw(at) => {
                        let waiting = queue.waiting(NAMES[at]);
                        assert_eq!(waiting.is_some(), model[at].owed.is_some(), "Q2");
                        if let Some(waiting) = waiting {
                            assert!(queue.withdraw(NAMES[at], waiting.run));
                            model[at].owed = None;
                        }
                    }
                }
                prop_assert!(queue.going() <= limit && queue.len() <= NAMES.len(), "Q3");
                prop_assert_eq!(queue.going(), model.iter().filter(|one| one.is_going).count());
            }
            // All that is owed is granted once those before have ended.
            while model.iter().any(|one| one.is_going || one.owed.is_some()) {
                while begin(&mut queue, &mut model) {}
                let at = model.iter().position(|one| one.is_going).expect("Q2: somebody may run");
                queue.ended(NAMES[at]);
                model[at].is_going = false;
            }
        }
    }
}
