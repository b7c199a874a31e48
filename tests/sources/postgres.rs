//! What is played against PostgreSQL.

mod ends;
mod refusals;
mod rows;
mod values;

use super::Scenario;
use super::servers::postgres::{Database, Postgres};
use super::support::oracle::Oracle;
use super::support::workspace::{Setup, Workspace};

/// All, by name.
pub const SCENARIOS: [Scenario<Postgres>; 18] = [
    ("every type is what the server says it is", values::every_type),
    ("every number keeps every digit", values::numbers),
    ("what has no place is named", values::misfits),
    ("a mirror follows the database and sends nothing twice", rows::mirror),
    ("an empty answer is no accident twice", rows::empty),
    ("a huge answer is read in bounded memory", rows::huge),
    ("a run sees one state of the database", rows::one_state),
    ("a password travels by TLS and is told nobody", rows::tls),
    ("a password is found in its file", rows::passfile),
    ("a Unix socket is as good as an address", rows::socket),
    ("an answer that is cut anywhere proves nothing", ends::cut),
    ("an answer that ends behind CopyDone proves nothing", ends::behind_copy_done),
    ("an answer without its trailer proves nothing", ends::without_trailer),
    ("a server that kills the query leaves the destination as it is", ends::killed),
    ("a stop ends the query at the server", ends::cancelled),
    ("a silent server and a slow query are given up", ends::timeouts),
    ("a reader that is held back is no silent server", ends::held_back),
    ("what is no query that only reads is refused by name", refusals::refused),
];

/// A workspace whose one model reads a database by this SQL.
pub fn workspace(oracle: &Oracle, source: &str, sql: &str) -> Workspace {
    let setup = Setup { sql: sql.to_owned(), max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(oracle, Setup { batch: 100, ..setup });
    reads(&workspace, source);
    workspace
}

/// Has the model read this source from now on.
pub fn reads(workspace: &Workspace, source: &str) {
    const LAKE: &str = "lake: { files: { people: \"people.csv\" } }";
    let config = workspace.config();
    assert!(config.contains(LAKE), "{config}");
    workspace.write("counterflow.yaml", &config.replace(LAKE, source));
}

/// A workspace over a table `people` of so many rows.
pub fn people(oracle: &Oracle, database: &Database<'_>, count: u32) -> Workspace {
    database.psql("CREATE TABLE people (id int PRIMARY KEY, name text, note text)");
    fill(database, 1..=count);
    workspace(oracle, &database.source(), "SELECT id, name, note FROM people")
}

pub fn fill(database: &Database<'_>, ids: std::ops::RangeInclusive<u32>) {
    let (first, last) = ids.into_inner();
    database.psql(&format!(
        "INSERT INTO people SELECT g, 'name ' || g, repeat('n', 50) FROM generate_series({first}, {last}) g"
    ));
}
