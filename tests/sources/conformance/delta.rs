//! A Delta table: each state of it is a commit.

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::files::{Shelf, writes};
use super::formats::{huge_batches, in_parquet};
use super::place::{Break, Changed, Hang, Part, Place};
use super::sheet::Sheet;
use super::values::{self, Having};
use crate::stores::parquet_file;
use crate::support::delta_log::{DeltaLog, PEOPLE, added, created};
use crate::support::people::Person;

/// In the middle of a commit.
const WITHIN_A_COMMIT: usize = 60;

pub struct Delta<'s> {
    shelf: Box<dyn Shelf + 's>,
    /// The newest one, and none before there is a table.
    version: Cell<Option<u64>>,
    /// What says the columns of that version.
    metadata: RefCell<Value>,
    /// What the newest version has, if anything: a data file, and its rows.
    file: RefCell<Option<(Vec<u8>, usize)>>,
    is_broken: Cell<bool>,
}

impl<'s> Delta<'s> {
    pub fn new(shelf: Box<dyn Shelf + 's>) -> Delta<'s> {
        let (version, metadata) = (Cell::new(None), RefCell::default());
        Delta { shelf, version, metadata, file: RefCell::default(), is_broken: Cell::new(false) }
    }

    fn commit(&self, actions: &[Value]) {
        let version = self.version.get().map_or(0, |version| version + 1);
        let put = |name: &str, bytes: &[u8]| self.shelf.put(&format!("people/{name}"), bytes);
        DeltaLog::of(&put).commit(version, actions);
        self.version.set(Some(version));
    }

    /// The name of the data file of the newest version.
    fn name(&self) -> String {
        format!("{}.parquet", self.version.get().expect("there is a table"))
    }

    /// A table of these columns has this data file from now on, of as many rows as are said.
    fn has(&self, columns: &[(&str, Value)], file: Option<(Vec<u8>, usize)>, said: usize) {
        let created = created("one", columns);
        let [_, metadata] = &created;
        let is_other = self.metadata.replace(metadata.clone()) != *metadata;
        let changed = is_other.then(|| metadata.clone()).filter(|_| self.version.get().is_some());
        if self.version.get().is_none() {
            self.commit(&created);
        }
        let old = self.file.replace(file).map(|_| {
            json!({ "remove": { "path": self.name(), "deletionTimestamp": 1, "dataChange": true } })
        });
        let next = self.version.get().map_or(0, |version| version + 1);
        let new = self.file.borrow().as_ref().map(|(bytes, _)| {
            let name = format!("{next}.parquet");
            self.shelf.put(&format!("people/{name}"), bytes);
            added(&name, bytes.len(), said)
        });
        let actions = changed.into_iter().chain(old).chain(new);
        self.commit(&actions.collect::<Vec<_>>());
    }
}

fn columns_of_people() -> Vec<(&'static str, Value)> {
    PEOPLE.map(|(name, kind)| (name, json!(kind))).to_vec()
}

impl Place for Delta<'_> {
    fn source(&self) -> String {
        self.shelf.source(&format!("{{ delta: \"{}\" }}", self.shelf.location("people")))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        self.shelf.environment()
    }

    fn put(&self, people: &[Person]) {
        let file = (!people.is_empty()).then(|| (parquet_file(people), people.len()));
        self.has(&columns_of_people(), file, people.len());
    }

    fn put_sheet(&self, sheet: &Sheet) {
        let file = (in_parquet(&[sheet.batch()]), sheet.count());
        self.has(&sheet.of_delta(), Some(file), sheet.count());
    }

    fn put_huge(&self, rows: u32) {
        let columns = [("id", json!("long")), ("t", json!("string"))];
        self.has(&columns, Some((in_parquet(&huge_batches(rows)), rows as usize)), rows as usize);
    }

    fn put_values(&self, has_values: bool) -> Vec<(String, String)> {
        let file = in_parquet(&[values::batch(Having::Delta, has_values)]);
        self.has(&values::of_delta(), Some((file, 2)), 2);
        values::expected(Having::Delta)
    }

    fn writes(&self) -> Vec<(String, &'static str)> {
        writes()
    }

    fn state(&self) -> String {
        self.shelf.state()
    }

    fn hang(&self, way: usize) -> Option<Hang<'_>> {
        self.shelf.hang(way)
    }

    fn break_at(&self, part: Part, way: usize, people: &[Person]) -> Option<Break> {
        let name = self.name();
        if way == 0 && self.shelf.breaks(part, WITHIN_A_COMMIT) {
            let how = format!("answers break ({part:?})");
            return Some(Break { how, code: 1, words: vec!["table `people`".into()] });
        }
        let way = way - usize::from(self.shelf.breaks(part, WITHIN_A_COMMIT));
        self.shelf.mend();
        let (whole, _) = self.file.borrow().clone().expect("it has rows");
        let (how, words) = match (part, way) {
            (Part::Middle, 0) => {
                self.shelf.put(&format!("people/{name}"), &whole[..whole.len() / 2]);
                ("a data file is cut at a half", name)
            }
            (Part::End, 0) => {
                self.shelf.put(&format!("people/{name}"), &whole[..whole.len() - 1]);
                ("a data file lacks its last byte", name)
            }
            (Part::End, 1) => {
                self.has(&columns_of_people(), Some((whole, people.len())), people.len() + 1);
                ("the log says a row more than there is", self.name())
            }
            _ => return None,
        };
        self.is_broken.set(true);
        Some(Break { how: how.into(), code: 1, words: vec![words] })
    }

    fn mend(&self) -> bool {
        if !self.is_broken.replace(false) {
            return self.shelf.mend();
        }
        let (whole, rows) = self.file.borrow().clone().expect("it has rows");
        self.has(&columns_of_people(), Some((whole, rows)), rows);
        true
    }

    /// A run reads the version that was the newest as it began.
    fn changed(&self) -> Changed {
        Changed::OneState
    }
}
