//! What a person decides about held deletes: that they are made after all, or never; here or in the running server.

use serde_json::{Value, json};

use super::address::Address;
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owner, Place};
use super::stopping::Signals;
use super::{order, sync};
use crate::api::decisions::Discarded;
use crate::api::document;
use crate::control::handle::Given;
use crate::domain::id::RunId;
use crate::domain::run::Trigger;
use crate::engine::decisions;
use crate::store::{self, Store};

/// Releases the deletes held in a run, and runs.
pub async fn release(
    place: &Place,
    output: &Output,
    run: u64,
    message: &str,
) -> Result<Exit, Failure> {
    place.config_for(None)?;
    // Before anything is begun, so that no signal ends the process in its middle.
    let signals = Signals::listen()?;
    let owned = match state::owner(place, None).await? {
        Owner::Us(owned, _) => owned,
        Owner::Server(found) => {
            return release_beside(&found, place, output, run, message, signals).await;
        }
    };
    let queue = sync::recover(&owned, output).await?;
    let store = owned.store.clone();
    let name = sync_of(&store, run).await?;
    // Only now is it known which secrets are needed.
    let config = place.config_for(Some(&name))?;
    let found = state::find(&config, &name)?;
    sync::refuse_paused(&owned, found).await?;
    let order = order::order(&config, found, false, Trigger::Manual);
    let decision = Box::pin(decisions::release(&store, &order, RunId(run), message)).await;
    let decision = Some(decision.map_err(|error| Failure::of(&error))?);
    let (who, store) = place.given(&store);
    let given = Given { who, message: Some(message.to_owned()), store, decision };
    let ended = sync::watched(&owned, output, &config, order, given, signals, queue);
    let (report, exit) = Box::pin(ended).await?;
    owned.store.close().await;
    sync::print(output, &report);
    Ok(exit)
}

/// Has the server release them, and waits for its run.
async fn release_beside(
    found: &Address,
    place: &Place,
    output: &Output,
    run: u64,
    message: &str,
    signals: Signals,
) -> Result<Exit, Failure> {
    let server = place.server_at(found)?;
    let name = name_beside(place, run).await?;
    let (path, body) = (format!("/api/v1/runs/{run}/release"), json!({ "message": message }));
    let ended = server.carried_out(place, output, &name, &path, &body, signals);
    let (report, exit) = Box::pin(ended).await?;
    sync::print(output, &report);
    Ok(exit)
}

/// Drops the ownership of the records whose deletes were held in a run.
pub async fn discard(
    place: &Place,
    output: &Output,
    run: u64,
    message: &str,
    yes: bool,
) -> Result<Exit, Failure> {
    let question = |name: &str| {
        format!(
            "The records of `{name}` whose deletes were held in run {run} stay at the destination for \
             good, and are no longer ours. Go on?"
        )
    };
    let config = place.config_for(None)?;
    let answer = if let Some(server) = place.server()? {
        confirm(&question(&name_beside(place, run).await?), yes)?;
        let path = format!("/api/v1/runs/{run}/discard");
        server.command(&path, &json!({ "message": message })).await?
    } else {
        let owned = state::own(&config).await?;
        sync::recover(&owned, output).await?;
        let store = &owned.store;
        let name = sync_of(store, run).await?;
        // Only now is it known which secrets are needed.
        let config = place.config_for(Some(&name))?;
        let order = order::order(&config, state::find(&config, &name)?, false, Trigger::Manual);
        confirm(&question(&name), yes)?;
        let (run, (who, marked)) = (RunId(run), place.given(store));
        let discarded = Box::pin(decisions::discard(&marked, &order, run, message, &who)).await;
        let (discarded, still_held) = discarded.map_err(|error| Failure::of(&error))?;
        document::json(Discarded { sync: name, run, discarded, still_held })
    };
    output.answer(&answer, || in_words(&answer));
    Ok(Exit::Done)
}

fn in_words(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    let rest = match count("still_held") {
        0 => String::new(),
        others => format!(
            "\n{others} others are still held; the next run judges them anew, and makes them if they are within the \
             guard by themselves: discard them too if they shall stay"
        ),
    };
    let (discarded, name) = (count("discarded"), answer["sync"].as_str().unwrap_or_default());
    format!(
        "{discarded} held deletes of `{name}` are discarded; their records are no longer ours{rest}"
    )
}

async fn sync_of(store: &Store, run: u64) -> Result<String, Failure> {
    let row = store.run(RunId(run)).await?.ok_or(store::Error::NoRun(RunId(run)))?;
    Ok(row.sync)
}

/// As [`sync_of`], beside the server.
async fn name_beside(place: &Place, run: u64) -> Result<String, Failure> {
    match place.beside().await? {
        Some(store) => sync_of(&store, run).await,
        None => Err(store::Error::NoRun(RunId(run)).into()),
    }
}
