//! Models with a cursor: which rows a run reads, and when the bound moves.

use serde_json::{Value, json};

use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Report, Setup, Workspace};

/// A row as CSV has it: its key, its version, and when it was changed.
type Row = (u32, u32, i64);

/// By which sync: upsert, batches of one, and nothing that is skipped.
fn workspace(oracle: &Oracle, cursor: &'static str) -> Workspace {
    let setup = Setup {
        cursor: Some(cursor),
        mode: "upsert",
        max_deletes: None,
        sql: "SELECT id, version, changed FROM people".to_owned(),
        batch: 1,
        concurrency: 1,
        ..Setup::default()
    };
    Workspace::new(oracle, setup)
}

fn write(workspace: &Workspace, rows: &[Row]) {
    let line = |(id, version, changed): &Row| match changed {
        -1 => format!("{id},{version},\n"),
        changed => format!("{id},{version},{changed}\n"),
    };
    let lines: String = rows.iter().map(line).collect();
    workspace.write("people.csv", &format!("id,version,changed\n{lines}"));
}

#[track_caller]
fn expect_read(report: &Report, rows: u64, delivered: u64) {
    let number = |name: &str| report.json["tally"][name].as_u64();
    let found = (number("rows_read"), number("delivered"));
    assert_eq!(found, (Some(rows), Some(delivered)), "{report:#?}");
}

fn since(report: &Report) -> &Value {
    &report.json["since"]["value"]
}

fn version(oracle: &Oracle, id: u32) -> Value {
    let table = oracle.table();
    table.get(&format!("[{id}]")).map_or(Value::Null, |record| record["version"].clone())
}

#[test]
fn a_run_reads_only_what_is_new_and_what_has_no_value() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    let rows = [(1, 1, 10), (2, 1, 20), (3, 1, -1)];
    write(&workspace, &rows);
    let first = workspace.sync(&[]).expect(0, "succeeded", &[]);
    expect_read(&first, 3, 3);
    assert_eq!(since(&first), &Value::Null);

    write(&workspace, &[(1, 2, 10), (2, 1, 20), (3, 2, -1), (4, 1, 30)]);
    let plan = workspace.json(&["plan", "people"]);
    assert_eq!((&plan["since"]["value"], &plan["reason"]), (&json!("20"), &json!("cursor")));
    let second = workspace.sync(&[]).expect(0, "succeeded", &[]);
    expect_read(&second, 3, 2);
    assert_eq!(since(&second), "20");
    second.expect_kind("incremental", "cursor");
    assert_eq!(version(&oracle, 1), 1, "its cursor does not say that it changed");
    let third = workspace.sync(&[]).expect(0, "succeeded", &[]);
    expect_read(&third, 2, 0);
    assert_eq!(since(&third), "30");

    // Nothing of it is deleted, as nothing is known of rows that were not read.
    write(&workspace, &[(4, 1, 30)]);
    expect_read(&workspace.sync(&[]).expect(0, "succeeded", &[]), 1, 0);
    assert_eq!(oracle.table().len(), 4);
}

#[test]
fn a_full_run_reads_everything_and_so_do_those_that_go_on_with_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    write(&workspace, &[(1, 1, 10), (2, 1, 20)]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    write(&workspace, &[(1, 2, 10), (2, 1, 20)]);
    (0..8).for_each(|_| oracle.on_next(Fault::ApplyThenReset));
    let full = workspace.sync(&["--full"]);
    assert_eq!(since(&full), &Value::Null, "{full:#?}");
    workspace.sync(&[]);
    assert_eq!(version(&oracle, 1), 2);
    let usual = workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(since(&usual), "20");
}

#[test]
fn what_is_in_doubt_is_asked_for_by_its_key_and_delivered() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    write(&workspace, &[(1, 1, 10), (2, 1, 20), (3, 1, 30)]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    write(&workspace, &[(1, 2, 40), (2, 1, 20), (3, 2, 50)]);
    // The answer for the first is lost for good, so that the run ends in doubt of it.
    (0..8).for_each(|_| oracle.on_next(Fault::ApplyThenReset));
    let doubtful = workspace.sync(&[]);
    assert_eq!(since(&doubtful), "30", "{doubtful:#?}");
    let known = doubtful.json["tally"]["unknown"].as_u64().unwrap_or(0);
    assert!(known > 0, "{doubtful:#?}");
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!([version(&oracle, 1), version(&oracle, 3)], [json!(2), json!(2)]);
    let last = workspace.sync(&[]).expect(0, "succeeded", &[]);
    expect_read(&last, 1, 0);
}

#[test]
fn what_the_destination_has_rejected_is_counted_until_it_takes_it() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    oracle.always(Fault::RejectKeys(["[1]".to_owned()].into(), "422".to_owned()));
    write(&workspace, &[(1, 1, 10), (2, 1, 20)]);
    let first = workspace.sync(&[]);
    assert_eq!(first.word("outcome"), "partial", "{first:#?}");
    let second = workspace.sync(&[]);
    assert_eq!((since(&second), second.word("outcome")), (&json!("20"), "partial"), "{second:#?}");
    assert_eq!(second.json["tally"]["deferred"], 1, "it is not due, and stands: {second:#?}");
    expect_read(&second, 2, 0);
}

#[test]
fn a_bound_stays_behind_rows_that_are_invalid_or_unsent() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    write(&workspace, &[(1, 1, 10), (2, 1, 20)]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    // A repeated key is invalid.
    write(&workspace, &[(1, 1, 10), (2, 1, 20), (5, 1, 30), (5, 2, 40), (6, 1, 50)]);
    let invalid = workspace.sync(&[]);
    assert_eq!((since(&invalid), &invalid.json["tally"]["invalid"]), (&json!("20"), &json!(2)));
    let why = "0 records that were not sent and 2 invalid rows would not be asked for again";
    assert_eq!(invalid.json["bound_stays"], why);
    assert_eq!(workspace.json(&["runs"])[0]["bound_stays"], why);
    workspace.run(&["runs"]).expect_printed(&["run 2: the cursor's bound stays: 0 records"]);
    write(&workspace, &[(1, 1, 10), (2, 1, 20), (5, 1, 30), (6, 1, 50)]);
    let mended = workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(since(&mended), "20", "the bound did not move");
    assert_eq!(mended.json["bound_stays"], Value::Null);
    assert_eq!(version(&oracle, 5), 1);
    let last = workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(since(&last), "50");
}

#[test]
fn a_read_begins_by_its_overlap_below_the_bound_and_now_and_then_everything_is_read() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed, overlap: 15");
    write(&workspace, &[(1, 1, 10), (2, 1, 20)]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    write(&workspace, &[(1, 2, 10), (2, 1, 20), (3, 1, 4)]);
    let second = workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(since(&second), "5");
    expect_read(&second, 2, 1);
    let daily = workspace.config_now();
    let always = daily.replace("overlap: 15", "overlap: 15, full_every: 1ms");
    workspace.write("counterflow.yaml", &always);
    let whole = workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(since(&whole), &Value::Null);
    assert!(
        whole.json["whole"].as_str().is_some_and(|why| why.contains("`full_every`")),
        "{whole:#?}"
    );
    expect_read(&whole, 3, 1);
}

#[test]
fn a_time_without_a_zone_of_the_next_hours_hides_nothing() {
    let now = jiff::Timestamp::now();
    // So many minutes behind what a clock five hours behind UTC shows.
    let behind = |minutes: i64| {
        let behind = jiff::SignedDuration::from_mins(5 * 60 + minutes);
        now.checked_sub(behind).expect("it is a time").strftime("%Y-%m-%dT%H:%M:%S").to_string()
    };
    let said = ["changed", "changed, time_zone: Etc/GMT+5"];
    for (cursor, is_said) in said.into_iter().zip([false, true]) {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, cursor);
        let write = |rows: &[Row]| {
            let line = |(id, version, age): &Row| format!("{id},{version},{}\n", behind(*age));
            let lines: String = rows.iter().map(line).collect();
            workspace.write("people.csv", &format!("id,version,changed\n{lines}"));
        };
        // The second is stamped three hours too late; an old one is beyond what any run reads again.
        write(&[(1, 1, 60), (2, 1, -180), (3, 1, 2_000)]);
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        write(&[(1, 2, -1), (2, 1, -180), (3, 1, 2_000)]);
        let second = workspace.sync(&[]).expect(0, "succeeded", &[]);
        expect_read(&second, 2, 1);
        // Its zone decides how much is read again.
        let begun = since(&second).as_str().expect("it is restricted");
        assert_eq!(begun >= behind(80).as_str(), is_said, "{begun}");
        assert!(begun >= behind(9 * 60).as_str(), "{begun}");
    }
}

#[test]
fn another_definition_reads_everything_once() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    write(&workspace, &[(1, 1, 10), (2, 1, 20)]);
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let config = workspace.config_now();
    let sql = "SELECT id, version + 10 AS version, changed FROM people";
    let other = config.replace("SELECT id, version, changed FROM people", sql);
    workspace.write("counterflow.yaml", &other);
    let whole = workspace.sync(&[]).expect(0, "succeeded", &[]);
    assert_eq!(since(&whole), &Value::Null);
    expect_read(&whole, 2, 2);
    assert_eq!(since(&workspace.sync(&[]).expect(0, "succeeded", &[])), "20");
}

#[test]
fn a_cursor_that_cannot_be_one_is_refused_by_name() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "changed");
    write(&workspace, &[(1, 1, 10)]);
    let config = workspace.config_now();
    let mirror = config.replace("mode: upsert", "mode: mirror");
    let composed = config.replace(
        "    mode: upsert",
        "    mode: upsert\n    mapping: { id: id + 1 }\n    key: [id]",
    );
    for (config, words) in [
        (mirror, "a mirror of a model with a cursor"),
        (composed, "a key that is not made of columns as they are"),
        (
            config.replace("column: changed", "column: changed, overlap: never"),
            "cannot make sense of `never`",
        ),
        (
            config.replace("column: changed", "column: changed, time_zone: Mars/Olympus"),
            "there is no time zone `Mars/Olympus`",
        ),
        (config.replace("column: changed", "overlap: 3"), "column"),
    ] {
        workspace.write("counterflow.yaml", &config);
        workspace.run(&["validate"]).expect_code(2).expect_printed(&[words]);
    }
    for (from, to, words) in [
        ("column: changed", "column: chnged", "did you mean `changed`"),
        (
            "version, changed",
            "version, changed::text AS changed",
            "a cursor rises with each change",
        ),
        ("column: changed", "column: changed, overlap: 10m", "say `overlap` as a number"),
        ("column: changed", "column: changed, time_zone: UTC", "take `time_zone` out"),
    ] {
        workspace.write("counterflow.yaml", &config.replace(from, to));
        let refused = workspace.run(&["sync", "people"]);
        assert_ne!(refused.code, Some(0), "{to}");
        refused.expect_printed(&[words]);
    }
}
