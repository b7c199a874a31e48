//! Disables a source, which drains what goes of its syncs, or enables it: a server does it where one owns the state; else it is
//! written there.

use serde_json::{Value, json};

use super::beside::{self, Server};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Place};
use super::subcommands::SourceCommand;
use super::{pause, time};
use crate::config::Config;
use crate::control::disabling::disabled_since;
use crate::domain::id::RunId;
use crate::domain::run::Phase;
use crate::store::{self, DisabledSource, Store};

/// What was asked.
struct Asked {
    name: String,
    message: String,
    /// Disable; else enable.
    is_disabled: bool,
}

/// What it came to.
struct Came {
    is_changed: bool,
    /// That read the source.
    syncs: Vec<String>,
    /// Those that it ends, the oldest of each sync.
    runs: Vec<RunId>,
    standing: Option<DisabledSource>,
}

pub async fn run(place: &Place, output: &Output, command: SourceCommand) -> Result<Exit, Failure> {
    let asked = match command {
        SourceCommand::Disable { name, message } => Asked { name, message, is_disabled: true },
        SourceCommand::Enable { name, message } => Asked { name, message, is_disabled: false },
    };
    if let Some(server) = place.server()? {
        let came = ask(&server, &asked).await?;
        let store = place.beside().await?.ok_or_else(|| server.gone())?;
        return tell(place, output, &store, &asked, came).await;
    }
    let (config, name) = (place.config_for(None)?, &asked.name);
    if !config.sources.contains_key(name) {
        let names: Vec<&str> = config.sources.keys().map(String::as_str).collect();
        let (path, names) = (config.path.display(), names.join("`, `"));
        return Err(Failure::usage(format!(
            "there is no source `{name}` in `{path}`; it has `{names}`"
        )));
    }
    if let Some(store) = place.beside().await? {
        let came = write(place, &config, &store, &asked).await?;
        return tell(place, output, &store, &asked, came).await;
    }
    // There is no state yet.
    let Owned { store, .. } = &state::own(&config).await?;
    let came = write(place, &config, store, &asked).await?;
    let told = tell(place, output, store, &asked, came).await;
    store.close().await;
    told
}

/// Has the server do it.
async fn ask(server: &Server, asked: &Asked) -> Result<Came, Failure> {
    let Asked { name, message, is_disabled } = asked;
    let command = if *is_disabled { "disable" } else { "enable" };
    let path = beside::path("sources", name, command);
    let answer = server.command(&path, &json!({ "message": message })).await?;
    let list = |name: &str| answer[name].as_array().into_iter().flatten();
    Ok(Came {
        is_changed: answer["is_changed"] != false,
        syncs: list("syncs").filter_map(Value::as_str).map(str::to_owned).collect(),
        runs: list("runs").filter_map(Value::as_u64).map(RunId).collect(),
        standing: said(&answer["disabled"]),
    })
}

/// A disabled source as the server says it.
fn said(disabled: &Value) -> Option<DisabledSource> {
    let text = |name: &str| disabled[name].as_str().map(str::to_owned);
    let at = time::read(disabled["since"].as_str()?)?;
    Some(DisabledSource {
        source: text("source")?,
        message: text("message")?,
        who: text("who")?,
        at,
    })
}

/// Writes it to the state.
async fn write(
    place: &Place,
    config: &Config,
    store: &Store,
    asked: &Asked,
) -> Result<Came, Failure> {
    let Asked { name, message, is_disabled } = asked;
    let (who, marked) = place.given(store);
    let (message, at) = (message.to_owned(), time::now());
    let syncs: Vec<&str> = config.readers_of(name).map(|sync| sync.sync.name.as_str()).collect();
    let (is_changed, runs) = if *is_disabled {
        let next = DisabledSource { source: name.clone(), message, who, at };
        let runs = marked.disable_source(&next, &syncs).await?;
        (runs.is_some(), runs.unwrap_or_default())
    } else {
        (marked.enable_source(name, &message, &who, at).await?, Vec::new())
    };
    let standing = store.disabled_sources().await?.remove(name);
    let syncs = syncs.into_iter().map(str::to_owned).collect();
    Ok(Came { is_changed, syncs, runs, standing })
}

/// Waits for the ends of the runs that drain, and says what all of it came to.
async fn tell(
    place: &Place,
    output: &Output,
    store: &Store,
    asked: &Asked,
    came: Came,
) -> Result<Exit, Failure> {
    let (name, Came { is_changed, syncs, runs, standing }) = (&asked.name, came);
    let mut document =
        json!({ "source": name, "is_disabled": asked.is_disabled, "is_changed": is_changed });
    if !asked.is_disabled {
        output.answer(&document, || match is_changed {
            true => {
                format!(
                    "source `{name}` is enabled; `counterflow status` says when its syncs run next"
                )
            }
            false => format!("source `{name}` is not disabled; nothing was changed"),
        });
        return Ok(Exit::Done);
    }
    let mut ended = Vec::new();
    for run in runs {
        let sync = store.run(run).await?.ok_or(store::Error::NoRun(run))?.sync;
        let phase = pause::end(place, store, &sync, run).await?;
        ended.push((sync, run, phase));
    }
    let one = |(sync, run, phase): &(String, RunId, Phase)| json!({ "sync": sync, "run": run, "phase": phase.to_string() });
    document["runs"] = ended.iter().map(one).collect();
    output.answer(&document, || match standing {
        Some(disabled) if !is_changed => {
            format!("{}; nothing was changed", disabled_since(&disabled))
        }
        _ => {
            let mut text = format!("source `{name}` is disabled; none of its syncs runs");
            text.push_str(&match syncs.join("`, `").as_str() {
                "" => "\n".to_owned(),
                syncs => format!(": `{syncs}`\n"),
            });
            ended.iter().for_each(|(sync, run, phase)| text.push_str(&drained(sync, *run, *phase)));
            text
        }
    });
    Ok(Exit::Done)
}

/// What became of a run that a command ended.
pub fn drained(sync: &str, run: RunId, phase: Phase) -> String {
    if phase.is_ended() {
        format!("  run {run} of `{sync}`: {phase}\n")
    } else {
        format!("  no process goes on with run {run} of `{sync}`\n")
    }
}
