//! A model with a cursor over a table of the server.

use serde_json::json;

use super::{joins, reads};
use crate::servers::Server;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

/// A workspace whose one model reads a database by this SQL, and has the cursor `changed`.
pub fn with_cursor(
    oracle: &Oracle,
    source: &str,
    sql: &str,
    key: &'static [&'static str],
) -> Workspace {
    let sql = sql.to_owned();
    let setup = Setup { sql, key, cursor: Some("changed"), mode: "upsert", ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    reads(&workspace, source);
    workspace
}

/// Keys of two fields, of which one has what SQL would take for its own.
pub fn new_rows(server: &dyn Server) {
    let oracle = Oracle::start(&["tenant", "id"]);
    // The older, the greater; none is nearer to the next than a read overlaps.
    let time = |age: u32| format!("'2020-01-{:02} 00:00:00'", 30 - age);
    let number = |age: u32| format!("-{age}");
    let [zoned, local] = server.words().timestamps;
    let kinds: [(&str, &dyn Fn(u32) -> String); 4] =
        [(zoned, &time), (local, &time), ("date", &time), ("bigint", &number)];
    for (kind, value) in kinds {
        let row = |id: u32| format!("('o''brien {{ \" $$', {id}, '{kind}', {})", value(2 * id));
        let rows: Vec<String> = (1..=14).map(row).collect();
        let database = server.database(&format!(
            "CREATE TABLE people (tenant varchar(20), id int, name text, changed {kind} NULL, PRIMARY KEY (tenant, id));
             INSERT INTO people VALUES ('none', 1, '{kind}', NULL), {}",
            rows.join(", ")
        ));
        let sql = "SELECT * FROM people;  -- all";
        let workspace = with_cursor(&oracle, &database.source(), sql, &["tenant", "id"]);
        let config = workspace.config_now();
        workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 15), ("delivered", 15)]);
        let usual =
            workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 2), ("requests", 0)]);
        usual.expect_kind("incremental", "cursor");

        let change = |age| {
            format!("UPDATE people SET name = 'first', changed = {} WHERE id = 7", value(age))
        };
        database.ask(&change(0));
        oracle.on_next(Fault::DropBeforeApply);
        workspace.write("counterflow.yaml", &config.replace("attempts: 4", "attempts: 1"));
        let doubtful = workspace.sync(&[]);
        assert_eq!(doubtful.json["tally"]["unknown"], 1, "{kind}: {doubtful:#?}");
        // It is new no more, and is asked for by its key.
        database.ask(&change(20));
        let mended = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
        mended.expect_kind("incremental", "cursor");
        let record = oracle.record("[\"o'brien { \\\" $$\",7]");
        assert_eq!(record.map(|record| record["name"].clone()), Some(json!("first")), "{kind}");
    }
}

/// A model that joins a table of the server with a file: its tables are read as a whole, and no more of it is sent than is new.
pub fn joined(server: &dyn Server) {
    const SQL: &str = "SELECT p.id, p.name, b.city, p.changed FROM lake.people p JOIN disk.places b ON p.id = b.id";
    let oracle = Oracle::start(&["id"]);
    let database = server.database(
        "CREATE TABLE people (id int PRIMARY KEY, name varchar(20), changed bigint NULL);
         INSERT INTO people VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', NULL), (4, 'd', 40), (5, 'e', 5)",
    );
    let setup = Setup { sql: SQL.to_owned(), cursor: Some("changed"), ..Setup::default() };
    let setup = Setup { mode: "upsert", max_deletes: None, ..setup };
    let workspace = joins::workspace_of(&oracle, &*database, "{ people: people }", setup);
    joins::places(&workspace, 1, 4);
    let config = workspace.config_now();
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 4), ("delivered", 4)]);
    // Those from the bound on, and those that have no value.
    let usual = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 2), ("requests", 0)]);
    usual.expect_kind("incremental", "cursor");
    // A file that brings an old row says nothing of its cursor.
    joins::places(&workspace, 1, 5);
    database.ask("UPDATE people SET name = 'unseen' WHERE id = 1");
    database.ask("UPDATE people SET name = 'seen', changed = 41 WHERE id = 2");
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3), ("upserts", 1)]);
    let name = |id: u32| oracle.record(&format!("[{id}]")).map(|record| record["name"].clone());
    assert_eq!([name(1), name(2), name(5)], [Some(json!("a")), Some(json!("seen")), None]);
    // What is in doubt is asked for by its key, though it is new no more.
    database.ask("UPDATE people SET name = 'in doubt', changed = 50 WHERE id = 4");
    oracle.on_next(Fault::DropBeforeApply);
    workspace.write("counterflow.yaml", &config.replace("attempts: 4", "attempts: 1"));
    let doubtful = workspace.sync(&[]);
    assert_eq!(doubtful.json["tally"]["unknown"], 1, "{doubtful:#?}");
    database.ask("UPDATE people SET changed = 1 WHERE id = 4");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    assert_eq!(name(4), Some(json!("in doubt")));
    // At its time everything is read and compared.
    let daily = config.replace("column: changed", "column: changed, full_every: 1ms");
    assert_ne!(daily, config);
    workspace.write("counterflow.yaml", &daily);
    let whole = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 5), ("upserts", 2)]);
    let why = whole.json["whole"].as_str().unwrap_or_default();
    assert!(why.contains("`full_every`"), "{whole:#?}");
    assert_eq!([name(1), name(5)], [Some(json!("unseen")), Some(json!("e"))]);
    assert_eq!(database.count_sessions(), 0);
}
