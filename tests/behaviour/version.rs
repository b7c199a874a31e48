//! Where the version stands that runs (D3), and the log as JSON.

use serde_json::Value;

use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::Api;
use crate::support::workspace::{Setup, Workspace};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";

#[test]
fn the_version_is_in_the_log_of_the_start_at_its_endpoint_and_in_every_request_d3() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=12));
    // The log is JSON, whatever answers are.
    let process = workspace.spawn(&["--log-format", "json", "serve"]);
    let api = Api::of(&workspace, &process);
    assert_eq!(api.get("/version").expect(200).json["version"], VERSION);
    assert_eq!(workspace.json(&["version"])["version"], VERSION);
    assert_eq!(api.ended(api.run(""))["phase"], "succeeded");
    workspace.write_people(&people(5..=12));
    assert_eq!(api.ended(api.run(""))["phase"], "succeeded");
    process.sigterm();
    let finished = workspace.end(process, crate::support::SOON).expect_code(0);

    let requests = oracle.requests();
    assert!(requests.iter().any(|request| request.sent.path.ends_with("/archive")), "deletes too");
    for request in &requests {
        let agent = format!("counterflow/{VERSION}");
        assert_eq!(request.sent.header("user-agent"), Some(agent.as_str()), "{:?}", request.sent);
    }
    assert!(finished.stdout.starts_with("listening on http://"), "{finished:#?}");
    let lines = finished.stderr.lines();
    let log: Vec<Value> =
        lines.map(|line| serde_json::from_str(line).expect("each line is an object")).collect();
    for line in &log {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "`{field}` in {line}");
        }
    }
    let said = |words: &str| {
        let line = log.iter().find(|line| line["message"] == words);
        line.unwrap_or_else(|| panic!("`{words}` in {log:#?}"))
    };
    let ready = said("the server is ready");
    assert_eq!((&ready["version"], &ready["service.version"]), (&VERSION.into(), &VERSION.into()));
    let ended = said("run ended");
    assert_eq!(
        (&ended["sync"], &ended["outcome"], &ended["delivered"]),
        (&"people".into(), &"succeeded".into(), &12.into())
    );
}
