//! One table with a column of every type through the real binary and over the wire.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::cell::{Cell, fields};
use super::table::{Column, Layout, Table, counting};
use super::{draw, kind};
use crate::support::check::check_journal;
use crate::support::journal::hash;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

/// The same rows at each run: each of these types once, each cell one that a request can carry.
fn every_type(types: Vec<DataType>, rows: usize, has_nulls: bool) -> Table {
    let mut runner = TestRunner::deterministic();
    let mut draw = |data_type: &DataType, row: usize| {
        let cells = match has_nulls {
            true => draw::cells(data_type),
            false => draw::values(data_type),
        };
        let cells = cells.prop_filter("a request can carry it", Cell::is_sayable);
        let tree = cells.new_tree(&mut runner).expect("most cells can be said");
        if has_nulls && row == 0 { Cell::Null } else { tree.current() }
    };
    let columns = types.into_iter().enumerate().map(|(number, data_type)| {
        let cells = (0..rows).map(|row| draw(&data_type, row)).collect();
        Column { name: format!("c{number}"), data_type, cells }
    });
    Table { columns: std::iter::once(counting("id", rows)).chain(columns).collect() }
}

/// One record a request, so that each body is small enough for the oracle to keep it as text.
fn setup(key: &'static [&'static str]) -> Setup {
    let (location, sql) = ("*.parquet".to_owned(), "SELECT * FROM people".to_owned());
    Setup { location, sql, key, batch: 1, max_deletes: Some("100%"), ..Setup::default() }
}

/// The records of all requests to this path from the `first` on, by the row they count, as they were written.
fn sent(oracle: &Oracle, first: usize, path: &str) -> BTreeMap<usize, BTreeMap<String, String>> {
    let mut records = BTreeMap::new();
    let of_path = |sent: &str| sent == path;
    for request in
        oracle.requests().iter().skip(first).filter(|request| of_path(&request.sent.path))
    {
        let body = &request.sent.beginning;
        assert_eq!(hash(body.as_bytes()), request.sent.body_hash, "the body was kept whole");
        let list = body.split_once('[').and_then(|(_, rest)| rest.strip_suffix("]}"));
        let record: BTreeMap<String, String> =
            fields(list.expect("a body is a list")).into_iter().collect();
        let row = record["id"].parse().expect("the rows are counted");
        assert_eq!(records.insert(row, record), None, "{row} is sent once");
    }
    records
}

#[track_caller]
fn check_records(table: &Table, records: &BTreeMap<usize, BTreeMap<String, String>>) {
    for (row, record) in records {
        assert_eq!(record.len(), table.columns.len());
        for column in &table.columns {
            let checked =
                kind::check(&column.cells[*row], &column.data_type, &record[&column.name]);
            checked.unwrap_or_else(|wrong| panic!("row {row}, column `{}`: {wrong}", column.name));
        }
    }
}

/// Each column under another type of its family that takes all its values, if there is one.
fn retyped(table: &Table) -> (Table, BTreeSet<DataType>) {
    let (mut same, mut changed) = (table.clone(), BTreeSet::new());
    for number in 1..table.columns.len() {
        let data_type = &table.columns[number].data_type;
        let others = kind::family(data_type).into_iter().filter(|other| other != data_type);
        if let Some(other) = others.rev().find_map(|other| same.retyped(number, &other)) {
            (same, _) = (other, changed.insert(data_type.clone()));
        }
    }
    (same, changed)
}

fn shuffled(table: &Table) -> Layout {
    let plain = Layout::plain(table);
    let rows = plain.rows.iter().rev().copied().collect();
    let columns = plain.columns.iter().rev().copied().collect();
    Layout { rows, columns, files: 3, row_group: 2, has_dictionary: false }
}

#[test]
fn a_row_of_every_type_arrives_exactly_and_is_sent_once_e6_e7_i8() {
    let table = every_type(kind::all(), 12, true);
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, setup(&["id"]));
    table.write(workspace.path(), &Layout::plain(&table));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 12)]);
    let records = sent(&oracle, 0, "/contacts/batch");
    assert_eq!(records.len(), 12);
    check_records(&table, &records);

    let none = [("unchanged", 12), ("requests", 0)];
    table.write(workspace.path(), &shuffled(&table));
    workspace.sync(&[]).expect(0, "succeeded", &none);
    let (same, changed) = retyped(&table);
    assert!(changed.len() > 25, "only {changed:?} have another representation");
    same.write(workspace.path(), &shuffled(&same));
    workspace.sync(&[]).expect(0, "succeeded", &none);
    assert_eq!(oracle.request_count(), 12, "I8");

    // A value to NULL, in a row for each column in turn.
    let mut next = table.clone();
    for (number, column) in next.columns.iter_mut().enumerate().skip(1) {
        column.cells[1 + number % 11] = Cell::Null;
    }
    next.write(workspace.path(), &Layout::plain(&next));
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 1), ("delivered", 11)]);
    let records = sent(&oracle, 12, "/contacts/batch");
    assert_eq!(records.len(), 11);
    check_records(&next, &records);
    check_journal(&oracle);
}

#[test]
fn a_key_of_every_type_of_scalars_is_deleted_under_the_very_text_it_was_sent_with() {
    let table = every_type(kind::scalars(), 8, false);
    let names = table.columns.iter().map(|column| &*column.name.clone().leak());
    let key: &'static [&'static str] = names.collect::<Vec<&'static str>>().leak();
    let oracle = Oracle::start(key);
    let workspace = Workspace::new(&oracle, setup(key));
    table.write(workspace.path(), &Layout::plain(&table));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 8)]);
    let records = sent(&oracle, 0, "/contacts/batch");
    check_records(&table, &records);
    table.write(workspace.path(), &shuffled(&table));
    workspace.sync(&[]).expect(0, "succeeded", &[("unchanged", 8), ("requests", 0)]);

    let fewer = Layout { rows: vec![7, 2, 4], ..shuffled(&table) };
    table.write(workspace.path(), &fewer);
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("deleted", 5), ("delivered", 8)]);
    let deleted = sent(&oracle, 8, "/contacts/batch/archive");
    assert_eq!(deleted.keys().copied().collect::<Vec<_>>(), [0, 1, 3, 5, 6]);
    for (row, record) in &deleted {
        assert_eq!(record, &records[row], "row {row}");
    }
    assert_eq!(oracle.table().len(), 3);
    check_journal(&oracle);
}
