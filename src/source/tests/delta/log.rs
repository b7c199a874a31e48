//! The log of a Delta table: checkpoints of either kind, vectors in files, what a catalog manages, and what was written anew.

use std::sync::Arc;

use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use delta_kernel::Snapshot;
use delta_kernel::checkpoint::{CheckpointSpec, V2CheckpointConfig};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use futures::executor::block_on;
use object_store::memory::InMemory;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::*;
use crate::shutdown::blocking;

const SQL: &str = "select id, name from people order by id";

fn of(ids: &[i64]) -> Vec<(&'static str, ArrayRef)> {
    vec![("id", integers(ids)), ("name", texts(&vec![Some("x"); ids.len()]))]
}

impl Lake {
    /// Has the kernel write a checkpoint of the newest version, and takes away all commits but that.
    fn checkpoint(&self, spec: Option<CheckpointSpec>) -> u64 {
        let store = Arc::new(InMemory::new());
        let log = self.0.path().join("_delta_log");
        for name in self.names("_delta_log") {
            let path = object_store::path::Path::from("_delta_log").join(name.as_str());
            let bytes = std::fs::read(log.join(name)).unwrap();
            block_on(store.put(&path, bytes.into())).unwrap();
        }
        let written = Arc::clone(&store);
        let handle = tokio::runtime::Handle::current();
        let executor = Arc::new(TokioMultiThreadExecutor::new(handle));
        let engine = DefaultEngineBuilder::new(store).with_task_executor(executor).build();
        let version = blocking(|| {
            let snapshot = Snapshot::builder_for("table://root/").build(&engine).unwrap();
            snapshot.checkpoint(&engine, spec.as_ref()).unwrap();
            snapshot.version()
        });
        std::fs::create_dir_all(log.join("_sidecars")).unwrap();
        for meta in block_on(written.list(None).try_collect::<Vec<_>>()).unwrap() {
            let bytes = block_on(async { written.get(&meta.location).await?.bytes().await });
            let path = self.0.path().join(meta.location.as_ref());
            if !path.exists() {
                std::fs::write(path, bytes.unwrap()).unwrap();
            }
        }
        (0..version).for_each(|older| self.forget(older));
        version
    }

    fn forget(&self, version: u64) {
        std::fs::remove_file(self.0.path().join(format!("_delta_log/{version:020}.json"))).unwrap();
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let found = std::fs::read_dir(self.0.path().join(folder)).unwrap();
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Three commits, of which the last takes away what the first added.
    fn with_commits(features: &[&str]) -> Lake {
        let lake = Lake::new(&two(), &json!({}));
        let mut first = vec![lake.data("a.parquet", of(&[1, 2]), &json!({}))];
        if !features.is_empty() {
            first.push(protocol(3, features));
        }
        lake.commit(1, &first);
        lake.commit(2, &[lake.data("b.parquet", of(&[3]), &json!({}))]);
        let removed = json!({ "remove": { "path": "a.parquet", "dataChange": true, "deletionTimestamp": 1 } });
        lake.commit(3, &[removed, lake.data("c.parquet", of(&[4, 5]), &json!({}))]);
        lake
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_either_kind_stands_for_the_commits_before_it() {
    let sidecars = V2CheckpointConfig::WithSidecar { file_actions_per_sidecar_hint: Some(1) };
    for (features, spec, has_sidecars) in [
        (&[][..], Some(CheckpointSpec::V1), false),
        (&["v2Checkpoint"][..], Some(CheckpointSpec::V2(V2CheckpointConfig::NoSidecar)), false),
        (&["v2Checkpoint"][..], Some(CheckpointSpec::V2(sidecars)), true),
    ] {
        let lake = Lake::with_commits(features);
        let what = format!("{spec:?}");
        assert_eq!(lake.checkpoint(spec), 3);
        let names = lake.names("_delta_log");
        assert!(names.iter().any(|name| name.contains("00003.checkpoint.parquet")), "{names:?}");
        assert!(names.iter().any(|name| name == "_sidecars"), "{names:?}");
        let sidecars = lake.names("_delta_log/_sidecars");
        assert_eq!(!sidecars.is_empty(), has_sidecars, "{sidecars:?}");
        assert_eq!(lake.rows(SQL).await.unwrap(), ["3|x", "4|x", "5|x"], "{what}");
        // What comes behind it is read on top of it.
        lake.commit(4, &[lake.data("d.parquet", of(&[6]), &json!({}))]);
        assert_eq!(lake.rows(SQL).await.unwrap(), ["3|x", "4|x", "5|x", "6|x"], "{what}");
        if has_sidecars {
            std::fs::remove_file(lake.0.path().join("_delta_log/_sidecars").join(&sidecars[0]))
                .unwrap();
            let said = lake.rows(SQL).await.unwrap_err().to_string();
            for words in ["table `people`", "the log of the Delta table", "at version 4", "restore"]
            {
                assert!(said.contains(words), "no `{words}` in {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_in_parts_needs_all_of_them() {
    let lake = Lake::with_commits(&[]);
    lake.checkpoint(None);
    let log = lake.0.path().join("_delta_log");
    let whole = log.join(format!("{:020}.checkpoint.parquet", 3));
    let reader = std::fs::File::open(&whole).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap().build().unwrap();
    let batch = reader.map(Result::unwrap).collect::<Vec<_>>();
    let batch = concat_batches(&batch[0].schema(), &batch).unwrap();
    let half = batch.num_rows() / 2;
    let part =
        |number: u32| log.join(format!("{:020}.checkpoint.{number:010}.{:010}.parquet", 3, 2));
    for (number, rows) in
        [(1, batch.slice(0, half)), (2, batch.slice(half, batch.num_rows() - half))]
    {
        let file = std::fs::File::create(part(number)).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    }
    std::fs::remove_file(whole).unwrap();
    std::fs::remove_file(log.join("_last_checkpoint")).unwrap();
    assert_eq!(lake.rows(SQL).await.unwrap(), ["3|x", "4|x", "5|x"]);
    std::fs::remove_file(part(2)).unwrap();
    let said = lake.rows(SQL).await.unwrap_err().to_string();
    assert!(said.contains("is not whole") && said.contains("table `people`"), "{said}");
}

#[tokio::test]
async fn a_deletion_vector_in_a_file_takes_its_rows_away_and_one_that_is_damaged_or_gone_is_named()
{
    let lake = Lake::new(&two(), &json!({}));
    lake.commit(1, &[protocol(3, &["deletionVectors"])]);
    let mut data = lake.data("a.parquet", of(&[1, 2, 3, 4]), &json!({}));
    let vector = bitmap(&[1, 2]);
    let size = u32::try_from(vector.len()).unwrap();
    let mut file = vec![1];
    file.extend(size.to_be_bytes());
    file.extend(&vector);
    file.extend(crc32(&vector).to_be_bytes());
    std::fs::create_dir(lake.0.path().join("ab")).unwrap();
    let path = lake.0.path().join("ab/deletion_vector_01020304-0506-0708-090a-0b0c0d0e0f10.bin");
    std::fs::write(&path, &file).unwrap();
    let uuid: Vec<u8> = (1..=16).collect();
    data["add"]["deletionVector"] = json!({ "storageType": "u", "pathOrInlineDv": format!("ab{}", z85(&uuid)),
        "offset": 1, "sizeInBytes": size, "cardinality": 2 });
    lake.commit(2, std::slice::from_ref(&data));
    assert_eq!(lake.rows(SQL).await.unwrap(), ["1|x", "4|x"]);
    for at in [4, 9, file.len() - 10, file.len() - 1] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let said = lake.rows(SQL).await.unwrap_err().to_string();
        assert!(said.contains("deletion vector") && said.contains("restore"), "{at}: {said}");
    }
    std::fs::write(&path, &file[..file.len() - 6]).unwrap();
    let said = lake.rows(SQL).await.unwrap_err().to_string();
    assert!(said.contains("deletion vector") && said.contains("restore"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let said = lake.rows(SQL).await.unwrap_err().to_string();
    assert!(said.contains("deletion_vector_01020304") && said.contains("is gone"), "{said}");
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc))
    };
    !bytes.iter().fold(!0, step)
}

#[tokio::test]
async fn variants_and_tables_that_a_catalog_manages_are_refused_by_name() {
    let columns = [("id", json!(LONG)), ("anything", json!("variant"))];
    let lake = Lake::new(&columns, &json!({}));
    lake.commit(1, &[protocol(3, &["variantType"])]);
    assert_eq!(lake.rows("select id from people").await.unwrap(), [""; 0]);
    let said = lake.rows("select id, anything from people").await.unwrap_err().to_string();
    assert!(said.contains("column `anything`") && said.contains("VARIANT"), "{said}");
    let lake = Lake::new(&two(), &json!({}));
    lake.commit(1, &[protocol(3, &["catalogManaged"])]);
    let said = lake.rows(SQL).await.unwrap_err().to_string();
    assert!(said.to_lowercase().contains("catalog") && said.contains("`people`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_restored_and_has_caught_up_does_not_go_on_from_what_was_read() {
    let lake = Lake::with_commits(&[]);
    let (reader, model) = (lake.reader(None), model(SQL, &["id"]));
    let (all, pins) = (Selection::default(), Pins::default());
    let open = || reader.open(&model, &all, &pins);
    let before = open().await.unwrap().facts.files;
    let left = async || open().await.unwrap().proof.verify(&before).await.unwrap().left;
    assert_eq!(left().await, [""; 0]);
    lake.commit(4, &[lake.data("d.parquet", of(&[6]), &json!({}))]);
    assert_eq!(left().await, [""; 0], "it goes on");
    // Version 3 as another one wrote it.
    lake.forget(3);
    lake.commit(3, &[lake.data("e.parquet", of(&[7]), &json!({}))]);
    let reasons = left().await.concat();
    for words in ["version 3 of the Delta table", "(table `people`)", "is of another commit by now"]
    {
        assert!(reasons.contains(words), "no `{words}` in {reasons}");
    }
    lake.checkpoint(None);
    let reasons = left().await.concat();
    assert!(reasons.contains("is not in its log any more"), "{reasons}");
    assert!(reasons.contains("`delta.logRetentionDuration`"), "{reasons}");
}
