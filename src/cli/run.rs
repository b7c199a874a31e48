//! One run with all that is stored of it, at once or followed until its end; beside a running process or without one.
//!
//! Not responsible for the run. A server adds its live counts where it gives them; what is stored is enough to follow by.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::beside::{self, Server};
use super::exit::{self, Exit};
use super::failure::Failure;
use super::output::Output;
use super::report_text;
use super::state::Place;
use super::stop;
use crate::api::document;
use crate::domain::id::RunId;
use crate::domain::kind::Choice;
use crate::domain::run::Phase;
use crate::store::{self, RunRow, Store};

const POLL: Duration = Duration::from_millis(200);
/// Between two lines that tell of counts alone.
const PACE: Duration = Duration::from_secs(2);

/// Shows the run; when it is followed, at its end and with its exit code.
pub async fn run(
    place: &Place,
    output: &Output,
    run: u64,
    is_followed: bool,
) -> Result<Exit, Failure> {
    let run = RunId(run);
    let Some(store) = place.beside().await? else { return Err(store::Error::NoRun(run).into()) };
    let row = match is_followed {
        true => follow(place, output, &store, run).await?,
        false => found(&store, run).await?,
    };
    output.answer(&document::run(&row), || human(&row));
    let report = beside::of_row(row).filter(|_| is_followed);
    Ok(report.map_or(Exit::Done, |report| exit::of(&report, None)))
}

async fn found(store: &Store, run: RunId) -> Result<RunRow, Failure> {
    Ok(store.run(run).await?.ok_or(store::Error::NoRun(run))?)
}

/// Tells how the run goes on until its end, or that of the process that carries it out.
async fn follow(
    place: &Place,
    output: &Output,
    store: &Store,
    run: RunId,
) -> Result<RunRow, Failure> {
    let mut server = place.server()?;
    let (mut told, mut at) = (None, Instant::now());
    loop {
        // In this order: a process that ends writes the end before it lets the state go.
        let is_abandoned = stop::is_abandoned(place)?;
        let row = found(store, run).await?;
        if row.phase.is_ended() {
            return Ok(row);
        }
        if is_abandoned {
            return Err(Failure::failed(format!(
                "run {run} of `{}` is {}, and no process goes on with it; `counterflow serve` or the next run of it does",
                row.sync, row.phase
            )));
        }
        let next = (row.phase, counts(&mut server, &row).await);
        let is_due = told
            .as_ref()
            .is_none_or(|(phase, _): &(Phase, String)| *phase != next.0 || at.elapsed() >= PACE);
        if is_due && told.as_ref() != Some(&next) {
            output.aside(&format!("run {run} of `{}`: {}{}", row.sync, next.0, next.1));
            (told, at) = (Some(next), Instant::now());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How far a run that goes has come, as far as the server says it.
async fn counts(server: &mut Option<Server>, row: &RunRow) -> String {
    let Some(asked) = server else { return String::new() };
    let Ok(said) = asked.question(&format!("/api/v1/runs/{}", row.id)).await else {
        // It wants a token, or is gone; it is not asked again.
        *server = None;
        return String::new();
    };
    let count = |name: &str| said["live"][name].as_u64().unwrap_or_default();
    match said["live"] {
        Value::Null => String::new(),
        _ => format!(
            ", rows read {}, delivered {}, rejected {}, in flight {}",
            count("rows_read"),
            count("delivered"),
            count("rejected"),
            count("in_flight"),
        ),
    }
}

fn human(row: &RunRow) -> String {
    let RunRow { id, sync, trigger, phase, started_at, tally, .. } = row;
    let mut text = format!("run {id} of `{sync}`: {phase}");
    if let Some(unchanged) = row.choice.and_then(Choice::unchanged) {
        text.push_str(&format!(": {unchanged}"));
    } else if let Some(choice) = row.choice {
        text.push_str(&format!(" ({}: {})", choice.kind, choice.reason));
    }
    text.push_str(&format!("\n  trigger {trigger}, started {started_at}"));
    if let Some(at) = row.finished_at {
        text.push_str(&format!(", ended {at}"));
    }
    if let Some(revision) = &row.revision {
        text.push_str(&format!(", config {revision}"));
    }
    text.push('\n');
    if let Some(stop) = &row.stop {
        let why = stop.message.as_ref().map_or(String::new(), |why| format!(": {why}"));
        text.push_str(&format!("  stopped by {}{why}\n", stop.who));
    }
    text.push_str(&report_text::counts(tally));
    if tally.rejected + tally.invalid + tally.unknown > 0 {
        text.push_str(&format!("  which and why: counterflow rejected {sync} --run {id}\n"));
    }
    if let Some(error) = &row.error {
        text.push_str(&format!("  error: {error}\n"));
    }
    text
}
