//! One suite for sources of every kind: what a read must do whatever it reads, each property one function that is played for
//! each kind ([`place::Place`] is what a kind lets a test do).
//!
//! A property of a kind is a cell. It is played here, or named as a test that is elsewhere, or cannot be, for a reason. There is
//! no cell without one of these: [`Cells`] has no property that may be left out, and a test that is not there fails the run.
//! A new kind is a [`Place`] and a row of [`Kind`]s; a new property is a function, and a field of [`Cells`].

mod blobs;
mod columns;
pub mod databases;
mod delta;
mod ends;
mod files;
mod folder;
mod formats;
mod objects;
mod page;
pub mod place;
mod rows;
mod sheet;
mod shown;
mod values;

pub use blobs::kinds as in_blobs;
pub use folder::Disk;
pub use folder::kinds as on_disk;
pub use objects::kinds as in_stores;
pub use shown::Rows;

use self::place::{New, Place};
use crate::Play;

/// Where a property of a kind is tested.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    Played,
    /// By this test or scenario, by its exact name.
    Elsewhere(&'static str),
    /// Nowhere, as it cannot be.
    Never(&'static str),
}

/// The properties of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Cells {
    pub types: Cell,
    pub nulls: Cell,
    pub empty: Cell,
    pub huge: Cell,
    pub cancel: Cell,
    pub midway: Cell,
    pub proof: Cell,
    pub read_only: Cell,
    pub change: Cell,
    pub skip: Cell,
    pub columns: Cell,
    pub keys: Cell,
    pub swap: Cell,
    pub shrinks: Cell,
}

/// A property, by the word that heads its column and by its name.
#[derive(Clone, Copy)]
pub struct Property {
    pub word: &'static str,
    pub name: &'static str,
    play: fn(&New<'_>),
}

/// Makes a new table of a kind.
pub type Makes<S> = dyn for<'s> Fn(&'s S) -> Box<dyn Place + 's>;

/// A kind of sources over what `S` is: a server, or the disk.
pub struct Kind<S> {
    /// Nothing where `S` is of one kind only.
    pub name: String,
    /// A new table.
    pub new: Box<Makes<S>>,
    pub cells: Cells,
}

impl Cells {
    pub const PLAYED: Cells = Cells {
        types: Cell::Played,
        nulls: Cell::Played,
        empty: Cell::Played,
        huge: Cell::Played,
        cancel: Cell::Played,
        midway: Cell::Played,
        proof: Cell::Played,
        read_only: Cell::Played,
        change: Cell::Played,
        skip: Cell::Played,
        columns: Cell::Played,
        keys: Cell::Played,
        swap: Cell::Played,
        shrinks: Cell::Played,
    };

    /// What is of a format, and not of how its bytes come, is played of a kind that has it elsewhere.
    pub const OF_THE_PLACE: Cells = Cells {
        types: Cell::Elsewhere("values of every type arrive exactly"),
        nulls: Cell::Elsewhere("a NULL is no empty text and clears its field"),
        columns: Cell::Elsewhere("columns that come, go or change are followed or named"),
        keys: Cell::Elsewhere("a key that is NULL or repeated deletes nothing"),
        swap: Cell::Elsewhere("keys that return and values that are swapped arrive"),
        shrinks: Cell::Elsewhere("a table that shrinks waits for a yes"),
        ..Cells::PLAYED
    };

    fn each(&self) -> [(Property, Cell); 14] {
        let of = |word, name, play, cell| (Property { word, name, play }, cell);
        [
            of("types", "values of every type arrive exactly", rows::types, self.types),
            of("NULLs", "a NULL is no empty text and clears its field", rows::nulls, self.nulls),
            of("empty", "an empty table is no accident twice", rows::empty, self.empty),
            of("huge", "a huge table is read in bounded memory", rows::huge, self.huge),
            of("cancel", "a stop frees what a read has hung in", ends::cancel, self.cancel),
            of("midway", "a read that breaks in its middle is none", ends::midway, self.midway),
            of("proof", "a read without its very end proves nothing", ends::proof, self.proof),
            of("read-only", "nothing is written to a source", ends::read_only, self.read_only),
            of("change", "a table that changes is never mixed", ends::change, self.change),
            of("skip", "what has not changed is not read again", rows::skip, self.skip),
            of(
                "columns",
                "columns that come, go or change are followed or named",
                columns::columns,
                self.columns,
            ),
            of("keys", "a key that is NULL or repeated deletes nothing", columns::keys, self.keys),
            of(
                "swap",
                "keys that return and values that are swapped arrive",
                columns::swap,
                self.swap,
            ),
            of("shrinks", "a table that shrinks waits for a yes", columns::shrinks, self.shrinks),
        ]
    }
}

fn named(kind: &str, property: Property) -> String {
    match kind {
        "" => property.name.to_owned(),
        kind => format!("{kind}: {}", property.name),
    }
}

/// Whether a play of a server of one kind is a property of that kind.
pub fn is_property(name: &str) -> bool {
    Cells::PLAYED.each().iter().any(|(property, _)| property.name == name)
}

/// What is played of these kinds.
pub fn plays<S: 'static>(kinds: Vec<Kind<S>>) -> Vec<Play<S>> {
    let mut plays: Vec<Play<S>> = Vec::new();
    for kind in kinds {
        let new = std::rc::Rc::new(kind.new);
        for (property, cell) in kind.cells.each() {
            if let Cell::Played = cell {
                let new = std::rc::Rc::clone(&new);
                let play = move |server: &S| (property.play)(&|| new(server));
                plays.push((named(&kind.name, property), Box::new(play)));
            }
        }
    }
    plays
}
