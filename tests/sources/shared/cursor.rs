//! A model with a cursor over a table of the server.

use serde_json::json;

use super::reads;
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
