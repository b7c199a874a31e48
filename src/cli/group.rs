//! Starts or stops all syncs of a group, or shows how groups stand.
//!
//! A start is the server's where there is one, as only it can run several syncs; without one it resumes them. A stop waits for
//! what drains. Not responsible for what either is (`control::grouping`).

use std::fmt::Write;

use serde_json::{Value, json};

use super::beside::{self, path};
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::{Cause, Failure};
use super::output::Output;
use super::running::Running;
use super::state::{self, Owned, Place};
use super::subcommands::GroupCommand;
use super::{pause, source, time};
use crate::api::document::json as to_json;
use crate::api::groups::{MemberChanged, document, part};
use crate::api::status::{Served, Status};
use crate::config::{Config, SyncConfig};
use crate::control::grouping::{self, Member};
use crate::domain::id::RunId;
use crate::snapshot::Glances;
use crate::store::Store;

pub async fn run(place: &Place, output: &Output, command: GroupCommand) -> Result<Exit, Failure> {
    let running = Running::of(place)?;
    let config = &running.config;
    match command {
        GroupCommand::Status { name } => status(place, output, &running, name.as_deref()).await,
        GroupCommand::Start { name, message, yes } => {
            let count = count(config, &name)?;
            confirm(&format!("Start all {count} syncs of group `{name}`?"), yes)?;
            start(place, output, config, &name, message.as_deref()).await
        }
        GroupCommand::Stop { name, message, yes } => {
            let count = count(config, &name)?;
            confirm(&format!("Stop and pause all {count} syncs of group `{name}`?"), yes)?;
            stop(place, output, config, &name, message.as_deref()).await
        }
    }
}

fn count(config: &Config, name: &str) -> Result<usize, Failure> {
    if config.groups.contains_key(name) {
        return Ok(config.syncs_of(name).count());
    }
    let names: Vec<&str> = config.groups.keys().map(String::as_str).collect();
    let path = config.path.display();
    Err(Failure::usage(match names.as_slice() {
        [] => format!("there is no group `{name}`, nor any other, in `{path}`"),
        names => format!("there is no group `{name}` in `{path}`; it has `{}`", names.join("`, `")),
    }))
}

async fn start(
    place: &Place,
    output: &Output,
    config: &Config,
    name: &str,
    message: Option<&str>,
) -> Result<Exit, Failure> {
    if let Some(server) = place.server()? {
        let said = json!({ "message": message });
        let answer = server.command(&path("groups", name, "start"), &said).await?;
        output.answer(&answer, || started(name, &answer));
        return Ok(Exit::Done);
    }
    let members = on_state(place, config, name, true, message).await?;
    let documents: Vec<MemberChanged> = members.into_iter().map(MemberChanged::from).collect();
    let answer = json!({ "group": name, "state": "resumed", "syncs": documents });
    output.answer(&answer, || {
        format!(
            "group `{name}` is resumed; no server runs, `counterflow serve` begins its schedules"
        )
    });
    Ok(Exit::Done)
}

/// What the server says of each sync.
fn members(answer: &Value) -> Vec<Member> {
    let member = |one: &Value| Member {
        sync: one["sync"].as_str().unwrap_or_default().to_owned(),
        is_changed: one["is_changed"].as_bool().unwrap_or_default(),
        run: one["run"].as_u64().map(RunId),
        is_begun: false,
    };
    answer["syncs"].as_array().into_iter().flatten().map(member).collect()
}

fn started(name: &str, answer: &Value) -> String {
    let mut text = format!("group `{name}` is started\n");
    for one in answer["syncs"].as_array().into_iter().flatten() {
        let sync = one["sync"].as_str().unwrap_or_default();
        let _ = match (one["run"].as_u64(), one["refused"].as_str()) {
            (Some(run), _) => writeln!(text, "  `{sync}`: run {run}"),
            (None, Some(why)) => writeln!(text, "  {why}"),
            (None, None) => writeln!(text, "  `{sync}`"),
        };
    }
    text
}

async fn stop(
    place: &Place,
    output: &Output,
    config: &Config,
    name: &str,
    message: Option<&str>,
) -> Result<Exit, Failure> {
    let members = match place.server()? {
        Some(server) => {
            let said = json!({ "message": message });
            let answer = server.command(&path("groups", name, "stop"), &said).await?;
            members(&answer)
        }
        None => on_state(place, config, name, false, message).await?,
    };
    let mut ended = Vec::new();
    let mut documents = Vec::new();
    for member in &members {
        let mut document = to_json(MemberChanged::from(member.clone()));
        if let Some(run) = member.run
            && let Some(store) = place.beside().await?
        {
            let phase = pause::end(place, &store, &member.sync, run).await?;
            document["phase"] = json!(phase.to_string());
            ended.push((member.sync.as_str(), run, phase));
        }
        documents.push(document);
    }
    let answer = json!({ "group": name, "state": "stopped", "syncs": documents });
    output.answer(&answer, || {
        let changed = members.iter().filter(|member| member.is_changed).count();
        let mut text = format!("group `{name}` is stopped; {changed} syncs were paused\n");
        for (sync, run, phase) in ended {
            text.push_str(&source::drained(sync, run, phase));
        }
        text
    });
    Ok(Exit::Done)
}

/// Changes all syncs of the group in the state, which is made where there is none.
async fn on_state(
    place: &Place,
    config: &Config,
    name: &str,
    is_start: bool,
    message: Option<&str>,
) -> Result<Vec<Member>, Failure> {
    if let Some(store) = place.beside().await? {
        return change(place, &store, config, name, is_start, message).await;
    }
    let Owned { store, .. } = &state::own(config).await?;
    let changed = change(place, store, config, name, is_start, message).await;
    store.close().await;
    changed
}

async fn change(
    place: &Place,
    store: &Store,
    config: &Config,
    group: &str,
    is_start: bool,
    message: Option<&str>,
) -> Result<Vec<Member>, Failure> {
    let (who, store) = place.given(store);
    let message = message.unwrap_or(if is_start { "started" } else { "stopped" });
    let command = grouping::Command { group, is_start, who: &who, message };
    let syncs: Vec<_> = config.syncs_of(group).map(part).collect();
    Ok(grouping::change(&store, command, &syncs, time::now()).await?)
}

async fn status(
    place: &Place,
    output: &Output,
    running: &Running,
    name: Option<&str>,
) -> Result<Exit, Failure> {
    let config = &running.config;
    if let Some(name) = name {
        count(config, name)?;
    }
    let store = match place.beside().await {
        Ok(store) => Ok(store),
        Err(Failure { cause: Cause::Text(why), .. }) => Err(why),
        Err(failure) => return Err(failure),
    };
    let store = store.as_ref().map(Option::as_ref).map_err(String::as_str);
    let is_reinitializing = beside::is_reinitializing(place).await;
    let served = Served { is_reinitializing, ..Served::default() };
    let groups = config.groups.keys().filter(|group| name.is_none_or(|name| name == *group));
    let groups: Vec<(&String, Vec<&SyncConfig>)> =
        groups.map(|group| (group, config.syncs_of(group).collect())).collect();
    let syncs: Vec<&SyncConfig> = groups.iter().flat_map(|(_, syncs)| syncs).copied().collect();
    let glances = Glances::default();
    let statuses = Status::read(config, store, &glances, &syncs, served, time::now()).await;
    let mut statuses = statuses.into_iter();
    let by = running.document();
    let mut documents = Vec::with_capacity(groups.len());
    for (group, syncs) in groups {
        let statuses: Vec<Status<'_>> = statuses.by_ref().take(syncs.len()).collect();
        documents.push(to_json(document(config, group, &statuses, &by)));
    }
    output.answer(&Value::Array(documents.clone()), || {
        documents.iter().map(human).collect::<Vec<_>>().join("\n") + &running.said()
    });
    Ok(if store.is_err() { Exit::Failed } else { Exit::Done })
}

fn human(group: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (status, reason) = (word(&group["status"]), word(&group["status_reason"]));
    let mut text = format!("{}: {status}, {reason}\n", word(&group["group"]));
    for sync in group["syncs"].as_array().into_iter().flatten() {
        let (name, status) = (word(&sync["sync"]), word(&sync["status"]));
        let _ = writeln!(text, "  {name}: {status}, {}", word(&sync["status_reason"]));
    }
    text
}
