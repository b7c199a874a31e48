//! Plays scenarios side by side and prints a line for each: passed, failed with all that helps to understand it, or not
//! measured and why.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use crate::catalogue::{self, Scenario, is_exhaustive};
use crate::demand;
use crate::support::process;

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

/// The figures since they were last taken.
pub fn take_figures() -> Vec<String> {
    std::mem::take(&mut FIGURES.lock().expect("nothing panics with the lock"))
}

/// How often it is said what goes on.
const NEWS_EVERY: Duration = Duration::from_secs(60);

/// Beyond this a scenario hangs: all that it waits for has a bound of its own.
const LONGEST: Duration = Duration::from_secs(1_800);
/// As `LONGEST`, of one that plays all it can.
const LONGEST_WHOLE: Duration = Duration::from_secs(3_600);

/// Plays these; what came of each, in their order. `heed` is told of each as it ends. What takes long is named meanwhile.
pub fn play(scenarios: &[Scenario], heed: &(dyn Fn(&Ended) + Sync)) -> Vec<Ended> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let going = Mutex::new(BTreeMap::new());
    let lock_going = || going.lock().expect("nothing panics with the lock");
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_over.recv_timeout(NEWS_EVERY) == Err(RecvTimeoutError::Timeout) {
                let going = lock_going();
                say_what_takes_long(&going);
                end_what_hangs(&going);
            }
        });
        for _ in 0..SIDE_BY_SIDE {
            let over = over.clone();
            let (next, results) = (&next, &results);
            scope.spawn(move || {
                let _until_the_end = over;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(number).copied() else { return };
                    let begun = Instant::now();
                    lock_going().insert(number, (scenario, begun));
                    let came = play_one(&scenario);
                    lock_going().remove(&number);
                    let result = Ended { scenario, came, took: begun.elapsed() };
                    show(&result);
                    heed(&result);
                    results.lock().expect("nothing panics with the lock").insert(number, result);
                }
            });
        }
        drop(over);
    });
    let results = results.into_inner().expect("nothing panics with the lock");
    results.into_values().collect()
}

fn say_what_takes_long(going: &BTreeMap<usize, (Scenario, Instant)>) {
    for (scenario, begun) in going.values().filter(|(_, begun)| begun.elapsed() >= NEWS_EVERY) {
        println!("going on     {scenario} (for {:.0} s)", begun.elapsed().as_secs_f64());
    }
}

/// A thread cannot be ended from outside, so that the kit ends with the one that hangs, and leaves no process behind.
fn end_what_hangs(going: &BTreeMap<usize, (Scenario, Instant)>) {
    let longest = if is_exhaustive() { LONGEST_WHOLE } else { LONGEST };
    let mut hanging = going.values().filter(|(_, begun)| begun.elapsed() >= longest).peekable();
    if hanging.peek().is_some() {
        hanging.for_each(|(scenario, begun)| {
            let (took, replay) = (begun.elapsed().as_secs(), scenario.replay());
            println!("FAILED       {scenario}\nit hangs: no end after {took} s\nagain: {replay}");
        });
        process::kill_all();
        std::process::exit(1);
    }
}

/// Prints how many did what, and says whether none failed, and none was left out where all is demanded.
pub fn sum_up(results: &[Ended]) -> bool {
    let count = |is_so: fn(&Came) -> bool| results.iter().filter(|r| is_so(&r.came)).count();
    let failed = count(|came| matches!(came, Came::Failed(_)));
    let passed = count(|came| *came == Came::Passed);
    println!("{passed} passed, {failed} failed, {} not measured", results.len() - passed - failed);
    let lacking = results.iter().filter_map(|ended| match &ended.came {
        Came::NotMeasured(lacking) => Some(lacking.as_str()),
        _ => None,
    });
    demand::is_met(lacking) & (failed == 0)
}

/// Plays those that are named by any of these words; a word that is one's whole name names no other.
pub fn play_named(words: &[String]) -> bool {
    let all = catalogue::all();
    let is_whole = |word: &str| all.iter().any(|scenario| scenario.name == word);
    let is_named = |scenario: &Scenario, word: &str| match is_whole(word) {
        true => scenario.name == word,
        false => scenario.is_named(word),
    };
    let mut named = all.clone();
    named.retain(|scenario| words.iter().any(|word| is_named(scenario, word)));
    if named.is_empty() {
        eprintln!("no scenario is called so; `list` names them all");
    }
    !named.is_empty() && sum_up(&play(&named, &|_| {}))
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
