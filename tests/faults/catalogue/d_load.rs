//! D3 under load. Many syncs that are due together, and a server that is killed while their runs wait and go.

use std::time::Duration;

use super::Scenario;
use crate::load::fleet::Firing;
use crate::load::{self, Asked};

pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    "D3",
    "of many syncs that are due together no run is lost, doubled or stuck over kills of the server",
    many,
)];

fn many(_: &Scenario) {
    let wrong = load::play(&Asked {
        syncs: 20,
        max_running: 5,
        firing: Firing::Every(Duration::from_secs(3)),
        ticks: 2,
        // One of five is killed while it starts.
        cycles: 5,
        answer: Duration::from_millis(150),
        idle: Duration::ZERO,
        longest_life: Duration::from_secs(3),
        seed: 7,
        is_quiet: true,
        is_recorded: false,
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
