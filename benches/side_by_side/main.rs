//! Counterflow and its alternatives side by side: whole processes, in one run, as ratios of medians.
//!
//! `cargo bench` measures all but `postgres`, `lake` and `scale`, `cargo bench -- delta`, `small`, `delivery`, `postgres`, `lake` or
//! `scale` one part; `benches/README.md` says what is compared with what. Nothing here asserts a time; a wrong answer of either side is an error.

mod answer;
mod data;
mod delivery;
mod delta;
mod delta_table;
mod lake;
mod peers;
mod postgres;
mod process;
mod product;
mod scale;
mod scan;
mod servers;
mod sink;
mod small;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use peers::Peers;
use sink::Sink;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure Counterflow beside its alternatives
#[derive(Debug, Parser)]
pub struct Options {
    /// What to measure: delta, small, delivery, or nothing for these; postgres; lake; scale, up to so many `--rows`
    what: Option<String>,
    /// For `scan`, which measures call in a process of its own
    file: Option<PathBuf>,
    /// For `answer`, which measures call in a process of its own
    #[arg(long, hide = true)]
    way: Option<answer::Way>,
    /// Of the server that gives the answer
    #[arg(long, hide = true, default_value_t = 5432)]
    port: u16,
    /// Rows of the delta
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Records of the delivery, rows of the PostgreSQL table
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Measurements of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests in flight at once
    #[arg(long, default_value_t = 8)]
    concurrency: u32,
    /// Begin with the snapshot of the last run of the bench instead of a full send
    #[arg(long = "reuse")]
    is_reused: bool,
    /// Leave the alternatives out
    #[arg(long = "alone")]
    is_alone: bool,
    /// Where data and states are kept
    #[arg(long, default_value_os_t = folder())]
    folder: PathBuf,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// Beside the profiles' folders in the target folder.
fn folder() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_counterflow"));
    binary.ancestors().nth(2).unwrap_or(Path::new(".")).join("bench-data")
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let what = options.what.take();
    if what.as_deref() == Some("scan") {
        let file = options.file.ok_or("`scan` needs a file")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        println!("{}", runtime.block_on(scan::scan(&file))?);
        return Ok(());
    }
    if what.as_deref() == Some("answer") {
        let way = options.way.ok_or("`answer` needs a way")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        println!("{}", runtime.block_on(answer::read(way, options.port, postgres::QUERY))?);
        return Ok(());
    }
    const ALL: [&str; 6] = ["delta", "small", "delivery", "postgres", "lake", "scale"];
    if let Some(unknown) = what.as_deref().filter(|what| !ALL.contains(what)) {
        return Err(format!("`{unknown}` is not measured here; say {}", ALL.join(" or ")).into());
    }
    std::fs::create_dir_all(&options.folder)?;
    options.folder = options.folder.canonicalize()?;
    let peers =
        if options.is_alone || matches!(what.as_deref(), Some("scale" | "postgres" | "lake")) {
            None
        } else {
            Peers::install(&options.folder)
                .inspect_err(|error| eprintln!("the alternatives are not measured: {error}"))
                .ok()
        };
    let sink = Sink::start()?;
    if what.as_deref() == Some("scale") {
        return Ok(scale::run(&options, &sink)?);
    }
    if what.as_deref() == Some("postgres") {
        return Ok(postgres::run(&options, &sink)?);
    }
    if what.as_deref() == Some("lake") {
        return Ok(lake::run(&options, &sink)?);
    }
    let is_wanted = |name| what.as_deref().is_none_or(|what| what == name);
    if is_wanted("delta") {
        delta::run(&options, peers.as_ref(), &sink)?;
    }
    if is_wanted("small") {
        // What `delta` has left serves here too.
        options.is_reused |= what.is_none();
        small::run(&options, &sink)?;
    }
    if is_wanted("delivery") {
        delivery::run(&options, peers.as_ref(), &sink)?;
    }
    Ok(())
}
