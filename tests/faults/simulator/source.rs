//! The source of a history: rows by key, and what is wrong with some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use counterflow::domain::file::FileFact;

use super::plan::{Edit, Setting};

/// A row as the read gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub key: Option<i64>,
    /// NaN has no form in a request.
    pub value: f64,
    pub primary: Option<i64>,
    /// The cursor.
    pub changed: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Source {
    values: BTreeMap<i64, f64>,
    repeated: BTreeSet<i64>,
    nulls: u32,
    null_primary: BTreeSet<i64>,
    shared_primary: BTreeMap<i64, i64>,
    gone: BTreeSet<u32>,
    /// The cursor of each row that has one.
    changed: BTreeMap<i64, i64>,
    /// Rows with a lower one than what is read again: those that a bound may hide until everything is read.
    pub late: BTreeSet<i64>,
    /// Counts changes of the query.
    pub sql: u32,
}

/// What one read gives.
#[derive(Debug, Clone)]
pub struct Reading {
    pub rows: Vec<Row>,
    pub files: Vec<FileFact>,
    /// The keys of all rows, valid or not.
    pub met: BTreeSet<i64>,
    /// The value of each valid row.
    pub valid: BTreeMap<i64, u8>,
    /// Null and repeated keys, as the rules count them.
    pub repeated: BTreeSet<i64>,
}

impl Source {
    pub fn edit(&mut self, edit: &Edit) {
        match *edit {
            Edit::Put(key, value) | Edit::Stamp(key, value, _) => {
                self.values.insert(key, f64::from(value));
            }
            Edit::Remove(key) => drop(self.values.remove(&key)),
            Edit::RemoveAll => self.values.clear(),
            Edit::Repeat(key, true) => drop(self.repeated.insert(key)),
            Edit::Repeat(key, false) => drop(self.repeated.remove(&key)),
            Edit::Spoil(key) => drop(self.values.insert(key, f64::NAN)),
            Edit::Nulls(count) => self.nulls = count,
            Edit::NullPrimary(key, true) => drop(self.null_primary.insert(key)),
            Edit::NullPrimary(key, false) => drop(self.null_primary.remove(&key)),
            Edit::SharePrimary(key, Some(other)) => {
                self.shared_primary.insert(key, other);
            }
            Edit::SharePrimary(key, None) => drop(self.shared_primary.remove(&key)),
            Edit::Vanish(file, true) => drop(self.gone.insert(file)),
            Edit::Vanish(file, false) => drop(self.gone.remove(&file)),
            Edit::Sql => self.sql += 1,
            Edit::Poison(..) | Edit::Stick(..) | Edit::Mapping | Edit::Mode => {}
        }
    }

    /// The row is written with this value of the cursor, below `least` of which nothing is read again.
    pub fn stamp(&mut self, key: i64, changed: Option<i64>, least: i64) {
        match changed {
            Some(changed) => drop(self.changed.insert(key, changed)),
            None => drop(self.changed.remove(&key)),
        }
        match changed.is_some_and(|changed| changed < least) {
            true => drop(self.late.insert(key)),
            false => drop(self.late.remove(&key)),
        }
    }

    /// The rows of a file are back, as old as they were.
    pub fn come_back(&mut self, file: u32, files: u32) {
        let keys = self.changed.keys().copied();
        self.late
            .extend(keys.filter(|key| u32::try_from(*key).is_ok_and(|key| key % files == file)));
    }

    /// Nothing is wrong with any row any more.
    pub fn heal(&mut self) {
        self.values.values_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        self.repeated.clear();
        self.nulls = 0;
        self.null_primary.clear();
        self.shared_primary.clear();
        if !self.gone.is_empty() {
            self.late.extend(self.changed.keys());
        }
        self.gone.clear();
    }

    pub fn read(&self, setting: &Setting) -> Reading {
        let file_of = |key: i64| u32::try_from(key).expect("keys are small") % setting.files;
        let mut rows = Vec::new();
        for (key, value) in
            self.values.iter().filter(|(key, _)| !self.gone.contains(&file_of(**key)))
        {
            let primary = match self.shared_primary.get(key) {
                _ if !setting.has_primary => Some(*key),
                _ if self.null_primary.contains(key) => None,
                Some(other) => Some(*other),
                None => Some(*key),
            };
            let changed = self.changed.get(key).copied();
            rows.push(Row { key: Some(*key), value: *value, primary, changed });
            if self.repeated.contains(key) {
                // Another value, and in a model with a primary key of its own another row.
                let primary =
                    primary.map(|own| if setting.has_primary { own + 1_000 } else { own });
                rows.push(Row { key: Some(*key), value: 9.0, primary, changed });
            }
        }
        for number in 0..i64::from(self.nulls) {
            let primary = Some(2_000 + number);
            rows.push(Row { key: None, value: 0.0, primary, changed: None });
        }
        let files = (0..setting.files).filter(|file| !self.gone.contains(file));
        let files = files.map(|file| FileFact {
            table: "rows".to_owned(),
            path: format!("{file}.csv"),
            size: 1,
            inode: u64::from(file),
            changed: 1,
            ends_within_line: None,
            etag: None,
        });
        Reading::of(rows, files.collect(), setting)
    }
}

impl Reading {
    pub fn of(rows: Vec<Row>, files: Vec<FileFact>, setting: &Setting) -> Reading {
        let times = |key: Option<i64>| rows.iter().filter(|row| row.key == key).count();
        let shares = |row: &Row| {
            setting.has_primary
                && (row.primary.is_none()
                    || rows.iter().filter(|other| other.primary == row.primary).count() > 1)
        };
        let is_blocked = |row: &Row| times(row.key) > 1 || shares(row);
        let met = rows.iter().filter_map(|row| row.key).collect();
        let repeated = rows.iter().filter(|row| is_blocked(row)).filter_map(|row| row.key);
        let repeated: BTreeSet<i64> = repeated.collect();
        let valid = rows
            .iter()
            .filter(|row| !row.value.is_nan())
            .filter_map(|row| Some((row.key?, value_of(row.value))))
            .filter(|(key, _)| !repeated.contains(key))
            .collect();
        Reading { rows, files, met, valid, repeated }
    }
}

impl Reading {
    /// Rows that a null or repeated key makes invalid.
    pub fn invalid(&self) -> usize {
        let is_invalid = |row: &&Row| row.key.is_none_or(|key| self.repeated.contains(&key));
        self.rows.iter().filter(is_invalid).count()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a value below ten")]
pub fn value_of(value: f64) -> u8 {
    value as u8
}

/// The columns of some rows: delivered key, value, primary key.
pub fn arrays(rows: &[Row]) -> Vec<ArrayRef> {
    vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.value)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.primary).collect::<Int64Array>()),
    ]
}
