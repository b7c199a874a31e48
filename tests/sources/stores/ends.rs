//! How a read of objects ends: with all of the very objects that were listed, or as a failure that deletes nothing.

use super::{assert_holds, of_age, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Asked, Becomes, Web};
use crate::shared::reads;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv};
use crate::support::workspace::Workspace;

pub fn cut(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let people = of_age(1..=3_000, 0);
    let bytes = csv(&people).into_bytes();
    server.files.put(&bucket, "people.csv", &bytes);
    let location = |port| source(port, &bucket, "people.csv", "");
    let workspace = workspace(&oracle, &location(server.port));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3_000)]);
    let changed = of_age(1..=3_000, 1);
    server.files.put(&bucket, "people.csv", csv(&changed).as_bytes());
    expect_taken_up(&oracle, &workspace, server.port, location, &changed);
}

/// Of objects that have changed to these people since the last run, an answer that breaks off is taken up again or is none;
/// `location` is the source by way of the store at a port.
pub fn expect_taken_up(
    oracle: &Oracle,
    workspace: &Workspace,
    store: u16,
    location: impl Fn(u16) -> String,
    changed: &[Person],
) {
    // Each answer breaks off: what is left is never believed to be all.
    let front = Web::start(store, move |asked| match asked.is_read() {
        true => Becomes::Cut(1_000),
        false => Becomes::Passed,
    });
    reads(workspace, &location(front.port));
    let words = ["people.csv", "broke off", "run again"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_eq!(oracle.table().len(), 3_000, "something was deleted");
    // Each answer but those with a rest: it is taken up where it ended.
    let front =
        Web::start(store, |asked| match asked.is_read() && asked.header("range").is_none() {
            true => Becomes::Cut(50_000),
            false => Becomes::Passed,
        });
    reads(workspace, &location(front.port));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3_000)]);
    assert_holds(oracle, changed);
    let is_rest = |asked: &Asked| {
        asked.header("range").is_some_and(|range| range.starts_with("bytes=50000-"))
    };
    assert!(front.seen().iter().any(is_rest), "nothing was taken up: {:#?}", front.seen());
}

/// Where columns are declared, rows are sent before anybody has seen the end of the text.
pub fn unseen(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let whole = csv(&of_age(1..=50, 0));
    server.files.put(&bucket, "people.csv", whole.as_bytes());
    let place = format!("\"s3://{bucket}/people.csv\"");
    let columns = "id: BIGINT, counter: BIGINT, checksum: VARCHAR, email: VARCHAR";
    let declared = format!("{{ csv: {place}, columns: {{ {columns} }} }}");
    let location = source(server.port, &bucket, "people.csv", "");
    let workspace = workspace(&oracle, &location.replace(&place, &declared));
    workspace.kill_between_request_and_receipt(&oracle);
    let end = whole.match_indices('\n').nth(45).expect("there are 51 lines").0;
    for _ in 0..2 {
        server.files.put(&bucket, "people.csv", &whole.as_bytes()[..end]);
        let words = "ends within a line";
        let planned = workspace.json(&["plan", "people"]).to_string();
        assert!(planned.contains(words), "the plan would delete: {planned}");
        let report = workspace.sync(&[]).expect(4, "partial", &[("held", 5), ("deleted", 0)]);
        report.finished.expect_printed(&[words]);
        server.files.put(&bucket, "people.csv", whole.as_bytes());
        workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 0)]);
        assert_holds(&oracle, &of_age(1..=50, 0));
    }
}

/// More breaks than an answer is taken up after, with progress between them.
pub fn long(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let bytes = csv(&of_age(1..=60_000, 0)).into_bytes();
    assert!(bytes.len() > 8 * 300_000, "{}", bytes.len());
    server.files.put(&bucket, "people.csv", &bytes);
    let front = Web::start(server.port, |asked| match asked.is_read() {
        true => Becomes::Cut(300_000),
        false => Becomes::Passed,
    });
    let workspace = workspace(&oracle, &source(front.port, &bucket, "people.csv", ""));
    let planned = workspace.json(&["plan", "people"]);
    assert!(planned.to_string().contains("60000"), "{planned:#}");
    assert!(front.reads() > 8, "{}", front.reads());
}

pub fn silent(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files.put(&bucket, "people.csv", csv(&of_age(1..=20, 0)).as_bytes());
    let front = Web::start(server.port, |asked| match asked.is_read() {
        true => Becomes::Held,
        false => Becomes::Passed,
    });
    let more = ", idle_timeout: 200ms";
    let workspace = workspace(&oracle, &source(front.port, &bucket, "people.csv", more));
    let words = ["people.csv", "said nothing in time", "network"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_eq!(front.reads(), 5, "the first try, and four more");
}
