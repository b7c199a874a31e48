use serde_json::json;

use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Place};
use super::time;
use crate::config::Config;
use crate::snapshot;
use crate::source::Pins;
use crate::store::{Audited, Store};

/// Sets the snapshot aside, whatever its state. The archive comes before the forgetting: a crash between the two leaves
/// a snapshot that is missing, never one that is taken for new.
pub async fn run(
    place: &Place,
    output: &Output,
    name: &str,
    message: &str,
    yes: bool,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    state::find(&config, name)?;
    let owned = state::own(&config).await?;
    let question = format!(
        "The snapshot of `{name}` is set aside: the next run sends every row again, and rows \
         already gone are never deleted. Go on?"
    );
    confirm(&question, yes)?;
    let now = time::now();
    let audited = Audited {
        at: now,
        who: time::who(),
        command: "rebaseline".to_owned(),
        sync: Some(name.to_owned()),
        run: None,
        message: Some(message.to_owned()),
    };
    owned.store.audit(&audited).await?;
    set_aside(&owned.store, &config, name).await?;
    let folder = state::snapshot_folder(&config, name);
    output.answer(&json!({ "sync": name, "archived_in": folder.display().to_string() }), || {
        format!(
            "the snapshot of `{name}` is set aside in `{}`; the next run is full",
            folder.display()
        )
    });
    Ok(Exit::Done)
}

/// Archives the snapshot and forgets it, in this order.
pub async fn set_aside(store: &Store, config: &Config, name: &str) -> Result<(), Failure> {
    let disk = state::snapshot_disk(config, name);
    snapshot::archive(&disk, name, time::now()).map_err(|error| Failure::of(&error))?;
    store.forget_known(name).await?;
    // Types that were pinned by what was wrong are not to outlive it.
    Ok(store.set_pins(name, &no_pins()).await?)
}

fn no_pins() -> String {
    serde_json::to_string(&Pins::default()).expect("pins are JSON")
}
