//! What of cursors is PostgreSQL's own.

use crate::servers::Database as _;
use crate::servers::postgres::Postgres;
use crate::shared::cursor::with_cursor;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;

pub fn infinite(server: &Postgres) {
    let oracle = Oracle::start(&["id"]);
    let database = server.new_database(
        "CREATE TABLE people (id int PRIMARY KEY, changed timestamptz);
         INSERT INTO people VALUES (1, '2020-01-01'), (2, '2020-02-01')",
    );
    let source = database.source_at(server.port, ", infinity: as_null");
    let workspace = with_cursor(&oracle, &source, "SELECT * FROM people", &["id"]);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    database.ask("INSERT INTO people VALUES (3, '-infinity'), (4, NULL)");
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3), ("delivered", 2)]);
}

/// A key in doubt that the column's type knows no more, and a column that nothing is compared with.
pub fn refused(server: &Postgres) {
    let oracle = Oracle::start(&["mood"]);
    let database = server.new_database(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE people (mood mood PRIMARY KEY, changed int);
         INSERT INTO people VALUES ('sad', 1)",
    );
    let workspace = with_cursor(&oracle, &database.source(), "SELECT * FROM people", &["mood"]);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    database.ask("UPDATE people SET changed = 2");
    (0..4).for_each(|_| oracle.on_next(Fault::DropBeforeApply));
    let doubtful = workspace.sync(&[]);
    assert_eq!(doubtful.json["tally"]["unknown"], 1, "{doubtful:#?}");
    database.ask("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'");
    let whole = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    assert!(whole.json["whole"].is_string(), "{whole:#?}");
}
