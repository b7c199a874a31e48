//! The fault kit: an oracle destination, a checker of its journal, the real binary as a process, a workspace for it.

pub mod after;
pub mod arrow;
pub mod asked;
pub mod canaries;
pub mod case;
pub mod certificates;
pub mod check;
pub mod counts;
pub mod delta_log;
pub mod fault;
pub mod front;
pub mod journal;
pub mod judge;
pub mod kinds;
pub mod known;
pub mod names;
pub mod oracle;
pub mod parquet;
pub mod people;
pub mod play;
pub mod process;
pub mod server;
pub mod table;
pub mod wire;
pub mod workspace;

/// The bearer token that the oracle demands; a canary, as it must be printed nowhere (I12).
pub const TOKEN: &str = "canary-token-5bd1e995";

/// Another token of the same account that the oracle takes; a canary of its own, of which the other is no part.
pub const NEXT_TOKEN: &str = "fresh-secret-a07c41d2";

/// How long a scenario waits for something that should come at once.
pub const SOON: std::time::Duration = std::time::Duration::from_secs(30);
