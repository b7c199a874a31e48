//! Formats of files: how people, values of every type and very many rows are written in them, and where a file can be cut.

use std::io::Write as _;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};

use super::place::{Part, WIDTH};
use super::sheet::Sheet;
use super::values::{self, Having};
use crate::stores::{ndjson, parquet_file};
use crate::support::people::{Person, csv};
use crate::support::workspace::packed;
use crate::support::{arrow, parquet};

type Pack = fn(&[u8]) -> Vec<u8>;

/// A format, packed or not.
pub struct Format {
    pub name: &'static str,
    /// What the name of its files ends with.
    pub ending: &'static str,
    /// What the config calls it.
    pub key: &'static str,
    pub people: fn(&[Person]) -> Vec<u8>,
    pub sheet: fn(&Sheet) -> Vec<u8>,
    pub huge: fn(u32) -> Vec<u8>,
    pub values: fn(bool) -> Vec<u8>,
    pub expected: fn() -> Vec<(String, String)>,
    /// Text, whose lines alone say where it ends; packed or not.
    pub is_text: bool,
    pack: Option<Pack>,
}

pub const FORMATS: [Format; 7] = [
    Format {
        name: "csv",
        ending: "csv",
        key: "csv",
        people: |people| csv(people).into_bytes(),
        sheet: Sheet::csv,
        huge: |rows| huge_csv(rows).into_bytes(),
        values: values::csv,
        expected: values::expected_of_text,
        is_text: true,
        pack: None,
    },
    Format {
        name: "csv.gz",
        ending: "csv.gz",
        key: "csv",
        people: packed,
        sheet: |sheet| gzip(&sheet.csv()),
        huge: |rows| stored(huge_csv(rows).as_bytes()),
        values: |has_values| gzip(&values::csv(has_values)),
        expected: values::expected_of_text,
        is_text: true,
        pack: Some(gzip),
    },
    Format {
        name: "ndjson",
        ending: "ndjson",
        key: "ndjson",
        people: ndjson,
        sheet: Sheet::ndjson,
        huge: |rows| huge_ndjson(rows).into_bytes(),
        values: values::ndjson,
        expected: values::expected_of_text,
        is_text: true,
        pack: None,
    },
    Format {
        name: "ndjson.zst",
        ending: "ndjson.zst",
        key: "ndjson",
        people: |people| zstd(&ndjson(people)),
        sheet: |sheet| zstd(&sheet.ndjson()),
        huge: |rows| zstd(huge_ndjson(rows).as_bytes()),
        values: |has_values| zstd(&values::ndjson(has_values)),
        expected: values::expected_of_text,
        is_text: true,
        pack: Some(zstd),
    },
    Format {
        name: "parquet",
        ending: "parquet",
        key: "parquet",
        people: parquet_file,
        sheet: |sheet| in_parquet(&[sheet.batch()]),
        huge: huge_parquet,
        values: |has_values| in_parquet(&[values::batch(Having::Parquet, has_values)]),
        expected: || values::expected(Having::Parquet),
        is_text: false,
        pack: None,
    },
    Format {
        name: "arrow file",
        ending: "arrow",
        key: "arrow",
        people: arrow::file,
        sheet: |sheet| in_file(&[sheet.batch()]),
        huge: |rows| in_file(&huge_batches(rows)),
        values: |has_values| in_file(&[values::batch(Having::All, has_values)]),
        expected: || values::expected(Having::All),
        is_text: false,
        pack: None,
    },
    Format {
        name: "arrow stream",
        ending: "arrow",
        key: "arrow",
        people: arrow::stream,
        sheet: |sheet| in_stream(&[sheet.batch()]),
        huge: |rows| in_stream(&huge_batches(rows)),
        values: |has_values| in_stream(&[values::batch(Having::All, has_values)]),
        expected: || values::expected(Having::All),
        is_text: false,
        pack: None,
    },
];

/// A file that was cut: how, what is left, and the code of a run over it.
pub type Cut = (&'static str, Vec<u8>, i32);

impl Format {
    /// The cut of this number in this part of a file of people; `None` behind the last.
    pub fn cut(&self, part: Part, way: usize, people: &[Person]) -> Option<Cut> {
        let whole = (self.people)(people);
        let less = |by: usize| whole[..whole.len() - by].to_vec();
        // Nothing but the end of the last line says that there are no more.
        let line = self
            .is_text
            .then(|| ("its text without the end of its last line", self.unended(people), 4));
        let cuts: Vec<Cut> = match part {
            Part::Middle if self.is_text && self.pack.is_none() => {
                let half = people[people.len() / 2].id;
                let begins = [format!("\n{half},"), format!("\n{{\"id\":{half},")];
                let text = String::from_utf8_lossy(&whole);
                let place =
                    begins.iter().find_map(|begin| Some(text.find(begin)? + begin.len() - 1));
                vec![("cut within a row", whole[..place.expect("it is there")].to_vec(), 1)]
            }
            Part::Middle => vec![
                ("cut at a half", less(whole.len() / 2), 1),
                ("cut at a quarter", less(whole.len() * 3 / 4), 1),
            ],
            Part::End if self.is_text && self.pack.is_none() => line.into_iter().collect(),
            Part::End => {
                let last =
                    [("without its last byte", less(1), 1), ("without its last 8", less(8), 1)];
                last.into_iter().chain(line).collect()
            }
        };
        cuts.into_iter().nth(way)
    }

    fn unended(&self, people: &[Person]) -> Vec<u8> {
        let mut text = if self.key == "csv" { csv(people).into_bytes() } else { ndjson(people) };
        assert_eq!(text.pop(), Some(b'\n'));
        self.pack.map_or(text.clone(), |pack| pack(&text))
    }

    /// How many bytes an answer has that breaks where a row ends, or at a half where rows have no such ends.
    pub fn half(&self, whole: &[u8]) -> usize {
        let half = whole.len() / 2;
        whole[..half].iter().rposition(|byte| *byte == b'\n').map_or(half, |at| at + 1)
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    packed_by(flate2::Compression::fast(), text)
}

/// As it is, but for what stands around it: to pack so much takes long.
fn stored(text: &[u8]) -> Vec<u8> {
    packed_by(flate2::Compression::none(), text)
}

fn packed_by(compression: flate2::Compression, text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), compression);
    encoder.write_all(text).expect("it can be packed");
    encoder.finish().expect("it can be finished")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 1).expect("it can be packed")
}

fn huge_text(id: u32) -> String {
    format!("{}{id:08}", "x".repeat(WIDTH - 8))
}

fn huge_csv(rows: u32) -> String {
    let row = |id: u32| format!("{id},{}\n", huge_text(id));
    std::iter::once("id,t\n".to_owned()).chain((0..rows).map(row)).collect()
}

fn huge_ndjson(rows: u32) -> String {
    (0..rows).map(|id| format!("{{\"id\":{id},\"t\":\"{}\"}}\n", huge_text(id))).collect()
}

pub fn huge_batches(rows: u32) -> Vec<RecordBatch> {
    const ROWS: u32 = 1_000;
    let batch = |first: u32| {
        let ids = first..rows.min(first + ROWS);
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(huge_text)));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter(ids.map(i64::from)));
        parquet::batch(vec![("id", ids), ("t", texts)])
    };
    (0..rows).step_by(ROWS as usize).map(batch).collect()
}

fn huge_parquet(rows: u32) -> Vec<u8> {
    in_parquet(&huge_batches(rows))
}

/// Plain, so that a file is as long as its rows, in groups of 4,000 rows.
pub fn in_parquet(batches: &[RecordBatch]) -> Vec<u8> {
    let plain = WriterProperties::builder().set_dictionary_enabled(false);
    let plain = plain.set_max_row_group_row_count(Some(4_000)).build();
    let writer = ArrowWriter::try_new(Vec::new(), schema(batches), Some(plain));
    let mut writer = writer.expect("a writer");
    for batch in batches {
        writer.write(batch).expect("the rows can be written");
    }
    writer.into_inner().expect("the footer can be written")
}

fn in_file(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &schema(batches)).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("the rows can be written");
    }
    writer.finish().expect("the footer can be written");
    writer.into_inner().expect("it is finished")
}

fn in_stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &schema(batches)).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("the rows can be written");
    }
    writer.finish().expect("the marker can be written");
    writer.into_inner().expect("it is finished")
}

fn schema(batches: &[RecordBatch]) -> SchemaRef {
    batches[0].schema()
}
