//! The documents that both the API and the command line show.

use serde_json::{Value, json};

use crate::domain::id::Instant;
use crate::store::{Pause, RunRow};

/// Such as `2026-02-03T04:05:06Z`, to the second.
pub fn shown(instant: Instant) -> String {
    instant.to_string()
}

/// One run with all that is stored of it.
pub fn run(run: &RunRow) -> Value {
    json!({
        "run": run.id,
        "sync": run.sync,
        "trigger": run.trigger,
        "kind": run.choice.map(|choice| choice.kind),
        "reason": run.choice.map(|choice| choice.reason),
        "phase": run.phase.to_string(),
        "started_at": shown(run.started_at),
        "finished_at": run.finished_at.map(shown),
        "tally": run.tally,
        "error": run.error,
        "stopped_by": run.stop.as_ref().map(|stop| &stop.who),
        "stop_message": run.stop.as_ref().and_then(|stop| stop.message.as_ref()),
    })
}

/// A pause or a resume that stands.
pub fn pause(pause: &Pause) -> Value {
    let Pause { is_paused, message, who, at, .. } = pause;
    json!({ "is_paused": is_paused, "since": shown(*at), "who": who, "message": message })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_to_the_second_and_any_number_is_shown() {
        assert_eq!(shown(Instant(1_770_091_506_999)), "2026-02-03T04:05:06Z");
        assert_eq!(shown(Instant(-1)), "1969-12-31T23:59:59Z");
        assert!(shown(Instant(i64::MAX)).ends_with("after 1970"));
    }
}
