//! Tables of many files: directories that are columns, Arrow files, and files that differ.

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv, expected, people};
use crate::support::workspace::{Setup, Workspace};
use crate::support::{arrow, parquet};

const SQL: &str = "SELECT id, counter, checksum, email FROM people WHERE day >= '2026-01-01'";

/// A workspace whose table says this of its files.
fn workspace(oracle: &Oracle, table: &str, sql: &str) -> Workspace {
    let setup = Setup { sql: sql.to_owned(), max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    says(&workspace, table);
    workspace
}

fn says(workspace: &Workspace, table: &str) {
    let usual = "people: \"people.csv\"";
    let config = workspace.config();
    assert!(config.contains(usual), "{config}");
    workspace.write("counterflow.yaml", &config.replace(usual, &format!("people: {table}")));
}

type Written = fn(&[Person]) -> Vec<u8>;

const FORMATS: [(&str, Written); 3] =
    [("csv", |people| csv(people).into_bytes()), ("parquet", parquet_file), ("arrow", arrow::file)];

fn parquet_file(people: &[Person]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("people.parquet");
    parquet::write(&path, &parquet::people(people), 100);
    std::fs::read(path).expect("it was just written")
}

/// Writes a file of the workspace, and the folders that it lies in.
fn put(workspace: &Workspace, name: &str, bytes: &[u8]) {
    let path = workspace.path().join(name);
    std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file can be written");
}

#[test]
fn a_partition_that_vanishes_holds_its_deletes_and_other_partitions_are_another_source() {
    for (ending, written) in FORMATS {
        let oracle = Oracle::start(&["id"]);
        let table = |kind: &str| {
            format!("{{ {ending}: \"in/*/*.{ending}\", partitions: {{ day: {kind} }} }}")
        };
        let workspace = workspace(&oracle, &table("DATE"), SQL);
        let one = format!("in/day=2026-01-01/a.{ending}");
        let other = format!("in/day=2026-01-02/a.{ending}");
        put(&workspace, &one, &written(&people(1..=20)));
        put(&workspace, &other, &written(&people(21..=30)));
        put(&workspace, &format!("in/day=2025-12-31/a.{ending}"), &written(&people(31..=40)));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 30)]);
        check_mirror(&oracle, &expected(&people(1..=30)));
        std::fs::remove_dir_all(workspace.path().join("in/day=2026-01-02")).expect("it is there");
        // A second read never passes because the first was like it.
        for _ in 0..2 {
            let held = workspace.sync(&[]).expect(4, "partial", &[("held", 10)]);
            held.finished.expect_printed(&["in/day=2026-01-02/a.", "` of table `people` is gone"]);
        }
        put(&workspace, &other, &written(&people(21..=30)));
        workspace.sync(&[]).expect(0, "succeeded", &[("held", 0)]);
        // Of the same files by another rule.
        put(&workspace, &one, &written(&people(1..=18)));
        says(&workspace, &table("VARCHAR"));
        workspace.sync(&[]).expect(4, "partial", &[("held", 2)]);
        assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    }
}

#[test]
fn a_file_without_a_declared_directory_or_with_its_column_fails_the_run_by_name() {
    let oracle = Oracle::start(&["id"]);
    let table = "{ csv: \"in/**/*.csv\", partitions: { day: DATE } }";
    let workspace = workspace(&oracle, table, SQL);
    put(&workspace, "in/day=2026-01-01/a.csv", csv(&people(1..=20)).as_bytes());
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    put(&workspace, "in/b.csv", csv(&people(21..=30)).as_bytes());
    let failed = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0)]);
    failed.finished.expect_printed(&["table `people`", "in/b.csv`", "in no directory `day=`"]);
    std::fs::remove_file(workspace.path().join("in/b.csv")).expect("it is there");
    says(&workspace, "{ csv: \"in/**/*.csv\", partitions: { day: DATE, counter: BIGINT } }");
    let day = workspace.path().join("in/day=2026-01-01");
    std::fs::rename(day, workspace.path().join("in/counter=1")).expect("it is there");
    std::fs::create_dir(workspace.path().join("in/day=2026-01-01")).expect("a folder");
    let moved = workspace.path().join("in/day=2026-01-01/counter=1");
    std::fs::rename(workspace.path().join("in/counter=1"), moved).expect("it is there");
    let failed = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0)]);
    failed.finished.expect_printed(&["column `counter` is in the files and in the names"]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn rows_of_arrow_files_arrive_once_and_a_file_that_is_cut_fails_the_run() {
    for (written, words) in [
        (arrow::file as Written, "has no footer"),
        (arrow::stream, "has no marker at its end, so that it may be cut"),
    ] {
        let oracle = Oracle::start(&["id"]);
        let setup = Setup { location: "people.arrow".into(), rests: true, ..Setup::default() };
        let workspace = Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..setup });
        put(&workspace, "people.arrow", &written(&people(1..=250)));
        workspace.wait_until_at_rest();
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 250)]);
        workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
        check_mirror(&oracle, &expected(&people(1..=250)));
        let next = written(&[people(3..=250), vec![Person::new(251, 0)]].concat());
        // Where a message ends, and elsewhere.
        for lost in [8, next.len() / 2] {
            put(&workspace, "people.arrow", &next[..next.len() - lost]);
            let failed = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0)]);
            failed.finished.expect_printed(&["table `people`", "people.arrow", words]);
        }
        put(&workspace, "people.arrow", &next);
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 2)]);
    }
}

#[test]
fn files_that_differ_are_refused_by_name_and_united_where_the_table_says_so() {
    let oracle = Oracle::start(&["id"]);
    let sql = "SELECT id, counter, checksum, email FROM people";
    let workspace = workspace(&oracle, "{ parquet: \"in-*.parquet\" }", sql);
    put(&workspace, "in-1.parquet", &parquet_file(&people(1..=10)));
    let more = parquet::people(&people(11..=20));
    let columns = more.schema();
    let columns = columns.fields().iter().map(|field| field.name().as_str()).zip(more.columns());
    let columns = columns.map(|(name, column)| (name, column.clone()));
    let extra = ("note", more.column(0).clone());
    let more = parquet::batch(columns.chain([extra]).collect());
    parquet::write(&workspace.path().join("in-2.parquet"), &more, 100);
    let failed = workspace.sync(&[]).expect(1, "failed", &[("requests", 0)]);
    let words = ["column `note` is in file", "in-2.parquet` but not in", "`schema: union`"];
    failed.finished.expect_printed(&words);
    says(&workspace, "{ parquet: \"in-*.parquet\", schema: union }");
    let told = workspace.run(&["validate", "--sources"]).expect_code(0);
    told.expect_printed(&[
        "united: table `people`: column `note` is not in 1 of 2 files, such as",
        "in-1.par",
    ]);
    let seen = workspace.json(&["validate", "--sources"]);
    assert!(seen.to_string().contains("is not in 1 of 2 files"), "{seen:#}");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}
