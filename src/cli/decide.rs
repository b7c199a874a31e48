//! What a person decides about held deletes: that they are made after all, or never.

use serde_json::json;

use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Place};
use super::stopping::Signals;
use super::{order, sync, time};
use crate::domain::id::RunId;
use crate::domain::run::Trigger;
use crate::engine::decisions;
use crate::store;

/// Releases the deletes held in a run, and runs.
pub async fn release(
    place: &Place,
    output: &Output,
    run: u64,
    message: &str,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let owned = state::own(&config).await?;
    let queue = sync::recover(&owned, output).await?;
    let name = sync_of(&owned, RunId(run)).await?;
    // Only now is it known which secrets are needed.
    let config = place.config_for(Some(&name))?;
    let found = state::find(&config, &name)?;
    sync::refuse_paused(&owned, found).await?;
    let order = order::order(&config, found, false, Trigger::Manual);
    let signals = Signals::listen()?;
    let who = time::who();
    Box::pin(decisions::release(&owned.store, &order, RunId(run), message, &who))
        .await
        .map_err(|error| Failure::of(&error))?;
    let (report, exit) = Box::pin(sync::watched(&owned, output, order, signals, queue)).await?;
    owned.store.close().await;
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
    let config = place.config_for(None)?;
    let owned = state::own(&config).await?;
    sync::recover(&owned, output).await?;
    let name = sync_of(&owned, RunId(run)).await?;
    // Only now is it known which secrets are needed.
    let config = place.config_for(Some(&name))?;
    let order = order::order(&config, state::find(&config, &name)?, false, Trigger::Manual);
    let question = format!(
        "The records of `{name}` whose deletes were held in run {run} stay at the destination for \
         good, and are no longer ours. Go on?"
    );
    confirm(&question, yes)?;
    let store = &owned.store;
    let (discarded, others) =
        Box::pin(decisions::discard(store, &order, RunId(run), message, &time::who()))
            .await
            .map_err(|error| Failure::of(&error))?;
    let document =
        json!({ "sync": name, "run": run, "discarded": discarded, "still_held": others });
    output.answer(&document, || {
        let rest = match others {
            0 => String::new(),
            others => format!(
                "\n{others} others are still held; the next run judges them anew, and makes them if they are within the \
                 guard by themselves: discard them too if they shall stay"
            ),
        };
        format!(
            "{discarded} held deletes of `{name}` are discarded; their records are no longer ours{rest}"
        )
    });
    Ok(Exit::Done)
}

async fn sync_of(owned: &Owned, run: RunId) -> Result<String, Failure> {
    let row = owned.store.run(run).await?.ok_or(store::Error::NoRun(run))?;
    Ok(row.sync)
}
