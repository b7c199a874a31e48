//! The fault kit: everything of the catalogue that the product must survive, played to the real binary and to the pure
//! core, and judged by the invariants (`tests/support/judge.rs`). `-- --help` says what it can be asked for.
#![cfg(unix)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/behaviour; each uses a part of it")]
mod support;

mod calls;
mod catalogue;
mod confine;
mod damage;
mod evidence;
mod kills;
mod planted;
mod runner;
mod simulator;
mod strace;
mod synced;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::simulator::Extent;

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
    /// Histories of the pure core, made from seeds
    Simulator(Simulator),
    /// Defects planted in the product, each of which a scenario must find
    Planted,
    /// Everything, whole, and `tests/EVIDENCE.md` written anew
    Evidence {
        #[arg(long, default_value_t = 10_000)]
        kills: u64,
        #[arg(long, default_value_t = 1_000_000)]
        histories: u64,
    },
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

#[derive(Debug, Args)]
struct Simulator {
    #[arg(long, default_value_t = HISTORIES)]
    count: u64,
    /// The first seed; each history has its own, counted up from here
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One history alone, the one with the seed
    #[arg(long)]
    once: bool,
    /// As many as come to their end in so many minutes
    #[arg(long)]
    minutes: Option<u64>,
}

impl Simulator {
    fn extent(&self) -> Extent {
        match (self.once, self.minutes) {
            (true, _) => Extent::Histories(1),
            (false, Some(minutes)) => Extent::Time(Duration::from_secs(60 * minutes)),
            (false, None) => Extent::Histories(self.count),
        }
    }
}

/// Histories of the pure core that are played where nobody says how many.
const HISTORIES: u64 = 20_000;

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
            if once {
                kills::once(seed)
            } else {
                kills::play(seed, count).is_well()
            }
        }
        Some(Ask::Simulator(asked)) => simulator::play(asked.seed, asked.extent()),
        Some(Ask::Planted) => planted::is_found(&planted::play()),
        Some(Ask::Evidence { kills, histories }) => write_evidence(kills, histories),
        Some(Ask::Soak { minutes, seed }) => {
            catalogue::be_exhaustive();
            runner::soak(Duration::from_secs(60 * minutes), seed.unwrap_or_else(rand::random))
        }
        None if command.names.is_empty() => {
            simulator::play(1, Extent::Histories(HISTORIES))
                & runner::sum_up(&runner::play(&catalogue::all()))
                & planted::is_found(&planted::play())
        }
        None => runner::play_named(&command.names),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays everything and writes down what came of it, whatever it is.
fn write_evidence(kills: u64, histories: u64) -> bool {
    catalogue::be_exhaustive();
    let scenarios = runner::play(&catalogue::all());
    let killed = kills::play(1_000_000, kills);
    let is_simulated = simulator::play(1, Extent::Histories(histories));
    let planted = planted::play();
    let is_well =
        is_simulated & runner::sum_up(&scenarios) & killed.is_well() & planted::is_found(&planted);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo test --features faults --test faults -- {}", words.join(" "));
    let evidence = evidence::Evidence { scenarios, figures: runner::figures(), planted, command };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/EVIDENCE.md");
    evidence.write(&path).expect("the page can be written");
    is_well
}
