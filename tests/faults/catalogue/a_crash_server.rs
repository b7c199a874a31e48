//! A. Crash of a server: kills at each moment of its runs, before it has taken up what was left, and in a reload. What was asked
//! of it is made by its next start, though nobody asks again.

use counterflow::points::Point;
use serde_json::Value;

use super::a_signals::{hold_at, wait_for_hold};
use super::a_stop::LISTEN;
use super::{Scenario, is_exhaustive};
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::server::{Api, until};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "A2",
        "what was asked of a server that is killed at any moment is made by its next start",
        at_each_point,
    ),
    Scenario::new(
        "A6",
        "ten kills of a server before it has taken up what was left lose nothing",
        before_recovery,
    ),
    Scenario::new("A6", "a kill of a server in a reload loses nothing", in_reload),
];

fn setup() -> Setup {
    Setup { head: LISTEN, batch: 3, concurrency: 1, ..Setup::default() }
}

/// A server that is held at this point for the first time that it comes by.
pub fn serve(case: &mut Case, point: Option<Point>) -> (Started, Api) {
    let hold = point.map(|point| hold_at(point, 1));
    let environment: Vec<(&str, &str)> =
        hold.iter().map(|hold| ("COUNTERFLOW_HOLD_AT", hold.as_str())).collect();
    case.say(format!("serve {environment:?}"));
    let process = case.workspace.spawn_with(&["--format", "json", "serve"], &environment);
    let api = match point {
        Some(Point::BeforeRecovery) => Api::announced(&case.workspace, &process),
        _ => Api::of(&case.workspace, &process),
    };
    (case.started(process), api)
}

fn kill_where_it_is_held(case: &mut Case, server: Started) {
    wait_for_hold(case);
    case.kill(server);
    std::fs::remove_file(case.workspace.path().join("held")).expect("it shows that it is held");
}

/// The next start makes what is left, and nobody asks; all runs.
fn left_alone(case: &mut Case) -> Vec<Value> {
    let (server, api) = serve(case, None);
    until("nothing is left to do", || {
        let standing = api.get("/api/v1/syncs/people").expect(200).json;
        (standing["unfinished"] == Value::Array(vec![])).then_some(())
    });
    let runs = api.get("/api/v1/runs").expect(200).json;
    server.process.sigterm();
    case.end(server).expect_code(0);
    let runs = runs.as_array().expect("a list").clone();
    assert_eq!(runs[0]["phase"], "succeeded", "{runs:#?}\n{}", case.print());
    runs
}

fn at_each_point(scenario: &Scenario) {
    // The state of a server is opened otherwise.
    let points = Point::ALL.into_iter().filter(|point| *point != Point::StateOwned);
    for (number, point) in points.enumerate() {
        if !is_exhaustive() && number % 3 != 0 {
            continue;
        }
        let mut case = Case::changed(&scenario.replay(), setup());
        let is_drain = point == Point::DrainBegun;
        // A stop that is heard holds nothing: what is in flight keeps the drain from its end.
        let (server, api) = serve(&mut case, (!is_drain).then_some(point));
        let held_back = case.oracle.request_count() + 1;
        if is_drain {
            case.oracle.on_next(Fault::ApplyThenHold);
        }
        let asked = api.run("");
        if is_drain {
            case.oracle.wait_for_requests(held_back, SOON);
            server.process.sigterm();
            case.wait_for_phase("draining");
            case.kill(server);
        } else {
            kill_where_it_is_held(&mut case, server);
        }
        case.oracle.release();
        let runs = left_alone(&mut case);
        let is_asked = |run: &&Value| run["run"].as_u64() == Some(asked);
        let ended = runs.iter().find(is_asked).map(|run| run["phase"].clone());
        let ended = ended.unwrap_or_default();
        let is_known = ended == "interrupted" || ended == "succeeded";
        assert!(is_known, "{} {runs:#?}\n{}", point.name(), case.print());
        case.judge();
    }
}

fn before_recovery(scenario: &Scenario) {
    let mut case = Case::changed(&scenario.replay(), setup());
    let (server, api) = serve(&mut case, None);
    let before = case.oracle.request_count();
    case.oracle.on_request(before + 2, Fault::ApplyThenHold);
    let going = api.run("");
    case.oracle.wait_for_requests(before + 2, SOON);
    let behind = api.run(r#"{"full": true}"#);
    case.kill(server);
    case.oracle.release();
    for _ in 0..10 {
        let (server, _) = serve(&mut case, Some(Point::BeforeRecovery));
        kill_where_it_is_held(&mut case, server);
    }
    assert_eq!(case.oracle.request_count(), before + 2, "nothing is sent before\n{}", case.print());
    let runs = left_alone(&mut case);
    let seen: Vec<(&Value, &Value, &Value)> =
        runs.iter().map(|run| (&run["run"], &run["phase"], &run["kind"])).collect();
    let expected = [
        (&behind.into(), &"succeeded".into(), &"full".into()),
        (&going.into(), &"interrupted".into(), &"incremental".into()),
    ];
    assert_eq!(seen[..2], expected, "{runs:#?}");
    assert_eq!(seen.len(), 3, "the first sync, and these two: {runs:#?}");
    case.judge();
}

fn in_reload(scenario: &Scenario) {
    let mut case = Case::changed(&scenario.replay(), setup());
    let (server, api) = serve(&mut case, Some(Point::BeforeReload));
    let before = case.oracle.request_count();
    case.oracle.on_request(before + 2, Fault::ApplyThenHold);
    api.run("");
    case.oracle.wait_for_requests(before + 2, SOON);
    let config = case.workspace.config();
    case.workspace.write("counterflow.yaml", &config.replace("concurrency: 1", "concurrency: 2"));
    let reload = case.workspace.spawn(&["reload"]);
    kill_where_it_is_held(&mut case, server);
    case.workspace.end(reload, SOON).expect_code(1);
    case.oracle.release();
    left_alone(&mut case);
    case.workspace.write_config();
    case.judge();
}
