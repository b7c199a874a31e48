//! The list of runs, read beside a running process: no lock, no write.

use comfy_table::{Table, presets};
use serde_json::Value;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::state::Place;
use crate::api::document;
use crate::domain::kind::Choice;
use crate::domain::tally::ListingCost;
use crate::store::RunRow;

/// Lists runs, the newest first.
pub async fn run(
    place: &Place,
    output: &Output,
    sync: Option<&str>,
    limit: u32,
) -> Result<Exit, Failure> {
    let store = place.beside().await?;
    let rows = match &store {
        Some(store) => store.runs(sync, limit, None).await?,
        None => Vec::new(),
    };
    if let (true, Some(sync), Ok(config)) = (rows.is_empty(), sync, place.config_for(None)) {
        super::state::find(&config, sync)?;
    }
    let document = Value::Array(rows.iter().map(document::run).collect());
    output.answer(&document, || human(&rows));
    Ok(Exit::Done)
}

fn human(rows: &[RunRow]) -> String {
    if rows.is_empty() {
        return "no runs yet; begin with `counterflow sync SYNC`".to_owned();
    }
    let mut table = table(&[
        "run",
        "sync",
        "started",
        "kind",
        "phase",
        "delivered",
        "not delivered",
        "listed",
        "config",
    ]);
    for run in rows {
        let tally = &run.tally;
        let open = tally.rejected + tally.unknown + tally.held + tally.deferred + tally.unsent;
        table.add_row([
            run.id.to_string(),
            run.sync.clone(),
            run.started_at.to_string(),
            run.choice.map_or_else(|| "-".to_owned(), |choice| choice.kind.to_string()),
            run.phase.to_string(),
            tally.delivered.to_string(),
            (open + tally.invalid).to_string(),
            listed(tally.listing),
            run.revision.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let mut text = table.trim_fmt();
    for run in rows {
        if let Some(unchanged) = run.choice.and_then(Choice::unchanged) {
            text.push_str(&format!("\nrun {}: {unchanged}", run.id));
        }
    }
    for run in rows {
        if let Some(why) = run.choice.and_then(|choice| choice.bound_stays) {
            text.push_str(&format!("\nrun {}: the cursor's bound stays: {why}", run.id));
        }
    }
    for run in rows.iter().filter(|run| run.error.is_some()) {
        let error = run.error.as_deref().unwrap_or_default();
        text.push_str(&format!("\nrun {}: {error}", run.id));
    }
    text
}

/// What was listed for a run, and by how many requests to stores.
fn listed(ListingCost { objects, requests, .. }: ListingCost) -> String {
    match (objects, requests) {
        (0, 0) => "-".to_owned(),
        (objects, 0) => objects.to_string(),
        (objects, requests) => format!("{objects} ({requests} requests)"),
    }
}

/// A table without lines.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.iter().copied());
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cursor::Stays;
    use crate::domain::id::{Instant, RunId};
    use crate::domain::kind::{Kind, KindReason, Unchanged};
    use crate::domain::run::{Outcome, Phase, Trigger};
    use crate::domain::tally::Tally;

    #[test]
    fn a_run_is_one_line_and_its_error_follows() {
        let listing = ListingCost { objects: 7, requests: 2, milliseconds: 40 };
        let row = RunRow {
            id: RunId(3),
            sync: "crm".into(),
            trigger: Trigger::Manual,
            choice: Some(Choice {
                kind: Kind::Full,
                reason: KindReason::FirstRun,
                opens_epoch: true,
                unchanged_since: None,
                unchanged_version: None,
                bound_stays: None,
            }),
            phase: Phase::Ended(Outcome::Failed),
            started_at: Instant(0),
            finished_at: None,
            tally: Tally { delivered: 5, unsent: 2, listing, ..Tally::default() },
            error: Some("no `id`".into()),
            stop: None,
            revision: Some("0a1b2c3d4e5f".into()),
        };
        let text = human(std::slice::from_ref(&row));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        let expected = "3 crm 1970-01-01T00:00:00Z full failed 5 2 7 (2 requests) 0a1b2c3d4e5f";
        assert_eq!(lines[1], expected);
        assert_eq!(lines[2], "run 3: no `id`");
        let document = document::run(&row);
        assert_eq!(
            (&document["reason"], &document["tally"]["listing"]["requests"]),
            (&"first_run".into(), &2.into())
        );
        assert_eq!(listed(ListingCost { requests: 0, ..listing }), "7", "of files alone");
        assert_eq!(listed(ListingCost::default()), "-");
        let choice = Choice::skipped(Unchanged { since: RunId(2), version: None });
        let row = RunRow { choice: Some(choice), error: None, ..row };
        let text = human(std::slice::from_ref(&row));
        assert!(
            text.ends_with("\nrun 3: the files are the same as at run 2, which left nothing to do")
        );
        let choice = Choice { bound_stays: Some(Stays::Stopped), ..Choice::SAMPLE };
        let row = RunRow { choice: Some(choice), ..row };
        let text = human(std::slice::from_ref(&row));
        assert!(text.ends_with("\nrun 3: the cursor's bound stays: the run was stopped"));
        assert_eq!(document::run(&row)["bound_stays"], "the run was stopped");
    }
}
