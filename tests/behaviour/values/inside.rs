//! What becomes of lists, structs and maps: as JSON in requests, by the real binary; what changes inside of one; what is named
//! and what is refused. And the rules of their encoding, over drawn values.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use counterflow::domain::column::Column;
use counterflow::domain::syncable;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use proptest::prelude::*;

use super::cell::Cell;
use super::line::Line;
use super::nested::{families, list_of, map_of, struct_of, turned};
use super::properties::config;
use super::{draw, kind};
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

/// A Parquet file of rows that are counted as `id`, and these columns.
fn write(folder: &Path, columns: &[(&str, ArrayRef)]) {
    write_file(folder, columns, ArrowWriterOptions::new());
}

/// As [`write`], of a column so deep that no schema of Arrow can be put beside it, and the writer needs a stack of its own.
fn write_deep(folder: &Path, column: &ArrayRef) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 20);
        let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
        let write = || write_file(folder, &[("v", Arc::clone(column))], options);
        let written = thread.spawn_scoped(scope, write);
        written.expect("a thread").join().expect("the file can be written");
    });
}

fn write_file(folder: &Path, columns: &[(&str, ArrayRef)], options: ArrowWriterOptions) {
    let rows = columns[0].1.len();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(rows)));
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    let field = |(name, its): &(&str, ArrayRef)| Field::new(*name, its.data_type().clone(), true);
    fields.extend(columns.iter().map(field));
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.iter().map(|(_, column)| Arc::clone(column));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), [ids].into_iter().chain(columns).collect());
    let next = folder.join("next");
    let file = std::fs::File::create(&next).expect("a file can be made");
    let mut writer = ArrowWriter::try_new_with_options(file, schema, options).expect("a writer");
    writer.write(&batch.expect("a batch")).expect("the rows can be written");
    writer.close().expect("the footer can be written");
    std::fs::rename(next, folder.join("a.parquet")).expect("a file can be renamed");
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn number(number: i128) -> Cell {
    Cell::Integer(number)
}

fn struct_cell<const N: usize>(members: [(&str, Cell); N]) -> Cell {
    Cell::Struct(members.map(|(name, its)| (name.to_owned(), its)).into())
}

/// A person's tags, where they live, and points by game.
fn people() -> [(&'static str, DataType, Vec<Cell>); 3] {
    let address = struct_of([("city", DataType::Utf8), ("geo", list_of(DataType::Float64))]);
    let home = |city: &str, geo| struct_cell([("city", text(city)), ("geo", geo)]);
    let geo = Cell::List(vec![Cell::Float(52.5), Cell::Float(-0.0)]);
    [
        (
            "tags",
            list_of(DataType::Utf8),
            vec![
                Cell::List(vec![text("a\"b"), Cell::Null, text("")]),
                Cell::List(vec![]),
                Cell::Null,
                Cell::List(vec![text("c")]),
            ],
        ),
        (
            "home",
            address,
            vec![
                home("Berlin", geo),
                struct_cell([("city", Cell::Null), ("geo", Cell::Null)]),
                Cell::Null,
                home("", Cell::List(vec![])),
            ],
        ),
        (
            "points",
            map_of(DataType::Utf8, list_of(DataType::Int64)),
            vec![
                Cell::Map(vec![
                    (text("go"), Cell::List(vec![number(1), number(9_007_199_254_740_993)])),
                    (text("chess"), Cell::Null),
                ]),
                Cell::Map(vec![]),
                Cell::Null,
                Cell::Map(vec![(text(""), Cell::List(vec![Cell::Null]))]),
            ],
        ),
    ]
}

fn arrays(people: &[(&'static str, DataType, Vec<Cell>)]) -> Vec<(&'static str, ArrayRef)> {
    let array = |(name, data_type, cells): &(&'static str, DataType, Vec<Cell>)| {
        (*name, kind::array(data_type, cells).expect("the cells fit"))
    };
    people.iter().map(array).collect()
}

fn setup() -> Setup {
    let (location, sql) = ("*.parquet".to_owned(), "SELECT * FROM people".to_owned());
    Setup { location, sql, batch: 1, max_invalid: Some(10), ..Setup::default() }
}

/// The records of all requests from the `first` on.
fn sent(oracle: &Oracle, first: usize) -> Vec<String> {
    let requests = oracle.requests();
    let list = |body: &str| -> String {
        let (_, rest) = body.split_once('[').expect("a body is a list");
        rest.strip_suffix("]}").expect("a body is a list").to_owned()
    };
    let mut sent: Vec<String> =
        requests.iter().skip(first).map(|request| list(&request.sent.beginning)).collect();
    sent.sort();
    sent
}

#[test]
fn nested_values_arrive_as_json_and_a_change_inside_of_one_sends_that_row_and_no_other_e6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, setup());
    let mut people = people();
    write(workspace.path(), &arrays(&people));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 4)]);
    assert_eq!(
        sent(&oracle, 0),
        [
            concat!(
                r#"{"id":0,"tags":["a\"b",null,""],"home":{"city":"Berlin","geo":[52.5,0.0]},"#,
                r#""points":{"go": [1,9007199254740993],"chess": null}}"#
            ),
            r#"{"id":1,"tags":[],"home":{"city":null,"geo":null},"points":{}}"#,
            r#"{"id":2,"tags":null,"home":null,"points":null}"#,
            r#"{"id":3,"tags":["c"],"home":{"city":"","geo":[]},"points":{"": [null]}}"#,
        ]
    );
    // The same values, said in another way: nothing is sent.
    write(workspace.path(), &arrays(&people));
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 4), ("requests", 0)]);
    for (_, _, cells) in &mut people {
        cells.iter_mut().for_each(Cell::disguise);
    }
    people[0].1 = DataType::LargeList(Arc::new(Field::new("other", DataType::LargeUtf8, true)));
    people[1].1 = struct_of([("geo", list_of(DataType::Float64)), ("city", DataType::Utf8)]);
    write(workspace.path(), &arrays(&people));
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 4), ("requests", 0)]);

    for (row, column, cell, json) in [
        // NULL and what is empty are two values, and so are a struct of NULLs and NULL.
        (1, 0, Cell::Null, r#""tags":null"#),
        (1, 1, Cell::Null, r#""home":null"#),
        (2, 2, Cell::Map(vec![]), r#""points":{}"#),
        (0, 0, Cell::List(vec![text("a\"b"), text(""), Cell::Null]), r#"["a\"b","",null]"#),
        (0, 2, Cell::Map(vec![(text("go"), Cell::Null)]), r#"{"go": null}"#),
        (3, 1, struct_cell([("city", text(" ")), ("geo", Cell::List(vec![]))]), r#""city":" ""#),
    ] {
        let before = oracle.request_count();
        people[column].2[row] = cell;
        write(workspace.path(), &arrays(&people));
        workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 3), ("delivered", 1)]);
        let [record] = &sent(&oracle, before)[..] else { panic!("one row was changed") };
        assert!(record.starts_with(&format!("{{\"id\":{row},")), "{record}");
        assert!(record.contains(json), "{json} in {record}");
    }
}

#[test]
fn what_has_no_json_inside_of_a_nested_value_is_named_with_its_field_each_time_e6() {
    let nan = Cell::List(vec![Cell::Float(1.0), Cell::Float(f64::NAN)]);
    let home = struct_cell([("city", text("SECRET")), ("geo", nan)]);
    let twice =
        vec![(text("SECRET"), Cell::Null), (text("b"), Cell::Null), (text("SECRET"), Cell::Null)];
    for (column, odd, why) in [(1, home, "NaN"), (2, Cell::Map(twice), "a key more than once")] {
        let oracle = Oracle::start(&["id"]);
        let workspace = Workspace::new(&oracle, setup());
        let mut people = people();
        people[column].2[2] = odd;
        write(workspace.path(), &arrays(&people));
        for delivered in [3, 0] {
            let counts = [("invalid", 1), ("delivered", delivered)];
            let report = workspace.sync(&[]).expect(3, "partial", &counts);
            let name = format!("field `{}`", people[column].0);
            let printed = report.finished.expect_printed(&[name.as_str(), why, "`2`"]);
            assert!(
                !printed.stdout.contains("SECRET") && !printed.stderr.contains("SECRET"),
                "I12"
            );
        }
        assert_eq!(oracle.request_count(), 3);
    }
}

#[test]
fn nested_types_that_cannot_be_synced_are_refused_by_name_and_nothing_is_sent_e6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, setup());
    let two = struct_of([("a", DataType::Int64), ("b", DataType::Utf8), ("a", DataType::Int64)]);
    let key = struct_of([("a", DataType::Int64)]);
    for (data_type, words) in [
        (list_of(two), &["two members named `a`"][..]),
        (map_of(key, DataType::Int64), &["a map whose keys are of the nested type", "Struct"]),
    ] {
        write(workspace.path(), &[("v", arrow::array::new_null_array(&data_type, 2))]);
        let refused = workspace.run(&["sync", "people"]).expect_code(2);
        refused.expect_printed(&["field `v`", "leave it out"]).expect_printed(words);
    }
    for (_, data_type, _) in people() {
        let workspace = Workspace::new(&oracle, Setup { key: &["v"], ..setup() });
        write(workspace.path(), &[("v", arrow::array::new_null_array(&data_type, 2))]);
        let refused = workspace.run(&["sync", "people"]).expect_code(2);
        refused.expect_printed(&["`v` of the primary key", "a key is made of scalars"]);
    }
    assert_eq!(oracle.request_count(), 0);
}

#[test]
fn a_column_of_64_levels_arrives_and_a_deeper_one_is_refused_by_name_e6() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, setup());
    let nested = |levels: usize| {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
        (0..levels).fold(numbers, |items, _| {
            let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths([1, 1]);
            Arc::new(ListArray::new(field, offsets, items, None))
        })
    };
    for levels in [syncable::DEEPEST + 1, 200] {
        write_deep(workspace.path(), &nested(levels));
        let words = ["field `v`", "nested deeper than 64 levels", "leave it out"];
        workspace.run(&["sync", "people"]).expect_code(2).expect_printed(&words);
    }
    assert_eq!(oracle.request_count(), 0);
    write_deep(workspace.path(), &nested(syncable::DEEPEST));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    let [open, close] = ["[", "]"].map(|it| it.repeat(syncable::DEEPEST));
    let record = |id: i32, number: i32| format!(r#"{{"id":{id},"v":{open}{number}{close}}}"#);
    assert_eq!(sent(&oracle, 0), [record(0, 7), record(1, 8)]);
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 2), ("requests", 0)]);
}

/// Types of few values, so that two that are drawn are often the same or nearly so.
fn few() -> Vec<DataType> {
    let lists = list_of(list_of(DataType::Boolean));
    let structs = struct_of([("a", DataType::Boolean), ("b", list_of(DataType::Boolean))]);
    let maps = map_of(DataType::Utf8, DataType::Boolean);
    vec![lists, structs.clone(), list_of(structs), maps.clone(), list_of(maps)]
}

fn values() -> impl Strategy<Value = (DataType, Cell)> {
    let types = families().into_iter().flatten().chain(few()).collect::<Vec<_>>();
    prop::sample::select(types).prop_flat_map(|data_type| {
        let cell = draw::cells(&data_type);
        (Just(data_type), cell)
    })
}

/// Two values of one type, or of two whose values no decimal of another scale can be.
fn pairs() -> impl Strategy<Value = [(DataType, Cell); 2]> {
    let alike = prop_oneof![
        values().prop_flat_map(|(data_type, _)| {
            let cells = [draw::cells(&data_type), draw::cells(&data_type)];
            cells.prop_map(move |cells| cells.map(|cell| (data_type.clone(), cell)))
        }),
        values().prop_map(|(data_type, cell)| {
            let mut other = cell.clone();
            other.disguise();
            let turned = turned(&data_type);
            [(data_type, cell), (turned, other)]
        }),
    ];
    prop_oneof![3 => alike, 1 => [values(), values()]]
}

fn encoded(data_type: &DataType, cell: &Cell) -> Vec<u8> {
    let array = kind::array(data_type, std::slice::from_ref(cell)).expect("it was drawn to fit");
    let array = arrow::compute::cast(&array, &syncable::unpacked(data_type)).expect("it is packed");
    let mut bytes = Vec::new();
    Column::new(&array).expect("it is known").value(0).encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn two_nested_values_have_one_encoding_if_and_only_if_they_are_one_value([one, other] in pairs()) {
        let is_one = one.1.is(&other.1);
        // A number of another scale is the same number.
        prop_assume!(is_one || one.0 == other.0 || turned(&one.0) == other.0 || !one.0.to_string().contains("Decimal"));
        let (ours, theirs) = (encoded(&one.0, &one.1), encoded(&other.0, &other.1));
        assert_eq!(ours == theirs, is_one, "{one:?} and {other:?}");
        let is_beginning = ours.starts_with(&theirs) || theirs.starts_with(&ours);
        assert!(is_one || !is_beginning, "one encoding begins with another: {one:?} and {other:?}");
    }
}

/// What Parquet does not keep, but SQL makes.
#[test]
fn nested_values_that_only_sql_makes_arrive_exactly_too() {
    let mut line = Line::new(&["id"]);
    write(line.folder(), &[("v", Arc::new(arrow::array::StringArray::from(vec!["a"])))]);
    for (expression, json) in [
        ("[1, NULL, id]", "[1,null,0]"),
        ("make_array()", "[]"),
        ("[NULL]", "[null]"),
        ("[[v], []]", r#"[["a"],[]]"#),
        ("named_struct('z', v, 'a', [id])", r#"{"z":"a","a":[0]}"#),
        ("{'x': 1.5, 'y': {'w': NULL}}", r#"{"x":1.5,"y":{"w":null}}"#),
        ("map(['k', v], [1, 2])", r#"{"k": 1,"a": 2}"#),
        ("map([date '1970-01-01'], [[true]])", r#"{"1970-01-01": [true]}"#),
        ("[arrow_cast(v, 'Dictionary(Int8, Utf8)')]", r#"["a"]"#),
        ("arrow_cast([v, 'b'], 'LargeList(Dictionary(Int8, Utf8View))')", r#"["a","b"]"#),
        ("arrow_cast([v, 'c'], 'FixedSizeList(2, Dictionary(Int8, Utf8))')", r#"["a","c"]"#),
        ("arrow_cast([1, 2], 'List(Decimal128(9, 2))')", "[1.00,2.00]"),
        ("[timestamp '2013-01-01 05:00:00']", r#"["2013-01-01T05:00:00"]"#),
        ("[interval '1 month 2 days']", r#"["P1M2DT0S"]"#),
        ("array_slice([1, 2, 3, 4], 2, 3)", "[2,3]"),
        ("array_length([1, 2])", "2"),
        ("named_struct('a', [1, 3])['a'][2]", "3"),
        ("map_extract(map(['a', 'b'], [1, 2]), v)", "[1]"),
        ("encode(v, 'hex')", r#""61""#),
    ] {
        line.set_sql(&format!("SELECT id, {expression} AS v FROM t"));
        let pass = line.pass();
        assert_eq!(pass.sent, [format!(r#"{{"id":0,"v":{json}}}"#)], "{expression}: {pass:?}");
        assert_eq!(line.pass().sent.len(), 0, "{expression}");
    }
}
