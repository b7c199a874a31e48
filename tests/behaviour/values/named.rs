//! Values that no request can carry are invalid records, named with their field, and never sent as something else (E6).

use arrow::datatypes::{DataType, TimeUnit};

use super::cell::{Cell, Day};
use super::line::Line;
use super::table::{Column, Layout, Table, counting};
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

fn one_column(data_type: DataType, cells: &[Cell]) -> Table {
    let column = Column { name: "v".to_owned(), data_type, cells: cells.to_vec() };
    Table { columns: vec![counting("id", cells.len()), column] }
}

#[test]
fn nan_infinities_and_far_years_are_named_with_their_field_each_time() {
    let far = Day::new(10_000, 1, 1);
    let near = Day::new(9999, 12, 31);
    let date = |day| vec![Cell::Date(near), Cell::Date(day)];
    let moment = |day| vec![Cell::Moment(near, 0), Cell::Moment(day, 0)];
    let floats = |odd| vec![Cell::Float(1.0), Cell::Float(odd)];
    for (data_type, cells, why) in [
        (DataType::Float64, floats(f64::NAN), "NaN"),
        (DataType::Float64, floats(f64::INFINITY), "infinities"),
        (DataType::Float32, floats(f64::NEG_INFINITY), "infinities"),
        (DataType::Float16, floats(f64::NAN), "NaN"),
        (DataType::Date32, date(far), "year"),
        (DataType::Date64, date(far), "year"),
        (DataType::Timestamp(TimeUnit::Second, None), moment(far), "year"),
        (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), moment(far), "year"),
    ] {
        let line = Line::new(&["id"]);
        let table = one_column(data_type.clone(), &cells);
        table.write(line.folder(), &Layout::plain(&table));
        let first = line.pass();
        let again = line.pass();
        assert_eq!((first.sent.len(), again.sent.len()), (1, 0), "{data_type}");
        for pass in [first, again] {
            let [named] = &pass.unsayable[..] else { panic!("{data_type}: {pass:?}") };
            assert!(named.starts_with("1: field `v`") && named.contains(why), "{named}");
        }
    }
}

#[test]
fn empty_text_null_and_no_bytes_are_three_values_in_the_key_too() {
    let line = Line::new(&["v", "id"]);
    let table = one_column(DataType::Utf8, &[Cell::Text(String::new()), Cell::Null]);
    table.write(line.folder(), &Layout::plain(&table));
    let pass = line.pass();
    assert_eq!((pass.sent, pass.null_keys), (vec![r#"{"id":0,"v":""}"#.to_owned()], 1));
    for (cells, sent) in [
        ([Cell::Text(String::new()), Cell::Text(String::new())], 0),
        ([Cell::Null, Cell::Text(String::new())], 1),
        ([Cell::Text("\0".to_owned()), Cell::Text(String::new())], 1),
    ] {
        let line = Line::new(&["id"]);
        let table = one_column(DataType::Utf8, &[cells[0].clone()]);
        table.write(line.folder(), &Layout::plain(&table));
        assert_eq!(line.pass().sent.len(), 1);
        let table = one_column(DataType::Utf8, &[cells[1].clone()]);
        table.write(line.folder(), &Layout::plain(&table));
        assert_eq!(line.pass().sent.len(), sent, "{cells:?}");
    }
}

#[test]
fn a_key_of_another_type_is_refused_until_a_person_says_more_e4() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup {
        location: "*.parquet".to_owned(),
        sql: "SELECT * FROM people".to_owned(),
        ..Setup::default()
    };
    let workspace = Workspace::new(&oracle, setup);
    let mut table = one_column(DataType::Int64, &[Cell::Integer(5), Cell::Null]);
    table.write(workspace.path(), &Layout::plain(&table));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    table = table.retyped(0, &DataType::Int32).expect("two small numbers");
    table.write(workspace.path(), &Layout::plain(&table));
    let words = ["the key changed from", "Int64", "Int32", "rebaseline"];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&words);
    assert_eq!(oracle.request_count(), 1);
}

/// What Parquet does not keep, but SQL makes.
#[test]
fn types_that_only_sql_makes_arrive_exactly_too() {
    let mut line = Line::new(&["id"]);
    let table = one_column(DataType::Utf8, &[Cell::Text("a".to_owned())]);
    table.write(line.folder(), &Layout::plain(&table));
    for (expression, json) in [
        ("NULL", "null"),
        ("interval '1 month 2 days 3.5 seconds'", r#""P1M2DT3.5S""#),
        ("interval '-1 month -1 second'", r#""P-1M0DT-1S""#),
        ("arrow_cast(v, 'Dictionary(Int8, LargeUtf8)')", r#""a""#),
        ("arrow_cast(id, 'Dictionary(UInt16, UInt64)')", "0"),
        ("arrow_cast(1.5, 'Decimal256(40, 3)')", "1.500"),
        ("time '12:34:56.5'", r#""12:34:56.500""#),
        ("arrow_cast(1, 'Duration(Second)')", r#""PT1S""#),
        ("18446744073709551615", "18446744073709551615"),
        ("'12345678901234567890.123456789'::decimal(38,9)", "12345678901234567890.123456789"),
        (
            "arrow_cast('0001-01-01T00:00:00', 'Timestamp(Second, None)')",
            r#""0001-01-01T00:00:00""#,
        ),
        ("'0001-01-01'::date", r#""0001-01-01""#),
    ] {
        line.set_sql(&format!("SELECT id, {expression} AS v FROM t"));
        let pass = line.pass();
        assert_eq!(pass.sent, [format!(r#"{{"id":0,"v":{json}}}"#)], "{expression}");
        assert_eq!(line.pass().sent.len(), 0, "{expression}");
    }
}
