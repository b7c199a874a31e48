//! A5. A query that does not yield: one call of a function that would work for hours on a batch.

use std::time::{Duration, Instant};

use super::Scenario;
use crate::support::case::{Case, Started};
use crate::support::people::people;
use crate::support::server::Api;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] =
    &[Scenario::new("A5", "a stop never waits for a query that does not yield", never_yields)];

/// Between two batches the query engine looks whether it is to stop; within a call of a function it never does.
const SQL: &str =
    "SELECT * FROM people WHERE levenshtein(repeat(email, 20000), repeat(email, 20001)) >= 0";
/// What a stop may take: the end of the reading, and of the process.
const MOST: Duration = Duration::from_secs(2);

fn case(scenario: &Scenario) -> Case {
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let mut case = Case::new(&scenario.replay(), Setup { head, ..Setup::default() });
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(2..=14));
    case.workspace.change(|setup| setup.sql = SQL.to_owned());
    case
}

/// Ends the process by a signal, in time.
fn end(case: &mut Case, started: Started, code: i32) {
    case.say("SIGTERM");
    let asked = started.process.signal_at("TERM");
    let finished = case.end(started);
    let took = finished.ended.saturating_duration_since(asked);
    assert!(took <= MOST, "A5: it took {took:?} to end the process\n{}", case.print());
    assert_eq!(finished.code, Some(code), "{finished:#?}");
}

fn never_yields(scenario: &Scenario) {
    let mut by_signal = case(scenario);
    let started = by_signal.spawn(&[]);
    by_signal.wait_for_phase("reading");
    end(&mut by_signal, started, 143);
    by_signal.workspace.change(|setup| setup.sql = Setup::default().sql);
    by_signal.judge();

    let mut by_api = case(scenario);
    let started = by_api.spawn_serve();
    let server = Api::of(&by_api.workspace, &started.process);
    let run = server.run("{}");
    server.wait_for_phase(run, "reading");
    let asked = Instant::now();
    server.post("/api/v1/syncs/people/stop", "{}").expect(202);
    let document = server.ended(run);
    let took = asked.elapsed();
    assert!(took <= MOST, "A5: it took {took:?} to stop the run\n{}", by_api.print());
    assert_eq!(document["phase"], "cancelled", "{document:#}");
    end(&mut by_api, started, 0);
    by_api.workspace.change(|setup| setup.sql = Setup::default().sql);
    by_api.judge();
}
