//! The fault kit: everything of the catalogue that the product must survive, played to the real binary and to the pure
//! core, and judged by the invariants (`tests/support/judge.rs`). `-- --help` says what it can be asked for.
#![cfg(unix)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/behaviour; each uses a part of it")]
mod support;

mod catalogue;
mod confine;
mod damage;
mod kills;
mod planted;
mod runner;
mod strace;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Plays faults to counterflow and judges what it did.
#[derive(Debug, Parser)]
#[command(name = "faults", args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    ask: Option<Ask>,
    /// Only the scenarios whose id is one of these or whose name holds one of them, such as `A7`
    names: Vec<String>,
    /// All points of scenarios that play a sample of theirs, such as C1
    #[arg(long)]
    all: bool,
    /// What `cargo test` hands to every test program; taken and not needed
    #[arg(long, hide = true)]
    nocapture: bool,
}

#[derive(Debug, Subcommand)]
enum Ask {
    /// The catalogue, a line each
    List,
    /// The real binary, killed at random times and moments
    Kills(Kills),
    /// Scenarios and random kills again and again, and a table of what came of it
    Soak {
        /// How long
        minutes: u64,
        #[arg(long)]
        seed: Option<u64>,
    },
}

#[derive(Debug, Args)]
struct Kills {
    #[arg(long, default_value_t = 300)]
    count: u64,
    /// The first seed; each story has its own, counted up from here
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One story alone, the one with the seed
    #[arg(long)]
    once: bool,
}

/// What `cargo test` plays: small enough for every change.
const KILLS: u64 = 300;

fn main() -> ExitCode {
    let command = Command::parse();
    if command.all {
        catalogue::be_exhaustive();
    }
    let is_well = match command.ask {
        Some(Ask::List) => {
            catalogue::all().iter().for_each(|scenario| println!("{scenario}"));
            true
        }
        Some(Ask::Kills(Kills { count, seed, once })) => {
            kills::play(seed, if once { 1 } else { count }).is_well()
        }
        Some(Ask::Soak { minutes, seed }) => {
            catalogue::be_exhaustive();
            runner::soak(Duration::from_secs(60 * minutes), seed.unwrap_or_else(rand::random))
        }
        None if command.names.is_empty() => {
            runner::play(&catalogue::all()) & kills::play(1, KILLS).is_well()
        }
        None => runner::play_named(&command.names),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
