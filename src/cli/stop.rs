//! Stops a run that goes on in another process, and waits for its end.
//!
//! A server is asked over HTTP; beside any other process that owns the state, and without one, the request is written there.
//! Works beside a config that is wrong elsewhere. Not responsible for the drain: the run sees the request and drains by itself.

use std::time::Duration;

use serde_json::json;

use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use super::{beside, time};
use crate::control::commands;
use crate::domain::id::RunId;
use crate::domain::run::Phase;
use crate::store::{self, RunRow, StateLock, Store};

const POLL: Duration = Duration::from_millis(100);
/// What a drain may take where the config cannot be asked.
const DRAIN: Duration = Duration::from_secs(30);
/// For the commit after the drain.
const GRACE: Duration = Duration::from_secs(15);

/// What `stop` was asked.
#[derive(Debug)]
pub struct Asked {
    pub sync: String,
    pub now: bool,
    pub yes: bool,
    pub message: Option<String>,
}

pub async fn run(place: &Place, output: &Output, asked: Asked) -> Result<Exit, Failure> {
    let Asked { sync, now: is_now, yes, message } = &asked;
    let server = place.server()?;
    let store = place.beside().await?;
    let going = match &store {
        Some(store) => going(store, sync).await?,
        None => None,
    };
    let is_abandoned = is_abandoned(place)?;
    if let Some(going) = &going {
        let question = if is_abandoned {
            format!("Keep run {} of `{sync}` from being taken up by the next process?", going.id)
        } else if *is_now {
            format!("Stop run {} of `{sync}` and drop what is in flight?", going.id)
        } else {
            format!("Stop run {} of `{sync}`?", going.id)
        };
        // A stop loses nothing: where nobody can be asked, the command itself is the answer.
        let is_asked = !yes && std::io::IsTerminal::is_terminal(&std::io::stdin());
        confirm(&question, !is_asked)?;
    }
    let message = message.as_deref();
    let run = match (&server, &store) {
        (Some(server), _) => {
            let body = json!({ "now": is_now, "message": message });
            let answer = server.command(&beside::path("syncs", sync, "stop"), &body).await?;
            answer["run"].as_u64().map(RunId)
        }
        (None, Some(store)) => {
            known(place, sync, going.is_some())?;
            let (who, store) = place.given(store);
            let stop = commands::Stop { sync, is_now: *is_now, who: &who, message };
            commands::stop(&store, stop, time::now()).await?
        }
        (None, None) => {
            known(place, sync, false)?;
            None
        }
    };
    let (Some(run), Some(store)) = (run, store) else {
        output.answer(&json!({ "sync": sync, "run": null, "phase": null }), || {
            format!("no run of `{sync}` is going on")
        });
        return Ok(Exit::Done);
    };
    if let Some(going) = going.filter(|_| is_abandoned) {
        answer_for_next(output, &going);
        return Ok(Exit::Done);
    }
    let ended = wait(place, &store, run, limit(place, sync)).await?;
    output.answer(&json!({ "sync": sync, "run": run, "phase": ended.phase.to_string() }), || {
        format!("run {run} of `{sync}`: {}", ended.phase)
    });
    Ok(Exit::Done)
}

/// The sync's oldest unfinished run.
async fn going(store: &Store, sync: &str) -> Result<Option<RunRow>, Failure> {
    Ok(store.unfinished_of(sync).await?.into_iter().next())
}

/// A name that nobody knows is a slip of the hand; a config that is wrong elsewhere is not asked.
fn known(place: &Place, sync: &str, is_going: bool) -> Result<(), Failure> {
    match place.config_for(None) {
        Ok(config) if !is_going => super::state::find(&config, sync).map(|_| ()),
        _ => Ok(()),
    }
}

/// There is no process to wait for: the next one heeds the request before it begins anything.
fn answer_for_next(output: &Output, row: &RunRow) {
    let RunRow { id, sync, phase, .. } = row;
    output.answer(&json!({ "sync": sync, "run": id, "phase": phase.to_string() }), || {
        if *phase == Phase::InQueue {
            format!("run {id} of `{sync}` will not begin")
        } else {
            format!(
                "run {id} of `{sync}` was interrupted, and the next server will not go on with it"
            )
        }
    });
}

/// Whether nobody owns the state: then what is unfinished there was interrupted, or waits for the next process.
pub fn is_abandoned(place: &Place) -> Result<bool, Failure> {
    Ok(!StateLock::is_held(&place.state()?)?)
}

/// How long to wait for the end.
pub fn limit(place: &Place, sync: &str) -> Duration {
    let config = place.config_for(None).ok();
    let sync = config.as_ref().and_then(|config| config.sync(sync));
    sync.map_or(DRAIN, |sync| sync.sync.limits.drain_timeout).saturating_add(GRACE)
}

/// Waits for the end of the run, or for that of the process that carries it out.
pub async fn wait(
    place: &Place,
    store: &Store,
    run: RunId,
    limit: Duration,
) -> Result<RunRow, Failure> {
    let end = tokio::time::Instant::now() + limit;
    let mut polls: u64 = 0;
    loop {
        let row = store.run(run).await?.ok_or(store::Error::NoRun(run))?;
        polls += 1;
        // The process may have died meanwhile: then no end is ever written.
        if row.phase.is_ended() || (polls.is_multiple_of(20) && is_abandoned(place)?) {
            return Ok(row);
        }
        if tokio::time::Instant::now() >= end {
            return Err(Failure::failed(format!(
                "run `{run}` was asked to stop and is still {}; use `counterflow stop {} --now`",
                row.phase, row.sync
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}
