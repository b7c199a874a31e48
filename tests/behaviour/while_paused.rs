//! What a pause stops and what it leaves: no operation of any kind goes, nothing that stands is lost, samples are sent.

use serde_json::{Value, json};

use super::control_plane::{HEAD, standing, workspace};
use crate::support::SOON;
use crate::support::check::{check_mirror, expect_status};
use crate::support::fault::Fault;
use crate::support::journal::{Asked, Made};
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const WHY: &str = "{\"message\": \"why\"}";

/// Deletes that the destination has made.
fn deleted(oracle: &Oracle) -> usize {
    let requests = oracle.requests();
    let operations = requests.iter().flat_map(|request| request.operations());
    operations.filter(|(one, made)| one.asked == Asked::Delete && *made == Made::Applied).count()
}

#[test]
fn a_pause_among_deletes_lets_no_further_one_go_until_the_resume_a4() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: HEAD, concurrency: 1, max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=60));
    let server = Server::start(&workspace);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    // Thirty are gone, and go in three requests.
    workspace.write_people(&people(31..=60));
    oracle.on_next(Fault::ApplyThenHold);
    let before = oracle.request_count();
    let going = server.run("");
    oracle.wait_for_requests(before + 1, SOON);
    server.post("/api/v1/syncs/people/pause", WHY).expect(202);
    server.wait_for_phase(going, "draining");
    oracle.release();
    let ended = server.ended(going);
    assert_eq!((&ended["phase"], &ended["tally"]["deleted"]), (&json!("cancelled"), &json!(10)));
    assert_eq!(ended["tally"]["unsent"], 20, "{ended:#}");
    assert_eq!((deleted(&oracle), oracle.request_count()), (10, before + 1));
    server.post("/api/v1/syncs/people/resume", WHY).expect(200);
    assert_eq!(server.ended(server.run(""))["tally"]["deleted"], 20);
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&people(31..=60)));
    oracle.assert_redundant_at_most(0);
}

#[test]
fn what_changed_while_paused_is_the_next_runs_delta_and_what_came_and_went_is_not_kept_a7b() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { head: HEAD, ..Setup::default() });
    workspace.write_people(&people(1..=20));
    let server = Server::start(&workspace);
    assert_eq!(server.ended(server.run(""))["phase"], "succeeded");
    server.post("/api/v1/syncs/people/pause", WHY).expect(200);
    let before = oracle.request_count();
    // One after another, as they come in: 21 comes and goes, 3 is changed and changed back, 4 twice, 5 leaves, 22 stays.
    let at = |id: u32, counter: u32| Person::new(id, counter);
    let mut rows = people(1..=21);
    rows[2] = at(3, 2);
    rows[3] = at(4, 2);
    workspace.write_people(&rows);
    server.post("/api/v1/syncs/people/run", "").expect_problem(409, &["paused"]);
    workspace.run(&["sync", "people"]).expect_code(2);
    rows = people(1..=20).into_iter().filter(|person| person.id != 5).collect();
    rows[3] = at(4, 3);
    rows.push(at(22, 1));
    workspace.write_people(&rows);
    assert_eq!(oracle.request_count(), before, "nothing is sent");
    server.post("/api/v1/syncs/people/resume", WHY).expect(200);
    let next = server.ended(server.run(""));
    assert_eq!((&next["phase"], &next["kind"]), (&json!("succeeded"), &json!("incremental")));
    let sent = oracle.requests().split_off(before);
    let keys: Vec<&str> = sent.iter().flat_map(|request| request.sent.keys()).collect();
    assert_eq!(keys, ["[4]", "[22]", "[5]"], "what stands, once, and nothing else");
    server.end().expect_code(0);
    check_mirror(&oracle, &expected(&rows));
}

#[test]
fn while_paused_the_schedule_is_silent_and_samples_are_sent_a8() {
    let oracle = Oracle::start(&["id"]);
    let every = "schedule: { every: 1s }";
    let workspace = workspace(&oracle, HEAD, &[("other", every), ("people", every)]);
    let server = Server::start(&workspace);
    let runs = |of: &str| -> Vec<Value> {
        let runs = server.get(&format!("/api/v1/runs?{of}&limit=500")).expect(200).json;
        runs.as_array().expect("a list").clone()
    };
    let is_done = |of: &str| runs(of).iter().any(|run| run["phase"] == "succeeded");
    until("both have run", || (is_done("sync=people") && is_done("sync=other")).then_some(()));
    workspace.run(&["pause", "people", "-m", "look first"]).expect_code(0);
    let scheduled = runs("sync=people&trigger=schedule").len();
    let others = runs("sync=other&trigger=schedule").len();
    let before = oracle.request_count();
    let sampled = workspace.json(&["sample", "people", "--key", "1", "--key", "2"]);
    assert_eq!(sampled["tally"]["delivered"], 2, "{sampled:#}");
    assert_eq!(oracle.request_count(), before + 1);
    until("the other has fired three times", || {
        (runs("sync=other&trigger=schedule").len() >= others + 3).then_some(())
    });
    assert_eq!(runs("sync=people&trigger=schedule").len(), scheduled);
    let shown = standing(&server, "people");
    expect_status(&shown, "Disabled", &[": look first"]);
    assert_eq!(shown["next"], json!([]));
    workspace.run(&["resume", "people", "-m", "all is well"]).expect_code(0);
    until("it fires again", || {
        (runs("sync=people&trigger=schedule").len() > scheduled).then_some(())
    });
    server.end().expect_code(0);
}
