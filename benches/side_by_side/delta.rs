//! The delta of 10 million rows, 1.2 % of them changed, against DuckDB and against a bare scan.
//!
//! The snapshot is made by the product: a first, full `sync` to the sink, which is measured by the way.

use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Options;
use crate::data::{self, Difference};
use crate::peers::Peers;
use crate::process::{self, Measured, median};
use crate::product::{FILE, Workspace};
use crate::sink::{Sink, Taken};
use crate::table::Table;

pub fn run(options: &Options, peers: Option<&Peers>, sink: &Sink) -> io::Result<()> {
    let rows = options.rows;
    let [before, after] = data::files(&options.folder, rows)?;
    let expected = data::difference(rows);
    println!("delta of {rows} rows: {expected:?}");
    let folder = options.folder.join(format!("delta-{rows}"));
    let mut table = Table::new();
    let workspace = snapshot(options, &folder, &before, sink, &mut table)?;

    workspace.set_source(&after)?;
    if let Some(peers) = peers {
        peers.duckdb("prepare", &before)?;
    }
    let (mut plans, mut syncs) = (Vec::new(), Vec::new());
    let mut duckdb = Vec::new();
    for round in 0..options.rounds {
        let (plan, answer) = workspace.plan()?;
        check(&answer, expected)?;
        plans.push(plan);
        if let Some(peers) = peers {
            let compared = peers.duckdb("delta", &after)?;
            check_peer(&compared, expected)?;
            duckdb.push(compared);
        }
        sink.take();
        let (sync, answer) = workspace.sync()?;
        check(&answer, expected)?;
        expect(sink.take().records, expected.changed + expected.added + expected.removed)?;
        syncs.push(sync);
        go_back(&workspace, &before, expected)?;
        workspace.set_source(&after)?;
        println!("  round {} of {}", round + 1, options.rounds);
    }
    let (scan, unchanged) = unchanged(options, &workspace, &before, sink)?;
    table.add("bare DataFusion scan of all columns", &scan, None);
    if peers.is_some() {
        let duckdb = median(&duckdb);
        table.add("DuckDB: the delta", &duckdb, None);
        table.add("`plan`: the delta", &median(&plans), Some(("DuckDB", &duckdb)));
        table.add("`sync`: the delta, delivered", &median(&syncs), Some(("DuckDB", &duckdb)));
    } else {
        table.add("`plan`: the delta", &median(&plans), None);
        table.add("`sync`: the delta, delivered", &median(&syncs), None);
    }
    table.add("`sync`: nothing changed", &unchanged, Some(("scan", &scan)));
    table.print();
    Ok(())
}

/// A workspace whose snapshot holds every row of `before`.
pub fn snapshot(
    options: &Options,
    folder: &Path,
    before: &Path,
    sink: &Sink,
    table: &mut Table,
) -> io::Result<Workspace> {
    if options.is_reused && folder.join("state").exists() {
        let workspace = Workspace::reopen(folder, FILE, sink.address, options.concurrency)?;
        // Whatever an earlier bench left: that of one that was broken off is another version.
        workspace.set_source(before)?;
        workspace.sync()?;
        return Ok(workspace);
    }
    let workspace = Workspace::create(folder, FILE, sink.address, options.concurrency)?;
    workspace.set_source(before)?;
    sink.take();
    let (full, answer) = workspace.sync()?;
    expect(number(&answer, "delivered"), options.rows)?;
    expect(sink.take().records, options.rows)?;
    table.add("`sync`: the first, full run", &full, None);
    println!("  state after the full run: {} MB", workspace.state_size()? / 1_000_000);
    Ok(workspace)
}

/// Makes the snapshot hold `before` again: the same difference the other way round. A copy of the state would be taken for
/// what it is, and refused.
fn go_back(workspace: &Workspace, before: &Path, difference: Difference) -> io::Result<()> {
    workspace.set_source(before)?;
    let (_, answer) = workspace.sync()?;
    let Difference { changed, added, removed } = difference;
    check(&answer, Difference { changed, added: removed, removed: added })
}

/// The bare scan of a file, and the sync of it, alternately: the file is another one for each run, so that none is skipped,
/// and holds the same.
fn unchanged(
    options: &Options,
    workspace: &Workspace,
    before: &Path,
    sink: &Sink,
) -> io::Result<(Measured, Measured)> {
    let (mut scans, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        scans.push(scan(before, workspace.folder())?);
        workspace.set_source(before)?;
        sink.take();
        let (sync, answer) = workspace.sync()?;
        expect(number(&answer, "unchanged"), options.rows)?;
        let Taken { requests, .. } = sink.take();
        expect(requests, 0)?;
        syncs.push(sync);
    }
    Ok((median(&scans), median(&syncs)))
}

fn scan(path: &Path, folder: &Path) -> io::Result<Measured> {
    let mut process = Command::new(std::env::current_exe()?);
    process.arg("scan").arg(path);
    process::measure(&mut process, &folder.join("scan.log"))
}

fn number(answer: &Value, name: &str) -> u64 {
    answer["tally"][name].as_u64().unwrap_or(0)
}

/// A plan or run that found this difference.
pub fn check(answer: &Value, expected: Difference) -> io::Result<()> {
    expect(number(answer, "upserts"), expected.changed + expected.added)?;
    expect(number(answer, "deletes"), expected.removed)
}

/// A delta of DuckDB that found this difference.
pub fn check_peer(compared: &Measured, expected: Difference) -> io::Result<()> {
    let answer: Value = serde_json::from_str(&compared.output).map_err(io::Error::other)?;
    for (name, number) in
        [("changed", expected.changed), ("added", expected.added), ("removed", expected.removed)]
    {
        expect(answer[name].as_u64().unwrap_or(0), number)?;
    }
    Ok(())
}

/// A measurement of a wrong answer is none.
pub fn expect(found: u64, expected: u64) -> io::Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("found {found} where {expected} were expected")))
}
