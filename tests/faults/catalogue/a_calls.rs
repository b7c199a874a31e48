//! A3. A kill at every system call that changes a file of the state or sends.

use super::Scenario;
use crate::calls::{self, Story, case_of};
use crate::strace::{self, Call, Kind};

pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    "A3",
    "a kill at any write, sync, rename, removal or send loses nothing",
    at_each_call,
)
.needing(strace::is_there)];

/// What changes something beyond the process.
const CHANGING: [Kind; 6] =
    [Kind::Write, Kind::Resize, Kind::Sync, Kind::Rename, Kind::Remove, Kind::Send];

fn at_each_call(scenario: &Scenario) {
    let is_wanted = |call: &Call| call.is_creating || CHANGING.contains(&call.kind());
    calls::each(scenario, "a kill", is_wanted, |story, call| kill(scenario, story, call));
}

/// One case; whether the process was killed at the call.
fn kill(scenario: &Scenario, story: Story, call: &Call) -> bool {
    let mut case = case_of(scenario, story);
    let killing = strace::killing(call, &case.workspace.state(), "calls");
    let killing: Vec<&str> = killing.iter().map(String::as_str).collect();
    let started = case.spawn_under(&killing, &[], &[]);
    let is_killed = case.end(started).signal == Some(9);
    case.judge();
    is_killed
}
