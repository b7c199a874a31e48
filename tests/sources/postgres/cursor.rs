//! A model with a cursor over a table of the server.

use serde_json::json;

use super::workspace;
use crate::servers::postgres::Postgres;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;

/// Keys of two fields, of which one has what SQL would take for its own.
pub fn new_rows(server: &Postgres) {
    let oracle = Oracle::start(&["tenant", "id"]);
    for (kind, value) in [
        ("timestamptz", "now() - interval '1 day' * "),
        ("timestamp", "localtimestamp - interval '1 day' * "),
        ("date", "current_date - 10 * "),
        ("bigint", "-10 * "),
    ] {
        let database = server.database(&format!(
            "CREATE TABLE people (tenant text, id int, name text, changed {kind}, PRIMARY KEY (tenant, id));
             INSERT INTO people SELECT $$o'brien \\ $$, g, '{kind}', {value} g FROM generate_series(1, 20) g;
             INSERT INTO people VALUES ('none', 1, '{kind}', NULL)"
        ));
        let workspace = workspace(&oracle, &database.source(), "SELECT * FROM people;  -- all");
        let config = workspace.config_now();
        let config = config.replace(
            "primary_key: [id] }",
            "primary_key: [tenant, id], cursor: { column: changed } }",
        );
        let config = config.replace("mode: mirror", "mode: upsert");
        workspace.write("counterflow.yaml", &config);
        workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 21), ("delivered", 21)]);
        let usual =
            workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 2), ("requests", 0)]);
        usual.expect_kind("incremental", "cursor");

        database
            .psql(&format!("UPDATE people SET name = 'first', changed = {value} 0 WHERE id = 7"));
        oracle.on_next(Fault::DropBeforeApply);
        let config = config.replace("attempts: 4", "attempts: 1");
        workspace.write("counterflow.yaml", &config);
        let doubtful = workspace.sync(&[]);
        assert_eq!(doubtful.json["tally"]["unknown"], 1, "{kind}: {doubtful:#?}");
        // What is newer than all of it does not hide what is in doubt.
        database.psql(&format!("UPDATE people SET changed = {value} 5 WHERE id = 7"));
        let mended = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
        mended.expect_kind("incremental", "cursor");
        let record = oracle.record("[\"o'brien \\\\ \",7]");
        assert_eq!(record.map(|record| record["name"].clone()), Some(json!("first")), "{kind}");
    }
}
