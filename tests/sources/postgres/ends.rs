//! How a read ends: by its proof alone, or as a failure that deletes nothing; and that the server knows when nobody reads.

use std::time::{Duration, Instant};

use super::{people, reads, workspace};
use crate::servers::cutting::{Breaks, Cutting};
use crate::servers::postgres::{Database, Postgres};
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::workspace::Workspace;

const PEOPLE: u32 = 2_000;

/// A destination that holds all of a table, of which half is gone now: a run that believes itself deletes.
fn mirrored<'s>(server: &'s Postgres, oracle: &Oracle) -> (Database<'s>, Workspace) {
    let database = server.database("SELECT 1");
    let workspace = people(oracle, &database, PEOPLE);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", u64::from(PEOPLE))]);
    database.psql("DELETE FROM people WHERE id % 2 = 0");
    (database, workspace)
}

/// A run that must fail and delete nothing.
#[track_caller]
fn expect_nothing_deleted(oracle: &Oracle, workspace: &Workspace, how: &str) {
    let ended = workspace.run(&["sync", "people"]);
    assert_eq!(ended.code, Some(1), "{how}: {}", ended.printed());
    assert_eq!(oracle.table().len(), PEOPLE as usize, "{how}: something was deleted");
}

pub fn cut(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    // Another condition, so that a whole answer is measured before one is cut.
    let whole = Cutting::start(server.port, Breaks::Nothing);
    reads(&workspace, &database.source_at(whole.port, ""));
    workspace.run(&["plan", "people"]).expect_code(0);
    let bytes = whole.copied();
    assert!(bytes > 50_000, "{bytes}");
    for part in 0..16 {
        let front = Cutting::start(server.port, Breaks::After(bytes * part / 16));
        reads(&workspace, &database.source_at(front.port, ""));
        expect_nothing_deleted(&oracle, &workspace, &format!("cut at {part}/16"));
        assert_eq!(front.broken(), 1, "the cut was not played");
    }
}

pub fn behind_copy_done(server: &Postgres) {
    broken(server, Breaks::BehindCopyDone);
}

pub fn without_trailer(server: &Postgres) {
    broken(server, Breaks::Trailer);
}

fn broken(server: &Postgres, breaks: Breaks) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    let front = Cutting::start(server.port, breaks);
    reads(&workspace, &database.source_at(front.port, ""));
    expect_nothing_deleted(&oracle, &workspace, &format!("{breaks:?}"));
    assert_eq!(front.broken(), 1, "the fault was not played");
}

pub fn killed(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    let slow = "SELECT id, name, note FROM people WHERE pg_sleep(0.002) IS NOT NULL";
    let config = workspace.config_now().replace("SELECT id, name, note FROM people", slow);
    workspace.write("counterflow.yaml", &config);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_sessions() == 1, "the query goes on");
    database.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'counterflow%'",
    );
    let ended = workspace.end(process, SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.printed());
    ended.expect_printed(&["57P01", "went down"]);
    assert_eq!(oracle.table().len(), PEOPLE as usize);
}

pub fn cancelled(server: &Postgres) {
    let database = server.database("SELECT 1");
    for (sql, sends) in [
        ("SELECT g AS id, pg_sleep(0.01)::text AS t FROM generate_series(1, 1000000) g", true),
        ("SELECT count(*) AS id FROM generate_series(1, 1000000000000) g", false),
    ] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, &database.source(), sql);
        let process = workspace.spawn(&["sync", "people"]);
        let active =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%'";
        wait_until(|| database.psql(active) == "1", "the query goes on");
        if sends {
            std::thread::sleep(Duration::from_millis(200));
        }
        let said = "canceling statement due to user request";
        let before = server.log().matches(said).count();
        process.sigterm();
        let told = Instant::now();
        wait_until(|| database.count_sessions() == 0, "the session ends");
        assert!(told.elapsed() < Duration::from_secs(1), "{sql}: {:?}", told.elapsed());
        workspace.end(process, SOON);
        wait_until(|| server.log().matches(said).count() > before, "the server was asked");
    }
}

pub fn timeouts(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let sql = "SELECT g AS id, pg_sleep(3)::text AS t FROM generate_series(1, 10) g";
    let at = |more: &str| database.source_at(server.port, more);
    let workspace = workspace(&oracle, &at(", idle_timeout: 500ms"), sql);
    let words = ["said nothing for 500ms", "`idle_timeout`"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    reads(&workspace, &at(", statement_timeout: 500ms"));
    let words = ["57014", "raise `statement_timeout`"];
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

/// The destination may hold the reader back for as long as it likes: that is no silence of the server.
pub fn held_back(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let sql = "SELECT g AS id, repeat('n', 50) AS note FROM generate_series(1, 60000) g";
    let workspace = workspace(&oracle, &database.source_at(server.port, ", idle_timeout: 1s"), sql);
    oracle.on_next(Fault::retry_after(503, "4"));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 60_000)]);
    oracle.assert_faults_fired();
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
