//! NDJSON tables: an object a line, whose members are the columns.
//!
//! The files are read once before the rows are, to find every member that there is; one that is neither declared nor pinned
//! is inferred then and pinned. A column stays when its member does not: it is NULL wherever its member is missing. Not
//! responsible for what a line says (`object`), nor for listing files.

#[cfg(feature = "faults")]
pub mod fuzzing;
mod inference;
mod lines;
mod object;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use self::inference::Candidates;
use self::lines::{Lines, Problem};
use self::object::{Object, Wrong};
use self::rows::NdJsonLayout;
use super::definition::{Compression, NdJson, Table};
use super::error::Error;
use super::pins::Pins;
use super::text::bytes::{self, Bytes};
use super::text::column_type::ColumnType;
use super::text::fetch::Fetch;
use super::text::place::Place;
use super::text::{ColumnPlan, TextTable, Turn, known_type};
use crate::points::is_planted;

/// Columns of a table, at most; where names are data they would have no end.
const MOST_COLUMNS: usize = 10_000;

/// The columns of a table by name, and which of them the row at hand has met.
#[derive(Debug, Clone, Default)]
struct Names {
    places: HashMap<String, usize>,
    /// By place, the last row that had it.
    met: Vec<u64>,
    row: u64,
}

impl Names {
    fn add(&mut self, name: &str) -> usize {
        let place = self.met.len();
        let place = *self.places.entry(name.to_owned()).or_insert(place);
        self.met.resize(self.met.len().max(place + 1), 0);
        place
    }

    fn begin_row(&mut self) {
        self.row += 1;
    }

    /// Notes that the row has this column; whether it had not before.
    fn meet(&mut self, place: usize) -> bool {
        std::mem::replace(&mut self.met[place], self.row) != self.row
    }
}

/// Fixes the columns: those that are declared, those that are pinned, and those that a line has. A column without a value
/// is text in this read and is pinned by the first read that sees a value.
pub(super) async fn open(
    table: &Table,
    ndjson: &NdJson,
    files: Vec<Place>,
    pins: &mut Pins,
) -> Result<TextTable, Error> {
    let (table, compression) = (table.name.as_str(), table.compression);
    let mut names = Names::default();
    let mut order = Vec::new();
    let pinned = pins.tables().filter(|(name, _)| *name == table);
    let pinned = pinned.flat_map(|(_, pins)| pins.iter().map(|pin| pin.column.as_str()));
    for name in ndjson.columns.iter().map(|(name, _)| name.as_str()).chain(pinned) {
        if names.add(name) == order.len() {
            order.push(name.to_owned());
        }
    }
    let inferred = infer(table, compression, &files, &mut names, &mut order).await?;
    let mut columns = Vec::with_capacity(order.len());
    for (place, name) in order.into_iter().enumerate() {
        columns.push(match known_type(table, &ndjson.columns, pins, &name)? {
            Some(plan) => plan,
            None => {
                let inferred = inferred.get(place).and_then(|candidates| candidates.decide());
                if let Some(inferred) = inferred {
                    pins.add(table, &name, inferred.to_string());
                }
                let column_type = inferred.unwrap_or(ColumnType::Varchar);
                ColumnPlan { name, column_type, is_declared: false }
            }
        });
    }
    Ok(TextTable::new(NdJsonLayout {
        table: table.into(),
        compression,
        columns: columns.into(),
        names: Arc::new(names),
        files: files.into(),
    }))
}

/// Reads all files once; what each column can be, in the order of the columns, to which those that are new are added. Can
/// be cancelled.
async fn infer(
    table: &str,
    compression: Option<Compression>,
    files: &[Place],
    names: &mut Names,
    order: &mut Vec<String>,
) -> Result<Vec<Candidates>, Error> {
    let mut candidates = vec![Candidates::default(); order.len()];
    let mut object = Object::default();
    let mut turn = Turn::default();
    for file in files {
        let path = file.path.as_str();
        let (mut lines, mut fetch) = lines(table, file, compression)?;
        loop {
            let (line, number) = match lines.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(problem) if problem.is_waiting() => {
                    fetch.more().await?;
                    continue;
                }
                Err(problem) => return Err(broken(table, path, &problem)),
            };
            let size = line.len();
            object.read(line).map_err(|wrong| damaged(table, path, number, wrong))?;
            names.begin_row();
            for member in object.members() {
                let place = match names.places.get(member.name) {
                    Some(place) => *place,
                    None if is_dropped(number) => continue,
                    None => {
                        if order.len() == MOST_COLUMNS {
                            return Err(too_many(table, path, number));
                        }
                        order.push(member.name.to_owned());
                        candidates.push(Candidates::default());
                        names.add(member.name)
                    }
                };
                if !names.meet(place) {
                    return Err(repeated(table, path, number, member.name));
                }
                candidates[place].see(member);
            }
            turn.take(size).await;
        }
    }
    Ok(candidates)
}

/// Whether a member that no earlier line had is passed over: a planted defect, the way of those who look at a few lines.
fn is_dropped(line: u64) -> bool {
    line > 1 && is_planted("unknown_member_dropped")
}

fn lines(
    table: &str,
    place: &Place,
    compression: Option<Compression>,
) -> Result<(Lines<Bytes>, Fetch), Error> {
    let (bytes, fetch) = bytes::open(table, place, compression)?;
    Ok((Lines::new(bytes), fetch))
}

fn broken(table: &str, path: &str, problem: &Problem) -> Error {
    Error::Damaged(match problem {
        Problem::Io(error) => return bytes::unreadable(table, path, error),
        Problem::TooLong { line } => format!(
            "table `{table}`: line {line} of file `{path}` is longer than 64 MiB; write one object a line"
        ),
    })
}

fn damaged(table: &str, path: &str, line: u64, wrong: Wrong) -> Error {
    let what = match wrong {
        Wrong::NotUtf8 => "is not UTF-8; convert the file".to_owned(),
        Wrong::NotObject => "is no JSON object; write one object a line".to_owned(),
        Wrong::NotJson(at) => {
            format!(
                "is no JSON from its byte {at} on; is the file cut, or an object on several lines?"
            )
        }
        Wrong::Surrogate => {
            "has half a surrogate pair, which is no text; correct the value".to_owned()
        }
        Wrong::Repeated => {
            "has an object with one member twice; keep the one that counts".to_owned()
        }
        Wrong::TooDeep => {
            "has more than 127 lists and objects in each other; write fewer".to_owned()
        }
    };
    Error::Damaged(format!("table `{table}`: line {line} of file `{path}` {what}"))
}

fn repeated(table: &str, path: &str, line: u64, name: &str) -> Error {
    Error::Damaged(format!(
        "table `{table}`: line {line} of file `{path}` has the member `{name}` twice; keep the one that counts"
    ))
}

fn too_many(table: &str, path: &str, line: u64) -> Error {
    Error::Damaged(format!(
        "table `{table}`: with line {line} of file `{path}` there are more than {MOST_COLUMNS} members; where names are \
         data, put them into an object that is one member"
    ))
}
