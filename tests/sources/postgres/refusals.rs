//! What a model may not be, and what may not be read, each by name.

use crate::servers::Database as _;
use crate::servers::postgres::Postgres;
use crate::shared::{expect_refused, reads, workspace};
use crate::support::oracle::Oracle;
use crate::support::people::CANARY;

/// What would write to the table `people`, and what is said of it.
pub const WRITES: [(&str, &str); 7] = [
    ("WITH x AS (INSERT INTO people VALUES (-1) RETURNING id) SELECT id FROM x", "may only read"),
    ("INSERT INTO people VALUES (-1) RETURNING id", "is no SELECT"),
    ("SELECT id FROM people FOR UPDATE", "FOR UPDATE"),
    ("SELECT nextval('people_seen')::int AS id", "nextval"),
    ("SELECT 1 AS id INTO others", "may only read"),
    ("SELECT 1 AS id; DROP TABLE people", "several statements"),
    ("DROP TABLE people", "is no SELECT"),
];

/// Parts of queries that are refused by what a row holds, or by what is called for each.
const BY_ROWS: [&str; 3] = ["set_config", "secret::int", "id / 0"];

pub fn refused(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE t (id int PRIMARY KEY, secret text); CREATE SEQUENCE s; CREATE TABLE p (id int);
         CREATE TABLE hidden (id int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
         CREATE ROLE guest NOLOGIN; GRANT SELECT ON hidden TO guest;
         INSERT INTO hidden VALUES (1); CREATE POLICY none ON hidden USING (false)",
    );
    database.ask(&format!("INSERT INTO t VALUES (1, '{CANARY}')"));
    for (sql, words) in [
        ("SELECT 1 AS id; SELECT 2 AS id", &["several statements"][..]),
        ("SET work_mem = 1", &["is no SELECT"]),
        ("SHOW work_mem", &["is no SELECT"]),
        ("SELECT 1) TO PROGRAM 'true' --", &["refused by the server", "syntax error"]),
        ("SELECT $1::int AS id", &["the placeholder `$1`"]),
        ("SELECT 1 AS id, 2 AS id", &["two columns named `id`"]),
        ("SELECT 1 AS id, 1 + 1", &["without a name", "`AS`"]),
        ("SELECT 1 AS id, row(1, 2) AS r", &["`r` of type `record`", "to_jsonb"]),
        ("EXPLAIN SELECT 1 AS id", &["is no SELECT"]),
        ("SELECT missing AS id FROM t", &["column \"missing\" does not exist", "42703"]),
        (
            "SELECT set_config('transaction_read_only', 'off', true) AS id FROM t",
            &["turn its transaction into another", "take `set_config"],
        ),
        (
            "SELECT set_config('transaction_isolation', 'read committed', true) AS id FROM t",
            &["turn its transaction into another"],
        ),
        // What the server says of a row holds its values, and is not told.
        ("SELECT secret::int AS id FROM t", &["22P02", "guard the cast"]),
        ("SELECT id / 0 AS id FROM t", &["22012", "nullif"]),
        (
            "SELECT 1 AS id, repeat('x', 70000000) AS t",
            &["a row of more than 64 MiB", "cut it with `left`"],
        ),
        (" ; -- nothing", &["has no SQL"]),
    ] {
        let is_of_rows = BY_ROWS.iter().any(|part| sql.contains(part));
        expect_refused(&oracle, &database.source(), sql, words, is_of_rows);
    }
    assert_eq!(database.ask("SELECT count(*) FROM p"), "0");
    let sql = "SELECT id FROM hidden";
    let as_guest = |more: &str| database.source_at(server.port, &format!(", role: guest{more}"));
    let workspace = workspace(&oracle, &as_guest(""), sql);
    let words = ["42501", "row_security: apply"];
    workspace.run(&["validate", "--sources"]).expect_code(2).expect_printed(&words);
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&words);
    reads(&workspace, &as_guest(", row_security: apply"));
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["gave no rows"]);
}

pub fn hidden(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE people (id int PRIMARY KEY); INSERT INTO people SELECT generate_series(1, 4);
         CREATE ROLE narrow NOLOGIN; GRANT SELECT ON people TO narrow",
    );
    let source = |more: &str| database.source_at(server.port, &format!(", role: narrow{more}"));
    let workspace = workspace(&oracle, &source(""), "SELECT id FROM people");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 4)]);
    database.ask("ALTER TABLE people ENABLE ROW LEVEL SECURITY");
    database.ask("CREATE POLICY few ON people USING (id <= 2)");
    let refused = workspace.run(&["sync", "people"]);
    assert_eq!(oracle.table().len(), 4, "rows that a policy hides were deleted");
    refused.expect_code(2).expect_printed(&["42501", "row_security: apply"]);
    // Where that is meant it is another source, and a person says what goes.
    reads(&workspace, &source(", row_security: apply"));
    workspace.sync(&[]).expect(4, "partial", &[("held", 2)]);
    assert_eq!(oracle.table().len(), 4);
    database.ask("DROP OWNED BY narrow; DROP ROLE narrow");
}
