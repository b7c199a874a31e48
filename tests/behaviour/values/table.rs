//! A table of cells, and its rows as Parquet files: in any order, cut into files and row groups, under types of one family.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::cell::Cell;
use super::kind;

/// Columns with their types and cells; row n of each belongs together. The columns of the key come first.
#[derive(Debug, Clone)]
pub struct Table {
    pub columns: Vec<Column>,
}

#[derive(Clone)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    pub cells: Vec<Cell>,
}

/// How the rows lie in files.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Every row once.
    pub rows: Vec<usize>,
    /// Every column once.
    pub columns: Vec<usize>,
    pub files: usize,
    pub row_group: usize,
    pub has_dictionary: bool,
}

impl Table {
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.cells.len())
    }

    /// The same values under another type of the family, where they all fit.
    pub fn retyped(&self, column: usize, data_type: &DataType) -> Option<Table> {
        let mut table = self.clone();
        let changed = &mut table.columns[column];
        let cells = changed.cells.iter().map(|cell| kind::carried(cell, data_type));
        changed.cells = cells.collect::<Option<_>>()?;
        changed.data_type = data_type.clone();
        kind::array(data_type, &changed.cells)?;
        Some(table)
    }

    /// Whether every value of the row has a form in a request.
    pub fn is_sayable(&self, row: usize) -> bool {
        self.columns.iter().all(|column| column.cells[row].is_sayable())
    }

    /// Writes the folder anew.
    pub fn write(&self, folder: &Path, layout: &Layout) {
        for old in std::fs::read_dir(folder).expect("the folder is there").flatten() {
            if old.path().extension().is_some_and(|extension| extension == "parquet") {
                std::fs::remove_file(old.path()).expect("a file can be removed");
            }
        }
        let size = layout.rows.len().div_ceil(layout.files.max(1)).max(1);
        let parts: Vec<&[usize]> = match layout.rows.is_empty() {
            true => vec![&[]],
            false => layout.rows.chunks(size).collect(),
        };
        for (number, rows) in parts.into_iter().enumerate() {
            self.write_file(&folder.join(format!("part-{number}.parquet")), rows, layout);
        }
    }

    fn write_file(&self, path: &Path, rows: &[usize], layout: &Layout) {
        let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
        for column in layout.columns.iter().map(|place| &self.columns[*place]) {
            let cells: Vec<Cell> = rows.iter().map(|row| column.cells[*row].clone()).collect();
            let array = kind::array(&column.data_type, &cells);
            arrays.push(array.expect("cells are drawn to fit their column"));
            fields.push(Field::new(&column.name, column.data_type.clone(), true));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a batch");
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(layout.row_group))
            .set_dictionary_enabled(layout.has_dictionary)
            .set_statistics_enabled(EnabledStatistics::Page)
            .build();
        let file = std::fs::File::create(path).expect("a file can be made");
        let writer = ArrowWriter::try_new(file, schema, Some(properties));
        let mut writer = writer.unwrap_or_else(|error| panic!("{error}: {:?}", batch.schema()));
        writer.write(&batch).expect("the rows can be written");
        writer.close().expect("the footer can be written");
    }
}

/// On one line, so that a case that fails can be read.
impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{} {}: {:?}", self.name, self.data_type, self.cells);
        f.write_str(&text)
    }
}

impl Layout {
    /// One file, in the order of the table.
    pub fn plain(table: &Table) -> Layout {
        Layout {
            rows: (0..table.rows()).collect(),
            columns: (0..table.columns.len()).collect(),
            files: 1,
            row_group: 1024,
            has_dictionary: true,
        }
    }
}

/// A column that counts the rows.
pub fn counting(name: &str, rows: usize) -> Column {
    let cells = (0..rows).map(|row| Cell::Integer(row as i128)).collect();
    Column { name: name.to_owned(), data_type: DataType::Int64, cells }
}
