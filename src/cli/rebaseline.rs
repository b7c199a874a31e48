use serde_json::json;

use super::beside;
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Place};
use crate::api::decisions::SetAside;
use crate::api::document;
use crate::engine::decisions;

/// Sets the snapshot aside, whatever its state, here or in the running server.
pub async fn run(
    place: &Place,
    output: &Output,
    name: &str,
    message: &str,
    yes: bool,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    state::find(&config, name)?;
    let question = format!(
        "The snapshot of `{name}` is set aside: the next run sends every row again, and rows \
         already gone are never deleted. Go on?"
    );
    let answer = if let Some(server) = place.server()? {
        confirm(&question, yes)?;
        let path = beside::path("syncs", name, "rebaseline");
        server.command(&path, &json!({ "message": message })).await?
    } else {
        let owned = state::own(&config).await?;
        confirm(&question, yes)?;
        let (who, store) = place.given(&owned.store);
        let folder = decisions::rebaseline(&store, &config.state, name, message, &who).await;
        let folder = folder.map_err(|error| Failure::of(&error))?;
        store.close().await;
        let archived_in = folder.display().to_string();
        document::json(SetAside { sync: name.to_owned(), archived_in })
    };
    output.answer(&answer, || {
        let folder = answer["archived_in"].as_str().unwrap_or_default();
        format!("the snapshot of `{name}` is set aside in `{folder}`; the next run is full")
    });
    Ok(Exit::Done)
}
