//! The rows of Arrow IPC files: one record batch after the other, as columns of their table.
//!
//! Invariants: of each stream one record batch and the dictionaries of one file are in memory, and both are bounded; of every
//! batch all rows that it says it has are given, and of every file all batches.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, MutableArrayData, RecordBatch, make_array, new_null_array,
};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::MessageHeader;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use futures::StreamExt as _;

use super::super::agreed::wider;
use super::super::definition::SchemaRule;
use super::super::error::Error;
use super::super::grouped::{Batches, Grouped, Wanted};
use super::super::store::Pinned;
use super::bytes::Bytes;
use super::frames::{Frames, begin};
use super::{AHEAD, MOST, Wrong, check};
use crate::domain::file::FileFact;

/// Bytes of a batch that is given on, roughly, and rows of it, however wide they are.
const BATCH_BYTES: usize = 8 << 20;
const LEAST_ROWS: usize = 64;

/// The files of one table.
#[derive(Debug, Clone)]
pub(in super::super) struct IpcTable {
    pub table: Arc<str>,
    pub rule: SchemaRule,
    pub files: Arc<[FileFact]>,
    /// What gives their bytes where they are no files of this machine.
    pub objects: Option<Arc<Pinned>>,
    pub schema: SchemaRef,
}

impl Grouped for IpcTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn files(&self) -> usize {
        self.files.len()
    }

    fn read(&self, files: Vec<usize>, wanted: Arc<Wanted>, batch_size: usize) -> Batches {
        let rows = Rows {
            table: self.clone(),
            waiting: files.into(),
            open: None,
            read: None,
            wanted,
            batch_size,
        };
        futures::stream::try_unfold(rows, |mut rows| async move {
            let batch = rows.next().await?;
            Ok(batch.map(|batch| (batch, rows)))
        })
        .boxed()
    }
}

/// The rows of some files.
struct Rows {
    table: IpcTable,
    waiting: VecDeque<usize>,
    open: Option<(usize, IpcFile)>,
    read: Option<Read>,
    wanted: Arc<Wanted>,
    batch_size: usize,
}

/// A record batch that was read.
struct Read {
    /// Of the file, as it has them.
    columns: Vec<ArrayRef>,
    rows: usize,
    /// How many were given on.
    given: usize,
    /// How many are given on at once.
    each: usize,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if self.open.is_none() {
                let Some(file) = self.waiting.pop_front() else { return Ok(None) };
                let opened = IpcFile::open(&self.table, file, &self.wanted.columns).await;
                self.open = Some((file, opened.map_err(|wrong| self.told(file, wrong))?));
            }
            let Some((file, open)) = &mut self.open else { continue };
            let file = *file;
            if let Some(read) = self.read.as_mut().filter(|read| read.given < read.rows) {
                let rows = read.each.min(read.rows - read.given);
                let part = open.columns(&read.columns, read.given, rows);
                read.given += rows;
                let part = part.map_err(|wrong| self.told(file, wrong))?;
                let batch = self.wanted.batch(file, part, rows);
                return batch.map(Some).map_err(|_| self.told(file, Wrong::Damaged));
            }
            // What was given on has memory of its own.
            self.read = None;
            match open.next().await {
                Err(wrong) => return Err(self.told(file, wrong)),
                Ok(None) => self.open = None,
                Ok(Some((columns, rows))) => {
                    let each = BATCH_BYTES / (width(&columns, rows) + open.width).max(1);
                    let each = each.max(LEAST_ROWS).min(self.batch_size);
                    self.read = Some(Read { columns, rows, given: 0, each });
                }
            }
        }
    }

    fn told(&self, file: usize, wrong: Wrong) -> Error {
        wrong.told(&self.table.table, &self.table.files[file].path)
    }
}

/// One file that is read.
struct IpcFile {
    bytes: Bytes,
    frames: Frames,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    /// The columns of the file that are read, and what they are.
    read: Vec<usize>,
    wanted: Schema,
    /// By column that is wanted, its place in `read`, and its type in the table.
    columns: Vec<(Option<usize>, DataType)>,
    /// Bytes of a row, roughly, that are made beside what is read.
    width: usize,
    /// Bytes that the dictionaries may have together.
    most: u64,
}

impl IpcFile {
    async fn open(table: &IpcTable, file: usize, wanted: &[usize]) -> Result<IpcFile, Wrong> {
        let mut bytes = Bytes::open(file, &table.files[file], table.objects.as_ref(), AHEAD)?;
        let (schema, frames, _) = begin(&mut bytes).await?;
        if !is_of(&schema, table) {
            return Err(Wrong::Changed);
        }
        let mut read = Vec::with_capacity(wanted.len());
        let mut columns = Vec::with_capacity(wanted.len());
        let mut width = 0;
        for column in wanted {
            let field = table.schema.field(*column);
            let place = schema.index_of(field.name()).ok().map(|place| {
                read.push(place);
                read.len() - 1
            });
            let is_as_read =
                place.is_some_and(|at| schema.field(read[at]).data_type() == field.data_type());
            width += if is_as_read { 0 } else { field.data_type().primitive_width().unwrap_or(8) };
            columns.push((place, field.data_type().clone()));
        }
        let wanted = schema.project(&read).map_err(|_| Wrong::Damaged)?;
        let (schema, dictionaries) = (Arc::new(schema), HashMap::new());
        let most = MOST;
        Ok(IpcFile { bytes, frames, schema, dictionaries, read, wanted, columns, width, most })
    }

    /// The columns that are read of the next record batch, as the file has them, and how many rows it has.
    async fn next(&mut self) -> Result<Option<(Vec<ArrayRef>, usize)>, Wrong> {
        while let Some(message) = self.frames.next(&mut self.bytes).await? {
            let (header, body) = (message.header()?, &message.body);
            let version = header.version();
            match header.header_type() {
                MessageHeader::DictionaryBatch => {
                    let said = header.header_as_dictionary_batch().ok_or(Wrong::Damaged)?;
                    let values = check::values(&self.schema, said.id())?;
                    let is_wanted = check::values(&self.wanted, said.id()).is_ok();
                    let data = said.data().ok_or(Wrong::Damaged)?;
                    check::batch([(values, is_wanted)], data, body)?;
                    if !is_wanted {
                        continue;
                    }
                    let known = &mut self.dictionaries;
                    let is_anew = !said.isDelta() && known.contains_key(&said.id());
                    if is_anew && !self.frames.is_stream() {
                        // All are read before the first row, so that the last would be that of all rows.
                        return Err(Wrong::Damaged);
                    }
                    read_dictionary(body, said, &self.schema, known, &version)
                        .map_err(|_| Wrong::Damaged)?;
                    let bytes = known.values().map(|values| values.get_array_memory_size() as u64);
                    if bytes.sum::<u64>() > self.most {
                        return Err(Wrong::TooLarge);
                    }
                }
                MessageHeader::RecordBatch => {
                    let said = header.header_as_record_batch().ok_or(Wrong::Damaged)?;
                    let is_read = |place: &usize| self.read.contains(place);
                    let fields = self.schema.fields().iter().enumerate();
                    let fields = fields.map(|(place, it)| (it.data_type(), is_read(&place)));
                    check::batch(fields, said, body)?;
                    let schema = Arc::clone(&self.schema);
                    let (known, read) = (&self.dictionaries, Some(self.read.as_slice()));
                    let batch = read_record_batch(body, said, schema, known, read, &version);
                    let batch = batch.map_err(|_| Wrong::Damaged)?;
                    return Ok(Some((batch.columns().to_vec(), batch.num_rows())));
                }
                _ => return Err(Wrong::Damaged),
            }
        }
        Ok(None)
    }

    /// So many rows from there on of the columns that were read, as their types are in the table.
    fn columns(&self, read: &[ArrayRef], from: usize, rows: usize) -> Result<Vec<ArrayRef>, Wrong> {
        let column = |(place, kind): &(Option<usize>, DataType)| {
            let Some(place) = *place else { return Ok(new_null_array(kind, rows)) };
            let values = own(&read[place], from, rows)?;
            if values.data_type() == kind {
                return Ok(values);
            }
            if !is_within_precision(&values) {
                return Err(Wrong::Beyond(self.wanted.field(place).name().clone()));
            }
            // What does not fit would be NULL otherwise.
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&values, kind, &options).map_err(|_| Wrong::Damaged)
        };
        self.columns.iter().map(column).collect()
    }
}

/// Whether no decimal has more digits than its type says, by which one that is made wider is taken not to run over.
fn is_within_precision(values: &ArrayRef) -> bool {
    use arrow::datatypes::{Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type};
    let checked = match values.data_type() {
        DataType::Decimal32(digits, _) => {
            values.as_primitive::<Decimal32Type>().validate_decimal_precision(*digits)
        }
        DataType::Decimal64(digits, _) => {
            values.as_primitive::<Decimal64Type>().validate_decimal_precision(*digits)
        }
        DataType::Decimal128(digits, _) => {
            values.as_primitive::<Decimal128Type>().validate_decimal_precision(*digits)
        }
        DataType::Decimal256(digits, _) => {
            values.as_primitive::<Decimal256Type>().validate_decimal_precision(*digits)
        }
        DataType::Dictionary(..) => {
            return is_within_precision(values.as_any_dictionary().values());
        }
        _ => Ok(()),
    };
    checked.is_ok()
}

/// Bytes of a row, roughly.
fn width(columns: &[ArrayRef], rows: usize) -> usize {
    let bytes = |column: &ArrayRef| {
        let texts = match column.data_type() {
            DataType::Utf8View => column.as_string_view().data_buffers(),
            DataType::BinaryView => column.as_binary_view().data_buffers(),
            _ => &[],
        };
        let texts: usize = texts.iter().map(Buffer::len).sum();
        column.to_data().get_slice_memory_size().unwrap_or(0).saturating_add(texts)
    };
    columns.iter().map(bytes).sum::<usize>().div_ceil(rows.max(1))
}

/// So many values from there on, in memory of their own: all columns of a record batch may lie in one buffer, which would stay
/// for as long as one value of it does, and be counted as often as there are columns.
fn own(column: &ArrayRef, from: usize, rows: usize) -> Result<ArrayRef, Wrong> {
    Ok(match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().slice(from, rows).gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().slice(from, rows).gc()),
        _ => {
            let values = column.to_data();
            let mut copy = MutableArrayData::new(vec![&values], false, rows);
            copy.try_extend(0, from, from + rows).map_err(|_| Wrong::Damaged)?;
            make_array(copy.freeze())
        }
    })
}

/// Whether the columns are those that the file had when the table was opened, as far as the table tells.
fn is_of(schema: &Schema, table: &IpcTable) -> bool {
    let fits = |field: &arrow::datatypes::FieldRef| {
        let known = table.schema.field_with_name(field.name()).map(|known| known.data_type());
        known.is_ok_and(|known| match table.rule {
            SchemaRule::Same => known == field.data_type(),
            SchemaRule::Union => wider(known, field.data_type()).as_ref() == Some(known),
        })
    };
    let is_whole =
        table.rule == SchemaRule::Union || schema.fields().len() == table.schema.fields().len();
    is_whole && schema.fields().iter().all(fits)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int32Array};
    use arrow::datatypes::{Field, Int32Type, Int64Type};
    use arrow::ipc::writer::FileWriter;
    use futures::executor::block_on;

    use super::super::sample::fact;
    use super::*;

    /// A file of this batch, and a table of it.
    fn table_of(
        batch: &RecordBatch,
        rule: SchemaRule,
        columns: Vec<Field>,
    ) -> (tempfile::NamedTempFile, IpcTable) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = FileWriter::try_new(file.reopen().unwrap(), &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        let (files, schema) = ([fact(file.path())].into(), Arc::new(Schema::new(columns)));
        let table = IpcTable { table: "t".into(), rule, files, objects: None, schema };
        (file, table)
    }

    #[test]
    fn a_file_of_more_or_fewer_columns_than_it_had_is_another_one() {
        let values = || Arc::new(Int32Array::from(vec![7])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("i", values()), ("j", values())]).unwrap();
        let column = |name: &str| Field::new(name, DataType::Int32, false);
        let opened = |columns: Vec<Field>| {
            let wanted: Vec<usize> = (0..columns.len()).collect();
            let (_file, table) = table_of(&batch, SchemaRule::Same, columns);
            block_on(IpcFile::open(&table, 0, &wanted)).map(drop)
        };
        assert!(opened(vec![column("i"), column("j")]).is_ok());
        assert!(matches!(opened(vec![column("i")]), Err(Wrong::Changed)));
        assert!(matches!(opened(vec![column("i"), column("k")]), Err(Wrong::Changed)));
        let more = vec![column("i"), column("j"), column("k")];
        assert!(matches!(opened(more), Err(Wrong::Changed)));
    }

    #[test]
    fn dictionaries_take_no_more_memory_than_they_may_together() {
        let texts: DictionaryArray<Int32Type> = ["a".repeat(4_000).as_str()].into_iter().collect();
        let batch = RecordBatch::try_from_iter([("d", Arc::new(texts) as ArrayRef)]).unwrap();
        let columns = vec![batch.schema().field(0).clone()];
        for (most, fits) in [(MOST, true), (4_000, false)] {
            let (_file, table) = table_of(&batch, SchemaRule::Same, columns.clone());
            let Ok(mut open) = block_on(IpcFile::open(&table, 0, &[0])) else { panic!("whole") };
            open.most = most;
            match block_on(open.next()) {
                Ok(read) => assert!(fits && read.is_some_and(|(_, rows)| rows == 1)),
                Err(wrong) => assert!(!fits && matches!(wrong, Wrong::TooLarge), "{wrong:?}"),
            }
        }
    }

    #[test]
    fn what_a_file_lacks_and_what_becomes_wider_is_made_for_the_rows_that_are_given_on() {
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1_000));
        let batch = RecordBatch::try_from_iter([("i", values)]).unwrap();
        let columns = vec![
            Field::new("lacks", DataType::Decimal256(76, 0), true),
            Field::new("i", DataType::Int64, true),
        ];
        let (_file, table) = table_of(&batch, SchemaRule::Union, columns);
        let open = IpcFile::open(&table, 0, &[0, 1]);
        let Ok(mut open) = block_on(open) else { panic!("it is whole") };
        let Ok(Some((read, 1_000))) = block_on(open.next()) else { panic!("it has one batch") };
        assert_eq!(read.len(), 1, "nothing is made of all rows");
        assert_eq!(read[0].as_primitive::<Int32Type>().len(), 1_000);
        let Ok(part) = open.columns(&read, 10, 5) else { panic!("they fit") };
        assert_eq!((part[0].len(), part[0].null_count()), (5, 5));
        assert_eq!(part[1].as_primitive::<Int64Type>().values(), &[10, 11, 12, 13, 14]);
        assert_eq!(open.width, 32 + 8);
    }
}
