//! What the source's files say is what arrives: no value is taken from statistics, none is changed, none is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, key, keys, people};
use crate::support::workspace::{Setup, Workspace};

/// Writes a Parquet file anew, under a new inode: ids from `first` on, and a value `v` for each.
fn write_values(folder: &Path, name: &str, first: i64, values: &[f64]) {
    let ids: Vec<i64> = (first..).take(values.len()).collect();
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let batch = RecordBatch::try_from_iter([("id", ids), ("v", values)]).expect("a batch");
    let next = folder.join("next");
    let file = std::fs::File::create(&next).expect("a file can be made");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("the rows can be written");
    writer.close().expect("the footer can be written");
    std::fs::rename(next, folder.join(name)).expect("a file can be renamed");
}

fn parquet(sql: &str, max_invalid: u32) -> Setup {
    let (location, sql) = ("*.parquet".to_owned(), sql.to_owned());
    Setup { location, sql, max_invalid: Some(max_invalid), ..Setup::default() }
}

#[test]
fn nan_is_invalid_and_never_another_rows_value_e6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, parquet("SELECT * FROM people", 1000));
    let mut values = vec![f64::NAN; 100];
    values[99] = 0.5;
    write_values(workspace.path(), "a.parquet", 0, &values);
    let report = workspace.sync(&[]);
    assert_eq!((report.count("invalid"), report.count("delivered")), (99, 1), "{report:#?}");
    let table: Vec<_> = oracle.table().into_iter().collect();
    assert_eq!(table, [(key(99), json!({ "id": 99, "v": 0.5 }))]);
}

#[test]
fn a_mirror_deletes_no_row_that_a_footer_hides_i5() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, parquet("SELECT id FROM people WHERE v > 2", 0));
    write_values(workspace.path(), "a.parquet", 0, &[5.0; 400]);
    let mut values = vec![f64::NAN; 20];
    values[..2].copy_from_slice(&[3.0, 3.5]);
    write_values(workspace.path(), "b.parquet", 1000, &values);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 420)]);
    values[..2].copy_from_slice(&[1.0, 1.5]);
    write_values(workspace.path(), "b.parquet", 1000, &values);
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 2)]);
    assert_eq!(oracle.deletes(), keys(1000..=1001));
}

#[test]
fn a_changed_declaration_of_the_source_holds_the_first_deletes() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup {
        sql: "SELECT * FROM people WHERE counter IS NOT NULL".to_owned(),
        max_deletes: Some("100%"),
        ..Setup::default()
    };
    let workspace = Workspace::new(&oracle, setup);
    let mut all = people(11..=20);
    all[0].counter = 7;
    workspace.write_people(&all);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let table = "{ csv: people.csv, nulls: [\"7\"] }";
    let changed = workspace.config().replace("\"people.csv\"", table);
    workspace.write("counterflow.yaml", &changed);
    workspace.sync(&[]).expect(4, "partial", &[("held", 1), ("deleted", 0)]);
    assert_eq!(oracle.deletes(), BTreeSet::new(), "{}", oracle.print());
    workspace.write_config();
    workspace.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deleted", 0)]);
}

#[test]
fn a_first_run_over_an_empty_file_fixes_no_types() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&[]);
    let report = workspace.sync(&[]).expect(1, "failed", &[("rows_read", 0)]);
    report.finished.expect_printed(&["model `people` gave no rows"]);
    assert_eq!(oracle.request_count(), 0, "{}", oracle.print());
    let all = people(1..=5);
    workspace.write_people(&all);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 5)]);
    check_mirror(&oracle, &expected(&all));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_function_that_answers_otherwise_each_time_is_named_e9() {
    let oracle = Oracle::start(&["id"]);
    let sql = "SELECT id, random() AS r FROM people".to_owned();
    let workspace = Workspace::new(&oracle, Setup { sql, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let warned = ["model `people` uses `random`"];
    workspace.run(&["plan", "people"]).expect_code(0).expect_printed(&warned);
    workspace.run(&["sync", "people"]).expect_code(0).expect_printed(&warned);
}

#[test]
fn a_project_that_moves_keeps_its_source_and_holds_nothing() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { max_deletes: Some("100%"), ..Setup::default() };
    let old = Workspace::new(&oracle, setup.clone());
    old.write_people(&people(1..=5));
    old.sync(&[]).expect(0, "succeeded", &[]);
    let new = Workspace::new(&oracle, setup);
    std::fs::rename(old.state(), new.state()).expect("the state moves");
    new.write_people(&people(2..=5));
    new.sync(&[]).expect(0, "succeeded", &[("unchanged", 4), ("deleted", 1), ("held", 0)]);
    check_mirror(&oracle, &expected(&people(2..=5)));
}
