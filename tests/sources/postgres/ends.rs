//! How the answer to a COPY ends, and where it only seems to.

use std::time::Duration;

use crate::servers::Database as _;
use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::postgres::Postgres;
use crate::shared::ends::{expect_nothing_deleted, mirrored};
use crate::shared::{reads, workspace};
use crate::support::SOON;
use crate::support::oracle::Oracle;

pub fn behind_copy_done(server: &Postgres) {
    broken(server, Breaks::BehindCopyDone);
}

pub fn without_trailer(server: &Postgres) {
    broken(server, Breaks::Trailer);
}

/// Refused by what the server says of its length, of which next to nothing is taken in.
pub fn too_long(server: &Postgres) {
    let (oracle, database) = (Oracle::start(&["id"]), server.new_database("SELECT 1"));
    let ca = server.authority.file();
    let over_tls = database
        .source()
        .replace("127.0.0.1", "localhost")
        .replace(" } }", &format!(", tls: {{ ca: {} }} }} }}", ca.display()));
    for source in [database.source(), over_tls] {
        // In the middle of an answer, so that rows of it were taken.
        let sql = "SELECT g AS id, repeat('x', CASE g WHEN 50 THEN 250000000 ELSE 1000 END) AS t \
                   FROM generate_series(1, 100) g";
        let workspace = workspace(&oracle, &source, sql);
        let process = workspace.spawn(&["sync", "people"]);
        let mut most = 0;
        while process.is_running() {
            most = most.max(process.most_memory());
            std::thread::sleep(Duration::from_millis(5));
        }
        let words = ["a row of more than 64 MiB", "cut it with `left`"];
        workspace.end(process, SOON).expect_code(1).expect_printed(&words);
        assert!(most > 0 && most < 160 << 20, "{source}: it took {} MiB", most >> 20);
    }
}

fn broken(server: &Postgres, breaks: Breaks) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    let front = Cutting::start(Protocol::Postgres, server.port, breaks);
    reads(&workspace, &database.source_at(front.port, ""));
    expect_nothing_deleted(&oracle, &workspace, &format!("{breaks:?}"));
    assert_eq!(front.broken(), 1, "the fault was not played");
}
