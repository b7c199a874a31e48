//! The sources: one suite that all kinds pass ([`conformance`]), and what real servers must be able to do to us beside that.
//!
//! Scenarios are played one after the other, against one server of each kind. A machine without the server says so aloud, and
//! with `KIT_DEMAND_ALL` that fails. `-- WORD` plays those whose name, such as `mysql: a mirror follows ..`, holds the word;
//! without words the defects that are planted in the product are played too, each of which a scenario must find.
#![cfg(unix)]

#[path = "../faults/demand.rs"]
mod demand;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/behaviour; each uses a part of it")]
mod support;

mod blobs;
mod conformance;
mod mysql;
mod planted;
mod postgres;
mod reading;
mod servers;
mod shared;
mod stores;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

use self::blobs::Blobs;
use self::conformance::{Disk, Kind, Rows};
use self::servers::Server;
use self::servers::azurite::Azurite;
use self::servers::gcs::Gcs;
use self::servers::mysql::MySql;
use self::servers::postgres::{Postgres, Programs};
use self::servers::seaweed::Seaweed;
use self::support::{TOKEN, certificates};

/// One scenario: its name, and what is played.
type Scenario<S> = (&'static str, fn(&S));

/// One scenario of a kind, or of all kinds.
type Play<S> = (String, Box<dyn Fn(&S)>);

/// What came of the scenarios.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    /// What the machine lacks for those that were not played.
    lacking: Vec<String>,
    left_out: usize,
    results: BTreeMap<String, bool>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let (mut count, mut rows) = (Count::default(), Rows::default());
    let (disk, stores) = (conformance::on_disk(), conformance::in_stores());
    rows.add("files", &disk);
    rows.add("stores", &stores);
    play("files", &words, None, || Disk, conformance::plays(disk), &mut count);
    let versions = [
        ("postgres", Programs::newest(), false),
        ("postgres 12", Programs::of(12), true),
        ("postgres 18", Programs::of(18), true),
    ];
    for (kind, programs, is_other) in versions {
        let lacking = programs.as_ref().err().cloned();
        let start = || Postgres::start(&programs.expect("it was looked for"));
        let kinds = conformance::databases::kinds();
        rows.add(kind, &kinds);
        let mut plays = of_database(&postgres::SCENARIOS, kinds);
        if is_other && words.is_empty() {
            let of_every = |name: &str| {
                postgres::OF_EVERY_VERSION.contains(&name) || conformance::is_property(name)
            };
            plays.retain(|(name, _)| of_every(name));
        }
        play(kind, &words, lacking, start, plays, &mut count);
    }
    let in_mysql = conformance::databases::kinds();
    rows.add("mysql", &in_mysql);
    let lacking = servers::mysql::lacking();
    let plays = of_database(&mysql::SCENARIOS, in_mysql);
    play("mysql", &words, lacking, MySql::start, plays, &mut count);
    let weed = servers::seaweed::program();
    let lacking = weed.as_ref().err().cloned();
    let start = || Seaweed::start(&weed.expect("it was looked for"), TOKEN);
    let plays = own(&stores::SCENARIOS).chain(conformance::plays(stores)).collect();
    play("stores", &words, lacking, start, plays, &mut count);
    let azurite = servers::azurite::program();
    let lacking = azurite.as_ref().err().cloned();
    let start = || Azurite::start(&azurite.expect("it was looked for"));
    let in_az = conformance::in_blobs();
    rows.add("az", &in_az);
    play("az", &words, lacking, start, of_blobs(&blobs::az::SCENARIOS, in_az), &mut count);
    let gcs = servers::gcs::program();
    let lacking = gcs.as_ref().err().cloned();
    let start = || Gcs::start(&gcs.expect("it was looked for"));
    let in_gs = conformance::in_blobs();
    rows.add("gs", &in_gs);
    play("gs", &words, lacking, start, of_blobs(&blobs::gs::SCENARIOS, in_gs), &mut count);
    let problems = rows.problems();
    problems.iter().for_each(|problem| println!("FAILED       conformance: {problem}"));
    count.failed += problems.len();
    rows.print(&count.results);
    if words.is_empty() && count.lacking.is_empty() {
        count.failed += planted::PLANTED.iter().filter(|planted| !is_found(planted)).count();
    }
    let Count { passed, failed, lacking, left_out, .. } = count;
    println!("{passed} passed, {failed} failed, {left_out} not measured");
    let is_met = demand::is_met(lacking.iter().map(String::as_str));
    match failed == 0 && is_met && passed + left_out > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn own<S: 'static>(scenarios: &[Scenario<S>]) -> impl Iterator<Item = Play<S>> {
    let play = |(name, play): &Scenario<S>| -> Play<S> { ((*name).to_owned(), Box::new(*play)) };
    scenarios.iter().map(play)
}

/// What every source plays, what every database does, and its own.
fn of_database<S: Server + 'static>(
    scenarios: &[Scenario<S>],
    kinds: Vec<Kind<S>>,
) -> Vec<Play<S>> {
    let shared = shared::SCENARIOS.iter().map(|(name, play)| -> Play<S> {
        ((*name).to_owned(), Box::new(move |server: &S| play(server)))
    });
    conformance::plays(kinds).into_iter().chain(shared).chain(own(scenarios)).collect()
}

/// What every source plays, what every store does that is none of S3's kind, and its own.
fn of_blobs<S: Blobs + 'static>(scenarios: &[Scenario<S>], kinds: Vec<Kind<S>>) -> Vec<Play<S>> {
    let shared = blobs::SCENARIOS.iter().map(|(name, play)| -> Play<S> {
        ((*name).to_owned(), Box::new(move |server: &S| play(server)))
    });
    conformance::plays(kinds).into_iter().chain(shared).chain(own(scenarios)).collect()
}

/// Plays what is chosen of one kind.
fn play<S>(
    kind: &str,
    words: &[String],
    lacking: Option<String>,
    start: impl FnOnce() -> S,
    plays: Vec<Play<S>>,
    count: &mut Count,
) {
    let full = |name: &str| format!("{kind}: {name}");
    let is_chosen =
        |name: &str| words.is_empty() || words.iter().any(|word| full(name).contains(word));
    let chosen: Vec<_> = plays.into_iter().filter(|(name, _)| is_chosen(name)).collect();
    if chosen.is_empty() {
        return;
    }
    if let Some(lacking) = lacking.or_else(|| certificates::can_be_made().err()) {
        count.left_out += chosen.len();
        count.lacking.push(lacking);
        return;
    }
    let server = start();
    for (name, play) in chosen {
        let begun = Instant::now();
        let is_well = catch_unwind(AssertUnwindSafe(|| play(&server))).is_ok();
        let word = if is_well { "passed" } else { "FAILED" };
        println!("{word}       {} ({:.1} s)", full(&name), begun.elapsed().as_secs_f64());
        count.results.insert(full(&name), is_well);
        count.passed += usize::from(is_well);
        count.failed += usize::from(!is_well);
    }
}

/// Whether the scenario fails where the defect is planted, in a process of its own, and says the words.
fn is_found((defect, scenario, words): &(&str, &str, &str)) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
    // What the product does in this very process has it too.
    let planted = [("KIT_DEFECT", defect), ("COUNTERFLOW_DEFECT", defect)];
    let played = command.arg(scenario).envs(planted).output();
    let is_found = played.is_ok_and(|played| {
        let said = String::from_utf8_lossy(&played.stderr);
        String::from_utf8_lossy(&played.stdout).contains("FAILED       ") && said.contains(words)
    });
    println!("{}        `{defect}` by `{scenario}`", if is_found { "found" } else { "NOT FOUND" });
    is_found
}
