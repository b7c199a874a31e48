//! Bad input: a clear message that names the thing and the remedy, an exit code, nothing sent and nothing lost.

use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::process::Process;
use crate::support::workspace::{Setup, Workspace};

fn refused(change: impl Fn(&str) -> String, named: &[&str]) {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let config = workspace.config();
    let changed = change(&config);
    assert_ne!(config, changed, "the change took");
    workspace.write("counterflow.yaml", &changed);
    for command in [vec!["validate"], vec!["sync", "people"]] {
        workspace.run(&command).expect_code(2).expect_printed(named);
    }
    assert_eq!(oracle.connections(), 0);
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    refused(
        |config| config.replace("drain_timeout:", "drain_timout:"),
        &["drain_timout", "counterflow.yaml"],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    refused(
        |config| {
            config
                .replace("mode: mirror", "mode: mirorr")
                .replace("concurrency: 4", "concurrency: none")
        },
        &["mirorr", "concurrency"],
    );
}

#[test]
fn names_that_point_nowhere_are_refused() {
    refused(|config| config.replace("connection: crm", "connection: crmm"), &["crmm"]);
    refused(|config| config.replace("model: people\n", "model: peeple\n"), &["peeple"]);
    refused(|config| config.replace("source: lake", "source: lakes"), &["lakes"]);
}

#[test]
fn a_mirror_without_a_delete_is_refused() {
    refused(
        |config| config[..config.find("    delete:").expect("there is one")].to_owned(),
        &["delete"],
    );
}

#[test]
fn an_unset_variable_is_named() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    let args = ["--config", "counterflow.yaml", "sync", "people"];
    let process = Process::spawn(workspace.path(), &args, &[]);
    workspace.end(process, crate::support::SOON).expect_code(2).expect_printed(&["TOKEN"]);
    assert_eq!(oracle.connections(), 0);
}

#[test]
fn a_missing_config_and_an_unknown_sync_are_usage_errors() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=3));
    workspace.run(&["sync", "peeple"]).expect_code(2).expect_printed(&["peeple"]);
    workspace.run(&["sync"]).expect_code(2);
    workspace.run(&["synch", "people"]).expect_code(2);
    std::fs::remove_file(workspace.path().join("counterflow.yaml")).expect("it is there");
    workspace.run(&["validate"]).expect_code(2).expect_printed(&["counterflow.yaml"]);
}

#[test]
fn a_missing_file_and_a_missing_column_fail_the_run_and_delete_nothing() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let requests = oracle.request_count();
    std::fs::remove_file(workspace.path().join("people.csv")).expect("it is there");
    let failed = workspace.run(&["sync", "people"]);
    assert!(matches!(failed.code, Some(1 | 2)), "{failed:#?}");
    failed.expect_printed(&["people.csv"]);
    workspace.write_people(&people(1..=20));
    workspace.change(|setup| setup.sql = "SELECT id, shoe_size FROM people".into());
    let failed = workspace.run(&["sync", "people"]);
    assert!(matches!(failed.code, Some(1 | 2)), "{failed:#?}");
    failed.expect_printed(&["shoe_size"]);
    assert_eq!(oracle.request_count(), requests, "{}", oracle.print());
    workspace.change(|setup| setup.sql = "SELECT * FROM people".into());
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_mapping_that_fails_while_rows_are_read_names_its_field() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { sync: "mapping: { id: id, share: 10 / (id - 2) }", ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=3));
    let failed = workspace.run(&["sync", "people"]).expect_code(1);
    failed.expect_printed(&[
        "the mapping of field `share`, `10 / (id - 2)`, over model `people` failed",
        "nullif",
    ]);
}

#[test]
fn a_file_with_another_delimiter_is_named_with_its_header_and_the_remedy() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = Workspace::new(&oracle, Setup::default());
    workspace.write("people.csv", "id;counter;checksum;email\n1;1;c;e\n");
    let words =
        &["people.csv` of table `people`", "`id;counter;checksum;email`", "`delimiter: \";\"`"];
    let missed = "SELECT id, counter FROM people";
    for (sql, sync) in [
        (missed, ""),
        ("SELECT * FROM people", ""),
        ("SELECT * FROM people", "mapping: { id: id, counter: counter }"),
    ] {
        workspace.change(|setup| (setup.sql, setup.sync) = (sql.to_owned(), sync));
        workspace.run(&["sync", "people"]).expect_code(2).expect_printed(words);
        workspace.run(&["validate", "--sources"]).expect_code(2).expect_printed(words);
    }
    assert_eq!(oracle.request_count(), 0);
}

#[test]
fn a_torn_csv_fails_the_read_and_deletes_nothing_e3() {
    let oracle = Oracle::start(&["id"]);
    let workspace =
        Workspace::new(&oracle, Setup { max_deletes: Some("100%"), ..Setup::default() });
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let whole = crate::support::people::csv(&people(1..=20));
    workspace.write("people.csv", &whole[..whole.len() - 40]);
    let failed = workspace.run(&["sync", "people"]);
    assert_ne!(failed.code, Some(0), "{failed:#?}");
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
}

#[test]
fn anything_but_one_select_is_refused_e12() {
    for sql in [
        "DROP TABLE people",
        "INSERT INTO people VALUES (1)",
        "SELECT * FROM people; SELECT 1",
        "SELECT * FROM 'people.csv'",
        "COPY people TO 'stolen.csv'",
    ] {
        let oracle = Oracle::start(&["id"]);
        let workspace = Workspace::new(&oracle, Setup { sql: sql.into(), ..Setup::default() });
        workspace.write_people(&people(1..=3));
        let refused = workspace.run(&["sync", "people"]);
        assert!(matches!(refused.code, Some(1 | 2)), "{sql}: {refused:#?}");
        assert_eq!(oracle.connections(), 0, "{sql}");
        assert!(!workspace.path().join("stolen.csv").exists());
    }
}
