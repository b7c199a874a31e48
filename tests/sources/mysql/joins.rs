//! A database of MySQL's kind is asked once by a model that joins it.

use crate::servers::Database as _;
use crate::servers::mysql::MySql;
use crate::shared::joins::{places, workspace};
use crate::support::oracle::Oracle;

pub fn once(server: &MySql) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'a'), (2, 'b')",
    );
    let good = "SELECT a.id, a.name FROM lake.people a JOIN disk.places b ON a.id = b.id";
    let workspace = workspace(&oracle, &database, "{ people: people, other: people }", good);
    places(&workspace, 1, 1);
    let written = workspace.config_now();
    let words =
        ["reads more than once from `lake`", "two states", "in the `sql` of one of its `tables`"];
    for sql in [
        "SELECT a.id, b.name FROM lake.people a JOIN lake.other b ON a.id = b.id",
        "SELECT a.id, b.name FROM lake.people a JOIN lake.people b ON a.id = b.id",
        "SELECT id, name FROM lake.people WHERE id IN (SELECT id FROM lake.other)",
    ] {
        workspace.write("counterflow.yaml", &written.replace(good, sql));
        workspace.run(&["validate"]).expect_code(2).expect_printed(&words);
    }
    // What only the plan shows is refused before a row is read.
    let hidden = "WITH c AS (SELECT * FROM lake.people) SELECT a.id, b.name FROM c a JOIN c b ON a.id = b.id";
    workspace.write("counterflow.yaml", &written.replace(good, hidden));
    workspace.run(&["validate"]).expect_code(0);
    workspace.run(&["validate", "--sources"]).expect_code(2).expect_printed(&words);
    workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&words);
    assert_eq!((oracle.request_count(), database.count_sessions()), (0, 0));
    // The doctor asks for no row either.
    let unknown = written.replace("{ people: people,", "{ people: peple,");
    workspace.write("counterflow.yaml", &unknown);
    let words = ["table `people`", "1146", "correct its SQL"];
    workspace.run(&["doctor", "lake"]).expect_printed(&words);
    workspace
        .run(&["sync", "people"])
        .expect_code(2)
        .expect_printed(&["table `lake.people` of model"]);
    // Joined in its own SQL it is one answer.
    let own =
        "{ people: { sql: \"SELECT a.id, b.name FROM people a JOIN people b ON a.id = b.id\" } }";
    let joined = written.replace("{ people: people, other: people }", own);
    workspace.write("counterflow.yaml", &joined);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
}
