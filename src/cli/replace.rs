//! Replaces the connection of syncs in the config file, here or in the running server.
//!
//! In this order: the new one is tested, a person says yes, runs drain and what is queued is dropped, what is decided of the
//! snapshots is stored, the file is rewritten, the snapshots say so. A crash between two of the last leaves the file as it
//! was, and the decision is withdrawn, or the new one, and the next command or run carries it out. Not responsible for which
//! syncs are meant (`config::replacing`), nor for how the text is changed (`config::rewrite`).

use std::time::Duration;

use serde_json::json;

use super::beside::{self, Server};
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Place};
use super::{last_good, order, pause, source, stop, sync, time};
use crate::api::document;
use crate::api::replace::{Replaced, SyncReplaced};
use crate::config::replacing::{self, Asked, Plan};
use crate::config::rewrite::Next;
use crate::config::{self, Config};
use crate::control::commands;
use crate::domain::id::RunId;
use crate::domain::run::Trigger;
use crate::engine::decisions;
use crate::engine::order::Order;
use crate::points::{self, Point};

/// How long a process that has drained may take to let the state go.
const LETS_GO: Duration = Duration::from_secs(10);

pub async fn run(
    place: &Place,
    output: &Output,
    asked: Asked,
    yes: bool,
    message: Option<&str>,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let text = std::fs::read_to_string(&place.file).map_err(|error| Failure::of(&error))?;
    let plan = replacing::plan(&config, &text, &asked);
    let plan = plan.map_err(|refused| Failure::usage(refused.to_string()));
    let answer = match place.server()? {
        Some(server) => {
            match plan {
                Ok(plan) => confirm(&question(&asked, &plan.syncs), yes)?,
                // Under a key that it was given, the server knows what was done before.
                Err(_) if place.claim().is_some() => {}
                Err(refused) => return Err(refused),
            }
            Box::pin(ask(place, output, &server, &asked, message)).await?
        }
        None => Box::pin(here(place, output, &asked, &plan?, &text, yes, message)).await?,
    };
    output.answer(&answer, || {
        let Asked { old, new, keeps_snapshot, .. } = &asked;
        let syncs = answer["syncs"].as_array().into_iter().flatten();
        let syncs: Vec<&str> = syncs.filter_map(|one| one["sync"].as_str()).collect();
        let syncs = syncs.join("`, `");
        let next = match keeps_snapshot {
            true => "the next run goes on with the snapshot, and its first deletes are held",
            false => "the next run of each is full, and rows already gone are never deleted",
        };
        format!("`{syncs}` write over `{new}` from now on, and no longer over `{old}`; {next}")
    });
    Ok(Exit::Done)
}

/// Has the server replace it, and waits for the ends of the runs that drain.
async fn ask(
    place: &Place,
    output: &Output,
    server: &Server,
    asked: &Asked,
    message: Option<&str>,
) -> Result<serde_json::Value, Failure> {
    let Asked { old, new, syncs, group, keeps_snapshot } = asked;
    let body = json!({
        "new": new, "syncs": syncs, "group": group, "keep_snapshot": keeps_snapshot, "message": message,
    });
    let answer = server.long_command(&beside::path("connections", old, "replace"), &body).await?;
    for one in answer["syncs"].as_array().into_iter().flatten() {
        if let (Some(sync), Some(run)) = (one["sync"].as_str(), one["run"].as_u64().map(RunId))
            && let Some(store) = place.beside().await?
        {
            let phase = pause::end(place, &store, sync, run).await?;
            output.aside(source::drained(sync, run, phase).trim());
        }
    }
    Ok(answer)
}

/// Replaces it where no server runs.
async fn here(
    place: &Place,
    output: &Output,
    asked: &Asked,
    plan: &Plan,
    text: &str,
    yes: bool,
    message: Option<&str>,
) -> Result<serde_json::Value, Failure> {
    let next = Next::write(&place.file, &plan.text).map_err(|error| unwritten(place, &error))?;
    let config = config::load_for(next.path(), None)?;
    let orders = orders(&config, asked, plan)?;
    let decided = decisions::replace(&orders, asked.keeps_snapshot).await;
    let decided = decided.map_err(|error| Failure::of(&error))?;
    confirm(&question(asked, &plan.syncs), yes)?;
    let why = replacing::why(asked, message);
    stop_all(place, &why, &plan.syncs).await?;
    let owned = own(&place.config_for(None)?).await?;
    sync::recover(&owned, output).await?;
    let (store, (who, marked)) = (&owned.store, place.given(&owned.store));
    let audited = |sync: &String| decisions::audited(replacing::command(asked), sync, &why, &who);
    let decided: Vec<_> = plan.syncs.iter().map(audited).zip(decided).collect();
    let pending = marked.decide(&decided).await?;
    points::reached(Point::Decided);
    if let Err(error) = next.put_in_place(text) {
        decisions::withdraw(store, &who, pending).await?;
        return Err(unwritten(place, &error));
    }
    points::reached(Point::Rewritten);
    // While the decision stands: a server that starts on a bad file is never to go by what was before.
    last_good::renew(&place.config_for(None)?);
    for order in &orders {
        Box::pin(decisions::settle(store, order)).await.map_err(|error| Failure::of(&error))?;
    }
    store.close().await;
    let Asked { old, new, keeps_snapshot, .. } = asked.clone();
    let syncs = plan.syncs.iter().cloned().map(|sync| SyncReplaced { sync, run: None }).collect();
    Ok(document::json(Replaced { old, new, syncs, keeps_snapshot }))
}

/// The orders of the syncs over their new connection.
fn orders(config: &Config, asked: &Asked, plan: &Plan) -> Result<Vec<Order>, Failure> {
    let new = &asked.new;
    if let Some(why) = config.absent.get(new).filter(|_| !config.connections.contains_key(new)) {
        let why = why.join("; ");
        return Err(Failure::usage(format!(
            "`{new}` cannot be tested: {why}; nothing was replaced"
        )));
    }
    let order = |name: &String| {
        Ok(order::order(config, state::find(config, name)?, false, Trigger::Manual))
    };
    plan.syncs.iter().map(order).collect()
}

fn question(asked: &Asked, names: &[String]) -> String {
    let Asked { old, new, keeps_snapshot, .. } = asked;
    let syncs = names.join("`, `");
    let snapshots = match keeps_snapshot {
        true => "Their snapshots are taken to be true of it.",
        false => {
            "Their snapshots are set aside: the next run of each sends every row again, and what the old account holds \
             stays there."
        }
    };
    format!(
        "`{syncs}` write over `{new}` in place of `{old}`: their runs are stopped, what is queued is dropped. {snapshots} Go \
         on?"
    )
}

/// Asks all runs of these syncs to stop, and waits for the ends of those that go.
async fn stop_all(place: &Place, why: &str, names: &[String]) -> Result<(), Failure> {
    let Some(store) = place.beside().await? else { return Ok(()) };
    let who = time::who();
    for name in names {
        let stop = commands::Stop { sync: name, is_now: false, who: &who, message: Some(why) };
        let run = commands::stop(&store, stop, time::now()).await?;
        if let Some(run) = run.filter(|_| !stop::is_abandoned(place).unwrap_or(true)) {
            stop::wait(place, &store, run, stop::limit(place, name)).await?;
        }
    }
    store.close().await;
    Ok(())
}

/// Takes the state over once the process that was stopped has let it go.
async fn own(config: &Config) -> Result<Owned, Failure> {
    let end = tokio::time::Instant::now() + LETS_GO;
    loop {
        match state::own(config).await {
            Err(failure) if failure.exit == Exit::Locked && tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            owned => return owned,
        }
    }
}

fn unwritten(place: &Place, error: &std::io::Error) -> Failure {
    Failure::failed(replacing::unwritten(&place.file, error))
}
