//! How a read ends: by its proof alone, or as a failure that deletes nothing; and that the server knows when nobody reads.

use super::{people, reads, wait_until, workspace};
use crate::servers::{Database, Server};
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::workspace::Workspace;

const PEOPLE: u32 = 2_000;

/// A destination that holds all of a table, of which half is gone now: a run that believes itself deletes.
pub fn mirrored<'s>(
    server: &'s dyn Server,
    oracle: &Oracle,
) -> (Box<dyn Database + 's>, Workspace) {
    let database = server.database("SELECT 1");
    let workspace = people(oracle, server, &*database, PEOPLE);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", u64::from(PEOPLE))]);
    database.ask("DELETE FROM people WHERE id % 2 = 0");
    (database, workspace)
}

/// A run that must fail and delete nothing.
#[track_caller]
pub fn expect_nothing_deleted(oracle: &Oracle, workspace: &Workspace, how: &str) {
    let ended = workspace.run(&["sync", "people"]);
    assert_eq!(ended.code, Some(1), "{how}: {}", ended.printed());
    assert_eq!(oracle.table().len(), PEOPLE as usize, "{how}: something was deleted");
}

pub fn killed(server: &dyn Server) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    let sleep = (server.words().sleep)("0.002");
    let slow = format!("SELECT id, name, note FROM people WHERE {sleep} IS NOT NULL");
    let config = workspace.config_now().replace("SELECT id, name, note FROM people", &slow);
    workspace.write("counterflow.yaml", &config);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_active() == 1, "the query goes on");
    database.end_sessions();
    let ended = workspace.end(process, SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.printed());
    ended.expect_printed(server.words().ended);
    assert_eq!(oracle.table().len(), PEOPLE as usize);
}

pub fn timeouts(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let (series, sleep) = ((server.words().series)(1, 10), (server.words().sleep)("3"));
    let sql = format!("SELECT g AS id, {sleep} AS t FROM {series}");
    let at = |more: &str| database.source_at(server.port(), more);
    let workspace = workspace(&oracle, &at(", idle_timeout: 500ms"), &sql);
    let words = ["said nothing for 500ms", "`idle_timeout`"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    reads(&workspace, &at(", statement_timeout: 500ms"));
    let words = [server.words().too_long, "raise `statement_timeout`"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    wait_until(|| database.count_sessions() == 0, "no session stays");
    // Somebody who takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    reads(&workspace, &database.source_at(port, ", connect_timeout: 500ms"));
    workspace
        .run(&["sync", "people"])
        .expect_code(1)
        .expect_printed(&["did not answer within 500ms"]);
    drop(silent);
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["cannot be reached"]);
}

/// A machine that vanished without a word is found out: the system asks after a connection on which nothing is said.
pub fn kept_alive(server: &dyn Server) {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let sql = format!("SELECT 1 AS id, {} AS t", (server.words().sleep)("20"));
    let workspace = workspace(&oracle, &database.source(), &sql);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_active() == 1, "the query goes on");
    let port = format!(":{:04X}", server.port());
    let is_asked_after = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // To the server, established, and waiting for the next question of the system.
        words.len() > 5
            && words[2].ends_with(&port)
            && words[3] == "01"
            && words[5].starts_with("02:")
    };
    wait_until(
        || {
            let connections = std::fs::read_to_string("/proc/net/tcp").expect("it is there");
            connections.lines().any(is_asked_after)
        },
        "the connection is asked after",
    );
    process.sigterm();
    workspace.end(process, SOON);
}

/// The destination may hold the reader back for as long as it likes: that is no silence of the server.
pub fn held_back(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let series = (server.words().series)(1, 60_000);
    let sql = format!("SELECT g AS id, repeat('n', 50) AS note FROM {series}");
    let workspace =
        workspace(&oracle, &database.source_at(server.port(), ", idle_timeout: 1s"), &sql);
    oracle.on_next(Fault::retry_after(503, "4"));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 60_000)]);
    oracle.assert_faults_fired();
}
