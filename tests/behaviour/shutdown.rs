//! How a server ends, seen from outside: what it refuses, what it answers, and in which order it lets go (D6).

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::process::Finished;
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";

/// What the log says, in its order.
fn logged(finished: &Finished) -> Vec<String> {
    let lines = finished.stderr.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        line["message"].as_str().unwrap_or_default().to_owned()
    });
    lines.collect()
}

#[track_caller]
fn check_order(finished: &Finished, wanted: &[&str]) {
    let said = logged(finished);
    let places = wanted.iter().map(|wanted| said.iter().position(|said| said.contains(wanted)));
    let places: Option<Vec<usize>> = places.collect();
    let is_ordered = places.is_some_and(|places| places.is_sorted());
    assert!(is_ordered, "{wanted:?} in this order: {said:#?}");
}

#[test]
fn commands_are_refused_and_probes_answer_while_a_run_drains_and_health_is_the_last_to_go() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    server.process.sigterm();
    server.wait_for_phase(going, "draining");
    server.get("/ready").expect_problem(503, &["shutting down"]);
    for (path, body) in [
        ("/api/v1/syncs/people/run", "{}"),
        ("/api/v1/syncs/people/pause", r#"{"message": "why"}"#),
        ("/api/v1/syncs/people/resume", r#"{"message": "why"}"#),
    ] {
        server.post(path, body).expect_problem(503, &["shutting down"]);
    }
    server.get("/api/v1/syncs/people").expect(200);
    server.get("/version").expect(200);
    server.get("/health").expect(200);
    let log = workspace.state().join("counterflow.db-wal");
    assert!(log.exists(), "the state is open");
    oracle.release();
    // From here on it ends by itself, and whoever gets no answer any more finds the state closed.
    until("nobody listens any more", || TcpStream::connect(&server.address).err());
    assert!(!log.exists(), "the state is closed before the listener is");
    let finished = server.wait().expect_code(0);
    let order = [
        "no command is taken in",
        "run ended",
        "goes on at the next start",
        "shutting down: the runs end",
        "shutting down: telemetry is flushed",
        "shutting down: the state is closed",
        "shutting down: the connections end",
        "the server has ended",
    ];
    check_order(&finished, &order);
    assert_eq!(oracle.request_count(), 2, "no run began");

    let server = Server::start(&workspace);
    until("what was cut short is gone on with", || {
        let standing = server.get("/api/v1/syncs/people").expect(200).json;
        (standing["unfinished"] == Value::Array(vec![])).then_some(())
    });
    check_mirror(&oracle, &expected(&people(1..=30)));
    server.end().expect_code(0);
}

#[test]
fn a_connection_that_never_ends_holds_the_end_up_for_a_moment_only() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { head: LISTEN, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let server = Server::start(&workspace);
    let mut never = TcpStream::connect(&server.address).expect("it listens");
    let head = format!(
        "POST /api/v1/syncs/people/run HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
        server.address
    );
    std::io::Write::write_all(&mut never, head.as_bytes()).expect("it can be written");
    // The server has accepted in order.
    server.get("/health").expect(200);
    let begun = Instant::now();
    let finished = server.end().expect_code(0);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    check_order(&finished, &["the state is closed", "the connections end", "has ended"]);
    drop(never);
}

#[test]
fn a_second_signal_aborts_whatever_is_waited_for() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, drain_timeout: "10m", concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=30));
    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    server.process.sigint();
    server.wait_for_phase(going, "draining");
    let begun = Instant::now();
    server.process.sigint();
    let finished = server.wait().expect_code(130);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    check_order(&finished, &["shutting down within 640 s", "the state is closed", "has ended"]);
}

#[test]
fn the_deadline_of_the_end_is_that_of_the_config_that_runs_and_of_the_runs_that_go() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { head: LISTEN, drain_timeout: "5s", concurrency: 1, ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=30));
    let usual = workspace.config();
    let reload = |server: &Server, drain_timeout: &str| {
        let other = usual.replace("drain_timeout: 5s", &format!("drain_timeout: {drain_timeout}"));
        workspace.write("counterflow.yaml", &other);
        server.post("/api/v1/reload", "").expect(200);
    };
    let server = Server::start(&workspace);
    reload(&server, "10m");
    let finished = server.end().expect_code(0);
    check_order(&finished, &["shutting down within 640 s", "has ended"]);

    let server = Server::start(&workspace);
    oracle.on_request(2, Fault::Hold);
    let going = server.run("");
    oracle.wait_for_requests(2, SOON);
    reload(&server, "1s");
    server.process.sigterm();
    // It keeps what it began with.
    server.wait_for_phase(going, "draining");
    oracle.release();
    let finished = server.wait().expect_code(0);
    check_order(&finished, &["shutting down within 640 s", "the runs end", "has ended"]);

    let server = Server::start(&workspace);
    let finished = server.end().expect_code(0);
    check_order(&finished, &["shutting down within 41 s", "has ended"]);
}

#[test]
fn a_service_manager_hears_when_the_server_is_ready_and_how_long_its_end_may_take() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup { head: LISTEN, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let path = workspace.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    workspace.setup.environment.push(("NOTIFY_SOCKET", path.display().to_string()));
    let hear = || {
        let mut told = [0; 256];
        let length = manager.recv(&mut told).expect("it is told");
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    let server = Server::start(&workspace);
    assert_eq!(hear(), "READY=1");
    let version = env!("CARGO_PKG_VERSION");
    let finished = server.end().expect_code(0);
    assert_eq!(hear(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000");
    let ready = finished.stderr.lines().find(|line| line.contains("the server is ready"));
    let ready: Value = serde_json::from_str(ready.expect("it says so")).expect("an object");
    assert_eq!(ready["version"], version, "D3: the log of the start names the version");
}
