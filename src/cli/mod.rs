//! The commands: arguments in, text or JSON and an exit code out.
//!
//! One file a command; each ends in an `Exit` or a `Failure`. Standard output is the
//! command's answer, standard error is for problems, questions and progress. Not responsible for rules: those are the
//! engine's and the domain's. Invariant: reading commands take no lock and write nothing.

mod address;
mod arguments;
mod audit;
mod backlog;
mod bar;
mod beside;
mod completions;
mod confirm;
mod decide;
mod demo;
mod describing;
mod doctor;
mod ending;
mod exit;
mod explain;
mod failure;
mod forget;
mod group;
mod init;
mod last_good;
mod notify;
mod once;
pub mod order;
mod output;
mod pause;
mod plan;
mod rebaseline;
mod rejected;
mod reload;
mod reloading;
mod replace;
mod report_text;
mod run;
mod running;
mod runs;
mod sample;
mod schema;
mod serve;
mod source;
mod state;
mod status;
mod stop;
mod stopping;
mod subcommands;
mod sync;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod validate;
mod values;
mod version;

use std::ffi::OsString;

use clap::Parser;

use arguments::{Arguments, Command};
use exit::Exit;
use failure::Failure;
use output::{Format, Output};
use state::Place;
use subcommands::{ConnectionCommand, RunsCommand};

use crate::config::replacing;
use crate::shutdown;

/// Runs one command; its exit code (design.md §6).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let wants_json = wants_json(&arguments);
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(refused) if refused.use_stderr() && wants_json => {
            let text = refused.to_string();
            let text = text.trim().trim_start_matches("error: ");
            return Output::new(Format::Json).failed(&Failure::usage(text));
        }
        Err(refused) => {
            // The terminal may be gone; there is nobody left to tell.
            let _ = refused.print();
            return if refused.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() };
        }
    };
    let output = Output::new(arguments.format);
    let log = match arguments.log_format.unwrap_or(arguments.format) {
        Format::Human => crate::telemetry::LogFormat::Human,
        Format::Json => crate::telemetry::LogFormat::Json,
    };
    if let Err(error) = crate::telemetry::start(log, arguments.verbose) {
        return output.failed(&Failure::usage(error.to_string()));
    }
    if let Err(failure) = stopping::check_descriptors() {
        return output.failed(&failure);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output.failed(&Failure::failed(format!("no threads can be started: {error}")));
        }
    };
    let code = runtime.block_on(Box::pin(run(arguments, &output)));
    // What will not yield must not keep the process; all else is waited for, as a query's threads are.
    shutdown::end_runtime(runtime, shutdown::LONGEST_JOIN);
    output.delivered(code)
}

/// Whether JSON is asked for by arguments that may be wrong otherwise.
fn wants_json(arguments: &[OsString]) -> bool {
    let is_split = |pair: &[OsString]| pair[0] == "--format" && pair[1] == "json";
    arguments.windows(2).any(is_split) || arguments.iter().any(|word| word == "--format=json")
}

async fn run(arguments: Arguments, output: &Output) -> u8 {
    if let Err(failure) = stopping::outlive_file_limits() {
        return output.failed(&failure);
    }
    let claim = match once::claim(arguments.idempotency_key, &arguments.command) {
        Ok(claim) => claim,
        Err(failure) => return output.failed(&failure),
    };
    let begins_run = arguments.command.begins_run();
    let place = Place::new(arguments.config, claim);
    let work = Box::pin(carry_out(&place, output, arguments.command));
    once::carried_out(&place, output, begins_run, work).await
}

async fn carry_out(place: &Place, output: &Output, command: Command) -> u8 {
    let ended = match command {
        Command::Validate { sources, models } => {
            validate::run(place, output, sources.then_some(models)).await
        }
        Command::Doctor { name } => doctor::run(place, output, name.as_deref()).await,
        Command::Init => init::run(place, output),
        Command::Version => Ok(version::run(output)),
        Command::Schema => Ok(schema::run(output)),
        Command::Completions { shell } => Ok(completions::run(output, shell)),
        Command::Plan { sync } => plan::run(place, output, &sync).await,
        Command::Sync { sync, full, keep_snapshot, message } => {
            let asked = sync::Asked { is_full: full, keeps_snapshot: keep_snapshot, message };
            return sync::run(place, output, &sync, asked).await;
        }
        Command::Stop { sync, now, yes, message } => {
            stop::run(place, output, stop::Asked { sync, now, yes, message }).await
        }
        Command::Pause { sync, message, lasting, until, discard_backlog, yes } => {
            let asked = pause::Asked { sync, is_paused: true, message, lasting, until };
            if discard_backlog {
                backlog::run(place, output, asked, yes).await
            } else {
                pause::run(place, output, asked).await
            }
        }
        Command::Resume { sync, message } => {
            let (lasting, until) = (None, None);
            let asked = pause::Asked { sync, is_paused: false, message, lasting, until };
            pause::run(place, output, asked).await
        }
        Command::Group { command } => group::run(place, output, command).await,
        Command::Source { command } => source::run(place, output, command).await,
        Command::Sample { sync, limit, key, keys, condition, message } => {
            let asked = sample::Asked { limit, key, keys, condition, message };
            sample::run(place, output, &sync, asked).await
        }
        Command::Reload { revision, message } => {
            reload::run(place, output, revision.as_deref(), message.as_deref()).await
        }
        Command::Serve => serve::run(place, output).await,
        Command::Release { run, message } => decide::release(place, output, run, &message).await,
        Command::Discard { run, message, yes } => {
            decide::discard(place, output, run, &message, yes).await
        }
        Command::Rebaseline { sync, message, yes } => {
            rebaseline::run(place, output, &sync, &message, yes).await
        }
        Command::Forget { sync, message, yes } => {
            forget::run(place, output, &sync, message.as_deref(), yes).await
        }
        Command::Connection { command } => {
            let ConnectionCommand::Replace { old, new, sync, group, keep_snapshot, yes, message } =
                command;
            let keeps_snapshot = keep_snapshot;
            let asked = replacing::Asked { old, new, syncs: sync, group, keeps_snapshot };
            replace::run(place, output, asked, yes, message.as_deref()).await
        }
        Command::Status { sync } => status::run(place, output, sync.as_deref()).await,
        Command::Runs { command: Some(RunsCommand::Show { run, follow }), .. } => {
            run::run(place, output, run, follow).await
        }
        Command::Runs { sync, limit, .. } => runs::run(place, output, sync.as_deref(), limit).await,
        Command::Rejected { sync, run } => rejected::run(place, output, &sync, run).await,
        Command::Demo { seed, keep, serve, listen } => {
            demo::run(output, demo::Asked { seed, keep, serve, listen }).await
        }
        Command::Audit { sync, limit } => audit::run(place, output, sync, limit).await,
        Command::Token(command) => token::run(place, output, command).await,
        Command::Explain { sync, key } => explain::run(place, output, &sync, &key).await,
    };
    match ended {
        Ok(exit) => exit.code(),
        Err(failure) => output.failed(&failure),
    }
}
