//! What there is to be read: a long-lived server sees new files and versions in its next run, and a run says what it cost to
//! find them.

use serde_json::Value;

use crate::support::arrow;
use crate::support::check::check_mirror;
use crate::support::delta_log::DeltaLog;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv, expected, people};
use crate::support::server::Server;
use crate::support::workspace::{Setup, Workspace, packed};

/// A workspace whose table says this of its files.
fn workspace(oracle: &Oracle, table: &str) -> Workspace {
    let setup = Setup {
        head: "server: { listen: 127.0.0.1:0 }",
        rests: true,
        sql: "SELECT id, counter, checksum, email FROM people".to_owned(),
        max_deletes: Some("100%"),
        ..Setup::default()
    };
    let workspace = Workspace::new(oracle, setup);
    let (usual, config) = ("people: \"people.csv\"", workspace.config());
    assert!(config.contains(usual), "{config}");
    workspace.write("counterflow.yaml", &config.replace(usual, &format!("people: {table}")));
    workspace
}

/// Writes a file of the workspace, and the folders that it lies in.
fn put(workspace: &Workspace, name: &str, bytes: &[u8]) {
    let path = workspace.path().join(name);
    std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file can be written");
}

fn assert_delivered(run: &Value, delivered: u64) {
    assert_eq!(run["phase"], "succeeded", "{run:#}");
    assert_eq!(run["tally"]["delivered"], delivered, "{run:#}");
}

#[test]
fn a_long_lived_server_sees_new_files_and_new_partitions_in_its_next_run() {
    type Written = fn(&[Person]) -> Vec<u8>;
    let formats: [(&str, Written); 5] = [
        ("csv", |people| csv(people).into_bytes()),
        ("csv.gz", packed),
        ("ndjson", |people| {
            people.iter().flat_map(|it| format!("{}\n", it.record()).into_bytes()).collect()
        }),
        ("parquet", parquet_file),
        ("arrow", arrow::file),
    ];
    for (ending, written) in formats {
        let oracle = Oracle::start(&["id"]);
        let (format, _) = ending.split_once('.').unwrap_or((ending, ""));
        let table = format!("{{ {format}: \"in/*/*.{ending}\", partitions: {{ day: DATE }} }}");
        let workspace = workspace(&oracle, &table);
        put(&workspace, &format!("in/day=2026-01-01/a.{ending}"), &written(&people(1..=20)));
        let serving = Server::start(&workspace);
        let run = || serving.ended(serving.run(""));
        assert_delivered(&run(), 20);
        put(&workspace, &format!("in/day=2026-01-01/b.{ending}"), &written(&people(21..=30)));
        assert_delivered(&run(), 10);
        put(&workspace, &format!("in/day=2026-01-02/a.{ending}"), &written(&people(31..=45)));
        assert_delivered(&run(), 15);
        check_mirror(&oracle, &expected(&people(1..=45)));
        serving.end().expect_code(0);
    }
}

fn parquet_file(people: &[Person]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("people.parquet");
    crate::support::parquet::write(&path, &crate::support::parquet::people(people), 100);
    std::fs::read(path).expect("it was just written")
}

#[test]
fn a_long_lived_server_sees_a_new_version_of_a_delta_table_in_its_next_run() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "{ delta: tables/people }");
    let put = |name: &str, bytes: &[u8]| put(&workspace, &format!("tables/people/{name}"), bytes);
    let log = DeltaLog::create("one", &put);
    log.add(1, "a.parquet", &people(1..=20));
    let serving = Server::start(&workspace);
    let run = || serving.ended(serving.run(""));
    assert_delivered(&run(), 20);
    assert_eq!(run()["unchanged_version"], 1);
    log.add(2, "day=2/b.parquet", &people(21..=30));
    assert_delivered(&run(), 10);
    log.replace(3, "a.parquet", "c.parquet", &people(3..=20));
    let run = run();
    assert_eq!((&run["tally"]["deletes"], &run["phase"]), (&2.into(), &"succeeded".into()));
    check_mirror(&oracle, &expected(&people(3..=30)));
    serving.end().expect_code(0);
}

#[test]
fn a_run_says_how_many_files_it_has_listed_and_so_do_the_list_of_runs_and_the_server() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "{ csv: \"in-*.csv\" }");
    for (place, first) in [1, 11, 21].into_iter().enumerate() {
        let name = format!("in-{place}.csv");
        put(&workspace, &name, csv(&people(first..=first + 9)).as_bytes());
    }
    workspace.wait_until_at_rest();
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 30)]);
    let listing = report.json["tally"]["listing"].clone();
    assert_eq!(listing["objects"], 6, "at the beginning of the read and at its end: {listing:#}");
    assert_eq!(listing["requests"], 0);
    assert!(listing["milliseconds"].is_u64());
    let skipped = workspace.sync(&[]).expect(0, "skipped", &[]);
    assert_eq!(skipped.json["tally"]["listing"]["objects"], 3);
    let runs = workspace.json(&["runs"]);
    assert_eq!(runs[1]["tally"]["listing"], listing);
    assert_eq!(runs[0]["tally"]["listing"], skipped.json["tally"]["listing"]);
    let serving = Server::start(&workspace);
    assert_eq!(serving.get("/api/v1/runs/1").json["tally"]["listing"], listing);
    let schema = &serving.get("/api/v1/openapi.json").json["components"]["schemas"];
    let properties = &schema["ListingCost"]["properties"];
    for name in ["objects", "requests", "milliseconds"] {
        assert!(properties[name].is_object(), "`{name}`: {schema:#}");
    }
    serving.end().expect_code(0);
    // What was listed counts though nothing could be read of it.
    put(&workspace, "in-3.csv", b"no,such\ncolumns,here\n");
    let failed = workspace.sync(&[]).expect(1, "failed", &[("rows_read", 0)]);
    assert_eq!(failed.json["tally"]["listing"]["objects"], 8, "{:#}", failed.json);
}
