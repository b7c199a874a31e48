//! A table made of files, checked: its format, where its files are, and what is said of their texts.

use super::document::child;
use super::location;
use super::raw::{RawRewritten, RawTable};
use super::raw_forms::StructureOrText;
use super::validate::Check;
use crate::source::definition::{
    Compression, Csv, Delta, Format, NdJson, Partitions, Rewritten, SchemaRule, Table,
};
use crate::source::store::definition::{Location, Scheme};
use crate::source::{TextFormat, check_type_name};

/// The keys that say what a table is made of, with the endings of names that say the same.
const FORMATS: [(&str, Kind, &[&str]); 5] = [
    ("parquet", Kind::Parquet, &[".parquet"]),
    ("arrow", Kind::Arrow, &[".arrow", ".feather", ".ipc"]),
    ("csv", Kind::Text(TextFormat::Csv), &[".csv"]),
    ("ndjson", Kind::Text(TextFormat::NdJson), &[".ndjson", ".jsonl"]),
    ("delta", Kind::Delta, &[]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Parquet,
    Arrow,
    Text(TextFormat),
    Delta,
}

impl Kind {
    fn is_text(self) -> bool {
        matches!(self, Kind::Text(_))
    }
}

pub fn table(
    check: &mut Check,
    pointer: &str,
    name: &str,
    form: &StructureOrText<RawTable>,
) -> Option<Table> {
    let none = RawTable::default();
    let (text, raw, at, kind) = match form {
        StructureOrText::Text(text) => {
            let (name, compression) = by_ending(text);
            let is_of = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
            let Some((_, kind, _)) = FORMATS.into_iter().find(|(.., endings)| is_of(endings))
            else {
                let what =
                    format!("the format of `{}` is not known", check.document.written(pointer));
                let remedy = "end the path in `.parquet`, `.arrow`, `.feather`, `.ipc`, `.csv`, `.ndjson` or `.jsonl`, or write \
                              `{parquet: PATH}`, `{arrow: PATH}`, `{csv: PATH}`, `{ndjson: PATH}` or `{delta: PATH}`";
                check.report(pointer, what, remedy);
                return None;
            };
            let inside = match kind {
                Kind::Parquet => Some(("a Parquet file", "their pages are compressed")),
                Kind::Arrow => Some(("an Arrow file", "their record batches may be compressed")),
                Kind::Text(_) | Kind::Delta => None,
            };
            if let Some((what, why)) = inside.filter(|_| compression.is_some()) {
                let remedy = format!("name the files as they are: {why}");
                check.report(pointer, format!("{what} inside of another"), remedy);
            }
            (text, &none, pointer.to_owned(), kind)
        }
        StructureOrText::Structure(raw) => {
            let (key, kind, text) = said(check, pointer, raw)?;
            (text, raw, child(pointer, key), kind)
        }
    };
    let text = match kind {
        Kind::Delta => text.trim_end_matches('/'),
        _ => text,
    };
    let objects = location(check, &at, text, kind);
    Some(Table {
        name: name.to_owned(),
        folder: check.folder.to_owned(),
        location: text.into(),
        objects,
        format: format(check, pointer, raw, kind),
        compression: compression(check, pointer, raw, text).filter(|_| kind.is_text()),
        partitions: partitions(check, pointer, raw),
        schema: schema(check, pointer, raw),
        rewritten: rewritten(check, pointer, raw.rewritten.as_ref()),
    })
}

/// The one key that says what the table is made of, and its value.
fn said<'r>(
    check: &mut Check,
    pointer: &str,
    raw: &'r RawTable,
) -> Option<(&'static str, Kind, &'r String)> {
    let said = |(key, kind, _): (&'static str, Kind, _)| {
        let text = match kind {
            Kind::Parquet => &raw.parquet,
            Kind::Arrow => &raw.arrow,
            Kind::Text(TextFormat::Csv) => &raw.csv,
            Kind::Text(TextFormat::NdJson) => &raw.ndjson,
            Kind::Delta => &raw.delta,
        };
        text.as_ref().map(|text| (key, kind, text))
    };
    let said: Vec<_> = FORMATS.into_iter().filter_map(said).collect();
    match said.as_slice() {
        [one] => return Some(*one),
        [(first, ..), (second, ..), ..] => {
            let what = format!("both `{first}` and `{second}`");
            check.report_key(pointer, what, "keep one of the two");
        }
        [] if FORMATS.iter().any(|(key, ..)| check.document.has(&child(pointer, key))) => {}
        [] => {
            let remedy =
                "add `parquet: PATH`, `arrow: PATH`, `csv: PATH`, `ndjson: PATH` or `delta: PATH`";
            check.report_key(pointer, "a table without files", remedy);
        }
    }
    None
}

/// What is said of a format that is not the table's is refused.
fn format(check: &mut Check, pointer: &str, raw: &RawTable, kind: Kind) -> Format {
    let is_csv = kind == Kind::Text(TextFormat::Csv);
    let (is_text, is_delta, shown) = (kind.is_text(), kind == Kind::Delta, shown(kind));
    for (key, is_said, is_known, of) in [
        ("compression", raw.compression.is_some(), is_text, "CSV and NDJSON"),
        ("nulls", raw.nulls.is_some(), is_csv, "CSV"),
        ("delimiter", raw.delimiter.is_some(), is_csv, "CSV"),
        ("header", raw.header.is_some(), is_csv, "CSV"),
        ("columns", raw.columns.is_some(), is_text, "CSV and NDJSON"),
        ("schema", raw.schema.is_some(), !is_text && !is_delta, "Parquet and Arrow"),
        ("partitions", raw.partitions.is_some(), !is_delta, "files without a log"),
        ("rewritten", raw.rewritten.is_some(), !is_delta, "files without a log"),
        ("version", raw.version.is_some(), is_delta, "Delta"),
    ] {
        if is_said && !is_known {
            let what = format!("`{key}` is for {of}, and this table is {shown}");
            check.report_key(&child(pointer, key), what, "remove it");
        }
    }
    match kind {
        Kind::Parquet => Format::Parquet,
        Kind::Arrow => Format::Arrow,
        Kind::Text(TextFormat::Csv) => Format::Csv(csv(check, pointer, raw)),
        Kind::Text(TextFormat::NdJson) => {
            Format::NdJson(NdJson { columns: columns(check, pointer, raw, TextFormat::NdJson) })
        }
        Kind::Delta => Format::Delta(Delta { version: raw.version.map(|version| version.0) }),
    }
}

fn shown(kind: Kind) -> &'static str {
    match kind {
        Kind::Parquet => "Parquet",
        Kind::Arrow => "Arrow",
        Kind::Text(TextFormat::Csv) => "CSV",
        Kind::Text(TextFormat::NdJson) => "NDJSON",
        Kind::Delta => "Delta",
    }
}

fn schema(check: &mut Check, pointer: &str, raw: &RawTable) -> SchemaRule {
    match raw.schema.as_deref() {
        None | Some("same") => SchemaRule::Same,
        Some("union") => SchemaRule::Union,
        Some(_) => {
            let remedy = "write `same` or `union`";
            check.report(&child(pointer, "schema"), "not a rule for columns", remedy);
            SchemaRule::Same
        }
    }
}

/// The path without the ending that says how it is compressed, and what that says.
fn by_ending(text: &str) -> (&str, Option<Compression>) {
    for (ending, compression) in [(".gz", Compression::Gzip), (".zst", Compression::Zstd)] {
        if let Some(name) = text.strip_suffix(ending) {
            return (name, Some(compression));
        }
    }
    (text, None)
}

fn compression(
    check: &mut Check,
    pointer: &str,
    raw: &RawTable,
    text: &str,
) -> Option<Compression> {
    match raw.compression.as_deref() {
        None => by_ending(text).1,
        Some("none") => None,
        Some("gzip") => Some(Compression::Gzip),
        Some("zstd") => Some(Compression::Zstd),
        Some(_) => {
            let remedy = "write `gzip`, `zstd` or `none`";
            check.report(&child(pointer, "compression"), "not a compression", remedy);
            None
        }
    }
}

/// Where the objects are, if they are no files.
fn location(check: &mut Check, pointer: &str, text: &str, kind: Kind) -> Option<Location> {
    if text.is_empty() {
        check.report(pointer, "an empty path", "name a file or a glob such as `data/*.parquet`");
        return None;
    }
    let objects = location::is_of_objects(text).then(|| location::of(text));
    let objects = match objects.transpose() {
        Ok(objects) => objects,
        Err((what, remedy)) => {
            check.report(pointer, what, remedy);
            return None;
        }
    };
    if kind == Kind::Delta {
        if objects.as_ref().is_some_and(|location| location.scheme == Scheme::Http) {
            let remedy = "name the store it is in, such as `s3://BUCKET/TABLE`";
            check.report(pointer, "nobody lists the log of a table on the web", remedy);
        }
        if objects.as_ref().map_or(text, |location| &location.pattern).contains(['*', '?']) {
            let remedy = "name the one folder that has `_delta_log`";
            check.report(pointer, "a glob for a Delta table", remedy);
        }
        return objects;
    }
    let pattern = objects.as_ref().map_or(text, |location| &location.pattern);
    if let Err(error) = glob::Pattern::new(pattern) {
        let what = format!("not a glob: {}", error.msg);
        check.report(pointer, what, "put special characters in brackets: `[*]`");
    }
    objects
}

fn rewritten(check: &mut Check, pointer: &str, raw: Option<&RawRewritten>) -> Option<Rewritten> {
    let raw = raw?;
    let pointer = child(&child(pointer, "rewritten"), "marker");
    if raw.marker.as_deref().is_some_and(|marker| marker.is_empty() || marker.contains(['/', '\\']))
    {
        check.report(
            &pointer,
            "not the name of a file",
            "name a file beside the data, such as `_SUCCESS`",
        );
    }
    Some(Rewritten { marker: raw.marker.clone() })
}

fn csv(check: &mut Check, pointer: &str, raw: &RawTable) -> Csv {
    let delimiter = match raw.delimiter.as_deref() {
        None => b',',
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => *byte,
            _ => {
                let remedy = "write one ASCII character, such as \";\" or \"\\t\"";
                check.report(&child(pointer, "delimiter"), "not one character", remedy);
                b','
            }
        },
    };
    Csv {
        delimiter,
        has_header: raw.header.unwrap_or(true),
        nulls: raw.nulls.clone().unwrap_or_else(|| vec![String::new()]),
        columns: columns(check, pointer, raw, TextFormat::Csv),
    }
}

/// The declared types.
fn columns(
    check: &mut Check,
    pointer: &str,
    raw: &RawTable,
    format: TextFormat,
) -> Vec<(String, String)> {
    let columns = raw.columns.as_ref().map(|columns| columns.0.clone()).unwrap_or_default();
    types(check, &child(pointer, "columns"), &columns, format);
    columns
}

fn types(check: &mut Check, pointer: &str, columns: &[(String, String)], format: TextFormat) {
    for (name, kind) in columns {
        let pointer = child(pointer, name);
        if kind.trim().is_empty() {
            check.report(
                &pointer,
                "an empty type",
                "write an SQL type such as `VARCHAR` or `BIGINT`",
            );
        } else if let Err(text) = check_type_name(format, kind) {
            let (what, remedy) = text.split_once("; ").unwrap_or((&text, ""));
            check.report(&pointer, what, remedy);
        }
    }
}

/// What the names of directories say.
fn partitions(check: &mut Check, pointer: &str, raw: &RawTable) -> Option<Partitions> {
    let columns = &raw.columns;
    let pointer = child(pointer, "partitions");
    let remedy =
        "write `auto`, or a type for each directory, such as `{dt: DATE, region: VARCHAR}`";
    match raw.partitions.as_ref()? {
        StructureOrText::Text(text) if text == "auto" => Some(Partitions::Auto),
        StructureOrText::Text(_) => {
            check.report(&pointer, "not a set of columns", remedy);
            None
        }
        StructureOrText::Structure(said) => {
            if said.0.is_empty() {
                check.report(&pointer, "partitions without columns", remedy);
            }
            types(check, &pointer, &said.0, TextFormat::Csv);
            let is_both = |name: &str| columns.iter().flat_map(|it| &it.0).any(|it| it.0 == name);
            for (name, _) in said.0.iter().filter(|(name, _)| is_both(name)) {
                let what = format!("`{name}` is under `columns` too");
                check.report_key(&child(&pointer, name), what, "keep one of the two");
            }
            Some(Partitions::Declared(said.0.clone()))
        }
    }
}
