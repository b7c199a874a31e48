//! Pauses a sync and decides that what waits now shall never be sent.
//!
//! The pause comes first and stands, whatever is answered to the question. Not responsible for what a waiver is
//! (`engine::backlog`).

use serde_json::json;

use super::beside::{self, Server};
use super::confirm::confirm;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::pause::{self, Asked};
use super::state::{self, Owned, Place};
use super::{order, sync, time};
use crate::domain::run::Trigger;
use crate::engine::backlog::{self, Backlog};
use crate::engine::order::Order;
use crate::engine::prepare::Error;

/// Who counts and discards: the server, or this process.
enum Owner {
    Server { server: Server, sync: String },
    Us { owned: Owned, order: Box<Order> },
}

pub async fn run(place: &Place, output: &Output, asked: Asked, yes: bool) -> Result<Exit, Failure> {
    let paused = pause::carry_out(place, &asked).await?;
    output.aside(&paused.words);
    let name = &asked.sync;
    let owner = owner(place, output, name).await?;
    let shown = owner.count().await?;
    if shown.changes + shown.removals > 0 {
        confirm(&question(name, shown), yes)?;
    }
    let came = owner.discard(shown, &asked.message).await?;
    let Backlog { changes, removals, in_doubt } = came;
    let mut document = paused.document;
    document["backlog"] = json!({ "waived": changes, "discarded": removals, "in_doubt": in_doubt });
    output.answer(&document, || {
        let mut text = format!(
            "{changes} changes of `{name}` are waived, and {removals} of its removals are discarded"
        );
        if in_doubt > 0 {
            text.push_str(&format!(
                "\n{in_doubt} others may have been sent without an answer; the next run asserts them all the same"
            ));
        }
        text
    });
    Ok(Exit::Done)
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

    async fn discard(self, shown: Backlog, message: &str) -> Result<Backlog, Failure> {
        match self {
            Owner::Server { server, sync } => {
                let path = beside::path("syncs", &sync, "discard-backlog");
                let body = json!({ "shown": shown, "message": message });
                Ok(backlog_of(&server.long_command(&path, &body).await?))
            }
            Owner::Us { owned, order } => {
                let (store, who) = (&owned.store, time::who());
                let came = Box::pin(backlog::discard(store, &order, shown, message, &who)).await;
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
