//! Everything again and again for so long: slices of kills, histories and scenarios in turns, and a table of what came of
//! them. A failure is printed when it happens, with the command that plays it again, and the soak goes on.

use std::time::{Duration, Instant};

use crate::catalogue;
use crate::kills;
use crate::runner::{self, Came};
use crate::simulator::{self, Extent};

/// What one turn plays of each.
const KILLS: u64 = 30;
const HISTORIES: u64 = 2_000;
const SCENARIOS: usize = 4;

/// What came of a soak.
#[derive(Debug, Default)]
struct Soaked {
    kills: kills::Summary,
    histories: u64,
    violations: u64,
    scenarios: usize,
    failed: usize,
    lacking: usize,
}

/// Goes on for as long as `time`, with the seeds from `seed` on; prints a table, and says whether nothing failed.
pub fn play(time: Duration, seed: u64) -> bool {
    let begun = Instant::now();
    let mut soaked = Soaked::default();
    println!("seed {seed}");
    let all = catalogue::all();
    let mut turns = 0;
    while begun.elapsed() < time {
        soaked.kill(seed);
        soaked.simulate(seed);
        let next = (turns * SCENARIOS) % all.len();
        soaked.play(&all[next..all.len().min(next + SCENARIOS)]);
        // So that every scenario has its turn, wherever the slices end.
        turns = if next + SCENARIOS >= all.len() { 0 } else { turns + 1 };
        let (gone, failures) = (begun.elapsed().as_secs(), soaked.failures());
        println!("after {gone} s of {}: {failures} failures", time.as_secs());
    }
    println!("{}", soaked.table(seed));
    soaked.failures() == 0 && soaked.kills.is_well()
}

impl Soaked {
    fn kill(&mut self, seed: u64) {
        let first = seed.wrapping_add(self.kills.stories);
        self.kills.add(&kills::play(first, KILLS));
    }

    fn simulate(&mut self, seed: u64) {
        let first = seed.wrapping_add(self.histories);
        let summary = simulator::many(first, Extent::Histories(HISTORIES));
        if let Some(violation) = &summary.violation {
            println!("{violation}");
            self.violations += 1;
        }
        println!("{summary:#}");
        self.histories += summary.histories;
    }

    fn play(&mut self, scenarios: &[catalogue::Scenario]) {
        let ended = runner::play(scenarios, &|_| {});
        self.scenarios += ended.len();
        for one in ended {
            match one.came {
                Came::Passed => {}
                Came::Failed(_) => self.failed += 1,
                Came::NotMeasured(_) => self.lacking += 1,
            }
        }
    }

    fn failures(&self) -> u64 {
        (self.kills.failures.len() + self.failed) as u64 + self.violations
    }

    fn table(&self, seed: u64) -> String {
        let seeds = |count: u64| match count {
            0 => "none".to_owned(),
            count => format!("{seed} to {}", seed.wrapping_add(count - 1)),
        };
        let Soaked { kills, histories, violations, scenarios, failed, lacking } = self;
        let longest = format!("{:.2} s", kills.longest_stop.as_secs_f64());
        let (stories, killed) = (kills.stories, kills.kills());
        let rows = [
            ["what", "count", "seeds", "failures", "longest stop"].map(str::to_owned),
            [
                format!("kills in {stories} stories"),
                killed.to_string(),
                seeds(stories),
                kills.failures.len().to_string(),
                longest,
            ],
            [
                "histories".to_owned(),
                histories.to_string(),
                seeds(*histories),
                violations.to_string(),
                String::new(),
            ],
            [
                format!("scenarios, {lacking} not measured"),
                scenarios.to_string(),
                String::new(),
                failed.to_string(),
                String::new(),
            ],
        ];
        let line = |row: &[String; 5]| {
            let [what, count, seeds, failures, longest] = row;
            format!("{what:<32} {count:>9} {failures:>9} {longest:>13}  {seeds}\n")
        };
        let mut table: String = rows.iter().map(line).collect();
        let missing = kills.missing();
        if !missing.is_empty() {
            table.push_str(&format!("FAILED: never played: {}\n", missing.join(", ")));
        }
        table
    }
}
