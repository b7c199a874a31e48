//! The rows of CSV files, pushed into the columns of a batch.

use std::sync::Arc;

use super::super::definition::Compression;
use super::super::text::column::Column;
use super::super::text::column_type::ColumnType;
use super::super::text::fetch::Fetch;
use super::super::text::{ColumnPlan, Layout, Pushed, Rows};
use super::record::Record;
use super::{Csv, CsvFile, Data, Error, check_width, damaged, data, is_null};

/// How the files of one table are read.
#[derive(Debug, Clone)]
pub(super) struct CsvLayout {
    pub table: Arc<str>,
    pub compression: Option<Compression>,
    pub csv: Arc<Csv>,
    pub columns: Arc<[ColumnPlan]>,
    pub files: Arc<[CsvFile]>,
}

impl Layout for CsvLayout {
    fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    fn builder(&self, column: usize) -> Column {
        let plan = &self.columns[column];
        Column::new(plan.column_type, plan.is_declared)
    }

    fn files(&self) -> usize {
        self.files.len()
    }

    fn open(&self, file: usize, columns: &[usize]) -> Result<(Box<dyn Rows>, Fetch), Error> {
        let (data, fetch) =
            data(&self.table, &self.csv, &self.files[file].place, self.compression)?;
        let rows = CsvRows { layout: self.clone(), file, data, columns: columns.into() };
        Ok((Box::new(rows), fetch))
    }
}

struct CsvRows {
    layout: CsvLayout,
    file: usize,
    data: Data,
    /// Of the layout's columns, those asked for.
    columns: Box<[usize]>,
}

impl Rows for CsvRows {
    fn push(&mut self, builders: &mut [Column]) -> Result<Pushed, Error> {
        let CsvRows { layout, file, data, columns } = self;
        let file = &layout.files[*file];
        let record = match data.next() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Pushed::End),
            Err(problem) if problem.is_waiting() => return Ok(Pushed::Waits),
            Err(problem) => return Err(damaged(&layout.table, &file.place.path, &problem)),
        };
        check_width(&layout.table, &layout.csv, file, &record)?;
        push(layout, file, columns, builders, &record)?;
        Ok(Pushed::Row(record.size()))
    }
}

fn push(
    layout: &CsvLayout,
    file: &CsvFile,
    columns: &[usize],
    builders: &mut [Column],
    record: &Record<'_>,
) -> Result<(), Error> {
    for (column, builder) in columns.iter().zip(builders) {
        let position = file.positions[*column];
        if is_null(&layout.csv, record, position) {
            builder.push_null();
        } else if !builder.push(record.field(position)) {
            return Err(misfit(layout, file, *column, record.line, record.field(position)));
        }
    }
    Ok(())
}
fn misfit(layout: &CsvLayout, file: &CsvFile, column: usize, line: u64, field: &[u8]) -> Error {
    let plan = &layout.columns[column];
    let (table, path, name) = (&layout.table, &file.place.path, &plan.name);
    let wider = plan.column_type.wider(field);
    let types = if wider.is_empty() { &[ColumnType::Varchar] } else { wider.as_slice() };
    let types = types.iter().map(|one| format!("`{name}: {one}`")).collect::<Vec<_>>().join(" or ");
    Error::Misfit(match (plan.column_type, plan.is_declared) {
        (ColumnType::Varchar, _) => format!(
            "table `{table}`: the value of column `{name}` at line {line} of file `{path}` is not UTF-8; convert the \
             file"
        ),
        (expected, true) => format!(
            "table `{table}`: the value of column `{name}` at line {line} of file `{path}` is no {expected}, as it is \
             declared; correct the value, name it under `nulls`, or declare {types} under `columns`, \
             which for a column of the key must be followed by `counterflow rebaseline`"
        ),
        (expected, false) => format!(
            "table `{table}`: the value of column `{name}` at line {line} of file `{path}`, as it is written, is no \
             {expected}, the type pinned at the first run; correct the value, name it under `nulls`, or declare \
             {types} under `columns`, which for a column of the key must be followed by `counterflow \
             rebaseline`"
        ),
    })
}
