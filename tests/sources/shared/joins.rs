//! Models that join tables of a database with files.

use std::time::{Duration, Instant};

use super::wait_until;
use crate::servers::{Database, Server};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

/// Of the table whose rows take long.
const SLOW: u32 = 400;

/// A workspace whose model joins a database, with these `tables`, and a folder that has `places.csv`.
pub fn workspace(oracle: &Oracle, database: &dyn Database, tables: &str, sql: &str) -> Workspace {
    let setup = Setup { sql: sql.to_owned(), max_deletes: Some("100%"), ..Setup::default() };
    workspace_of(oracle, database, tables, Setup { batch: 100, ..setup })
}

/// As [`workspace`], of any setup.
pub fn workspace_of(
    oracle: &Oracle,
    database: &dyn Database,
    tables: &str,
    setup: Setup,
) -> Workspace {
    let workspace = Workspace::new(oracle, setup);
    let source = with_tables(&database.source(), tables);
    super::reads(&workspace, &format!("{source}, disk: {{ files: {{ places: \"places.csv\" }} }}"));
    let config = workspace.config_now();
    assert!(config.contains("source: lake"), "{config}");
    workspace.write("counterflow.yaml", &config.replace("source: lake", "sources: [lake, disk]"));
    workspace
}

/// The source with `tables`.
fn with_tables(source: &str, tables: &str) -> String {
    let (begin, _) = source.rsplit_once(" } }").expect("it ends so");
    format!("{begin}, tables: {tables} }} }}")
}

pub fn places(workspace: &Workspace, first: u32, last: u32) {
    let rows = (first..=last).map(|id| format!("{id},city {id}\n"));
    workspace.write("places.csv", &format!("id,city\n{}", rows.collect::<String>()));
}

fn people(server: &dyn Server, database: &dyn Database, last: u32) {
    database.ask("CREATE TABLE people (id int PRIMARY KEY, name text, note text)");
    super::fill(server, database, 1, last);
}

pub fn followed(server: &dyn Server) {
    const SQL: &str =
        "SELECT p.id, p.name, b.city FROM lake.people p JOIN disk.places b ON p.id = b.id";
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    people(server, &*database, 20);
    let workspace = workspace(&oracle, &*database, "{ people: people }", SQL);
    places(&workspace, 1, 10);
    let seen = workspace.json(&["validate", "--sources"]);
    let names: Vec<_> = (0..3).map(|at| seen["models"][0]["columns"][at]["name"].clone()).collect();
    assert_eq!(names, ["id", "name", "city"], "{seen:#}");
    let planned = workspace.run(&["--format", "json", "plan", "people"]).expect_code(0);
    assert!(planned.printed().contains("10"), "{}", planned.printed());
    workspace.run(&["doctor", "lake"]).expect_code(0);
    assert_eq!((oracle.request_count(), database.count_sessions()), (0, 0));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 10), ("delivered", 10)]);
    // Never skipped, whatever the files say of themselves.
    let again = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 10), ("requests", 0)]);
    again.expect_kind("incremental", "usual");
    database.ask("UPDATE people SET name = NULL WHERE id <= 3; DELETE FROM people WHERE id = 9");
    places(&workspace, 2, 12);
    let expected = &[("upserts", 4), ("deletes", 2), ("rows_read", 10)];
    workspace.sync(&[]).expect(0, "succeeded", expected);
    let table = oracle.table();
    assert_eq!(table.values().filter(|record| record["name"].is_null()).count(), 2);
    assert_eq!((table.len(), database.count_sessions()), (10, 0));
    // Of no column at all there are still rows.
    let counted = "SELECT CAST(b.id AS INT) AS id, c.n AS name FROM disk.places b CROSS JOIN (SELECT count(*) AS n FROM lake.people) c";
    let config = workspace.config_now();
    workspace.write("counterflow.yaml", &config.replace(SQL, counted));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 11)]);
    assert!(oracle.table().values().all(|record| record["name"] == 19), "{}", oracle.print());
    // Another query of a table is another source: its first deletes are held.
    let config = workspace.config_now();
    let fewer = "{ people: { sql: SELECT * FROM people WHERE id < 4 } }";
    workspace.write("counterflow.yaml", &config.replace("{ people: people }", fewer));
    places(&workspace, 3, 12);
    workspace.sync(&[]).expect(4, "partial", &[("upserts", 10), ("held", 1)]);
}

/// An inner join asks for nothing of one side where the other is empty: that is no lack of proof.
pub fn empty_side(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    people(server, &*database, 50);
    let joins = [
        "disk.places b JOIN lake.people p ON p.id = b.id",
        "lake.people p JOIN disk.places b ON p.id = b.id",
    ];
    for join in joins {
        let sql =
            format!("SELECT 0 AS id, 'nobody' AS name UNION ALL SELECT p.id, p.name FROM {join}");
        let workspace = workspace(&oracle, &*database, "{ people: people }", &sql);
        places(&workspace, 1, 50);
        workspace.sync(&["--full"]).expect(0, "succeeded", &[("upserts", 51)]);
        workspace.write("places.csv", "id,city\n");
        let pinned = workspace.sync(&[]);
        pinned.expect(0, "succeeded", &[("rows_read", 1), ("deletes", 50)]);
        assert_eq!((oracle.table().len(), database.count_sessions()), (1, 0), "{join}");
    }
}

/// The table's rows come slowly, so that something can happen meanwhile.
fn slowly(server: &dyn Server, seconds: &str) -> String {
    let sleep = (server.words().sleep)(seconds);
    format!("{{ people: {{ sql: \"SELECT id, name FROM people WHERE {sleep} IS NOT NULL\" }} }}")
}

pub fn failed(server: &dyn Server) {
    const SQL: &str = "SELECT b.id, p.name FROM lake.people p JOIN disk.places b ON p.id = b.id";
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    people(server, &*database, SLOW);
    let workspace = workspace(&oracle, &*database, &slowly(server, "0.01"), SQL);
    places(&workspace, 1, SLOW);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", u64::from(SLOW))]);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_active() == 1, "the query goes on");
    std::thread::sleep(Duration::from_millis(300));
    database.end_sessions();
    let ended = workspace.end(process, SOON);
    assert_eq!(ended.code, Some(1), "a failed answer was believed: {}", ended.printed());
    ended.expect_printed(&["table `lake.people` of model"]);
    assert_eq!(oracle.table().len(), SLOW as usize, "a failed answer was believed");
    wait_until(|| database.count_sessions() == 0, "no session stays");
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

pub fn stopped(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    people(server, &*database, 100_000);
    let sql = "SELECT b.id, p.name FROM lake.people p JOIN disk.places b ON p.id = b.id";
    let workspace = workspace(&oracle, &*database, &slowly(server, "0.01"), sql);
    places(&workspace, 1, 10);
    expect_stop(server, &*database, &workspace, 1);
}

/// A run that has so many sessions ends all of them within a second of its stop.
#[track_caller]
pub fn expect_stop(
    server: &dyn Server,
    database: &dyn Database,
    workspace: &Workspace,
    sessions: usize,
) {
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_active() > 0, "the query goes on");
    // The one that planned has left, and is listed for a moment more.
    wait_until(|| database.count_sessions() == sessions, "it has the sessions that it needs");
    let before = server.count_cancels();
    process.sigterm();
    let told = Instant::now();
    loop {
        // A look takes a while itself.
        let looked = told.elapsed();
        if database.count_sessions() == 0 {
            break;
        }
        assert!(looked < Duration::from_secs(1), "it goes on a second after the stop");
        std::thread::sleep(Duration::from_millis(20));
    }
    workspace.end(process, SOON);
    wait_until(|| server.count_cancels() > before, "the server was asked");
}
