//! The queue, step by step and in any order of steps.

use proptest::prelude::*;

use super::*;

const SOME: Wish = Wish { is_full: false, trigger: Trigger::Schedule };
const FULL: Wish = Wish { is_full: true, trigger: Trigger::Api };

fn waiting(run: u64, wish: Wish) -> Waiting {
    Waiting { run: RunId(run), wish }
}

/// A queue of syncs in one connection.
fn queue_of(running: usize) -> Queue {
    Queue::new(Limits { running, groups: BTreeMap::new() }, BTreeMap::new())
}

/// What begins next, and has started up at once.
fn begin(queue: &mut Queue) -> Option<(String, Waiting)> {
    let begun = queue.begin()?;
    queue.started(begun.1.run);
    Some(begun)
}

fn place(connection: &str, group: Option<&str>, priority: Priority) -> Place {
    Place { connection: connection.to_owned(), group: group.map(str::to_owned), priority }
}

#[test]
fn a_sync_that_is_held_waits_without_a_place_and_may_be_withdrawn() {
    let crm = || BTreeSet::from(["crm".to_owned()]);
    let mut queue = queue_of(1);
    queue.accept("crm", SOME, RunId(1));
    queue.hold(crm());
    queue.accept("ads", SOME, RunId(2));
    assert_eq!(begin(&mut queue), Some(("ads".to_owned(), waiting(2, SOME))), "it takes no place");
    queue.ended("ads");
    assert_eq!((begin(&mut queue), queue.len()), (None, 1));
    queue.hold(BTreeSet::new());
    assert_eq!(begin(&mut queue), Some(("crm".to_owned(), waiting(1, SOME))));
    queue.accept("crm", SOME, RunId(3));
    queue.hold(crm());
    queue.ended("crm");
    assert_eq!(begin(&mut queue), None, "behind its own run too");
    assert!(queue.withdraw("crm", RunId(3)) && queue.is_empty());
    queue.hold(BTreeSet::new());
    assert_eq!(begin(&mut queue), None);
}

#[test]
fn what_a_trigger_comes_to_in_every_state_of_its_sync() {
    let queued = |wish| {
        let mut queue = queue_of(1);
        queue.accept("crm", wish, RunId(1));
        queue
    };
    let running = |next: Option<Wish>| {
        let mut queue = queued(SOME);
        begin(&mut queue).unwrap();
        next.into_iter().for_each(|wish| queue.accept("crm", wish, RunId(2)));
        queue
    };
    for (queue, wish, needed) in [
        (queue_of(1), SOME, Needed::NewRun),
        (queue_of(1), FULL, Needed::NewRun),
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
    let mut queue = queue_of(4);
    queue.accept("crm", SOME, RunId(1));
    assert_eq!(begin(&mut queue), Some(("crm".to_owned(), waiting(1, SOME))));
    queue.accept("crm", SOME, RunId(2));
    queue.accept("crm", FULL, RunId(2));
    queue.accept("crm", SOME, RunId(2));
    assert_eq!(begin(&mut queue), None, "Q1");
    queue.ended("crm");
    let stronger = Wish { is_full: true, ..SOME };
    assert_eq!(begin(&mut queue), Some(("crm".to_owned(), waiting(2, stronger))));
    queue.ended("crm");
    assert_eq!((begin(&mut queue), queue.going(), queue.len()), (None, 0, 0));
}

#[test]
fn the_limit_holds_and_those_who_wait_come_in_order() {
    let mut queue = queue_of(1);
    for (run, sync) in [(1, "a"), (2, "b"), (3, "c")] {
        queue.accept(sync, SOME, RunId(run));
    }
    assert_eq!(begin(&mut queue).unwrap().0, "a");
    queue.accept("a", SOME, RunId(4));
    assert_eq!(begin(&mut queue), None, "Q3");
    for next in ["b", "c", "a"] {
        queue.ended(if next == "b" {
            "a"
        } else if next == "c" {
            "b"
        } else {
            "c"
        });
        assert_eq!(begin(&mut queue).unwrap().0, next);
    }
}

#[test]
fn a_run_is_withdrawn_only_while_it_waits() {
    let mut queue = queue_of(1);
    queue.accept("crm", FULL, RunId(1));
    assert!(!queue.withdraw("crm", RunId(9)));
    assert!(queue.withdraw("crm", RunId(1)));
    assert_eq!((begin(&mut queue), queue.len()), (None, 0));
    queue.accept("crm", SOME, RunId(2));
    begin(&mut queue).unwrap();
    assert!(!queue.withdraw("crm", RunId(2)));
    queue.accept("crm", FULL, RunId(3));
    assert!(queue.withdraw("crm", RunId(3)));
    assert_eq!((queue.going(), queue.len()), (1, 0));
}

#[test]
fn the_second_enters_start_up_when_the_first_is_running_b3() {
    let mut queue = queue_of(4);
    for (run, sync) in [(1, "a"), (2, "b"), (3, "c")] {
        queue.accept(sync, SOME, RunId(run));
    }
    assert_eq!(queue.begin().unwrap().0, "a");
    assert_eq!(queue.begin(), None, "Q4");
    queue.started(RunId(2));
    assert_eq!(queue.begin(), None, "Q4: another's start-up is none");
    queue.started(RunId(1));
    assert_eq!(queue.begin().unwrap().0, "b");
    queue.ended("b");
    assert_eq!(queue.begin().unwrap().0, "c", "one that ends starts up no more");
}

#[test]
fn the_limit_of_a_group_holds_across_its_connections_and_keeps_nobody_else_b9() {
    let places = [
        ("a", place("crm", Some("night"), Priority::Normal)),
        ("b", place("ads", Some("night"), Priority::Normal)),
        ("c", place("crm", None, Priority::Low)),
    ];
    let places = places.map(|(sync, place)| (sync.to_owned(), place)).into();
    let limits = Limits { running: 9, groups: BTreeMap::from([("night".to_owned(), 1)]) };
    let mut queue = Queue::new(limits, places);
    for (run, sync) in [(1, "a"), (2, "b"), (3, "c")] {
        queue.accept(sync, SOME, RunId(run));
    }
    let first = begin(&mut queue).unwrap().0;
    let second = begin(&mut queue).unwrap().0;
    assert_eq!((first.as_str(), second.as_str()), ("b", "c"));
    assert_eq!(begin(&mut queue), None, "Q3");
    queue.ended("b");
    assert_eq!(begin(&mut queue).unwrap().0, "a");
}

#[test]
fn the_higher_priority_goes_first_within_a_connection_and_connections_take_turns_e4() {
    let places = [
        ("low", place("crm", None, Priority::Low)),
        ("normal", place("crm", None, Priority::Normal)),
        ("high", place("crm", None, Priority::High)),
        ("other", place("web", None, Priority::Low)),
    ];
    let places = places.map(|(sync, place)| (sync.to_owned(), place)).into();
    let mut queue = Queue::new(Limits { running: 9, groups: BTreeMap::new() }, places);
    for (run, sync) in [(1, "low"), (2, "normal"), (3, "high"), (4, "other")] {
        queue.accept(sync, SOME, RunId(run));
    }
    let order: Vec<String> = std::iter::from_fn(|| begin(&mut queue)).map(|one| one.0).collect();
    assert_eq!(order, ["high", "other", "normal", "low"]);
}

#[derive(Debug, Clone)]
enum Step {
    Trigger(usize, bool),
    Begin,
    Started(usize),
    End(usize),
    Withdraw(usize),
    Change(usize, (usize, usize), Vec<Place>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_usize, any::<bool>()).prop_map(|(sync, is_full)| Step::Trigger(sync, is_full)),
        3 => Just(Step::Begin),
        3 => (0..6_usize).prop_map(Step::Started),
        3 => (0..6_usize).prop_map(Step::End),
        1 => (0..6_usize).prop_map(Step::Withdraw),
        1 => (1..5_usize, (1..3_usize, 1..3_usize), places())
            .prop_map(|(running, groups, places)| Step::Change(running, groups, places)),
    ]
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What the invariants say, written down naively for one sync.
#[derive(Debug, Default, Clone, Copy)]
struct Model {
    is_going: bool,
    is_starting: bool,
    /// The last that began.
    run: u64,
    /// A trigger came since the last run began: whether one of them asked for a full run.
    owed: Option<bool>,
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    let group = prop::sample::select(vec![None, Some("one"), Some("two")]);
    let connection = prop::sample::select(vec!["crm", "ads"]);
    let one = (connection, group, priority)
        .prop_map(|(connection, group, priority)| place(connection, group, priority));
    prop::collection::vec(one, NAMES.len())
}

fn limits(running: usize, groups: (usize, usize)) -> Limits {
    let groups = BTreeMap::from([("one".to_owned(), groups.0), ("two".to_owned(), groups.1)]);
    Limits { running, groups }
}

fn by_name(places: &[Place]) -> BTreeMap<String, Place> {
    NAMES.into_iter().map(str::to_owned).zip(places.iter().cloned()).collect()
}

/// Where nothing may begin though runs wait, there is a reason that can be told.
fn check(queue: &mut Queue, model: &[Model], limits: &Limits, places: &[Place]) -> bool {
    let going = |group: Option<&str>| {
        let is_it = |at: &usize| {
            model[*at].is_going && (group.is_none() || places[*at].group.as_deref() == group)
        };
        (0..NAMES.len()).filter(is_it).count()
    };
    assert!(model.iter().filter(|one| one.is_starting).count() <= 1, "Q4");
    assert_eq!(queue.going(), going(None));
    assert_eq!(queue.len(), model.iter().filter(|one| one.owed.is_some()).count());
    (0..NAMES.len()).any(|at| {
        let group = places[at].group.as_deref();
        let limit = group.map_or(usize::MAX, |group| limits.groups[group]);
        let is_free = going(None) < limits.running && !model.iter().any(|one| one.is_starting);
        let has_place = group.is_none() || going(group) < limit;
        model[at].owed.is_some() && !model[at].is_going && is_free && has_place
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_sync_overlaps_nothing_accepted_is_lost_and_all_is_bounded_q1_q2_q3_q4(
        steps in prop::collection::vec(step(), 0..200),
        running in 1..5_usize,
        groups in (1..3_usize, 1..3_usize),
        places in places(),
    ) {
        let (mut limits, mut places) = (limits(running, groups), places);
        let mut queue = Queue::new(limits.clone(), by_name(&places));
        let mut model = [Model::default(); NAMES.len()];
        let mut last = 0;
        // At each begin all limits are as they are then: those that go stay, also where a limit was lowered (Q3).
        let begin = |queue: &mut Queue, model: &mut [Model; NAMES.len()], limits: &Limits, places: &[Place]| {
            let may_begin = check(queue, model, limits, places);
            let Some((sync, began)) = queue.begin() else {
                assert!(!may_begin, "Q2: whoever may begin does");
                return false;
            };
            assert!(may_begin, "Q3, Q4");
            let at = NAMES.iter().position(|name| *name == sync).unwrap();
            assert!(!model[at].is_going, "Q1");
            assert_eq!(model[at].owed, Some(began.wish.is_full), "Q2: all that was asked, and no more");
            model[at] =
                Model { is_going: true, is_starting: true, run: began.run.0, owed: None };
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
                Step::Begin => drop(begin(&mut queue, &mut model, &limits, &places)),
                Step::Change(running, groups, others) => {
                    (limits, places) = (self::limits(running, groups), others);
                    queue.change(limits.clone(), by_name(&places));
                }
                Step::Started(at) => {
                    queue.started(RunId(model[at].run));
                    model[at].is_starting = false;
                }
                Step::End(at) if model[at].is_going => {
                    queue.ended(NAMES[at]);
                    (model[at].is_going, model[at].is_starting) = (false, false);
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
            check(&mut queue, &model, &limits, &places);
        }
        // All that is owed is granted once those before have ended.
        while model.iter().any(|one| one.is_going || one.owed.is_some()) {
            while begin(&mut queue, &mut model, &limits, &places) {
                for one in &mut model {
                    queue.started(RunId(one.run));
                    one.is_starting = false;
                }
            }
            let at = model.iter().position(|one| one.is_going).expect("Q2: somebody may run");
            queue.ended(NAMES[at]);
            (model[at].is_going, model[at].is_starting) = (false, false);
        }
    }

    #[test]
    fn a_connection_that_may_go_is_passed_over_once_by_each_other_q5(
        connections in prop::collection::vec(0..4_usize, 12),
        ended in prop::collection::vec(0..12_usize, 0..80),
    ) {
        let names: Vec<String> = (0..connections.len()).map(|at| format!("s{at}")).collect();
        let of = |at: usize| place(&connections[at].to_string(), None, Priority::Normal);
        let places = names.iter().cloned().zip((0..names.len()).map(of)).collect();
        let mut queue = Queue::new(Limits { running: 1, groups: BTreeMap::new() }, places);
        // All of them always want to run again.
        names.iter().enumerate().for_each(|(at, name)| queue.accept(name, SOME, RunId(at as u64)));
        let mut turns: Vec<usize> = Vec::new();
        let mut last = 100;
        for _ in &ended {
            let (sync, _) = begin(&mut queue).unwrap();
            last += 1;
            queue.ended(&sync);
            queue.accept(&sync, SOME, RunId(last));
            turns.push(connections[names.iter().position(|name| *name == sync).unwrap()]);
        }
        let mut known: Vec<usize> = connections.clone();
        known.sort_unstable();
        known.dedup();
        for window in turns.windows(known.len()) {
            let mut seen = window.to_vec();
            seen.sort_unstable();
            prop_assert_eq!(&seen, &known, "Q5: each has its turn in every round");
        }
    }
}
