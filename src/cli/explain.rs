//! What is known of one record, in words.
//!
//! Reads the snapshot and its journal beside a running process or after a crash: no lock, no write.

use std::fmt::Write;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::rejected;
use super::state::{self, Place};
use crate::domain::entry::Entry;
use crate::domain::id::{Epoch, Instant};
use crate::domain::key::Shown;
use crate::engine::{decisions, viewing};
use crate::snapshot::header::Header;
use crate::snapshot::{Known, View};
use crate::store::RunNote;

/// How many notes are shown, the newest first.
const NOTES: usize = 10;

pub async fn run(place: &Place, output: &Output, sync: &str, key: &str) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    let connection = &state::find(&config, sync)?.sync.connection;
    let store = place.beside().await?;
    let (known, decided) = match &store {
        Some(store) => {
            (store.known(sync).await?, decisions::pending_of(store, sync, connection).await?)
        }
        None => (None, Vec::new()),
    };
    let known = known.map(|(lineage, generation, journal)| Known { lineage, generation, journal });
    let view = viewing::foreseen(&config.state, sync, known, &decided)
        .map_err(|error| Failure::of(&error))?;
    let mut entries = match &view {
        Some(view) => find(view, key)?,
        None => Vec::new(),
    };
    let header = view.as_ref().map(View::header);
    let epoch = header.map_or(Epoch::default(), |header| header.epoch);
    let standing = header.and_then(Header::standing);
    for held in entries.iter_mut().filter_map(|entry| entry.held.as_mut()) {
        held.last = held.until(standing);
    }
    let mut notes = match &store {
        Some(store) => store.record_notes(sync, None).await?,
        None => Vec::new(),
    };
    notes.retain(|note| note.note.key == key);
    notes.truncate(NOTES);
    let document = json!({
        "sync": sync,
        "key": key,
        "entries": entries.iter().map(to_json).collect::<Vec<_>>(),
        "notes": notes,
    });
    output.answer(&document, || human(sync, key, &entries, &notes, epoch));
    Ok(Exit::Done)
}

/// All entries that look so; `7` the number and `7` the text look alike.
pub(super) fn find(view: &View, key: &str) -> Result<Vec<Entry>, Failure> {
    let mut found = Vec::new();
    view.visit(|bytes, entry| {
        if Shown(bytes).to_string() == key {
            found.push(entry);
        }
    })
    .map_err(|error| Failure::of(&error))?;
    Ok(found)
}

fn to_json(entry: &Entry) -> Value {
    json!({
        "confirmed": entry.confirmed.map(|confirmed| json!({ "epoch": confirmed.epoch })),
        "in_doubt": entry.doubt.map(|doubt| json!({
            "operation": doubt.operation,
            "intent": doubt.number,
            "is_repeated": doubt.is_repeated,
        })),
        "rejection": entry.rejection.as_ref().map(|rejection| json!({
            "operation": rejection.operation,
            "code": rejection.code,
            "message": rejection.message,
            "attempts": rejection.attempts,
            "due": rejection.due.to_string(),
        })),
        "waived": entry.waiver.map(|waiver| json!({ "epoch": waiver.epoch })),
        "held": entry.held.map(|held| json!({ "first_run": held.first, "last_run": held.last })),
    })
}

fn human(sync: &str, key: &str, entries: &[Entry], notes: &[RunNote], epoch: Epoch) -> String {
    let mut text = String::new();
    if entries.is_empty() {
        let _ = writeln!(text, "`{key}` of `{sync}`: not known at the destination");
    }
    for entry in entries {
        let _ = writeln!(text, "`{key}` of `{sync}`:");
        for line in lines(entry, epoch) {
            let _ = writeln!(text, "  {line}");
        }
    }
    for RunNote { run, note } in notes {
        let said: Vec<&str> =
            [note.code.as_deref(), note.message.as_deref()].into_iter().flatten().collect();
        let _ = writeln!(text, "  run {run}: {} {}", rejected::word(note.verdict), said.join(": "));
    }
    text
}

fn lines(entry: &Entry, epoch: Epoch) -> Vec<String> {
    let mut lines = Vec::new();
    match entry.confirmed {
        Some(confirmed) if confirmed.epoch == epoch => {
            lines.push(format!("confirmed by the destination in this epoch ({})", epoch.0));
        }
        Some(confirmed) => lines.push(format!(
            "confirmed by the destination in epoch {}; to be sent again in epoch {}",
            confirmed.epoch.0, epoch.0
        )),
        None => lines.push("never confirmed by the destination".to_owned()),
    }
    if let Some(doubt) = entry.doubt {
        let operation = doubt.operation.word();
        let number = doubt.number.0;
        lines.push(match doubt.is_repeated {
            true => "in doubt: its key came twice; it waits until a complete read finds it at most once"
                .to_owned(),
            false => format!(
                "in doubt: {operation} with intent {number} was sent and not answered; the next run asserts it again"
            ),
        });
    }
    if let Some(rejection) = &entry.rejection {
        lines.push(format!(
            "{} rejected, {} times: {} {}",
            rejection.operation.word(),
            rejection.attempts,
            rejection.code,
            rejection.message
        ));
        lines.push(format!("to be tried again from {}", due(rejection.due)));
    }
    if let Some(waiver) = entry.waiver {
        lines.push(format!("waived in epoch {}: this change is not sent", waiver.epoch.0));
    }
    if let Some(held) = entry.held {
        lines.push(format!("its delete is held, from run {} to run {}", held.first, held.last));
    }
    lines
}

fn due(due: Instant) -> String {
    format!("{due} on, or by the next full resync")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::{Confirmed, Doubt, Held, Operation, Rejection};
    use crate::domain::id::{BatchNumber, IntentNumber, RunId};

    #[test]
    fn an_entry_is_told_in_words() {
        let entry = Entry {
            confirmed: Some(Confirmed { fingerprint: 1, epoch: Epoch(2) }),
            doubt: Some(Doubt {
                operation: Operation::Delete,
                fingerprint: 0,
                number: IntentNumber(17),
                batch: BatchNumber(17),
                index: 0,
                is_repeated: false,
                is_spent: false,
            }),
            rejection: Some(Rejection {
                operation: Operation::Delete,
                fingerprint: 0,
                epoch: Epoch(2),
                code: "409".into(),
                message: "in use".into(),
                attempts: 3,
                due: Instant(0),
            }),
            waiver: None,
            held: Some(Held { first: RunId(4), last: RunId(6) }),
        };
        assert_eq!(
            human("crm", "a/b", &[entry], &[], Epoch(2)),
            "`a/b` of `crm`:\n  confirmed by the destination in this epoch (2)\n  \
             in doubt: delete with intent 17 was sent and not answered; the next run asserts it again\n  \
             delete rejected, 3 times: 409 in use\n  \
             to be tried again from 1970-01-01T00:00:00Z on, or by the next full resync\n  \
             its delete is held, from run 4 to run 6\n"
        );
        assert_eq!(
            human("crm", "z", &[], &[], Epoch(2)),
            "`z` of `crm`: not known at the destination\n"
        );
    }
}
