//! Arrow IPC tables, in the file format (Feather version 2) and in the stream format.
//!
//! The schemas of all files are read before a row is. Not responsible for listing files, nor for seeing at the end of a read
//! that they are what they were. Invariants: a file whose end is not proven by a footer or a marker is an error; no length is
//! believed that the file cannot have; no message says what is in a file but names of columns.

mod bytes;
mod check;
mod frames;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod fuzzing;
mod rows;
#[cfg(any(test, feature = "faults"))]
mod sample;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::sync::Arc;

use arrow::datatypes::Schema;
use futures::{StreamExt as _, TryStreamExt as _};

use self::bytes::Bytes;
use self::frames::{Frames, begin};
use self::rows::IpcTable;
use super::agreed::Agreed;
use super::definition::Table;
use super::error::Error;
use super::store::Pinned;
use super::weights::Weights;
use crate::domain::file::FileFact;

/// Schemas read at once.
const AT_ONCE: usize = 8;
/// Bytes of a record batch with its header, packed or not, and of the dictionaries of a file.
const MOST: u64 = 1 << 30;
/// Bytes of a header or a footer.
const METADATA: u64 = 64 << 20;
/// Bytes read at once of the rows, and of what is read before them.
const AHEAD: u64 = 4 << 20;
const GLANCE: u64 = 64 << 10;
/// What is taken for the longest record batch of a stream, which does not tell.
const OF_STREAM: u64 = 64 << 20;

/// What is wrong with a file.
#[derive(Debug)]
enum Wrong {
    Store(Error),
    Unread(ErrorKind),
    Changed,
    Empty,
    NotArrow,
    /// The format before this one.
    Feather,
    Cut,
    NoFooter,
    NoMarker,
    Behind,
    Damaged,
    TooLarge,
    Old,
    BigEndian,
    /// Has a type that is none here.
    Column(String),
    /// Has a name that another one has.
    Twice(String),
    /// Has a decimal of more digits than it says.
    Beyond(String),
}

/// Reads the schemas and makes a table of the files, with what a stream of it holds and what the files differ in. `objects`
/// gives their bytes where they are no files of this machine.
pub(super) async fn open(
    table: &Table,
    files: &[FileFact],
    objects: Option<&Arc<Pinned>>,
) -> Result<(IpcTable, Weights, Vec<String>), Error> {
    let name = table.name.as_str();
    let mut agreed = Agreed::new(name, table.schema);
    let mut longest = 0;
    let mut schemas = futures::stream::iter(0..files.len())
        .map(|place| glance(name, place, &files[place], objects))
        .buffered(AT_ONCE);
    let mut paths = files.iter().map(|file| file.path.as_str());
    while let Some((schema, of_file)) = schemas.try_next().await? {
        agreed.add(paths.next().unwrap_or_default(), &schema)?;
        longest = longest.max(of_file);
    }
    drop(schemas);
    let differences = agreed.differences();
    let schema = Arc::new(agreed.schema());
    let chunk = usize::try_from(longest).unwrap_or(usize::MAX);
    let weights = Weights { whole: chunk, ..Weights::default() };
    let (files, objects) = (files.into(), objects.map(Arc::clone));
    let opened = IpcTable { table: name.into(), rule: table.schema, files, objects, schema };
    Ok((opened, weights, differences))
}

/// The columns of a file, and how long its longest record batch is.
async fn glance(
    table: &str,
    place: usize,
    file: &FileFact,
    objects: Option<&Arc<Pinned>>,
) -> Result<(Schema, u64), Error> {
    let told = |wrong: Wrong| wrong.told(table, &file.path);
    let mut bytes = Bytes::open(place, file, objects, GLANCE).map_err(told)?;
    let (schema, frames, longest) = begin(&mut bytes).await.map_err(told)?;
    let longest = match frames {
        Frames::Blocks(_) => longest,
        Frames::Stream(_) => bytes.size().min(OF_STREAM),
    };
    Ok((schema, longest))
}
