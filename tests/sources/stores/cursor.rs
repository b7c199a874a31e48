//! A model with a cursor over objects, and over a Delta table among them.

use super::{of_age, parquet_file, source, workspace};
use crate::servers::seaweed::Seaweed;
use crate::shared;
use crate::support::delta_log::DeltaLog;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected};
use crate::support::workspace::Workspace;

/// A model over this source whose cursor is how often a person has changed.
fn with_cursor(oracle: &Oracle, source: &str) -> Workspace {
    let mut workspace = workspace(oracle, source);
    workspace.change(|setup| {
        (setup.mode, setup.cursor, setup.max_deletes) = ("upsert", Some("counter"), None);
    });
    shared::reads(&workspace, source);
    workspace
}

/// `put` has the table hold these people from now on.
fn follow(how: &str, oracle: &Oracle, workspace: &Workspace, put: &dyn Fn(&[Person])) {
    let config = workspace.config_now();
    put(&[of_age(1..=20, 1), of_age(21..=22, 2)].concat());
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 22), ("delivered", 22)]);
    workspace.sync(&[]).expect(0, "skipped", &[("requests", 0)]);
    // One that is new, one below the bound, and one that is gone.
    put(&[of_age(2..=20, 1), of_age(21..=22, 2), of_age(23..=23, 3), of_age(24..=24, 1)].concat());
    let new = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 3), ("upserts", 1)]);
    new.expect_kind("incremental", "cursor");
    let held = [of_age(1..=20, 1), of_age(21..=22, 2), of_age(23..=23, 3)].concat();
    assert!(oracle.table() == expected(&held), "{how}: {}", oracle.print());
    // What is in doubt is asked for by its key, though others have gone beyond it.
    oracle.on_next(Fault::DropBeforeApply);
    workspace.write("counterflow.yaml", &config.replace("attempts: 4", "attempts: 1"));
    let rest = [of_age(2..=20, 1), of_age(21..=22, 2), of_age(24..=24, 1)].concat();
    put(&[rest.clone(), of_age(23..=23, 4)].concat());
    let doubtful = workspace.sync(&[]);
    assert_eq!(doubtful.json["tally"]["unknown"], 1, "{how}: {doubtful:#?}");
    put(&[rest.clone(), of_age(23..=23, 1), of_age(25..=25, 9)].concat());
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 2), ("delivered", 2)]);
    let held = [of_age(1..=20, 1), of_age(21..=22, 2), of_age(23..=23, 1), of_age(25..=25, 9)];
    assert!(oracle.table() == expected(&held.concat()), "{how}: {}", oracle.print());
    // At its time everything is read and compared.
    let daily = config.replace("column: counter", "column: counter, full_every: 1ms");
    assert_ne!(daily, config);
    workspace.write("counterflow.yaml", &daily);
    let whole = workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 24), ("upserts", 1)]);
    let why = whole.json["whole"].as_str().unwrap_or_default();
    assert!(why.contains("`full_every`"), "{how}: {whole:#?}");
    assert!(oracle.table().contains_key("[24]"), "{how}: {}", oracle.print());
}

pub fn objects(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let location = "in/people.parquet";
    let workspace = with_cursor(&oracle, &source(server.port, &bucket, location, ""));
    let put = |people: &[Person]| server.files.put(&bucket, location, &parquet_file(people));
    follow("objects", &oracle, &workspace, &put);
}

pub fn delta(server: &Seaweed) {
    let oracle = Oracle::start(&["id"]);
    let bucket = server.bucket();
    let source = source(server.port, &bucket, "people", "").replace(
        &format!("\"s3://{bucket}/people\""),
        &format!("{{ delta: \"s3://{bucket}/people\" }}"),
    );
    let workspace = with_cursor(&oracle, &source);
    let files =
        |name: &str, bytes: &[u8]| server.files.put(&bucket, &format!("people/{name}"), bytes);
    let log = DeltaLog::create("one", &files);
    let version = std::cell::Cell::new(0_u64);
    let put = |people: &[Person]| {
        let (last, next) = (version.get(), version.get() + 1);
        version.set(next);
        let name = format!("{next}.parquet");
        match last {
            0 => log.add(next, &name, people),
            _ => log.replace(next, &format!("{last}.parquet"), &name, people),
        }
    };
    follow("a Delta table", &oracle, &workspace, &put);
}
