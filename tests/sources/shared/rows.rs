//! Rows that arrive: what is sent, what is sent again, and by which way they come.

use std::time::Duration;

use super::{fill, people, reads, wait_until, workspace};
use crate::servers::Server;
use crate::support::SOON;
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

pub fn empty(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, server, &*database, 0);
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&["gave no rows"]);
    fill(server, &*database, 1, 20);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    database.ask("DELETE FROM people");
    workspace.sync(&[]).expect(4, "partial", &[("held", 20)]);
    assert_eq!(oracle.table().len(), 20, "an empty answer deletes nothing by itself");
}

pub fn huge(server: &dyn Server) {
    const ROWS: u32 = 200_000;
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let series = (server.words().series)(1, ROWS);
    let sql = format!("SELECT g AS id, concat(repeat('x', 1500), g) AS t FROM {series}");
    let workspace = workspace(&oracle, &database.source(), &sql);
    let process = workspace.spawn(&["--format", "json", "plan", "people"]);
    let mut most = 0;
    while process.is_running() {
        most = most.max(process.most_memory());
        std::thread::sleep(Duration::from_millis(20));
    }
    let planned = workspace.end(process, Duration::from_secs(120)).expect_code(0);
    assert!(planned.printed().contains(&ROWS.to_string()), "{}", planned.printed());
    // The answer has 300 MB.
    assert!(most > 0 && most < 200 << 20, "{} MiB", most >> 20);
}

pub fn one_state(server: &dyn Server) {
    let (oracle, database) = (Oracle::start(&["id"]), server.database("SELECT 1"));
    let workspace = people(&oracle, server, &*database, 1_000);
    let sleep = (server.words().sleep)("0.002");
    let slow = format!("SELECT id, name, concat(note, {sleep}) AS note FROM people");
    let config = workspace.config_now().replace("SELECT id, name, note FROM people", &slow);
    workspace.write("counterflow.yaml", &config);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(1, SOON);
    database.ask("DELETE FROM people WHERE id > 500; UPDATE people SET name = 'new'");
    workspace.end(process, Duration::from_secs(120)).expect_code(0);
    let table = oracle.table();
    assert_eq!(table.len(), 1_000);
    assert!(table.values().all(|record| record["name"] != "new"), "a later state was seen");
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 500), ("deletes", 500)]);
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
