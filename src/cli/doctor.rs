use std::fmt::Write;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use crate::config::Config;
use crate::engine::doctor::{Tested, test};

/// Tests one connection or all, whether their syncs are paused or not. Takes no lock and writes nothing.
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
    let mut documents: Vec<Value> = tested.iter().map(|tested| json!(tested)).collect();
    documents.extend(absent.iter().map(
        |(name, why)| json!({ "connection": name, "is_well": false, "message": why.join("; ") }),
    ));
    output.answer(&Value::Array(documents), || {
        let mut text: String = tested.iter().map(human).collect();
        for (name, why) in &absent {
            let _ = writeln!(text, "{name}: not tested, {}", why.join("; "));
        }
        text
    });
    Ok(if !absent.is_empty() {
        Exit::Usage
    } else if tested.iter().all(|tested| tested.is_well) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn human(tested: &Tested) -> String {
    let Tested { connection, address, is_well, code, message, .. } = tested;
    let word = if *is_well { "well" } else { "not well" };
    let code = code.as_ref().map_or(String::new(), |code| format!(" `{code}`"));
    format!("{connection} at {address}: {word},{code} {message}\n")
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
