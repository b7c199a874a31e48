//! A table that is one file, and where files lie: on the disk, in a store, on the web.

use std::cell::{Cell, RefCell};

use super::formats::Format;
use super::place::{Break, Changed, Hang, Part, Place, Schema};
use super::sheet::Sheet;
use super::values;
use crate::support::people::Person;

/// Where files lie.
pub trait Shelf {
    /// Writes a file, whole at once.
    fn put(&self, name: &str, bytes: &[u8]);

    /// The same, done later.
    fn put_later(&self, name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send>;

    /// Where a file, or a folder, is, as a config says it.
    fn location(&self, name: &str) -> String;

    /// The source of a config that has this table.
    fn source(&self, table: &str) -> String;

    /// What the source refers to.
    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// All that is there, and whether anybody wrote.
    fn state(&self) -> String;

    fn hang(&self, way: usize) -> Option<Hang<'_>>;

    /// Has every answer about a file end: broken, or of so many bytes as if it were whole; whether there are answers.
    fn breaks(&self, part: Part, most: usize) -> bool;

    fn mend(&self) -> bool;

    fn changed(&self) -> Changed;

    /// Has this happen before the last read of a run that reads as often as the last one; whether there are reads to be seen.
    fn before_the_last_read(&self, happens: Box<dyn FnOnce() + Send>) -> bool;

    fn count_reads_anew(&self);
}

pub struct File<'s> {
    shelf: Box<dyn Shelf + 's>,
    format: &'static Format,
    /// Whether the table says the types of its columns.
    is_declared: Cell<bool>,
    whole: RefCell<Vec<u8>>,
    is_cut: Cell<bool>,
}

impl<'s> File<'s> {
    pub fn new(shelf: Box<dyn Shelf + 's>, format: &'static Format) -> File<'s> {
        let (is_declared, whole, is_cut) = (Cell::new(false), RefCell::default(), Cell::new(false));
        File { shelf, format, is_declared, whole, is_cut }
    }

    fn name(&self) -> String {
        format!("people.{}", self.format.ending)
    }

    fn write(&self, bytes: Vec<u8>) {
        self.shelf.put(&self.name(), &bytes);
        *self.whole.borrow_mut() = bytes;
    }
}

impl Place for File<'_> {
    fn source(&self) -> String {
        let (key, location) = (self.format.key, self.shelf.location(&self.name()));
        let is_said = self.is_declared.get() && self.format.is_text;
        let more = if is_said { values::declared() } else { String::new() };
        self.shelf.source(&format!("{{ {key}: \"{location}\"{more} }}"))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        self.shelf.environment()
    }

    fn put(&self, people: &[Person]) {
        self.write((self.format.people)(people));
    }

    fn put_sheet(&self, sheet: &Sheet) {
        self.write((self.format.sheet)(sheet));
    }

    fn schema(&self) -> Schema {
        match self.format.key {
            "csv" => Schema::Named,
            "ndjson" => Schema::OfRows,
            _ => Schema::Typed,
        }
    }

    fn put_huge(&self, rows: u32) {
        self.write((self.format.huge)(rows));
    }

    fn put_values(&self, has_values: bool) -> Vec<(String, String)> {
        self.is_declared.set(true);
        self.write((self.format.values)(has_values));
        (self.format.expected)()
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
        let half = self.format.half(&self.whole.borrow());
        if way == 0 && self.shelf.breaks(part, half) {
            let how = format!("{name}: answers break ({part:?})");
            return Some(Break { how, code: 1, words: vec![name] });
        }
        let is_local = self.shelf.changed() == Changed::Fails;
        let way = way - usize::from(!is_local);
        let (how, left, code) = self.format.cut(part, way, people)?;
        self.is_cut.set(true);
        self.shelf.put(&name, &left);
        Some(Break { how: format!("{name} {how}"), code, words: vec![name] })
    }

    fn mend(&self) -> bool {
        match self.is_cut.replace(false) {
            true => {
                self.shelf.put(&self.name(), &self.whole.borrow());
                true
            }
            false => self.shelf.mend(),
        }
    }

    fn changed(&self) -> Changed {
        self.shelf.changed()
    }

    fn change_before_the_last_look(&self, people: &[Person]) -> bool {
        let next = (self.format.people)(people);
        self.shelf.before_the_last_read(self.shelf.put_later(&self.name(), next))
    }

    fn count_looks_anew(&self) {
        self.shelf.count_reads_anew();
    }
}

/// SQL of models over files that would write.
pub fn writes() -> Vec<(String, &'static str)> {
    let refused = |sql: &str| (sql.to_owned(), "SELECT");
    vec![
        refused("INSERT INTO people VALUES (1)"),
        refused("COPY people TO 'people.csv'"),
        refused("DROP TABLE people"),
    ]
}
