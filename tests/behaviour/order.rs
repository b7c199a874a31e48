//! Who goes first where several syncs share a connection: the order of asking, and priority without starvation (E1, E2, E4).

use serde_json::json;

use super::control_plane::{HEAD, run, workspace};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::{Server, until};
use crate::support::{NEXT_TOKEN, SOON};

/// The runs of the requests, in the order in which they came.
fn runs(oracle: &Oracle) -> Vec<u64> {
    let run = |of: &Option<String>| of.as_ref().and_then(|run| run.parse().ok()).expect("a run");
    oracle.requests().iter().map(|request| run(&request.sent.run)).collect()
}

#[test]
fn runs_of_one_connection_go_in_the_order_in_which_they_were_asked_for_e1() {
    let oracle = Oracle::start(&["id"]);
    let head = "server: { listen: \"127.0.0.1:0\", max_running: 1 }";
    let names = ["first", "a", "b", "c"].map(|name| (name, ""));
    let workspace = workspace(&oracle, head, &names);
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::ApplyThenHold);
    let mut asked = vec![run(&server, "first")];
    oracle.wait_for_requests(1, SOON);
    asked.extend(["c", "a", "b"].map(|sync| run(&server, sync)));
    oracle.release();
    asked.iter().for_each(|run| assert_eq!(server.ended(*run)["phase"], "succeeded"));
    assert_eq!(runs(&oracle), asked);
    server.end().expect_code(0);
}

#[test]
fn requests_of_a_high_priority_go_first_and_those_of_a_low_one_are_not_starved_e4() {
    let oracle = Oracle::start(&["id"]);
    let syncs = [("high", "priority: high"), ("low", "priority: low")];
    let workspace = workspace(&oracle, HEAD, &syncs);
    let path = workspace.path().join("counterflow.yaml");
    let config = std::fs::read_to_string(path).expect("there is a config");
    workspace.write("counterflow.yaml", &config.replace("records: 10", "records: 1"));
    workspace.write_people(&people(1..=60));
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::ApplyThenHold);
    let high = run(&server, "high");
    oracle.wait_for_requests(1, SOON);
    let low = run(&server, "low");
    until("a request of the low one waits", || {
        let shown = server.get(&format!("/api/v1/runs/{low}")).expect(200).json;
        (shown["live"]["in_flight"] == 1).then_some(())
    });
    oracle.release();
    for run in [high, low] {
        assert_eq!(server.ended(run)["tally"]["delivered"], 60);
    }
    let order = runs(&oracle);
    // While both have something to send: at the end of the high one's read the other has the connection to itself. How
    // often the low one has its turn is tested in `domain::priority`.
    let of_both = &order[..50];
    let of_low = of_both.iter().filter(|run| **run == low).count();
    assert!(of_low < of_both.len() / 2, "the high one goes first: {order:?}");
    assert!(of_low > 0, "the low one is not starved: {order:?}");
    server.end().expect_code(0);
}

#[test]
fn a_connection_is_made_once_and_edited_in_one_place_for_all_its_syncs_e2() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, HEAD, &[("a", ""), ("b", "")]);
    workspace.write("token", crate::support::TOKEN);
    let path = workspace.path().join("counterflow.yaml");
    let config = std::fs::read_to_string(path).expect("there is a config");
    let config = config.replace("${TOKEN}", "file:token");
    let config = config.replace("auth:", "account: acme, auth:");
    workspace.write("counterflow.yaml", &config);
    let server = Server::start(&workspace);
    let shown = server.get("/api/v1/connections/crm").expect(200).json;
    assert_eq!(shown["syncs"], json!(["a", "b"]), "{shown:#}");
    for sync in ["a", "b"] {
        assert_eq!(server.ended(run(&server, sync))["phase"], "succeeded");
    }
    oracle.take_only(NEXT_TOKEN);
    workspace.write("token", NEXT_TOKEN);
    workspace.write("counterflow.yaml", &config.replace("concurrency: 1", "concurrency: 3"));
    let changes = server.post("/api/v1/reload", "").expect(200).json["changes"].clone();
    assert_eq!(changes["connections"], json!({ "crm": ["credentials", "budget"] }), "{changes:#}");
    workspace.write_people(&people(1..=9));
    for sync in ["a", "b"] {
        let ended = server.ended(run(&server, sync));
        assert_eq!(
            (&ended["phase"], &ended["tally"]["delivered"]),
            (&json!("succeeded"), &json!(6))
        );
    }
    server.end().expect_code(0);
}
