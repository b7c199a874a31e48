//! Rows that arrive from objects: what is sent, what is sent again, and what is not even read.

use super::{assert_holds, ndjson, of_age, parquet_file, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Asked, Becomes, Web};
use crate::shared;
use crate::support::arrow;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv};
use crate::support::server::Server;
use crate::support::workspace::packed;

fn zstd(people: &[Person]) -> Vec<u8> {
    zstd::stream::encode_all(ndjson(people).as_slice(), 3).expect("it can be packed")
}

type Written = fn(&[Person]) -> Vec<u8>;

const FORMATS: [(&str, Written); 7] = [
    ("people.parquet", parquet_file),
    ("people.csv", |people| csv(people).into_bytes()),
    ("people.csv.gz", packed),
    ("people.ndjson", ndjson),
    ("people.jsonl.zst", zstd),
    ("people.arrow", arrow::file),
    ("people.stream.arrow", arrow::stream),
];

pub fn mirror(server: &Seaweed) {
    for (name, written) in FORMATS {
        let oracle = Oracle::start(&["id"]);
        let front = Web::start(server.port, |_| Becomes::Passed);
        let bucket = server.bucket();
        let people = of_age(1..=250, 0);
        server.files.put(&bucket, &format!("data/{name}"), &written(&people));
        let workspace =
            workspace(&oracle, &source(front.port, &bucket, &format!("data/{name}"), ""));
        workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("delivered", 250)]);
        assert_holds(&oracle, &people);
        assert!(front.reads() > 0, "{name}: {:?}", front.seen());
        let is_pinned = |asked: &Asked| asked.header("if-match").is_some();
        assert!(front.seen().iter().filter(|asked| asked.is_read()).all(is_pinned), "{name}");
        // Azure knows no ranges that are counted from the end.
        let is_suffix =
            |asked: &Asked| asked.header("range").is_some_and(|range| range.starts_with("bytes=-"));
        assert!(!front.seen().iter().any(is_suffix), "{name}: {:#?}", front.seen());
        let before = (front.reads(), front.seen().len());
        workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
        let after = (front.reads(), front.seen().len());
        assert_eq!((after.0, after.1 - before.1), (before.0, 1), "{name}: one look, and no read");
        let changed = [of_age(1..=3, 1), of_age(4..=245, 0)].concat();
        server.files.put(&bucket, &format!("data/{name}"), &written(&changed));
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 3), ("deletes", 5)]);
        assert_holds(&oracle, &changed);
        // The same content, written again, is the same.
        server.files.put(&bucket, &format!("data/{name}"), &written(&changed));
        workspace.sync(&[]).expect(0, "skipped", &[]);
        workspace.assert_state_holds_no_canary();
    }
}

pub fn long_lived(server: &Seaweed) {
    for (name, written) in FORMATS {
        let oracle = Oracle::start(&["id"]);
        let bucket = server.bucket();
        let put = |folder: &str, people: &[Person]| {
            server.files.put(&bucket, &format!("in/{folder}-{name}"), &written(people));
        };
        put("day=1/a", &of_age(1..=20, 0));
        let location = format!("in/*/*-{name}");
        let workspace = workspace(&oracle, &source(server.port, &bucket, &location, ""));
        let serving = Server::start(&workspace);
        let run = || serving.ended(serving.run(""));
        assert_eq!(run()["tally"]["delivered"], 20, "{name}");
        assert_eq!(run()["phase"], "skipped", "{name}");
        // In a folder that was there, and in one that was not.
        for (folder, first, last) in [("day=1/b", 21, 30), ("day=2/a", 31, 45)] {
            put(folder, &of_age(first..=last, 0));
            let next = run();
            assert_eq!(next["tally"]["delivered"], last - first + 1, "{name}: {next:#}");
        }
        assert_holds(&oracle, &of_age(1..=45, 0));
        serving.end().expect_code(0);
    }
}

/// The store counts what it is asked, and so does whoever asks it.
pub fn cost(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let front = Web::start(server.port, |_| Becomes::Passed);
    let bucket = server.bucket();
    let put = |name: &str, bytes: &[u8]| server.files.put(&bucket, &format!("in/{name}"), bytes);
    put("a.csv", csv(&of_age(1..=20, 0)).as_bytes());
    put("b.csv", csv(&of_age(21..=40, 0)).as_bytes());
    put("c.txt", b"not a part of the table");
    let workspace = workspace(&oracle, &source(front.port, &bucket, "in/*.csv", ""));
    let asked = || front.seen().len() - front.reads();
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
    let listing = report.json["tally"]["listing"].clone();
    assert_eq!(listing["requests"], asked(), "{:#?}", front.seen());
    assert_eq!((&listing["requests"], &listing["objects"]), (&2.into(), &6.into()), "twice all");
    assert_eq!(workspace.json(&["runs"])[0]["tally"]["listing"], listing);
    let before = asked();
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[]);
    let listing = &skipped.json["tally"]["listing"];
    assert_eq!((&listing["requests"], &listing["objects"]), (&1.into(), &3.into()));
    assert_eq!(asked() - before, 1);
    // People see it too.
    workspace
        .run(&["sync", "people"])
        .expect_code(0)
        .expect_printed(&["listed 3 objects by 1 req"]);
    workspace.run(&["runs"]).expect_code(0).expect_printed(&["listed", "6 (2 requests)"]);
    // A list that is given up has cost what it has; the look for a skip has met the same.
    shared::reads(&workspace, &source(front.port, &bucket, "in/*.csv", ", max_listed: 2"));
    let before = asked();
    let failed = workspace.sync(&[]).expect(1, "failed", &[("rows_read", 0)]);
    let requests = u64::try_from(asked() - before).expect("it is small");
    let listing = &failed.json["tally"]["listing"];
    assert!(requests > 0 && listing["requests"] == requests, "{requests}: {listing:#}");
    assert_eq!(listing["objects"], 3 * requests, "{listing:#}");
}

pub fn keys(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let names = ["a b+c", "100%25 é ü", "x=1&y", "[1]", "plain~(1)'"];
    for (place, name) in (0..).zip(names) {
        let (first, last) = (place * 10 + 1, place * 10 + 10);
        server.files.put(
            &bucket,
            &format!("{name}/p.csv"),
            csv(&of_age(first..=last, 0)).as_bytes(),
        );
    }
    let workspace = workspace(&oracle, &source(server.port, &bucket, "*/p.csv", ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 50)]);
    assert_holds(&oracle, &of_age(1..=50, 0));
    // The key of an object is that object, even if it reads like a glob, and so is each of the others.
    for (place, name) in (0..).zip(names) {
        let (first, last) = (place * 10 + 1, place * 10 + 10);
        let location = format!("{name}/p.csv");
        let one = Oracle::start(&["id"]);
        let alone = super::workspace(&one, &source(server.port, &bucket, &location, ""));
        alone.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
        assert_holds(&one, &of_age(first..=last, 0));
    }
}

pub fn vanished(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files.put(&bucket, "in/a.ndjson", &ndjson(&of_age(1..=20, 0)));
    server.files.put(&bucket, "in/b.ndjson", &ndjson(&of_age(21..=40, 0)));
    let workspace = workspace(&oracle, &source(server.port, &bucket, "in/*.ndjson", ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
    server.files.remove(&bucket, "in/b.ndjson");
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 20)]);
    let said = held.finished.printed();
    assert!(said.contains("in/b.ndjson` of table `people` is gone"), "{said}");
    server.files.remove(&bucket, "in/a.ndjson");
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&["table `people`", "no object matches", "in/*.ndjson"]);
    assert_holds(&oracle, &of_age(1..=40, 0));
    // A listing is bounded, whatever of it fits.
    server.files.put(&bucket, "in/a.ndjson", &ndjson(&of_age(1..=20, 0)));
    server.files.put(&bucket, "in/b.ndjson", &ndjson(&of_age(21..=40, 0)));
    server.files.put(&bucket, "in/c.txt", b"none");
    let at = |most: u32| {
        let more = format!(", max_listed: {most}");
        shared::reads(&workspace, &source(server.port, &bucket, "in/*.ndjson", &more));
    };
    at(2);
    let words = ["more objects than may be listed (2)", "narrower prefix", "`max_listed`"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    at(3);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

/// As a store answers that tells of one object less than there are, and gives no token.
fn without_the_last(page: &str) -> String {
    let last = page.rfind("<Contents>").expect("a page has contents");
    let end = page.rfind("</Contents>").expect("they end") + "</Contents>".len();
    let page = format!("{}{}", &page[..last], &page[end..]);
    let cut = page.replace("<IsTruncated>false", "<IsTruncated>true");
    assert_ne!(cut, page);
    cut
}

pub fn cut_listing(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files.put(&bucket, "in/a.ndjson", &ndjson(&of_age(1..=20, 0)));
    server.files.put(&bucket, "in/b.ndjson", &ndjson(&of_age(21..=40, 0)));
    let front = Web::start(server.port, |asked| {
        let is_first = asked.target.contains("list-type=") && !asked.target.contains("start-after");
        if is_first { Becomes::Rewritten(without_the_last) } else { Becomes::Passed }
    });
    let workspace = workspace(&oracle, &source(front.port, &bucket, "in/*.ndjson", ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 40), ("delivered", 40)]);
    assert_holds(&oracle, &of_age(1..=40, 0));
    let goes_on = |asked: &Asked| asked.target.contains("start-after=in%2Fa.ndjson");
    assert!(front.seen().iter().any(goes_on), "{:#?}", front.seen());
    // One that begins anew each time is no listing.
    let front = Web::start(server.port, |asked| match asked.target.contains("list-type=") {
        true => Becomes::Rewritten(|page| {
            page.replace("<IsTruncated>false", "<IsTruncated>true").replace("a.ndjson", "0.ndjson")
        }),
        false => Becomes::Passed,
    });
    shared::reads(&workspace, &source(front.port, &bucket, "in/*.ndjson", ""));
    let words = ["table `people`", "than it lists", "narrower prefix"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_holds(&oracle, &of_age(1..=40, 0));
}

/// The marker of a table that is written anew is none of its objects, also where it fits and is there alone.
pub fn lone_marker(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let location = |port: u16| {
        let table =
            format!("{{ ndjson: \"s3://{bucket}/in/*\", rewritten: {{ marker: done.ndjson }} }}");
        source(port, &bucket, "in/*", "").replace(&format!("\"s3://{bucket}/in/*\""), &table)
    };
    server.files.put(&bucket, "in/a.ndjson", &ndjson(&of_age(1..=20, 0)));
    server.files.put(&bucket, "in/done.ndjson", b"");
    let workspace = workspace(&oracle, &location(server.port));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    server.files.remove(&bucket, "in/a.ndjson");
    let words = ["table `people`", "no object matches"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_holds(&oracle, &of_age(1..=20, 0));
}
