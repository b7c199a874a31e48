//! Pauses a sync and decides that what waits now shall never be sent.
//!
//! The pause comes first and stands, whatever is answered to the question; an idempotency key is that of the decision.
//! Not responsible for what a waiver is (`engine::backlog`).

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::beside::{self, Server};
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::pause::{self, Asked};
use super::state::{self, Owned, Place};
use super::{once, order, sync};
use crate::api::backlog as api;
use crate::domain::run::Trigger;
use crate::engine::backlog::{self, Backlog};
use crate::engine::decisions;
use crate::engine::order::Order;
use crate::engine::prepare::Error;

/// Who counts and discards: the server, or this process.
enum Owner {
    Server { server: Server, sync: String },
    Us { owned: Owned, order: Box<Order> },
}

pub async fn run(place: &Place, output: &Output, asked: Asked, yes: bool) -> Result<Exit, Failure> {
    let name = &asked.sync;
    if let Some(answered) = answered_before(place, name, &asked.message).await? {
        let backlog = answered.get("changes").map(|_| backlog_of(&answered));
        let document = match backlog {
            Some(backlog) => json!({ "sync": name, "backlog": document(backlog) }),
            None => answered,
        };
        output.answer(&document, || {
            backlog.map_or_else(|| once::DONE.to_owned(), |backlog| words(name, backlog))
        });
        return Ok(Exit::Done);
    }
    // The key is that of the decision; to pause what is paused changes nothing.
    let paused = pause::carry_out(&Place::new(place.file.clone(), None), &asked).await?;
    output.aside(&paused.words);
    let owner = owner(place, output, name).await?;
    let shown = owner.count().await?;
    if shown.changes + shown.removals > 0 {
        confirm(&question(name, shown), yes)?;
    }
    let came = owner.discard(place, shown, &asked.message).await?;
    let mut answer = paused.document;
    answer["backlog"] = document(came);
    output.answer(&answer, || words(name, came));
    Ok(Exit::Done)
}

/// What a server answered before to the same decision under the same key. It is asked for by a decision about nothing that
/// was shown, which is none.
async fn answered_before(
    place: &Place,
    name: &str,
    message: &str,
) -> Result<Option<Value>, Failure> {
    let Some(server) = place.server()?.filter(|_| place.claim().is_some()) else { return Ok(None) };
    let body = json!({ "message": message });
    match server.told(&beside::path("syncs", name, "discard-backlog"), &body).await? {
        (StatusCode::UNPROCESSABLE_ENTITY, problem)
            if problem["detail"].as_str().is_some_and(|why| why.starts_with(api::UNSHOWN)) =>
        {
            Ok(None)
        }
        (status, document) => beside::granted(status, document).map(Some),
    }
}

/// Carries out what is decided of the snapshot, or takes back what was not written, where a process has ended in between;
/// whether anything was.
pub async fn settle(place: &Place, name: &str) -> Result<bool, Failure> {
    let config = place.config_for(Some(name))?;
    let order = order::order(&config, state::find(&config, name)?, false, Trigger::Manual);
    let owned = state::own(&config).await?;
    let is_decided =
        !decisions::pending(&owned.store, &order).await.map_err(|e| failure(&e))?.is_empty();
    let settled = decisions::settle(&owned.store, &order).await;
    owned.store.close().await;
    settled.map_err(|error| failure(&error))?;
    Ok(is_decided)
}

fn document(came: Backlog) -> Value {
    let Backlog { changes, removals, in_doubt } = came;
    json!({ "waived": changes, "discarded": removals, "in_doubt": in_doubt })
}

fn words(name: &str, came: Backlog) -> String {
    let Backlog { changes, removals, in_doubt } = came;
    let mut text = format!(
        "{changes} changes of `{name}` are waived, and {removals} of its removals are discarded"
    );
    if in_doubt > 0 {
        text.push_str(&format!(
            "\n{in_doubt} others may have been sent without an answer; the next run asserts them all the same"
        ));
    }
    text
}

/// What is given up, before it is given up.
fn question(name: &str, shown: Backlog) -> String {
    let Backlog { changes, removals, in_doubt } = shown;
    let mut text = format!(
        "{changes} changes of `{name}` wait and would never be sent: the destination keeps what it has, until a row changes \
         again, a full resync, or a `counterflow sample` of it."
    );
    if removals > 0 {
        text.push_str(&format!(
            " {removals} records that left the source would stay at the destination for good and no longer be ours: no later \
             run brings that back."
        ));
    }
    if in_doubt > 0 {
        text.push_str(&format!(" {in_doubt} that may have been sent are not part of this."));
    }
    text.push_str(" Go on?");
    text
}

async fn owner(place: &Place, output: &Output, name: &str) -> Result<Owner, Failure> {
    if let Some(server) = place.server()? {
        return Ok(Owner::Server { server, sync: name.to_owned() });
    }
    let config = place.config_for(Some(name))?;
    let order = order::order(&config, state::find(&config, name)?, false, Trigger::Manual);
    let owned = state::own(&config).await?;
    sync::recover(&owned, output).await?;
    Ok(Owner::Us { owned, order: Box::new(order) })
}

impl Owner {
    async fn count(&self) -> Result<Backlog, Failure> {
        match self {
            Owner::Server { server, sync } => {
                let path = beside::path("syncs", sync, "backlog");
                loop {
                    let counted = server.question(&path).await?;
                    if counted["state"] != "counting" {
                        return Ok(backlog_of(&counted));
                    }
                }
            }
            Owner::Us { owned, order } => {
                Box::pin(backlog::count(&owned.store, order)).await.map_err(|error| failure(&error))
            }
        }
    }

    async fn discard(
        self,
        place: &Place,
        shown: Backlog,
        message: &str,
    ) -> Result<Backlog, Failure> {
        match self {
            Owner::Server { server, sync } => {
                let path = beside::path("syncs", &sync, "discard-backlog");
                let body = json!({ "shown": shown, "message": message });
                Ok(backlog_of(&server.long_command(&path, &body).await?))
            }
            Owner::Us { owned, order } => {
                let (who, store) = place.given(&owned.store);
                let came = Box::pin(backlog::discard(&store, &order, shown, message, &who)).await;
                owned.store.close().await;
                came.map_err(|error| failure(&error))
            }
        }
    }
}

fn backlog_of(answer: &serde_json::Value) -> Backlog {
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    Backlog { changes: count("changes"), removals: count("removals"), in_doubt: count("in_doubt") }
}

fn failure(error: &Error) -> Failure {
    let exit = if error.is_config_fault() { Exit::Usage } else { Exit::Failed };
    Failure { exit, ..Failure::of(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_does_not_come_back_a9() {
        let changes = Backlog { changes: 3, ..Backlog::default() };
        let text = question("crm", changes);
        assert!(text.contains("3 changes") && text.contains("full resync"), "{text}");
        assert!(!text.contains("for good"), "{text}");
        let text = question("crm", Backlog { removals: 2, in_doubt: 1, ..changes });
        assert!(
            text.contains("2 records") && text.contains("no later run brings that back"),
            "{text}"
        );
        assert!(text.contains("1 that may have been sent"), "{text}");
    }
}
