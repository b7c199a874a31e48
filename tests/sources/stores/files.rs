//! What objects of any store have in common with files: Arrow's formats, and directories that are columns.

use super::{assert_holds, ndjson, of_age, parquet_file, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::shared;
use crate::support::arrow;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv};

/// A source of one table that says this of its objects.
fn saying(server: &Seaweed, bucket: &str, table: &str) -> String {
    let plain = source(server.port, bucket, "HERE", "");
    let location = format!("\"s3://{bucket}/HERE\"");
    assert!(plain.contains(&location), "{plain}");
    plain.replace(&location, &table.replace("LAKE", &format!("s3://{bucket}")))
}

pub fn cut_stream(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    server.files.put(&bucket, "people.arrow", &arrow::stream(&of_age(1..=250, 0)));
    let workspace = workspace(&oracle, &source(server.port, &bucket, "people.arrow", ""));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 250), ("delivered", 250)]);
    let next = arrow::stream(&of_age(1..=240, 1));
    let marker = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    assert!(next.ends_with(&marker), "the writer closes its streams");
    // Where a record batch ends nothing but the marker tells that there should be more.
    let ends: Vec<usize> =
        (8..next.len() - 8).filter(|at| next[*at..].starts_with(&marker[..4])).collect();
    let last = ends.last().copied().unwrap_or_default();
    for length in [next.len() - 8, next.len() - 1, last] {
        server.files.put(&bucket, "people.arrow", &next[..length]);
        let ended = workspace.run(&["sync", "people"]);
        let is_whole = oracle.table() == crate::support::people::expected(&of_age(1..=250, 0));
        assert!(is_whole, "a stream without its marker, of {length} bytes, was believed");
        ended.expect_code(1).expect_printed(&[
            "people.arrow",
            "no marker at its end",
            "close the stream",
        ]);
    }
    server.files.put(&bucket, "people.arrow", &next);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 240), ("deletes", 10)]);
    assert_holds(&oracle, &of_age(1..=240, 1));
}

pub fn directories(server: &Seaweed) {
    type Written = fn(&[Person]) -> Vec<u8>;
    let formats: [(&str, Written); 4] = [
        ("csv", |people| csv(people).into_bytes()),
        ("ndjson", ndjson),
        ("parquet", parquet_file),
        ("arrow", arrow::file),
    ];
    for (ending, written) in formats {
        let oracle = Oracle::start(&["id"]);
        let bucket = server.bucket();
        let put = |folder: &str, people: &[Person]| {
            let key = format!("in/{folder}/a b.{ending}");
            server.files.put(&bucket, &key, &written(people));
            key
        };
        put("day=2026-01-01/of=a%2Fb", &of_age(1..=10, 0));
        put("day=2026-01-02/of=__HIVE_DEFAULT_PARTITION__", &of_age(11..=20, 0));
        let last = put("day=2026-01-03/of=a%2Fb", &of_age(21..=30, 0));
        let table = format!(
            "{{ {ending}: \"LAKE/in/*/*/*.{ending}\", partitions: {{ day: DATE, of: VARCHAR }} }}"
        );
        let mut workspace = workspace(&oracle, &saying(server, &bucket, &table));
        let sql = "SELECT id, counter, checksum, email FROM people WHERE day < '2026-01-04' AND coalesce(of, 'a/b') = 'a/b'";
        workspace.change(|setup| setup.sql = sql.to_owned());
        shared::reads(&workspace, &saying(server, &bucket, &table));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 30)]);
        assert_holds(&oracle, &of_age(1..=30, 0));
        workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
        server.files.remove(&bucket, &last);
        let held = workspace.sync(&[]).expect(4, "partial", &[("held", 10)]);
        held.finished.expect_printed(&["day=2026-01-03", "` of table `people` is gone"]);
        put("day=2026-01-03/of=a%2Fb", &of_age(21..=30, 0));
        workspace.sync(&[]).expect(0, "succeeded", &[("held", 0)]);
        assert_holds(&oracle, &of_age(1..=30, 0));
    }
}
