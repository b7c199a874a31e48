//! What a model may not be, and what may not be read, each by name.

use crate::servers::Database as _;
use crate::servers::mysql::MySql;
use crate::shared::{expect_refused, workspace};
use crate::support::oracle::Oracle;
use crate::support::people::CANARY;

/// What would write to the table `people` or beside it, and what is said of it.
pub const WRITES: [(&str, &str); 8] = [
    ("INSERT INTO people VALUES (-1)", "may only read"),
    ("INSERT INTO people VALUES (-1) RETURNING id", "may only read"),
    ("DELETE FROM people RETURNING id", "may only read"),
    ("SELECT id FROM people FOR UPDATE", "FOR UPDATE"),
    ("SELECT id FROM people LOCK IN SHARE MODE", "LOCK IN SHARE MODE"),
    ("SELECT id FROM people INTO OUTFILE '/tmp/canary'", "may only read"),
    ("SELECT 1 AS id; DROP TABLE people", "one SELECT"),
    ("DROP TABLE people", "is no SELECT"),
];

/// Parts of queries that are refused by what a row holds, or by what is called for each.
const BY_ROWS: [&str; 2] = ["18446744073709551615", "UNION SELECT"];

pub fn refused(server: &MySql) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id INT PRIMARY KEY, secret TEXT, g GEOMETRY); CREATE SEQUENCE s; CREATE TABLE p (id INT);
         CREATE FUNCTION writes() RETURNS INT BEGIN INSERT INTO p VALUES (1); RETURN 1; END",
    );
    database.ask(&format!("INSERT INTO t VALUES (1, '{CANARY}', NULL)"));
    for (sql, words) in [
        ("SELECT 1 AS id; SELECT 2 AS id", &["refused by the server", "1064"][..]),
        ("SET @x = 1", &["is no SELECT"]),
        ("SHOW TABLES", &["is no SELECT"]),
        ("SELECT 1 AS id) AS t -- ", &["refused by the server", "1064"]),
        ("SELECT ? AS id", &["the placeholder `?`"]),
        ("SELECT 1 AS id, 2 AS id", &["two columns named `id`"]),
        ("SELECT 1 AS id, 2 AS ID", &["two columns of one name"]),
        ("SELECT 1 AS id, ''", &["without a name", "`AS`"]),
        ("SELECT id, g FROM t", &["`g`, which is a geometry", "ST_AsGeoJSON"]),
        ("SELECT id FROM t LOCK IN SHARE MODE SKIP LOCKED", &["may only read"]),
        ("SELECT nextval(s) AS id", &["may only read"]),
        ("SELECT writes() AS id", &["may only read"]),
        ("SELECT missing AS id FROM t", &["Unknown column", "1054"]),
        ("SELECT id FROM missing", &["doesn't exist", "1146", "look at the right database"]),
        ("SELECT 18446744073709551615 + id AS id FROM t", &["1690", "wider"]),
        ("SELECT (SELECT 1 UNION SELECT 2) AS id", &["1242", "more than one row"]),
        (" ; # nothing", &["has no SQL"]),
    ] {
        let is_of_rows = BY_ROWS.iter().any(|part| sql.contains(part));
        expect_refused(&oracle, &database.source(), sql, words, is_of_rows);
    }
    assert_eq!(database.ask("SELECT count(*) FROM p"), "0");
    // Without a database the SQL names it.
    let (port, name) = (server.port, &database.name);
    let source = |more: &str| {
        format!("lake: {{ mysql: {{ host: 127.0.0.1, port: {port}, user: app{more} }} }}")
    };
    let nowhere = workspace(&oracle, &source(""), "SELECT id FROM t");
    for command in [&["sync", "people"], &["validate", "--sources"]] {
        nowhere.run(command).expect_code(2).expect_printed(&["1046", "`database`"]);
    }
    let named = workspace(&oracle, &source(""), &format!("SELECT id FROM {name}.t"));
    named.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    let unknown = source(", settings: { no_such_setting: \"1\" }");
    let unknown = workspace(&oracle, &unknown, &format!("SELECT id FROM {name}.t"));
    for command in [&["sync", "people"], &["validate", "--sources"]] {
        let words = ["no_such_setting", "1193", "`settings`"];
        unknown.run(command).expect_code(2).expect_printed(&words);
    }
    let settings = source(
        ", settings: { sql_mode: \"ANSI_QUOTES,NO_BACKSLASH_ESCAPES\", group_concat_max_len: \"4\" }",
    );
    let sql = format!("SELECT id, @@group_concat_max_len AS n, @@sql_mode AS b FROM {name}.t");
    workspace(&oracle, &settings, &sql).sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    let modes = ["ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "STRICT_ALL_TABLES"];
    let is_set = |record: &serde_json::Value| {
        let said = record["b"].as_str().unwrap_or_default();
        record["n"] == 4 && modes.iter().all(|mode| said.contains(mode))
    };
    assert!(oracle.table().values().any(is_set), "{:?}", oracle.table());
}
