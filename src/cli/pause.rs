//! Pauses a sync, which drains what goes, or resumes it; works beside the process that owns the state, and without one.
//!
//! Not responsible for what a pause is (`control::pausing`). What counts as the config's value is what the owner knows: a
//! server works by the config it was started with.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::beside::Server;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Place};
use super::{address, stop, time};
use crate::control::pausing::{self, Came, Paused};
use crate::control::until;
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Phase;
use crate::store::{self, Store};

/// What `pause` or `resume` was asked.
#[derive(Debug)]
pub struct Asked {
    pub sync: String,
    /// Pause; else resume.
    pub is_paused: bool,
    pub message: String,
    /// For how long, or until when, a pause is.
    pub lasting: Option<String>,
    pub until: Option<String>,
}

pub async fn run(place: &Place, output: &Output, asked: Asked) -> Result<Exit, Failure> {
    let changed = carry_out(place, &asked).await?;
    output.answer(&changed.document, || changed.words);
    Ok(Exit::Done)
}

/// What a command came to.
#[derive(Debug)]
pub struct Changed {
    pub document: Value,
    pub words: String,
}

/// Pauses or resumes, and waits for the end of the run that a pause ends.
pub async fn carry_out(place: &Place, asked: &Asked) -> Result<Changed, Failure> {
    ending(asked)?;
    let configured = configured(place, &asked.sync).await?;
    if let Some(store) = place.beside().await? {
        return change(place, &store, asked, configured).await;
    }
    // There is no state yet.
    let Owned { store, .. } = &state::own(&place.config_for(None)?).await?;
    let changed = change(place, store, asked, configured).await;
    store.close().await;
    changed
}

/// What the config says of the sync's being paused.
async fn configured(place: &Place, sync: &str) -> Result<bool, Failure> {
    match address::of_owner(&place.state()?) {
        Some(server) => {
            let sync = utf8_percent_encode(sync, NON_ALPHANUMERIC).to_string();
            Server::at(server.address)?.is_paused_in_config(&sync).await
        }
        None => Ok(state::find(&place.config_for(None)?, sync)?.paused),
    }
}

fn ending(asked: &Asked) -> Result<Option<Instant>, Failure> {
    let ending = until::ending(asked.lasting.as_deref(), asked.until.as_deref(), time::now());
    ending.map_err(|problem| {
        Failure::usage(
            problem.to_string().replace("`for`", "`--for`").replace("`until`", "`--until`"),
        )
    })
}

async fn change(
    place: &Place,
    store: &Store,
    asked: &Asked,
    configured: bool,
) -> Result<Changed, Failure> {
    let Asked { sync, is_paused, message, .. } = asked;
    let who = time::who();
    let (is_paused, until) = (*is_paused, ending(asked)?);
    let command =
        pausing::Asked { sync, is_paused, configured, who: &who, message, until, is_start: false };
    let came = pausing::change(store, command, time::now()).await?;
    let ended = match came {
        Came::Changed(Some(run)) => Some((run, end(place, store, sync, run).await?)),
        Came::Changed(None) | Came::Already(_) => None,
    };
    let document = json!({
        "sync": sync,
        "is_paused": is_paused,
        "is_changed": matches!(came, Came::Changed(_)),
        "until": until.map(|until| until.to_string()),
        "run": ended.map(|(run, _)| run),
        "phase": ended.map(|(_, phase)| phase.to_string()),
    });
    let end = until.map_or(String::new(), |until| format!(" until {until}"));
    let words = match (&came, ended) {
        (Came::Already(standing), _) => already(sync, standing.as_ref()),
        (Came::Changed(_), Some((run, phase))) if phase.is_ended() => {
            format!("`{sync}` is paused{end}; run {run}: {phase}")
        }
        (Came::Changed(_), Some((run, _))) => {
            format!("`{sync}` is paused{end}; no process goes on with run {run}")
        }
        (Came::Changed(_), None) if is_paused => format!("`{sync}` is paused{end}"),
        (Came::Changed(_), None) => {
            format!("`{sync}` is resumed; `counterflow status {sync}` says when it runs next")
        }
    };
    Ok(Changed { document, words })
}

fn already(sync: &str, standing: Option<&Paused>) -> String {
    match standing {
        Some(paused) => format!("`{sync}` is paused already, {}", paused.why()),
        None => format!("`{sync}` is not paused; nothing was changed"),
    }
}

/// Waits until the run has drained; its last phase. Where nobody owns the state, nothing goes on, and it stays as it is.
pub async fn end(place: &Place, store: &Store, sync: &str, run: RunId) -> Result<Phase, Failure> {
    if stop::is_abandoned(place)? {
        return Ok(store.run(run).await?.ok_or(store::Error::NoRun(run))?.phase);
    }
    Ok(stop::wait(place, store, run, stop::limit(place, sync)).await?.phase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Pause;

    #[test]
    fn a_command_that_changes_nothing_says_what_stands() {
        let by = Pause {
            is_paused: true,
            configured: false,
            message: Some("the CRM moves".into()),
            who: "ada".into(),
            at: Instant(0),
            until: None,
        };
        let paused = Paused { sync: "crm".into(), by: Some(by) };
        assert_eq!(
            already("crm", Some(&paused)),
            "`crm` is paused already, since 1970-01-01T00:00:00Z by ada: the CRM moves"
        );
        assert_eq!(already("crm", None), "`crm` is not paused; nothing was changed");
    }
}
