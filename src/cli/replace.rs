//! Replaces the connection of syncs in the config file.
//!
//! In this order: the new one is tested, a person says yes, runs drain and what is queued is dropped, the file is
//! rewritten, the snapshots begin afresh or are kept. A crash between the last two leaves syncs whose destination changed,
//! which refuse to run until a person decides. Not responsible for how the text is changed (`config::rewrite`).

use std::time::Duration;

use serde_json::json;

use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::rebaseline::set_aside;
use super::state::{self, Owned, Place};
use super::{address, order, stop, sync, time};
use crate::config::{self, Config, rewrite};
use crate::control::commands;
use crate::domain::run::Trigger;
use crate::engine::decisions::keep_for_connection;
use crate::engine::doctor;
use crate::store::{Audited, Store};

/// How long a process that has drained may take to let the state go.
const LETS_GO: Duration = Duration::from_secs(10);

/// What `connection replace` was asked.
#[derive(Debug)]
pub struct Asked {
    pub old: String,
    pub new: String,
    pub which: Which,
    pub keep_snapshot: bool,
    pub yes: bool,
    pub message: Option<String>,
}

/// The syncs that are meant; all, if neither is said.
#[derive(Debug)]
pub struct Which {
    pub syncs: Vec<String>,
    pub group: Option<String>,
}

pub async fn run(place: &Place, output: &Output, asked: Asked) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let text = std::fs::read_to_string(&place.file).map_err(|error| Failure::of(&error))?;
    let names = names(&config, &text, &asked)?;
    let Asked { old, new, keep_snapshot, .. } = &asked;
    let changed = rewrite::replace_connection(&text, &names, old, new).map_err(Failure::usage)?;
    if let Some(server) = address::of_owner(&config.state) {
        let text = format!(
            "the server at {} (pid {}) works by the connection `{old}`; end it first, with SIGTERM",
            server.address, server.pid
        );
        return Err(Failure { exit: Exit::Locked, ..Failure::failed(text) });
    }
    test(&config, new).await?;
    confirm(&question(&asked, &names), asked.yes)?;
    stop_all(place, &asked, &names).await?;
    let owned = own(&config).await?;
    sync::recover(&owned, output).await?;
    audit(&owned.store, &asked, &names).await?;
    let check =
        |next: &std::path::Path| config::load_for(next, None).map(drop).map_err(Wrong::from);
    rewrite::write(&place.file, &text, &changed, check).map_err(|wrong| wrong.failure(place))?;
    for name in &names {
        if *keep_snapshot {
            keep(place, &owned, name).await
        } else {
            set_aside(&owned.store, &config, name).await
        }
        .map_err(|failure| unfinished(failure, name))?;
    }
    owned.store.close().await;
    let document =
        json!({ "old": old, "new": new, "syncs": names, "keeps_snapshot": keep_snapshot });
    output.answer(&document, || {
        let syncs = names.join("`, `");
        let next = match keep_snapshot {
            true => "the next run goes on with the snapshot, and its first deletes are held",
            false => "the next run of each is full, and rows already gone are never deleted",
        };
        format!("`{syncs}` write over `{new}` from now on, and no longer over `{old}`; {next}")
    });
    Ok(Exit::Done)
}

/// The syncs that have the old connection and are meant, in the order of the file.
fn names(config: &Config, text: &str, asked: &Asked) -> Result<Vec<String>, Failure> {
    let Asked { old, new, which, .. } = asked;
    for name in [old, new] {
        if !config.connections.contains_key(name) && !config.absent.contains_key(name) {
            let all: Vec<&str> = config.connections.keys().map(String::as_str).collect();
            let all = all.join("`, `");
            return Err(Failure::usage(format!(
                "there is no connection `{name}` in `{}`; it has `{all}`, and a new one is written there first",
                config.path.display()
            )));
        }
    }
    if old == new {
        return Err(Failure::usage(format!("`{old}` cannot be replaced by itself; name another")));
    }
    let wanted = match &which.group {
        Some(group) => Some(rewrite::syncs_of_group(text, group).map_err(Failure::usage)?),
        None => (!which.syncs.is_empty()).then(|| which.syncs.clone()),
    };
    for name in which.syncs.iter() {
        let sync = state::find(config, name)?;
        if sync.sync.connection != *old {
            let has = &sync.sync.connection;
            return Err(Failure::usage(format!(
                "`{name}` has the connection `{has}` and not `{old}`; leave it out"
            )));
        }
    }
    let is_meant = |name: &String| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
    let of_old = config.syncs.iter().filter(|sync| sync.sync.connection == *old);
    let names: Vec<String> = of_old.map(|sync| sync.sync.name.clone()).filter(is_meant).collect();
    match names.is_empty() {
        true => Err(Failure::usage(format!(
            "none of the syncs that are meant has the connection `{old}`; nothing was replaced"
        ))),
        false => Ok(names),
    }
}

/// What has only one kind of connection so far can be told by its test alone.
async fn test(config: &Config, new: &str) -> Result<(), Failure> {
    let Some(connection) = config.connections.get(new) else {
        let why = config.absent.get(new).map_or(String::new(), |why| why.join("; "));
        return Err(Failure::usage(format!(
            "`{new}` cannot be tested: {why}; nothing was replaced"
        )));
    };
    let tested = doctor::test(&connection.definition).await;
    match tested.is_well {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "`{new}` at {} does not pass its test: `{}` {}; nothing was replaced",
            tested.address,
            tested.code.unwrap_or_default(),
            tested.message
        ))),
    }
}

fn question(asked: &Asked, names: &[String]) -> String {
    let Asked { old, new, keep_snapshot, .. } = asked;
    let syncs = names.join("`, `");
    let snapshots = match keep_snapshot {
        true => "Their snapshots are taken to be true of it.",
        false => {
            "Their snapshots are set aside: the next run of each sends every row again, and what the old account holds              stays there."
        }
    };
    format!(
        "`{syncs}` write over `{new}` in place of `{old}`: their runs are stopped, what is queued is dropped. {snapshots} Go          on?"
    )
}

fn why(asked: &Asked) -> String {
    let Asked { old, new, message, .. } = asked;
    let message = message.as_ref().map_or(String::new(), |message| format!(": {message}"));
    format!("connection `{old}` replaced by `{new}`{message}")
}

/// Asks all runs of these syncs to stop, and waits for the ends of those that go.
async fn stop_all(place: &Place, asked: &Asked, names: &[String]) -> Result<(), Failure> {
    let Some(store) = place.beside().await? else { return Ok(()) };
    let (who, why) = (time::who(), why(asked));
    for name in names {
        let stop = commands::Stop { sync: name, is_now: false, who: &who, message: Some(&why) };
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

async fn audit(store: &Store, asked: &Asked, names: &[String]) -> Result<(), Failure> {
    let command = match asked.keep_snapshot {
        true => "connection replace --keep-snapshot",
        false => "connection replace",
    };
    for name in names {
        let audited = Audited {
            at: time::now(),
            who: time::who(),
            command: command.to_owned(),
            sync: Some(name.clone()),
            run: None,
            message: Some(why(asked)),
        };
        store.audit(&audited).await?;
    }
    Ok(())
}

/// Tells the snapshot of the sync that it is true of its new connection.
async fn keep(place: &Place, owned: &Owned, name: &str) -> Result<(), Failure> {
    let config = place.config_for(Some(name))?;
    let order = order::order(&config, state::find(&config, name)?, false, Trigger::Manual);
    let kept = Box::pin(keep_for_connection(&owned.store, &order)).await;
    kept.map(drop).map_err(|error| Failure::of(&error))
}

fn unfinished(failure: Failure, name: &str) -> Failure {
    let why = failure.to_json();
    let why = why["error"].as_str().unwrap_or_default();
    let text = format!(
        "the config file has the new connection, and the snapshot of `{name}` is still that of the old one: {why}; decide by          `counterflow rebaseline {name} -m WHY` or `counterflow sync {name} --keep-snapshot`"
    );
    Failure { exit: failure.exit, ..Failure::failed(text) }
}

/// Why the file was not rewritten.
enum Wrong {
    Io(std::io::Error),
    Config(config::Problems),
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Wrong {
        Wrong::Io(error)
    }
}

impl From<config::Problems> for Wrong {
    fn from(problems: config::Problems) -> Wrong {
        Wrong::Config(problems)
    }
}

impl Wrong {
    fn failure(self, place: &Place) -> Failure {
        let file = place.file.display();
        match self {
            Wrong::Io(error) => Failure::failed(format!(
                "`{file}` was not rewritten: {error}; nothing was replaced, try again"
            )),
            Wrong::Config(problems) => Failure::usage(format!(
                "`{file}` would not be sound with the new connection, and was not rewritten:\n{problems}"
            )),
        }
    }
}
