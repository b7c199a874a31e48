//! What of cursors is MySQL's own.

use crate::servers::Database as _;
use crate::servers::mysql::MySql;
use crate::shared::cursor::with_cursor;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;

/// An enum is compared with text as text, and by nothing with a word that it does not have.
pub fn of_an_enum(server: &MySql) {
    let oracle = Oracle::start(&["mood"]);
    let database = server.new_database(
        "CREATE TABLE people (mood ENUM ('sad', 'ok', '7') PRIMARY KEY, name TEXT, changed INT);
         INSERT INTO people VALUES ('ok', 'a', 9), ('7', 'b', 1), ('sad', 'c', 2)",
    );
    let workspace = with_cursor(&oracle, &database.source(), "SELECT * FROM people", &["mood"]);
    let config = workspace.config_now();
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
    database.ask("UPDATE people SET name = 'first', changed = 10 WHERE mood = '7'");
    oracle.on_next(Fault::DropBeforeApply);
    workspace.write("counterflow.yaml", &config.replace("attempts: 4", "attempts: 1"));
    let doubtful = workspace.sync(&[]);
    assert_eq!(doubtful.json["tally"]["unknown"], 1, "{doubtful:#?}");
    // It is new no more: by its key alone it is asked for, and no other with it.
    database.ask("UPDATE people SET changed = 1 WHERE mood = '7'; UPDATE people SET changed = 20 WHERE mood = 'ok'");
    let mended = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    mended.expect_kind("incremental", "cursor").expect(0, "succeeded", &[("rows_read", 2)]);
    assert_eq!(oracle.record("[\"7\"]").expect("it is there")["name"], "first");
}

pub fn zero_dates(server: &MySql) {
    for kind in ["DATETIME", "TIMESTAMP", "DATE"] {
        let oracle = Oracle::start(&["id"]);
        let database = server.new_database(&format!(
            "SET sql_mode = ''; CREATE TABLE people (id INT PRIMARY KEY, name TEXT, changed {kind} NULL);
             INSERT INTO people VALUES (1, 'a', '2020-01-01'), (2, 'b', '2020-02-01')"
        ));
        let source = database.source_at(server.port, ", zero_dates: as_null");
        let workspace = with_cursor(&oracle, &source, "SELECT * FROM people", &["id"]);
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
        database.ask(
            "SET sql_mode = ''; INSERT INTO people VALUES (3, 'c', '0000-00-00'), (4, 'd', NULL)",
        );
        let next =
            workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3), ("delivered", 2)]);
        next.expect_kind("incremental", "cursor");
        let sql = "SET sql_mode = ''; UPDATE people SET name = 'changed' WHERE id = 3";
        database.ask(sql);
        workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3), ("delivered", 1)]);
    }
}
