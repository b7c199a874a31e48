//! What is played against object stores that speak another protocol than that of S3: rows that arrive, what is not even read,
//! and how a read ends.

pub mod az;
pub mod gs;

use serde_json::json;

use crate::Scenario;
use crate::servers::web::{Asked, Becomes, Web};
use crate::shared::reads;
use crate::stores::ends::expect_taken_up;
use crate::stores::{assert_holds, ndjson, of_age, parquet_file};
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv};
use crate::support::workspace::{Setup, Workspace, packed};
use crate::support::{arrow, canaries};

/// A running server of a kind.
pub trait Blobs {
    fn port(&self) -> u16;

    fn files(&self) -> Box<dyn Files>;

    /// The name of a new bucket or container.
    fn bucket(&self) -> String;

    /// What locations of its objects begin with.
    fn scheme(&self) -> &'static str;

    /// The source of a config that has this table by way of the store at this port.
    fn source_of(&self, port: u16, table: &str) -> String;

    /// Where objects are, as a config says it.
    fn url(&self, bucket: &str, location: &str) -> String {
        format!("{}://{bucket}/{location}", self.scheme())
    }

    /// The source of a config that reads this location by way of the store at this port.
    fn source(&self, port: u16, bucket: &str, location: &str) -> String {
        self.source_of(port, &format!("\"{}\"", self.url(bucket, location)))
    }

    /// What the source refers to.
    fn environment(&self) -> Vec<(&'static str, String)>;

    /// By what right it is asked, as the doctor says it.
    fn right(&self) -> &'static str;
}

/// Where objects are written, behind the back of whoever reads.
pub trait Files: Send {
    /// Writes an object, whole.
    fn put(&self, bucket: &str, key: &str, bytes: &[u8]);

    fn remove(&self, bucket: &str, key: &str);

    /// What there is: names, lengths, sums and times.
    fn list(&self, bucket: &str) -> String;
}

type Written = fn(&[Person]) -> Vec<u8>;

/// All that every kind plays, by name.
pub const SCENARIOS: [Scenario<dyn Blobs>; 6] = [
    (
        "a mirror follows objects of every format and skips them unread while they are the same",
        mirror,
    ),
    ("keys of any kind are found and read", keys),
    ("an object that vanished holds its deletes and an empty listing deletes nothing", vanished),
    (
        "a page of a listing that is not the last is gone on with, whatever it says of the next",
        pages,
    ),
    ("an answer that breaks off is taken up again or is no answer", cut),
    ("a doctor tells how a store stands to us and what is in it", doctor),
];

/// A workspace whose one model reads the table `people`, which is made of what this location names.
fn workspace(server: &dyn Blobs, oracle: &Oracle, source: &str) -> Workspace {
    let head = "server: { listen: 127.0.0.1:0 }";
    let environment = server.environment();
    let setup = Setup { head, rests: true, environment, ..Setup::default() };
    let setup = Setup { batch: 100, max_deletes: Some("100%"), ..setup };
    let workspace = Workspace::new(oracle, setup);
    reads(&workspace, source);
    workspace
}

/// By a glob the tags are those of a list, and by a name those of a look.
fn mirror(server: &dyn Blobs) {
    let formats: [(&str, &str, Written); 5] = [
        ("data/*.parquet", "people.parquet", parquet_file),
        ("data/people.csv", "people.csv", |people| csv(people).into_bytes()),
        ("data/*.csv.gz", "people.csv.gz", packed),
        ("data/*.ndjson", "people.ndjson", ndjson),
        ("data/people.arrow", "people.arrow", arrow::file),
    ];
    for (location, name, written) in formats {
        let oracle = Oracle::start(&["id"]);
        let front = Web::start(server.port(), |_| Becomes::Passed);
        let (bucket, files) = (server.bucket(), server.files());
        let key = format!("data/{name}");
        let people = of_age(1..=250, 0);
        files.put(&bucket, &key, &written(&people));
        let workspace = workspace(server, &oracle, &server.source(front.port, &bucket, location));
        workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("delivered", 250)]);
        assert_holds(&oracle, &people);
        assert!(front.reads() > 0, "{name}: {:?}", front.seen());
        let is_pinned = |asked: &Asked| asked.header("if-match").is_some();
        assert!(front.seen().iter().filter(|asked| asked.is_read()).all(is_pinned), "{name}");
        let before = (front.reads(), front.seen().len());
        workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
        let after = (front.reads(), front.seen().len());
        assert_eq!((after.0, after.1 - before.1), (before.0, 1), "{name}: one look, and no read");
        let changed = [of_age(1..=3, 1), of_age(4..=245, 0)].concat();
        files.put(&bucket, &key, &written(&changed));
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 3), ("deletes", 5)]);
        assert_holds(&oracle, &changed);
        workspace.sync(&[]).expect(0, "skipped", &[]);
        workspace.assert_state_holds_no_canary();
    }
}

fn keys(server: &dyn Blobs) {
    let oracle = Oracle::start(&["id"]);
    let (bucket, files) = (server.bucket(), server.files());
    let names = ["a b+c", "100%25 é ü", "x=1&y", "[1]", "plain~(1)'"];
    for (place, name) in (0..).zip(names) {
        let people = of_age(place * 10 + 1..=place * 10 + 10, 0);
        files.put(&bucket, &format!("{name}/p.csv"), csv(&people).as_bytes());
    }
    let source = server.source(server.port(), &bucket, "*/p.csv");
    let all = workspace(server, &oracle, &source);
    all.sync(&[]).expect(0, "succeeded", &[("delivered", 50)]);
    assert_holds(&oracle, &of_age(1..=50, 0));
    for (place, name) in (0..).zip(names) {
        let one = Oracle::start(&["id"]);
        let source = server.source(server.port(), &bucket, &format!("{name}/p.csv"));
        let alone = workspace(server, &one, &source);
        alone.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
        assert_holds(&one, &of_age(place * 10 + 1..=place * 10 + 10, 0));
    }
}

fn vanished(server: &dyn Blobs) {
    let oracle = Oracle::start(&["id"]);
    let (bucket, files) = (server.bucket(), server.files());
    files.put(&bucket, "in/a.ndjson", &ndjson(&of_age(1..=20, 0)));
    files.put(&bucket, "in/b.ndjson", &ndjson(&of_age(21..=40, 0)));
    let source = server.source(server.port(), &bucket, "in/*.ndjson");
    let workspace = workspace(server, &oracle, &source);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
    files.remove(&bucket, "in/b.ndjson");
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 20)]);
    let said = held.finished.printed();
    assert!(said.contains("in/b.ndjson` of table `people` is gone"), "{said}");
    files.remove(&bucket, "in/a.ndjson");
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&["table `people`", "no object matches", "in/*.ndjson"]);
    reads(&workspace, &server.source(server.port(), &bucket, "in/a.ndjson"));
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&[
        "table `people`",
        "no object `",
        "in/a.ndjson`",
        "put the object there",
    ]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    assert_holds(&oracle, &of_age(1..=40, 0));
}

/// As a store answers that tells of one object less than there are, and how to go on as it is its way.
fn without_the_last(page: &str) -> String {
    let (begin, end) = match page.contains("<Blob>") {
        true => ("<Blob>", "</Blob>"),
        false => ("<Contents>", "</Contents>"),
    };
    let last = page.rfind(begin).expect("a page has objects");
    let behind = page.rfind(end).expect("they end") + end.len();
    let cut = format!("{}{}", &page[..last], &page[behind..]);
    let next = "<NextMarker>in/a.ndjson</NextMarker>";
    let cut = cut.replace("<NextMarker/>", next).replace("<NextMarker></NextMarker>", next);
    let more = "<IsTruncated>true</IsTruncated>";
    let cut = cut.replace("</ListBucketResult>", &format!("{more}</ListBucketResult>"));
    assert!(cut.contains(next) != cut.contains(more), "one of them is its way: {cut}");
    cut
}

fn pages(server: &dyn Blobs) {
    let oracle = Oracle::start(&["id"]);
    let (bucket, files) = (server.bucket(), server.files());
    files.put(&bucket, "in/a.ndjson", &ndjson(&of_age(1..=20, 0)));
    files.put(&bucket, "in/b.ndjson", &ndjson(&of_age(21..=40, 0)));
    let goes_on = |asked: &Asked| {
        let (_, query) = asked.target.split_once('?').unwrap_or_default();
        query.split('&').any(|part| {
            let behind = part.strip_prefix("marker=").or_else(|| part.strip_prefix("start-after="));
            behind == Some("in%2Fa.ndjson")
        })
    };
    let front = Web::start(server.port(), move |asked| match asked.is_read() || goes_on(asked) {
        true => Becomes::Passed,
        false => Becomes::Rewritten(without_the_last),
    });
    let workspace = workspace(server, &oracle, &server.source(front.port, &bucket, "in/*.ndjson"));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 40), ("delivered", 40)]);
    assert_holds(&oracle, &of_age(1..=40, 0));
    assert!(front.seen().iter().any(goes_on), "{:#?}", front.seen());
}

fn cut(server: &dyn Blobs) {
    let oracle = Oracle::start(&["id"]);
    let (bucket, files) = (server.bucket(), server.files());
    files.put(&bucket, "people.csv", csv(&of_age(1..=3_000, 0)).as_bytes());
    let location = |port| server.source(port, &bucket, "people.csv");
    let workspace = workspace(server, &oracle, &location(server.port()));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3_000)]);
    let changed = of_age(1..=3_000, 1);
    files.put(&bucket, "people.csv", csv(&changed).as_bytes());
    expect_taken_up(&oracle, &workspace, server.port(), location, &changed);
}

/// What a run says that this source refuses, with these words and no row.
#[track_caller]
fn expect_refused(workspace: &Workspace, source: &str, words: &[&str]) -> String {
    reads(workspace, source);
    let refused = workspace.run(&["sync", "people"]);
    let printed = refused.printed();
    assert_ne!(refused.code, Some(0), "{source}: {printed}");
    for word in words.iter().chain(&["table `people`"]) {
        assert!(printed.contains(word), "{source}: no `{word}`\n{printed}");
    }
    canaries::assert_none(&printed, "what is said of a store");
    printed
}

fn doctor(server: &dyn Blobs) {
    let oracle = Oracle::start(&["id"]);
    let (bucket, files) = (server.bucket(), server.files());
    for part in 0..3 {
        let people = of_age(part * 10 + 1..=part * 10 + 10, 0);
        files.put(&bucket, &format!("in/people{part}.ndjson"), &ndjson(&people));
    }
    let source = server.source(server.port(), &bucket, "in/*.ndjson");
    let workspace = workspace(server, &oracle, &source);
    let seen = workspace.json(&["doctor", "lake"])[0].clone();
    let table = &seen["tables"][0];
    assert_eq!((&seen["is_well"], &table["files"]), (&json!(true), &json!(3)), "{seen:#}");
    assert!(table["requests"].as_u64() > Some(0) && table["bytes"].as_u64() > Some(1_000));
    assert!(table["newest"].as_str().is_some_and(|at| at.starts_with('2')), "{seen:#}");
    let facts = seen["facts"].as_object().expect("there are facts");
    let said =
        facts.values().any(|fact| fact.as_str().is_some_and(|it| it.contains(server.right())));
    assert!(said, "no `{}` in {seen:#}", server.right());
    let human = workspace.run(&["doctor", "lake"]).expect_code(0);
    canaries::assert_none(&human.printed(), "what is said of a store");
    human.expect_printed(&["3 files", "the newest of 2", "listed with", server.right()]);
    let seen = workspace.json(&["validate", "--sources"]);
    assert_eq!(seen["models"][0]["fields"][0]["json"], "whole number", "{seen:#}");
    // Nobody is there.
    reads(&workspace, &server.source(1, &bucket, "in/*.ndjson"));
    let refused = workspace.run(&["doctor", "lake"]).expect_code(1);
    refused.expect_printed(&["not well", "cannot be reached", "`endpoint`"]);
}
