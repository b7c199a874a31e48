//! The data of design.md §8, made anew from the row's number alone: two versions of one table of 12 columns of mixed
//! types in Parquet, of which 0.6 % of the rows are changed, 0.3 % removed and 0.3 % added in the second.
//!
//! Invariant: the same number of rows gives the same files, byte for byte.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// Rows in one batch, and in one row group.
const BATCH: u64 = 100_000;

const FIRST: [&str; 12] = [
    "Ada", "Bela", "Chen", "Dora", "Emil", "Fatou", "Goro", "Hana", "Ines", "Jonas", "Kofi", "Lena",
];
const LAST: [&str; 12] = [
    "Ames", "Brandt", "Castro", "Diallo", "Eriksen", "Ferrari", "Gruber", "Haddad", "Ito",
    "Jansen", "Kowalski", "Larsson",
];
const COUNTRIES: [&str; 10] = ["AT", "BR", "CA", "DE", "EG", "FR", "GB", "IN", "JP", "US"];
const PLANS: [&str; 4] = ["free", "starter", "team", "enterprise"];

/// One version of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Before,
    After,
    /// As `Before`, with this many rows changed, evenly spread.
    Changed(u64),
    /// As `Before`, with a long text in each row.
    Wide,
}

/// Bytes of a long text.
const LONG: usize = 4_000;

/// What differs between the two versions, in rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    pub changed: u64,
    pub added: u64,
    pub removed: u64,
}

/// The two files for so many rows, made if they are not there.
pub fn files(folder: &Path, rows: u64) -> io::Result<[PathBuf; 2]> {
    let paths = [Version::Before, Version::After]
        .map(|version| folder.join(format!("customers-{rows}-{}.parquet", word(version))));
    std::thread::scope(|scope| {
        let versions = [Version::Before, Version::After].into_iter();
        let writers: Vec<_> = versions
            .zip(&paths)
            .filter(|(_, path)| !path.exists())
            .map(|(version, path)| scope.spawn(move || write(path, rows, version)))
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().expect("writing data does not panic"))
    })?;
    Ok(paths)
}

/// The file for so many rows of which few differ from `Before`, made if it is not there.
pub fn changed(folder: &Path, rows: u64, changed: u64) -> io::Result<PathBuf> {
    file(folder, rows, Version::Changed(changed))
}

/// The file of one version for so many rows, made if it is not there.
pub fn file(folder: &Path, rows: u64, version: Version) -> io::Result<PathBuf> {
    let path = folder.join(format!("customers-{rows}-{}.parquet", word(version)));
    if !path.exists() {
        write(&path, rows, version)?;
    }
    Ok(path)
}

/// One version in so many files of about as many rows each, made anew; their names.
pub fn parts(folder: &Path, rows: u64, version: Version, count: u64) -> io::Result<Vec<String>> {
    let end = end(rows, version);
    let part = |part: u64| {
        let name = format!("{}-{part}.parquet", word(version));
        let numbers = end * part / count..end * (part + 1) / count;
        write_range(&folder.join(&name), numbers, rows, version).map(|()| name)
    };
    (0..count).map(part).collect()
}

/// Counted from the same rules by which the files are written.
pub fn difference(rows: u64) -> Difference {
    let mut difference = Difference { added: added(rows), ..Difference::default() };
    for row in 0..rows {
        difference.changed += u64::from(is_changed(row));
        difference.removed += u64::from(is_removed(row));
    }
    difference
}

fn word(version: Version) -> String {
    match version {
        Version::Before => "before".to_owned(),
        Version::After => "after".to_owned(),
        Version::Changed(changed) => format!("changed-{changed}"),
        Version::Wide => "wide".to_owned(),
    }
}

/// One more than the greatest number of a row.
fn end(rows: u64, version: Version) -> u64 {
    if version == Version::After { rows + added(rows) } else { rows }
}

fn write(path: &Path, rows: u64, version: Version) -> io::Result<()> {
    write_range(path, 0..end(rows, version), rows, version)
}

fn write_range(path: &Path, range: Range<u64>, rows: u64, version: Version) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(usize::try_from(BATCH).ok())
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    let Range { mut start, end } = range;
    while start < end {
        let numbers: Vec<u64> = (start..end.min(start + BATCH))
            .filter(|row| version != Version::After || *row >= rows || !is_removed(*row))
            .collect();
        let batch = batch(&numbers, rows, version).map_err(io::Error::other)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let file = File::create(&unfinished)?;
                let made = ArrowWriter::try_new(file, batch.schema(), Some(properties.clone()));
                writer.insert(made.map_err(io::Error::other)?)
            }
        };
        writer.write(&batch).map_err(io::Error::other)?;
        writer.flush().map_err(io::Error::other)?;
        start += BATCH;
    }
    if let Some(writer) = writer {
        writer.close().map_err(io::Error::other)?;
    }
    std::fs::rename(unfinished, path)
}

fn batch(
    rows: &[u64],
    all: u64,
    version: Version,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let content = |row: u64| {
        u64::from(match version {
            Version::Before | Version::Wide => false,
            Version::After => is_changed(row),
            Version::Changed(changed) => {
                row.is_multiple_of(all / changed) && row < all / changed * changed
            }
        })
    };
    let texts = |text: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| text(*row))))
    };
    let numbers = rows.iter().map(|row| signed(*row));
    let is_null = |row: u64, column: u64| mix(row, column).is_multiple_of(20);
    RecordBatch::try_from_iter([
        ("customer_id", Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef),
        ("email", texts(&|row| format!("user{row}@example.com"))),
        (
            "name",
            texts(&|row| format!("{} {}", pick(&FIRST, mix(row, 2)), pick(&LAST, mix(row, 3)))),
        ),
        (
            "company",
            Arc::new(StringArray::from_iter(
                rows.iter().map(|row| (!is_null(*row, 4)).then(|| company(*row, version))),
            )),
        ),
        ("country", texts(&|row| pick(&COUNTRIES, mix(row, 6)).to_owned())),
        ("plan", texts(&|row| pick(&PLANS, mix(row, 7) + content(row)).to_owned())),
        (
            "is_active",
            Arc::new(BooleanArray::from_iter(
                rows.iter().map(|row| Some(mix(*row, 8).is_multiple_of(3))),
            )),
        ),
        (
            "signed_up",
            Arc::new(Date32Array::from_iter_values(
                rows.iter().map(|row| small(mix(*row, 9) % 3_650) + 16_000),
            )),
        ),
        ("seats", Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| seats(*row))))),
        (
            "mrr",
            Arc::new(
                Decimal128Array::from_iter(rows.iter().map(|row| {
                    let cents = mix(*row, 11) % 2_000 * 50 + content(*row);
                    (!is_null(*row, 12)).then_some(i128::from(cents))
                }))
                .with_precision_and_scale(12, 2)?,
            ),
        ),
        (
            "score",
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|row| f64::from(small(mix(*row, 13) % 1_000)) / 1_000.0),
            )),
        ),
        (
            "updated_at",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| {
                    let seconds = mix(*row, 14) % 8_760 * 3_600 + content(*row);
                    (1_700_000_000 + signed(seconds)) * 1_000_000
                }))
                .with_timezone("UTC"),
            ),
        ),
    ])
}

fn company(row: u64, version: Version) -> String {
    let mut name = format!("Company {}", mix(row, 5) % 5_000);
    let mut column = 100;
    while version == Version::Wide && name.len() < LONG {
        name += &format!(", {:x}", mix(row, column));
        column += 1;
    }
    name
}

fn is_changed(row: u64) -> bool {
    mix(row, 20) % 1000 < 6
}

fn is_removed(row: u64) -> bool {
    (6..9).contains(&(mix(row, 20) % 1000))
}

fn added(rows: u64) -> u64 {
    rows * 3 / 1000
}

fn seats(row: u64) -> i32 {
    small(mix(row, 10) % 500)
}

fn pick<'w>(words: &[&'w str], number: u64) -> &'w str {
    let place = usize::try_from(number % words.len() as u64).expect("below the number of words");
    words[place]
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("rows are fewer than 2^63")
}

fn small(number: u64) -> i32 {
    i32::try_from(number).expect("the caller keeps it below 2^31")
}

/// A number that looks random, of a row and a column (the finaliser of SplitMix64).
fn mix(row: u64, column: u64) -> u64 {
    let mut mixed = row.wrapping_mul(31).wrapping_add(column).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
