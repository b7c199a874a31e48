//! The rows of NDJSON files, pushed into the columns of a batch.

use std::sync::Arc;

use super::super::definition::Compression;
use super::super::text::bytes::Bytes;
use super::super::text::column::Column;
use super::super::text::column_type::{self, ColumnType};
use super::super::text::fetch::Fetch;
use super::super::text::place::Place;
use super::super::text::{ColumnPlan, Layout, Pushed, Rows};
use super::lines::Lines;
use super::object::{Kind, Member, Object};
use super::{Error, Names, broken, damaged, is_dropped, lines, repeated};

/// How the files of one table are read.
#[derive(Debug, Clone)]
pub(super) struct NdJsonLayout {
    pub table: Arc<str>,
    pub compression: Option<Compression>,
    pub columns: Arc<[ColumnPlan]>,
    pub names: Arc<Names>,
    pub files: Arc<[Place]>,
}

impl Layout for NdJsonLayout {
    fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    fn builder(&self, column: usize) -> Column {
        builder(self.columns[column].column_type)
    }

    fn files(&self) -> usize {
        self.files.len()
    }

    fn open(&self, file: usize, columns: &[usize]) -> Result<(Box<dyn Rows>, Fetch), Error> {
        let mut slots = vec![None; self.columns.len()];
        columns.iter().enumerate().for_each(|(slot, column)| slots[*column] = Some(slot));
        let (lines, fetch) = lines(&self.table, &self.files[file], self.compression)?;
        let rows = NdJsonRows {
            layout: self.clone(),
            file,
            lines,
            object: Object::default(),
            names: Names::clone(&self.names),
            slots,
            is_filled: vec![false; columns.len()],
        };
        Ok((Box::new(rows), fetch))
    }
}

struct NdJsonRows {
    layout: NdJsonLayout,
    file: usize,
    lines: Lines<Bytes>,
    object: Object,
    names: Names,
    /// By column of the layout, its place among those asked for.
    slots: Vec<Option<usize>>,
    /// Of those asked for, whether the row at hand has them.
    is_filled: Vec<bool>,
}

impl Rows for NdJsonRows {
    fn push(&mut self, builders: &mut [Column]) -> Result<Pushed, Error> {
        let (table, path) = (&*self.layout.table, &*self.layout.files[self.file].path);
        let (line, number) = match self.lines.next() {
            Ok(Some(next)) => next,
            Ok(None) => return Ok(Pushed::End),
            Err(problem) if problem.is_waiting() => return Ok(Pushed::Waits),
            Err(problem) => return Err(broken(table, path, &problem)),
        };
        self.object.read(line).map_err(|wrong| damaged(table, path, number, wrong))?;
        self.names.begin_row();
        self.is_filled.fill(false);
        for member in self.object.members() {
            let Some(place) = self.names.places.get(member.name).copied() else {
                if is_dropped(number) {
                    continue;
                }
                return Err(Error::Damaged(format!(
                    "table `{table}`: file `{path}` changed during the read; run again when it is at rest"
                )));
            };
            if !self.names.meet(place) {
                return Err(repeated(table, path, number, member.name));
            }
            let Some(slot) = self.slots[place] else { continue };
            self.is_filled[slot] = true;
            let plan = &self.layout.columns[place];
            if !push(plan, &mut builders[slot], member) {
                return Err(misfit(table, path, number, plan, member));
            }
        }
        for (builder, _) in builders.iter_mut().zip(&self.is_filled).filter(|(_, is)| !**is) {
            builder.push_null();
        }
        Ok(Pushed::Row(line.len()))
    }
}

/// Decimals of an inferred column need not have all its digits.
pub(super) fn builder(column_type: ColumnType) -> Column {
    Column::new(column_type, true)
}

/// Adds a value; `false`, and nothing added, if it does not fit. What is declared may say a number, a day or a time as a
/// text, and as text anything.
#[must_use]
pub(super) fn push(plan: &ColumnPlan, builder: &mut Column, member: Member<'_>) -> bool {
    let text = match (plan.column_type, member.kind) {
        (_, Kind::Null) => {
            builder.push_null();
            return true;
        }
        (ColumnType::Json, _) => member.json,
        (ColumnType::Varchar, _) if plan.is_declared => member.plain,
        (ColumnType::Varchar, Kind::Text) => member.plain,
        (ColumnType::Varchar, _) | (_, Kind::Nested) => return false,
        (_, _) if plan.is_declared => member.plain,
        (ColumnType::Boolean, Kind::Boolean) => member.plain,
        (ColumnType::Double, Kind::Number) => {
            match column_type::same_double(member.plain.as_bytes()) {
                Some(_) => member.plain,
                None => return false,
            }
        }
        (ColumnType::BigInt | ColumnType::Decimal { .. }, Kind::Number) => member.plain,
        (_, _) => return false,
    };
    builder.push(text.as_bytes())
}

fn misfit(table: &str, path: &str, line: u64, plan: &ColumnPlan, member: Member<'_>) -> Error {
    let name = &plan.name;
    let wider = match member.kind {
        Kind::Number => plan.column_type.wider(member.plain.as_bytes()),
        _ => Vec::new(),
    };
    let types = if wider.is_empty() { vec![ColumnType::Json, ColumnType::Varchar] } else { wider };
    let types = types.iter().map(|one| format!("`{name}: {one}`")).collect::<Vec<_>>().join(" or ");
    let why =
        if plan.is_declared { "as it is declared" } else { "the type pinned at the first run" };
    Error::Misfit(format!(
        "table `{table}`: the value of column `{name}` at line {line} of file `{path}` is no {}, {why}; correct the value, or \
         declare {types} under `columns`, which for a column of the key must be followed by `counterflow rebaseline`",
        plan.column_type
    ))
}
