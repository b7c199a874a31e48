//! Questions over HTTP: pages, rejected records, a run while it goes, metrics, and a restart with many runs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::access::execute;
use super::control_plane;
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{keys, people};
use crate::support::server::{Api, Server, until};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";

fn workspace(oracle: &Oracle) -> Workspace {
    let setup = Setup { head: LISTEN, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    workspace.write_people(&people(1..=40));
    workspace
}

/// The path of the next page.
fn next(head: &str) -> Option<String> {
    let link = head.lines().find_map(|line| line.strip_prefix("link: "))?;
    let (path, _) = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?;
    Some(path.to_owned())
}

#[test]
fn lists_come_in_pages_and_by_what_is_asked() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    let runs: Vec<u64> = (0..5)
        .map(|_| server.ended(server.run("")))
        .map(|run| run["run"].as_u64().expect("a number"))
        .collect();
    let mut path = Some("/api/v1/runs?limit=2&sync=people&trigger=api".to_owned());
    let (mut seen, mut pages) = (Vec::new(), 0);
    while let Some(asked) = path {
        let page = server.get(&asked).expect(200);
        seen.extend(
            page.json.as_array().expect("a list").iter().filter_map(|run| run["run"].as_u64()),
        );
        path = next(&page.head);
        pages += 1;
    }
    assert_eq!((seen, pages), (runs.iter().rev().copied().collect(), 3));
    let of = |query: &str| server.get(&format!("/api/v1/runs?{query}")).expect(200).json;
    assert_eq!(of("phase=succeeded").as_array().map(Vec::len), Some(5));
    assert_eq!(of("phase=in+queue"), Value::Array(vec![]));
    assert_eq!(of("trigger=schedule"), Value::Array(vec![]));
    server.get("/api/v1/runs?phase=green").expect_problem(400, &["`green`", "`succeeded`"]);
    let syncs = server.get("/api/v1/syncs?limit=1").expect(200);
    assert!(!syncs.head.contains("link:"), "there is one sync: {syncs:#?}");
    server.get("/api/v1/syncs?after=nobody").expect_problem(404, &["`nobody`"]);
    let behind = server.get("/api/v1/syncs?after=people").expect(200).json;
    assert_eq!(behind, Value::Array(vec![]));
    server.get("/api/v1/connections/crm").expect(200);
    server.get("/api/v1/connections/nothing").expect_problem(404, &["`nothing`"]);
    server.end().expect_code(0);
}

#[test]
fn records_that_were_not_delivered_are_named_by_key_code_and_message_alone() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    oracle.always(Fault::RejectKeys(keys(1..=10), "invalid_email".to_owned()));
    let server = Server::start(&workspace);
    let run = server.ended(server.run(""))["run"].as_u64().expect("a number");
    let path = format!("/api/v1/runs/{run}/rejected?verdict=rejected&limit=6");
    let first = server.get(&path).expect(200);
    let records = first.json.as_array().expect("a list");
    assert_eq!(records.len(), 6, "{first:#?}");
    for record in records {
        assert!(record["key"].is_string() && record["code"].is_string(), "{record:#}");
        assert_eq!(record.as_object().map(serde_json::Map::len), Some(7), "{record:#}");
    }
    let second = server.get(&next(&first.head).expect("there are more")).expect(200);
    assert_eq!(second.json.as_array().map(Vec::len), Some(4), "{second:#?}");
    assert_eq!(next(&second.head), None);
    let of_sync = server.get("/api/v1/syncs/people/rejected").expect(200).json;
    assert_eq!(of_sync.as_array().map(Vec::len), Some(10));
    assert!(!of_sync.to_string().contains("canary"));
    server.get("/api/v1/runs/999/rejected").expect_problem(404, &["`999`"]);
    server.get("/api/v1/syncs/nobody/rejected").expect_problem(404, &["`nobody`"]);
    server
        .get(&format!("/api/v1/runs/{run}/rejected?verdict=bad"))
        .expect_problem(400, &["verdict"]);
    server.end().expect_code(0);
}

/// Reads events until the server ends the connection; their names and documents.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(api: &Api, run: u64) -> Events {
        let mut stream = TcpStream::connect(&api.address).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let head = format!(
            "GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            api.address
        );
        stream.write_all(head.as_bytes()).expect("it is sent");
        Events(BufReader::new(stream))
    }

    /// The next event; `None` at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 || line == "0\r\n" {
                return None;
            }
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(text).expect("a document")));
            }
        }
    }
}

#[test]
fn a_run_is_watched_to_its_end() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    oracle.on_request(3, Fault::Hold);
    let run = server.run("");
    oracle.wait_for_requests(3, SOON);
    let mut events = Events::of(&server, run);
    let live = loop {
        let (name, document) = events.next().expect("it goes on");
        assert_eq!((name.as_str(), &document["run"]), ("progress", &run.into()));
        if document["live"]["delivered"] == 20 {
            break document;
        }
    };
    assert_eq!((&live["phase"], &live["live"]["in_flight"]), (&"reading".into(), &1.into()));
    let text = server.text("/metrics");
    assert!(text.contains("counterflow_requests_in_flight 1\n"), "{text}");
    assert!(text.contains("counterflow_runs_running 1\n"), "{text}");
    oracle.release();
    let last = std::iter::from_fn(|| events.next()).last().expect("an end");
    assert_eq!(last.0, "end");
    assert_eq!(
        (&last.1["phase"], &last.1["tally"]["delivered"]),
        (&"succeeded".into(), &40.into())
    );
    server.get("/api/v1/runs/999/events").expect_problem(404, &["`999`"]);
    server.end().expect_code(0);
}

#[test]
fn watchers_have_a_bound_and_keep_no_server_from_ending() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    oracle.on_request(1, Fault::Hold);
    let run = server.run("");
    oracle.wait_for_requests(1, SOON);
    let mut watching: Vec<Events> = (0..16).map(|_| Events::of(&server, run)).collect();
    watching.iter_mut().for_each(|events| drop(events.next().expect("it goes on")));
    server.get(&format!("/api/v1/runs/{run}/events")).expect_problem(503, &["too many"]);
    watching.clear();
    until("a place is free", || {
        let mut events = Events::of(&server, run);
        events.next().map(|_| watching.push(events))
    });
    oracle.release();
    let finished = server.end();
    assert!(finished.took < SOON, "{finished:#?}");
    finished.expect_code(0);
    assert!(watching[0].next().is_none_or(|(_, run)| run["run"].is_number()));
}

#[test]
fn metrics_count_what_came_of_runs_and_every_metric_of_the_alerts_is_among_them() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, sync: "schedule: { every: 1s }", ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=40));
    let server = Server::start(&workspace);
    server.ended(server.run(""));
    let page = until("a schedule fires", || {
        let page = server.text("/metrics");
        let is_late = page.contains("counterflow_schedule_lateness_seconds_bucket{le=\"+Inf\"} 0");
        (!is_late && page.contains("succeeded\"")).then_some(page)
    });
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    for line in [
        "counterflow_ready 1\n",
        "counterflow_records_delivered_total{sync=\"people\"} 40\n",
        "counterflow_records_rejected_total{sync=\"people\"} 0\n",
        "counterflow_runs_total{sync=\"people\",outcome=\"succeeded\"}",
        "counterflow_last_success_timestamp_seconds{sync=\"people\"} 1",
        "counterflow_sync_status{sync=\"people\",status=\"Failed\"} 0\n",
        &format!("counterflow_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(page.contains(line), "`{line}` in {page}");
    }
    let alerts = include_str!("../../deploy/alerts.yml");
    let tests = include_str!("../../deploy/alerts_test.yml");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (text, least) in [(alerts, 10), (tests, 30)] {
        // A metric, and what follows it to the end of its labels.
        let named: Vec<(&str, &str)> = text
            .match_indices("counterflow_")
            .map(|(at, _)| text[at..].split_once(|c| !is_name(c)).expect("no name is the last"))
            .collect();
        assert!(named.len() >= least, "{named:?}");
        for (name, rest) in named {
            // The values that the server says; those of `instance` and `sync` are the site's.
            let words = rest.split(['}', '\n']).next().unwrap_or_default().split(", ");
            let ours = |word: &&str| word.starts_with("status=\"") || word.starts_with("le=\"");
            let words: Vec<&str> = words.filter(ours).collect();
            let is_there = page.lines().any(|line| {
                line.strip_prefix(name).is_some_and(|rest| {
                    rest.starts_with(['{', ' ']) && words.iter().all(|word| rest.contains(word))
                })
            });
            assert!(is_there, "`{name}` with {words:?} of the alerts is in {page}");
        }
    }
    server.end().expect_code(0);
}

#[test]
fn a_sync_that_never_succeeded_is_seen_by_the_alert_on_it_d12() {
    let oracle = Oracle::start(&["id"]);
    // It does not fire while the test lasts.
    let schedule = "schedule: { cron: \"30 3 29 2 *\" }";
    let setup = Setup { head: LISTEN, sync: schedule, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    server.ended(server.run(""));
    let last_success = "counterflow_last_success_timestamp_seconds{sync=\"people\"}";
    assert!(server.text("/metrics").contains(last_success));
    server.end().expect_code(0);
    execute(&workspace.state().join("counterflow.db"), "DELETE FROM runs");
    let server = Server::start(&workspace);
    let page = server.text("/metrics");
    assert!(page.contains("counterflow_sync_scheduled{sync=\"people\"} 1\n"), "{page}");
    assert!(!page.contains(last_success), "{page}");
    // So the rule asks for those that have the one and not the other.
    let rules = include_str!("../../deploy/alerts.yml");
    let (_, rule) = rules.split_once("CounterflowNoSuccessForLong").expect("there is one");
    let (rule, _) = rule.split_once("annotations:").expect("it says more");
    let words: Vec<&str> = rule.split_whitespace().collect();
    let never = "or max_over_time(counterflow_sync_scheduled[1h] offset 1d) == 1 \
                 unless counterflow_last_success_timestamp_seconds";
    assert!(words.join(" ").contains(never), "{rule}");
    server.end().expect_code(0);
}

#[test]
fn groups_connections_and_sources_come_in_pages_like_syncs() {
    let oracle = Oracle::start(&["id"]);
    let head = format!("{LISTEN}\ngroups: {{ a: {{}}, b: {{}}, c: {{}} }}");
    let syncs = [("one", "group: c"), ("two", "group: a"), ("three", "group: c")];
    let workspace = control_plane::workspace(&oracle, &head, &syncs);
    let path = workspace.path().join("counterflow.yaml");
    let config = std::fs::read_to_string(path).expect("there is a config");
    let lake = "sources: { lake: {";
    let more = "sources: { bay: { files: { people: people.csv } }, sea: { files: { people: people.csv } }, lake: {";
    let idle = |name| format!("  {name}:\n    http: {{ base_url: \"http://127.0.0.1:1\" }}\n");
    let connections = format!("connections:\n{}{}", idle("ads"), idle("dwh"));
    assert!(config.contains(lake) && config.contains("connections:\n"), "{config}");
    let config = config.replacen(lake, more, 1).replacen("connections:\n", &connections, 1);
    workspace.write("counterflow.yaml", &config);
    let server = Server::start(&workspace);
    server.post("/api/v1/syncs/three/pause", "{\"message\": \"not now\"}").expect(200);
    for (list, one, names) in [
        ("groups", "group", ["a", "b", "c"]),
        ("connections", "connection", ["ads", "crm", "dwh"]),
        ("sources", "source", ["bay", "lake", "sea"]),
    ] {
        let base = format!("/api/v1/{list}");
        let all = server.get(&base).expect(200);
        assert_eq!(next(&all.head), None, "{all:#?}");
        let (mut path, mut pages) = (Some(format!("{base}?limit=2")), Vec::new());
        while let Some(asked) = path {
            let page = server.get(&asked).expect(200);
            path = next(&page.head);
            pages.push(page.json.as_array().expect("a list").clone());
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1], "{pages:#?}");
        assert_eq!(Value::Array(pages.concat()), all.json);
        let each = names.map(|name| server.get(&format!("{base}/{name}")).expect(200).json);
        assert_eq!(Value::Array(each.to_vec()), all.json);
        assert_eq!(each.map(|shown| shown[one].clone()), names.map(Value::from));
        server.get(&format!("{base}?after=nobody")).expect_problem(404, &["`nobody`", &base]);
        server.get(&format!("{base}?limit=501")).expect_problem(400, &["1 to 500"]);
        server.get(&format!("{base}?before=3")).expect_problem(400, &[]);
    }
    assert_eq!(workspace.json(&["group", "status"]), server.get("/api/v1/groups").json);
    let (told, metrics) = (workspace.run(&["status"]).expect_code(0), server.text("/metrics"));
    for shown in server.get("/api/v1/connections").json.as_array().expect("a list") {
        let word = |name: &str| shown[name].as_str().expect("a word").to_owned();
        let (name, status) = (word("connection"), word("status"));
        let line = format!("connection {name}: {status}, {}\n", word("status_reason"));
        told.clone().expect_printed(&[&line]);
        let line = format!(
            "counterflow_connection_status{{connection=\"{name}\",status=\"{status}\"}} 1\n"
        );
        assert!(metrics.contains(&line), "`{line}` in {metrics}");
    }
    server.end().expect_code(0);
}

#[test]
fn a_server_with_ten_thousand_runs_answers_for_each_of_them() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    execute(
        &workspace.state().join("counterflow.db"),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO runs (sync, trigger, choice, phase, started_at, finished_at, tally)
         SELECT sync, trigger, choice, phase, started_at, finished_at, tally FROM runs, n WHERE id = 1",
    );
    let server = Server::start(&workspace);
    let last = server.get("/api/v1/runs/10001").expect(200).json;
    assert_eq!(last["phase"], "succeeded");
    let (mut path, mut runs) = (Some("/api/v1/runs?sync=people&limit=500".to_owned()), Vec::new());
    while let Some(asked) = path {
        let page = server.get(&asked).expect(200);
        path = next(&page.head);
        runs.extend(
            page.json.as_array().expect("a list").iter().flat_map(|run| run["run"].as_u64()),
        );
    }
    assert!(runs.into_iter().eq((1..=10_001).rev()), "each of them once, the newest first");
    let failed = server.get("/api/v1/runs?phase=failed").expect(200).json;
    assert_eq!(failed.as_array().map(Vec::len), Some(0));
    server.end().expect_code(0);
}

#[test]
fn what_is_no_number_of_a_run_is_a_problem_that_says_where_the_numbers_are() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let server = Server::start(&workspace);
    for run in ["abc", "-1", "1.5", "99999999999999999999", "people"] {
        let words = [&format!("`{run}`"), "not the number of a run", "`GET /api/v1/runs`"];
        for question in ["", "/events", "/rejected"] {
            server.get(&format!("/api/v1/runs/{run}{question}")).expect_problem(400, &words);
        }
        for command in ["release", "discard"] {
            let path = format!("/api/v1/runs/{run}/{command}");
            server.post(&path, r#"{"message": "why"}"#).expect_problem(400, &words);
        }
    }
    server.get("/api/v1/runs/7").expect_problem(404, &["run `7`", "counterflow runs"]);
    server.get("/api/v1/syncs/%FF").expect_problem(400, &["percent-encode"]);
    let commands: [&[&str]; 4] = [
        &["runs", "show", "abc"],
        &["release", "abc", "-m", "why"],
        &["discard", "abc", "-m", "why"],
        &["rejected", "people", "--run", "abc"],
    ];
    for command in commands {
        workspace.run(command).expect_code(2).expect_printed(&["`counterflow runs` lists them"]);
    }
    server.end().expect_code(0);
}
