//! Tests connections and sources, and looks at the disk of each sync. Takes no lock and writes nothing.
//!
//! Not responsible for what is found (`engine::doctor`, `engine::doctoring`).

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::order::MEMORY_LIMIT;
use super::output::Output;
use super::state::Place;
use crate::config::{Config, SyncConfig};
use crate::engine::doctor::{Looked, Tested, look, test};
use crate::engine::doctoring;
use crate::shutdown::blocking;
use crate::source::VersionSeen;

/// What is to be tested.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted<'c> {
    connections: Vec<&'c str>,
    sources: Vec<&'c str>,
}

/// Tests the connection or source of this name; or all, and whether the disk has the room that runs of the syncs need. Whether
/// syncs are paused or not does not matter.
pub async fn run(place: &Place, output: &Output, name: Option<&str>) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let (connections, sources) = (connections(&config), config.sources.keys());
    let all = Wanted { connections, sources: sources.map(String::as_str).collect() };
    let wanted = match name {
        None => all,
        Some(name) => named(all, name)
            .map_err(|why| Failure::usage(format!("{why} in `{}`", config.path.display())))?,
    };
    let (mut tested, mut absent) = (Vec::new(), Vec::new());
    for name in wanted.connections {
        match config.connections.get(name) {
            Some(connection) => tested.push(test(&connection.definition).await),
            None => {
                let why = config.absent.get(name).map_or(&[][..], Vec::as_slice);
                absent.push(("connection", name, why));
            }
        }
    }
    let (lacking, sources): (Vec<&str>, Vec<&str>) =
        wanted.sources.into_iter().partition(|name| config.absent_sources.contains_key(*name));
    absent.extend(lacking.iter().map(|name| ("source", *name, &config.absent_sources[*name][..])));
    let sources = Box::pin(look_at(&config, &sources)).await?;
    let looked = if name.is_none() { looks(&config) } else { Vec::new() };
    let mut documents: Vec<Value> = tested.iter().map(|tested| json!(tested)).collect();
    documents.extend(sources.iter().map(|looked| json!(looked)));
    documents.extend(absent.iter().map(
        |(kind, name, why)| json!({ *kind: name, "is_well": false, "message": why.join("; ") }),
    ));
    documents.extend(looked.iter().map(|looked| json!(looked)));
    output.answer(&Value::Array(documents), || {
        let mut text: String = tested.iter().map(human).collect();
        text.extend(sources.iter().map(human_of_source));
        for (kind, name, why) in &absent {
            let kind = if *kind == "source" { "source " } else { "" };
            let _ = writeln!(text, "{kind}{name}: not tested, {}", why.join("; "));
        }
        text.extend(looked.iter().map(human_of_disk));
        text
    });
    Ok(if !absent.is_empty() {
        Exit::Usage
    } else if tested.iter().all(|tested| tested.is_well)
        && sources.iter().all(|looked| looked.is_well)
        && looked.iter().all(|looked| looked.is_well)
    {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Of all those that the name names.
fn named<'c>(all: Wanted<'c>, name: &str) -> Result<Wanted<'c>, String> {
    let (kind, bare) = match name.split_once('/') {
        Some((kind @ ("connection" | "source"), bare)) => (Some(kind), bare),
        _ => (None, name),
    };
    let of = |names: &[&'c str], own: &str| -> Vec<&'c str> {
        let is_meant = kind.is_none_or(|kind| kind == own);
        names.iter().copied().filter(|known| is_meant && *known == bare).collect()
    };
    let wanted = Wanted {
        connections: of(&all.connections, "connection"),
        sources: of(&all.sources, "source"),
    };
    match (wanted.connections.len(), wanted.sources.len()) {
        (0, 0) => {
            let what = match kind {
                Some(kind) => format!("{kind} `{bare}`"),
                None => format!("connection `{bare}` and no such source"),
            };
            let [connections, sources] = [all.connections, all.sources].map(|it| it.join("`, `"));
            Err(format!(
                "there is no {what}; there are connections `{connections}` and sources `{sources}`"
            ))
        }
        (1, 1) => Err(format!(
            "a connection and a source are named `{bare}`, so say `connection/{bare}` or `source/{bare}`, as they stand"
        )),
        _ => Ok(wanted),
    }
}

fn connections(config: &Config) -> Vec<&str> {
    let names = config.connections.keys().chain(config.absent.keys());
    names.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

async fn look_at(config: &Config, names: &[&str]) -> Result<Vec<doctoring::Looked>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sources = names.iter().map(|name| Arc::new(config.sources[*name].clone())).collect();
    let models = Arc::new(config.models.values().cloned().collect());
    let looked = doctoring::look(sources, &models).await;
    looked.map_err(|error| Failure::of(&error))
}

fn human(tested: &Tested) -> String {
    let Tested { connection, address, is_well, code, message, .. } = tested;
    let word = word(*is_well);
    let code = code.as_ref().map_or(String::new(), |code| format!(" `{code}`"));
    format!("{connection} at {address}: {word},{code} {message}\n")
}

fn human_of_source(looked: &doctoring::Looked) -> String {
    let doctoring::Looked { source, address, is_well, message, tables, problems, .. } = looked;
    let mut text = format!("source {source} ({address}): {}, {message}\n", word(*is_well));
    text.extend(tables.iter().map(human_of_table));
    problems.iter().for_each(|problem| text.push_str(&format!("  not well: {problem}\n")));
    looked.advice.iter().for_each(|advice| text.push_str(&format!("  better: {advice}\n")));
    text
}

fn human_of_table(seen: &doctoring::Table) -> String {
    let doctoring::Table { table, location, files, bytes, newest, requests, .. } = seen;
    let doctoring::Table { version, features, message, .. } = seen;
    if let Some(message) = message {
        return format!("  not well: {message}\n");
    }
    let asked = match requests {
        0 => String::new(),
        1 => ", listed with 1 request".to_owned(),
        many => format!(", listed with {many} requests"),
    };
    if let Some(version) = version {
        let (table, features) = (table.clone(), features.clone());
        let seen = VersionSeen { table, version: *version, features };
        let made = newest.as_ref().map_or_else(String::new, |at| format!(", made at {at}"));
        return format!("  `{}`: {seen}{made}, in `{location}`{asked}\n", seen.table);
    }
    let newest = newest.as_ref().map_or_else(String::new, |at| format!(", the newest of {at}"));
    let files = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    format!("  `{table}`: {files}, {}{newest}, in `{location}`{asked}\n", size(*bytes))
}

/// With one digit behind the point, from a KiB on.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let power = (1..=UNITS.len()).rev().find(|power| bytes >> (10 * power) > 0);
    match power {
        None => format!("{bytes} bytes"),
        Some(power) => {
            let tenths = (u128::from(bytes) * 10) >> (10 * power);
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power - 1])
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Wanted<'static> {
        Wanted { connections: vec!["crm", "lake"], sources: vec!["app", "lake"] }
    }

    #[test]
    fn a_name_is_that_of_a_connection_or_of_a_source_and_of_both_it_is_asked_which() {
        let of = |name| named(all(), name).map(|it| (it.connections, it.sources));
        assert_eq!(of("crm"), Ok((vec!["crm"], vec![])));
        assert_eq!(of("app"), Ok((vec![], vec!["app"])));
        assert_eq!(of("source/lake"), Ok((vec![], vec!["lake"])));
        assert_eq!(of("connection/lake"), Ok((vec!["lake"], vec![])));
        assert!(of("lake").unwrap_err().contains("`connection/lake` or `source/lake`"));
        let nobody = of("nobody").unwrap_err();
        for words in ["no connection `nobody` and no such source", "`crm`, `lake`", "`app`, `lake`"]
        {
            assert!(nobody.contains(words), "{nobody}");
        }
        assert!(of("source/crm").unwrap_err().contains("no source `crm`"));
    }

    #[test]
    fn sizes_are_shown_in_units_with_one_digit() {
        assert_eq!([0, 1_023].map(size), ["0 bytes", "1023 bytes"]);
        assert_eq!([1_024, 1_600, 34 << 20].map(size), ["1.0 KiB", "1.5 KiB", "34.0 MiB"]);
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
