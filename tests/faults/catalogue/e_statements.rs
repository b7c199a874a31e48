//! E12. A model is one query over the source's tables; anything else is refused before anything happens.
//! Not for the judge: nothing is ever sent, and no state is made that it could look at.

use super::Scenario;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::workspace::{Setup, Workspace};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E12", "what defines something is no model", definitions),
    Scenario::new("E12", "what writes something is no model", writes),
    Scenario::new("E12", "several statements are no model", several),
    Scenario::new("E12", "a path or URL is no table", paths),
];

/// Each is refused by `validate` and by `sync`, and by the other commands that read; nothing is sent, nothing is made.
#[track_caller]
fn refused(statements: &[&str], word: &str) {
    for sql in statements {
        let oracle = Oracle::start(&["id"]);
        let sql = sql.replace('"', "\\\"");
        let workspace = Workspace::new(&oracle, Setup { sql, ..Setup::default() });
        workspace.write_people(&people(1..=3));
        std::fs::copy(workspace.path().join("people.csv"), workspace.path().join("other.csv"))
            .expect("a file can be copied");
        let before = std::fs::read(workspace.path().join("people.csv")).expect("it can be read");
        for command in [&["validate"][..], &["sync", "people"], &["plan", "people"]] {
            let refused = workspace.run(command).expect_code(2);
            refused.expect_printed(&["people", word]);
        }
        assert_eq!(oracle.connections(), 0, "{statements:?}");
        let after = std::fs::read(workspace.path().join("people.csv")).expect("it can be read");
        assert!(before == after, "the source was written");
        let names = std::fs::read_dir(workspace.path()).expect("it can be read").flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        assert!(!names.iter().any(|name| name == "stolen.csv"), "{names:?}");
    }
}

fn definitions(_: &Scenario) {
    refused(&["CREATE TABLE t AS SELECT 1 AS id", "CREATE VIEW v AS SELECT 1 AS id"], "CREATE");
    let external = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'people.csv'";
    refused(&[external], "CREATE");
    refused(&["DROP TABLE people"], "DROP");
    refused(&["ALTER TABLE people ADD COLUMN a INT"], "ALTER");
    refused(&["TRUNCATE TABLE people"], "TRUNCATE");
    refused(&["SET datafusion.execution.batch_size = 1"], "SET");
    refused(&["EXPLAIN SELECT * FROM people"], "EXPLAIN");
}

fn writes(_: &Scenario) {
    refused(&["INSERT INTO people VALUES (9, 9, 'c', 'e')"], "INSERT");
    refused(&["UPDATE people SET id = 9"], "UPDATE");
    refused(&["DELETE FROM people"], "DELETE");
    refused(&["COPY people TO 'stolen.csv'"], "COPY");
    refused(&["COPY (SELECT * FROM people) TO 'stolen.csv'"], "COPY");
    refused(&["SELECT * INTO stolen FROM people"], "INTO");
    refused(&["WITH gone AS (DELETE FROM people) SELECT 1 AS id"], "writes");
    refused(&["SELECT * FROM people FOR UPDATE"], "FOR");
}

fn several(_: &Scenario) {
    refused(&["SELECT * FROM people; SELECT * FROM people"], "2 statements");
    refused(&["SELECT * FROM people; DROP TABLE people"], "2 statements");
    refused(&["SELECT 1 AS id; SELECT 2 AS id; SELECT 3 AS id"], "3 statements");
    refused(&["", "-- nothing", ";"], "SELECT");
}

fn paths(_: &Scenario) {
    let sql = [
        "SELECT * FROM 'other.csv'",
        "SELECT * FROM './other.csv'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 'https://example.com/people.csv'",
        "SELECT * FROM 's3://bucket/people.parquet'",
        "SELECT * FROM people WHERE id IN (SELECT id FROM 'other.csv')",
        "SELECT * FROM people UNION ALL SELECT * FROM 'other.csv'",
    ];
    refused(&sql, "a path or URL is no table");
    refused(&["SELECT * FROM read_csv('other.csv')"], "read_csv");
    refused(&["SELECT * FROM information_schema.tables"], "information_schema");
}
