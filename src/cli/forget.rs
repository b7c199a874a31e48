use serde_json::json;

use super::beside;
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Place};
use crate::engine::forgetting::{self, Left};

/// Removes what is left of a sync that is no longer in the config, here or in the running server.
pub async fn run(
    place: &Place,
    output: &Output,
    name: &str,
    message: Option<&str>,
    yes: bool,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    if config.sync(name).is_some() {
        return Err(Failure::usage(format!(
            "`{name}` is in `{}`; take it out of there first, or set its snapshot aside with `counterflow rebaseline {name}`",
            place.file.display()
        )));
    }
    let nothing = || {
        Failure::usage(format!(
            "nothing is known of a sync `{name}`; `counterflow runs` lists what ran"
        ))
    };
    let Some(store) = place.beside().await? else { return Err(nothing()) };
    let left = forgetting::left(&store, &config.state, name).await;
    let left = left.map_err(|error| Failure::of(&error))?;
    store.close().await;
    let server = place.server()?;
    // Under a key that it was given, the server knows what was done before.
    let is_known_there = server.is_some() && place.claim().is_some();
    if left.is_nothing() && !is_known_there {
        return Err(nothing());
    }
    let question = format!("{}. Go on?", words(name, &left));
    confirm(&question, yes)?;
    let answer = if let Some(server) = server {
        let path = beside::path("syncs", name, "forget");
        server.command(&path, &json!({ "message": message })).await?
    } else {
        let owned = state::own(&config).await?;
        let (who, store) = place.given(&owned.store);
        let gone = forgetting::forget(&store, &config.state, name, message, &who).await;
        store.close().await;
        let removed = gone.map_err(|error| Failure::of(&error))?;
        json!({ "sync": name, "removed": removed })
    };
    output.answer(&answer, || {
        format!("`{name}` is forgotten; what the destination holds of it stays there")
    });
    Ok(Exit::Done)
}

fn words(name: &str, left: &Left) -> String {
    let snapshot = if left.has_snapshot { "the snapshot, " } else { "" };
    let pause = if left.rows.has_pause { "the pause, " } else { "" };
    let unexported = match left.unexported {
        0 => String::new(),
        runs => {
            format!(", also the receipts of {runs} runs that the delivery log has not exported yet")
        }
    };
    let runs = left.rows.runs;
    format!(
        "{snapshot}{pause}{runs} runs and all notes of `{name}` are removed for good{unexported}"
    )
}
