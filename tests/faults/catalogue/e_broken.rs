//! E3. Reads that break off, and files that change or vanish: whatever is missing then is no proof that it is gone.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::Int64Array;

use super::Scenario;
use super::e_shrink::{FORMATS, assert_none_deleted, open_guard};
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::parquet;
use crate::support::people::{Person, csv, key, keys, people};
use crate::support::table::Mirror;
use crate::support::workspace::{Setup, packed};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E3", "a Parquet file that was cut deletes nothing", cut_parquet),
    Scenario::new("E3", "a Parquet file that breaks in its middle deletes nothing", broken_group),
    Scenario::new("E3", "a CSV file that was cut within a record deletes nothing", cut_csv),
    Scenario::new("E3", "a gzip file that was cut is never read as a whole one", cut_gzip),
    Scenario::new(
        "E3",
        "a value that cannot be cast fails the run and is not told",
        cannot_be_cast,
    ),
    Scenario::new("E3", "a file replaced during the read proves nothing", replaced),
    Scenario::new("E3", "a file appended to during the read proves nothing", appended),
    Scenario::new("E3", "a file truncated during the read proves nothing", truncated),
    Scenario::new("E3", "a file written over during the read proves nothing", written_over),
    Scenario::new("E3", "a file removed during the read proves nothing", removed),
    Scenario::new("E3", "a file that joins the set during the read proves nothing", joined),
    Scenario::new("E3", "a long CSV cut while its first rows are sent deletes nothing", long_csv),
    Scenario::new(
        "E3",
        "a long Parquet cut while its first rows are sent deletes nothing",
        long_parquet,
    ),
    Scenario::new(
        "E3",
        "what is in doubt waits for a read that does not break, and keeps its key",
        in_doubt,
    ),
    Scenario::new("E3", "a file missing of the last complete set holds the deletes", missing_file),
    Scenario::new("E3", "a partition missing of the last set holds the deletes", missing_partition),
    Scenario::new("E3", "a rewritten set without its marker holds the deletes", rewritten),
];

/// A case whose first run delivered all persons of the file, and whose guard holds nothing by number.
fn delivered(scenario: &Scenario, setup: Setup, all: &[Person]) -> Case {
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(all);
    case.sync(&[]).expect(0, "succeeded", &[]);
    case
}

/// A run over what the file holds now fails, names the file, and deletes nothing.
#[track_caller]
fn fails(case: &mut Case, words: &[&str]) {
    let report = case.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
    report.finished.expect_printed(words);
    assert_none_deleted(case);
}

fn cut_parquet(scenario: &Scenario) {
    let all = people(1..=350);
    let mut case = delivered(scenario, open_guard(FORMATS[1]), &all);
    let path = case.workspace.path().join(FORMATS[1]);
    let whole = std::fs::read(&path).expect("the file can be read");
    for length in [whole.len() - 1, whole.len() - 8, whole.len() / 2, 12, 3] {
        std::fs::write(&path, &whole[..length]).expect("the file can be written");
        case.written(&format!("cut at {length} of {}", whole.len()), &all);
        fails(&mut case, &[FORMATS[1]]);
    }
    // The end is whole, and some of the middle is not there.
    let mut spliced = whole.clone();
    spliced.drain(whole.len() / 4..whole.len() / 2);
    std::fs::write(&path, &spliced).expect("the file can be written");
    case.written("without its second quarter", &all);
    fails(&mut case, &[]);
    case.write(&people(11..=350));
    case.judge();
}

fn broken_group(scenario: &Scenario) {
    let mut case = delivered(scenario, open_guard(FORMATS[1]), &people(1..=1_000));
    let mut next = people(101..=2_000);
    next.iter_mut().for_each(|person| person.counter = 2);
    case.write(&next);
    let path = case.workspace.path().join(FORMATS[1]);
    let length = std::fs::metadata(&path).expect("it is there").len();
    let mut file = std::fs::File::options().write(true).open(&path).expect("it can be opened");
    file.seek(SeekFrom::Start(length / 2)).expect("it is long enough");
    file.write_all(&[0xff; 4096]).expect("it can be written");
    case.written("a page in its middle is overwritten", &next);
    let report = case.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
    assert!(report.count("delivered") > 0, "it broke in its middle: {report:#?}");
    assert_none_deleted(&case);
    case.write(&next);
    case.judge();
}

fn cut_csv(scenario: &Scenario) {
    let all = people(1..=40);
    let mut case = delivered(scenario, open_guard(FORMATS[0]), &all);
    let text = csv(&all);
    let record = text.find("\n20,").expect("it has a record of 20") + 1;
    let address = text[record..].find("canary").expect("a record has an address") + record;
    // Behind the key, before and behind a comma; the last is the record of 20 without its address.
    for length in [record + 1, record + 2, record + 5, address - 1] {
        case.workspace.write(FORMATS[0], &text[..length]);
        case.written(&format!("cut behind `{}`", &text[record..length]), &all);
        fails(&mut case, &[FORMATS[0]]);
    }
    let quoted = text.replace("canary", "\"canary").replace(".org", ".org\"");
    let within = quoted.find(".20@").expect("it has an address of 20");
    case.workspace.write(FORMATS[0], &quoted[..within]);
    case.written("cut within quotes", &all);
    fails(&mut case, &[FORMATS[0]]);
    case.write(&people(5..=40));
    case.judge();
}

fn cut_gzip(scenario: &Scenario) {
    const NAME: &str = "people.csv.gz";
    let mut case = Case::new(&scenario.replay(), open_guard(NAME));
    let path = case.workspace.path().join(NAME);
    let all = people(1..=40);
    case.write(&all);
    case.sync(&[]).expect(0, "succeeded", &[]);
    let whole = packed(&people(9..=40));
    for length in [whole.len() - 1, whole.len() - 8, whole.len() / 2] {
        std::fs::write(&path, &whole[..length]).expect("the file can be written");
        case.written(&format!("cut at {length} of {}", whole.len()), &all);
        let report = case.sync(&[]);
        assert_eq!(report.json["outcome"], "failed", "a file that was cut was read");
        assert_none_deleted(&case);
    }
    case.write(&people(9..=40));
    case.judge();
}

/// The model fails on one cell as its rows are read, and the cell is a canary (I12).
fn cannot_be_cast(scenario: &Scenario) {
    let cast =
        "CASE WHEN counter = 3 THEN CAST(CAST(email AS BIGINT) AS VARCHAR) ELSE checksum END";
    for location in FORMATS {
        let sql = format!("SELECT id, counter, {cast} AS checksum, email FROM people");
        let mut case = delivered(scenario, Setup { sql, ..open_guard(location) }, &people(1..=20));
        let mut next = people(5..=40);
        next[30].counter = 3;
        case.write(&next);
        for log in ["counterflow=debug", "off"] {
            let started = case.spawn_with(&[], &[("RUST_LOG", log)]);
            let finished = case.end(started).expect_code(1);
            finished.expect_printed(&["`people`", "cannot be cast to Int64", "try_cast"]);
            assert_none_deleted(&case);
        }
        for command in [&["status"][..], &["runs"], &["plan", "people"]] {
            case.run(command);
        }
        next[30].counter = 2;
        case.write(&next);
        case.judge();
    }
}

/// How a file changes while it is read, and what the source holds then.
type Change = fn(&mut Case, &Path);

/// Plays a change of the file while a run over it is under way, which sends and has not proven its end; the run has
/// failed then, and 20 keys that it did not meet are still there.
#[track_caller]
fn during_the_read(scenario: &Scenario, location: &str, change: Change) {
    let setup = Setup { concurrency: 1, batch: 5, ..open_guard(location) };
    let mut case = delivered(scenario, setup, &people(1..=60));
    case.write(&people(21..=200));
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::ApplyThenHold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, SOON);
    let name = location.replace('*', "1");
    let path = case.workspace.path().join(name);
    change(&mut case, &path);
    case.oracle.release();
    let finished = case.end(started);
    case.assert_unbroken();
    finished.expect_code(1).expect_printed(&["did not prove its end", "nothing was deleted"]);
    assert_none_deleted(&case);
    assert!(case.oracle.record(&key(1)).is_some(), "{}", case.print());
    for joined in ["part-new.csv", "part-new.parquet"] {
        // It is there in one case only.
        let _ = std::fs::remove_file(path.with_file_name(joined));
    }
    case.write(&people(11..=190));
    case.judge();
}

fn replaced(scenario: &Scenario) {
    for location in FORMATS {
        during_the_read(scenario, location, |case, _| case.write(&people(1..=90)));
    }
}

fn appended(scenario: &Scenario) {
    for location in FORMATS {
        during_the_read(scenario, location, |case, path| {
            let mut file = std::fs::File::options().append(true).open(path).expect("it is there");
            let more = csv(&people(201..=210));
            let rows = more.split_once('\n').map_or("", |(_, rows)| rows);
            file.write_all(rows.as_bytes()).expect("it can be written");
            case.written("ten rows were appended", &people(21..=210));
        });
    }
}

fn truncated(scenario: &Scenario) {
    for location in FORMATS {
        during_the_read(scenario, location, |case, path| {
            let text = csv(&people(21..=200));
            let length = text.find("\n150,").expect("it has a record of 150") + 1;
            let file = std::fs::File::options().write(true).open(path).expect("it is there");
            file.set_len(length as u64).expect("it can be cut");
            case.written("cut behind 149", &people(21..=200));
        });
    }
}

fn written_over(scenario: &Scenario) {
    for location in FORMATS {
        during_the_read(scenario, location, |case, path| {
            let bytes = std::fs::read(path).expect("it can be read");
            let mut file = std::fs::File::options().write(true).open(path).expect("it is there");
            file.write_all(&bytes).expect("it can be written");
            case.written("written over with the same bytes", &people(21..=200));
        });
    }
}

fn removed(scenario: &Scenario) {
    for location in FORMATS.into_iter().chain(["part-*.csv", "part-*.parquet"]) {
        during_the_read(scenario, location, |case, path| {
            std::fs::remove_file(path).expect("it is there");
            case.written("the file is gone", &people(21..=200));
        });
    }
}

fn joined(scenario: &Scenario) {
    for location in ["part-*.csv", "part-*.parquet"] {
        during_the_read(scenario, location, |case, path| {
            let ending = path.extension().and_then(|ending| ending.to_str()).expect("it has one");
            case.workspace.write_file(&format!("part-new.{ending}"), &people(1..=10));
            case.written("a file joined the set", &people((1..=10).chain(21..=200)));
        });
    }
}

/// Bytes of a row beside the columns that are read: few rows are a long file then.
const PADDING: usize = 64 << 10;

fn long_csv(scenario: &Scenario) {
    let sql = "SELECT id, counter, checksum, email FROM people".to_owned();
    let setup = Setup { concurrency: 1, sql, ..open_guard(FORMATS[0]) };
    let mut case = delivered(scenario, setup, &people(1..=40));
    // Sixteen times what the reader hands on at once; more than all that waits between it and the wire.
    let long = people(21..=1_200);
    let padding = "x".repeat(PADDING);
    let text = csv(&long).replace('\n', &format!(",{padding}\n"));
    let text = text.replacen(&padding, "padding", 1);
    case.workspace.write(FORMATS[0], &text);
    case.written("a long file", &long);
    let length = text.find("\n1100,").expect("it has a record of 1100") + 1;
    drop(text);
    cut_while_sending(&mut case, length as u64, "did not prove its end");
    case.write(&people(11..=100));
    case.judge();
}

fn long_parquet(scenario: &Scenario) {
    let sql = "SELECT id FROM people".to_owned();
    let setup = Setup { concurrency: 1, batch: 1_000, sql, ..open_guard(FORMATS[1]) };
    let mirror = Mirror::new(&scenario.replay(), &["id"], setup);
    let ids = |ids: Range<i64>| parquet::batch(vec![("id", Arc::new(Int64Array::from_iter(ids)))]);
    mirror.write_batch(&ids(1..41));
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[]);
    // Twice what may wait between the reader and the wire.
    mirror.write_batch(&ids(21..120_000));
    let path = mirror.workspace.path().join(FORMATS[1]);
    let whole = std::fs::read(&path).expect("it can be read");
    mirror.oracle.on_next(Fault::ApplyThenHold);
    let process = mirror.workspace.spawn_sync(&[]);
    mirror.oracle.wait_for_requests(2, SOON);
    let file = std::fs::File::options().write(true).open(&path).expect("it is there");
    file.set_len(whole.len() as u64 / 10).expect("it can be cut");
    mirror.oracle.release();
    let report = mirror.workspace.report(process).expect(1, "failed", &[("deletes", 0)]);
    let rows = report.count("rows_read");
    assert!(0 < rows && rows < 119_000, "it broke in its middle: {report:#?}");
    assert!(mirror.oracle.deletes().is_empty(), "I5: rows were deleted\n{}", mirror.oracle.print());
    std::fs::write(&path, &whole).expect("it can be written");
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 20)]);
    mirror.assert_at_rest();
    assert_eq!(mirror.oracle.deletes(), keys(1..=20));
    assert_eq!(mirror.oracle.table().len(), 120_000 - 21);
}

/// Cuts the file while the first of its rows are sent and the rest is not read.
#[track_caller]
fn cut_while_sending(case: &mut Case, length: u64, word: &str) {
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::ApplyThenHold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, SOON);
    let path = case.workspace.path().join(&case.workspace.setup.location);
    let file = std::fs::File::options().write(true).open(path).expect("it is there");
    file.set_len(length).expect("it can be cut");
    case.say(format!("cut at {length}"));
    case.oracle.release();
    let finished = case.end(started).expect_code(1).expect_printed(&[word]);
    let rows = finished.json()["tally"]["rows_read"].as_u64().expect("a count");
    let held = case.people().len() as u64;
    assert!(0 < rows && rows < held, "{rows} of {held} rows were read before the end");
    assert_none_deleted(case);
}

fn missing_file(scenario: &Scenario) {
    for location in ["part-*.csv", "part-*.parquet"] {
        let all = people(1..=60);
        let mut case = delivered(scenario, open_guard(location), &all);
        let path = case.workspace.path().join(location.replace('*', "2"));
        std::fs::remove_file(path).expect("the file is there");
        let left: Vec<Person> = all.iter().copied().filter(|one| one.id % 3 != 2).collect();
        case.written("one file of three is gone", &left);
        // A second bad read never passes because the first was bad too.
        for more in [&[][..], &[], &["--full"], &[]] {
            let report = case.sync(more);
            assert_none_deleted(&case);
            let report = report.expect(4, "partial", &[("held", 20), ("deleted", 0)]);
            assert!(report.json["holds"].to_string().contains("vanished_files"), "{report:#?}");
        }
        // It is back, and one of its rows is gone indeed.
        let back: Vec<Person> = all.iter().copied().filter(|one| one.id != 20).collect();
        case.write(&back);
        case.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deleted", 1)]);
        case.judge();
    }
}

fn missing_partition(scenario: &Scenario) {
    let setup = open_guard("day=*/people.csv");
    let mut case = Case::new(&scenario.replay(), setup);
    for remainder in 0..3 {
        let folder = case.workspace.path().join(format!("day={remainder}"));
        std::fs::create_dir(folder).expect("a folder can be made");
    }
    let all = people(1..=60);
    case.write(&all);
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 60)]);
    let aside = case.workspace.path().join("aside");
    let day = case.workspace.path().join("day=1");
    std::fs::rename(&day, &aside).expect("the folder is there");
    let left: Vec<Person> = all.iter().copied().filter(|one| one.id % 3 != 1).collect();
    case.written("one partition of three is gone", &left);
    for _ in 0..3 {
        let report = case.sync(&[]);
        assert_none_deleted(&case);
        report.expect(4, "partial", &[("held", 20), ("deleted", 0)]);
    }
    std::fs::rename(&aside, &day).expect("the folder can be put back");
    case.write(&all);
    case.judge();
}

fn rewritten(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), open_guard("part-*.parquet"));
    let table = "{ parquet: \"part-*.parquet\", rewritten: { marker: _SUCCESS } }";
    let config = case.workspace.config().replace("\"part-*.parquet\"", table);
    case.workspace.write("counterflow.yaml", &config);
    case.workspace.write("_SUCCESS", "");
    let all = people(1..=60);
    case.write(&all);
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 60)]);
    let rename = |case: &Case, from: &str, to: &str| {
        let at = |name: &str| case.workspace.path().join(name);
        std::fs::rename(at(from), at(to)).expect("the file is there");
    };
    // New names prove nothing, and a whole set is believed.
    for part in 0..3 {
        rename(&case, &format!("part-{part}.parquet"), &format!("part-new-{part}.parquet"));
    }
    case.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("held", 0)]);
    let left: Vec<Person> = all.iter().copied().filter(|one| one.id % 3 != 1).collect();
    for (from, to) in [("part-new-1.parquet", "aside"), ("_SUCCESS", "aside-too")] {
        rename(&case, from, to);
        case.written(&format!("without {from}"), &left);
        for _ in 0..2 {
            case.sync(&[]).expect(4, "partial", &[("held", 20), ("deleted", 0)]);
        }
    }
    // As many files again, and the marker is not there.
    case.workspace.write_file("part-more.parquet", &people(58..=58));
    case.written("a third file holds one row", &[left, people(58..=58)].concat());
    case.sync(&[]).expect(4, "partial", &[("held", 19), ("deleted", 0)]);
    assert_none_deleted(&case);
    for part in ["part-more.parquet", "part-new-0.parquet", "part-new-2.parquet"] {
        std::fs::remove_file(case.workspace.path().join(part)).expect("the file is there");
    }
    case.workspace.write("_SUCCESS", "");
    case.write(&all);
    case.judge();
}

/// Of a request without an answer a read that breaks off meets some records: alone they would be another request.
fn in_doubt(scenario: &Scenario) {
    let setup = Setup { repeat: "key", batch: 500, concurrency: 1, ..open_guard(FORMATS[0]) };
    let mut next = people(1..=30_000);
    let mut case = delivered(scenario, setup, &next);
    let changed = next.iter_mut().filter(|p| p.id <= 200 || (28_501..=28_700).contains(&p.id));
    changed.for_each(|person| person.counter = 2);
    case.write(&next);
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::ApplyThenHold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, SOON);
    case.kill(started);
    case.oracle.release();
    let text = csv(&next);
    let place = text.find("\n28400,").expect("it has a record of 28400");
    case.workspace.write(FORMATS[0], &text[..place + 4]);
    case.written("cut behind a half", &next);
    fails(&mut case, &[FORMATS[0]]);
    let (count, wanted) = (case.oracle.request_count(), before + 1);
    assert_eq!(count, wanted, "I7: a part was sent\n{}", case.print());
    case.write(&next);
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 400), ("requests", 1)]);
    let keys: Vec<_> = case.oracle.requests()[before..]
        .iter()
        .map(|request| request.sent.idempotency_key.clone())
        .collect();
    assert!(keys[0].is_some() && keys[0] == keys[1], "I7: {keys:?}\n{}", case.print());
    case.judge();
}
