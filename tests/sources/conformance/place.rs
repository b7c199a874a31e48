//! What a kind of sources lets a test do: a table of its own, which is filled, changed, broken and hung.
//!
//! Whatever happens to it, the source that a config names stays the same, so that no delete is held as that of another source:
//! what is believed wrongly deletes, and is seen.

use std::time::Duration;

use super::sheet::Sheet;
use crate::support::oracle::Oracle;
use crate::support::people::Person;
use crate::support::workspace::{Setup, Workspace};

/// A new table, which goes with the value.
pub trait Place {
    /// The source of a config that has it.
    fn source(&self) -> String;

    /// What the source refers to.
    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What a model asks for.
    fn sql(&self) -> String {
        "SELECT * FROM people".to_owned()
    }

    /// Has these people from now on, and no others: whole at once, as a writer of such tables does it.
    fn put(&self, people: &[Person]);

    /// Has these columns and rows from now on, and no others.
    fn put_sheet(&self, sheet: &Sheet);

    /// What tells the columns of its tables.
    fn schema(&self) -> Schema {
        Schema::Typed
    }

    /// Has so many rows of [`WIDTH`] letters each.
    fn put_huge(&self, rows: u32);

    /// Has a row of values of every type, or of NULLs where `has_values` is not, and a second one of NULLs. What JSON has of each
    /// column of the first.
    fn put_values(&self, has_values: bool) -> Vec<(String, String)>;

    /// SQL that would write, each with words of its refusal.
    fn writes(&self) -> Vec<(String, &'static str)>;

    /// All that a reader could have changed.
    fn state(&self) -> String;

    /// Has a read hang, in the way of this number; `None` behind the last.
    fn hang(&self, way: usize) -> Option<Hang<'_>>;

    /// Has reads break, in the way of this number, of a table that has these people; `None` behind the last.
    fn break_at(&self, part: Part, way: usize, people: &[Person]) -> Option<Break>;

    /// Makes good what hangs and breaks; whether it did.
    fn mend(&self) -> bool;

    /// What a run must do whose table changes behind its first rows.
    fn changed(&self) -> Changed;

    /// Has the table changed to these people before the last look of a read that looks so often as the last one did; whether
    /// there are such looks.
    fn change_before_the_last_look(&self, _people: &[Person]) -> bool {
        false
    }

    /// Forgets the looks so far.
    fn count_looks_anew(&self) {}
}

/// Makes a new table.
pub type New<'s> = dyn Fn() -> Box<dyn Place + 's> + 's;

/// Letters of a text of a huge table.
pub const WIDTH: usize = 1_500;

/// A read that hangs.
pub struct Hang<'p> {
    pub how: &'static str,
    /// What the model asks for meanwhile, if that is another thing.
    pub sql: Option<String>,
    /// Where the process is told to wait by itself: more of its environment.
    pub environment: Vec<(&'static str, String)>,
    pub is_reached: Box<dyn Fn() -> bool + 'p>,
    /// Whether the server has nothing to do for it any more.
    pub is_over: Box<dyn Fn() -> bool + 'p>,
}

/// What tells the columns of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Their names and types, which the table says.
    Typed,
    /// Their names, which it says; each keeps the type that it looked like at first, and values of another one are refused.
    Named,
    /// Its rows, of which each has those that are not NULL: as by name, and one that was known once is NULL where none has it.
    OfRows,
}

/// Where a read breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Middle,
    /// Behind the last row, or as if it were that.
    End,
}

/// What must come of a read that broke.
pub struct Break {
    pub how: String,
    /// Failed, or partial where all that is missing is held.
    pub code: i32,
    pub words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It fails, as the table is another at its end.
    Fails,
    /// It has read the table as it was.
    OneState,
    /// One of them.
    Either,
}

/// A workspace that mirrors a table; small batches and one request at a time, so that a run has not read all before the first.
pub fn workspace(oracle: &Oracle, place: &dyn Place, more: Setup) -> Workspace {
    reading(oracle, place, Setup { max_deletes: Some("100%"), ..more })
}

/// As [`workspace`], with the guard at its default.
pub fn guarded(oracle: &Oracle, place: &dyn Place, more: Setup) -> Workspace {
    reading(oracle, place, Setup { max_deletes: None, ..more })
}

fn reading(oracle: &Oracle, place: &dyn Place, setup: Setup) -> Workspace {
    let environment = place.environment();
    let setup = Setup { sql: place.sql(), environment, ..setup };
    let workspace = Workspace::new(oracle, setup);
    crate::shared::reads(&workspace, &place.source());
    workspace
}

/// How long after a stop whoever answers may still be at it.
pub const FREED: Duration = Duration::from_secs(1);
/// How long a stopped process may take to end.
pub const AT_ONCE: Duration = Duration::from_secs(2);
