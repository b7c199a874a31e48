//! B14. A secret that changes while a run goes on: read anew where the destination refuses the old one.

use serde_json::json;

use super::Scenario;
use super::b_wire::changed;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::journal::{Asked, Request};
use crate::support::people::people;
use crate::support::workspace::{Report, Setup};
use crate::support::{NEXT_TOKEN, SOON, TOKEN};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "B14",
        "a secret that was rotated in its file in mid-run is read anew, and the run goes on",
        refreshed,
    ),
    Scenario::new(
        "B14",
        "a secret that was rotated to one that is refused too halts the run, once",
        refused_again,
    ),
    Scenario::new(
        "B14",
        "a secret of nobody knows which account that comes between deletes is sent none of them",
        between_deletes,
    ),
    Scenario::new(
        "B14",
        "a secret of nobody knows which account that comes between upserts holds the deletes of the next run",
        before_removals,
    ),
    Scenario::new(
        "B14",
        "a secret of nobody knows which account that comes between upserts holds the deletes of its run",
        before_deletes,
    ),
    Scenario::new(
        "B14",
        "a secret that comes in mid-run is sent no row where it is of another account than was asked for",
        of_another_account,
    ),
    Scenario::new(
        "B14",
        "a refusal that repeats a token which was renewed gives neither the old nor the new one away",
        echoed_after_renewal,
    ),
];

const SAME_ACCOUNT: &str = "account: demo, ";
const ASKED_FOR: &str = "identify: { get: /me, account: /account/id }, ";

/// A mirror of 30 persons whose secret stands in a file.
fn delivered(scenario: &Scenario, concurrency: u32, http: &'static str) -> Case {
    let setup = Setup { bearer: "file:token", http, batch: 2, concurrency, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.workspace.write("token", &format!("{TOKEN}\n"));
    case.write(&people(1..=30));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case
}

/// A run whose request with this number, counted from 1, is under way.
fn up_to(case: &mut Case, number: usize) -> Started {
    let before = case.oracle.request_count();
    case.oracle.on_request(before + number, Fault::Hold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + number, SOON);
    started
}

/// A mirror whose next run changes and deletes rows, with its third request under way.
fn under_way(scenario: &Scenario, concurrency: u32, http: &'static str) -> (Case, Started) {
    let mut case = delivered(scenario, concurrency, http);
    case.write(&changed(30)[5..]);
    let started = up_to(&mut case, 3);
    (case, started)
}

/// From now on the file holds another secret, and the destination takes only that one.
fn rotate(case: &mut Case) {
    case.workspace.write("token", NEXT_TOKEN);
    case.say("the secret is another one, maybe of another account");
    case.oracle.take_only(NEXT_TOKEN);
    case.oracle.release();
}

/// Whatever run comes, it holds so many deletes, until a person releases them.
fn held_until_released(mut case: Case, first: Option<Report>, held: u64) {
    let next = case.sync(&[]);
    for report in first.into_iter().chain([next.clone()]) {
        let held_all = report.count("held") == held && report.finished.code == Some(4);
        let cause = report.json["holds"].to_string();
        let is_held = held_all && cause.contains("credentials_changed");
        assert!(is_held, "deletes were not held for the secret: {report:#?}\n{}", case.print());
    }
    let sent = sent_with_next(&case);
    assert_eq!(sent, 0, "deletes were sent with the other secret\n{}", case.print());
    case.release(&next.run()).expect_code(0);
    assert!(sent_with_next(&case) > 0, "a person's word lets them go\n{}", case.print());
    case.judge();
}

/// Requests with deletes that were sent with the secret that came later.
fn sent_with_next(case: &Case) -> usize {
    let is_delete = |one: &&Request| {
        one.sent.operations.iter().any(|operation| operation.asked == Asked::Delete)
    };
    case.oracle.requests().iter().filter(is_delete).filter(with_next).count()
}

/// Whether it was sent with the secret that came later.
fn with_next(one: &&Request) -> bool {
    one.sent.header("authorization").is_some_and(|value| value.contains(NEXT_TOKEN))
}

fn of_another_account(scenario: &Scenario) {
    let (mut case, started) = under_way(scenario, 1, ASKED_FOR);
    case.oracle.set_account(json!("other"));
    rotate(&mut case);
    let ended = case.end(started);
    let sent = case.oracle.requests().iter().filter(with_next).count();
    assert_eq!(sent, 0, "rows were sent to another account\n{}", case.print());
    let halted = ended.expect_code(1).json();
    let error = halted["error"].as_str().unwrap_or_default();
    assert!(error.contains("account `other`"), "{halted:#}");
    case.say("the secret is for the account of before after all");
    case.oracle.set_account(json!("acme"));
    case.sync(&[]).expect(0, "succeeded", &[("unknown", 0)]);
    case.judge();
}

fn between_deletes(scenario: &Scenario) {
    let mut case = delivered(scenario, 1, "");
    case.write(&people(6..=30));
    let started = up_to(&mut case, 1);
    rotate(&mut case);
    let ended = case.end(started);
    let sent = sent_with_next(&case);
    assert_eq!(sent, 0, "deletes were sent with the other secret\n{}", case.print());
    let halted = ended.expect_code(1).json();
    assert!(halted["error"].as_str().is_some_and(|error| error.contains("401")), "{halted:#}");
    held_until_released(case, None, 3);
}

fn before_removals(scenario: &Scenario) {
    let mut case = delivered(scenario, 1, "");
    case.write(&people(1..=40));
    let started = up_to(&mut case, 3);
    rotate(&mut case);
    case.end(started).expect_code(0);
    case.write(&people(6..=40));
    held_until_released(case, None, 5);
}

fn before_deletes(scenario: &Scenario) {
    let mut case = delivered(scenario, 1, "");
    case.write(&people(6..=40));
    let started = up_to(&mut case, 3);
    rotate(&mut case);
    let finished = case.end(started);
    let json = finished.json();
    held_until_released(case, Some(Report { finished, json }), 5);
}

fn refreshed(scenario: &Scenario) {
    for (concurrency, http) in [(1, SAME_ACCOUNT), (4, SAME_ACCOUNT), (4, ASKED_FOR)] {
        let (mut case, started) = under_way(scenario, concurrency, http);
        case.workspace.write("token", NEXT_TOKEN);
        case.say("the token is rotated, in the file first");
        case.oracle.take_only(NEXT_TOKEN);
        case.oracle.release();
        let report = case.end(started).expect_code(0).json();
        let tally = &report["tally"];
        assert_eq!((&tally["delivered"], &tally["unknown"]), (&20.into(), &0.into()), "{report:#}");
        let refused = case.oracle.requests().iter().filter(|one| one.status == Some(401)).count();
        assert!(refused > 0, "the old token was never refused\n{}", case.print());
        assert_eq!(tally["retries"], refused, "{report:#}");
        case.assert_attempts_counted();
        case.judge();
    }
}

fn refused_again(scenario: &Scenario) {
    let (mut case, started) = under_way(scenario, 1, SAME_ACCOUNT);
    case.workspace.write("token", "canary-of-nobody");
    case.oracle.take_only(NEXT_TOKEN);
    case.oracle.release();
    let halted = case.end(started).expect_code(1).json();
    assert!(halted["error"].as_str().is_some_and(|error| error.contains("401")), "{halted:#}");
    let refused = case.oracle.requests().iter().filter(|one| one.status == Some(401)).count();
    assert_eq!(refused, 2, "each secret is tried once\n{}", case.print());
    assert!(!halted.to_string().contains("canary"), "{halted:#}");
    case.workspace.write("token", NEXT_TOKEN);
    case.sync(&[]).expect(0, "succeeded", &[("unknown", 0)]);
    case.assert_attempts_counted();
    case.judge();
}

fn echoed_after_renewal(scenario: &Scenario) {
    let (mut case, started) = under_way(scenario, 1, SAME_ACCOUNT);
    case.workspace.write("token", NEXT_TOKEN);
    // The old one is refused in its own words, and after the renewal the new one.
    case.oracle.on_next(Fault::Echo(401));
    case.oracle.on_next(Fault::Echo(401));
    case.oracle.release();
    let finished = case.end(started).expect_code(1);
    let printed = finished.printed();
    assert!(printed.contains("401"), "{finished:#?}");
    for token in [TOKEN, NEXT_TOKEN] {
        // Nor a piece of it, behind what was blotted out.
        let piece = &token[token.len() - 8..];
        assert!(!printed.contains(piece), "I12: `{piece}` of a token is in {finished:#?}");
    }
    case.judge();
}
