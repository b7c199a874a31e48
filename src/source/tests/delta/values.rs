//! Values that are stored otherwise than a Delta table has them: right, or refused by name.

use std::sync::Arc;

use datafusion::arrow::array::TimestampMillisecondArray;
use datafusion::parquet::data_type::{Int64Type as Longs, Int96, Int96Type};
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;

use super::*;

/// 9999-12-31T23:59:59 in microseconds, and as Spark's old writers had it.
const LAST: &str = "9999-12-31T23:59:59Z";

fn last() -> Int96 {
    // The Julian day of 9999-12-31, and the nanoseconds of it.
    let (day, nanoseconds) = (5_373_484_u32, 86_399_000_000_000_u64);
    let mut time = Int96::new();
    let low = u32::try_from(nanoseconds & 0xFFFF_FFFF).unwrap();
    time.set_data(low, u32::try_from(nanoseconds >> 32).unwrap(), day);
    time
}

impl Lake {
    /// A data file of one row, whose second column is a time of 96 bits, as this part of a message has it.
    fn old(&self, name: &str, column: &str) -> Value {
        let message = format!("message m {{ optional int64 id; {column} }}");
        let schema = Arc::new(parse_message_type(&message).unwrap());
        let file = std::fs::File::create(self.0.path().join(name)).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        let levels = {
            let descriptor = writer.schema_descr().column(1);
            (descriptor.max_def_level(), descriptor.max_rep_level())
        };
        let mut group = writer.next_row_group().unwrap();
        let mut id = group.next_column().unwrap().unwrap();
        id.typed::<Longs>().write_batch(&[1], Some(&[1]), None).unwrap();
        id.close().unwrap();
        let mut at = group.next_column().unwrap().unwrap();
        let repetitions = (levels.1 > 0).then_some([0]);
        let repetitions = repetitions.as_ref().map(<[i16; 1]>::as_slice);
        at.typed::<Int96Type>().write_batch(&[last()], Some(&[levels.0]), repetitions).unwrap();
        at.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let size = std::fs::metadata(self.0.path().join(name)).unwrap().len();
        json!({ "add": { "path": name, "partitionValues": {}, "size": size, "modificationTime": 1,
            "dataChange": true, "stats": json!({ "numRecords": 1 }).to_string() } })
    }
}

fn list(element: &str) -> Value {
    json!({ "type": "array", "elementType": element, "containsNull": true })
}

#[tokio::test]
async fn old_times_of_96_bits_keep_their_year_wherever_they_are() {
    let member = json!({ "name": "at", "type": "timestamp", "nullable": true, "metadata": {} });
    let within = json!({ "type": "struct", "fields": [member] });
    for (kind, column, shown) in [
        (json!("timestamp"), "optional int96 at;", LAST.to_owned()),
        (within, "optional group at { optional int96 at; }", format!("{{at: {LAST}}}")),
        (
            list("timestamp"),
            "optional group at (LIST) { repeated group list { optional int96 element; } }",
            format!("[{LAST}]"),
        ),
        (
            list("timestamp"),
            "optional group at (LIST) { repeated int96 array; }",
            format!("[{LAST}]"),
        ),
        (
            list("timestamp"),
            "optional group at (LIST) { repeated group bag { optional int96 array; } }",
            format!("[{LAST}]"),
        ),
        (list("timestamp"), "repeated int96 at;", format!("[{LAST}]")),
    ] {
        let lake = Lake::new(&[("id", json!(LONG)), ("at", kind)], &json!({}));
        let add = lake.old("a.parquet", column);
        lake.commit(1, &[add]);
        let rows = lake.rows("select id, at from people").await;
        assert_eq!(rows.unwrap(), [format!("1|{shown}")], "{column}");
    }
}

#[tokio::test]
async fn a_value_that_the_tables_type_cannot_hold_is_an_error_and_not_null() {
    let utc =
        |array: TimestampMillisecondArray| -> ArrayRef { Arc::new(array.with_timezone("UTC")) };
    let lake = |kind: Value, at: ArrayRef| {
        let lake = Lake::new(&[("id", json!(LONG)), ("at", kind)], &json!({}));
        let data = lake.data("a.parquet", vec![("id", integers(&[1, 2])), ("at", at)], &json!({}));
        lake.commit(1, &[data]);
        lake
    };
    let sql = "select id, at from people order by id";
    let fits = utc(TimestampMillisecondArray::from(vec![Some(253_402_300_799_000), None]));
    let rows = lake(json!("timestamp"), fits).rows(sql).await.unwrap();
    assert_eq!(rows, [format!("1|{LAST}"), "2|~".to_owned()]);
    let over = || utc(TimestampMillisecondArray::from(vec![Some(i64::MAX / 2), None]));
    let item = Arc::new(Field::new("element", over().data_type().clone(), true));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths([1, 1]);
    let listed: ArrayRef = Arc::new(ListArray::new(item, offsets, over(), None));
    let member = Arc::new(Field::new("at", over().data_type().clone(), true));
    let held: ArrayRef = Arc::new(StructArray::from(vec![(member, over())]));
    let of_struct = json!({ "name": "at", "type": "timestamp", "nullable": true, "metadata": {} });
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(i32::MAX), None]));
    for (kind, array) in [
        (json!("timestamp"), over()),
        (list("timestamp"), listed),
        (json!({ "type": "struct", "fields": [of_struct] }), held),
        (json!("timestamp_ntz"), days),
    ] {
        let what = array.data_type().to_string();
        let lake = lake(kind.clone(), array);
        if kind == json!("timestamp_ntz") {
            lake.commit(2, &[protocol(3, &["timestampNtz", "typeWidening"])]);
        }
        let said = lake.rows(sql).await.map_err(|error| error.to_string());
        let said = said.expect_err(&what);
        for words in ["table `people`", "a.parquet`", "column `at`"] {
            assert!(said.contains(words), "{what}: no `{words}` in {said}");
        }
    }
}

#[tokio::test]
async fn a_table_whose_id_has_a_space_is_known_again() {
    let lake = Lake::new(&two(), &json!({}));
    lake.commit(1, &[metadata("one or % two", &two(), &json!({}))]);
    let (reader, model) = (lake.reader(None), model("select id from people", &["id"]));
    let reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    let facts = &reading.facts.files;
    let id = facts[0].version().map(|version| version.id.to_owned());
    assert_eq!(id.as_deref(), Some("one%20or%20%25%20two"));
    let again = reader.list(&model, facts).await.unwrap();
    assert_eq!(&again.facts.files, facts);
}
