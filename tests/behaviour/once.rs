//! Every command of the API under a key: asked for twice it is carried out once, and its key is good for no other body. Where
//! it cannot be audited it is refused and not carried out at all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::execute;
use super::control_plane::{HEAD, run, workspace};
use super::every_path::described;
use super::http_commands::{keyed, log};
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::{Answered, Server};
use crate::support::workspace::Workspace;

const WHY: &str = r#"{"message": "why"}"#;

/// The commands that were given, as the document has their paths.
struct Commands<'s> {
    server: &'s Server<'s>,
    oracle: &'s Oracle,
    workspace: &'s Workspace,
    given: BTreeSet<String>,
}

impl Commands<'_> {
    /// Commands the runs, and what is in the log.
    fn effects(&self) -> (usize, usize) {
        let runs = self.server.get("/api/v1/runs?limit=500").expect(200).json;
        (runs.as_array().expect("a list").len(), log(self.server, 500).len())
    }

    /// Gives a command about this twice, and once more with another body under the same key; its answer.
    #[track_caller]
    fn once(&mut self, path: &str, about: &str, body: &str) -> Value {
        self.given.insert(path.to_owned());
        let parts = path.split('/').map(|part| if part.starts_with('{') { about } else { part });
        let asked = parts.collect::<Vec<_>>().join("/");
        let give = |body: &str| keyed(self.server, &asked, path, body);
        let is_replayed =
            |answered: &Answered| answered.head.contains("idempotency-replayed: true");
        let before = self.effects();
        let database = self.workspace.state().join("counterflow.db");
        execute(
            &database,
            "CREATE TRIGGER audit_is_full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
        );
        let refused = give(body);
        assert_eq!(refused.status, 500, "{asked} cannot be audited: {refused:#?}");
        execute(&database, "DROP TRIGGER audit_is_full");
        assert_eq!(self.effects(), before, "{asked} is not carried out unseen");
        let first = give(body);
        assert!(first.status < 300 && !is_replayed(&first), "{asked}: {first:#?}");
        let after = self.effects();
        assert!(after.1 > before.1, "{asked} is carried out and audited");
        let again = give(body);
        assert!(is_replayed(&again), "{asked}: {again:#?}");
        assert_eq!((again.status, &again.json), (first.status, &first.json), "{asked}");
        let other = give(r#"{"message": "something else"}"#);
        assert_eq!(other.status, 422, "{asked}: {other:#?}");
        assert!(other.json.to_string().contains("for another request"), "{asked}: {other:#?}");
        assert_eq!(self.effects(), after, "{asked} is carried out once");
        first.json
    }

    fn ended(&self, run: &Value) -> Value {
        let number = run.as_u64().or_else(|| run.as_str()?.parse().ok());
        self.server.ended(number.expect("a run has a number"))
    }

    /// Begins a run that has a request in flight until the oracle lets it go.
    fn going(&self, counter: u32) -> u64 {
        let mut next = people(1..=3);
        next.iter_mut().for_each(|person| person.counter = counter);
        self.workspace.write_people(&next);
        let sent = self.oracle.request_count();
        self.oracle.on_next(Fault::ApplyThenHold);
        let going = run(self.server, "people");
        self.oracle.wait_for_requests(sent + 1, SOON);
        going
    }

    /// Runs `people` over a source that has lost most of its rows: the run that holds their deletes.
    fn held(&self) -> String {
        self.workspace.write_people(&people(1..=3));
        self.server.ended(run(self.server, "people"));
        self.workspace.write_people(&people(1..=1));
        let held = self.server.ended(run(self.server, "people"));
        assert_eq!(held["tally"]["held"], 2, "{held:#}");
        held["run"].to_string()
    }

    fn of_runs(&mut self) {
        let begun = self.once("/api/v1/syncs/{sync}/run", "people", "");
        self.ended(&begun["run"]);
        let begun = self.once("/v2/retl-connections/{connection}/start", "people", "");
        self.ended(&begun["syncId"]);
        let begun = self.once("/api/v1/syncs/{sync}/sample", "people", r#"{"limit": 1}"#);
        assert_eq!(self.ended(&begun["run"])["tally"]["delivered"], 1);
        for (path, counter) in
            [("/api/v1/syncs/{sync}/stop", 8), ("/v2/retl-connections/{connection}/stop", 9)]
        {
            let going = self.going(counter);
            self.once(path, "people", "");
            self.server.wait_for_phase(going, "draining");
            self.oracle.release();
            assert_eq!(self.server.ended(going)["phase"], "cancelled");
        }
    }

    fn of_standing(&mut self) {
        self.once("/api/v1/sources/{source}/disable", "lake", WHY);
        self.once("/api/v1/sources/{source}/enable", "lake", WHY);
        self.once("/api/v1/groups/{group}/stop", "all", WHY);
        let started = self.once("/api/v1/groups/{group}/start", "all", WHY);
        self.ended(&started["syncs"][0]["run"]);
        self.once("/api/v1/syncs/{sync}/pause", "people", WHY);
        self.workspace.write_people(&people(1..=5));
        let shown = self.server.get("/api/v1/syncs/people/backlog").expect(200).json;
        let decision = json!({ "shown": { "changes": shown["changes"] }, "message": "bad" });
        let path = "/api/v1/syncs/{sync}/discard-backlog";
        let done = self.once(path, "people", &decision.to_string());
        assert_eq!(done["is_discarded"], true, "{done:#}");
        self.once("/api/v1/syncs/{sync}/resume", "people", WHY);
    }

    fn of_snapshots(&mut self) {
        let held = self.held();
        let released = self.once("/api/v1/runs/{run}/release", &held, WHY);
        assert_eq!(self.ended(&released["run"])["tally"]["deleted"], 2);
        let held = self.held();
        let discarded = self.once("/api/v1/runs/{run}/discard", &held, WHY);
        assert_eq!(discarded["discarded"], 2);
        self.once("/api/v1/syncs/{sync}/rebaseline", "people", WHY);
        let next = r#"{"new": "next", "syncs": ["people"]}"#;
        self.once("/api/v1/connections/{connection}/replace", "crm", next);
    }

    /// A sync leaves the config, and is forgotten.
    fn of_the_config(&mut self) {
        self.server.ended(run(self.server, "old"));
        let path = self.workspace.path().join("counterflow.yaml");
        let config = std::fs::read_to_string(path).expect("there is a config");
        let (before, _) = config.split_once("  old:\n").expect("it is the last");
        self.workspace.write("counterflow.yaml", before);
        self.once("/api/v1/reload", "", "");
        self.once("/api/v1/syncs/{sync}/forget", "old", WHY);
    }
}

#[test]
fn every_command_acts_once_under_one_key_and_its_key_is_good_for_no_other_body() {
    let (oracle, second) = (Oracle::start(&["id"]), Oracle::start(&["id"]));
    let head = format!("{HEAD}\ngroups: {{ all: {{}} }}");
    let syncs = [("people", "group: all"), ("old", "")];
    let workspace = workspace(&oracle, &head, &syncs);
    let path = workspace.path().join("counterflow.yaml");
    let config = std::fs::read_to_string(path).expect("there is a config");
    let url = second.base_url();
    let next = format!(
        "connections:\n  next:\n    http: {{ base_url: \"{url}\", auth: {{ bearer: \"${{TOKEN}}\" }} }}\n"
    );
    workspace.write("counterflow.yaml", &config.replacen("connections:\n", &next, 1));
    let server = Server::start(&workspace);
    let (oracle, given) = (&oracle, BTreeSet::new());
    let mut commands = Commands { server: &server, oracle, workspace: &workspace, given };
    commands.of_runs();
    commands.of_standing();
    commands.of_snapshots();
    commands.of_the_config();
    let described = described(&server).into_keys().filter(|(method, _)| method == "POST");
    assert_eq!(commands.given, described.map(|(_, path)| path).collect());
    server.end().expect_code(0);
}
