//! What a read of a Delta table has in memory at a time.

use datafusion::parquet::file::properties::WriterProperties;
use futures::{FutureExt as _, StreamExt as _};

use super::*;

impl Lake {
    /// A data file of so many rows of 1,000 bytes that nothing packs, in row groups of so many.
    fn heavy(&self, name: &str, rows: usize, in_group: usize) -> Value {
        let texts = (0..rows).map(|row| {
            let digits = (0..100_u64).map(|part| {
                xxhash_rust::xxh3::xxh3_64(&[row as u64, part].map(u64::to_be_bytes).concat())
            });
            digits.map(|digits| format!("{digits:016x}")).collect::<String>()[..1_000].to_owned()
        });
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        let ids: Vec<i64> = (0..i64::try_from(rows).unwrap()).collect();
        let batch = RecordBatch::try_from_iter([("id", integers(&ids)), ("name", texts)]).unwrap();
        let path = self.0.path().join(name);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(in_group))
            .set_dictionary_enabled(false);
        let file = std::fs::File::create(&path).unwrap();
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        json!({ "add": { "path": name, "partitionValues": {}, "size": size, "modificationTime": 1,
            "dataChange": true, "stats": json!({ "numRecords": rows }).to_string() } })
    }
}

#[test]
fn files_of_large_row_groups_wait_for_one_another_whatever_the_largest_file_is_like() {
    let lake = Lake::new(&two(), &json!({}));
    // The largest file has the smallest row groups.
    let add = [
        lake.heavy("many.parquet", 500, 10),
        lake.heavy("one.parquet", 100, 100),
        lake.heavy("other.parquet", 90, 90),
    ];
    lake.commit(1, &add);
    let table = table("people", lake.0.path(), Format::Delta(Delta { version: None }));
    let reader =
        Reader::new(vec![super::super::lake(vec![table])], Settings::new(3, 256 << 20, 150 << 10));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let model = model("select id, name from people", &["id"]);
    let (all, pins) = (Selection::default(), Pins::default());
    let opened = runtime.block_on(reader.open(&model, &all, &pins));
    let mut streams = opened.unwrap().partitions;
    assert_eq!(streams.len(), 3);
    // Away from a runtime files are read where they are polled, so that whatever is pending waits for another stream.
    let mut rows = 0;
    let mut first = |stream: &mut datafusion::execution::SendableRecordBatchStream| {
        let batch = stream.next().now_or_never()?;
        rows += batch.unwrap().unwrap().num_rows();
        Some(())
    };
    let begun: Vec<_> = streams.iter_mut().map(|stream| first(stream).is_some()).collect();
    assert_eq!(begun.iter().filter(|begun| **begun).count(), 2, "{begun:?}");
    let waits = begun.iter().position(|begun| !begun).unwrap();
    let mut waiting = streams.remove(waits);
    assert!(first(&mut waiting).is_none(), "it still waits");
    for mut stream in streams {
        while let Some(batch) = stream.next().now_or_never().unwrap() {
            rows += batch.unwrap().num_rows();
        }
    }
    while let Some(batch) = waiting.next().now_or_never().unwrap() {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 690);
}
