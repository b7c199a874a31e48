//! The audit of commands that work on the state by themselves, without a server.

use serde_json::{Value, json};

use super::access::execute;
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{keys, people};
use crate::support::workspace::{Setup, Workspace};

const DATABASE: &str = "counterflow.db";

/// A mirror of the people 1 to 40 in the group `all`, with a second connection `next` to the same oracle.
pub fn workspace(oracle: &Oracle) -> Workspace {
    let setup = Setup {
        head: "server: { listen: \"127.0.0.1:0\" }\ngroups: { all: {} }",
        sync: "group: all",
        max_deletes: None,
        concurrency: 1,
        ..Setup::default()
    };
    let workspace = Workspace::new(oracle, setup);
    let url = oracle.base_url();
    let next = format!(
        "connections:\n  next:\n    http: {{ base_url: \"{url}\", auth: {{ bearer: \"${{TOKEN}}\" }} }}\n"
    );
    workspace.write("counterflow.yaml", &workspace.config().replacen("connections:\n", &next, 1));
    workspace.write_people(&people(1..=40));
    workspace
}

/// The audit log, the newest first: command, sync, run and message.
fn log(workspace: &Workspace) -> Vec<Value> {
    let log = workspace.json(&["audit", "--limit", "500"]);
    let log = log.as_array().expect("a list");
    for entry in log {
        assert!(entry["who"].as_str().is_some_and(|who| !who.is_empty()), "{entry:#}");
        assert!(entry["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{entry:#}");
    }
    log.iter().map(|e| json!([e["command"], e["sync"], e["run"], e["message"]])).collect()
}

/// Gives a command; what it added to the audit log, the newest first.
fn given(workspace: &Workspace, args: &[&str], code: i32) -> Vec<Value> {
    let before = log(workspace).len();
    workspace.run(args).expect_code(code);
    let mut after = log(workspace);
    after.truncate(after.len() - before);
    after
}

#[test]
fn every_command_without_a_server_is_audited_with_who_what_when_and_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let commands: [(&[&str], i32, Value); 7] = [
        (&["sync", "people"], 0, json!(["sync", "people", 1, null])),
        (
            &["sync", "people", "--full", "-m", "month\nend"],
            0,
            json!(["sync --full", "people", 2, "month end"]),
        ),
        (
            &["sync", "people", "--full", "--keep-snapshot"],
            0,
            json!(["sync --full --keep-snapshot", "people", 3, null]),
        ),
        (&["sample", "people", "--limit", "1"], 0, json!(["sample", "people", 4, null])),
        (&["pause", "people", "-m", "why"], 0, json!(["pause", "people", null, "why"])),
        // Also while paused: it sends all the same.
        (
            &["sample", "people", "--key", "1", "-m", "is it there"],
            0,
            json!(["sample", "people", 5, "is it there"]),
        ),
        (&["resume", "people", "-m", "why"], 0, json!(["resume", "people", null, "why"])),
    ];
    for (args, code, entry) in commands {
        assert_eq!(given(&workspace, args, code), [entry], "{args:?}");
    }
    workspace.write_people(&people(13..=40));
    assert_eq!(given(&workspace, &["sync", "people"], 4), [json!(["sync", "people", 6, null])]);
    let release = ["release", "6", "-m", "gone"];
    assert_eq!(given(&workspace, &release, 0), [json!(["release 6", "people", 7, "gone"])]);
    workspace.write_people(&people(30..=40));
    given(&workspace, &["sync", "people"], 4);
    let discard = ["discard", "8", "-m", "stay", "--yes"];
    assert_eq!(given(&workspace, &discard, 0), [json!(["discard", "people", 8, "stay"])]);
    let going = {
        oracle.on_next(Fault::Hold);
        let before = oracle.request_count();
        let going = workspace.spawn_sync(&["--full"]);
        oracle.wait_for_requests(before + 1, SOON);
        going
    };
    let stop = ["stop", "people", "--now", "--yes", "-m", "wrong"];
    assert_eq!(given(&workspace, &stop, 0), [json!(["stop --now", "people", 9, "wrong"])]);
    workspace.report(going);
    let create = ["token", "create", "ci", "--scope", "read", "-m", "for builds"];
    let created = json!(["token create", null, null, "for builds: `ci` may read"]);
    assert_eq!(given(&workspace, &create, 0), [created]);
    let others: [(&[&str], &[&str]); 7] = [
        (&["source", "disable", "lake", "-m", "why"], &["source disable lake"]),
        (&["source", "enable", "lake", "-m", "why"], &["source enable lake"]),
        (&["group", "stop", "all", "--yes"], &["pause", "group stop all"]),
        (&["group", "start", "all", "--yes"], &["resume", "group start all"]),
        (&["rebaseline", "people", "-m", "why", "--yes"], &["rebaseline"]),
        (&["connection", "replace", "crm", "next", "--yes"], &["connection replace"]),
        (&["token", "revoke", "ci"], &["token revoke"]),
    ];
    for (args, words) in others {
        let entries = given(&workspace, args, 0);
        let found: Vec<_> = entries.iter().filter_map(|entry| entry[0].as_str()).collect();
        let is_there = |word: &&str| found.iter().any(|found| found.starts_with(word));
        assert!(words.iter().all(is_there), "{entries:?}");
    }
    let text = std::fs::read_to_string(workspace.path().join("counterflow.yaml"));
    let text =
        text.expect("it is there").replace("\n  people:\n    model:", "\n  others:\n    model:");
    workspace.write("counterflow.yaml", &text);
    let forget = ["forget", "people", "--yes"];
    assert_eq!(given(&workspace, &forget, 0), [json!(["forget", "people", null, null])]);
    // A reader writes nothing.
    for args in [&["status"][..], &["runs"], &["plan", "others"], &["explain", "others", "1"]] {
        let before = log(&workspace);
        workspace.run(args);
        assert_eq!(log(&workspace), before, "{args:?}");
    }
}

#[test]
fn a_command_without_a_server_that_cannot_be_audited_is_refused_and_does_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people((13..=40).chain(51..=55)));
    workspace.sync(&[]).expect(4, "partial", &[("held", 12)]);
    workspace.write_people(&people((13..=40).chain(51..=60)));
    let (before, sent) = (log(&workspace), oracle.request_count());
    let (runs, standing) = (workspace.json(&["runs"]), workspace.status()["status"].clone());
    let config = || std::fs::read(workspace.path().join("counterflow.yaml")).expect("it is there");
    let written = config();
    let database = workspace.state().join(DATABASE);
    execute(
        &database,
        "CREATE TRIGGER audit_is_full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let commands: [&[&str]; 13] = [
        &["sync", "people"],
        &["sync", "people", "--full"],
        &["sync", "people", "--keep-snapshot"],
        &["sample", "people", "--limit", "1"],
        &["release", "2", "-m", "why"],
        &["discard", "2", "-m", "why", "--yes"],
        &["pause", "people", "-m", "why"],
        &["source", "disable", "lake", "-m", "why"],
        &["group", "stop", "all", "--yes"],
        &["rebaseline", "people", "-m", "why", "--yes"],
        &["connection", "replace", "crm", "next", "--yes"],
        &["token", "create", "ci", "--scope", "read"],
        &["pause", "people", "--discard-backlog", "-m", "why", "--yes"],
    ];
    for args in commands {
        workspace.run(args).expect_code(1).expect_printed(&[DATABASE]);
        assert_eq!(oracle.request_count(), sent, "{args:?}");
        assert_eq!(workspace.json(&["runs"]), runs, "{args:?}");
        assert_eq!(workspace.status()["status"], standing, "{args:?}");
    }
    assert_eq!(config(), written);
    execute(&database, "DROP TRIGGER audit_is_full");
    assert_eq!(log(&workspace), before);
    // What was held still is, and what waits still does.
    workspace.run(&["release", "2", "-m", "why"]).expect_code(0);
    assert_eq!(oracle.deletes(), keys(1..=12), "{}", oracle.print());
    assert_eq!(oracle.table().len(), 38);
}
