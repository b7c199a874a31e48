//! A Delta table in a bucket: what is read of it, what is not even looked at, and what deletes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{assert_holds, of_age, workspace};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Becomes, Web};
use crate::shared;
use crate::support::delta_log::{DeltaLog, commit};
use crate::support::oracle::Oracle;
use crate::support::server::Server;

/// The source of a config that reads the Delta table at this prefix by way of the store at this port.
fn source(port: u16, bucket: &str, more: &str) -> String {
    let plain = super::source(port, bucket, "tables/a b/people", "");
    plain
        .replace("people: \"s3://", "people: { delta: \"s3://")
        .replace("people\" }", &format!("people\"{more} }} }}"))
}

fn put(server: &Seaweed, bucket: &str) -> impl Fn(&str, &[u8]) + use<> {
    let (files, bucket) = (server.files, bucket.to_owned());
    move |name, bytes| files.put(&bucket, &format!("tables/a b/people/{name}"), bytes)
}

/// A destination, an empty bucket, and what puts files below the table's folder there.
fn begun(server: &Seaweed) -> (Oracle, String, impl Fn(&str, &[u8]) + use<>) {
    let bucket = server.bucket();
    let put = put(server, &bucket);
    (Oracle::start(&["id"]), bucket, put)
}

pub fn mirror(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let front = Web::start(server.port, |_| Becomes::Passed);
    let log = DeltaLog::create("one", &put);
    for version in 1..=12 {
        let first = (u32::try_from(version).expect("it is small") - 1) * 10 + 1;
        log.add(version, &format!("day={version}/a.parquet"), &of_age(first..=first + 9, 0));
    }
    let workspace = workspace(&oracle, &source(front.port, &bucket, ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 120), ("delivered", 120)]);
    assert_holds(&oracle, &of_age(1..=120, 0));
    let before = (front.reads(), front.seen().len());
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
    assert_eq!(skipped.json["unchanged_version"], json!(12));
    let after = (front.reads(), front.seen().len());
    assert_eq!((after.0, after.1 - before.1), (before.0, 1), "one look, and no read");
    log.replace(13, "day=1/a.parquet", "day=1/b.parquet", &of_age(1..=5, 1));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 5), ("deletes", 5)]);
    let now = [of_age(1..=5, 1), of_age(11..=120, 0)].concat();
    assert_holds(&oracle, &now);
    workspace.sync(&[]).expect(0, "skipped", &[]);
    // The version by its number is another definition, and the same rows.
    workspace.write_config();
    shared::reads(&workspace, &source(front.port, &bucket, ", version: 13"));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("rows_read", 115)]);
    workspace.sync(&[]).expect(0, "skipped", &[]);
    workspace.assert_state_holds_no_canary();
}

pub fn long_lived(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &of_age(1..=20, 0));
    let workspace = workspace(&oracle, &source(server.port, &bucket, ""));
    let serving = Server::start(&workspace);
    let run = || serving.ended(serving.run(""));
    assert_eq!(run()["tally"]["delivered"], 20);
    assert_eq!(run()["unchanged_version"], 1);
    log.add(2, "day=2/b.parquet", &of_age(21..=30, 0));
    let next = run();
    assert_eq!(next["tally"]["delivered"], 10, "{next:#}");
    log.replace(3, "a.parquet", "c.parquet", &of_age(3..=20, 0));
    let next = run();
    assert_eq!((&next["tally"]["deleted"], &next["phase"]), (&2.into(), &"succeeded".into()));
    assert_holds(&oracle, &of_age(3..=30, 0));
    serving.end().expect_code(0);
}

/// The log is listed and read to know what there is, and the data files are not.
pub fn cost(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let front = Web::start(server.port, |_| Becomes::Passed);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &of_age(1..=10, 0));
    log.add(2, "b.parquet", &of_age(11..=20, 0));
    let workspace = workspace(&oracle, &source(front.port, &bucket, ""));
    let asked = || front.seen().iter().filter(|it| !it.target.contains(".parquet")).count();
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    let listing = report.json["tally"]["listing"].clone();
    assert_eq!(listing["requests"], asked(), "{:#?}", front.seen());
    // The log's three commits and the two files that they name, at least.
    assert!(listing["objects"].as_u64().is_some_and(|objects| objects >= 5), "{listing:#}");
    assert_eq!(workspace.json(&["runs"])[0]["tally"]["listing"], listing);
    let before = asked();
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[]);
    assert_eq!((asked() - before, &skipped.json["tally"]["listing"]["requests"]), (1, &1.into()));
    // Two scans of the table are planned at once, and whatever either asks for is counted once.
    let mut workspace = super::workspace(&oracle, &source(front.port, &bucket, ""));
    let joined = "SELECT a.* FROM people a JOIN people b ON a.id = b.id";
    workspace.change(|setup| setup.sql = joined.to_owned());
    shared::reads(&workspace, &source(front.port, &bucket, ""));
    let before = asked();
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 20)]);
    let listing = &report.json["tally"]["listing"];
    assert_eq!(listing["requests"], asked() - before, "{:#?}", front.seen());
}

pub fn went_back(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &of_age(1..=10, 0));
    log.add(2, "b.parquet", &of_age(11..=20, 0));
    let workspace = workspace(&oracle, &source(server.port, &bucket, ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    let gone = |name: &str| server.files.remove(&bucket, &format!("tables/a b/people/{name}"));
    gone(&commit(2));
    let held = workspace.sync(&[]);
    let said = held.finished.printed();
    assert!(said.contains("went back from version 2 to 1"), "{said}");
    held.expect(4, "partial", &[("held", 10), ("rows_read", 10)]);
    // A file that the log names is gone, and then the log itself.
    gone("a.parquet");
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&["table `people`", "a.parquet` is gone", "VACUUM"]);
    gone(&commit(1));
    gone(&commit(0));
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&["table `people`", "no log", "correct the location"]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    assert_holds(&oracle, &of_age(1..=20, 0));
    workspace.assert_state_holds_no_canary();
}

/// The log says more rows than the file has.
pub fn short(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let log = DeltaLog::create("one", &put);
    log.commit(1, &[log.file("a.parquet", &of_age(1..=10, 0), 11)]);
    let workspace = workspace(&oracle, &source(server.port, &bucket, ""));
    let failed = workspace.run(&["sync", "people"]);
    let said = failed.printed();
    assert!(said.contains("a.parquet` has 10 rows") && said.contains("says 11"), "{said}");
    failed.expect_code(1);
    assert!(oracle.table().is_empty() && oracle.deletes().is_empty(), "{}", oracle.print());
}

/// The restored table has more versions by now than the one that was read.
pub fn caught_up(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &of_age(1..=10, 0));
    log.add(2, "b.parquet", &of_age(11..=20, 0));
    let workspace = workspace(&oracle, &source(server.port, &bucket, ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    server.files.remove(&bucket, &format!("tables/a b/people/{}", commit(2)));
    log.add(2, "c.parquet", &of_age(21..=25, 0));
    log.commit(3, &[json!({ "commitInfo": { "timestamp": 1 } })]);
    let held = workspace.sync(&[]);
    let said = held.finished.printed();
    assert!(said.contains("version 2 of the Delta table"), "{said}");
    held.expect(4, "partial", &[("held", 10), ("rows_read", 15)]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
}

/// Some stores tell another tag in a look than in a list, and some questions are not answered.
pub fn looks(server: &Seaweed) {
    let (oracle, bucket, put) = begun(server);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &of_age(1..=10, 0));
    // By the version whose commit looks tell otherwise, and by the one behind which nothing is listed.
    let (other, refused) = (Arc::new(AtomicU64::new(99)), Arc::new(AtomicU64::new(99)));
    let (of_other, of_refused) = (Arc::clone(&other), Arc::clone(&refused));
    let front = Web::start(server.port, move |asked| {
        let name = |version: &AtomicU64| format!("{:020}.", version.load(Ordering::SeqCst));
        let is_list = asked.target.contains("start-after=");
        if asked.method == "HEAD" && asked.target.contains(&name(&of_other)) {
            let head = "Content-Length: 9\r\nLast-Modified: Sun, 01 Feb 2026 00:00:00 GMT";
            let answer = format!("HTTP/1.1 200 OK\r\nETag: \"other\"\r\n{head}\r\n\r\n");
            Becomes::Answered(answer.into_bytes())
        } else if is_list && asked.target.contains(&name(&of_refused)) {
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            Becomes::Answered(answer.to_vec())
        } else {
            Becomes::Passed
        }
    });
    let workspace = workspace(&oracle, &source(front.port, &bucket, ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    other.store(1, Ordering::SeqCst);
    log.replace(2, "a.parquet", "b.parquet", &of_age(3..=10, 0));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 2), ("held", 0)]);
    // The log is listed from its checkpoint on, so that what is before it has to be asked for.
    refused.store(2, Ordering::SeqCst);
    log.add(3, "c.parquet", &of_age(11..=20, 0));
    log.checkpoint();
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 10), ("held", 0)]);
    refused.store(3, Ordering::SeqCst);
    log.replace(4, "c.parquet", "d.parquet", &of_age(12..=20, 0));
    log.checkpoint();
    let held = workspace.sync(&[]);
    let said = held.finished.printed();
    assert!(said.contains("version 3 of the") && said.contains("cannot be looked for"), "{said}");
    held.expect(4, "partial", &[("held", 1)]);
    refused.store(99, Ordering::SeqCst);
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 1), ("held", 0)]);
    assert_holds(&oracle, &[of_age(3..=10, 0), of_age(12..=20, 0)].concat());
}

/// A commit is written anew between the two times that the log is replayed.
pub fn rewritten(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let put_there = put(server, &bucket);
    let log = DeltaLog::create("one", &put_there);
    log.add(1, "a.parquet", &of_age(1..=10, 0));
    log.add(2, "b.parquet", &of_age(11..=20, 0));
    let (put_anew, name) = (put(server, &bucket), commit(1));
    let mut looks = 0;
    let front = Web::start(server.port, move |asked| {
        looks += usize::from(asked.is_read() && asked.target.ends_with(&name));
        if looks == 2 {
            looks += 1;
            let log = DeltaLog::of(&put_anew);
            log.add(1, "c.parquet", &of_age(1..=3, 0));
        }
        Becomes::Passed
    });
    let workspace = workspace(&oracle, &source(front.port, &bucket, ""));
    let failed = workspace.run(&["sync", "people"]);
    let said = failed.printed();
    assert!(said.contains("changed during the read"), "rows of two states: {said}");
    failed.expect_code(1);
    assert!(oracle.table().is_empty(), "{}", oracle.print());
    // At rest it is read as it is.
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 13)]);
    // And a commit that comes shorter than it was listed is not read.
    let name = commit(2);
    let front = Web::start(server.port, move |asked| match asked.target.ends_with(&name) {
        true => Becomes::Shortened(60),
        false => Becomes::Passed,
    });
    workspace.write_config();
    shared::reads(&workspace, &source(front.port, &bucket, ""));
    log.commit(3, &[json!({ "commitInfo": { "timestamp": 1 } })]);
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&["changed during the read", &commit(2)]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
}

/// However long the log is, what has not changed is told by the list of what is behind the version that was read.
pub fn long_log(server: &Seaweed) {
    const COMMITS: u64 = 1_000;
    let (oracle, bucket, put) = begun(server);
    let front = Web::start(server.port, |_| Becomes::Passed);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &of_age(1..=10, 0));
    let workspace = workspace(&oracle, &source(front.port, &bucket, ""));
    let asked = |what: &str, run: &dyn Fn()| {
        let before = (front.reads(), front.seen().len());
        run();
        let (reads, requests) = (front.reads() - before.0, front.seen().len() - before.1);
        println!("{what}: {requests} requests, {reads} of them reads");
        (requests, reads)
    };
    let sync = || drop(workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 10)]));
    let skip = || drop(workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]));
    asked("version 1 is read", &sync);
    assert_eq!(asked("version 1 is skipped", &skip), (1, 0));
    for version in 2..=COMMITS {
        log.commit(version, &[json!({ "commitInfo": { "timestamp": version } })]);
    }
    // A checkpoint of all of it, and a commit behind it.
    log.checkpoint();
    log.commit(COMMITS + 1, &[json!({ "commitInfo": { "timestamp": 0 } })]);
    let (requests, reads) = asked("version 1,001 is read by its checkpoint", &sync);
    assert!(requests < 30 && reads < 20, "the commits before the checkpoint are not read");
    assert_eq!(asked("version 1,001 is skipped", &skip), (1, 0));
}
