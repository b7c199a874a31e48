//! E2 to E5 again, where a table is several files, or bytes are missing that nothing can miss.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use serde_json::json;

use super::Scenario;
use super::e_shrink::{FORMATS, assert_none_deleted, open_guard};
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::judge::Left;
use crate::support::parquet;
use crate::support::people::{Person, csv, people};
use crate::support::table::Mirror;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E2", "a CSV cut between two records meets the guard", cut_between_records),
    Scenario::new("E3", "a CSV cut within its last line holds the deletes", cut_within_last_line),
    Scenario::new("E3", "a CSV whose last line never ends is read as any other", endless_line),
    Scenario::new("E3", "a Parquet replaced while it is read mixes no rows", mixes_no_rows),
    Scenario::new("E3", "a file under another name with the same rows sends nothing", other_name),
    Scenario::new("E3", "a file that is empty of a set stops the run", empty_of_a_set),
    Scenario::new("E3", "a broken file of a set stops the deletes of all", broken_of_a_set),
    Scenario::new("E4", "files of one set with other columns are refused by name", other_columns),
    Scenario::new("E4", "a key column that is declared otherwise is refused", key_declared),
    Scenario::new("E5", "a key that is repeated in another file is found", repeated_elsewhere),
    Scenario::new("E5", "a key that is repeated far behind is found", repeated_far_behind),
    Scenario::new("E11", "values that travel around a ring of keys all arrive", ring),
];

const SETS: [&str; 2] = ["part-*.csv", "part-*.parquet"];

/// The path of one file of the set.
fn part(case: &Case, name: &str) -> std::path::PathBuf {
    case.workspace.path().join(case.workspace.setup.location.replace('*', name))
}

/// Writes people into one more file of the set.
fn write_part(case: &Case, name: &str, people: &[Person]) {
    case.workspace.write_file(&case.workspace.setup.location.replace('*', name), people);
}

fn cut_between_records(scenario: &Scenario) {
    let setup = Setup { max_deletes: None, ..open_guard(FORMATS[0]) };
    let mut case = Case::new(&scenario.replay(), setup);
    let all = people(1..=100);
    case.write(&all);
    case.sync(&[]).expect(0, "succeeded", &[]);
    let text = csv(&all);
    for id in [89, 50, 2] {
        let length = text.find(&format!("\n{id},")).expect("it has the record") + 1;
        case.workspace.write(FORMATS[0], &text[..length]);
        case.written(&format!("cut before {id}"), &people(1..id));
        let held = u64::from(101 - id);
        case.sync(&[]).expect(4, "partial", &[("held", held), ("deleted", 0)]);
    }
    // Nothing but the header is left.
    let header = text.find('\n').expect("it has a header") + 1;
    case.workspace.write(FORMATS[0], &text[..header]);
    case.written("cut behind the header", &[]);
    case.sync(&[]).expect(4, "partial", &[("held", 100), ("deleted", 0)]);
    assert!(case.oracle.deletes().is_empty(), "I13\n{}", case.print());
    case.write(&all);
    case.judge();
}

fn cut_within_last_line(scenario: &Scenario) {
    let by_id = |id: u32| format!("{id},plan {id}\n");
    let by_plan = |id: u32| format!("plan {id},{id}\n");
    let shapes: [(&str, &dyn Fn(u32) -> String); 2] =
        [("id,plan\n", &by_id), ("plan,id\n", &by_plan)];
    for (header, line) in shapes {
        let text = |last: u32| header.to_owned() + &(1..=last).map(line).collect::<String>();
        let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(FORMATS[0]));
        mirror.workspace.write(FORMATS[0], &text(1_250));
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[]);
        let whole = mirror.oracle.table();
        // A cut that takes no row away does not make the next one the way of the file.
        mirror.workspace.write(FORMATS[0], text(1_250).trim_end());
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("held", 0)]);
        // Before the line's end, and within its last field: where that is the key, another key stands there then.
        for bytes in [1, 2, 3] {
            let cut = text(1_240);
            mirror.workspace.write(FORMATS[0], &cut[..cut.len() - bytes]);
            for _ in 0..2 {
                let report = mirror.workspace.sync(&[]);
                assert_eq!(report.finished.code, Some(4), "{report:#?}");
                assert!(report.count("held") >= 10 && report.count("deleted") == 0, "{report:#?}");
                report.finished.expect_printed(&["ends within a line"]);
            }
        }
        assert!(
            mirror.oracle.deletes().is_empty(),
            "I5: rows were deleted\n{}",
            mirror.oracle.print()
        );
        mirror.workspace.write(FORMATS[0], &text(1_250));
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deletes", 0)]);
        assert_eq!(mirror.oracle.table(), whole);
        mirror.assert_at_rest();
    }
}

fn endless_line(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), open_guard(FORMATS[0]));
    for last in [30, 20, 25] {
        let all = people(1..=last);
        case.workspace.write(FORMATS[0], csv(&all).trim_end());
        case.written("without the last line's end", &all);
        case.sync(&[]).expect(0, "succeeded", &[("held", 0)]);
    }
    case.judge();
}

fn mixes_no_rows(scenario: &Scenario) {
    let setup = Setup { concurrency: 1, batch: 1_000, ..open_guard(FORMATS[1]) };
    let mirror = Mirror::new(&scenario.replay(), &["id"], setup);
    // Each row says the same number twice, so that a row of two files can be told.
    let rows = |count: i64, said: i64| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter(1..=count));
        let said: ArrayRef = Arc::new(Int64Array::from_iter((1..=count).map(|_| said)));
        parquet::batch(vec![("id", ids), ("first", Arc::clone(&said)), ("second", said)])
    };
    let path = mirror.workspace.path().join(FORMATS[1]);
    parquet::write(&path, &rows(120_000, 1_000_001), 2_000);
    let next = mirror.workspace.path().join("next");
    parquet::write(&next, &rows(119_990, 2_000_002), 2_000);
    mirror.oracle.on_next(Fault::ApplyThenHold);
    let process = mirror.workspace.spawn_sync(&[]);
    mirror.oracle.wait_for_requests(1, SOON);
    std::fs::rename(&next, &path).expect("a file can be renamed");
    mirror.oracle.release();
    mirror.workspace.report(process).expect(1, "failed", &[("deletes", 0)]);
    for (key, record) in mirror.oracle.table() {
        assert_eq!(record["first"], record["second"], "{key} is of two files");
    }
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[]);
    let table = mirror.oracle.table();
    assert_eq!(table.len(), 119_990);
    assert!(table.values().all(|record| record["second"] == 2_000_002));
    mirror.assert_at_rest();
}

fn other_name(scenario: &Scenario) {
    for location in SETS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        case.write(&people(1..=30));
        case.sync(&[]).expect(0, "succeeded", &[]);
        let (from, to) = (part(&case, "1"), part(&case, "one"));
        std::fs::rename(&from, &to).expect("the file is there");
        case.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("held", 0)]);
        std::fs::rename(&to, &from).expect("the file is there");
        case.judge();
    }
}

/// A set of which one file holds this instead: the run fails, and nobody is deleted, not even who left another file.
#[track_caller]
fn broken(scenario: &Scenario, location: &'static str, broken: impl Fn(&Path)) {
    let mut case = Case::new(&scenario.replay(), open_guard(location));
    let all = people(1..=900);
    case.write(&all);
    case.sync(&[]).expect(0, "succeeded", &[]);
    let left: Vec<Person> = all.iter().copied().filter(|one| one.id > 30).collect();
    case.write(&left);
    let path = part(&case, "1");
    broken(&path);
    case.written("one file of three is broken", &all);
    for _ in 0..2 {
        let report = case.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
        report.finished.expect_printed(&["part-1"]);
    }
    assert_none_deleted(&case);
    case.write(&left);
    case.sync(&[]).expect(0, "succeeded", &[("deleted", 30)]);
    case.judge();
}

fn empty_of_a_set(scenario: &Scenario) {
    for location in SETS {
        broken(scenario, location, |path| std::fs::write(path, "").expect("it can be written"));
    }
}

fn broken_of_a_set(scenario: &Scenario) {
    for location in SETS {
        broken(scenario, location, |path| {
            let bytes = std::fs::read(path).expect("it can be read");
            let length = bytes.len() - if location.ends_with(".csv") { 80 } else { 6 };
            std::fs::write(path, &bytes[..length]).expect("it can be written");
        });
    }
}

fn other_columns(scenario: &Scenario) {
    for location in SETS {
        let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(location));
        let columns = ["id", "plan"];
        let name = |part: &str| location.replace('*', part);
        let write = |file: &str, columns: &[&str], rows: serde_json::Value| {
            mirror.write_into(&name(file), columns, &rows);
        };
        write("0", &columns, json!([[1, "free"], [2, "pro"]]));
        write("1", &columns, json!([[3, "free"]]));
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
        let rows = json!([[1, "free"], [2, "pro"], [3, "free"]]);
        mirror.assert_holds(&columns, &rows);
        for (other, named) in [
            (&["id", "plan", "seats"][..], "seats"),
            (&["id"], "plan"),
            (&["id", "tier"], "column"),
            (&["ID", "plan"], "column"),
        ] {
            let value = |name: &&str| match *name {
                "plan" | "tier" => json!("free"),
                _ => json!(3),
            };
            write("1", other, json!([other.iter().map(value).collect::<Vec<_>>()]));
            mirror.refuses(&["sync", "people"], &[1, 2], &[named, "part-1"]);
        }
        write("1", &["plan", "id"], json!([["free", 3]]));
        mirror.assert_at_rest();
        mirror.assert_holds(&columns, &rows);
    }
}

fn key_declared(scenario: &Scenario) {
    let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(FORMATS[0]));
    let rows = json!([[1, "free"], [2, "pro"]]);
    mirror.follow(&["id", "plan"], &rows);
    let table = "{ csv: people.csv, columns: { id: VARCHAR } }";
    let changed = mirror.workspace.config().replace("\"people.csv\"", table);
    mirror.workspace.write("counterflow.yaml", &changed);
    mirror.refuses(&["sync", "people"], &[1], &["the key changed", "rebaseline"]);
    mirror.workspace.write_config();
    mirror.assert_at_rest();
    mirror.assert_holds(&["id", "plan"], &rows);
}

fn repeated_elsewhere(scenario: &Scenario) {
    for location in SETS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        case.write(&people(1..=30));
        case.sync(&[]).expect(0, "succeeded", &[]);
        // One that is known, one that is new, and twins that say the same.
        let twins = [Person::new(3, 2), Person::new(31, 1), Person::new(6, 1)];
        write_part(&case, "more", &twins);
        write_part(&case, "most", &[Person::new(31, 2)]);
        let mut all = people(1..=30);
        all.extend(twins);
        all.push(Person::new(31, 2));
        case.written("two files more", &all);
        for _ in 0..2 {
            let report = case.sync(&[]);
            let report = report.expect(3, "partial", &[("invalid", 6), ("upserts", 0)]);
            report.finished.expect_printed(&["`3`", "`6`", "`31`"]);
        }
        for name in ["more", "most"] {
            std::fs::remove_file(part(&case, name)).expect("the file is there");
        }
        case.write(&people(1..=31));
        case.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("deletes", 0)]);
        case.judge_leaving(&Left::default());
    }
}

fn repeated_far_behind(scenario: &Scenario) {
    for location in FORMATS {
        let setup = Setup { batch: 500, max_invalid: Some(10), ..open_guard(location) };
        let mirror = Mirror::new(&scenario.replay(), &["id"], setup);
        let rows = |last: &[i64]| -> serde_json::Value {
            (1..=30_000_i64).chain(last.iter().copied()).map(|id| json!([id, "x"])).collect()
        };
        mirror.write(&["id", "plan"], &rows(&[1]));
        let report = mirror.workspace.sync(&[]);
        assert_eq!(report.finished.code, Some(3), "{report:#?}");
        report.finished.expect_printed(&["`1` the key comes more than once"]);
        // What had left is in doubt, and is not sent again before it is there once.
        mirror.write(&["id", "plan"], &rows(&[1, 2, 2]));
        let report = mirror.workspace.sync(&[]);
        let counts = [("invalid", 5), ("upserts", 0), ("deletes", 0), ("requests", 0)];
        report.expect(3, "partial", &counts);
        mirror.write(&["id", "plan"], &rows(&[]));
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("invalid", 0), ("deletes", 0)]);
        assert_eq!(mirror.oracle.table().len(), 30_000);
        mirror.assert_at_rest();
    }
}

fn ring(scenario: &Scenario) {
    for location in FORMATS {
        let mirror =
            Mirror::new(&scenario.replay(), &["id"], Setup { batch: 2, ..open_guard(location) });
        let columns = ["id", "plan"];
        let turned = |by: usize| -> serde_json::Value {
            (0..9).map(|id| json!([id, format!("plan {}", (id + by) % 9)])).collect()
        };
        mirror.follow(&columns, &turned(0));
        for by in [1, 5, 9] {
            mirror.follow(&columns, &turned(by)).expect(0, "succeeded", &[("upserts", 9)]);
        }
        mirror.oracle.assert_same_idempotency_key_on_repeats();
    }
}
