//! How a read of objects ends: with all of the very objects that were listed, or as a failure that deletes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{assert_holds, ndjson, of_age, parquet_file, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Asked, Becomes, Web};
use crate::shared::reads;
use crate::support::oracle::Oracle;
use crate::support::people::csv;
use crate::support::workspace::packed;
use crate::support::{SOON, arrow};

pub fn replaced(server: &Seaweed) {
    // Its second read gives the rows: the first says which columns there are.
    type Written = fn(&[crate::support::people::Person]) -> Vec<u8>;
    // Where as many people follow, the object keeps its size: its tag alone tells.
    let formats: [(&str, Written, usize, u32); 4] = [
        ("people.ndjson", ndjson, 3, 299),
        ("people.csv.gz", packed, 2, 150),
        ("people.parquet", parquet_file, 2, 150),
        ("people.arrow", arrow::file, 2, 299),
    ];
    for (name, written, read, people_after) in formats {
        let oracle = Oracle::start(&["id"]);
        let bucket = server.bucket();
        let people = of_age(1..=300, 0);
        server.files.put(&bucket, name, &written(&people));
        let (armed, files) = (Arc::new(AtomicBool::new(false)), server.files);
        let (is_armed, next) =
            (Arc::clone(&armed), (bucket.clone(), written(&of_age(1..=people_after, 2))));
        let mut reads_so_far = 0;
        let front = Web::start(server.port, move |asked| {
            reads_so_far += usize::from(asked.is_read() && is_armed.load(Ordering::SeqCst));
            if asked.is_read() && reads_so_far == read {
                let (bucket, bytes) = &next;
                files.put(bucket, name, bytes);
            }
            Becomes::Passed
        });
        let workspace = workspace(&oracle, &source(front.port, &bucket, name, ""));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 300)]);
        server.files.put(&bucket, name, &written(&of_age(1..=299, 1)));
        let before = front.reads();
        armed.store(true, Ordering::SeqCst);
        let ended = workspace.run(&["sync", "people"]);
        armed.store(false, Ordering::SeqCst);
        assert!(
            front.reads() >= before + read,
            "{name}: it was never replaced: {:#?}",
            front.seen()
        );
        let table = oracle.table();
        let has = |counter: u32| table.values().any(|record| record["counter"] == counter);
        assert!(!has(2), "{name}: rows of two states were sent");
        assert_eq!(table.len(), 300, "{name}: something was deleted");
        ended.expect_code(1).expect_printed(&[name, "changed during the read", "at rest"]);
        // At rest it is followed.
        let after = u64::from(people_after);
        let expected = [("upserts", after), ("deletes", 300 - after)];
        workspace.sync(&[]).expect(0, "succeeded", &expected);
        assert_holds(&oracle, &of_age(1..=people_after, 2));
    }
}

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
    // Each answer breaks off: what is left is never believed to be all.
    let front = Web::start(server.port, move |asked| match asked.is_read() {
        true => Becomes::Cut(1_000),
        false => Becomes::Passed,
    });
    reads(&workspace, &location(front.port));
    let words = ["people.csv", "broke off", "run again"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_eq!(oracle.table().len(), 3_000, "something was deleted");
    // Each answer but every second: it is taken up where it ended.
    let mut count = 0;
    let front = Web::start(server.port, move |asked| {
        count += usize::from(asked.is_read());
        match asked.is_read() && count % 2 == 1 {
            true => Becomes::Cut(50_000),
            false => Becomes::Passed,
        }
    });
    reads(&workspace, &location(front.port));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3_000)]);
    assert_holds(&oracle, &changed);
    let is_rest = |asked: &Asked| {
        asked.header("range").is_some_and(|range| range.starts_with("bytes=50000-"))
    };
    assert!(front.seen().iter().any(is_rest), "nothing was taken up: {:#?}", front.seen());
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

pub fn shortened(server: &Seaweed) {
    for name in ["people.csv", "people.csv.gz", "people.ndjson", "people.parquet", "people.arrow"] {
        let oracle = Oracle::start(&["id"]);
        let bucket = server.bucket();
        let people = of_age(1..=400, 0);
        let bytes = match name {
            "people.csv" => csv(&people).into_bytes(),
            "people.csv.gz" => packed(&people),
            "people.ndjson" => ndjson(&people),
            "people.arrow" => arrow::file(&people),
            _ => parquet_file(&people),
        };
        server.files.put(&bucket, name, &bytes);
        let workspace = workspace(&oracle, &source(server.port, &bucket, name, ""));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 400)]);
        // It ends behind a line, so that nothing in it tells.
        let most = bytes[..bytes.len() / 2].iter().rposition(|byte| *byte == b'\n');
        let most = most.map_or(bytes.len() / 2, |at| at + 1);
        let front = Web::start(server.port, move |asked| match asked.is_read() {
            true => Becomes::Shortened(most),
            false => Becomes::Passed,
        });
        // Another store, so that it is read though nothing changed.
        reads(&workspace, &source(front.port, &bucket, name, ""));
        let ended = workspace.run(&["sync", "people"]);
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.printed());
        assert_eq!(oracle.table().len(), 400, "{name}: something was deleted");
        assert!(front.reads() > 0, "{name}: it was not read");
    }
}

pub fn stopped(server: &Seaweed) {
    for is_list in [true, false] {
        let oracle = Oracle::start(&["id"]);
        let bucket = server.bucket();
        server.files.put(&bucket, "in/people.ndjson", &ndjson(&of_age(1..=20, 0)));
        let front = Web::start(server.port, move |asked| match asked.is_read() == is_list {
            false => Becomes::Held,
            true => Becomes::Passed,
        });
        let workspace = workspace(&oracle, &source(front.port, &bucket, "in/*.ndjson", ""));
        let process = workspace.spawn(&["sync", "people"]);
        wait_until(|| front.seen().iter().any(|asked| asked.is_read() != is_list), "it hangs");
        process.sigterm();
        let told = Instant::now();
        let ended = workspace.end(process, SOON);
        assert!(told.elapsed() < Duration::from_secs(2), "{is_list}: {:?}", told.elapsed());
        assert_eq!(ended.code, Some(143), "{}", ended.printed());
    }
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

#[track_caller]
pub fn wait_until(is_so: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
