//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use clap_complete::Shell;

use super::output::Format;
use super::subcommands::{
    ConnectionCommand, GroupCommand, RunsCommand, SourceCommand, TokenCommand,
};
use super::values::{key, message, run};

/// A reverse-ETL sync engine that never loses a row and never deletes without proof.
#[derive(Debug, Parser)]
#[command(name = "counterflow", version, max_term_width = 100)]
pub struct Arguments {
    /// The config file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "COUNTERFLOW_CONFIG",
        default_value = "counterflow.yaml"
    )]
    pub config: PathBuf,
    /// How answers are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// How the log is written to standard error [default: as answers are printed]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// Log more; twice, log still more
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Known by this key, a repetition of the command within a day has no second effect
    #[arg(long, global = true, value_name = "KEY", value_parser = key)]
    pub idempotency_key: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Write a config file to begin with
    Init,
    /// Check the config file and name everything that is wrong with it
    Validate {
        /// Open the models too: their columns, and how each field will look in JSON. Sends no row
        #[arg(long)]
        sources: bool,
        /// The models to open; all unless said
        #[arg(requires = "sources", value_name = "MODEL")]
        models: Vec<String>,
    },
    /// Test connections and sources; without a name all, and the room on the disk. Sends no row
    Doctor {
        /// A connection or a source; `source/NAME` or `connection/NAME` where a name is both
        name: Option<String>,
    },
    /// Show what a run would do; sends and changes nothing
    Plan { sync: String },
    /// Run a sync here, or in the running server, and wait for its end
    Sync {
        sync: String,
        /// Force Full Resync: send every current row again
        #[arg(long)]
        full: bool,
        /// The key or the destination changed, and the destination holds what the snapshot says all the same
        #[arg(long)]
        keep_snapshot: bool,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
    /// Send chosen rows, whatever the delta says, also while the sync is paused; never deletes
    Sample {
        sync: String,
        /// So many rows at most
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// The row with this key, as `status` and `rejected` show it; may be said several times
        #[arg(long, value_name = "KEY", conflicts_with_all = ["limit", "condition"])]
        key: Vec<String>,
        /// The rows with the keys in this file, one a line
        #[arg(long, value_name = "FILE", conflicts_with_all = ["limit", "condition"])]
        keys: Option<PathBuf>,
        /// The rows for which this SQL over the model's columns holds, such as `plan = 'pro'`
        #[arg(long = "where", value_name = "SQL")]
        condition: Option<String>,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
    /// Run syncs by their schedules and on request over HTTP, until a signal
    Serve,
    /// Have the running server read its config file again
    Reload {
        /// Only if this revision of the config runs
        #[arg(long)]
        revision: Option<String>,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
    /// Stop the run of a sync: what is in flight is finished first
    Stop {
        sync: String,
        /// Drop what is in flight too
        #[arg(long)]
        now: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
    },
    /// Pause a sync: what is in flight is finished first, and nothing runs until it is resumed
    Pause {
        sync: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
        /// Resume by itself after so long, such as 30m, 2h or 3d
        #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
        lasting: Option<String>,
        /// Resume by itself at this instant, such as 2026-05-04T12:00:00Z
        #[arg(long, value_name = "INSTANT")]
        until: Option<String>,
        /// Decide that what waits now shall never be sent; asks first
        #[arg(long)]
        discard_backlog: bool,
        /// Do not ask
        #[arg(long, short, requires = "discard_backlog")]
        yes: bool,
    },
    /// Resume a sync that is paused: its schedule goes on
    Resume {
        sync: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
    },
    /// Start or stop all syncs of a group, or show how it stands
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// Disable a source, so that none of its syncs runs, or enable it
    Source {
        #[command(subcommand)]
        command: SourceCommand,
    },
    /// Let the deletes held in a run go: reads again, and deletes those still gone
    Release {
        #[arg(value_parser = run)]
        run: u64,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
    },
    /// Never make the deletes held in a run: their records are no longer ours
    Discard {
        #[arg(value_parser = run)]
        run: u64,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Set the snapshot of a sync aside: the next run is full, and rows already gone are never deleted
    Rebaseline {
        sync: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Remove what is left of a sync that is no longer in the config: snapshot, pause, runs
    Forget {
        sync: String,
        /// Why
        #[arg(long, short, value_name = "WHY", value_parser = message)]
        message: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Change connections
    Connection {
        #[command(subcommand)]
        command: ConnectionCommand,
    },
    /// Show each sync: its last run, what is held, when it runs next; and how each connection stands over its syncs
    Status { sync: Option<String> },
    /// List runs, the newest first, or show one
    #[command(args_conflicts_with_subcommands = true)]
    Runs {
        #[command(subcommand)]
        command: Option<RunsCommand>,
        sync: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// List the records that could not be delivered, and why
    Rejected {
        sync: String,
        /// Of this run only
        #[arg(long, value_parser = run)]
        run: Option<u64>,
    },
    /// List the commands that were given, by whom and why, the newest first
    Audit {
        sync: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Make, list and revoke tokens for the HTTP interface
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show what is known of one record; a key of several fields is written `a/b`
    Explain { sync: String, key: String },
    /// Watch a sync being stopped and killed against a destination that misbehaves, and nothing lost
    Demo {
        /// Which faults come when
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// Keep the demo's folder
        #[arg(long)]
        keep: bool,
        /// Only run the destination, until Ctrl-C, for `config.example.yaml`
        #[arg(long, conflicts_with = "keep")]
        serve: bool,
        /// Where the destination listens: a loopback address [default: 127.0.0.1:8089]
        #[arg(long, value_name = "ADDRESS", requires = "serve")]
        listen: Option<SocketAddr>,
    },
    /// Print the JSON Schema of the config file, for editors
    Schema,
    /// Print what a shell needs to complete commands and their options
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Show the version
    Version,
}

impl Command {
    /// Whether it changes something that a repetition under the same key must not change again.
    pub fn takes_key(&self) -> bool {
        match self {
            Command::Group { command } => !matches!(command, GroupCommand::Status { .. }),
            Command::Reload { .. }
            | Command::Stop { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Source { .. }
            | Command::Discard { .. }
            | Command::Rebaseline { .. }
            | Command::Forget { .. }
            | Command::Connection { .. } => true,
            _ => self.begins_run(),
        }
    }

    /// Whether it waits for the end of a run that it begins.
    pub fn begins_run(&self) -> bool {
        matches!(self, Command::Sync { .. } | Command::Sample { .. } | Command::Release { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(
            std::iter::once("counterflow").chain(line.split(' ').filter(|word| !word.is_empty())),
        )
    }

    #[test]
    fn the_definition_contradicts_itself_nowhere() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn global_arguments_stand_before_the_command_or_after_it() {
        for line in [
            "--config a.yaml --format json sync crm --full",
            "sync crm --full --format json --config a.yaml",
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.config, PathBuf::from("a.yaml"));
            assert_eq!(arguments.format, Format::Json);
            assert_eq!(
                arguments.command,
                Command::Sync {
                    sync: "crm".into(),
                    full: true,
                    keep_snapshot: false,
                    message: None
                }
            );
        }
        let plain = parse("status -vv").unwrap();
        assert_eq!(plain.config, PathBuf::from("counterflow.yaml"));
        assert_eq!((plain.format, plain.verbose), (Format::Human, 2));
    }

    #[test]
    fn a_decision_demands_a_message_that_says_something() {
        for line in [
            "release 7",
            "discard 7 --yes",
            "rebaseline crm --yes",
            "release 7 --message=",
            "pause crm",
            "resume crm --message=",
            "source disable lake",
            "source enable lake --message=",
            "pause crm -m why --for 2h --until 2026-05-04T12:00:00Z",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        let release = parse("release 7 -m why").unwrap().command;
        assert_eq!(release, Command::Release { run: 7, message: "why".into() });
    }

    #[test]
    fn words_that_are_no_command_are_refused() {
        for line in [
            "",
            "synch crm",
            "sync",
            "release seven -m why",
            "runs --limit 0",
            "runs --limit 5 show 3",
            "runs show people",
            "runs show",
            "audit --limit 0",
            "token create local --scope read",
            "token create a/b --scope read",
            "token create ci",
            "token create ci --scope all",
            "token create ci --scope read --expires soon",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
