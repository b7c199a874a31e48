//! How the answer to a COPY ends, and where it only seems to.

use std::time::Duration;

use crate::servers::Database;
use crate::servers::postgres::Postgres;
use crate::shared::{joins, wait_until, workspace};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::workspace::Workspace;

/// Refused by what the server says of its length, of which next to nothing is taken in.
pub fn too_long(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let ca = server.authority.file();
    let over_tls = database
        .source()
        .replace("127.0.0.1", "localhost")
        .replace(" } }", &format!(", tls: {{ ca: {} }} }} }}", ca.display()));
    for source in [database.source(), over_tls] {
        // In the middle of an answer, so that rows of it were taken.
        let sql = "SELECT g AS id, repeat('x', CASE g WHEN 50 THEN 250000000 ELSE 1000 END) AS t \
                   FROM generate_series(1, 100) g";
        let workspace = workspace(&oracle, &source, sql);
        let process = workspace.spawn(&["sync", "people"]);
        let mut most = 0;
        while process.is_running() {
            most = most.max(process.most_memory());
            std::thread::sleep(Duration::from_millis(5));
        }
        let words = ["a row of more than 64 MiB", "cut it with `left`"];
        workspace.end(process, SOON).expect_code(1).expect_printed(&words);
        assert!(most > 0 && most < 160 << 20, "{source}: it took {} MiB", most >> 20);
    }
}

/// Tables that somebody writes anew while a run waits for them, as `TRUNCATE`, a rename and a refresh do: by a state from before
/// they were held there is nothing in them.
pub fn rewritten(server: &Postgres) {
    let joined = "SELECT p.id, p.name, s.note, c.note AS copied, l.plan FROM lake.parts p \
                  LEFT JOIN lake.seen s ON s.id = p.id LEFT JOIN lake.copied c ON c.id = p.id \
                  LEFT JOIN lake.plans l ON l.id = p.id";
    let tables = "{ parts: { sql: \"SELECT id, name FROM parts WHERE at <= now()\" }, seen: seen, copied: copied, plans: plans }";
    rewritten_for(server, "", |oracle, database| {
        let sql = "SELECT p.id, p.name, s.note, c.note AS copied, plan FROM parts p \
                   LEFT JOIN seen s USING (id) LEFT JOIN copied c USING (id) \
                   LEFT JOIN plans USING (id) WHERE p.at <= now()";
        workspace(oracle, &database.source(), sql)
    });
    rewritten_for(server, "joined: ", |oracle, database| {
        joins::workspace(oracle, database, tables, joined)
    });
}

/// Two seconds more than until the run waits for who says this.
const UNTIL_WAITED_FOR: &str = "DO $$ BEGIN \
    WHILE clock_timestamp() < now() + interval '30 s' AND NOT EXISTS (SELECT FROM pg_stat_activity \
        WHERE application_name LIKE 'counterflow%' AND wait_event_type = 'Lock') \
    LOOP PERFORM pg_stat_clear_snapshot(), pg_sleep(0.1); END LOOP; \
    PERFORM pg_sleep(2); END $$";

fn rewritten_for(
    server: &Postgres,
    how: &str,
    workspace: impl Fn(&Oracle, &dyn Database) -> Workspace,
) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE parts (id int, name text, at timestamptz DEFAULT now()) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (101); \
         CREATE TABLE high PARTITION OF parts FOR VALUES FROM (101) TO (1000); \
         INSERT INTO parts SELECT g, 'name' FROM generate_series(1, 200) g; \
         CREATE TABLE notes AS SELECT g AS id, 'note' AS note FROM generate_series(1, 200) g; \
         CREATE TABLE plans AS SELECT g AS id, 'plan' AS plan FROM generate_series(1, 200) g; \
         CREATE VIEW seen AS SELECT id, note FROM notes; \
         CREATE MATERIALIZED VIEW copied AS SELECT id, note FROM notes",
    );
    let workspace = workspace(&oracle, &database);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 200)]);
    let before = oracle.table();
    for change in [
        "TRUNCATE parts; INSERT INTO parts SELECT g, 'name' FROM generate_series(1, 200) g",
        "TRUNCATE high; INSERT INTO high SELECT g, 'name' FROM generate_series(101, 200) g",
        "TRUNCATE notes; INSERT INTO notes SELECT g, 'note' FROM generate_series(1, 200) g",
        "REFRESH MATERIALIZED VIEW copied",
        // Nobody may be behind the moment that `now()` says.
        "LOCK TABLE parts; SELECT pg_sleep(2); UPDATE parts SET at = clock_timestamp()",
        "CREATE TABLE other AS SELECT * FROM plans; DROP TABLE plans; ALTER TABLE other RENAME TO plans",
    ] {
        let slow = format!("BEGIN; {change}; {UNTIL_WAITED_FOR}; COMMIT");
        let run = std::thread::scope(|scope| {
            let writer = scope.spawn(|| database.ask(&slow));
            let asleep = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                          AND wait_event = 'PgSleep'";
            wait_until(|| database.ask(asleep) == "1", "it is written anew");
            let run = workspace.spawn(&["--format", "json", "sync", "people"]);
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND application_name LIKE 'counterflow%' AND wait_event_type = 'Lock'";
            wait_until(|| database.ask(waits) == "1", "the run waits for it");
            writer.join().expect("it is written");
            workspace.end(run, SOON)
        });
        let tally = &run.json()["tally"];
        let counts = ["rows_read", "upserts", "deletes"].map(|name| tally[name].as_u64());
        assert_eq!(counts, [Some(200), Some(0), Some(0)], "{how}{change}: it is one state");
        assert_eq!(oracle.table(), before, "{how}{change}");
    }
}

/// Another database under the same name, at the same address, with fewer rows: nobody deleted those that it never had.
pub fn another(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let name = "twin";
    let fill = |last: u32| {
        server.drop_database(name);
        server.psql("postgres", &format!("CREATE DATABASE {name}"));
        let rows = format!("SELECT g AS id, 'name' AS name FROM generate_series(1, {last}) g");
        server.psql(name, &format!("CREATE TABLE people AS {rows}"));
    };
    fill(100);
    let source = format!(
        "lake: {{ postgres: {{ host: 127.0.0.1, port: {}, database: {name}, user: postgres }} }}",
        server.port
    );
    let workspace = workspace(&oracle, &source, "SELECT id, name FROM people");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 100)]);
    server.psql(name, "DELETE FROM people WHERE id > 99");
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 1)]);
    fill(90);
    let run = workspace.sync(&[]);
    assert_eq!(oracle.table().len(), 99, "what another database does not have was deleted");
    run.expect(4, "partial", &[("held", 9), ("deleted", 0)]);
    server.drop_database(name);
}
