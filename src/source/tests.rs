//! The room's behaviour, from files to batches.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Int8Type, Int32Type, Int64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use futures::TryStreamExt;

use super::definition::{Access, Csv, Definition, Files, Format, SchemaRule, Table};
use super::{Error, FieldInfo, Pins, Reader, Reading, Selection, Settings};
use crate::domain::sync::{Mapped, Model, Reads};

mod blame;
mod databases;
mod delta;
mod describe;
mod flights;
mod ipc;
mod joined;
mod keys;
mod ndjson;
mod partitions;
mod statistics;
mod values;
mod volatile;
mod weights;

fn settings() -> Settings {
    Settings::new(2, 256 << 20, 128 << 20)
}

fn csv() -> Csv {
    Csv { delimiter: b',', has_header: true, nulls: vec![String::new()], columns: Vec::new() }
}

fn table(name: &str, location: impl Into<PathBuf>, format: Format) -> Table {
    Table::example(name, location, format)
}

fn reader(tables: Vec<Table>) -> Reader {
    Reader::new(vec![lake(tables)], settings())
}

fn lake(tables: Vec<Table>) -> Arc<Definition> {
    Arc::new(Definition {
        name: "lake".into(),
        access: Access::Files(Files { tables, ..Files::default() }),
    })
}

fn model(sql: &str, primary_key: &[&str]) -> Model {
    Model {
        name: "people".into(),
        reads: Reads::One("lake".into()),
        sql: sql.into(),
        primary_key: primary_key.iter().map(|name| (*name).to_owned()).collect(),
        cursor: None,
    }
}

fn mapping(fields: &[(&str, &str)], key: &[&str]) -> Selection {
    let mapped = |(field, expression): &(&str, &str)| Mapped::plain(*field, *expression);
    Selection {
        fields: fields.iter().map(mapped).collect(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    }
}

/// A folder with one CSV file, `people.csv`.
fn people(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("people.csv"), text).unwrap();
    folder
}

fn csv_reader(folder: &Path, csv: Csv) -> Reader {
    reader(vec![table("people", folder.join("people.csv"), Format::Csv(csv))])
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

async fn batches(reading: &mut Reading) -> Result<Vec<RecordBatch>, Error> {
    let mut batches = Vec::new();
    for stream in reading.partitions.drain(..) {
        let more = stream.try_collect::<Vec<_>>().await;
        batches.extend(more.map_err(|error| Error::of_stream(&error, "people"))?);
    }
    Ok(batches)
}

/// All rows, each as its values joined by `|`; NULL is `~`.
async fn rows(reading: &mut Reading) -> Result<Vec<String>, Error> {
    let batches = batches(reading).await?;
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let batch = concat_batches(&first.schema(), &batches).unwrap();
    let options = FormatOptions::default().with_null("~");
    let columns = batch.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column, &options).unwrap());
    let columns = columns.collect::<Vec<_>>();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
    Ok((0..batch.num_rows()).map(row).collect())
}

async fn read(reader: &Reader, model: &Model, pins: &Pins) -> Result<(Vec<String>, Pins), Error> {
    let mut reading = reader.open(model, &Selection::default(), pins).await?;
    let rows = rows(&mut reading).await?;
    reading.proof.verify(&[]).await.unwrap();
    Ok((rows, reading.pins))
}

async fn refusal(reader: &Reader, model: &Model, selection: &Selection) -> String {
    reader.open(model, selection, &Pins::default()).await.err().expect("refused").to_string()
}

#[tokio::test]
async fn types_are_inferred_conservatively_and_pinned() {
    let folder = people(
        "id,zip,score,ok,day,at,note\n1,00123,1.5,true,2013-01-01,2013-01-01T05:00:00Z,\n2,12345,2,false,,,\n",
    );
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let (rows, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows[0], "1|00123|1.5|true|2013-01-01|2013-01-01T05:00:00Z|~");
    assert_eq!(rows[1], "2|12345|2.0|false|~|~|~");
    let types = pins.tables().next().unwrap().1.iter().map(|pin| pin.type_name.as_str());
    let expected = ["BIGINT", "VARCHAR", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE"];
    assert_eq!(types.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_value_that_no_longer_fits_its_pin_is_named_but_not_shown() {
    let folder = people("id,zip\n1,4711\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    std::fs::write(folder.path().join("people.csv"), "id,zip\n1,4711\n2,00123\n").unwrap();
    let Err(Error::Misfit(message)) = read(&reader, &model, &pins).await else { panic!("misfit") };
    for part in ["people.csv", "`zip`", "line 3", "BIGINT", "`zip: VARCHAR`"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("00123"), "{message}");
    let declared = Csv { columns: vec![("zip".into(), "VARCHAR".into())], ..csv() };
    let (rows, _) = read(&csv_reader(folder.path(), declared), &model, &pins).await.unwrap();
    assert_eq!(rows, ["1|4711", "2|00123"]);
}

#[tokio::test]
async fn pinned_columns_are_found_by_name_when_others_come_go_and_move() {
    let folder = people("id,a,b\n1,2,x\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    std::fs::write(folder.path().join("people.csv"), "b,new,id\n7,true,1\n").unwrap();
    let (rows, pins) = read(&reader, &model, &pins).await.unwrap();
    assert_eq!(rows, ["7|true|1"]);
    assert_eq!(pins.get("people", "b"), Some("VARCHAR"));
    assert_eq!(pins.get("people", "new"), Some("BOOLEAN"));
    assert_eq!(pins.get("people", "a"), Some("BIGINT"));
}

#[tokio::test]
async fn quoted_newlines_delimiters_and_null_words_are_read_as_declared() {
    let folder = people("id;text;n\n1;\"a\nb;c\";NA\n2;NA;5\n3;;\n");
    let nulls = vec!["NA".to_owned()];
    let declared = Csv { delimiter: b';', nulls, ..csv() };
    let model = model("select * from people order by id", &["id"]);
    let reader = csv_reader(folder.path(), declared);
    let (rows, _) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows, ["1|a\nb;c|~", "2|~|5", "3||"]);
}

#[tokio::test]
async fn a_file_without_header_has_numbered_columns() {
    let folder = people("1,x\n2,y\n");
    let reader = csv_reader(folder.path(), Csv { has_header: false, ..csv() });
    let model = model("select column_1 as id, column_2 from people", &["id"]);
    let (rows, _) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows, ["1|x", "2|y"]);
}

#[tokio::test]
async fn a_cut_csv_file_is_an_error_at_the_first_run_and_later() {
    let folder = people("id,a\n1,x\n2,y\n");
    let path = folder.path().join("people.csv");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    for (text, part) in
        [("id,a\n1,x\n2", "line 3"), ("id,a\n1,x\n2,\"y", "inside a quoted field"), ("", "empty")]
    {
        std::fs::write(&path, text).unwrap();
        for pins in [&Pins::default(), &pins] {
            let error = read(&reader, &model, pins).await.unwrap_err();
            assert!(matches!(&error, Error::Damaged(message) if message.contains(part)), "{error}");
        }
    }
}

#[tokio::test]
async fn globs_are_read_whole_and_files_that_differ_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_parquet(&at("1 ä#%?[x].parquet"), vec![("id", integers(&[1, 2]))]);
    write_parquet(&at("2*.parquet"), vec![("id", integers(&[3]))]);
    std::fs::write(at("1.csv"), "id,a\n1,x\n").unwrap();
    std::fs::write(at("2.csv"), "a,id\ny,2\n").unwrap();
    let reader = reader(vec![
        table("lake", at("*.parquet"), Format::Parquet),
        table("people", at("*.csv"), Format::Csv(csv())),
    ]);
    let sql = "select id from lake union all select id from people order by id";
    let (rows, _) = read(&reader, &model(sql, &["id"]), &Pins::default()).await.unwrap();
    assert_eq!(rows, ["1", "1", "2", "2", "3"]);

    let ids: ArrayRef = Arc::new(Int32Array::from(vec![4]));
    write_parquet(&at("3.parquet"), vec![("id", ids)]);
    let error = refusal(&reader, &model(sql, &["id"]), &Selection::default()).await;
    assert!(error.contains("3.parquet") && error.contains("`id` is `Int64`"), "{error}");
    std::fs::write(at("3.csv"), "id\n1\n").unwrap();
    let only = model("select id from people", &["id"]);
    let error = refusal(&reader, &only, &Selection::default()).await;
    assert!(error.contains("3.csv") && error.contains("column `a`"), "{error}");
}

#[tokio::test]
async fn a_cut_or_empty_parquet_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, vec![("id", integers(&[1, 2, 3]))]);
    let whole = std::fs::read(&path).unwrap();
    let reader = reader(vec![table("people", &path, Format::Parquet)]);
    for length in [whole.len() - 5, 3, 0] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let model = model("select * from people", &["id"]);
        let error = refusal(&reader, &model, &Selection::default()).await;
        assert!(error.contains("a.parquet") && error.contains("`people`"), "{error}");
    }
}

#[tokio::test]
async fn a_parquet_file_whose_pages_are_gone_fails_while_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, vec![("id", integers(&(0..10_000).collect::<Vec<_>>()))]);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[4..middle].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let reader = reader(vec![table("people", &path, Format::Parquet)]);
    let model = model("select * from people", &["id"]);
    let error = read(&reader, &model, &Pins::default()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged(_) | Error::Query(_)), "{error}");
}

#[tokio::test]
async fn a_file_replaced_during_the_read_leaves_it_unproven() {
    let folder = people("id\n1\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    assert_eq!(reading.facts.files.len(), 1);
    std::fs::write(folder.path().join("new"), "id\n2\n").unwrap();
    std::fs::rename(folder.path().join("new"), folder.path().join("people.csv")).unwrap();
    rows(&mut reading).await.unwrap();
    assert!(reading.proof.verify(&[]).await.unwrap_err().reason.contains("people.csv"));
}

#[tokio::test]
async fn mapping_expressions_name_the_fields_and_keys_are_found_among_them() {
    let folder = people("id,email,Name\n1,A@X,Ann\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let fields =
        [("email", "lower(email)"), ("name", "\"Name\""), ("n", "id + 1"), ("k", "people.id")];
    let open = async |key: &[&str], fields: &[(&str, &str)]| {
        reader.open(&model, &mapping(fields, key), &Pins::default()).await
    };
    let mut reading = open(&["email"], &fields).await.unwrap();
    assert_eq!((reading.key.clone(), reading.primary_key.clone()), (vec![0], vec![3]));
    assert_eq!(rows(&mut reading).await.unwrap(), ["a@x|Ann|2|1"]);
    let mut reading = open(&["email"], &fields[..2]).await.unwrap();
    assert_eq!((reading.key.clone(), reading.primary_key.clone()), (vec![0], vec![2]));
    assert_eq!(reading.fields.len(), 2);
    assert_eq!(rows(&mut reading).await.unwrap(), ["a@x|Ann|1"]);
    let reading = open(&[], &fields).await.unwrap();
    assert_eq!((reading.key, reading.primary_key), (vec![3], vec![3]));
    assert!(open(&[], &fields[..2]).await.err().unwrap().to_string().contains("primary key"));
}

#[tokio::test]
async fn mappings_that_are_wrong_are_refused_by_name() {
    let folder = people("id,email\n1,a\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    for (expression, part) in [
        ("emial", "did you mean `email`"),
        ("count(email)", "the aggregate `count`"),
        ("row_number() over ()", "the window function `row_number`"),
        ("(select max(id) from people)", "a subquery"),
        ("id in (select 1)", "a subquery"),
        ("id as x", "alias"),
        ("$1", "placeholder"),
        ("lower(", "not valid SQL"),
        ("nosuch(email)", "nosuch"),
        ("id, email", "not valid SQL"),
        ("*", "field `f`"),
        ("make_array(id)", "field `f`"),
        ("named_struct('a', id)", "field `f`"),
    ] {
        let error = refusal(&reader, &model, &mapping(&[("f", expression)], &["f"])).await;
        assert!(error.contains(part) && error.contains('f'), "{expression}: {error}");
    }
    let twice = mapping(&[("f", "id"), ("f", "email")], &[]);
    assert!(refusal(&reader, &model, &twice).await.contains("mapped twice"));
    let key = mapping(&[("id", "id")], &["ids"]);
    assert!(refusal(&reader, &model, &key).await.contains("did you mean `id`"));
}

#[tokio::test]
async fn models_that_are_wrong_are_refused_by_name() {
    let folder = people("id,Email\n1,a\n");
    let reader = csv_reader(folder.path(), csv());
    for (sql, key, part) in [
        ("select idd from people", "id", "did you mean `id`"),
        ("select email, id from people", "id", "`\"Email\"`"),
        ("select id from poeple", "id", "did you mean `people`"),
        ("select a.id, b.id from people a, people b", "id", "two columns named `id`"),
        ("select 1 as id, 2 as id from people", "id", "two columns"),
        ("select id from people", "key", "primary key of model `people`"),
        ("select id from people where id = $1", "id", "placeholder"),
        ("drop table people", "id", "DROP"),
        ("select id from people fetch first row only", "id", "FETCH"),
        ("select id from people where id like any ('a')", "id", "ANY in LIKE"),
        ("select id from people where id member of ('[1]')", "id", "an expression of this kind"),
    ] {
        let error = refusal(&reader, &model(sql, &[key]), &Selection::default()).await;
        assert!(error.contains(part) && !error.contains("Span("), "{sql}: {error}");
    }
    let declared = Csv { columns: vec![("idd".into(), "BIGINT".into())], ..csv() };
    let reader = csv_reader(folder.path(), declared);
    let whole = model("select * from people", &["id"]);
    assert!(refusal(&reader, &whole, &Selection::default()).await.contains("unknown column `idd`"));
}

#[tokio::test]
async fn dictionaries_are_unpacked_at_any_depth_and_no_key_is_nested() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let words: DictionaryArray<Int8Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![None::<Vec<_>>, None, None]);
    write_parquet(
        &path,
        vec![
            ("id", integers(&[1, 2, 3])),
            ("word", Arc::new(words)),
            ("tags", Arc::new(list)),
            ("text", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ],
    );
    let reader = reader(vec![table("people", &path, Format::Parquet)]);
    let all = model(
        "select id, word, tags, arrow_cast(text, 'Dictionary(Int32, Utf8)') as t,
           named_struct('words', [word, arrow_cast(text, 'Dictionary(Int8, Utf8)')]) as deep from people",
        &["id"],
    );
    let mut reading = reader.open(&all, &Selection::default(), &Pins::default()).await.unwrap();
    let is_unpacked = |field: &FieldInfo| !field.data_type.to_string().contains("Dictionary");
    assert!(reading.fields.iter().all(is_unpacked), "{:?}", reading.fields);
    let batches = batches(&mut reading).await.unwrap();
    for (field, column) in reading.fields.iter().zip(batches[0].columns()) {
        assert_eq!(&field.data_type, column.data_type());
    }
    let by = |key: &str| Selection { key: vec![key.to_owned()], ..Selection::default() };
    let error = refusal(&reader, &all, &by("deep")).await;
    assert!(error.contains("field `deep` of the key is a struct"), "{error}");
    for column in ["tags", "deep"] {
        let error = refusal(&reader, &model(&all.sql, &[column]), &by("id")).await;
        assert!(error.contains(&format!("column `{column}` of the primary key")), "{error}");
    }
}

#[tokio::test]
async fn a_failing_query_does_not_show_the_value_it_failed_on() {
    let folder = people("id,a\n1,secret\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select id, cast(a as bigint) as a from people", &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    let error = rows(&mut reading).await.unwrap_err();
    assert!(matches!(error, Error::Query(_)), "{error:?}");
    assert!(error.to_string().contains("Int64"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_query_beyond_its_memory_fails_with_advice() {
    let reader = Reader::new(vec![lake(Vec::new())], Settings::new(2, 1 << 20, 1 << 20));
    let model = model("select value as id from range(0, 1000000) order by id desc", &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    let error = rows(&mut reading).await.unwrap_err();
    assert!(matches!(error, Error::Memory(_)), "{error:?}");
}

#[test]
fn streams_do_their_work_on_the_runtime_that_polls_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, vec![("id", integers(&(0..1000).collect::<Vec<_>>()))]);
    let reader = reader(vec![table("people", &path, Format::Parquet)]);
    let model =
        model("select id % 10 as id, count(*) as n from people group by 1 order by 1", &["id"]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let opening = async { reader.open(&model, &Selection::default(), &Pins::default()).await };
    let mut reading = first.block_on(opening).ok().unwrap();
    drop(first);
    assert_eq!(runtime().block_on(rows(&mut reading)).unwrap().len(), 10);
}

#[tokio::test]
async fn rows_are_counted_without_reading_a_column() {
    let folder = people("id,a\n1,x\n2,y\n3,z\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select count(*) as id from people", &["id"]);
    assert_eq!(read(&reader, &model, &Pins::default()).await.unwrap().0, ["3"]);
}

#[tokio::test]
async fn an_empty_model_yields_no_rows_and_is_proven() {
    let folder = people("id,a\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    assert!(read(&reader, &model, &Pins::default()).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn only_the_tables_that_a_model_reads_are_opened() {
    let folder = people("id\n1\n");
    let people = table("people", folder.path().join("people.csv"), Format::Csv(csv()));
    let gone = table("gone", folder.path().join("gone.csv"), Format::Csv(csv()));
    let reader = reader(vec![people, gone]);
    assert!(read(&reader, &model("select * from people", &["id"]), &Pins::default()).await.is_ok());
    assert_eq!(reader.check(&model("select * from gone", &["id"])).unwrap(), ["gone"]);
    let error =
        refusal(&reader, &model("select * from gone", &["id"]), &Selection::default()).await;
    assert!(error.contains("gone.csv") && error.contains("table `gone`"), "{error}");
}

#[tokio::test]
async fn declared_types_are_kept_exactly() {
    let folder = people("id,price,n,at\n1,12.30,7,2013-01-01 05:00:00\n");
    let declare = |name: &str, type_name: &str| (name.to_owned(), type_name.to_owned());
    let columns = vec![
        declare("price", "decimal(10, 2)"),
        declare("n", "varchar"),
        declare("at", "timestamp"),
        declare("id", "smallint"),
    ];
    let reader = csv_reader(folder.path(), Csv { columns, ..csv() });
    let model = model("select * from people", &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    assert!(reading.pins.is_empty());
    let types = reading.fields.iter().map(|field| super::key_type_name(&field.data_type));
    let expected = ["Int16", "Decimal128(10, 2)", "Utf8", "Timestamp(µs)"];
    assert_eq!(types.collect::<Vec<_>>(), expected);
    assert_eq!(rows(&mut reading).await.unwrap(), ["1|12.30|7|2013-01-01T05:00:00"]);
}
