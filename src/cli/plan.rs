use std::fmt::Write;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::order;
use super::output::Output;
use super::report_text::new_rows;
use super::state::{self, Place};
use crate::domain::run::Trigger;
use crate::engine::plan::{self, Plan};
use crate::store::{self, Store};

/// How many lines of each list people see.
const SHOWN: usize = 20;

/// Shows what a run would do. Takes no lock and writes nothing.
pub async fn run(place: &Place, output: &Output, name: &str) -> Result<Exit, Failure> {
    let config = place.config_for(Some(name))?;
    let order = order::order(&config, state::find(&config, name)?, false, Trigger::Manual);
    let store = match Store::open_beside(&config.state).await {
        Ok(store) => Some(store),
        Err(store::Error::Absent { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let plan = Box::pin(plan::plan(store.as_ref(), &order)).await.map_err(|error| {
        let exit = if error.is_config_fault() { Exit::Usage } else { Exit::Failed };
        Failure { exit, ..Failure::of(&error) }
    })?;
    output.answer(&to_json(name, &plan), || human(name, &plan));
    Ok(Exit::Done)
}

fn to_json(sync: &str, plan: &Plan) -> Value {
    let sample: Vec<Value> =
        plan.sample.iter().map(|line| json!({ "what": line.what, "key": line.key })).collect();
    let invalid: Vec<Value> =
        plan.invalid.iter().map(|(key, why)| json!({ "key": key, "why": why })).collect();
    // What is free changes by itself, and a plan is the same as long as nothing has changed.
    let room = plan.room.as_ref();
    let room = room.map(|room| json!({ "folder": room.folder, "needed_bytes": room.needed_bytes }));
    json!({
        "sync": sync,
        "kind": plan.choice.kind,
        "reason": plan.choice.reason,
        "unchanged_since": plan.choice.unchanged_since,
        "unchanged_version": plan.choice.unchanged_version,
        "since": plan.since,
        "whole": plan.whole,
        "tally": plan.tally,
        "sample": sample,
        "holds": plan.holds,
        "invalid": invalid,
        "warnings": plan.warnings,
        "room": room,
    })
}

fn human(sync: &str, plan: &Plan) -> String {
    if let Some(unchanged) = plan.choice.unchanged() {
        return format!("the next run of `{sync}` is skipped: {unchanged}\n");
    }
    let tally = &plan.tally;
    let mut text = format!(
        "the next run of `{sync}` is {} ({})\n  rows read {}: {} unchanged, {} invalid, {} waived\n  \
         {} upserts, {} deletes, {} deferred\n",
        plan.choice.kind,
        plan.choice.reason,
        tally.rows_read,
        tally.unchanged,
        tally.invalid,
        tally.waived,
        tally.upserts,
        tally.deletes,
        tally.deferred,
    );
    if let Some(since) = &plan.since {
        let _ = writeln!(text, "  {}", new_rows(since));
    }
    if let Some(why) = &plan.whole {
        let _ = writeln!(text, "  reads everything: {why}");
    }
    for cause in &plan.holds {
        let _ = writeln!(text, "  the deletes would be held: {cause}");
    }
    if let Some(room) = &plan.room {
        let _ = writeln!(text, "  {room}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "  {warning}");
    }
    for line in plan.sample.iter().take(SHOWN) {
        let _ = writeln!(text, "  {:<7} {}", line.what, line.key);
    }
    for (key, why) in plan.invalid.iter().take(SHOWN) {
        let _ = writeln!(text, "  invalid {key}: {why}");
    }
    text
}
