//! Tables for each rule, and random answers for what holds whatever comes.

#![expect(clippy::single_range_in_vec_init, reason = "lists of ranges of places are meant")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const BATCH: BatchNumber = BatchNumber(1);
const RETRY: Retry = Retry {
    attempts: 3,
    first_delay: Duration::from_secs(1),
    longest_delay: Duration::from_secs(4),
    longest_time: Duration::from_secs(60),
};

fn refusal(code: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: "no".to_owned() }
}

fn durable(window: &mut Window, batch: u64, records: usize, repeat: Repeat) -> Vec<Action> {
    let retries = vec![false; records];
    window.step(Event::Durable { batch: BatchNumber(batch), retries, repeat })
}

fn sent(actions: &[Action]) -> Vec<(ParcelId, Vec<Range<u32>>)> {
    let parcels = actions.iter().filter_map(|action| match action {
        Action::Send { parcel, places, .. } => Some((*parcel, places.clone())),
        _ => None,
    });
    parcels.collect()
}

fn settled(actions: &[Action]) -> Vec<(Vec<Range<u32>>, Verdict)> {
    let ended = actions.iter().filter_map(|action| match action {
        Action::Settle { places, verdict, .. } => Some((places.clone(), verdict.clone())),
        _ => None,
    });
    ended.collect()
}

fn answer(window: &mut Window, parcel: ParcelId, judgement: Judgement) -> Vec<Action> {
    let attempt = Attempt { judgement, status: None, retry_after: None };
    let (left, now) = (Duration::ZERO, Duration::ZERO);
    window.step(Event::Answered { parcel, attempt, left, now, random: 0.0 })
}

fn rejected(code: &str, after_unknown: bool) -> Verdict {
    Verdict::Rejected { code: code.to_owned(), message: "no".to_owned(), after_unknown }
}

/// Answers of the only parcel in flight, one after the other; what settled in the end.
fn told(repeat: Repeat, judgements: &[Judgement]) -> Vec<Verdict> {
    let mut window = Window::new(1, RETRY);
    let mut actions = durable(&mut window, 1, 1, repeat);
    for judgement in judgements {
        let parcel = sent(&actions)[0].0;
        actions = answer(&mut window, parcel, judgement.clone());
    }
    settled(&actions).into_iter().map(|(_, verdict)| verdict).collect()
}

#[test]
fn each_story_has_its_end() {
    let not_applied = Judgement::NotApplied(refusal("429"));
    let unknown = Judgement::Unknown(refusal("500"));
    let split = Judgement::Split(refusal("422"));
    let delivered = Judgement::Records(vec![RecordVerdict::Delivered]);
    let again = Judgement::Records(vec![RecordVerdict::Retry(refusal("busy"))]);
    let table = [
        (Repeat::Natural, vec![delivered.clone()], Verdict::Delivered),
        (Repeat::Never, vec![not_applied.clone(); 3], Verdict::NotApplied),
        (Repeat::Never, vec![again.clone(); 3], Verdict::NotApplied),
        (Repeat::Never, vec![unknown.clone()], Verdict::Unknown),
        (Repeat::Key, vec![unknown.clone(); 3], Verdict::Unknown),
        (Repeat::Key, vec![unknown.clone(), delivered], Verdict::Delivered),
        (
            Repeat::Key,
            vec![unknown.clone(), not_applied.clone(), not_applied.clone()],
            Verdict::Unknown,
        ),
        (Repeat::Key, vec![unknown.clone(), split.clone()], rejected("422", true)),
        (Repeat::Never, vec![not_applied, split], rejected("422", false)),
        (Repeat::Key, vec![Judgement::Halt(refusal("401"), Effect::None)], Verdict::NotApplied),
        (Repeat::Key, vec![Judgement::Halt(refusal("request"), Effect::None)], Verdict::NotApplied),
        (Repeat::Key, vec![Judgement::Halt(refusal("403"), Effect::Possible)], Verdict::Unknown),
        (
            Repeat::Key,
            vec![unknown, Judgement::Halt(refusal("401"), Effect::None)],
            Verdict::Unknown,
        ),
        // Two verdicts for one record are no receipt.
        (
            Repeat::Never,
            vec![Judgement::Records(vec![RecordVerdict::Delivered; 2])],
            Verdict::Unknown,
        ),
    ];
    for (repeat, judgements, verdict) in table {
        assert_eq!(told(repeat, &judgements), [verdict], "{judgements:?}");
    }
}

#[test]
fn what_is_unknown_says_which_attempt_left_it_so() {
    let unknown = |code| Judgement::Unknown(refusal(code));
    let not_applied = Judgement::NotApplied(refusal("429"));
    let miscounted = Judgement::Records(vec![RecordVerdict::Delivered; 2]);
    for (judgements, why) in [
        (vec![unknown("timeout"), not_applied.clone(), not_applied], "timeout"),
        (vec![unknown("timeout"), unknown("500"), miscounted], "no_receipt"),
    ] {
        let mut window = Window::new(1, RETRY);
        let mut actions = durable(&mut window, 1, 1, Repeat::Key);
        for judgement in judgements {
            let parcel = sent(&actions)[0].0;
            actions = answer(&mut window, parcel, judgement);
        }
        let Action::Settle { why: Some(refusal), .. } = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(refusal.code, why);
    }
}

#[test]
fn a_retry_waits_for_its_time_and_its_turn() {
    let mut window = Window::new(1, RETRY);
    let first = sent(&durable(&mut window, 1, 1, Repeat::Natural))[0].0;
    let judgement = Judgement::NotApplied(refusal("429"));
    let wait = Duration::from_secs(5);
    let attempt = Attempt { judgement, status: None, retry_after: Some(wait) };
    let (left, now) = (Duration::ZERO, Duration::from_secs(1));
    let event = Event::Answered { parcel: first, attempt, left, now, random: 0.5 };
    assert_eq!(window.step(event), [Action::WaitUntil(Duration::from_secs(6))]);
    assert_eq!(window.next_due(), Some(Duration::from_secs(6)));
    assert_eq!(window.step(Event::Due { now: wait }), []);
    let actions = window.step(Event::Due { now: Duration::from_secs(6) });
    assert!(matches!(actions[..], [Action::Send { attempt: 2, .. }]));
}

#[test]
fn a_split_finds_the_one_bad_record() {
    let mut window = Window::new(4, RETRY);
    let mut queue = sent(&durable(&mut window, 1, 8, Repeat::Natural));
    let (mut good, mut bad) = (0, Vec::new());
    while let Some((parcel, places)) = queue.pop() {
        let count = places.iter().map(|range| range.len()).sum();
        let judgement = if places.iter().any(|range| range.contains(&5)) {
            Judgement::Split(refusal("422"))
        } else {
            Judgement::Records(vec![RecordVerdict::Delivered; count])
        };
        let actions = answer(&mut window, parcel, judgement);
        queue.extend(sent(&actions));
        for (places, verdict) in settled(&actions) {
            match verdict {
                Verdict::Delivered => good += places.iter().map(|range| range.len()).sum::<usize>(),
                other => bad.push((places, other)),
            }
        }
    }
    assert_eq!((good, bad), (7, vec![(vec![5..6], rejected("422", false))]));
    assert!(window.is_empty());
}

#[test]
fn what_may_be_applied_already_is_not_halved_where_its_key_alone_makes_a_repetition_safe() {
    for code in ["400", "413"] {
        for (repeat, is_halved) in [(Repeat::Key, false), (Repeat::Natural, true)] {
            let mut window = Window::new(4, RETRY);
            let parcel = sent(&durable(&mut window, 1, 100, repeat))[0].0;
            let actions = answer(&mut window, parcel, Judgement::Unknown(refusal("timeout")));
            let again = sent(&actions);
            assert_eq!(again[0].1, [0..100]);
            let actions = answer(&mut window, again[0].0, Judgement::Split(refusal(code)));
            assert_eq!(sent(&actions).len(), if is_halved { 2 } else { 0 });
            let unknown = [(vec![0..100], Verdict::Unknown)];
            assert_eq!(settled(&actions), if is_halved { &[][..] } else { &unknown[..] });
        }
        // Nothing unanswered before: the halves are the first to be applied.
        let mut window = Window::new(4, RETRY);
        let parcel = sent(&durable(&mut window, 1, 100, Repeat::Key))[0].0;
        let actions = answer(&mut window, parcel, Judgement::Split(refusal(code)));
        assert_eq!(sent(&actions).len(), 2);
    }
}

#[test]
fn records_settle_one_by_one_and_the_rest_goes_again() {
    let mut window = Window::new(1, RETRY);
    let parcel = sent(&durable(&mut window, 1, 4, Repeat::Never))[0].0;
    let verdicts = vec![
        RecordVerdict::Retry(refusal("busy")),
        RecordVerdict::Delivered,
        RecordVerdict::Rejected(refusal("bad")),
        RecordVerdict::Retry(refusal("busy")),
    ];
    let actions = answer(&mut window, parcel, Judgement::Records(verdicts));
    let expected = [(vec![1..2], Verdict::Delivered), (vec![2..3], rejected("bad", false))];
    assert_eq!(settled(&actions), expected);
    assert_eq!(sent(&actions)[0].1, [0..1, 3..4]);
}

fn reject_singles(window: &mut Window, records: u64, is_retry: bool) -> Option<Refusal> {
    for number in 1..=records {
        let (batch, retries) = (BatchNumber(number), vec![is_retry]);
        let actions = window.step(Event::Durable { batch, retries, repeat: Repeat::Natural });
        let parcel = sent(&actions)[0].0;
        let actions = answer(window, parcel, Judgement::Split(refusal("422")));
        for action in actions {
            if let Action::Halt(refusal) = action {
                assert_eq!(number, 100);
                return Some(refusal);
            }
        }
    }
    None
}

#[test]
fn a_hundred_single_rejections_halt_unless_something_was_delivered_or_they_are_old() {
    assert_eq!(reject_singles(&mut Window::new(1, RETRY), 100, false), Some(refusal("422")));
    assert_eq!(reject_singles(&mut Window::new(1, RETRY), 200, true), None);
    let mut window = Window::new(1, RETRY);
    let parcel = sent(&durable(&mut window, 999, 1, Repeat::Natural))[0].0;
    answer(&mut window, parcel, Judgement::Records(vec![RecordVerdict::Delivered]));
    assert_eq!(reject_singles(&mut window, 200, false), None);
}

#[test]
fn a_drain_ends_what_waits_hears_what_is_in_flight_and_tries_nothing_again() {
    let mut window = Window::new(1, RETRY);
    let parcel = sent(&durable(&mut window, 1, 2, Repeat::Key))[0].0;
    durable(&mut window, 2, 3, Repeat::Key);
    let actions = window.step(Event::Drain);
    assert_eq!(settled(&actions), [(vec![0..3], Verdict::NotApplied)]);
    let late = durable(&mut window, 3, 1, Repeat::Key);
    assert_eq!(settled(&late), [(vec![0..1], Verdict::NotApplied)]);
    let verdicts = vec![RecordVerdict::Delivered, RecordVerdict::Retry(refusal("busy"))];
    let actions = answer(&mut window, parcel, Judgement::Records(verdicts));
    let expected = [(vec![0..1], Verdict::Delivered), (vec![1..2], Verdict::NotApplied)];
    assert_eq!(settled(&actions), expected);
    assert!(window.is_empty());
}

#[test]
fn an_abort_leaves_doubt_and_a_late_answer_changes_nothing() {
    let mut window = Window::new(1, RETRY);
    let parcel = sent(&durable(&mut window, 1, 2, Repeat::Key))[0].0;
    let actions = window.step(Event::Abort);
    assert_eq!(
        actions,
        [Action::Settle {
            batch: BATCH,
            places: vec![0..2],
            verdict: Verdict::Unknown,
            why: Some(unanswered())
        }]
    );
    assert_eq!(answer(&mut window, parcel, Judgement::Unknown(refusal("lost"))), []);
}

fn any_judgement() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (0u8..24, prop::collection::vec(0u8..3, 12))
}

fn judgement((kind, verdicts): &(u8, Vec<u8>), records: usize) -> Judgement {
    let verdict = |number: &u8| match number {
        0 => RecordVerdict::Delivered,
        1 => RecordVerdict::Rejected(refusal("bad")),
        _ => RecordVerdict::Retry(refusal("busy")),
    };
    match kind {
        0..8 => Judgement::Records(verdicts.iter().cycle().take(records).map(verdict).collect()),
        8..12 => Judgement::NotApplied(refusal("429")),
        12..17 => Judgement::Unknown(refusal("500")),
        17..22 => Judgement::Split(refusal("422")),
        22 => Judgement::Records(Vec::new()),
        _ => Judgement::Halt(refusal("403"), Effect::Possible),
    }
}

/// Follows the window's actions and asserts what always holds.
#[derive(Default)]
struct Follower {
    unsettled: BTreeMap<(u64, u32), bool>,
    in_flight: Vec<(ParcelId, u64, Vec<u32>)>,
    is_stopping: bool,
}

impl Follower {
    fn follow(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Settle { batch, places, .. } => {
                    for place in places.into_iter().flatten() {
                        let was = self.unsettled.insert((batch.0, place), false);
                        assert_eq!(was, Some(true), "settled twice, or never formed");
                    }
                }
                Action::Send { parcel, batch, places, .. } => {
                    assert!(!self.is_stopping);
                    let places: Vec<u32> = places.into_iter().flatten().collect();
                    assert!(!places.is_empty());
                    for place in &places {
                        assert_eq!(self.unsettled.get(&(batch.0, *place)), Some(&true));
                        let is_twice = |(_, other, held): &(_, u64, Vec<u32>)| {
                            *other == batch.0 && held.contains(place)
                        };
                        assert!(!self.in_flight.iter().any(is_twice), "in flight twice");
                    }
                    self.in_flight.push((parcel, batch.0, places));
                }
                Action::Halt(_) => self.is_stopping = true,
                Action::WaitUntil(_) => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn every_record_settles_exactly_once(
        sizes in prop::collection::vec((1usize..12, 0u8..3), 1..8),
        answers in prop::collection::vec((any_judgement(), any::<prop::sample::Index>()), 1..60),
        concurrency in 1u32..4,
        stop in prop::option::of((0usize..60, any::<bool>())),
    ) {
        let mut window = Window::new(concurrency, RETRY);
        let mut follower = Follower::default();
        for (number, (size, repeat)) in (1..).zip(&sizes) {
            for place in 0..*size {
                follower.unsettled.insert((number, u32::try_from(place).unwrap()), true);
            }
            let repeat = [Repeat::Natural, Repeat::Key, Repeat::Never][usize::from(*repeat)];
            follower.follow(durable(&mut window, number, *size, repeat));
        }
        let mut now = Duration::ZERO;
        let mut steps = 0;
        while !window.is_empty() {
            if let Some((at, is_abort)) = stop && at == steps {
                follower.is_stopping = true;
                let actions = window.step(if is_abort { Event::Abort } else { Event::Drain });
                follower.follow(actions);
                if is_abort {
                    follower.in_flight.clear();
                    prop_assert!(window.is_empty());
                }
            } else if follower.in_flight.is_empty() {
                // Liveness: nothing in flight means that something is due.
                now = window.next_due().expect("something is due");
                follower.follow(window.step(Event::Due { now }));
            } else {
                let (given, which) = &answers[steps % answers.len()];
                let which = which.index(follower.in_flight.len());
                let (parcel, _, places) = follower.in_flight.remove(which);
                let judgement = judgement(given, places.len());
                let attempt = Attempt { judgement, status: None, retry_after: None };
                let event = Event::Answered { parcel, attempt, left: now, now, random: 0.7 };
                follower.follow(window.step(event));
            }
            prop_assert!(window.in_flight() <= usize::try_from(concurrency).unwrap());
            steps += 1;
            prop_assert!(steps < 5_000, "it does not come to an end");
        }
        prop_assert!(follower.unsettled.values().all(|is_unsettled| !is_unsettled));
    }
}
