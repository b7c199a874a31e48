//! A9. A power cut: what it may leave of the intents, and the order of writes and syncs in a real run, from which it
//! follows that it can leave no less.

use counterflow::points::Point;

use super::Scenario;
use crate::calls::{Story, case_of};
use crate::runner;
use crate::strace;
use crate::support::case::Case;
use crate::support::journal::Request;
use crate::support::workspace::Setup;
use crate::synced::{self, Step};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("A9", "intents that a power cut has torn or dropped are not missed", power_cut),
    Scenario::new("A9", "no request leaves before its intent is safe on the disk", intent_first)
        .needing(strace::is_there),
    Scenario::new(
        "A9",
        "a manifest is named only when all it names is safe, and nothing is removed before it is",
        commit_order,
    )
    .needing(strace::is_there),
];

/// Nothing has left when the intents are written and not yet synced: whatever a power cut leaves of them will do.
fn power_cut(scenario: &Scenario) {
    let journal = |case: &Case| {
        let folder = case.workspace.state().join("snapshots").join("people");
        let names = std::fs::read_dir(folder).expect("the snapshot has a folder");
        let paths = names.map(|entry| entry.expect("a folder can be read").path());
        let is_journal = |path: &std::path::PathBuf| path.to_string_lossy().contains("journal");
        paths.filter(is_journal).max().expect("there is a journal")
    };
    let left_at = |case: &mut Case, point: Point| {
        let end_at = format!("{}:1", point.name());
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", &end_at)]);
        assert!(case.end(started).signal.is_some(), "the process was ended");
        std::fs::read(journal(case)).expect("the journal can be read")
    };
    let left = |case: &mut Case| left_at(case, Point::IntentWritten);
    let whole = left(&mut Case::changed(&scenario.replay(), Setup::default())).len();
    // Its beginning is synced before anything that matters is written.
    let fresh = &mut Case::changed(&scenario.replay(), Setup::default());
    let begun = left_at(fresh, Point::BeforeIntent).len();
    assert!(begun > 0 && whole > begun + 100, "there are intents: {begun} and {whole} bytes");
    for (cut, zeroes) in
        (begun..=whole).step_by((whole - begun) / 12).flat_map(|cut| [(cut, 0), (cut, 64)])
    {
        let mut case = Case::changed(&scenario.replay(), Setup::default());
        let mut bytes = left(&mut case);
        bytes.truncate(cut);
        bytes.resize(cut + zeroes, 0);
        case.say(format!("a power cut leaves {cut} bytes of the journal and {zeroes} zeroes"));
        std::fs::write(journal(&case), bytes).expect("the journal can be written");
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.judge();
    }
}

/// A run of the story, and all its calls in their order.
fn traced(scenario: &Scenario, story: Story, concurrency: u32) -> (Case, Vec<Step>) {
    let mut case = case_of(scenario, story);
    case.workspace.change(|setup| setup.concurrency = concurrency);
    let log = case.workspace.path().join("calls");
    let noting = synced::noting("calls");
    let noting: Vec<&str> = noting.iter().map(String::as_str).collect();
    let started = case.spawn_under(&noting, &[], &[]);
    case.end(started).expect_code(0);
    (case, synced::steps(&log))
}

const STORIES: [(Story, u32); 4] =
    [(Story::First, 1), (Story::Changes, 1), (Story::Changes, 3), (Story::Killed, 2)];

fn intent_first(scenario: &Scenario) {
    let mut checked = 0;
    for (story, concurrency) in STORIES {
        let case_and_steps = traced(scenario, story, concurrency);
        let (case, steps) = case_and_steps;
        let requests = case.oracle.requests();
        for (step, text) in synced::requests(&steps, case.oracle.address()) {
            let key = header(&text, "idempotency-key").expect("a request says its key");
            let is_it = |request: &&Request| request.sent.idempotency_key.as_deref() == Some(key);
            let request = requests.iter().find(is_it).expect("the oracle has seen it");
            let problem = synced::unsafe_intent(&steps, step, &request.sent.operations);
            assert_eq!(problem, None, "A9: request #{}\n{}", request.sent.number, case.print());
            checked += 1;
        }
        case.judge();
    }
    runner::figure(format!(
        "A9: {checked} requests, the intent of each synced before its first byte"
    ));
    assert!(checked > 10, "requests were seen: {checked}");
}

fn header<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn commit_order(scenario: &Scenario) {
    let (mut commits, mut segments) = (0, 0);
    for (story, concurrency) in STORIES {
        let (case, steps) = traced(scenario, story, concurrency);
        let checked = synced::commits(&steps).unwrap_or_else(|wrong| {
            panic!("A9: story {story:?}: {wrong}\n{}", case.print());
        });
        commits += checked.manifests;
        segments += checked.segments;
        case.judge();
    }
    runner::figure(format!(
        "A9: {commits} manifests of {segments} new segments, all synced before the rename, the folder after it"
    ));
    assert!(commits >= 4 && segments >= 4, "{commits} manifests, {segments} segments");
}
