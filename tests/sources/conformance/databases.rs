//! A table of a database, behind a front by which its answers break.

use std::cell::{Cell, RefCell};

use super::place::{Break, Changed, Hang, Part, Place, WIDTH};
use super::sheet::Sheet;
use super::{Cell as Where, Cells, Kind};
use crate::servers::cutting::{Breaks, Cutting, Protocol};
use crate::servers::{Database, Server};
use crate::support::people::Person;
use crate::{mysql, postgres};

/// The kind that a server is.
pub fn kinds<S: Server + 'static>() -> Vec<Kind<S>> {
    vec![Kind {
        name: String::new(),
        new: Box::new(|server: &S| -> Box<dyn Place + '_> { Box::new(Table::new(server)) }),
        cells: Cells {
            skip: Where::Never("no database says that nothing has changed"),
            ..Cells::PLAYED
        },
    }]
}

/// A type, a value of it as SQL, and what JSON has of that.
type Typed = (String, &'static str, &'static str);

struct Table<'s> {
    server: &'s dyn Server,
    database: Box<dyn Database + 's>,
    front: Cutting,
    /// Bytes of answers when the table was last written, and of the reads between that and the time before.
    copied: Cell<usize>,
    whole: RefCell<Option<usize>>,
    /// What was broken when something was last made good.
    broken: Cell<usize>,
    hangs: Cell<bool>,
    /// Whether the types of values are there.
    is_declared: Cell<bool>,
}

impl<'s> Table<'s> {
    fn new(server: &'s dyn Server) -> Table<'s> {
        let database = server.database(
            "CREATE TABLE people (id int PRIMARY KEY, counter int, checksum varchar(20), email varchar(80))",
        );
        if server.words().protocol == Protocol::Postgres {
            database.ask("CREATE SEQUENCE people_seen");
        }
        let front = Cutting::start(server.words().protocol, server.port(), Breaks::Nothing);
        let (copied, whole, broken) = (Cell::new(0), RefCell::new(None), Cell::new(0));
        let (hangs, is_declared) = (Cell::new(false), Cell::new(false));
        Table { server, database, front, copied, whole, broken, hangs, is_declared }
    }

    /// Bytes of an answer with the whole table.
    fn whole(&self) -> usize {
        *self.whole.borrow_mut().get_or_insert_with(|| self.front.copied() - self.copied.get())
    }

    fn types(&self) -> Vec<Typed> {
        match self.server.words().protocol {
            Protocol::Postgres => {
                let types = postgres::values::TYPES.iter();
                let types = types.filter(|(sql, _)| self.server.knows(sql));
                types.map(|(sql, json)| (String::new(), *sql, *json)).collect()
            }
            Protocol::MySql => {
                let types = mysql::values::TYPES.iter();
                let types = types.filter(|(kind, ..)| self.server.knows(kind));
                types.map(|(kind, sql, json)| ((*kind).to_owned(), *sql, *json)).collect()
            }
        }
    }
}

impl Place for Table<'_> {
    fn source(&self) -> String {
        self.database.source_at(self.front.port, "")
    }

    fn put(&self, people: &[Person]) {
        let row = |person: &Person| {
            let record = person.record();
            let text = |name: &str| record[name].as_str().expect("it is text").to_owned();
            format!(
                "({}, {}, '{}', '{}')",
                person.id,
                person.counter,
                text("checksum"),
                text("email")
            )
        };
        let rows: Vec<String> = people.iter().map(row).collect();
        let insert = match rows.is_empty() {
            true => String::new(),
            false => format!("INSERT INTO people VALUES {};", rows.join(", ")),
        };
        self.database.ask(&format!("BEGIN; DELETE FROM people; {insert} COMMIT"));
        self.copied.set(self.front.copied());
        *self.whole.borrow_mut() = None;
    }

    fn put_sheet(&self, sheet: &Sheet) {
        self.database.ask(&sheet.sql(self.server.words().protocol));
    }

    /// A view, so that nothing is stored.
    fn put_huge(&self, rows: u32) {
        let series = (self.server.words().series)(1, rows);
        self.database.ask(&format!(
            "DROP TABLE people; CREATE VIEW people AS SELECT g AS id, concat(repeat('x', {}), g) AS t FROM {series}",
            WIDTH - 5
        ));
    }

    fn put_values(&self, has_values: bool) -> Vec<(String, String)> {
        let types = self.types();
        let named = || (0..).map(|at| format!("c{at}")).zip(&types);
        let list = |said: &dyn Fn(String, &Typed) -> String| {
            named().map(|(name, column)| said(name, column)).collect::<Vec<_>>().join(", ")
        };
        let made = match self.server.words().protocol {
            Protocol::Postgres => {
                let columns = list(&|name, (_, sql, _)| format!("{sql} AS {name}"));
                let declared = match self.is_declared.replace(true) {
                    true => "SELECT 1",
                    false => postgres::values::DECLARED,
                };
                format!("{declared}; CREATE TABLE people AS SELECT 1 AS id, {columns}")
            }
            Protocol::MySql => {
                let columns = list(&|name, (kind, ..)| format!("{name} {kind}"));
                let values = list(&|_, (_, sql, _)| (*sql).to_owned());
                format!(
                    "SET time_zone = '+00:00'; CREATE TABLE people (id int PRIMARY KEY, {columns});
                     INSERT INTO people VALUES (1, {values})"
                )
            }
        };
        let nulls = list(&|name, _| format!("{name} = NULL"));
        let emptied = match has_values {
            true => String::new(),
            false => format!("; UPDATE people SET {nulls}"),
        };
        self.database.ask(&format!(
            "DROP TABLE people; {made}; INSERT INTO people (id) VALUES (2){emptied}"
        ));
        named().map(|(name, column)| (name, column.2.to_owned())).collect()
    }

    fn writes(&self) -> Vec<(String, &'static str)> {
        let said: &[(&str, &str)] = match self.server.words().protocol {
            Protocol::Postgres => &postgres::refusals::WRITES,
            Protocol::MySql => &mysql::refusals::WRITES,
        };
        let said = said.iter().filter(|(sql, _)| self.server.knows(sql));
        said.map(|(sql, words)| ((*sql).to_owned(), *words)).collect()
    }

    fn state(&self) -> String {
        self.database.ask("SELECT * FROM people ORDER BY id")
            + &self.database.ask(
                "SELECT table_name FROM information_schema.tables WHERE table_schema NOT LIKE '%\\_%' ORDER BY table_name",
            )
    }

    fn hang(&self, way: usize) -> Option<Hang<'_>> {
        let words = self.server.words();
        let (how, sql) = match way {
            0 => {
                let sleep = (words.sleep)("0.05");
                ("an answer that comes slowly", format!("SELECT id, {sleep} AS t FROM people"))
            }
            1 => ("a query that gives no row for long", words.long.to_owned()),
            _ => return None,
        };
        self.hangs.set(true);
        let before = self.server.count_cancels();
        Some(Hang {
            how,
            sql: Some(sql),
            environment: Vec::new(),
            is_reached: Box::new(|| self.database.count_active() == 1),
            // A query that sends rows ends as well where nobody takes them; one that sends none has to be ended.
            is_over: Box::new(move || {
                self.database.count_sessions() == 0
                    && (way == 0 || self.server.count_cancels() > before)
            }),
        })
    }

    fn break_at(&self, part: Part, way: usize, _people: &[Person]) -> Option<Break> {
        let whole = self.whole();
        assert!(whole > 5_000, "{whole}");
        // The last of them are behind the rows.
        let mut ways: Vec<Breaks> = match part {
            Part::Middle => (0..8).map(|at| Breaks::After(whole * at / 8)).collect(),
            Part::End => [1, 11, 12].map(|less| Breaks::After(whole - less)).to_vec(),
        };
        if part == Part::End && self.server.words().protocol == Protocol::Postgres {
            ways.extend([Breaks::BehindCopyDone, Breaks::Trailer]);
        }
        let breaks = *ways.get(way)?;
        self.front.set(breaks);
        let word = match breaks {
            Breaks::After(_) => "database",
            _ => "model `people`",
        };
        Some(Break { how: format!("{breaks:?} of {whole}"), code: 1, words: vec![word.into()] })
    }

    fn mend(&self) -> bool {
        self.front.set(Breaks::Nothing);
        let broken = self.front.broken();
        self.broken.replace(broken) < broken || self.hangs.replace(false)
    }

    fn changed(&self) -> Changed {
        Changed::OneState
    }
}
