use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::runs;
use super::state::Place;
use crate::api::Entry;
use crate::store::AuditFilter;

/// Lists the commands that were given, the newest first.
pub async fn run(
    place: &Place,
    output: &Output,
    sync: Option<String>,
    limit: u32,
) -> Result<Exit, Failure> {
    let page = match place.beside().await? {
        Some(store) => {
            store.audit_page(&AuditFilter { sync, ..AuditFilter::default() }, limit).await?
        }
        None => Vec::new(),
    };
    let entries: Vec<Entry> = page.into_iter().map(Entry::from).collect();
    output.answer(&json!(entries), || {
        if entries.is_empty() {
            return "no command was given yet".to_owned();
        }
        let mut table = runs::table(&["at", "who", "command", "sync", "run", "message"]);
        for entry in &entries {
            table.add_row([
                entry.at.clone(),
                entry.who.clone(),
                entry.command.clone(),
                entry.sync.clone().unwrap_or_default(),
                entry.run.map(|run| run.to_string()).unwrap_or_default(),
                entry.message.clone().unwrap_or_default(),
            ]);
        }
        table.trim_fmt()
    });
    Ok(Exit::Done)
}
