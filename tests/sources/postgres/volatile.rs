//! What a plan of PostgreSQL tells of the functions that a query calls, and what comes of a read where it does not.

use crate::servers::Database as _;
use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::postgres::Postgres;
use crate::shared::{joins, people, reads, workspace};
use crate::support::oracle::Oracle;

pub fn called(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a');
         CREATE SCHEMA other;
         CREATE FUNCTION other.roll(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION roll(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION other.\"Odd (one)\"(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION declared(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION inlined(int) RETURNS double precision LANGUAGE sql AS 'SELECT $1 + random()';
         CREATE FUNCTION overloaded(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION overloaded(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
         CREATE VIEW seen AS SELECT id, now() AS at FROM t",
    );
    for (sql, expected) in [
        (
            "SELECT id, roll(id) AS a, declared(id) AS b, upper(name) AS c, name || id AS d FROM t",
            &[][..],
        ),
        ("SELECT id, 'random() \"now()\"\n clock_timestamp()' AS a, E'\\' now()' AS b FROM t", &[]),
        ("SELECT id AS \"now()\", id, count(*) OVER (ORDER BY id) AS c FROM t -- random()", &[]),
        // Which of several is called no plan says.
        ("SELECT id, overloaded(name) AS a FROM t", &[]),
        ("SELECT id, other.roll(id) AS a FROM t", &["roll"]),
        ("SELECT id, other.\"Odd (one)\"(id) AS a FROM t", &["Odd (one)"]),
        ("SELECT id, inlined(id) AS a FROM t", &["random"]),
        ("SELECT * FROM seen", &["now"]),
        (
            "SELECT id FROM t WHERE random() >= 0 ORDER BY clock_timestamp()",
            &["clock_timestamp", "random"],
        ),
        (
            "SELECT id, LOCALTIMESTAMP(3) AS a, CURRENT_DATE AS b FROM t",
            &["current_date", "localtimestamp"],
        ),
        (
            "WITH one AS (SELECT id, pg_backend_pid() AS a FROM t) SELECT * FROM one",
            &["pg_backend_pid"],
        ),
        // A plan has no quotes around such a name.
        (
            "WITH \"it's: now()\" AS MATERIALIZED (SELECT id, random() AS a FROM t) SELECT * FROM \"it's: now()\"",
            &["random"],
        ),
        ("SELECT id FROM t TABLESAMPLE bernoulli (100)", &["TABLESAMPLE without REPEATABLE"]),
        ("SELECT id FROM t TABLESAMPLE bernoulli (100) REPEATABLE (1)", &[]),
    ] {
        // As a text of YAML.
        let said = sql.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let workspace = workspace(&oracle, &database.source(), &said);
        let seen = workspace.json(&["validate", "--sources"]);
        let told = seen["models"][0]["warnings"].to_string();
        let count = told.matches("can give another answer").count();
        assert_eq!(count, expected.len(), "{sql}: {told}");
        for function in expected {
            assert!(told.contains(&format!("uses `{function}`, which")), "{sql}: {told}");
        }
    }
}

pub fn untold(server: &Postgres) {
    const EXPLAIN: Breaks = Breaks::Renames("EXPLAIN (VERBOSE", "EXPLAIN (VERBOSX");
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    // A run asks once, whatever sessions it has, and a server that knows no such plan only says less.
    let front = Cutting::start(Protocol::Postgres, server.port, EXPLAIN);
    reads(&workspace, &database.source_at(front.port, ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    assert_eq!(front.broken(), 1, "it was asked more than once");
    // Nor does a role need what this alone takes.
    database.ask(
        "REVOKE SELECT ON pg_proc FROM PUBLIC; CREATE ROLE untold_reader LOGIN; CREATE TABLE closed (id int);
         GRANT SELECT ON people TO untold_reader",
    );
    let as_reader = |said: &str| said.replace("user: postgres", "user: untold_reader");
    let tables = "{ people: people, closed: closed }";
    let sql = "SELECT p.id, lower(p.name) AS name, q.note FROM lake.people p JOIN lake.people q ON p.id = q.id";
    let joined = joins::workspace(&oracle, &database, tables, sql);
    joins::places(&joined, 1, 1);
    joined.write("counterflow.yaml", &as_reader(&joined.config_now()));
    joined.sync(&[]).expect(0, "succeeded", &[("rows_read", 10)]);
    let workspace = crate::shared::workspace(
        &oracle,
        &as_reader(&database.source()),
        "SELECT id, lower(name) AS name FROM people",
    );
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 10)]);
    workspace.run(&["validate", "--sources"]).expect_code(0);
    let seen = workspace.json(&["doctor", "lake"])[0].clone();
    assert!(seen["is_well"] == true, "{seen:#}");
    assert!(!seen["advice"].to_string().contains("not all of it was seen"), "{seen:#}");
    // It looks at what comes behind, too.
    let seen = joined.run(&["doctor", "lake"]).expect_code(1);
    seen.expect_printed(&["table `closed` may not be read"]);
    database.ask(
        "GRANT SELECT ON pg_proc TO PUBLIC; DROP OWNED BY untold_reader; DROP ROLE untold_reader",
    );
}

pub fn no_text(server: &Postgres) {
    let database = server.new_database(
        "CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'a');
         CREATE FUNCTION more() RETURNS SETOF int LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT id FROM people; END'",
    );
    // In plans, and in the names of tables that are locked or could be written to.
    let front = Cutting::start(Protocol::Postgres, server.port, Breaks::Blurs("people"));
    let source = database.source_at(front.port, "");
    let oracle = Oracle::start(&["id"]);
    let plain = workspace(&oracle, &source, "SELECT id, name, random() AS r FROM people");
    plain.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    plain.run(&["doctor", "lake"]).expect_code(0);
    assert!(front.broken() > 3, "little was said: {}", front.broken());
    // A table whose name is none holds the deletes as any other.
    let oracle = Oracle::start(&["id"]);
    let called = workspace(&oracle, &source, "SELECT f AS id, 'name' AS name FROM more() f");
    called.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    database.ask("INSERT INTO people VALUES (2, 'b'); DELETE FROM people WHERE id = 1");
    called.sync(&[]).expect(4, "partial", &[("delivered", 1), ("deleted", 0), ("held", 1)]);
}
