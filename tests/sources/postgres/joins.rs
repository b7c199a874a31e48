//! Several answers of one PostgreSQL server in one read, and in two: which state of the database they are of.

use std::process::Child;
use std::sync::Arc;

use counterflow::domain::sync::{Model, Reads};
use counterflow::source::definition::{Access, Definition};
use counterflow::source::postgres::definition::Definition as Postgresql;
use counterflow::source::{Error, Moment, Pins, Queried, Reader, Selection, Settings};

use crate::reading::{ended_rows, remote};
use crate::servers::Database as _;
use crate::servers::postgres::{Database, Postgres};
use crate::shared::joins::{expect_stop, places, workspace};
use crate::shared::wait_until;
use crate::support::SOON;
use crate::support::oracle::Oracle;

const COUNTED: &str =
    "CREATE TABLE counted (id int PRIMARY KEY, v int); INSERT INTO counted VALUES (1, 0)";

/// Somebody who commits all the time, as often as can be.
struct Writer(Child);

impl Writer {
    fn start(database: &Database<'_>) -> Writer {
        let sql = "DO $$ BEGIN FOR i IN 1..100000000 LOOP UPDATE counted SET v = v + 1; COMMIT; END LOOP; END $$";
        let begun = database.ask("SELECT v FROM counted");
        let writer = Writer(database.server.spawn_psql(&database.name, sql));
        wait_until(|| database.ask("SELECT v FROM counted") != begun, "it writes");
        writer
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reader(server: &Postgres, database: &Database<'_>, tables: &[(&str, &str)]) -> Reader {
    let mut remote = remote(server.port, &database.name, "postgres");
    let table = |(name, sql): &(&str, &str)| Queried { name: (*name).into(), sql: (*sql).into() };
    remote.tables = tables.iter().map(table).collect();
    let definition =
        Postgresql { remote, applies_row_security: false, role: None, is_infinity_null: false };
    let source = Definition { name: "app".into(), access: Access::Postgres(Box::new(definition)) };
    Reader::new(vec![Arc::new(source)], Settings::new(2, 64 << 20, 64 << 20))
}

fn model(reads: Reads, sql: &str) -> Model {
    let (name, sql) = ("m".to_owned(), sql.to_owned());
    Model { name, reads, sql, primary_key: vec!["id".into()], cursor: None }
}

fn joined(sql: &str) -> Model {
    model(Reads::Joined(vec!["app".into()]), sql)
}

/// The rows of both: of a read, and of another that is opened before the first is begun with and sees the same.
async fn read_twice(reader: &Reader, model: &Model) -> Result<[Vec<Vec<String>>; 2], Error> {
    let (selection, pins) = (Selection::default(), Pins::default());
    let one = reader.open(model, &selection, &pins).await?;
    let moment = one.held.share().await?;
    assert_ne!(moment, Moment::default());
    let other = reader.open(model, &Selection { moment, ..selection }, &pins).await?;
    let other = ended_rows(other).await?;
    Ok([ended_rows(one).await?, other])
}

pub fn one_state(server: &Postgres) {
    let database = server.new_database(COUNTED);
    let tables = [
        ("counted", "SELECT * FROM counted"),
        ("other", "SELECT id, v, 1 / (id - id) AS bad FROM counted"),
    ];
    let reader = reader(server, &database, &tables);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let read = |sql: &str| {
        runtime.block_on(async {
            let opened = reader.open(&joined(sql), &Selection::default(), &Pins::default()).await;
            ended_rows(opened?).await
        })
    };
    let _writer = Writer::start(&database);
    for sql in [
        // Of the second table no column is asked for that cannot be computed.
        "SELECT a.id, a.v, b.v AS w FROM app.counted a JOIN app.other b ON a.id = b.id",
        "SELECT a.id, a.v, b.v AS w FROM app.counted a JOIN app.counted b ON a.id = b.id",
        "WITH c AS (SELECT * FROM app.counted) SELECT a.id, a.v, b.v AS w FROM c a JOIN c b USING (id)",
        "SELECT a.id, a.v, (SELECT max(v) FROM app.counted) AS w FROM app.counted a",
    ] {
        for _ in 0..3 {
            let rows = read(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(rows.len(), 1, "{sql}: answers of two states, {rows:?}");
            assert_eq!(rows[0][1], rows[0][2], "{sql}: answers of two states, {rows:?}");
        }
    }
    let said =
        read("SELECT a.id, a.bad FROM app.other a").expect_err("it cannot be computed").to_string();
    assert!(said.contains("22012") && said.contains("table `app.other` of model `m`"), "{said}");
    wait_until(|| database.count_sessions() == 0, "no session stays");
}

pub fn two_reads(server: &Postgres) {
    let database = server.new_database(COUNTED);
    let reader = reader(server, &database, &[("counted", "SELECT * FROM counted")]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _writer = Writer::start(&database);
    let alone = model(Reads::One("app".into()), "SELECT id, v FROM counted");
    let idle = "SELECT current_setting('idle_in_transaction_session_timeout') AS id";
    let idle = model(Reads::One("app".into()), idle);
    for model in [
        &alone,
        &joined("SELECT id, v FROM app.counted"),
        &joined("SELECT a.id, a.v, b.v AS w FROM app.counted a JOIN app.counted b ON a.id = b.id"),
    ] {
        let [one, other] = runtime.block_on(read_twice(&reader, model)).expect("both are read");
        assert_eq!(one, other, "{}: answers of two states", model.sql);
    }
    let [one, _] = runtime.block_on(read_twice(&reader, &idle)).expect("both are read");
    assert_eq!(one, [["\"1d\""]], "a session that waits is left alone");
    wait_until(|| database.count_sessions() == 0, "no session stays");
}

/// A server that cannot share its state, as a person forbade it, is named; where nothing is shared it need not.
pub fn not_shared(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'a');
         CREATE SEQUENCE s; CREATE ROLE alone LOGIN; GRANT SELECT ON people TO alone;
         REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM PUBLIC",
    );
    let twice = "SELECT a.id, b.name FROM lake.people a JOIN lake.people b ON a.id = b.id";
    let workspace = workspace(&oracle, &database, "{ people: people }", twice);
    places(&workspace, 1, 1);
    let config = workspace.config_now().replace("user: postgres", "user: alone");
    workspace.write("counterflow.yaml", &config);
    let words = ["does not let two sessions see one state of it", "42501", "in the `sql` of one"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_eq!((oracle.request_count(), database.count_sessions()), (0, 0));
    workspace.write("counterflow.yaml", &config.replace(twice, "SELECT id, name FROM lake.people"));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    // A table may only be read.
    for (sql, words) in [
        ("SELECT nextval('s')::int AS id, '' AS name", "may only read"),
        ("SELECT 1 AS id; SELECT 2 AS id", "several statements"),
        ("INSERT INTO people VALUES (2, '') RETURNING id, name", "is no SELECT"),
        ("SELECT id, nme AS name FROM people", "42703"),
    ] {
        let tables = format!("{{ people: {{ sql: \"{sql}\" }} }}");
        let changed = workspace.config_now().replace("{ people: people }", &tables);
        let changed = changed.replace("user: alone", "user: postgres");
        let kept = workspace.config_now();
        workspace.write("counterflow.yaml", &changed);
        let refused = workspace.run(&["sync", "people"]);
        assert_ne!(refused.code, Some(0), "{sql}");
        refused.expect_printed(&[words, "table `lake.people` of model `people`"]);
        if words == "42703" {
            workspace.run(&["validate", "--sources"]).expect_code(2).expect_printed(&[words]);
            workspace.run(&["doctor", "lake"]).expect_printed(&["table `people`", words]);
        }
        workspace.write("counterflow.yaml", &kept);
    }
    assert_eq!(database.ask("SELECT count(*) FROM people"), "1");
    database.ask("DROP OWNED BY alone");
    database.ask("DROP ROLE alone");
}

/// Two answers of which one is read and the other waits: a stop, and the end of the one that waits.
pub fn waiting(server: &Postgres) {
    const PEOPLE: u64 = 300;
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE people (id int PRIMARY KEY, name text);
         INSERT INTO people SELECT g, 'name ' || g FROM generate_series(1, 300) g",
    );
    let slow = "{ slow: { sql: \"SELECT id FROM people WHERE pg_sleep(0.01)::text IS NOT NULL\" }, people: people }";
    let sql = "SELECT s.id, p.name, b.city FROM lake.slow s JOIN lake.people p ON s.id = p.id JOIN disk.places b ON p.id = b.id";
    let workspace = workspace(&oracle, &database, slow, sql);
    places(&workspace, 1, 300);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", PEOPLE)]);
    expect_stop(server, &database, &workspace, 2);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_active() == 1, "one is read");
    database.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' \
         AND datname = current_database() AND application_name LIKE 'counterflow%'",
    );
    let ended = workspace.end(process, SOON).expect_code(1);
    ended.expect_printed(&["table `lake.people` of model `people`"]);
    assert_eq!((oracle.table().len() as u64, database.count_sessions()), (PEOPLE, 0));
    // Keys that are looked at first are of the state that is sent, and the run's own sessions wait for them.
    let config =
        workspace.config_now().replace("mode: mirror", "mode: mirror\n    check_keys: first");
    workspace.write("counterflow.yaml", &config);
    let process = workspace.spawn_sync(&[]);
    wait_until(|| database.count_sessions() == 4, "both passes see one state");
    database.ask("UPDATE people SET name = 'new'; DELETE FROM people WHERE id > 200");
    workspace.end(process, SOON).expect_code(0);
    assert_eq!(oracle.table().len() as u64, PEOPLE, "a later state was seen");
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 200), ("deletes", 100)]);
}
