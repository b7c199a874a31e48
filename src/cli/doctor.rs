use std::fmt::Write;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::order::MEMORY_LIMIT;
use super::output::Output;
use super::state::Place;
use crate::config::{Config, SyncConfig};
use crate::engine::doctor::{Looked, Tested, look, test};
use crate::shutdown::blocking;

/// Tests one connection; or all, and whether the disk has the room that runs of the syncs need. Whether syncs are paused or not
/// does not matter. Takes no lock and writes nothing.
pub async fn run(
    place: &Place,
    output: &Output,
    connection: Option<&str>,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let names = names(&config, connection)?;
    let (mut tested, mut absent) = (Vec::new(), Vec::new());
    for name in names {
        match config.connections.get(name) {
            Some(connection) => tested.push(test(&connection.definition).await),
            None => absent.push((name, config.absent.get(name).map_or(&[][..], Vec::as_slice))),
        }
    }
    let looked = if connection.is_none() { looks(&config) } else { Vec::new() };
    let mut documents: Vec<Value> = tested.iter().map(|tested| json!(tested)).collect();
    documents.extend(absent.iter().map(
        |(name, why)| json!({ "connection": name, "is_well": false, "message": why.join("; ") }),
    ));
    documents.extend(looked.iter().map(|looked| json!(looked)));
    output.answer(&Value::Array(documents), || {
        let mut text: String = tested.iter().map(human).collect();
        for (name, why) in &absent {
            let _ = writeln!(text, "{name}: not tested, {}", why.join("; "));
        }
        text.extend(looked.iter().map(human_of_disk));
        text
    });
    Ok(if !absent.is_empty() {
        Exit::Usage
    } else if tested.iter().all(|tested| tested.is_well)
        && looked.iter().all(|looked| looked.is_well)
    {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn human(tested: &Tested) -> String {
    let Tested { connection, address, is_well, code, message, .. } = tested;
    let word = word(*is_well);
    let code = code.as_ref().map_or(String::new(), |code| format!(" `{code}`"));
    format!("{connection} at {address}: {word},{code} {message}\n")
}

/// At the disk, for each sync.
fn looks(config: &Config) -> Vec<Looked> {
    let batch = |sync: &SyncConfig| sync.requests.upsert.batch.records;
    let memory_limit = config.memory_limit.unwrap_or(MEMORY_LIMIT);
    let look = |sync: &SyncConfig| look(&config.state, &sync.sync, batch(sync), memory_limit);
    blocking(|| config.syncs.iter().map(look).collect())
}

fn human_of_disk(looked: &Looked) -> String {
    let Looked { sync, is_well, message, .. } = looked;
    format!("the disk for {sync}: {}, {message}\n", word(*is_well))
}

fn word(is_well: bool) -> &'static str {
    if is_well { "well" } else { "not well" }
}

fn names<'c>(config: &'c Config, wanted: Option<&'c str>) -> Result<Vec<&'c str>, Failure> {
    let all: Vec<&str> =
        config.connections.keys().chain(config.absent.keys()).map(String::as_str).collect();
    match wanted {
        None => Ok(all),
        Some(name) if all.contains(&name) => Ok(vec![name]),
        Some(name) => Err(Failure::usage(format!(
            "there is no connection `{name}` in `{}`; it has `{}`",
            config.path.display(),
            all.join("`, `")
        ))),
    }
}
