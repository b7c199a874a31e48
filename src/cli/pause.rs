//! Pauses a sync, which drains what goes, or resumes it: a server does it where one owns the state; else it is written there.
//!
//! Not responsible for what a pause is (`control::pausing`). What counts as the config's value is what the owner knows: a
//! server works by the config it was started with.

use serde_json::{Value, json};

use super::beside::{self, Server};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::{self, Owned, Place};
use super::{stop, time};
use crate::control::pausing::{self, Came, Paused};
use crate::control::until;
use crate::domain::id::{Instant, RunId};
use crate::domain::run::Phase;
use crate::store::{self, Pause, Store};

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
    if let Some(server) = place.server()? {
        let came = ask(&server, asked).await?;
        let store = place.beside().await?.ok_or_else(|| server.gone())?;
        return changed(place, &store, asked, came).await;
    }
    let config = place.config_for(None)?;
    let configured = state::find(&config, &asked.sync)?.paused;
    if let Some(store) = place.beside().await? {
        return write(place, &store, asked, configured).await;
    }
    // There is no state yet.
    let Owned { store, .. } = &state::own(&config).await?;
    let changed = write(place, store, asked, configured).await;
    store.close().await;
    changed
}

/// Has the server do it; what it came to, and when the pause that stands ends.
async fn ask(server: &Server, asked: &Asked) -> Result<(Came, Option<Instant>), Failure> {
    let Asked { sync, is_paused, message, lasting, until } = asked;
    let (command, body) = match is_paused {
        true => ("pause", json!({ "message": message, "for": lasting, "until": until })),
        false => ("resume", json!({ "message": message })),
    };
    let answer = server.command(&beside::path("syncs", sync, command), &body).await?;
    let standing = said(&answer["pause"]).filter(|pause| pause.is_paused);
    let until = standing.as_ref().and_then(|pause| pause.until);
    let came = if answer["is_changed"] == false {
        Came::Already(is_paused.then(|| Paused { sync: sync.clone(), by: standing }))
    } else {
        Came::Changed(answer["run"].as_u64().map(RunId))
    };
    Ok((came, until))
}

/// A pause or a resume as the server says it.
fn said(pause: &Value) -> Option<Pause> {
    let instant = |name: &str| pause[name].as_str().and_then(time::read);
    Some(Pause {
        is_paused: pause["is_paused"].as_bool()?,
        configured: false,
        message: pause["message"].as_str().map(str::to_owned),
        who: pause["who"].as_str()?.to_owned(),
        at: instant("since")?,
        until: instant("until"),
    })
}

fn ending(asked: &Asked) -> Result<Option<Instant>, Failure> {
    let ending = until::ending(asked.lasting.as_deref(), asked.until.as_deref(), time::now());
    ending.map_err(|problem| {
        Failure::usage(
            problem.to_string().replace("`for`", "`--for`").replace("`until`", "`--until`"),
        )
    })
}

/// Writes it to the state.
async fn write(
    place: &Place,
    store: &Store,
    asked: &Asked,
    configured: bool,
) -> Result<Changed, Failure> {
    let Asked { sync, is_paused, message, .. } = asked;
    let (who, marked) = place.given(store);
    let (is_paused, until) = (*is_paused, ending(asked)?);
    let command =
        pausing::Asked { sync, is_paused, configured, who: &who, message, until, is_start: false };
    let came = pausing::change(&marked, command, time::now()).await?;
    changed(place, store, asked, (came, until)).await
}

/// Waits for the end of the run that a pause ends, and says what all of it came to.
async fn changed(
    place: &Place,
    store: &Store,
    asked: &Asked,
    (came, until): (Came, Option<Instant>),
) -> Result<Changed, Failure> {
    let Asked { sync, is_paused, .. } = asked;
    let is_paused = *is_paused;
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
