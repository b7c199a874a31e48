//! Columns whose values stand in the names of directories, of every format.

use super::super::definition::{NdJson, Partitions};
use super::*;

fn declared(columns: &[(&str, &str)]) -> Option<Partitions> {
    let column = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
    Some(Partitions::Declared(columns.iter().map(column).collect()))
}

/// The same files of each format, three of them below two days; the ids of a file are told by its name.
fn lakes(folder: &Path) -> Vec<(Table, Reader)> {
    for (day, ids) in [("2026-01-01", 1..3), ("2026-01-01", 3..4), ("2026-01-02", 4..6)] {
        let below = folder.join(format!("day={day}/region=a%20b"));
        std::fs::create_dir_all(&below).unwrap();
        let name = ids.start;
        let lines = |line: &dyn Fn(i64) -> String| ids.clone().map(line).collect::<String>();
        let text = format!("id,n\n{}", lines(&|id| format!("{id},{}\n", id * 10)));
        std::fs::write(below.join(format!("{name}.csv")), text).unwrap();
        let text = lines(&|id| format!("{{\"id\":{id},\"n\":{}}}\n", id * 10));
        std::fs::write(below.join(format!("{name}.ndjson")), text).unwrap();
        let ids: Vec<i64> = ids.collect();
        let tens: Vec<i64> = ids.iter().map(|id| id * 10).collect();
        let columns = vec![("id", integers(&ids)), ("n", integers(&tens))];
        write_parquet(&below.join(format!("{name}.parquet")), columns.clone());
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        super::ipc::write_arrow(&below.join(format!("{name}.arrow")), &[batch]);
    }
    let lake = |(ending, format)| {
        let table = table("people", folder.join(format!("*/*/*.{ending}")), format);
        let partitions = declared(&[("region", "VARCHAR"), ("day", "DATE")]);
        let table = Table { partitions, ..table };
        (table.clone(), reader(vec![table]))
    };
    let ndjson = Format::NdJson(NdJson::default());
    let (csv, parquet) = (Format::Csv(csv()), Format::Parquet);
    [("csv", csv), ("ndjson", ndjson), ("parquet", parquet), ("arrow", Format::Arrow)]
        .map(lake)
        .into()
}

async fn answer(reader: &Reader, sql: &str) -> Vec<String> {
    let model = model(sql, &["id"]);
    let (mut rows, _) = read(reader, &model, &Pins::default()).await.unwrap();
    rows.sort();
    rows
}

#[tokio::test]
async fn directories_are_columns_behind_those_of_the_files_whatever_their_format() {
    let folder = tempfile::tempdir().unwrap();
    for (_, reader) in lakes(folder.path()) {
        let all = answer(&reader, "select * from people").await;
        let expected = [
            "1|10|a b|2026-01-01",
            "2|20|a b|2026-01-01",
            "3|30|a b|2026-01-01",
            "4|40|a b|2026-01-02",
            "5|50|a b|2026-01-02",
        ];
        assert_eq!(all, expected);
        let some = answer(
            &reader,
            "select day as id, n, day + interval '1 day' < '2026-01-03' from people",
        )
        .await;
        assert_eq!(some[2..4], ["2026-01-01|30|true", "2026-01-02|40|false"]);
        let days = answer(&reader, "select day as id, count(*) from people group by day").await;
        assert_eq!(days, ["2026-01-01|3", "2026-01-02|2"]);
        let none = answer(&reader, "select id, region from people where day > '2026-01-02'").await;
        assert_eq!(none, [""; 0]);
        let both =
            answer(&reader, "select id, n, region from people where day > '2026-01-01' and n < 45");
        assert_eq!(both.await, ["4|40|a b"]);
    }
}

#[tokio::test]
async fn files_whose_directories_rule_their_rows_out_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let lakes = lakes(folder.path());
    for (_, reader) in &lakes {
        let sql =
            "select id from people where day in ('2026-01-02', '2026-01-03') and random() < 2";
        let model = model(sql, &["id"]);
        let mut reading =
            reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
        for file in &reading.facts.files {
            if file.path.contains("day=2026-01-01") {
                let _ = std::fs::rename(&file.path, folder.path().join("away"));
            }
        }
        let mut found = rows(&mut reading).await.unwrap();
        found.sort();
        assert_eq!(found, ["4", "5"]);
        // What became of them is still seen.
        assert!(reading.proof.verify(&[]).await.unwrap_err().reason.contains("day=2026-01-01"));
    }
}

#[tokio::test]
async fn a_column_in_both_places_and_a_file_elsewhere_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (table, _) in lakes(folder.path()) {
        let model = model("select * from people", &["id"]);
        let both =
            Table { partitions: declared(&[("day", "DATE"), ("n", "BIGINT")]), ..table.clone() };
        let path = folder.path().join("day=2026-01-01/n=1");
        std::fs::create_dir_all(&path).unwrap();
        let name = table.location.extension().unwrap().to_str().unwrap();
        let from = folder.path().join(format!("day=2026-01-02/region=a%20b/4.{name}"));
        std::fs::copy(&from, path.join(format!("4.{name}"))).unwrap();
        let only = Table { location: path.join(format!("*.{name}")), ..both };
        let said = refusal(&reader(vec![only]), &model, &Selection::default()).await;
        assert!(said.contains("column `n` is in the files and in the names"), "{said}");
        let said = refusal(&reader(vec![table]), &model, &Selection::default()).await;
        assert!(said.contains("n=1") && said.contains("in no directory `region=`"), "{said}");
    }
}
