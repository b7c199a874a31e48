//! Delta tables: a version is read whole or not at all, and what is no newer version of the same table deletes nothing.

use serde_json::json;

use crate::support::check::check_mirror;
use crate::support::delta_log::{DeltaLog, PEOPLE, commit, created};
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::workspace::{Setup, Workspace};

const LAKE: &str = "lake: { files: { people: \"people.csv\" } }";

/// What refuses a table: a run, and whoever looks before it.
const REFUSING: [&[&str]; 2] = [&["validate", "--sources"], &["sync", "people"]];

fn workspace(oracle: &Oracle) -> Workspace {
    let workspace = Workspace::new(
        oracle,
        Setup { rests: true, max_deletes: Some("100%"), ..Setup::default() },
    );
    reads(&workspace, "{ delta: tables/people }");
    workspace
}

/// Has the model read this table from now on.
fn reads(workspace: &Workspace, table: &str) {
    workspace.write_config();
    let config = workspace.config();
    assert!(config.contains(LAKE), "{config}");
    let source = format!("lake: {{ files: {{ people: {table} }} }}");
    workspace.write("counterflow.yaml", &config.replace(LAKE, &source));
}

/// Puts files below the table's folder.
fn put(workspace: &Workspace) -> impl Fn(&str, &[u8]) + use<> {
    let folder = workspace.path().join("tables/people");
    move |name, bytes| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file can be written");
    }
}

/// A destination, a workspace, and what puts files below its table's folder.
fn begun() -> (Oracle, Workspace, impl Fn(&str, &[u8]) + use<>) {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle);
    let put = put(&workspace);
    (oracle, workspace, put)
}

#[test]
fn a_mirror_follows_a_delta_table_and_skips_the_version_that_it_has_read_and_says_which() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 20), ("delivered", 20)]);
    // No file is waited for until it is at rest: a version does not change.
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[("rows_read", 0), ("requests", 0)]);
    let told = (&skipped.json["unchanged_since"], &skipped.json["unchanged_version"]);
    assert_eq!(told, (&json!(1), &json!(1)));
    let words = "the table is at version 1, as at run 1, which left nothing to do";
    workspace.run(&["plan", "people"]).expect_code(0).expect_printed(&[words]);
    workspace.run(&["sync", "people"]).expect_code(0).expect_printed(&[words]);
    workspace.run(&["runs", "show", "3"]).expect_code(0).expect_printed(&[words]);
    workspace.run(&["runs"]).expect_code(0).expect_printed(&[words]);
    log.replace(2, "a.parquet", "b.parquet", &people(3..=25));
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 5), ("deletes", 2)]);
    assert!(report.json.get("unchanged_version").is_none(), "{report:#?}");
    check_mirror(&oracle, &expected(&people(3..=25)));
    // A commit that changes no row makes a version all the same.
    log.commit(3, &[json!({ "commitInfo": { "timestamp": 1 } })]);
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 23), ("requests", 0)]);
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[("rows_read", 0)]);
    assert_eq!(skipped.json["unchanged_version"], json!(3));
}

#[test]
fn a_table_that_went_back_or_is_another_or_has_no_log_deletes_nothing() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=10));
    log.add(2, "b.parquet", &people(11..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    let folder = workspace.path().join("tables/people");
    // Its newest commit is gone, as after a restore from a backup.
    std::fs::remove_file(folder.join(commit(2))).expect("it is there");
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 10), ("rows_read", 10)]);
    held.finished.expect_printed(&["table `people`", "went back from version 2 to 1"]);
    // Another table in its place, whose versions are no older.
    log.commit(0, &created("two", &PEOPLE.map(|(name, kind)| (name, json!(kind)))));
    log.add(2, "c.parquet", &people(1..=5));
    log.commit(3, &[json!({ "commitInfo": { "timestamp": 1 } })]);
    std::fs::remove_file(folder.join(commit(1))).expect("it is there");
    log.add(1, "d.parquet", &people(6..=7));
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 13), ("rows_read", 7)]);
    held.finished.expect_printed(&["table `people`", "is another Delta table", "`two`", "`one`"]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    // Without the first commits, without any, and without the folder.
    for version in [0, 1, 2, 3] {
        std::fs::remove_file(folder.join(commit(version))).expect("it is there");
        for command in REFUSING {
            let failed = workspace.run(command).expect_code(1);
            failed.expect_printed(&["table `people`", "tables/people`", "log"]);
        }
    }
    std::fs::remove_dir_all(&folder).expect("it is there");
    for command in REFUSING {
        let failed = workspace.run(command).expect_code(1);
        failed.expect_printed(&["table `people`", "no Delta table at", "correct the location"]);
    }
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_table_that_was_restored_and_has_caught_up_holds_its_deletes() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=10));
    log.add(2, "b.parquet", &people(11..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    // A backup of version 1 is put back, and others commit to it.
    let folder = workspace.path().join("tables/people");
    std::fs::remove_file(folder.join(commit(2))).expect("it is there");
    log.add(2, "c.parquet", &people(21..=22));
    log.add(3, "d.parquet", &people(23..=24));
    let words = ["version 2 of the Delta table", "table `people`", "is of another commit by now"];
    let plan = workspace.run(&["plan", "people"]).expect_code(0);
    plan.expect_printed(&["the deletes would be held", words[0]]);
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 10), ("upserts", 4)]);
    held.finished.expect_printed(&words);
    // Nor is it believed later on, however often it is read.
    log.add(4, "e.parquet", &people(25..=25));
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 10), ("upserts", 1)]);
    held.finished.expect_printed(&words);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    // Its rows come back, and what was read then is what the next version goes on from.
    log.add(5, "f.parquet", &people(11..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deletes", 0)]);
    log.replace(6, "d.parquet", "g.parquet", &people(23..=23));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 1)]);
    let all = [people(1..=23), people(25..=25)].concat();
    check_mirror(&oracle, &expected(&all));
}

#[test]
fn a_release_vouches_for_the_version_that_was_read_and_no_later_hold_comes_of_the_one_before() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=10));
    log.add(2, "b.parquet", &people(11..=40));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
    log.replace(3, "a.parquet", "c.parquet", &people(3..=10));
    log.checkpoint();
    let forget = |version| {
        let file = workspace.path().join("tables/people").join(commit(version));
        std::fs::remove_file(file).expect("it is there");
    };
    (0..=2).for_each(forget);
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 2)]);
    let run = held.run();
    let words = ["version 2 of the Delta table", "is not in its log any more"];
    held.finished.expect_printed(&words);
    // Rows go on being removed, before the release and after it.
    log.replace(4, "c.parquet", "d.parquet", &people(5..=10));
    workspace.run(&["release", &run, "-m", "the log was cleaned"]).expect_code(0);
    check_mirror(&oracle, &expected(&people(5..=40)));
    log.replace(5, "d.parquet", "e.parquet", &people(7..=10));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 2), ("held", 0)]);
    check_mirror(&oracle, &expected(&people(7..=40)));
    // What is vouched for is that version, and no other that comes in its place.
    log.replace(6, "e.parquet", "f.parquet", &people(8..=10));
    log.checkpoint();
    (3..=5).for_each(forget);
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 1)]);
    forget(6);
    log.commit(6, &[json!({ "commitInfo": { "timestamp": 1 } })]);
    log.replace(7, "f.parquet", "g.parquet", &people(10..=10));
    let released = workspace.run(&["release", &held.run(), "-m", "cleaned"]);
    released.expect_code(4).expect_printed(&["version 6 of", "is of another commit by now"]);
    check_mirror(&oracle, &expected(&people(8..=40)));
}

#[test]
fn a_version_of_which_only_a_checkpoint_was_left_does_not_tell_that_the_next_goes_on_from_it() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=20));
    log.checkpoint();
    for version in [0, 1] {
        let file = workspace.path().join("tables/people").join(commit(version));
        std::fs::remove_file(file).expect("it is there");
    }
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    log.replace(2, "a.parquet", "b.parquet", &people(3..=20));
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 2)]);
    let run = held.run();
    held.finished.expect_printed(&["version 1 of the Delta table", "or was not then"]);
    workspace.run(&["release", &run, "-m", "it is the same"]).expect_code(0);
    log.replace(3, "b.parquet", "c.parquet", &people(5..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 2)]);
    check_mirror(&oracle, &expected(&people(5..=20)));
}

#[test]
fn a_version_that_is_said_is_read_whatever_comes_behind_it_and_another_one_holds_deletes() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=20));
    log.replace(2, "a.parquet", "b.parquet", &people(1..=5));
    reads(&workspace, "{ delta: tables/people/, version: 1 }");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    log.add(3, "c.parquet", &people(30..=31));
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[("rows_read", 0)]);
    assert_eq!(skipped.json["unchanged_version"], json!(1));
    reads(&workspace, "{ delta: tables/people, version: 2 }");
    workspace.sync(&[]).expect(4, "partial", &[("held", 15), ("rows_read", 5)]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    reads(&workspace, "{ delta: tables/people, version: 9 }");
    for command in REFUSING {
        let failed = workspace.run(command).expect_code(1);
        failed.expect_printed(&["table `people`", "no version 9", "name one that its log has"]);
    }
}

#[test]
fn a_data_file_that_is_gone_short_or_cut_fails_the_run_and_deletes_nothing() {
    let (oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    let fails = |words: &[&str]| {
        let report = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
        report.finished.expect_printed(words);
        assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    };
    // The log says more rows than there are.
    log.commit(2, &[log.file("b.parquet", &people(21..=25), 6)]);
    fails(&["b.parquet` has 5 rows", "says 6"]);
    let path = workspace.path().join("tables/people/b.parquet");
    let whole = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, &whole[..whole.len() - 9]).expect("it can be written");
    fails(&["b.parquet", "restore it"]);
    std::fs::remove_file(&path).expect("it is there");
    fails(&["b.parquet` is gone", "VACUUM"]);
    log.replace(3, "b.parquet", "c.parquet", &people(21..=25));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 5), ("deletes", 0)]);
    check_mirror(&oracle, &expected(&people(1..=25)));
    workspace.assert_state_holds_no_canary();
}

#[test]
fn a_doctor_and_a_look_at_models_tell_the_version_of_a_delta_table_and_what_it_uses() {
    let (_oracle, workspace, put) = begun();
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=20));
    workspace
        .run(&["doctor", "lake"])
        .expect_code(0)
        .expect_printed(&["`people`: version 1, made at 2"]);
    let features = ["deletionVectors", "v2Checkpoint"];
    log.commit(
        2,
        &[json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": features, "writerFeatures": features } })],
    );
    let words = "version 2, which uses deletionVectors, v2Checkpoint";
    workspace.run(&["doctor", "lake"]).expect_code(0).expect_printed(&["`people`: ", words]);
    let seen = workspace.json(&["doctor", "lake"])[0]["tables"][0].clone();
    assert_eq!((&seen["version"], &seen["features"]), (&json!(2), &json!(features)), "{seen:#}");
    assert_eq!(seen["could_write"], json!(true), "{seen:#}");
    let human = workspace.run(&["validate", "--sources"]).expect_code(0);
    human.expect_printed(&["Delta table `people`: ", words]);
    let seen = workspace.json(&["validate", "--sources"])["models"][0]["versions"].clone();
    let version = json!([{ "table": "people", "version": 2, "features": features }]);
    assert_eq!(seen, version);
    // What cannot be read is named.
    let features = ["catalogManaged"];
    log.commit(
        3,
        &[json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": features, "writerFeatures": features } })],
    );
    for command in [REFUSING[0], REFUSING[1], &["doctor", "lake"]] {
        let refused = workspace.run(command).expect_code(1);
        refused.expect_printed(&["table `people`", "cannot be read here", "atalog"]);
    }
}
