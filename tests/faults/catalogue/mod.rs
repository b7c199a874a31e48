//! The catalogue of the fault document, entry by entry: each scenario has the id of its entry and says in its name what
//! must be.

mod a_calls;
mod a_crash;
mod a_crash_server;
mod a_memory;
mod a_power;
mod a_query;
mod a_signals;
mod a_stop;
mod a_stop_api;
mod a_upgrade;
mod b_names;
mod b_records;
mod b_secret;
mod b_status;
mod b_tls;
mod b_wire;
mod c_backup;
mod c_calls;
mod c_database;
mod c_place;
mod c_rename;
mod c_snapshot;
mod d_calendar;
mod d_load;
mod d_processes;
mod d_triggers;
mod e_broken;
mod e_columns;
mod e_cursor;
mod e_flights;
mod e_keys;
mod e_options;
mod e_sets;
mod e_shrink;
mod e_size;
mod e_skip;
mod e_statements;
mod e_upgrade;
mod e_values;

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a machine must have for a scenario; an error says what it lacks.
pub type Need = fn() -> Result<(), String>;

/// One fault and what must come of it.
#[derive(Debug, Clone, Copy)]
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

    /// The scenario where a machine has what it needs; elsewhere it is not measured.
    const fn needing(self, need: Need) -> Scenario {
        Scenario { need: Some(need), ..self }
    }

    /// The command that plays this scenario alone, and as much of it as is played now.
    pub fn replay(&self) -> String {
        let all = if is_exhaustive() { " --all" } else { "" };
        format!("{COMMAND} {}{all}", quoted(self.name))
    }

    /// Whether `word` is the id or a part of the name.
    pub fn is_named(&self, word: &str) -> bool {
        self.id == word || self.name.contains(word)
    }
}

/// What the kit is started by.
pub const COMMAND: &str = "cargo test --features faults --test faults --";

/// The text as one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4} {}", self.id, self.name)
    }
}

/// Every scenario, in the order of the catalogue.
pub fn all() -> Vec<Scenario> {
    [
        a_calls::SCENARIOS,
        a_crash::SCENARIOS,
        a_crash_server::SCENARIOS,
        a_query::SCENARIOS,
        a_memory::SCENARIOS,
        a_power::SCENARIOS,
        a_signals::SCENARIOS,
        a_stop::SCENARIOS,
        a_stop_api::SCENARIOS,
        a_upgrade::SCENARIOS,
        b_names::SCENARIOS,
        b_records::SCENARIOS,
        b_secret::SCENARIOS,
        b_status::SCENARIOS,
        b_tls::SCENARIOS,
        b_wire::SCENARIOS,
        c_backup::SCENARIOS,
        c_calls::SCENARIOS,
        c_database::SCENARIOS,
        c_place::SCENARIOS,
        c_rename::SCENARIOS,
        c_snapshot::SCENARIOS,
        d_load::SCENARIOS,
        d_processes::SCENARIOS,
        d_triggers::SCENARIOS,
        d_calendar::SCENARIOS,
        e_broken::SCENARIOS,
        e_columns::SCENARIOS,
        e_cursor::SCENARIOS,
        e_flights::SCENARIOS,
        e_keys::SCENARIOS,
        e_sets::SCENARIOS,
        e_shrink::SCENARIOS,
        e_size::SCENARIOS,
        e_skip::SCENARIOS,
        e_statements::SCENARIOS,
        e_upgrade::SCENARIOS,
        e_values::SCENARIOS,
        e_options::SCENARIOS,
    ]
    .concat()
}

/// What is wrong with the catalogue: two scenarios of one name, or a name that a shell would read as another.
pub fn unsound() -> Vec<String> {
    let all = all();
    let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
    let mut wrong = Vec::new();
    if names.len() != all.len() {
        wrong.push(format!("{} scenarios have {} names", all.len(), names.len()));
    }
    let ids: BTreeSet<&str> = all.iter().map(|scenario| scenario.id).collect();
    let entries = ENTRIES
        .iter()
        .flat_map(|(letter, last)| (1..=*last).map(move |number| format!("{letter}{number}")));
    wrong.extend(
        entries
            .filter(|entry| !ids.contains(entry.as_str()))
            .map(|entry| format!("`{entry}` has no scenario")),
    );
    let words: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let script = format!("printf '%s\\n' {}", words.join(" "));
    let output = Command::new("sh").args(["-c", &script]).output().expect("there is a shell");
    let read = String::from_utf8_lossy(&output.stdout);
    if !read.lines().eq(names.iter().copied()) {
        wrong.push("a replay command would name another scenario".to_owned());
    }
    wrong
}

/// The entries of the catalogue: each letter and its last number.
const ENTRIES: [(char, u32); 5] = [('A', 10), ('B', 18), ('C', 7), ('D', 5), ('E', 12)];

static IS_EXHAUSTIVE: AtomicBool = AtomicBool::new(false);

/// Scenarios that play a sample are to play all they can from now on.
pub fn be_exhaustive() {
    IS_EXHAUSTIVE.store(true, Ordering::Relaxed);
}

/// Whether scenarios play all they can, or a sample.
pub fn is_exhaustive() -> bool {
    IS_EXHAUSTIVE.load(Ordering::Relaxed)
}
