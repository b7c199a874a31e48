//! What a read of Parquet files has in memory at a time.

use super::*;
use crate::source::definition::Compression;
use crate::source::weights::{Share, Weights, bound};

/// A file of 3,000 rows in one row group, `text` of so many bytes each.
fn people_of(width: usize) -> (tempfile::TempDir, Vec<Table>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.parquet");
    let texts = (0..3_000).map(|row| format!("{row:0width$}"));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    write_parquet(&path, vec![("id", integers(&Vec::from_iter(0..3_000))), ("text", texts)]);
    (folder, vec![table("people", &path, Format::Parquet)])
}

async fn open(reader: &Reader, sql: &str) -> Reading {
    let model = model(sql, &["id"]);
    reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap()
}

#[tokio::test]
async fn wide_rows_come_in_small_batches_and_narrow_ones_as_many_as_are_asked_for() {
    for (width, sql, most) in [
        (10, "SELECT id, text FROM people", 8192),
        (20_000, "SELECT id, text FROM people", 209),
        (20_000, "SELECT id FROM people", 8192),
        (20_000, "SELECT a.id, b.text FROM people a JOIN people b ON b.id = a.id", 209),
    ] {
        let (_folder, tables) = people_of(width);
        let mut reading = open(&reader(tables), sql).await;
        let read = batches(&mut reading).await.unwrap();
        let rows = read.iter().map(RecordBatch::num_rows);
        assert_eq!(rows.clone().sum::<usize>(), 3_000);
        let largest = rows.max().unwrap();
        assert!(largest <= most && largest > most / 8, "{largest} rows of {width} bytes: {sql}");
    }
}

#[tokio::test]
async fn what_a_dictionary_says_in_few_bytes_is_as_heavy_as_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.parquet");
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(vec!["x".repeat(20_000); 3_000]));
    write_parquet(&path, vec![("id", integers(&Vec::from_iter(0..3_000))), ("text", texts)]);
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20, "one text, written once");
    let reader = reader(vec![table("people", &path, Format::Parquet)]);
    let mut reading = open(&reader, "SELECT id, text FROM people").await;
    let read = batches(&mut reading).await.unwrap();
    assert!(read.iter().all(|batch| batch.num_rows() <= 209));
    // Flags that take no bytes as they are written.
    let flags: Vec<(String, ArrayRef)> =
        (0..600).map(|number| (format!("f{number}"), integers(&[1; 3_000]))).collect();
    let id = ("id", integers(&Vec::from_iter(0..3_000)));
    let columns = flags.iter().map(|(name, flag)| (name.as_str(), Arc::clone(flag)));
    write_parquet(&path, std::iter::once(id).chain(columns).collect());
    let mut reading = open(&reader, "SELECT * FROM people").await;
    let read = batches(&mut reading).await.unwrap();
    let largest = read.iter().map(RecordBatch::num_rows).max().unwrap();
    assert!(largest <= (4 << 20) / (600 * 8), "{largest} rows of 600 numbers");
}

#[tokio::test]
async fn of_packed_texts_as_many_streams_read_as_there_is_memory_for_their_windows() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        let text = format!("id\n{name}\n");
        std::fs::write(folder.path().join(format!("{name}.csv")), &text).unwrap();
        let packed = zstd::encode_all(text.as_bytes(), 0).unwrap();
        std::fs::write(folder.path().join(format!("{name}.csv.zst")), packed).unwrap();
    }
    for (pattern, compression, streams) in
        [("*.csv", None, 4), ("*.csv.zst", Some(Compression::Zstd), 2)]
    {
        let csv = table("t", folder.path().join(pattern), Format::Csv(csv()));
        let settings = Settings::new(4, 256 << 20, 64 << 20);
        let reader = Reader::new(vec![lake(vec![Table { compression, ..csv }])], settings);
        let (all, pins) = (Selection::default(), Pins::default());
        let mut reading =
            reader.open(&model("select id from t", &["id"]), &all, &pins).await.unwrap();
        assert_eq!(reading.partitions.len(), streams, "{pattern}");
        let rows: usize = batches(&mut reading).await.unwrap().iter().map(|it| it.num_rows()).sum();
        assert_eq!(rows, 4);
    }
}

#[tokio::test]
async fn where_row_groups_are_large_as_many_streams_read_as_there_is_memory_for() {
    // 60 MB in one row group, of which each stream would hold all.
    let (_folder, tables) = people_of(20_000);
    for (mebibytes, sql, streams) in [
        (120, "SELECT id, text FROM people", 2),
        (100, "SELECT id, text FROM people", 1),
        (1, "SELECT id, text FROM people", 1),
        (1, "SELECT id FROM people", 2),
    ] {
        let reader =
            Reader::new(vec![lake(tables.clone())], Settings::new(2, 256 << 20, mebibytes << 20));
        let mut reading = open(&reader, sql).await;
        assert_eq!(reading.partitions.len(), streams, "{mebibytes} MiB: {sql}");
        let rows: usize = batches(&mut reading).await.unwrap().iter().map(|it| it.num_rows()).sum();
        assert_eq!(rows, 3_000);
    }
}

#[tokio::test]
async fn each_scan_that_bounds_itself_has_a_share_of_the_memory_and_all_others_have_one() {
    let context = crate::source::session::new(&settings()).unwrap();
    let mut weights = std::collections::HashMap::new();
    for (name, takes_share) in [("a", true), ("b", true), ("c", false)] {
        let batch = RecordBatch::try_from_iter([("id", integers(&[1]))]).unwrap();
        context.register_batch(name, batch).unwrap();
        let whole = if takes_share { 0 } else { 15 };
        weights.insert(name.into(), Weights { whole, takes_share, ..Weights::default() });
    }
    for (sql, share, streams) in [
        ("select id from a", 60, 2),
        ("select x.id from a x join b y on x.id = y.id", 30, 2),
        ("select x.id from a x join a y on x.id = y.id", 30, 2),
        ("select id from a where id in (select id from b)", 30, 2),
        ("select x.id from a x join c y on x.id = y.id", 30, 2),
        ("select x.id from a x join b y on x.id = y.id join c z on y.id = z.id", 20, 1),
        ("select id from c", 60, 2),
    ] {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        // Scans have the names of their tables once the plan is optimized.
        let plan = context.state().optimize(&plan).unwrap();
        let state = bound(context.state(), &plan, &weights, 60).unwrap();
        let config = state.config();
        assert_eq!(*config.get_extension::<Share>().unwrap(), Share(share), "{sql}");
        assert_eq!(config.target_partitions(), streams, "{sql}");
    }
}
