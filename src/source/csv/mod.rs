//! CSV tables: which columns they have, of which types, and the reading of their rows.
//!
//! The types are declared in the config, or pinned at an earlier run, or inferred by reading the files once. Columns
//! of files with a header are matched by name, so that their order may change. Not responsible for listing files.

#[cfg(feature = "faults")]
pub mod fuzzing;
mod inference;
mod record;
mod rows;

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use self::inference::Candidates;
use self::record::{Problem, Record, Records};
use self::rows::CsvLayout;
use super::definition::{Compression, Csv, Table};
use super::error::{Error, unknown};
use super::pins::Pins;
use super::text::bytes::{self, Bytes};
use super::text::column_type::ColumnType;
use super::text::fetch::Fetch;
use super::text::place::Place;
use super::text::{ColumnPlan, TextTable, Turn, known_type};

/// Headers read at once.
const HEADERS: usize = 8;

/// One file, and where in its rows each of the layout's columns is.
#[derive(Debug)]
struct CsvFile {
    place: Place,
    width: usize,
    positions: Vec<usize>,
}

/// Fixes the columns of a table from its files' headers, what is declared, and the pins; infers and pins the rest. A
/// column without a value is text in this read and is pinned by the first read that sees a value.
pub(super) async fn open(
    table: &Table,
    csv: &Csv,
    files: &[Place],
    pins: &mut Pins,
) -> Result<TextTable, Error> {
    let (table, compression) = (table.name.as_str(), table.compression);
    let headers = futures::stream::iter(0..files.len())
        .map(|place| header(table, csv, &files[place], compression))
        .buffered(HEADERS)
        .try_collect::<Vec<_>>()
        .await?;
    let names = headers.first().cloned().unwrap_or_default();
    let files = files
        .iter()
        .zip(&headers)
        .map(|(file, header)| match_columns(table, file, header, &names, &files[0].path))
        .collect::<Result<Vec<_>, Error>>()?;
    for (declared, _) in &csv.columns {
        if !names.contains(declared) {
            let place = format!("`columns` of table `{table}`");
            let mut said = unknown("column", declared, &place, &names);
            said.extend(unseparated(table, csv, &files[0].place.path, &names));
            return Err(Error::Definition(said));
        }
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in &names {
        columns.push(known_type(table, &csv.columns, pins, name)?);
    }
    if columns.iter().any(Option::is_none) {
        let inferred = infer(table, csv, compression, &files, names.len()).await?;
        for ((column, name), inferred) in columns.iter_mut().zip(&names).zip(inferred) {
            if column.is_none() {
                if let Some(inferred) = inferred {
                    pins.add(table, name, inferred.to_string());
                }
                let column_type = inferred.unwrap_or(ColumnType::Varchar);
                let name = name.clone();
                *column = Some(ColumnPlan { name, column_type, is_declared: false });
            }
        }
    }
    Ok(TextTable::new(CsvLayout {
        table: table.into(),
        compression,
        csv: Arc::new(csv.clone()),
        columns: columns.into_iter().flatten().collect(),
        files: files.into(),
    }))
}

/// The names of a file's columns: its first record, or `column_1` and so on.
async fn header(
    table: &str,
    csv: &Csv,
    place: &Place,
    compression: Option<Compression>,
) -> Result<Vec<String>, Error> {
    let path = place.path.as_str();
    let (mut records, mut fetch) = records(table, csv, place, compression)?;
    let first = loop {
        match records.next() {
            Ok(first) => break first.map(|first| names(table, csv, path, &first)),
            Err(problem) if problem.is_waiting() => fetch.more().await?,
            Err(problem) => return Err(damaged(table, path, &problem)),
        }
    };
    first.unwrap_or_else(|| {
        Err(Error::Damaged(format!(
            "table `{table}`: file `{path}` is empty; put the whole file there, at least with its header"
        )))
    })
}

/// The names of columns by their first record.
fn names(table: &str, csv: &Csv, path: &str, first: &Record<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::with_capacity(first.len());
    for position in 0..first.len() {
        let numbered = format!("column_{}", position + 1);
        let name = match std::str::from_utf8(first.field(position)) {
            _ if !csv.has_header => numbered,
            Ok("") => numbered,
            Ok(name) => name.to_owned(),
            Err(_) => {
                return Err(Error::Damaged(format!(
                    "table `{table}`: the header of file `{path}` is not UTF-8; {}",
                    instead(first.field(0))
                )));
            }
        };
        if names.contains(&name) {
            return Err(Error::Damaged(format!(
                "table `{table}`: file `{path}` has two columns named `{name}`; rename one"
            )));
        }
        names.push(name);
    }
    Ok(names)
}

/// Where the one column of a file has a name in which another delimiter stands: what that is likely to be, for people.
pub(super) fn unseparated(
    table: &str,
    csv: &Csv,
    path: &str,
    names: &[impl AsRef<str>],
) -> Option<String> {
    const SHOWN: usize = 120;
    let [name] = names else { return None };
    let said = [(b',', ","), (b';', ";"), (b'\t', "\\t"), (b'|', "|")];
    let others = said.iter().filter(|(byte, _)| csv.has_header && *byte != csv.delimiter);
    let mut others = others.filter(|(byte, _)| name.as_ref().as_bytes().contains(byte));
    let (byte, delimiter) = others.next()?;
    // A first line that is a row is not shown.
    let parts = name.as_ref().split(|letter| u8::try_from(letter).is_ok_and(|it| it == *byte));
    let is_row = |part: &str| part.contains('@') || part.trim().parse::<f64>().is_ok();
    let shown = match parts.into_iter().any(is_row) {
        true => String::new(),
        false => {
            let mut shown: String =
                name.as_ref().chars().take(SHOWN).flat_map(char::escape_debug).collect();
            if name.as_ref().chars().nth(SHOWN).is_some() {
                shown.push_str("..");
            }
            format!(", `{shown}`")
        }
    };
    Some(format!(
        "; the header of file `{path}` of table `{table}` is one column as it is read{shown}: if it is several, say \
         `delimiter: \"{delimiter}\"` for the table"
    ))
}

/// What to do about a file that begins so.
fn instead(begin: &[u8]) -> &'static str {
    match begin {
        [0x1f, 0x8b, ..] => {
            "it is packed by gzip: end its name in `.gz`, or say `compression: gzip`"
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is packed by zstd: end its name in `.zst`, or say `compression: zstd`"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16: convert the file",
        _ => "convert the file",
    }
}

/// Finds the table's columns in one file; the first file says which there are.
fn match_columns(
    table: &str,
    place: &Place,
    header: &[String],
    names: &[String],
    first: &str,
) -> Result<CsvFile, Error> {
    let path = &place.path;
    let differs = |column: &str, with: &str, without: &str| {
        Error::Damaged(format!(
            "table `{table}`: column `{column}` is in file `{with}` but not in `{without}`; the files of one table \
             must have the same columns"
        ))
    };
    if let Some(extra) = header.iter().find(|name| !names.contains(name)) {
        return Err(differs(extra, path, first));
    }
    let position = |name: &String| {
        let found = header.iter().position(|other| other == name);
        found.ok_or_else(|| differs(name, first, path))
    };
    let positions = names.iter().map(position).collect::<Result<_, Error>>()?;
    Ok(CsvFile { place: place.clone(), width: header.len(), positions })
}

/// Reads all files once and decides the type of every column, in the layout's order; `None` for those without a value.
/// Can be cancelled.
async fn infer(
    table: &str,
    csv: &Csv,
    compression: Option<Compression>,
    files: &[CsvFile],
    columns: usize,
) -> Result<Vec<Option<ColumnType>>, Error> {
    let mut candidates = vec![Candidates::new(); columns];
    let mut turn = Turn::default();
    for file in files {
        let (mut data, mut fetch) = data(table, csv, &file.place, compression)?;
        loop {
            let record = match data.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(problem) if problem.is_waiting() => {
                    fetch.more().await?;
                    continue;
                }
                Err(problem) => return Err(damaged(table, &file.place.path, &problem)),
            };
            check_width(table, csv, file, &record)?;
            let size = record.size();
            for (candidates, position) in candidates.iter_mut().zip(&file.positions) {
                if !is_null(csv, &record, *position) {
                    candidates.see(record.field(*position));
                }
            }
            turn.take(size).await;
        }
    }
    Ok(candidates.into_iter().map(Candidates::decide).collect())
}

/// A field in quotes is never NULL: quotes are how a file tells a word or an empty text from its absence.
fn is_null(csv: &Csv, record: &Record<'_>, position: usize) -> bool {
    let field = record.field(position);
    !record.is_quoted(position) && csv.nulls.iter().any(|word| word.as_bytes() == field)
}

/// The records of a file, from its first line on.
fn records(
    table: &str,
    csv: &Csv,
    place: &Place,
    compression: Option<Compression>,
) -> Result<(Records<Bytes>, Fetch), Error> {
    let (bytes, fetch) = bytes::open(table, place, compression)?;
    Ok((Records::new(bytes, csv.delimiter), fetch))
}

/// The records of a file without its header.
struct Data {
    records: Records<Bytes>,
    is_behind_header: bool,
}

fn data(
    table: &str,
    csv: &Csv,
    place: &Place,
    compression: Option<Compression>,
) -> Result<(Data, Fetch), Error> {
    let (records, fetch) = records(table, csv, place, compression)?;
    Ok((Data { records, is_behind_header: !csv.has_header }, fetch))
}

impl Data {
    /// As [`Records::next`].
    fn next(&mut self) -> Result<Option<Record<'_>>, Problem> {
        if !self.is_behind_header {
            self.records.next()?;
            self.is_behind_header = true;
        }
        self.records.next()
    }
}

fn check_width(table: &str, csv: &Csv, file: &CsvFile, record: &Record<'_>) -> Result<(), Error> {
    if record.len() == file.width {
        return Ok(());
    }
    Err(Error::Damaged(format!(
        "table `{table}`: the row at line {} of file `{}` has {} fields, {} were expected; is the file cut, or its \
         delimiter another than `{}`?",
        record.line,
        file.place.path,
        record.len(),
        file.width,
        char::from(csv.delimiter),
    )))
}

fn damaged(table: &str, path: &str, problem: &Problem) -> Error {
    Error::Damaged(match problem {
        Problem::Io(error) => return bytes::unreadable(table, path, error),
        Problem::Unclosed { line } => format!(
            "table `{table}`: file `{path}` ends inside a quoted field of the row at line {line}; put the whole file \
             there"
        ),
        Problem::AfterQuote { line } => format!(
            "table `{table}`: at line {line} of file `{path}` a closing quote is followed by something other than the \
             delimiter or the line's end; write a quote inside a quoted field twice"
        ),
        Problem::TooLong { line } => format!(
            "table `{table}`: the row at line {line} of file `{path}` is longer than 64 MiB; is a quote never closed?"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_another_delimiter_stands_in_is_told_with_it() {
        let told = |delimiter: u8, names: &[&str]| {
            let csv = Csv { delimiter, has_header: true, nulls: Vec::new(), columns: Vec::new() };
            unseparated("people", &csv, "a.csv", names)
        };
        for (delimiter, name, remedy) in
            [(b',', "id;name", "`delimiter: \";\"`"), (b';', "id\tname", "`delimiter: \"\\t\"`")]
        {
            let said = told(delimiter, &[name]).unwrap();
            assert!(
                said.contains(remedy) && said.contains("file `a.csv` of table `people`"),
                "{said}"
            );
            assert!(said.contains("`id;name`") || said.contains("`id\\tname`"), "{said}");
        }
        for row in ["ada@example.com;Ada", "7;Ada\u{1b}"] {
            let said = told(b',', &[row]).unwrap();
            assert!(said.contains("`delimiter: \";\"`") && !said.contains("Ada"), "{said}");
        }
        let long = told(b',', &[&"id;".repeat(99)]).unwrap();
        assert!(long.contains("id;..`") && long.len() < 300, "{long}");
        for names in [&["id"][..], &["id", "a;b"], &[]] {
            assert_eq!(told(b',', names), None, "{names:?}");
        }
        assert_eq!(told(b';', &["id;name"]), None);
    }

    #[test]
    fn what_a_file_is_instead_of_text_is_told_by_how_it_begins() {
        for (begin, told) in [
            (&[0x1f, 0x8b, 8][..], "compression: gzip"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 4], "compression: zstd"),
            (&[0xff, 0xfe, b'i'], "it is UTF-16"),
            (&[0xfe, 0xff], "it is UTF-16"),
            (&[0xff], "convert the file"),
            (&[], "convert the file"),
        ] {
            assert!(instead(begin).contains(told), "{begin:?}");
        }
    }
}
