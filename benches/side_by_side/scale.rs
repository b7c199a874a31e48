//! From a million rows to a hundred million, and rows of four kilobytes: time, memory and disk of runs under one
//! `memory_limit`.
//!
//! Each size is measured once, and its data and state are removed behind it: the largest takes 20 GB of disk meanwhile.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::Options;
use crate::data::{self, Version};
use crate::delta::expect;
use crate::process::Measured;
use crate::product::{FILE, Workspace};
use crate::sink::Sink;

/// Rows of each size.
const SIZES: [u64; 4] = [1_000_000, 10_000_000, 50_000_000, 100_000_000];
/// Rows with a long text.
const WIDE: u64 = 1_000_000;

pub fn run(options: &Options, sink: &Sink) -> io::Result<()> {
    println!(
        "| rows | run | time | processor | processor, a million rows | peak memory | state, then |"
    );
    println!("|---|---|---|---|---|---|---|");
    let folder = options.folder.join("scale");
    for rows in SIZES.into_iter().filter(|rows| *rows <= options.rows) {
        let [before, after] = data::files(&options.folder, rows)?;
        let workspace = Workspace::create(&folder, FILE, sink.address, options.concurrency)?;
        let difference = data::difference(rows);
        let to_send = difference.changed + difference.added;
        for (what, source, upserts) in
            [("first", &before, rows), ("1.2 % changed", &after, to_send), ("unchanged", &after, 0)]
        {
            measure(&workspace, source, (rows, what, upserts))?;
        }
        remove(&folder, &[&before, &after], rows > options.rows.min(10_000_000))?;
    }
    let wide = data::file(&options.folder, WIDE, Version::Wide)?;
    let workspace = Workspace::create(&folder, FILE, sink.address, options.concurrency)?;
    measure(&workspace, &wide, (WIDE, "first, rows of 4 kB", WIDE))?;
    measure(&workspace, &wide, (WIDE, "unchanged, rows of 4 kB", 0))?;
    remove(&folder, &[&wide], true)
}

fn measure(workspace: &Workspace, source: &Path, run: (u64, &str, u64)) -> io::Result<()> {
    let (rows, what, upserts) = run;
    workspace.set_source(source)?;
    let (Measured { seconds, processor_seconds, peak, .. }, answer) = workspace.sync()?;
    let number = |name: &str| answer["tally"].get(name).and_then(Value::as_u64).unwrap_or(0);
    expect(number("upserts"), upserts)?;
    expect(number("delivered"), upserts + number("deletes"))?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (millions, megabytes) = (rows as f64 / 1e6, peak as f64 / 1e6);
    let (each, state) = (processor_seconds / millions, workspace.state_size()? / 1_000_000);
    println!(
        "| {millions:.0} M | {what} | {seconds:.2} s | {processor_seconds:.2} s | {each:.2} s | {megabytes:.0} MB | {state} MB |"
    );
    Ok(())
}

fn remove(folder: &Path, files: &[&Path], are_files_too: bool) -> io::Result<()> {
    std::fs::remove_dir_all(folder)?;
    files.iter().filter(|_| are_files_too).try_for_each(std::fs::remove_file)
}
