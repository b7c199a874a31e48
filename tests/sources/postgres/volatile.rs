//! What a plan of PostgreSQL tells of the functions that a query calls.

use crate::servers::Database as _;
use crate::servers::postgres::Postgres;
use crate::shared::workspace;
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
         CREATE VIEW seen AS SELECT id, now() AS at FROM t",
    );
    for (sql, expected) in [
        (
            "SELECT id, roll(id) AS a, declared(id) AS b, upper(name) AS c, name || id AS d FROM t",
            &[][..],
        ),
        ("SELECT id, 'random() \"now()\"\n clock_timestamp()' AS a, E'\\' now()' AS b FROM t", &[]),
        ("SELECT id AS \"now()\", id, count(*) OVER (ORDER BY id) AS c FROM t -- random()", &[]),
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
