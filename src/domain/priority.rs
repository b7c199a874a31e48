//! Who goes first where several wait: by priority, and none for ever behind others.
//!
//! Pure. A [`Line`] is kept for each connection, of its runs that wait and of its requests. It has lanes, one for each
//! priority and group; within a lane the first to come is the first to go. Guards:
//!
//! - **L1** among lanes that may go and are not overdue, the higher priority goes first, then whoever came first;
//! - **L2** a lane that may go and was passed over [`Priority::patience`] times is overdue and goes before all that are not:
//!   whoever stands at place `n` of a lane that may go waits for at most `(n + 1) * (patience + lanes)` others.

use std::collections::{BTreeMap, VecDeque};

/// How much a sync matters beside others of its connection.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

impl Priority {
    /// How often others may go first.
    pub fn patience(self) -> u32 {
        match self {
            // The highest is passed over by those that are overdue only.
            Priority::High => u32::MAX,
            Priority::Normal => 4,
            Priority::Low => 8,
        }
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        })
    }
}

/// Who waits for one connection. `G`: what they may be kept from going by, beside their turn.
#[derive(Debug)]
pub struct Line<G, T> {
    /// None is empty.
    lanes: BTreeMap<(Priority, G), Lane<T>>,
    arrivals: u64,
}

#[derive(Debug)]
struct Lane<T> {
    /// With the number of its arrival.
    waiting: VecDeque<(u64, T)>,
    /// How often others went first though this lane might have gone.
    passed: u32,
}

impl<G, T> Default for Line<G, T> {
    fn default() -> Self {
        Line { lanes: BTreeMap::new(), arrivals: 0 }
    }
}

impl<G: Ord + Clone, T> Line<G, T> {
    pub fn push(&mut self, priority: Priority, group: G, item: T) {
        self.arrivals += 1;
        let lane = self.lanes.entry((priority, group));
        let lane = lane.or_insert_with(|| Lane { waiting: VecDeque::new(), passed: 0 });
        lane.waiting.push_back((self.arrivals, item));
    }

    /// Whether anybody may go.
    pub fn has(&self, may_go: impl Fn(&G) -> bool) -> bool {
        self.lanes.keys().any(|(_, group)| may_go(group))
    }

    /// The highest priority of those that wait.
    pub fn highest(&self) -> Option<Priority> {
        self.lanes.keys().next().map(|(priority, _)| *priority)
    }

    /// Takes out whoever is next among those that may go.
    pub fn take(&mut self, may_go: impl Fn(&G) -> bool) -> Option<T> {
        let rank = |((priority, group), lane): (&(Priority, G), &Lane<T>)| {
            let (arrival, _) = lane.waiting.front().expect("no lane is empty");
            let is_overdue = lane.passed >= priority.patience();
            let class = if is_overdue { None } else { Some(*priority) };
            may_go(group).then(|| ((class, *arrival), (*priority, group.clone())))
        };
        let (_, next) = self.lanes.iter().filter_map(rank).min_by_key(|(rank, _)| *rank)?;
        for ((_, group), lane) in &mut self.lanes {
            if may_go(group) {
                lane.passed = lane.passed.saturating_add(1);
            }
        }
        let lane = self.lanes.get_mut(&next).expect("it was just found");
        lane.passed = 0;
        let taken = lane.waiting.pop_front().map(|(_, item)| item);
        if lane.waiting.is_empty() {
            self.lanes.remove(&next);
        }
        taken
    }

    /// Takes out all of which this is said.
    pub fn remove(&mut self, is_it: impl Fn(&T) -> bool) {
        self.lanes.retain(|_, lane| {
            lane.waiting.retain(|(_, item)| !is_it(item));
            !lane.waiting.is_empty()
        });
    }

    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    #[test]
    fn the_higher_priority_goes_first_and_within_one_the_first_to_come_l1() {
        let mut line = Line::default();
        for (priority, name) in [
            (Priority::Low, "l1"),
            (Priority::Normal, "n1"),
            (Priority::High, "h1"),
            (Priority::Normal, "n2"),
            (Priority::High, "h2"),
        ] {
            line.push(priority, (), name);
        }
        let order: Vec<_> = std::iter::from_fn(|| line.take(|()| true)).collect();
        assert_eq!(order, ["h1", "h2", "n1", "n2", "l1"]);
        assert!(line.is_empty());
    }

    #[test]
    fn a_stream_of_high_ones_lets_the_others_have_their_turn_l2() {
        let mut line = Line::default();
        line.push(Priority::Normal, (), "normal");
        line.push(Priority::Low, (), "low");
        let mut order = Vec::new();
        for _ in 0..20 {
            line.push(Priority::High, (), "high");
            order.extend(line.take(|()| true));
        }
        let place = |word| order.iter().position(|one| *one == word);
        assert_eq!((place("normal"), place("low")), (Some(4), Some(8)));
    }

    #[test]
    fn whoever_may_not_go_keeps_nobody_from_it_and_does_not_grow_impatient() {
        let mut line = Line::default();
        line.push(Priority::Low, "full", "kept");
        for _ in 0..20 {
            line.push(Priority::Normal, "free", "goes");
            assert_eq!(line.take(|group| *group != "full"), Some("goes"));
        }
        assert!(!line.has(|group| *group != "full"));
        assert_eq!(line.take(|group| *group != "full"), None);
        line.push(Priority::High, "full", "first");
        assert_eq!(line.take(|_| true), Some("first"));
        line.remove(|item| *item == "kept");
        assert_eq!((line.len(), line.take(|_| true)), (0, None));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize, u8),
        /// Groups of which this bit is set may go.
        Take(u8),
    }

    /// Somebody who waits, and how many others went while it might have.
    struct Waiting {
        priority: Priority,
        group: u8,
        ahead: u32,
        passed: u32,
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn nobody_is_overtaken_more_often_than_the_bound_says_l2(
            steps in prop::collection::vec(
                prop_oneof![
                    5 => (0..3_usize, 0..2_u8).prop_map(|(priority, group)| Step::Push(priority, group)),
                    6 => (0..4_u8).prop_map(Step::Take),
                ],
                0..600,
            ),
        ) {
            let mut line = Line::default();
            let mut model: BTreeMap<usize, Waiting> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(at, group) => {
                        let priority = ALL[at];
                        let same = |one: &&Waiting| one.priority == priority && one.group == group;
                        let ahead = u32::try_from(model.values().filter(same).count()).unwrap();
                        model.insert(number, Waiting { priority, group, ahead, passed: 0 });
                        line.push(priority, group, number);
                    }
                    Step::Take(open) => {
                        let may_go = |group: u8| open & (1 << group) != 0;
                        let taken = line.take(|group| may_go(*group));
                        let Some(taken) = taken else {
                            prop_assert!(!model.values().any(|one| may_go(one.group)));
                            continue;
                        };
                        let gone = model.remove(&taken).unwrap();
                        prop_assert!(may_go(gone.group));
                        for (other, one) in &mut model {
                            let is_same = one.priority == gone.priority && one.group == gone.group;
                            prop_assert!(!is_same || *other > taken, "the first of a lane goes first");
                            one.passed += u32::from(may_go(one.group));
                            let lanes = 6;
                            // The lanes below do not count for the highest: they go before it when they are overdue only.
                            let patience = match one.priority {
                                Priority::High => continue,
                                other => other.patience(),
                            };
                            prop_assert!(one.passed <= (one.ahead + 1) * (patience + lanes), "L2");
                        }
                    }
                }
                prop_assert_eq!(line.len(), model.len());
            }
        }
    }
}
