//! The documents that both the API and the command line show.

use serde_json::{Value, json};

use crate::store::{DisabledSource, Pause, RunRow};

/// One run with all that is stored of it.
pub fn run(run: &RunRow) -> Value {
    json!({
        "run": run.id,
        "sync": run.sync,
        "trigger": run.trigger,
        "kind": run.choice.map(|choice| choice.kind),
        "reason": run.choice.map(|choice| choice.reason),
        "phase": run.phase.to_string(),
        "started_at": run.started_at.to_string(),
        "finished_at": run.finished_at.map(|at| at.to_string()),
        "tally": run.tally,
        "error": run.error,
        "stopped_by": run.stop.as_ref().map(|stop| &stop.who),
        "stop_message": run.stop.as_ref().and_then(|stop| stop.message.as_ref()),
    })
}

/// A pause or a resume that stands.
pub fn pause(pause: &Pause) -> Value {
    let Pause { is_paused, message, who, at, until, .. } = pause;
    json!({
        "is_paused": is_paused,
        "since": at.to_string(),
        "until": until.map(|until| until.to_string()),
        "who": who,
        "message": message,
    })
}

/// A source that is disabled.
pub fn source(disabled: &DisabledSource) -> Value {
    let DisabledSource { source, message, who, at } = disabled;
    json!({ "source": source, "since": at.to_string(), "who": who, "message": message })
}

/// The error and its causes in one line; a cause that its effect has quoted already is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
