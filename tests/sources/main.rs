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

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

use self::servers::postgres::{Postgres, programs};
use self::support::certificates;

/// One scenario: its name, and what is played.
type Scenario = (&'static str, fn(&Postgres));

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_named = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let chosen: Vec<Scenario> =
        postgres::SCENARIOS.iter().copied().filter(|(name, _)| is_named(name)).collect();
    let lacking = programs().map(drop).and_then(|()| certificates::can_be_made()).err();
    if let Some(lacking) = lacking {
        println!("0 passed, 0 failed, {} not measured", chosen.len());
        let is_met = demand::is_met(std::iter::once(lacking.as_str()));
        return if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let server = Postgres::start();
    let mut failed = 0;
    for (name, play) in &chosen {
        let begun = Instant::now();
        let is_well = catch_unwind(AssertUnwindSafe(|| play(&server))).is_ok();
        let word = if is_well { "passed" } else { "FAILED" };
        println!("{word}       {name} ({:.1} s)", begun.elapsed().as_secs_f64());
        failed += usize::from(!is_well);
    }
    if words.is_empty() {
        failed += planted::PLANTED.iter().filter(|planted| !is_found(planted)).count();
    }
    println!("{} passed, {failed} failed", chosen.len() - failed.min(chosen.len()));
    if failed == 0 && !chosen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the scenario fails where the defect is planted, in a process of its own.
fn is_found((defect, scenario): &(&str, &str)) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
    let played = command.arg(scenario).env("KIT_DEFECT", defect).output();
    let is_found = played
        .is_ok_and(|played| String::from_utf8_lossy(&played.stdout).contains("FAILED       "));
    println!("{}        `{defect}` by `{scenario}`", if is_found { "found" } else { "NOT FOUND" });
    is_found
}
