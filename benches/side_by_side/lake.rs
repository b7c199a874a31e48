//! The delta of a table that lies in an object store, and of a Delta table, beside DuckDB over the same bytes; and what a Delta
//! table costs that did not change, however long its log is.
//!
//! The store is SeaweedFS, the bench's own, and shares the cores with whoever reads it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Options;
use crate::data;
use crate::delta::{check, check_peer, expect};
use crate::peers::{Lake, Place};
use crate::process::median;
use crate::product::Workspace;
use crate::servers::process::folder;
use crate::servers::seaweed::Seaweed;
use crate::sink::Sink;
use crate::table::Table;

const SECRET: &str = "of the bench alone";
/// Commits behind the last that changes rows, each of which a reader has to look at: nobody wrote a checkpoint.
const LATER: u64 = 1_000;
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
    let local = DeltaTable::create(held.path().join("customers"), &files)?;
    let places = Places {
        name: "Delta table",
        source: format!("{{ files: {{ customers: {{ delta: {:?} }} }} }}", local.folder),
        peer: Place::Delta(local.folder.clone()),
    };
    let workspace = deltas(options, sink, &lake, &places, &mut table, |version| match version {
        0 => Ok(()),
        _ => local.follow(),
    })?;
    skips(options, &workspace, "a Delta table of 2 commits", &mut table)?;
    local.go_on()?;
    skips(options, &workspace, "a Delta table of 1,002 commits", &mut table)?;

    for (name, path) in local.objects()? {
        server.files.put(&bucket, &format!("customers/{name}"), &fs::read(path)?);
    }
    let source =
        format!("{{ {store}files: {{ customers: {{ delta: \"s3://{bucket}/customers\" }} }} }}");
    let workspace =
        Workspace::reopen(workspace.folder(), &source, sink.address, options.concurrency)?;
    skips(options, &workspace, "a Delta table of 1,002 commits in the store", &mut table)?;
    table.print();
    Ok(())
}

/// One table, for both sides.
struct Places {
    name: &'static str,
    /// As a config says it.
    source: String,
    peer: Place,
}

/// Both versions of the table after one another, the second many times.
fn deltas(
    options: &Options,
    sink: &Sink,
    lake: &Lake,
    places: &Places,
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

/// A Delta table of one data file, which another one replaces.
struct DeltaTable {
    folder: PathBuf,
}

impl DeltaTable {
    fn create(folder: PathBuf, files: &[PathBuf; 2]) -> io::Result<DeltaTable> {
        fs::create_dir_all(folder.join("_delta_log"))?;
        for (file, name) in files.iter().zip(["0.parquet", "1.parquet"]) {
            fs::copy(file, folder.join(name))?;
        }
        let table = DeltaTable { folder };
        let columns = [
            ("customer_id", "long"),
            ("email", "string"),
            ("name", "string"),
            ("company", "string"),
            ("country", "string"),
            ("plan", "string"),
            ("is_active", "boolean"),
            ("signed_up", "date"),
            ("seats", "integer"),
            ("mrr", "decimal(12,2)"),
            ("score", "double"),
            ("updated_at", "timestamp"),
        ];
        let fields = columns.map(
            |(name, kind)| json!({"name": name, "type": kind, "nullable": true, "metadata": {}}),
        );
        let schema = json!({"type": "struct", "fields": fields}).to_string();
        let metadata = json!({
            "id": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema,
            "partitionColumns": [],
            "configuration": {},
        });
        table.commit(
            0,
            &[
                json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
                json!({"metaData": metadata}),
                table.add(0)?,
            ],
        )?;
        Ok(table)
    }

    /// The second file instead of the first.
    fn follow(&self) -> io::Result<()> {
        let gone =
            json!({"remove": {"path": "0.parquet", "deletionTimestamp": 0, "dataChange": true}});
        self.commit(1, &[gone, self.add(1)?])
    }

    /// Many commits that change no row.
    fn go_on(&self) -> io::Result<()> {
        let note = json!({"commitInfo": {"operation": "SET TBLPROPERTIES"}});
        (2..2 + LATER).try_for_each(|version| self.commit(version, std::slice::from_ref(&note)))
    }

    fn add(&self, version: u64) -> io::Result<Value> {
        let name = format!("{version}.parquet");
        let size = fs::metadata(self.folder.join(&name))?.len();
        Ok(json!({"add": {
            "path": name, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true
        }}))
    }

    fn commit(&self, version: u64, actions: &[Value]) -> io::Result<()> {
        let mut text = String::new();
        for action in actions {
            writeln!(text, "{action}").map_err(io::Error::other)?;
        }
        fs::write(self.folder.join(format!("_delta_log/{version:020}.json")), text)
    }

    /// All its files, by their names in the table.
    fn objects(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for (folder, prefix) in
            [(self.folder.clone(), ""), (self.folder.join("_delta_log"), "_delta_log/")]
        {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                    found.push((format!("{prefix}{}", name.to_string_lossy()), path.clone()));
                }
            }
        }
        Ok(found)
    }
}
