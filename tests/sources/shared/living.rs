//! A database that a living server (`counterflow serve`) reads: run after run, through stops, another password and an outage.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{fill, reads, wait_until};
use crate::conformance::place::FREED;
use crate::servers::{Database, Server};
use crate::support::oracle::Oracle;
use crate::support::server::{Server as Serving, until};
use crate::support::workspace::{Setup, Workspace};
use crate::support::{NEXT_TOKEN, SOON, TOKEN};

const PEOPLE: u32 = 300;
const ALL: &str = "SELECT id, name, note FROM people";
/// What a run is refused with whose source is disabled.
const WAY_OUT: [&str; 2] =
    ["source `lake` is disabled since", "counterflow source enable lake -m WHY"];

/// A workspace for a server, over a table of so many people.
fn workspace(
    oracle: &Oracle,
    server: &dyn Server,
    database: &dyn Database,
    more: Setup,
) -> Workspace {
    database.ask("CREATE TABLE people (id int PRIMARY KEY, name text, note text)");
    fill(server, database, 1, PEOPLE);
    let setup = Setup { batch: 100, max_deletes: Some("100%"), ..more };
    let workspace =
        Workspace::new(oracle, Setup { head: "server: { listen: 127.0.0.1:0 }", ..setup });
    reads(&workspace, &database.source());
    workspace
}

/// A run of its own accord; its document.
#[track_caller]
fn run(serving: &Serving) -> Value {
    serving.ended(serving.run(""))
}

#[track_caller]
fn expect(document: &Value, phase: &str, counts: &[(&str, u64)]) {
    assert_eq!(document["phase"], phase, "{document:#}");
    for (name, count) in counts {
        assert_eq!(document["tally"][name], *count, "`{name}` of {document:#}");
    }
}

/// The oracle has what the database has, and the server nothing of the database any more.
#[track_caller]
fn at_rest(oracle: &Oracle, database: &dyn Database) {
    let count: usize = database.ask("SELECT count(*) FROM people").parse().expect("a number");
    assert_eq!(oracle.table().len(), count);
    wait_until(|| database.count_sessions() == 0, "its sessions end");
}

pub fn followed(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let setup = Setup { sql: ALL.to_owned(), ..Setup::default() };
    let workspace = workspace(&oracle, server, &*database, setup);
    let serving = Serving::start(&workspace);
    expect(&run(&serving), "succeeded", &[("upserts", u64::from(PEOPLE))]);
    at_rest(&oracle, &*database);
    for round in 1..=8_u64 {
        let (first, last) = (round * 10, round * 10 + round - 1);
        database.ask(&format!("DELETE FROM people WHERE id BETWEEN {first} AND {last}"));
        let name = format!("round {round}");
        database.ask(&format!("UPDATE people SET name = '{name}' WHERE id > 290"));
        let document = run(&serving);
        expect(&document, "succeeded", &[("upserts", 10), ("deletes", round)]);
        assert_eq!(document["kind"], "incremental", "{document:#}");
        at_rest(&oracle, &*database);
        assert_eq!(oracle.record("[300]").map(|it| it["name"].clone()), Some(json!(name)));
        expect(&run(&serving), "succeeded", &[("requests", 0)]);
    }
    fill(server, &*database, 10, 10);
    expect(&run(&serving), "succeeded", &[("upserts", 1), ("deletes", 0)]);
    at_rest(&oracle, &*database);
    serving.end().expect_code(0);
    workspace.assert_state_holds_no_canary();
}

/// A way to stop a run that reads, by its name.
type Stop = (&'static str, fn(&Workspace, &Serving));

const STOPS: [Stop; 4] = [
    ("over HTTP", |_, serving| {
        serving.post("/api/v1/syncs/people/stop", "").expect(202);
    }),
    ("by a command", |workspace, _| {
        workspace.run(&["stop", "people", "--yes"]).expect_code(0);
    }),
    (DISABLED, |_, serving| {
        serving.post("/api/v1/sources/lake/disable", "{\"message\": \"it moves\"}").expect(202);
    }),
    (DISABLED_BY_COMMAND, |workspace, _| {
        workspace.run(&["source", "disable", "lake", "-m", "it moves"]).expect_code(0);
    }),
];
const DISABLED: &str = "by its source, over HTTP";
const DISABLED_BY_COMMAND: &str = "by its source, by a command";

/// Runs that hang in the database until somebody stops them.
pub fn stopped(server: &dyn Server) {
    let (oracle, database) =
        (Oracle::start(&["id"]), server.database("CREATE TABLE gate (seconds int)"));
    let sleep = (server.words().sleep)("seconds");
    let sql = format!("{ALL} WHERE (SELECT count(*) FROM gate WHERE {sleep} IS NULL) = 0");
    let setup = Setup { sql, ..Setup::default() };
    let workspace = workspace(&oracle, server, &*database, setup);
    let serving = Serving::start(&workspace);
    expect(&run(&serving), "succeeded", &[("upserts", u64::from(PEOPLE))]);
    let mut least = 0;
    for (how, stop) in STOPS {
        for (kind, asked) in [("full", "{\"full\": true}"), ("incremental", "")] {
            least += 1;
            database.ask(&format!("DELETE FROM people WHERE id = {least}"));
            database.ask("INSERT INTO gate VALUES (600)");
            let before = oracle.table();
            let cancels = server.count_cancels();
            let going = serving.run(asked);
            wait_until(|| database.count_active() == 1, "the query goes on");
            let told = Instant::now();
            stop(&workspace, &serving);
            loop {
                let looked = told.elapsed();
                // A server that only misses its reader would end such a query as well, in its own time.
                if database.count_sessions() == 0 && server.count_cancels() > cancels {
                    break;
                }
                assert!(looked < FREED, "{how}: {kind}: it goes on after the stop");
                std::thread::sleep(Duration::from_millis(10));
            }
            let ended = serving.ended(going);
            expect(&ended, "cancelled", &[("rows_read", 0), ("deletes", 0), ("delivered", 0)]);
            assert_eq!(ended["kind"], kind, "{how}: {ended:#}");
            assert_eq!(oracle.table(), before, "{how}: {kind}");
            database.ask("DELETE FROM gate");
            if [DISABLED, DISABLED_BY_COMMAND].contains(&how) {
                serving.post("/api/v1/syncs/people/run", "").expect_problem(409, &WAY_OUT);
                workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&WAY_OUT);
                assert_eq!(database.count_sessions(), 0, "{how}: a refused run asks nobody");
                let why = "{\"message\": \"it has moved\"}";
                serving.post("/api/v1/sources/lake/enable", why).expect(200);
            }
            let next = run(&serving);
            let upserts = if kind == "full" { u64::from(PEOPLE - least) } else { 0 };
            expect(&next, "succeeded", &[("upserts", upserts), ("deletes", 1)]);
            assert_eq!(next["kind"], kind, "I11, {how}: {next:#}");
            at_rest(&oracle, &*database);
        }
    }
    serving.end().expect_code(0);
}

/// A password that the database changes and the config's file has later: a run in between is told, and deletes nothing.
pub fn rotated(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let words = server.words();
    let setup = Setup { sql: ALL.to_owned(), ..Setup::default() };
    let workspace = workspace(&oracle, server, &*database, setup);
    database.ask("GRANT SELECT ON people TO renewed_user");
    database.ask(&(words.renewed)(TOKEN));
    workspace.write("password", TOKEN);
    let source = database.source();
    let (begin, _) = source.split_once("user: ").expect("it names one");
    let of_user = format!("{begin}user: renewed_user, password: \"file:password\" }} }}");
    let config = workspace.config_now().replace(&source, &of_user);
    workspace.write("counterflow.yaml", &config);
    let serving = Serving::start(&workspace);
    expect(&run(&serving), "succeeded", &[("upserts", u64::from(PEOPLE))]);
    // What believed an answer of nobody would delete all of it.
    database.ask("DELETE FROM people WHERE id <= 3; UPDATE people SET name = 'new' WHERE id = 4");
    database.ask(&(words.renewed)(NEXT_TOKEN));
    for _ in 0..2 {
        let told = run(&serving);
        expect(&told, "failed", &[("deletes", 0), ("requests", 0)]);
        let error = told["error"].as_str().expect("it says why");
        let said = ["refused the connection", words.not_let_in, "`password`"];
        said.iter().for_each(|word| assert!(error.contains(word), "`{word}` in {error}"));
    }
    assert_eq!(oracle.table().len(), PEOPLE as usize);
    workspace.write("password", NEXT_TOKEN);
    serving.post("/api/v1/reload", "").expect(200);
    // The password is no part of what the source is: nothing is held, and nothing is sent again.
    expect(&run(&serving), "succeeded", &[("upserts", 1), ("deletes", 3), ("held", 0)]);
    at_rest(&oracle, &*database);
    serving.end().expect_code(0);
    workspace.assert_state_holds_no_canary();
}

/// The database is down while the schedule goes on, and comes back.
pub fn restarted(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let setup = Setup { sql: ALL.to_owned(), sync: "schedule: { every: 1s }", ..Setup::default() };
    let workspace = workspace(&oracle, server, &*database, setup);
    let serving = Serving::start(&workspace);
    expect(&run(&serving), "succeeded", &[]);
    let before = oracle.table();
    assert_eq!(before.len(), PEOPLE as usize);
    let runs = |asked: &str| {
        let runs = serving.get(&format!("/api/v1/runs?sync=people{asked}")).expect(200).json;
        runs.as_array().expect("it is a list").clone()
    };
    let last = || runs("")[0]["run"].as_u64().expect("there was one");
    server.outage(&|| {
        let down = last();
        let since = |run: &&Value| run["run"].as_u64() > Some(down);
        until("the schedule goes on, and each run says why it fails", || {
            let failed = runs("&phase=failed&trigger=schedule");
            for run in failed.iter().filter(since) {
                expect(run, "failed", &[("deletes", 0), ("requests", 0)]);
                let error = run["error"].as_str().expect("it says why");
                let said = ["cannot be reached", "that the server is up"];
                said.iter().for_each(|word| assert!(error.contains(word), "`{word}` in {error}"));
            }
            (failed.iter().filter(since).count() > 2).then_some(())
        });
        assert_eq!(runs("&phase=succeeded").iter().filter(since).count(), 0);
        assert_eq!(oracle.table(), before, "an outage is no proof of anything");
    });
    let up = last();
    database.ask(
        "START TRANSACTION; DELETE FROM people WHERE id <= 7; UPDATE people SET name = 'new' WHERE id = 300; COMMIT",
    );
    let begun = Instant::now();
    while oracle.table().len() != 293 {
        assert!(begun.elapsed() < SOON, "the database is not followed on: {:#}", runs("")[0]);
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = until("the run that did it ends", || {
        runs("&phase=succeeded").into_iter().find(|run| run["tally"]["deletes"] == 7)
    });
    expect(&told, "succeeded", &[("upserts", 1), ("deletes", 7), ("held", 0)]);
    assert_eq!((&told["kind"], &told["trigger"]), (&json!("incremental"), &json!("schedule")));
    // The newest one was queued, or had yet to read.
    assert!(told["run"].as_u64() >= Some(up), "{told:#}");
    serving.end().expect_code(0);
    assert_eq!(database.count_sessions(), 0);
}
