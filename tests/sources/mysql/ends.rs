//! How an answer of MariaDB ends, and where it only seems to.

use counterflow::source::definition::Access;
use counterflow::source::mysql::definition::Definition;

use super::values::read_with;
use crate::reading::{read_after, remote};
use crate::servers::Database as _;
use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::mysql::MySql;
use crate::shared::ends::{expect_nothing_deleted, mirrored};
use crate::shared::{people, reads};
use crate::support::oracle::Oracle;

pub fn made_shorter(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 2_000);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2_000)]);
    let written = workspace.config_now();
    for (sql, words) in [
        (
            "SELECT id, name, note FROM people WHERE note <> 'x' LIMIT ROWS EXAMINED 100",
            ["1931", "`LIMIT ROWS EXAMINED` ended it"],
        ),
        (
            "SELECT id, name, (SELECT group_concat(repeat(note, 20)) FROM people) AS note FROM people WHERE id = 1",
            ["1260", "raise `group_concat_max_len`"],
        ),
        (
            "SELECT id, name, repeat('x', 100000000) AS note FROM people WHERE id = 1",
            ["1301", "`max_allowed_packet`"],
        ),
        (
            "SELECT id, name, (SELECT sum(p.note + s.seq) FROM people p JOIN seq_1_to_100 s) AS note FROM people WHERE id = 1",
            ["65535 warnings or more", "SHOW WARNINGS"],
        ),
        (
            "SELECT id, name, note FROM people WHERE id = 1 AND concat(repeat('a', 40), '!', id) NOT REGEXP '^(a+)+$'",
            ["1139", "a regular expression failed"],
        ),
        (
            "SELECT id, name, json_extract(concat(repeat('[', 40), id, repeat(']', 40)), '$[0]') AS note FROM people WHERE id = 1",
            ["4040", "nested too deeply"],
        ),
    ] {
        let changed = written.replace("SELECT id, name, note FROM people", sql);
        assert_ne!(changed, written);
        workspace.write("counterflow.yaml", &changed);
        expect_nothing_deleted(&oracle, &workspace, sql);
        workspace.run(&["sync", "people"]).expect_printed(&words);
    }
}

pub fn table_changed(server: &MySql) {
    let database = server
        .new_database("CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 1)");
    let definition = Definition {
        remote: remote(server.port, &database.name, "app"),
        server_key: None,
        is_zero_date_null: false,
        is_tinyint1_boolean: false,
    };
    let read = |sql: &str, change: &str| {
        let access = Access::MySql(Box::new(definition.clone()));
        read_after(access, sql, || drop(database.ask(change)))
    };
    let sql = "SELECT id, x FROM t";
    for change in [
        "ALTER TABLE t MODIFY x VARCHAR(10)",
        "DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, x INT)",
    ] {
        let said = read(sql, change).expect_err(change).to_string();
        assert!(said.contains("a table was changed") && said.contains("1412"), "{change}: {said}");
    }
    // What has no table has no state of its own, and only its columns say so.
    database.ask("CREATE OR REPLACE VIEW v AS SELECT 1 AS id, 1 AS x");
    let said = read("SELECT id, x FROM v", "CREATE OR REPLACE VIEW v AS SELECT 1 AS id, 'a' AS x");
    let said = said.expect_err("it has another type now").to_string();
    assert!(said.contains("a table was changed"), "{said}");
}

/// A table that was loaded beside and renamed into place between the plan and the first row.
pub fn renamed(server: &MySql) {
    let database = server
        .new_database("CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 1)");
    let definition = Definition {
        remote: remote(server.port, &database.name, "app"),
        server_key: None,
        is_zero_date_null: false,
        is_tinyint1_boolean: false,
    };
    let change =
        "CREATE TABLE n LIKE t; INSERT INTO n VALUES (1, 2), (2, 2); RENAME TABLE t TO o, n TO t";
    let access = Access::MySql(Box::new(definition));
    let read = read_after(access, "SELECT id, x FROM t", || drop(database.ask(change)));
    assert_eq!(read.expect("it is one state"), [["1", "2"], ["2", "2"]]);
}

/// The end of an answer that came from elsewhere, and a session whose answers are in other letters.
pub fn elsewhere(server: &MySql) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    let front = Cutting::start(Protocol::MySql, server.port, Breaks::Elsewhere);
    reads(&workspace, &database.source_at(front.port, ""));
    expect_nothing_deleted(&oracle, &workspace, "in another transaction");
    let words = ["came in another transaction", "name the server itself"];
    workspace.run(&["sync", "people"]).expect_printed(&words);
    assert!(front.broken() > 0, "nothing was changed");
    let database = server.new_database("SELECT 1");
    let read = read_with(&database, "SELECT 1 AS id", |definition| {
        definition.remote.settings = vec![("character_set_results".into(), "latin1".into())];
    });
    let said = read.expect_err("its letters are others").to_string();
    assert!(said.contains("another character set"), "{said}");
}
