//! The delta of a table that lies in an object store, and of a Delta table, beside DuckDB over the same bytes; and what a Delta
//! table costs that did not change, however long its log is.
//!
//! The store is SeaweedFS, the bench's own, and shares the cores with whoever reads it.

use std::fs;
use std::io;
use std::path::Path;

use crate::Options;
use crate::data;
use crate::delta::{check, check_peer, expect};
use crate::delta_table::DeltaTable;
use crate::peers::{Lake, Place};
use crate::process::median;
use crate::product::Workspace;
use crate::servers::process::folder;
use crate::servers::seaweed::Seaweed;
use crate::sink::Sink;
use crate::table::Table;

const SECRET: &str = "of the bench alone";
/// Versions of a log whose first two change rows.
const COMMITS: u64 = 1_002;
/// Data files of a table that is written by many at once.
const FILES: u64 = 32;
/// What a table has that was written to for years: files of ten rows each, behind a checkpoint of version 1, and versions, of
/// which no more than 100,000 are listed by default.
const MANY_FILES: u64 = 10_000;
const MANY_COMMITS: u64 = 90_002;
/// What was changed more shortly before a read is read once more.
const AT_REST: std::time::Duration = std::time::Duration::from_millis(2_500);

pub fn run(options: &Options, sink: &Sink) -> io::Result<()> {
    let lake = Lake::install(&options.folder)?;
    let server = Seaweed::start(&lake.weed(), SECRET);
    let bucket = server.bucket();
    let secret = options.folder.join("lake-secret");
    fs::write(&secret, SECRET)?;
    let store = format!(
        "store: {{ s3: {{ endpoint: \"http://127.0.0.1:{}\", access_key_id: reader, secret_access_key: \"file:{}\" }} }}, ",
        server.port,
        secret.display()
    );
    let mut table = Table::new();

    let files = data::files(&options.folder, options.rows)?;
    let object = format!("s3://{bucket}/customers.parquet");
    let places = Places {
        name: "Parquet in the store",
        source: format!("{{ {store}files: {{ customers: \"{object}\" }} }}"),
        peer: Place::Store { port: server.port, object },
    };
    let put = |file: &Path| -> io::Result<()> {
        server.files.put(&bucket, "customers.parquet", &fs::read(file)?);
        Ok(())
    };
    deltas(options, sink, &lake, &places, &mut table, |version| put(&files[version]))?;

    let held = folder();
    let one = DeltaTable::create(held.path().join("one"), options.rows, 1)?;
    let workspace = delta_table(options, sink, &lake, "Delta table", &one, &mut table)?;
    skips(options, &workspace, "a Delta table of 2 commits", &mut table)?;
    one.go_on(2..COMMITS)?;
    skips(options, &workspace, "a Delta table of 1,002 commits", &mut table)?;

    for (name, path) in one.objects()? {
        server.files.put(&bucket, &format!("customers/{name}"), &fs::read(path)?);
    }
    let source =
        format!("{{ {store}files: {{ customers: {{ delta: \"s3://{bucket}/customers\" }} }} }}");
    let workspace =
        Workspace::reopen(workspace.folder(), &source, sink.address, options.concurrency)?;
    skips(options, &workspace, "a Delta table of 1,002 commits in the store", &mut table)?;

    let split = DeltaTable::create(held.path().join("split"), options.rows, FILES)?;
    let name = format!("Delta table of {FILES} files");
    delta_table(options, sink, &lake, &name, &split, &mut table)?;

    let old = DeltaTable::create(held.path().join("old"), MANY_FILES * 10, MANY_FILES)?;
    old.follow()?;
    old.checkpoint()?;
    old.go_on(2..MANY_COMMITS)?;
    let folder = options.folder.join("lake");
    let workspace =
        Workspace::create(&folder, &source_of(&old), sink.address, options.concurrency)?;
    let name = "a Delta table of 10,000 data files in a checkpoint, and 90,002 commits";
    skips(options, &workspace, name, &mut table)?;
    table.print();
    Ok(())
}

fn source_of(table: &DeltaTable) -> String {
    format!("{{ files: {{ customers: {{ delta: {:?} }} }} }}", table.folder)
}

fn delta_table(
    options: &Options,
    sink: &Sink,
    lake: &Lake,
    name: &str,
    local: &DeltaTable,
    table: &mut Table,
) -> io::Result<Workspace> {
    let places =
        Places { name, source: source_of(local), peer: Place::Delta(local.folder.clone()) };
    deltas(options, sink, lake, &places, table, |version| match version {
        0 => Ok(()),
        _ => local.follow(),
    })
}

/// One table, for both sides.
struct Places<'n> {
    name: &'n str,
    /// As a config says it.
    source: String,
    peer: Place,
}

/// Both versions of the table after one another, the second many times.
fn deltas(
    options: &Options,
    sink: &Sink,
    lake: &Lake,
    places: &Places<'_>,
    table: &mut Table,
    put: impl Fn(usize) -> io::Result<()>,
) -> io::Result<Workspace> {
    let expected = data::difference(options.rows);
    let folder = options.folder.join("lake");
    put(0)?;
    let workspace = Workspace::create(&folder, &places.source, sink.address, options.concurrency)?;
    let (first, answer) = workspace.sync()?;
    expect(answer["tally"]["delivered"].as_u64().unwrap_or(0), options.rows)?;
    let Places { name, peer, .. } = places;
    table.add(&format!("{name}: `sync`, the first, full run"), &first, None);
    if !options.is_alone {
        lake.duckdb("prepare", peer)?;
    }
    put(1)?;
    let (mut plans, mut duckdb) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let (plan, answer) = workspace.plan()?;
        check(&answer, expected)?;
        plans.push(plan);
        if !options.is_alone {
            let compared = lake.duckdb("delta", peer)?;
            check_peer(&compared, expected)?;
            duckdb.push(compared);
        }
        println!("  {name}: round {} of {}", round + 1, options.rounds);
    }
    let plan = median(&plans);
    if options.is_alone {
        table.add(&format!("{name}: `plan`, the delta"), &plan, None);
        return Ok(workspace);
    }
    let duckdb = median(&duckdb);
    table.add(&format!("{name}: DuckDB, the delta"), &duckdb, None);
    table.add(&format!("{name}: `plan`, the delta"), &plan, Some(("DuckDB", &duckdb)));
    Ok(workspace)
}

/// Runs over what a run has read that left nothing to do.
fn skips(
    options: &Options,
    workspace: &Workspace,
    name: &str,
    table: &mut Table,
) -> io::Result<()> {
    std::thread::sleep(AT_REST);
    // The first may have the difference to send, the second reads what is at rest.
    workspace.sync()?;
    workspace.sync()?;
    let mut skipped = Vec::new();
    for _ in 0..options.rounds {
        let (sync, answer) = workspace.sync()?;
        if answer["outcome"] != "skipped" {
            return Err(io::Error::other(format!("it was not skipped: {answer}")));
        }
        skipped.push(sync);
    }
    table.add(&format!("`sync`: skipped, {name}"), &median(&skipped), None);
    Ok(())
}
