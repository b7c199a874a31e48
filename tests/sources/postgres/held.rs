//! What is held while it is read, what is not, and who waits for whom.

use std::process::Child;
use std::time::Duration;

use counterflow::domain::sync::{Model, Reads};
use counterflow::source::definition::{Access, Definition};
use counterflow::source::examine;
use counterflow::source::postgres::definition::Definition as Postgresql;
use serde_json::json;

use crate::reading::remote;
use crate::servers::Database as _;
use crate::servers::postgres::{Database, Postgres};
use crate::shared::{joins, reads, wait_until, workspace};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::process::Finished;
use crate::support::workspace::Workspace;

/// Whoever has a table locked against all reads, until this ends.
struct Locking<'d>(&'d Database<'d>, Child);

impl<'d> Locking<'d> {
    fn start(database: &'d Database<'d>, table: &str) -> Locking<'d> {
        let sql = format!("BEGIN; LOCK TABLE {table}; SELECT pg_sleep(300)");
        let locking = Locking(database, database.server.spawn_psql(&database.name, &sql));
        wait_until(|| count(database, "wait_event = 'PgSleep'") == 1, "it is locked");
        locking
    }
}

impl Drop for Locking<'_> {
    fn drop(&mut self) {
        self.0.ask(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event = 'PgSleep'",
        );
        let _ = self.1.wait();
    }
}

/// Sessions of the database of which this is so.
fn count(database: &Database<'_>, condition: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    );
    database.ask(&sql).parse().expect("it is a number")
}

/// A function that reads a table is called after the state was taken, so that nobody can vouch for what it found.
pub fn functions(server: &Postgres) {
    let database = server.new_database(
        "CREATE TABLE more AS SELECT g AS id FROM generate_series(1, 100) g;
         CREATE FUNCTION few() RETURNS SETOF int LANGUAGE plpgsql STABLE AS
             'BEGIN RETURN QUERY SELECT id FROM more; END';
         CREATE FUNCTION one_of(sought int) RETURNS int LANGUAGE plpgsql STABLE AS
             'DECLARE found int; BEGIN SELECT id INTO STRICT found FROM more WHERE id = sought; RETURN found;
              EXCEPTION WHEN NO_DATA_FOUND THEN RETURN NULL; END';
         CREATE TABLE people AS SELECT g AS id FROM generate_series(1, 100) g",
    );
    for (sql, is_held) in [
        ("SELECT f AS id, 'name' AS name FROM few() f", true),
        // An error that a function catches gives back its locks.
        ("SELECT id, 'name' AS name FROM people WHERE one_of(id) IS NOT NULL", true),
        ("WITH held AS (SELECT FROM more) SELECT f AS id, 'name' AS name FROM few() f", false),
        // What the query names itself was held before.
        ("SELECT id, 'name' AS name FROM people WHERE id IN (SELECT id FROM more)", false),
    ] {
        database.ask("TRUNCATE more; INSERT INTO more SELECT generate_series(1, 100)");
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, &database.source(), sql);
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 100)]);
        database.ask("DELETE FROM more WHERE id > 90");
        if !is_held {
            workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 10)]);
            continue;
        }
        workspace.sync(&[]).expect(4, "partial", &[("deleted", 0), ("held", 10)]);
        let held = workspace.run(&["sync", "people"]).expect_code(4);
        held.expect_printed(&[
            "functions that model `people` calls read `more`",
            "`WITH held AS (SELECT FROM more)`",
        ]);
        assert_eq!(oracle.table().len(), 100);
        // What is new goes all the same, and a person's word is taken.
        database.ask(
            "INSERT INTO more VALUES (101);
             INSERT INTO people SELECT 101 WHERE NOT EXISTS (SELECT FROM people WHERE id = 101)",
        );
        workspace.sync(&[]).expect(4, "partial", &[("delivered", 1), ("held", 10)]);
    }
}

/// Somebody who waits to empty a table comes between the session that holds it and the one that is to read it.
pub fn between(server: &Postgres) {
    let rows = "SELECT g AS id, 'name' AS name FROM generate_series(1, 200) g";
    let database = server.new_database(&format!("CREATE TABLE people AS {rows}"));
    let rewrite = format!("BEGIN; TRUNCATE people; INSERT INTO people {rows}; COMMIT");
    let raced = |workspace: &Workspace| -> Finished {
        let given_up = server.count_lock_timeouts();
        let locking = Locking::start(&database, "people");
        let run = workspace.spawn(&["--format", "json", "sync", "people"]);
        wait_until(|| count(&database, "wait_event_type = 'Lock'") == 1, "the run waits");
        let mut writer = server.spawn_psql(&database.name, &rewrite);
        wait_until(|| count(&database, "wait_event_type = 'Lock'") == 2, "it waits behind the run");
        drop(locking);
        let run = workspace.end(run, SOON);
        assert!(writer.wait().expect("it was started").success());
        assert!(server.count_lock_timeouts() > given_up, "nobody came between");
        run
    };
    let oracle = Oracle::start(&["id"]);
    let plain = workspace(&oracle, &database.source(), "SELECT id, name FROM people");
    plain.sync(&[]).expect(0, "succeeded", &[("delivered", 200)]);
    let tally = raced(&plain).expect_code(0).json()["tally"].clone();
    let counts = ["rows_read", "upserts", "deletes"].map(|name| tally[name].as_u64());
    assert_eq!(counts, [Some(200), Some(0), Some(0)], "it is planned anew");
    // The tables of a joined model are not planned anew: it says so, and the next run reads them.
    let oracle = Oracle::start(&["id"]);
    let sql = "SELECT id, name FROM lake.people";
    let joined = joins::workspace(&oracle, &database, "{ people: people }", sql);
    joins::places(&joined, 1, 1);
    joined.sync(&[]).expect(0, "succeeded", &[("delivered", 200)]);
    let refused = raced(&joined).expect_code(1);
    refused.expect_printed(&[
        "somebody else has locked, or waits to lock, against all reads",
        "the next run tries again (55P03)",
    ]);
    joined.sync(&[]).expect(0, "succeeded", &[("rows_read", 200), ("requests", 0)]);
    wait_until(|| database.count_sessions() == 0, "no session stays");
}

pub fn doctor(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database("CREATE TABLE t (id int PRIMARY KEY)");
    database.ask("CREATE ROLE doctor_blind LOGIN; CREATE ROLE doctor_bypass LOGIN BYPASSRLS");
    database.ask("GRANT SELECT ON t TO doctor_bypass");
    let as_role =
        |role: &str| database.source().replace("user: postgres", &format!("user: {role}"));
    let workspace = workspace(&oracle, &as_role("doctor_blind"), "SELECT id FROM t");
    // It can be planned, and not be read.
    let blind = workspace.run(&["doctor", "lake"]).expect_code(1);
    let words = ["not well, PostgreSQL", "not well: the server refuses model `people`"];
    let blind = blind.expect_printed(&words);
    assert!(!blind.printed().contains("row security"), "{}", blind.printed());
    let why = workspace.run(&["validate", "--sources", "people"]);
    why.expect_printed(&["may not be read", "42501", "grant it"]);
    reads(&workspace, &as_role("doctor_bypass"));
    let bypasses = workspace.run(&["doctor", "lake"]).expect_code(0);
    bypasses.expect_printed(&["row security does not hold for the role"]);
    // Whoever has the table for now is not waited for, and refuses nothing.
    let locking = Locking::start(&database, "t");
    let seen = workspace.json(&["doctor", "lake"])[0].clone();
    drop(locking);
    assert_eq!((&seen["is_well"], &seen["problems"]), (&json!(true), &json!([])), "{seen:#}");
    assert!(!seen["advice"].to_string().contains("not all of it was seen"), "{seen:#}");
    // Of models it is asked only for those that read it.
    let definition = Postgresql {
        remote: remote(server.port, &database.name, "postgres"),
        applies_row_security: false,
        role: None,
        is_infinity_null: false,
    };
    let source = Definition { name: "app".into(), access: Access::Postgres(Box::new(definition)) };
    let model = |name: &str, source: &str| Model {
        name: name.into(),
        reads: Reads::One(source.into()),
        sql: "SELECT missing FROM nowhere".into(),
        primary_key: vec!["id".into()],
        cursor: None,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let look = |models: &[Model]| {
        let looked = examine(&source, models, Duration::from_secs(9));
        runtime.block_on(looked).expect("it is reached").problems
    };
    assert_eq!(look(&[model("theirs", "other")]), [""; 0]);
    let told = look(&[model("theirs", "other"), model("own", "app")]);
    assert!(told.len() == 1 && told[0].contains("`own`"), "{told:?}");
    drop(workspace);
    database
        .ask("DROP OWNED BY doctor_blind, doctor_bypass; DROP ROLE doctor_blind, doctor_bypass");
}

pub fn sessions(server: &Postgres) {
    let rows = "SELECT g AS id, 'name' AS name FROM generate_series(1, 20) g";
    let database = server.new_database(&format!("CREATE TABLE people AS {rows}"));
    let sql = |times: u32| {
        let one = |id| format!("SELECT id, name FROM lake.people WHERE id = {id}");
        (1..=times).map(one).collect::<Vec<_>>().join(" UNION ALL ")
    };
    for (times, is_refused) in [(16, false), (17, true)] {
        let oracle = Oracle::start(&["id"]);
        let workspace = joins::workspace(&oracle, &database, "{ people: people }", &sql(times));
        joins::places(&workspace, 1, 1);
        if !is_refused {
            workspace.sync(&[]).expect(0, "succeeded", &[("delivered", u64::from(times))]);
            continue;
        }
        let words = ["reads 17 times from `lake`", "16 at most", "`sql` of one of its `tables`"];
        for command in [&["sync", "people"][..], &["validate", "--sources"]] {
            workspace.run(command).expect_code(2).expect_printed(&words);
        }
        assert_eq!(oracle.request_count(), 0);
    }
    wait_until(|| database.count_sessions() == 0, "no session stays");
}
