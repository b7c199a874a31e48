//! The sources that are servers, held against real ones: what a server must be able to do to us, and what we must do then.
//!
//! Scenarios are played one after the other, against one server of each kind. A machine without the server says so aloud, and
//! with `KIT_DEMAND_ALL` that fails. `-- NAME` plays those whose name holds the word; without names the defects that are
//! planted in the product are played too, each of which a scenario must find.
#![cfg(unix)]

#[path = "../faults/demand.rs"]
mod demand;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/behaviour; each uses a part of it")]
mod support;

mod planted;
mod postgres;
mod servers;
mod stores;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

use self::servers::postgres::{Postgres, programs};
use self::servers::seaweed::{Seaweed, program};
use self::support::certificates;

/// One scenario against a server: its name, and what is played.
type Scenario<S> = (&'static str, fn(&S));

/// What came of the scenarios so far.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    unmeasured: usize,
    /// What this machine lacks.
    lacking: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_named = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let mut tally = Tally::default();
    let lacking = programs().map(drop).and_then(|()| certificates::can_be_made()).err();
    tally.play(&postgres::SCENARIOS, &is_named, lacking, Postgres::start);
    tally.play(&stores::SCENARIOS, &is_named, program().err(), Seaweed::start);
    if words.is_empty() {
        let lost = planted::PLANTED.iter().filter(|(_, scenario, _)| tally.can_play(scenario));
        tally.failed += lost.filter(|planted| !is_found(planted)).count();
    }
    let Tally { passed, failed, unmeasured, lacking } = &tally;
    println!("{passed} passed, {failed} failed, {unmeasured} not measured");
    let is_met = demand::is_met(lacking.iter().map(String::as_str));
    let is_any = passed + failed + unmeasured > 0;
    if *failed == 0 && is_met && is_any { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Tally {
    /// Plays those that are named against one server, if this machine has it.
    fn play<S>(
        &mut self,
        scenarios: &[Scenario<S>],
        is_named: &dyn Fn(&str) -> bool,
        lacking: Option<String>,
        start: fn() -> S,
    ) {
        let chosen: Vec<_> = scenarios.iter().filter(|(name, _)| is_named(name)).collect();
        if chosen.is_empty() {
            return;
        }
        if let Some(lacking) = lacking {
            self.unmeasured += chosen.len();
            self.lacking.push(lacking);
            return;
        }
        let server = start();
        for (name, play) in chosen {
            let begun = Instant::now();
            let is_well = catch_unwind(AssertUnwindSafe(|| play(&server))).is_ok();
            let word = if is_well { "passed" } else { "FAILED" };
            println!("{word}       {name} ({:.1} s)", begun.elapsed().as_secs_f64());
            self.passed += usize::from(is_well);
            self.failed += usize::from(!is_well);
        }
    }

    /// Whether the server of this scenario is there.
    fn can_play(&self, scenario: &str) -> bool {
        let is_of_store = stores::SCENARIOS.iter().any(|(name, _)| *name == scenario);
        !self.lacking.iter().any(|lacking| lacking.starts_with("`weed`") == is_of_store)
    }
}

/// Whether the scenario fails where the defect is planted, in a process of its own, and says so with these words.
fn is_found((defect, scenario, words): &(&str, &str, &str)) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
    let played = command.arg(scenario).env("KIT_DEFECT", defect).output();
    let is_found = played.is_ok_and(|played| {
        String::from_utf8_lossy(&played.stdout).contains("FAILED       ")
            && String::from_utf8_lossy(&played.stderr).contains(words)
    });
    println!("{}        `{defect}` by `{scenario}`", if is_found { "found" } else { "NOT FOUND" });
    is_found
}
