//! Rules that hold for all rows of all types, over drawn tables: what is sent is what was there, and nothing is sent twice,
//! however the same rows are written.
//!
//! The cases are few enough for a debug build; `PROPTEST_CASES` asks for more.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, FileFailurePersistence};

use super::cell::{Cell, fields};
use super::draw;
use super::kind;
use super::line::{Line, Pass};
use super::table::{Column, Layout, Table, counting};

pub fn config(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    Config {
        cases: asked.unwrap_or(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        max_shrink_iters: 200,
        ..Config::default()
    }
}

/// A table with a counting key and some columns of any type.
fn tables() -> impl Strategy<Value = Table> {
    let types = prop::sample::subsequence(kind::all(), 1..=8).prop_shuffle();
    (types, 0..40_usize).prop_flat_map(|(types, rows)| {
        let columns = types.into_iter().enumerate().map(move |(number, data_type)| {
            let cells = prop::collection::vec(draw::cells(&data_type), rows);
            (Just(format!("c{number}")), Just(data_type), cells)
        });
        columns.collect::<Vec<_>>().prop_map(move |columns| {
            let columns = columns.into_iter();
            let column = |(name, data_type, cells)| Column { name, data_type, cells };
            Table {
                columns: std::iter::once(counting("id", rows)).chain(columns.map(column)).collect(),
            }
        })
    })
}

fn layouts(table: &Table) -> impl Strategy<Value = Layout> + use<> {
    let rows = Just((0..table.rows()).collect::<Vec<_>>()).prop_shuffle();
    let columns = Just((0..table.columns.len()).collect::<Vec<_>>()).prop_shuffle();
    (rows, columns, 1..4_usize, 1..50_usize, any::<bool>()).prop_map(
        |(rows, columns, files, row_group, has_dictionary)| Layout {
            rows,
            columns,
            files,
            row_group,
            has_dictionary,
        },
    )
}

/// The records sent, by their key.
fn by_key(pass: &Pass, key: &[&str]) -> BTreeMap<Vec<String>, BTreeMap<String, String>> {
    let mut records = BTreeMap::new();
    for text in &pass.sent {
        let record: BTreeMap<String, String> = fields(text).into_iter().collect();
        let name = key.iter().map(|field| record[*field].clone()).collect();
        assert_eq!(records.insert(name, record), None, "a key is sent once");
    }
    records
}

/// Makes sure that the first run sent every row that can be said, each value exactly.
fn check_sent(table: &Table, pass: &Pass) {
    let sayable: Vec<usize> = (0..table.rows()).filter(|row| table.is_sayable(*row)).collect();
    let records = by_key(pass, &["id"]);
    assert_eq!((records.len(), pass.unchanged), (sayable.len(), 0), "{pass:#?}");
    assert_eq!(pass.unsayable.len(), table.rows() - sayable.len(), "{:#?}", pass.unsayable);
    for row in sayable {
        let record = &records[&vec![row.to_string()]];
        assert_eq!(record.len(), table.columns.len(), "{record:?}");
        for column in &table.columns {
            let checked = kind::check(&column.cells[row], &column.data_type, &record[&column.name]);
            checked.unwrap_or_else(|wrong| panic!("row {row}, column `{}`: {wrong}", column.name));
        }
    }
}

/// Makes sure that a run sent nothing and named as many invalid rows as the first.
fn check_silent(table: &Table, pass: &Pass) {
    let sayable = (0..table.rows()).filter(|row| table.is_sayable(*row)).count();
    assert_eq!(pass.sent, [""; 0], "nothing has changed");
    assert_eq!(pass.rows, table.rows() as u64);
    assert_eq!(pass.unchanged, sayable as u64, "{pass:#?}");
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn every_value_arrives_exactly_and_once_however_its_rows_are_written_e6_i8(
        (table, layouts) in tables().prop_flat_map(|table| {
            let layouts = [layouts(&table), layouts(&table)];
            (Just(table), layouts)
        })
    ) {
        let line = Line::new(&["id"]);
        table.write(line.folder(), &layouts[0]);
        check_sent(&table, &line.pass());
        check_silent(&table, &line.pass());
        table.write(line.folder(), &layouts[1]);
        check_silent(&table, &line.pass());
        table.write(line.folder(), &Layout::plain(&table));
        check_silent(&table, &line.pass());
    }

    #[test]
    fn another_representation_of_the_same_values_sends_nothing(
        (table, other) in tables().prop_flat_map(|table| {
            let others = table.columns.iter().skip(1).map(|column| kind::family(&column.data_type));
            let others = others.map(prop::sample::select).collect::<Vec<_>>();
            (Just(table), others)
        })
    ) {
        let line = Line::new(&["id"]);
        table.write(line.folder(), &Layout::plain(&table));
        check_sent(&table, &line.pass());
        let mut same = table.clone();
        for (number, data_type) in other.iter().enumerate() {
            same = same.retyped(number + 1, data_type).unwrap_or(same);
        }
        for column in &mut same.columns {
            column.cells.iter_mut().for_each(Cell::disguise);
        }
        same.write(line.folder(), &Layout::plain(&same));
        check_silent(&same, &line.pass());
    }

    #[test]
    fn a_change_of_one_value_sends_that_row_and_no_other(
        (table, column, row, cell) in tables().prop_flat_map(|table| {
            let columns = 1..table.columns.len();
            (Just(table), columns).prop_flat_map(|(table, column)| {
                let cell = draw::cells(&table.columns[column].data_type);
                (Just(table), Just(column), any::<Index>(), cell)
            })
        })
    ) {
        prop_assume!(table.rows() > 0);
        let line = Line::new(&["id"]);
        table.write(line.folder(), &Layout::plain(&table));
        line.pass();
        let mut changed = table.clone();
        let row = row.index(table.rows());
        let was_sayable = table.is_sayable(row);
        let old = std::mem::replace(&mut changed.columns[column].cells[row], cell.clone());
        changed.write(line.folder(), &Layout::plain(&changed));
        let pass = line.pass();
        let is_due = changed.is_sayable(row) && (!was_sayable || !old.is(&cell));
        let keys: Vec<Vec<String>> = by_key(&pass, &["id"]).into_keys().collect();
        let expected = if is_due { vec![vec![row.to_string()]] } else { vec![] };
        assert_eq!(keys, expected, "{old:?} became {cell:?}");
        for record in by_key(&pass, &["id"]).values() {
            let column = &changed.columns[column];
            kind::check(&cell, &column.data_type, &record[&column.name]).expect("E7: the new value is sent");
        }
    }

    #[test]
    fn every_type_of_scalars_is_a_key_and_a_delete_names_the_record_as_its_upsert_did(
        (data_type, cells) in prop::sample::select(kind::scalars()).prop_flat_map(|data_type| {
            let cells = prop::collection::vec(draw::cells(&data_type), 1..30);
            (Just(data_type), cells)
        })
    ) {
        check_keys(data_type, cells);
    }
}

fn check_keys(data_type: DataType, cells: Vec<Cell>) {
    let mut keys = Vec::<Cell>::new();
    for cell in cells {
        if !keys.iter().any(|known| known.is(&cell)) {
            keys.push(cell);
        }
    }
    let rows = keys.len();
    let first = Column { name: "k".to_owned(), data_type: data_type.clone(), cells: keys.clone() };
    let table = Table { columns: vec![counting("id", rows), first] };
    let line = Line::new(&["k", "id"]);
    table.write(line.folder(), &Layout::plain(&table));
    let pass = line.pass();
    let nulls = keys.iter().filter(|key| **key == Cell::Null).count();
    let sayable: Vec<usize> =
        (0..rows).filter(|row| keys[*row] != Cell::Null && table.is_sayable(*row)).collect();
    assert_eq!(pass.null_keys, nulls);
    let records = by_key(&pass, &["id"]);
    assert_eq!(records.len(), sayable.len(), "{pass:#?}");
    let mut deletes: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for delete in &pass.deletes {
        let named: BTreeMap<String, String> = fields(delete).into_iter().collect();
        deletes.insert(named["id"].clone(), named);
    }
    for row in sayable {
        let record = &records[&vec![row.to_string()]];
        kind::check(&keys[row], &data_type, &record["k"]).expect("the key arrives exactly");
        assert_eq!(&deletes[&row.to_string()], record, "the delete's key is the upsert's");
    }
    assert_eq!(deletes.len(), records.len());
    let again = line.pass();
    assert_eq!((again.sent.len(), again.repeated.len()), (0, 0), "{again:#?}");
    assert_eq!(again.unchanged, records.len() as u64);
}
