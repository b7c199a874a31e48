//! How the answer to a COPY ends, and where it only seems to.

use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::postgres::Postgres;
use crate::shared::ends::{expect_nothing_deleted, mirrored};
use crate::shared::reads;
use crate::support::oracle::Oracle;

pub fn behind_copy_done(server: &Postgres) {
    broken(server, Breaks::BehindCopyDone);
}

pub fn without_trailer(server: &Postgres) {
    broken(server, Breaks::Trailer);
}

fn broken(server: &Postgres, breaks: Breaks) {
    let oracle = Oracle::start(&["id"]);
    let (database, workspace) = mirrored(server, &oracle);
    let front = Cutting::start(Protocol::Postgres, server.port, breaks);
    reads(&workspace, &database.source_at(front.port, ""));
    expect_nothing_deleted(&oracle, &workspace, &format!("{breaks:?}"));
    assert_eq!(front.broken(), 1, "the fault was not played");
}
