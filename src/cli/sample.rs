//! Sends chosen rows of a sync, here or in the running server, and tells what became of each.
//!
//! Not responsible for what a sample is (`engine`). A sync that is paused is no reason to refuse it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Owner, Place};
use super::stopping::Signals;
use super::{order, sync};
use crate::config::Config;
use crate::control::handle::Given;
use crate::control::sampling;
use crate::domain::chosen::Chosen;
use crate::domain::run::Trigger;
use crate::engine::order::Order;
use crate::engine::report::Report;
use crate::engine::sampling::Ended;

/// Bytes of the longest file of keys.
const LONGEST_FILE: u64 = 16 << 20;

/// The rows that were asked for.
#[derive(Debug)]
pub struct Asked {
    pub limit: Option<u64>,
    pub key: Vec<String>,
    pub keys: Option<PathBuf>,
    pub condition: Option<String>,
    /// Why.
    pub message: Option<String>,
}

pub async fn run(
    place: &Place,
    output: &Output,
    name: &str,
    mut asked: Asked,
) -> Result<Exit, Failure> {
    let message = asked.message.take();
    let chosen = chosen(asked)?;
    let config = place.config_for(None)?;
    state::find(&config, name)?;
    // Before anything is begun, so that no signal ends the process in its middle.
    let signals = Signals::listen()?;
    let (report, exit) = match state::owner(place, Some(name)).await? {
        Owner::Server(found) => {
            let (server, message) = (place.server_at(&found)?, message.as_deref());
            Box::pin(server.sample(place, output, name, &chosen, message, signals)).await?
        }
        Owner::Us(owned, config) => {
            let ours = (owned, &*config);
            Box::pin(here(place, output, ours, name, chosen, message, signals)).await?
        }
    };
    sync::print(output, &report);
    let is_missing = report.records.iter().any(|record| record.ended == Ended::Missing);
    Ok(if is_missing && exit == Exit::Done { Exit::Failed } else { exit })
}

async fn here(
    place: &Place,
    output: &Output,
    (owned, config): (Owned, &Config),
    name: &str,
    chosen: Chosen,
    message: Option<String>,
    signals: Signals,
) -> Result<(Report, Exit), Failure> {
    let order = order::order(config, state::find(config, name)?, false, Trigger::Manual);
    let order = Order { chosen: Some(chosen), ..order };
    let traces = sync::traces(config)?;
    sync::recover(&owned, output).await?;
    let (who, store) = place.given(&owned.store);
    let given = Given { who, message, store, decision: None };
    let run = sampling::ask(&given, name, Trigger::Manual).await?;
    let ended = sync::carried_out(&owned, output, config, &traces, order, run, signals);
    let ended = Box::pin(ended).await;
    owned.store.close().await;
    Ok(ended)
}

fn chosen(asked: Asked) -> Result<Chosen, Failure> {
    let Asked { limit, key, keys, condition, .. } = asked;
    let has_keys = !key.is_empty() || keys.is_some();
    let mut all: BTreeSet<String> = key.into_iter().collect();
    if let Some(file) = keys {
        all.extend(read(&file)?);
    }
    let chosen = Chosen { limit, keys: has_keys.then_some(all), condition };
    sampling::check(&chosen).map_err(Failure::usage)?;
    Ok(chosen)
}

/// The keys of a file, one a line.
pub fn read(file: &Path) -> Result<Vec<String>, Failure> {
    let place = file.display();
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!(
            "the keys in `{place}` cannot be read: {error}; name a text file, one key a line"
        ))
    };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > LONGEST_FILE {
        return Err(Failure::usage(format!(
            "`{place}` has {size} bytes, more than {LONGEST_FILE}; split it, or choose the rows with `--where`"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
