//! Arrow files as tables, and files of one table that differ.

use datafusion::arrow::array::{Float64Array, LargeStringArray};
use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};

use super::*;

fn people_of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// In the file format or, by its name, the stream format.
pub fn write_arrow(path: &Path, batches: &[RecordBatch]) {
    let file = std::fs::File::create(path).unwrap();
    let schema = batches[0].schema();
    if path.to_str().unwrap().contains("stream") {
        let mut writer = StreamWriter::try_new(file, &schema).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        return writer.finish().unwrap();
    }
    let mut writer = FileWriter::try_new(file, &schema).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn sorted(reader: &Reader, sql: &str) -> Vec<String> {
    let (mut rows, _) = read(reader, &model(sql, &["id"]), &Pins::default()).await.unwrap();
    rows.sort();
    rows
}

#[tokio::test]
async fn arrow_files_of_both_formats_are_one_table_with_its_columns_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = |ids: &[i64], names: &[&str]| {
        people_of(vec![("id", integers(ids)), ("name", texts(names))])
    };
    let turned = people_of(vec![("name", texts(&["d", "e"])), ("id", integers(&[4, 5]))]);
    write_arrow(&at("a.arrow"), &[one(&[1, 2], &["a", "b"]), one(&[3], &["c"])]);
    write_arrow(&at("b.stream.arrow"), &[turned]);
    let reader = reader(vec![table("people", at("*.arrow"), Format::Arrow)]);
    let all = ["1|a", "2|b", "3|c", "4|d", "5|e"];
    assert_eq!(sorted(&reader, "select * from people").await, all);
    let some = sorted(&reader, "select name as id from people where id > 3").await;
    assert_eq!(some, ["d", "e"]);
    assert_eq!(sorted(&reader, "select count(*) as id from people").await, ["5"]);
}

#[tokio::test]
async fn an_arrow_file_that_is_replaced_while_it_is_read_gives_no_row_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.arrow");
    write_arrow(&path, &[people_of(vec![("id", integers(&[1]))])]);
    let reader = reader(vec![table("people", &path, Format::Arrow)]);
    let model = model("select * from people", &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    write_arrow(&folder.path().join("next"), &[people_of(vec![("id", integers(&[2]))])]);
    std::fs::rename(folder.path().join("next"), &path).unwrap();
    let said = rows(&mut reading).await.unwrap_err().to_string();
    assert!(said.contains("changed during the read"), "{said}");
    assert!(reading.proof.verify(&[]).await.is_err());
}

/// The files of one table in both formats that say their columns.
async fn united(
    files: [RecordBatch; 2],
    rule: SchemaRule,
    sql: &str,
) -> [Result<Vec<String>, String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    for (place, file) in files.iter().enumerate() {
        write_arrow(&folder.path().join(format!("{place}.arrow")), std::slice::from_ref(file));
        let columns = file.schema();
        let columns = columns.fields().iter().zip(file.columns());
        let columns = columns.map(|(field, column)| (field.name().as_str(), Arc::clone(column)));
        write_parquet(&folder.path().join(format!("{place}.parquet")), columns.collect());
    }
    let mut found = Vec::new();
    for (ending, format) in [("arrow", Format::Arrow), ("parquet", Format::Parquet)] {
        let table = table("people", folder.path().join(format!("*.{ending}")), format);
        let reader = reader(vec![Table { schema: rule, ..table }]);
        let read = read(&reader, &model(sql, &["id"]), &Pins::default()).await;
        found.push(read.map_err(|error| error.to_string()).map(|(mut rows, _)| {
            rows.sort();
            rows
        }));
    }
    found.try_into().unwrap()
}

#[tokio::test]
async fn differences_of_files_are_refused_by_name_or_united_without_loss() {
    let small: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let long: ArrayRef = Arc::new(LargeStringArray::from(vec!["c"]));
    let files = || {
        let one = people_of(vec![("id", Arc::clone(&small)), ("name", texts(&["a", "b"]))]);
        let other =
            [("name", Arc::clone(&long)), ("id", integers(&[1 << 40])), ("n", integers(&[7]))];
        [one, people_of(other.to_vec())]
    };
    let all = "select id, name, n from people";
    for read in united(files(), SchemaRule::Same, all).await {
        let said = read.unwrap_err();
        for words in ["table `people`: column `id` is `Int32` in file", "but `Int64` in"] {
            assert!(said.contains(words), "no `{words}` in {said}");
        }
        assert!(said.contains("/0.") && said.contains("/1."), "{said}");
    }
    for read in united(files(), SchemaRule::Union, all).await {
        assert_eq!(read.unwrap(), ["1099511627776|c|7", "1|a|~", "2|b|~"]);
    }
    for (condition, expected) in [
        ("n is null and id < 2", &["1"][..]),
        ("n = 7", &["1099511627776"]),
        ("n is distinct from 7", &["1", "2"]),
        ("id > 1 and name < 'c'", &["2"]),
    ] {
        let sql = format!("select id from people where {condition}");
        for read in united(files(), SchemaRule::Union, &sql).await {
            assert_eq!(read.unwrap(), expected, "{condition}");
        }
    }
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let files = [people_of(vec![("id", small)]), people_of(vec![("id", doubles)])];
    for read in united(files, SchemaRule::Union, "select * from people").await {
        let said = read.unwrap_err();
        for words in
            ["column `id` is `Int32` in file", "but `Float64` in", "no type has the values"]
        {
            assert!(said.contains(words), "no `{words}` in {said}");
        }
    }
}

#[tokio::test]
async fn where_record_batches_are_large_as_many_streams_read_as_there_is_memory_for() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let ids = integers(&Vec::from_iter(0..100_000));
        let path = folder.path().join(format!("{name}.arrow"));
        write_arrow(&path, &[people_of(vec![("id", Arc::clone(&ids)), ("n", ids)])]);
    }
    let tables = vec![table("people", folder.path().join("*.arrow"), Format::Arrow)];
    for (mebibytes, streams) in [(8, 2), (2, 1)] {
        let settings = Settings::new(2, 256 << 20, mebibytes << 20);
        let reader = Reader::new(vec![lake(tables.clone())], settings);
        // The record batch is read as a whole, whichever columns are.
        let model = model("select id from people", &["id"]);
        let (all, pins) = (Selection::default(), Pins::default());
        let mut reading = reader.open(&model, &all, &pins).await.unwrap();
        assert_eq!(reading.partitions.len(), streams, "{mebibytes} MiB");
        let rows: usize = batches(&mut reading).await.unwrap().iter().map(|it| it.num_rows()).sum();
        assert_eq!(rows, 200_000);
    }
}
