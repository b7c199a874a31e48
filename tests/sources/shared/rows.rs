//! Rows that arrive: what is sent, what is sent again, and by which way they come.

use super::{fill, people, reads, wait_until};
use crate::servers::Server;
use crate::support::oracle::Oracle;

pub fn mirror(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, server, &*database, 250);
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("delivered", 250)]);
    // Never skipped: no database can say that nothing changed.
    let again = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("requests", 0)]);
    again.expect_kind("incremental", "usual");
    database.ask("UPDATE people SET name = NULL WHERE id <= 3; DELETE FROM people WHERE id > 245");
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 3), ("deletes", 5)]);
    let table = oracle.table();
    assert_eq!(table.values().filter(|record| record["name"].is_null()).count(), 3);
    assert_eq!(table.len(), 245);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

pub fn sample(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, server, &*database, 20);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    fill(server, &*database, 21, 20_000);
    for (chosen, delivered, known) in [
        (&["--limit", "3"][..], 3, 23),
        (&["--where", "id > 19990"], 10, 33),
        (&["--where", "id > 100", "--limit", "2"], 2, 35),
    ] {
        let run = workspace.run(&[&["--format", "json", "sample", "people"], chosen].concat());
        let run = run.expect_code(0).json();
        assert_eq!(run["tally"]["delivered"], delivered, "{chosen:?}: {run:#}");
        assert!(oracle.table().len() <= known, "{chosen:?}: more was sent");
        wait_until(|| database.count_sessions() == 0, "the query is over");
    }
    let none = workspace.run(&["sample", "people", "--where", "false"]).expect_code(1);
    none.expect_printed(&["no row"]);
    // What nobody chose is sent now, and nothing was taken for gone.
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 20_000), ("deletes", 0)]);
    assert_eq!(oracle.table().len(), 20_000);
}

pub fn socket(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, server, &*database, 10);
    reads(&workspace, &database.socket_source());
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
}
