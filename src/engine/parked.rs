//! Rows whose part of the snapshot is not in memory: they wait on disk, sorted by part, and come back as batches.
//!
//! Shared by the readers. A few bytes of each part are in memory until there is enough for a piece. Not here: which part a row
//! belongs to (`delta::parts`).

use std::sync::{Arc, Mutex, MutexGuard};

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};
use futures::StreamExt as _;

use super::prepare::Error;
use super::reading::{Batches, columns};
use crate::delta::examiner::Examiner;
use crate::delta::parts::Parts;
use crate::domain::codec::{Bytes, put_bytes};
use crate::spill::{self, Frame, Spill};

/// Bytes of all parts together that wait for enough to be written.
const OPEN: usize = if cfg!(test) { 1 << 10 } else { 32 << 20 };
/// Bytes of a piece at most, but for one row; it comes back as one batch.
const PIECE: usize = if cfg!(test) { 1 << 9 } else { 1 << 20 };
/// And at least, however many parts there are.
const LEAST: usize = if cfg!(test) { 1 << 6 } else { 1 << 14 };

/// The rows of one read that wait.
#[derive(Debug)]
pub struct Parked {
    parts: Parts,
    schema: SchemaRef,
    converter: RowConverter,
    piece: usize,
    waiting: Vec<Mutex<Waiting>>,
    spill: Spill,
}

/// Those of one part.
#[derive(Debug, Default)]
struct Waiting {
    /// The length of a row and the row, again and again.
    open: Vec<u8>,
    pieces: Vec<Frame>,
}

impl Parked {
    /// For rows of this schema.
    pub fn new(parts: &Parts, schema: &SchemaRef, spill: Spill) -> Parked {
        let fields = schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        Parked {
            parts: parts.clone(),
            schema: Arc::clone(schema),
            converter: RowConverter::new(fields)
                .expect("values of all types of a column have rows"),
            piece: (OPEN / parts.len()).clamp(LEAST, PIECE),
            waiting: (0..parts.len()).map(|_| Mutex::default()).collect(),
            spill,
        }
    }

    /// Puts the rows of other parts than the first aside; those of the first come back. Rows that are not taken up are nowhere
    /// then. Blocks.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn sift(&self, batch: RecordBatch, examiner: &Examiner) -> Result<RecordBatch, Error> {
        let parts = examiner.parts(&columns(&batch), batch.num_rows(), &self.parts);
        if parts.iter().all(|part| *part == Some(0)) {
            return Ok(batch);
        }
        let filter = |is_kept: fn(&usize) -> bool| {
            let mask = parts.iter().map(|part| Some(part.as_ref().is_some_and(is_kept)));
            let mask = mask.collect::<BooleanArray>();
            filter_record_batch(&batch, &mask).map_err(|error| defect(&error))
        };
        let (here, away) = (filter(|part| *part == 0)?, filter(|part| *part > 0)?);
        let rows = self.converter.convert_columns(away.columns()).map_err(|it| defect(&it))?;
        let mut by_part = vec![Vec::new(); self.waiting.len()];
        for (row, part) in parts.into_iter().flatten().filter(|part| *part > 0).enumerate() {
            by_part[part].push(row);
        }
        for (part, its_rows) in by_part.iter().enumerate() {
            for row in its_rows {
                self.park(part, rows.row(*row).data())?;
            }
        }
        Ok(here)
    }

    fn park(&self, part: usize, row: &[u8]) -> Result<(), spill::Error> {
        let mut waiting = lock(&self.waiting[part]);
        put_bytes(&mut waiting.open, row);
        if waiting.open.len() < self.piece {
            return Ok(());
        }
        let piece = std::mem::take(&mut waiting.open);
        // Others go on meanwhile; the order of rows does not matter.
        drop(waiting);
        let piece = self.spill.append(&piece)?;
        lock(&self.waiting[part]).pieces.push(piece);
        Ok(())
    }

    /// Whether no row waits for a part.
    pub fn is_empty(&self, part: usize) -> bool {
        let waiting = lock(&self.waiting[part]);
        waiting.open.is_empty() && waiting.pieces.is_empty()
    }

    /// The rows of a part, in so many streams; they are gone from here. To be asked once no more rows come.
    ///
    /// # Errors
    /// The last of them cannot be written.
    pub fn streams(self: &Arc<Self>, part: usize, many: usize) -> Result<Vec<Batches>, Error> {
        let Waiting { open, mut pieces } = std::mem::take(&mut *lock(&self.waiting[part]));
        if !open.is_empty() {
            pieces.push(self.spill.append(&open)?);
        }
        let each = pieces.len().div_ceil(many.max(1)).max(1);
        let stream = |pieces: Vec<Frame>| -> Batches {
            let parked = Arc::clone(self);
            let batches = pieces.into_iter().map(move |piece| parked.batch(&piece));
            futures::stream::iter(batches).boxed()
        };
        Ok(pieces.chunks(each).map(<[Frame]>::to_vec).map(stream).collect())
    }

    fn batch(&self, piece: &Frame) -> Result<RecordBatch, Error> {
        let mut bytes = Vec::new();
        self.spill.read(piece, &mut bytes)?;
        let (parser, mut rows, mut rest) =
            (self.converter.parser(), Vec::new(), Bytes::new(&bytes));
        while !rest.is_empty() {
            rows.push(parser.parse(rest.bytes().expect("a piece holds whole rows")));
        }
        let columns = self.converter.convert_rows(rows).map_err(|error| defect(&error))?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| defect(&error))
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().expect("nothing panics while it holds the lock")
}

/// Rows that were read are rows again: no message of what is in them is given on.
fn defect(_: &ArrowError) -> Error {
    Error::Defect("rows that waited on disk cannot be made columns again".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::{
        ArrayRef, AsArray, Int64Array, Int64Builder, LargeListBuilder, ListBuilder, MapBuilder,
        StringBuilder, StringViewArray, StringViewBuilder, StructBuilder,
    };
    use datafusion::arrow::datatypes::{DataType, Field, Fields, Int64Type};

    use super::*;
    use crate::delta::examiner::Scope;
    use crate::delta::table::Cut;
    use crate::domain::id::{Epoch, Instant};
    use crate::engine::columns::Columns;

    fn columns() -> Columns {
        Columns {
            fields: vec!["id".into(), "name".into()],
            compares: Vec::new(),
            key: vec![0],
            key_types: Vec::new(),
            primary_key: vec![0],
            fingerprints: crate::delta::fingerprint::VERSION,
        }
    }

    fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
        let names: StringViewArray = ids.clone().map(|id| (id % 3 > 0).then(|| name(id))).collect();
        let ids: Int64Array = ids.collect();
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("name", Arc::new(names))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, it)| (name, it, true)))
            .unwrap()
    }

    fn name(id: i64) -> String {
        format!("someone of the number {id}").repeat(usize::try_from(id % 4).unwrap())
    }

    fn pairs(batch: &RecordBatch) -> Vec<(i64, Option<String>)> {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let names = batch.column(1).as_string_view();
        ids.values().iter().copied().zip(names.iter().map(|it| it.map(str::to_owned))).collect()
    }

    #[tokio::test]
    async fn each_row_comes_once_with_its_part_and_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let cut = Cut::of(1_000, 1, 100);
        let parts = Parts::new(cut, 100, |_| 1_000 / cut.shards());
        assert!(parts.len() > 5);
        let table = Arc::new(Cut::default().table(0, Vec::new()));
        let examiner = columns().examiner(Scope::All, &table, Epoch(1), Instant(0), 1 << 20);
        let parked =
            Arc::new(Parked::new(&parts, &batch(0..1).schema(), Spill::new(folder.path())));
        let mut came: BTreeMap<i64, Option<String>> = BTreeMap::new();
        for first in (0..1_000).step_by(100) {
            came.extend(pairs(&parked.sift(batch(first..first + 100), &examiner).unwrap()));
        }
        let streamed = came.len();
        assert!(streamed > 0 && streamed < 500, "{streamed} rows of the first part");
        for part in 1..parts.len() {
            for mut stream in parked.streams(part, 2).unwrap() {
                while let Some(batch) = stream.next().await {
                    let batch = batch.unwrap();
                    let found = examiner.parts(&super::columns(&batch), batch.num_rows(), &parts);
                    assert!(found.iter().all(|found| *found == Some(part)));
                    for (id, name) in pairs(&batch) {
                        assert!(came.insert(id, name).is_none(), "{id} comes twice");
                    }
                }
            }
        }
        let all: BTreeMap<i64, Option<String>> = pairs(&batch(0..1_000)).into_iter().collect();
        assert_eq!(came, all);
        assert!(parked.spill.size() > 0);
    }

    /// Two columns by which each id is found again: a list of structs, and a map of what is nested.
    fn nested(ids: std::ops::Range<i64>) -> RecordBatch {
        let fields = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
        let structs = StructBuilder::new(fields, vec![Box::new(Int64Builder::new())]);
        let mut lists = ListBuilder::new(structs);
        let items = LargeListBuilder::new(StringViewBuilder::new());
        let mut maps = MapBuilder::new(None, StringBuilder::new(), items);
        for id in ids.clone() {
            for place in 0..id % 4 {
                let numbers = lists.values().field_builder::<Int64Builder>(0).unwrap();
                numbers.append_option((place > 0).then_some(id * place));
                lists.values().append(place != 2);
                maps.keys().append_value(format!("{place} of {id}"));
                maps.values().values().append_value(name(id));
                maps.values().values().append_null();
                maps.values().append(place != 1);
            }
            lists.append(id % 5 > 0);
            maps.append(id % 7 > 0).unwrap();
        }
        let ids: Int64Array = ids.collect();
        let columns: [ArrayRef; 3] =
            [Arc::new(ids), Arc::new(lists.finish()), Arc::new(maps.finish())];
        let named = ["id", "lists", "maps"].into_iter().zip(columns);
        RecordBatch::try_from_iter_with_nullable(named.map(|(name, it)| (name, it, true))).unwrap()
    }

    /// The encoding of each row that is nested.
    fn encoded(batch: &RecordBatch) -> Vec<(i64, Vec<u8>)> {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let columns = super::columns(batch);
        let row = |(row, id): (usize, i64)| {
            let mut bytes = Vec::new();
            columns[1..].iter().for_each(|column| column.value(row).encode(&mut bytes));
            (id, bytes)
        };
        ids.values().iter().copied().enumerate().map(row).collect()
    }

    #[tokio::test]
    async fn nested_rows_that_waited_come_back_with_all_their_parts() {
        let folder = tempfile::tempdir().unwrap();
        let cut = Cut::of(1_000, 1, 100);
        let parts = Parts::new(cut, 100, |_| 1_000 / cut.shards());
        let table = Arc::new(Cut::default().table(0, Vec::new()));
        let examiner = columns().examiner(Scope::All, &table, Epoch(1), Instant(0), 1 << 20);
        let all = nested(0..300);
        let parked = Arc::new(Parked::new(&parts, &all.schema(), Spill::new(folder.path())));
        let mut came = encoded(&parked.sift(all.slice(0, 140), &examiner).unwrap());
        came.extend(encoded(&parked.sift(all.slice(140, 160), &examiner).unwrap()));
        let streamed = came.len();
        for part in 1..parts.len() {
            for mut stream in parked.streams(part, 1).unwrap() {
                while let Some(batch) = stream.next().await {
                    came.extend(encoded(&batch.unwrap()));
                }
            }
        }
        assert!(streamed < 150 && came.len() == 300, "{streamed} of {}", came.len());
        came.sort();
        assert_eq!(came, encoded(&all));
    }
}
