//! Delta tables, written by hand: data files and commits as the protocol has them.

use datafusion::arrow::array::{Date32Array, ListArray, StructArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{Field, Int32Type as Integers};
use serde_json::{Value, json};

use super::*;
use crate::source::definition::Delta;

mod log;
mod memory;
mod values;

/// A folder with a Delta table.
struct Lake(tempfile::TempDir);

impl Lake {
    /// One whose version 0 has these columns, by names and types.
    fn new(columns: &[(&str, Value)], more: &Value) -> Lake {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("_delta_log")).unwrap();
        let lake = Lake(folder);
        lake.commit(0, &[protocol(1, &[]), metadata("one", columns, more)]);
        lake
    }

    fn commit(&self, version: u64, actions: &[Value]) {
        let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
        let name = format!("_delta_log/{version:020}.json");
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Writes a data file and says how it is added.
    fn data(&self, name: &str, columns: Vec<(&str, ArrayRef)>, partition: &Value) -> Value {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let rows = columns[0].1.len();
        write_parquet(&path, columns);
        let size = std::fs::metadata(&path).unwrap().len();
        let name = name.replace('%', "%25").replace(' ', "%20");
        json!({ "add": { "path": name, "partitionValues": partition, "size": size, "modificationTime": 1,
            "dataChange": true, "stats": json!({ "numRecords": rows }).to_string() } })
    }

    fn reader(&self, version: Option<u64>) -> Reader {
        reader(vec![table("people", self.0.path(), Format::Delta(Delta { version }))])
    }

    async fn rows(&self, sql: &str) -> Result<Vec<String>, Error> {
        let (rows, _) = read(&self.reader(None), &model(sql, &["id"]), &Pins::default()).await?;
        Ok(rows)
    }
}

fn protocol(reader: u8, features: &[&str]) -> Value {
    match features {
        [] => json!({ "protocol": { "minReaderVersion": reader, "minWriterVersion": 2 } }),
        _ => json!({ "protocol": { "minReaderVersion": reader, "minWriterVersion": 7,
            "readerFeatures": features, "writerFeatures": features } }),
    }
}

/// `more` overrides what is usual: `partitionColumns`, `configuration`; `fields` are whole fields.
fn metadata(id: &str, columns: &[(&str, Value)], more: &Value) -> Value {
    let field = |(name, kind): &(&str, Value)| json!({ "name": name, "type": kind, "nullable": true, "metadata": {} });
    let usual = columns.iter().map(field).collect::<Vec<_>>();
    let fields = more.get("fields").cloned().unwrap_or_else(|| json!(usual));
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    let of = |key: &str, usual: Value| more.get(key).cloned().unwrap_or(usual);
    json!({ "metaData": { "id": id, "format": { "provider": "parquet", "options": {} }, "schemaString": schema,
        "partitionColumns": of("partitionColumns", json!([])), "configuration": of("configuration", json!({})),
        "createdTime": 1 } })
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

const LONG: &str = "long";

fn two() -> Vec<(&'static str, Value)> {
    vec![("id", json!(LONG)), ("name", json!("string"))]
}

#[tokio::test]
async fn a_version_is_made_of_what_its_commits_added_and_did_not_remove() {
    let lake = Lake::new(&two(), &json!({}));
    let of =
        |ids: &[i64]| vec![("id", integers(ids)), ("name", texts(&vec![Some("x"); ids.len()]))];
    let (a, b) = (
        lake.data("a.parquet", of(&[1, 2]), &json!({})),
        lake.data("b.parquet", of(&[3]), &json!({})),
    );
    lake.commit(1, &[a]);
    lake.commit(2, &[b, json!({ "remove": { "path": "a.parquet", "dataChange": true, "deletionTimestamp": 1 } })]);
    assert_eq!(lake.rows("select id, name from people").await.unwrap(), ["3|x"]);
    let rows = |version| {
        let reader = lake.reader(Some(version));
        async move {
            read(&reader, &model("select id from people order by id", &["id"]), &Pins::default())
                .await
        }
    };
    assert_eq!(rows(1).await.unwrap().0, ["1", "2"]);
    assert_eq!(rows(0).await.unwrap().0, [""; 0]);
    let said = rows(3).await.unwrap_err().to_string();
    assert!(said.contains("no version 3"), "{said}");
    let joined = "select a.id from people a join people b on a.id = b.id";
    assert_eq!(lake.rows(joined).await.unwrap(), ["3"]);
}

#[tokio::test]
async fn partition_values_are_columns_and_any_columns_can_be_asked_for_alone() {
    let columns = [two(), vec![("day", json!("date")), ("region", json!("string"))]].concat();
    let lake = Lake::new(&columns, &json!({ "partitionColumns": ["day", "region"] }));
    let of = |ids: &[i64]| vec![("id", integers(ids)), ("name", texts(&vec![None; ids.len()]))];
    let add = [
        lake.data(
            "day=2024-01-02/a b.parquet",
            of(&[1, 2]),
            &json!({ "day": "2024-01-02", "region": "e%u" }),
        ),
        lake.data("day=none/b.parquet", of(&[3]), &json!({ "day": null, "region": "" })),
    ];
    lake.commit(1, &add);
    let rows = lake.rows("select id, name, day, region from people order by id").await.unwrap();
    assert_eq!(rows, ["1|~|2024-01-02|e%u", "2|~|2024-01-02|e%u", "3|~|~|"]);
    let rows =
        lake.rows("select region as id, day from people where day is not null").await.unwrap();
    assert_eq!(rows, ["e%u|2024-01-02", "e%u|2024-01-02"]);
    assert_eq!(lake.rows("select count(*) as id from people").await.unwrap(), ["3"]);
    assert_eq!(lake.rows("select 7 as id from people").await.unwrap(), ["7", "7", "7"]);
    assert_eq!(
        lake.rows("select region as id, name from people where id = 3").await.unwrap(),
        ["|~"]
    );
}

#[tokio::test]
async fn nested_columns_times_and_columns_that_older_files_lack_are_read() {
    let list = json!({ "type": "array", "elementType": "integer", "containsNull": true });
    let member = json!({ "name": "city", "type": "string", "nullable": true, "metadata": {} });
    let place = json!({ "type": "struct", "fields": [member] });
    let columns = [
        ("id", json!(LONG)),
        ("tags", list),
        ("place", place),
        ("at", json!("timestamp")),
        ("day", json!("date")),
        ("late", json!("string")),
    ];
    let lake = Lake::new(&columns, &json!({}));
    let tags = ListArray::from_iter_primitive::<Integers, _, _>([Some(vec![Some(1), None]), None]);
    let city = Arc::new(Field::new("city", DataType::Utf8, true));
    let place = StructArray::from(vec![(city, texts(&[Some("Ulm"), None]))]);
    let at = TimestampMicrosecondArray::from(vec![Some(253_402_300_799_000_000), None]);
    let day = Date32Array::from(vec![Some(0), None]);
    let data = lake.data(
        "a.parquet",
        vec![
            ("id", integers(&[1, 2])),
            ("tags", Arc::new(tags)),
            ("place", Arc::new(place)),
            ("at", Arc::new(at.with_timezone("UTC"))),
            ("day", Arc::new(day)),
        ],
        &json!({}),
    );
    lake.commit(1, &[data]);
    let rows = lake.rows("select late as id from people").await.unwrap();
    assert_eq!(rows, ["~", "~"]);
    let rows =
        lake.rows("select id, tags, place, at, day, late from people order by id").await.unwrap();
    assert_eq!(
        rows,
        ["1|[1, ~]|{city: Ulm}|9999-12-31T23:59:59Z|1970-01-01|~", "2|~|{city: ~}|~|~|~"]
    );
}

#[tokio::test]
async fn columns_are_found_by_their_physical_names_and_deleted_rows_are_gone() {
    let field = |name: &str, id: u32, kind: &str| {
        json!({ "name": name, "type": kind, "nullable": true, "metadata": {
        "delta.columnMapping.id": id, "delta.columnMapping.physicalName": format!("col-{id}") } })
    };
    let more = json!({ "fields": [field("id", 1, LONG), field("full name", 2, "string")],
        "configuration": { "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "2" } });
    let lake = Lake::new(&[], &more);
    lake.commit(1, &[protocol(3, &["columnMapping", "deletionVectors"])]);
    let mut data = lake.data(
        "a.parquet",
        vec![
            ("col-1", integers(&[1, 2, 3, 4])),
            ("col-2", texts(&[Some("a"), Some("b"), None, Some("d")])),
        ],
        &json!({}),
    );
    data["add"]["deletionVector"] = inline_vector(&[0, 2]);
    lake.commit(2, std::slice::from_ref(&data));
    let sql = "select id, \"full name\" from people order by id";
    assert_eq!(lake.rows(sql).await.unwrap(), ["2|b", "4|d"]);
    assert_eq!(lake.rows("select count(*) as id from people").await.unwrap(), ["2"]);
    for (rows, cardinality) in [(vec![0, 9], 2), (vec![0, 2], 1)] {
        data["add"]["deletionVector"] = inline_vector(&rows);
        data["add"]["deletionVector"]["cardinality"] = json!(cardinality);
        lake.commit(2, std::slice::from_ref(&data));
        let said = lake.rows(sql).await.unwrap_err().to_string();
        assert!(said.contains("deletion vector"), "{said}");
    }
}

#[tokio::test]
async fn what_a_log_names_outside_of_its_folder_is_not_asked_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let lake = Lake::new(&[("id", json!(LONG))], &json!({}));
    lake.commit(1, &[protocol(3, &["deletionVectors"])]);
    let mut data = lake.data("a.parquet", vec![("id", integers(&[1, 2]))], &json!({}));
    let address = format!("http://{}/vector.bin?sp=x", listener.local_addr().unwrap());
    data["add"]["deletionVector"] = json!({ "storageType": "p", "pathOrInlineDv": address,
        "offset": 1, "sizeInBytes": 34, "cardinality": 1 });
    lake.commit(2, std::slice::from_ref(&data));
    let said = lake.rows("select id from people").await.unwrap_err().to_string();
    assert!(said.contains("names files outside of its folder"), "{said}");
    let asked = listener.accept().unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock, "nobody has connected");
}

/// One that takes these rows away, as it stands in the log.
fn inline_vector(rows: &[u16]) -> Value {
    let mut bytes = bitmap(rows);
    let size = bytes.len();
    bytes.resize(size.div_ceil(4) * 4, 0);
    json!({ "storageType": "i", "pathOrInlineDv": z85(&bytes), "sizeInBytes": size, "cardinality": rows.len() })
}

/// These rows, all below 65,536, as vectors have them.
fn bitmap(rows: &[u16]) -> Vec<u8> {
    let mut bytes = 1_681_511_377_u32.to_le_bytes().to_vec();
    // One bitmap, of the upper half 0, without runs, of one container that is a sorted array.
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(12_346_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend(u16::try_from(rows.len() - 1).unwrap().to_le_bytes());
    bytes.extend(16_u32.to_le_bytes());
    rows.iter().for_each(|row| bytes.extend(row.to_le_bytes()));
    bytes
}

fn z85(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 85] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let mut text = String::new();
    for chunk in bytes.chunks(4) {
        let number = u32::from_be_bytes(chunk.try_into().unwrap());
        for power in [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1] {
            text.push(char::from(LETTERS[(number / power % 85) as usize]));
        }
    }
    text
}

#[tokio::test]
async fn a_file_that_is_not_as_the_log_says_fails_the_read_by_name() {
    let lake = Lake::new(&two(), &json!({}));
    let of = |ids: &[i64]| {
        vec![("id", integers(ids)), ("name", texts(&vec![Some("canary"); ids.len()]))]
    };
    let good = lake.data("a.parquet", of(&[1, 2]), &json!({}));
    let with = |key: &str, value: Value| {
        let mut data = good.clone();
        data["add"][key] = value;
        lake.commit(1, &[data]);
    };
    let sql = "select id, name from people";
    let path = lake.0.path().join("a.parquet");
    let whole = std::fs::read(&path).unwrap();
    with("stats", json!(json!({ "numRecords": 3 }).to_string()));
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("a.parquet` has 2 rows") && said.contains("says 3"), "{said}");
    with("size", json!(whole.len() + 1));
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("a.parquet"), "{said}");
    with("path", json!("s3://elsewhere/a.parquet"));
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("shallow clone"), "{said}");
    with("path", json!("a.parquet"));
    for bytes in [whole[..whole.len() / 2].to_vec(), vec![0; whole.len()]] {
        std::fs::write(&path, bytes).unwrap();
        let said = lake.rows(sql).await.unwrap_err().to_string();
        assert!(said.contains("a.parquet") && !said.contains("canary"), "{said}");
    }
    std::fs::remove_file(&path).unwrap();
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("a.parquet` is gone") && said.contains("VACUUM"), "{said}");
}

#[tokio::test]
async fn what_is_no_table_or_cannot_be_read_is_refused_by_name() {
    let lake = Lake::new(&two(), &json!({}));
    let sql = "select id from people";
    lake.commit(1, &[protocol(3, &["madeUpFeature"])]);
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("madeUpFeature") && said.contains("table `people`"), "{said}");
    std::fs::remove_file(lake.0.path().join(format!("_delta_log/{:020}.json", 0))).unwrap();
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("log") && said.contains("table `people`"), "{said}");
    // Nor is one that says its columns again and lacks what was before.
    let data = lake.data("a.parquet", vec![("id", integers(&[1]))], &json!({}));
    lake.commit(1, &[protocol(1, &[]), metadata("one", &two(), &json!({})), data]);
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("is not whole") && said.contains("restore"), "{said}");
    std::fs::remove_file(lake.0.path().join(format!("_delta_log/{:020}.json", 1))).unwrap();
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("no log"), "{said}");
    std::fs::remove_dir(lake.0.path().join("_delta_log")).unwrap();
    let said = lake.rows(sql).await.unwrap_err().to_string();
    assert!(said.contains("no Delta table at"), "{said}");
}

#[tokio::test]
async fn commits_that_come_while_a_version_is_read_are_nothing_to_it_and_another_log_is() {
    let lake = Lake::new(&two(), &json!({}));
    let of =
        |ids: &[i64]| vec![("id", integers(ids)), ("name", texts(&vec![Some("x"); ids.len()]))];
    let data = lake.data("a.parquet", of(&[1]), &json!({}));
    lake.commit(1, &[data]);
    let (reader, model) = (lake.reader(None), model("select id from people", &["id"]));
    let (all, pins) = (Selection::default(), Pins::default());
    let open = || reader.open(&model, &all, &pins);
    let mut reading = open().await.unwrap();
    let data = lake.data("b.parquet", of(&[2]), &json!({}));
    lake.commit(2, std::slice::from_ref(&data));
    assert_eq!(rows(&mut reading).await.unwrap(), ["1"]);
    reading.proof.verify(&[]).await.unwrap();
    // The same version again is the same to a later look, and the next one is not.
    let facts = reading.facts.files;
    assert_eq!(facts[0].version().map(|version| (version.number, version.id)), Some((1, "one")));
    let pinned = lake.reader(Some(1)).list(&model, &facts).await.unwrap();
    assert_eq!(pinned.facts.files, facts);
    assert!(pinned.facts.can_prove_unchanged);
    let newest = reader.list(&model, &facts).await.unwrap();
    assert!(!newest.facts.files[0].is_as(&facts[0]));
    let reading = open().await.unwrap();
    let facts = reading.facts.files.clone();
    let again = reader.list(&model, &facts).await.unwrap();
    assert_eq!(again.facts.files, facts);
    std::fs::remove_file(lake.0.path().join(format!("_delta_log/{:020}.json", 2))).unwrap();
    lake.commit(2, &[data]);
    let other = reader.list(&model, &facts).await.unwrap();
    assert!(!other.facts.files[0].is_as(&facts[0]), "another commit of this number");
    let said = reading.proof.verify(&[]).await.unwrap_err().to_string();
    assert!(said.contains("another commit of version 2"), "{said}");
}
