//! What every kind of database must be able to do to us, and what we must do then, beside what all sources must
//! ([`crate::conformance`]).

pub mod cursor;
pub mod ends;
mod flapping;
pub mod joins;
mod living;
mod rows;

use std::time::{Duration, Instant};

use crate::Scenario;
use crate::servers::{Database, Server};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::people::CANARY;
use crate::support::workspace::{Setup, Workspace};

/// All, by name.
pub const SCENARIOS: [Scenario<dyn Server>; 18] = [
    ("a mirror follows the database and sends nothing twice", rows::mirror),
    ("a cursor restricts what the server sends, and keys in doubt are asked for", cursor::new_rows),
    ("a cursor over a joined model restricts what is sent", cursor::joined),
    ("a sample of a database sends the rows that were chosen", rows::sample),
    ("a Unix socket is as good as an address", rows::socket),
    ("a server that kills the query leaves the destination as it is", ends::killed),
    ("a silent server and a slow query are given up", ends::timeouts),
    ("a reader that is held back is no silent server", ends::held_back),
    ("a model that joins a database with files follows both", joins::followed),
    ("a join that wants nothing of one side is proven", joins::empty_side),
    ("a joined table whose answer fails deletes nothing", joins::failed),
    ("a stop of a joined model frees its sessions", joins::stopped),
    ("a connection that waits is asked after by the system", ends::kept_alive),
    (
        "a living server follows the database run after run and keeps nothing of it",
        living::followed,
    ),
    ("a stop by whatever way frees the database of a living server", living::stopped),
    (
        "another password lets a living server in by a reload, and the old one is told",
        living::rotated,
    ),
    ("a model whose rows are others at each run says by which function", flapping::named),
    ("a database that goes and comes back deletes nothing and is followed on", living::restarted),
];

/// A workspace whose one model reads a database by this SQL.
pub fn workspace(oracle: &Oracle, source: &str, sql: &str) -> Workspace {
    let setup = Setup { sql: sql.to_owned(), max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(oracle, Setup { batch: 100, ..setup });
    reads(&workspace, source);
    workspace
}

/// A model of this SQL is refused by all these words, by a look before any row as by a run; where only `rows` can tell, by the
/// run alone. No content of a row is told.
#[track_caller]
pub fn expect_refused(oracle: &Oracle, source: &str, sql: &str, words: &[&str], rows: bool) {
    let workspace = workspace(oracle, source, sql);
    for command in [&["sync", "people"], &["validate", "--sources"]] {
        let refused = workspace.run(command);
        let said = refused.printed();
        assert!(!said.contains(CANARY), "{command:?}: {sql}: {said}");
        if rows && command[0] == "validate" {
            refused.expect_code(0);
            continue;
        }
        assert_ne!(refused.code, Some(0), "{command:?}: {sql}: {said}");
        for word in words {
            assert!(said.contains(word), "{command:?}: {sql}: no `{word}`\n{said}");
        }
    }
}

/// Has the model read this source from now on.
pub fn reads(workspace: &Workspace, source: &str) {
    const LAKE: &str = "lake: { files: { people: \"people.csv\" } }";
    let config = workspace.config();
    assert!(config.contains(LAKE), "{config}");
    workspace.write("counterflow.yaml", &config.replace(LAKE, source));
}

/// A workspace over a table `people` of so many rows.
pub fn people(
    oracle: &Oracle,
    server: &dyn Server,
    database: &dyn Database,
    count: u32,
) -> Workspace {
    database.ask("CREATE TABLE people (id int PRIMARY KEY, name text, note text)");
    if count > 0 {
        fill(server, database, 1, count);
    }
    workspace(oracle, &database.source(), "SELECT id, name, note FROM people")
}

pub fn fill(server: &dyn Server, database: &dyn Database, first: u32, last: u32) {
    let series = (server.words().series)(first, last);
    database.ask(&format!(
        "INSERT INTO people SELECT g, concat('name ', g), repeat('n', 50) FROM {series}"
    ));
}

#[track_caller]
pub fn wait_until(is_so: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
