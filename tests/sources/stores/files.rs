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
