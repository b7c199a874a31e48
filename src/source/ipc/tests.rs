//! What is read of Arrow files as they should be, of those that are cut, and of those that are damaged anywhere.

use std::path::Path;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Decimal128Array,
    DictionaryArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, NullArray, RecordBatch, RunArray, StringArray, StringViewArray,
    StructArray, TimestampMicrosecondArray, UnionArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int8Type, Int32Type, UnionFields};
use arrow::ipc::CompressionType;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::executor::block_on;

use super::super::definition::SchemaRule;
use super::super::grouped::{Grouped as _, GroupedTable};
use super::sample::{fact, table};
use super::*;

/// Rows of every kind of layout, some of them NULL.
fn batch(words: [&str; 3]) -> RecordBatch {
    let [one, two, three] = words;
    let texts = || vec![Some(one), None, Some(two), Some(three)];
    let lists = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(7)])];
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-2), None, Some(i32::MAX)]));
    let views: ArrayRef = Arc::new(StringViewArray::from(texts()));
    let members = Fields::from(vec![
        Field::new("i", DataType::Int32, true),
        Field::new("v", DataType::Utf8View, true),
    ]);
    let nulls = Some(vec![true, true, false, true].into());
    let structs = StructArray::new(members, vec![Arc::clone(&ints), Arc::clone(&views)], nulls);
    let ends = Int32Array::from(vec![3, 4]);
    let runs = RunArray::<Int32Type>::try_new(&ends, &StringArray::from(vec![one, two])).unwrap();
    let decimals = Decimal128Array::from(vec![Some(150), None, Some(-1), Some(0)]);
    let times = TimestampMicrosecondArray::from(vec![Some(0), Some(1), None, Some(-1)]);
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\xff\x00"), None, Some(b""), Some(b"x")];
    let fixed = vec![Some([1_u8; 3]), None, Some([2; 3]), Some([3; 3])].into_iter();
    RecordBatch::try_from_iter_with_nullable([
        ("i", ints, true),
        ("v", views, true),
        ("t", Arc::new(StringArray::from(texts())) as ArrayRef, true),
        ("l", Arc::new(LargeStringArray::from(texts())), true),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])), true),
        ("d", Arc::new(texts().into_iter().collect::<DictionaryArray<Int8Type>>()), true),
        ("n", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)), true),
        ("s", Arc::new(structs), true),
        ("r", Arc::new(runs), true),
        ("m", Arc::new(decimals.with_precision_and_scale(9, 2).unwrap()), true),
        ("at", Arc::new(times.with_timezone("UTC")), true),
        ("y", Arc::new(BinaryArray::from(bytes)), true),
        (
            "x",
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 3).unwrap()),
            true,
        ),
        ("f", Arc::new(Float64Array::from(vec![1.5, f64::NAN, -0.0, 1e300])), true),
        ("z", Arc::new(NullArray::new(4)), true),
    ])
    .unwrap()
}

fn options(compression: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(compression).unwrap()
}

fn as_file(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer =
        FileWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn as_stream(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

type Write = fn(&[RecordBatch], IpcWriteOptions) -> Vec<u8>;

const BOTH: [Write; 2] = [as_file, as_stream];

/// The batches of a file with these bytes, of the columns asked for.
fn read_of(bytes: &[u8], columns: Option<Vec<usize>>) -> Result<Vec<RecordBatch>, String> {
    read_changed(bytes, columns, 3, |_| ())
}

/// As `read_of`, in batches of so many rows at most, of a file that is changed once its columns are known.
fn read_changed(
    bytes: &[u8],
    columns: Option<Vec<usize>>,
    batch_size: usize,
    change: impl FnOnce(&Path),
) -> Result<Vec<RecordBatch>, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (fact, table) = (fact(file.path()), table(file.path()));
    let told = |error: Error| error.to_string();
    let (opened, ..) = block_on(open(&table, &[fact], None)).map_err(told)?;
    let wanted = GroupedTable::new("t", opened.clone(), None).unwrap();
    let wanted = Arc::new(wanted.wanted(columns.as_ref()).unwrap());
    change(file.path());
    block_on(opened.read(vec![0], wanted, batch_size).try_collect()).map_err(told)
}

fn read(bytes: &[u8]) -> Result<Vec<RecordBatch>, String> {
    read_of(bytes, None)
}

/// All rows in one batch.
fn whole(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}

#[test]
fn every_layout_is_read_as_it_was_written_in_both_formats_packed_or_not() {
    let long = "a text that is longer than twelve bytes";
    let batches = [batch(["a", long, ""]), batch([long, "b", "ü"])];
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        let stream = options(compression).with_dictionary_handling(DictionaryHandling::Delta);
        // A dictionary cannot be replaced in a file.
        let file = as_file(&batches[..1], options(compression));
        for (bytes, written) in [(file, &batches[..1]), (as_stream(&batches, stream), &batches)] {
            let found = read(&bytes).unwrap();
            assert!(found.iter().all(|batch| batch.num_rows() <= 3));
            // A dictionary may have its values in another order.
            let shown = |batches: &[RecordBatch]| {
                let options = FormatOptions::default().with_null("~");
                let mut shown = Vec::new();
                for column in whole(batches).columns() {
                    let values = ArrayFormatter::try_new(column, &options).unwrap();
                    shown.extend((0..column.len()).map(|row| values.value(row).to_string()));
                }
                shown
            };
            assert_eq!(shown(&found), shown(written));
            let some = read_of(&bytes, Some(vec![7, 0])).unwrap();
            let expected = written.iter().map(|batch| batch.project(&[7, 0]).unwrap());
            assert_eq!(shown(&some), shown(&expected.collect::<Vec<_>>()));
            let none = read_of(&bytes, Some(vec![])).unwrap();
            assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 4 * written.len());
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_in_both_formats() {
    let small = || batch(["a", "b", "c"]).project(&[0, 1, 5]).unwrap();
    for write in BOTH {
        for compression in [None, Some(CompressionType::ZSTD)] {
            let bytes = write(&[small()], options(compression));
            assert_eq!(whole(&read(&bytes).unwrap()).num_rows(), 4);
            for length in 0..bytes.len() {
                let said = read(&bytes[..length]).expect_err("it is cut");
                assert!(said.contains("table `t`: file `/"), "{length}: {said}");
            }
            let mut longer = bytes.clone();
            longer.extend_from_slice(&bytes[bytes.len() - 8..]);
            read(&longer).expect_err("something is behind its end");
        }
    }
    let stream = as_stream(&[batch(["a", "b", "c"])], options(None));
    let said = read(&stream[..stream.len() - 8]).unwrap_err();
    assert!(said.contains("has no marker at its end, so that it may be cut"), "{said}");
    let file = as_file(&[batch(["a", "b", "c"])], options(None));
    let said = read(&file[..file.len() - 8]).unwrap_err();
    assert!(said.contains("has no footer: it is cut or not yet written"), "{said}");
}

/// A library that is given such files panics, or asks for as much memory as they say.
#[test]
fn damage_anywhere_is_an_error_or_another_value_and_never_the_end_of_the_process() {
    let batches = [batch(["canary one", "canary two, and a good deal longer", "c"])
        .project(&[1, 2, 5, 6, 7, 8, 9, 14])
        .unwrap()];
    let (lz4, zstd) = (Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD));
    for (write, compression) in [(as_file as Write, None), (as_stream, lz4), (as_file, zstd)] {
        let bytes = write(&batches, options(compression));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= [0x01, 0x40, 0xff][place % 3];
            match read(&damaged) {
                Ok(found) => {
                    let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
                    assert_eq!(rows, 4, "at {place}");
                }
                Err(said) => assert!(!said.contains("canary"), "{place}: {said}"),
            }
        }
    }
}

#[test]
fn a_footer_that_is_damaged_loses_no_record_batch_and_reads_none_twice() {
    let numbers = |first: i64| {
        let numbers = Int64Array::from_iter_values(first..first + 4);
        RecordBatch::try_from_iter([("i", Arc::new(numbers) as ArrayRef)]).unwrap()
    };
    let batches = [numbers(0), numbers(10), numbers(20)];
    let bytes = as_file(&batches, options(None));
    let end = bytes.len() - 10;
    let length = i32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
    let mut read_whole = 0;
    for place in end - usize::try_from(length).unwrap()..end {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            let Ok(found) = read(&damaged) else { continue };
            let is_same = found.first().is_some_and(|it| it.schema() == batches[0].schema());
            assert!(!found.is_empty(), "at {place}: no rows");
            if is_same {
                assert_eq!(
                    whole(&found),
                    whole(&batches),
                    "at {place} of {} bit {bit}, footer {length}",
                    bytes.len()
                );
                read_whole += 1;
            }
        }
    }
    assert!(read_whole > 0, "what says nothing of the rows may be damaged");
    // A footer that names the first record batch in the place of the second one.
    let place_of = |offset: i64| {
        let block = offset.to_le_bytes();
        (end - usize::try_from(length).unwrap()..end - 8)
            .find(|at| bytes[*at..*at + 8] == block)
            .expect("the footer has it")
    };
    let footer = arrow::ipc::root_as_footer(&bytes[end - usize::try_from(length).unwrap()..end]);
    let offsets: Vec<i64> =
        footer.unwrap().recordBatches().unwrap().iter().map(|block| block.offset()).collect();
    let mut damaged = bytes.clone();
    let place = place_of(offsets[1]);
    damaged[place..place + 8].copy_from_slice(&offsets[0].to_le_bytes());
    assert!(read(&damaged).unwrap_err().contains("is damaged"));
}

#[test]
fn what_is_no_arrow_file_or_of_another_kind_is_told_apart() {
    let stream = as_stream(&[batch(["a", "b", "c"])], options(None));
    let end = stream.len() - 8;
    let two = RecordBatch::try_from_iter([("a", batch(["", "", ""]).column(0).clone())]).unwrap();
    let fields = [two.schema().field(0).clone(), two.schema().field(0).clone()];
    let columns = vec![two.column(0).clone(), two.column(0).clone()];
    let twice = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap();
    for (bytes, words) in [
        (vec![], "is empty"),
        (b"id,name\n1,x\n".to_vec(), "is no Arrow file"),
        (b"FEA1 and more".to_vec(), "version 1 of Feather"),
        (b"ARROW1\0\0".to_vec(), "has no footer"),
        ([&stream[..end], &stream].concat(), "is damaged"),
        ([&stream[..], &stream[end..]].concat(), "goes on behind the marker of its end"),
        (as_file(&[twice], options(None)), "has two columns named `a`"),
    ] {
        let said = read(&bytes).unwrap_err();
        assert!(said.contains(words), "no `{words}` in {said}");
    }
}

#[test]
fn more_than_may_be_in_memory_is_refused_before_there_is_room_made_for_it() {
    let batch = RecordBatch::try_from_iter([(
        "t",
        Arc::new(StringArray::from(vec!["x".repeat(999)])) as ArrayRef,
    )]);
    let bytes = as_file(&[batch.unwrap()], options(Some(CompressionType::ZSTD)));
    let length = 999_u64.to_le_bytes();
    let place = bytes.windows(8).rposition(|window| window == length).expect("it stands there");
    let mut greedy = bytes.clone();
    greedy[place..place + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let said = read(&greedy).unwrap_err();
    assert!(said.contains("more than 1 GiB") && said.contains("smaller record batches"), "{said}");
}

#[test]
fn what_is_given_on_does_not_hold_the_whole_record_batch() {
    let texts = || (0..30_000).map(|row| format!("text beyond twelve bytes {row}"));
    let ints = Int32Array::from_iter_values(0..30_000);
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts()));
    let batch = [("t", texts), ("i", Arc::new(ints)), ("v", views)];
    let bytes = as_file(&[RecordBatch::try_from_iter(batch).unwrap()], options(None));
    let found = read(&bytes).unwrap();
    assert_eq!(found.len(), 10_000);
    let most = found.iter().map(RecordBatch::get_array_memory_size).max().unwrap();
    assert!(most < 4_000, "{most} bytes for three rows");
}

#[test]
fn a_dictionary_is_the_one_that_was_said_last_before_its_rows() {
    let texts = |words: [&str; 3]| batch(words).project(&[5]).unwrap();
    let batches = [texts(["a", "b", "c"]), texts(["d", "e", "d"])];
    let found = read(&as_stream(&batches, options(None))).unwrap();
    let found = whole(&found);
    let found = arrow::compute::cast(found.column(0), &DataType::Utf8).unwrap();
    let found: Vec<_> = found.as_string::<i32>().iter().map(|text| text.unwrap_or("~")).collect();
    assert_eq!(found, ["a", "~", "b", "c", "d", "~", "e", "d"]);
    assert!(!found.is_empty() && batches[0].column(0).is_nullable());
}

#[test]
fn wide_rows_are_given_on_in_batches_of_fewer_rows() {
    let texts = || (0..100).map(|_| "x".repeat(200_000));
    let plain: ArrayRef = Arc::new(StringArray::from_iter_values(texts()));
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts()));
    for column in [plain, views] {
        let bytes = as_file(&[RecordBatch::try_from_iter([("t", column)]).unwrap()], options(None));
        let found = read_changed(&bytes, None, 8_192, |_| ()).unwrap();
        assert_eq!(found.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [64, 36]);
    }
}

#[test]
fn a_file_that_is_another_one_once_its_columns_are_known_is_told_as_that() {
    let of = |name: &str, column: ArrayRef| {
        as_file(&[RecordBatch::try_from_iter([(name, column)]).unwrap()], options(None))
    };
    let ints = || Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef;
    let bytes = of("a", ints());
    let floats = of("a", Arc::new(Float32Array::from(vec![1.0, 2.0])));
    let longer = [bytes.as_slice(), &bytes[bytes.len() - 10..]].concat();
    let cut = bytes[..bytes.len() - 8].to_vec();
    for other in [of("b", ints()), floats, longer, cut, vec![]] {
        let said = read_changed(&bytes, None, 3, |path| std::fs::write(path, &other).unwrap());
        assert!(said.as_ref().is_err_and(|it| it.contains("changed during the read")), "{said:?}");
    }
    let kept = read_changed(&bytes, None, 3, |path| std::fs::write(path, &bytes).unwrap());
    assert_eq!(kept.unwrap()[0].num_rows(), 2);
}

#[test]
fn a_type_that_is_not_known_here_is_refused_by_the_name_of_its_column() {
    let members = UnionFields::try_new([0], [Field::new("i", DataType::Int32, true)]).unwrap();
    let ints = Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef;
    let union = UnionArray::try_new(members, vec![0, 0].into(), None, vec![ints]).unwrap();
    let union: ArrayRef = Arc::new(union);
    for write in BOTH {
        let bytes =
            write(&[RecordBatch::try_from_iter([("u", union.clone())]).unwrap()], options(None));
        let said = read(&bytes).unwrap_err();
        assert!(said.contains("has a column `u` of a type that is not known here"), "{said}");
    }
}

#[test]
fn a_file_of_the_first_versions_of_arrow_is_told_as_that() {
    let options = IpcWriteOptions::try_new(8, true, MetadataVersion::V4).unwrap();
    let said =
        read(&as_file(&[batch(["a", "b", "c"]).project(&[0]).unwrap()], options)).unwrap_err();
    assert!(said.contains("a version of Arrow before 0.15"), "{said}");
}

/// All dictionaries of a file are read before the first row: the last one said would be that of all rows.
#[test]
fn a_dictionary_that_a_file_says_anew_is_refused() {
    let texts = |words: &[&str]| {
        let words: DictionaryArray<Int8Type> = words.iter().copied().collect();
        RecordBatch::try_from_iter([("d", Arc::new(words) as ArrayRef)]).unwrap()
    };
    let batches = [texts(&["a", "b"]), texts(&["a", "b", "c"])];
    let delta = options(None).with_dictionary_handling(DictionaryHandling::Delta);
    let mut bytes = as_file(&batches, delta);
    assert_eq!(whole(&read(&bytes).unwrap()).num_rows(), 5, "more values of it are well");
    let end = bytes.len() - 10;
    let length = i32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
    let footer = bytes[end - usize::try_from(length).unwrap()..end].to_vec();
    let footer = arrow::ipc::root_as_footer(&footer).unwrap();
    let second = footer.dictionaries().unwrap().get(1).offset();
    // Behind the length of its message; the one byte that tells whether the values come behind those that are known.
    let begin = usize::try_from(second).unwrap() + 8;
    let message = arrow::ipc::root_as_message(&bytes[begin..]).unwrap();
    let said = message.header_as_dictionary_batch().unwrap();
    assert!(said.isDelta());
    let place = said._tab.vtable().get(arrow::ipc::DictionaryBatch::VT_ISDELTA);
    let place = begin + said._tab.loc() + usize::from(place);
    bytes[place] = 0;
    assert!(read(&bytes).unwrap_err().contains("is damaged"));
}

#[test]
fn a_dictionary_that_nobody_wants_is_not_unpacked() {
    let texts: DictionaryArray<Int8Type> = [Some("x".repeat(4_000).as_str())].into_iter().collect();
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let columns = [("d", Arc::new(texts) as ArrayRef), ("i", ints)];
    let one = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = as_file(&[one], options(Some(CompressionType::ZSTD)));
    let magic = 0xfd2f_b528_u32.to_le_bytes();
    let place = bytes.windows(4).position(|window| window == magic).expect("it is packed");
    bytes[place] ^= 0xff;
    assert!(read(&bytes).unwrap_err().contains("is damaged"));
    let found = read_of(&bytes, Some(vec![1])).unwrap();
    assert_eq!(found[0].column(0).as_primitive::<Int32Type>().values(), &[7]);
}

/// The rows of some files of one table, whose columns may differ.
fn united(files: &[Vec<u8>], each: usize) -> Result<Vec<RecordBatch>, String> {
    let folder = tempfile::tempdir().unwrap();
    let facts = files.iter().enumerate().map(|(number, bytes)| {
        let path = folder.path().join(format!("{number}.arrow"));
        std::fs::write(&path, bytes).unwrap();
        fact(&path)
    });
    let facts: Vec<_> = facts.collect();
    let table = Table { schema: SchemaRule::Union, ..table(folder.path()) };
    let told = |error: Error| error.to_string();
    let (opened, ..) = block_on(open(&table, &facts, None)).map_err(told)?;
    let wanted = GroupedTable::new("t", opened.clone(), None).unwrap();
    let wanted = Arc::new(wanted.wanted(None).unwrap());
    let files = (0..files.len()).collect();
    block_on(opened.read(files, wanted, each).try_collect()).map_err(told)
}

#[test]
fn a_decimal_with_more_digits_than_its_type_is_refused_where_it_is_made_wider() {
    use arrow::array::Decimal32Array;
    let file = |values: Vec<i32>, precision, scale| {
        let values =
            Decimal32Array::from(values).with_data_type(DataType::Decimal32(precision, scale));
        let batch = RecordBatch::try_from_iter([("m", Arc::new(values) as ArrayRef)]).unwrap();
        as_file(&[batch], options(None))
    };
    let wider = file(vec![1], 9, 6);
    let found = whole(&united(&[file(vec![99, -99], 2, 0), wider.clone()], 10).unwrap());
    let kind = DataType::Decimal128(9, 6);
    assert_eq!(found.column(0).data_type(), &kind);
    let shown = arrow::compute::cast(found.column(0), &DataType::Utf8).unwrap();
    let shown: Vec<_> = shown.as_string::<i32>().iter().flatten().collect();
    assert_eq!(shown, ["99.000000", "-99.000000", "0.000001"]);
    let said = united(&[file(vec![99, 100], 2, 0), wider], 10).unwrap_err();
    assert!(said.contains("a decimal in column `m` with more digits than"), "{said}");
}
