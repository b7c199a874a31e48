//! Tables of any shape, as CSV or Parquet, and a mirror of one, which the judge looks at whenever it is at rest.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::Value;

use super::case::Case;
use super::check::check_mirror;
use super::journal::key_of;
use super::oracle::Oracle;
use super::parquet;
use super::workspace::{Report, Setup};

/// More records than these are too many for the judge, who copies the journal.
const MOST_JUDGED: usize = 50_000;

/// A mirror of one table; keys are those fields of the records by which the oracle knows them. It is a case whose sources
/// are not known to the judge: what it should hold is said by the scenario, all else is the judge's.
pub struct Mirror {
    case: Case,
    key: Vec<String>,
}

impl Deref for Mirror {
    type Target = Case;

    fn deref(&self) -> &Case {
        &self.case
    }
}

impl DerefMut for Mirror {
    fn deref_mut(&mut self) -> &mut Case {
        &mut self.case
    }
}

impl Mirror {
    /// `replay` is the command that plays the scenario again.
    pub fn new(replay: &str, key: &[&str], setup: Setup) -> Mirror {
        let oracle = Oracle::start(key);
        let base_url = oracle.base_url();
        let case = Case::alone(replay, oracle, base_url, setup);
        Mirror { case, key: key.iter().map(|&field| field.to_owned()).collect() }
    }

    /// Writes the table anew where the setup says. `rows` is an array of arrays of integers, text and NULL.
    pub fn write(&self, columns: &[&str], rows: &Value) {
        self.write_into(&self.workspace.setup.location, columns, rows);
    }

    /// As `write`, into this file, by whose ending it is CSV or Parquet.
    pub fn write_into(&self, name: &str, columns: &[&str], rows: &Value) {
        let rows = rows_of(rows);
        self.is_plain.set(true);
        if name.ends_with(".parquet") {
            let array = |place: usize| array(rows.iter().map(|row| &row[place]));
            let arrays = columns.iter().enumerate().map(|(place, name)| (*name, array(place)));
            return self.write_batch_into(name, &parquet::batch(arrays.collect()));
        }
        let quoted = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            other => other.to_string(),
        };
        let line = |row: &Vec<Value>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
        let lines = rows.iter().map(|row| format!("\n{}", line(row)));
        let text = columns.join(",") + &lines.collect::<String>() + "\n";
        self.workspace.write(name, &text);
    }

    /// Writes the table anew as Parquet, under a new inode.
    pub fn write_batch(&self, batch: &RecordBatch) {
        self.is_plain.set(false);
        self.write_batch_into(&self.workspace.setup.location, batch);
    }

    fn write_batch_into(&self, name: &str, batch: &RecordBatch) {
        let path = self.workspace.path().join(name);
        let next = path.with_extension("next");
        parquet::write(&next, batch, 1_000);
        std::fs::rename(next, path).expect("a file can be renamed");
    }

    /// Makes sure that the destination holds exactly these rows.
    #[track_caller]
    pub fn assert_holds(&self, columns: &[&str], rows: &Value) {
        let record = |row: &Vec<Value>| {
            let fields = columns.iter().map(|&name| name.to_owned()).zip(row.iter().cloned());
            let record = Value::Object(fields.collect());
            (key_of(&self.key, &record).expect("a row has its key"), record)
        };
        let expected: BTreeMap<String, Value> = rows_of(rows).iter().map(record).collect();
        check_mirror(&self.oracle, &expected);
    }

    /// Writes the table, runs, and makes sure that the destination holds it and that a second run sends nothing (I8); the
    /// first run's report.
    #[track_caller]
    pub fn follow(&self, columns: &[&str], rows: &Value) -> Report {
        self.write(columns, rows);
        let report = self.workspace.sync(&[]).expect(0, "succeeded", &[]);
        self.assert_holds(columns, rows);
        self.assert_at_rest();
        report
    }

    /// I8: the source is unchanged, so nothing is sent; and nothing else is broken that the judge looks at.
    #[track_caller]
    pub fn assert_at_rest(&self) {
        let before = self.oracle.request_count();
        let report = self.workspace.sync(&[]);
        let sent = self.oracle.request_count() - before;
        assert!(
            sent == 0,
            "I8: {sent} requests in a clean state
{}",
            self.oracle.print()
        );
        report.expect(0, "succeeded", &[("requests", 0), ("upserts", 0)]);
        if self.oracle.count_held() <= MOST_JUDGED {
            self.assert_unbroken();
        }
    }

    /// A command is refused, names these words, and sends nothing.
    #[track_caller]
    pub fn refuses(&self, command: &[&str], codes: &[i32], words: &[&str]) {
        let before = self.oracle.request_count();
        let refused = self.workspace.run(command);
        assert!(refused.code.is_some_and(|code| codes.contains(&code)), "{refused:#?}");
        refused.expect_printed(words);
        assert_eq!(self.oracle.request_count(), before, "{}", self.oracle.print());
    }
}

fn rows_of(rows: &Value) -> Vec<Vec<Value>> {
    let rows = rows.as_array().expect("rows are an array").iter();
    rows.map(|row| row.as_array().expect("a row is an array").clone()).collect()
}

/// Integers where all values are, text otherwise.
fn array<'v>(values: impl Iterator<Item = &'v Value> + Clone) -> ArrayRef {
    let is_text = values.clone().any(Value::is_string);
    match is_text {
        true => Arc::new(StringArray::from_iter(values.map(Value::as_str))),
        false => Arc::new(Int64Array::from_iter(values.map(Value::as_i64))),
    }
}
