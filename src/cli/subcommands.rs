//! What follows `runs`, `group`, `source`, `token` and `connection` on the command line.

use clap::Subcommand;

use super::values::{lifetime, message, run, token_name};
use crate::store::Scope;

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum RunsCommand {
    /// Show one run with its counts
    Show {
        #[arg(value_parser = run)]
        run: u64,
        /// Tell how it goes on until its end, and end with its exit code
        #[arg(long)]
        follow: bool,
    },
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum GroupCommand {
    /// Resume every sync of the group that is paused, and run each that does nothing
    Start {
        name: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Pause every sync of the group: what is in flight is finished first
    Stop {
        name: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show how each group stands
    Status { name: Option<String> },
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum SourceCommand {
    /// Disable a source: what its syncs have in flight is finished first, and none of them runs until it is enabled
    Disable {
        name: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
    },
    /// Enable a source that is disabled: the schedules of its syncs go on
    Enable {
        name: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
    },
}

/// What can be done with tokens.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is printed once
    Create {
        /// By which the audit log names it
        #[arg(value_parser = token_name)]
        name: String,
        /// How much it may do; each scope may also do what those before it may
        #[arg(long, value_enum)]
        scope: TokenScope,
        /// After how long it opens nothing any more, such as `12h` or `90d`
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        expires: Option<std::time::Duration>,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
    /// List all tokens that were ever made
    List,
    /// End a token for good
    Revoke {
        name: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
}

/// How much a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenScope {
    /// Ask
    Read,
    /// Begin and stop runs
    Run,
    /// Change what runs: pauses, groups, sources, connections, decisions
    Write,
    /// Everything
    Admin,
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Scope {
        match scope {
            TokenScope::Read => Scope::Read,
            TokenScope::Run => Scope::Run,
            TokenScope::Write => Scope::Write,
            TokenScope::Admin => Scope::Admin,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum ConnectionCommand {
    /// Let syncs write over another connection from now on: rewrites the config file, and begins their snapshots afresh
    Replace {
        old: String,
        new: String,
        /// Only this sync; may be said several times
        #[arg(long, value_name = "SYNC", conflicts_with = "group")]
        sync: Vec<String>,
        /// Only the syncs of this group
        #[arg(long)]
        group: Option<String>,
        /// The other account holds what the snapshots say all the same
        #[arg(long)]
        keep_snapshot: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
}
