//! The catalogue of the fault document, entry by entry: each scenario has the id of its entry and says in its name what
//! must be.

mod a_crash;
mod c_backup;
mod c_calls;
mod c_database;
mod c_place;
mod c_rename;
mod c_snapshot;
mod d_processes;
mod d_triggers;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a machine must have for a scenario; an error says what it lacks.
pub type Need = fn() -> Result<(), String>;

/// One fault and what must come of it.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The entry of the catalogue, such as `A7`.
    pub id: &'static str,
    pub name: &'static str,
    /// Panics where it is not as it must be.
    pub play: fn(&Scenario),
    /// Where it is not met the scenario is not measured, which is never counted as passed.
    pub need: Option<Need>,
}

impl Scenario {
    /// A scenario that can be played wherever the product runs.
    const fn new(id: &'static str, name: &'static str, play: fn(&Scenario)) -> Scenario {
        Scenario { id, name, play, need: None }
    }

    /// A scenario that needs more of the machine.
    const fn needing(
        id: &'static str,
        name: &'static str,
        play: fn(&Scenario),
        need: Need,
    ) -> Scenario {
        Scenario { id, name, play, need: Some(need) }
    }

    /// The command that plays this scenario alone.
    pub fn replay(&self) -> String {
        format!("cargo test --features faults --test faults -- '{}'", self.name)
    }

    /// Whether `word` is the id or a part of the name.
    pub fn is_named(&self, word: &str) -> bool {
        self.id == word || self.name.contains(word)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4} {}", self.id, self.name)
    }
}

/// Every scenario, in the order of the catalogue.
pub fn all() -> Vec<Scenario> {
    [
        a_crash::SCENARIOS,
        c_calls::SCENARIOS,
        c_snapshot::SCENARIOS,
        c_database::SCENARIOS,
        c_rename::SCENARIOS,
        c_place::SCENARIOS,
        c_backup::SCENARIOS,
        d_processes::SCENARIOS,
        d_triggers::SCENARIOS,
    ]
    .concat()
}

static IS_EXHAUSTIVE: AtomicBool = AtomicBool::new(false);

/// Scenarios that play a sample are to play all they can from now on.
pub fn be_exhaustive() {
    IS_EXHAUSTIVE.store(true, Ordering::Relaxed);
}

/// Whether scenarios play all they can, or a sample.
pub fn is_exhaustive() -> bool {
    IS_EXHAUSTIVE.load(Ordering::Relaxed)
}
