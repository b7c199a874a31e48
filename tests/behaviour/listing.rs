//! What there is to be read: a run says what it cost to find it.

use crate::support::oracle::Oracle;
use crate::support::people::{csv, people};
use crate::support::server::Server;
use crate::support::workspace::{Setup, Workspace};

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
