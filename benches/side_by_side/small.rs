//! A few changed rows of a large model: what a commit costs, how soon they are delivered, what a run costs that has
//! nothing to do, and the start of the binary.

use std::io;
use std::time::Duration;

use crate::Options;
use crate::data;
use crate::delta::{expect, snapshot};
use crate::process::{Measured, median};
use crate::product::Workspace;
use crate::sink::Sink;
use crate::table::Table;

/// What the destination takes to answer, in milliseconds, where that is measured.
const DELAY: u64 = 50;
/// A file that was changed more shortly before a read is read once more.
const AT_REST: Duration = Duration::from_millis(2_500);
/// Records of a request, as the bench's config says.
const BATCH: u64 = 100;

pub fn run(options: &Options, sink: &Sink) -> io::Result<()> {
    let rows = options.rows;
    let [before, _] = data::files(&options.folder, rows)?;
    let folder = options.folder.join(format!("delta-{rows}"));
    let mut table = Table::new();
    let workspace = snapshot(options, &folder, &before, sink, &mut table)?;
    for changed in [10, 1_000] {
        let other = data::changed(&options.folder, rows, changed)?;
        sink.delay(if changed == 1_000 { DELAY } else { 0 });
        let (mut syncs, mut commits) = (Vec::new(), Vec::new());
        for source in (0..options.rounds).flat_map(|_| [&other, &before]) {
            workspace.set_source(source)?;
            let (sync, answer) = workspace.sync()?;
            expect(answer["tally"]["delivered"].as_u64().unwrap_or(0), changed)?;
            commits.push(answer["took"]["committing"].as_u64().unwrap_or(u64::MAX));
            syncs.push(sync);
        }
        sink.delay(0);
        commits.sort_unstable();
        let sync = median(&syncs);
        table.add(&format!("`sync`: {changed} rows changed"), &sync, None);
        let commit = commits[commits.len() / 2];
        println!("  {changed} rows: commit {commit} ms, {} kB written in all", sync.written / 1000);
        if changed == 1_000 {
            latency(options, &workspace, &other, &before, &sync, sink)?;
        }
    }
    skips(options, &workspace, &before, &mut table)?;
    versions(options, &workspace, &mut table)?;
    table.print();
    Ok(())
}

/// What of a run of 1,000 changed rows is the destination's.
fn latency(
    options: &Options,
    workspace: &Workspace,
    other: &std::path::Path,
    before: &std::path::Path,
    slow: &Measured,
    sink: &Sink,
) -> io::Result<()> {
    let mut quick = Vec::new();
    for source in [other, before] {
        workspace.set_source(source)?;
        sink.take();
        let (sync, _) = workspace.sync()?;
        expect(sink.take().records, 1_000)?;
        quick.push(sync);
    }
    let requests = 1_000_u64.div_ceil(BATCH);
    let waits = requests.div_ceil(u64::from(options.concurrency)) * DELAY;
    println!(
        "  1,000 rows: {:.2} s with a destination that answers in {DELAY} ms ({requests} requests, {} at once: {waits} ms \
         at least), {:.2} s with one that answers at once",
        slow.seconds,
        options.concurrency,
        median(&quick).seconds
    );
    Ok(())
}

/// Over the very file that a run has read to its end.
fn skips(
    options: &Options,
    workspace: &Workspace,
    before: &std::path::Path,
    table: &mut Table,
) -> io::Result<()> {
    workspace.set_source(before)?;
    std::thread::sleep(AT_REST);
    workspace.sync()?;
    let mut skipped = Vec::new();
    for _ in 0..options.rounds {
        let (sync, answer) = workspace.sync()?;
        if answer["outcome"] != "skipped" {
            return Err(io::Error::other(format!("it was not skipped: {answer}")));
        }
        skipped.push(sync);
    }
    table.add("`sync`: skipped, as the file is the same", &median(&skipped), None);
    Ok(())
}

fn versions(options: &Options, workspace: &Workspace, table: &mut Table) -> io::Result<()> {
    let measured = (0..options.rounds.max(5)).map(|_| workspace.version());
    table.add("`version`", &median(&measured.collect::<io::Result<Vec<_>>>()?), None);
    Ok(())
}
