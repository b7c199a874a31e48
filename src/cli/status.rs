//! Each sync and each connection at a glance, for people. What is known of it is `api::status`; reads beside a running process.

use std::fmt::Write;

use serde_json::Value;

use super::beside;
use super::exit::Exit;
use super::failure::{Cause, Failure};
use super::output::Output;
use super::running::Running;
use super::state::{self, Place};
use super::time;
use crate::api::status::{Served, Status};
use crate::config::{Config, Schedule};
use crate::domain::run::Phase;
use crate::domain::status;
use crate::snapshot::{Glance, Glances};
use crate::store::{Audited, Pause};

pub async fn run(place: &Place, output: &Output, sync: Option<&str>) -> Result<Exit, Failure> {
    let running = Running::of(place)?;
    let config = &running.config;
    let syncs = match sync {
        Some(name) => vec![state::find(config, name)?],
        None => config.syncs.iter().collect(),
    };
    let store = match place.beside().await {
        Ok(store) => Ok(store),
        Err(Failure { cause: Cause::Text(why), .. }) => Err(why),
        Err(failure) => return Err(failure),
    };
    let store = store.as_ref().map(Option::as_ref).map_err(String::as_str);
    let is_reinitializing = beside::is_reinitializing(place).await;
    let served = Served { is_reinitializing, ..Served::default() };
    let glances = Glances::default();
    let mut statuses = Status::read(config, store, &glances, &syncs, served, time::now()).await;
    beside::hear_waits(place, &mut statuses).await;
    let by = running.document();
    let document = statuses.iter().map(|status| status.to_json(&by));
    output.answer(&Value::Array(document.collect()), || {
        let connections =
            if sync.is_none() { connections(config, &statuses) } else { String::new() };
        statuses.iter().map(human).collect::<Vec<_>>().join("\n") + &connections + &running.said()
    });
    let is_unread = statuses.iter().any(|status| status.store_error.is_some());
    Ok(if is_unread { Exit::Failed } else { Exit::Done })
}

fn human(status: &Status<'_>) -> String {
    let sync = &status.sync.sync;
    let status::Status { word, reason } = &status.status;
    let mut text = format!("{} ({}): {word}, {reason}\n", sync.name, sync.mode);
    if let (None, Some(Pause { who, at, message, .. })) = (&status.paused, &status.pause) {
        let why = message.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let _ = writeln!(text, "  resumed {at} by {who}{why}");
    }
    let is_waived = status.last.as_ref().is_some_and(|run| run.tally.waived > 0);
    if let Some(Audited { at, who, message, .. }) =
        status.discarded.as_ref().filter(|_| is_waived || status.paused.is_some())
    {
        let why = message.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  its backlog was discarded {at} by {who}: {why}");
    }
    match &status.last {
        None if status.unfinished.is_empty() && status.store_error.is_none() => {
            text.push_str("  no run yet\n")
        }
        None => {}
        Some(run) => {
            let kind = run.choice.map_or(String::new(), |choice| format!(" {}", choice.kind));
            let at = run.finished_at.unwrap_or(run.started_at).to_string();
            let _ = writeln!(text, "  last run {}:{kind} {}, {at}", run.id, run.phase);
            if let Some(error) = &run.error {
                let _ = writeln!(text, "    {error}");
            }
        }
    }
    for run in &status.unfinished {
        let since = run.started_at.to_string();
        let _ = match run.phase {
            phase if status.has_owner => {
                writeln!(text, "  run {} is {phase} since {since}", run.id)
            }
            Phase::InQueue if run.stop.is_some() => {
                writeln!(text, "  run {} was stopped and will not begin", run.id)
            }
            Phase::InQueue => writeln!(text, "  run {} waits for the next start", run.id),
            phase => writeln!(
                text,
                "  run {} was interrupted while {phase}, begun {since}; the next one goes on from there",
                run.id
            ),
        };
    }
    if let Ok(Some(glance)) = &status.snapshot {
        text.push_str(&known(glance));
    }
    if let Some(first) = status.sync.schedule.as_ref().and_then(Schedule::after) {
        let _ = writeln!(text, "  runs after `{first}` has succeeded");
    }
    if !status.next.is_empty() {
        let _ = writeln!(text, "  next runs: {}", status.next.join(", "));
    }
    text
}

/// Each connection over its syncs.
fn connections(config: &Config, statuses: &[Status<'_>]) -> String {
    let mut text = String::new();
    for name in config.connections.keys() {
        let syncs = statuses.iter().filter(|status| status.sync.sync.connection == *name);
        let facts: Vec<_> = syncs.map(|status| status.facts.clone()).collect();
        let status::Status { word, reason } = status::status(&facts);
        let _ = write!(text, "\nconnection {name}: {word}, {reason}\n");
    }
    text
}

/// What the snapshot says.
fn known(glance: &Glance) -> String {
    let mut text = format!("  {} records are known at the destination\n", glance.entries);
    if glance.is_epoch_open {
        text.push_str("  a full resync is not finished; the next run goes on with it\n");
    }
    if let Some(hold) = &glance.hold {
        let _ = writeln!(text, "  {} deletes are held, last in run {}:", hold.keys, hold.run);
        for cause in &hold.causes {
            let _ = writeln!(text, "    {cause}");
        }
        let _ = writeln!(
            text,
            "    `counterflow release {0} -m WHY` makes them, `counterflow discard {0} -m WHY` never does",
            hold.run
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guard::HoldCause;
    use crate::domain::id::RunId;
    use crate::snapshot::header::Hold;

    #[test]
    fn what_is_held_comes_with_the_commands_that_end_it() {
        let causes = vec![HoldCause::EmptyRead { entries: 5 }];
        let (since, versions) = (None, Vec::new());
        let hold = Hold { run: RunId(7), causes, keys: 5, since, versions };
        let glance = Glance { entries: 5, is_epoch_open: true, hold: Some(hold) };
        assert_eq!(
            known(&glance),
            "  5 records are known at the destination\n  \
             a full resync is not finished; the next run goes on with it\n  \
             5 deletes are held, last in run 7:\n    \
             the model returned no rows, while 5 records are at the destination\n    \
             `counterflow release 7 -m WHY` makes them, `counterflow discard 7 -m WHY` never does\n"
        );
    }
}
