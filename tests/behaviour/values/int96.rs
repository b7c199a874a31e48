//! Times as Spark, Hive and Impala wrote them for years: Parquet's INT96, a day and the nanoseconds of it, of any year.

use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{Int64Type, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::cell::{Cell, Day, SECOND};
use super::line::Line;

/// 1970-01-01 as a Julian day.
const EPOCH: i64 = 2_440_588;

fn write(folder: &Path, times: &[(Day, i128)]) {
    let schema = "message schema { required int64 id; required int96 v; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = std::fs::File::create(folder.join("a.parquet")).expect("a file can be made");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let ids: Vec<i64> = (0..).take(times.len()).collect();
    let mut column = group.next_column().expect("a column").expect("the first");
    column.typed::<Int64Type>().write_batch(&ids, None, None).expect("the column can be written");
    column.close().expect("the column can be written");
    let times: Vec<Int96> = times.iter().map(|(day, rest)| int96(*day, *rest)).collect();
    let mut column = group.next_column().expect("a column").expect("the second");
    column.typed::<Int96Type>().write_batch(&times, None, None).expect("the column can be written");
    column.close().expect("the column can be written");
    group.close().expect("the rows can be written");
    writer.close().expect("the footer can be written");
}

fn int96(day: Day, nanoseconds: i128) -> Int96 {
    let julian = u32::try_from(day.number() + EPOCH).expect("a day after 4713 BC");
    let nanoseconds = u64::try_from(nanoseconds).expect("a time of the day");
    let low = u32::try_from(nanoseconds & 0xffff_ffff).expect("32 bits");
    let high = u32::try_from(nanoseconds >> 32).expect("32 bits");
    let mut int96 = Int96::new();
    int96.set_data(low, high, julian);
    int96
}

#[test]
fn times_of_every_year_arrive_exactly_from_int96_too_e6() {
    let times = [
        (Day::new(2013, 1, 1), 5 * 3600 * SECOND + 123_456_000),
        (Day::new(9999, 12, 31), 86_399 * SECOND),
        (Day::new(1, 1, 1), 0),
        (Day::new(1969, 12, 31), 1_000),
    ];
    let line = Line::new(&["id"]);
    write(line.folder(), &times);
    let pass = line.pass();
    assert_eq!(pass.sent.len(), times.len());
    for (row, (day, time)) in times.into_iter().enumerate() {
        let json = pass.sent[row].split_once("\"v\":").expect("a field").1.trim_end_matches('}');
        let data_type = arrow::datatypes::DataType::Null;
        Cell::Moment(day, time).check(&data_type, json).expect("it is the time in the file");
    }
    assert_eq!(line.pass().unchanged, 4);
}
