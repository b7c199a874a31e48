//! Three stories, each told again and again with another of its system calls made to fail or to be its last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::catalogue::{Scenario, is_exhaustive};
use crate::runner::{self, catch};
use crate::strace::{self, Call};
use crate::support::case::Case;
use crate::support::people::people;
use crate::support::workspace::Setup;

/// How many calls of one name are made to fail where not all are asked for.
const SAMPLE: usize = 3;
/// How often a call that was not met is looked for: threads take turns, and the count is a thread's own.
const TRIES: usize = 12;
/// So often where each call is asked for.
const EXHAUSTIVE_TRIES: usize = 60;
/// How often each story is told to find its calls. One that not every telling makes is of the turns that threads take, and not
/// of the story: it is looked for, and need not be met.
const TELLINGS: usize = 3;
/// Of a hundred calls that were chosen, so many must be met.
const MET_AT_LEAST: usize = 95;
/// Cases that are told at once.
const SIDE_BY_SIDE: usize = 4;

/// What happens before the run whose calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// Nothing: there is no state yet.
    First,
    /// A run; rows came, changed and went since.
    Changes,
    /// As `Changes`, and a run was killed in its middle.
    Killed,
}

/// Meets each wanted call, or some of each name, in a case of its own; `meet` says whether it was met. `what` happens
/// at it, in words.
pub fn each(
    scenario: &Scenario,
    what: &str,
    is_wanted: fn(&Call) -> bool,
    meet: impl Fn(Story, &Call) -> bool + Sync,
) {
    let (mut calls, mut seldom, mut collapsed) = (Vec::new(), BTreeSet::new(), 0);
    for story in [Story::First, Story::Changes, Story::Killed] {
        let tellings: Vec<BTreeMap<Call, usize>> =
            (0..TELLINGS).map(|_| calls_of(scenario, story)).collect();
        for (call, times) in tellings[0].iter().filter(|(call, _)| is_wanted(call)) {
            collapsed += times - 1;
            let call = (story, call.clone());
            if !tellings.iter().all(|telling| telling.contains_key(&call.1)) {
                seldom.insert(call.clone());
            }
            calls.push(call);
        }
    }
    let chosen = chosen(&calls);
    assert!(calls.len() > 100, "the stories make calls: {calls:?}");
    let (next, fired, again) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let unmet = Mutex::new(Vec::new());
    let until_met = |story: Story, call: &Call| {
        let is_seldom = seldom.contains(&(story, call.clone()));
        let tries = if is_exhaustive() && !is_seldom { EXHAUSTIVE_TRIES } else { TRIES };
        (0..tries).any(|nth| {
            again.fetch_add(usize::from(nth > 0), Ordering::Relaxed);
            meet(story, call)
        })
    };
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((story, call)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch(|| until_met(*story, call)) {
                        Ok(true) => {
                            fired.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(false) => {
                            let call = (*story, call.clone());
                            unmet.lock().expect("nothing panics with the lock").push(call);
                        }
                        Err(said) => {
                            let said = format!("{what} at {call}, story {story:?}: {said}");
                            failures.lock().expect("nothing panics with the lock").push(said);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nothing panics with the lock");
    let unmet = unmet.into_inner().expect("nothing panics with the lock");
    let (seldom, unmet): (Vec<_>, Vec<_>) = unmet.iter().partition(|call| seldom.contains(call));
    let seldom = seldom.len();
    let (fired, again, chosen) = (fired.into_inner(), again.into_inner(), chosen.len());
    let all = calls.len();
    runner::figure(format!(
        "{what}: at {fired} of {chosen} calls chosen, of {all}, which stand for {collapsed} more that several threads make alike; {again} stories told again to meet theirs; {seldom} not met that not every telling makes"
    ));
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
    // Where each is asked for, each must be met.
    assert!(!is_exhaustive() || unmet.is_empty(), "never met, not measured: {unmet:#?}");
    assert!(fired * 100 >= chosen * MET_AT_LEAST, "too few calls were met, not {unmet:#?}");
}

/// All of these calls, or some of each name, spread over the stories.
fn chosen(calls: &[(Story, Call)]) -> Vec<&(Story, Call)> {
    let mut by_name = BTreeMap::<&str, Vec<&(Story, Call)>>::new();
    for call in calls {
        by_name.entry(&call.1.name).or_default().push(call);
    }
    let all = by_name.into_values();
    let some = |calls: Vec<_>| {
        let step = if is_exhaustive() { 1 } else { calls.len().div_ceil(SAMPLE) };
        // Not from the first on: what the first call of a story can do wrong is little.
        calls.into_iter().skip(step / 2).step_by(step)
    };
    all.flat_map(some).collect()
}

/// The story up to the run whose calls are met.
pub fn case_of(scenario: &Scenario, story: Story) -> Case {
    let setup = Setup { batch: 3, concurrency: 1, ..Setup::default() };
    if story == Story::First {
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=12));
        return case;
    }
    let mut case = Case::changed(&scenario.replay(), setup);
    if story == Story::Killed {
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", "answer_read:2")]);
        assert!(case.end(started).signal.is_some(), "it was killed in its middle");
    }
    case
}

/// Each with how many threads made it alike.
fn calls_of(scenario: &Scenario, story: Story) -> BTreeMap<Call, usize> {
    let mut case = case_of(scenario, story);
    let log = case.workspace.path().join("calls");
    let noting = strace::noting("calls");
    let started =
        case.spawn_under(&noting.iter().map(String::as_str).collect::<Vec<_>>(), &[], &[]);
    case.end(started).expect_code(0);
    strace::calls(&log, &case.workspace.state()).into_iter().collect()
}
