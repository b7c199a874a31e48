//! The table of all kinds and properties, and what came of each.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Cell, Cells, Kind, named};

/// What came of the plays, by their full names.
pub type Results = BTreeMap<String, bool>;

/// All kinds.
#[derive(Default)]
pub struct Rows(Vec<Row>);

struct Row {
    server: &'static str,
    kind: String,
    cells: Cells,
}

impl Rows {
    /// Adds the kinds that are over a server.
    pub fn add<S>(&mut self, server: &'static str, kinds: &[Kind<S>]) {
        let row = |kind: &Kind<S>| Row { server, kind: kind.name.clone(), cells: kind.cells };
        self.0.extend(kinds.iter().map(row));
    }

    /// What is wrong with cells: tests that are not there, and reasons that are none.
    pub fn problems(&self) -> Vec<String> {
        let tests = Tests::read();
        let problem = |row: &Row, word: &str, cell: Cell| match cell {
            Cell::Elsewhere(name) if !tests.has(name) => {
                Some(format!("{} {}, {word}: `{name}` is no test", row.server, row.kind))
            }
            Cell::Never(why) if why.trim().is_empty() => {
                Some(format!("{} {}, {word}: no reason is said", row.server, row.kind))
            }
            _ => None,
        };
        let of_row = |row| {
            let cells = Row::cells(row).into_iter();
            cells.filter_map(move |(word, _, cell)| problem(row, word, cell)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_row).collect()
    }

    /// Kind by property, and below it what is elsewhere or cannot be; nothing where none was played.
    pub fn print(&self, results: &Results) {
        let is_one = |row: &Row| row.cells().iter().any(|(_, name, _)| results.contains_key(name));
        if !self.0.iter().any(is_one) {
            return;
        }
        let mut notes: Vec<String> = Vec::new();
        let mut noted = |word: &str, text: &str| {
            let note = format!("{word}: {text}");
            let at = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            });
            format!("{word} {}", at + 1)
        };
        for (place, row) in self.0.iter().enumerate() {
            let cells = row.cells();
            if place == 0 {
                let words: Vec<&str> = cells.iter().map(|(word, ..)| *word).collect();
                println!("| kind | {} |\n|---|{}", words.join(" | "), "---|".repeat(words.len()));
            }
            let said = cells.iter().map(|(_, name, cell)| match cell {
                Cell::Played => match results.get(name) {
                    Some(true) => "played".to_owned(),
                    Some(false) => "FAILED".to_owned(),
                    None => "not played".to_owned(),
                },
                Cell::Elsewhere(name) => noted("elsewhere", &format!("`{name}`")),
                Cell::Never(why) => noted("never", why),
            });
            let said: Vec<String> = said.collect();
            println!("| {} | {} |", [row.server, &row.kind].join(" ").trim_end(), said.join(" | "));
        }
        for (at, note) in notes.iter().enumerate() {
            println!("{}. {note}", at + 1);
        }
    }
}

impl Row {
    /// The word of each property, the full name of its play, and where it is.
    fn cells(&self) -> Vec<(&'static str, String, Cell)> {
        let full = |property| format!("{}: {}", self.server, named(&self.kind, property));
        self.cells.each().into_iter().map(|(it, cell)| (it.word, full(it), cell)).collect()
    }
}

/// The text of all tests.
struct Tests(String);

impl Tests {
    fn read() -> Tests {
        let mut text = String::new();
        let mut folders =
            ["tests", "src"].map(|it| Path::new(env!("CARGO_MANIFEST_DIR")).join(it)).to_vec();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("it can be read") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    text.push_str(&std::fs::read_to_string(path).expect("it is text"));
                }
            }
        }
        Tests(text)
    }

    /// Whether a scenario or a test has this name.
    fn has(&self, name: &str) -> bool {
        self.0.contains(&format!("\"{name}\",")) || self.0.contains(&format!("fn {name}()"))
    }
}
