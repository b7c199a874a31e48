//! Plays scenarios side by side and prints a line for each: passed, failed with all that helps to understand it, or not
//! measured and why.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use crate::catalogue::{self, Scenario};
use crate::kills;

/// Scenarios that are played at once; they wait for processes more than they work.
const SIDE_BY_SIDE: usize = 4;

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    Passed,
    Failed(String),
    NotMeasured(String),
}

/// One scenario that was played.
#[derive(Debug, Clone)]
pub struct Ended {
    pub scenario: Scenario,
    pub came: Came,
    pub took: Duration,
}

/// What scenarios count beside passing, in words.
static FIGURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Prints a figure and keeps it for the evidence.
pub fn figure(said: impl Into<String>) {
    let said = said.into();
    println!("{said}");
    FIGURES.lock().expect("nothing panics with the lock").push(said);
}

/// The figures so far.
pub fn figures() -> Vec<String> {
    FIGURES.lock().expect("nothing panics with the lock").clone()
}

/// Plays these; what came of each, in their order.
pub fn play(scenarios: &[Scenario]) -> Vec<Ended> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(number).copied() else { return };
                    let begun = Instant::now();
                    let came = play_one(&scenario);
                    let result = Ended { scenario, came, took: begun.elapsed() };
                    show(&result);
                    results.lock().expect("nothing panics with the lock").insert(number, result);
                }
            });
        }
    });
    let results = results.into_inner().expect("nothing panics with the lock");
    results.into_values().collect()
}

/// Prints how many did what, and says whether none failed.
pub fn sum_up(results: &[Ended]) -> bool {
    let count = |is_so: fn(&Came) -> bool| results.iter().filter(|r| is_so(&r.came)).count();
    let failed = count(|came| matches!(came, Came::Failed(_)));
    let passed = count(|came| *came == Came::Passed);
    println!("{passed} passed, {failed} failed, {} not measured", results.len() - passed - failed);
    failed == 0
}

/// Plays those that are named by any of these words.
pub fn play_named(words: &[String]) -> bool {
    let mut named = catalogue::all();
    named.retain(|scenario| words.iter().any(|word| scenario.is_named(word)));
    if named.is_empty() {
        eprintln!("no scenario is called so; `list` names them all");
    }
    !named.is_empty() && sum_up(&play(&named))
}

/// Plays one.
pub fn play_one(scenario: &Scenario) -> Came {
    if let Some(Err(lacking)) = scenario.need.map(|need| need()) {
        return Came::NotMeasured(lacking);
    }
    match catch(|| (scenario.play)(scenario)) {
        Ok(()) => Came::Passed,
        Err(said) => Came::Failed(format!("{said}\nagain: {}", scenario.replay())),
    }
}

/// Plays everything again and again with new seeds for as long as `time`, and prints a table.
pub fn soak(time: Duration, seed: u64) -> bool {
    let begun = Instant::now();
    let (mut rounds, mut is_well) = (0, true);
    let mut killed = kills::Summary::default();
    println!("seed {seed}");
    while begun.elapsed() < time {
        is_well &= sum_up(&play(&catalogue::all()));
        while is_well && begun.elapsed() < time {
            killed.add(&kills::play(seed.wrapping_add(killed.stories), 500));
            is_well &= killed.is_well();
        }
        rounds += 1;
        if !is_well {
            break;
        }
    }
    println!("{rounds} rounds of the catalogue\n{killed}");
    is_well
}

/// Runs `play`; what its panic said, with the place.
pub fn catch<T>(play: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(note)));
    catch_unwind(AssertUnwindSafe(play)).map_err(|_| SAID.with(RefCell::take))
}

fn note(panic: &PanicHookInfo<'_>) {
    SAID.with(|said| *said.borrow_mut() = panic.to_string());
}

fn show(Ended { scenario, came, took }: &Ended) {
    let took = took.as_secs_f64();
    match came {
        Came::Passed => println!("passed       {scenario} ({took:.1} s)"),
        Came::NotMeasured(why) => println!("not measured {scenario}: {why}"),
        Came::Failed(said) => println!("FAILED       {scenario} ({took:.1} s)\n{said}"),
    }
}
