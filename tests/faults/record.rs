//! Plays the parts of the evidence and writes down what comes of each as it comes. What goes on is printed with times.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use crate::catalogue;
use crate::evidence::{Origin, Page, Part, bound, cell, failure};
use crate::kills;
use crate::planted;
use crate::runner::{self, Came, Ended};
use crate::simulator::{self, Extent};

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Asked {
    pub parts: Vec<Part>,
    pub kills: u64,
    pub histories: u64,
    /// The first seed of both.
    pub seed: u64,
}

/// Kills after which it is written down how far it has come.
const KILLS: u64 = 100;
/// Histories after which it is written down how far it has come: as many as make all happen that should.
const HISTORIES: u64 = 20_000;
/// Stories that may fail before it is given up.
const MOST_FAILURES: usize = 10;

/// Plays all that is asked for; whether nothing failed.
pub fn play(asked: &Asked) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/EVIDENCE.md");
    let mut page = Page::open(path, &asked.parts);
    let mut is_well = true;
    for part in Part::ALL.into_iter().filter(|part| asked.parts.contains(part)) {
        println!("{part:?}");
        is_well &= match part {
            Part::Catalogue => of_catalogue(&mut page),
            Part::Planted => of_planted(&mut page),
            Part::Kills => of_kills(&mut page, asked.seed, asked.kills),
            Part::Histories => of_histories(&mut page, asked.seed, asked.histories),
        };
    }
    is_well
}

fn of_catalogue(page: &mut Page) -> bool {
    catalogue::be_exhaustive();
    let origin = Origin::now();
    let all = catalogue::all();
    let _ = runner::take_figures();
    let place = |one: &Ended| all.iter().position(|other| other.name == one.scenario.name);
    let so_far = Mutex::new((page, BTreeMap::<usize, Ended>::new()));
    let heed = |one: &Ended| {
        let mut so_far = so_far.lock().expect("nothing panics with the lock");
        let (page, ended) = &mut *so_far;
        ended.insert(place(one).expect("it is of the catalogue"), one.clone());
        let ended: Vec<Ended> = ended.values().cloned().collect();
        let came = counted(&ended, all.len());
        println!("             after {:.0} s: {came}", origin.took().as_secs_f64());
        page.write(Part::Catalogue, &origin, false, &came, &scenarios(&ended, &[]));
    };
    let ended = runner::play(&all, &heed);
    let (page, _) = so_far.into_inner().expect("nothing panics with the lock");
    let body = scenarios(&ended, &runner::take_figures());
    page.write(Part::Catalogue, &origin, true, &counted(&ended, all.len()), &body);
    runner::sum_up(&ended)
}

fn counted(ended: &[Ended], all: usize) -> String {
    let count = |is_so: fn(&Came) -> bool| ended.iter().filter(|one| is_so(&one.came)).count();
    let passed = count(|came| *came == Came::Passed);
    let failed = count(|came| matches!(came, Came::Failed(_)));
    let lacking = ended.len() - passed - failed;
    format!(
        "{} of {all} scenarios, whole: {passed} passed, {failed} failed, {lacking} not measured",
        ended.len()
    )
}

fn scenarios(ended: &[Ended], figures: &[String]) -> String {
    let mut body = "| entry | what must be | came of it |\n|---|---|---|\n".to_owned();
    for Ended { scenario, came, took } in ended {
        let came = match came {
            Came::Passed => format!("passed in {:.1} s", took.as_secs_f64()),
            Came::Failed(said) => format!("**failed**: {}", failure(said)),
            Came::NotMeasured(why) => format!("not measured: {}", cell(why)),
        };
        let _ = writeln!(body, "| {} | {} | {came} |", scenario.id, scenario.name);
    }
    body.push('\n');
    figures.iter().for_each(|figure| {
        let _ = writeln!(body, "- {figure}");
    });
    body
}

fn of_planted(page: &mut Page) -> bool {
    let origin = Origin::now();
    let rows = |played: &[planted::Played]| {
        let mut body =
            "| defect | who must find it | by the words | what was said |\n|---|---|---|---|\n"
                .to_owned();
        for planted::Played { defect, by, words, came } in played {
            let said = match came {
                planted::Came::Found(said) => cell(said),
                planted::Came::Missed(said) => format!("**missed**: {}", cell(said)),
                planted::Came::NotMeasured(lacking) => format!("not measured: {}", cell(lacking)),
            };
            let _ = writeln!(body, "| `{defect}` | {by} | `{}` | {said} |", words.trim());
        }
        body
    };
    let came = |played: &[planted::Played]| {
        let found = played.iter().filter(|one| matches!(one.came, planted::Came::Found(_))).count();
        format!("{found} of {} found", played.len())
    };
    let so_far = Mutex::new((page, Vec::new()));
    let played = planted::play(&|one| {
        let mut so_far = so_far.lock().expect("nothing panics with the lock");
        let (page, played) = &mut *so_far;
        played.push(one.clone());
        page.write(Part::Planted, &origin, false, &came(played), &rows(played));
    });
    let (page, _) = so_far.into_inner().expect("nothing panics with the lock");
    page.write(Part::Planted, &origin, true, &came(&played), &rows(&played));
    planted::is_found(&played)
}

fn of_kills(page: &mut Page, seed: u64, kills: u64) -> bool {
    let origin = Origin::now();
    let mut summary = kills::Summary::default();
    loop {
        let wanted = KILLS.min(kills.saturating_sub(summary.kills()));
        let is_over = wanted == 0 || summary.failures.len() >= MOST_FAILURES;
        let stories = summary.stories;
        let last = seed + stories.saturating_sub(1);
        let failures = summary.failures.len() as u64;
        let came =
            format!("{summary}; seeds {seed} to {last}; {}", bound(failures, stories, "stories"));
        let body: String =
            summary.failures.iter().map(|said| format!("- {}\n", failure(said))).collect();
        page.write(Part::Kills, &origin, is_over, &came, &body);
        println!("             after {:.0} s: {summary}", origin.took().as_secs_f64());
        if is_over {
            return summary.is_well();
        }
        summary.add(&kills::play(seed + stories, wanted));
    }
}

fn of_histories(page: &mut Page, seed: u64, histories: u64) -> bool {
    let origin = Origin::now();
    let (mut played, mut failed) = (0, Vec::<String>::new());
    let mut statistics = simulator::Statistics::new();
    loop {
        let wanted = HISTORIES.min(histories.saturating_sub(played));
        let is_over = wanted == 0 || !failed.is_empty();
        let last = seed + played.saturating_sub(1);
        let bounded = bound(failed.len() as u64, played, "histories");
        let came = format!("{played} histories, seeds {seed} to {last}; {bounded}");
        let mut body: String = failed.iter().map(|said| format!("- {}\n", failure(said))).collect();
        body.push_str("\n| in them | times |\n|---|---|\n");
        statistics.iter().for_each(|(what, count)| {
            let _ = writeln!(body, "| {what} | {count} |");
        });
        page.write(Part::Histories, &origin, is_over, &came, &body);
        println!("             after {:.0} s: {came}", origin.took().as_secs_f64());
        if is_over {
            return failed.is_empty() && played > 0;
        }
        let summary = simulator::many(seed + played, Extent::Histories(wanted));
        if !summary.is_well() {
            println!("{summary}");
            let lacking = || format!("never happened: {}", summary.missing().join(", "));
            failed.push(summary.violation.as_ref().map_or_else(lacking, ToString::to_string));
        }
        for (what, count) in &summary.statistics {
            *statistics.entry(what).or_default() += count;
        }
        played += summary.histories;
    }
}
