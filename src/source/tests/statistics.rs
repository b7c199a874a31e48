//! Rows come from the pages of a Parquet file, never from the statistics in its footer: those leave NaN out.

use datafusion::arrow::array::Float64Array;
use datafusion::parquet::file::properties::WriterProperties;

use super::*;

fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// A file with the columns `id` and `v`, in row groups of `group` rows.
fn write_floats(path: &Path, first: i64, values: &[f64], group: usize) {
    let ids = (first..).take(values.len()).collect::<Vec<_>>();
    let columns = [("id", integers(&ids)), ("v", floats(values))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn lake(folder: &tempfile::TempDir) -> Reader {
    reader(vec![table("t", folder.path().join("*.parquet"), Format::Parquet)])
}

async fn answer(folder: &tempfile::TempDir, sql: &str) -> Vec<String> {
    let model = model(sql, &["id"]);
    let mut rows = read(&lake(folder), &model, &Pins::default()).await.unwrap().0;
    rows.sort();
    rows
}

#[tokio::test]
async fn a_column_of_nan_and_one_number_keeps_each_rows_own_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut values = vec![f64::NAN; 1000];
    values[999] = 0.5;
    write_floats(&folder.path().join("a.parquet"), 0, &values, 1 << 20);
    let rows = answer(&folder, "select * from t").await;
    assert_eq!(rows.iter().filter(|row| row.ends_with("|NaN")).count(), 999, "{rows:?}");
    assert!(rows.contains(&"999|0.5".to_owned()), "{rows:?}");
}

#[tokio::test]
async fn nan_in_a_key_is_no_other_rows_key() {
    let folder = tempfile::tempdir().unwrap();
    write_floats(&folder.path().join("a.parquet"), 1, &[1.5, f64::NAN], 1 << 20);
    assert_eq!(answer(&folder, "select v as id from t").await, ["1.5", "NaN"]);
}

#[tokio::test]
async fn a_filter_loses_no_row_whose_file_row_group_or_page_counts_as_smaller() {
    let folder = tempfile::tempdir().unwrap();
    write_floats(&folder.path().join("a.parquet"), 0, &[5.0, 6.0, 7.0, 8.0], 2);
    let mut values = vec![f64::NAN; 20];
    values[..2].copy_from_slice(&[1.0, 1.5]);
    write_floats(&folder.path().join("b.parquet"), 100, &values, 4);
    assert_eq!(answer(&folder, "select id from t where v > 2").await.len(), 22);
    assert_eq!(answer(&folder, "select id from t where v > 2 and id < 110").await.len(), 12);
    assert_eq!(answer(&folder, "select id from t where not (v <= 2)").await.len(), 22);
}

#[tokio::test]
async fn the_first_rows_of_an_order_are_not_cut_by_what_the_footer_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut values = (0..200).map(f64::from).collect::<Vec<_>>();
    values[199] = f64::NAN;
    values[150] = f64::NAN;
    values[..3].copy_from_slice(&[500.0, 499.0, 498.0]);
    write_floats(&folder.path().join("a.parquet"), 0, &values, 50);
    let rows = answer(&folder, "select id from t order by v desc limit 3").await;
    assert_eq!(rows, ["0", "150", "199"]);
}

#[tokio::test]
async fn a_join_loses_no_row_to_the_range_of_the_other_side() {
    let folder = tempfile::tempdir().unwrap();
    write_floats(&folder.path().join("a.parquet"), 0, &[f64::NAN, 9.0], 1);
    let other = folder.path().join("b");
    let mut values = vec![1.0; 100];
    values[70] = f64::NAN;
    write_floats(&other, 0, &values, 10);
    let reader = reader(vec![
        table("t", folder.path().join("*.parquet"), Format::Parquet),
        table("u", other, Format::Parquet),
    ]);
    let model = model("select u.id from t join u on t.v = u.v", &["id"]);
    assert_eq!(read(&reader, &model, &Pins::default()).await.unwrap().0, ["70"]);
}

#[tokio::test]
async fn the_greatest_the_least_and_the_count_are_computed_from_rows() {
    let folder = tempfile::tempdir().unwrap();
    write_floats(&folder.path().join("a.parquet"), 0, &[1.0, f64::NAN, 3.0], 1 << 20);
    let sql = "select count(*) as id, min(v) as least, max(v) as greatest from t";
    assert_eq!(answer(&folder, sql).await, ["3|1.0|NaN"]);
}
