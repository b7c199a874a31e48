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
mod demand;
mod evidence;
mod kills;
mod load;
mod planted;
mod record;
mod runner;
mod simulator;
mod soak;
mod strace;
mod synced;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::evidence::Part;
use self::load::fleet::Firing;
use self::record::Asked;
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
    /// Everything, whole, and `tests/EVIDENCE.md` written anew as it goes on
    Evidence(Evidence),
    /// Many syncs that are due together, and kills of their server: times, and invariants
    Load(Load),
    /// Kills, histories and scenarios in turns, and a table of what came of them
    Soak {
        /// How long
        minutes: u64,
        /// The first seed, of the kills and of the histories; a random one if none is given
        #[arg(long)]
        seed: Option<u64>,
        /// All points of scenarios that play a sample of theirs
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
struct Evidence {
    #[arg(long, default_value_t = 10_000)]
    kills: u64,
    #[arg(long, default_value_t = 1_000_000)]
    histories: u64,
    /// The first seed, of the kills and of the histories
    #[arg(long, default_value_t = 1_000_000)]
    seed: u64,
    /// These parts alone; the others stay on the page as they are
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
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
struct Load {
    #[arg(long, default_value_t = 1_000)]
    syncs: u32,
    /// Minutes under load before the first kill; the syncs are due in each
    #[arg(long, default_value_t = 3)]
    minutes: u32,
    /// Kills of the server after that
    #[arg(long, default_value_t = 100)]
    cycles: u32,
    #[arg(long, default_value_t = 50)]
    max_running: u32,
    /// How long the destination takes for an answer, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    answer: u64,
    /// How long a server without work is looked at, twice, in seconds
    #[arg(long, default_value_t = 20)]
    idle: u64,
    /// The longest time from being ready to a kill, in seconds
    #[arg(long, default_value_t = 4)]
    life: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the table to `tests/LOAD.md`
    #[arg(long)]
    record: bool,
}

impl Load {
    fn play(&self) -> bool {
        let wrong = load::play(&load::Asked {
            syncs: self.syncs,
            max_running: self.max_running,
            firing: Firing::Minutely,
            ticks: self.minutes,
            cycles: self.cycles,
            answer: Duration::from_millis(self.answer),
            idle: Duration::from_secs(self.idle),
            longest_life: Duration::from_secs(self.life),
            seed: self.seed,
            is_quiet: false,
            is_recorded: self.record,
        });
        wrong.iter().for_each(|wrong| eprintln!("{wrong}"));
        wrong.is_empty()
    }
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
    let wrong = [catalogue::unsound(), planted::unsound()].concat();
    if !wrong.is_empty() {
        eprintln!("the kit is not as it must be:\n{}", wrong.join("\n"));
        return ExitCode::FAILURE;
    }
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
        Some(Ask::Planted) => planted::is_found(&planted::play(&|_| {})),
        Some(Ask::Evidence(Evidence { kills, histories, seed, only })) => {
            let parts = if only.is_empty() { Part::ALL.to_vec() } else { only };
            record::play(&Asked { parts, kills, histories, seed })
        }
        Some(Ask::Load(load)) => load.play(),
        Some(Ask::Soak { minutes, seed, all }) => {
            if all {
                catalogue::be_exhaustive();
            }
            // Short enough to be typed.
            let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
            soak::play(Duration::from_secs(60 * minutes), seed)
        }
        None if command.names.is_empty() => {
            simulator::play(1, Extent::Histories(HISTORIES))
                & runner::sum_up(&runner::play(&catalogue::all(), &|_| {}))
                & planted::is_found(&planted::play(&|_| {}))
        }
        None => runner::play_named(&command.names),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
