//! B14. A secret that changes while a run goes on: read anew where the destination refuses the old one.

use super::Scenario;
use super::b_wire::changed;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::people::people;
use crate::support::workspace::Setup;
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
        "a refusal that repeats a token which was renewed gives neither the old nor the new one away",
        echoed_after_renewal,
    ),
];

/// A mirror whose next run changes and deletes rows, with its third request under way.
fn under_way(scenario: &Scenario, concurrency: u32) -> (Case, Started) {
    let setup = Setup {
        bearer: "file:token",
        http: "account: demo, ",
        batch: 2,
        concurrency,
        ..Setup::default()
    };
    let mut case = Case::new(&scenario.replay(), setup);
    case.workspace.write("token", &format!("{TOKEN}\n"));
    case.write(&people(1..=30));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&changed(30)[5..]);
    let before = case.oracle.request_count();
    case.oracle.on_request(before + 3, Fault::Hold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 3, SOON);
    (case, started)
}

fn refreshed(scenario: &Scenario) {
    for concurrency in [1, 4] {
        let (mut case, started) = under_way(scenario, concurrency);
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
    let (mut case, started) = under_way(scenario, 1);
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
    let (mut case, started) = under_way(scenario, 1);
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
