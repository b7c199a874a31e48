//! Disables a source, which drains what goes of its syncs, or enables it; works beside the process that owns the state, and
//! without one.

use serde_json::json;

use super::arguments::SourceCommand;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Place};
use super::{pause, time};
use crate::config::Config;
use crate::control::disabling::{disabled_since, one_line};
use crate::domain::run::Phase;
use crate::store::{self, DisabledSource, Store};

pub async fn run(place: &Place, output: &Output, command: SourceCommand) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let (SourceCommand::Disable { name, .. } | SourceCommand::Enable { name, .. }) = &command;
    if !config.sources.contains_key(name) {
        let names: Vec<&str> = config.sources.keys().map(String::as_str).collect();
        let (path, names) = (config.path.display(), names.join("`, `"));
        return Err(Failure::usage(format!(
            "there is no source `{name}` in `{path}`; it has `{names}`"
        )));
    }
    if let Some(store) = place.beside().await? {
        return change(place, output, &config, &store, &command).await;
    }
    // There is no state yet.
    let Owned { store, .. } = &state::own(&config).await?;
    let changed = change(place, output, &config, store, &command).await;
    store.close().await;
    changed
}

async fn change(
    place: &Place,
    output: &Output,
    config: &Config,
    store: &Store,
    command: &SourceCommand,
) -> Result<Exit, Failure> {
    match command {
        SourceCommand::Disable { name, message } => {
            disable(place, output, config, store, name, message).await
        }
        SourceCommand::Enable { name, message } => {
            let (who, message) = (time::who(), one_line(message));
            let is_changed = store.enable_source(name, &message, &who, time::now()).await?;
            let document =
                json!({ "source": name, "is_disabled": false, "is_changed": is_changed });
            output.answer(&document, || {
                if is_changed {
                    format!("source `{name}` is enabled; `counterflow status` says when its syncs run next")
                } else {
                    format!("source `{name}` is not disabled; nothing was changed")
                }
            });
            Ok(Exit::Done)
        }
    }
}

async fn disable(
    place: &Place,
    output: &Output,
    config: &Config,
    store: &Store,
    name: &str,
    message: &str,
) -> Result<Exit, Failure> {
    let next = DisabledSource {
        source: name.to_owned(),
        message: one_line(message),
        who: time::who(),
        at: time::now(),
    };
    let syncs: Vec<&str> = config.readers_of(name).map(|sync| sync.sync.name.as_str()).collect();
    let runs = store.disable_source(&next, &syncs).await?;
    let is_changed = runs.is_some();
    let mut ended = Vec::new();
    for run in runs.unwrap_or_default() {
        let sync = store.run(run).await?.ok_or(store::Error::NoRun(run))?.sync;
        let phase = pause::end(place, store, &sync, run).await?;
        ended.push((sync, run, phase));
    }
    let documents: Vec<_> = ended
        .iter()
        .map(|(sync, run, phase)| json!({ "sync": sync, "run": run, "phase": phase.to_string() }))
        .collect();
    let document = json!({
        "source": name, "is_disabled": true, "is_changed": is_changed, "runs": documents,
    });
    let standing = store.disabled_sources().await?.remove(name);
    output.answer(&document, || match standing {
        Some(disabled) if !is_changed => {
            format!("{}; nothing was changed", disabled_since(&disabled))
        }
        _ => {
            let mut text = format!(
                "source `{name}` is disabled; none of its syncs runs: `{}`\n",
                syncs.join("`, `")
            );
            for (sync, run, phase) in &ended {
                text.push_str(&drained(sync, *run, *phase));
            }
            text
        }
    });
    Ok(Exit::Done)
}

/// What became of a run that a command ended.
pub fn drained(sync: &str, run: crate::domain::id::RunId, phase: Phase) -> String {
    if phase.is_ended() {
        format!("  run {run} of `{sync}`: {phase}\n")
    } else {
        format!("  no process goes on with run {run} of `{sync}`\n")
    }
}
