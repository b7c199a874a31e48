use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::runs;
use super::state::{self, Place};
use crate::domain::id::RunId;
use crate::store::{RunNote, Verdict};

/// Lists the records that runs of a sync could not deliver, and why.
pub async fn run(
    place: &Place,
    output: &Output,
    sync: &str,
    run: Option<u64>,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    state::find(&config, sync)?;
    let notes = match place.beside().await? {
        Some(store) => store.record_notes(sync, run.map(RunId)).await?,
        None => Vec::new(),
    };
    output.answer(&json!(notes), || human(sync, &notes));
    Ok(Exit::Done)
}

fn human(sync: &str, notes: &[RunNote]) -> String {
    if notes.is_empty() {
        return format!("no record of `{sync}` is rejected, invalid, held or unknown");
    }
    let mut table = runs::table(&["run", "verdict", "key", "operation", "code", "message"]);
    for RunNote { run, note } in notes {
        table.add_row([
            run.to_string(),
            word(note.verdict).to_owned(),
            note.key.clone(),
            note.operation.map_or("-", |operation| operation.word()).to_owned(),
            note.code.clone().unwrap_or_default(),
            note.message.clone().unwrap_or_default(),
        ]);
    }
    table.trim_fmt()
}

/// The verdict, as people read it.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Rejected => "rejected",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
        Verdict::Held => "held",
    }
}
