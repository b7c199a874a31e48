//! Servers that say less of themselves than others, and what is told of that.

use std::time::Duration;

use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::mysql::{Database, MySql};
use crate::servers::{Database as _, Server as _};
use crate::shared::{people, reads, wait_until, workspace};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::process::Finished;

pub fn unnamed(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    let unknown = Breaks::Renames("@@hostname", "@@hostless");
    let front = Cutting::start(Protocol::MySql, server.port, unknown);
    reads(&workspace, &database.source_at(front.port, ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    assert!(front.broken() > 0, "nothing was changed");
    // Whose session a number is there nobody knows.
    let before = server.count_cancels();
    let words = ["could not be cancelled", "does not say which one it is"];
    stopped(&database, front.port).expect_printed(&words);
    assert_eq!(server.count_cancels(), before);
}

pub fn unheard(server: &MySql) {
    let database = server.new_database("SELECT 1");
    let front = Cutting::start(Protocol::MySql, server.port, Breaks::Later);
    let words = ["could not be cancelled", "did not take the question within 900ms"];
    stopped(&database, front.port).expect_printed(&words);
    assert_eq!(front.broken(), 1, "nobody asked");
}

/// A run that is stopped while its query goes on.
fn stopped(database: &Database<'_>, port: u16) -> Finished {
    let oracle = Oracle::start(&["id"]);
    let series = (database.server.words().series)(1, 1_000_000);
    let sql = format!("SELECT g AS id, CAST(SLEEP(0.01) AS CHAR) AS t FROM {series}");
    let workspace = workspace(&oracle, &database.source_at(port, ""), &sql);
    let process = workspace.spawn(&["sync", "people"]);
    wait_until(|| database.count_active() == 1, "the query goes on");
    std::thread::sleep(Duration::from_millis(200));
    process.sigterm();
    let ended = workspace.end(process, SOON);
    // Its connection is closed, and the server finds that out by itself.
    wait_until(|| database.count_sessions() == 0, "the query ends");
    ended
}

pub fn outside(server: &MySql) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let workspace = people(&oracle, server, &database, 10);
    let words = "is outside of transactions";
    let quiet = workspace.run(&["sync", "people"]).expect_code(0);
    assert!(!quiet.printed().contains(words), "{}", quiet.printed());
    database.ask("ALTER TABLE people ENGINE=MyISAM");
    let named = format!("table `{}.people (MyISAM)` {words}", database.name);
    workspace.run(&["sync", "people"]).expect_code(0).expect_printed(&[&named]);
}
